//! `forward_max_pooled` against `forward` and `max_pool2d`, bit for bit; and `backward_max_pooled` against the ways back.

mod common;
mod conv2d;

use common::{BetweenCanaries, BetweenNan, again_with_each_instruction_set, fuses};
use conv_kernels::{
    Activation, Algorithm, Conv2dPlan, Conv2dShape, Epilogue, Gradients, KernelError, Options, Padding,
};
use conv_kernels::{PackFor, Pool2dShape, Scalar, Scratch, Weights, max_pool2d, max_pool2d_backward, pool};
use conv2d::{Data, Problem, bits, integers, large_problems, plans, problems, reals};
use proptest::prelude::*;

const ACTIVATIONS: [Activation; 5] = [
    Activation::Identity,
    Activation::Relu,
    Activation::LeakyRelu { slope: 0.125 },
    Activation::Sigmoid,
    Activation::Tanh,
];

/// The numbers' bits, and the positions.
type Pooled = (Vec<u64>, Vec<u32>);

fn windows(shape: &Conv2dShape) -> Result<Pool2dShape, KernelError> {
    Pool2dShape::new(shape.out_channels(), shape.output(), [2, 2], [2, 2])
}

/// Those of `tests/conv2d`, and F(4x4, 3x3).
fn all_plans<T: Scalar>(shape: Conv2dShape) -> Vec<(Algorithm, Conv2dPlan<T>)> {
    let four = Conv2dPlan::new(shape, &Options::default().force(Algorithm::Winograd4)).ok();
    plans(shape).into_iter().chain(four.map(|plan| (Algorithm::Winograd4, plan))).collect()
}

impl Problem {
    fn pooled<T: Scalar>(&self, plan: &Conv2dPlan<T>, data: &Data<T>, activation: Activation) -> Pooled {
        self.pooled_in(plan, data, activation, &mut Scratch::new())
    }

    fn pooled_in<T: Scalar>(
        &self,
        plan: &Conv2dPlan<T>,
        data: &Data<T>,
        activation: Activation,
        scratch: &mut Scratch<T>,
    ) -> Pooled {
        let [x, weight, bias] = [&data.x, &data.weight, &data.bias].map(|values| BetweenNan::new(values));
        let (epilogue, batch) = (Epilogue { bias: Some(&bias), activation }, self.batch);
        let len = batch * windows(plan.shape()).unwrap().output_len();
        let mut y = BetweenCanaries::new(len, T::of(-12345.0), T::of(f64::NAN));
        let mut positions = BetweenCanaries::new(len, u32::MAX, 77);
        plan.forward_max_pooled(batch, &x, &*weight, epilogue, &mut y, &mut positions, scratch).unwrap();
        (bits(&y.checked()), positions.checked())
    }

    fn in_two_calls<T: Scalar>(&self, plan: &Conv2dPlan<T>, data: &Data<T>, activation: Activation) -> Pooled {
        let (epilogue, batch) = (Epilogue { bias: Some(&data.bias), activation }, self.batch);
        let windows = windows(plan.shape()).unwrap();
        let mut map = vec![T::ZERO; batch * plan.shape().output_len()];
        let (mut y, mut positions) = ([T::ZERO].repeat(batch * windows.output_len()), Vec::new());
        positions.resize(y.len(), 0);
        let mut packed = vec![T::ZERO; plan.packed_len(PackFor::Forward)];
        plan.pack(PackFor::Forward, &data.weight, &mut packed).unwrap();
        let weights = Weights::Packed(&packed);
        plan.forward(batch, &data.x, weights, epilogue, &mut map, &mut Scratch::new()).unwrap();
        max_pool2d(&windows, batch, &map, &mut y, &mut positions).unwrap();
        (bits(&y), positions)
    }

    fn check<T: Scalar>(&self, data: &Data<T>, activation: Activation) {
        for (algorithm, plan) in all_plans::<T>(self.shape) {
            let (got, expected) = (self.pooled(&plan, data, activation), self.in_two_calls(&plan, data, activation));
            let what = format!("{} x ({}) by {algorithm}, {activation}", self.batch, self.shape);
            assert_eq!(got.1, expected.1, "positions of {what}");
            assert_eq!(got.0, expected.0, "y of {what}");
        }
    }
}

