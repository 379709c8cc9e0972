//! Stochastic gradient descent.

use layers::{Scalar, vectorized};

use super::{Decay, OptimError, Optimizer, Step, flush, positive, share};

/// Stochastic gradient descent, θ ← θ − η g, optionally with momentum.
///
/// With momentum μ the steps go along a sum of past gradients, v ← μ v + g; θ ← θ − η v: PyTorch's form, in which the learning
/// rate is outside the sum. Nesterov's correction steps along g + μ v, the sum as it will be after the next step.
///
/// ```
/// use net::optim::{Decay, Optimizer, Sgd};
///
/// let sgd = Sgd::new(0.03).momentum(0.9).nesterov(true).decay(Decay::L2(5e-5));
/// let sgd: &dyn Optimizer<f32> = &sgd;
/// assert_eq!(sgd.describe(), "sgd lr 0.03 momentum 0.9 nesterov decay l2 0.00005");
/// assert!(sgd.validate().is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    learning_rate: f64,
    momentum: f64,
    nesterov: bool,
    decay: Decay,
}

impl Sgd {
    /// Plain descent with a learning rate η.
    #[must_use]
    #[doc(alias = "step_size")]
    pub fn new(learning_rate: f64) -> Self {
        Self { learning_rate, momentum: 0.0, nesterov: false, decay: Decay::None }
    }

    /// The share μ of the past that the momentum keeps, in [0, 1); 0 (the default) needs no state.
    #[must_use]
    pub fn momentum(self, momentum: f64) -> Self {
        Self { momentum, ..self }
    }

    /// Nesterov's correction; needs momentum.
    #[must_use]
    pub fn nesterov(self, nesterov: bool) -> Self {
        Self { nesterov, ..self }
    }

    /// The penalty on large weights.
    #[must_use]
    pub fn decay(self, decay: Decay) -> Self {
        Self { decay, ..self }
    }
}

impl<T: Scalar> Optimizer<T> for Sgd {
    fn name(&self) -> &'static str {
        "sgd"
    }

    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn slots(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &[] } else { &["momentum_buffer"] }
    }

    fn update(&self, step: Step, params: &mut [T], grads: &[T], slots: &mut [&mut [T]]) {
        let decay = self.decay.pull(step.decay);
        let (rate, momentum) = (T::of(step.learning_rate), T::of(self.momentum));
        let Some(velocity) = slots.first_mut() else {
            return vectorized(|| {
                for (p, &g) in params.iter_mut().zip(grads) {
                    *p = flush(*p - rate * decay.add_to(g, *p));
                }
            });
        };
        vectorized(|| {
            for ((p, &g), v) in params.iter_mut().zip(grads).zip(velocity.iter_mut()) {
                let g = decay.add_to(g, *p);
                *v = flush(momentum * *v + g);
                *p = flush(*p - rate * if self.nesterov { g + momentum * *v } else { *v });
            }
        });
    }

    fn describe(&self) -> String {
        let Self { learning_rate, momentum, nesterov, decay } = self;
        let momentum = if *momentum == 0.0 { String::new() } else { format!(" momentum {momentum}") };
        format!("sgd lr {learning_rate}{momentum}{}{decay}", if *nesterov { " nesterov" } else { "" })
    }

    fn validate(&self) -> Result<(), OptimError> {
        positive::<T>("the learning rate", self.learning_rate)?;
        share("the momentum", self.momentum)?;
        if self.nesterov && self.momentum == 0.0 {
            return Err(OptimError::NesterovWithoutMomentum);
        }
        self.decay.validate()
    }
}
