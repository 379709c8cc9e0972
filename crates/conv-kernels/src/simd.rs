//! The kernels that need `unsafe`: vectors of each instruction set, one file a set, and the tiles written over them.
//!
//! A kernel is an [`Op`]: written once over the trait [`Simd`], compiled once for each set. A plan asks the CPU once
//! which set to use, and keeps the answer, an [`Isa`].

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
pub(crate) mod gradient;
pub(crate) mod portable;
pub(crate) mod product;
pub(crate) mod tiles;

use std::env;

use crate::KernelError;

/// The environment variable that forces an instruction set, by its name.
const VARIABLE: &str = "CONV_ISA";

/// The most lanes that any vector here has.
pub(crate) const MAX_VECTOR: usize = 8;

/// Vectors of `T` in one instruction set. A value of an implementing type is the proof that this CPU has the set.
pub trait Simd<T>: Copy {
    /// Several `T` side by side.
    type Vector: Copy;

    /// How many.
    const LANES: usize;

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

    /// `a·b`.
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a` where it is greater than `b`, else `b`: also where either is NaN.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `then` where `sign` is above zero, else `otherwise`.
    fn where_positive(self, sign: Self::Vector, then: Self::Vector, otherwise: Self::Vector) -> Self::Vector;

    /// Runs `op`, compiled for this set.
    fn run<O: Op<T>>(self, op: O);
}

/// A computation, written once for all instruction sets.
pub trait Op<T> {
    /// The computation; `#[inline(always)]`, as must be all that it calls, or it is not compiled for the set.
    fn eval<S: Simd<T>>(self, simd: S);
}

/// The instruction set that a plan's kernels use.
#[derive(Clone, Copy, Debug)]
pub enum Isa {
    /// What every CPU has.
    Portable(portable::Portable),
    /// 256-bit vectors with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
}

impl Isa {
    /// The best set that this CPU has, or the one that the environment variable `CONV_ISA` asks for.
    pub(crate) fn detect() -> Result<Self, KernelError> {
        let forced = env::var_os(VARIABLE);
        Self::select(forced.as_ref().map(|name| name.to_string_lossy()).as_deref())
    }

    fn select(forced: Option<&str>) -> Result<Self, KernelError> {
        let mut available = Self::available();
        match forced {
            None | Some("") => Ok(available.next().unwrap_or(Self::Portable(portable::Portable))),
            Some(name) => available.find(|isa| isa.name() == name).ok_or_else(|| KernelError::InstructionSet {
                variable: VARIABLE,
                got: name.to_owned(),
                available: Self::available().map(Self::name).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// What this CPU has, the best first.
    fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let vectors = avx2::Avx2::detect().map(Self::Avx2);
        #[cfg(not(target_arch = "x86_64"))]
        let vectors = None;
        vectors.into_iter().chain([Self::Portable(portable::Portable)])
    }

    /// `portable`, `avx2`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
        }
    }

    /// Whether its tiles outrun `matrixmultiply`, which has vectors of its own.
    pub(crate) fn is_fast(self) -> bool {
        !matches!(self, Self::Portable(_))
    }

    /// Elements of type `T` in one of its vectors.
    pub(crate) fn lanes<T>(self) -> usize {
        let bytes = match self {
            Self::Portable(_) => portable::BYTES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => 32,
        };
        bytes / size_of::<T>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_forced_by_name() {
        assert_eq!(Isa::select(Some("portable")).map(Isa::name), Ok("portable"));
        let best = Isa::select(None).map(Isa::name);
        assert_eq!(Isa::select(Some("")).map(Isa::name), best);
        let all = Isa::available().map(Isa::name).collect::<Vec<_>>().join(", ");
        assert_eq!(
            Isa::select(Some("mmx")).unwrap_err().to_string(),
            format!(
                "CONV_ISA asks for the instruction set \"mmx\", which is not available: use one of {all}, or unset it"
            ),
        );
    }

    /// Every operation of a set, against its definition lane by lane.
    struct Check;

    impl Op<f32> for Check {
        #[inline(always)]
        fn eval<S: Simd<f32>>(self, simd: S) {
            let a = [1.5f32, -2.0, 0.0, f32::NAN, -0.0, 4.0, f32::INFINITY, -8.0];
            let b = [-1.0f32, 2.0, -0.0, 1.0, f32::NAN, 4.5, 1.0, 0.25];
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
            check(simd.mul(va, vb), |a, b| a * b);
            check(simd.mul_add(va, vb, simd.splat(2.0)), |a, b| a * b + 2.0);
            check(simd.max(va, vb), |a, b| if a > b { a } else { b });
            check(simd.where_positive(va, vb, simd.splat(7.0)), |a, b| if a > 0.0 { b } else { 7.0 });
        }
    }

    #[test]
    fn every_set_computes_what_it_says() {
        for isa in Isa::available() {
            <f32 as crate::Scalar>::run(isa, Check);
            assert!(isa.lanes::<f32>() <= MAX_VECTOR);
        }
    }
}
