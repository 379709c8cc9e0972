//! Rows copied, taken apart, or with zeros put between their pixels: what borders and strides ask for.

use super::{MAX_VECTOR, Simd};
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
    // Rows that a whole vector can be read from, and those that have room for one after them, which is written later.
    let readable = if len < S::LANES { (from.len() + 1).saturating_sub(S::LANES).div_ceil(from_pitch) } else { count };
    let writable = (to.len() + 1).saturating_sub(S::LANES) / to_pitch.max(S::LANES - 1);
    let vectors = readable.min(writable).min(count - 1);
    for row in 0..vectors {
        // SAFETY: a vector can be read from each of these rows. A vector from its copy's beginning on, and the zeros
        // after it, in whole vectors, end before a vector has begun after it: there is room.
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
///
/// The last pair of vectors begins earlier, and writes again what the one before has written.
#[inline(always)]
pub(crate) fn split<T: Scalar, S: Simd<T>>(simd: S, from: &[T], first: &mut [T], second: &mut [T]) {
    assert!(first.len() >= from.len().div_ceil(2) && second.len() >= from.len() / 2, "room for all");
    let pairs = from.len() / 2;
    let mut done = 0;
    while done < pairs && pairs >= S::LANES {
        let at = done.min(pairs - S::LANES);
        // SAFETY: `from` has two vectors from `2 · at` on, and the others one from `at` on.
        unsafe {
            let pair = from.as_ptr().add(2 * at);
            let (a, b) = simd.deinterleave(simd.load(pair), simd.load(pair.add(S::LANES)));
            simd.store(a, first.as_mut_ptr().add(at));
            simd.store(b, second.as_mut_ptr().add(at));
        }
        done = at + S::LANES;
    }
    let rest = &from[2 * done..];
    first[done..].iter_mut().zip(rest.iter().step_by(2)).for_each(|(to, &from)| *to = from);
    second[done..].iter_mut().zip(rest.iter().skip(1).step_by(2)).for_each(|(to, &from)| *to = from);
}

/// Chains of additions in [`Chains`]: as many as the longest vector has lanes, and the same in every set.
const CHAINS: usize = MAX_VECTOR;

/// Sums of rows in interleaved chains, which are added in a fixed order at the very end.
#[derive(Clone, Copy)]
pub(crate) struct Chains<V>([V; CHAINS]);

impl<V: Copy> Chains<V> {
    #[inline(always)]
    pub(crate) fn new<T: Scalar, S: Simd<T, Vector = V>>(simd: S) -> Self {
        Self([simd.splat(T::ZERO); CHAINS])
    }

    /// Adds a row.
    #[inline(always)]
    pub(crate) fn add<T: Scalar, S: Simd<T, Vector = V>>(&mut self, simd: S, row: &[T]) {
        let (blocks, rest) = row.as_chunks::<CHAINS>();
        for block in blocks {
            for n in 0..CHAINS / S::LANES {
                // SAFETY: a block has `CHAINS` elements.
                self.0[n] = simd.add(self.0[n], unsafe { simd.load(block.as_ptr().add(n * S::LANES)) });
            }
        }
        for n in 0..rest.len().div_ceil(S::LANES) {
            let lanes = (rest.len() - n * S::LANES).min(S::LANES);
            // SAFETY: so many lanes are there.
            let last = unsafe { simd.load_masked(rest.as_ptr().add(n * S::LANES), simd.mask(0..lanes)) };
            self.0[n] = simd.add(self.0[n], last);
        }
    }

    #[inline(always)]
    pub(crate) fn sum<T: Scalar, S: Simd<T, Vector = V>>(&self, simd: S) -> T {
        let mut chains = [T::ZERO; CHAINS];
        for n in 0..CHAINS / S::LANES {
            // SAFETY: so many vectors are `CHAINS` elements.
            unsafe { simd.store(self.0[n], chains.as_mut_ptr().add(n * S::LANES)) };
        }
        let mut width = CHAINS / 2;
        while width > 0 {
            for chain in 0..width {
                chains[chain] += chains[chain + width];
            }
            width /= 2;
        }
        chains[0]
    }
}

/// `to[i] += from[i]`, as far as both go.
#[inline(always)]
pub(crate) fn add_row<T: Scalar, S: Simd<T>>(simd: S, from: &[T], to: &mut [T]) {
    let len = from.len().min(to.len());
    let whole = len / S::LANES * S::LANES;
    for at in (0..whole).step_by(S::LANES) {
        // SAFETY: a vector from `at` on ends before `len`, in both rows.
        unsafe {
            let to = to.as_mut_ptr().add(at);
            simd.store(simd.add(simd.load(to), simd.load(from.as_ptr().add(at))), to);
        }
    }
    to[whole..len].iter_mut().zip(&from[whole..]).for_each(|(to, &from)| *to += from);
}

/// `to[2i] += from[i]`, as far as both go.
#[inline(always)]
pub(crate) fn add_to_every_second<T: Scalar, S: Simd<T>>(simd: S, from: &[T], to: &mut [T]) {
    let mut done = 0;
    // Adding -0 leaves everything as it is, -0 too.
    let nothing = simd.splat(-T::ZERO);
    while done + S::LANES <= from.len() && 2 * (done + S::LANES) <= to.len() {
        // SAFETY: a vector of `from` and two of `to` have just been checked.
        unsafe {
            let (first, second) = simd.interleave(simd.load(from.as_ptr().add(done)), nothing);
            let to = to.as_mut_ptr().add(2 * done);
            simd.store(simd.add(simd.load(to), first), to);
            simd.store(simd.add(simd.load(to.add(S::LANES)), second), to.add(S::LANES));
        }
        done += S::LANES;
    }
    to[2 * done..].iter_mut().step_by(2).zip(&from[done..]).for_each(|(to, &from)| *to += from);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Isa, Op};

    /// Each function on rows of several lengths, in the middle of what must not be changed.
    struct Check;

    const CANARY: f32 = -7.0;

    fn numbers(len: usize) -> Vec<f32> {
        (1..=len).map(|number| number as f32).collect()
    }

    impl Op<f32> for Check {
        #[inline(always)]
        fn eval<S: Simd<f32>>(self, simd: S) {
            for (len, before, after, count, below) in (0..64 * 4 * 3 * 3 * 3)
                .map(|at| (1 + at % 41, at / 41 % 4 * 3, at / 164 % 3 * 5, 1 + at / 492 % 3, at / 1476 % 3 * 9))
            {
                let (from_pitch, to_pitch) = (len + after, len + before);
                let from = numbers((count - 1) * from_pitch + len);
                let room = (count - 1) * to_pitch + len + below;
                let mut to = vec![CANARY; room + 40];
                let rows = Rows { count, len, from_pitch, to_pitch };
                copy_rows(simd, rows, &from, &mut to[20..20 + room]);
                let mut expected = vec![CANARY; room + 40];
                expected[20..20 + room].fill(0.0);
                for row in 0..count {
                    let from = &from[row * from_pitch..][..len];
                    expected[20 + row * to_pitch..][..len].copy_from_slice(from);
                }
                assert_eq!(to, expected, "{len} {before} {after} {count} {below}");
            }
            for len in 1..70 {
                let from = numbers(len);
                let (mut even, mut odd) = (vec![CANARY; len + 9], vec![CANARY; len + 9]);
                split(simd, &from, &mut even[..len], &mut odd[..len]);
                for (index, &number) in from.iter().enumerate() {
                    assert_eq!(if index.is_multiple_of(2) { even[index / 2] } else { odd[index / 2] }, number);
                }
                for room in [1, len / 2 + 1, len] {
                    let mut to = vec![CANARY; room + 20];
                    let count = every_second(simd, &from, &mut to[..room]);
                    assert_eq!(count, len.div_ceil(2).min(room));
                    assert!((0..count).all(|index| to[index] == from[2 * index]));
                    assert!(to[count..].iter().all(|&number| number == CANARY));
                }
                let mut wide = vec![CANARY; 2 * len + 20];
                spread(simd, &from, &mut wide[..2 * len - 1]);
                let expected = |at: usize| if at.is_multiple_of(2) { from[at / 2] } else { 0.0 };
                assert!((0..2 * len - 1).all(|at| wide[at] == expected(at)));
                assert!(wide[2 * len - 1..].iter().all(|&number| number == CANARY));
                let mut chains = Chains::new(simd);
                chains.add(simd, &from);
                chains.add(simd, &from[..len / 2]);
                assert_eq!(chains.sum(simd), from.iter().sum::<f32>() + from[..len / 2].iter().sum::<f32>());
                for room in [1, len / 2 + 1, 2 * len] {
                    let mut to = vec![1.0; room + 20];
                    add_row(simd, &from, &mut to[..room]);
                    assert!(
                        (0..room + 20).all(|at| to[at] == 1.0 + from.get(at).filter(|_| at < room).unwrap_or(&0.0))
                    );
                    let mut to = vec![1.0; room + 20];
                    add_to_every_second(simd, &from, &mut to[..room]);
                    let added = |at: usize| if at.is_multiple_of(2) && at < room { from.get(at / 2) } else { None };
                    assert!((0..room + 20).all(|at| to[at] == 1.0 + added(at).unwrap_or(&0.0)));
                }
                let mut to = vec![CANARY; len];
                zeros(simd, &mut to, len / 2);
                assert!(to[..len / 2].iter().all(|&number| number == 0.0));
            }
        }
    }

    #[test]
    fn rows_arrive_whole_and_nothing_else_changes() {
        for isa in Isa::available() {
            <f32 as Scalar>::run(isa, Check);
        }
    }
}
