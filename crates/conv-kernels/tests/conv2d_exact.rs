//! Every algorithm and pass against the definition, bit for bit: data of small integers makes every sum exact, in
//! whatever order it is formed.

mod conv2d;

use conv_kernels::{Algorithm, Conv2dPlan, Conv2dShape, Options, Scalar, Scratch};
use conv2d::{Problem, Results, again_with_each_instruction_set, instruction_set, integers, large_problems};
use conv2d::{plans, problems, reals};
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

/// The images of the depthwise form are chains of multiply-adds in the order of the definition, which skips the padding:
/// whatever the tile, the strip and the thread.
#[test]
fn depthwise_images_are_chains_in_the_order_of_the_definition() {
    let fused = instruction_set() != "portable";
    let add = |sum: f32, a: f32, b: f32| if fused { a.mul_add(b, sum) } else { sum + a * b };
    let conv = Conv2dShape::builder;
    for builder in [
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
        let shape = builder.build().unwrap();
        let problem = Problem::new(shape, 3);
        let plan = Conv2dPlan::<f32>::new(shape, &Options::default().force(Algorithm::Depthwise)).unwrap();
        let data = problem.data(reals::<f32>);
        let (mut y, mut dx) = (vec![0.0; data.dy.len()], vec![0.0; data.x.len()]);
        let (kernel, output, maps) = (shape.kernel(), shape.output(), shape.out_channels() / shape.groups());
        let pad = [shape.padding().top, shape.padding().left];
        let taps = kernel[0] * kernel[1];
        // The pixel under an element of the overlay, if it lies on one.
        let under = |channel: usize, place: [usize; 2], element: usize| {
            let element = [element / kernel[1], element % kernel[1]];
            let at = [0, 1].map(|axis| {
                let at = place[axis] * shape.stride()[axis] + element[axis] * shape.dilation()[axis];
                at.checked_sub(pad[axis]).filter(|&at| at < shape.input()[axis])
            });
            Some((channel * shape.input()[0] + at[0]?) * shape.input()[1] + at[1]?)
        };
        for index in 0..y.len() {
            let (place, map) = ([index / output[1] % output[0], index % output[1]], index / (output[0] * output[1]));
            for element in 0..taps {
                let weight = data.weight[map % shape.out_channels() * taps + element];
                if let Some(pixel) = under(map / maps, place, element) {
                    y[index] = add(y[index], weight, data.x[pixel]);
                    dx[pixel] = add(dx[pixel], weight, data.dy[index]);
                }
            }
            y[index] = (y[index] + data.bias[map % shape.out_channels()]).max(0.0);
        }
        let got = problem.run(&plan, &data, &mut Scratch::new());
        assert_eq!((got.y, got.dx), (y, dx), "{shape}");
    }
}

#[test]
fn the_plan_takes_the_fast_path() {
    use Algorithm::{Channels, Depthwise, Direct, Im2col, Mirrored, Pointwise, Winograd};
    let conv = Conv2dShape::builder;
    let fast = instruction_set() != "portable";
    for (builder, with_vectors, portable) in [
        (conv(1, 20, [28, 28], [5, 5]), [Direct, Direct, Direct], Im2col),
        (conv(20, 40, [12, 12], [4, 4]), [Channels, Direct, Channels], Im2col),
        (conv(64, 64, [16, 16], [5, 5]).padding(2), [Winograd; 3], Im2col),
        (conv(6, 16, [14, 14], [5, 4]), [Channels, Mirrored, Channels], Im2col),
        (conv(64, 64, [56, 56], [3, 3]).padding(1), [Winograd; 3], Im2col),
        (conv(32, 32, [112, 112], [3, 3]).padding(1).groups(32), [Depthwise; 3], Depthwise),
        (conv(1, 1, [512, 512], [31, 31]), [Depthwise; 3], Depthwise),
        (conv(64, 256, [56, 56], [1, 1]), [Pointwise; 3], Pointwise),
    ] {
        let plan = Conv2dPlan::<f32>::new(builder.build().unwrap(), &Options::default()).unwrap();
        let expected = if fast { with_vectors } else { [portable; 3] };
        assert_eq!(plan.algorithms(), expected, "{}", plan.explain());
    }
}

/// The pixels of the direct form are chains of multiply-adds in the order of the weights, rounded once a step where
/// the CPU can: whatever the tile, the strip and the thread.
#[test]
fn direct_images_are_chains_in_the_order_of_the_weights() {
    let fused = instruction_set() != "portable";
    let conv = Conv2dShape::builder;
    for (builder, batch) in [
        (conv(1, 20, [28, 28], [5, 5]), 2),
        (conv(20, 40, [12, 12], [5, 5]), 1),
        (conv(6, 17, [14, 13], [5, 3]).dilation([1, 2]), 3),
        (conv(32, 64, [26, 26], [3, 3]).groups(2), 1),
        (conv(64, 7, [13, 15], [3, 3]), 1), // chains in two parts
    ] {
        let shape = builder.build().unwrap();
        let problem = Problem::new(shape, batch);
        let plan = Conv2dPlan::<f32>::new(shape, &Options::default().force(Algorithm::Direct)).unwrap();
        let data = problem.data(reals::<f32>);
        let got = problem.run(&plan, &data, &mut Scratch::new()).y;
        let ([_, depth, kernel_rows, kernel_columns], [rows, columns]) = (shape.weight_dim(), shape.output());
        let (width, maps) = (shape.input()[1], shape.out_channels() / shape.groups());
        for (index, y) in got.into_iter().enumerate() {
            let (column, row) = (index % columns, index / columns % rows);
            let map = index / (rows * columns) % shape.out_channels();
            let image = index / shape.output_len();
            let mut sum = 0.0f32;
            for channel in 0..depth {
                let plane = image * shape.input_len() + (map / maps * depth + channel) * shape.input()[0] * width;
                for i in 0..kernel_rows {
                    for j in 0..kernel_columns {
                        let at = (row + i * shape.dilation()[0]) * width + column + j * shape.dilation()[1];
                        let weight = data.weight[((map * depth + channel) * kernel_rows + i) * kernel_columns + j];
                        let x = data.x[plane + at];
                        sum = if fused { weight.mul_add(x, sum) } else { sum + weight * x };
                    }
                }
            }
            let expected = (sum + data.bias[map]).max(0.0);
            assert_eq!(y.to_bits(), expected.to_bits(), "pixel {index} of {shape}");
        }
    }
}

#[test]
fn every_instruction_set_passes_these_tests() {
    again_with_each_instruction_set("every_instruction_set_passes_these_tests");
}
