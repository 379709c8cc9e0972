//! The mean of the pixels under each window, and the way back.
//!
//! Row by row: each pixel of the window adds one row of pixels to the row of sums, and takes one row of shares back.
//! For windows of 2x2 pixels side by side the rows are read and written once.

use super::Pool2dShape;
use crate::Scalar;
use crate::simd::{Op, Simd};

/// Output rows from `first_row` on of one plane.
pub(super) struct MeanPlane<'a, T> {
    pub(super) shape: &'a Pool2dShape,
    pub(super) plane: &'a [T],
    pub(super) first_row: usize,
    pub(super) y: &'a mut [T],
}

impl<T: Scalar> Op<T> for MeanPlane<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, _: S) {
        match self.shape.stride()[1] {
            _ if self.shape.is_pairs() => self.pairs(),
            1 => self.rows(1),
            2 => self.rows(2),
            right => self.rows(right),
        }
    }
}

impl<T: Scalar> MeanPlane<'_, T> {
    #[inline(always)]
    fn pairs(self) {
        let (width, columns) = (self.shape.input()[1], self.shape.output()[1]);
        let rows = self.plane[self.first_row * 2 * width..].chunks_exact(2 * width);
        for (rows, y) in rows.zip(self.y.chunks_exact_mut(columns)) {
            let (top, bottom) = rows.split_at(width);
            let (top, bottom) = (&top.as_chunks::<2>().0[..columns], &bottom.as_chunks::<2>().0[..columns]);
            for column in 0..columns {
                let ([a, b], [c, d]) = (top[column], bottom[column]);
                y[column] = (T::ZERO + a + b + c + d) / T::of(4.0);
            }
        }
    }

    /// `right` is the horizontal stride, if possible a constant.
    #[inline(always)]
    fn rows(self, right: usize) {
        let (width, columns) = (self.shape.input()[1], self.shape.output()[1]);
        let ([window_rows, window_columns], [down, _]) = (self.shape.window(), self.shape.stride());
        let area = T::of((window_rows * window_columns) as f64);
        for (row, y) in (self.first_row..).zip(self.y.chunks_exact_mut(columns)) {
            y.fill(T::ZERO);
            for (i, j) in (0..window_rows).flat_map(|i| (0..window_columns).map(move |j| (i, j))) {
                let pixels = &self.plane[(row * down + i) * width + j..][..(columns - 1) * right + 1];
                for column in 0..columns {
                    y[column] += pixels[column * right];
                }
            }
            y.iter_mut().for_each(|y| *y /= area);
        }
    }
}

/// Gradients of one plane.
pub(super) struct Share<'a, T> {
    pub(super) shape: &'a Pool2dShape,
    pub(super) dy: &'a [T],
    pub(super) dx: &'a mut [T],
}

impl<T: Scalar> Op<T> for Share<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, _: S) {
        match self.shape.stride()[1] {
            _ if self.shape.is_pairs() => self.pairs(),
            1 => self.rows(1),
            2 => self.rows(2),
            right => self.rows(right),
        }
    }
}

impl<T: Scalar> Share<'_, T> {
    #[inline(always)]
    fn pairs(self) {
        let (width, columns) = (self.shape.input()[1], self.shape.output()[1]);
        let mut rows = self.dx.chunks_exact_mut(2 * width);
        for (rows, dy) in rows.by_ref().zip(self.dy.chunks_exact(columns)) {
            let (top, bottom) = rows.split_at_mut(width);
            for row in [top, bottom] {
                let (windows, rest) = row.split_at_mut(2 * columns);
                for (window, &dy) in windows.as_chunks_mut::<2>().0.iter_mut().zip(dy) {
                    // as if added to zero, which takes the sign from -0
                    *window = [dy / T::of(4.0) + T::ZERO; 2];
                }
                rest.fill(T::ZERO);
            }
        }
        rows.into_remainder().fill(T::ZERO);
    }

    /// Row by row, the last pixel of the windows first: so that the shares of a pixel add up in the windows' order.
    #[inline(always)]
    fn rows(self, right: usize) {
        let ([window_rows, window_columns], [down, _]) = (self.shape.window(), self.shape.stride());
        let (width, columns) = (self.shape.input()[1], self.shape.output()[1]);
        let area = T::of((window_rows * window_columns) as f64);
        self.dx.fill(T::ZERO);
        for (row, dy) in self.dy.chunks_exact(columns).enumerate() {
            for (i, j) in (0..window_rows).flat_map(|i| (0..window_columns).rev().map(move |j| (i, j))) {
                let dx = &mut self.dx[(row * down + i) * width + j..][..(columns - 1) * right + 1];
                for column in 0..columns {
                    dx[column * right] += dy[column] / area;
                }
            }
        }
    }
}
