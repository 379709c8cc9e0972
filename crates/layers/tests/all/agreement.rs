//! Ways to compute the same: dense as convolution, `f32` as `f64`, any batch, any number of threads.

use crate::common::{integers, normal};
use layers::{
    Activate, Activation, AvgPool2d, BatchNorm2d, Conv2d, Dense, Dropout, Flatten, Layer, MaxPool2d, Phase, Scalar,
    Solo, random::Key,
};
use ndarray::{Array, Dimension, Ix2, Ix4, s};

/// Output, input gradient and parameter gradients.
type Results<T, L> = (Array<T, <L as Layer<T>>::Out>, Array<T, <L as Layer<T>>::In>, Vec<T>);

const SAMPLES: [u64; 8] = [3, 1, 4, 15, 9, 2, 6, 5];

fn training(samples: &[u64]) -> Phase<'_> {
    Phase::Train { key: Key::new(7), epoch: 2, samples }
}

/// One pass there and back, in training, with parameters and gradients from `draw`.
fn pass<T: Scalar, L: Layer<T>>(layer: L, x: &Array<T, L::In>, draw: fn(usize, u64) -> Vec<f64>) -> Results<T, L> {
    let batch = x.shape()[0];
    let mut layer = Solo::new(layer, &x.shape()[1..], 0).expect("the layer's own shape");
    let of = |values: Vec<f64>| values.into_iter().map(T::of);
    let drawn = of(draw(layer.params().values().len(), 10));
    layer.params_mut().values_mut().iter_mut().zip(drawn).for_each(|(param, value)| *param = value);
    let y = layer.forward_in(x, training(&SAMPLES[..batch])).expect("the layer's own shape");
    let mut dy = y.clone();
    dy.iter_mut().zip(of(draw(y.len(), 11))).for_each(|(dy, value)| *dy = value);
    let dx = layer.backward(&dy).expect("the output's shape");
    (y, dx, layer.grads().tensors().flat_map(|tensor| tensor.values.to_vec()).collect())
}

fn normal_list(len: usize, seed: u64) -> Vec<f64> {
    normal::<f64, _>(len, seed).to_vec()
}

fn integer_list(len: usize, seed: u64) -> Vec<f64> {
    integers::<f64, _>(len, seed).to_vec()
}

fn error(narrow: impl Iterator<Item = f32>, wide: impl Iterator<Item = f64>) -> f64 {
    let (off, size) = narrow
        .zip(wide)
        .fold((0.0, 0.0), |(off, size), (narrow, wide)| (off + (f64::from(narrow) - wide).powi(2), size + wide * wide));
    (off / f64::max(size, f64::MIN_POSITIVE)).sqrt()
}

/// By norm, 10⁻⁵ on random numbers.
fn agree<L32: Layer<f32>, L64: Layer<f64, In = L32::In, Out = L32::Out>>(
    narrow: L32,
    wide: L64,
    x: &Array<f64, L64::In>,
) {
    let kind = wide.kind();
    let (y32, dx32, g32) = pass(narrow, &x.mapv(|v| v as f32), normal_list);
    let (y, dx, g) = pass(wide, &x.mapv(|v| f64::from(v as f32)), normal_list);
    let of_grads = error(g32.into_iter(), g.into_iter());
    for error in [error(y32.into_iter(), y.into_iter()), error(dx32.into_iter(), dx.into_iter()), of_grads] {
        assert!(error < 1e-5, "{kind}: {error:e}");
    }
}

#[test]
fn f32_agrees_with_f64() {
    let input = [4, 9, 8];
    let images = normal((3, 4, 9, 8), 1);
    let conv = || Conv2d::new(input, 6, 3).stride(2).padding(1).groups(2).activation(Activation::Tanh);
    agree(conv().build().unwrap(), conv().build().unwrap(), &images);
    let max = || MaxPool2d::new(input, 3).stride(2).build().unwrap();
    agree(max(), max(), &images);
    let average = || AvgPool2d::new(input, 3).stride(2).build().unwrap();
    agree(average(), average(), &images);
    let norm = || BatchNorm2d::new(input).build().unwrap();
    agree(norm(), norm(), &images);
    // far from zero, where a one-pass variance in f32 would have no digit left
    agree(norm(), norm(), &(images.clone() + 1000.0));
    let norm = || BatchNorm2d::new(input).activation(Activation::Relu).build().unwrap();
    agree(norm(), norm(), &images);
    agree(Flatten::new(), Flatten::new(), &images);
    let drop = || Dropout::<Ix4>::new(0.3).unwrap();
    agree(drop(), drop(), &images);
    let vectors = normal((5, 40), 2);
    let dense = || Dense::new(40, 30).activation(Activation::Sigmoid);
    agree(dense().build().unwrap(), dense().build().unwrap(), &vectors);
    for activation in [Activation::Sigmoid, Activation::Tanh, Activation::Relu, Activation::LeakyRelu { slope: 0.1 }] {
        agree(Activate::<Ix2>::new(activation), Activate::<Ix2>::new(activation), &vectors);
    }
}

