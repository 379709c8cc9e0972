//! Whole networks: every parameter's gradient equals the numeric one, in f64.

use layers::{Phase, Scalar, random::Key};
use ndarray::{Array2, Array4};
use net::{
    Activation::{LeakyRelu, Relu, Sigmoid, Tanh},
    Cost, Images, Sequential, Targets, Workspace,
    cost::{CrossEntropy, Quadratic, SigmoidCrossEntropy, SoftmaxCrossEntropy},
};

/// Central differences of the mean cost over all parameters, compared by norm.
fn check(mut net: Sequential<f64>, batch: usize, cost: &dyn Cost<f64>, train: bool) {
    let mut stream = Key::new(99).stream("test", "", 0, 0);
    let mut dim = vec![batch];
    dim.extend(net.input_shape());
    let x = ndarray::ArrayD::from_shape_simple_fn(dim, || stream.normal());
    let labels: Vec<u8> = (0..batch).map(|_| stream.below(net.outputs() as u64) as u8).collect();
    let samples: Vec<u64> = (100..100 + batch as u64).collect();
    let phase = if train { Phase::Train { key: Key::new(5), epoch: 2, samples: &samples } } else { Phase::Infer };
    let mut workspace = net.workspace(batch + 3);
    let evaluate = |net: &Sequential<f64>, workspace: &mut Workspace<f64>| {
        net.gradient(workspace, &Images::from(x.view()), Targets::Classes(&labels), cost, phase).unwrap()
    };
    evaluate(&net, &mut workspace);
    let analytic = workspace.grads().values().to_vec();
    let (mut difference, mut scale) = (0.0, 0.0);
    let layout = net.parameters().layout().clone();
    for (_, range) in layout.iter() {
        for i in range {
            let value = net.parameters().values()[i];
            let h = 1e-5 * value.abs().max(1.0);
            let mut at = |v: f64| {
                net.parameters_mut().values_mut()[i] = v;
                evaluate(&net, &mut workspace)
            };
            let numeric = (at(value + h) - at(value - h)) / (2.0 * h);
            net.parameters_mut().values_mut()[i] = value;
            difference += (numeric - analytic[i]).powi(2);
            scale += numeric.powi(2);
        }
    }
    let (difference, scale) = (f64::sqrt(difference), f64::sqrt(scale));
    assert!(scale > 1e-3, "a gradient of norm {scale} proves nothing");
    assert!(difference / scale < 1e-6, "relative error {}", difference / scale);
}

#[test]
fn convolutions_pooling_and_dense_layers() {
    let net = Sequential::builder_of([2, 9, 8])
        .conv2d(3, [3, 2])
        .padding([1, 0])
        .activation(Tanh)
        .max_pool2d(2)
        .stride(1)
        .conv2d(4, 3)
        .stride([2, 1])
        .activation(Sigmoid)
        .avg_pool2d([1, 2])
        .dense(6)
        .activation(LeakyRelu { slope: 0.1 })
        .dense(4)
        .build(3)
        .unwrap();
    check(net, 5, &SoftmaxCrossEntropy::new(), false);
}

#[test]
fn batch_normalization_and_dropout_while_learning() {
    let net = Sequential::builder_of([2, 6, 6])
        .conv2d(4, 3)
        .groups(2)
        .bias(false)
        .batch_norm2d()
        .activation(Tanh)
        .dropout(0.3)
        .conv2d(3, 3)
        .dilation(1)
        .activation(Tanh)
        .batch_norm2d()
        .dense(5)
        .activation(Sigmoid)
        .dropout(0.5)
        .dense(3)
        .build(4)
        .unwrap();
    check(net.clone(), 6, &SoftmaxCrossEntropy::new().label_smoothing(0.1).unwrap(), true);
    check(net, 6, &SigmoidCrossEntropy, false);
}

#[test]
fn the_article_s_network_with_its_quadratic_cost() {
    let net = Sequential::builder_of([1, 8, 8])
        .conv2d(3, 3)
        .activation(Sigmoid)
        .max_pool2d(2)
        .stride(1)
        .dense(5)
        .activation(Sigmoid)
        .dense(3)
        .activation(Sigmoid)
        .build(5)
        .unwrap();
    check(net.clone(), 4, &Quadratic, false);
    check(net, 4, &CrossEntropy, false);
}

#[test]
fn a_network_of_maps_without_a_dense_layer() {
    let net = Sequential::builder_of([3, 5, 5]).conv2d(4, 3).activation(Tanh).conv2d(2, 3).build(6).unwrap();
    check(net, 3, &SoftmaxCrossEntropy::new(), false);
}

/// A gradient buffer of many lanes is summed rightly: the gradient of a batch is the mean of its samples' gradients.
#[test]
fn the_gradient_of_a_batch_is_the_mean_over_its_samples() {
    let net: Sequential<f64> = Sequential::builder_of([1, 28, 28])
        .conv2d(6, 5)
        .activation(Relu)
        .max_pool2d(2)
        .conv2d(8, 5)
        .activation(Relu)
        .max_pool2d(2)
        .dense(10)
        .build(7)
        .unwrap();
    let mut stream = Key::new(1).stream("test", "", 0, 0);
    let images = Array4::from_shape_simple_fn((70, 1, 28, 28), || stream.uniform());
    let labels: Vec<u8> = (0..70).map(|i| (i % 10) as u8).collect();
    let cost = SoftmaxCrossEntropy::new();
    let gradient = |range: std::ops::Range<usize>| {
        let mut workspace = net.workspace(70);
        let some = images.slice(ndarray::s![range.clone(), .., .., ..]);
        net.gradient(&mut workspace, &Images::from(some), Targets::Classes(&labels[range]), &cost, Phase::Infer)
            .unwrap();
        workspace.grads().values().to_vec()
    };
    let whole = gradient(0..70);
    let mut mean = vec![0.0; whole.len()];
    for i in 0..70 {
        for (mean, g) in mean.iter_mut().zip(gradient(i..i + 1)) {
            *mean += g / 70.0;
        }
    }
    let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
    let off: Vec<f64> = whole.iter().zip(&mean).map(|(a, b)| a - b).collect();
    assert!(norm(&off) <= 1e-12 * norm(&whole), "{} of {}", norm(&off), norm(&whole));
}

#[test]
fn one_sample_s_outputs_do_not_depend_on_its_batch() {
    fn same<T: Scalar>(net: &Sequential<T>) {
        let mut stream = Key::new(2).stream("test", "", 0, 0);
        let x = Array2::from_shape_simple_fn((33, 400), || T::of(stream.normal()));
        let x = x.into_shape_with_order((33, 1, 20, 20)).unwrap();
        let images = Images::Values(x.view().into_dyn());
        let all = net.predict(&images).unwrap();
        for i in [0, 7, 32] {
            let one = x.slice(ndarray::s![i..=i, .., .., ..]).to_owned();
            let alone = net.predict(&Images::Values(one.view().into_dyn())).unwrap();
            let difference = (&alone.row(0) - &all.row(i)).iter().map(|d| d.as_f64().abs()).fold(0.0, f64::max);
            assert!(difference < 1e-5, "{difference}");
        }
    }
    same(
        &Sequential::builder([1, 20, 20])
            .conv2d(6, 5)
            .activation(Relu)
            .max_pool2d(2)
            .conv2d(9, 3)
            .dense(7)
            .build(1)
            .unwrap(),
    );
    same(
        &Sequential::builder_of::<f64>([1, 20, 20])
            .conv2d(6, 5)
            .batch_norm2d()
            .max_pool2d(3)
            .dense(7)
            .build(1)
            .unwrap(),
    );
}
