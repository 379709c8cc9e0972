//! What a plan chooses, and what it says about it.

mod common;

use common::{again_with_each_instruction_set, fuses, instruction_set};
use conv_kernels::{Algorithm, Conv2dPlan, Conv2dShape, Epilogue, Options, Scalar, Scratch};

#[test]
fn the_plan_takes_the_fast_path() {
    use Algorithm::{Channels, Depthwise, Direct, Im2col, Images, Pointwise, Winograd};
    let conv = Conv2dShape::builder;
    let fast = fuses();
    for (builder, with_vectors, portable) in [
        (conv(1, 20, [68, 68], [5, 5]), [Direct, Direct, Direct], Im2col),
        (conv(40, 80, [20, 20], [4, 4]), [Channels, Direct, Channels], Im2col),
        (conv(64, 64, [16, 16], [5, 5]).padding(2), [Winograd; 3], Im2col),
        (conv(6, 10, [14, 14], [5, 4]), [Images; 3], Im2col),
        (conv(64, 64, [56, 56], [3, 3]).padding(1), [Winograd; 3], Im2col),
        (conv(32, 32, [112, 112], [3, 3]).padding(1).groups(32), [Depthwise; 3], Depthwise),
        (conv(1, 1, [512, 512], [31, 31]), [Depthwise; 3], Depthwise),
        (conv(64, 256, [56, 56], [1, 1]), [Pointwise; 3], Pointwise),
    ] {
        let plan = Conv2dPlan::<f32>::new(builder.build().unwrap(), &Options::default()).unwrap();
        let expected = if fast { with_vectors } else { [portable; 3] };
        let explained = plan.explain();
        assert_eq!(plan.algorithms(), expected, "{explained}");
        let few = expected[1] == Images;
        assert_eq!(explained.contains("input_gradient of images that fill no vector: mirrored\n"), few, "{explained}");
    }
}

const BATCHES: [usize; 2] = [1, 64];

/// The scratch that a pass takes from an empty one, for each of [`BATCHES`].
fn taken<T: Scalar>(plan: &Conv2dPlan<T>, pass: usize) -> [Scratch<T>; 2] {
    let (shape, zeros) = (plan.shape(), |len| vec![T::ZERO; len]);
    BATCHES.map(|batch| {
        let (mut image, mut map) = (zeros(batch * shape.input_len()), zeros(batch * shape.output_len()));
        let (mut weight, mut scratch) = (zeros(shape.weight_len()), Scratch::new());
        match pass {
            0 => plan.forward(batch, &image, &weight, Epilogue::none(), &mut map, &mut scratch),
            1 => plan.input_gradient(batch, &map, &weight, &mut image, &mut scratch),
            _ => plan.weight_gradient(batch, &image, &map, &mut weight, &mut scratch),
        }
        .unwrap();
        scratch
    })
}

/// A line for each pass, with what it takes.
fn explains<T: Scalar>(plan: &Conv2dPlan<T>) {
    let explained = plan.explain();
    let kib = |scratch: &Scratch<T>| (scratch.len() * size_of::<T>()).div_ceil(1024);
    let mut most = [0; 2];
    for (pass, name) in ["forward", "input_gradient", "weight_gradient"].into_iter().enumerate() {
        let line = explained.lines().nth(1 + pass).unwrap();
        let figures: Vec<usize> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        let &[share, one, 1, many, 64] = &figures[..] else { panic!("{line}") };
        let algorithm = plan.algorithms()[pass];
        let whole = format!(
            "{name}: {algorithm}, {share} % of peak by estimate, scratch {one} KiB for 1 image, {many} KiB for 64"
        );
        assert_eq!(line, whole);
        // Slow algorithms have hardly any; F(4x4, 3x3) saves three products of four.
        assert!(share <= 400, "{line}");
        assert_eq!([one, many], taken(plan, pass).each_ref().map(kib), "{line}");
        most = [most[0].max(one), most[1].max(many)];
    }
    let all = BATCHES.map(|batch| kib(&plan.scratch(batch)));
    // Pooling maps on the way may take more than any pass.
    let pools = plan.shape().output().iter().all(|&side| side >= 2);
    assert!(if pools { all[0] >= most[0] && all[1] >= most[1] } else { all == most }, "{all:?} for {explained}");
    // CONV_ISA decides, where it is set.
    assert!(explained.contains(&format!("; vectors: {}, ", instruction_set())), "{explained}");
}

#[test]
fn a_plan_says_how_much_of_the_peak_and_of_memory_each_pass_takes() {
    let conv = Conv2dShape::builder;
    for builder in [
        conv(1, 20, [28, 28], [5, 5]),
        conv(6, 16, [14, 14], [5, 4]),
        conv(32, 40, [3, 40], [3, 3]),
        conv(8, 24, [5, 33], [5, 3]).padding([0, 1]),
        conv(16, 16, [3, 90], [3, 3]).groups(16),
        conv(12, 30, [1, 200], [1, 1]),
        conv(12, 30, [17, 18], [3, 3]).stride([2, 2]).padding(1),
    ] {
        let shape = builder.build().unwrap();
        explains(&Conv2dPlan::<f32>::new(shape, &Options::default()).unwrap());
        for algorithm in Algorithm::ALL {
            let options = Options::default().force(algorithm);
            Conv2dPlan::<f32>::new(shape, &options).iter().for_each(explains);
            Conv2dPlan::<f64>::new(shape, &options).iter().for_each(explains);
        }
    }
}

#[test]
fn every_instruction_set_passes_these_tests() {
    again_with_each_instruction_set();
}
