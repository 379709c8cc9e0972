//! The training loop.

use std::{fmt, sync::Arc};

use layers::{Scalar, random::Key};
use ndarray::ArrayView1;

use crate::{
    Cost, Data, Flow, NetError, Observer, Schedule, Sequential, Targets, Workspace,
    augment::{Augment, Augmenter},
    cost::SoftmaxCrossEntropy,
    execute::Draw,
    metrics::argmax,
    observe::{EpochReport, Run},
    optim::Optimizer,
};

mod checkpoint;
mod course;
mod ema;
mod record;
mod run;
mod settings;

pub use checkpoint::Checkpoints;
use checkpoint::Keeper;
use course::Course;
use run::Job;

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
    ema: Option<f64>,
    keep_best: bool,
    checkpoints: Option<Checkpoints>,
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

impl History {
    /// The epoch with the highest accuracy on what was held out, the last of equal ones: the one whose network
    /// [`Trainer::keep_best`] keeps. `None` before the first epoch's end.
    #[must_use]
    pub fn best(&self) -> Option<&EpochReport> {
        course::best_epoch(&self.epochs)
    }
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
            ema: None,
            keep_best: false,
            checkpoints: None,
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

    /// Averages the weights: the network that is evaluated after each epoch, and that [`fit`](Self::fit) leaves behind, is the
    /// mean of the networks after each step, in which each weighs `decay` times as much as the one after it. Steps are taken
    /// by the network that is not averaged.
    ///
    /// The averaged network often does better than the last one, whose steps still jump around the goal. 1 / (1 − `decay`) steps
    /// count in effect: 0.99 to 0.999 suit runs of some thousand steps. The first steps are no exception: the mean is normalised,
    /// and where the network started has no share in it. BatchNorm's running statistics are averaged likewise, since those
    /// of the last step belong to other weights; its counters are copied.
    #[must_use]
    #[doc(alias = "exponential moving average")]
    pub fn ema(mut self, decay: f64) -> Self {
        self.ema = Some(decay);
        self
    }

