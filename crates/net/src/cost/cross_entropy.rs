//! The cross-entropy of independent yes-or-no outputs: of their sigmoids, or of the logits below.

use layers::Scalar;
use ndarray::{ArrayView2, ArrayViewMut2};

use super::{Cost, Targets, sigmoid, sum_over_outputs};

/// The cross-entropy of sigmoid outputs a (Nielsen, chapter 3): C = −Σ y ln a + (1 − y) ln(1 − a) a sample.
///
/// Its gradient is ∂C/∂a = (a − y) / (a (1 − a)). The sigmoid below multiplies that by σ′ = a (1 − a), and what reaches its
/// weights is a − y: a neuron learns the faster the more wrong it is, where the quadratic cost lets it rest on a flat σ.
///
/// **Saturated outputs.** a, 1 − a and a (1 − a) count as no less than the smallest normal number m of the element type
/// (1.2·10⁻³⁸ for `f32`). So cost and gradient are finite for every a in [0, 1]; a wrong a of exactly 0 or 1 costs −ln m, 87.3
/// for `f32`. The product with σ′ is right down to a = m, and never NaN; but a sigmoid that has rounded to exactly 1 (in `f32`
/// from z = 17) has σ′ = 0, the product is 0, and that output no longer learns. [`SigmoidCrossEntropy`], which takes z instead,
/// knows no such limit: prefer it unless the sigmoids themselves are wanted.
///
/// Outside [0, 1] the formula has no value: cost and gradient are NaN, which stops a training run.
///
/// ```
/// use ndarray::array;
/// use net::cost::{Cost, CrossEntropy, Targets};
///
/// let cost = CrossEntropy.value(array![[0.5, 0.5]].view(), Targets::Classes(&[0]));
/// assert_eq!(cost, 2.0 * 2.0_f64.ln());
/// assert!(CrossEntropy.value(array![[0.0_f32, 1.0]].view(), Targets::Classes(&[0])).is_finite());
/// ```
#[doc(alias = "BCELoss")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CrossEntropy;

impl CrossEntropy {
    /// The cost; it has no settings.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl<T: Scalar> Cost<T> for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn evaluate(&self, outputs: ArrayView2<'_, T>, targets: Targets<'_, T>, gradient: ArrayViewMut2<'_, T>) -> f64 {
        sum_over_outputs(outputs, targets, Some(gradient), of_output(T::min_positive_value().as_f64()))
    }

    fn value(&self, outputs: ArrayView2<'_, T>, targets: Targets<'_, T>) -> f64 {
        sum_over_outputs(outputs, targets, None, of_output(T::min_positive_value().as_f64()))
    }
}

/// The term of one output, with probabilities no less than `floor`.
fn of_output(floor: f64) -> impl Fn(f64, f64) -> (f64, f64) {
    move |a, y| {
        if !(0.0..=1.0).contains(&a) {
            return (f64::NAN, f64::NAN);
        }
        let cost = -(y * a.max(floor).ln() + (1.0 - y) * (1.0 - a).max(floor).ln());
        (cost, (a - y) / (a * (1.0 - a)).max(floor))
    }
}

/// The same cost on logits z, with the sigmoid inside: the last layer has no activation of its own.
///
/// With a = σ(z), C = −Σ y ln a + (1 − y) ln(1 − a) = Σ max(z, 0) − z y + ln(1 + e^−|z|), and ∂C/∂z = σ(z) − y. Stable by
/// construction: no logarithm of a rounded sigmoid, no division, finite for any finite `f32`.
///
/// ```
/// use ndarray::array;
/// use net::cost::{Cost, SigmoidCrossEntropy, Targets};
///
/// let cost = SigmoidCrossEntropy.value(array![[0.0, 0.0]].view(), Targets::Classes(&[0]));
/// assert_eq!(cost, 2.0 * 2.0_f64.ln());
/// assert_eq!(SigmoidCrossEntropy.value(array![[-1e38_f32, 0.0]].view(), Targets::Classes(&[0])) as f32, 1e38);
/// ```
#[doc(alias = "BCEWithLogitsLoss")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SigmoidCrossEntropy;

impl SigmoidCrossEntropy {
    /// The cost; it has no settings.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl<T: Scalar> Cost<T> for SigmoidCrossEntropy {
    fn name(&self) -> &'static str {
        "sigmoid-cross-entropy"
    }

    fn evaluate(&self, outputs: ArrayView2<'_, T>, targets: Targets<'_, T>, gradient: ArrayViewMut2<'_, T>) -> f64 {
        sum_over_outputs(outputs, targets, Some(gradient), of_logit)
    }

    fn value(&self, outputs: ArrayView2<'_, T>, targets: Targets<'_, T>) -> f64 {
        sum_over_outputs(outputs, targets, None, of_logit)
    }
}

fn of_logit(z: f64, y: f64) -> (f64, f64) {
    let cost = z.max(0.0) - z * y + (-z.abs()).exp().ln_1p();
    (cost, sigmoid(z) - y)
}
