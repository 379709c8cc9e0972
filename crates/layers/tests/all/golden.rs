//! The article's own listing, run in Python: forward, gradients and updated parameters.
//!
//! Where neurons are not saturated the numbers agree to 10⁻¹² of their size. Where they are, the listing's
//! `sigmoid(z)*(1-sigmoid(z))` cancels, and its own numbers are right to about 10⁻¹⁵ only.

use layers::{Activation, Conv2d, Dense, Layer, MaxPool2d, Solo};
use ndarray::{Array, Array1, ArrayD, Axis, Dimension, IxDyn};
use serde_json::Value;

fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../conv-kernels/tests/golden/seed_golden.json");
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).expect("the golden file is JSON")
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("no list {name}"))
}

fn sizes(value: &Value) -> Vec<usize> {
    list_of(value).map(|v| v as usize).collect()
}

fn list_of(value: &Value) -> impl Iterator<Item = f64> {
    value.as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number"))
}

/// An array of the file, in its own shape.
fn array(value: &Value) -> ArrayD<f64> {
    ArrayD::from_shape_vec(IxDyn(&sizes(&value["shape"])), list_of(&value["data"]).collect())
        .expect("shape and data agree")
}

/// An array of the file, in the shape that a layer wants.
fn shaped<D: Dimension>(value: &Value, shape: D) -> Array<f64, D> {
    array(value).into_shape_with_order(shape).expect("as many elements")
}

/// Within 10⁻¹² of the size, or within 10⁻¹⁵.
fn assert_close<D: Dimension>(what: &str, got: &Array<f64, D>, expected: &Value) {
    let expected = array(expected);
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, expected) in got.iter().zip(&expected) {
        let error = (got - expected).abs();
        assert!(error <= 1e-15_f64.max(1e-12 * expected.abs()), "{what}: {got:e} is not {expected:e}");
    }
}

fn tensor<L: Layer<f64>>(layer: &Solo<f64, L>, name: &str) -> ArrayD<f64> {
    layer.params().tensor(name).expect("a parameter").to_owned()
}

fn gradient<L: Layer<f64>>(layer: &Solo<f64, L>, name: &str) -> ArrayD<f64> {
    layer.grads().tensor(name).expect("a parameter").to_owned()
}

/// A convolution with the given input `(C, H, W)`, weights `(O, C, KH, KW)` and biases.
fn conv(input: [usize; 3], weight: ArrayD<f64>, bias: ArrayD<f64>, activation: Activation) -> Solo<f64, Conv2d<f64>> {
    let shape = weight.shape();
    let conv = Conv2d::new(input, shape[0], [shape[2], shape[3]]).activation(activation).build().expect("it fits");
    let mut conv = Solo::new(conv, &input, 0).expect("its own shape");
    conv.params_mut().set("weight", &weight).expect("the same shape");
    conv.params_mut().set("bias", &bias).expect("the same shape");
    conv
}

fn dense(weight: ArrayD<f64>, bias: ArrayD<f64>, activation: Activation) -> Solo<f64, Dense<f64>> {
    let (outputs, inputs) = (weight.shape()[0], weight.shape()[1]);
    let layer = Dense::new(inputs, outputs).activation(activation).build().expect("no size is zero");
    let mut layer = Solo::new(layer, &[inputs], 0).expect("its own shape");
    layer.params_mut().set("weight", &weight).expect("the same shape");
    let bias = bias.into_shape_with_order(outputs).expect("one for each output").into_dyn();
    layer.params_mut().set("bias", &bias).expect("the same shape");
    layer
}

/// One image of one channel, and one overlay.
fn feature_map(
    input: &Value,
    w: &Value,
    b: &Value,
    activation: Activation,
) -> (Solo<f64, Conv2d<f64>>, ndarray::Array4<f64>) {
    let [input_shape, overlay] = [input, w].map(|value| sizes(&value["shape"]));
    let weight = shaped(w, IxDyn(&[1, 1, overlay[0], overlay[1]]));
    let map = conv([1, input_shape[0], input_shape[1]], weight, shaped(b, IxDyn(&[1])), activation);
    (map, shaped(input, ndarray::Ix4(1, 1, input_shape[0], input_shape[1])))
}

