//! Winograd's minimal filtering: exactness, error bounds, and what `conv2d_real` asks of the exact algorithms.

mod conv2d;

use conv_kernels::{Activation, Algorithm, Conv2dPlan, Conv2dShape, Epilogue, KernelError, Options, Padding, Scalar};
use conv_kernels::{Scratch, pool};
use conv2d::{Data, Problem, again_with_each_instruction_set, integers, reals};

const BOTH: [Algorithm; 2] = [Algorithm::Winograd, Algorithm::Winograd4];

fn plan<T: Scalar>(shape: Conv2dShape, algorithm: Algorithm) -> Conv2dPlan<T> {
    Conv2dPlan::new(shape, &Options::default().force(algorithm)).unwrap()
}

fn shape(channels: [usize; 2], input: [usize; 2], padding: Padding, groups: usize) -> Conv2dShape {
    let builder = Conv2dShape::builder(channels[0], channels[1], input, [3, 3]).padding(padding).groups(groups);
    builder.build().unwrap()
}

/// Maps smaller than a tile and wider than a band, bands over several images, parts of channels, groups, all paddings.
fn problems() -> Vec<Problem> {
    let uneven = Padding { top: 2, bottom: 0, left: 1, right: 2 };
    [
        (shape([1, 1], [3, 3], Padding::NONE, 1), 1),
        (shape([2, 3], [1, 1], Padding::from(1), 1), 3),
        (shape([3, 5], [7, 7], Padding::from(1), 1), 9),
        (shape([3, 5], [18, 35], uneven, 1), 2),
        (shape([1, 2], [5, 803], uneven, 1), 1),
        (shape([14, 26], [9, 20], Padding::from(1), 2), 5),
        (shape([7, 7], [13, 6], Padding { top: 0, bottom: 1, left: 5, right: 3 }, 7), 2),
        (shape([70, 80], [8, 9], Padding::from(1), 1), 7),
        (shape([200, 7], [8, 9], Padding::from(2), 1), 2),
        (shape([130, 30], [6, 5], Padding::from(1), 1), 3),
    ]
    .into_iter()
    .map(|(shape, batch)| Problem::new(shape, batch))
    .collect()
}

fn small_integers_are_exact<T: Scalar>() {
    for problem in problems() {
        let data = problem.data(integers::<T>);
        let expected = problem.reference(&data);
        let got = problem.run(&plan(problem.shape, Algorithm::Winograd), &data, &mut Scratch::new());
        for ((what, got), (_, expected)) in got.bits().into_iter().zip(expected.bits()) {
            assert_eq!(got, expected, "{what} of {} x ({})", problem.batch, problem.shape);
        }
    }
}

#[test]
fn small_integers_are_exact_in_f32() {
    small_integers_are_exact::<f32>();
}

#[test]
fn small_integers_are_exact_in_f64() {
    small_integers_are_exact::<f64>();
}

/// The largest error of `y` and of `dx`, on reals in [-1, 1).
fn errors<T: Scalar>(problem: Problem, algorithm: Algorithm) -> [f64; 2] {
    let data = problem.data(reals::<T>);
    let wide = |values: &[T]| values.iter().map(|value| value.as_f64()).collect::<Vec<_>>();
    let exact = Data { x: wide(&data.x), weight: wide(&data.weight), bias: wide(&data.bias), dy: wide(&data.dy) };
    let exact = problem.reference(&exact);
    let got = problem.run(&plan(problem.shape, algorithm), &data, &mut Scratch::new());
    [(got.y, exact.y), (got.dx, exact.dx)].map(|(got, exact)| {
        let errors = got.iter().zip(&exact).map(|(got, exact)| (got.as_f64() - exact).abs());
        errors.fold(0.0, f64::max)
    })
}

