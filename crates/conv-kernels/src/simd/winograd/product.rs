//! The products of all tiles with all kernels at one point.

use std::ops::Range;

use super::super::tiles::{ROWS, even_parts, outer, with_rows};
use super::super::{Op, Simd};
use crate::Scalar;

/// Longer chains are cut, and go on where they were, so that the kernels and tiles of a part stay in the first cache.
const CHAIN: usize = 256;

/// `M = U V` at one point: for a few output channels, one chain of multiply-adds a tile through the input channels.
pub(crate) struct Product<'a, T> {
    /// `U (input channel, output channel)`.
    pub(crate) kernels: &'a [T],
    /// Output channels: at most [`ROWS`].
    pub(crate) rows: usize,
    /// Input channels.
    pub(crate) depth: usize,
    /// `V (input channel, tile)`.
    pub(crate) inputs: &'a [T],
    /// Tiles, rounded up to whole vectors.
    pub(crate) count: usize,
    /// From one channel's tiles to the next's, of inputs and products.
    pub(crate) pitch: usize,
    /// `M (output channel, tile)`.
    pub(crate) products: &'a mut [T],
}

impl<T: Scalar> Op<T> for Product<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let whole = self.count.next_multiple_of(S::LANES);
        assert!((1..=ROWS).contains(&self.rows) && self.depth > 0, "a tile has rows, and a chain has links");
        assert!(self.rows * self.depth <= self.kernels.len(), "a kernel for each pair of channels");
        assert!((self.depth - 1) * self.pitch + whole <= self.inputs.len(), "the inputs of all channels");
        assert!((self.rows - 1) * self.pitch + whole <= self.products.len(), "room for all products");
        with_rows!(self.rows, [1, 2, 3, 4, 5, 6], R => self.rows::<S, R>(simd));
    }
}

impl<T: Scalar> Product<'_, T> {
    #[inline(always)]
    fn rows<S: Simd<T>, const R: usize>(mut self, simd: S) {
        for part in even_parts(self.depth, CHAIN) {
            let vectors = self.count.div_ceil(S::LANES);
            for pair in 0..vectors / 2 {
                self.tile::<S, R, 2>(simd, part.clone(), 2 * pair * S::LANES);
            }
            if vectors % 2 == 1 {
                self.tile::<S, R, 1>(simd, part.clone(), (vectors - 1) * S::LANES);
            }
        }
    }

    /// `N` vectors of tiles from `first` on, through a part of the input channels.
    #[inline(always)]
    fn tile<S: Simd<T>, const R: usize, const N: usize>(&mut self, simd: S, part: Range<usize>, first: usize) {
        let mut sums = [[simd.splat(T::ZERO); N]; R];
        let products = self.products.as_mut_ptr();
        if part.start > 0 {
            for r in 0..R {
                for n in 0..N {
                    // SAFETY: `eval` has checked that there is room for all vectors of `R` rows.
                    sums[r][n] = unsafe { simd.load(products.add(r * self.pitch + first + n * S::LANES)) };
                }
            }
        }
        let (mut kernels, mut inputs) = (self.kernels[part.start * R..].as_ptr(), self.inputs.as_ptr());
        inputs = inputs.wrapping_add(part.start * self.pitch + first);
        for _ in part {
            let mut tiles = [simd.splat(T::ZERO); N];
            // SAFETY: `eval` has checked that there are `R` kernels and all vectors for each input channel.
            unsafe {
                for n in 0..N {
                    tiles[n] = simd.load(inputs.add(n * S::LANES));
                }
                outer(simd, kernels, tiles, &mut sums);
                kernels = kernels.add(R);
            }
            inputs = inputs.wrapping_add(self.pitch);
        }
        for r in 0..R {
            for n in 0..N {
                // SAFETY: as for loading them.
                unsafe { simd.store(sums[r][n], products.add(r * self.pitch + first + n * S::LANES)) };
            }
        }
    }
}
