//! Results of real numbers, bit for bit: sums are chains of multiply-adds in an order that depends on no tile, strip or
//! thread.

mod common;
mod conv2d;

use std::collections::BTreeMap;

use common::{again_with_each_instruction_set, fuses};
use conv_kernels::{Algorithm, Conv2dPlan, Conv2dShape, Options, Scalar, Scratch};
use conv2d::chains::Chains;
use conv2d::{Problem, bits, numbered_problem, plans, reals};
use rayon::prelude::*;

/// How many results have been compared, by pass and algorithm.
type Compared = BTreeMap<(usize, String), usize>;

/// Whether the matrix products are those of `matrixmultiply`, which promises no order.
fn unordered(algorithm: Algorithm) -> bool {
    !fuses() && matches!(algorithm, Algorithm::Im2col | Algorithm::Pointwise)
}

/// Whether no two elements of an overlay, wherever it lies, cover the same pixel.
fn apart(shape: &Conv2dShape) -> bool {
    (0..2).all(|axis| (shape.kernel()[axis] - 1) * shape.dilation()[axis] < shape.stride()[axis])
}

/// Compares what promises an order: the images of the forward passes; the input gradients that gather, and those that
/// scatter by whole column matrices, or what each pixel gets once; and some weight gradients. The others are
/// Winograd's algorithms, the tiles that scatter, whose additions follow the tiles, and the weight gradients with
/// vectors along the pixels or the images, which sum up lane by lane.
fn check<T: Scalar>(problem: Problem) -> Compared {
    use Algorithm::{Channels, Depthwise, Direct, Im2col, Images, Mirrored, Pointwise};
    let Problem { shape, batch, .. } = problem;
    let data = problem.data(reals::<T>);
    let chains = Chains::new(problem, &data, fuses());
    let (y, gathered, scattered) = (chains.forward(), chains.gathered(), chains.scattered());
    let weights = [Im2col, Pointwise, Channels].map(|algorithm| (algorithm, chains.weight_gradient(algorithm)));
    let (mut scratch, mut compared) = (Scratch::new(), Compared::new());
    for (_, plan) in plans::<T>(shape) {
        let got = problem.run(&plan, &data, &mut scratch);
        for (pass, algorithm) in plan.algorithms().into_iter().enumerate() {
            let (got, expected) = match (pass, algorithm) {
                _ if unordered(algorithm) => continue,
                (0, Im2col | Pointwise | Depthwise | Direct | Channels) => (&got.y, &y),
                (1, Pointwise | Depthwise | Channels | Mirrored | Images) => (&got.dx, &gathered),
                (1, Direct) if apart(&shape) => (&got.dx, &gathered),
                (1, Im2col) => (&got.dx, &scattered),
                (2, _) => match weights.iter().find(|(by, _)| *by == algorithm) {
                    Some((_, Some(expected))) => (&got.dweight, expected),
                    _ => continue,
                },
                _ => continue,
            };
            assert!(bits(got) == bits(expected), "pass {pass} of {batch} x ({shape}) by {algorithm}, {}", T::NAME);
            *compared.entry((pass, algorithm.to_string())).or_default() += 1;
        }
    }
    compared
}

/// One in four in `f64`.
#[test]
fn random_shapes_are_chains() {
    const COUNT: u64 = 500;
    let both = |number: u64| {
        let problem = numbered_problem(number);
        if number.is_multiple_of(4) { check::<f64>(problem) } else { check::<f32>(problem) }
    };
    let mut total = Compared::new();
    for compared in (0..COUNT).into_par_iter().map(both).collect::<Vec<_>>() {
        compared.into_iter().for_each(|(what, count)| *total.entry(what).or_default() += count);
    }
    println!("results by pass and algorithm: {total:?}");
    let [forward, input_gradient, weight_gradient]: [&[Algorithm]; 3] = {
        use Algorithm::{Channels, Depthwise, Direct, Im2col, Images, Mirrored, Pointwise};
        [
            &[Im2col, Pointwise, Depthwise, Direct, Channels],
            &[Im2col, Pointwise, Depthwise, Direct, Channels, Mirrored, Images],
            &[Im2col, Pointwise, Channels],
        ]
    };
    for (pass, algorithms) in [forward, input_gradient, weight_gradient].into_iter().enumerate() {
        for algorithm in algorithms.iter().filter(|&&algorithm| !unordered(algorithm)) {
            let count = total.get(&(pass, algorithm.to_string())).copied().unwrap_or(0);
            assert!(count as u64 * 20 >= COUNT, "only {count} results of pass {pass} by {algorithm}");
        }
    }
}

