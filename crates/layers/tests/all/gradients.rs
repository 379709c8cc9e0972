//! Backward equals numeric gradients: every layer, random shapes and options, in `f64`.

use crate::common::normal;
use conv_kernels::{Algorithm, Options as Force};
use layers::{
    Activate, Activation, AvgPool2d, BatchNorm2d, Conv2d, Conv2dBuilder, Dense, Dropout, Flatten, Layer, MaxPool2d,
    Padding, Phase, Pool2dBuilder, Solo,
    gradcheck::{Options, Verdict, gradcheck},
    random::Key,
};
use ndarray::{Array, Ix2, Ix4};
use proptest::prelude::*;

/// Checks a layer at random inputs. A case that proves nothing is rejected, and few may be.
fn check<L: Layer<f64>>(layer: L, x: &Array<f64, L::In>, phase: Phase<'_>, seed: u64) -> Result<(), TestCaseError> {
    let mut layer = Solo::new(layer, &x.shape()[1..], seed).map_err(|e| TestCaseError::fail(e.to_string()))?;
    // biases that begin at zero would hide some mistakes
    let nudge = normal::<f64, _>(layer.params().values().len(), seed ^ 1);
    layer.params_mut().values_mut().iter_mut().zip(&nudge).for_each(|(value, nudge)| *value += 0.3 * nudge);
    let report = gradcheck(&mut layer, x, &Options { phase, seed, ..Options::default() });
    let report = report.map_err(|e| TestCaseError::fail(e.to_string()))?;
    prop_assert!(report.tensors().iter().all(|tensor| tensor.verdict != Verdict::Failed), "{report}");
    prop_assume!(report.passed());
    Ok(())
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_global_rejects: cases / 2, failure_persistence: None, ..ProptestConfig::default() }
}

fn activation() -> impl Strategy<Value = Activation> {
    prop_oneof![
        Just(Activation::Identity),
        Just(Activation::Sigmoid),
        Just(Activation::Tanh),
        Just(Activation::Relu),
        Just(Activation::LeakyRelu { slope: 0.1 }),
    ]
}

/// The largest sizes that are drawn.
struct Up {
    kernel: usize,
    stride: usize,
    padding: usize,
    channels_of_a_group: usize,
}

const ANY: Up = Up { kernel: 3, stride: 3, padding: 2, channels_of_a_group: 3 };

/// A convolution and the shape of its batch.
fn conv(up: Up) -> impl Strategy<Value = (Conv2dBuilder, Ix4)> {
    let channels = (1..=3usize, 1..=up.channels_of_a_group, 1..=3usize);
    let [kernel, stride, dilation] = [up.kernel, up.stride, 2].map(|most| [1..=most, 1..=most]);
    let (padding, extra) = ([(); 4].map(|()| 0..=up.padding), [0..=4usize, 0..=4]);
    let options = (any::<bool>(), activation());
    (1..=3usize, channels, kernel, stride, dilation, padding, extra, options).prop_map(
        |(batch, (groups, in_group, out_group), kernel, stride, dilation, padding, extra, (bias, activation))| {
            let [top, bottom, left, right] = padding;
            // at least one pixel, and room for the kernel whatever the padding
            let side = |axis: usize, padding| {
                (dilation[axis] * (kernel[axis] - 1) + 1).saturating_sub(padding).max(1) + extra[axis]
            };
            let input = [groups * in_group, side(0, top + bottom), side(1, left + right)];
            let conv = Conv2d::new(input, groups * out_group, kernel)
                .stride(stride)
                .dilation(dilation)
                .padding(Padding { top, bottom, left, right })
                .groups(groups)
                .bias(bias)
                .activation(activation);
            (conv, Ix4(batch, input[0], input[1], input[2]))
        },
    )
}

fn check_forced((conv, dim): (Conv2dBuilder, Ix4), algorithm: Algorithm, seed: u64) -> Result<(), TestCaseError> {
    let conv = conv.options(Force::default().force(algorithm)).build().expect("it applies to such shapes");
    check(conv, &normal(dim, seed), Phase::Infer, seed)
}

