//! AVX-512: 512-bit vectors, thirty-two registers, and multiply-adds that are rounded once.

use core::arch::x86_64::*;
use core::convert::identity;
use std::ops::Range;

use super::{Op, Set, Simd};

/// Proof that this CPU has AVX-512 (its foundation, and the shorter vectors), AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

impl Set for Avx512 {
    const NAME: &'static str = "avx512";

    fn detect() -> Option<Self> {
        let foundation = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
        (foundation && is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

/// The one function of each [`Op`] that is compiled for the set; everything else is inlined into it.
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
fn run<T, O: Op<T>>(simd: Avx512, op: O)
where
    Avx512: Simd<T>,
{
    op.eval(simd);
}

/// Every second lane of `a`, then of `b`, from `first` on.
#[inline]
#[target_feature(enable = "avx512f")]
fn every_second_ps(a: __m512, b: __m512, first: i32) -> __m512 {
    let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    _mm512_permutex2var_ps(a, _mm512_add_epi32(even, _mm512_set1_epi32(first)), b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn deinterleave_ps(a: __m512, b: __m512) -> (__m512, __m512) {
    (every_second_ps(a, b, 0), every_second_ps(a, b, 1))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn deinterleave_pd(a: __m512d, b: __m512d) -> (__m512d, __m512d) {
    let (even, odd) = (_mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15));
    (_mm512_permutex2var_pd(a, even, b), _mm512_permutex2var_pd(a, odd, b))
}

/// Lanes of `a` and `b` in turns, from lane `first` on.
#[inline]
#[target_feature(enable = "avx512f")]
fn turns_ps(a: __m512, b: __m512, first: i32) -> __m512 {
    let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    _mm512_permutex2var_ps(a, _mm512_add_epi32(low, _mm512_set1_epi32(first)), b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn interleave_ps(a: __m512, b: __m512) -> (__m512, __m512) {
    (turns_ps(a, b, 0), turns_ps(a, b, 8))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn interleave_pd(a: __m512d, b: __m512d) -> (__m512d, __m512d) {
    let (low, high) = (_mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15));
    (_mm512_permutex2var_pd(a, low, b), _mm512_permutex2var_pd(a, high, b))
}

/// Exchanges the 128-bit quarters of four vectors as a transposition of a 4x4 block would.
#[inline]
#[target_feature(enable = "avx512f")]
fn quarters([a, b, c, d]: [__m512; 4]) -> [__m512; 4] {
    let (ab_even, ab_odd) = (_mm512_shuffle_f32x4::<0b10_00_10_00>(a, b), _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b));
    let (cd_even, cd_odd) = (_mm512_shuffle_f32x4::<0b10_00_10_00>(c, d), _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d));
    [
        _mm512_shuffle_f32x4::<0b10_00_10_00>(ab_even, cd_even),
        _mm512_shuffle_f32x4::<0b10_00_10_00>(ab_odd, cd_odd),
        _mm512_shuffle_f32x4::<0b11_01_11_01>(ab_even, cd_even),
        _mm512_shuffle_f32x4::<0b11_01_11_01>(ab_odd, cd_odd),
    ]
}

/// Transposes the 4x4 blocks of four rows within quarters, then exchanges quarters.
///
/// # Safety
///
/// As for [`Simd::transpose`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn transpose_ps(from: *const f32, from_pitch: usize, to: *mut f32, to_pitch: usize) {
    // SAFETY: the caller promises 16 elements of each of 16 rows.
    let row = |row: usize| unsafe { _mm512_loadu_ps(from.add(row * from_pitch)) };
    let pairs = |a: __m512, b: __m512| (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    let fours =
        |a: __m512, b: __m512| (_mm512_shuffle_ps::<0b01_00_01_00>(a, b), _mm512_shuffle_ps::<0b11_10_11_10>(a, b));
    let four_rows = |first: usize| {
        let ((a, b), (c, d)) = (pairs(row(first), row(first + 1)), pairs(row(first + 2), row(first + 3)));
        let ((e, f), (g, h)) = (fours(a, c), fours(b, d));
        [e, f, g, h]
    };
    let rows = [four_rows(0), four_rows(4), four_rows(8), four_rows(12)];
    for within in 0..4 {
        let columns = quarters([rows[0][within], rows[1][within], rows[2][within], rows[3][within]]);
        for (quarter, column) in columns.into_iter().enumerate() {
            // SAFETY: as above, for writing.
            unsafe { _mm512_storeu_ps(to.add((4 * quarter + within) * to_pitch), column) };
        }
    }
}

/// Transposes the 2x2 blocks of two rows within quarters, then exchanges quarters.
///
/// # Safety
///
/// As for [`Simd::transpose`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn transpose_pd(from: *const f64, from_pitch: usize, to: *mut f64, to_pitch: usize) {
    // SAFETY: the caller promises 8 elements of each of 8 rows.
    let row = |row: usize| unsafe { _mm512_loadu_pd(from.add(row * from_pitch)) };
    let two_rows = |first: usize| {
        let (a, b) = (row(first), row(first + 1));
        [_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b)].map(|pair| _mm512_castpd_ps(pair))
    };
    let rows = [two_rows(0), two_rows(2), two_rows(4), two_rows(6)];
    for within in 0..2 {
        let columns = quarters([rows[0][within], rows[1][within], rows[2][within], rows[3][within]]);
        for (quarter, column) in columns.into_iter().enumerate() {
            // SAFETY: as above, for writing.
            unsafe { _mm512_storeu_pd(to.add((2 * quarter + within) * to_pitch), _mm512_castps_pd(column)) };
        }
    }
}

/// The halves of a vector.
#[inline]
#[target_feature(enable = "avx512f")]
fn halves_ps(vector: __m512) -> [__m256; 2] {
    let high = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(vector));
    [_mm512_castps512_ps256(vector), _mm256_castpd_ps(high)]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn halves_pd(vector: __m512d) -> [__m256d; 2] {
    [_mm512_castpd512_pd256(vector), _mm512_extractf64x4_pd::<1>(vector)]
}

macro_rules! halves {
    ($t:ident, $vector:ident, $halves:ident, $join:ident, $part:ident, $add_parts:ident, $load:ident, $store:ident, $add:ident,
     $double:ident, $doubles:ident, $widen:ident, $from_doubles:ident) => {
        /// # Safety
        ///
        /// Half a vector must be readable at each place.
        #[inline]
        #[target_feature(enable = "avx512f")]
        unsafe fn $join(from: [*const $t; 2]) -> $vector {
            // SAFETY: the caller promises both halves.
            let [low, high] = from.map(|from| unsafe { $load(from) });
            $from_doubles(_mm512_insertf64x4::<1>($doubles($widen(low)), $double(high)))
        }

        /// # Safety
        ///
        /// Half a vector must be writable at each place.
        #[inline]
        #[target_feature(enable = "avx512f")]
        unsafe fn $part(vector: $vector, to: [*mut $t; 2]) {
            for (half, to) in $halves(vector).into_iter().zip(to) {
                // SAFETY: the caller promises both halves.
                unsafe { $store(to, half) };
            }
        }

        /// # Safety
        ///
        /// Half a vector must be readable and writable at each place.
        #[inline]
        #[target_feature(enable = "avx512f")]
        unsafe fn $add_parts(vector: $vector, to: [*mut $t; 2]) {
            for (half, to) in $halves(vector).into_iter().zip(to) {
                // SAFETY: the caller promises both halves.
                unsafe { $store(to, $add($load(to), half)) };
            }
        }
    };
}

halves!(
    f32,
    __m512,
    halves_ps,
    join_ps,
    part_ps,
    add_parts_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_add_ps,
    _mm256_castps_pd,
    _mm512_castps_pd,
    _mm512_castps256_ps512,
    _mm512_castpd_ps
);
halves!(
    f64,
    __m512d,
    halves_pd,
    join_pd,
    part_pd,
    add_parts_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_add_pd,
    identity,
    identity,
    _mm512_castpd256_pd512,
    identity
);

macro_rules! avx512 {
    ($t:ident, $vector:ident, $mask:ident, $lanes:expr, $splat:ident, $load:ident, $store:ident, $load_masked:ident,
     $store_masked:ident, $mul_add:ident, $add:ident,
     $sub:ident, $mul:ident, $max:ident, $compare:ident, $blend:ident, $zero:ident, $deinterleave:ident, $interleave:ident,
     $transpose:ident, $join:ident, $part:ident, $add_parts:ident, $load_i32:ident, $store_i32:ident, $from_i32:ident,
     $to_i32:ident) => {
        impl Simd<$t> for Avx512 {
            type Vector = $vector;

            type Mask = $mask;

            const LANES: usize = $lanes;

            const REGISTERS: usize = 32;

            const PIECES: usize = 2;

            #[inline(always)]
            fn splat(self, value: $t) -> $vector {
                // SAFETY: `self` proves that the CPU has AVX-512.
                unsafe { $splat(value) }
            }

            #[inline(always)]
            unsafe fn load(self, from: *const $t) -> $vector {
                // SAFETY: `self` proves AVX-512, and the caller promises that many readable elements, aligned or not.
                unsafe { $load(from) }
            }

            #[inline(always)]
            unsafe fn store(self, vector: $vector, to: *mut $t) {
                // SAFETY: `self` proves AVX-512, and the caller promises that many writable elements, aligned or not.
                unsafe { $store(to, vector) }
            }

            #[inline(always)]
            unsafe fn load_pieces(self, from: [*const $t; 2]) -> $vector {
                // SAFETY: `self` proves AVX-512, and the caller promises half a vector at each place, aligned or not.
                unsafe { $join(from) }
            }

            #[inline(always)]
            unsafe fn store_pieces(self, vector: $vector, to: [*mut $t; 2]) {
                // SAFETY: as above, for writing.
                unsafe { $part(vector, to) }
            }

            #[inline(always)]
            unsafe fn add_pieces(self, vector: $vector, to: [*mut $t; 2]) {
                // SAFETY: as above, for both.
                unsafe { $add_parts(vector, to) }
            }

            #[inline(always)]
            fn mask(self, lanes: Range<usize>) -> $mask {
                ((1u32 << lanes.end) - (1u32 << lanes.start)) as $mask
            }

            #[inline(always)]
            unsafe fn load_masked(self, from: *const $t, mask: $mask) -> $vector {
                // SAFETY: `self` proves AVX-512, the caller promises the lanes in the mask, and no others are touched.
                unsafe { $load_masked(mask, from) }
            }

            #[inline(always)]
            unsafe fn store_masked(self, vector: $vector, to: *mut $t, mask: $mask) {
                // SAFETY: `self` proves AVX-512, the caller promises the lanes in the mask, and no others are touched.
                unsafe { $store_masked(to, mask, vector) }
            }

            #[inline(always)]
            fn mul_add(self, a: $vector, b: $vector, c: $vector) -> $vector {
                // SAFETY: `self` proves that the CPU has AVX-512.
                unsafe { $mul_add(a, b, c) }
            }

            #[inline(always)]
            fn add(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: `self` proves that the CPU has AVX-512.
                unsafe { $add(a, b) }
            }

            #[inline(always)]
            fn sub(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: `self` proves that the CPU has AVX-512.
                unsafe { $sub(a, b) }
            }

            #[inline(always)]
            fn mul(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: `self` proves that the CPU has AVX-512.
                unsafe { $mul(a, b) }
            }

            #[inline(always)]
            fn max(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: `self` proves that the CPU has AVX-512, whose maximum is the second operand unless the first
                // is greater.
                unsafe { $max(a, b) }
            }

            #[inline(always)]
            fn where_positive(self, sign: $vector, then: $vector, otherwise: $vector) -> $vector {
                // SAFETY: `self` proves that the CPU has AVX-512.
                unsafe { $blend($compare::<_CMP_GT_OQ>(sign, $zero()), otherwise, then) }
            }

            #[inline(always)]
            fn where_equal(self, a: $vector, b: $vector, then: $vector, otherwise: $vector) -> $vector {
                // SAFETY: `self` proves that the CPU has AVX-512.
                unsafe { $blend($compare::<_CMP_EQ_OQ>(a, b), otherwise, then) }
            }

            #[inline(always)]
            fn deinterleave(self, a: $vector, b: $vector) -> ($vector, $vector) {
                // SAFETY: `self` proves that the CPU has AVX-512.
                unsafe { $deinterleave(a, b) }
            }

            #[inline(always)]
            fn interleave(self, a: $vector, b: $vector) -> ($vector, $vector) {
                // SAFETY: `self` proves that the CPU has AVX-512.
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
                // SAFETY: `self` proves that the CPU has AVX-512, and the caller promises both squares.
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
                // SAFETY: `self` proves that the CPU has AVX-512.
                unsafe { run(self, op) }
            }
        }
    };
}

avx512!(
    f32,
    __m512,
    __mmask16,
    16,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_maskz_loadu_ps,
    _mm512_mask_storeu_ps,
    _mm512_fmadd_ps,
    _mm512_add_ps,
    _mm512_sub_ps,
    _mm512_mul_ps,
    _mm512_max_ps,
    _mm512_cmp_ps_mask,
    _mm512_mask_blend_ps,
    _mm512_setzero_ps,
    deinterleave_ps,
    interleave_ps,
    transpose_ps,
    join_ps,
    part_ps,
    add_parts_ps,
    _mm512_loadu_si512,
    _mm512_storeu_si512,
    _mm512_cvtepi32_ps,
    _mm512_cvtps_epi32
);
avx512!(
    f64,
    __m512d,
    __mmask8,
    8,
    _mm512_set1_pd,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_maskz_loadu_pd,
    _mm512_mask_storeu_pd,
    _mm512_fmadd_pd,
    _mm512_add_pd,
    _mm512_sub_pd,
    _mm512_mul_pd,
    _mm512_max_pd,
    _mm512_cmp_pd_mask,
    _mm512_mask_blend_pd,
    _mm512_setzero_pd,
    deinterleave_pd,
    interleave_pd,
    transpose_pd,
    join_pd,
    part_pd,
    add_parts_pd,
    _mm256_loadu_si256,
    _mm256_storeu_si256,
    _mm512_cvtepi32_pd,
    _mm512_cvtpd_epi32
);
