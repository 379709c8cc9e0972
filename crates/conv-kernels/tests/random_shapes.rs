//! Thousands of random shapes, all algorithms and directions against the definition, bit for bit: data of small
//! integers makes every sum exact, in whatever order it is formed.
//!
//! The cases are numbered, and a number draws the same case for ever. They share all threads; of several that fail,
//! the one of the least work is reported.

mod conv2d;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use conv_kernels::{Conv2dShape, Padding, Scalar, Scratch};
use conv2d::{Problem, again_with_each_instruction_set, integers, plans, random};
use rayon::prelude::*;

/// Multiply-adds of the largest problem; most are smaller, so that there can be many.
const MOST_WORK: u64 = 2_000_000;

/// How many shapes each algorithm has computed, by direction.
type Coverage = BTreeMap<String, [usize; 3]>;

/// What is wrong in one case.
struct Failure {
    work: u64,
    message: String,
}

/// The shape and batch that belong to a number.
fn problem(number: u64) -> Problem {
    let mut random = random(number);
    let mut draw = |choices: &[usize]| choices[(random() % choices.len() as u64) as usize];
    let most = MOST_WORK >> draw(&[0, 2, 3, 4, 5, 6, 7]);
    loop {
        // most are anything; some are what special algorithms are for
        let kind = draw(&[0, 0, 0, 0, 0, 0, 1, 1, 3, 3]);
        let (pointwise, plain) = (kind == 1, kind > 0);
        let depthwise = draw(&[0, 0, 0, 1]) == 1;
        let groups = draw(if depthwise { &[1, 2, 7, 13, 16, 33] } else { &[1, 1, 1, 1, 2, 3, 7] });
        let depth = if depthwise { 1 } else { draw(&[1, 2, 3, 7, 8, 13, 32]) };
        let maps = draw(if depthwise { &[1, 1, 1, 2, 3] } else { &[1, 2, 3, 5, 6, 7, 13, 16, 33] });

        let mut side = || {
            let kernel = if plain { kind } else { draw(&[1, 2, 3, 3, 4, 5, 5, 6, 7, 8, 9, 10, 11, 11]) };
            let stride = if plain { 1 } else { draw(&[1, 1, 1, 1, 2, 2, 3]) };
            let dilation = if plain { 1 } else { draw(&[1, 1, 1, 2, 3]) };
            let padded = !pointwise && draw(&[0, 1]) == 1;
            let pads = [(); 2].map(|()| if padded { draw(&[0, 1, 1, 2, 3, 5]) } else { 0 });
            let covers = (kernel - 1) * dilation + 1;
            let size =
                covers.saturating_sub(pads[0] + pads[1]).max(1) + draw(&[0, 1, 2, 3, 5, 7, 8, 11, 13, 16, 25, 40]);
            (size, kernel, stride, dilation, pads)
        };
        let (rows, columns) = (side(), side());
        let padding = Padding { top: rows.4[0], bottom: rows.4[1], left: columns.4[0], right: columns.4[1] };
        let shape = Conv2dShape::builder(groups * depth, groups * maps, [rows.0, columns.0], [rows.1, columns.1])
            .stride([rows.2, columns.2])
            .dilation([rows.3, columns.3])
            .padding(padding)
            .groups(groups)
            .build()
            .expect("the sizes were chosen to fit");
        let batch = draw(&[1, 1, 1, 2, 3, 4, 5, 7, 8, 9, 16, 33, 100, 300]);
        if shape.macs() * batch as u64 <= most {
            return Problem { shape, batch, seed: number };
        }
    }
}

/// Runs every algorithm that applies, with a scratch full of other cases' leavings.
fn check<T: Scalar>(number: u64, scratch: &mut Scratch<T>) -> Result<Coverage, Failure> {
    let problem = problem(number);
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
        let most = counts.into_iter().max().unwrap_or(0);
        assert!(most as u64 * 20 >= count, "{algorithm} met only {most} of {count} shapes");
    }
}

#[test]
fn random_shapes_equal_the_definition() {
    check_all(1000);
}

#[test]
#[ignore = "takes minutes"]
fn many_random_shapes_equal_the_definition() {
    check_all(10_000);
}

#[test]
fn cases_have_what_breaks_kernels() {
    let cases: Vec<_> = (0..1000).map(problem).collect();
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
    again_with_each_instruction_set("every_instruction_set_passes_these_tests");
}