#[test]
fn feature_maps() {
    let golden = golden();
    let cases = list(&golden, "feature_map");
    assert_eq!(cases.len(), 11);
    for case in cases {
        let name = case["name"].as_str().expect("a name");
        let (mut bare, x) = feature_map(&case["input"], &case["w"], &case["b"], Activation::Identity);
        assert_close(&format!("{name}: z"), &bare.forward(&x).expect("its shape"), &case["z"]);

        let (mut map, x) = feature_map(&case["input"], &case["w"], &case["b"], Activation::Sigmoid);
        let a = map.forward(&x).expect("its shape");
        assert_close(&format!("{name}: a"), &a, &case["a"]);
        let dx = map.backward(&shaped(&case["a_gradient"], a.raw_dim())).expect("the output's shape");
        assert_close(&format!("{name}: a_prev_gradient"), &dx, &case["a_prev_gradient"]);
        assert_close(&format!("{name}: w_gradient"), &gradient(&map, "weight"), &case["w_gradient"]);
        assert_close(&format!("{name}: b_gradient"), &gradient(&map, "bias"), &case["b_gradient"]);
        map.descend(case["step_size"].as_f64().expect("a number"));
        assert_close(&format!("{name}: w_after"), &tensor(&map, "weight"), &case["w_after"]);
        assert_close(&format!("{name}: b_after"), &tensor(&map, "bias"), &case["b_after"]);
    }
}

/// Values, gradient, and positions exactly.
fn check_max_pool(name: &str, case: &Value, input: &ArrayD<f64>, overlay: [usize; 2], a_gradient: &Value) {
    let [rows, columns] = [input.shape()[0], input.shape()[1]];
    let pool = MaxPool2d::new([1, rows, columns], overlay).stride(1).build().expect("it fits");
    let mut pool = Solo::<f64, _>::new(pool, &[1, rows, columns], 0).expect("its own shape");
    let x = input.clone().into_shape_with_order((1, 1, rows, columns)).expect("as many elements");
    let values = pool.forward(&x).expect("its shape");
    assert_close(&format!("{name}: values"), &values, &case["max_values"]);
    let expected = list(&case["max_positions"], "data").iter().map(sizes).map(|p| (p[0] * columns + p[1]) as u32);
    assert_eq!(pool.memo(), Some(&expected.collect()), "{name}: positions");
    let dx = pool.backward(&shaped(a_gradient, values.raw_dim())).expect("the output's shape");
    assert_close(&format!("{name}: a_prev_gradient"), &dx, &case["a_prev_gradient"]);
}

#[test]
fn max_pools() {
    let golden = golden();
    let cases = list(&golden, "max_pool");
    assert_eq!(cases.len(), 7);
    for case in cases {
        let overlay = sizes(&case["overlay"]);
        let name = case["name"].as_str().expect("a name");
        check_max_pool(name, case, &array(&case["input"]), [overlay[0], overlay[1]], &case["a_gradient"]);
    }
}

#[test]
fn fully_connected_layers() {
    let golden = golden();
    let cases = list(&golden, "fully_connected");
    assert_eq!(cases.len(), 3);
    for case in cases {
        let name = case["name"].as_str().expect("a name");
        let x = array(&case["input"]).flatten().insert_axis(Axis(0)).to_owned();
        let mut bare = dense(array(&case["w"]), array(&case["b"]), Activation::Identity);
        assert_close(&format!("{name}: z"), &bare.forward(&x).expect("its shape"), &case["z"]);

        let mut layer = dense(array(&case["w"]), array(&case["b"]), Activation::Sigmoid);
        let a = layer.forward(&x).expect("its shape");
        assert_close(&format!("{name}: a"), &a, &case["a"]);
        let dx = layer.backward(&shaped(&case["a_gradient"], a.raw_dim())).expect("the output's shape");
        assert_close(&format!("{name}: a_prev_gradient"), &dx, &case["a_prev_gradient"]);
        assert_close(&format!("{name}: w_gradient"), &gradient(&layer, "weight"), &case["w_gradient"]);
        assert_close(&format!("{name}: b_gradient"), &gradient(&layer, "bias"), &case["b_gradient"]);
        layer.descend(case["step_size"].as_f64().expect("a number"));
        assert_close(&format!("{name}: w_after"), &tensor(&layer, "weight"), &case["w_after"]);
        assert_close(&format!("{name}: b_after"), &tensor(&layer, "bias"), &case["b_after"]);
    }
}

