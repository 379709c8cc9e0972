//! The course of a run: epochs, their steps, and what comes after each.

use std::time::Instant;

use layers::{Scalar, random::Key};

use super::{
    Learner, Trainer,
    checkpoint::Keeper,
    course::{Course, Sums},
};
use crate::{
    Data, History, NetError, Sequential,
    augment::Augmenter,
    observe::{EpochReport, Run, StepReport},
};

/// What a run works on, and where it leaves checkpoints.
pub(super) struct Job<'j, 'd, T: Scalar> {
    pub(super) train: &'j Data<'d, T>,
    pub(super) held_out: &'j Data<'d, T>,
    pub(super) augment: Option<Augmenter<T>>,
    pub(super) run: Run,
    pub(super) keeper: Option<Keeper>,
}

impl<T: Scalar> Trainer<'_, T> {
    /// All of it, or what a checkpoint left to do.
    pub(super) fn learn(
        &mut self,
        net: &mut Sequential<T>,
        job: &Job<'_, '_, T>,
        course: &mut Course<T>,
    ) -> Result<History, NetError> {
        let mut learner = Learner {
            order: (0..job.train.len() as u64).collect(),
            labels: Vec::with_capacity(job.run.batch_size),
            workspace: net.workspace(job.run.batch_size),
        };
        let mut stop = match &job.keeper {
            Some(keeper) => self.resume(keeper, net, course)?,
            None => false,
        };
        while !stop && course.at.epoch < job.run.epochs {
            let (params, buffers) = course.outcome(net);
            let before = (params.clone(), buffers.clone());
            match self.epoch(net, job, course, &mut learner) {
                Ok(wanted) => stop = wanted,
                Err(error) => {
                    (net.params, net.buffers) = before;
                    return Err(error);
                }
            }
        }
        Ok(course.end(net, job.run.epochs))
    }

    /// Goes on from the last checkpoint; whether an observer wants to stop there.
    fn resume(&mut self, keeper: &Keeper, net: &mut Sequential<T>, course: &mut Course<T>) -> Result<bool, NetError> {
        for notice in keeper.resume(net, course)? {
            self.observers.iter_mut().for_each(|observer| observer.notice(&notice));
        }
        Ok(course.at.history.iter().fold(false, |stop, report| self.tell(|observer| observer.epoch(report)) | stop))
    }

    /// The rest of an epoch, and what is to be done after it; whether an observer stops the run.
    fn epoch(
        &mut self,
        net: &mut Sequential<T>,
        job: &Job<'_, '_, T>,
        course: &mut Course<T>,
        learner: &mut Learner<T>,
    ) -> Result<bool, NetError> {
        let mut stop = self.steps(net, job, course, learner)?;
        if course.at.step < job.run.steps {
            check_finite(net, course)?;
            if let Some(keeper) = &job.keeper {
                keeper.write(net, course)?;
            }
            return Ok(true);
        }
        let Sums { cost, correct, learning_rate, seconds } = course.at.sums;
        let held_out = course.with_present(net, |net| net.evaluate(job.held_out.clone(), self.cost.as_ref()))?;
        if !held_out.cost.is_finite() {
            // the cost of a step is known before the step: of the last one, only this tells
            learner.gradient(net, job, 0..job.run.batch_size, Key::new(self.seed), course.at.epoch, &*self.cost);
            return Err(diverged(net, learner, course, job.run.steps, held_out.cost, learning_rate));
        }
        check_finite(net, course)?;
        course.at.epoch += 1;
        (course.at.step, course.at.sums) = (0, Sums::default());
        let count = job.train.len() as f64;
        let report = EpochReport {
            epoch: course.at.epoch,
            train_cost: cost / count,
            train_accuracy: correct as f64 / count,
            held_out,
            learning_rate,
            seconds,
            // a coarse clock may not have moved
            samples_per_second: count / seconds.max(1e-9),
        };
        stop |= self.tell(|observer| observer.epoch(&report));
        course.finish_epoch(net, report);
        let ends = stop || course.at.epoch == job.run.epochs;
        match job.keeper.as_ref().filter(|keeper| ends || keeper.due(course)) {
            Some(keeper) => keeper.write(net, course).map(|()| stop),
            None => Ok(stop),
        }
    }

    /// The steps of an epoch that are still to do, or fewer when an observer stops the run: whether one did.
    fn steps(
        &mut self,
        net: &mut Sequential<T>,
        job: &Job<'_, '_, T>,
        course: &mut Course<T>,
        learner: &mut Learner<T>,
    ) -> Result<bool, NetError> {
        let (key, train, run) = (Key::new(self.seed), job.train, &job.run);
        let (epoch, first) = (course.at.epoch, course.at.step);
        if self.shuffle {
            // from the file's order, so that an epoch's order depends on nothing before it
            learner.order.iter_mut().zip(0..).for_each(|(sample, index)| *sample = index);
            key.stream("shuffle", "", epoch, 0).shuffle(&mut learner.order);
        }
        for step in first..run.steps {
            let begin = Instant::now();
            let position = run.position(epoch * run.steps + step);
            let learning_rate = self.optimizer.learning_rate() * self.schedule.factor(position);
            let batch = step as usize * run.batch_size..train.len().min((step as usize + 1) * run.batch_size);
            let (cost, correct) = learner.gradient(net, job, batch.clone(), key, epoch, self.cost.as_ref());
            if !cost.is_finite() {
                return Err(diverged(net, learner, course, step + 1, cost, learning_rate));
            }
            // not before this step's cost has shown that the last one left a sound network
            if let Some(keeper) = job.keeper.as_ref().filter(|keeper| step > first && keeper.due(course)) {
                check_finite(net, course)?;
                keeper.write(net, course)?;
            }
            course.optimizer.step(self.optimizer.as_ref(), learning_rate, &mut net.params, learner.workspace.grads());
            net.commit(&learner.workspace);
            course.took_step(net);
            let seconds = begin.elapsed().as_secs_f64();
            course.at.sums.add(cost, correct, batch.len(), learning_rate, seconds);
            let report = StepReport { epoch: epoch + 1, step: step + 1, samples: batch.len(), cost, learning_rate };
            if self.tell(|observer| observer.step(&report)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Refuses a network that a run must neither leave nor keep. The cost of a step does not tell: it is known before the update, and
/// a sigmoid makes a finite output of an infinite sum. An average is finite as long as the network is.
fn check_finite<T: Scalar>(net: &Sequential<T>, course: &Course<T>) -> Result<(), NetError> {
    let mut tensors = net.params.tensors().chain(net.buffers.tensors());
    match tensors.find(|tensor| tensor.values.iter().any(|value| !value.is_finite())) {
        None => Ok(()),
        Some(tensor) => Err(NetError::NotFinite {
            tensor: tensor.spec.name.clone(),
            epoch: course.at.epoch + 1,
            step: course.at.step,
            learning_rate: course.at.sums.learning_rate,
            checkpoint: course.checkpoint.clone(),
        }),
    }
}

/// The error of a run whose cost is not finite; the learner's workspace has seen where.
fn diverged<T: Scalar>(
    net: &Sequential<T>,
    learner: &Learner<T>,
    course: &Course<T>,
    step: u64,
    cost: f64,
    learning_rate: f64,
) -> NetError {
    NetError::Diverged {
        epoch: course.at.epoch + 1,
        step,
        cost,
        learning_rate,
        layer: net.first_not_finite(&learner.workspace),
        checkpoint: course.checkpoint.clone(),
    }
}
