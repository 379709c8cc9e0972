//! The settings of a recipe besides its layers, as they are written.

use std::num::{NonZeroU64, NonZeroUsize};

use net::{
    Scaling, Schedule, Trainer,
    augment::{Affine, Augment, Distort, Elastic, Shift},
    cost,
    optim::{Adam, AdamW, Decay, Optimizer, RmsProp, Sgd},
};
use serde::Deserialize;

/// `{ sgd = { learning_rate = 0.05, momentum = 0.9 } }`; what is not said has the library's default.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum OptimizerSpec {
    Sgd {
        learning_rate: f64,
        #[serde(default)]
        momentum: f64,
        #[serde(default)]
        nesterov: bool,
        decay: Option<DecaySpec>,
    },
    Adam {
        learning_rate: f64,
        decay: Option<DecaySpec>,
    },
    AdamW {
        learning_rate: f64,
        weight_decay: Option<f64>,
    },
    RmsProp {
        learning_rate: f64,
        #[serde(default)]
        momentum: f64,
        decay: Option<DecaySpec>,
    },
}

impl OptimizerSpec {
    pub(super) fn set_learning_rate(&mut self, rate: f64) {
        let (Self::Sgd { learning_rate, .. }
        | Self::Adam { learning_rate, .. }
        | Self::AdamW { learning_rate, .. }
        | Self::RmsProp { learning_rate, .. }) = self;
        *learning_rate = rate;
    }

    /// The optimizer, for an epoch of so many samples in so many batches.
    pub(super) fn build(&self, samples: usize, batches: usize) -> Box<dyn Optimizer<f32>> {
        let decay = |spec: Option<DecaySpec>| spec.map_or(Decay::None, |spec| spec.of(samples, batches));
        match *self {
            Self::Sgd { learning_rate, momentum, nesterov, decay: spec } => {
                Box::new(Sgd::new(learning_rate).momentum(momentum).nesterov(nesterov).decay(decay(spec)))
            }
            Self::Adam { learning_rate, decay: spec } => Box::new(Adam::new(learning_rate).decay(decay(spec))),
            Self::AdamW { learning_rate, weight_decay } => {
                let adam_w = AdamW::new(learning_rate);
                Box::new(weight_decay.map_or(adam_w, |decay| adam_w.weight_decay(decay)))
            }
            Self::RmsProp { learning_rate, momentum, decay: spec } => {
                Box::new(RmsProp::new(learning_rate).momentum(momentum).decay(decay(spec)))
            }
        }
    }
}

/// Weight decay in PyTorch's words (`l2`), or in Nielsen's, whose factor is divided by the number of images (chapter 3) or of
/// batches (chapter 6) that an epoch learns from.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DecaySpec {
    L2(f64),
    L1(f64),
    NielsenCh3(f64),
    NielsenCh6(f64),
}

impl DecaySpec {
    fn of(self, samples: usize, batches: usize) -> Decay {
        match self {
            Self::L2(lambda) => Decay::L2(lambda),
            Self::L1(lambda) => Decay::L1(lambda),
            Self::NielsenCh3(lambda) => Decay::nielsen_ch3(lambda, samples),
            Self::NielsenCh6(lambda) => Decay::nielsen_ch6(lambda, batches),
        }
    }
}

/// [`Schedule`] as it is written.
#[derive(Deserialize)]
#[serde(remote = "Schedule", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum ScheduleSpec {
    Constant,
    Step { every: f64, factor: f64 },
    Exponential { factor: f64 },
    Cosine { end: f64 },
    OneCycle { warmup: f64, start: f64, end: f64 },
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CostSpec {
    Quadratic,
    MeanSquaredError,
    CrossEntropy,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
}