/// Stacks of maps on stacks of maps, as the article's section "Chaining Convolutional Layers" has them.
#[test]
fn chained_feature_maps() {
    let golden = golden();
    let cases = list(&golden, "chained");
    assert_eq!(cases.len(), 3);
    for case in cases {
        let s = sizes(&case["x"]["shape"]);
        let x = shaped(&case["x"], ndarray::Ix4(1, s[0], s[1], s[2]));
        let make = |activation| conv([s[0], s[1], s[2]], array(&case["w"]), array(&case["b"]), activation);
        assert_close("z", &make(Activation::Identity).forward(&x).expect("its shape"), &case["z"]);
        let mut maps = make(Activation::Sigmoid);
        let a = maps.forward(&x).expect("its shape");
        assert_close("a", &a, &case["a"]);
        let dx = maps.backward(&shaped(&case["a_gradient"], a.raw_dim())).expect("the output's shape");
        assert_close("x_gradient", &dx, &case["x_gradient"]);
        assert_close("w_gradient", &gradient(&maps, "weight"), &case["w_gradient"]);
        assert_close("b_gradient", &gradient(&maps, "bias"), &case["b_gradient"]);
    }
}

/// The article's last fifteen lines.
#[test]
fn the_demo() {
    let golden = golden();
    let cases = list(&golden, "demo_verbatim");
    assert_eq!(cases.len(), 3);
    let input = ArrayD::from_shape_fn(IxDyn(&[4, 5]), |i| (5 * i[0] + i[1]) as f64);
    for case in cases {
        let (draws, expected) = (&case["draws"], &case["feature_map"]);
        let w = shaped(&draws["feature_map_w"], IxDyn(&[1, 1, 2, 2]));
        let x = input.clone().into_shape_with_order((1, 1, 4, 5)).expect("as many elements");
        let make = |activation| conv([1, 4, 5], w.clone(), shaped(&draws["feature_map_b"], IxDyn(&[1])), activation);
        assert_close("z", &make(Activation::Identity).forward(&x).expect("its shape"), &expected["z"]);
        let mut map = make(Activation::Sigmoid);
        let a = map.forward(&x).expect("its shape");
        assert_close("a", &a, &expected["a"]);
        let dx = map.backward(&shaped(&draws["feature_map_gradient"], a.raw_dim())).expect("the output's shape");
        assert_close("a_prev_gradient", &dx, &expected["a_prev_gradient"]);
        map.descend(0.1);
        assert_close("w_after", &tensor(&map, "weight"), &expected["w_after"]);
        assert_close("b_after", &tensor(&map, "bias"), &expected["b_after"]);

        #[rustfmt::skip]
        let pooled = [8., 0., 11., 1., 6., 10., 2., 4., 14., 17., 5., 16., 19., 15., 7., 12., 13., 9., 18., 3.];
        let pooled = ArrayD::from_shape_vec(IxDyn(&[4, 5]), pooled.to_vec()).expect("20 numbers");
        check_max_pool("demo", &case["max_pool"], &pooled, [2, 2], &draws["max_pool_gradient"]);

        let expected = &case["fully_connected"];
        let x = input.flatten().insert_axis(Axis(0)).to_owned();
        let make =
            |activation| dense(array(&draws["fully_connected_w"]), array(&draws["fully_connected_b"]), activation);
        assert_close("z", &make(Activation::Identity).forward(&x).expect("its shape"), &expected["z"]);
        let mut layer = make(Activation::Sigmoid);
        let a = layer.forward(&x).expect("its shape");
        assert_close("a", &a, &expected["a"]);
        let dx = layer.backward(&shaped(&draws["fully_connected_gradient"], a.raw_dim())).expect("the output's shape");
        assert_close("a_prev_gradient", &dx, &expected["a_prev_gradient"]);
        layer.descend(0.1);
        assert_close("w_after", &tensor(&layer, "weight"), &expected["w_after"]);
        assert_close("b_after", &tensor(&layer, "bias"), &expected["b_after"]);
    }
}