/// Data with NaN and infinities in one image of each three, at every 17th pixel.
fn strange<T: Scalar>(problem: &Problem, mut data: Data<T>) -> Data<T> {
    let len = problem.shape.input_len();
    for image in data.x.chunks_mut(len).step_by(3) {
        let strangers = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e-310].into_iter().cycle();
        for (pixel, stranger) in image.iter_mut().skip(5).step_by(17).zip(strangers) {
            *pixel = T::of(stranger);
        }
    }
    data
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn equals_two_calls(problem in problems(), activation in prop::sample::select(ACTIVATIONS.to_vec())) {
        if windows(&problem.shape).is_ok() {
            problem.check(&problem.data(reals::<f32>), activation);
            // integers have ties, of which the first counts
            problem.check(&problem.data(integers::<f64>), activation);
            problem.check(&strange(&problem, problem.data(reals::<f32>)), activation);
        }
    }
}

/// Geometries that meet the ends of strips, pieces and blocks.
fn corners() -> Vec<Problem> {
    let conv = Conv2dShape::builder;
    [
        (conv(1, 20, [28, 28], [5, 5]), 5),
        (conv(2, 40, [12, 12], [5, 5]), 3), // four pooled rows make a vector of sixteen
        (conv(6, 16, [14, 14], [5, 5]), 3), // five pooled columns: rows end within vectors
        (conv(2, 7, [3, 2], [2, 1]), 3),    // a single window
        (conv(1, 13, [4, 3], [2, 2]), 3),   // three joined rows fill a vector, two do not
        (conv(1, 5, [40, 4], [2, 2]), 2),   // narrow and high
        (conv(3, 51, [9, 301], [2, 3]), 2), // rows longer than a piece, and a section of channels and a bit
        (conv(70, 13, [11, 12], [3, 3]).padding(1), 3), // chains that are cut
        (conv(24, 13, [91, 93], [3, 3]).padding(1), 1), // several strips, the last row and column left out
        (conv(6, 34, [20, 21], [3, 3]).groups(2).stride([2, 1]).padding(2), 4),
        (conv(3, 7, [14, 17], [3, 2]).dilation([2, 3]).stride([1, 3]).padding(4), 4),
        // vectors along the images, and some images more
        (conv(1, 6, [28, 28], [5, 5]).padding(2), 33),
        (conv(1, 6, [28, 28], [5, 5]), 0),
        (conv(2, 19, [9, 7], [3, 4]).padding(1).stride([2, 1]), 16),
        (conv(6, 18, [8, 9], [3, 2]).groups(3).dilation([2, 1]).padding([2, 0]), 35),
    ]
    .into_iter()
    .map(|(builder, batch)| Problem::new(builder.build().unwrap(), batch))
    .collect()
}

#[test]
fn strips_pieces_and_blocks_end_where_they_may() {
    for problem in corners() {
        for activation in ACTIVATIONS {
            problem.check(&problem.data(reals::<f32>), activation);
            problem.check(&strange(&problem, problem.data(reals::<f64>)), activation);
        }
    }
}

/// Gradients by [`Conv2dPlan::backward_max_pooled`], and by single calls: of input, weights and biases.
fn both_ways_back<T: Scalar>(
    problem: &Problem,
    plan: &Conv2dPlan<T>,
    data: &Data<T>,
    positions: &[u32],
) -> [[Vec<T>; 3]; 2] {
    let (shape, batch, windows) = (plan.shape(), problem.batch, windows(plan.shape()).unwrap());
    let dy = data.dy.iter().copied().cycle().take(positions.len()).collect::<Vec<_>>();
    let zeros = || [shape.input_len() * batch, shape.weight_len(), shape.out_channels()].map(|len| vec![T::ZERO; len]);
    let ([mut dx, mut dweight, mut dbias], mut scratch) = (zeros(), Scratch::new());
    dx.fill(T::of(f64::NAN));
    let to = Gradients { dx: Some(&mut dx), dweight: &mut dweight, dbias: Some(&mut dbias) };
    plan.backward_max_pooled(batch, &data.x, &data.weight, &dy, positions, to, &mut scratch).unwrap();
    let got = [dx, dweight, dbias];
    let [mut dx, mut dweight, mut dbias] = zeros();
    let mut maps = vec![T::of(f64::NAN); batch * shape.output_len()];
    max_pool2d_backward(&windows, batch, &dy, positions, &mut maps).unwrap();
    plan.input_gradient(batch, &maps, &data.weight, &mut dx, &mut scratch).unwrap();
    plan.weight_gradient(batch, &data.x, &maps, &mut dweight, &mut scratch).unwrap();
    plan.bias_gradient(batch, &maps, &mut dbias).unwrap();
    [got, [dx, dweight, dbias]]
}

