//! `correlate` and `convolve` over random shapes, modes, element types and strides.

mod common;

use common::{again_with_each_instruction_set, fuses};
use conv_kernels::{
    Element, KernelError, Mode, convolve, convolve_into, convolve2d, correlate, correlate_into, correlate2d,
    correlate2d_into, output_shape, reference,
};
use ndarray::{ArrayD, ArrayView, Axis, Dimension, Ix2, IxDyn, Slice, indices};
use proptest::prelude::*;

/// What makes two results the same: the bits of floats, the value of integers.
trait Bits: Element {
    fn bits(self) -> u64;
    fn of(value: i32) -> Self;
    /// `sum + a·b`, rounded once if `fused`.
    fn step(sum: Self, a: Self, b: Self, fused: bool) -> Self;
    /// Something with a long mantissa.
    fn rough(value: i32) -> Self;
    /// What lies between the elements of a strided array: NaN, where there is one.
    fn gap() -> Self;
}

macro_rules! bits {
    ($t:ty, $gap:expr, $bits:expr, $rough:expr, $fused:expr) => {
        impl Bits for $t {
            fn bits(self) -> u64 {
                $bits(self)
            }
            fn of(value: i32) -> Self {
                value as $t
            }
            fn step(sum: Self, a: Self, b: Self, fused: bool) -> Self {
                if fused { $fused(sum, a, b) } else { sum.mul_add_to(a, b) }
            }
            fn rough(value: i32) -> Self {
                $rough(value)
            }
            fn gap() -> Self {
                $gap
            }
        }
    };
}

bits!(f32, f32::NAN, |v: f32| u64::from(v.to_bits()), |v| (v as f32 * 0.123_457).sin() * 1.7, |sum, a: f32, b| a
    .mul_add(b, sum));
bits!(f64, f64::NAN, f64::to_bits, |v| (f64::from(v) * 0.123_456_789).sin() * 1.7, |sum, a: f64, b| a.mul_add(b, sum));
bits!(i32, -77_777, |v| v as u64, |v: i32| v.wrapping_mul(0x3C6E_F35F), i32::mul_add_to);
bits!(i64, -77_777, |v| v as u64, |v: i32| i64::from(v).wrapping_mul(0x5851_F42D_4C95_7F2D), i64::mul_add_to);

/// The correlation as chains of multiply-adds in the row-major order of the taps, rounded as the instruction set does.
fn chains<T: Bits>(first: &ArrayD<T>, second: &ArrayD<T>, mode: Mode) -> Result<ArrayD<T>, KernelError> {
    let fused = fuses();
    let shape = output_shape(first.shape(), second.shape(), mode)?;
    let start = |axis: usize| match (mode, first.shape()[axis], second.shape()[axis]) {
        (Mode::Full, ..) => 0,
        (Mode::Same, _, k) => (k - 1) / 2,
        (Mode::Valid, m, k) => m.min(k) - 1,
    };
    Ok(ArrayD::from_shape_fn(shape, |place| {
        let mut sum = T::ZERO;
        for tap in indices(second.raw_dim()) {
            let at = |axis: usize| (start(axis) + place[axis] + tap[axis]).checked_sub(second.shape()[axis] - 1);
            let at: Option<Vec<usize>> = (0..place.ndim()).map(at).collect();
            if let Some(&covered) = at.and_then(|at| first.get(&at[..])) {
                sum = T::step(sum, covered, second[&tap], fused);
            }
        }
        sum
    }))
}

/// The same of the second operand reversed along every axis.
fn turned_chains<T: Bits>(first: &ArrayD<T>, second: &ArrayD<T>, mode: Mode) -> Result<ArrayD<T>, KernelError> {
    let mut turned = second.clone();
    (0..turned.ndim()).for_each(|axis| turned.invert_axis(Axis(axis)));
    chains(first, &turned, mode)
}

fn bits<T: Bits>(array: &ArrayD<T>) -> ArrayD<u64> {
    array.mapv(T::bits)
}

/// The same elements in another memory layout: axes in another order, steps of two, negative strides.
fn relaid<T: Bits>(array: &ArrayD<T>, layout: u64) -> ArrayD<T> {
    let axes = array.ndim();
    let choice = |axis: usize| layout >> (8 * axis);
    let mut order: Vec<usize> = (0..axes).collect();
    order.sort_by_key(|&axis| choice(axis) & 15);
    let step = |axis: usize| [1isize, 2, -1, -2][(choice(axis) >> 4 & 3) as usize];
    let room: Vec<usize> = order.iter().map(|&axis| array.shape()[axis] * 2).collect();
    let mut base = ArrayD::from_elem(room, T::gap());
    for (at, &axis) in order.iter().enumerate() {
        let (len, step) = (array.shape()[axis] as isize, step(axis));
        base.slice_axis_inplace(Axis(at), Slice::new(0, Some(len * step.abs()), step));
    }
    let mut inverse = vec![0; axes];
    order.iter().enumerate().for_each(|(at, &axis)| inverse[axis] = at);
    let mut laid = base.permuted_axes(inverse);
    laid.assign(array);
    laid
}

