//! Thousands of random shapes, all algorithms and directions against the definition, bit for bit: data of small
//! integers makes every sum exact, in whatever order it is formed.
//!
//! The cases are numbered, and a number draws the same case for ever. They share all threads; of several that fail,
//! the one of the least work is reported.

mod common;
mod conv2d;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{again, again_with_each_instruction_set};
use conv_kernels::{Algorithm, Scalar, Scratch};
use conv2d::{Problem, integers, numbered_problem, plans};
use rayon::prelude::*;

/// How many shapes each algorithm has computed, by direction.
type Coverage = BTreeMap<String, [usize; 3]>;

/// What is wrong in one case.
struct Failure {
    work: u64,
    message: String,
}

/// Runs every algorithm that applies, with a scratch full of other cases' leavings.
fn check<T: Scalar>(number: u64, scratch: &mut Scratch<T>) -> Result<Coverage, Failure> {
    let problem = numbered_problem(number);
    let data = problem.data(integers::<T>);
    let expected = problem.reference(&data).bits();
    let mut coverage = Coverage::new();
    for (algorithm, plan) in plans::<T>(problem.shape) {
        let fail = |what: &str| Failure {
            work: problem.shape.macs() * problem.batch as u64,
            message: format!("case {number}, {} x ({}), {algorithm}: {what}", problem.batch, problem.shape),
        };
        let got = catch_unwind(AssertUnwindSafe(|| problem.run(&plan, &data, scratch)));
        let got = got.map_err(|_| fail("panicked, as told above"))?.bits();
        if let Some(((what, _), _)) = got.iter().zip(&expected).find(|(got, expected)| got != expected) {
            return Err(fail(what));
        }
        let counts = coverage.entry(algorithm.to_string()).or_default();
        for (count, computed_by) in counts.iter_mut().zip(plan.algorithms()) {
            *count += usize::from(computed_by == algorithm);
        }
    }
    Ok(coverage)
}

/// Cases `0..count`, every fourth of them in `f64` as well.
fn check_all(count: u64) {
    let results: Vec<_> = (0..count)
        .into_par_iter()
        .map_init(
            || (Scratch::new(), Scratch::new()),
            |(single, double), number| {
                if number % 4 == 0 {
                    check::<f64>(number, double)?;
                }
                check::<f32>(number, single)
            },
        )
        .collect();

    let mut total = Coverage::new();
    let mut failures = Vec::new();
    for result in results {
        match result {
            Ok(coverage) => {
                for (algorithm, counts) in coverage {
                    let sums = total.entry(algorithm).or_default();
                    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                }
            }
            Err(failure) => failures.push(failure),
        }
    }
    if let Some(least) = failures.iter().min_by_key(|failure| failure.work) {
        panic!("{} of {count} cases fail; the least: {}", failures.len(), least.message);
    }
    println!("shapes by algorithm and direction: {total:?}");
    for (algorithm, counts) in total {
        for (direction, met) in ["forward", "input gradient", "weight gradient"].into_iter().zip(counts) {
            let backward = algorithm == Algorithm::Images.to_string();
            let mirrored = algorithm == Algorithm::Mirrored.to_string();
            let lacks = mirrored && direction != "input gradient" || backward && direction == "forward";
            let least = if lacks { 0 } else { count / 20 };
            assert!(met as u64 >= least, "{direction} by {algorithm} met only {met} of {count} shapes");
        }
    }
}

#[test]
fn random_shapes_equal_the_definition() {
    check_all(1000);
}

#[test]
#[ignore = "takes a minute"]
fn many_random_shapes_equal_the_definition() {
    check_all(10_000);
}

#[test]
#[ignore = "takes a minute"]
fn many_random_shapes_equal_the_definition_with_each_instruction_set() {
    again(&["--ignored"]);
}

#[test]
fn cases_have_what_breaks_kernels() {
    let cases: Vec<_> = (0..1000).map(numbered_problem).collect();
    let count = |has: fn(&Problem) -> bool| cases.iter().filter(|problem| has(problem)).count();
    for (what, met) in [
        ("odd channels", count(|case| case.shape.in_channels() % 7 == 0 || case.shape.out_channels() % 13 == 0)),
        ("kernels of 11", count(|case| case.shape.kernel().contains(&11))),
        ("kernels that are not square", count(|case| case.shape.kernel()[0] != case.shape.kernel()[1])),
        ("strides of 3", count(|case| case.shape.stride().contains(&3))),
        ("dilations of 3", count(|case| case.shape.dilation().contains(&3))),
        ("asymmetric padding", count(|case| case.shape.padding().top != case.shape.padding().bottom)),
        ("groups", count(|case| case.shape.groups() > 1 && case.shape.groups() < case.shape.in_channels())),
        ("batches above 32", count(|case| case.batch > 32)),
        ("maps of one row or column", count(|case| case.shape.output().contains(&1))),
    ] {
        assert!(met >= 50, "{what}: {met} of 1000");
    }
}

#[test]
fn every_instruction_set_passes_these_tests() {
    again_with_each_instruction_set();
}
