//! Watching a training run, and stopping it.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Evaluation, Position};

mod early_stopping;

pub use early_stopping::EarlyStopping;

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    #[default]
    Continue,
    /// End after this step; what was learnt stays.
    Stop,
}

/// What is known when a run starts.
#[derive(Clone, Debug)]
pub struct Run {
    /// Epochs of the whole run.
    pub epochs: u64,
    /// Steps in an epoch.
    pub steps: u64,
    /// Training samples.
    pub samples: usize,
    /// Samples in a step.
    pub batch_size: usize,
    /// Threads at work.
    pub threads: usize,
}

impl Run {
    /// Where the run stands before a step, counted from 0.
    pub(crate) fn position(&self, step: u64) -> Position {
        let steps = self.epochs.saturating_mul(self.steps);
        Position { step, steps, epoch: step / self.steps, epochs: self.epochs }
    }
}

/// One step.
#[derive(Clone, Copy, Debug)]
pub struct StepReport {
    /// The epoch, from 1.
    pub epoch: u64,
    /// The step in the epoch, from 1.
    pub step: u64,
    /// Samples in this step.
    pub samples: usize,
    /// The mean cost of its samples.
    pub cost: f64,
    /// The learning rate.
    pub learning_rate: f64,
}

/// One epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EpochReport {
    /// The epoch, from 1.
    pub epoch: u64,
    /// The mean cost of the training samples, each at the time that it was learnt from.
    pub train_cost: f64,
    /// The share of training samples whose class was found, each before it was learnt from.
    pub train_accuracy: f64,
    /// The network after the epoch, on the samples that were held out.
    pub held_out: Evaluation,
    /// The learning rate of the last step.
    pub learning_rate: f64,
    /// Seconds of training, evaluation not counted.
    pub seconds: f64,
    /// Training samples a second.
    pub samples_per_second: f64,
}

/// Something about a run that deserves a line; printed, it is that line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The run goes on from a checkpoint.
    Resumed {
        /// The file.
        path: PathBuf,
        /// Epochs that are done.
        epochs: u64,
        /// Steps that are done of the next one.
        steps: u64,
    },
    /// A checkpoint could not be used; the one before it is tried.
    Skipped {
        /// What is wrong with which file.
        problem: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resumed { path, epochs, steps } => {
                write!(f, "resumed from {} (epochs done: {epochs}, steps of the next: {steps})", path.display())
            }
            Self::Skipped { problem } => write!(f, "skipped {problem}; trying the checkpoint before it"),
        }
    }
}

/// Somebody who watches a run: a progress bar, a log, a stop button.
///
/// ```
/// use net::{Flow, Observer, observe::EpochReport};
///
/// /// Stops as soon as the held-out accuracy is good enough.
/// #[derive(Debug)]
/// struct GoodEnough(f64);
/// impl Observer for GoodEnough {
///     fn epoch(&mut self, report: &EpochReport) -> Flow {
///         if report.held_out.accuracy() >= self.0 { Flow::Stop } else { Flow::Continue }
///     }
/// }
/// ```
pub trait Observer: Send {
    /// What it stops the run by, in words, if that depends on what the run does: it must be the same for a resumed run to be the
    /// same run. None for one that only watches, or stops when somebody asks for it.
    fn settings(&self) -> Option<String> {
        None
    }

    /// The run starts.
    fn start(&mut self, run: &Run) {
        let _ = run;
    }

    /// Something besides steps and epochs happened.
    fn notice(&mut self, notice: &Notice) {
        let _ = notice;
    }

    /// A step is done.
    fn step(&mut self, report: &StepReport) -> Flow {
        let _ = report;
        Flow::Continue
    }

    /// An epoch is done and evaluated. When a run goes on from a checkpoint, observers are first told of the epochs before it
    /// again, so that one that keeps count, to stop early or to draw a curve, knows what it would have known.
    fn epoch(&mut self, report: &EpochReport) -> Flow {
        let _ = report;
        Flow::Continue
    }

    /// The run is over: after its last epoch, or because somebody stopped it, or because of an error.
    fn finish(&mut self) {}
}
