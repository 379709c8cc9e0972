//! AVX2 and FMA: 256-bit vectors, and multiply-adds that are rounded once.

use core::arch::x86_64::*;

use super::{Op, Simd};

/// Proof that this CPU has AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Avx2 {
    /// Asks the CPU.
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

/// The one function of each [`Op`] that is compiled for the set; everything else is inlined into it.
#[target_feature(enable = "avx2,fma")]
fn run<T, O: Op<T>>(simd: Avx2, op: O)
where
    Avx2: Simd<T>,
{
    op.eval(simd);
}

macro_rules! avx2 {
    ($t:ident, $vector:ident, $lanes:expr, $splat:ident, $load:ident, $store:ident, $mul_add:ident, $add:ident,
     $mul:ident, $max:ident, $compare:ident, $blend:ident, $zero:ident) => {
        impl Simd<$t> for Avx2 {
            type Vector = $vector;

            const LANES: usize = $lanes;

            #[inline(always)]
            fn splat(self, value: $t) -> $vector {
                // SAFETY: `self` proves that the CPU has AVX.
                unsafe { $splat(value) }
            }

            #[inline(always)]
            unsafe fn load(self, from: *const $t) -> $vector {
                // SAFETY: `self` proves AVX, and the caller promises that many readable elements, aligned or not.
                unsafe { $load(from) }
            }

            #[inline(always)]
            unsafe fn store(self, vector: $vector, to: *mut $t) {
                // SAFETY: `self` proves AVX, and the caller promises that many writable elements, aligned or not.
                unsafe { $store(to, vector) }
            }

            #[inline(always)]
            fn mul_add(self, a: $vector, b: $vector, c: $vector) -> $vector {
                // SAFETY: `self` proves that the CPU has FMA.
                unsafe { $mul_add(a, b, c) }
            }

            #[inline(always)]
            fn add(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: `self` proves that the CPU has AVX.
                unsafe { $add(a, b) }
            }

            #[inline(always)]
            fn mul(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: `self` proves that the CPU has AVX.
                unsafe { $mul(a, b) }
            }

            #[inline(always)]
            fn max(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: `self` proves that the CPU has AVX, whose maximum is the second operand unless the first
                // is greater.
                unsafe { $max(a, b) }
            }

            #[inline(always)]
            fn where_positive(self, sign: $vector, then: $vector, otherwise: $vector) -> $vector {
                // SAFETY: `self` proves that the CPU has AVX.
                unsafe { $blend(otherwise, then, $compare::<_CMP_GT_OQ>(sign, $zero())) }
            }

            #[inline]
            fn run<O: Op<$t>>(self, op: O) {
                // SAFETY: `self` proves that the CPU has AVX2 and FMA.
                unsafe { run(self, op) }
            }
        }
    };
}

avx2!(
    f32,
    __m256,
    8,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_fmadd_ps,
    _mm256_add_ps,
    _mm256_mul_ps,
    _mm256_max_ps,
    _mm256_cmp_ps,
    _mm256_blendv_ps,
    _mm256_setzero_ps
);
avx2!(
    f64,
    __m256d,
    4,
    _mm256_set1_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_fmadd_pd,
    _mm256_add_pd,
    _mm256_mul_pd,
    _mm256_max_pd,
    _mm256_cmp_pd,
    _mm256_blendv_pd,
    _mm256_setzero_pd
);
