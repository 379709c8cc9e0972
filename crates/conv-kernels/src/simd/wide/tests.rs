//! Everything that goes through a set, with vectors longer than those of any CPU in use, against the definition: data of
//! small integers makes every sum exact.

// One copy of the helpers serves all tests.
#[path = "../../../tests/common/mod.rs"]
mod common;
#[path = "../../../tests/conv2d/mod.rs"]
mod conv2d;

use std::collections::BTreeMap;

use conv2d::chains::Chains;
use conv2d::{Problem, bits, integers, large_problems, numbered_problem, random};
use ndarray::{Array2, ArrayD};
use rayon::prelude::*;

use super::Wide;
use crate::pool::Pooling;
use crate::signal::planes;
use crate::simd::{Isa, MAX_VECTOR};
use crate::{Algorithm, Conv2dPlan, Mode, Options, Pool2dShape, Scalar, Scratch, reference};

const WIDE: Isa = Isa::Wide(Wide);

/// How many problems each algorithm has computed, by direction.
type Coverage = BTreeMap<String, [usize; 3]>;

/// Forces each algorithm that can compute the shape, but [`Algorithm::Winograd4`], which is never exact.
fn check_plans<T: Scalar>(problem: Problem) -> Coverage {
    let data = problem.data(integers::<T>);
    let expected = problem.reference(&data).bits();
    let mut coverage = Coverage::new();
    for algorithm in Algorithm::ALL.into_iter().filter(|&algorithm| algorithm != Algorithm::Winograd4) {
        let options = Options::default().force(algorithm);
        let Ok(plan) = Conv2dPlan::with_isa(problem.shape, &options, WIDE) else { continue };
        let got = problem.run(&plan, &data, &mut Scratch::<T>::new()).bits();
        for ((what, got), (_, expected)) in got.into_iter().zip(&expected) {
            assert!(got == *expected, "{what} of {problem:?} by {algorithm} in {}", T::NAME);
        }
        coverage.insert(algorithm.to_string(), plan.algorithms().map(|used| usize::from(used == algorithm)));
    }
    coverage
}

#[test]
fn no_vectors_are_longer() {
    assert_eq!((WIDE.lanes::<f32>(), WIDE.lanes::<f64>(), MAX_VECTOR), (16, 8, 16));
}

