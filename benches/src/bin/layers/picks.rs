//! Whether plans pick well: each pick against every other algorithm that can compute the same pass.

use anyhow::{Result, bail};
use conv_kernels::{Algorithm, Conv2dPlan, Options};
use overlay_benches::output::{line, rounded};
use overlay_benches::passes::{Arrays, Pass};
use overlay_benches::shapes::Layer;
use rayon::ThreadPool;
use serde_json::json;

use crate::args::Args;
use crate::plan;
use crate::race::{Candidate, TOLERANCE, judge, race};

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
            let mut candidates = candidates(layer, pass, pool)?;
            race(&mut candidates, &mut arrays, pass, args.secs)?;
            let lag = report(args, layer, pass, &candidates)?;
            if lag > TOLERANCE {
                lagging.push(format!("{}/{} {pass} ({lag:.2})", layer.suite, layer.name));
            }
        }
    }
    judge(&lagging, "picks lag the best")
}

/// All that can compute the pass, the plan's pick first.
fn candidates<'a>(layer: &Layer, pass: Pass, pool: &'a ThreadPool) -> Result<Vec<Candidate<'a, Algorithm>>> {
    let of = |plan: &Conv2dPlan<f32>| plan.algorithms()[pass as usize];
    let pick = Conv2dPlan::new(layer.shape, &Options::default())?;
    let mut candidates = vec![Candidate::new(of(&pick), pick, pool)];
    for algorithm in Algorithm::ALL {
        let plan = plan(layer, Some(algorithm))?.filter(|plan| of(plan) == algorithm);
        if let Some(plan) = plan.filter(|_| algorithm != candidates[0].name) {
            candidates.push(Candidate::new(algorithm, plan, pool));
        }
    }
    Ok(candidates)
}

/// Prints how the candidates did, and returns how far the pick is behind the best.
fn report(args: &Args, layer: &Layer, pass: Pass, candidates: &[Candidate<'_, Algorithm>]) -> Result<f64> {
    let [pick, others @ ..] = candidates else { bail!("a plan picks an algorithm for each pass") };
    // The larger errors of F(4x4, 3x3) are for those who ask for it: no plan picks it.
    let rivals = others.iter().filter(|other| other.name != Algorithm::Winograd4);
    let lag = rivals.map(|other| pick.lag(other)).fold(1.0, f64::max);
    if args.json {
        let times = candidates.iter().map(|candidate| (candidate.name.to_string(), rounded(candidate.best() * 1e3, 5)));
        let times: serde_json::Map<_, _> = times.map(|(name, ms)| (name, json!(ms))).collect();
        let entry = json!({
            "suite": layer.suite, "layer": layer.name, "pass": pass.to_string(),
            "pick": pick.name.to_string(), "ms": times, "lag": rounded(lag, 3),
        });
        line(&entry.to_string())?;
    } else {
        let mut text = format!("{}/{} {pass}: {} {:.4} ms", layer.suite, layer.name, pick.name, pick.best() * 1e3);
        for other in others {
            text += &format!(", {} {:.2}x", other.name, other.best() / pick.best());
        }
        line(&if lag > TOLERANCE { text + "  <- lags" } else { text })?;
    }
    Ok(lag)
}
