//! Pixels from products.

use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::{ArrayViewMut2, Axis, Slice};

use super::super::tiles::activate;
use super::pooled::Positions;
use super::{F2x3, F2x3By2, F2x5, F2x5By2, F4x3, Filter, Tile, with_filter};
use crate::conv::definition::all_finite;
use crate::simd::squares::{from_lanes, lanes_len};
use crate::simd::{MAX_VECTOR, Op, Simd};
use crate::{Activation, Scalar};

/// `σ(Aᵀ p A + b)`: the pixels of some rows of tiles, lanes are output channels.
pub(crate) struct OutputTransform<'a, T> {
    pub(crate) tile: Tile,
    /// `M (point, tile, output channel)`.
    pub(crate) products: &'a [T],
    /// From one point to the next.
    pub(crate) plane: usize,
    /// From one tile to the next: one or two whole vectors.
    pub(crate) width: usize,
    /// Rows and columns of tiles, columns for one of `step`.
    pub(crate) tiles: [usize; 2],
    /// From one column of a tile to the next: see [`PixelTransform`](super::PixelTransform).
    pub(crate) step: usize,
    /// One number an output channel, or nothing.
    pub(crate) bias: Option<&'a [T]>,
    /// σ, where a vector can do it; the others are left to the caller.
    pub(crate) activation: Activation,
    /// Room for the pixels before they are turned, [`OutputTransform::pixels_len`].
    pub(crate) pixels: &'a mut [T],
    /// The feature maps, one a row: no more than `width`.
    pub(crate) maps: ArrayViewMut2<'a, T>,
    /// Lines and columns that the tiles have of the maps: other pixels of the last ones are left out.
    pub(crate) window: [usize; 2],
    /// Where these begin in a map, and how far apart its lines are.
    pub(crate) first: usize,
    pub(crate) line_pitch: usize,
    /// Told when a sum is not finite.
    pub(crate) strange: &'a AtomicBool,
    /// If there are some, then all this is about maps after 2x2 max pooling, and `step` is 1.
    pub(crate) positions: Option<Positions<'a>>,
}

impl<T: Scalar> Op<T> for OutputTransform<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(mut self, simd: S) {
        let ([rows, columns], side) = ([self.tiles[0], self.step * self.tiles[1]], self.tile.side());
        let read = (self.tile.points() - 1) * self.plane + rows * columns * self.width;
        assert!(read <= self.products.len(), "products at all points");
        assert!(Self::pixels_len(self.tile, [rows, columns], S::LANES) <= self.pixels.len(), "room for all pixels");
        let side = if self.positions.is_some() { side / 2 } else { side };
        assert!(self.window[0] <= rows * side && self.window[1] <= columns * side, "all pixels are in tiles");
        assert!(self.positions.is_none() || self.step == 1, "windows are within tiles");
        assert!(self.maps.nrows() <= self.width && self.width.is_multiple_of(S::LANES), "whole vectors for all maps");
        for first in (0..self.maps.nrows()).step_by(S::LANES) {
            self.prefetch(simd, first);
            if self.positions.is_some() {
                with_filter!(self.tile, self.pool::<S>(simd, first));
                continue;
            }
            let line_len = self.window[1];
            with_filter!(self.tile, self.transform::<S>(simd, first, line_len));
            self.turn(simd, first);
        }
    }
}

