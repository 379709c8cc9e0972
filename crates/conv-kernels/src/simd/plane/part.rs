//! Rows taken apart, and zeros put between pixels: what a stride of two asks for.

use super::super::{Op, Simd};
use crate::Scalar;

/// `first[i] = from[2i]` and `second[i] = from[2i + 1]`, as far as `from` goes.
pub(crate) struct Split<'a, T> {
    pub(crate) from: &'a [T],
    pub(crate) first: &'a mut [T],
    pub(crate) second: &'a mut [T],
}

impl<T: Scalar> Op<T> for Split<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let Self { from, first, second } = self;
        assert!(first.len() >= from.len().div_ceil(2) && second.len() >= from.len() / 2, "room for all");
        let mut done = 0;
        while 2 * (done + S::LANES) <= from.len() {
            // SAFETY: `from` has two vectors from `2 · done` on, and the others one from `done` on.
            unsafe {
                let pair = from.as_ptr().add(2 * done);
                let (a, b) = simd.deinterleave(simd.load(pair), simd.load(pair.add(S::LANES)));
                simd.store(a, first.as_mut_ptr().add(done));
                simd.store(b, second.as_mut_ptr().add(done));
            }
            done += S::LANES;
        }
        let rest = &from[2 * done..];
        first[done..].iter_mut().zip(rest.iter().step_by(2)).for_each(|(to, &from)| *to = from);
        second[done..].iter_mut().zip(rest.iter().skip(1).step_by(2)).for_each(|(to, &from)| *to = from);
    }
}

/// `to[2i] = from[i]`, with zeros between.
pub(crate) struct Spread<'a, T> {
    pub(crate) from: &'a [T],
    pub(crate) to: &'a mut [T],
}

impl<T: Scalar> Op<T> for Spread<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let Self { from, to } = self;
        assert!(to.len() + 1 >= 2 * from.len(), "room for all");
        let zero = simd.splat(T::ZERO);
        let mut done = 0;
        while done + S::LANES <= from.len() && 2 * (done + S::LANES) <= to.len() {
            // SAFETY: `from` has a vector from `done` on, and `to` two from `2 · done` on.
            unsafe {
                let (a, b) = simd.interleave(simd.load(from.as_ptr().add(done)), zero);
                let pair = to.as_mut_ptr().add(2 * done);
                simd.store(a, pair);
                simd.store(b, pair.add(S::LANES));
            }
            done += S::LANES;
        }
        for (to, &from) in to[2 * done..].chunks_mut(2).zip(&from[done..]) {
            to.fill(T::ZERO);
            to[0] = from;
        }
    }
}
