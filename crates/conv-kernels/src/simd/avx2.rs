//! AVX2 and FMA: 256-bit vectors, and multiply-adds that are rounded once.

use core::arch::x86_64::*;
use std::ops::Range;

use super::{Op, Set, Simd};

/// Proof that this CPU has AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Set for Avx2 {
    const NAME: &'static str = "avx2";

    fn detect() -> Option<Self> {
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

/// Shuffles work within 128-bit halves; a last permutation puts the pairs of lanes in order.
#[inline]
#[target_feature(enable = "avx2")]
fn deinterleave_ps(a: __m256, b: __m256) -> (__m256, __m256) {
    let order = |pairs: __m256| _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(pairs)));
    (order(_mm256_shuffle_ps::<0b10_00_10_00>(a, b)), order(_mm256_shuffle_ps::<0b11_01_11_01>(a, b)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn deinterleave_pd(a: __m256d, b: __m256d) -> (__m256d, __m256d) {
    let (even, odd) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
    (_mm256_permute4x64_pd::<0b11_01_10_00>(even), _mm256_permute4x64_pd::<0b11_01_10_00>(odd))
}

#[inline]
#[target_feature(enable = "avx2")]
fn interleave_ps(a: __m256, b: __m256) -> (__m256, __m256) {
    let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    (_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high))
}

#[inline]
#[target_feature(enable = "avx2")]
fn interleave_pd(a: __m256d, b: __m256d) -> (__m256d, __m256d) {
    let (low, high) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
    (_mm256_permute2f128_pd::<0x20>(low, high), _mm256_permute2f128_pd::<0x31>(low, high))
}

/// All bits of the lanes in `lanes`.
#[inline]
#[target_feature(enable = "avx2")]
fn mask_ps(lanes: Range<usize>) -> __m256i {
    let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let below = |end: usize| _mm256_cmpgt_epi32(_mm256_set1_epi32(end as i32), lane);
    _mm256_andnot_si256(below(lanes.start), below(lanes.end))
}

#[inline]
#[target_feature(enable = "avx2")]
fn mask_pd(lanes: Range<usize>) -> __m256i {
    let lane = _mm256_setr_epi64x(0, 1, 2, 3);
    let below = |end: usize| _mm256_cmpgt_epi64(_mm256_set1_epi64x(end as i64), lane);
    _mm256_andnot_si256(below(lanes.start), below(lanes.end))
}

/// Transposes the 2x2 blocks of a 4x4 block, then exchanges blocks, then 128-bit halves.
///
/// # Safety
///
/// As for [`Simd::transpose`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn transpose_ps(from: *const f32, from_pitch: usize, to: *mut f32, to_pitch: usize) {
    // SAFETY: the caller promises 8 elements of each of 8 rows.
    let row = |row: usize| unsafe { _mm256_loadu_ps(from.add(row * from_pitch)) };
    let pairs = |a: __m256, b: __m256| (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    let fours =
        |a: __m256, b: __m256| (_mm256_shuffle_ps::<0b01_00_01_00>(a, b), _mm256_shuffle_ps::<0b11_10_11_10>(a, b));
    let quarter = |first: usize| {
        let ((a, b), (c, d)) = (pairs(row(first), row(first + 1)), pairs(row(first + 2), row(first + 3)));
        let ((e, f), (g, h)) = (fours(a, c), fours(b, d));
        [e, f, g, h]
    };
    let (top, bottom) = (quarter(0), quarter(4));
    for column in 0..4 {
        let low = _mm256_permute2f128_ps::<0x20>(top[column], bottom[column]);
        let high = _mm256_permute2f128_ps::<0x31>(top[column], bottom[column]);
        // SAFETY: as above, for writing.
        unsafe {
            _mm256_storeu_ps(to.add(column * to_pitch), low);
            _mm256_storeu_ps(to.add((column + 4) * to_pitch), high);
        }
    }
}

/// # Safety
///
/// As for [`Simd::transpose`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn transpose_pd(from: *const f64, from_pitch: usize, to: *mut f64, to_pitch: usize) {
    // SAFETY: the caller promises 4 elements of each of 4 rows.
    let row = |row: usize| unsafe { _mm256_loadu_pd(from.add(row * from_pitch)) };
    let pairs = |a: __m256d, b: __m256d| [_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b)];
    let (top, bottom) = (pairs(row(0), row(1)), pairs(row(2), row(3)));
    for column in 0..2 {
        let low = _mm256_permute2f128_pd::<0x20>(top[column], bottom[column]);
        let high = _mm256_permute2f128_pd::<0x31>(top[column], bottom[column]);
        // SAFETY: as above, for writing.
        unsafe {
            _mm256_storeu_pd(to.add(column * to_pitch), low);
            _mm256_storeu_pd(to.add((column + 2) * to_pitch), high);
        }
    }
}

