//! Costs: how wrong the outputs of a batch are, and which way is downhill.
//!
//! | cost | the outputs are | its terms | source |
//! |---|---|---|---|
//! | [`Quadratic`] | anything, usually sigmoids | ½ Σ (a − y)² | the article; Nielsen, chapter 1 |
//! | [`MeanSquaredError`] | the same | Σ (a − y)² / K | PyTorch's `MSELoss` |
//! | [`CrossEntropy`] | sigmoids | −Σ y ln a + (1 − y) ln(1 − a) | Nielsen, chapter 3 |
//! | [`SigmoidCrossEntropy`] | logits, one yes or no each | the same, of a = σ(z) | PyTorch's `BCEWithLogitsLoss`, summed over outputs |
//! | [`SoftmaxCrossEntropy`] | logits, one class of K | −Σ y ln softmax(z) | PyTorch's `CrossEntropyLoss` |
//!
//! Every cost is a mean over the samples of a batch. Terms are computed and summed in `f64`, sample after sample, whatever the
//! element type: the result does not depend on the number of threads.
//!
//! ```
//! use ndarray::{Array2, array};
//! use net::cost::{Cost, SoftmaxCrossEntropy, Targets};
//!
//! let logits = array![[0.2, 0.4, 0.9_f64]];
//! let mut gradient = Array2::zeros(logits.dim());
//! let cost = SoftmaxCrossEntropy::new().evaluate(logits.view(), Targets::Classes(&[2]), gradient.view_mut());
//!
//! assert!((cost - 0.74342).abs() < 1e-5); // −ln of the probability 0.47548 that class 2 is given
//! assert!((gradient[[0, 2]] - -0.52452).abs() < 1e-5); // 0.47548 − 1
//! assert!((gradient[[0, 0]] - 0.23612).abs() < 1e-5); // the probability that class 0 is given, which should be 0
//! ```

use std::fmt::Debug;

use layers::Scalar;
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

mod cross_entropy;
mod quadratic;
mod softmax;

pub use cross_entropy::{CrossEntropy, SigmoidCrossEntropy};
pub use quadratic::{MeanSquaredError, Quadratic};
pub use softmax::SoftmaxCrossEntropy;

/// What the outputs should have been.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a, T> {
    /// The class number of each sample; the target vector is one-hot.
    Classes(&'a [u8]),
    /// The target vectors themselves, `(N, K)`.
    Values(ArrayView2<'a, T>),
}

impl<T: Scalar> Targets<'_, T> {
    /// The number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.len(),
            Self::Values(values) => values.nrows(),
        }
    }

    /// Whether there are no samples.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value y that one output of one sample should have had.
    ///
    /// ```
    /// use net::cost::Targets;
    /// let targets = Targets::<f32>::Classes(&[1, 0]);
    /// assert_eq!([targets.at(0, 0), targets.at(0, 1)], [0.0, 1.0]);
    /// ```
    ///
    /// # Panics
    /// When there is no such sample or, for [`Targets::Values`], no such output.
    #[must_use]
    #[inline]
    pub fn at(&self, sample: usize, output: usize) -> T {
        match self {
            Self::Classes(classes) if usize::from(classes[sample]) == output => T::one(),
            Self::Classes(_) => T::ZERO,
            Self::Values(values) => values[[sample, output]],
        }
    }
}

/// A cost C of the outputs of a batch, and its gradient.
///
/// Outputs and gradient are `(N, K)`: one row for each of N samples, one column for each output. There are as many targets as
/// samples, and classes are below K. A network checks all of that when a batch enters; a cost does not. An empty batch costs 0.
///
/// A cost of one's own, the sum of absolute errors:
///
/// ```
/// use layers::Scalar;
/// use ndarray::{ArrayView2, ArrayViewMut2, array};
/// use net::cost::{Cost, Targets};
///
/// #[derive(Debug)]
/// struct Absolute;
///
/// impl<T: Scalar> Cost<T> for Absolute {
///     fn name(&self) -> &'static str {
///         "absolute"
///     }
///     fn evaluate(&self, outputs: ArrayView2<'_, T>, targets: Targets<'_, T>, mut gradient: ArrayViewMut2<'_, T>) -> f64 {
///         let samples = outputs.nrows() as f64;
///         let mut sum = 0.0;
///         for ((sample, output), &a) in outputs.indexed_iter() {
///             let error = (a - targets.at(sample, output)).as_f64();
///             sum += error.abs();
///             gradient[[sample, output]] = T::of(error.signum() / samples);
///         }
///         sum / samples
///     }
/// }
///
/// let outputs = array![[0.75, 0.5], [0.0, 1.0]];
/// assert_eq!(Absolute.value(outputs.view(), Targets::Classes(&[0, 1])), 0.375);
/// ```
#[doc(alias = "loss")]
pub trait Cost<T: Scalar>: Debug + Send + Sync {
    /// What it is called in reports and files: `"quadratic"`.
    fn name(&self) -> &'static str;

    /// The name and every setting: what must be the same for a resumed run to be the same run.
    fn describe(&self) -> String {
        self.name().into()
    }

    /// The mean cost of the samples; overwrites `gradient` with ∂(mean cost)/∂outputs.
    fn evaluate(&self, outputs: ArrayView2<'_, T>, targets: Targets<'_, T>, gradient: ArrayViewMut2<'_, T>) -> f64;

    /// The mean cost alone. Where it is not written, the gradient is computed too, and thrown away.
    fn value(&self, outputs: ArrayView2<'_, T>, targets: Targets<'_, T>) -> f64 {
        let mut gradient = Array2::zeros(outputs.raw_dim());
        self.evaluate(outputs, targets, gradient.view_mut())
    }
}

/// Why a cost cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CostError {
    /// The share of the target that smoothing gives to all classes.
    #[error("label smoothing must be at least 0 and below 1 (got {got}): 0.1 is usual, 0 is none")]
    LabelSmoothing {
        /// The share that was asked for.
        got: f64,
    },
}

/// The mean over samples of a cost that is a sum over outputs: `term(a, y)` is the cost c of one output, and ∂c/∂a.
fn sum_over_outputs<T: Scalar>(
    outputs: ArrayView2<'_, T>,
    targets: Targets<'_, T>,
    mut gradient: Option<ArrayViewMut2<'_, T>>,
    term: impl Fn(f64, f64) -> (f64, f64),
) -> f64 {
    let samples = sample_count(outputs);
    let mut sum = 0.0;
    for ((sample, output), a) in outputs.indexed_iter() {
        let (cost, slope) = term(a.as_f64(), targets.at(sample, output).as_f64());
        sum += cost;
        if let Some(gradient) = &mut gradient {
            gradient[[sample, output]] = T::of(slope / samples);
        }
    }
    sum / samples
}

/// What a mean over samples divides by: at least 1, so that an empty batch costs 0.
fn sample_count<T>(outputs: ArrayView2<'_, T>) -> f64 {
    outputs.nrows().max(1) as f64
}

/// The logistic function, by sign: no exponential overflows, and small values keep their digits.
fn sigmoid(z: f64) -> f64 {
    if z >= 0.0 {
        1.0 / (1.0 + (-z).exp())
    } else {
        let e = z.exp();
        e / (1.0 + e)
    }
}
