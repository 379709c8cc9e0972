//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};

/// Trains a convolutional network on handwritten digits, and ends with its test accuracy.
///
/// Without arguments: on all of MNIST where it is found (--data, MNIST_DIR, the user's cache) or can be downloaded, else on a
/// bundled sample of 10,000 real digits.
#[derive(Debug, Parser)]
#[command(name = "mnist", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) train: TrainArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a network (what happens without a command)
    Train(TrainArgs),
    /// Test a saved network on the test images
    Evaluate(EvaluateArgs),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct DataArgs {
    /// Folder with the four files of MNIST, raw or .gz
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,

    /// Which data set: digits, or the clothes that have the same format
    #[arg(long, value_enum, default_value = "mnist")]
    pub(crate) family: FamilyArg,

    /// Never use the network
    #[arg(long)]
    pub(crate) offline: bool,

    /// Threads to work with, 1 to 256 [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=256))]
    pub(crate) threads: Option<u16>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) data: DataArgs,

    /// The network to train
    #[arg(long, value_enum, default_value = "relu")]
    pub(crate) model: Model,

    /// How often every image is learnt from [default: relu 6, sigmoid 10, mlp 30; on the sample 14, 30, 30]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=100_000))]
    pub(crate) epochs: Option<u32>,

    /// Images in a step [default: 64 for relu, else 10]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=60_000))]
    pub(crate) batch_size: Option<u32>,

    /// Learning rate, greater than 0 [default: relu 0.05 at its highest, sigmoid 1, mlp 3]
    #[arg(long, value_name = "RATE", value_parser = learning_rate, allow_negative_numbers = true)]
    pub(crate) lr: Option<f64>,

    /// Change the training images a little, anew in every epoch: moved, turned, scaled, sheared and bent
    #[arg(long)]
    pub(crate) augment: bool,

    /// Root of all random numbers: the same seed gives the same network, bit for bit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Where to save what was learnt (safetensors, readable by PyTorch)
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,

    /// Keep checkpoints in this folder, and go on from the last one there: the same command after a crash or Ctrl-C ends as if
    /// there had been none
    #[arg(long, value_name = "DIR")]
    pub(crate) checkpoint: Option<PathBuf>,

    /// Steps from one checkpoint to the next [default: one after each epoch]
    #[arg(long, value_name = "STEPS", requires = "checkpoint", value_parser = value_parser!(u64).range(1..))]
    pub(crate) checkpoint_every: Option<u64>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct EvaluateArgs {
    /// A file that `mnist --save` wrote
    pub(crate) model: PathBuf,

    #[command(flatten)]
    pub(crate) data: DataArgs,
}

/// The networks of the article and the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Model {
    /// Two convolutional layers of 20 and 40 maps, ReLU, max pooling, dropout: over 99 % on all of MNIST
    Relu,
    /// The article's: 20 feature maps, max pooling, a fully connected layer; sigmoid everywhere, quadratic cost
    Sigmoid,
    /// The previous article's: 784-30-10 fully connected, sigmoid, quadratic cost
    Mlp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FamilyArg {
    /// Handwritten digits
    Mnist,
    /// Clothes (Fashion-MNIST)
    Fashion,
}

impl From<FamilyArg> for mnist_io::Family {
    fn from(family: FamilyArg) -> Self {
        match family {
            FamilyArg::Mnist => Self::Mnist,
            FamilyArg::Fashion => Self::FashionMnist,
        }
    }
}

fn learning_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_string())?;
    if rate > 0.0 && rate.is_finite() { Ok(rate) } else { Err(format!("must be > 0 and finite (got {text})")) }
}
