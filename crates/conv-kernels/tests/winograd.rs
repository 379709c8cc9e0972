//! Winograd's minimal filtering: exactness, error bounds, and what `conv2d_real` asks of the exact algorithms.

mod common;
mod conv2d;

use common::again_with_each_instruction_set;
use conv_kernels::{Activation, Algorithm, Conv2dPlan, Conv2dShape, Epilogue, KernelError, Options, Padding, Scalar};
use conv_kernels::{Conv2dShapeBuilder, Scratch, pool};
use conv2d::{Data, Problem, integers, reals};

const BOTH: [Algorithm; 2] = [Algorithm::Winograd, Algorithm::Winograd4];

fn plan<T: Scalar>(shape: Conv2dShape, algorithm: Algorithm) -> Conv2dPlan<T> {
    Conv2dPlan::new(shape, &Options::default().force(algorithm)).unwrap()
}

fn those_for(shape: &Conv2dShape) -> impl Iterator<Item = Algorithm> {
    BOTH.into_iter().take(if shape.kernel() == [3, 3] && shape.stride() == [1, 1] { 2 } else { 1 })
}

/// With 3x3 kernels.
fn shape(channels: [usize; 2], input: [usize; 2], padding: Padding, groups: usize) -> Conv2dShape {
    of_kernel(3, [1, 1], channels, input, padding, groups)
}

fn of_kernel(
    size: usize,
    dilation: [usize; 2],
    channels: [usize; 2],
    input: [usize; 2],
    padding: Padding,
    groups: usize,
) -> Conv2dShape {
    kernel(size, channels, input).dilation(dilation).padding(padding).groups(groups).build().unwrap()
}

/// With kernels that slide by two.
fn by_two(size: usize, channels: [usize; 2], input: [usize; 2], padding: Padding, groups: usize) -> Conv2dShape {
    kernel(size, channels, input).stride([2, 2]).padding(padding).groups(groups).build().unwrap()
}

