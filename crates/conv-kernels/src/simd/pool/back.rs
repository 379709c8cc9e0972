//! The way back to the largest of 2x2 pixels, with vectors.
//!
//! ```text
//! for each output row:  for each vector of its columns:
//!     the gradients, where the offset of the largest pixel is that of one of the four, and else zeros: four vectors
//!     interleaved, they are a piece of two rows of pixels
//! ```
//!
//! Offsets are numbers in vectors, small enough to be exact. Two or four rows share a vector if they fill it. Other rows that
//! are narrower than a vector are written with leavings behind them, which the next row replaces.

use super::super::{MAX_VECTOR, Op, Simd};
use super::{LARGEST, together};
use crate::Scalar;

/// Gradients of planes under windows of 2x2 pixels, side by side.
pub(crate) struct PairsBack<'a, T> {
    /// Pixels of a row.
    pub(crate) width: usize,
    /// Pixels of a plane: at most [`LARGEST`].
    pub(crate) plane: usize,
    /// `[rows, columns]` of a plane's outputs.
    pub(crate) outputs: [usize; 2],
    /// Gradients of the outputs.
    pub(crate) dy: &'a [T],
    /// Where the largest pixel of each is, in its plane.
    pub(crate) positions: &'a [u32],
    /// Gradients of the pixels, overwritten.
    pub(crate) dx: &'a mut [T],
    /// Set if a position lies elsewhere than under its own window: then `dx` means nothing.
    pub(crate) strays: &'a mut bool,
}

/// What vectors of the plane have in common.
struct Shared<V> {
    /// From the first pixel under a vector to that under each of its outputs.
    places: V,
    /// Ones for the outputs that count.
    counts: V,
}

impl<T: Scalar> Op<T> for PairsBack<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(mut self, simd: S) {
        let ([rows, columns], planes) = (self.outputs, self.dx.len() / self.plane.max(1));
        assert!(rows > 0 && columns > 0 && 2 * columns <= self.width, "windows fit the rows");
        assert!(2 * rows * self.width <= self.plane && self.plane <= LARGEST, "windows fit the planes");
        assert!(self.dy.len() == planes * rows * columns && self.positions.len() == self.dy.len(), "all outputs");
        let many = together::<T, S>(columns);
        let (mut places, mut counts) = ([0; MAX_VECTOR], [0; MAX_VECTOR]);
        for lane in 0..S::LANES {
            let row = if many > 1 { lane / columns } else { 0 };
            places[lane] = (row * 2 * self.width + 2 * (lane - row * columns)) as u32;
            counts[lane] = u32::from(lane < many * columns);
        }
        // SAFETY: no vector has more lanes.
        let shared =
            unsafe { Shared { places: simd.load_u32(places.as_ptr()), counts: simd.load_u32(counts.as_ptr()) } };
        let mut strays = simd.splat(T::ZERO);
        for plane in 0..planes {
            let (output, pixel) = (plane * rows * columns, plane * self.plane);
            let mut row = 0;
            while row < rows {
                let fill = row + many <= rows;
                let (output, first) = (output + row * columns, pixel + 2 * row * self.width);
                if many > 1 && fill {
                    // SAFETY: these outputs, which fill the vector, and the pixels under them are there.
                    strays = unsafe {
                        if many == 2 {
                            self.vector::<S, 2>(simd, &shared, [output, first, pixel], strays)
                        } else {
                            self.vector::<S, 4>(simd, &shared, [output, first, pixel], strays)
                        }
                    };
                } else {
                    strays = self.row(simd, &shared, [output, first, pixel], strays);
                }
                row += if fill { many } else { 1 };
            }
            self.edges(pixel);
        }
        let mut sums = [T::ZERO; MAX_VECTOR];
        // SAFETY: no vector has more lanes.
        unsafe { simd.store(strays, sums.as_mut_ptr()) };
        *self.strays |= sums.iter().any(|&sum| sum != T::ZERO);
    }
}

