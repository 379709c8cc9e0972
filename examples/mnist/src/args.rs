//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};

/// What is trained unless said.
const DEFAULT_RECIPE: &str = "default";

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
    /// Test several saved networks together: they vote on each test image
    Vote(VoteArgs),
    /// List the bundled recipes, or print one: to copy and change
    Recipes(RecipesArgs),
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

    /// The network, and how it learns: a bundled recipe (`mnist recipes` lists them), or the path of a file
    #[arg(long, value_name = "NAME", default_value = DEFAULT_RECIPE)]
    pub(crate) recipe: String,

    /// How often every image is learnt from [default: the recipe's]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=100_000))]
    pub(crate) epochs: Option<u32>,

    /// Images in a step [default: the recipe's]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=60_000))]
    pub(crate) batch_size: Option<u32>,

    /// Learning rate at its highest, greater than 0 [default: the recipe's]
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

#[derive(Args, Clone, Debug)]
pub(crate) struct VoteArgs {
    /// Files that `mnist --save` wrote, two or more
    #[arg(required = true, num_args = 2..)]
    pub(crate) models: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) data: DataArgs,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct RecipesArgs {
    /// The bundled recipe to print [default: a line for each of them]
    pub(crate) name: Option<String>,
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
