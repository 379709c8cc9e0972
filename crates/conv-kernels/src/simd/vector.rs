//! What a kernel is written over: vectors, whatever their instruction set.

use std::ops::Range;

/// Vectors of `T` in one instruction set. A value of an implementing type is the proof that this CPU has the set.
pub trait Simd<T>: Copy {
    /// Several `T` side by side.
    type Vector: Copy;

    /// Some of the lanes.
    type Mask: Copy;

    /// How many.
    const LANES: usize;

    /// Vectors that the CPU's registers hold.
    const REGISTERS: usize = 16;

    /// The pieces that a vector of pixels may be read from and written to, each in a place of its own: 2 in long vectors,
    /// which rows of images seldom fill.
    const PIECES: usize = 1;

    /// `value` in all lanes.
    fn splat(self, value: T) -> Self::Vector;

    /// The lanes at `from`.
    ///
    /// # Safety
    ///
    /// `LANES` elements from there on must be readable; they need not be aligned.
    unsafe fn load(self, from: *const T) -> Self::Vector;

    /// Writes the lanes to `to`.
    ///
    /// # Safety
    ///
    /// `LANES` elements from there on must be writable; they need not be aligned.
    unsafe fn store(self, vector: Self::Vector, to: *mut T);

    /// The lanes of a vector whose pieces lie at `from`; the second place is for sets with two.
    ///
    /// # Safety
    ///
    /// `LANES / PIECES` elements from each place on must be readable; they need not be aligned.
    #[inline(always)]
    unsafe fn load_pieces(self, from: [*const T; 2]) -> Self::Vector {
        // SAFETY: the only piece is a whole vector.
        unsafe { self.load(from[0]) }
    }

    /// Writes the pieces of a vector to `to`, one after the other.
    ///
    /// # Safety
    ///
    /// `LANES / PIECES` elements from each place on must be writable; they need not be aligned.
    #[inline(always)]
    unsafe fn store_pieces(self, vector: Self::Vector, to: [*mut T; 2]) {
        // SAFETY: the only piece is a whole vector.
        unsafe { self.store(vector, to[0]) }
    }

    /// Adds the pieces of a vector to what is at `to`, one after the other: they may overlap there.
    ///
    /// # Safety
    ///
    /// `LANES / PIECES` elements from each place on must be readable and writable; they need not be aligned.
    #[inline(always)]
    unsafe fn add_pieces(self, vector: Self::Vector, to: [*mut T; 2]) {
        // SAFETY: the only piece is a whole vector.
        unsafe { self.store(self.add(self.load(to[0]), vector), to[0]) }
    }

    /// The lanes in `lanes`, which begins where it ends or before, and ends at `LANES` or before.
    fn mask(self, lanes: Range<usize>) -> Self::Mask;

    /// The lanes in `mask` at `from`, and zeros in the others.
    ///
    /// # Safety
    ///
    /// The elements at the lanes in `mask` must be readable; `from` itself may lie outside of all memory.
    unsafe fn load_masked(self, from: *const T, mask: Self::Mask) -> Self::Vector;

    /// Writes the lanes in `mask` to `to`, and nothing between or beside them.
    ///
    /// # Safety
    ///
    /// The elements at the lanes in `mask` must be writable; `to` itself may lie outside of all memory.
    unsafe fn store_masked(self, vector: Self::Vector, to: *mut T, mask: Self::Mask);

    /// `a·b + c`, rounded once where the set has such an instruction, else twice.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// `a + b`.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a - b`.
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a·b`.
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a` where it is greater than `b`, else `b`: also where either is NaN.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `then` where `sign` is above zero, else `otherwise`.
    fn where_positive(self, sign: Self::Vector, then: Self::Vector, otherwise: Self::Vector) -> Self::Vector;

    /// `then` where `a` equals `b`, else `otherwise`: also where either is NaN.
    fn where_equal(self, a: Self::Vector, b: Self::Vector, then: Self::Vector, otherwise: Self::Vector)
    -> Self::Vector;

    /// The even lanes of `a`, then of `b`; and the odd ones.
    fn deinterleave(self, a: Self::Vector, b: Self::Vector) -> (Self::Vector, Self::Vector);

    /// `a₀ b₀ a₁ b₁ …`, in two vectors: the inverse of [`Simd::deinterleave`].
    fn interleave(self, a: Self::Vector, b: Self::Vector) -> (Self::Vector, Self::Vector);

    /// The whole numbers at `from` as lanes: less than 2^24, or something else comes of them.
    ///
    /// # Safety
    ///
    /// `LANES` of them must be readable from there on.
    unsafe fn load_u32(self, from: *const u32) -> Self::Vector;

    /// The inverse of [`Simd::load_u32`].
    ///
    /// # Safety
    ///
    /// `LANES` numbers from `to` on must be writable.
    unsafe fn store_u32(self, vector: Self::Vector, to: *mut u32);

