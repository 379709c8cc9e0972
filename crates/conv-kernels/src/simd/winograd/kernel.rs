//! `U`: kernels, transformed.

use super::{F2x3, F2x3By2, F2x5, F2x5By2, F4x3, Filter, Tile, in_two_dimensions, with_filter};
use crate::Scalar;
use crate::simd::squares::{lanes_len, to_lanes};
use crate::simd::{Op, Simd};

/// Input channels whose kernels are turned at once, and are then in the first cache.
pub(super) const TOGETHER: usize = 16;

/// `U = G g Gᵀ`: lanes are output channels.
pub(crate) struct KernelTransform<'a, T> {
    pub(crate) tile: Tile,
    /// From the kernel of the first pair of channels on.
    pub(crate) kernels: &'a [T],
    /// From one output channel's kernel to the next's, and from one input channel's.
    pub(crate) pitches: [usize; 2],
    /// Whether the elements of a kernel lie in reverse order.
    pub(crate) rotated: bool,
    /// Output channels, at most a vector: there are zeros in the other lanes.
    pub(crate) maps: usize,
    /// Input channels.
    pub(crate) channels: usize,
    /// Room for turning kernels, [`KernelTransform::turned_len`].
    pub(crate) turned: &'a mut [T],
    /// From one input channel to the next of the transformed.
    pub(crate) width: usize,
    /// From one point to the next.
    pub(crate) plane: usize,
    /// `(point, input channel, output channel)`.
    pub(crate) transformed: &'a mut [T],
}

impl<T: Scalar> Op<T> for KernelTransform<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(mut self, simd: S) {
        let last = (self.tile.points() - 1) * self.plane + (self.channels - 1) * self.width;
        assert!(last + S::LANES <= self.transformed.len(), "room for all points of all kernels");
        let taps = self.tile.kernel() * self.tile.kernel();
        for first in (0..self.channels).step_by(TOGETHER) {
            let count = TOGETHER.min(self.channels - first);
            let kernels = &self.kernels[first * self.pitches[1]..];
            if self.pitches[1] == taps {
                to_lanes(simd, kernels, self.pitches[0], [self.maps, count * taps], self.turned);
            } else {
                for channel in 0..count {
                    let turned = &mut self.turned[channel * taps * S::LANES..];
                    to_lanes(simd, &kernels[channel * self.pitches[1]..], self.pitches[0], [self.maps, taps], turned);
                }
            }
            for channel in 0..count {
                with_filter!(self.tile, self.transform::<S>(simd, channel, first + channel));
            }
        }
    }
}

impl<T: Scalar> KernelTransform<'_, T> {
    /// Elements of the room for turning kernels.
    pub(crate) const fn turned_len(tile: Tile, lanes: usize) -> usize {
        let taps = tile.kernel() * tile.kernel();
        (TOGETHER - 1) * taps * lanes + lanes_len(taps, lanes)
    }

    /// The kernels of one input channel, which are turned at `from`.
    #[inline(always)]
    fn transform<S: Simd<T>, F: Filter<K, L, M, N>, const K: usize, const L: usize, const M: usize, const N: usize>(
        &mut self,
        simd: S,
        from: usize,
        channel: usize,
    ) {
        let turned = &self.turned[from * K * K * S::LANES..][..K * K * S::LANES];
        let mut kernel = [[simd.splat(T::ZERO); K]; K];
        for row in 0..K {
            for column in 0..K {
                let element = K * row + column;
                let place = if self.rotated { K * K - 1 - element } else { element };
                // SAFETY: there are `K · K` vectors.
                kernel[row][column] = unsafe { simd.load(turned.as_ptr().add(place * S::LANES)) };
            }
        }
        let points = in_two_dimensions!(simd, F::kernel::<T, S>, kernel, K => N);
        for row in 0..N {
            for column in 0..N {
                let at = (row * N + column) * self.plane + channel * self.width;
                // SAFETY: `eval` has checked that there is room for a vector of all channels at all `N · N` points.
                unsafe { simd.store(points[row][column], self.transformed.as_mut_ptr().add(at)) };
            }
        }
    }
}
