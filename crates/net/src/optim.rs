//! Optimizers: from gradients to better parameters.
//!
//! An [`Optimizer`] is a formula for a slice of parameters, with named state vectors of the same length (its *slots*). It holds
//! settings only; [`OptimizerState`] holds the slots of a whole network, and applies the formula to each of its tensors.
//!
//! With θ for a parameter, g for its gradient (plus that of the [`Decay`] penalty), η for the learning rate:
//!
//! | optimizer | a step | slots |
//! |---|---|---|
//! | [`Sgd`] | θ ← θ − η g | |
//! | [`Sgd`] with momentum μ | v ← μ v + g; θ ← θ − η v | `momentum_buffer` |
//! | … and Nesterov's correction | v ← μ v + g; θ ← θ − η (g + μ v) | `momentum_buffer` |
//! | [`Adam`] | m ← β₁ m + (1−β₁) g; s ← β₂ s + (1−β₂) g²; θ ← θ − η m̂ / (√ŝ + ε) | `exp_avg`, `exp_avg_sq` |
//! | [`AdamW`] | θ ← θ (1 − η λ), then as Adam | the same |
//! | [`RmsProp`] | s ← α s + (1−α) g²; θ ← θ − η g / (√s + ε) | `square_avg` |
//!
//! Formulas, defaults and the names of slots are PyTorch's. State and parameters that have decayed to nothing become 0: below
//! 10⁻³⁰ in `f32`, below 2·10⁻³⁰⁰ in `f64`. Subnormal numbers would make each step many times slower, and no output could tell the
//! difference.
//!
//! ```
//! use std::sync::Arc;
//!
//! use layers::{Arena, Layout, TensorSpec};
//! use net::optim::{OptimizerState, Sgd};
//!
//! // find the lowest point of ½ (θ − 3)², whose gradient is θ − 3
//! let layout = Arc::new(Layout::new([TensorSpec::weight("weight", &[1])]));
//! let (mut params, mut grads) = (Arena::<f64>::zeros(layout.clone()), Arena::zeros(layout.clone()));
//! let sgd = Sgd::new(0.1).momentum(0.9);
//! let mut state = OptimizerState::new(&sgd, &layout);
//! for _ in 0..300 {
//!     grads.values_mut()[0] = params.values()[0] - 3.0;
//!     state.step(&sgd, 0.1, &mut params, &grads);
//! }
//! assert!((params.values()[0] - 3.0).abs() < 1e-5);
//! ```

use std::fmt::Debug;

use layers::Scalar;

mod adam;
mod decay;
mod rms_prop;
mod sgd;
mod state;

pub use adam::{Adam, AdamW};
pub use decay::Decay;
pub use rms_prop::RmsProp;
pub use sgd::Sgd;
pub use state::OptimizerState;

/// What an update knows besides parameters and gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The number of this step in the run, from 1.
    pub number: u64,
    /// The learning rate, after the schedule.
    pub learning_rate: f64,
    /// Whether weight decay applies to this slice: to weights yes, to biases and scales no.
    pub decay: bool,
}

/// A rule that moves parameters against their gradient.
///
/// A rule works element by element: the slices that it is handed may be a tensor or any part of one.
///
/// ```
/// use layers::Scalar;
/// use net::optim::{Optimizer, Step};
///
/// /// Steps of the same length for every parameter: only the sign of the gradient counts.
/// #[derive(Debug)]
/// struct SignDescent(f64);
///
/// impl<T: Scalar> Optimizer<T> for SignDescent {
///     fn name(&self) -> &'static str {
///         "sign-descent"
///     }
///     fn learning_rate(&self) -> f64 {
///         self.0
///     }
///     fn update(&self, step: Step, params: &mut [T], grads: &[T], _: &mut [&mut [T]]) {
///         for (p, &g) in params.iter_mut().zip(grads) {
///             *p -= T::of(step.learning_rate) * g.signum();
///         }
///     }
/// }
///
/// let mut params = [1.0, 2.0];
/// SignDescent(0.5).update(Step { number: 1, learning_rate: 0.5, decay: false }, &mut params, &[0.1, -7.0], &mut []);
/// assert_eq!(params, [0.5, 2.5]);
/// ```
pub trait Optimizer<T: Scalar>: Debug + Send + Sync {
    /// What it is called in reports and files: `"sgd"`.
    fn name(&self) -> &'static str;

    /// The learning rate η before any schedule.
    fn learning_rate(&self) -> f64;