/// The elements' bits, if nothing has been written between them.
fn written<T: Bits>(mut laid: ArrayD<T>) -> ArrayD<u64> {
    let written = bits(&laid);
    laid.fill(T::gap());
    let (all, _) = laid.into_raw_vec_and_offset();
    assert!(all.into_iter().all(|element| element.bits() == T::gap().bits()), "written between the elements");
    written
}

fn any_mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Valid), Just(Mode::Full), Just(Mode::Same)]
}

/// Shapes of two operands with one to four axes; a long last axis now and then, to fill whole blocks.
fn any_shapes() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    let most = |axes: usize| [40usize, 9, 4, 3][axes - 1];
    let longest = |axes: usize| [90usize, 60, 20, 12][axes - 1];
    (1usize..=4).prop_flat_map(move |axes| {
        let shape = || proptest::collection::vec(1..=most(axes), axes);
        (shape(), shape(), prop_oneof![3 => Just(0usize), 2 => 1..=longest(axes)], any::<bool>(), any::<bool>())
            .prop_map(move |(mut first, mut second, extra, to_first, nested)| {
                if nested {
                    // one operand contains the other: Mode::Valid is possible
                    for (m, k) in first.iter_mut().zip(&mut second) {
                        let (more, less) = ((*m).max(*k), (*m).min(*k));
                        (*m, *k) = if to_first { (more, less) } else { (less, more) };
                    }
                }
                let longer = if to_first { &mut first } else { &mut second };
                longer[axes - 1] += extra;
                (first, second)
            })
    })
}

fn filled<T>(shape: &[usize], seed: i32, element: impl Fn(i32) -> T) -> ArrayD<T> {
    let mut state = seed;
    ArrayD::from_shape_simple_fn(shape, || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        element((state >> 16) % 100)
    })
}

/// Results are chains of multiply-adds, whatever the layout of operands and output.
fn agree<T: Bits>(
    shapes: &(Vec<usize>, Vec<usize>),
    mode: Mode,
    seed: i32,
    layouts: [u64; 3],
    element: impl Fn(i32) -> T,
) {
    let first = filled(&shapes.0, seed, &element);
    let second = filled(&shapes.1, !seed, &element);
    let (first_laid, second_laid) = (relaid(&first, layouts[0]), relaid(&second, layouts[1]));
    let into = [correlate_into, convolve_into];
    let definitions = [chains, turned_chains];
    for (index, function) in [correlate, convolve].into_iter().enumerate() {
        let want = definitions[index](&first, &second, mode);
        let got = function(&first_laid, &second_laid, mode);
        let (Ok(want), Ok(got)) = (&want, &got) else {
            assert_eq!(want, got);
            continue;
        };
        assert_eq!(bits(got), bits(want));
        assert_eq!(got.shape(), output_shape(&shapes.0, &shapes.1, mode).expect("it was computed"));

        let mut out = relaid(&ArrayD::from_elem(want.raw_dim(), T::of(99)), layouts[2]);
        into[index](&first_laid, &second_laid, mode, &mut out).expect("the shape is right");
        assert_eq!(written(out), bits(want));
    }
}

fn two<T>(array: &ArrayD<T>) -> ArrayView<'_, T, Ix2> {
    array.view().into_dimensionality().expect("two axes")
}

