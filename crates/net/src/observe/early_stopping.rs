//! Ending a run that brings nothing more.

use super::{EpochReport, Flow, Observer, Run};

/// Stops a run when some epochs in a row have brought nothing better on the held-out samples (Prechelt, "Early Stopping – But
/// When?", 1998; Nielsen, chapter 3).
///
/// The held-out samples now choose something, so they must be a *validation split*: a part of the training data that is not
/// learnt from. With the test set in that place, the accuracy on the test set would be that of the luckiest epoch, and say too
/// much.
///
/// The network keeps the parameters of the last epoch, not of the best one. A run counts for itself.
///
/// ```
/// use net::{Sequential, Trainer, observe::EarlyStopping, optim::Sgd};
/// let data = mnist_io::Mnist::sample()?;
/// let (train, validation) = data.train.take(300).split_at(200); // the test images are not touched
/// let mut net = Sequential::builder([1, 28, 28]).dense(10).build(5)?;
/// let history = Trainer::new(Sgd::new(0.1))
///     .epochs(1000)
///     .observe(EarlyStopping::new(3))
///     .fit(&mut net, train.pair(), validation.pair())?;
/// assert!(history.stopped && history.epochs.len() < 1000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct EarlyStopping {
    patience: u64,
    by_cost: bool,
    best: Option<Best>,
}

/// The best epoch, and how good it was: more is better.
#[derive(Clone, Copy, Debug)]
struct Best {
    epoch: u64,
    score: f64,
}

impl EarlyStopping {
    /// Stops after `patience` epochs in a row without a higher accuracy; 0 counts as 1. The same accuracy is not higher.
    #[must_use]
    pub fn new(patience: u64) -> Self {
        Self { patience, by_cost: false, best: None }
    }

    /// Asks for a lower cost instead of a higher accuracy.
    #[must_use]
    pub fn by_cost(mut self) -> Self {
        self.by_cost = true;
        self
    }
}

impl Observer for EarlyStopping {
    fn settings(&self) -> Option<String> {
        let better = if self.by_cost { "lower cost" } else { "higher accuracy" };
        Some(format!("early stopping, {} epochs without a {better}", self.patience.max(1)))
    }

    fn start(&mut self, _: &Run) {
        self.best = None;
    }

    fn epoch(&mut self, report: &EpochReport) -> Flow {
        let score = if self.by_cost { -report.held_out.cost } else { report.held_out.accuracy() };
        match self.best {
            Some(best) if score <= best.score => {
                if report.epoch - best.epoch >= self.patience.max(1) {
                    Flow::Stop
                } else {
                    Flow::Continue
                }
            }
            _ => {
                self.best = Some(Best { epoch: report.epoch, score });
                Flow::Continue
            }
        }
    }
}