/// The bound of the module's documentation, where no number is larger than 1, and as much for the definition: its
/// errors count where there is no wider type to compute it in.
fn stay_within_their_bound<T: Scalar>() {
    for channels in [1, 2, 3, 7, 16, 64, 150, 256] {
        let problem = Problem::new(shape([channels; 2], [5, 6], Padding::from(1), 1), 1);
        for (algorithm, enlarged, roundings) in [(BOTH[0], 64.0, 12.0), (BOTH[1], 877.0, 24.0)] {
            let (c, u) = (channels as f64, T::epsilon().as_f64() / 2.0);
            let bound = (c + roundings) * u * enlarged * c + 9.0 * c * f64::EPSILON * 9.0 * c;
            for error in errors::<T>(problem, algorithm) {
                assert!(error <= bound, "{error} > {bound} with {channels} channels by {algorithm}");
            }
        }
    }
}

#[test]
fn errors_stay_within_their_bound_in_f32() {
    stay_within_their_bound::<f32>();
}

#[test]
fn errors_stay_within_their_bound_in_f64() {
    stay_within_their_bound::<f64>();
}

/// Against the column matrix, whose sums are short: 0.3 to 1.8 times its errors by tiles of 2x2, 2 to 13 by 4x4, where
/// measured.
#[test]
fn errors_are_as_small_as_elsewhere() {
    for channels in [32, 64, 200] {
        let problem = Problem::new(shape([channels; 2], [7, 8], Padding::from(1), 1), 1);
        let elsewhere = errors::<f32>(problem, Algorithm::Im2col);
        for (algorithm, times) in BOTH.into_iter().zip([2.0, 20.0]) {
            for (error, elsewhere) in errors::<f32>(problem, algorithm).into_iter().zip(elsewhere) {
                assert!(error <= times * elsewhere, "{error} against {elsewhere}, {channels} channels, {algorithm}");
            }
        }
    }
}

/// Problems that are cut into images, into rows, and into channels.
fn large_problems() -> [Problem; 3] {
    [
        Problem::new(shape([48, 50], [20, 22], Padding::from(1), 1), 9),
        Problem::new(shape([20, 30], [70, 61], Padding::from(1), 1), 1),
        Problem::new(shape([130, 150], [7, 7], Padding::from(1), 1), 2),
    ]
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for problem in large_problems() {
        assert!(2 * problem.shape.macs() * problem.batch as u64 >= 16_000_000, "{} stays serial", problem.shape);
        let data = problem.data(reals::<f32>);
        for algorithm in BOTH {
            let plan = plan(problem.shape, algorithm);
            let run = || problem.run(&plan, &data, &mut Scratch::new()).bits();
            let runs = [1, 2, 3, 8].map(|threads| pool(threads).unwrap().install(run));
            assert!(runs.iter().all(|run| *run == runs[0]), "{} by {algorithm}", problem.shape);
        }
    }
}

#[test]
fn one_image_does_not_depend_on_its_batch() {
    for Problem { shape, batch, seed } in problems().into_iter().chain(large_problems()) {
        let data = Problem { shape, batch, seed }.data(reals::<f32>);
        for algorithm in BOTH {
            let plan = plan(shape, algorithm);
            let together = Problem { shape, batch, seed }.run(&plan, &data, &mut Scratch::new());
            for image in [0, batch / 2, batch - 1] {
                let of = |values: &[f32]| {
                    let len = values.len() / batch;
                    values[image * len..(image + 1) * len].to_vec()
                };
                let single = Data { x: of(&data.x), dy: of(&data.dy), ..data.clone() };
                let alone = Problem { shape, batch: 1, seed }.run(&plan, &single, &mut Scratch::new());
                assert_eq!((alone.y, alone.dx), (of(&together.y), of(&together.dx)), "{shape} by {algorithm}");
            }
        }
    }
}

