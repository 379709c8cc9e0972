//! The training loop.

use std::{fmt, sync::Arc, time::Instant};

use layers::{Scalar, random::Key};
use ndarray::ArrayView1;

use crate::{
    Cost, Data, Flow, NetError, Observer, Position, Schedule, Sequential, Targets, Workspace,
    augment::{Augment, Augmenter},
    cost::SoftmaxCrossEntropy,
    execute::Draw,
    metrics::argmax,
    observe::{EpochReport, Run, StepReport},
    optim::{Optimizer, OptimizerState},
};

/// Gradient descent over a data set: batches, epochs, a schedule, and observers.
///
/// Unless told otherwise: batches of 64, one epoch, softmax cross-entropy, a constant learning rate, seed 0, a new order of
/// the samples each epoch, as many threads as rayon's current pool has. The same seed gives the same weights, bit for bit,
/// for any number of threads.
///
/// ```
/// use net::{Activation::Relu, Sequential, Trainer, optim::Sgd};
/// let data = mnist_io::Mnist::sample()?;
/// let (train, test) = (data.train.take(500), data.test.take(100));
/// let mut net = Sequential::builder([1, 28, 28]).conv2d(4, 5).activation(Relu).max_pool2d(4).dense(10).build(42)?;
/// let history = Trainer::new(Sgd::new(0.05).momentum(0.9)).epochs(3).fit(&mut net, train.pair(), test.pair())?;
/// assert!(history.epochs[2].held_out.accuracy() > 0.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Trainer<'o, T: Scalar> {
    optimizer: Box<dyn Optimizer<T>>,
    cost: Box<dyn Cost<T>>,
    augment: Option<Arc<dyn Augment<T>>>,
    schedule: Schedule,
    epochs: u64,
    batch_size: usize,
    shuffle: bool,
    seed: u64,
    threads: Option<usize>,
    observers: Vec<Box<dyn Observer + 'o>>,
}

/// What happened in a run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The epochs that were finished.
    pub epochs: Vec<EpochReport>,
    /// Whether an observer ended the run early.
    pub stopped: bool,
}

impl<'o, T: Scalar> Trainer<'o, T> {
    /// A run with an optimizer.
    #[must_use]
    pub fn new(optimizer: impl Optimizer<T> + 'static) -> Self {
        Self {
            optimizer: Box::new(optimizer),
            cost: Box::new(SoftmaxCrossEntropy::new()),
            augment: None,
            schedule: Schedule::Constant,
            epochs: 1,
            batch_size: 64,
            shuffle: true,
            seed: 0,
            threads: None,
            observers: Vec::new(),
        }
    }

    /// What is made small; softmax cross-entropy unless said otherwise.
    #[must_use]
    pub fn cost(mut self, cost: impl Cost<T> + 'static) -> Self {
        self.cost = Box::new(cost);
        self
    }

    /// How training images are changed, anew in every epoch; not at all unless said otherwise. Images that are held out stay as
    /// they are. The accuracy reported on the training samples is that on the changed ones.
    #[must_use]
    pub fn augment(mut self, augment: impl Augment<T> + 'static) -> Self {
        self.augment = Some(Arc::new(augment));
        self
    }

    /// How often every sample is learnt from.
    #[must_use]
    pub fn epochs(mut self, epochs: u64) -> Self {
        self.epochs = epochs;
        self
    }

    /// Samples whose mean gradient makes one step. The last batch of an epoch may be smaller.
    #[must_use]
    pub fn batch_size(mut self, samples: usize) -> Self {
        self.batch_size = samples;
        self
    }