#[test]
fn random_convolutions_equal_the_definition() {
    const COUNT: u64 = 400;
    let check = |number: u64| match number % 4 {
        0 => check_plans::<f64>(numbered_problem(number)),
        _ => check_plans::<f32>(numbered_problem(number)),
    };
    let coverages: Vec<_> = (0..COUNT).into_par_iter().map(check).collect();
    let mut total = Coverage::new();
    for (algorithm, counts) in coverages.into_iter().flatten() {
        let sums = total.entry(algorithm).or_default();
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    for algorithm in Algorithm::ALL.into_iter().filter(|&algorithm| algorithm != Algorithm::Winograd4) {
        let most = total.get(&algorithm.to_string()).and_then(|counts| counts.iter().max());
        assert!(most.is_some_and(|&most| most as u64 * 20 >= COUNT), "{algorithm} met too few shapes: {total:?}");
    }
}

/// In the order of the weights, and of what a pixel gets.
#[test]
fn sums_of_real_numbers_are_chains() {
    use Algorithm::{Channels, Depthwise, Direct, Im2col, Mirrored, Pointwise, Winograd};
    let mut compared = 0;
    for problem in (0..100).map(numbered_problem) {
        let data = problem.data(conv2d::reals::<f32>);
        let chains = Chains::new(problem, &data, true);
        let (y, dx) = (chains.forward(), chains.gathered());
        for algorithm in [Im2col, Pointwise, Depthwise, Direct, Channels, Mirrored] {
            let options = Options::default().force(algorithm);
            let Ok(plan) = Conv2dPlan::with_isa(problem.shape, &options, WIDE) else { continue };
            let got = problem.run(&plan, &data, &mut Scratch::new());
            let [forward, input_gradient, _] = plan.algorithms();
            assert!(forward == Winograd || bits(&got.y) == bits(&y), "y of {problem:?} by {forward}");
            if matches!(input_gradient, Pointwise | Depthwise | Channels | Mirrored) {
                assert!(bits(&got.dx) == bits(&dx), "dx of {problem:?} by {input_gradient}");
                compared += 1;
            }
        }
    }
    assert!(compared >= 100, "only {compared} input gradients");
}

/// Cut into images, rows and channels.
#[test]
fn large_convolutions_equal_the_definition() {
    let small_enough = |problem: &Problem| problem.shape.macs() * problem.batch as u64 <= 20_000_000;
    let met = large_problems().into_iter().filter(small_enough).map(check_plans::<f32>).count();
    assert!(met >= 4, "only {met} problems");
}

#[test]
fn convolutions_have_the_same_bits_on_any_number_of_threads() {
    for number in 0..40 {
        let problem = numbered_problem(number);
        let plan = Conv2dPlan::<f32>::with_isa(problem.shape, &Options::default(), WIDE).unwrap();
        let data = problem.data(conv2d::reals);
        let run =
            |threads| crate::pool(threads).unwrap().install(|| problem.run(&plan, &data, &mut Scratch::new()).bits());
        assert!(run(1) == run(3), "{problem:?}");
    }
}

fn check_pooling<T: Scalar>(shape: &Pool2dShape, batch: usize, seed: u64) {
    let (x, dy) = (integers::<T>(seed, batch * shape.input_len()), integers::<T>(!seed, batch * shape.output_len()));
    let garbage = |len| vec![T::nan(); len];
    let results = |by_definition: bool| {
        let (mut y, mut positions, mut dx) = (garbage(dy.len()), vec![77; dy.len()], garbage(x.len()));
        let (mut mean, mut mean_dx) = (garbage(dy.len()), garbage(x.len()));
        if by_definition {
            reference::max_pool2d(shape, batch, &x, &mut y, &mut positions).unwrap();
            reference::max_pool2d_backward(shape, batch, &dy, &positions, &mut dx).unwrap();
            reference::avg_pool2d(shape, batch, &x, &mut mean).unwrap();
            reference::avg_pool2d_backward(shape, batch, &dy, &mut mean_dx).unwrap();
        } else {
            T::pooling(shape, batch, WIDE, Pooling::Max { x: &x, y: &mut y, positions: &mut positions });
            T::pooling(shape, batch, WIDE, Pooling::MaxBackward { dy: &dy, positions: &positions, dx: &mut dx });
            T::pooling(shape, batch, WIDE, Pooling::Mean { x: &x, y: &mut mean });
            T::pooling(shape, batch, WIDE, Pooling::MeanBackward { dy: &dy, dx: &mut mean_dx });
        }
        (positions, [y, dx, mean, mean_dx].map(|values| bits(&values)))
    };
    assert!(results(false) == results(true), "{batch} x {shape:?} in {}", T::NAME);
}

#[test]
fn pooling_equals_the_definition() {
    for seed in 0..400 {
        let mut random = random(seed);
        let mut draw = |most: u64| (random() % most) as usize;
        let window = [1 + draw(4), 1 + draw(4)];
        let input = [window[0] + draw(12), window[1] + draw(70)];
        let stride = if draw(2) == 0 { window } else { [1 + draw(3), 1 + draw(3)] };
        let shape = Pool2dShape::new(1 + draw(7), input, window, stride).unwrap();
        check_pooling::<f32>(&shape, draw(5), seed);
        check_pooling::<f64>(&shape, draw(5), seed);
    }
}

fn check_correlation<T: Scalar>([image, overlay]: [[usize; 2]; 2], seed: u64) {
    let array = |shape: [usize; 2], seed| Array2::from_shape_vec(shape, integers::<T>(seed, shape[0] * shape[1]));
    let (image, overlay) = (array(image, seed).unwrap().into_dyn(), array(overlay, !seed).unwrap().into_dyn());
    let expected = reference::correlate(&image, &overlay, Mode::Full).unwrap();
    let mut got = ArrayD::from_elem(expected.raw_dim(), T::nan());
    planes::correlate_with(WIDE, image.view(), overlay.view(), vec![0, 0], got.view_mut());
    assert_eq!(got, expected, "{:?} over {:?} in {}", overlay.shape(), image.shape(), T::NAME);
}

#[test]
fn correlations_equal_the_definition() {
    for seed in 0..400 {
        let mut random = random(seed);
        let mut size = |most: u64| 1 + (random() % most) as usize;
        let shapes = [[size(20), size(70)], [size(11), size(11)]];
        check_correlation::<f32>(shapes, seed);
        check_correlation::<f64>(shapes, seed);
    }
}
