//! The command line.

use clap::Parser;
use clap::builder::PossibleValuesParser;
use overlay_benches::arguments::seconds;
use overlay_benches::networks::NAMES;

/// Times whole networks: steps of training (forward, cost, backward, gradient descent with momentum), inference of
/// batches and of single images, and the share of what the machine's multiply-adds reach in the same process.
#[derive(Debug, Parser)]
#[command(name = "steps", version)]
pub(crate) struct Args {
    /// Networks, with commas between them
    #[arg(
        long, value_name = "NAMES", value_delimiter = ',',
        value_parser = PossibleValuesParser::new(NAMES), default_values = NAMES
    )]
    pub(crate) nets: Vec<String>,

    /// Images in a batch, 1 to 4096; several numbers with commas between them
    #[arg(
        long, value_name = "N", value_delimiter = ',',
        value_parser = clap::value_parser!(u16).range(1..=4096), default_value = "64"
    )]
    pub(crate) batch: Vec<u16>,

    /// Threads to work with, 1 to 256 [default: one for each processor]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,

    /// Seconds for each measurement, at least; never fewer than 5 calls
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) secs: f64,

    /// The time of each layer too, on one thread, where times add up
    #[arg(long)]
    pub(crate) layers: bool,

    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}
