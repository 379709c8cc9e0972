//! The way back to the largest pixel under each window.
//!
//! For windows of 2x2 pixels side by side each pixel belongs to one window, and is written once, with the gradient or
//! with zero. Else zeros come first, and then the gradients one by one, as the definition says.

use super::Pool2dShape;
use crate::Scalar;
use crate::simd::{Op, Simd};

/// Rows of fewer outputs are not worth the other way.
const WIDE: usize = 8;

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
        let wide = self.shape.output()[1] >= WIDE;
        if !(wide && self.shape.is_pairs() && self.pairs()) {
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
