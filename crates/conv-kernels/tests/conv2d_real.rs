//! Real-valued data: rounding, adjoints, threads, batches, and numbers that are none.

mod common;
mod conv2d;

use common::again_with_each_instruction_set;
use conv_kernels::{Activation, Algorithm, Conv2dPlan, Conv2dShape, Epilogue, Options, Padding, Scalar, Scratch};
use conv_kernels::{pool, reference};
use conv2d::{Data, Problem, integers, large_problems, plans, problems, random, reals};
use proptest::prelude::*;

fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

fn map<T: Copy, U>(data: &Data<T>, f: impl Fn(&[T]) -> Vec<U>) -> Data<U> {
    Data { x: f(&data.x), weight: f(&data.weight), bias: f(&data.bias), dy: f(&data.dy) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// |f32 result - f64 result| <= n·ε·Σ|products|, the bound of a sum of n products in any order.
    #[test]
    fn f32_rounds_no_worse_than_its_bound(problem in problems()) {
        let data = problem.data(reals::<f32>);
        let exact = problem.reference(&map(&data, widened));
        let sizes = problem.reference(&map(&data, |values| values.iter().map(|&v| f64::from(v.abs())).collect()));
        let terms = problem.shape.macs() as f64 / problem.shape.output_len() as f64;
        let terms_per_weight = (problem.batch * problem.shape.output_len() / problem.shape.out_channels()) as f64;
        let maps = problem.shape.weight_len() as f64 / problem.shape.in_channels() as f64 * problem.shape.groups() as f64;
        for (algorithm, plan) in plans::<f32>(problem.shape) {
            // `Winograd` has bounds of its own: `tests/winograd.rs`.
            let by_winograd = plan.algorithms().map(|algorithm| algorithm == Algorithm::Winograd);
            let got = problem.run(&plan, &data, &mut Scratch::new());
            let results = [
                ("y", &got.y, &exact.y, &sizes.y, terms),
                ("dx", &got.dx, &exact.dx, &sizes.dx, maps),
                ("dweight", &got.dweight, &exact.dweight, &sizes.dweight, terms_per_weight),
                ("dbias", &got.dbias, &exact.dbias, &sizes.dbias, terms_per_weight),
            ];
            let others = results.into_iter().zip(by_winograd.into_iter().chain([false]));
            for ((what, got, exact, size, terms), _) in others.filter(|(_, by_winograd)| !by_winograd) {
                for ((&got, exact), size) in got.iter().zip(exact).zip(size) {
                    let bound = (terms + 3.0) * f64::from(f32::EPSILON) * size;
                    let error = (f64::from(got) - exact).abs();
                    prop_assert!(error <= bound, "{what} of {} by {algorithm}: {got} for {exact}", problem.shape);
                }
            }
        }
    }

    /// ⟨conv(x, w), dy⟩ = ⟨x, input_gradient⟩ = ⟨w, weight_gradient⟩: the backward passes are the adjoints of the
    /// forward pass, for whatever geometry.
    #[test]
    fn gradients_are_adjoint_to_the_forward_pass(problem in problems()) {
        let Problem { shape, batch, .. } = problem;
        let Data { x, weight, dy, .. } = problem.data(reals::<f64>);
        for (algorithm, plan) in plans::<f64>(shape) {
            let mut scratch = plan.scratch(batch);
            let (mut y, mut dx, mut dweight) = (vec![0.0; dy.len()], vec![0.0; x.len()], vec![0.0; weight.len()]);
            plan.forward(batch, &x, &weight, Epilogue::none(), &mut y, &mut scratch).unwrap();
            plan.input_gradient(batch, &dy, &weight, &mut dx, &mut scratch).unwrap();
            plan.weight_gradient(batch, &x, &dy, &mut dweight, &mut scratch).unwrap();
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let size = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a * b).abs()).sum::<f64>();
            let forward = dot(&y, &dy);
            let bound = 1e-12 * (size(&y, &dy) + size(&x, &dx) + size(&weight, &dweight));
            prop_assert!((forward - dot(&x, &dx)).abs() <= bound, "dx of {shape} by {algorithm}");
            prop_assert!((forward - dot(&weight, &dweight)).abs() <= bound, "dweight of {shape} by {algorithm}");
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for problem in large_problems() {
        assert!(2 * problem.shape.macs() * problem.batch as u64 >= 16_000_000, "{} stays serial", problem.shape);
        let data = problem.data(reals::<f32>);
        for (algorithm, plan) in plans::<f32>(problem.shape) {
            let runs = [1, 2, 3, 8].map(|threads| {
                let run = || problem.run(&plan, &data, &mut Scratch::new()).bits();
                pool(threads).unwrap().install(run)
            });
            assert!(runs.iter().all(|run| *run == runs[0]), "{} by {algorithm}", problem.shape);
        }
    }
}

#[test]
fn one_image_does_not_depend_on_its_batch() {
    let more = [
        Conv2dShape::builder(500, 20, [3, 3], [2, 2]).build(), // more than one block of 256 in the products' depth
        Conv2dShape::builder(3, 8, [4, 4], [4, 4]).build(),    // one output pixel an image
        Conv2dShape::builder(40, 8, [40, 40], [3, 3]).build(), // several strips an image
        Conv2dShape::builder(6, 16, [14, 14], [5, 5]).build(), // small images of few channels
        Conv2dShape::builder(4, 14, [9, 7], [3, 4]).groups(2).padding([3, 1]).build(),
    ];
    let more = more.map(|shape| Problem::new(shape.unwrap(), 9));
    for Problem { shape, seed, .. } in large_problems().into_iter().chain(more) {
        // the smaller ones fill vectors of images
        let batch = match shape.macs() {
            0..300_000 => 35,
            300_000..20_000_000 => 9,
            _ => 3,
        };
        let data = Problem { shape, batch, seed }.data(reals::<f32>);
        for (algorithm, plan) in plans::<f32>(shape) {
            let together = Problem { shape, batch, seed }.run(&plan, &data, &mut Scratch::new());
            for image in [0, batch / 2, batch - 1] {
                let of = |values: &[f32]| {
                    let len = values.len() / batch;
                    values[image * len..(image + 1) * len].to_vec()
                };
                let single = Data { x: of(&data.x), dy: of(&data.dy), ..data.clone() };
                let alone = Problem { shape, batch: 1, seed }.run(&plan, &single, &mut Scratch::new());
                assert_eq!(alone.y, of(&together.y), "y of {shape} by {algorithm}");
                assert_eq!(alone.dx, of(&together.dx), "dx of {shape} by {algorithm}");
            }
        }
    }
}

#[test]
fn the_scratch_is_grown_once_and_its_contents_do_not_matter() {
    for problem in large_problems() {
        for (algorithm, plan) in plans::<f64>(problem.shape) {
            let mut scratch = plan.scratch(problem.batch);
            let len = scratch.len();
            let poison = problem.data(|_, len| vec![f64::NAN; len]);
            problem.run(&plan, &poison, &mut scratch);
            let data = problem.data(integers::<f64>);
            let results = problem.run(&plan, &data, &mut scratch);
            assert!(results.dweight.iter().chain(&results.dx).all(|value| value.is_finite()));
            assert_eq!(scratch.len(), len, "{} by {algorithm}", problem.shape);
            for batch in [0, 1, problem.batch - 1] {
                assert!(plan.scratch(batch).len() <= len, "{} by {algorithm}", problem.shape);
            }
        }
    }
}

/// NaN and infinities arise, and stay away, at the same places.
fn spreads_as_in_the_definition(problem: Problem, strange: f32, place: &str) {
    let kind = |value: &f32| match value {
        v if v.is_nan() => 2,
        v if v.is_infinite() => v.signum() as i32,
        _ => 0,
    };
    let mut data = problem.data(reals::<f32>);
    match place {
        "x" => data.x[17] = strange,
        "weight" => data.weight[5] = strange,
        _ => data.dy[11] = strange,
    }
    let expected = problem.reference(&data);
    let four = Conv2dPlan::new(problem.shape, &Options::default().force(Algorithm::Winograd4)).ok();
    for plan in plans::<f32>(problem.shape).into_iter().map(|(_, plan)| plan).chain(four) {
        let got = problem.run(&plan, &data, &mut Scratch::new());
        let results =
            [("y", got.y, &expected.y), ("dx", got.dx, &expected.dx), ("dweight", got.dweight, &expected.dweight)];
        for ((what, got, expected), algorithm) in results.into_iter().zip(plan.algorithms()) {
            let (got, expected) = (got.iter().map(kind), expected.iter().map(kind));
            assert!(got.eq(expected), "{what} with {strange} in {place} of {} by {algorithm}", problem.shape);
        }
    }
}

/// Some of the values become NaN or infinite; which do follows from `seed`.
fn strange(mut values: Vec<f32>, seed: u64) -> Vec<f32> {
    let (mut random, len) = (random(seed), values.len() as u64);
    for _ in 0..(random() % 4).min(len) {
        let stranger = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][(random() % 3) as usize];
        values[(random() % len) as usize] = stranger;
    }
    values
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Integers, NaN and infinities: each sum is the reference's, and NaN where that is NaN.
    #[test]
    fn strange_numbers_reach_what_they_reach_by_definition(problem in problems(), seeds in any::<[u64; 3]>()) {
        let data = problem.data(integers::<f32>);
        let [x, weight, dy] = seeds;
        let (x, weight, dy) = (strange(data.x, x), strange(data.weight, weight), strange(data.dy, dy));
        let data = Data { x, weight, dy, ..data };
        let expected = problem.reference(&data);
        let same = |got: &[f32], expected: &[f32]| {
            got.iter().zip(expected).all(|(got, expected)| got == expected || got.is_nan() && expected.is_nan())
        };
        for (algorithm, plan) in plans::<f32>(problem.shape) {
            let got = problem.run(&plan, &data, &mut Scratch::new());
            let what = format!("{} images of {} by {algorithm}", problem.batch, problem.shape);
            prop_assert!(same(&got.y, &expected.y), "y of {what}");
            prop_assert!(same(&got.dx, &expected.dx), "dx of {what}");
            prop_assert!(same(&got.dweight, &expected.dweight), "dweight of {what}");
        }
    }
}