#[test]
fn the_way_back_is_that_of_single_calls() {
    for problem in corners() {
        let (data, whole) = (problem.data(reals::<f32>), problem.data(integers::<f64>));
        for (algorithm, plan) in all_plans::<f32>(problem.shape) {
            let what = format!("{} x ({}) by {algorithm}", problem.batch, problem.shape);
            let mut positions = problem.pooled(&plan, &data, Activation::Relu).1;
            let [got, expected] = both_ways_back(&problem, &plan, &data, &positions);
            assert_eq!(bits(&got[0]), bits(&expected[0]), "dx of {what}");
            assert_eq!(bits(&got[1]), bits(&expected[1]), "dweight of {what}");
            // A winner under another window than its own counts where it is.
            positions.reverse();
            let [got, expected] = both_ways_back(&problem, &plan, &data, &positions);
            assert_eq!(bits(&got[0]), bits(&expected[0]), "dx of strays, {what}");
            assert_eq!(bits(&got[1]), bits(&expected[1]), "dweight of strays, {what}");
        }
        for (algorithm, plan) in all_plans::<f64>(problem.shape) {
            // whole numbers add up to the same bits in any order
            let positions = problem.pooled(&plan, &whole, Activation::Identity).1;
            let [got, expected] = both_ways_back(&problem, &plan, &whole, &positions);
            assert_eq!(got, expected, "{} x ({}) by {algorithm}", problem.batch, problem.shape);
        }
    }
}

#[test]
fn what_is_not_finite_goes_back_where_it_came_from() {
    for problem in corners() {
        for (algorithm, plan) in all_plans::<f32>(problem.shape) {
            let plain = problem.data(reals::<f32>);
            let positions = problem.pooled(&plan, &plain, Activation::Relu).1;
            let mut data = strange(&problem, plain);
            data.dy.iter_mut().step_by(29).for_each(|dy| *dy = f32::INFINITY);
            data.weight.iter_mut().skip(3).step_by(31).for_each(|weight| *weight = f32::NAN);
            let [got, expected] = both_ways_back(&problem, &plan, &data, &positions);
            for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
                let same = got == expected || got.is_nan() && expected.is_nan();
                assert!(
                    same || (got - expected).abs() <= 1e-3 * expected.abs().max(1.0),
                    "{algorithm} {got} {expected}"
                );
            }
        }
    }
}

/// A plan for pooled passes may compute them by another algorithm.
#[test]
fn plans_for_pooling_have_the_bits_of_others() {
    for problem in corners() {
        let data = problem.data(reals::<f32>);
        let plan = Conv2dPlan::<f32>::new(problem.shape, &Options::default()).unwrap();
        let pooled = plan.clone().max_pooled();
        let activation = Activation::LeakyRelu { slope: 0.125 };
        let got = problem.pooled(&pooled, &data, activation);
        assert!(got == problem.in_two_calls(&plan, &data, activation), "{}", problem.shape);
    }
    let shape = Conv2dShape::builder(1, 6, [28, 28], [5, 5]).padding(2).build().unwrap();
    let plan = Conv2dPlan::<f32>::new(shape, &Options::default()).unwrap();
    if fuses() {
        assert_eq!(plan.max_pooled().algorithms()[0], Algorithm::Images);
    }
}

