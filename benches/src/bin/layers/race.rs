//! Candidates for the same pass, in turns, so that a disturbance of the machine hits all of them.
//!
//! ```text
//! call every candidate once, to warm up; drop those that are far behind the first
//! repeat: for each candidate: call it, note the time
//! one lags another if both its best and its median time do
//! ```
//!
//! A disturbance that lasts shows in the medians, a short one in neither; a true lag shows in both.

use anyhow::{Result, bail};
use conv_kernels::{Conv2dPlan, Scratch};
use overlay_benches::passes::{Arrays, Pass, median};
use overlay_benches::peak::seconds;
use rayon::ThreadPool;

/// One may be this much slower than another.
pub(crate) const TOLERANCE: f64 = 1.10;

/// A candidate that is this much slower than the first when both are warm is not called again.
const HOPELESS: f64 = 3.0;

/// One way to compute a pass, and how long its calls took.
pub(crate) struct Candidate<'a, N> {
    pub(crate) name: N,
    pub(crate) plan: Conv2dPlan<f32>,
    pub(crate) pool: &'a ThreadPool,
    times: Vec<f64>,
}

impl<'a, N> Candidate<'a, N> {
    pub(crate) fn new(name: N, plan: Conv2dPlan<f32>, pool: &'a ThreadPool) -> Self {
        Self { name, plan, pool, times: Vec::new() }
    }

    pub(crate) fn best(&self) -> f64 {
        self.times.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn median(&self) -> f64 {
        median(self.times.clone())
    }

    /// By how much it is behind another: 1 if they are equal.
    pub(crate) fn lag(&self, other: &Self) -> f64 {
        (self.best() / other.best()).min(self.median() / other.median())
    }
}

/// Calls the candidates in turns, each at least 5 times and for `least_seconds`.
pub(crate) fn race<N>(
    candidates: &mut [Candidate<'_, N>],
    arrays: &mut Arrays,
    pass: Pass,
    least_seconds: f64,
) -> Result<()> {
    let mut scratch = Scratch::new();
    let mut call = |candidate: &mut Candidate<'_, N>| -> Result<f64> {
        let plan = &candidate.plan;
        let (seconds, result) = candidate.pool.install(|| seconds(|| arrays.call(plan, pass, &mut scratch)));
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

/// Refuses if something lags: `what` says what it is that should not.
///
/// # Errors
///
/// Names the layers and passes.
pub(crate) fn judge(lagging: &[String], what: &str) -> Result<()> {
    if lagging.is_empty() {
        return Ok(());
    }
    bail!("{} {what} by more than {:.0} %: {}", lagging.len(), 100.0 * (TOLERANCE - 1.0), lagging.join(", "))
}
