//! Minimal filters `F(m, k)`: `m` neighbouring outputs of a kernel of `k`, from `l = m + k - 1` inputs, by `n` products:
//! `n = l` at best.
//!
//! The inputs `d` and the kernel `g` are polynomials, their product is known from its values at `l - 1` points and its
//! highest coefficient, and the filter is the transpose of that: `y = Aᵀ((G g) ⊙ (Bᵀ d))`. In two dimensions each
//! transform is applied to columns, then to rows.
//!
//! A kernel may be taken in pieces, a filter for each, whose outputs are added: more products than at best, but points
//! that cost no accuracy. A kernel that slides by two has pieces by nature: its even elements see the even inputs, as if
//! they slid by one, and its odd ones the odd.

use super::super::Simd;
use crate::Scalar;

/// One dimension of a filter: its three transforms, lane by lane, and two of their transposes, for the weight gradient.
pub(super) trait Filter<const K: usize, const L: usize, const M: usize, const N: usize> {
    /// By how much the kernel slides.
    const STRIDE: usize = 1;

    /// `G g`.
    fn kernel<T: Scalar, S: Simd<T>>(simd: S, g: [S::Vector; K]) -> [S::Vector; N];

    /// `Bᵀ d`.
    fn input<T: Scalar, S: Simd<T>>(simd: S, d: [S::Vector; L]) -> [S::Vector; N];

    /// `Aᵀ p`.
    fn output<T: Scalar, S: Simd<T>>(simd: S, p: [S::Vector; N]) -> [S::Vector; M];

    /// `A y`, up to factors that [`Filter::kernel_gradient`] makes good.
    fn output_gradient<T: Scalar, S: Simd<T>>(simd: S, y: [S::Vector; M]) -> [S::Vector; N];

    /// `Gᵀ u`, with those factors.
    fn kernel_gradient<T: Scalar, S: Simd<T>>(simd: S, u: [S::Vector; N]) -> [S::Vector; K];
}

/// `factor · a + b`.
#[inline(always)]
fn plus<T: Scalar, S: Simd<T>>(simd: S, factor: f64, a: S::Vector, b: S::Vector) -> S::Vector {
    simd.mul_add(simd.splat(T::of(factor)), a, b)
}

/// `factor · a`.
#[inline(always)]
fn times<T: Scalar, S: Simd<T>>(simd: S, factor: f64, a: S::Vector) -> S::Vector {
    simd.mul(simd.splat(T::of(factor)), a)
}

/// F(2, 3) on the points 0, 1, -1, ∞. The halves that it needs are in `Aᵀ`, where the numbers that they halve are even
/// if those that came in were integers: so it is exact on small integers, even if they count denormals.
///
/// ```text
///      1  0  0        1  0 -1  0
/// G =  1  1  1   Bᵀ = 0  1  1  0   Aᵀ = 1  ½  ½  0
///      1 -1  1        0 -1  1  0        0  ½ -½  1
///      0  0  1        0 -1  0  1
/// ```
pub(super) struct F2x3;

impl Filter<3, 4, 2, 4> for F2x3 {
    #[inline(always)]
    fn kernel<T: Scalar, S: Simd<T>>(simd: S, [g0, g1, g2]: [S::Vector; 3]) -> [S::Vector; 4] {
        let outer = simd.add(g0, g2);
        [g0, simd.add(outer, g1), simd.sub(outer, g1), g2]
    }

    #[inline(always)]
    fn input<T: Scalar, S: Simd<T>>(simd: S, [d0, d1, d2, d3]: [S::Vector; 4]) -> [S::Vector; 4] {
        [simd.sub(d0, d2), simd.add(d1, d2), simd.sub(d2, d1), simd.sub(d3, d1)]
    }

    #[inline(always)]
    fn output<T: Scalar, S: Simd<T>>(simd: S, [p0, p1, p2, p3]: [S::Vector; 4]) -> [S::Vector; 2] {
        let half = simd.splat(T::of(0.5));
        [simd.mul_add(half, simd.add(p1, p2), p0), simd.mul_add(half, simd.sub(p1, p2), p3)]
    }

    #[inline(always)]
    fn output_gradient<T: Scalar, S: Simd<T>>(simd: S, [y0, y1]: [S::Vector; 2]) -> [S::Vector; 4] {
        [y0, simd.add(y0, y1), simd.sub(y0, y1), y1]
    }

    #[inline(always)]
    fn kernel_gradient<T: Scalar, S: Simd<T>>(simd: S, [u0, u1, u2, u3]: [S::Vector; 4]) -> [S::Vector; 3] {
        let half = simd.splat(T::of(0.5));
        let outer = simd.add(u1, u2);
        [simd.mul_add(half, outer, u0), simd.mul(half, simd.sub(u1, u2)), simd.mul_add(half, outer, u3)]
    }
}