#[test]
fn nan_and_infinity_spread_as_in_the_definition() {
    let conv = Conv2dShape::builder;
    let uneven = Padding { top: 2, bottom: 0, left: 1, right: 3 };
    for builder in [
        conv(3, 5, [12, 11], [3, 3]).stride([1, 2]),
        conv(9, 8, [6, 7], [1, 1]),
        conv(3, 5, [12, 11], [3, 3]), // along output channels, rows joined
        conv(1, 3, [9, 14], [3, 2]),  // along pixels, the last vector overlaps
        conv(2, 4, [9, 20], [2, 3]).groups(2),
        conv(6, 12, [9, 9], [2, 3]).groups(6),
        conv(4, 4, [8, 8], [3, 3]).groups(4).padding(2),
        conv(3, 6, [9, 8], [2, 5]).groups(3).padding(uneven).stride([2, 1]),
        conv(3, 5, [12, 11], [3, 3]).padding(1),     // a border, rows joined
        conv(2, 7, [9, 20], [3, 4]).padding(uneven), // a border, the last vector overlaps
        conv(3, 20, [11, 12], [5, 4]).padding(2).stride([2, 2]), // a border, taken apart
        conv(4, 6, [10, 17], [3, 2]).padding(uneven).dilation([2, 3]).groups(2),
        conv(5, 3, [7, 9], [1, 1]).padding(uneven),
        conv(3, 6, [9, 12], [5, 5]).padding(2), // tiles of 6x6 pixels
        conv(3, 6, [9, 12], [3, 3]).padding(1).stride([2, 2]),
        conv(3, 6, [14, 9], [5, 5]).padding(2).stride([2, 2]),
        conv(4, 6, [13, 12], [3, 3]).padding(2).dilation([2, 2]).groups(2),
        conv(17, 33, [6, 5], [3, 3]).padding(1),
    ] {
        let problem = Problem::new(builder.build().unwrap(), 2);
        for strange in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in ["x", "weight", "dy"] {
                spreads_as_in_the_definition(problem, strange, place);
            }
        }
    }
}

