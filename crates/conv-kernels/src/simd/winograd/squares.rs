//! Rows of pixels or weights of several channels, turned into vectors with a lane for each channel, and back.
//!
//! Squares of as many rows and columns as a vector has lanes are transposed. The last one begins earlier, and overlaps;
//! what is less than a square goes through a corner of its own.

use ndarray::ArrayViewMut2;

use super::super::{MAX_VECTOR, Simd};
use crate::Scalar;

/// Room that [`to_lanes`] needs for so many columns.
pub(super) const fn lanes_len(columns: usize, lanes: usize) -> usize {
    (if columns > lanes { columns } else { lanes }) * lanes
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
    assert!((1..=S::LANES).contains(&rows) && columns > 0, "a vector of rows, or less");
    assert!((rows - 1) * pitch + columns <= from.len(), "all rows are there");
    assert!(lanes_len(columns, S::LANES) <= to.len(), "room for whole squares");
    let readable = (S::LANES - 1) * pitch + columns.max(S::LANES) <= from.len();
    let mut corner = [T::ZERO; MAX_VECTOR * MAX_VECTOR];
    for first in (0..columns).step_by(S::LANES) {
        let first = first.min(columns.saturating_sub(S::LANES));
        let to = to[first * S::LANES..].as_mut_ptr();
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