    /// The names of its state vectors, at most two; each starts as zeros.
    fn slots(&self) -> &'static [&'static str] {
        &[]
    }

    /// One step for one slice of parameters. `grads` and every slot are as long as `params`; slots come in the order of
    /// [`slots`](Optimizer::slots).
    fn update(&self, step: Step, params: &mut [T], grads: &[T], slots: &mut [&mut [T]]);

    /// The name and every setting, as in `"sgd lr 0.03 momentum 0.9"`: what must be the same for a resumed run to be the same
    /// run.
    fn describe(&self) -> String {
        format!("{} lr {}", self.name(), self.learning_rate())
    }

    /// Whether the settings make sense; asked before a training run starts.
    ///
    /// # Errors
    /// [`OptimError`], which names the setting.
    fn validate(&self) -> Result<(), OptimError> {
        positive::<T>("the learning rate", self.learning_rate())
    }
}

/// An optimizer chosen while the program runs.
impl<T: Scalar> Optimizer<T> for Box<dyn Optimizer<T>> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn learning_rate(&self) -> f64 {
        (**self).learning_rate()
    }

    fn slots(&self) -> &'static [&'static str] {
        (**self).slots()
    }

    fn update(&self, step: Step, params: &mut [T], grads: &[T], slots: &mut [&mut [T]]) {
        (**self).update(step, params, grads, slots);
    }

    fn describe(&self) -> String {
        (**self).describe()
    }

    fn validate(&self) -> Result<(), OptimError> {
        (**self).validate()
    }
}

/// What is wrong with an optimizer's settings, or with the state that it should go on from.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OptimError {
    /// A setting is out of its range.
    #[error("{what} must be {range} (got {got})")]
    Range {
        /// Which setting.
        what: &'static str,
        /// The range, in words.
        range: &'static str,
        /// The number that was asked for.
        got: f64,
    },

    /// A setting is sound, but not in the element type of the network.
    #[error("{what} {got:e} is out of the range of {scalar}: choose one nearer to 1, or train in f64")]
    Precision {
        /// Which setting.
        what: &'static str,
        /// The number that was asked for.
        got: f64,
        /// The element type.
        scalar: &'static str,
    },

    /// Nesterov's correction without momentum.
    #[error("nesterov needs momentum: set one, usually 0.9, or leave nesterov off")]
    NesterovWithoutMomentum,

    /// A saved state belongs to another optimizer.
    #[error(
        "the saved state has the slots [{got}], this optimizer has [{expected}]: resume with the optimizer that saved it"
    )]
    Slots {
        /// The slots of this optimizer.
        expected: String,
        /// The slots that were saved.
        got: String,
    },

    /// A saved state belongs to another network.
    #[error("the saved slot `{slot}` has other tensors than the parameters: resume with the network that saved it")]
    Layout {
        /// Which slot.
        slot: String,
    },
}

/// Refuses what is not a number above 0, also once rounded to the element type.
fn positive<T: Scalar>(what: &'static str, got: f64) -> Result<(), OptimError> {
    let rounded = T::of(got).as_f64();
    if !(got > 0.0 && got.is_finite()) {
        Err(OptimError::Range { what, range: "> 0 and finite", got })
    } else if !(rounded > 0.0 && rounded.is_finite()) {
        Err(OptimError::Precision { what, got, scalar: T::NAME })
    } else {
        Ok(())
    }
}

/// Refuses what is not in [0, 1): the share of its past that a moving average keeps.
fn share(what: &'static str, got: f64) -> Result<(), OptimError> {
    if (0.0..1.0).contains(&got) {
        Ok(())
    } else {
        Err(OptimError::Range { what, range: "at least 0 and below 1", got })
    }
}

/// Refuses what is negative or not finite.
fn not_negative(what: &'static str, got: f64) -> Result<(), OptimError> {
    if got >= 0.0 && got.is_finite() { Ok(()) } else { Err(OptimError::Range { what, range: ">= 0 and finite", got }) }
}

/// A value of state or a parameter, or 0 where it has decayed to nothing: below 10⁸ times the smallest normal number (about 1e-30
/// in `f32`, 2e-300 in `f64`), far above the subnormal numbers, which are slow. NaN stays NaN.
#[inline(always)]
pub(crate) fn flush<T: Scalar>(value: T) -> T {
    if value.abs() < T::min_positive_value() * T::of(1e8) { T::ZERO } else { value }
}
