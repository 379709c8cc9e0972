//! Squared errors, in two conventions.

use layers::Scalar;
use ndarray::{ArrayView2, ArrayViewMut2};

use super::{Cost, Targets, sum_over_outputs};

/// The quadratic cost of the article and of Nielsen's book: C = ½ Σ (a − y)² a sample, ∂C/∂a = a − y.
///
/// [`Quadratic::mean_over_outputs`] is PyTorch's convention, whose gradient is 2/K times as large for K outputs: with ten
/// outputs a learning rate of 3.0 there is one of 0.6 here.
///
/// ```
/// use ndarray::array;
/// use net::cost::{Cost, Quadratic, Targets};
///
/// let outputs = array![[0.5, 0.5]];
/// assert_eq!(Quadratic.value(outputs.view(), Targets::Classes(&[0])), 0.25); // ½ (0.25 + 0.25)
/// assert_eq!(Quadratic::mean_over_outputs().value(outputs.view(), Targets::Classes(&[0])), 0.25); // (0.25 + 0.25) / 2
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quadratic;

impl Quadratic {
    /// Half the sum over the outputs.
    #[must_use]
    pub fn new() -> Self {
        Self
    }

    /// The mean over the outputs instead of half the sum.
    #[must_use]
    pub fn mean_over_outputs() -> MeanSquaredError {
        MeanSquaredError
    }
}

impl<T: Scalar> Cost<T> for Quadratic {
    fn name(&self) -> &'static str {
        "quadratic"
    }

    fn evaluate(&self, outputs: ArrayView2<'_, T>, targets: Targets<'_, T>, gradient: ArrayViewMut2<'_, T>) -> f64 {
        sum_over_outputs(outputs, targets, Some(gradient), half_square)
    }

    fn value(&self, outputs: ArrayView2<'_, T>, targets: Targets<'_, T>) -> f64 {
        sum_over_outputs(outputs, targets, None, half_square)
    }
}

fn half_square(a: f64, y: f64) -> (f64, f64) {
    let error = a - y;
    (0.5 * error * error, error)
}

/// The mean of the squared errors of all K outputs, PyTorch's `MSELoss`: C = Σ (a − y)² / K a sample, ∂C/∂a = 2 (a − y) / K.
///
/// ```
/// use ndarray::array;
/// use net::cost::{Cost, MeanSquaredError, Targets};
///
/// let (outputs, targets) = (array![[1.0, 2.0, 3.0, 4.0]], array![[1.0, 2.0, 3.0, 6.0]]);
/// assert_eq!(MeanSquaredError.value(outputs.view(), Targets::Values(targets.view())), 1.0);
/// ```
#[doc(alias = "MSELoss")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeanSquaredError;

impl<T: Scalar> Cost<T> for MeanSquaredError {
    fn name(&self) -> &'static str {
        "mean-squared-error"
    }

    fn evaluate(&self, outputs: ArrayView2<'_, T>, targets: Targets<'_, T>, gradient: ArrayViewMut2<'_, T>) -> f64 {
        sum_over_outputs(outputs, targets, Some(gradient), mean_square(outputs.ncols()))
    }

    fn value(&self, outputs: ArrayView2<'_, T>, targets: Targets<'_, T>) -> f64 {
        sum_over_outputs(outputs, targets, None, mean_square(outputs.ncols()))
    }
}

fn mean_square(outputs: usize) -> impl Fn(f64, f64) -> (f64, f64) {
    move |a, y| {
        let error = a - y;
        (error * error / outputs as f64, 2.0 * error / outputs as f64)
    }
}