impl<T: Scalar> OutputTransform<'_, T> {
    /// Elements of the room for pixels.
    pub(crate) const fn pixels_len(tile: Tile, [rows, columns]: [usize; 2], lanes: usize) -> usize {
        let side = tile.side();
        rows * side * columns * side * lanes + lanes_len(0, lanes)
    }

    /// Asks for the maps of these channels: they come while the pixels are transformed.
    #[inline(always)]
    fn prefetch<S: Simd<T>>(&mut self, simd: S, first: usize) {
        let ([lines, width], pitch) = (self.window, self.maps.strides()[0]);
        let (runs, len) = if width == self.line_pitch { (1, lines * width) } else { (lines, width) };
        for map in first..self.maps.nrows().min(first + S::LANES) {
            let map = self.maps.as_mut_ptr().wrapping_offset(map as isize * pitch).wrapping_add(self.first);
            for (run, pixel) in (0..runs).flat_map(|run| (0..len).step_by(S::LANES).map(move |pixel| (run, pixel))) {
                simd.prefetch(map.wrapping_add(run * self.line_pitch + pixel));
            }
        }
    }

    /// The pixels of the vector of output channels from `first` on, in lines of so many.
    #[inline(always)]
    pub(super) fn transform<
        S: Simd<T>,
        F: Filter<K, L, M, N>,
        const K: usize,
        const L: usize,
        const M: usize,
        const N: usize,
    >(
        &mut self,
        simd: S,
        first: usize,
        line_len: usize,
    ) {
        let (bias, mut finite) = (self.bias::<S>(simd, first), simd.splat(T::ZERO));
        let ([rows, columns], step) = (self.tiles, self.step);
        for tile in 0..rows * step * columns {
            let (row, phase, column) = (tile / columns / step, tile / columns % step, tile % columns);
            let pixels = self.tile::<S, F, K, L, M, N>(simd, tile, first, bias, &mut finite);
            for line in 0..M {
                for index in 0..M {
                    let pixel = (column * M + index) * step + phase;
                    if pixel < line_len {
                        let at = ((row * M + line) * line_len + pixel) * S::LANES;
                        // SAFETY: `eval` has checked that there is room for all pixels of all tiles.
                        unsafe { simd.store(pixels[line][index], self.pixels.as_mut_ptr().add(at)) };
                    }
                }
            }
        }
        self.tell(simd, finite);
    }

    /// `finite` is a vector of zeros to which only infinities and NaN have added something: NaN.
    #[inline(always)]
    pub(super) fn tell<S: Simd<T>>(&self, simd: S, finite: S::Vector) {
        let mut lanes = [T::ZERO; MAX_VECTOR];
        // SAFETY: no vector has more than `MAX_VECTOR` lanes.
        unsafe { simd.store(finite, lanes.as_mut_ptr()) };
        if !all_finite(&lanes) {
            self.strange.store(true, Ordering::Relaxed);
        }
    }

    /// The bias of these channels.
    #[inline(always)]
    pub(super) fn bias<S: Simd<T>>(&self, simd: S, first: usize) -> S::Vector {
        let count = S::LANES.min(self.maps.nrows() - first);
        let mut bias = [T::ZERO; MAX_VECTOR];
        if let Some(all) = self.bias {
            bias[..count].copy_from_slice(&all[first..first + count]);
        }
        // SAFETY: no vector has more than `MAX_VECTOR` lanes.
        unsafe { simd.load(bias.as_ptr()) }
    }

    /// The pixels of a tile; the sums that are not finite make `finite` NaN.
    #[inline(always)]
    pub(super) fn tile<
        S: Simd<T>,
        F: Filter<K, L, M, N>,
        const K: usize,
        const L: usize,
        const M: usize,
        const N: usize,
    >(
        &self,
        simd: S,
        tile: usize,
        first: usize,
        bias: S::Vector,
        finite: &mut S::Vector,
    ) -> [[S::Vector; M]; M] {
        let (products, zero) = (self.products[tile * self.width + first..].as_ptr(), simd.splat(T::ZERO));
        // Columns first, each as it is read.
        let mut half = [[simd.splat(T::ZERO); N]; M];
        for column in 0..N {
            let mut line = [simd.splat(T::ZERO); N];
            for row in 0..N {
                // SAFETY: `eval` has checked that there are whole vectors of all tiles at all `N · N` points.
                line[row] = unsafe { simd.load(products.add((row * N + column) * self.plane)) };
            }
            let line = F::output::<T, S>(simd, line);
            for row in 0..M {
                half[row][column] = line[row];
            }
        }
        let mut pixels = [[simd.splat(T::ZERO); M]; M];
        for row in 0..M {
            pixels[row] = F::output::<T, S>(simd, half[row]);
        }
        for row in 0..M {
            for column in 0..M {
                pixels[row][column] = simd.add(pixels[row][column], bias);
                *finite = simd.mul_add(pixels[row][column], zero, *finite);
            }
        }
        activate(simd, self.activation, &mut pixels);
        pixels
    }

    /// The pixels of these channels into their maps.
    #[inline(always)]
    pub(super) fn turn<S: Simd<T>>(&mut self, simd: S, first: usize) {
        let ([lines, width], end) = (self.window, self.maps.nrows().min(first + S::LANES));
        let mut maps = self.maps.slice_axis_mut(Axis(0), Slice::from(first..end));
        // Lines side by side are one.
        let (runs, len) = if width == self.line_pitch { (1, lines * width) } else { (lines, width) };
        for run in 0..runs {
            let place = [self.first + run * self.line_pitch, len];
            from_lanes(simd, &self.pixels[run * len * S::LANES..], place, &mut maps);
        }
    }
}
