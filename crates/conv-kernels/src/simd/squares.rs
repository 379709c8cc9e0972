//! Rows of pixels or weights of several channels, turned into vectors with a lane for each channel, and back.
//!
//! Squares of as many rows and columns as a vector has lanes are transposed. The last one begins earlier, and overlaps;
//! what is less than a square goes through a corner of its own.

use ndarray::ArrayViewMut2;

use super::{MAX_VECTOR, Op, Simd};
use crate::Scalar;

/// How many squares ahead pixels are asked for.
const AHEAD: usize = 2;

/// Room that [`to_lanes`] needs for so many columns.
pub(super) const fn lanes_len(columns: usize, lanes: usize) -> usize {
    (if columns > lanes { columns } else { lanes }) * lanes
}

/// Whether rows of `pitch` are there, and room for their squares.
#[inline(always)]
fn check(lanes: usize, [rows, columns]: [usize; 2], from: usize, pitch: usize, to: usize) {
    assert!((1..=lanes).contains(&rows) && columns > 0, "a vector of rows, or less");
    assert!((rows - 1) * pitch + columns <= from, "all rows are there");
    assert!(lanes_len(columns, lanes) <= to, "room for whole squares");
}

/// `to[column · LANES + row] = from[row · pitch + column]` for as many rows as a vector has lanes, or fewer: then there
/// are zeros in the other lanes. Leavings may follow the last of less than `LANES` columns.
#[inline(always)]
pub(super) fn to_lanes<T: Scalar, S: Simd<T>>(
    simd: S,
    from: &[T],
    pitch: usize,
    [rows, columns]: [usize; 2],
    to: &mut [T],
) {
    check(S::LANES, [rows, columns], from.len(), pitch, to.len());
    // So many rows are more than CPUs follow by themselves; but rows a page apart compete for the same places in the cache.
    let collide = (pitch * size_of::<T>()).is_multiple_of(4096);
    let readable = (S::LANES - 1) * pitch + columns.max(S::LANES) <= from.len();
    let mut corner = [T::ZERO; MAX_VECTOR * MAX_VECTOR];
    for first in (0..columns).step_by(S::LANES) {
        let first = first.min(columns.saturating_sub(S::LANES));
        let to = to[first * S::LANES..].as_mut_ptr();
        if !collide {
            for row in 0..rows {
                simd.prefetch_read(from.as_ptr().wrapping_add(row * pitch + first + AHEAD * S::LANES));
            }
        }
        if rows == S::LANES && readable {
            // SAFETY: `LANES` elements from `first` on can be read in all rows, and there is room for a square.
            unsafe { simd.transpose(from.as_ptr().add(first), pitch, to, S::LANES) };
            continue;
        }
        let count = columns.min(S::LANES);
        for row in 0..rows {
            corner[row * S::LANES..][..count].copy_from_slice(&from[row * pitch + first..][..count]);
        }
        // SAFETY: the corner holds the largest square there is; the room as above.
        unsafe { simd.transpose(corner.as_ptr(), S::LANES, to, S::LANES) };
    }
}

/// [`to_lanes`] for places: whole numbers, less than 2^24. Lanes without a row are like the first, so that they are places too.
#[inline(always)]
pub(super) fn to_lanes_u32<T: Scalar, S: Simd<T>>(
    simd: S,
    from: &[u32],
    pitch: usize,
    [rows, columns]: [usize; 2],
    to: &mut [T],
) {
    check(S::LANES, [rows, columns], from.len(), pitch, to.len());
    let mut corner = [T::ZERO; MAX_VECTOR * MAX_VECTOR];
    let mut numbers = [0; MAX_VECTOR];
    for first in (0..columns).step_by(S::LANES) {
        let first = first.min(columns.saturating_sub(S::LANES));
        let count = columns.min(S::LANES);
        for row in 0..S::LANES {
            let mut from = &from[if row < rows { row } else { 0 } * pitch + first..][..count];
            if count < S::LANES {
                numbers[..count].copy_from_slice(from);
                from = &numbers;
            }
            // SAFETY: a whole vector of numbers is there, and the corner holds the largest square there is.
            unsafe { simd.store(simd.load_u32(from.as_ptr()), corner.as_mut_ptr().add(row * S::LANES)) };
        }
        // SAFETY: as above; there is room for whole squares.
        unsafe { simd.transpose(corner.as_ptr(), S::LANES, to[first * S::LANES..].as_mut_ptr(), S::LANES) };
    }
}

