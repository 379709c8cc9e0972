//! 2x2 max pooling of pixels that no map has seen: windows lie within tiles.
//!
//! ```text
//! for each tile, for each of its windows:
//!     the largest of four vectors of pixels, and its place          lanes are channels
//! turn the largest, and the places, into maps                       a quarter of what would be turned without pooling
//! ```
//!
//! Three comparisons a window, which are differences. Where one is NaN they say nothing: the caller is told, as of all sums
//! that are not finite, and pools in another way.

use ndarray::{ArrayViewMut2, Axis, Slice};

use super::Filter;
use super::output::OutputTransform;
use crate::Scalar;
use crate::simd::Simd;
use crate::simd::squares::from_lanes_u32;

/// Where the largest pixels were.
pub(crate) struct Positions<'a> {
    /// As the pooled maps.
    pub(crate) maps: ArrayViewMut2<'a, u32>,
    /// The position of the first tile's first pixel.
    pub(crate) first: usize,
    /// Pixels of a row of the maps before pooling.
    pub(crate) width: usize,
}

impl<T: Scalar> OutputTransform<'_, T> {
    /// What the windows of the vector of output channels from `first` on hold.
    #[inline(always)]
    pub(super) fn pool<
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
    ) {
        let Some(positions) = &self.positions else { return };
        let (corner, width, line_len) = (positions.first, positions.width, self.window[1]);
        let ([rows, columns], bias, zero) = (self.tiles, self.bias::<S>(simd, first), simd.splat(T::ZERO));
        let mut offsets = [zero; 3];
        for (offset, pixels) in offsets.iter_mut().zip([1, width, width + 1]) {
            *offset = simd.splat(T::of(pixels as f64));
        }
        let behind = rows * (M / 2) * line_len * S::LANES;
        let mut finite = zero;
        for tile in 0..rows * columns {
            let (row, column) = (tile / columns, tile % columns);
            let pixels = self.tile::<S, F, K, L, M, N>(simd, tile, first, bias, &mut finite);
            for line in 0..M / 2 {
                for index in 0..M / 2 {
                    let [top, left] = [2 * line, 2 * index];
                    let upper = [pixels[top][left], pixels[top][left + 1]];
                    let lower = [pixels[top + 1][left], pixels[top + 1][left + 1]];
                    let (largest, place) = largest(simd, [upper, lower], offsets);
                    let position = corner + (row * M + top) * width + column * M + left;
                    let place = simd.add(place, simd.splat(T::of(position as f64)));
                    let pixel = column * (M / 2) + index;
                    if pixel < line_len {
                        let at = ((row * (M / 2) + line) * line_len + pixel) * S::LANES;
                        // SAFETY: `eval` has checked that there is room for all pixels of all tiles, at least four times as
                        // many.
                        unsafe {
                            simd.store(largest, self.pixels.as_mut_ptr().add(at));
                            simd.store(place, self.pixels.as_mut_ptr().add(behind + at));
                        }
                    }
                }
            }
        }
        self.tell(simd, finite);
        self.turn(simd, first);
        self.turn_places(simd, first, behind);
    }

    /// The places of the largest pixels, which lie from `from` on.
    #[inline(always)]
    fn turn_places<S: Simd<T>>(&mut self, simd: S, first: usize, from: usize) {
        let ([lines, width], end) = (self.window, self.maps.nrows().min(first + S::LANES));
        let Some(positions) = &mut self.positions else { return };
        let mut maps = positions.maps.slice_axis_mut(Axis(0), Slice::from(first..end));
        let (runs, len) = if width == self.line_pitch { (1, lines * width) } else { (lines, width) };
        for run in 0..runs {
            let place = [self.first + run * self.line_pitch, len];
            from_lanes_u32(simd, &self.pixels[from + run * len * S::LANES..], place, &mut maps);
        }
    }
}

/// The largest of a window, of equal ones the first, and its offset from the window's first pixel; `offsets` are those of the
/// others.
#[inline(always)]
fn largest<T: Scalar, S: Simd<T>>(
    simd: S,
    window: [[S::Vector; 2]; 2],
    offsets: [S::Vector; 3],
) -> (S::Vector, S::Vector) {
    let mut largest = [window[0][0], window[1][0]];
    let mut places = [simd.splat(T::ZERO), offsets[1]];
    for row in 0..2 {
        let above = simd.sub(window[row][1], largest[row]);
        places[row] = simd.where_positive(above, offsets[2 * row], places[row]);
        largest[row] = simd.where_positive(above, window[row][1], largest[row]);
    }
    let above = simd.sub(largest[1], largest[0]);
    (simd.where_positive(above, largest[1], largest[0]), simd.where_positive(above, places[1], places[0]))
}