fn kernel(size: usize, [inputs, outputs]: [usize; 2], input: [usize; 2]) -> Conv2dShapeBuilder {
    Conv2dShape::builder(inputs, outputs, input, [size; 2])
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
        (shape([150, 140], [9, 8], Padding::from(1), 1), 5),
        (of_kernel(5, [1, 1], [1, 1], [5, 5], Padding::NONE, 1), 1),
        (of_kernel(5, [1, 1], [3, 20], [12, 13], Padding::NONE, 1), 8),
        (of_kernel(5, [1, 1], [20, 40], [7, 9], Padding { top: 4, bottom: 3, left: 0, right: 2 }, 1), 3),
        (of_kernel(5, [1, 1], [14, 26], [9, 30], Padding::from(2), 2), 2),
        (of_kernel(3, [2, 2], [17, 20], [12, 13], Padding::from(2), 1), 3),
        (of_kernel(3, [3, 2], [5, 7], [11, 30], Padding { top: 6, bottom: 1, left: 0, right: 3 }, 1), 4),
        (of_kernel(3, [1, 4], [4, 6], [6, 300], Padding::from(1), 2), 2),
        (of_kernel(5, [2, 3], [9, 18], [15, 14], Padding::from(3), 1), 2),
        (of_kernel(3, [9, 9], [2, 3], [4, 5], Padding::from(9), 1), 2), // steps larger than the image
        (by_two(3, [1, 1], [3, 3], Padding::NONE, 1), 1),
        (by_two(3, [16, 20], [12, 14], Padding::from(1), 1), 9),
        (by_two(3, [20, 40], [15, 9], Padding { top: 2, bottom: 3, left: 0, right: 5 }, 1), 3),
        (by_two(3, [6, 12], [5, 803], Padding::from(1), 2), 1),
        (by_two(5, [1, 2], [5, 7], Padding::NONE, 1), 2),
        (by_two(5, [18, 33], [30, 21], Padding::from(2), 1), 4),
        (by_two(5, [10, 6], [13, 40], Padding { top: 1, bottom: 0, left: 4, right: 3 }, 2), 2),
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

/// The largest error of `y`, of `dx` and of `dweight`, on reals in [-1, 1).
fn errors<T: Scalar>(problem: Problem, algorithm: Algorithm) -> [f64; 3] {
    let data = problem.data(reals::<T>);
    let wide = |values: &[T]| values.iter().map(|value| value.as_f64()).collect::<Vec<_>>();
    let exact = Data { x: wide(&data.x), weight: wide(&data.weight), bias: wide(&data.bias), dy: wide(&data.dy) };
    let exact = problem.reference(&exact);
    let got = problem.run(&plan(problem.shape, algorithm), &data, &mut Scratch::new());
    [(got.y, exact.y), (got.dx, exact.dx), (got.dweight, exact.dweight)].map(|(got, exact)| {
        let errors = got.iter().zip(&exact).map(|(got, exact)| (got.as_f64() - exact).abs());
        errors.fold(0.0, f64::max)
    })
}

/// The bounds of the module's documentation, where no number is larger than 1, and as much for the definition: its
/// errors count where there is no wider type to compute it in.
fn stay_within_their_bound<T: Scalar>() {
    // Algorithm, kernel, stride, κ of the outputs and of the weight gradient, roundings in the transforms.
    let filters = [
        (BOTH[0], 3, 1, 64.0, 36.0, 12.0),
        (BOTH[1], 3, 1, 877.0, 1248.0, 24.0),
        (BOTH[0], 5, 1, 144.0, 36.0, 14.0),
        (BOTH[0], 3, 2, 25.0, 16.0, 12.0),
        (BOTH[0], 5, 2, 144.0, 36.0, 14.0),
    ];
    for (channels, (algorithm, kernel, stride, outputs, weights, roundings)) in
        [1, 2, 3, 7, 16, 64, 150, 256].into_iter().flat_map(|channels| filters.map(|filter| (channels, filter)))
    {
        let builder = Conv2dShape::builder(channels, channels, [5, 6], [kernel; 2]).padding(kernel / 2);
        let shape = builder.stride([stride; 2]).build().unwrap();
        let (u, batch, taps) = (T::epsilon().as_f64() / 2.0, 3, (kernel * kernel) as f64);
        let side = if algorithm == Algorithm::Winograd4 { 4 } else { 2 };
        let tiles = (batch * 5usize.div_ceil(stride * side) * 6usize.div_ceil(stride * side)) as f64;
        let [y, dx, dweight] = errors::<T>(Problem::new(shape, batch), algorithm);
        let bound = |terms: f64, enlarged: f64| (terms + roundings) * u * enlarged * terms;
        let definition = |terms: f64| terms * f64::EPSILON * terms;
        let bounds = [
            bound(channels as f64, outputs) + definition(taps * channels as f64),
            bound(tiles, weights) + definition(30.0 * batch as f64),
        ];
        for (error, bound) in [(y, bounds[0]), (dx, bounds[0]), (dweight, bounds[1])] {
            assert!(error <= bound, "{error} > {bound}, {channels} channels, {kernel}x{kernel} by {algorithm}");
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

/// Against the column matrix, whose sums are short.
#[test]
fn errors_are_as_small_as_elsewhere() {
    for (channels, kernel) in [32, 64, 200].into_iter().flat_map(|channels| [3, 5].map(|kernel| (channels, kernel))) {
        let shape = of_kernel(kernel, [1, 1], [channels; 2], [7, 8], Padding::from(kernel / 2), 1);
        let elsewhere = errors::<f32>(Problem::new(shape, 1), Algorithm::Im2col);
        for (algorithm, times) in
            BOTH.into_iter().zip([3.0, 20.0]).filter(|(algorithm, _)| kernel == 3 || *algorithm == Algorithm::Winograd)
        {
            for (error, elsewhere) in errors::<f32>(Problem::new(shape, 1), algorithm).into_iter().zip(elsewhere) {
                println!("{algorithm} {kernel} {channels} {}", error / elsewhere);
                assert!(error <= times * elsewhere, "{error} against {elsewhere}, {channels} channels, {algorithm}");
            }
        }
    }
}

/// Problems that are cut into images, into rows, and into channels.
fn large_problems() -> [Problem; 6] {
    [
        Problem::new(of_kernel(5, [1, 1], [24, 40], [20, 21], Padding::from(2), 1), 5),
        Problem::new(of_kernel(3, [2, 2], [64, 40], [21, 22], Padding::from(2), 1), 4),
        Problem::new(by_two(3, [32, 40], [45, 42], Padding::from(1), 1), 3),
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
        for algorithm in those_for(&problem.shape) {
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
        for algorithm in those_for(&shape) {
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
    let [forward, input_gradient, weight_gradient] =
        plan::<f32>(by_two(3, [8, 8], [9, 9], Padding::from(1), 1), Algorithm::Winograd).algorithms();
    assert!([forward, weight_gradient] == [Algorithm::Winograd; 2] && input_gradient != Algorithm::Winograd);
    for algorithm in BOTH {
        let refused = Conv2dPlan::<f32>::new(strided, &Options::default().force(algorithm)).unwrap_err();
        assert!(matches!(refused, KernelError::NotApplicable { .. }), "{refused}");
        let plans = plan::<f32>(shape([8, 8], [9, 9], Padding::from(2), 1), algorithm);
        assert_eq!(plans.algorithms(), [algorithm; 3]);
        // With more padding than 2 the input gradient has no mirror.
        let [forward, input_gradient, weight_gradient] =
            plan::<f32>(shape([8, 8], [9, 9], Padding::from(3), 1), algorithm).algorithms();
        assert!([forward, weight_gradient] == [algorithm; 2] && !BOTH.contains(&input_gradient));
    }
    let five = of_kernel(5, [1, 1], [8, 8], [9, 9], Padding::from(2), 1);
    assert_eq!(plan::<f32>(five, Algorithm::Winograd).algorithms(), [Algorithm::Winograd; 3]);
    assert!(Conv2dPlan::<f32>::new(five, &Options::default().force(Algorithm::Winograd4)).is_err());
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
    again_with_each_instruction_set();
}