/// Sums of multiples of the smallest number are exact, and are not flushed to zero.
fn keeps_denormals<T: Scalar>(shape: Conv2dShape, smallest: T) {
    let (problem, zero) = (Problem::new(shape, 2), T::ZERO);
    let tiny = |values: &[T]| values.iter().map(|&value| value * smallest).collect::<Vec<_>>();
    let data = problem.data(integers::<T>);
    let data = Data { bias: vec![zero; data.bias.len()], ..data };
    let of_images = Data { x: tiny(&data.x), dy: tiny(&data.dy), ..data.clone() };
    let of_weights = Data { x: tiny(&data.x), ..data };
    let images = problem.reference(&of_images);
    let mut weights = vec![zero; shape.weight_len()];
    reference::conv2d_weight_gradient(&shape, 2, &of_weights.x, &of_weights.dy, &mut weights).unwrap();
    for sums in [&images.y, &images.dx, &weights] {
        assert!(sums.iter().any(|sum| sum.is_subnormal()), "{shape} has none");
    }
    for (algorithm, plan) in plans::<T>(shape) {
        let got = problem.run(&plan, &of_images, &mut Scratch::new());
        assert_eq!((&got.y, &got.dx), (&images.y, &images.dx), "{shape} by {algorithm}");
        let mut dweight = vec![zero; shape.weight_len()];
        let (x, dy) = (&of_weights.x, &of_weights.dy);
        plan.weight_gradient(2, x, dy, &mut dweight, &mut Scratch::new()).unwrap();
        assert_eq!(dweight, weights, "dweight of {shape} by {algorithm}");
    }
}