    /// How the learning rate changes.
    #[must_use]
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// The root of the run's random numbers: order of samples, dropout masks, augmentation.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Whether each epoch takes the samples in a new random order (yes, unless told otherwise).
    #[must_use]
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }

    /// How many threads work, 1 to 256, in a pool of their own.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Somebody who watches, and may stop the run.
    #[must_use]
    pub fn observe(mut self, observer: impl Observer + 'o) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Trains a network on `train`, and evaluates it on `held_out` after each epoch. What is held out chooses nothing: it is
    /// only reported.
    ///
    /// # Errors
    /// [`NetError`] when a setting, the data or the number of threads is wrong (nothing has been changed then), or when the
    /// cost or a parameter becomes infinite or NaN (the network then is as it was before that epoch).
    pub fn fit<'d>(
        &mut self,
        net: &mut Sequential<T>,
        train: impl Into<Data<'d, T>>,
        held_out: impl Into<Data<'d, T>>,
    ) -> Result<History, NetError>
    where
        T: 'd,
    {
        let (train, held_out) = (train.into(), held_out.into());
        self.check()?;
        train.check("the training set", &net.input, net.outputs())?;
        held_out.check("the held-out set", &net.input, net.outputs())?;
        // one entry into the pool for the whole run: entering costs more than many a step
        match self.threads {
            Some(threads) => conv_kernels::pool(threads)?.install(|| self.run(net, &train, &held_out)),
            None => rayon::scope(|_| self.run(net, &train, &held_out)),
        }
    }

    fn check(&self) -> Result<(), NetError> {
        self.optimizer.validate().map_err(|error| NetError::Setting(error.to_string()))?;
        self.schedule.validate().map_err(|error| NetError::Setting(error.to_string()))?;
        for (what, value) in [("epochs", self.epochs), ("the batch size", self.batch_size as u64)] {
            if value == 0 {
                return Err(NetError::Setting(format!("{what} must be at least 1")));
            }
        }
        Ok(())
    }

    fn run(
        &mut self,
        net: &mut Sequential<T>,
        train: &Data<'_, T>,
        held_out: &Data<'_, T>,
    ) -> Result<History, NetError> {
        let augment = self.augment.clone().map(|augment| Augmenter::new(augment, net, &train.images)).transpose()?;
        let batch_size = self.batch_size.min(train.len());
        let steps = train.len().div_ceil(batch_size) as u64;
        let threads = rayon::current_num_threads();
        let run = Run { epochs: self.epochs, steps, samples: train.len(), batch_size, threads };
        self.observers.iter_mut().for_each(|observer| observer.start(&run));
        let mut state = OptimizerState::new(self.optimizer.as_ref(), net.params.layout());
        let mut learner = Learner {
            order: (0..train.len() as u64).collect(),
            labels: Vec::with_capacity(batch_size),
            augment,
            workspace: net.workspace(batch_size),
        };
        let result = self.epochs_of(net, train, held_out, &run, &mut state, &mut learner);
        self.observers.iter_mut().for_each(|observer| observer.finish());
        result
    }

    fn epochs_of(
        &mut self,
        net: &mut Sequential<T>,
        train: &Data<'_, T>,
        held_out: &Data<'_, T>,
        run: &Run,
        state: &mut OptimizerState<T>,
        learner: &mut Learner<T>,
    ) -> Result<History, NetError> {
        let mut history = History::default();
        for epoch in 0..self.epochs {
            let before = (net.params.clone(), net.buffers.clone());
            let begin = Instant::now();
            let done = self.epoch(net, train, run, epoch, state, learner);
            let seconds = begin.elapsed().as_secs_f64();
            // the cost of a step is known before the step: of the last one, only this tells
            let checked = done.and_then(|sums| {
                let held_out = net.evaluate(held_out.clone(), self.cost.as_ref())?;
                let (step, learning_rate) = (run.steps, sums.learning_rate);
                let diverged =
                    NetError::Diverged { epoch: epoch + 1, step, cost: held_out.cost, learning_rate, layer: None };
                if held_out.cost.is_finite() { Ok((sums, held_out)) } else { Err(diverged) }
            });
            let (sums, held_out) = match checked {
                Ok(checked) => checked,
                Err(error) => {
                    (net.params, net.buffers) = before;
                    return Err(error);
                }
            };
            if sums.samples < train.len() {
                history.stopped = true;
                return Ok(history);
            }
            let count = train.len() as f64;
            let report = EpochReport {
                epoch: epoch + 1,
                train_cost: sums.cost / count,
                train_accuracy: sums.correct as f64 / count,
                held_out,
                learning_rate: sums.learning_rate,
                seconds,
                samples_per_second: count / seconds,
            };
            let stop = self.tell(|observer| observer.epoch(&report));
            history.epochs.push(report);
            if stop {
                history.stopped = epoch + 1 < self.epochs;
                break;
            }
        }
        Ok(history)
    }

    /// One pass over the training samples, or less when an observer stops it.
    fn epoch(
        &mut self,
        net: &mut Sequential<T>,
        train: &Data<'_, T>,
        run: &Run,
        epoch: u64,
        state: &mut OptimizerState<T>,
        learner: &mut Learner<T>,
    ) -> Result<Sums, NetError> {
        let key = Key::new(self.seed);
        if self.shuffle {
            // from the file's order, so that an epoch's order depends on nothing before it
            learner.order.iter_mut().zip(0..).for_each(|(sample, index)| *sample = index);
            key.stream("shuffle", "", epoch, 0).shuffle(&mut learner.order);
        }
        let mut sums = Sums::default();
        for step in 0..run.steps {
            let steps = run.epochs.saturating_mul(run.steps);
            let position = Position { step: epoch * run.steps + step, steps, epoch, epochs: run.epochs };
            let learning_rate = self.optimizer.learning_rate() * self.schedule.factor(position);
            let batch = step as usize * run.batch_size..train.len().min((step as usize + 1) * run.batch_size);
            let (cost, correct) = learner.gradient(net, train, batch.clone(), key, epoch, self.cost.as_ref());
            if !cost.is_finite() {
                let layer = net.first_not_finite(&learner.workspace);
                return Err(NetError::Diverged { epoch: epoch + 1, step: step + 1, cost, learning_rate, layer });
            }
            state.step(self.optimizer.as_ref(), learning_rate, &mut net.params, learner.workspace.grads());
            net.commit(&learner.workspace);
            sums.add(cost, correct, batch.len(), learning_rate);
            let report = StepReport { epoch: epoch + 1, step: step + 1, samples: batch.len(), cost, learning_rate };
            if self.tell(|observer| observer.step(&report)) {
                break;
            }
        }
        Ok(sums)
    }

    /// Tells every observer; whether one of them wants to stop.
    fn tell(&mut self, mut tell: impl FnMut(&mut dyn Observer) -> Flow) -> bool {
        self.observers.iter_mut().fold(false, |stop, observer| (tell(observer.as_mut()) == Flow::Stop) | stop)
    }
}

