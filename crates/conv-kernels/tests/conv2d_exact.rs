//! Every algorithm and pass against the definition, bit for bit: data of small integers makes every sum exact, in
//! whatever order it is formed.

mod conv2d;

use conv_kernels::{Algorithm, Conv2dPlan, Conv2dShape, Options, Scalar, Scratch};
use conv2d::{Problem, Results, integers, large_problems, plans, problems, reals};
use proptest::prelude::*;

/// Runs all plans of a problem with one scratch, which so comes to each call full of other calls' leavings.
fn check<T: Scalar>(problem: Problem) -> Results<T> {
    let data = problem.data(integers::<T>);
    let expected = problem.reference(&data);
    let mut scratch = Scratch::new();
    for (algorithm, plan) in plans::<T>(problem.shape) {
        let got = problem.run(&plan, &data, &mut scratch);
        for ((what, got), (_, expected)) in got.bits().into_iter().zip(expected.bits()) {
            assert_eq!(got, expected, "{what} of {} x ({}) by {algorithm}", problem.batch, problem.shape);
        }
    }
    expected
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(700))]

    #[test]
    fn f32_equals_the_definition(problem in problems()) {
        check::<f32>(problem);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn f64_equals_the_definition(problem in problems()) {
        check::<f64>(problem);
    }
}

#[test]
fn large_problems_equal_the_definition() {
    for problem in large_problems() {
        let expected = check::<f32>(problem);
        // A result of zeros would prove nothing.
        for (what, bits) in expected.bits() {
            let zeros = bits.iter().filter(|&&bits| bits << 1 == 0).count();
            assert!(zeros * 4 < bits.len() * 3, "{what} of {}: {zeros} zeros of {}", problem.shape, bits.len());
        }
    }
}

#[test]
fn depthwise_images_have_the_bits_of_the_definition_on_reals_too() {
    let shape = Conv2dShape::builder(7, 14, [13, 17], [3, 4])
        .groups(7)
        .stride([2, 1])
        .dilation([1, 2])
        .padding([2, 3])
        .build()
        .unwrap();
    let problem = Problem::new(shape, 3);
    let plan = Conv2dPlan::<f32>::new(shape, &Options::default().force(Algorithm::Depthwise)).unwrap();
    let data = problem.data(reals::<f32>);
    let (got, expected) = (problem.run(&plan, &data, &mut Scratch::new()), problem.reference(&data));
    assert_eq!((got.y, got.dx), (expected.y, expected.dx));
}

#[test]
fn the_plan_takes_the_fast_path() {
    let conv = Conv2dShape::builder;
    for (builder, expected) in [
        (conv(1, 20, [28, 28], [5, 5]), "im2col"),
        (conv(64, 64, [56, 56], [1, 1]), "pointwise"),
        (conv(64, 64, [56, 56], [1, 1]).stride([2, 2]), "im2col"),
        (conv(64, 64, [56, 56], [1, 1]).padding(1), "im2col"),
        (conv(64, 64, [56, 56], [1, 1]).groups(4), "pointwise"),
        (conv(32, 32, [112, 112], [3, 3]).groups(32), "depthwise"),
        (conv(1, 1, [512, 512], [31, 31]), "depthwise"),
    ] {
        let plan = Conv2dPlan::<f32>::new(builder.build().unwrap(), &Options::default()).unwrap();
        let explained = plan.explain();
        assert!(explained.contains(&format!("forward: {expected}, ")), "{explained}");
    }
}
