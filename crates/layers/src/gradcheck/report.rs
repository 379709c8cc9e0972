//! What a check found.

use std::fmt;

/// What was found, tensor by tensor: first the input `x`, then the parameters. Prints as a small table.
///
/// ```
/// use layers::gradcheck::{Options, Report, compare};
/// let tensor = compare("x", &[6.0], |x| x[0] * x[0], &[3.0], &Options::default());
/// let report = Report::new(vec![tensor]);
/// assert!(report.passed());
/// assert!(report.to_string().contains("passed"));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a check that nobody reads checks nothing"]
pub struct Report {
    tensors: Vec<TensorReport>,
}

/// What was found about one tensor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TensorReport {
    /// `x`, or the parameter's name.
    pub name: String,
    /// The result.
    pub verdict: Verdict,
    /// ‖a − n‖ / (‖a‖ + ‖n‖) over the elements that are not at kinks.
    pub error: f64,
    /// ‖n‖, the norm of the numeric gradient.
    pub norm: f64,
    /// The norm from which on it proves something.
    pub floor: f64,
    /// The element with the largest |a − n|, if there is any.
    pub worst: Option<Worst>,
    /// The number of elements that were left out because they lie at a kink.
    pub excluded: usize,
    /// The number of elements.
    pub len: usize,
}

/// The element that is farthest off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worst {
    /// Its place in the tensor, in C order.
    pub index: usize,
    /// What the backward pass says.
    pub analytic: f64,
    /// What differences say.
    pub numeric: f64,
}

/// The result for one tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The gradient is right.
    Passed,
    /// The gradient is wrong.
    Failed,
    /// Nothing was proved: the gradient is too small to tell, or too many elements lie at kinks. Try other inputs.
    Unchecked,
}

impl Report {
    /// A report on these tensors.
    pub fn new(tensors: Vec<TensorReport>) -> Self {
        Self { tensors }
    }

    /// The tensors, `x` first.
    #[must_use]
    pub fn tensors(&self) -> &[TensorReport] {
        &self.tensors
    }

    /// Whether there are tensors and all of them passed; [`Verdict::Unchecked`] is no pass.
    #[must_use]
    pub fn passed(&self) -> bool {
        !self.tensors.is_empty() && self.tensors.iter().all(|tensor| tensor.verdict == Verdict::Passed)
    }

    /// The report, if everything passed.
    ///
    /// # Errors
    /// [`GradcheckError`], which names each tensor that did not pass, and holds the report.
    pub fn into_result(self) -> Result<Self, GradcheckError> {
        if self.passed() { Ok(self) } else { Err(GradcheckError { report: self }) }
    }
}

/// Some gradient did not pass.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", .report.complaint())]
pub struct GradcheckError {
    /// What was found.
    pub report: Report,
}

impl Report {
    /// One line on the tensors that did not pass.
    fn complaint(&self) -> String {
        if self.tensors.is_empty() {
            return "there was no tensor to check".into();
        }
        let bad = self.tensors.iter().filter(|tensor| tensor.verdict != Verdict::Passed);
        bad.map(TensorReport::complaint).collect::<Vec<_>>().join("; ")
    }
}

impl TensorReport {
    fn complaint(&self) -> String {
        let name = &self.name;
        match (self.verdict, self.worst) {
            (Verdict::Unchecked, _) if self.norm >= self.floor || self.excluded == self.len => format!(
                "the gradient of {name} is unchecked: {} of {} elements lie at kinks; try other inputs",
                self.excluded, self.len
            ),
            (Verdict::Unchecked, _) => format!(
                "the gradient of {name} is unchecked: its norm {:.1e} is below {:.1e}; try inputs that matter more",
                self.norm, self.floor
            ),
            (_, Some(Worst { index, analytic, numeric })) => format!(
                "the gradient of {name} is off by {:.1e}; \
                 most at element {index}: {analytic:.6e}, where differences give {numeric:.6e}",
                self.error
            ),
            (_, None) => format!("the gradient of {name} is off by {:.1e}", self.error),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.tensors.iter().map(|tensor| tensor.name.len()).fold("tensor".len(), usize::max);
        write!(f, "{:width$}  verdict    error    norm     at kinks", "tensor")?;
        for tensor in &self.tensors {
            let TensorReport { name, verdict, error, norm, excluded, len, .. } = tensor;
            let verdict = verdict.to_string();
            write!(f, "\n{name:width$}  {verdict:9}  {error:.1e}  {norm:.1e}  {excluded} of {len}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Unchecked => "unchecked",
        })
    }
}
