//! Batch normalization.

use conv_kernels::{Activation, BatchNorm, Moments, Scalar, Statistics};
use ndarray::{ArrayView4, ArrayViewMut4, Axis, Ix4};

use crate::{
    Layer, LayerError, Pass, Phase, Scope, State, TensorSpec,
    random::Stream,
    split, split_mut,
    views::{elements, elements_mut, expect_sample},
};

const CHECKED: &str = "the shapes were checked when the layer was built and the batch entered";

/// Each channel shifted and scaled to mean 0 and variance 1, then to a learnt bias and weight, then the activation:
/// `y = σ((x − μ)/√(σ² + ε) · weight + bias)`, images `(N, C, H, W)` to the same shape.
///
/// While training, μ and σ² are those of the batch: over the `m = N·H·W` values of a channel, σ² divided by `m`. For use they are
/// the running statistics, which each training step moves towards the batch's by `momentum`, with σ² divided by `m − 1`.
/// This is PyTorch's `BatchNorm2d`, name by name: parameters `weight` and `bias` `(C,)`; buffers `running_mean`, `running_var`
/// `(C,)` and `num_batches_tracked`. A batch with one value per channel has no `m − 1`: it leaves `running_var` as it is.
///
/// Channels are computed side by side, each in the order of the samples: the same bits for any number of threads.
///
/// Source: Ioffe and Szegedy, "Batch Normalization", 2015.
///
/// ```
/// use layers::{BatchNorm2d, Phase, Solo, random::Key};
/// use ndarray::array;
///
/// let mut norm = Solo::<f64, _>::new(BatchNorm2d::new([1, 1, 2]).epsilon(1e-12).momentum(0.5).build()?, &[1, 1, 2], 0)?;
/// let y = norm.forward_in(&array![[[[1.0, 3.0]]]], Phase::Train { key: Key::new(0), epoch: 0, samples: &[0] })?;
/// assert!((y - array![[[[-1.0, 1.0]]]]).iter().all(|error: &f64| error.abs() < 1e-9));
/// assert_eq!(norm.buffers().tensor("running_mean")?[0], 1.0); // halfway from 0 to 2
/// assert_eq!(norm.buffers().tensor("running_var")?[0], 1.5); // halfway from 1 to 2
/// # Ok::<(), layers::LayerError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BatchNorm2d {
    input: [usize; 3],
    epsilon: f64,
    momentum: f64,
    activation: Activation,
}

impl BatchNorm2d {
    /// A layer for images of shape `input` = `(C, H, W)`; with ε = 10⁻⁵, momentum 0.1, and no activation until the builder is
    /// told otherwise.
    #[expect(clippy::new_ret_no_self, reason = "layers with options are made by builders, all alike")]
    pub fn new(input: [usize; 3]) -> BatchNorm2dBuilder {
        BatchNorm2dBuilder(Self { input, epsilon: 1e-5, momentum: 0.1, activation: Activation::Identity })
    }

    fn channels(&self) -> usize {
        self.input[0]
    }

    /// The formula, with its parameters.
    fn formula<'a, T: Scalar>(&self, params: &'a [T]) -> BatchNorm<'a, T> {
        let [weight, bias] = split(params, [self.channels(); 2]);
        let plane = self.input[1] * self.input[2];
        BatchNorm { plane, weight, bias, epsilon: self.epsilon, activation: self.activation }
    }
}

/// Sizes of a [`BatchNorm2d`], on their way to be checked.
///
/// ```
/// use layers::BatchNorm2d;
/// let error = BatchNorm2d::new([20, 12, 12]).momentum(1.1).build().unwrap_err();
/// assert_eq!(error.to_string(), "momentum must be 0 to 1 (got 1.1)");
/// ```
#[derive(Clone, Debug)]
#[must_use = "call `build` to make the layer"]
pub struct BatchNorm2dBuilder(BatchNorm2d);

impl BatchNorm2dBuilder {
    /// What is added to the variance so that it can be divided by (default 10⁻⁵).
    #[doc(alias = "eps")]
    pub fn epsilon(self, epsilon: f64) -> Self {
        Self(BatchNorm2d { epsilon, ..self.0 })
    }

    /// The weight of a new batch in the running statistics, 0 to 1 (default 0.1).
    pub fn momentum(self, momentum: f64) -> Self {
        Self(BatchNorm2d { momentum, ..self.0 })
    }

    /// The activation of the normalized images (default [`Activation::Identity`]).
    pub fn activation(self, activation: Activation) -> Self {
        Self(BatchNorm2d { activation, ..self.0 })
    }

    /// Checks the sizes and numbers.
    ///
    /// # Errors
    /// [`LayerError::Zero`] when a size is zero; [`LayerError::Range`] when ε is not finite and above 0, or the momentum not
    /// within 0 to 1; [`LayerError::Kernel`] when the activation cannot be.
    pub fn build(self) -> Result<BatchNorm2d, LayerError> {
        let BatchNorm2d { input, epsilon, momentum, activation } = self.0;
        for (what, size) in ["in_channels", "the input's height", "the input's width"].into_iter().zip(input) {
            if size == 0 {
                return Err(LayerError::Zero { what });
            }
        }
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            return Err(LayerError::Range { what: "epsilon", range: "finite and above 0", got: epsilon });
        }
        if !(0.0..=1.0).contains(&momentum) {
            return Err(LayerError::Range { what: "momentum", range: "0 to 1", got: momentum });
        }
        activation.check()?;
        Ok(self.0)
    }
}