#[test]
fn images_are_chains_at_the_ends_of_tiles_and_strips() {
    let conv = Conv2dShape::builder;
    for builder in [
        conv(1, 20, [28, 28], [5, 5]),
        conv(20, 40, [12, 12], [5, 5]),
        conv(6, 17, [14, 13], [5, 3]).dilation([1, 2]),
        conv(32, 64, [26, 26], [3, 3]).groups(2),
        conv(64, 7, [13, 15], [3, 3]), // chains in two parts
        conv(7, 14, [13, 17], [3, 4]).groups(7).stride([2, 1]).dilation([1, 2]).padding([2, 3]),
        conv(3, 3, [31, 29], [7, 6]).groups(3),
        conv(1, 1, [40, 38], [11, 9]).padding(4),
        conv(2, 2, [28, 27], [3, 3]).groups(2).stride([2, 2]).padding(1),
        conv(2, 6, [7, 5], [3, 3]).groups(2).padding(1), // narrower than a vector
        conv(33, 33, [14, 14], [3, 3]).groups(33).padding(1), // several planes at once
        conv(5, 5, [7, 7], [3, 3]).groups(5).padding(2),
        conv(5, 5, [15, 7], [3, 3]).groups(5).stride([2, 2]).padding(1),
        conv(2, 2, [37, 70], [3, 3]).groups(2).stride([2, 2]),
        conv(2, 2, [50, 49], [3, 3]).groups(2).padding(1), // several blocks
        conv(1, 1, [700, 5], [3, 3]).padding(1),           // blocks of narrow rows
        conv(2, 2, [3, 1], [3, 3]).groups(2).padding(5),   // more padding than plane
        conv(1, 2, [90, 80], [5, 3]).stride([3, 3]),       // an input gradient row by row
        conv(1, 1, [5, 6], [2, 2]).dilation([400, 300]).padding([400, 300]), // mostly padding
        conv(1, 1, [9, 7000], [3, 3]).stride([4, 4]),      // a row of strips
        conv(2, 2, [9, 8], [3, 3]).groups(2).stride([usize::MAX, usize::MAX]),
    ] {
        let problem = Problem::new(builder.build().unwrap(), 3);
        check::<f32>(problem);
    }
}

/// Weight gradients of so much work that they are cut into shares: 3 to 16 of them.
fn weight_gradients_add_up_in_their_tree<T: Scalar>() {
    let (conv, mut compared) = (Conv2dShape::builder, 0);
    for (builder, batch) in [
        (conv(64, 96, [28, 28], [1, 1]), 3),                       // an image each
        (conv(40, 56, [15, 13], [1, 1]), 75),                      // more images than shares
        (conv(16, 32, [30, 30], [3, 3]), 14),                      // two images a block, four strips an image
        (conv(6, 20, [70, 66], [5, 4]).padding(1), 2),             // several column matrices an image
        (conv(24, 48, [20, 20], [3, 3]).groups(2).padding(1), 30), // groups
    ] {
        let problem = Problem::new(builder.build().unwrap(), batch);
        let data = problem.data(reals::<T>);
        let chains = Chains::new(problem, &data, fuses());
        for algorithm in [Algorithm::Im2col, Algorithm::Pointwise, Algorithm::Channels] {
            let plan = Conv2dPlan::<T>::new(problem.shape, &Options::default().force(algorithm));
            let Some(plan) = plan.ok().filter(|_| !unordered(algorithm)) else { continue };
            let mut dweight = vec![T::one(); data.weight.len()];
            plan.weight_gradient(batch, &data.x, &data.dy, &mut dweight, &mut Scratch::new()).unwrap();
            let Some(expected) = chains.weight_gradient(algorithm) else { continue };
            assert!(bits(&dweight) == bits(&expected), "{batch} x ({}) by {algorithm}", problem.shape);
            compared += 1;
        }
    }
    assert!(compared >= if fuses() { 11 } else { 4 }, "only {compared} gradients promise an order");
}

#[test]
fn weight_gradients_of_f32_add_up_in_their_tree() {
    weight_gradients_add_up_in_their_tree::<f32>();
}

#[test]
fn weight_gradients_of_f64_add_up_in_their_tree() {
    weight_gradients_add_up_in_their_tree::<f64>();
}

#[test]
fn every_instruction_set_passes_these_tests() {
    again_with_each_instruction_set();
}
