//! What is refused, in which words; and what is not finite.

use layers::{
    Activate, Activation, AvgPool2d, BatchNorm2d, Conv2d, Dense, Dropout, Flatten, Init, Layer, LayerError, MaxPool2d,
    Phase, Solo, random::Key,
};
use ndarray::{Array, Array4, Dimension, Ix2, Ix4, array};

fn message<X: std::fmt::Debug>(result: Result<X, LayerError>) -> String {
    result.expect_err("this must be refused").to_string()
}

#[test]
fn constructors_refuse_bad_sizes() {
    let conv = |input| Conv2d::new(input, 8, 5);
    let table = [
        (
            message(conv([1, 4, 4]).build::<f32>()),
            "the kernel covers 5x5 pixels, more than the padded input 4x4: use a smaller one, or more padding",
        ),
        (
            message(conv([1, 6, 6]).dilation(2).build::<f32>()),
            "the kernel covers 9x9 pixels, more than the padded input 6x6: use a smaller one, or more padding",
        ),
        (message(conv([0, 9, 9]).build::<f32>()), "in_channels must be at least 1"),
        (message(Conv2d::new([1, 9, 9], 0, 5).build::<f32>()), "out_channels must be at least 1"),
        (
            message(conv([3, 9, 9]).groups(2).build::<f32>()),
            "2 groups must divide both in_channels (3) and out_channels (8)",
        ),
        (
            message(conv([1, 9, 9]).init(Init::NielsenFanOut { pool_area: 0 }).build::<f32>()),
            "the pool_area of Init::NielsenFanOut must be at least 1",
        ),
        (message(Dense::new(0, 10).build::<f32>()), "inputs must be at least 1"),
        (message(Dense::new(10, 0).build::<f32>()), "outputs must be at least 1"),
        (
            message(Dense::new(1 << 40, 1 << 40).build::<f32>()),
            "weight (1099511627776, 1099511627776) would have more than 2^63 - 1 bytes: reduce its sizes",
        ),
        (
            message(MaxPool2d::new([1, 3, 3], 4).build()),
            "the pooling window covers 4x4 pixels, more than the padded input 3x3: use a smaller one, or more padding",
        ),
        (
            message(AvgPool2d::new([1, 3, 3], [1, 4]).build()),
            "the pooling window covers 1x4 pixels, more than the padded input 3x3: use a smaller one, or more padding",
        ),
        (message(Dropout::<Ix2>::new(1.0)), "the dropout probability must be at least 0 and below 1 (got 1)"),
        (message(Dropout::<Ix2>::new(-0.1)), "the dropout probability must be at least 0 and below 1 (got -0.1)"),
        (message(Dropout::<Ix2>::new(f64::NAN)), "the dropout probability must be at least 0 and below 1 (got NaN)"),
        (message(BatchNorm2d::new([0, 3, 3]).build()), "in_channels must be at least 1"),
        (message(BatchNorm2d::new([3, 0, 3]).build()), "the input's height must be at least 1"),
        (message(BatchNorm2d::new([3, 3, 3]).epsilon(0.0).build()), "epsilon must be finite and above 0 (got 0)"),
        (message(BatchNorm2d::new([3, 3, 3]).momentum(f64::NAN).build()), "momentum must be 0 to 1 (got NaN)"),
    ];
    for (got, expected) in table {
        assert_eq!(got, expected);
    }
    for zero in [message(conv([1, 9, 9]).stride(0).build::<f32>()), message(MaxPool2d::new([1, 9, 9], 0).build())] {
        assert!(zero.ends_with("must be at least 1"), "{zero}");
    }
}

#[test]
fn layers_refuse_samples_that_they_were_not_made_for() {
    let conv = Conv2d::new([1, 28, 28], 20, 5).build::<f32>().unwrap();
    let pool = MaxPool2d::new([20, 24, 24], 2).build().unwrap();
    let average = AvgPool2d::new([20, 24, 24], 2).build().unwrap();
    let norm = BatchNorm2d::new([20, 24, 24]).build().unwrap();
    let table = [
        (message(conv.output_shape(&[3, 28, 28])), "wants (1, 28, 28); it got (3, 28, 28) per sample"),
        (message(conv.output_shape(&[784])), "wants (1, 28, 28); it got (784,) per sample"),
        (
            message(Layer::<f32>::output_shape(&pool, &[20, 12, 12])),
            "wants (20, 24, 24); it got (20, 12, 12) per sample",
        ),
        (message(Layer::<f32>::output_shape(&average, &[20])), "wants (20, 24, 24); it got (20,) per sample"),
        (
            message(Layer::<f32>::output_shape(&norm, &[10, 24, 24])),
            "wants (20, 24, 24); it got (10, 24, 24) per sample",
        ),
        (
            message(Dense::new(800, 10).build::<f32>().unwrap().output_shape(&[40, 4, 4])),
            "wants 800 values; it got (40, 4, 4) per sample",
        ),
        (
            message(Layer::<f32>::output_shape(&Flatten::new(), &[784])),
            "wants 3 axes per sample; it got (784,) per sample",
        ),
        (
            message(Layer::<f32>::output_shape(&Activate::<Ix2>::new(Activation::Relu), &[1, 2, 3])),
            "wants 1 axes per sample; it got (1, 2, 3) per sample",
        ),
        (
            message(Layer::<f32>::output_shape(&Dropout::<Ix4>::new(0.5).unwrap(), &[7])),
            "wants 3 axes per sample; it got (7,) per sample",
        ),
    ];
    for (got, expected) in table {
        assert_eq!(got, expected);
    }
}

