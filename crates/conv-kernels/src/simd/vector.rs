//! What a kernel is written over: vectors, whatever their instruction set.

/// Vectors of `T` in one instruction set. A value of an implementing type is the proof that this CPU has the set.
pub trait Simd<T>: Copy {
    /// Several `T` side by side.
    type Vector: Copy;

    /// How many.
    const LANES: usize;

    /// Vectors that the CPU's registers hold.
    const REGISTERS: usize = 16;

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

    /// The even lanes of `a`, then of `b`; and the odd ones.
    fn deinterleave(self, a: Self::Vector, b: Self::Vector) -> (Self::Vector, Self::Vector);

    /// `a₀ b₀ a₁ b₁ …`, in two vectors: the inverse of [`Simd::deinterleave`].
    fn interleave(self, a: Self::Vector, b: Self::Vector) -> (Self::Vector, Self::Vector);

    /// Transposes a square of `LANES × LANES` elements; rows are `from_pitch` and `to_pitch` apart.
    ///
    /// # Safety
    ///
    /// `LANES` elements of each of the `LANES` rows must be readable at `from`, and writable at `to`.
    unsafe fn transpose(self, from: *const T, from_pitch: usize, to: *mut T, to_pitch: usize);

    /// Asks for the cache line at `to`, which will be written; a set that cannot ask does nothing. Any pointer will do.
    #[inline(always)]
    fn prefetch(self, _to: *mut T) {}

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

    #[test]
    fn every_set_computes_what_it_says() {
        for isa in Isa::available() {
            <f32 as crate::Scalar>::run(isa, Check);
            <f32 as crate::Scalar>::run(isa, Moves);
            <f64 as crate::Scalar>::run(isa, Moves);
            assert!(isa.lanes::<f32>() <= MAX_VECTOR);
        }
    }
}
