//! Whether plans pick well: each pick against every other algorithm that can compute the same pass.
//!
//! ```text
//! call every candidate once, to warm up; drop those that are far behind the pick
//! repeat: for each candidate: call it, note the time
//! the pick lags another if both its best and its median time do
//! ```
//!
//! Candidates take turns, so that a disturbance of the machine hits all of them. One that lasts shows in the medians, a
//! short one in neither; a true lag shows in both.

use anyhow::{Result, bail};
use conv_kernels::{Algorithm, Conv2dPlan, Options, Scratch};
use overlay_benches::output::{line, rounded};
use overlay_benches::passes::{Arrays, Pass, median};
use overlay_benches::peak::seconds;
use overlay_benches::shapes::Layer;
use rayon::ThreadPool;
use serde_json::json;

use crate::args::Args;
use crate::plan;

/// A pick may be this much slower than the best.
const TOLERANCE: f64 = 1.10;

/// A candidate that is this much slower than the pick when both are warm is not called again.
const HOPELESS: f64 = 3.0;

/// One algorithm for one pass, and how long its calls took.
struct Candidate {
    algorithm: Algorithm,
    plan: Conv2dPlan<f32>,
    times: Vec<f64>,
}

impl Candidate {
    fn best(&self) -> f64 {
        self.times.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn median(&self) -> f64 {
        median(self.times.clone())
    }

    /// By how much it is behind another: 1 if they are equal.
    fn lag(&self, other: &Self) -> f64 {
        (self.best() / other.best()).min(self.median() / other.median())
    }
}

/// Prints a line for each layer and pass.
///
/// # Errors
///
/// If a pick lags the best by more than 10 %: names the layers and passes.
pub(crate) fn check(args: &Args, layers: &[Layer], pool: &ThreadPool) -> Result<()> {
    let mut lagging = Vec::new();
    for layer in layers {
        let mut arrays = Arrays::new(layer);
        for pass in Pass::ALL.into_iter().filter(|pass| args.wants(*pass)) {
            let mut candidates = candidates(layer, pass)?;
            pool.install(|| race(&mut candidates, &mut arrays, pass, args.secs))?;
            let lag = report(args, layer, pass, &candidates)?;
            if lag > TOLERANCE {
                lagging.push(format!("{}/{} {pass} ({lag:.2})", layer.suite, layer.name));
            }
        }
    }
    if lagging.is_empty() {
        return Ok(());
    }
    bail!(
        "{} picks lag the best by more than {:.0} %: {}",
        lagging.len(),
        100.0 * (TOLERANCE - 1.0),
        lagging.join(", ")
    )
}

/// All that can compute the pass, the plan's pick first.
fn candidates(layer: &Layer, pass: Pass) -> Result<Vec<Candidate>> {
    let of = |plan: &Conv2dPlan<f32>| plan.algorithms()[pass as usize];
    let pick = Conv2dPlan::new(layer.shape, &Options::default())?;
    let mut candidates = vec![Candidate { algorithm: of(&pick), plan: pick, times: Vec::new() }];
    for algorithm in Algorithm::ALL {
        let plan = plan(layer, Some(algorithm))?.filter(|plan| of(plan) == algorithm);
        if let Some(plan) = plan.filter(|_| algorithm != candidates[0].algorithm) {
            candidates.push(Candidate { algorithm, plan, times: Vec::new() });
        }
    }
    Ok(candidates)
}

/// Calls the candidates in turns, each at least 5 times and for `least_seconds`.
fn race(candidates: &mut [Candidate], arrays: &mut Arrays, pass: Pass, least_seconds: f64) -> Result<()> {
    let mut scratch = Scratch::new();
    let mut call = |candidate: &mut Candidate| -> Result<f64> {
        let (seconds, result) = seconds(|| arrays.call(&candidate.plan, pass, &mut scratch));
        result?;
        candidate.times.push(seconds);
        Ok(seconds)
    };
    for candidate in &mut *candidates {
        call(candidate)?;
        candidate.times.clear();
        call(candidate)?;
    }
    let limit = HOPELESS * candidates[0].best();
    let (mut rounds, mut total) = (0, 0.0);
    while rounds < 5 || total < least_seconds {
        for candidate in &mut *candidates {
            if candidate.times[0] <= limit {
                call(candidate)?;
            }
        }
        total += candidates[0].times[candidates[0].times.len() - 1];
        rounds += 1;
    }
    Ok(())
}

/// Prints how the candidates did, and returns how far the pick is behind the best.
fn report(args: &Args, layer: &Layer, pass: Pass, candidates: &[Candidate]) -> Result<f64> {
    let [pick, others @ ..] = candidates else { bail!("a plan picks an algorithm for each pass") };
    // The larger errors of F(4x4, 3x3) are for those who ask for it: no plan picks it.
    let rivals = others.iter().filter(|other| other.algorithm != Algorithm::Winograd4);
    let lag = rivals.map(|other| pick.lag(other)).fold(1.0, f64::max);
    if args.json {
        let times =
            candidates.iter().map(|candidate| (candidate.algorithm.to_string(), rounded(candidate.best() * 1e3, 5)));
        let times: serde_json::Map<_, _> = times.map(|(name, ms)| (name, json!(ms))).collect();
        let entry = json!({
            "suite": layer.suite, "layer": layer.name, "pass": pass.to_string(),
            "pick": pick.algorithm.to_string(), "ms": times, "lag": rounded(lag, 3),
        });
        line(&entry.to_string())?;
    } else {
        let mut text = format!("{}/{} {pass}: {} {:.4} ms", layer.suite, layer.name, pick.algorithm, pick.best() * 1e3);
        for other in others {
            text += &format!(", {} {:.2}x", other.algorithm, other.best() / pick.best());
        }
        line(&if lag > TOLERANCE { text + "  <- lags" } else { text })?;
    }
    Ok(lag)
}
