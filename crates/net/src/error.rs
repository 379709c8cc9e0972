//! What can go wrong with a network.

use std::path::PathBuf;

use conv_kernels::KernelError;
use layers::LayerError;

/// Why a network cannot be built, trained, saved or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// A layer cannot be made, or does not fit what comes before it.
    #[error("{name}: {cause}{}", origin(.after))]
    Layer {
        /// The layer's name.
        name: String,
        /// The layer before it; empty where that does not matter.
        after: String,
        /// What is wrong.
        cause: Box<LayerError>,
    },

    /// A builder method was called where it means nothing.
    #[error("builder: {method} {problem}")]
    Builder {
        /// The call, as in `".stride(2)"`.
        method: String,
        /// Why it means nothing there, and what to do.
        problem: String,
    },

    /// Two layers have the same name.
    #[error("two layers are called `{name}`: names must differ, because saved tensors are found by them")]
    DuplicateName {
        /// The name.
        name: String,
    },

    /// A network without layers, without inputs, or too large to be meant.
    #[error("{0}")]
    Shape(String),

    /// Images, labels or targets do not fit the network, or one another.
    #[error("{0}")]
    Data(String),

    /// A label names a class that the network does not have.
    #[error("{what}: label {label} at index {index}; the network has {classes} outputs, so labels are 0 to {}", .classes - 1)]
    Label {
        /// Which labels: `"the training set"`, …
        what: String,
        /// The label.
        label: u8,
        /// Where it stands.
        index: usize,
        /// How many classes there are.
        classes: usize,
    },

    /// A setting of the training run is out of range.
    #[error("{0}")]
    Setting(String),

    /// The cost became infinite or NaN.
    #[error(
        "the cost became {cost} at epoch {epoch}, step {step} (learning rate {learning_rate}){}; the network is as it was before that epoch{}: try a smaller learning rate",
        place(.layer), kept(.checkpoint)
    )]
    Diverged {
        /// The epoch, from 1.
        epoch: u64,
        /// The step in the epoch, from 1.
        step: u64,
        /// The cost.
        cost: f64,
        /// The learning rate of that step.
        learning_rate: f64,
        /// The first layer whose output is not finite.
        layer: Option<String>,
        /// The last good checkpoint, if any were written.
        checkpoint: Option<PathBuf>,
    },

    /// A parameter or a running statistic became infinite or NaN, where the cost did not tell.
    #[error(
        "{tensor} is infinite or NaN after epoch {epoch}, step {step} (learning rate {learning_rate}); the network is as it was before that epoch{}: try a smaller learning rate",
        kept(.checkpoint)
    )]
    NotFinite {
        /// The first such tensor, as in `fc1.weight`.
        tensor: String,
        /// The epoch, from 1.
        epoch: u64,
        /// The step in the epoch after which it was found, from 1.
        step: u64,
        /// The learning rate of that step.
        learning_rate: f64,
        /// The last good checkpoint, if any were written.
        checkpoint: Option<PathBuf>,
    },

    /// The checkpoint in the folder was written by a run with other data or settings.
    #[error(
        "{}: this run cannot go on from another one's checkpoint: {}; use the same data and settings, or begin in another folder",
        .path.display(), .differences.join("; ")
    )]
    OtherRun {
        /// The checkpoint.
        path: PathBuf,
        /// What differs, each as in `learning rate: 0.03 in the checkpoint, 0.05 in this run`.
        differences: Vec<String>,
    },

    /// Threads could not be had.
    #[error(transparent)]
    Threads(#[from] KernelError),

    /// A file could not be read or written.
    #[error("{}: {cause}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },

    /// A model file is damaged, or not for this network.
    #[error("{}: {problem}", .path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
}

fn origin(before: &str) -> String {
    if before.is_empty() { String::new() } else { format!(" from {before}") }
}

fn place(layer: &Option<String>) -> String {
    layer.as_ref().map(|name| format!("; the first output that is not finite is {name}'s")).unwrap_or_default()
}

fn kept(checkpoint: &Option<PathBuf>) -> String {
    checkpoint.as_ref().map(|path| format!(", the last good checkpoint is {}", path.display())).unwrap_or_default()
}

/// A shape as people write it: `(3, 4)`, `(5,)`.
pub(crate) fn dims(shape: &[usize]) -> String {
    match shape {
        [one] => format!("({one},)"),
        _ => format!("({})", shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}