/// F(4, 3) on the points 0, 1, -1, ½, -2, ∞: points whose powers are small, and their inverses too.
///
/// ```text
///                       1  -3/2  -2   3/2  1   0
///      1    0    0      0   -1   1/2  5/2  1   0        1  1  1   1   1  0
///     1/3  1/3  1/3     0    1  -5/2  1/2  1   0   Aᵀ = 0  1 -1  1/2 -2  0
/// G = -1/3 1/3 -1/3     0   -2   -1    2   1   0        0  1  1  1/4  4  0
///   -16/15 -8/15 -4/15  0   1/2  -1  -1/2  1   0        0  1 -1  1/8 -8  1
///    1/15 -2/15 4/15    0    1  -3/2  -2  3/2  1
///      0    0    1              (Bᵀ)
/// ```
pub(super) struct F4x3;

impl Filter<3, 6, 4, 6> for F4x3 {
    #[inline(always)]
    fn kernel<T: Scalar, S: Simd<T>>(simd: S, [g0, g1, g2]: [S::Vector; 3]) -> [S::Vector; 6] {
        let outer = simd.add(g0, g2);
        // g(½) · 4 and g(-2)
        let at_half = plus::<T, S>(simd, 4.0, g0, plus::<T, S>(simd, 2.0, g1, g2));
        let at_minus_two = plus::<T, S>(simd, 4.0, g2, plus::<T, S>(simd, -2.0, g1, g0));
        [
            g0,
            times::<T, S>(simd, 1.0 / 3.0, simd.add(outer, g1)),
            times::<T, S>(simd, -1.0 / 3.0, simd.sub(outer, g1)),
            times::<T, S>(simd, -4.0 / 15.0, at_half),
            times::<T, S>(simd, 1.0 / 15.0, at_minus_two),
            g2,
        ]
    }

    #[inline(always)]
    fn input<T: Scalar, S: Simd<T>>(simd: S, [d0, d1, d2, d3, d4, d5]: [S::Vector; 6]) -> [S::Vector; 6] {
        let (odd, even) = (simd.sub(d3, d1), simd.sub(d4, d2));
        [
            plus::<T, S>(simd, 1.5, odd, simd.add(simd.sub(d0, d2), even)),
            plus::<T, S>(simd, 1.5, simd.add(d2, d3), simd.add(even, odd)),
            plus::<T, S>(simd, 1.5, simd.sub(d3, d2), simd.sub(even, odd)),
            plus::<T, S>(simd, 2.0, odd, even),
            plus::<T, S>(simd, -0.5, odd, even),
            plus::<T, S>(simd, 1.5, even, simd.sub(simd.sub(d5, d3), odd)),
        ]
    }

    #[inline(always)]
    fn output<T: Scalar, S: Simd<T>>(simd: S, [p0, p1, p2, p3, p4, p5]: [S::Vector; 6]) -> [S::Vector; 4] {
        let (sum, difference) = (simd.add(p1, p2), simd.sub(p1, p2));
        [
            simd.add(simd.add(p0, sum), simd.add(p3, p4)),
            plus::<T, S>(simd, -2.0, p4, plus::<T, S>(simd, 0.5, p3, difference)),
            plus::<T, S>(simd, 4.0, p4, plus::<T, S>(simd, 0.25, p3, sum)),
            simd.add(plus::<T, S>(simd, -8.0, p4, plus::<T, S>(simd, 0.125, p3, difference)), p5),
        ]
    }

    #[inline(always)]
    fn output_gradient<T: Scalar, S: Simd<T>>(simd: S, [y0, y1, y2, y3]: [S::Vector; 4]) -> [S::Vector; 6] {
        let (even, odd) = (simd.add(y0, y2), simd.add(y1, y3));
        let at_half = plus::<T, S>(simd, 0.5, plus::<T, S>(simd, 0.25, y3, y1), plus::<T, S>(simd, 0.25, y2, y0));
        let at_minus_two = plus::<T, S>(simd, -2.0, plus::<T, S>(simd, 4.0, y3, y1), plus::<T, S>(simd, 4.0, y2, y0));
        [y0, simd.add(even, odd), simd.sub(even, odd), at_half, at_minus_two, y3]
    }

