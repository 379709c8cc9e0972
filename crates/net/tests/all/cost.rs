//! Costs against published numbers, PyTorch, central differences, and extreme outputs.

use layers::Scalar;
use ndarray::{Array2, ArrayView2, array};
use net::cost::{Cost, CrossEntropy, MeanSquaredError, Quadratic, SigmoidCrossEntropy, SoftmaxCrossEntropy, Targets};
use proptest::prelude::*;

fn evaluate<T: Scalar>(cost: &dyn Cost<T>, outputs: &Array2<T>, targets: Targets<'_, T>) -> (f64, Array2<T>) {
    let mut gradient = Array2::from_elem(outputs.raw_dim(), T::nan());
    let value = cost.evaluate(outputs.view(), targets, gradient.view_mut());
    assert_eq!(value.to_bits(), cost.value(outputs.view(), targets).to_bits(), "evaluate and value agree");
    (value, gradient)
}

#[track_caller]
fn assert_close(got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len());
    for (g, e) in got.iter().zip(expected) {
        assert!((g - e).abs() <= tolerance * e.abs().max(1e-3), "{got:?} is not {expected:?}");
    }
}

fn sigmoid<T: Scalar>(z: T) -> T {
    T::one() / (T::one() + (-z).exp())
}

/// What the article's companions computed; see the generator beside the file.
fn golden(example: &str) -> serde_json::Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../conv-kernels/tests/golden/seed_golden.json");
    let text = std::fs::read_to_string(path).expect("the golden values are part of the workspace");
    let all: serde_json::Value = serde_json::from_str(&text).expect("the golden values are JSON");
    all["companions"][example].clone()
}

#[test]
fn quadratic_costs_give_the_numbers_of_the_primer() {
    for (example, cost) in
        [("primer_1_1_1", &Quadratic as &dyn Cost<f64>), ("pytorch_hello_world_1_1_1", &MeanSquaredError)]
    {
        let golden = golden(example);
        let a = golden["a_l2"].as_f64().unwrap();
        let (value, gradient) = evaluate(cost, &array![[a]], Targets::Values(array![[1.0]].view()));
        let bias_gradient = gradient[[0, 0]] * a * (1.0 - a);
        assert_close(&[bias_gradient], &[golden["dc_db_l2"].as_f64().unwrap()], 1e-14);
        if example == "primer_1_1_1" {
            assert_close(&[value], &[golden["cost"].as_f64().unwrap()], 1e-14);
        }
    }
}