    /// Transposes a square of `LANES × LANES` elements; rows are `from_pitch` and `to_pitch` apart.
    ///
    /// # Safety
    ///
    /// `LANES` elements of each of the `LANES` rows must be readable at `from`, and writable at `to`.
    unsafe fn transpose(self, from: *const T, from_pitch: usize, to: *mut T, to_pitch: usize);

    /// Asks for the cache line at `to`, which will be written; a set that cannot ask does nothing. Any pointer will do.
    #[inline(always)]
    fn prefetch(self, _to: *mut T) {}

    /// The same for a cache line at `from`, which will be read.
    #[inline(always)]
    fn prefetch_read(self, _from: *const T) {}

    /// Runs `op`, compiled for this set.
    fn run<O: Op<T>>(self, op: O);
}

/// An instruction set: what the table of them has to know besides its vectors.
pub trait Set: Simd<f32> + Simd<f64> {
    /// What `CONV_ISA` calls it.
    const NAME: &'static str;

    /// Whether its tiles outrun `matrixmultiply`, which has vectors of its own.
    const IS_FAST: bool = true;

    /// Bytes of a vector, of either type.
    const BYTES: usize = {
        let bytes = <Self as Simd<f32>>::LANES * size_of::<f32>();
        assert!(bytes == <Self as Simd<f64>>::LANES * size_of::<f64>(), "vectors of both types are as long");
        bytes
    };

    /// Vectors that the CPU's registers hold.
    const REGISTERS: usize = {
        let registers = <Self as Simd<f32>>::REGISTERS;
        assert!(registers == <Self as Simd<f64>>::REGISTERS, "both types share the registers");
        registers
    };

    /// The pieces of a vector.
    const PIECES: usize = {
        let pieces = <Self as Simd<f32>>::PIECES;
        assert!(pieces == <Self as Simd<f64>>::PIECES, "vectors of both types have as many pieces");
        pieces
    };

    /// Asks the CPU.
    fn detect() -> Option<Self>;
}

