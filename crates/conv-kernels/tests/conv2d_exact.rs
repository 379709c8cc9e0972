//! Every algorithm and pass against the definition, bit for bit: data of small integers makes every sum exact, in
//! whatever order it is formed.

mod common;
mod conv2d;

use common::again_with_each_instruction_set;
use conv_kernels::{Conv2dPlan, Options, Scalar, Scratch};
use conv2d::{Problem, Results, integers, large_problems, plans, problems};
use proptest::prelude::*;

/// Runs all plans of a problem with one scratch, which so comes to each call full of other calls' leavings.
fn check<T: Scalar>(problem: Problem) -> Results<T> {
    let data = problem.data(integers::<T>);
    let expected = problem.reference(&data);
    let mut scratch = Scratch::new();
    let chosen = Conv2dPlan::new(problem.shape, &Options::default()).unwrap();
    let forced = plans::<T>(problem.shape).into_iter().map(|(algorithm, plan)| (algorithm.to_string(), plan));
    for (algorithm, plan) in forced.chain([("the plan's choice".to_owned(), chosen)]) {
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
fn every_instruction_set_passes_these_tests() {
    again_with_each_instruction_set();
}