#[test]
fn softmax_gives_the_numbers_of_the_companion() {
    let golden = golden("softmax_cross_entropy");
    let numbers =
        |of: &str| -> Vec<f64> { golden[of]["data"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect() };
    let outputs = Array2::from_shape_vec((1, 3), numbers("output")).unwrap();
    let class = golden["target"].as_u64().unwrap() as u8;
    let (value, gradient) = evaluate(&SoftmaxCrossEntropy::new(), &outputs, Targets::Classes(&[class]));
    assert_close(&[value], &[golden["loss"].as_f64().unwrap()], 1e-14);
    assert_close(gradient.as_slice().unwrap(), &numbers("gradient"), 1e-14);
}

/// Produced by PyTorch 2.15, float64:
/// ```python
/// z = tensor([[0.2, -1.5, 3.0], [2.0, 0.5, -0.25]], requires_grad=True)
/// y, t = tensor([2, 1]), tensor([[0.2, 0.3, 0.5], [0.9, 0.1, 0.0]])
/// F.cross_entropy(z, y)                       F.cross_entropy(z, y, label_smoothing=0.1)
/// F.cross_entropy(z, t, label_smoothing=0.1)  F.mse_loss(z, t)
/// F.binary_cross_entropy_with_logits(z, t, reduction='sum') / 2
/// F.binary_cross_entropy(sigmoid(z.detach()).requires_grad_(), t, reduction='sum') / 2
/// ```
#[test]
fn costs_agree_with_pytorch() {
    let z = array![[0.2, -1.5, 3.0], [2.0, 0.5, -0.25]];
    let t = array![[0.2, 0.3, 0.5], [0.9, 0.1, 0.0]];
    let (classes, values) = (Targets::Classes(&[2, 1]), Targets::Values(t.view()));
    let smooth = SoftmaxCrossEntropy::new().label_smoothing(0.1).unwrap();
    let check = |cost: &dyn Cost<f64>, outputs: &Array2<f64>, targets, value: f64, gradient: [f64; 6]| {
        let got = evaluate(cost, outputs, targets);
        assert_close(&[got.0], &[value], 1e-13);
        assert_close(got.1.as_slice().unwrap(), &gradient, 1e-12);
    };
    check(
        &SoftmaxCrossEntropy::new(),
        &z,
        classes,
        0.9267615799862375,
        [
            0.028365044032650638,
            0.005181826203795607,
            -0.0335468702364462,
            0.3763559961521156,
            -0.4160236263057566,
            0.039667630153640984,
        ],
    );
    check(
        &smooth,
        &z,
        classes,
        1.0359282466529043,
        [
            0.011698377365983972,
            -0.01148484046287106,
            -0.00021353690311287643,
            0.35968932948544896,
            -0.3826902929724233,
            0.023000963486974318,
        ],
    );
    check(
        &smooth,
        &z,
        values,
        1.2879282466529043,
        [
            -0.07830162263401604,
            -0.14648484046287105,
            0.22478646309688713,
            -0.04531067051455098,
            0.022309707027576748,
            0.023000963486974328,
        ],
    );
    check(
        &SigmoidCrossEntropy,
        &z,
        values,
        2.3925419570200046,
        [
            0.17491699865623897,
            -0.05878723809682182,
            0.22628706341121668,
            -0.009601461011058854,
            0.2612296656009273,
            0.21891174955710097,
        ],
    );
    check(
        &CrossEntropy,
        &z.mapv(sigmoid),
        values,
        2.3925419570200055,
        [
            0.7066880279562698,
            -0.3941578044987592,
            5.008937463704967,
            -0.09144807250994384,
            1.111598038829426,
            0.8894003915357025,
        ],
    );
    check(
        &MeanSquaredError,
        &z,
        values,
        1.8204166666666668,
        [0.0, -0.6, 0.8333333333333333, 0.3666666666666667, 0.13333333333333333, -0.08333333333333333],
    );
}

/// ‖analytic − numeric‖ / (‖analytic‖ + ‖numeric‖), by central differences; `None` where the gradient is so small that the
/// comparison would prove nothing.
fn gradient_error(cost: &dyn Cost<f64>, outputs: &Array2<f64>, targets: Targets<'_, f64>) -> Option<f64> {
    const STEP: f64 = 1e-5;
    let (_, analytic) = evaluate(cost, outputs, targets);
    let mut numeric = Array2::zeros(outputs.raw_dim());
    for (at, &a) in outputs.indexed_iter() {
        let value = |a: f64| {
            let mut moved = outputs.clone();
            moved[at] = a;
            cost.value(moved.view(), targets)
        };
        numeric[at] = (value(a + STEP) - value(a - STEP)) / (2.0 * STEP);
    }
    let norm = |a: ArrayView2<'_, f64>| a.iter().map(|v| v * v).sum::<f64>().sqrt();
    let error = norm((&analytic - &numeric).view()) / (norm(analytic.view()) + norm(numeric.view()));
    (norm(numeric.view()) > 1e-2).then_some(error)
}

/// Logits, target values in [0, 1] that sum to anything, and classes, for up to 4 samples and 2 to 6 outputs.
fn batch() -> impl Strategy<Value = (Array2<f64>, Array2<f64>, Vec<u8>)> {
    (1..5usize, 2..7usize).prop_flat_map(|(n, k)| {
        let logits = prop::collection::vec(-3.0..3.0, n * k);
        let values = prop::collection::vec(0.0..1.0, n * k);
        let classes = prop::collection::vec(0..k as u8, n);
        (logits, values, classes).prop_map(move |(logits, values, classes)| {
            let matrix = |data| Array2::from_shape_vec((n, k), data).unwrap();
            (matrix(logits), matrix(values), classes)
        })
    })
}

proptest! {
    #[test]
    fn gradients_equal_central_differences((logits, values, classes) in batch(), smoothing in 0.0..0.5) {
        let smooth = SoftmaxCrossEntropy::new().label_smoothing(smoothing).unwrap();
        let (on_sigmoids, sigmoids): (&dyn Cost<f64>, _) = (&CrossEntropy, logits.mapv(sigmoid));
        for targets in [Targets::Classes(&classes), Targets::Values(values.view())] {
            let on_logits: [&dyn Cost<f64>; 4] = [&Quadratic, &MeanSquaredError, &SigmoidCrossEntropy, &smooth];
            for (cost, outputs) in on_logits.map(|cost| (cost, &logits)).into_iter().chain([(on_sigmoids, &sigmoids)]) {
                let error = gradient_error(cost, outputs, targets);
                prop_assume!(error.is_some());
                prop_assert!(error <= Some(1e-6), "{}: {error:?}", cost.describe());
            }
        }
    }

    #[test]
    fn cross_entropy_of_a_sigmoid_is_sigmoid_cross_entropy((logits, values, _) in batch()) {
        let a = logits.mapv(sigmoid);
        let (on_outputs, through_a) = evaluate(&CrossEntropy, &a, Targets::Values(values.view()));
        let (on_logits, expected) = evaluate(&SigmoidCrossEntropy, &logits, Targets::Values(values.view()));
        prop_assert!((on_outputs - on_logits).abs() <= 1e-12 * on_logits.max(1.0));
        for ((&through, &a), &direct) in through_a.iter().zip(&a).zip(&expected) {
            prop_assert!((through * a * (1.0 - a) - direct).abs() <= 1e-12);
        }
    }

    #[test]
    fn softmax_pushes_some_logits_up_as_much_as_others_down((logits, _, classes) in batch()) {
        let (value, gradient) = evaluate(&SoftmaxCrossEntropy::new(), &logits, Targets::Classes(&classes));
        prop_assert!(value > 0.0);
        for (row, &class) in gradient.rows().into_iter().zip(&classes) {
            prop_assert!(row.sum().abs() < 1e-15 && row[usize::from(class)] < 0.0);
        }
    }
}

/// Outputs from −10³⁸ to 10³⁸ in f32: costs are finite, gradients are what the limit says.
#[test]
fn extreme_logits_stay_finite() {
    let logits = array![[1e38_f32, -1e38, 0.0], [-1e38, 1e38, 0.0], [1e38, 1e38, 1e38], [-1e38, -1e38, -1e38]];
    let targets = Targets::Classes(&[0, 0, 1, 2]);

    let (value, gradient) = evaluate(&SoftmaxCrossEntropy::new(), &logits, targets);
    assert_close(&[value], &[0.5e38], 1e-6); // sample 1 pays 2·10³⁸; the others 0, ln 3, ln 3
    assert_close(&gradient.row(1).mapv(f64::from).to_vec(), &[-0.25, 0.25, 0.0], 1e-6);
    assert_close(&gradient.row(2).mapv(f64::from).to_vec(), &[1.0 / 12.0, -2.0 / 12.0, 1.0 / 12.0], 1e-6);
    assert!(gradient.row(0).iter().all(|&g| g == 0.0));

    let (value, gradient) = evaluate(&SigmoidCrossEntropy, &logits, targets);
    assert!(value.is_finite());
    assert_close(&gradient.row(1).mapv(f64::from).to_vec(), &[-0.25, 0.25, 0.125], 1e-6);

    for cost in [&Quadratic as &dyn Cost<f32>, &MeanSquaredError] {
        let (value, gradient) = evaluate(cost, &logits, targets);
        assert!(value.is_finite() && gradient.iter().all(|g| g.is_finite()));
    }
}

#[test]
fn saturated_sigmoids_never_give_nan() {
    // z = −104, −95, −87, −40, 0, 15, 16, 17, 88: a is 0, subnormal, …, one rounding below 1, and exactly 1
    let logits = [-104.0_f32, -95.0, -87.0, -40.0, 0.0, 15.0, 16.0, 17.0, 88.0];
    for z in logits {
        let a = if z < 0.0 { z.exp() / (1.0 + z.exp()) } else { sigmoid(z) };
        for y in [0.0, 1.0] {
            let (value, gradient) = evaluate(&CrossEntropy, &array![[a]], Targets::Values(array![[y]].view()));
            assert!(value.is_finite() && gradient[[0, 0]].is_finite(), "a = {a}, y = {y}");
            let through = gradient[[0, 0]] * (a * (1.0 - a));
            let normal = (f32::MIN_POSITIVE..1.0).contains(&a);
            let expected = if normal { a - y } else { through.clamp(-1.0, 1.0) };
            assert!((through - expected).abs() <= 1e-6, "a = {a}, y = {y}: {through} is not {expected}");
        }
    }
    // a wrong answer of exactly 1 or 0 costs −ln of the smallest normal number
    let exact = |a: f32, y: f32| evaluate(&CrossEntropy, &array![[a]], Targets::Values(array![[y]].view())).0;
    assert_close(&[exact(1.0, 0.0), exact(0.0, 1.0)], &[87.33654475055312; 2], 1e-12);
    assert_eq!([exact(1.0, 1.0), exact(0.0, 0.0)], [0.0, 0.0]);
}

#[test]
fn what_is_not_a_number_is_not_hidden() {
    let costs: [&dyn Cost<f32>; 5] =
        [&Quadratic, &MeanSquaredError, &CrossEntropy, &SigmoidCrossEntropy, &SoftmaxCrossEntropy::new()];
    for cost in costs {
        for class in [0, 1] {
            let (value, gradient) = evaluate(cost, &array![[f32::NAN, 0.5]], Targets::Classes(&[class]));
            assert!(value.is_nan() && gradient[[0, 0]].is_nan(), "{}", cost.name());
        }
    }
    for outside in [-0.1, 1.1, f32::INFINITY] {
        assert!(evaluate(&CrossEntropy, &array![[outside]], Targets::Classes(&[0])).0.is_nan());
    }
}

#[test]
fn an_empty_batch_costs_nothing() {
    let costs: [&dyn Cost<f64>; 5] =
        [&Quadratic, &MeanSquaredError, &CrossEntropy, &SigmoidCrossEntropy, &SoftmaxCrossEntropy::new()];
    for cost in costs {
        assert_eq!(evaluate(cost, &Array2::zeros((0, 10)), Targets::Classes(&[])).0, 0.0);
    }
    assert!(Targets::<f32>::Classes(&[]).is_empty());
}

#[test]
fn label_smoothing_out_of_range_is_refused() {
    for (share, got) in [(-0.1, "-0.1"), (1.0, "1"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        let error = SoftmaxCrossEntropy::new().label_smoothing(share).unwrap_err();
        let expected = format!("label smoothing must be at least 0 and below 1 (got {got}): 0.1 is usual, 0 is none");
        assert_eq!(error.to_string(), expected);
    }
    let smooth = SoftmaxCrossEntropy::new().label_smoothing(0.1).unwrap();
    assert_eq!(Cost::<f32>::describe(&smooth), "softmax-cross-entropy label-smoothing 0.1");
}