/// A pooling, its windows apart or overlapping, and the shape of its batch.
fn pool<L: From<conv_kernels::Pool2dShape> + std::fmt::Debug>(
    new: fn([usize; 3], [usize; 2]) -> Pool2dBuilder<L>,
) -> impl Strategy<Value = (L, Ix4)> {
    let sizes = ((1..=3usize, 1..=3usize), (1..=3usize, 1..=3usize), (0..=4usize, 0..=4usize));
    (1..=2usize, 1..=3usize, sizes).prop_map(move |(batch, channels, (window, stride, extra))| {
        let input = [channels, window.0 + extra.0, window.1 + extra.1];
        let pool = new(input, [window.0, window.1]).stride([stride.0, stride.1]).build().expect("the window fits");
        (pool, Ix4(batch, input[0], input[1], input[2]))
    })
}

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn conv2d((conv, dim) in conv(ANY), seed in any::<u64>()) {
        check(conv.build().expect("the kernel fits"), &normal(dim, seed), Phase::Infer, seed)?;
    }

    #[test]
    fn conv2d_im2col(case in conv(ANY), seed in any::<u64>()) {
        check_forced(case, Algorithm::Im2col, seed)?;
    }

    #[test]
    fn conv2d_pointwise(case in conv(Up { kernel: 1, stride: 1, padding: 0, ..ANY }), seed in any::<u64>()) {
        check_forced(case, Algorithm::Pointwise, seed)?;
    }

    #[test]
    fn conv2d_depthwise(case in conv(Up { channels_of_a_group: 1, ..ANY }), seed in any::<u64>()) {
        check_forced(case, Algorithm::Depthwise, seed)?;
    }

    #[test]
    fn dense(
        (n, inputs, outputs) in (1..=3usize, 1..=6usize, 1..=5usize),
        bias in any::<bool>(),
        act in activation(),
        seed in any::<u64>(),
    ) {
        let dense = Dense::new(inputs, outputs).bias(bias).activation(act).build().expect("no size is zero");
        check(dense, &normal((n, inputs), seed), Phase::Infer, seed)?;
    }

    #[test]
    fn max_pool2d((pool, dim) in pool(MaxPool2d::new), seed in any::<u64>()) {
        check(pool, &normal(dim, seed), Phase::Infer, seed)?;
    }

    #[test]
    fn avg_pool2d((pool, dim) in pool(AvgPool2d::new), seed in any::<u64>()) {
        check(pool, &normal(dim, seed), Phase::Infer, seed)?;
    }

    #[test]
    fn activate(n in 1..=3usize, c in 1..=3usize, act in activation(), seed in any::<u64>()) {
        check(Activate::<Ix4>::new(act), &normal((n, c, 2, 3), seed), Phase::Infer, seed)?;
        check(Activate::<Ix2>::new(act), &normal((n, 5 * c), seed), Phase::Infer, seed)?;
    }

    #[test]
    fn dropout(n in 1..=3u64, p in 0.0..0.7, inverted: bool, epoch in 0..3u64, seed in any::<u64>()) {
        let samples: Vec<u64> = (0..n).map(|i| 7 * i + 3).collect();
        for phase in [Phase::Infer, Phase::Train { key: Key::new(seed), epoch, samples: &samples }] {
            let images = Dropout::<Ix4>::new(p).expect("below 1").inverted(inverted);
            check(images, &normal((n as usize, 2, 3, 3), seed), phase, seed)?;
            let vectors = Dropout::<Ix2>::new(p).expect("below 1").inverted(inverted);
            check(vectors, &normal((n as usize, 17), seed), phase, seed)?;
        }
    }

    #[test]
    fn batch_norm2d(
        n in 1..=3usize,
        c in 1..=3usize,
        h in 2..=3usize,
        w in 2..=3usize,
        act in activation(),
        seed in any::<u64>(),
    ) {
        let samples = vec![0; n];
        let x = normal((n, c, h, w), seed);
        for phase in [Phase::Infer, Phase::Train { key: Key::new(0), epoch: 0, samples: &samples }] {
            check(BatchNorm2d::new([c, h, w]).activation(act).build().expect("no size is zero"), &x, phase, seed)?;
        }
    }

    #[test]
    fn flatten(n in 1..=3usize, c in 1..=3usize, h in 1..=3usize, w in 1..=3usize, seed in any::<u64>()) {
        check(Flatten::new(), &normal((n, c, h, w), seed), Phase::Infer, seed)?;
    }
}
