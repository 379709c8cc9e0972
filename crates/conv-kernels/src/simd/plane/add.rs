//! A row added to another, scaled: for what no tile computes.

use super::super::{MAX_VECTOR, Op, Simd};
use crate::Scalar;

/// `sums[i · sums_step] += factor · row[i · row_step]`, up to the end of the shorter one; one multiply-add each.
pub(crate) struct AddScaled<'a, T> {
    /// What is added to, and at which of its elements.
    pub(crate) sums: &'a mut [T],
    pub(crate) sums_step: usize,
    /// What is added, times what.
    pub(crate) row: &'a [T],
    pub(crate) row_step: usize,
    pub(crate) factor: T,
}

impl<T: Scalar> Op<T> for AddScaled<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let Self { sums, sums_step, row, row_step, factor } = self;
        let factor = simd.splat(factor);
        let mut done = 0;
        if sums_step == 1 && row_step == 1 {
            let len = sums.len().min(row.len());
            while done + S::LANES <= len {
                // SAFETY: both slices have that many elements.
                unsafe {
                    let sum = sums.as_mut_ptr().add(done);
                    simd.store(simd.mul_add(factor, simd.load(row.as_ptr().add(done)), simd.load(sum)), sum);
                }
                done += S::LANES;
            }
        }
        for (sum, &x) in sums[done..].iter_mut().step_by(sums_step).zip(row[done..].iter().step_by(row_step)) {
            let mut lanes = [T::ZERO; MAX_VECTOR];
            // SAFETY: no vector has more than `MAX_VECTOR` lanes.
            unsafe { simd.store(simd.mul_add(factor, simd.splat(x), simd.splat(*sum)), lanes.as_mut_ptr()) };
            *sum = lanes[0];
        }
    }
}
