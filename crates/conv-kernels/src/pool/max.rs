//! The largest pixel under each window, and the way back.
//!
//! ```text
//! for each output row:  for each pixel (i, j) of the window:  for each column:
//!     take the pixel if it is greater than the largest so far, or the first NaN
//! ```
//!
//! One comparison a pixel and window. For windows of 2x2 pixels side by side the four comparisons of a window follow
//! each other, so that rows are read and written once; on the way back each pixel then belongs to one window, and is
//! written once, with the gradient or with zero.

use super::Pool2dShape;
use crate::Scalar;
use crate::simd::{Isa, Op, Simd};

/// The greater of two pixels with their positions: the first of equal ones, and the first NaN.
#[inline(always)]
fn greater<T: Scalar>(largest: (T, u32), next: (T, u32)) -> (T, u32) {
    // no short circuit: a branch for each pixel costs more than both comparisons
    #[expect(clippy::eq_op, reason = "only NaN differs from itself")]
    let takes = (next.0 > largest.0) | ((next.0 != next.0) & (largest.0 == largest.0));
    (if takes { next.0 } else { largest.0 }, if takes { next.1 } else { largest.1 })
}

/// Pools a strip of rows of `width` pixels by windows of 2x2 side by side, as [`max_pool2d`](crate::max_pool2d) does.
///
/// `first` is the position in its plane of the strip's first pixel. `y` and `positions` have `width / 2` elements for
/// each two rows of the strip, which may have more rows.
///
/// # Panics
///
/// If `width` is less than two pixels, or a slice is too short.
pub(crate) fn max_pool_rows<T: Scalar>(
    isa: Isa,
    strip: &[T],
    width: usize,
    first: usize,
    y: &mut [T],
    positions: &mut [u32],
) {
    T::run(isa, Pairs { strip, width, first, y, positions });
}

/// See [`max_pool_rows`].
struct Pairs<'a, T> {
    strip: &'a [T],
    width: usize,
    first: usize,
    y: &'a mut [T],
    positions: &'a mut [u32],
}

impl<T: Scalar> Op<T> for Pairs<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, _: S) {
        let (width, columns) = (self.width, self.width / 2);
        assert!(self.strip.len() >= self.y.len() / columns * 2 * width, "two rows for each output row");
        assert_eq!(self.y.len(), self.positions.len(), "a position for each output");
        let outputs = self.y.chunks_exact_mut(columns).zip(self.positions.chunks_exact_mut(columns));
        for (row, (rows, (y, positions))) in self.strip.chunks_exact(2 * width).zip(outputs).enumerate() {
            let (top, bottom) = rows.split_at(width);
            let (top, bottom) = (&top.as_chunks::<2>().0[..columns], &bottom.as_chunks::<2>().0[..columns]);
            // fits: a plane has at most 2^32 pixels
            let (first, width) = ((self.first + row * 2 * width) as u32, width as u32);
            for column in 0..columns {
                let ([a, b], [c, d]) = (top[column], bottom[column]);
                let largest = greater(greater(greater((a, 0), (b, 1)), (c, width)), (d, width.wrapping_add(1)));
                y[column] = largest.0;
                positions[column] = first.wrapping_add(2 * column as u32).wrapping_add(largest.1);
            }
        }
    }
}

/// Output rows from `first_row` on of one plane, for any window.
pub(super) struct MaxPlane<'a, T> {
    pub(super) shape: &'a Pool2dShape,
    pub(super) plane: &'a [T],
    pub(super) first_row: usize,
    pub(super) y: &'a mut [T],
    pub(super) positions: &'a mut [u32],
}

impl<T: Scalar> Op<T> for MaxPlane<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, _: S) {
        match self.shape.stride()[1] {
            1 => self.rows(1),
            2 => self.rows(2),
            right => self.rows(right),
        }
    }
}

impl<T: Scalar> MaxPlane<'_, T> {
    /// `right` is the horizontal stride, if possible a constant.
    #[inline(always)]
    fn rows(self, right: usize) {
        let (width, columns) = (self.shape.input()[1], self.shape.output()[1]);
        let ([window_rows, window_columns], [down, _]) = (self.shape.window(), self.shape.stride());
        let outputs = self.y.chunks_exact_mut(columns).zip(self.positions.chunks_exact_mut(columns));
        for (row, (y, positions)) in (self.first_row..).zip(outputs) {
            let corner = row * down * width;
            for column in 0..columns {
                let at = corner + column * right;
                (y[column], positions[column]) = (self.plane[at], at as u32);
            }
            for (i, j) in (0..window_rows).flat_map(|i| (0..window_columns).map(move |j| (i, j))).skip(1) {
                let start = corner + i * width + j;
                let pixels = &self.plane[start..][..(columns - 1) * right + 1];
                for column in 0..columns {
                    let next = (pixels[column * right], (start + column * right) as u32);
                    (y[column], positions[column]) = greater((y[column], positions[column]), next);
                }
            }
        }
    }
}

/// Gradients of one plane.
pub(super) struct SendBack<'a, T> {
    pub(super) shape: &'a Pool2dShape,
    pub(super) dy: &'a [T],
    pub(super) positions: &'a [u32],
    pub(super) dx: &'a mut [T],
}

impl<T: Scalar> Op<T> for SendBack<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(mut self, _: S) {
        // Positions may be anybody's, and lie under other windows than their own.
        if !(self.shape.is_pairs() && self.pairs()) {
            self.dx.fill(T::ZERO);
            for (&dy, &position) in self.dy.iter().zip(self.positions) {
                self.dx[position as usize] += dy;
            }
        }
    }
}

impl<T: Scalar> SendBack<'_, T> {
    /// Each pixel once; answers whether all positions lie under their own windows, or else it is not done.
    #[inline(always)]
    fn pairs(&mut self) -> bool {
        let (width, columns) = (self.shape.input()[1], self.shape.output()[1]);
        let mut strays = false;
        let mut rows = self.dx.chunks_exact_mut(2 * width);
        let outputs = self.dy.chunks_exact(columns).zip(self.positions.chunks_exact(columns));
        for (row, (rows, (dy, positions))) in rows.by_ref().zip(outputs).enumerate() {
            let (top, bottom) = rows.split_at_mut(width);
            top[2 * columns..].fill(T::ZERO);
            bottom[2 * columns..].fill(T::ZERO);
            let (top, bottom) =
                (&mut top.as_chunks_mut::<2>().0[..columns], &mut bottom.as_chunks_mut::<2>().0[..columns]);
            let (first, width) = ((row * 2 * width) as u32, width as u32);
            for column in 0..columns {
                let offset = positions[column].wrapping_sub(first.wrapping_add(2 * column as u32));
                // as if added to zero, which takes the sign from -0
                let gradient = dy[column] + T::ZERO;
                let [a, b] = [0, 1].map(|at| offset == at);
                let [c, d] = [width, width.wrapping_add(1)].map(|at| offset == at);
                top[column] = [a, b].map(|here| if here { gradient } else { T::ZERO });
                bottom[column] = [c, d].map(|here| if here { gradient } else { T::ZERO });
                strays |= !(a | b | c | d);
            }
        }
        rows.into_remainder().fill(T::ZERO);
        !strays
    }
}