fn reversed(array: &ArrayD<i64>) -> ArrayD<i64> {
    let mut array = array.clone();
    (0..array.ndim()).for_each(|axis| array.invert_axis(Axis(axis)));
    array
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn integers_in_every_type(
        shapes in any_shapes(), mode in any_mode(), seed: i32, layouts: [u64; 3],
    ) {
        agree(&shapes, mode, seed, layouts, <f32 as Bits>::of);
        agree(&shapes, mode, seed, layouts, <f64 as Bits>::of);
        agree(&shapes, mode, seed, layouts, <i32 as Bits>::of);
        agree(&shapes, mode, seed, layouts, <i64 as Bits>::of);
        let (a, b) = (filled(&shapes.0, seed, <f32 as Bits>::of), filled(&shapes.1, !seed, <f32 as Bits>::of));
        prop_assert_eq!(correlate(&a, &b, mode), reference::correlate(&a, &b, mode));
        prop_assert_eq!(convolve(&a, &b, mode), reference::convolve(&a, &b, mode));
    }

    #[test]
    fn real_numbers_and_wrapping_integers(
        shapes in any_shapes(), mode in any_mode(), seed: i32, layouts: [u64; 3],
    ) {
        agree(&shapes, mode, seed, layouts, f32::rough);
        agree(&shapes, mode, seed, layouts, f64::rough);
        agree(&shapes, mode, seed, layouts, i32::rough);
        agree(&shapes, mode, seed, layouts, i64::rough);
    }

    #[test]
    fn convolution_is_correlation_with_the_second_reversed(shapes in any_shapes(), mode in any_mode(), seed: i32) {
        let (a, b) = (filled(&shapes.0, seed, i64::from), filled(&shapes.1, !seed, i64::from));
        prop_assert_eq!(convolve(&a, &b, mode), correlate(&a, &reversed(&b), mode));
    }

    #[test]
    fn convolution_commutes(shapes in any_shapes(), seed: i32) {
        let (a, b) = (filled(&shapes.0, seed, i64::from), filled(&shapes.1, !seed, i64::from));
        prop_assert_eq!(convolve(&a, &b, Mode::Full), convolve(&b, &a, Mode::Full));
        if let (Ok(ab), Ok(ba)) = (convolve(&a, &b, Mode::Valid), convolve(&b, &a, Mode::Valid)) {
            prop_assert_eq!(ab, ba);
        }
    }

    /// `⟨correlate(x, w), y⟩ = ⟨x, convolve(y, w)⟩ = ⟨w, correlate(x, y)⟩`: what backpropagation rests on.
    #[test]
    fn gradients_are_adjoint(shapes in any_shapes(), seed: i32) {
        let shape: Vec<usize> = shapes.0.iter().zip(&shapes.1).map(|(m, k)| m + k - 1).collect();
        let x = filled(&shape, seed, i64::from);
        let w = filled(&shapes.1, !seed, i64::from);
        let y = filled(&shapes.0, seed ^ 0x55, i64::from);
        let z = correlate(&x, &w, Mode::Valid).expect("x contains w");
        prop_assert_eq!(z.shape(), y.shape());
        let pairing = (&z * &y).sum();
        let dx = convolve(&y, &w, Mode::Full).expect("not empty");
        let dw = correlate(&x, &y, Mode::Valid).expect("x contains y");
        prop_assert_eq!((&x * &dx).sum(), pairing);
        prop_assert_eq!((&w * &dw).sum(), pairing);
    }

    /// The 2-D functions are the N-D ones, but that `correlate2d` starts `Same` at `k / 2` of the full correlation.
    #[test]
    fn two_dimensions(
        first in [1usize..12, 1usize..40], second in [1usize..12, 1usize..12], mode in any_mode(),
        seed: i32, layouts: [u64; 3],
    ) {
        let a = relaid(&filled(&first, seed, f64::rough), layouts[0]);
        let b = relaid(&filled(&second, !seed, f64::rough), layouts[1]);
        prop_assert_eq!(
            convolve2d(&two(&a), &two(&b), mode).map(|out| out.into_dyn()),
            convolve(&a, &b, mode)
        );
        let want = match mode {
            Mode::Same => chains(&a, &b, Mode::Full).map(|full| {
                let [h, w] = [0, 1].map(|i: usize| Slice::from(second[i] / 2..second[i] / 2 + first[i]));
                full.slice_axis(Axis(0), h).slice_axis(Axis(1), w).to_owned()
            }),
            _ => chains(&a, &b, mode),
        };
        let got = correlate2d(&two(&a), &two(&b), mode).map(|out| out.into_dyn());
        if let (Ok(got), Ok(want)) = (&got, &want) {
            prop_assert_eq!(bits(got), bits(want));
            let mut out = relaid(&ArrayD::from_elem(want.raw_dim(), 99.0), layouts[2]);
            let mut view = out.view_mut().into_dimensionality::<Ix2>().expect("two axes");
            correlate2d_into(&two(&a), &two(&b), mode, &mut view).expect("the shape is right");
            prop_assert_eq!(written(out), bits(want));
        } else {
            prop_assert_eq!(got, want);
        }
    }
}

/// Shapes large enough to be cut into many tasks, along an outer axis or along the only one.
const LARGE: [(&[usize], &[usize]); 6] = [
    (&[30_000], &[301]),
    (&[200], &[30_000]),
    (&[260, 300], &[9, 8]),
    (&[5, 6000], &[3, 70]),
    (&[9, 40, 50], &[3, 5, 7]),
    (&[2, 3, 60, 64], &[2, 3, 7, 7]),
];

