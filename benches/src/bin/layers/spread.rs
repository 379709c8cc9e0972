//! Whether more threads are slower than one: what a plan takes with all of them, beside what it takes with one.

use anyhow::{Result, bail};
use conv_kernels::{Conv2dPlan, Options};
use overlay_benches::output::{line, rounded};
use overlay_benches::passes::{Arrays, Pass};
use overlay_benches::shapes::Layer;
use rayon::ThreadPool;
use serde_json::json;

use crate::args::Args;
use crate::race::{Candidate, TOLERANCE, judge, race};

/// Prints a line for each layer and pass.
///
/// # Errors
///
/// If one of them takes 10 % longer with all threads: names the layers and passes.
pub(crate) fn check(args: &Args, layers: &[Layer], pool: &ThreadPool) -> Result<()> {
    let (alone, mut lagging) = (conv_kernels::pool(1)?, Vec::new());
    for layer in layers {
        let mut arrays = Arrays::new(layer);
        for pass in Pass::ALL.into_iter().filter(|pass| args.wants(*pass)) {
            let candidate = |pool| -> Result<_> {
                let plan = Conv2dPlan::new(layer.shape, &Options::default())?;
                Ok(Candidate::new((), plan, pool))
            };
            let mut candidates = [candidate(pool)?, candidate(&alone)?];
            race(&mut candidates, &mut arrays, pass, args.secs)?;
            let lag = report(args, layer, pass, &candidates)?;
            if lag > TOLERANCE {
                lagging.push(format!("{}/{} {pass} ({lag:.2})", layer.suite, layer.name));
            }
        }
    }
    judge(&lagging, &format!("passes are slower with {} threads than with one", pool.current_num_threads()))
}

/// Prints how the two did, and returns how far all threads are behind one.
fn report(args: &Args, layer: &Layer, pass: Pass, candidates: &[Candidate<'_, ()>]) -> Result<f64> {
    let [all, one] = candidates else { bail!("all threads race against one") };
    let (lag, threads) = (all.lag(one), all.pool.current_num_threads());
    let [ms, alone] = [all, one].map(|candidate| candidate.best() * 1e3);
    if args.json {
        let entry = json!({
            "suite": layer.suite, "layer": layer.name, "pass": pass.to_string(), "threads": threads,
            "ms": rounded(ms, 5), "one_thread_ms": rounded(alone, 5), "lag": rounded(lag, 3),
        });
        line(&entry.to_string())?;
    } else {
        let name = format!("{}/{} {pass}", layer.suite, layer.name);
        let text = format!("{name}: {ms:.4} ms with {threads} threads, {alone:.4} ms with one, {:.2}x", alone / ms);
        line(&if lag > TOLERANCE { text + "  <- lags" } else { text })?;
    }
    Ok(lag)
}