fn assert_number(name: &str, got: f64, expected: &Value) {
    let expected = expected[name].as_f64().unwrap_or_else(|| panic!("no number {name}"));
    assert!((got - expected).abs() <= 1e-14, "{name}: {got} is not {expected}");
}

/// Two chained neurons: the Neural Networks Primer (cost ½(a−y)²) and its PyTorch version (mean squared error, twice the gradient).
#[test]
fn two_chained_neurons() {
    let golden = golden();
    for (case, factor) in [("primer_1_1_1", 1.0), ("pytorch_hello_world_1_1_1", 2.0)] {
        let expected = &golden["companions"][case];
        let one = |w: f64, b: f64| {
            let w = ArrayD::from_elem(IxDyn(&[1, 1]), w);
            dense(w, Array1::from_elem(1, b).into_dyn(), Activation::Sigmoid)
        };
        let number = |array: &ArrayD<f64>| *array.first().expect("one number");
        let (mut l1, mut l2) = (one(1.58, -0.14), one(2.45, -0.11));
        let x = ndarray::array![[0.8]];
        let a1 = l1.forward(&x).expect("its shape");
        let a2 = l2.forward(&a1).expect("its shape");
        assert_number("a_l1", a1[[0, 0]], expected);
        assert_number("a_l2", a2[[0, 0]], expected);
        assert_number("cost", (a2[[0, 0]] - 1.0).powi(2) / 2.0, expected);
        let da1 = l2.backward(&a2.mapv(|a| factor * (a - 1.0))).expect("the output's shape");
        l1.backward(&da1).expect("the output's shape");
        assert_number("dc_da_l1", da1[[0, 0]], expected);
        for (layer, [db, dw, b, w]) in [
            (&mut l1, ["dc_db_l1", "dc_dw_l1", "updated_b_l1", "updated_w_l1"]),
            (&mut l2, ["dc_db_l2", "dc_dw_l2", "updated_b_l2", "updated_w_l2"]),
        ] {
            assert_number(db, number(&gradient(layer, "bias")), expected);
            assert_number(dw, number(&gradient(layer, "weight")), expected);
            layer.descend(0.1);
            assert_number(b, number(&tensor(layer, "bias")), expected);
            assert_number(w, number(&tensor(layer, "weight")), expected);
        }
        let a1 = l1.forward(&x).expect("its shape");
        let a2 = l2.forward(&a1).expect("its shape");
        assert_number("updated_a_l1", a1[[0, 0]], expected);
        assert_number("updated_a_l2", a2[[0, 0]], expected);
        assert_number("updated_cost", (a2[[0, 0]] - 1.0).powi(2) / 2.0, expected);
    }
}

/// The primer's network of 2, 3 and 2 neurons.
#[test]
fn primer_network() {
    let golden = golden();
    let case = &golden["companions"]["primer_2_3_2"];
    let row = |value: &Value| array(value).flatten().insert_axis(Axis(0)).to_owned();
    let layer = |i: usize, activation| dense(array(&case["w"][i]), array(&case["b"][i]), activation);
    let (mut l1, mut l2) = (layer(0, Activation::Sigmoid), layer(1, Activation::Sigmoid));
    let x = row(&case["input"]);
    let a1 = l1.forward(&x).expect("its shape");
    let a2 = l2.forward(&a1).expect("its shape");
    assert_close("z1", &layer(0, Activation::Identity).forward(&x).expect("its shape"), &case["z"][0]);
    assert_close("z2", &layer(1, Activation::Identity).forward(&a1).expect("its shape"), &case["z"][1]);
    assert_close("a1", &a1, &case["a"][0]);
    assert_close("a2", &a2, &case["a"][1]);
    let da1 = l2.backward(&(&a2 - &row(&case["y"]))).expect("the output's shape");
    l1.backward(&da1).expect("the output's shape");
    for (i, layer) in [&mut l1, &mut l2].into_iter().enumerate() {
        layer.descend(case["step_size"].as_f64().expect("a number"));
        assert_close("w_after", &tensor(layer, "weight"), &case["w_after"][i]);
        assert_close("b_after", &tensor(layer, "bias"), &case["b_after"][i]);
    }
}
