//! `layers`: how fast each convolution layer of a suite is, pass by pass, beside what the machine could do.

mod args;
mod picks;
mod race;
mod spread;
mod table;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser as _;
use conv_kernels::machine::Machine;
use conv_kernels::{Algorithm, Conv2dPlan, KernelError, Options};
use overlay_benches::output::{all_threads, exit};
use overlay_benches::passes::{Arrays, Pass, times};
use overlay_benches::peak::fma_peak;
use overlay_benches::shapes::{self, Layer, layers};
use rayon::ThreadPool;

use args::Args;
use table::{Row, Table};

fn main() -> ExitCode {
    exit(run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    let pool = conv_kernels::pool(args.threads.unwrap_or_else(all_threads))?;
    let layers = chosen(args)?;
    match (args.check_picks, args.check_threads) {
        (true, _) => picks::check(args, &layers, &pool),
        (_, true) => spread::check(args, &layers, &pool),
        _ => measure(args, &layers, &pool),
    }
}

/// The layers that the arguments ask for.
fn chosen(args: &Args) -> Result<Vec<Layer>> {
    let mut chosen = match &args.shapes {
        None => layers(shapes::SUITES, &args.suite)?,
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            layers(&text, &args.suite).with_context(|| path.display().to_string())?
        }
    };
    let wanted = args.layer.as_deref().unwrap_or("");
    chosen.retain(|layer| layer.name.contains(wanted));
    ensure!(!chosen.is_empty(), "no layer of suite {:?} has {wanted:?} in its name", args.suite);
    Ok(chosen)
}

/// One line a layer and pass.
fn measure(args: &Args, layers: &[Layer], pool: &ThreadPool) -> Result<()> {
    let machine = Machine::detect()?;
    let mut table = Table::new(args.json, pool.current_num_threads(), layers)?;
    for layer in layers {
        let Some(plan) = plan(layer, args.algorithm)? else { continue };
        let peak = fma_peak::<f32>(machine, pool);
        let (mut arrays, mut scratch) = (Arrays::new(layer), plan.scratch(layer.batch));
        for (pass, kernel) in Pass::ALL.into_iter().zip(plan.algorithms()) {
            let forced = args.algorithm.is_none_or(|algorithm| algorithm == kernel);
            if forced && args.wants(pass) {
                let call = || Ok(arrays.call(&plan, pass, &mut scratch)?);
                let times = pool.install(|| times(args.secs, call))?;
                table.row(Row { layer, pass, times, peak, kernel })?;
            }
        }
    }
    table.finish()
}

/// The plan's own choice, or `algorithm`, if it can compute the layer.
fn plan(layer: &Layer, algorithm: Option<Algorithm>) -> Result<Option<Conv2dPlan<f32>>> {
    let options = algorithm.into_iter().fold(Options::default(), Options::force);
    match Conv2dPlan::new(layer.shape, &options) {
        Err(KernelError::NotApplicable { .. }) => Ok(None),
        plan => Ok(Some(plan?)),
    }
}
