//! Negative controls: wrong backward passes that a gradient check must not pass, and the right one, which it must.

use crate::common::normal;
use layers::{
    Activation, Conv2d, Layer, LayerError, Pass, Phase, Solo, State, TensorSpec,
    gradcheck::{Options, Verdict, gradcheck},
    random::Stream,
};
use ndarray::{ArrayView2, ArrayViewMut2, Ix2, array};

/// `y = w·x + b·x²` with learnt numbers w and b, and a backward pass with a fault of choice.
#[derive(Debug)]
struct Faulty(Fault);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Zeros,
    OnePercent,
    ForgetsTerm,
    ForgetsParameter,
    Overwrites,
    NotFinite,
}

impl Layer<f64> for Faulty {
    type In = Ix2;
    type Out = Ix2;
    type Memo = ();

    fn kind(&self) -> &'static str {
        "faulty"
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
        Ok(input.to_vec())
    }

    fn params(&self) -> Vec<TensorSpec> {
        vec![TensorSpec::weight("w", &[1]), TensorSpec::weight("b", &[1])]
    }

    fn init(&self, params: &mut [f64], _: &mut Stream) {
        let [w, b] = layers::split_mut(params, [1, 1]);
        (w[0], b[0]) = (0.7, -1.3);
    }

    fn memo(&self, _: &Ix2) {}

    fn forward(
        &self,
        state: State<'_, f64>,
        x: ArrayView2<'_, f64>,
        mut y: ArrayViewMut2<'_, f64>,
        (): &mut (),
        _: Phase<'_>,
    ) {
        let [w, b] = layers::split(state.params, [1, 1]);
        y.zip_mut_with(&x, |y, x| *y = w[0] * x + b[0] * x * x);
    }

    fn backward(
        &self,
        state: State<'_, f64>,
        pass: Pass<'_, f64, Self>,
        dx: Option<ArrayViewMut2<'_, f64>>,
        grads: &mut [f64],
    ) {
        if self.0 == Fault::Zeros {
            return;
        }
        let [w, b] = layers::split(state.params, [1, 1]);
        let [dw, db] = layers::split_mut(grads, [1, 1]);
        let scale = if self.0 == Fault::OnePercent { 1.01 } else { 1.0 };
        dw[0] += scale * (&pass.dy * &pass.x).sum();
        if self.0 != Fault::ForgetsParameter {
            db[0] += scale * (&pass.dy * &pass.x * pass.x).sum();
        }
        let mut dx = dx.expect("gradcheck asks for it");
        match self.0 {
            Fault::ForgetsTerm => dx.assign(&(w[0] * &pass.dy)),
            Fault::NotFinite => dx.fill(f64::NAN),
            _ => dx.assign(&(scale * &pass.dy * &(w[0] + 2.0 * b[0] * &pass.x))),
        }
        if self.0 == Fault::Overwrites {
            dw[0] = pass.dy.sum();
        }
    }
}

/// The verdicts on x, w and b.
fn verdicts(fault: Fault) -> [Verdict; 3] {
    let mut layer = Solo::new(Faulty(fault), &[4], 0).expect("any vector will do");
    let report = gradcheck(&mut layer, &normal((3, 4), 5), &Options::default()).expect("the shape is right");
    assert_eq!(report.passed(), fault == Fault::None, "{fault:?}\n{report}");
    assert_eq!(report.clone().into_result().is_ok(), fault == Fault::None);
    [0, 1, 2].map(|i| report.tensors()[i].verdict)
}

#[test]
fn only_the_right_backward_passes() {
    use Verdict::{Failed, Passed};
    assert_eq!(verdicts(Fault::None), [Passed, Passed, Passed]);
    assert_eq!(verdicts(Fault::Zeros), [Failed, Failed, Failed]);
    assert_eq!(verdicts(Fault::OnePercent), [Failed, Failed, Failed]);
    assert_eq!(verdicts(Fault::ForgetsTerm), [Failed, Passed, Passed]);
    assert_eq!(verdicts(Fault::ForgetsParameter), [Passed, Passed, Failed]);
    assert_eq!(verdicts(Fault::Overwrites), [Passed, Failed, Passed]);
    assert_eq!(verdicts(Fault::NotFinite), [Failed, Passed, Passed]);
}

#[test]
fn the_error_names_tensor_and_element() {
    let mut layer = Solo::new(Faulty(Fault::ForgetsParameter), &[1], 0).expect("any vector will do");
    let report = gradcheck(&mut layer, &array![[2.0]], &Options::default()).expect("the shape is right");
    let table = report.to_string();
    assert!(table.contains("FAILED") && table.contains("passed") && table.contains("0 of 1"), "{table}");
    let message = report.into_result().expect_err("b is wrong").to_string();
    assert!(
        message.starts_with("the gradient of b is off by 1.0e0; most at element 0: 0.000000e0, where"),
        "{message}"
    );
}

/// The article's demo: integer pixels up to 19 saturate every neuron, so that next to nothing comes back.
#[test]
fn saturated_neurons_prove_nothing() {
    let conv = Conv2d::new([1, 4, 5], 1, 2).activation(Activation::Sigmoid).build().expect("the kernel fits");
    let mut map = Solo::<f64, _>::new(conv, &[1, 4, 5], 0).expect("its own shape");
    let weight = array![[[[1.764052345967664, 0.4001572083672233], [0.9787379841057392, 2.240893199201458]]]];
    map.params_mut().set("weight", &weight.into_dyn()).expect("the same shape");
    let x = ndarray::Array4::from_shape_fn((1, 1, 4, 5), |(_, _, row, column)| (5 * row + column) as f64 + 1.0);
    let report = gradcheck(&mut map, &x, &Options::default()).expect("the shape is right");
    assert!(report.tensors().iter().all(|tensor| tensor.verdict == Verdict::Unchecked), "{report}");
    let message = report.into_result().expect_err("unchecked is no pass").to_string();
    assert!(message.starts_with("the gradient of x is unchecked: its norm"), "{message}");
}

#[test]
fn nothing_is_changed() {
    let mut layer =
        Solo::<f64, _>::new(layers::BatchNorm2d::new([2, 2, 2]).build().expect("sizes"), &[2, 2, 2], 0).expect("shape");
    let before = (layer.params().clone(), layer.buffers().clone());
    let phase = Phase::Train { key: layers::random::Key::new(0), epoch: 0, samples: &[0, 1, 2] };
    let report = gradcheck(&mut layer, &normal((3, 2, 2, 2), 1), &Options { phase, ..Options::default() });
    assert!(report.expect("the shape is right").passed());
    assert_eq!((layer.params().values(), layer.buffers().values()), (before.0.values(), before.1.values()));
    assert!(layer.grads().values().iter().all(|&g| g == 0.0));
}

#[test]
fn a_wrong_shape_is_refused() {
    let mut layer = Solo::new(Faulty(Fault::None), &[4], 0).expect("any vector will do");
    let error = gradcheck(&mut layer, &normal((3, 5), 5), &Options::default()).expect_err("5 is not 4");
    assert_eq!(error.to_string(), "the input must have the shape (3, 4); it has (3, 5)");
}
