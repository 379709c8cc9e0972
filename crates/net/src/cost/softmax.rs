//! The cross-entropy of one class out of many, on logits.

use layers::Scalar;
use ndarray::{ArrayView2, ArrayViewMut2};

use super::{Cost, CostError, Targets, sample_count};

/// The cross-entropy of softmax(z): C = −Σ y ln p a sample, with p = softmax(z) = eᶻ / Σ eᶻ. The usual cost of a classifier.
///
/// It takes logits: the last layer has no activation, so that logarithm and exponential cancel before they can overflow or
/// round: ln p = z − max z − ln Σ e^(z − max z). The gradient is ∂C/∂z = p − y for targets that sum to 1 (p Σy − y for others):
/// it reaches *every* logit, not only that of the right class. Finite for any finite `f32`.
///
/// ```
/// use ndarray::array;
/// use net::cost::{Cost, SoftmaxCrossEntropy, Targets};
///
/// let cost = SoftmaxCrossEntropy::new();
/// assert_eq!(cost.value(array![[0.0, 0.0]].view(), Targets::Classes(&[1])), 2.0_f64.ln());
/// assert_eq!(cost.value(array![[1e38_f32, -1e38]].view(), Targets::Classes(&[1])) as f32, 2e38);
/// ```
#[doc(alias = "CrossEntropyLoss")]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SoftmaxCrossEntropy {
    label_smoothing: f64,
}

impl SoftmaxCrossEntropy {
    /// Without label smoothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the share ε of each target to all K classes alike: y becomes (1 − ε) y + ε/K, as in PyTorch's `CrossEntropyLoss`
    /// (Szegedy et al., "Rethinking the Inception Architecture", section 7).
    ///
    /// ```
    /// use net::cost::SoftmaxCrossEntropy;
    /// assert!(SoftmaxCrossEntropy::new().label_smoothing(0.1).is_ok());
    /// let error = SoftmaxCrossEntropy::new().label_smoothing(1.0).unwrap_err();
    /// assert_eq!(error.to_string(), "label smoothing must be at least 0 and below 1 (got 1): 0.1 is usual, 0 is none");
    /// ```
    ///
    /// # Errors
    /// [`CostError::LabelSmoothing`] unless 0 ≤ ε < 1.
    pub fn label_smoothing(self, share: f64) -> Result<Self, CostError> {
        if !(0.0..1.0).contains(&share) {
            return Err(CostError::LabelSmoothing { got: share });
        }
        Ok(Self { label_smoothing: share })
    }

    /// The mean cost, and the gradient if there is room for one.
    fn mean<T: Scalar>(
        &self,
        outputs: ArrayView2<'_, T>,
        targets: Targets<'_, T>,
        mut gradient: Option<ArrayViewMut2<'_, T>>,
    ) -> f64 {
        let samples = sample_count(outputs);
        let (keep, share) = (1.0 - self.label_smoothing, self.label_smoothing / outputs.ncols() as f64);
        let mut sum = 0.0;
        for (sample, logits) in outputs.rows().into_iter().enumerate() {
            let target = |class| keep * targets.at(sample, class).as_f64() + share;
            let max = logits.iter().fold(f64::NEG_INFINITY, |max, z| max.max(z.as_f64()));
            let mut row = gradient.as_mut().map(|gradient| gradient.row_mut(sample));
            let mut total = 0.0;
            for (class, z) in logits.iter().enumerate() {
                let exponential = (z.as_f64() - max).exp();
                total += exponential;
                if let Some(row) = &mut row {
                    row[class] = T::of(exponential);
                }
            }
            // max + ln total would round the logarithm away where z is large.
            let log_total = total.ln();
            let mut target_sum = 0.0;
            for (class, z) in logits.iter().enumerate() {
                sum -= target(class) * (z.as_f64() - max - log_total);
                target_sum += target(class);
            }
            for (class, value) in row.iter_mut().flatten().enumerate() {
                let probability = value.as_f64() / total;
                *value = T::of((probability * target_sum - target(class)) / samples);
            }
        }
        sum / samples
    }
}

impl<T: Scalar> Cost<T> for SoftmaxCrossEntropy {
    fn name(&self) -> &'static str {
        "softmax-cross-entropy"
    }

    fn describe(&self) -> String {
        let name = Cost::<T>::name(self);
        if self.label_smoothing == 0.0 {
            name.into()
        } else {
            format!("{name} label-smoothing {}", self.label_smoothing)
        }
    }

    fn evaluate(&self, outputs: ArrayView2<'_, T>, targets: Targets<'_, T>, gradient: ArrayViewMut2<'_, T>) -> f64 {
        self.mean(outputs, targets, Some(gradient))
    }

    fn value(&self, outputs: ArrayView2<'_, T>, targets: Targets<'_, T>) -> f64 {
        self.mean(outputs, targets, None)
    }
}
