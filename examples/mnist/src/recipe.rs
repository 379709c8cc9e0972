//! Recipes: a network and how it learns, as a small file.
//!
//! A recipe is TOML, and says everything that decides the outcome but the seed and the data. `recipes/` has the bundled ones;
//! the chapter "Recipes" of the book lists the keys.

use std::{
    fs,
    num::{NonZeroU64, NonZeroUsize},
    path::Path,
};

use anyhow::Context as _;
use mnist_io::SplitView;
use net::{NetError, Schedule, Sequential, Trainer, observe::EarlyStopping};
use serde::Deserialize;

mod bundled;
mod layer;
mod settings;
#[cfg(test)]
mod tests;

pub(crate) use bundled::BUNDLED;
use layer::Layer;
use settings::{
    AugmentSpec, CostSpec, EarlyStoppingSpec, KeepSpec, OptimizerSpec, ScalingSpec, ScheduleSpec, SplitSpec,
};

/// The training images of MNIST.
pub(crate) const MNIST: usize = 60_000;

/// A network and how it learns.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    /// What it is, in a line.
    pub(crate) title: String,
    /// Where it comes from.
    #[expect(dead_code, reason = "for those who read the file")]
    source: String,

    #[serde(default)]
    scaling: ScalingSpec,
    layers: Vec<Layer>,

    cost: CostSpec,
    #[serde(default)]
    label_smoothing: f64,
    optimizer: OptimizerSpec,
    #[serde(default, with = "ScheduleSpec")]
    schedule: Schedule,
    batch_size: NonZeroUsize,
    epochs: NonZeroU64,
    /// With fewer than 50,000 training images.
    epochs_small: Option<NonZeroU64>,
    #[serde(default = "yes")]
    shuffle: bool,
    augment: Option<AugmentSpec>,
    ema: Option<f64>,
    #[serde(default)]
    keep: KeepSpec,
    early_stopping: Option<EarlyStoppingSpec>,

    split: Option<SplitSpec>,
    /// Whether each training image becomes five: itself, and shifts by a pixel.
    #[serde(default)]
    expand: bool,
}

/// What the command line says in a recipe's place.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) epochs: Option<NonZeroU64>,
    pub(crate) batch_size: Option<NonZeroUsize>,
    pub(crate) learning_rate: Option<f64>,
    pub(crate) augment: bool,
}

/// The sizes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    /// Images that are learnt from.
    train: usize,
    /// Images that validate.
    validation: usize,
    /// Samples of an epoch: more than images when these are expanded.
    samples: usize,
    /// Steps of an epoch.
    batches: usize,
    epochs: u64,
}

impl Recipe {
    /// The bundled recipe of that name, or the one in a file.
    ///
    /// # Errors
    /// Say which file, where in it, and what is allowed there.
    pub(crate) fn load(name: &str, overrides: Overrides) -> anyhow::Result<Self> {
        if let Some(text) = text(name) {
            return Self::parse(text, overrides).with_context(|| format!("recipe {name}"));
        }
        let path = Path::new(name);
        anyhow::ensure!(path.components().count() > 1 || path.extension().is_some(), unknown(name));
        let text = fs::read_to_string(path).with_context(|| name.to_string())?;
        Self::parse(&text, overrides).with_context(|| name.to_string())
    }

    fn parse(text: &str, overrides: Overrides) -> anyhow::Result<Self> {
        let mut recipe: Self = toml::from_str(text)?;
        if let Some(epochs) = overrides.epochs {
            (recipe.epochs, recipe.epochs_small) = (epochs, None);
        }
        if let Some(batch_size) = overrides.batch_size {
            recipe.batch_size = batch_size;
        }
        if let Some(rate) = overrides.learning_rate {
            recipe.optimizer.set_learning_rate(rate);
        }
        if overrides.augment {
            recipe.augment = Some(AugmentSpec::HANDS);
        }
        let net = recipe.network(0)?;
        anyhow::ensure!(
            net.output_shape() == [10],
            "the last layer has outputs of shape {:?}; ten digits need [10]",
            net.output_shape()
        );
        anyhow::ensure!(
            !recipe.keeps_best() || recipe.validates(),
            "keep = \"best_validation\" needs images to choose by: split = {{ train = 50_000, validation = 10_000 }}, say"
        );
        anyhow::ensure!(
            recipe.early_stopping.is_none() || recipe.validates(),
            "early_stopping needs images to stop by: split = {{ train = 50_000, validation = 10_000 }}, say"
        );
        recipe.trainer(MNIST)?.validate()?;
        Ok(recipe)
    }

    /// The network, untrained.
    pub(crate) fn network(&self, seed: u64) -> Result<Sequential, NetError> {
        let digits = Sequential::builder([1, 28, 28]).scaling(self.scaling.build());
        self.layers.iter().fold(digits, |net, layer| net.spec(layer.spec())).build(seed)
    }

