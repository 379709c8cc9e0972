//! The largest pixel under each window, with vectors.
//!
//! ```text
//! for each output row:  for each vector of its columns:  for each pixel (i, j) of the window:
//!     take the pixel, and the offset of (i, j), in the lanes where it is greater than the largest so far
//! ```
//!
//! Cost: a difference and two choices a pixel of the window, for a whole vector of outputs.
//!
//! The offsets are numbers in vectors, exact in planes of not too many pixels. Infinities and NaN make differences that say
//! nothing: where there is one, all is done again by the scalar code. Two or four rows share a vector if they fill it. Other
//! rows that are narrower than a vector are written with leavings behind them, which the next row replaces; the last ones are
//! masked.

mod back;

pub(crate) use back::PairsBack;

use super::{MAX_VECTOR, Op, Simd};
use crate::Scalar;

/// Positions in planes of at most so many pixels are exact in `f32`.
pub(crate) const LARGEST: usize = 1 << 24;

/// How many rows of so many outputs fill a vector: 1, also where none does, 2, or 4. Windows are 2x2 pixels, side by side.
#[inline(always)]
fn together<T, S: Simd<T>>(columns: usize) -> usize {
    match S::LANES / columns.max(1) {
        2 if 2 * columns == S::LANES => 2,
        4 if 4 * columns == S::LANES && S::PIECES == 2 => 4,
        _ => 1,
    }
}

/// Rows of planes, and the windows over them.
///
/// Bits and positions are those of [`max_pool2d`](crate::max_pool2d).
pub(crate) struct MaxRows<'a, T> {
    /// The planes, the first of them from the first row under the first output row on.
    pub(crate) pixels: &'a [T],
    /// Pixels of a row.
    pub(crate) width: usize,
    /// From one plane to the next, in pixels, and in output rows.
    pub(crate) plane: [usize; 2],
    /// `[rows, columns]` of the window.
    pub(crate) window: [usize; 2],
    /// How far it slides, `[down, right]`.
    pub(crate) stride: [usize; 2],
    /// The position of a plane's first pixel here.
    pub(crate) first: usize,
    /// Output rows.
    pub(crate) y: &'a mut [T],
    /// As long as `y`.
    pub(crate) positions: &'a mut [u32],
}

/// How a vector of outputs is read and written: whole, in two or in four parts of equal length, each from a corner of its own;
/// or, of a row that is shorter, through masks.
const MASKED: usize = 0;
const HALVES: usize = 2;
const QUARTERS: usize = 4;

/// A vector of outputs.
struct Outputs {
    /// The first window of each part.
    corners: [usize; 4],
    /// Where the plane begins.
    plane: usize,
    /// Where the outputs go.
    to: usize,
    /// Outputs of a row.
    columns: usize,
}

/// Windows and how they lie under a vector of outputs.
struct Under<V> {
    window: [usize; 2],
    /// From the first window's corner to each of the others.
    places: V,
}

/// The greater of two pixels with their positions: the first of equal ones, and the first NaN.
#[inline(always)]
pub(super) fn greater<T: Scalar>(largest: (T, u32), next: (T, u32)) -> (T, u32) {
    if next.0 > largest.0 || (next.0.is_nan() && !largest.0.is_nan()) { next } else { largest }
}

