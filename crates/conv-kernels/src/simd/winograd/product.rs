//! The products of all tiles with all kernels at one point.

use std::ops::Range;

use super::super::Simd;
use super::super::tiles::{even_parts, thin_rows, wide_rows, with_rows};
use crate::Scalar;
use crate::simd::Op;

/// Input channels of a part: their kernels stay in the first cache, while all tiles pass.
const PART: usize = 256;

/// `M = Uᵀ V` at one point, for a block of one or two vectors of output channels: for each tile one chain of
/// multiply-adds through the input channels.
///
/// A number of `V` is read as such, and multiplied with the vectors of `U`: registers hold the sums of a few tiles.
pub(crate) struct Product<'a, T> {
    /// `U (input channel, output channel)`.
    pub(crate) kernels: &'a [T],
    /// Output channels: one or two whole vectors.
    pub(crate) width: usize,
    /// Input channels.
    pub(crate) depth: usize,
    /// `V (vector of input channels, tile, channel in it)`.
    pub(crate) inputs: &'a [T],
    /// From one vector of input channels to the next.
    pub(crate) pitch: usize,
    /// How many there are.
    pub(crate) tiles: usize,
    /// `M (tile, output channel)`.
    pub(crate) products: &'a mut [T],
}

impl<T: Scalar> Op<T> for Product<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(mut self, simd: S) {
        let vectors = self.depth.div_ceil(S::LANES);
        assert!(self.depth * self.width <= self.kernels.len(), "a kernel for each pair of channels");
        assert!((vectors - 1) * self.pitch + self.tiles * S::LANES <= self.inputs.len(), "the inputs of all channels");
        assert!(self.tiles * self.width <= self.products.len(), "room for all products");
        assert!(self.width == S::LANES || self.width == 2 * S::LANES, "one vector or two");
        for part in even_parts(vectors, PART / S::LANES) {
            if self.width == S::LANES {
                for tiles in even_parts(self.tiles, thin_rows::<T, S>()) {
                    let (rows, first) = (tiles.len(), tiles.start);
                    with_rows!(rows, ..=thin_rows::<T, S>(), R => self.block::<S, R, 1>(simd, &part, first));
                }
            } else {
                for tiles in even_parts(self.tiles, wide_rows::<T, S>()) {
                    let (rows, first) = (tiles.len(), tiles.start);
                    with_rows!(rows, ..=wide_rows::<T, S>(), R => self.block::<S, R, 2>(simd, &part, first));
                }
            }
        }
    }
}

impl<T: Scalar> Product<'_, T> {
    /// `R` tiles from `first` on: what a part of the vectors of input channels adds.
    #[inline(always)]
    fn block<S: Simd<T>, const R: usize, const N: usize>(&mut self, simd: S, part: &Range<usize>, first: usize) {
        let mut sums = [[simd.splat(T::ZERO); N]; R];
        let products = self.products[first * N * S::LANES..].as_mut_ptr();
        if part.start > 0 {
            for r in 0..R {
                for n in 0..N {
                    // SAFETY: `eval` has checked that there is room for `N` vectors of all tiles.
                    sums[r][n] = unsafe { simd.load(products.add((r * N + n) * S::LANES)) };
                }
            }
        }
        let mut kernels = self.kernels[part.start * S::LANES * N * S::LANES..].as_ptr();
        for vector in part.clone() {
            let mut inputs = self.inputs[vector * self.pitch + first * S::LANES..].as_ptr();
            for _ in 0..S::LANES.min(self.depth - vector * S::LANES) {
                let mut factors = [simd.splat(T::ZERO); N];
                // SAFETY: `eval` has checked that there are `N` vectors of kernels for each input channel, and a vector
                // of input channels for each tile.
                unsafe {
                    for n in 0..N {
                        factors[n] = simd.load(kernels.add(n * S::LANES));
                    }
                    for r in 0..R {
                        let input = simd.splat(*inputs.add(r * S::LANES));
                        for n in 0..N {
                            sums[r][n] = simd.mul_add(input, factors[n], sums[r][n]);
                        }
                    }
                    kernels = kernels.add(N * S::LANES);
                }
                inputs = inputs.wrapping_add(1);
            }
        }
        for r in 0..R {
            for n in 0..N {
                // SAFETY: as for loading them.
                unsafe { simd.store(sums[r][n], products.add((r * N + n) * S::LANES)) };
            }
        }
    }
}