#[test]
fn denormals_are_kept() {
    let conv = Conv2dShape::builder;
    for builder in [
        conv(3, 4, [6, 6], [3, 3]).padding(1),
        conv(3, 17, [10, 12], [4, 3]),
        conv(2, 3, [13, 9], [3, 2]).stride([2, 2]),
        conv(4, 4, [9, 8], [3, 3]).groups(4).padding(1), // depthwise, slides
        conv(2, 6, [19, 18], [2, 5]).groups(2).padding(2), // depthwise, sweeps
        conv(5, 7, [6, 7], [1, 1]),
    ] {
        let shape = builder.build().unwrap();
        keeps_denormals(shape, f32::from_bits(1));
        keeps_denormals(shape, f64::from_bits(1));
    }
}

#[test]
fn the_epilogue_is_bias_then_activation() {
    let leaky = Activation::leaky_relu(0.25).unwrap();
    for problem in large_problems() {
        let Problem { shape, batch, .. } = problem;
        let data = problem.data(reals::<f32>);
        for (algorithm, plan) in plans::<f32>(shape) {
            let mut scratch = plan.scratch(batch);
            let mut forward = |epilogue| {
                let mut y = vec![0.0; data.dy.len()];
                plan.forward(batch, &data.x, &data.weight, epilogue, &mut y, &mut scratch).unwrap();
                y
            };
            let mut expected = forward(Epilogue::none());
            for (index, map) in expected.chunks_mut(shape.output_len() / shape.out_channels()).enumerate() {
                map.iter_mut().for_each(|z| *z += data.bias[index % shape.out_channels()]);
            }
            leaky.apply(&mut expected);
            let got = forward(Epilogue { bias: Some(&data.bias), activation: leaky });
            assert_eq!(got, expected, "{shape} by {algorithm}");
        }
    }
}

#[test]
fn a_plan_of_either_type_can_be_shared_between_threads() {
    fn check<T: Scalar>() {
        fn shared<P: Clone + Send + Sync + std::fmt::Debug>(_: &P) {}
        let shape = Conv2dShape::builder(1, 1, [2, 2], [1, 1]).build().unwrap();
        shared(&Conv2dPlan::<T>::new(shape, &Options::default()).unwrap());
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn every_instruction_set_passes_these_tests() {
    again_with_each_instruction_set();
}
