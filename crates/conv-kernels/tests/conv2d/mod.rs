//! What the tests of the convolution share: random problems, data, and slices between canaries.

#![allow(dead_code, reason = "each test binary uses a part of this")]

pub(crate) mod chains;

use conv_kernels::{Activation, Algorithm, Conv2dPlan, Conv2dShape, Epilogue, Options};
use conv_kernels::{PackFor, Padding, Scalar, Scratch, Weights};
use proptest::prelude::*;

use super::common::{BetweenNan, between_canaries};

/// A geometry and a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Problem {
    pub(crate) shape: Conv2dShape,
    pub(crate) batch: usize,
    pub(crate) seed: u64,
}

/// What the three passes (and the bias gradient) compute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Results<T> {
    pub(crate) y: Vec<T>,
    pub(crate) dx: Vec<T>,
    pub(crate) dweight: Vec<T>,
    pub(crate) dbias: Vec<T>,
}

/// The arrays that go in.
#[derive(Clone, Debug)]
pub(crate) struct Data<T> {
    pub(crate) x: Vec<T>,
    pub(crate) weight: Vec<T>,
    pub(crate) bias: Vec<T>,
    pub(crate) dy: Vec<T>,
}

/// Odd and even sizes, every combination of stride, asymmetric padding, dilation and groups.
pub(crate) fn problems() -> impl Strategy<Value = Problem> {
    let groups = prop_oneof![4 => Just(1usize), 1 => Just(2), 1 => Just(3), 2 => Just(7)];
    let per_group =
        (prop_oneof![3 => Just(1usize), 1 => Just(2), 1 => Just(7)], prop::sample::select(vec![1usize, 2, 3, 5, 13]));
    let side = || {
        let kernel = prop_oneof![2 => Just(1usize), 6 => 2..=5usize, 1 => 6..=11usize];
        let stride_dilation = (
            prop_oneof![3 => Just(1usize), 1 => Just(2), 1 => Just(3)],
            prop_oneof![3 => Just(1usize), 1 => Just(2), 1 => Just(3)],
        );
        let pads = prop_oneof![2 => Just((0usize, 0usize)), 3 => (0..=3usize, 0..=3usize)];
        (kernel, stride_dilation, pads, 0..=9usize)
    };
    let batch = prop_oneof![1 => Just(0usize), 3 => Just(1), 8 => 2..=9usize, 1 => Just(16), 1 => 31..=36usize];
    (groups, per_group, side(), side(), batch, any::<u64>()).prop_map(
        |(groups, (depth, maps), rows, columns, batch, seed)| {
            let size =
                |(kernel, (_, dilation), (before, after), extra): (usize, (usize, usize), (usize, usize), usize)| {
                    ((kernel - 1) * dilation + 1).saturating_sub(before + after).max(1) + extra
                };
            let padding = Padding { top: rows.2.0, bottom: rows.2.1, left: columns.2.0, right: columns.2.1 };
            let shape =
                Conv2dShape::builder(groups * depth, groups * maps, [size(rows), size(columns)], [rows.0, columns.0])
                    .stride([rows.1.0, columns.1.0])
                    .dilation([rows.1.1, columns.1.1])
                    .padding(padding)
                    .groups(groups)
                    .build()
                    .expect("the sizes were chosen to fit");
            Problem { shape, batch, seed }
        },
    )
}

/// Multiply-adds of the largest numbered problem; most are smaller, so that there can be many.
const MOST_WORK: u64 = 2_000_000;

