//! Convolution layers in other Rust libraries, as their users call them. Prints one JSON object a layer and pass.
//!
//! These libraries ask the environment for the number of threads: set `RAYON_NUM_THREADS`.

mod burn;
mod candle;
mod ndarray_conv;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use overlay_benches::output::{line, rounded};
use overlay_benches::passes::{Pass, median_seconds};
use overlay_benches::shapes::{Layer, SUITES, layers};
use serde_json::json;

/// One way to compute a pass: its name, and a call that does it.
type Way<'a> = (&'static str, Box<dyn FnMut() -> Result<()> + 'a>);

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
}

fn main() -> Result<()> {
    let args = Args::parse();
    let text = match &args.shapes {
        None => SUITES.to_owned(),
        Some(path) => std::fs::read_to_string(path).with_context(|| path.display().to_string())?,
    };
    for layer in layers(&text, &args.suite)?.iter().filter(|layer| layer.name.contains(&args.layer)) {
        match args.library {
            Library::Burn => measure(&args, layer, |pass| Ok(burn::Arrays::new(layer)?.ways(pass)))?,
            Library::Candle => measure(&args, layer, |pass| Ok(candle::Arrays::new(layer)?.ways(pass)))?,
            Library::NdarrayConv if ndarray_conv::applies_to(layer) => {
                measure(&args, layer, |pass| Ok(ndarray_conv::Arrays::new(layer)?.ways(pass)))?;
            }
            Library::NdarrayConv => {}
        }
    }
    Ok(())
}

/// A line for each pass, of the best of its ways.
fn measure<'a>(args: &Args, layer: &Layer, ways: impl Fn(Pass) -> Result<Vec<Way<'a>>>) -> Result<()> {
    for pass in Pass::ALL.into_iter().filter(|pass| args.pass.is_empty() || args.pass.contains(pass)) {
        let mut best = (f64::INFINITY, "");
        for (name, mut call) in ways(pass)? {
            let seconds = median_seconds(args.secs, &mut call).with_context(|| {
                format!("{} of {}/{}: {pass} by {name}", args.library.name(), layer.suite, layer.name)
            })?;
            best = if seconds < best.0 { (seconds, name) } else { best };
        }
        let entry = json!({
            "peer": args.library.name(), "threads": rayon::current_num_threads(), "suite": layer.suite,
            "layer": layer.name, "pass": pass.to_string(), "ms": rounded(best.0 * 1e3, 5),
            "gflops": rounded(layer.flops() / best.0 / 1e9, 2), "kernel": best.1,
        });
        line(&entry.to_string())?;
    }
    Ok(())
}
