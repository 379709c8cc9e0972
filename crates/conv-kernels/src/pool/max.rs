//! The way back to the largest pixel under each window.
//!
//! For windows of 2x2 pixels side by side each pixel belongs to one window, and is written once, with the gradient or
//! with zero. Else zeros come first, and then the gradients one by one, as the definition says.

use super::Pool2dShape;
use crate::Scalar;
use crate::simd::Isa;
use crate::simd::pool::{LARGEST, PairsBack};

/// Gradients of some planes.
pub(super) struct SendBack<'a, T> {
    pub(super) shape: &'a Pool2dShape,
    pub(super) dy: &'a [T],
    pub(super) positions: &'a [u32],
    pub(super) dx: &'a mut [T],
}

impl<T: Scalar> SendBack<'_, T> {
    pub(super) fn run(self, isa: Isa) {
        let Self { shape, dy, positions, dx } = self;
        if shape.is_pairs() && shape.in_pixels() <= LARGEST {
            let ([_, width], outputs, plane) = (shape.input(), shape.output(), shape.in_pixels());
            let mut strays = false;
            T::run(isa, PairsBack { width, plane, outputs, dy, positions, dx, strays: &mut strays });
            // Positions may be anybody's, and lie under other windows than their own.
            if !strays {
                return;
            }
        }
        dx.fill(T::ZERO);
        let outputs = dy.chunks_exact(shape.out_pixels()).zip(positions.chunks_exact(shape.out_pixels()));
        for (dx, (dy, positions)) in dx.chunks_exact_mut(shape.in_pixels()).zip(outputs) {
            for (&dy, &position) in dy.iter().zip(positions) {
                dx[position as usize] += dy;
            }
        }
    }
}
