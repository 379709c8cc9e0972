//! The weight gradient at one point, and from all points back to kernels.

use ndarray::{ArrayView2, ArrayViewMut2, s};

use super::super::tiles::{even_parts, wide_rows, with_rows};
use super::kernel::TOGETHER;
use super::{F2x3, F2x3By2, F2x5, F2x5By2, F4x3, Filter, Tile, with_filter};
use crate::Scalar;
use crate::conv::definition::mend;
use crate::simd::squares::from_lanes;
use crate::simd::{Op, Simd};

/// `dU += V dMᵀ` at one point, for a block of one or two vectors of output channels: registers hold the sums of a few
/// input channels, and each is one chain of multiply-adds through the tiles.
pub(crate) struct GradientProduct<'a, T> {
    /// `V (vector of input channels, tile, channel in it)`.
    pub(crate) inputs: &'a [T],
    /// Input channels.
    pub(crate) depth: usize,
    /// `dM (vector of output channels, tile, channel in it)`.
    pub(crate) gradients: &'a [T],
    /// From one vector of channels to the next, of either.
    pub(crate) pitch: usize,
    /// How many there are.
    pub(crate) tiles: usize,
    /// Output channels: one or two whole vectors.
    pub(crate) width: usize,
    /// `dU (input channel, output channel)`.
    pub(crate) sums: &'a mut [T],
}

impl<T: Scalar> Op<T> for GradientProduct<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(mut self, simd: S) {
        let (vectors, blocks) = (self.depth.div_ceil(S::LANES), self.width / S::LANES);
        let reach = |vectors: usize| (vectors - 1) * self.pitch + self.tiles * S::LANES;
        assert!(self.width == S::LANES || self.width == 2 * S::LANES, "one vector or two");
        assert!(reach(vectors) <= self.inputs.len(), "the inputs of all channels");
        assert!(reach(blocks) <= self.gradients.len(), "the gradients of all channels");
        assert!(self.depth * self.width <= self.sums.len(), "a sum for each pair of channels");
        for vector in 0..vectors {
            let channels = S::LANES.min(self.depth - vector * S::LANES);
            for rows in even_parts(channels, wide_rows::<T, S>()) {
                let first = [vector, rows.start];
                if self.width == S::LANES {
                    with_rows!(rows.len(), ..=wide_rows::<T, S>(), R => self.tile::<S, R, 1>(simd, first));
                } else {
                    with_rows!(rows.len(), ..=wide_rows::<T, S>(), R => self.tile::<S, R, 2>(simd, first));
                }
            }
        }
    }
}

impl<T: Scalar> GradientProduct<'_, T> {
    /// `R` input channels of a vector of them, from `first` on.
    #[inline(always)]
    fn tile<S: Simd<T>, const R: usize, const N: usize>(&mut self, simd: S, [vector, first]: [usize; 2]) {
        let to = self.sums[(vector * S::LANES + first) * N * S::LANES..].as_mut_ptr();
        let mut inputs = self.inputs[vector * self.pitch + first..].as_ptr();
        let mut gradients = self.gradients.as_ptr();
        let mut sums = [[simd.splat(T::ZERO); N]; R];
        // SAFETY: `eval` has checked that there is a vector of all input channels, and `N` of output channels, for each
        // tile, and a sum for each pair of channels.
        unsafe {
            for r in 0..R {
                for n in 0..N {
                    sums[r][n] = simd.load(to.add((r * N + n) * S::LANES));
                }
            }
            for _ in 0..self.tiles {
                let mut factors = [simd.splat(T::ZERO); N];
                for n in 0..N {
                    factors[n] = simd.load(gradients.add(n * self.pitch));
                }
                for r in 0..R {
                    let input = simd.splat(*inputs.add(r));
                    for n in 0..N {
                        sums[r][n] = simd.mul_add(input, factors[n], sums[r][n]);
                    }
                }
                inputs = inputs.wrapping_add(S::LANES);
                gradients = gradients.wrapping_add(S::LANES);
            }
            for r in 0..R {
                for n in 0..N {
                    simd.store(sums[r][n], to.add((r * N + n) * S::LANES));
                }
            }
        }
    }
}