impl CostSpec {
    /// The cost as the trainer's; `smoothing` is the share of the target that all classes get.
    pub(super) fn give_to<'o>(self, trainer: Trainer<'o, f32>, smoothing: f64) -> anyhow::Result<Trainer<'o, f32>> {
        anyhow::ensure!(
            smoothing == 0.0 || matches!(self, Self::SoftmaxCrossEntropy),
            "label_smoothing is for the cost `softmax_cross_entropy` alone; leave it out"
        );
        Ok(match self {
            Self::Quadratic => trainer.cost(cost::Quadratic::new()),
            Self::MeanSquaredError => trainer.cost(cost::MeanSquaredError),
            Self::CrossEntropy => trainer.cost(cost::CrossEntropy::new()),
            Self::SigmoidCrossEntropy => trainer.cost(cost::SigmoidCrossEntropy::new()),
            Self::SoftmaxCrossEntropy => trainer.cost(cost::SoftmaxCrossEntropy::new().label_smoothing(smoothing)?),
        })
    }

    /// What it is called in the line that describes a run.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Quadratic => "quadratic cost",
            Self::MeanSquaredError => "mean squared error",
            Self::CrossEntropy => "cross-entropy",
            Self::SigmoidCrossEntropy => "sigmoid cross-entropy",
            Self::SoftmaxCrossEntropy => "softmax cross-entropy",
        }
    }
}

/// How bytes become numbers.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum ScalingSpec {
    /// / 255
    #[default]
    Unit,
    /// / 256
    Nielsen,
    /// (byte / 255 − mean) / deviation
    Standardized { mean: f64, deviation: f64 },
}

impl ScalingSpec {
    pub(super) fn build(self) -> Scaling {
        match self {
            Self::Unit => Scaling::unit(),
            Self::Nielsen => Scaling::nielsen(),
            Self::Standardized { mean, deviation } => Scaling::unit().standardized(&[mean], &[deviation]),
        }
    }
}

/// How images are changed while they are learnt from.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum AugmentSpec {
    Shift {
        pixels: u8,
    },
    Distort {
        #[serde(default)]
        shift: f64,
        #[serde(default)]
        rotation: f64,
        #[serde(default)]
        scale: f64,
        #[serde(default)]
        shear: f64,
        elastic: Option<ElasticSpec>,
        #[serde(default)]
        flip: f64,
        #[serde(default)]
        cutout: u8,
    },
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ElasticSpec {
    sigma: f64,
    alpha: f64,
}

impl AugmentSpec {
    /// What different hands do to a digit; in a deviation of 1.4 pixels, the elastic part of Simard, Steinkraus and Platt (2003).
    pub(super) const HANDS: Self = Self::Distort {
        shift: 2.0,
        rotation: 12.0,
        scale: 0.12,
        shear: 8.0,
        elastic: Some(ElasticSpec { sigma: 4.0, alpha: 34.0 }),
        flip: 0.0,
        cutout: 0,
    };

    pub(super) fn build(self) -> Box<dyn Augment<f32>> {
        match self {
            Self::Shift { pixels } => Box::new(Shift::new(pixels)),
            Self::Distort { shift, rotation, scale, shear, elastic, flip, cutout } => {
                let affine = Affine { shift, rotation, scale, shear };
                let distort = Distort::new().affine(affine).flip(flip).cutout(cutout);
                Box::new(match elastic {
                    Some(ElasticSpec { sigma, alpha }) => distort.elastic(Elastic { sigma, alpha }),
                    None => distort,
                })
            }
        }
    }
}

/// How the file of training images is used: the first `train` are learnt from, the next `validation` are what the network is
/// tested on after each epoch. A data set with fewer images is divided in the same proportion.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SplitSpec {
    pub(super) train: NonZeroUsize,
    /// 0: the test images are looked at after each epoch.
    #[serde(default)]
    pub(super) validation: usize,
}

impl SplitSpec {
    /// How many of `images` are learnt from, and how many validate.
    pub(super) fn of(self, images: usize) -> [usize; 2] {
        let (train, validation) = (self.train.get(), self.validation);
        let whole = train.saturating_add(validation);
        if images >= whole {
            return [train, validation];
        }
        let train = (images as u128 * train as u128 / whole as u128) as usize;
        let train = train.max(1).min(images);
        [train, images - train]
    }
}

/// When a run ends before its last epoch.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EarlyStoppingSpec {
    /// Epochs in a row without a higher validation accuracy.
    pub(super) patience: NonZeroU64,
}

/// The network of which epoch is the outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeepSpec {
    #[default]
    Last,
    BestValidation,
}