/// What the last forward pass normalized by.
#[derive(Clone, Debug)]
pub struct Normalized {
    /// One for each channel.
    by: Vec<Moments>,
    statistics: Statistics,
    /// The number of values of a channel.
    count: usize,
}

impl<T: Scalar> Layer<T> for BatchNorm2d {
    type In = Ix4;
    type Out = Ix4;
    type Memo = Normalized;

    fn kind(&self) -> &'static str {
        "bn"
    }

    fn describe(&self) -> String {
        match self.activation {
            Activation::Identity => format!("{} channels", self.channels()),
            activation => format!("{} channels, {activation}", self.channels()),
        }
    }

    fn settings(&self) -> String {
        let described = Layer::<T>::describe(self);
        format!("{described}, epsilon {:e}, momentum {}", self.epsilon, self.momentum)
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
        expect_sample(&self.input, input)?;
        Ok(input.to_vec())
    }

    fn params(&self) -> Vec<TensorSpec> {
        ["weight", "bias"].map(|name| TensorSpec::plain(name, &[self.channels()])).into()
    }

    fn init(&self, params: &mut [T], _: &mut Stream) {
        let [weight, bias] = split_mut(params, [self.channels(); 2]);
        weight.fill(T::one());
        bias.fill(T::ZERO);
    }

    fn buffers(&self) -> Vec<TensorSpec> {
        let [mean, var] = ["running_mean", "running_var"].map(|name| TensorSpec::plain(name, &[self.channels()]));
        vec![mean, var, TensorSpec::counter("num_batches_tracked")]
    }

    fn init_buffers(&self, buffers: &mut [T]) {
        let [mean, var, batches] = split_mut(buffers, [self.channels(), self.channels(), 1]);
        mean.fill(T::ZERO);
        var.fill(T::one());
        batches.fill(T::ZERO);
    }

    /// To learn, the whole batch: its samples meet in the statistics.
    fn scope(&self) -> Scope {
        Scope::BatchToLearn
    }

    fn memo(&self, _: &Ix4) -> Normalized {
        Normalized { by: vec![Moments::default(); self.channels()], statistics: Statistics::Given, count: 0 }
    }

    fn forward(
        &self,
        state: State<'_, T>,
        x: ArrayView4<'_, T>,
        mut y: ArrayViewMut4<'_, T>,
        memo: &mut Normalized,
        phase: Phase<'_>,
    ) {
        let [running_mean, running_var] = split(state.buffers, [self.channels(); 2]);
        memo.statistics = match phase {
            Phase::Train { .. } => Statistics::Batch,
            Phase::Infer => Statistics::Given,
        };
        memo.count = x.len() / self.channels();
        if memo.statistics == Statistics::Given {
            for (by, (mean, variance)) in memo.by.iter_mut().zip(running_mean.iter().zip(running_var)) {
                *by = Moments { mean: mean.as_f64(), variance: variance.as_f64() };
            }
        }
        let (batch, y) = (x.len_of(Axis(0)), elements_mut(&mut y));
        self.formula(state.params).forward(batch, elements(&x), y, &mut memo.by, memo.statistics).expect(CHECKED);
    }

    fn backward(
        &self,
        state: State<'_, T>,
        mut pass: Pass<'_, T, Self>,
        mut dx: Option<ArrayViewMut4<'_, T>>,
        grads: &mut [T],
    ) {
        let [dweight, dbias] = split_mut(grads, [self.channels(); 2]);
        let Normalized { by, statistics, .. } = pass.memo;
        let seen = conv_kernels::Normalized {
            x: elements(&pass.x),
            y: elements(&pass.y),
            moments: by,
            statistics: *statistics,
            dy: elements_mut(&mut pass.dy),
        };
        let (batch, dx) = (pass.x.len_of(Axis(0)), dx.as_mut().map(elements_mut));
        self.formula(state.params).backward(batch, seen, dx, dweight, dbias).expect(CHECKED);
    }

    fn commit(&self, memo: &Normalized, buffers: &mut [T]) {
        if memo.statistics == Statistics::Given || memo.count == 0 {
            return;
        }
        let [mean, var, batches] = split_mut(buffers, [self.channels(), self.channels(), 1]);
        let towards = |old: &mut T, new: f64| *old = T::of((1.0 - self.momentum) * old.as_f64() + self.momentum * new);
        let count = memo.count as f64;
        for (channel, by) in memo.by.iter().enumerate() {
            towards(&mut mean[channel], by.mean);
            if memo.count > 1 {
                towards(&mut var[channel], by.variance * count / (count - 1.0));
            }
        }
        batches[0] += T::one();
    }
}
