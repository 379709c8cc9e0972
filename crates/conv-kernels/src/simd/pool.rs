//! The largest pixel under each window, with vectors.
//!
//! ```text
//! for each output row:  for each vector of its columns:  for each pixel (i, j) of the window:
//!     take the pixel, and the offset of (i, j), in the lanes where it is greater than the largest so far
//! ```
//!
//! The offsets travel as bits in vectors of numbers, which are moved but never computed with. Infinities and NaN make
//! differences that say nothing: rows that hold one are left to the scalar code. Rows that are narrower than a vector
//! are masked, or share one.

use super::{MAX_VECTOR, Op, Simd};
use crate::Scalar;

/// Rows of one plane, and the windows over them.
///
/// Bits and positions are those of [`max_pool2d`](crate::max_pool2d).
pub(crate) struct MaxRows<'a, T> {
    /// The plane from the first row under the first output row on.
    pub(crate) pixels: &'a [T],
    /// Pixels of a row.
    pub(crate) width: usize,
    /// `[rows, columns]` of the window.
    pub(crate) window: [usize; 2],
    /// How far it slides, `[down, right]`.
    pub(crate) stride: [usize; 2],
    /// The position in the plane of the first pixel.
    pub(crate) first: usize,
    /// Output rows.
    pub(crate) y: &'a mut [T],
    /// As long as `y`.
    pub(crate) positions: &'a mut [u32],
}

/// The greater of two pixels with their positions: the first of equal ones, and the first NaN.
#[inline(always)]
fn greater<T: Scalar>(largest: (T, u32), next: (T, u32)) -> (T, u32) {
    if next.0 > largest.0 || (next.0.is_nan() && !largest.0.is_nan()) { next } else { largest }
}

/// A vector of pixels, or what the mask lets pass of one.
///
/// # Safety
///
/// These pixels must be readable.
#[inline(always)]
unsafe fn load<T: Scalar, S: Simd<T>, const MASKED: bool>(simd: S, pixels: *const T, mask: S::Mask) -> S::Vector {
    // SAFETY: the caller promises them.
    unsafe { if MASKED { simd.load_masked(pixels, mask) } else { simd.load(pixels) } }
}

impl<T: Scalar> Op<T> for MaxRows<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let ([rows, columns], [_, right]) = (self.window, self.stride);
        assert!(rows > 0 && (1..=self.width).contains(&columns), "windows fit the rows");
        assert_eq!(self.y.len(), self.positions.len(), "a position for each output");
        match (self.window, self.stride) {
            ([2, 2], [2, 2]) => self.rows::<S, 2>(simd, [2, 2], 2),
            (window, [down, 1]) => self.rows::<S, 1>(simd, window, down),
            // The last pixel of a row would be the second of a pair whose first is not there.
            (window, [down, 2]) if columns > 1 => self.rows::<S, 2>(simd, window, down),
            (window, [down, _]) => self.scalar_rows(window, down, right),
        }
    }
}

