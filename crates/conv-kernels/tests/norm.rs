//! Batch normalization against its definition: exactly where numbers are exact, else to the last digits.

mod common;

use common::{BetweenCanaries, BetweenNan, again_with_each_instruction_set};
use conv_kernels::{Activation, BatchNorm, KernelError, Moments, Normalized, Scalar, Statistics, pool, reference};
use proptest::prelude::*;

/// Random numbers, 0 to 1.
fn random(seed: u64, len: usize) -> impl Iterator<Item = f64> {
    let mut state = seed;
    (0..len).map(move |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / (1u64 << 31) as f64
    })
}

fn real<T: Scalar>(seed: u64, len: usize) -> Vec<T> {
    random(seed, len).map(|v| T::of(4.0 * v - 1.5)).collect()
}

fn integers<T: Scalar>(seed: u64, len: usize) -> Vec<T> {
    random(seed, len).map(|v| T::of((7.0 * v).floor() - 3.0)).collect()
}

#[derive(Clone, Copy, Debug)]
struct Case {
    batch: usize,
    channels: usize,
    plane: usize,
    activation: Activation,
    statistics: Statistics,
}

struct Results<T> {
    y: Vec<T>,
    moments: Vec<Moments>,
    dx: Vec<T>,
    dweight: Vec<T>,
    dbias: Vec<T>,
}

type Numbers<T> = fn(u64, usize) -> Vec<T>;

impl Case {
    /// Outputs lie between canaries, and inputs between NaN.
    fn results<T: Scalar>(&self, numbers: Numbers<T>, seed: u64, fast: bool) -> Results<T> {
        let &Self { batch, channels, plane, activation, statistics } = self;
        let watched = |salt, len| BetweenNan::new(&numbers(seed ^ salt, len));
        let [weight, bias] = [1, 2].map(|salt| watched(salt, channels));
        let norm = BatchNorm { plane, weight: &weight, bias: &bias, epsilon: 0.25, activation };
        let len = batch * channels * plane;
        let (x, dy) = (watched(3, len), numbers(seed ^ 4, len));
        let room = |len, start| BetweenCanaries::new(len, T::of(-12345.0), start);
        let given = |channel| Moments { mean: f64::from(channel as u32) - 1.0, variance: 3.75 };
        let no_moments = Moments { mean: -12345.0, variance: -1.0 };
        let mut moments = BetweenCanaries::new(channels, no_moments, no_moments);
        moments.iter_mut().enumerate().for_each(|(channel, moments)| *moments = given(channel));
        let [mut y, mut dx, mut own_dy] = [(); 3].map(|()| room(len, T::of(77.0)));
        let [mut dweight, mut dbias] = [(); 2].map(|()| room(channels, T::one()));
        if fast {
            norm.forward(batch, &x, &mut y, &mut moments, statistics).unwrap();
        } else {
            reference::batch_norm(&norm, batch, &x, &mut y, &mut moments, statistics);
        }
        let (y, moments) = (y.checked(), moments.checked());
        own_dy.copy_from_slice(&dy);
        let seen_y = BetweenNan::new(&y);
        let seen = Normalized { x: &x, y: &seen_y, moments: &moments, statistics, dy: &mut own_dy };
        if fast {
            norm.backward(batch, seen, Some(&mut dx), &mut dweight, &mut dbias).unwrap();
        } else {
            reference::batch_norm_backward(&norm, batch, seen, &mut dx, &mut dweight, &mut dbias);
        }
        own_dy.checked();
        Results { y, moments, dx: dx.checked(), dweight: dweight.checked(), dbias: dbias.checked() }
    }
}

/// By norm.
fn assert_near<T: Scalar>(what: &str, got: &[T], expected: &[T], tolerance: f64) {
    let distance =
        |a: &[T], b: &[T]| a.iter().zip(b).map(|(a, b)| (a.as_f64() - b.as_f64()).powi(2)).sum::<f64>().sqrt();
    let (off, size) = (distance(got, expected), distance(expected, &vec![T::ZERO; expected.len()]));
    assert!(off <= tolerance * (1.0 + size), "{what}: {off:e} beside {size:e}");
}

fn cases() -> impl Strategy<Value = Case> {
    let activation = prop_oneof![Just(Activation::Relu), Just(Activation::Identity), Just(Activation::Tanh)];
    let statistics = prop_oneof![Just(Statistics::Batch), Just(Statistics::Given)];
    (1..=5usize, 1..=20usize, 1..=150usize, activation, statistics).prop_map(
        |(batch, channels, plane, activation, statistics)| Case { batch, channels, plane, activation, statistics },
    )
}

