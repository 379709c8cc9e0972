//! The command line.

use std::path::PathBuf;

use clap::Parser;
use conv_kernels::Algorithm;
use overlay_benches::arguments::seconds;
use overlay_benches::passes::Pass;

/// Times the convolution layers of a suite: the median of whole calls, GFLOP/s of the definition, and the share of what
/// the machine's multiply-adds reach in the same process.
#[derive(Debug, Parser)]
#[command(name = "layers", version)]
pub(crate) struct Args {
    /// mnist, cifar, resnet50, vgg19, mobilenet, other, single-image, or all
    #[arg(long, default_value = "all")]
    pub(crate) suite: String,

    /// Suites from this file instead: {"suite": {"layer": [N, Cin, H, W, Cout, KH, KW, stride, padding, dilation, groups]}}
    #[arg(long, value_name = "FILE")]
    pub(crate) shapes: Option<PathBuf>,

    /// Only layers with this in their name
    #[arg(long, value_name = "TEXT")]
    pub(crate) layer: Option<String>,

    /// Only this pass; can be repeated
    #[arg(long, value_enum)]
    pub(crate) pass: Vec<Pass>,

    /// Force an algorithm, by its name in the column "kernel"; layers and passes that it does not have are left out
    #[arg(long, value_name = "NAME", value_parser = algorithm)]
    pub(crate) algorithm: Option<Algorithm>,

    /// Time what each plan picks against every other algorithm instead; fails if a pick is more than 10 % slower
    #[arg(long, conflicts_with = "algorithm")]
    pub(crate) check_picks: bool,

    /// Time each pass with all threads and with one instead; fails if all are more than 10 % slower
    #[arg(long, conflicts_with_all = ["algorithm", "check_picks"])]
    pub(crate) check_threads: bool,

    /// Threads to work with, 1 to 256 [default: one for each processor]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,

    /// Seconds to time each pass for, at least; never fewer than 5 calls
    #[arg(long, value_name = "S", default_value_t = 0.4, value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) secs: f64,

    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

impl Args {
    pub(crate) fn wants(&self, pass: Pass) -> bool {
        self.pass.is_empty() || self.pass.contains(&pass)
    }
}

fn algorithm(name: &str) -> Result<Algorithm, String> {
    let names = || Algorithm::ALL.iter().map(Algorithm::to_string).collect::<Vec<_>>().join(", ");
    let found = Algorithm::ALL.iter().find(|algorithm| algorithm.to_string() == name);
    found.copied().ok_or_else(|| format!("one of {}", names()))
}
