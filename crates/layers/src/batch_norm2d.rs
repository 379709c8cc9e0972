//! Batch normalization.

use conv_kernels::Scalar;
use ndarray::{ArrayView4, ArrayViewMut4, Ix4};

use crate::{
    Layer, LayerError, Pass, Phase, Scope, State, TensorSpec,
    random::Stream,
    split, split_mut,
    views::{elements, elements_mut, expect_sample},
};

/// Each channel shifted and scaled to mean 0 and variance 1, then to a learnt bias and weight:
/// `y = (x − μ)/√(σ² + ε) · weight + bias`, images `(N, C, H, W)` to the same shape.
///
/// While training, μ and σ² are those of the batch: over the `m = N·H·W` values of a channel, σ² divided by `m`. For use they are
/// the running statistics, which each training step moves towards the batch's by `momentum`, with σ² divided by `m − 1`.
/// This is PyTorch's `BatchNorm2d`, name by name: parameters `weight` and `bias` `(C,)`; buffers `running_mean`, `running_var`
/// `(C,)` and `num_batches_tracked`. A batch with one value per channel has no `m − 1`: it leaves `running_var` as it is.
///
/// Statistics are summed in `f64`, in two passes, always in the same order.
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
}

impl BatchNorm2d {
    /// A layer for images of shape `input` = `(C, H, W)`; with ε = 10⁻⁵ and momentum 0.1 until the builder is told otherwise.
    #[expect(clippy::new_ret_no_self, reason = "layers with options are made by builders, all alike")]
    pub fn new(input: [usize; 3]) -> BatchNorm2dBuilder {
        BatchNorm2dBuilder(Self { input, epsilon: 1e-5, momentum: 0.1 })
    }

    fn channels(&self) -> usize {
        self.input[0]
    }

    fn plane(&self) -> usize {
        self.input[1] * self.input[2]
    }

    /// The planes of one channel, image by image.
    fn planes<'a, T>(&self, values: &'a [T], channel: usize) -> impl Iterator<Item = &'a [T]> + Clone {
        values.chunks_exact(self.plane()).skip(channel).step_by(self.channels())
    }

    /// Mean and variance (divided by the number of values) of one channel.
    fn statistics<T: Scalar>(&self, x: &[T], channel: usize) -> Statistics {
        let values = || self.planes(x, channel).flatten().map(|v| v.as_f64());
        let count = (x.len() / self.channels()) as f64;
        let mean = values().sum::<f64>() / count;
        // the second sum is zero but for rounding, which it takes out of the first
        let (squares, rest) = values().fold((0.0, 0.0), |(squares, rest), v| {
            let off = v - mean;
            (squares + off * off, rest + off)
        });
        Statistics { mean, variance: (squares - rest * rest / count) / count }
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

    /// Checks the sizes and numbers.
    ///
    /// # Errors
    /// [`LayerError::Zero`] when a size is zero; [`LayerError::Range`] when ε is not finite and above 0, or the momentum not
    /// within 0 to 1.
    pub fn build(self) -> Result<BatchNorm2d, LayerError> {
        let BatchNorm2d { input, epsilon, momentum } = self.0;
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
        Ok(self.0)
    }
}

/// What one channel was normalized by.
#[derive(Clone, Copy, Debug, Default)]
struct Statistics {
    mean: f64,
    variance: f64,
}

/// What the last forward pass normalized by.
#[derive(Clone, Debug)]
pub struct Normalized {
    /// One for each channel.
    by: Vec<Statistics>,
    /// The number of values per channel that the statistics are of; 0 when they are the running ones.
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
        format!("{} channels", self.channels())
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

    /// The whole batch: its samples meet in the statistics.
    fn scope(&self) -> Scope {
        Scope::Batch
    }

    fn memo(&self, _: &Ix4) -> Normalized {
        Normalized { by: vec![Statistics::default(); self.channels()], count: 0 }
    }

    fn forward(
        &self,
        state: State<'_, T>,
        x: ArrayView4<'_, T>,
        mut y: ArrayViewMut4<'_, T>,
        memo: &mut Normalized,
        phase: Phase<'_>,
    ) {
        let [weight, bias] = split(state.params, [self.channels(); 2]);
        let [running_mean, running_var] = split(state.buffers, [self.channels(); 2]);
        let (x, y) = (elements(&x), elements_mut(&mut y));
        let training = matches!(phase, Phase::Train { .. });
        memo.count = if training { x.len() / self.channels() } else { 0 };
        for (channel, by) in memo.by.iter_mut().enumerate() {
            *by = if training {
                self.statistics(x, channel)
            } else {
                Statistics { mean: running_mean[channel].as_f64(), variance: running_var[channel].as_f64() }
            };
        }
        let images = x.chunks_exact(self.plane()).zip(y.chunks_exact_mut(self.plane()));
        for (place, (x, y)) in images.enumerate() {
            let channel = place % self.channels();
            let by = memo.by[channel];
            let scale = weight[channel].as_f64() / (by.variance + self.epsilon).sqrt();
            let bias = bias[channel].as_f64();
            for (y, &x) in y.iter_mut().zip(x) {
                *y = T::of((x.as_f64() - by.mean) * scale + bias);
            }
        }
    }

    /// With x̂ the normalized input: ∂C/∂bias = Σ dy and ∂C/∂weight = Σ dy·x̂ over a channel. Of a batch's own statistics, the
    /// part of dy that a shift (its mean) or a scale (its share along x̂) would undo does not reach x:
    /// ∂C/∂x = weight/√(σ² + ε) · (dy − Σdy/m − x̂·Σ(dy·x̂)/m).
    fn backward(
        &self,
        state: State<'_, T>,
        mut pass: Pass<'_, T, Self>,
        mut dx: Option<ArrayViewMut4<'_, T>>,
        grads: &mut [T],
    ) {
        let [weight, _] = split(state.params, [self.channels(); 2]);
        let [dweight, dbias] = split_mut(grads, [self.channels(); 2]);
        let (x, dy, plane) = (elements(&pass.x), &*elements_mut(&mut pass.dy), self.plane());
        for (channel, by) in pass.memo.by.iter().enumerate() {
            let inverse = 1.0 / (by.variance + self.epsilon).sqrt();
            let normalized = |x: T| (x.as_f64() - by.mean) * inverse;
            let pairs = self.planes(x, channel).flatten().zip(self.planes(dy, channel).flatten());
            let (sum, along) = pairs
                .fold((0.0, 0.0), |(sum, along), (&x, dy)| (sum + dy.as_f64(), along + dy.as_f64() * normalized(x)));
            dbias[channel] += T::of(sum);
            dweight[channel] += T::of(along);

            let Some(dx) = &mut dx else { continue };
            // running statistics do not depend on x: nothing is undone
            let share = if pass.memo.count == 0 { 0.0 } else { 1.0 / pass.memo.count as f64 };
            let (mean_dy, slope) = (sum * share, along * share);
            let scale = weight[channel].as_f64() * inverse;
            let planes = elements_mut(dx).chunks_exact_mut(plane).skip(channel).step_by(self.channels());
            let sources = self.planes(x, channel).zip(self.planes(dy, channel));
            for (dx, (x, dy)) in planes.zip(sources) {
                for ((dx, &x), dy) in dx.iter_mut().zip(x).zip(dy) {
                    *dx = T::of(scale * (dy.as_f64() - mean_dy - normalized(x) * slope));
                }
            }
        }
    }

    fn commit(&self, memo: &Normalized, buffers: &mut [T]) {
        if memo.count == 0 {
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