/// `to[row][first + column] = from[column · LANES + row]` for so many columns, and all rows: at most `LANES`.
#[inline(always)]
pub(super) fn from_lanes<T: Scalar, S: Simd<T>>(
    simd: S,
    from: &[T],
    [first, columns]: [usize; 2],
    to: &mut ArrayViewMut2<'_, T>,
) {
    let (rows, len) = to.dim();
    assert!((1..=S::LANES).contains(&rows) && first + columns <= len, "room for all rows");
    assert!(lanes_len(columns, S::LANES) <= from.len(), "whole squares");
    assert!(len == 1 || to.strides()[1] == 1, "rows are contiguous");
    let mut corner = [T::ZERO; MAX_VECTOR * MAX_VECTOR];
    for column in (0..columns).step_by(S::LANES) {
        let column = column.min(columns.saturating_sub(S::LANES));
        let from = from[column * S::LANES..].as_ptr();
        if rows == S::LANES && columns >= S::LANES {
            let pitch = to.strides()[0];
            // SAFETY: `LANES` columns follow in all `LANES` rows, and a whole square can be read.
            unsafe { simd.transpose(from, S::LANES, to.as_mut_ptr().add(first + column), pitch as usize) };
            continue;
        }
        // SAFETY: the corner holds the largest square there is; reading as above.
        unsafe { simd.transpose(from, S::LANES, corner.as_mut_ptr(), S::LANES) };
        for row in 0..rows {
            for lane in 0..columns.min(S::LANES) {
                to[[row, first + column + lane]] = corner[row * S::LANES + lane];
            }
        }
    }
}

/// [`from_lanes`] for places.
#[inline(always)]
pub(super) fn from_lanes_u32<T: Scalar, S: Simd<T>>(
    simd: S,
    from: &[T],
    [first, columns]: [usize; 2],
    to: &mut ArrayViewMut2<'_, u32>,
) {
    let (rows, len) = to.dim();
    assert!((1..=S::LANES).contains(&rows) && first + columns <= len, "room for all rows");
    assert!(lanes_len(columns, S::LANES) <= from.len(), "whole squares");
    assert!(len == 1 || to.strides()[1] == 1, "rows are contiguous");
    let mut corner = [T::ZERO; MAX_VECTOR * MAX_VECTOR];
    let mut numbers = [0; MAX_VECTOR];
    let pitch = to.strides()[0] as usize;
    for column in (0..columns).step_by(S::LANES) {
        let column = column.min(columns.saturating_sub(S::LANES));
        let count = columns.min(S::LANES);
        // SAFETY: a whole square can be read, and the corner holds the largest there is.
        unsafe { simd.transpose(from[column * S::LANES..].as_ptr(), S::LANES, corner.as_mut_ptr(), S::LANES) };
        for row in 0..rows {
            // SAFETY: the corner has whole vectors; `LANES` columns follow in all rows, or else the numbers have room.
            unsafe {
                let places = simd.load(corner.as_ptr().add(row * S::LANES));
                if count == S::LANES {
                    simd.store_u32(places, to.as_mut_ptr().add(row * pitch + first + column));
                    continue;
                }
                simd.store_u32(places, numbers.as_mut_ptr());
            }
            for lane in 0..count {
                to[[row, first + column + lane]] = numbers[lane];
            }
        }
    }
}

/// `to[column][row] = from[row · columns + column]`.
pub(crate) struct Transpose<'a, T> {
    pub(crate) from: &'a [T],
    /// Rows are contiguous.
    pub(crate) to: ArrayViewMut2<'a, T>,
}