/// The shape and batch that belong to a number, for ever.
pub(crate) fn numbered_problem(number: u64) -> Problem {
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

/// Every algorithm that can compute the shape, each forced; the plan's own choice among them. `Winograd4` is never exact;
/// `tests/winograd.rs` has it.
pub(crate) fn plans<T: Scalar>(shape: Conv2dShape) -> Vec<(Algorithm, Conv2dPlan<T>)> {
    Algorithm::ALL
        .into_iter()
        .filter(|&algorithm| algorithm != Algorithm::Winograd4)
        .filter_map(|algorithm| Some((algorithm, Conv2dPlan::new(shape, &Options::default().force(algorithm)).ok()?)))
        .collect()
}

/// Numbers from a seed: splitmix64.
pub(crate) fn random(mut seed: u64) -> impl FnMut() -> u64 {
    move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Integers in -9..=9: sums of up to 200,000 products are exact in `f32`, whatever their order.
pub(crate) fn integers<T: Scalar>(seed: u64, len: usize) -> Vec<T> {
    let mut random = random(seed);
    (0..len).map(|_| T::of((random() % 19) as f64 - 9.0)).collect()
}

/// Reals in [-1, 1).
pub(crate) fn reals<T: Scalar>(seed: u64, len: usize) -> Vec<T> {
    let mut random = random(seed);
    (0..len).map(|_| T::of((random() >> 40) as f64 / (1u64 << 23) as f64 - 1.0)).collect()
}

impl Problem {
    pub(crate) fn new(shape: Conv2dShape, batch: usize) -> Self {
        Self { shape, batch, seed: 7 }
    }

    /// All four inputs, from `fill(seed, len)`.
    pub(crate) fn data<T>(&self, fill: impl Fn(u64, usize) -> Vec<T>) -> Data<T> {
        let Self { shape, batch, seed } = self;
        Data {
            x: fill(*seed, batch * shape.input_len()),
            weight: fill(seed ^ 1, shape.weight_len()),
            bias: fill(seed ^ 2, shape.out_channels()),
            dy: fill(seed ^ 3, batch * shape.output_len()),
        }
    }

    /// The four results of a plan, on outputs that held garbage, between canaries, and inputs between NaN; `dweight` and
    /// `dbias` start at 1. Packed weights must give the bits of plain ones.
    pub(crate) fn run<T: Scalar>(&self, plan: &Conv2dPlan<T>, data: &Data<T>, scratch: &mut Scratch<T>) -> Results<T> {
        let [x, weight, bias, dy] = [&data.x, &data.weight, &data.bias, &data.dy].map(|values| BetweenNan::new(values));
        let epilogue = Epilogue { bias: Some(&bias), activation: Activation::Relu };
        let (batch, shape) = (self.batch, plan.shape());
        let (canary, garbage) = (T::of(-12345.0), T::of(f64::NAN));
        let packed = |passes| {
            BetweenNan::new(&between_canaries(plan.packed_len(passes), canary, garbage, |packed| {
                plan.pack(passes, &weight, packed).unwrap();
            }))
        };
        let [for_use, for_learning] = [PackFor::Forward, PackFor::Learning].map(packed);
        let weights = [Weights::Plain(&weight), Weights::Packed(&for_use), Weights::Packed(&for_learning)];
        let mut forward = |weights| {
            between_canaries(batch * shape.output_len(), canary, garbage, |y| {
                plan.forward(batch, &x, weights, epilogue, y, scratch).unwrap();
            })
        };
        let [y, packed @ ..] = weights.map(&mut forward);
        assert!(packed.iter().all(|packed| bits(packed) == bits(&y)), "packed weights give other bits, forward");
        let mut input_gradient = |weights| {
            between_canaries(batch * shape.input_len(), canary, garbage, |dx| {
                plan.input_gradient(batch, &dy, weights, dx, scratch).unwrap();
            })
        };
        let [dx, packed] = [weights[0], weights[2]].map(&mut input_gradient);
        assert_eq!(bits(&packed), bits(&dx), "packed weights give other bits, input gradient");
        Results {
            y,
            dx,
            dweight: between_canaries(shape.weight_len(), canary, T::one(), |dweight| {
                plan.weight_gradient(batch, &x, &dy, dweight, scratch).unwrap();
            }),
            dbias: between_canaries(shape.out_channels(), canary, T::one(), |dbias| {
                plan.bias_gradient(batch, &dy, dbias).unwrap();
            }),
        }
    }

    /// The same four by the definition.
    pub(crate) fn reference<T: Scalar>(&self, data: &Data<T>) -> Results<T> {
        use conv_kernels::reference as definition;
        let epilogue = Epilogue { bias: Some(&data.bias), activation: Activation::Relu };
        let Self { shape, batch, .. } = *self;
        let mut results = Results {
            y: vec![T::ZERO; batch * shape.output_len()],
            dx: vec![T::ZERO; batch * shape.input_len()],
            dweight: vec![T::one(); shape.weight_len()],
            dbias: vec![T::one(); shape.out_channels()],
        };
        definition::conv2d_forward(&shape, batch, &data.x, &data.weight, epilogue, &mut results.y).unwrap();
        definition::conv2d_input_gradient(&shape, batch, &data.dy, &data.weight, &mut results.dx).unwrap();
        definition::conv2d_weight_gradient(&shape, batch, &data.x, &data.dy, &mut results.dweight).unwrap();
        definition::conv2d_bias_gradient(&shape, batch, &data.dy, &mut results.dbias).unwrap();
        results
    }
}

impl<T: Scalar> Results<T> {
    /// The four arrays as bits, with their names.
    pub(crate) fn bits(&self) -> [(&'static str, Vec<u64>); 4] {
        [("y", bits(&self.y)), ("dx", bits(&self.dx)), ("dweight", bits(&self.dweight)), ("dbias", bits(&self.dbias))]
    }
}

pub(crate) fn bits<T: Scalar>(values: &[T]) -> Vec<u64> {
    values.iter().map(|value| value.as_f64().to_bits()).collect()
}

/// Geometries with batches that are large enough to be cut in every way that the kernels know.
pub(crate) fn large_problems() -> Vec<Problem> {
    let conv = Conv2dShape::builder;
    [
        (conv(1, 20, [28, 28], [5, 5]), 64),             // several images share a product
        (conv(64, 64, [20, 20], [3, 3]), 2),             // fewer images than lanes
        (conv(4, 51, [31, 42], [3, 5]).padding(2), 4),   // padded, a section of channels and a bit, along channels
        (conv(64, 24, [40, 30], [3, 3]).padding(1), 2),  // several strips an image
        (conv(3, 24, [160, 150], [3, 3]).padding(1), 1), // one image, cut into strips
        (conv(256, 264, [5, 5], [3, 3]).padding(1), 1),  // one small image, cut into channels
        (conv(64, 96, [28, 28], [1, 1]), 3),             // pointwise
        (conv(32, 64, [26, 27], [3, 3]).stride([2, 2]).groups(2), 9), // groups
        (conv(48, 48, [56, 50], [3, 3]).padding(1).groups(48), 10), // depthwise
        (conv(1, 1, [300, 280], [11, 11]).padding(Padding { top: 5, bottom: 0, left: 2, right: 7 }), 1),
    ]
    .into_iter()
    .map(|(builder, batch)| Problem::new(builder.build().unwrap(), batch))
    .collect()
}