fn check<T: Scalar>(case: &Case, seed: u64, tolerance: f64) {
    let (got, expected) = (case.results::<T>(real, seed, true), case.results::<T>(real, seed, false));
    let moments = |of: &Results<T>| of.moments.iter().flat_map(|m| [m.mean, m.variance]).collect::<Vec<_>>();
    assert_near("moments", &moments(&got), &moments(&expected), tolerance);
    assert_near("y", &got.y, &expected.y, tolerance);
    assert_near("dweight", &got.dweight, &expected.dweight, tolerance);
    assert_near("dbias", &got.dbias, &expected.dbias, tolerance);
    // where hardly anything comes through, what does is made of rounding
    assert_near("dx", &got.dx, &expected.dx, 10.0 * tolerance);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn equals_the_definition(case in cases(), seed in any::<u64>()) {
        check::<f64>(&case, seed, 1e-13);
        check::<f32>(&case, seed, 1e-5);
    }

    /// With √(3.75 + 0.25) = 2 given, and integers, every number is a dyadic fraction, and every sum exact.
    #[test]
    fn equals_the_definition_bit_for_bit(case in cases(), seed in any::<u64>()) {
        prop_assume!(case.activation != Activation::Tanh);
        let case = Case { statistics: Statistics::Given, ..case };
        let (got, expected) = (case.results::<f32>(integers, seed, true), case.results::<f32>(integers, seed, false));
        prop_assert_eq!(got.y, expected.y);
        prop_assert_eq!(got.dx, expected.dx);
        prop_assert_eq!(got.dweight, expected.dweight);
        prop_assert_eq!(got.dbias, expected.dbias);
    }

    /// Of 2ᵏ integers mean and variance are exact, however they are summed.
    #[test]
    fn moments_are_exact(images in 0..4u32, pixels in 0..12u32, channels in 1..4usize, seed in any::<u64>()) {
        let (batch, plane) = (1usize << images, 1usize << pixels);
        let activation = Activation::Identity;
        let case = Case { batch, channels, plane, activation, statistics: Statistics::Batch };
        let (got, expected) = (case.results::<f64>(integers, seed, true), case.results::<f64>(integers, seed, false));
        prop_assert_eq!(got.moments, expected.moments);
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let activation = Activation::Relu;
    let case = Case { batch: 40, channels: 21, plane: 14 * 14, activation, statistics: Statistics::Batch };
    let with = |threads| {
        let Results { y, moments, dx, dweight, dbias } =
            pool(threads).unwrap().install(|| case.results::<f32>(real, 5, true));
        (moments, [y, dx, dweight, dbias].map(|values| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>()))
    };
    let one = with(1);
    for threads in [2, 3, 8] {
        assert!(with(threads) == one, "{threads} threads");
    }
}

/// All of a channel the same and huge: the variance is zero but for rounding, never below.
#[test]
fn equal_values_and_values_that_are_none() {
    let norm = BatchNorm { plane: 3, weight: &[1.0f32], bias: &[0.5], epsilon: 1e-5, activation: Activation::Relu };
    let (mut y, mut moments) = ([0.0; 6], [Moments::default()]);
    for value in [1.0e12f32, -3.3e17, 0.1] {
        norm.forward(2, &[value; 6], &mut y, &mut moments, Statistics::Batch).unwrap();
        assert!(moments[0].variance >= 0.0 && y.iter().all(|y| y.is_finite()), "{value}: {moments:?} {y:?}");
    }
    let mut x = [1.0; 6];
    for stranger in [f32::NAN, f32::INFINITY] {
        x[4] = stranger;
        norm.forward(2, &x, &mut y, &mut moments, Statistics::Batch).unwrap();
        assert!(y.iter().all(|y| y.is_nan()), "it spreads over its channel: {y:?}");
    }
}

#[test]
fn slices_that_do_not_fit() {
    let norm =
        BatchNorm { plane: 3, weight: &[1.0f32; 2], bias: &[0.0; 2], epsilon: 1e-5, activation: Activation::Relu };
    let (x, mut y, mut moments) = ([0.0; 12], [0.0; 12], [Moments::default(); 2]);
    let own = Statistics::Batch;
    let said = |result: Result<(), KernelError>| result.unwrap_err().to_string();
    assert_eq!(
        said(norm.forward(2, &x[..11], &mut y, &mut moments, own)),
        "x must hold 12 elements, (N, C, H·W) = (2, 2, 3); it holds 11",
    );
    assert_eq!(
        said(norm.forward(2, &x, &mut y, &mut moments[..1], own)),
        "moments must hold 2 elements, one for each channel; it holds 1",
    );
    let backward = |lens: [usize; 5]| {
        let [dy, dx, weight, bias, moments] = lens;
        let (mut dy, mut dx) = (vec![0.0; dy], vec![0.0; dx]);
        let moments = vec![Moments::default(); moments];
        let seen = Normalized { x: &x, y: &y, moments: &moments, statistics: own, dy: &mut dy };
        norm.backward(2, seen, Some(&mut dx), &mut vec![0.0; weight], &mut vec![0.0; bias])
    };
    assert!(backward([12, 12, 2, 2, 2]).is_ok());
    let wrong = [[11, 12, 2, 2, 2], [12, 13, 2, 2, 2], [12, 12, 1, 2, 2], [12, 12, 2, 3, 2], [12, 12, 2, 2, 0]];
    for (lens, what) in wrong.into_iter().zip(["dy", "dx", "dweight", "dbias", "moments"]) {
        let said = said(backward(lens));
        assert!(said.starts_with(&format!("{what} must hold ")), "{said}");
    }
}

#[test]
fn every_instruction_set_passes_these_tests() {
    again_with_each_instruction_set();
}
