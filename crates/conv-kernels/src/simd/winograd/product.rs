//! The products of all tiles with all kernels at one point.

use std::ops::Range;

use super::super::tiles::{outer, wide_rows, with_rows};
use super::super::{Op, Simd};
use crate::Scalar;

/// `M = U V` at one point: for blocks of output channels, one chain of multiply-adds a tile through the input channels.
pub(crate) struct Product<'a, T, I> {
    /// `U`, for each block `(input channel, output channel)`.
    pub(crate) kernels: &'a [T],
    /// From one block's kernels to the next's.
    pub(crate) block_pitch: usize,
    /// Output channels of each block: at most as many as a tile has rows.
    pub(crate) blocks: I,
    /// Input channels; where they are not the first, sums go on from what the products hold.
    pub(crate) channels: Range<usize>,
    /// `V (input channel, tile)`, of these channels.
    pub(crate) inputs: &'a [T],
    /// Tiles, rounded up to whole vectors.
    pub(crate) count: usize,
    /// From one channel's tiles to the next's, of inputs and products.
    pub(crate) pitch: usize,
    /// `M (output channel, tile)`.
    pub(crate) products: &'a mut [T],
}

impl<T: Scalar, I: Iterator<Item = usize>> Op<T> for Product<'_, T, I> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let Self { mut kernels, block_pitch, blocks, channels, inputs, count, pitch, mut products } = self;
        let whole = count.next_multiple_of(S::LANES);
        let depth = channels.len();
        assert!(depth > 0 && (depth - 1) * pitch + whole <= inputs.len(), "the inputs of all channels");
        for rows in blocks {
            assert!(rows * channels.end <= kernels.len(), "a kernel for each pair of channels");
            assert!(rows > 0 && (rows - 1) * pitch + whole <= products.len(), "room for all products");
            let (kernels_of, go_on) = (&kernels[rows * channels.start..], channels.start > 0);
            let block = Block { kernels: kernels_of, go_on, depth, inputs, count, pitch, products: &mut *products };
            with_rows!(rows, ..=wide_rows::<T, S>(), R => block.rows::<S, R>(simd));
            kernels = kernels.get(block_pitch..).unwrap_or_default();
            products = products.get_mut(rows * pitch..).unwrap_or_default();
        }
    }
}

/// The products of one block, checked.
struct Block<'a, T> {
    kernels: &'a [T],
    go_on: bool,
    depth: usize,
    inputs: &'a [T],
    count: usize,
    pitch: usize,
    products: &'a mut [T],
}

impl<T: Scalar> Block<'_, T> {
    #[inline(always)]
    fn rows<S: Simd<T>, const R: usize>(mut self, simd: S) {
        let vectors = self.count.div_ceil(S::LANES);
        for pair in 0..vectors / 2 {
            self.tile::<S, R, 2>(simd, 2 * pair * S::LANES);
        }
        if vectors % 2 == 1 {
            self.tile::<S, R, 1>(simd, (vectors - 1) * S::LANES);
        }
    }

    /// `N` vectors of tiles from `first` on.
    #[inline(always)]
    fn tile<S: Simd<T>, const R: usize, const N: usize>(&mut self, simd: S, first: usize) {
        let mut sums = [[simd.splat(T::ZERO); N]; R];
        let products = self.products.as_mut_ptr();
        if self.go_on {
            for r in 0..R {
                for n in 0..N {
                    // SAFETY: `Product::eval` has checked that there is room for all vectors of `R` rows.
                    sums[r][n] = unsafe { simd.load(products.add(r * self.pitch + first + n * S::LANES)) };
                }
            }
        }
        let (mut kernels, mut inputs) = (self.kernels.as_ptr(), self.inputs.as_ptr().wrapping_add(first));
        for _ in 0..self.depth {
            let mut tiles = [simd.splat(T::ZERO); N];
            // SAFETY: `Product::eval` has checked that there are `R` kernels and all vectors for each input channel.
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