impl<T: Scalar> PairsBack<'_, T> {
    /// Zeros right of the windows of a plane, and below them.
    #[inline(always)]
    fn edges(&mut self, plane: usize) {
        let [rows, columns] = self.outputs;
        let (under, below) = self.dx[plane..plane + self.plane].split_at_mut(2 * rows * self.width);
        if 2 * columns < self.width {
            under.chunks_exact_mut(self.width).for_each(|row| row[2 * columns..].fill(T::ZERO));
        }
        below.fill(T::ZERO);
    }

    /// One row of outputs, `[output, the pixel under it, the plane's first]`. Adds to `strays`.
    #[inline(always)]
    fn row<S: Simd<T>>(
        &mut self,
        simd: S,
        shared: &Shared<S::Vector>,
        [output, pixel, plane]: [usize; 3],
        mut strays: S::Vector,
    ) -> S::Vector {
        let columns = self.outputs[1];
        for start in (0..columns).step_by(S::LANES) {
            // The last vector begins earlier where the row is no multiple.
            let start = start.min(columns.saturating_sub(S::LANES));
            let [output, pixel] = [output + start, pixel + 2 * start];
            if output + S::LANES <= self.dy.len() && pixel + self.width + 2 * S::LANES <= self.dx.len() {
                // SAFETY: these outputs and pixels are there.
                strays = unsafe { self.vector::<S, 1>(simd, shared, [output, pixel, plane], strays) };
            } else if !self.scalar([output, pixel, plane], columns.min(S::LANES)) {
                strays = simd.splat(T::one());
            }
        }
        strays
    }

    /// `LANES` outputs of `ROWS` rows: 1 (which may be shorter, and leaves leavings behind it), 2 or 4. Answers as above.
    ///
    /// # Safety
    ///
    /// The outputs, and whole vectors of pixels in both rows under each row of outputs, must be there.
    #[inline(always)]
    unsafe fn vector<S: Simd<T>, const ROWS: usize>(
        &mut self,
        simd: S,
        Shared { places, counts }: &Shared<S::Vector>,
        [output, pixel, plane]: [usize; 3],
        strays: S::Vector,
    ) -> S::Vector {
        let number = |number: usize| simd.splat(T::of(number as f64));
        let (zero, one, width) = (simd.splat(T::ZERO), simd.splat(T::one()), number(self.width));
        // SAFETY: the caller promises the outputs.
        let (positions, dy) =
            unsafe { (simd.load_u32(self.positions.as_ptr().add(output)), simd.load(self.dy.as_ptr().add(output))) };
        let offsets = simd.sub(simd.sub(positions, number(pixel - plane)), *places);
        // Of the first pixel of the lower row.
        let lower = simd.sub(offsets, width);
        let (beyond, lower_beyond) = (simd.sub(offsets, one), simd.sub(lower, one));
        // No product of neighbouring whole numbers is negative, and only those with zero are zero.
        let stray = simd.mul(simd.mul(offsets, beyond), simd.mul(lower, lower_beyond));
        let strays = simd.mul_add(simd.where_positive(stray, one, zero), *counts, strays);
        // As if added to zero, which takes the sign from -0.
        let dy = simd.add(dy, zero);
        let top = simd.interleave(
            simd.where_positive(offsets, zero, dy),
            simd.where_positive(offsets, simd.where_positive(beyond, zero, dy), zero),
        );
        let bottom = simd.interleave(
            simd.where_positive(beyond, simd.where_positive(lower, zero, dy), zero),
            simd.where_positive(lower, dy, zero),
        );
        let dx = self.dx.as_mut_ptr().wrapping_add(pixel);
        for (line, (low, high)) in [top, bottom].into_iter().enumerate() {
            let row = |row: usize| dx.wrapping_add((2 * row + line) * self.width);
            // SAFETY: the caller promises these pixels.
            unsafe {
                match ROWS {
                    1 => {
                        simd.store(low, row(0));
                        simd.store(high, row(0).add(S::LANES));
                    }
                    2 => {
                        simd.store(low, row(0));
                        simd.store(high, row(1));
                    }
                    _ => {
                        simd.store_pieces(low, [row(0), row(1)]);
                        simd.store_pieces(high, [row(2), row(3)]);
                    }
                }
            }
        }
        strays
    }

    /// Outputs of one row, by the definition. Answers whether all positions lie under their own windows.
    #[inline(always)]
    fn scalar(&mut self, [output, pixel, plane]: [usize; 3], count: usize) -> bool {
        let mut own = true;
        for index in 0..count {
            let offset = (self.positions[output + index] as usize).wrapping_sub(pixel - plane + 2 * index);
            let gradient = self.dy[output + index] + T::ZERO;
            let window = [0, 1, self.width, self.width + 1];
            for at in window {
                self.dx[pixel + 2 * index + at] = if offset == at { gradient } else { T::ZERO };
            }
            own &= window.contains(&offset);
        }
        own
    }
}
