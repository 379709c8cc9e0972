//! Adam, and its twin whose weight decay is apart from the gradient.

use layers::{Scalar, vectorized};

use super::{Decay, OptimError, Optimizer, Step, flush, not_negative, positive, share};

const SLOTS: &[&str] = &["exp_avg", "exp_avg_sq"];

/// What both optimizers keep of the past: moving averages of the gradient and of its square.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Moments {
    beta1: f64,
    beta2: f64,
    epsilon: f64,
}

impl Moments {
    const DEFAULT: Self = Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };

    /// The step that both share. `prepare(θ, g)` is what each does with a parameter and its gradient before.
    fn update<T: Scalar>(
        &self,
        step: Step,
        params: &mut [T],
        grads: &[T],
        slots: &mut [&mut [T]],
        prepare: impl Fn(T, T) -> (T, T),
    ) {
        let [mean, square] = slots else { unreachable!("a state made for Adam has its two slots") };
        let (beta1, beta2, epsilon) = (T::of(self.beta1), T::of(self.beta2), T::of(self.epsilon));
        let (rest1, rest2) = (T::of(1.0 - self.beta1), T::of(1.0 - self.beta2));
        // averages that started at zero are too small by 1 − βᵗ after t steps
        let correct1 = 1.0 - self.beta1.powf(step.number as f64);
        let correct2 = 1.0 - self.beta2.powf(step.number as f64);
        let (rate, root) = (T::of(step.learning_rate / correct1), T::of(correct2.sqrt()));

        vectorized(|| {
            for (((p, &g), m), s) in params.iter_mut().zip(grads).zip(mean.iter_mut()).zip(square.iter_mut()) {
                let (prepared, g) = prepare(*p, g);
                *m = flush(beta1 * *m + rest1 * g);
                *s = flush(beta2 * *s + rest2 * g * g);
                *p = flush(prepared - rate * *m / (s.sqrt() / root + epsilon));
            }
        });
    }

    fn validate<T: Scalar>(&self) -> Result<(), OptimError> {
        share("beta1", self.beta1)?;
        share("beta2", self.beta2)?;
        positive::<T>("epsilon", self.epsilon)
    }

    fn describe(&self) -> String {
        format!("betas {} {} epsilon {:e}", self.beta1, self.beta2, self.epsilon)
    }
}

/// Adam (Kingma and Ba, "Adam: A Method for Stochastic Optimization", algorithm 1): each parameter's step is its mean gradient
/// over the root of its mean squared gradient. Weight decay is part of the gradient, as in PyTorch's `Adam`.
///
/// ```
/// use net::optim::{Adam, Optimizer};
///
/// let adam: &dyn Optimizer<f32> = &Adam::new(0.001);
/// assert_eq!(adam.describe(), "adam lr 0.001 betas 0.9 0.999 epsilon 1e-8");
/// assert_eq!(adam.slots(), ["exp_avg", "exp_avg_sq"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    learning_rate: f64,
    moments: Moments,
    decay: Decay,
}

impl Adam {
    /// Adam with a learning rate (0.001 is usual), betas 0.9 and 0.999, epsilon 10⁻⁸.
    #[must_use]
    pub fn new(learning_rate: f64) -> Self {
        Self { learning_rate, moments: Moments::DEFAULT, decay: Decay::None }
    }

    /// The shares of their past that the two averages keep, each in [0, 1).
    #[must_use]
    pub fn betas(self, beta1: f64, beta2: f64) -> Self {
        Self { moments: Moments { beta1, beta2, ..self.moments }, ..self }
    }

    /// What is added to the root, above 0: it bounds the step where gradients vanish.
    #[must_use]
    pub fn epsilon(self, epsilon: f64) -> Self {
        Self { moments: Moments { epsilon, ..self.moments }, ..self }
    }

    /// The penalty on large weights, as part of the gradient.
    #[must_use]
    pub fn decay(self, decay: Decay) -> Self {
        Self { decay, ..self }
    }
}

impl<T: Scalar> Optimizer<T> for Adam {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn slots(&self) -> &'static [&'static str] {
        SLOTS
    }

    fn update(&self, step: Step, params: &mut [T], grads: &[T], slots: &mut [&mut [T]]) {
        let decay = self.decay.pull(step.decay);
        self.moments.update(step, params, grads, slots, |p, g| (p, decay.add_to(g, p)));
    }

    fn describe(&self) -> String {
        format!("adam lr {} {}{}", self.learning_rate, self.moments.describe(), self.decay)
    }

    fn validate(&self) -> Result<(), OptimError> {
        positive::<T>("the learning rate", self.learning_rate)?;
        self.moments.validate::<T>()?;
        self.decay.validate()
    }
}

/// Adam with decoupled weight decay (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", algorithm 2): weights shrink
/// by the factor 1 − η λ, untouched by the averages. λ is 0.01 unless set, as in PyTorch's `AdamW`.
///
/// ```
/// use net::optim::{AdamW, Optimizer};
///
/// let adamw: &dyn Optimizer<f32> = &AdamW::new(0.001).weight_decay(0.05);
/// assert_eq!(adamw.describe(), "adamw lr 0.001 betas 0.9 0.999 epsilon 1e-8 decay 0.05");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    learning_rate: f64,
    moments: Moments,
    weight_decay: f64,
}

impl AdamW {
    /// AdamW with a learning rate (0.001 is usual), betas 0.9 and 0.999, epsilon 10⁻⁸, weight decay 0.01.
    #[must_use]
    pub fn new(learning_rate: f64) -> Self {
        Self { learning_rate, moments: Moments::DEFAULT, weight_decay: 0.01 }
    }

    /// The shares of their past that the two averages keep, each in [0, 1).
    #[must_use]
    pub fn betas(self, beta1: f64, beta2: f64) -> Self {
        Self { moments: Moments { beta1, beta2, ..self.moments }, ..self }
    }

    /// What is added to the root, above 0: it bounds the step where gradients vanish.
    #[must_use]
    pub fn epsilon(self, epsilon: f64) -> Self {
        Self { moments: Moments { epsilon, ..self.moments }, ..self }
    }

    /// The λ of the shrinking factor 1 − η λ.
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        Self { weight_decay, ..self }
    }
}

impl<T: Scalar> Optimizer<T> for AdamW {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn slots(&self) -> &'static [&'static str] {
        SLOTS
    }

    fn update(&self, step: Step, params: &mut [T], grads: &[T], slots: &mut [&mut [T]]) {
        let decay = if step.decay { self.weight_decay } else { 0.0 };
        let shrink = T::of(1.0 - step.learning_rate * decay);
        self.moments.update(step, params, grads, slots, |p, g| (p * shrink, g));
    }

    fn describe(&self) -> String {
        format!("adamw lr {} {} decay {}", self.learning_rate, self.moments.describe(), self.weight_decay)
    }

    fn validate(&self) -> Result<(), OptimError> {
        positive::<T>("the learning rate", self.learning_rate)?;
        self.moments.validate::<T>()?;
        not_negative("the weight decay", self.weight_decay)
    }
}
