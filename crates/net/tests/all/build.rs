//! Building: inferred sizes, names, and what a mistake is answered with.

use net::{Activation, Activation::Relu, Init, Sequential, SequentialBuilder};

fn image() -> SequentialBuilder<f32> {
    Sequential::builder([1, 28, 28])
}

#[test]
fn the_article_s_counts_of_parameters() {
    let net = image().conv2d(16, 4).build(0).unwrap();
    assert_eq!((net.output_shape(), net.summary().parameters()), (&[16, 25, 25][..], 272));
    assert_eq!(image().dense(30).build(0).unwrap().summary().parameters(), 23_550);
}

#[test]
fn layers_are_counted_by_kind_unless_named() {
    let net = image()
        .conv2d(4, 3)
        .activation(Relu)
        .max_pool2d(2)
        .conv2d(4, 3)
        .named("features")
        .batch_norm2d()
        .activation(Relu)
        .avg_pool2d(2)
        .flatten()
        .dense(8)
        .activation(Activation::Tanh)
        .activation(Activation::Sigmoid)
        .dropout(0.1)
        .dense(10)
        .build(0)
        .unwrap();
    let names: Vec<_> = net.layer_names().collect();
    let want = ["conv1", "pool1", "features", "bn1", "pool2", "flatten1", "fc1", "sigmoid1", "drop1", "fc2"];
    assert_eq!(names, want);
    let tensors: Vec<_> = net.parameters().tensors().map(|t| t.spec.name.clone()).collect();
    assert!(tensors.contains(&"features.weight".into()) && tensors.contains(&"bn1.bias".into()), "{tensors:?}");
    let buffers: Vec<_> = net.buffers().tensors().map(|t| t.spec.name.clone()).collect();
    assert_eq!(buffers, ["bn1.running_mean", "bn1.running_var", "bn1.num_batches_tracked"]);
}

#[test]
fn the_same_seed_gives_the_same_network() {
    let build = |seed| image().conv2d(3, 3).dense(5).build(seed).unwrap();
    assert_eq!(build(1).parameters().values(), build(1).parameters().values());
    assert_ne!(build(1).parameters().values(), build(2).parameters().values());
    let mut net = build(2);
    net.initialize(1);
    assert_eq!(net.parameters().values(), build(1).parameters().values());
}

#[test]
fn the_summary_is_a_table() {
    let net = image().conv2d(20, 5).activation(Relu).max_pool2d(2).dense(10).build(0).unwrap();
    let want = "\
layer  what               output        parameters
──────────────────────────────────────────────────
input                     (1, 28, 28)
conv1  20 maps 5x5, relu  (20, 24, 24)         520
pool1  max 2x2            (20, 12, 12)
fc1    10 neurons         (10,)             28,810
29,330 parameters, 117.3 kB, 0.634 MFLOP forward per sample";
    assert_eq!(net.summary().to_string(), want);
}

#[test]
fn mistakes_are_named() {
    let table: Vec<(SequentialBuilder<f32>, &str)> = vec![
        (Sequential::builder([1, 28, 28]), "a network needs at least one layer"),
        (
            Sequential::builder([1, 0, 28]).dense(3),
            "the input has the shape (1, 0, 28): every size must be at least 1, and the product at most 2^28",
        ),
        (
            Sequential::builder([1 << 20, 1 << 20, 1 << 40]).dense(3),
            "the input has the shape (1048576, 1048576, 1099511627776): every size must be at least 1, and the product at most 2^28",
        ),
        (
            image().conv2d(4, 29),
            "conv1: the kernel covers 29x29 pixels, more than the padded input 28x28: use a smaller one, or more padding",
        ),
        (image().conv2d(0, 3), "conv1: out_channels must be at least 1"),
        (image().conv2d(4, 3).stride(0), "conv1: the vertical stride must be at least 1"),
        (image().conv2d(4, 3).groups(3), "conv1: 3 groups must divide both in_channels (1) and out_channels (4)"),
        (
            image().dense(10).conv2d(4, 3),
            "conv1: wants images (channels, rows, columns); it got (10,) per sample from fc1",
        ),
        (
            image().max_pool2d(3).max_pool2d(10),
            "pool2: the pooling window covers 10x10 pixels, more than the padded input 9x9: use a smaller one, or more padding",
        ),
        (image().dense(10).stride(2), "builder: .stride([2, 2]) belongs right after a convolution or a pooling"),
        (image().dropout(0.5).bias(false), "builder: .bias(false) belongs right after a convolution or a dense layer"),
        (image().init(Init::Zeros), "builder: .init(…) belongs right after a convolution or a dense layer"),
        (image().named("first"), "builder: .named(\"first\") names the layer before it, and there is none yet"),
        (image().dense(3).named(""), "builder: .named(\"\") a layer's name is 1 to 128 printable characters"),
        (
            image().conv2d(3, 3).named("a").dense(3).named("a"),
            "two layers are called `a`: names must differ, because saved tensors are found by them",
        ),
    ];
    for (builder, message) in table {
        assert_eq!(builder.build(0).unwrap_err().to_string(), message);
    }
    let leaky =
        image().conv2d(3, 3).activation(Activation::LeakyRelu { slope: -3.0 }).build(0).unwrap_err().to_string();
    assert_eq!(leaky, "conv1: the slope of a leaky ReLU must be finite and > 0 (got -3); for slope 0 use Relu");
    let leaky =
        image().max_pool2d(2).activation(Activation::LeakyRelu { slope: 0.0 }).build(0).unwrap_err().to_string();
    assert!(leaky.starts_with("leaky_relu1: the slope"), "{leaky}");
    for p in [1.0, -0.1, f64::NAN] {
        let message = image().dropout(p).build(0).unwrap_err().to_string();
        assert!(message.starts_with("drop1: ") && message.contains(&format!("{p}")), "{message}");
    }
}