macro_rules! avx2 {
    ($t:ident, $vector:ident, $lanes:expr, $splat:ident, $load:ident, $store:ident, $mask:ident, $load_masked:ident,
     $store_masked:ident, $mul_add:ident, $add:ident,
     $sub:ident, $mul:ident, $max:ident, $compare:ident, $blend:ident, $zero:ident, $deinterleave:ident, $interleave:ident,
     $transpose:ident, $load_i32:ident, $store_i32:ident, $from_i32:ident, $to_i32:ident) => {
        impl Simd<$t> for Avx2 {
            type Vector = $vector;

            type Mask = __m256i;

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
            fn mask(self, lanes: Range<usize>) -> __m256i {
                // SAFETY: `self` proves that the CPU has AVX2.
                unsafe { $mask(lanes) }
            }

            #[inline(always)]
            unsafe fn load_masked(self, from: *const $t, mask: __m256i) -> $vector {
                // SAFETY: `self` proves AVX, the caller promises the lanes in the mask, and no others are touched.
                unsafe { $load_masked(from, mask) }
            }

            #[inline(always)]
            unsafe fn store_masked(self, vector: $vector, to: *mut $t, mask: __m256i) {
                // SAFETY: `self` proves AVX, the caller promises the lanes in the mask, and no others are touched.
                unsafe { $store_masked(to, mask, vector) }
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
            fn sub(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: `self` proves that the CPU has AVX.
                unsafe { $sub(a, b) }
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

            #[inline(always)]
            fn where_equal(self, a: $vector, b: $vector, then: $vector, otherwise: $vector) -> $vector {
                // SAFETY: `self` proves that the CPU has AVX.
                unsafe { $blend(otherwise, then, $compare::<_CMP_EQ_OQ>(a, b)) }
            }

            #[inline(always)]
            fn deinterleave(self, a: $vector, b: $vector) -> ($vector, $vector) {
                // SAFETY: `self` proves that the CPU has AVX2.
                unsafe { $deinterleave(a, b) }
            }

            #[inline(always)]
            fn interleave(self, a: $vector, b: $vector) -> ($vector, $vector) {
                // SAFETY: `self` proves that the CPU has AVX2.
                unsafe { $interleave(a, b) }
            }

            #[inline(always)]
            unsafe fn load_u32(self, from: *const u32) -> $vector {
                // SAFETY: `self` proves that the CPU has the set, and the caller promises that many readable numbers.
                unsafe { $from_i32($load_i32(from.cast())) }
            }

            #[inline(always)]
            unsafe fn store_u32(self, vector: $vector, to: *mut u32) {
                // SAFETY: `self` proves that the CPU has the set, and the caller promises that many writable numbers.
                unsafe { $store_i32(to.cast(), $to_i32(vector)) }
            }

            #[inline(always)]
            unsafe fn transpose(self, from: *const $t, from_pitch: usize, to: *mut $t, to_pitch: usize) {
                // SAFETY: `self` proves that the CPU has AVX2, and the caller promises both squares.
                unsafe { $transpose(from, from_pitch, to, to_pitch) }
            }

            #[inline(always)]
            fn prefetch(self, to: *mut $t) {
                // SAFETY: a prefetch touches no memory that the program sees, and cannot fault.
                unsafe { _mm_prefetch::<_MM_HINT_ET0>(to.cast::<i8>()) }
            }

            #[inline(always)]
            fn prefetch_read(self, from: *const $t) {
                // SAFETY: a prefetch touches no memory that the program sees, and cannot fault.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast::<i8>()) }
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
    mask_ps,
    _mm256_maskload_ps,
    _mm256_maskstore_ps,
    _mm256_fmadd_ps,
    _mm256_add_ps,
    _mm256_sub_ps,
    _mm256_mul_ps,
    _mm256_max_ps,
    _mm256_cmp_ps,
    _mm256_blendv_ps,
    _mm256_setzero_ps,
    deinterleave_ps,
    interleave_ps,
    transpose_ps,
    _mm256_loadu_si256,
    _mm256_storeu_si256,
    _mm256_cvtepi32_ps,
    _mm256_cvtps_epi32
);
avx2!(
    f64,
    __m256d,
    4,
    _mm256_set1_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    mask_pd,
    _mm256_maskload_pd,
    _mm256_maskstore_pd,
    _mm256_fmadd_pd,
    _mm256_add_pd,
    _mm256_sub_pd,
    _mm256_mul_pd,
    _mm256_max_pd,
    _mm256_cmp_pd,
    _mm256_blendv_pd,
    _mm256_setzero_pd,
    deinterleave_pd,
    interleave_pd,
    transpose_pd,
    _mm_loadu_si128,
    _mm_storeu_si128,
    _mm256_cvtepi32_pd,
    _mm256_cvtpd_epi32
);