#[test]
fn any_number_of_threads_gives_the_bits_of_two_calls() {
    for problem in large_problems() {
        let data = problem.data(reals::<f32>);
        for (algorithm, plan) in all_plans::<f32>(problem.shape) {
            let expected = problem.in_two_calls(&plan, &data, Activation::Relu);
            for threads in [1, 2, 3, 8] {
                let got = pool(threads).unwrap().install(|| problem.pooled(&plan, &data, Activation::Relu));
                assert!(got == expected, "{} by {algorithm} on {threads} threads", problem.shape);
            }
        }
    }
}

#[test]
fn many_images_are_taken_some_at_a_time() {
    // 64 million multiply-adds fill all lanes: 29 images here, and 15 are left for a second round
    let shape = Conv2dShape::builder(32, 40, [14, 14], [3, 3]).padding(Padding::from(1)).build().unwrap();
    let problem = Problem::new(shape, 44);
    problem.check(&problem.data(integers::<f32>), Activation::Identity);
}

#[test]
fn a_plans_scratch_is_large_enough_and_its_contents_do_not_matter() {
    for problem in corners().into_iter().chain(large_problems()) {
        let data = problem.data(integers::<f32>);
        for (algorithm, plan) in all_plans::<f32>(problem.shape) {
            let mut scratch = plan.scratch(problem.batch);
            let len = scratch.len();
            let poison = problem.data(|_, len| vec![f32::NAN; len]);
            problem.pooled_in(&plan, &poison, Activation::Identity, &mut scratch);
            let got = problem.pooled_in(&plan, &data, Activation::Identity, &mut scratch);
            assert_eq!(scratch.len(), len, "{} by {algorithm} needs more scratch", problem.shape);
            assert!(got == problem.pooled(&plan, &data, Activation::Identity), "{} by {algorithm}", problem.shape);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let shape = Conv2dShape::builder(1, 2, [6, 5], [3, 3]).build().unwrap();
    let plan = Conv2dPlan::<f32>::new(shape, &Options::default()).unwrap();
    let refusal = |lens: [usize; 5]| {
        let [x, weight, bias, y, positions] = lens.map(|len| vec![7.0; len]);
        let (mut y, mut positions) = (y, vec![7; positions.len()]);
        let epilogue = Epilogue { bias: Some(&bias), ..Epilogue::none() };
        let mut scratch = Scratch::new();
        let refused = plan.forward_max_pooled(2, &x, &weight, epilogue, &mut y, &mut positions, &mut scratch);
        assert!(y.iter().all(|&y| y == 7.0) && positions.iter().all(|&position| position == 7));
        refused.unwrap_err().to_string()
    };
    assert_eq!(refusal([59, 18, 2, 8, 8]), "x must hold 60 elements, (N, C, H, W) = (2, 1, 6, 5); it holds 59");
    assert!(refusal([60, 17, 2, 8, 8]).starts_with("weight must hold 18 elements"));
    assert!(refusal([60, 18, 3, 8, 8]).starts_with("bias must hold 2 elements"));
    assert_eq!(refusal([60, 18, 2, 48, 8]), "y must hold 8 elements, (N, C, OH, OW) = (2, 2, 2, 1); it holds 48");
    assert_eq!(refusal([60, 18, 2, 8, 7]), "positions must hold 8 elements, (N, C, OH, OW) = (2, 2, 2, 1); it holds 7");

    let flat = Conv2dShape::builder(1, 2, [3, 5], [3, 3]).build().unwrap();
    let plan = Conv2dPlan::<f32>::new(flat, &Options::default()).unwrap();
    let (x, weight) = ([0.0; 15], [0.0; 18]);
    let refused = plan.forward_max_pooled(1, &x, &weight, Epilogue::none(), &mut [], &mut [], &mut Scratch::new());
    assert_eq!(
        refused.unwrap_err().to_string(),
        "the pooling window covers 2x2 pixels, more than the padded input 1x3: use a smaller one, or more padding",
    );
}

#[test]
fn under_the_other_instruction_sets_too() {
    again_with_each_instruction_set();
}
