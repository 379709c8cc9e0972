//! How good a classifier is: right and wrong answers, counted.

use std::fmt;

use layers::Scalar;
use serde::{Deserialize, Serialize};

/// The class that outputs (a slice, or a row of an array) vote for: the index of the largest. The first of equals wins, NaN
/// never does; `None` when nothing but NaN is there.
///
/// ```
/// use net::metrics::argmax;
/// assert_eq!(argmax(&[0.1, 0.7, 0.7]), Some(1));
/// assert_eq!(argmax(&[f64::NAN, -1.0]), Some(1));
/// assert_eq!(argmax(&[f32::NAN]), None);
/// ```
#[must_use]
pub fn argmax<'a, T: Scalar>(outputs: impl IntoIterator<Item = &'a T>) -> Option<usize> {
    let mut best: Option<(usize, T)> = None;
    for (class, &value) in outputs.into_iter().enumerate() {
        if !value.is_nan() && best.is_none_or(|(_, largest)| value > largest) {
            best = Some((class, value));
        }
    }
    best.map(|(class, _)| class)
}

/// A confusion matrix: how often samples of each true class were taken for each class.
///
/// Printed, it is a table with a row for each true class, a column for each predicted one, and dots for zeros:
///
/// ```
/// use net::metrics::Confusion;
///
/// let mut confusion = Confusion::new(3);
/// for (truth, predicted) in [(0, 0), (1, 1), (1, 1), (2, 1)] {
///     confusion.add(truth, predicted);
/// }
/// assert_eq!((confusion.errors(), confusion.total()), (1, 4));
/// assert_eq!(confusion.accuracy(), 0.75);
/// assert_eq!(confusion.precision(1), Some(2.0 / 3.0)); // of three samples taken for class 1, two were
/// assert_eq!(confusion.recall(2), Some(0.0)); // of the one sample of class 2, none was found
/// assert_eq!(confusion.to_string(), "\
/// true\\predicted  0  1  2
///              0  1  .  .
///              1  .  2  .
///              2  .  1  .
/// ");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Counts")]
pub struct Confusion {
    classes: usize,
    /// `classes` rows of `classes + 1` counts: the last counts samples without a prediction.
    counts: Vec<u64>,
}

/// A confusion matrix as it is read, its size not yet checked.
#[derive(Deserialize)]
struct Counts {
    classes: usize,
    counts: Vec<u64>,
}

impl TryFrom<Counts> for Confusion {
    type Error = String;

    fn try_from(Counts { classes, counts }: Counts) -> Result<Self, String> {
        match classes.checked_add(1).and_then(|columns| columns.checked_mul(classes)) {
            Some(size) if size == counts.len() => Ok(Self { classes, counts }),
            _ => Err(format!("a confusion matrix of {classes} classes with {} counts", counts.len())),
        }
    }
}

impl Confusion {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Self { classes, counts: vec![0; classes * (classes + 1)] }
    }

    /// The number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Counts one sample. What [`argmax`] returns can be passed as it is: `None` is an error whatever the truth.
    ///
    /// # Panics
    /// When a class number is not below [`classes`](Self::classes).
    pub fn add(&mut self, truth: usize, predicted: impl Into<Option<usize>>) {
        let predicted = predicted.into();
        for class in [Some(truth), predicted].into_iter().flatten() {
            assert!(class < self.classes, "class {class} in a confusion matrix of {} classes", self.classes);
        }
        let column = predicted.unwrap_or(self.classes);
        self.counts[truth * (self.classes + 1) + column] += 1;
    }

    /// Adds the counts of another part of the data.
    ///
    /// # Panics
    /// When the two have different numbers of classes.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.classes, other.classes, "confusion matrices of as many classes");
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// How many samples of class `truth` were taken for class `predicted`.
    ///
    /// # Panics
    /// When a class number is not below [`classes`](Self::classes).
    #[must_use]
    pub fn count(&self, truth: usize, predicted: usize) -> u64 {
        assert!(predicted < self.classes, "class {predicted} in a confusion matrix of {} classes", self.classes);
        self.row(truth)[predicted]
    }

    /// The number of samples.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The number of samples taken for what they are.
    #[must_use]
    pub fn correct(&self) -> u64 {
        (0..self.classes).map(|class| self.count(class, class)).sum()
    }

    /// The number of samples taken for something else.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.total() - self.correct()
    }

    /// The share of samples taken for what they are; 0 when there are none. [`wilson_interval`] says how sure that is.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        ratio(self.correct(), self.total()).unwrap_or(0.0)
    }

    /// Of the samples taken for this class, the share that were; `None` when there are none.
    ///
    /// # Panics
    /// When the class number is not below [`classes`](Self::classes).
    #[must_use]
    pub fn precision(&self, class: usize) -> Option<f64> {
        let predicted = (0..self.classes).map(|truth| self.count(truth, class)).sum();
        ratio(self.count(class, class), predicted)
    }

    /// Of the samples of this class, the share that were found; `None` when there are none.
    ///
    /// # Panics
    /// When the class number is not below [`classes`](Self::classes).
    #[must_use]
    pub fn recall(&self, class: usize) -> Option<f64> {
        ratio(self.count(class, class), self.row(class).iter().sum())
    }

    fn row(&self, truth: usize) -> &[u64] {
        let columns = self.classes + 1;
        &self.counts[truth * columns..][..columns]
    }
}

impl fmt::Display for Confusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CORNER: &str = "true\\predicted";
        // the column of samples without a prediction is shown only when there are some
        let undecided = (0..self.classes).any(|truth| self.row(truth)[self.classes] > 0);
        let mut header: Vec<String> = (0..self.classes).map(|class| class.to_string()).collect();
        header.extend(undecided.then(|| "none".into()));

        let cell = |&count: &u64| if count == 0 { ".".into() } else { count.to_string() };
        let rows: Vec<Vec<String>> =
            (0..self.classes).map(|truth| self.row(truth).iter().map(cell).collect()).collect();
        let width = rows.iter().chain([&header]).flatten().map(String::len).max().unwrap_or(0) + 2;

        let mut line = |label: &str, cells: &[String]| {
            write!(f, "{label:>0$}", CORNER.len())?;
            cells.iter().take(header.len()).try_for_each(|cell| write!(f, "{cell:>width$}"))?;
            writeln!(f)
        };
        line(CORNER, &header)?;
        rows.iter().enumerate().try_for_each(|(truth, cells)| line(&truth.to_string(), cells))
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The 95 % interval of an accuracy that was measured as `correct` of `total` (Wilson, "Probable Inference", 1927): on other
/// samples of the same kind the accuracy would probably be found inside. Of no samples nothing follows: (0, 1).
///
/// Differences smaller than its width are no differences.
///
/// ```
/// use net::metrics::wilson_interval;
/// let (low, high) = wilson_interval(9_900, 10_000);
/// assert!(0.9878 < low && low < 0.9879 && 0.9917 < high && high < 0.9918);
/// assert_eq!(wilson_interval(0, 0), (0.0, 1.0));
/// ```
#[must_use]
pub fn wilson_interval(correct: u64, total: u64) -> (f64, f64) {
    /// 95 % of a normal distribution lie within so many deviations.
    const Z: f64 = 1.959_963_984_540_054;
    if total == 0 {
        return (0.0, 1.0);
    }
    let n = total as f64;
    let p = correct.min(total) as f64 / n;
    let centre = p + Z * Z / (2.0 * n);
    let half_width = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    (((centre - half_width) / scale).max(0.0), ((centre + half_width) / scale).min(1.0))
}