impl<T: Scalar> Op<T> for MaxRows<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let ([rows, columns], [_, right]) = (self.window, self.stride);
        assert!(rows > 0 && (1..=self.width).contains(&columns), "windows fit the rows");
        assert_eq!(self.y.len(), self.positions.len(), "a position for each output");
        assert!(self.plane[1] > 0, "planes have rows");
        match (self.window, self.stride) {
            (window, [down, right]) if self.first.saturating_add(self.plane[0]) > LARGEST => {
                self.scalar_rows(window, down, right);
            }
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
        let (columns, [pitch, per_plane]) = (self.columns(RIGHT), self.plane);
        let all = self.y.len() / columns;
        if all == 0 {
            return;
        }
        let of_plane = (per_plane.min(all) - 1).saturating_mul(down).saturating_add(window[0]);
        let end = (all - 1) / per_plane * pitch + of_plane.saturating_mul(self.width);
        assert!(end <= self.pixels.len(), "pixels under all windows");
        let together = if RIGHT == 2 && window == [2, 2] { together::<T, S>(columns) } else { 1 };
        let mut places = [0; MAX_VECTOR];
        for (lane, place) in places[..S::LANES].iter_mut().enumerate() {
            let row = if together > 1 { lane / columns } else { 0 };
            *place = (row * down * self.width + RIGHT * (lane - row * columns)) as u32;
        }
        // SAFETY: no vector has more lanes.
        let under = Under { window, places: unsafe { simd.load_u32(places.as_ptr()) } };
        // What a vector that begins in the last row of the window reads and writes.
        let reach = [(window[0] - 1) * self.width + window[1] - 1 + RIGHT * S::LANES, S::LANES];
        let mut tame = simd.splat(T::ZERO);
        let mut first = 0;
        while first < all {
            let (plane, rows) = (first / per_plane * pitch, per_plane.min(all - first));
            let mut row = 0;
            while row < rows {
                let corner = |row: usize| plane + row * down * self.width;
                let (from, to) = (corner(row), (first + row) * columns);
                let fits = from + reach[0] <= self.pixels.len() && to + reach[1] <= self.y.len();
                let (parts, corners) = match together.min(rows - row) {
                    4 => (QUARTERS, [0, 1, 2, 3].map(|next| corner(row + next))),
                    2 if together == 2 => (HALVES, [from, corner(row + 1), 0, 0]),
                    _ if fits || columns >= S::LANES => (HALVES, [from, from + S::LANES, 0, 0]),
                    _ => (MASKED, [from, from + S::LANES, 0, 0]),
                };
                let mut sums = simd.splat(T::ZERO);
                // A short row, or some, are one vector.
                for column in (0..columns).step_by(S::LANES) {
                    // The last vector begins earlier where the row is no multiple.
                    let start = column.min(columns.saturating_sub(S::LANES));
                    let corners = corners.map(|corner| corner + start * RIGHT);
                    let outputs = Outputs { corners, plane, to: to + start, columns };
                    // SAFETY: the rows of all windows are there, as has been checked; so is what a whole vector reads and
                    // writes beyond a short row, before the next row is written.
                    let pixels = unsafe {
                        match parts {
                            QUARTERS => self.vector::<S, RIGHT, QUARTERS>(simd, &under, outputs),
                            HALVES => self.vector::<S, RIGHT, HALVES>(simd, &under, outputs),
                            _ => self.vector::<S, RIGHT, MASKED>(simd, &under, outputs),
                        }
                    };
                    sums = simd.add(sums, pixels);
                }
                tame = simd.mul_add(sums, simd.splat(T::ZERO), tame);
                row += if parts == MASKED || row + together > rows { 1 } else { together };
            }
            first += rows;
        }
        if !is_zero(simd, tame) {
            self.scalar_rows(window, down, RIGHT);
        }
    }

    /// A vector of outputs: the largest under each window, and where. Answers sums of the pixels: finite, if all of these are.
    ///
    /// # Safety
    ///
    /// The pixels under these windows, and the outputs, must be there: whole vectors, or what the masks let pass.
    #[inline(always)]
    unsafe fn vector<S: Simd<T>, const RIGHT: usize, const PARTS: usize>(
        &mut self,
        simd: S,
        &Under { window, places }: &Under<S::Vector>,
        Outputs { corners, plane, to, columns }: Outputs,
    ) -> S::Vector {
        let zero = simd.splat(T::ZERO);
        let under = RIGHT * columns;
        let masks =
            [under.min(S::LANES), under.saturating_sub(S::LANES).min(S::LANES)].map(|lanes| simd.mask(0..lanes));
        let (mut largest, mut offsets, mut sums) = (zero, zero, zero);
        for i in 0..window[0] {
            for j in 0..window[1] {
                // Pairs of pixels: the second ones of those before, lest the last pair should end beyond its row.
                let odd = RIGHT == 2 && j > 0;
                let at = i * self.width + j - usize::from(odd);
                let pixels = corners.map(|corner| self.pixels.as_ptr().wrapping_add(corner + at));
                // SAFETY: the caller promises these pixels.
                let next = unsafe {
                    let first = match PARTS {
                        MASKED => simd.load_masked(pixels[0], masks[0]),
                        QUARTERS => simd.load_pieces([pixels[0], pixels[1]]),
                        _ => simd.load(pixels[0]),
                    };
                    if RIGHT == 1 {
                        first
                    } else {
                        let second = match PARTS {
                            MASKED => simd.load_masked(pixels[1], masks[1]),
                            QUARTERS => simd.load_pieces([pixels[2], pixels[3]]),
                            _ => simd.load(pixels[1]),
                        };
                        let (evens, odds) = simd.deinterleave(first, second);
                        if odd { odds } else { evens }
                    }
                };
                sums = simd.add(sums, next);
                if (i, j) == (0, 0) {
                    largest = next;
                } else {
                    let offset = simd.splat(T::of((i * self.width + j) as f64));
                    offsets = simd.where_positive(simd.sub(next, largest), offset, offsets);
                    largest = simd.max(next, largest);
                }
            }
        }
        let first = simd.splat(T::of((self.first + corners[0] - plane) as f64));
        let positions = simd.add(simd.add(first, places), offsets);
        let (y, to_positions) = (self.y.as_mut_ptr().wrapping_add(to), self.positions.as_mut_ptr().wrapping_add(to));
        if PARTS == MASKED {
            let mut all = [0; MAX_VECTOR];
            // SAFETY: no vector has more lanes; the caller promises the outputs.
            unsafe {
                simd.store_u32(positions, all.as_mut_ptr());
                simd.store_masked(largest, y, simd.mask(0..columns));
            }
            self.positions[to..to + columns].copy_from_slice(&all[..columns]);
        } else {
            // SAFETY: as above.
            unsafe {
                simd.store_u32(positions, to_positions);
                simd.store(largest, y);
            }
        }
        sums
    }

    #[inline(always)]
    fn scalar_rows(mut self, window: [usize; 2], down: usize, right: usize) {
        let (columns, [pitch, per_plane]) = (self.columns(right), self.plane);
        for row in 0..self.y.len() / columns {
            let from = row % per_plane * down * self.width;
            self.scalar_row(window, right, [row / per_plane * pitch, from], row * columns);
        }
    }

    /// One row by the definition.
    #[inline(always)]
    fn scalar_row(&mut self, window: [usize; 2], right: usize, [plane, from]: [usize; 2], to: usize) {
        let position = |at: usize| (self.first + at) as u32; // fits: a plane has at most 2^32 pixels
        for column in 0..self.columns(right) {
            let corner = from + column * right;
            let mut largest = (self.pixels[plane + corner], position(corner));
            for i in 0..window[0] {
                for j in 0..window[1] {
                    let at = corner + i * self.width + j;
                    largest = greater(largest, (self.pixels[plane + at], position(at)));
                }
            }
            (self.y[to + column], self.positions[to + column]) = largest;
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
