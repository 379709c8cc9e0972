//! Rows copied, taken apart, or with zeros put between their pixels: what borders and strides ask for.

use super::Simd;
use crate::Scalar;

/// Rows in memory: how many, how long, and how far apart they begin where they are read and where they are written.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    pub(crate) count: usize,
    pub(crate) len: usize,
    pub(crate) from_pitch: usize,
    pub(crate) to_pitch: usize,
}

/// Copies rows, and fills the gaps between them, and what follows the last one, with zeros.
#[inline(always)]
pub(crate) fn copy_rows<T: Scalar, S: Simd<T>>(simd: S, rows: Rows, from: &[T], to: &mut [T]) {
    let Rows { count, len, from_pitch, to_pitch } = rows;
    assert!(count > 0 && len <= to_pitch && (count - 1) * to_pitch + len <= to.len(), "room for all rows");
    assert!((count - 1) * from_pitch + len <= from.len(), "the rows are there");
    // Rows that a whole vector can be read from, and written to, with the gap after it.
    let readable = if len < S::LANES { (from.len() + 1).saturating_sub(S::LANES).div_ceil(from_pitch) } else { count };
    let vectors = if to_pitch < S::LANES { 0 } else { readable.min(count - 1) };
    for row in 0..vectors {
        // SAFETY: a vector is there to be read, as seen above. Neither a vector from a row's beginning nor the zeros
        // after it, in whole vectors, reach beyond the next row, for a pitch is no shorter than a vector; that row is
        // there, and written later.
        unsafe {
            let (from, to) = (from.as_ptr().add(row * from_pitch), to.as_mut_ptr().add(row * to_pitch));
            let last = len.saturating_sub(S::LANES);
            let mut done = 0;
            while done < last {
                simd.store(simd.load(from.add(done)), to.add(done));
                done += S::LANES;
            }
            simd.store(simd.load(from.add(last)), to.add(last));
            let mut done = len;
            while done < to_pitch {
                simd.store(simd.splat(T::ZERO), to.add(done));
                done += S::LANES;
            }
        }
    }
    for row in vectors..count {
        let to = &mut to[row * to_pitch..];
        let (copied, gap) = to.split_at_mut(len);
        copy(simd, &from[row * from_pitch..][..len], copied);
        let gap = if row + 1 == count { gap } else { &mut gap[..to_pitch - len] };
        zeros(simd, gap, gap.len());
    }
}

/// `to = from`.
#[inline(always)]
pub(crate) fn copy<T: Scalar, S: Simd<T>>(simd: S, from: &[T], to: &mut [T]) {
    assert_eq!(from.len(), to.len(), "a row and its copy are as long");
    let Some(last) = from.len().checked_sub(S::LANES) else {
        return to.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
    };
    let mut at = 0;
    while at < last {
        // SAFETY: a vector from `last` on, or from before, lies within both rows.
        unsafe { simd.store(simd.load(from.as_ptr().add(at)), to.as_mut_ptr().add(at)) };
        at += S::LANES;
    }
    // SAFETY: as above.
    unsafe { simd.store(simd.load(from.as_ptr().add(last)), to.as_mut_ptr().add(last)) };
}

/// Zeros, up to the end of `to` or a few less than a vector beyond `count`.
#[inline(always)]
pub(crate) fn zeros<T: Scalar, S: Simd<T>>(simd: S, to: &mut [T], count: usize) {
    let whole = to.len() / S::LANES * S::LANES;
    for at in (0..count.min(whole)).step_by(S::LANES) {
        // SAFETY: `at` is below `whole`, a multiple of the vector's length, as `at` is.
        unsafe { simd.store(simd.splat(T::ZERO), to.as_mut_ptr().add(at)) };
    }
    if count > whole {
        to[whole..].iter_mut().for_each(|to| *to = T::ZERO);
    }
}

/// `first[i] = from[2i]` and `second[i] = from[2i + 1]`, as far as `from` goes.
#[inline(always)]
pub(crate) fn split<T: Scalar, S: Simd<T>>(simd: S, from: &[T], first: &mut [T], second: &mut [T]) {
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

/// `to[i] = from[2i]`, up to the end of `to`, or as far as `from` goes. Answers how many these are.
#[inline(always)]
pub(crate) fn every_second<T: Scalar, S: Simd<T>>(simd: S, from: &[T], to: &mut [T]) -> usize {
    let from = &from[..from.len().min(2 * to.len())];
    let count = from.len().div_ceil(2);
    if from.len() < 2 * S::LANES {
        to.iter_mut().zip(from.iter().step_by(2)).for_each(|(to, &from)| *to = from);
        return count;
    }
    // The last pair of vectors begins earlier, where what is wanted is in the odd lanes if their number is odd.
    let last = from.len() - 2 * S::LANES;
    // SAFETY: `from` has two vectors from `last` on, or from before, and `to` half as many elements.
    let pair = |at: usize| unsafe {
        let pair = from.as_ptr().add(at);
        simd.deinterleave(simd.load(pair), simd.load(pair.add(S::LANES)))
    };
    let mut at = 0;
    while at < last {
        // SAFETY: as above.
        unsafe { simd.store(pair(at).0, to.as_mut_ptr().add(at / 2)) };
        at += 2 * S::LANES;
    }
    let (even, odd) = pair(last);
    // SAFETY: as above.
    unsafe { simd.store(if last.is_multiple_of(2) { even } else { odd }, to.as_mut_ptr().add(last.div_ceil(2))) };
    count
}

/// `to[2i] = from[i]`, with zeros between.
#[inline(always)]
pub(crate) fn spread<T: Scalar, S: Simd<T>>(simd: S, from: &[T], to: &mut [T]) {
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
