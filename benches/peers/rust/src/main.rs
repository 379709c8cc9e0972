//! Convolution layers in other Rust libraries, as their users call them. Prints one JSON object a layer and pass.
//!
//! These libraries ask the environment for the number of threads: set `RAYON_NUM_THREADS`. Run it in this folder, whose
//! configuration compiles them for the processor of this machine.

mod burn;
mod candle;
mod check;
mod ndarray_conv;
mod way;

use std::hint::black_box;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use overlay_benches::output::{line, rounded};
use overlay_benches::passes::{Pass, median_seconds};
use overlay_benches::shapes::{Layer, SUITES, layers};
use serde_json::json;

use way::Way;

/// Times the convolution layers of a suite in another library: the median of whole calls.
#[derive(Debug, Parser)]
struct Args {
    library: Library,

    /// A suite of the shapes file, or all
    #[arg(long, default_value = "all")]
    suite: String,

    /// Suites from this file instead of overlay's
    #[arg(long, value_name = "FILE")]
    shapes: Option<PathBuf>,

    /// Only layers with this in their name
    #[arg(long, value_name = "TEXT", default_value = "")]
    layer: String,

    /// Only this pass; can be repeated
    #[arg(long, value_enum)]
    pass: Vec<Pass>,

    /// Seconds to time each pass for, at least; never fewer than 5 calls
    #[arg(long, value_name = "S", default_value_t = 0.4)]
    secs: f64,

    /// Compare results with overlay's instead, on small layers
    #[arg(long)]
    check: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Library {
    /// burn's own CPU backend, burn-flex
    Burn,
    Candle,
    /// One image, one kernel
    NdarrayConv,
}

impl Library {
    fn name(self) -> &'static str {
        match self {
            Self::Burn => "burn-flex 0.22.1",
            Self::Candle => "candle 0.11.1",
            Self::NdarrayConv => "ndarray-conv 0.6.1",
        }
    }

    /// How it can compute a pass of a layer: not at all, if there is no way.
    fn ways(self, layer: &Layer, pass: Pass) -> Result<Vec<Way>> {
        match self {
            Self::Burn => burn::ways(layer, pass),
            Self::Candle => candle::ways(layer, pass),
            Self::NdarrayConv => ndarray_conv::ways(layer, pass),
        }
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    if args.check {
        return check::check(args.library);
    }
    let text = match &args.shapes {
        None => SUITES.to_owned(),
        Some(path) => std::fs::read_to_string(path).with_context(|| path.display().to_string())?,
    };
    for layer in layers(&text, &args.suite)?.iter().filter(|layer| layer.name.contains(&args.layer)) {
        for pass in Pass::ALL.into_iter().filter(|pass| args.pass.is_empty() || args.pass.contains(pass)) {
            let name = args.library.name();
            measure(&args, layer, pass).with_context(|| format!("{name}, {}/{}: {pass}", layer.suite, layer.name))?;
        }
    }
    Ok(())
}

/// A line for the best of the ways.
fn measure(args: &Args, layer: &Layer, pass: Pass) -> Result<()> {
    let mut best = None;
    for mut way in args.library.ways(layer, pass)? {
        let seconds = median_seconds(args.secs, || (way.call)().map(|result| drop(black_box(result))))?;
        if best.is_none_or(|(least, _)| seconds < least) {
            best = Some((seconds, way.name));
        }
    }
    let Some((seconds, kernel)) = best else { return Ok(()) };
    let entry = json!({
        "peer": args.library.name(), "threads": rayon::current_num_threads(), "suite": layer.suite,
        "layer": layer.name, "pass": pass.to_string(), "ms": rounded(seconds * 1e3, 5),
        "gflops": rounded(layer.flops() / seconds / 1e9, 2), "kernel": kernel,
    });
    line(&entry.to_string())
}
