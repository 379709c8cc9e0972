//! Where a run stands: everything besides the network that its steps change.

use std::path::PathBuf;

use layers::{Arena, Scalar};
use serde::{Deserialize, Serialize};

use super::ema::Average;
use crate::{
    History, Sequential,
    observe::EpochReport,
    optim::{Optimizer, OptimizerState},
};

/// Random numbers are not in it: they depend on the seed, the epoch and the sample alone.
pub(super) struct Course<T: Scalar> {
    pub(super) optimizer: OptimizerState<T>,
    pub(super) average: Option<Average<T>>,
    /// Whether the network of the best epoch is kept, instead of that of the last step.
    pub(super) keeps_best: bool,
    /// That network, once there is one: its parameters and buffers.
    pub(super) best: Option<(Arena<T>, Arena<T>)>,
    pub(super) at: Place,
    /// The last good checkpoint of this run.
    pub(super) checkpoint: Option<PathBuf>,
}

/// How far a run has come, and what it will report.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Place {
    /// Epochs that are done.
    pub(super) epoch: u64,
    /// Steps of the present epoch that are done.
    pub(super) step: u64,
    pub(super) sums: Sums,
    /// Of every epoch that is done: too long for a file's header, so a checkpoint has it in a tensor.
    #[serde(skip)]
    pub(super) history: Vec<EpochReport>,
}

/// What the steps of an epoch add up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Sums {
    pub(super) cost: f64,
    pub(super) correct: usize,
    pub(super) learning_rate: f64,
    pub(super) seconds: f64,
}

impl<T: Scalar> Course<T> {
    /// Before the first step.
    pub(super) fn new(optimizer: &dyn Optimizer<T>, ema: Option<f64>, keeps_best: bool, net: &Sequential<T>) -> Self {
        Self {
            optimizer: OptimizerState::new(optimizer, net.params.layout()),
            average: ema.map(|decay| Average::new(decay, net)),
            keeps_best,
            best: None,
            at: Place::default(),
            checkpoint: None,
        }
    }

    /// Counts a step that optimizer and network have made.
    pub(super) fn took_step(&mut self, net: &Sequential<T>) {
        self.at.step += 1;
        if let Some(average) = &mut self.average {
            average.add(net, self.optimizer.step_number());
        }
    }

    /// Parameters and buffers of the network that is evaluated after an epoch: that of the last step, or the average.
    fn present<'c>(&'c self, net: &'c Sequential<T>) -> (&'c Arena<T>, &'c Arena<T>) {
        self.average.as_ref().map_or((&net.params, &net.buffers), |average| (&average.params, &average.buffers))
    }

    /// Parameters and buffers of the network that the run would end with, if it ended here.
    pub(super) fn outcome<'c>(&'c self, net: &'c Sequential<T>) -> (&'c Arena<T>, &'c Arena<T>) {
        self.best.as_ref().map_or_else(|| self.present(net), |(params, buffers)| (params, buffers))
    }

    /// Looks at the network that is evaluated after an epoch.
    pub(super) fn with_present<R>(&mut self, net: &mut Sequential<T>, look: impl FnOnce(&Sequential<T>) -> R) -> R {
        let mut swap = |net: &mut Sequential<T>| self.average.iter_mut().for_each(|average| average.swap(net));
        swap(net);
        let seen = look(net);
        swap(net);
        seen
    }

    /// Takes the report of an epoch, and its network, if it is to be kept.
    pub(super) fn finish_epoch(&mut self, net: &Sequential<T>, report: EpochReport) {
        let epoch = report.epoch;
        self.at.history.push(report);
        if self.keeps_best && best_epoch(&self.at.history).is_some_and(|best| best.epoch == epoch) {
            let (params, buffers) = self.present(net);
            self.best = Some((params.clone(), buffers.clone()));
        }
    }

    /// Makes the network what the run ends with, and says what happened.
    pub(super) fn end(&mut self, net: &mut Sequential<T>, epochs: u64) -> History {
        let (params, buffers) = self.outcome(net);
        (net.params, net.buffers) = (params.clone(), buffers.clone());
        let stopped = self.at.epoch < epochs;
        History { epochs: std::mem::take(&mut self.at.history), stopped }
    }
}

/// The epoch with the highest accuracy on what is held out, the last of equal ones.
pub(super) fn best_epoch(epochs: &[EpochReport]) -> Option<&EpochReport> {
    epochs.iter().max_by(|a, b| a.held_out.accuracy().total_cmp(&b.held_out.accuracy()))
}

impl Sums {
    pub(super) fn add(&mut self, cost: f64, correct: usize, samples: usize, learning_rate: f64, seconds: f64) {
        self.cost += cost * samples as f64;
        self.correct += correct;
        self.learning_rate = learning_rate;
        self.seconds += seconds;
    }
}