/// Also the activations that no vector computes, and scratch that is full of other calls' leavings.
#[test]
fn the_epilogue_is_bias_then_activation() {
    let problem = Problem::new(shape([5, 27], [11, 12], Padding::from(1), 1), 3);
    let data = problem.data(reals::<f32>);
    for algorithm in BOTH {
        let plan = plan(problem.shape, algorithm);
        let mut scratch = plan.scratch(problem.batch);
        let len = scratch.len();
        problem.run(&plan, &problem.data(|_, len| vec![f32::NAN; len]), &mut scratch);
        let mut forward = |epilogue| {
            let mut y = vec![0.0; data.dy.len()];
            plan.forward(problem.batch, &data.x, &data.weight, epilogue, &mut y, &mut scratch).unwrap();
            y
        };
        let bare = forward(Epilogue::none());
        assert!(bare.iter().all(|y| y.is_finite()));
        for activation in [Activation::Sigmoid, Activation::Tanh, Activation::leaky_relu(0.25).unwrap()] {
            let mut expected = bare.clone();
            for (index, map) in expected.chunks_mut(11 * 12).enumerate() {
                map.iter_mut().for_each(|z| *z += data.bias[index % 27]);
            }
            activation.apply(&mut expected);
            assert_eq!(forward(Epilogue { bias: Some(&data.bias), activation }), expected, "{activation:?}");
        }
        assert_eq!(scratch.len(), len);
    }
}

/// What is not finite reaches the outputs that the definition says, at most the tiles that see it, and no others.
#[test]
fn nan_stays_in_the_tiles_that_see_it() {
    let problem = Problem::new(shape([2, 3], [16, 24], Padding::from(1), 1), 2);
    for (algorithm, side) in BOTH.into_iter().zip([2, 4]) {
        let mut data = problem.data(reals::<f32>);
        let (row, column) = (9, 13);
        data.x[(2 * 16 + row) * 24 + column] = f32::NAN; // the first channel of the second image
        let y = {
            let plan = plan::<f32>(problem.shape, algorithm);
            let mut y = vec![0.0; 2 * problem.shape.output_len()];
            plan.forward(2, &data.x, &data.weight, Epilogue::none(), &mut y, &mut Scratch::new()).unwrap();
            y
        };
        let by_definition = problem.reference(&data).y;
        for ((index, y), definition) in y.iter().enumerate().zip(by_definition) {
            let (image, r, c) = (index / problem.shape.output_len(), index / 24 % 16, index % 24);
            let sees = |at: usize, place: usize| (at / side * side..at / side * side + side + 2).contains(&(place + 1));
            let seen = image == 1 && sees(r, row) && sees(c, column);
            assert!(seen || y.is_finite(), "pixel {r}, {c} of image {image} by {algorithm}");
            assert!(y.is_nan() || !definition.is_nan(), "pixel {r}, {c} of image {image} by {algorithm}");
        }
    }
}

#[test]
fn a_plan_says_what_it_can_do() {
    let conv = Conv2dShape::builder;
    let strided = conv(8, 8, [9, 9], [3, 3]).stride([2, 1]).build().unwrap();
    for algorithm in BOTH {
        let refused = Conv2dPlan::<f32>::new(strided, &Options::default().force(algorithm)).unwrap_err();
        assert!(matches!(refused, KernelError::NotApplicable { .. }), "{refused}");
        let [forward, input_gradient, _] =
            plan::<f32>(shape([8, 8], [9, 9], Padding::from(2), 1), algorithm).algorithms();
        assert_eq!([forward, input_gradient], [algorithm; 2]);
        // With more padding than 2 the input gradient has no mirror.
        let [forward, input_gradient, _] =
            plan::<f32>(shape([8, 8], [9, 9], Padding::from(3), 1), algorithm).algorithms();
        assert!(forward == algorithm && !BOTH.contains(&input_gradient));
    }
    assert_eq!(BOTH.map(|algorithm| algorithm.to_string()), ["winograd2", "winograd4"]);
}

#[test]
fn a_plan_never_chooses_tiles_of_4x4() {
    for channels in [1, 8, 64, 512] {
        for size in [5, 14, 56, 112] {
            let shape = shape([channels; 2], [size; 2], Padding::from(1), 1);
            let chosen = Conv2dPlan::<f32>::new(shape, &Options::default()).unwrap().algorithms();
            assert!(!chosen.contains(&Algorithm::Winograd4), "{shape}");
        }
    }
}

#[test]
fn every_instruction_set_passes_these_tests() {
    again_with_each_instruction_set("every_instruction_set_passes_these_tests");
}
