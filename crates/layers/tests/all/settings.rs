//! A layer's settings tell apart all that computes differently, and its description need not.

use std::collections::HashSet;

use conv_kernels::{Algorithm, Options};
use layers::{Activate, Activation, AvgPool2d, BatchNorm2d, Conv2d, Dense, Dropout, Layer, MaxPool2d, Padding};
use ndarray::Ix2;

fn all_differ(settings: impl IntoIterator<Item = String>) {
    let mut seen = HashSet::new();
    for line in settings {
        assert!(seen.insert(line.clone()), "twice: {line}");
    }
    assert!(seen.len() > 1);
}

fn of(layer: impl Layer<f32>) -> String {
    layer.settings()
}

#[test]
fn every_option_of_a_convolution_is_among_its_settings() {
    let conv = || Conv2d::new([4, 12, 12], 8, 3);
    let force = |algorithm| conv().options(Options::default().force(algorithm));
    let all = [
        conv(),
        Conv2d::new([4, 12, 12], 16, 3),
        Conv2d::new([4, 12, 12], 8, 5),
        conv().stride(2),
        conv().padding(1),
        conv().padding(Padding { top: 1, bottom: 0, left: 1, right: 0 }),
        conv().padding(Padding { top: 0, bottom: 1, left: 0, right: 1 }),
        conv().dilation(2),
        conv().groups(2),
        conv().bias(false),
        conv().activation(Activation::Relu),
        conv().activation(Activation::leaky_relu(0.1).unwrap()),
        conv().activation(Activation::leaky_relu(0.2).unwrap()),
    ];
    all_differ(all.map(|builder| of(builder.build::<f32>().unwrap())));
    all_differ([Algorithm::Im2col, Algorithm::Direct].map(|way| of(force(way).build::<f32>().unwrap())));
}

#[test]
fn every_option_of_other_layers_is_among_their_settings() {
    let norm = || BatchNorm2d::new([4, 12, 12]);
    let all = [norm(), norm().epsilon(1e-3), norm().momentum(0.2), norm().activation(Activation::Tanh)];
    all_differ(all.map(|builder| of(builder.build().unwrap())));
    let dense = || Dense::new(12, 8);
    let all = [dense(), Dense::new(12, 9), dense().bias(false), dense().activation(Activation::Sigmoid)];
    all_differ(all.map(|builder| of(builder.build::<f32>().unwrap())));
    let drop = |p, inverted| of(Dropout::<Ix2>::new(p).unwrap().inverted(inverted));
    all_differ([drop(0.2, true), drop(0.25, true), drop(0.2, false)]);
    all_differ([Activation::Relu, Activation::Tanh].map(|function| of(Activate::<Ix2>::new(function))));
    let max = |window, stride| of(MaxPool2d::new([4, 12, 12], window).stride(stride).build().unwrap());
    let average = |window, stride| of(AvgPool2d::new([4, 12, 12], window).stride(stride).build().unwrap());
    all_differ([max(2, 2), max(3, 3), max(2, 1), average(2, 2), average(3, 3), average(2, 1)]);
}