#[test]
fn the_same_bits_for_any_number_of_threads() {
    for (first, second) in LARGE {
        let (a, b) = (filled(first, 1, f32::rough), filled(second, 2, f32::rough));
        for mode in [Mode::Valid, Mode::Full, Mode::Same] {
            let [one, others @ ..] = [1, 2, 3, 8].map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a small pool");
                bits(&pool.install(|| convolve(&a, &b, mode)).expect("one contains the other"))
            });
            for other in others {
                assert_eq!(other, one, "{first:?} {second:?} {mode:?}");
            }
        }
    }
}

#[test]
fn cutting_changes_nothing() {
    // about ten million products each, the last one in columns of a single row
    let shapes: [(&[usize], &[usize]); 4] =
        [(&[18_000], &[501]), (&[250, 220], &[15, 13]), (&[2, 900], &[7, 1301]), (&[1, 20_000], &[1, 500])];
    for (first, second) in shapes {
        let (a, b) = (filled(first, 5, f64::rough), filled(second, 6, f64::rough));
        let want = chains(&a, &b, Mode::Full).expect("not empty");
        assert_eq!(bits(&correlate(&a, &b, Mode::Full).expect("not empty")), bits(&want), "{first:?} {second:?}");
    }
}

#[test]
fn large_outputs_of_any_stride() {
    for (first, second) in LARGE {
        let (a, b) = (filled(first, 3, f64::rough), filled(second, 4, f64::rough));
        let want = correlate(&a, &b, Mode::Same).expect("never refused");
        let mut out = relaid(&want.mapv(|_| 99.0), 0x0000_2311_3520_2230);
        correlate_into(&a, &b, Mode::Same, &mut out).expect("the shape is right");
        assert_eq!(written(out), bits(&want), "{first:?} {second:?}");
    }
}

#[test]
fn no_axes_at_all() {
    let (a, b) = (ArrayD::from_elem(IxDyn(&[]), 6), ArrayD::from_elem(IxDyn(&[]), 7));
    for mode in [Mode::Valid, Mode::Full, Mode::Same] {
        for function in [correlate, convolve, reference::correlate, reference::convolve] {
            assert_eq!(function(&a, &b, mode), Ok(ArrayD::from_elem(IxDyn(&[]), 42)));
        }
    }
    assert_eq!(correlate(&ndarray::arr0(6), &ndarray::arr0(7), Mode::Valid), Ok(ndarray::arr0(42)));
}

#[test]
fn a_broadcast_operand() {
    let one = ArrayD::from_elem(IxDyn(&[1, 1]), 3);
    let flat = one.broadcast(IxDyn(&[4, 5])).expect("a broadcast of one element");
    let ones = ArrayD::ones(IxDyn(&[2, 2]));
    assert_eq!(correlate(&flat, &ones, Mode::Valid), Ok(ArrayD::from_elem(IxDyn(&[3, 4]), 12)));
    assert_eq!(convolve(&ones, &flat, Mode::Valid), Ok(ArrayD::from_elem(IxDyn(&[3, 4]), 12)));
}

#[test]
fn what_is_not_covered_is_not_multiplied() {
    let (a, b) = (ndarray::array![1.0, 2.0, 3.0], ndarray::array![f64::INFINITY, 1.0]);
    for function in [correlate, reference::correlate] {
        let got = function(&a, &b, Mode::Full).expect("not empty");
        assert_eq!(got, ndarray::array![1.0, f64::INFINITY, f64::INFINITY, f64::INFINITY]);
    }
}

/// An infinity or a NaN reaches the results whose sums contain it, and no other bit changes.
#[test]
fn what_is_not_finite_goes_where_it_is_covered() {
    for (strange, place) in [(f32::INFINITY, [0, 0]), (f32::NAN, [2, 4]), (f32::NEG_INFINITY, [1, 2])] {
        let (mut a, mut b) = (filled(&[12, 21], 7, f32::rough), filled(&[3, 5], 8, f32::rough));
        for strange_overlay in [true, false] {
            if strange_overlay {
                b[&place[..]] = strange;
            } else {
                a[&place[..]] = strange;
            }
            for mode in [Mode::Valid, Mode::Full, Mode::Same] {
                let (got, want) = (correlate(&a, &b, mode).expect("a contains b"), chains(&a, &b, mode).unwrap());
                // The bits of a NaN mean nothing.
                let kinds = |array: &ArrayD<f32>| array.mapv(|v| if v.is_nan() { u64::MAX } else { v.bits() });
                assert_eq!(kinds(&got), kinds(&want), "{strange} {mode:?}");
            }
        }
    }
}

#[test]
fn every_instruction_set_passes_these_tests() {
    again_with_each_instruction_set();
}