impl<T: Scalar> Op<T> for Transpose<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(mut self, simd: S) {
        let (columns, rows) = self.to.dim();
        assert_eq!(self.from.len(), rows * columns, "all elements");
        assert!(rows < 2 || self.to.strides()[1] == 1, "rows are contiguous");
        let whole = [rows, columns].map(|len| len / S::LANES * S::LANES);
        for row in (0..whole[0]).step_by(S::LANES) {
            for column in (0..whole[1]).step_by(S::LANES) {
                let pitch = self.to.strides()[0];
                // SAFETY: a square of rows and columns follows, here and there.
                unsafe {
                    let to = self.to.as_mut_ptr().offset(column as isize * pitch).add(row);
                    simd.transpose(self.from.as_ptr().add(row * columns + column), columns, to, pitch as usize);
                }
            }
        }
        for row in 0..rows {
            let first = if row < whole[0] { whole[1] } else { 0 };
            for column in first..columns {
                self.to[[column, row]] = self.from[row * columns + column];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, s};

    use super::*;
    use crate::simd::Isa;

    /// Both ways, for squares and for less, with and without something behind the last row.
    struct Check;

    impl Op<f32> for Check {
        #[inline(always)]
        fn eval<S: Simd<f32>>(self, simd: S) {
            let lanes = S::LANES;
            for (rows, columns) in (1..=lanes).flat_map(|rows| (1..=3 * lanes).map(move |columns| (rows, columns))) {
                for (gap, behind) in [(0, 0), (3, 0), (3, 2 * lanes)] {
                    let pitch = columns + gap;
                    let from: Vec<f32> = (1..=(rows - 1) * pitch + columns + behind).map(|n| n as f32).collect();
                    let mut turned = vec![f32::NAN; lanes_len(columns, lanes)];
                    to_lanes(simd, &from, pitch, [rows, columns], &mut turned);
                    for (column, vector) in turned.chunks(lanes).take(columns).enumerate() {
                        let expected = (0..lanes).map(|row| if row < rows { from[row * pitch + column] } else { 0.0 });
                        assert!(vector.iter().copied().eq(expected), "column {column} of {rows} x {columns}");
                    }
                    let places: Vec<u32> = from.iter().map(|&place| place as u32).collect();
                    let mut turned_places = vec![f32::NAN; lanes_len(columns, lanes)];
                    to_lanes_u32(simd, &places, pitch, [rows, columns], &mut turned_places);
                    for (places, numbers) in turned_places.chunks(lanes).zip(turned.chunks(lanes)).take(columns) {
                        assert_eq!(places[..rows], numbers[..rows]);
                        assert!(places[rows..].iter().all(|&place| place == places[0]));
                    }
                    let mut back = Array2::from_elem((rows, pitch + 2), -1.0);
                    from_lanes(simd, &turned, [1, columns], &mut back.view_mut());
                    for (row, back) in back.rows().into_iter().enumerate() {
                        assert_eq!(back.slice(s![1..=columns]).to_vec(), from[row * pitch..][..columns]);
                        assert!(back[0] == -1.0 && back.iter().skip(columns + 1).all(|&number| number == -1.0));
                    }
                }
            }
        }
    }

    #[test]
    fn rows_become_lanes_and_rows_again() {
        for isa in Isa::available() {
            <f32 as Scalar>::run(isa, Check);
        }
    }

    #[test]
    fn rows_become_columns() {
        for isa in Isa::available() {
            for (rows, columns) in (1..=35).flat_map(|rows| (1..=35).map(move |columns| (rows, columns))) {
                let from: Vec<f64> = (0..rows * columns).map(|number| number as f64).collect();
                let mut to = Array2::from_elem((columns + 2, rows + 3), -1.0);
                let part = to.slice_mut(s![1..=columns, 2..rows + 2]);
                <f64 as Scalar>::run(isa, Transpose { from: &from, to: part });
                for ((column, row), &got) in to.indexed_iter() {
                    let inside = (1..=columns).contains(&column) && (2..rows + 2).contains(&row);
                    let expected = if inside { (row - 2) * columns + column - 1 } else { 0 };
                    assert_eq!(got, if inside { expected as f64 } else { -1.0 });
                }
            }
        }
    }
}