    /// The run, for a file of so many training images.
    ///
    /// # Errors
    /// Says what is wrong with the label smoothing.
    pub(crate) fn trainer<'o>(&self, images: usize) -> anyhow::Result<Trainer<'o, f32>> {
        let sizes = self.sizes(images);
        let mut trainer = Trainer::new(self.optimizer.build(sizes.samples, sizes.batches))
            .schedule(self.schedule)
            .batch_size(self.batch_size.get())
            .epochs(sizes.epochs)
            .shuffle(self.shuffle)
            .keep_best(self.keeps_best());
        trainer = self.cost.give_to(trainer, self.label_smoothing)?;
        if let Some(augment) = self.augment {
            trainer = trainer.augment(augment.build());
        }
        if let Some(patience) = self.patience() {
            trainer = trainer.observe(EarlyStopping::new(patience));
        }
        Ok(match self.ema {
            Some(decay) => trainer.ema(decay),
            None => trainer,
        })
    }

    /// The images to learn from, and those that validate, if any do.
    pub(crate) fn cut<'d>(&self, images: SplitView<'d>) -> (SplitView<'d>, Option<SplitView<'d>>) {
        let sizes = self.sizes(images.len());
        let (train, rest) = images.split_at(sizes.train);
        (train, self.validates().then(|| rest.take(sizes.validation)))
    }

    /// Whether the network of the best epoch is the outcome.
    pub(crate) fn keeps_best(&self) -> bool {
        self.keep == KeepSpec::BestValidation
    }

    /// After how many epochs without a better one the run ends.
    pub(crate) fn patience(&self) -> Option<u64> {
        self.early_stopping.map(|EarlyStoppingSpec { patience }| patience.get())
    }

    /// Whether some training images validate.
    fn validates(&self) -> bool {
        self.split.is_some_and(|split| split.validation > 0)
    }

    /// Whether each training image becomes five.
    pub(crate) fn expands(&self) -> bool {
        self.expand
    }

    /// Floating-point operations of training on a file of so many images: two for each multiply-add, the backward pass counted
    /// as twice the forward pass; tests between epochs are not counted, and all epochs are, also where a run may stop early.
    pub(crate) fn flop(&self, net: &Sequential, images: usize) -> f64 {
        let sizes = self.sizes(images);
        2.0 * 3.0 * net.macs() as f64 * sizes.samples as f64 * sizes.epochs as f64
    }

    /// Every setting but the layers, in a line.
    pub(crate) fn describe(&self, net: &Sequential, images: usize) -> String {
        let Sizes { train, validation, samples, batches, epochs } = self.sizes(images);
        let expanded = if self.expand { format!(" expanded to {samples}") } else { String::new() };
        let mut parts = vec![format!("images {train}{expanded}"), format!("epochs {epochs}")];
        parts.extend(self.patience().map(|patience| format!("stopped early after {patience} without a better one")));
        parts.push(format!("batch size {}", self.batch_size));
        parts.push(self.optimizer.build(samples, batches).describe());
        parts.push(format!("schedule {}", self.schedule));
        parts.push(self.cost.name().into());
        if self.label_smoothing > 0.0 {
            parts.push(format!("label smoothing {}", self.label_smoothing));
        }
        parts.extend(self.augment.map(|augment| augment.build().describe()));
        parts.extend(self.ema.map(|decay| format!("average of the weights, decay {decay}")));
        if !self.shuffle {
            parts.push("not shuffled".into());
        }
        if validation > 0 {
            let keeps = if self.keeps_best() { ", the best epoch kept" } else { "" };
            parts.push(format!("validated on {validation}{keeps}"));
        }
        format!("{}; {}", parts.join(", "), teraflop(self.flop(net, images)))
    }

    fn sizes(&self, images: usize) -> Sizes {
        let [train, validation] = self.split.map_or([images, 0], |split| split.of(images));
        let samples = if self.expand { 5 * train } else { train };
        let all = images >= 50_000;
        let epochs = self.epochs_small.filter(|_| !all).unwrap_or(self.epochs).get();
        Sizes { train, validation, samples, batches: samples.div_ceil(self.batch_size.get()), epochs }
    }
}

/// The file of a bundled recipe.
pub(crate) fn text(name: &str) -> Option<&'static str> {
    BUNDLED.iter().find(|(bundled, _)| *bundled == name).map(|(_, text)| *text)
}

/// What to tell who asks for a recipe that is not there.
pub(crate) fn unknown(name: &str) -> String {
    let names: Vec<_> = BUNDLED.iter().map(|(name, _)| *name).collect();
    format!("no recipe is called `{name}`; bundled are {}; a file needs its path: ./{name}.toml", names.join(", "))
}

/// `3.52 TFLOP`.
pub(crate) fn teraflop(flop: f64) -> String {
    format!("{:.2} TFLOP", flop / 1e12)
}

fn yes() -> bool {
    true
}
