//! How weights and biases begin.

use conv_kernels::{Activation, Scalar};

use crate::{LayerError, random::Stream};

/// The distribution that weights and biases are drawn from.
///
/// `fan_in` counts the inputs that one output sums over: `C/groups · KH · KW` for a convolution, `inputs` for a dense layer.
/// `fan_out` counts the outputs that one input goes to: `O/groups · KH · KW`, or `outputs`. Biases are zero unless said.
///
/// ```
/// use layers::{Activation, Init};
/// assert_eq!(Init::default_for(Activation::Relu), Init::HeNormal);
/// assert_eq!(Init::default_for(Activation::Sigmoid), Init::GlorotUniform);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// Weights and biases from N(0, 1), as `np.random.randn` gives them to the article's classes.
    #[doc(alias = "randn")]
    StandardNormal,
    /// Weights from N(0, 2/fan_in): keeps the scale of activations through ReLUs (He et al., 2015).
    #[doc(alias = "kaiming")]
    HeNormal,
    /// Weights uniform within ±√(6/(fan_in + fan_out)) (Glorot and Bengio, 2010).
    #[doc(alias = "xavier")]
    GlorotUniform,
    /// Weights from N(0, 1/fan_in), biases from N(0, 1): Nielsen, *Neural Networks and Deep Learning*, chapter 3.
    NielsenFanIn,
    /// Weights from N(0, pool_area/fan_out), biases from N(0, 1): the same book's chapter 6 (`network3.py`), where a
    /// convolution and the max-pooling after it are one layer.
    NielsenFanOut {
        /// The number of pixels of the pooling window that follows: 4 for 2×2, 1 for none.
        pool_area: usize,
    },
    /// Weights and biases uniform within ±1/√fan_in, as PyTorch's `Conv2d` and `Linear` begin.
    PyTorch,
    /// Everything zero: the softmax layer of Nielsen's `network3.py`.
    Zeros,
}

impl Init {
    /// What suits an activation: [`HeNormal`](Self::HeNormal) for the ReLU family, else [`GlorotUniform`](Self::GlorotUniform).
    #[must_use]
    pub fn default_for(activation: Activation) -> Self {
        match activation {
            Activation::Relu | Activation::LeakyRelu { .. } => Self::HeNormal,
            _ => Self::GlorotUniform,
        }
    }

    /// Draws the weights, then the biases, in C order.
    ///
    /// ```
    /// use layers::{Init, random::Key};
    /// let (mut weight, mut bias) = (vec![0.0f32; 500], vec![1.0f32; 20]);
    /// Init::HeNormal.fill(25, 500, &mut weight, &mut bias, &mut Key::new(0).stream("init", "conv1", 0, 0));
    /// let variance = weight.iter().map(|w| w * w).sum::<f32>() / 500.0;
    /// assert!((variance - 2.0 / 25.0).abs() < 0.03);
    /// assert!(bias.iter().all(|&b| b == 0.0));
    /// ```
    pub fn fill<T: Scalar>(self, fan_in: usize, fan_out: usize, weight: &mut [T], bias: &mut [T], stream: &mut Stream) {
        let (fan_in, fan_out) = (fan_in as f64, fan_out as f64);
        let zero = Draw::Normal(0.0);
        let (weights, biases) = match self {
            Self::StandardNormal => (Draw::Normal(1.0), Draw::Normal(1.0)),
            Self::HeNormal => (Draw::Normal((2.0 / fan_in).sqrt()), zero),
            Self::GlorotUniform => (Draw::Uniform((6.0 / (fan_in + fan_out)).sqrt()), zero),
            Self::NielsenFanIn => (Draw::Normal((1.0 / fan_in).sqrt()), Draw::Normal(1.0)),
            Self::NielsenFanOut { pool_area } => (Draw::Normal((pool_area as f64 / fan_out).sqrt()), Draw::Normal(1.0)),
            Self::PyTorch => (Draw::Uniform((1.0 / fan_in).sqrt()), Draw::Uniform((1.0 / fan_in).sqrt())),
            Self::Zeros => (zero, zero),
        };
        weights.fill(weight, stream);
        biases.fill(bias, stream);
    }

    /// Refuses a pooling window of no pixels.
    pub(crate) fn check(self) -> Result<Self, LayerError> {
        match self {
            Self::NielsenFanOut { pool_area: 0 } => {
                Err(LayerError::Zero { what: "the pool_area of Init::NielsenFanOut" })
            }
            other => Ok(other),
        }
    }
}

/// A symmetric distribution around zero.
#[derive(Clone, Copy)]
enum Draw {
    /// Normal, of that standard deviation; 0 gives zeros and draws nothing.
    Normal(f64),
    /// Uniform within plus or minus that bound.
    Uniform(f64),
}

impl Draw {
    fn fill<T: Scalar>(self, values: &mut [T], stream: &mut Stream) {
        match self {
            Self::Normal(0.0) => values.fill(T::ZERO),
            Self::Normal(deviation) => values.fill_with(|| T::of(deviation * stream.normal())),
            Self::Uniform(bound) => values.fill_with(|| T::of(bound * (2.0 * stream.uniform() - 1.0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Key;

    const N: usize = 40_000;

    /// Mean square and largest magnitude.
    fn moments(values: &[f64]) -> [f64; 2] {
        let largest = values.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        [values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64, largest]
    }

    #[test]
    fn each_has_its_variance() {
        // fan_in 25, fan_out 500: Nielsen's first convolution
        let cases = [
            (Init::StandardNormal, 1.0, 1.0),
            (Init::HeNormal, 2.0 / 25.0, 0.0),
            (Init::GlorotUniform, 6.0 / 525.0 / 3.0, 0.0),
            (Init::NielsenFanIn, 1.0 / 25.0, 1.0),
            (Init::NielsenFanOut { pool_area: 4 }, 1.0 / 125.0, 1.0),
            (Init::PyTorch, 1.0 / 25.0 / 3.0, 1.0 / 25.0 / 3.0),
            (Init::Zeros, 0.0, 0.0),
        ];
        for (init, of_weights, of_biases) in cases {
            let (mut weight, mut bias) = (vec![9.0f64; N], vec![9.0f64; N]);
            init.fill(25, 500, &mut weight, &mut bias, &mut Key::new(3).stream("init", "test", 0, 0));
            for (values, variance) in [(&weight, of_weights), (&bias, of_biases)] {
                let mean_square = moments(values)[0];
                // five standard errors of the mean square of a normal
                let error = 5.0 * (2.0 / N as f64).sqrt() * variance;
                assert!((mean_square - variance).abs() <= error, "{init:?}: {mean_square} is not {variance}");
            }
        }
    }

    #[test]
    fn uniform_ones_reach_their_bound_and_stay_within() {
        for (init, bound) in [(Init::GlorotUniform, (6.0f64 / 525.0).sqrt()), (Init::PyTorch, 0.2)] {
            let mut weight = vec![0.0f64; N];
            init.fill(25, 500, &mut weight, &mut [], &mut Key::new(4).stream("init", "test", 0, 0));
            let largest = moments(&weight)[1];
            assert!(largest <= bound && largest > 0.999 * bound, "{init:?}: {largest} of {bound}");
        }
    }
}