/// A computation, written once for all instruction sets.
pub trait Op<T> {
    /// The computation; `#[inline(always)]`, as must be all that it calls, or it is not compiled for the set.
    fn eval<S: Simd<T>>(self, simd: S);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Isa, MAX_VECTOR};

    /// Every operation of a set, against its definition lane by lane.
    struct Check;

    impl Op<f32> for Check {
        #[inline(always)]
        fn eval<S: Simd<f32>>(self, simd: S) {
            let a = [1.5f32, -2.0, 0.0, f32::NAN, -0.0, 4.0, f32::INFINITY, -8.0].repeat(2);
            let b = [-1.0f32, 2.0, -0.0, 1.0, f32::NAN, 4.5, 1.0, 0.25].repeat(2);
            assert!(a.len() >= S::LANES);
            let check = |got: S::Vector, expected: fn(f32, f32) -> f32| {
                let mut lanes = [0.0f32; MAX_VECTOR];
                // SAFETY: no vector has more than `MAX_VECTOR` lanes.
                unsafe { simd.store(got, lanes.as_mut_ptr()) };
                for lane in 0..S::LANES {
                    let expected = expected(a[lane], b[lane]);
                    assert!(lanes[lane] == expected || lanes[lane].is_nan() && expected.is_nan(), "lane {lane}");
                }
            };
            // SAFETY: as above.
            let (va, vb) = unsafe { (simd.load(a.as_ptr()), simd.load(b.as_ptr())) };
            check(simd.add(va, vb), |a, b| a + b);
            check(simd.sub(va, vb), |a, b| a - b);
            check(simd.mul(va, vb), |a, b| a * b);
            check(simd.mul_add(va, vb, simd.splat(2.0)), |a, b| a * b + 2.0);
            check(simd.max(va, vb), |a, b| if a > b { a } else { b });
            check(simd.where_positive(va, vb, simd.splat(7.0)), |a, b| if a > 0.0 { b } else { 7.0 });
            check(simd.where_equal(va, simd.splat(-0.0), vb, simd.splat(7.0)), |a, b| if a == 0.0 { b } else { 7.0 });
        }
    }

    /// What moves lanes, against the places where they should arrive.
    struct Moves;

    impl<T: crate::Scalar> Op<T> for Moves {
        #[inline(always)]
        fn eval<S: Simd<T>>(self, simd: S) {
            let lanes = S::LANES;
            let numbers: [T; MAX_VECTOR * MAX_VECTOR] = std::array::from_fn(|index| T::of(index as f64));
            let mut got = [T::ZERO; MAX_VECTOR * MAX_VECTOR];
            // SAFETY: no vector has more than `MAX_VECTOR` lanes, and the arrays hold the square of that.
            unsafe {
                let (a, b) = (simd.load(numbers.as_ptr()), simd.load(numbers.as_ptr().add(lanes)));
                let (even, odd) = simd.deinterleave(a, b);
                simd.store(even, got.as_mut_ptr());
                simd.store(odd, got.as_mut_ptr().add(lanes));
                for lane in 0..lanes {
                    assert_eq!((got[lane], got[lanes + lane]), (numbers[2 * lane], numbers[2 * lane + 1]));
                }
                let piece = lanes / S::PIECES;
                let apart = [numbers.as_ptr().add(3), numbers.as_ptr().add(3 * lanes)];
                simd.store(simd.load_pieces(apart), got.as_mut_ptr());
                for lane in 0..lanes {
                    assert_eq!(got[lane], numbers[[3, 3 * lanes][lane / piece] + lane % piece]);
                }
                // Where pieces overlap, both are added.
                got = numbers;
                let overlapping = [got.as_mut_ptr(), got.as_mut_ptr().add(1)];
                simd.add_pieces(a, overlapping);
                for at in 0..piece + S::PIECES - 1 {
                    let of = |piece_at: usize| at.checked_sub(piece_at).filter(|&lane| lane < piece);
                    let second = of(1).filter(|_| S::PIECES == 2).map_or(T::ZERO, |lane| numbers[piece + lane]);
                    let first = of(0).map_or(T::ZERO, |lane| numbers[lane]);
                    assert_eq!(got[at], numbers[at] + first + second);
                }
                simd.store_pieces(b, [got.as_mut_ptr().add(1), got.as_mut_ptr().add(2 * lanes)]);
                for lane in 0..lanes {
                    assert_eq!(got[[1, 2 * lanes][lane / piece] + lane % piece], numbers[lanes + lane]);
                }
                let (mut counts, mut back) = ([0; MAX_VECTOR], [7; MAX_VECTOR + 1]);
                (0..MAX_VECTOR).for_each(|lane| counts[lane] = [3, 0, (1 << 24) - 1, 70_000][lane % 4]);
                let vector = simd.load_u32(counts.as_ptr());
                simd.store(vector, got.as_mut_ptr());
                simd.store_u32(vector, back.as_mut_ptr());
                for lane in 0..lanes {
                    assert_eq!((got[lane], back[lane]), (T::of(counts[lane].into()), counts[lane]));
                }
                assert_eq!(back[lanes], 7);
                let (first, second) = simd.interleave(even, odd);
                simd.store(first, got.as_mut_ptr());
                simd.store(second, got.as_mut_ptr().add(lanes));
                assert_eq!(got[..2 * lanes], numbers[..2 * lanes]);
                simd.transpose(numbers.as_ptr(), MAX_VECTOR, got.as_mut_ptr(), lanes);
            }
            for (row, column) in (0..lanes).flat_map(|row| (0..lanes).map(move |column| (row, column))) {
                assert_eq!(got[column * lanes + row], numbers[row * MAX_VECTOR + column]);
            }
        }
    }

    /// Masked loads and stores of all ranges of lanes, at the edges of what may be read and written.
    struct Masks;

    impl<T: crate::Scalar> Op<T> for Masks {
        #[inline(always)]
        fn eval<S: Simd<T>>(self, simd: S) {
            let canary = T::of(-7.0);
            for (start, end) in (0..=S::LANES).flat_map(|end| (0..=end).map(move |start| (start, end))) {
                let numbers = (1..=end - start).map(|number| T::of(number as f64)).collect::<Vec<_>>();
                let mask = simd.mask(start..end);
                let mut all = [canary; MAX_VECTOR];
                let mut some = vec![canary; end - start];
                // SAFETY: the vectors hold an element for each lane in the mask, and the array one for all lanes.
                unsafe {
                    let vector = simd.load_masked(numbers.as_ptr().wrapping_sub(start), mask);
                    simd.store(vector, all.as_mut_ptr());
                    simd.store_masked(vector, some.as_mut_ptr().wrapping_sub(start), mask);
                    for (lane, &got) in all[..S::LANES].iter().enumerate() {
                        assert_eq!(got, if (start..end).contains(&lane) { numbers[lane - start] } else { T::ZERO });
                    }
                    assert_eq!(some, numbers);
                    all = [canary; MAX_VECTOR];
                    simd.store_masked(vector, all.as_mut_ptr(), mask);
                }
                for (lane, &got) in all.iter().enumerate() {
                    assert_eq!(got, if (start..end).contains(&lane) { numbers[lane - start] } else { canary });
                }
            }
        }
    }

    #[test]
    fn every_set_computes_what_it_says() {
        for isa in Isa::available() {
            <f32 as crate::Scalar>::run(isa, Check);
            <f32 as crate::Scalar>::run(isa, Moves);
            <f64 as crate::Scalar>::run(isa, Moves);
            <f32 as crate::Scalar>::run(isa, Masks);
            <f64 as crate::Scalar>::run(isa, Masks);
            assert!(isa.lanes::<f32>() <= MAX_VECTOR);
        }
    }
}