    #[inline(always)]
    fn kernel_gradient<T: Scalar, S: Simd<T>>(simd: S, [u0, u1, u2, u3, u4, u5]: [S::Vector; 6]) -> [S::Vector; 3] {
        let (like, unlike) = (simd.sub(u1, u2), simd.add(u1, u2));
        let (by_half, by_two) = (times::<T, S>(simd, -1.0 / 15.0, u3), times::<T, S>(simd, 1.0 / 15.0, u4));
        [
            plus::<T, S>(simd, 1.0 / 3.0, like, plus::<T, S>(simd, 16.0, by_half, simd.add(by_two, u0))),
            plus::<T, S>(simd, 1.0 / 3.0, unlike, plus::<T, S>(simd, 8.0, by_half, times::<T, S>(simd, -2.0, by_two))),
            plus::<T, S>(simd, 1.0 / 3.0, like, plus::<T, S>(simd, 4.0, simd.add(by_half, by_two), u5)),
        ]
    }
}

/// F(2, 2) on the points 0, 1, ∞: a piece of others.
///
/// ```text
///     1 0        1 -1  0
/// G = 1 1   Bᵀ = 0  1  0   Aᵀ = 1 1 0
///     0 1        0 -1  1        0 1 1
/// ```
struct F2x2;

impl Filter<2, 3, 2, 3> for F2x2 {
    #[inline(always)]
    fn kernel<T: Scalar, S: Simd<T>>(simd: S, [g0, g1]: [S::Vector; 2]) -> [S::Vector; 3] {
        [g0, simd.add(g0, g1), g1]
    }

    #[inline(always)]
    fn input<T: Scalar, S: Simd<T>>(simd: S, [d0, d1, d2]: [S::Vector; 3]) -> [S::Vector; 3] {
        [simd.sub(d0, d1), d1, simd.sub(d2, d1)]
    }

    #[inline(always)]
    fn output<T: Scalar, S: Simd<T>>(simd: S, [p0, p1, p2]: [S::Vector; 3]) -> [S::Vector; 2] {
        [simd.add(p0, p1), simd.add(p1, p2)]
    }

    #[inline(always)]
    fn output_gradient<T: Scalar, S: Simd<T>>(simd: S, [y0, y1]: [S::Vector; 2]) -> [S::Vector; 3] {
        [y0, simd.add(y0, y1), y1]
    }

    #[inline(always)]
    fn kernel_gradient<T: Scalar, S: Simd<T>>(simd: S, [u0, u1, u2]: [S::Vector; 3]) -> [S::Vector; 2] {
        [simd.add(u0, u1), simd.add(u1, u2)]
    }
}

/// The sum of two pairs.
#[inline(always)]
fn both<T: Scalar, S: Simd<T>>(simd: S, [a0, a1]: [S::Vector; 2], [b0, b1]: [S::Vector; 2]) -> [S::Vector; 2] {
    [simd.add(a0, b0), simd.add(a1, b1)]
}

/// F(2, 5) in two pieces: F(2, 3) for the first three elements of the kernel, F(2, 2) for the others. At best there are
/// six products, with points like 2 or ½; these seven are as exact as F(2, 3).
pub(super) struct F2x5;

impl Filter<5, 6, 2, 7> for F2x5 {
    #[inline(always)]
    fn kernel<T: Scalar, S: Simd<T>>(simd: S, [g0, g1, g2, g3, g4]: [S::Vector; 5]) -> [S::Vector; 7] {
        let [p0, p1, p2, p3] = F2x3::kernel::<T, S>(simd, [g0, g1, g2]);
        let [p4, p5, p6] = F2x2::kernel::<T, S>(simd, [g3, g4]);
        [p0, p1, p2, p3, p4, p5, p6]
    }

    #[inline(always)]
    fn input<T: Scalar, S: Simd<T>>(simd: S, [d0, d1, d2, d3, d4, d5]: [S::Vector; 6]) -> [S::Vector; 7] {
        let [p0, p1, p2, p3] = F2x3::input::<T, S>(simd, [d0, d1, d2, d3]);
        let [p4, p5, p6] = F2x2::input::<T, S>(simd, [d3, d4, d5]);
        [p0, p1, p2, p3, p4, p5, p6]
    }

    #[inline(always)]
    fn output<T: Scalar, S: Simd<T>>(simd: S, [p0, p1, p2, p3, p4, p5, p6]: [S::Vector; 7]) -> [S::Vector; 2] {
        let (first, second) = (F2x3::output::<T, S>(simd, [p0, p1, p2, p3]), F2x2::output::<T, S>(simd, [p4, p5, p6]));
        both::<T, S>(simd, first, second)
    }