/// `dw += Gᵀ dU G`: lanes are output channels.
pub(crate) struct KernelGradient<'a, T> {
    pub(crate) tile: Tile,
    /// `dU (point, input channel, output channel)`.
    pub(crate) sums: &'a [T],
    /// From one point to the next.
    pub(crate) plane: usize,
    /// From one input channel to the next: one or two whole vectors.
    pub(crate) width: usize,
    /// `dw (output channel, input channel and element)`: at most a vector of output channels.
    pub(crate) kernels: ArrayViewMut2<'a, T>,
    /// What is added to an element of them where `dU` is not finite.
    pub(crate) exact: &'a dyn Fn([usize; 2]) -> T,
    /// Room for some kernels, [`KernelGradient::room_len`].
    pub(crate) room: &'a mut [T],
}

impl<T: Scalar> Op<T> for KernelGradient<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(mut self, simd: S) {
        let (maps, taps) = (self.kernels.nrows(), self.tile.kernel() * self.tile.kernel());
        let channels = self.kernels.ncols() / taps;
        assert!(self.width.is_multiple_of(S::LANES) && (1..=S::LANES).contains(&maps), "a vector of output channels");
        let last = (self.tile.points() - 1) * self.plane + (channels - 1) * self.width;
        assert!(last + S::LANES <= self.sums.len(), "sums at all points");
        assert!(Self::room_len(self.tile, S::LANES) <= self.room.len(), "room for some kernels");
        for first in (0..channels).step_by(TOGETHER) {
            let count = TOGETHER.min(channels - first);
            for channel in 0..count {
                with_filter!(self.tile, self.transform::<S>(simd, first + channel, channel));
            }
            let (vectors, rows) = self.room.split_at_mut(self.room.len() / 2);
            let rows = &mut rows[..maps * count * taps];
            let mut turned =
                ArrayViewMut2::from_shape((maps, count * taps), &mut *rows).expect("a row for each channel");
            from_lanes(simd, vectors, [0, count * taps], &mut turned);
            mend(rows, |index| {
                let (map, index) = (index / (count * taps), index % (count * taps));
                (self.exact)([map, first * taps + index])
            });
            let rows = ArrayView2::from_shape((maps, count * taps), rows).expect("a row for each channel");
            let mut kernels = self.kernels.slice_mut(s![.., first * taps..(first + count) * taps]);
            kernels += &rows;
        }
    }
}

impl<T: Scalar> KernelGradient<'_, T> {
    /// Elements of the room for some kernels, as vectors and as rows.
    pub(crate) const fn room_len(tile: Tile, lanes: usize) -> usize {
        2 * TOGETHER * tile.kernel() * tile.kernel() * lanes
    }

    /// The kernels of an input channel, to place `to` of the room.
    #[inline(always)]
    fn transform<S: Simd<T>, F: Filter<K, L, M, N>, const K: usize, const L: usize, const M: usize, const N: usize>(
        &mut self,
        simd: S,
        channel: usize,
        to: usize,
    ) {
        let sums = self.sums[channel * self.width..].as_ptr();
        let mut half = [[simd.splat(T::ZERO); N]; K];
        for column in 0..N {
            let mut line = [simd.splat(T::ZERO); N];
            for row in 0..N {
                // SAFETY: `eval` has checked that there is a vector of each input channel at all points.
                line[row] = unsafe { simd.load(sums.add((row * N + column) * self.plane)) };
            }
            let line = F::kernel_gradient::<T, S>(simd, line);
            for row in 0..K {
                half[row][column] = line[row];
            }
        }
        let kernel = &mut self.room[to * K * K * S::LANES..][..K * K * S::LANES];
        for row in 0..K {
            let line = F::kernel_gradient::<T, S>(simd, half[row]);
            for column in 0..K {
                // SAFETY: there are `K · K` vectors.
                unsafe { simd.store(line[column], kernel.as_mut_ptr().add((row * K + column) * S::LANES)) };
            }
        }
    }
}
