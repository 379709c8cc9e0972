//! Watching a training run, and stopping it.

use crate::Evaluation;

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
    /// Epochs to go.
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
#[derive(Clone, Debug)]
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
    /// The run starts.
    fn start(&mut self, run: &Run) {
        let _ = run;
    }

    /// A step is done.
    fn step(&mut self, report: &StepReport) -> Flow {
        let _ = report;
        Flow::Continue
    }

    /// An epoch is done and evaluated.
    fn epoch(&mut self, report: &EpochReport) -> Flow {
        let _ = report;
        Flow::Continue
    }

    /// The run is over: after its last epoch, or because somebody stopped it, or because of an error.
    fn finish(&mut self) {}
}