    /// Keeps the network of the epoch with the highest accuracy on what is held out, the last of equal ones, instead of that of the
    /// last epoch: it is what [`fit`](Self::fit) leaves behind. With [`ema`](Self::ema) it is the averaged network.
    ///
    /// The held-out data then choose. Their accuracy in that epoch is no fair estimate any more, and they must be a part of the
    /// training data: images that a result is to be claimed for may choose nothing.
    ///
    /// ```
    /// use net::{Sequential, Trainer, cost::SoftmaxCrossEntropy, optim::Sgd};
    /// let data = mnist_io::Mnist::sample()?;
    /// let (train, validation) = data.train.take(300).split_at(200);
    /// let mut net = Sequential::builder([1, 28, 28]).dense(10).build(42)?;
    /// let mut trainer = Trainer::new(Sgd::new(0.5)).epochs(8).keep_best(true);
    /// let history = trainer.fit(&mut net, train.pair(), validation.pair())?;
    /// let kept = net.evaluate(validation.pair(), &SoftmaxCrossEntropy::new())?;
    /// assert_eq!(Some(kept.accuracy()), history.best().map(|epoch| epoch.held_out.accuracy()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn keep_best(mut self, keep: bool) -> Self {
        self.keep_best = keep;
        self
    }

    /// Leaves checkpoints in a folder, and goes on from the last one there: a run that was killed, and is started again in the
    /// same way, ends with the same network, bit for bit, and with the same reports, as the run that was not.
    ///
    /// A checkpoint is checked against its SHA-256; one that is damaged is passed over for the one before it. One of another run
    /// is refused: data, settings, architecture, starting weights, instruction set and version must be the same. The number of
    /// threads may differ, and so may the number of epochs, as long as the steps that are done would have had the same learning
    /// rates. A run that is complete is not run again.
    ///
    /// ```
    /// use net::{Checkpoints, Sequential, Trainer, optim::Sgd};
    /// let data = mnist_io::Mnist::sample()?;
    /// let (train, test) = (data.train.take(200), data.test.take(50));
    /// let folder = tempfile::tempdir()?;
    /// let learn = |epochs| {
    ///     let mut net = Sequential::builder([1, 28, 28]).dense(10).build(42)?;
    ///     let mut trainer = Trainer::new(Sgd::new(0.1)).checkpoints(Checkpoints::in_dir(folder.path()).every_steps(3));
    ///     trainer = trainer.batch_size(20).epochs(epochs);
    ///     trainer.fit(&mut net, train.pair(), test.pair())
    /// };
    /// assert_eq!(learn(2)?.epochs.len(), 2);
    /// assert_eq!(learn(3)?.epochs.len(), 3); // two of them from the checkpoint
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[doc(alias = "resume")]
    pub fn checkpoints(mut self, checkpoints: Checkpoints) -> Self {
        self.checkpoints = Some(checkpoints);
        self
    }

    /// Somebody who watches, and may stop the run.
    #[must_use]
    pub fn observe(mut self, observer: impl Observer + 'o) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Trains a network on `train`, and evaluates it on `held_out` after each epoch. What is held out chooses nothing, unless
    /// [`keep_best`](Self::keep_best) says so: it is only reported.
    ///
    /// # Errors
    /// [`NetError`] when a setting, the data or the number of threads is wrong, or a checkpoint is of another run or none can be
    /// read (nothing has been changed then); or when something becomes infinite or NaN (the cost, looked at in every step; a
    /// parameter or a running statistic, looked at after every epoch, at every checkpoint, and where the run is stopped), or a
    /// checkpoint cannot be written (the network then is as it was before that epoch, or at the checkpoint if the run went on
    /// within the epoch).
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
        self.validate()?;
        train.check("the training set", &net.input, net.outputs())?;
        held_out.check("the held-out set", &net.input, net.outputs())?;
        // one entry into the pool for the whole run: entering costs more than many a step
        match self.threads {
            Some(threads) => conv_kernels::pool(threads)?.install(|| self.run(net, &train, &held_out)),
            None => rayon::scope(|_| self.run(net, &train, &held_out)),
        }
    }

    /// Whether the settings make sense; [`fit`](Self::fit) asks first, and a program may ask before it loads its data.
    ///
    /// # Errors
    /// [`NetError::Setting`] names the setting, its range and what it is.
    ///
    /// ```
    /// use net::{Trainer, optim::Sgd};
    /// let error = Trainer::<f32>::new(Sgd::new(0.1)).batch_size(0).validate().unwrap_err();
    /// assert_eq!(error.to_string(), "the batch size must be at least 1");
    /// ```
    pub fn validate(&self) -> Result<(), NetError> {
        self.optimizer.validate().map_err(|error| NetError::Setting(error.to_string()))?;
        self.schedule.validate().map_err(|error| NetError::Setting(error.to_string()))?;
        if let Some(augment) = &self.augment {
            augment.validate().map_err(|error| NetError::Setting(error.to_string()))?;
        }
        for (what, value) in [("epochs", self.epochs), ("the batch size", self.batch_size as u64)] {
            if value == 0 {
                return Err(NetError::Setting(format!("{what} must be at least 1")));
            }
        }
        if let Some(decay) = self.ema.filter(|decay| !(0.0..1.0).contains(decay)) {
            let problem =
                format!("the decay of the average must be at least 0 and below 1 (got {decay}): 0.99 is usual");
            return Err(NetError::Setting(problem));
        }
        self.checkpoints.as_ref().map_or(Ok(()), Checkpoints::check)
    }

    fn run<'d>(
        &mut self,
        net: &mut Sequential<T>,
        train: &Data<'d, T>,
        held_out: &Data<'d, T>,
    ) -> Result<History, NetError> {
        let augment = self.augment.clone().map(|augment| Augmenter::new(augment, net, &train.images)).transpose()?;
        let batch_size = self.batch_size.min(train.len());
        let steps = train.len().div_ceil(batch_size) as u64;
        let threads = rayon::current_num_threads();
        let run = Run { epochs: self.epochs, steps, samples: train.len(), batch_size, threads };
        let keeper = match self.checkpoints.clone() {
            Some(checkpoints) => {
                let settings = self.settings(net, train, held_out, &run)?;
                Some(Keeper::new(checkpoints, settings, self.schedule, run.clone()))
            }
            None => None,
        };
        let job = Job { train, held_out, augment, keeper, run };
        let mut course = Course::new(self.optimizer.as_ref(), self.ema, self.keep_best, net);
        self.observers.iter_mut().for_each(|observer| observer.start(&job.run));
        let result = self.learn(net, &job, &mut course);
        self.observers.iter_mut().for_each(|observer| observer.finish());
        result
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
    workspace: Workspace<T>,
}

impl<T: Scalar> Learner<T> {
    /// The gradient of one batch, left in the workspace; its mean cost, and how many classes were found.
    fn gradient(
        &mut self,
        net: &Sequential<T>,
        Job { train, augment, .. }: &Job<'_, '_, T>,
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
            if let Some(augment) = augment {
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