/// Bit for bit on small integers, whose sums are exact in `f32`.
fn agree_exactly<L32: Layer<f32>, L64: Layer<f64, In = L32::In, Out = L32::Out>>(narrow: L32, wide: L64, dim: L64::In) {
    let (y32, dx32, g32) = pass(narrow, &integers(dim.clone(), 1), integer_list);
    let (y, dx, g) = pass(wide, &integers(dim, 1), integer_list);
    assert_eq!(y32.mapv(f64::from), y);
    assert_eq!(dx32.mapv(f64::from), dx);
    assert_eq!(g32.into_iter().map(f64::from).collect::<Vec<_>>(), g);
}

#[test]
fn f32_is_exact_on_integers() {
    let dim = Ix4(3, 4, 10, 9);
    let conv = || Conv2d::new([4, 10, 9], 6, 3).padding([2, 1]).dilation(2).activation(Activation::Relu);
    agree_exactly(conv().build().unwrap(), conv().build().unwrap(), dim);
    let dense = || Dense::new(90, 20).activation(Activation::Relu);
    agree_exactly(dense().build().unwrap(), dense().build().unwrap(), Ix2(6, 90));
    let max = || MaxPool2d::new([4, 10, 9], 3).stride(1).build().unwrap();
    agree_exactly(max(), max(), dim);
    // windows of four pixels: quarters are exact
    let average = || AvgPool2d::new([4, 10, 9], 2).stride(1).build().unwrap();
    agree_exactly(average(), average(), dim);
}

/// The article: "we can also implement this as a convolutional layer where each feature map is a 1×1 matrix".
#[test]
fn dense_is_a_convolution_with_maps_of_one_pixel() {
    let (batch, c, h, w, outputs) = (5, 3, 4, 6, 7);
    let images = normal::<f64, _>((batch, c, h, w), 1);
    let conv = Conv2d::new([c, h, w], outputs, [h, w]).activation(Activation::Sigmoid).build().unwrap();
    let mut conv = Solo::new(conv, &[c, h, w], 0).unwrap();
    let dense = Dense::new(c * h * w, outputs).activation(Activation::Sigmoid).build().unwrap();
    let mut dense = Solo::new(dense, &[c * h * w], 0).unwrap();
    conv.params_mut().set("bias", &normal::<f64, _>(outputs, 2).into_dyn()).unwrap();
    dense.params_mut().set("bias", &conv.params().tensor("bias").unwrap().to_owned()).unwrap();
    let weight = conv.params().tensor("weight").unwrap().to_owned();
    dense.params_mut().set("weight", &weight.into_shape_with_order((outputs, c * h * w)).unwrap().into_dyn()).unwrap();

    let y = conv.forward(&images).unwrap();
    let rows = dense.forward(&images.clone().into_shape_with_order((batch, c * h * w)).unwrap()).unwrap();
    assert_eq!(y.dim(), (batch, outputs, 1, 1));
    close(&y, &rows);
    let dy = normal::<f64, _>((batch, outputs), 3);
    let dx = conv.backward(&dy.clone().into_shape_with_order((batch, outputs, 1, 1)).unwrap()).unwrap();
    close(&dx, &dense.backward(&dy).unwrap());
    for name in ["weight", "bias"] {
        close(&conv.grads().tensor(name).unwrap().to_owned(), &dense.grads().tensor(name).unwrap().to_owned());
    }
}

/// Equal but for the order of the sums.
fn close<A: Dimension, B: Dimension>(a: &Array<f64, A>, b: &Array<f64, B>) {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-13 * (1.0 + b.abs())));
}