#[test]
fn a_lone_layer_refuses_arrays_of_the_wrong_shape() {
    let dense = || Dense::new(3, 2).build::<f64>().unwrap();
    let mut solo = Solo::new(dense(), &[3], 0).unwrap();
    assert_eq!(message(Solo::new(dense(), &[1, 1, 3], 0)), "wants 1 axes per sample; it got (1, 1, 3) per sample");
    assert_eq!(
        message(solo.backward(&array![[1.0, 1.0]])),
        "there is no forward pass to go back through: call forward first"
    );
    assert_eq!(message(solo.forward(&array![[1.0, 1.0]])), "the input must have the shape (1, 3); it has (1, 2)");
    let phase = Phase::Train { key: Key::new(0), epoch: 0, samples: &[1, 2] };
    let short = solo.forward_in(&array![[1.0, 1.0, 1.0]], phase);
    assert_eq!(message(short), "the list of sample numbers must have the shape (1,); it has (2,)");
    solo.forward(&array![[1.0, 1.0, 1.0]]).unwrap();
    assert_eq!(message(solo.backward(&array![[1.0]])), "the gradient must have the shape (1, 2); it has (1, 1)");
    assert_eq!(message(solo.params().tensor("w")), "no tensor is called `w`; there are: weight, bias");
    let wrong = array![[1.0]].into_dyn();
    assert_eq!(message(solo.params_mut().set("bias", &wrong)), "bias must have the shape (2,); it has (1, 1)");
}

/// The output for one image of 2x2 pixels, and for an empty batch.
fn forward<L: Layer<f64>>(layer: L, x: [f64; 4], phase: Phase<'_>) -> Vec<f64> {
    let image = if L::In::NDIM == Some(4) { vec![1, 1, 2, 2] } else { vec![1, 4] };
    let shape = |batch: usize| {
        let mut dim = L::In::zeros(image.len());
        dim.slice_mut().copy_from_slice(&image);
        dim[0] = batch;
        dim
    };
    let mut layer = Solo::new(layer, &image[1..], 0).unwrap();
    let y = layer.forward_in(&Array::from_shape_vec(shape(1), x.to_vec()).unwrap(), phase).unwrap();
    assert!(layer.forward(&Array::zeros(shape(0))).unwrap().is_empty());
    y.into_iter().collect()
}

/// Non-finite input is data: it is passed on by rule, not lost, and nothing panics.
#[test]
fn not_finite_numbers_are_passed_on() {
    const INF: f64 = f64::INFINITY;
    const NAN: f64 = f64::NAN;
    let x = [NAN, INF, -INF, 1.0];
    let same = |got: &[f64], expected: &[f64]| {
        assert!(
            got.len() == expected.len() && got.iter().zip(expected).all(|(a, b)| a == b || a.is_nan() && b.is_nan()),
            "{got:?}"
        );
    };
    let activate = |activation| forward(Activate::<Ix4>::new(activation), x, Phase::Infer);
    same(&activate(Activation::Identity), &x);
    same(&activate(Activation::Relu), &[NAN, INF, 0.0, 1.0]);
    same(&activate(Activation::LeakyRelu { slope: 0.5 }), &[NAN, INF, -INF, 1.0]);
    same(&activate(Activation::Sigmoid)[..3], &[NAN, 1.0, 0.0]);
    same(&activate(Activation::Tanh)[..3], &[NAN, 1.0, -1.0]);
    // the largest: NaN before everything, then infinity
    let max = || MaxPool2d::new([1, 2, 2], [1, 2]).build().unwrap();
    same(&forward(max(), x, Phase::Infer), &[NAN, 1.0]);
    same(&forward(max(), [1.0, INF, -INF, -INF], Phase::Infer), &[INF, -INF]);
    let average = || AvgPool2d::new([1, 2, 2], [1, 2]).build().unwrap();
    same(&forward(average(), x, Phase::Infer), &[NAN, -INF]);
    same(&forward(Flatten::new(), x, Phase::Infer), &x);
    same(&forward(Dropout::<Ix2>::new(0.5).unwrap(), x, Phase::Infer), &x);
    // every sum over a NaN is NaN; an overlay that does not touch it is not
    same(&forward(Dense::new(4, 1).init(Init::StandardNormal).build().unwrap(), x, Phase::Infer), &[NAN]);
    let conv = Conv2d::new([1, 2, 2], 1, 1).init(Init::StandardNormal).build().unwrap();
    let y = forward(conv, [NAN, 1.0, 2.0, 3.0], Phase::Infer);
    assert!(y[0].is_nan() && y[1..].iter().all(|v| v.is_finite()), "{y:?}");
    // for use, only where it is; in training it spoils the channel's statistics
    let norm = || BatchNorm2d::new([1, 2, 2]).build().unwrap();
    let y = forward(norm(), [NAN, 1.0, 2.0, 3.0], Phase::Infer);
    assert!(y[0].is_nan() && y[1..].iter().all(|v| v.is_finite()), "{y:?}");
    let training = Phase::Train { key: Key::new(0), epoch: 0, samples: &[0] };
    same(&forward(norm(), [NAN, 1.0, 2.0, 3.0], training), &[NAN; 4]);
}

/// What dropout drops is 0 whatever it was.
#[test]
fn dropout_drops_what_is_not_finite() {
    let x = Array4::from_elem((1, 1, 20, 20), f64::NAN);
    let mut drop = Solo::new(Dropout::<Ix4>::new(0.5).unwrap(), &[1, 20, 20], 0).unwrap();
    let y = drop.forward_in(&x, Phase::Train { key: Key::new(0), epoch: 0, samples: &[0] }).unwrap();
    let dropped = y.iter().filter(|&&v| v == 0.0).count();
    assert!((150..250).contains(&dropped) && y.iter().all(|&v| v == 0.0 || v.is_nan()), "{dropped} dropped");
}