impl<T: Scalar> MaxRows<'_, T> {
    /// Output columns.
    #[inline(always)]
    fn columns(&self, right: usize) -> usize {
        (self.width - self.window[1]) / right + 1
    }

    /// All rows; the window is a constant where possible, as is the horizontal stride.
    #[inline(always)]
    fn rows<S: Simd<T>, const RIGHT: usize>(mut self, simd: S, window: [usize; 2], down: usize) {
        let columns = self.columns(RIGHT);
        let rows = self.y.len() / columns;
        if rows > 0 {
            let end = (rows - 1).saturating_mul(down).saturating_add(window[0]).saturating_mul(self.width);
            assert!(end <= self.pixels.len(), "pixels under all windows");
        }
        let pair = RIGHT == 2 && window == [2, 2] && 2 * columns == S::LANES;
        let mut row = 0;
        while row < rows {
            let from = row * down * self.width;
            let mut tame = simd.splat(T::ZERO);
            let mut done = 1;
            if columns >= S::LANES {
                let mut column = 0;
                while column < columns {
                    // The last vector begins earlier where the row is no multiple.
                    let start = column.min(columns - S::LANES);
                    let (corner, output) = (from + start * RIGHT, row * columns + start);
                    // SAFETY: `eval` and this function have checked that the rows of all windows are there.
                    tame = unsafe {
                        self.vector::<S, RIGHT, false>(simd, window, [corner, S::LANES], output, columns, tame)
                    };
                    column += S::LANES;
                }
            } else if pair && row + 1 < rows {
                // Two short rows make a vector.
                // SAFETY: as above, for two rows.
                tame = unsafe {
                    let places = [from, down * self.width];
                    self.vector::<S, RIGHT, false>(simd, window, places, row * columns, columns, tame)
                };
                done = 2;
            } else {
                // SAFETY: as above, for the windows of the row.
                tame = unsafe {
                    self.vector::<S, RIGHT, true>(simd, window, [from, S::LANES], row * columns, columns, tame)
                };
            }
            if !is_zero(simd, tame) {
                for row in row..row + done {
                    self.scalar_row(window, down, RIGHT, row);
                }
            }
            row += done;
        }
    }

    /// `LANES` outputs from `output` on, or, where they are masked, the `columns` of a row: the first half under the
    /// windows from `corner` on, the second from `second` pixels farther. Adds zeros to `tame`, or NaN for pixels that
    /// are not finite.
    ///
    /// # Safety
    ///
    /// The pixels under these windows, and the outputs, must be there.
    #[inline(always)]
    unsafe fn vector<S: Simd<T>, const RIGHT: usize, const MASKED: bool>(
        &mut self,
        simd: S,
        window: [usize; 2],
        [corner, second]: [usize; 2],
        output: usize,
        columns: usize,
        mut tame: S::Vector,
    ) -> S::Vector {
        let zero = simd.splat(T::ZERO);
        let under = RIGHT * columns;
        let masks =
            [under.min(S::LANES), under.saturating_sub(S::LANES).min(S::LANES)].map(|lanes| simd.mask(0..lanes));
        let (mut largest, mut offsets) = (zero, zero);
        for i in 0..window[0] {
            for j in 0..window[1] {
                let at = corner + i * self.width + j;
                // Pairs of pixels: the second ones of those before, lest the last pair should end beyond its row.
                let (start, odd) = if RIGHT == 2 && j > 0 { (at - 1, true) } else { (at, false) };
                let pixels = self.pixels.as_ptr().wrapping_add(start);
                // SAFETY: the caller promises these pixels.
                let next = unsafe {
                    let first = load::<T, S, MASKED>(simd, pixels, masks[0]);
                    if RIGHT == 1 {
                        first
                    } else {
                        let second = load::<T, S, MASKED>(simd, pixels.wrapping_add(second), masks[1]);
                        let (evens, odds) = simd.deinterleave(first, second);
                        if odd { odds } else { evens }
                    }
                };
                tame = simd.mul_add(next, zero, tame);
                if (i, j) == (0, 0) {
                    largest = next;
                } else {
                    let offset = simd.splat(T::from_bits32((i * self.width + j) as u32));
                    offsets = simd.where_positive(simd.sub(next, largest), offset, offsets);
                    largest = simd.max(next, largest);
                }
            }
        }
        let mut bits = [T::ZERO; MAX_VECTOR];
        // SAFETY: no vector has more lanes; the caller promises the outputs.
        unsafe {
            simd.store(offsets, bits.as_mut_ptr());
            let y = self.y.as_mut_ptr().add(output);
            if MASKED {
                simd.store_masked(largest, y, simd.mask(0..columns));
            } else {
                simd.store(largest, y);
            }
        }
        if MASKED {
            let first = (self.first + corner) as u32;
            for (lane, position) in self.positions[output..output + columns].iter_mut().enumerate() {
                *position = first.wrapping_add((lane * RIGHT) as u32).wrapping_add(bits[lane].bits32());
            }
            return tame;
        }
        let positions = &mut self.positions[output..output + S::LANES];
        for half in 0..2 {
            let first = (self.first + corner + half * (second * RIGHT / 2)) as u32;
            for lane in 0..S::LANES / 2 {
                let lane_of = half * (S::LANES / 2) + lane;
                positions[lane_of] = first.wrapping_add((lane * RIGHT) as u32).wrapping_add(bits[lane_of].bits32());
            }
        }
        tame
    }

    #[inline(always)]
    fn scalar_rows(mut self, window: [usize; 2], down: usize, right: usize) {
        for row in 0..self.y.len() / self.columns(right) {
            self.scalar_row(window, down, right, row);
        }
    }

    /// One row by the definition.
    #[inline(always)]
    fn scalar_row(&mut self, window: [usize; 2], down: usize, right: usize, row: usize) {
        let columns = self.columns(right);
        for column in 0..columns {
            let corner = row * down * self.width + column * right;
            // fits: a plane has at most 2^32 pixels
            let mut largest = (self.pixels[corner], (self.first + corner) as u32);
            for i in 0..window[0] {
                for j in 0..window[1] {
                    let at = corner + i * self.width + j;
                    largest = greater(largest, (self.pixels[at], (self.first + at) as u32));
                }
            }
            (self.y[row * columns + column], self.positions[row * columns + column]) = largest;
        }
    }
}

/// Whether all lanes are zero.
#[inline(always)]
fn is_zero<T: Scalar, S: Simd<T>>(simd: S, vector: S::Vector) -> bool {
    let mut lanes = [T::ZERO; MAX_VECTOR];
    // SAFETY: no vector has more lanes.
    unsafe { simd.store(vector, lanes.as_mut_ptr()) };
    lanes[..S::LANES].iter().all(|&lane| lane == T::ZERO)
}