/// What a run needs again and again.
struct Learner<T: Scalar> {
    /// The samples in the order of this epoch.
    order: Vec<u64>,
    labels: Vec<u8>,
    augment: Option<Augmenter<T>>,
    workspace: Workspace<T>,
}

impl<T: Scalar> Learner<T> {
    /// The gradient of one batch, left in the workspace; its mean cost, and how many classes were found.
    fn gradient(
        &mut self,
        net: &Sequential<T>,
        train: &Data<'_, T>,
        batch: std::ops::Range<usize>,
        key: Key,
        epoch: u64,
        cost: &dyn Cost<T>,
    ) -> (f64, usize) {
        let samples = &self.order[batch];
        self.labels.clear();
        self.labels.extend(samples.iter().map(|&sample| train.labels[sample as usize]));
        let tables = std::mem::take(&mut self.workspace.tables);
        let load = |i: usize, out: &mut [T]| {
            train.images.write(samples[i] as usize, &tables, out);
            if let Some(augment) = &self.augment {
                augment.apply(key, epoch, samples[i], out);
            }
        };
        net.forward(&mut self.workspace, samples.len(), Some(Draw { key, epoch, samples }), &load);
        self.workspace.tables = tables;
        let value = net.cost_gradient(&mut self.workspace, Targets::Classes(&self.labels), cost);
        net.backward(&mut self.workspace);
        let found = |(output, &label): (ArrayView1<'_, T>, &u8)| argmax(output) == Some(usize::from(label));
        let correct = self.workspace.outputs().outer_iter().zip(&self.labels).filter(|&pair| found(pair)).count();
        (value, correct)
    }
}

/// What an epoch adds up.
#[derive(Default)]
struct Sums {
    cost: f64,
    correct: usize,
    samples: usize,
    learning_rate: f64,
}

impl Sums {
    fn add(&mut self, cost: f64, correct: usize, samples: usize, learning_rate: f64) {
        self.cost += cost * samples as f64;
        self.correct += correct;
        self.samples += samples;
        self.learning_rate = learning_rate;
    }
}

impl<T: Scalar> fmt::Debug for Trainer<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trainer")
            .field("optimizer", &self.optimizer)
            .field("cost", &self.cost)
            .field("augment", &self.augment)
            .field("schedule", &self.schedule)
            .field("epochs", &self.epochs)
            .field("batch_size", &self.batch_size)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