/// What one sample gives does not depend on the batch that it came in; dropout's masks included.
#[test]
fn a_sample_is_the_same_in_any_batch() {
    fn check<L: Layer<f32, In = Ix4>>(layer: L) {
        let x = normal::<f32, _>((6, 4, 9, 9), 1);
        let mut layer = Solo::new(layer, &[4, 9, 9], 0).unwrap();
        let whole = layer.forward_in(&x, training(&SAMPLES[..6])).unwrap();
        let part = layer.forward_in(&x.slice(s![2..5, .., .., ..]), training(&SAMPLES[2..5])).unwrap();
        let sample = part.len() / 3;
        let (whole, part) = (whole.as_slice().unwrap(), part.as_slice().unwrap());
        assert_eq!(whole[2 * sample..5 * sample], *part, "{}", layer.layer().kind());
    }
    check(Conv2d::new([4, 9, 9], 8, 3).build().unwrap());
    check(MaxPool2d::new([4, 9, 9], 2).build().unwrap());
    check(AvgPool2d::new([4, 9, 9], 2).build().unwrap());
    check(Dropout::<Ix4>::new(0.5).unwrap());
    check(Flatten::new());
}

/// Large enough to be cut among threads.
#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let run = || {
        let x = normal::<f32, _>((8, 16, 24, 24), 1);
        let conv = Conv2d::new([16, 24, 24], 32, 5).activation(Activation::Relu).build().unwrap();
        let (y, dx, dw) = pass(conv, &x, normal_list);
        let (normed, _, dnorm) = pass(BatchNorm2d::new([32, 20, 20]).build().unwrap(), &y, normal_list);
        let (pooled, _, _) = pass(MaxPool2d::new([32, 20, 20], 2).build().unwrap(), &normed, normal_list);
        let rows = pooled.into_shape_with_order((8, 3200)).unwrap();
        let (out, drows, ddense) = pass(Dense::new(3200, 300).build().unwrap(), &rows, normal_list);
        [
            dx.into_raw_vec_and_offset().0,
            dw,
            dnorm,
            out.into_raw_vec_and_offset().0,
            drows.into_raw_vec_and_offset().0,
            ddense,
        ]
    };
    let one = conv_kernels::pool(1).unwrap().install(run);
    for threads in [2, 3, 8] {
        let many = conv_kernels::pool(threads).unwrap().install(run);
        for (one, many) in one.iter().zip(&many) {
            assert!(one.iter().zip(many).all(|(a, b)| a.to_bits() == b.to_bits()), "{threads} threads differ from one");
        }
    }
}

/// A pooling that a convolution takes in changes no bit of what the two compute, but for the bias gradient, which leaves out zeros.
#[test]
fn a_convolution_takes_in_its_pooling() {
    let input = [3, 9, 8];
    let conv = Conv2d::new(input, 6, 3).activation(Activation::Sigmoid).build::<f64>().unwrap();
    let pool = |size: usize, stride: usize| MaxPool2d::new([6, 7, 6], size).stride(stride).build().unwrap();
    let fused = conv.fuse(&pool(2, 2)).unwrap();
    assert_eq!(fused.describe(), "6 maps 3x3, sigmoid, max 2x2");
    assert!(conv.fuse(&pool(3, 3)).is_none() && conv.fuse(&pool(2, 1)).is_none(), "other windows");
    assert!(fused.fuse(&pool(2, 2)).is_none(), "a second pooling");
    assert!(conv.fuse(&Flatten::new()).is_none());

    let mut fused = Solo::new(fused, &input, 1).unwrap();
    let mut conv = Solo::new(conv, &input, 1).unwrap();
    let mut pool = Solo::<f64, _>::new(pool(2, 2), &[6, 7, 6], 1).unwrap();
    let x = normal([5, 3, 9, 8], 2);
    let y = pool.forward(&conv.forward(&x).unwrap()).unwrap();
    assert_eq!(fused.forward(&x).unwrap(), y);
    let dy = normal(y.raw_dim(), 3);
    let dx = conv.backward(&pool.backward(&dy).unwrap()).unwrap();
    assert_eq!(fused.backward(&dy).unwrap(), dx);
    let [(weight, bias), (expected_weight, expected_bias)] =
        [fused.grads(), conv.grads()].map(|grads| grads.values().split_at(6 * 3 * 9));
    assert_eq!(weight, expected_weight);
    assert!(bias.iter().zip(expected_bias).all(|(db, expected)| (db - expected).abs() < 1e-14), "{bias:?}");
}