    #[inline(always)]
    fn output_gradient<T: Scalar, S: Simd<T>>(simd: S, y: [S::Vector; 2]) -> [S::Vector; 7] {
        let [p0, p1, p2, p3] = F2x3::output_gradient::<T, S>(simd, y);
        let [p4, p5, p6] = F2x2::output_gradient::<T, S>(simd, y);
        [p0, p1, p2, p3, p4, p5, p6]
    }

    #[inline(always)]
    fn kernel_gradient<T: Scalar, S: Simd<T>>(simd: S, [u0, u1, u2, u3, u4, u5, u6]: [S::Vector; 7]) -> [S::Vector; 5] {
        let [g0, g1, g2] = F2x3::kernel_gradient::<T, S>(simd, [u0, u1, u2, u3]);
        let [g3, g4] = F2x2::kernel_gradient::<T, S>(simd, [u4, u5, u6]);
        [g0, g1, g2, g3, g4]
    }
}

/// A kernel of 3 that slides by two: F(2, 2) for the two even elements, and two products for the odd one.
pub(super) struct F2x3By2;

impl Filter<3, 5, 2, 5> for F2x3By2 {
    const STRIDE: usize = 2;

    #[inline(always)]
    fn kernel<T: Scalar, S: Simd<T>>(simd: S, [g0, g1, g2]: [S::Vector; 3]) -> [S::Vector; 5] {
        let [p0, p1, p2] = F2x2::kernel::<T, S>(simd, [g0, g2]);
        [p0, p1, p2, g1, g1]
    }

    #[inline(always)]
    fn input<T: Scalar, S: Simd<T>>(simd: S, [d0, d1, d2, d3, d4]: [S::Vector; 5]) -> [S::Vector; 5] {
        let [p0, p1, p2] = F2x2::input::<T, S>(simd, [d0, d2, d4]);
        [p0, p1, p2, d1, d3]
    }

    #[inline(always)]
    fn output<T: Scalar, S: Simd<T>>(simd: S, [p0, p1, p2, p3, p4]: [S::Vector; 5]) -> [S::Vector; 2] {
        both::<T, S>(simd, F2x2::output::<T, S>(simd, [p0, p1, p2]), [p3, p4])
    }

    #[inline(always)]
    fn output_gradient<T: Scalar, S: Simd<T>>(simd: S, [y0, y1]: [S::Vector; 2]) -> [S::Vector; 5] {
        let [p0, p1, p2] = F2x2::output_gradient::<T, S>(simd, [y0, y1]);
        [p0, p1, p2, y0, y1]
    }

    #[inline(always)]
    fn kernel_gradient<T: Scalar, S: Simd<T>>(simd: S, [u0, u1, u2, u3, u4]: [S::Vector; 5]) -> [S::Vector; 3] {
        let [g0, g2] = F2x2::kernel_gradient::<T, S>(simd, [u0, u1, u2]);
        [g0, simd.add(u3, u4), g2]
    }
}

/// A kernel of 5 that slides by two: F(2, 3) for the three even elements, F(2, 2) for the odd ones.
pub(super) struct F2x5By2;

impl Filter<5, 7, 2, 7> for F2x5By2 {
    const STRIDE: usize = 2;

    #[inline(always)]
    fn kernel<T: Scalar, S: Simd<T>>(simd: S, [g0, g1, g2, g3, g4]: [S::Vector; 5]) -> [S::Vector; 7] {
        F2x5::kernel::<T, S>(simd, [g0, g2, g4, g1, g3])
    }

    #[inline(always)]
    fn input<T: Scalar, S: Simd<T>>(simd: S, [d0, d1, d2, d3, d4, d5, d6]: [S::Vector; 7]) -> [S::Vector; 7] {
        let [p0, p1, p2, p3] = F2x3::input::<T, S>(simd, [d0, d2, d4, d6]);
        let [p4, p5, p6] = F2x2::input::<T, S>(simd, [d1, d3, d5]);
        [p0, p1, p2, p3, p4, p5, p6]
    }

    #[inline(always)]
    fn output<T: Scalar, S: Simd<T>>(simd: S, p: [S::Vector; 7]) -> [S::Vector; 2] {
        F2x5::output::<T, S>(simd, p)
    }

    #[inline(always)]
    fn output_gradient<T: Scalar, S: Simd<T>>(simd: S, y: [S::Vector; 2]) -> [S::Vector; 7] {
        F2x5::output_gradient::<T, S>(simd, y)
    }

    #[inline(always)]
    fn kernel_gradient<T: Scalar, S: Simd<T>>(simd: S, u: [S::Vector; 7]) -> [S::Vector; 5] {
        let [g0, g2, g4, g1, g3] = F2x5::kernel_gradient::<T, S>(simd, u);
        [g0, g1, g2, g3, g4]
    }
}
