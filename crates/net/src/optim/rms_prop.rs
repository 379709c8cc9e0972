//! RMSProp.

use layers::{Scalar, vectorized};

use super::{Decay, OptimError, Optimizer, Step, flush, positive, share};

/// RMSProp (Hinton's lecture 6e; PyTorch's form): the gradient over the root of its mean square, s ← α s + (1 − α) g²;
/// θ ← θ − η g / (√s + ε). With momentum μ: b ← μ b + g / (√s + ε); θ ← θ − η b.
///
/// ```
/// use net::optim::{Optimizer, RmsProp};
///
/// let plain: &dyn Optimizer<f32> = &RmsProp::new(0.01);
/// assert_eq!(plain.describe(), "rmsprop lr 0.01 alpha 0.99 epsilon 1e-8");
/// let with_momentum: &dyn Optimizer<f32> = &RmsProp::new(0.01).momentum(0.9);
/// assert_eq!(with_momentum.slots(), ["square_avg", "momentum_buffer"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsProp {
    learning_rate: f64,
    alpha: f64,
    epsilon: f64,
    momentum: f64,
    decay: Decay,
}

impl RmsProp {
    /// RMSProp with a learning rate (0.01 is usual), alpha 0.99, epsilon 10⁻⁸, no momentum.
    #[must_use]
    pub fn new(learning_rate: f64) -> Self {
        Self { learning_rate, alpha: 0.99, epsilon: 1e-8, momentum: 0.0, decay: Decay::None }
    }

    /// The share of its past that the mean square keeps, in [0, 1).
    #[must_use]
    pub fn alpha(self, alpha: f64) -> Self {
        Self { alpha, ..self }
    }

    /// What is added to the root, above 0: it bounds the step where gradients vanish.
    #[must_use]
    pub fn epsilon(self, epsilon: f64) -> Self {
        Self { epsilon, ..self }
    }

    /// The share of the past that the momentum keeps, in [0, 1); 0 (the default) needs no state.
    #[must_use]
    pub fn momentum(self, momentum: f64) -> Self {
        Self { momentum, ..self }
    }

    /// The penalty on large weights, as part of the gradient.
    #[must_use]
    pub fn decay(self, decay: Decay) -> Self {
        Self { decay, ..self }
    }
}

impl<T: Scalar> Optimizer<T> for RmsProp {
    fn name(&self) -> &'static str {
        "rmsprop"
    }

    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn slots(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &["square_avg"] } else { &["square_avg", "momentum_buffer"] }
    }

    fn update(&self, step: Step, params: &mut [T], grads: &[T], slots: &mut [&mut [T]]) {
        let decay = self.decay.pull(step.decay);
        let (rate, momentum) = (T::of(step.learning_rate), T::of(self.momentum));
        let (alpha, rest, epsilon) = (T::of(self.alpha), T::of(1.0 - self.alpha), T::of(self.epsilon));
        // g / (√s + ε), after s has moved
        let direction = |p: T, g: T, s: &mut T| {
            let g = decay.add_to(g, p);
            *s = flush(alpha * *s + rest * g * g);
            g / (s.sqrt() + epsilon)
        };
        match slots {
            [square, buffer] => vectorized(|| {
                for (((p, &g), s), b) in params.iter_mut().zip(grads).zip(square.iter_mut()).zip(buffer.iter_mut()) {
                    *b = flush(momentum * *b + direction(*p, g, s));
                    *p = flush(*p - rate * *b);
                }
            }),
            [square] => vectorized(|| {
                for ((p, &g), s) in params.iter_mut().zip(grads).zip(square.iter_mut()) {
                    *p = flush(*p - rate * direction(*p, g, s));
                }
            }),
            _ => unreachable!("a state made for RMSProp has one slot or two"),
        }
    }

    fn describe(&self) -> String {
        let Self { learning_rate, alpha, epsilon, momentum, decay } = self;
        let momentum = if *momentum == 0.0 { String::new() } else { format!(" momentum {momentum}") };
        format!("rmsprop lr {learning_rate} alpha {alpha} epsilon {epsilon:e}{momentum}{decay}")
    }

    fn validate(&self) -> Result<(), OptimError> {
        positive::<T>("the learning rate", self.learning_rate)?;
        share("alpha", self.alpha)?;
        positive::<T>("epsilon", self.epsilon)?;
        share("the momentum", self.momentum)?;
        self.decay.validate()
    }
}
