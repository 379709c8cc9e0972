//! How the learning rate changes in the course of a run.

use std::{f64::consts::PI, fmt};

use serde::{Deserialize, Serialize};

/// Where a run stands, before one of its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The number of this step, from 0.
    pub step: u64,
    /// The number of steps of the whole run.
    pub steps: u64,
    /// The number of this epoch, from 0.
    pub epoch: u64,
    /// The number of epochs of the whole run.
    pub epochs: u64,
}

/// The factor on the learning rate at each step.
///
/// A pure function of the [`Position`], with no state: a run that was killed goes on as if it had not been. The definitions are
/// those of PyTorch's `StepLR`, `ExponentialLR`, `CosineAnnealingLR` (stepped once a batch) and `OneCycleLR`.
///
/// ```
/// use net::{Position, Schedule};
///
/// let half_way = Position { step: 500, steps: 1000, epoch: 5, epochs: 10 };
/// assert_eq!(Schedule::Constant.factor(half_way), 1.0);
/// assert_eq!(Schedule::Step { every: 2.0, factor: 0.5 }.factor(half_way), 0.25);
/// assert!((Schedule::Cosine { end: 0.0 }.factor(half_way) - 0.5).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Always 1.
    #[default]
    Constant,

    /// Multiplied by `factor` whenever another `every` epochs (a fraction may be) have passed.
    #[doc(alias = "StepLR")]
    Step {
        /// How many epochs a stair is long.
        every: f64,
        /// From one stair to the next.
        factor: f64,
    },

    /// Multiplied by `factor` at the start of every epoch but the first.
    #[doc(alias = "ExponentialLR")]
    Exponential {
        /// From one epoch to the next.
        factor: f64,
    },

    /// Down from 1 along half a wave of the cosine (Loshchilov and Hutter, "SGDR", without restarts).
    #[doc(alias = "CosineAnnealingLR")]
    Cosine {
        /// The factor at which the run ends.
        end: f64,
    },

    /// Up from `start` to 1 along half a wave of the cosine, then down to `end` along another (Smith and Topin,
    /// "Super-Convergence"). The learning rate is the largest one.
    #[doc(alias = "OneCycleLR")]
    OneCycle {
        /// The share of the steps that go up; 0.3 is usual.
        warmup: f64,
        /// The factor at the first step; 0.04 is usual.
        start: f64,
        /// The factor at the last step; 0.000004 is usual.
        end: f64,
    },
}

/// A setting of a schedule is out of its range.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{what} must be {range} (got {got})")]
pub struct ScheduleError {
    /// Which setting.
    pub what: &'static str,
    /// The range, in words.
    pub range: &'static str,
    /// The number that was asked for.
    pub got: f64,
}

impl Schedule {
    /// What the learning rate is multiplied by at this step. Past the end of the run it stays as it ended.
    #[must_use]
    pub fn factor(&self, position: Position) -> f64 {
        let (step, steps) = (position.step as f64, position.steps as f64);
        match *self {
            Self::Constant => 1.0,
            Self::Step { every, factor } => {
                let epochs_passed = position.epochs as f64 * share(step, steps);
                factor.powf((epochs_passed / every).floor())
            }
            Self::Exponential { factor } => factor.powf(position.epoch as f64),
            Self::Cosine { end } => half_wave(1.0, end, share(step, steps)),
            Self::OneCycle { warmup, start, end } => {
                let (peak, last) = (warmup * steps - 1.0, steps - 1.0);
                if step <= peak {
                    half_wave(start, 1.0, share(step, peak))
                } else {
                    half_wave(1.0, end, share(step - peak, last - peak))
                }
            }
        }
    }

    /// Whether the settings make sense; asked before a training run starts.
    ///
    /// # Errors
    /// [`ScheduleError`], which names the setting.
    ///
    /// ```
    /// use net::Schedule;
    /// let error = Schedule::Cosine { end: 2.0 }.validate().unwrap_err();
    /// assert_eq!(error.to_string(), "the end of the cosine schedule must be 0 to 1 (got 2)");
    /// ```
    pub fn validate(&self) -> Result<(), ScheduleError> {
        match *self {
            Self::Constant => Ok(()),
            Self::Step { every, factor } => {
                positive("the length of a stair of the step schedule", every)?;
                positive("the factor of the step schedule", factor)
            }
            Self::Exponential { factor } => positive("the factor of the exponential schedule", factor),
            Self::Cosine { end } => unit("the end of the cosine schedule", end),
            Self::OneCycle { warmup, start, end } => {
                unit("the warmup of the one-cycle schedule", warmup)?;
                unit("the start of the one-cycle schedule", start)?;
                unit("the end of the one-cycle schedule", end)
            }
        }
    }
}

/// The name and every setting: `"cosine end 0.01"`.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant => write!(f, "constant"),
            Self::Step { every, factor } => write!(f, "step every {every} factor {factor}"),
            Self::Exponential { factor } => write!(f, "exponential factor {factor}"),
            Self::Cosine { end } => write!(f, "cosine end {end}"),
            Self::OneCycle { warmup, start, end } => write!(f, "one-cycle warmup {warmup} start {start} end {end}"),
        }
    }
}

/// From `from` to `to` along half a wave of the cosine; `share` of the way is done.
fn half_wave(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + (PI * share).cos())
}

/// `done` of `length`, at most 1; a way without length is done.
fn share(done: f64, length: f64) -> f64 {
    if length > 0.0 { (done / length).min(1.0) } else { 1.0 }
}

fn positive(what: &'static str, got: f64) -> Result<(), ScheduleError> {
    if got > 0.0 && got.is_finite() { Ok(()) } else { Err(ScheduleError { what, range: "> 0 and finite", got }) }
}

fn unit(what: &'static str, got: f64) -> Result<(), ScheduleError> {
    if (0.0..=1.0).contains(&got) { Ok(()) } else { Err(ScheduleError { what, range: "0 to 1", got }) }
}
