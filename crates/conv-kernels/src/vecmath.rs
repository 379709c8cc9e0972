//! Elementwise functions, and the two normalisations of a row.

use std::fmt;

use crate::simd::{Isa, Op, Simd};
use crate::{KernelError, Scalar};

/// The activation function σ of a layer, `a = σ(z)`.
///
/// Its derivative is computed from the output `y = σ(z)`, which the article calls `a`, so that nothing but the output
/// needs keeping (the article's section "Backpropagation through a Feature Map").
///
/// ```
/// use conv_kernels::Activation;
/// let mut a = [-1.0f32, 0.0, 2.0];
/// Activation::Relu.apply(&mut a);
/// assert_eq!(a, [0.0, 0.0, 2.0]);
/// assert_eq!(Activation::leaky_relu(0.1)?.to_string(), "leaky_relu(0.1)");
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// `z`.
    #[default]
    Identity,
    /// `1 / (1 + exp(-z))`, computed without overflow for either sign.
    #[doc(alias = "sigmoid")]
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `z` above zero, else `+0` (also for `-0`); NaN stays NaN.
    Relu,
    /// `z` above zero, else `slope·z`; NaN stays NaN. Make it with [`Activation::leaky_relu`], which checks the slope.
    LeakyRelu {
        /// The slope below zero: positive, so that the output tells the sign of `z`.
        slope: f64,
    },
}

impl Activation {
    /// A leaky ReLU.
    ///
    /// # Errors
    ///
    /// [`KernelError::Slope`] unless `0 < slope < ∞`.
    ///
    /// ```
    /// use conv_kernels::Activation;
    /// assert!(Activation::leaky_relu(0.01).is_ok());
    /// assert!(Activation::leaky_relu(0.0).is_err());
    /// ```
    pub fn leaky_relu(slope: f64) -> Result<Self, KernelError> {
        Self::LeakyRelu { slope }.check()
    }

    /// The activation, unless its derivative could not be told from its output.
    ///
    /// # Errors
    ///
    /// [`KernelError::Slope`] for a leaky ReLU unless `0 < slope < ∞`.
    ///
    /// ```
    /// use conv_kernels::Activation;
    /// assert!(Activation::LeakyRelu { slope: -1.0 }.check().is_err());
    /// assert!(Activation::Tanh.check().is_ok());
    /// ```
    pub fn check(self) -> Result<Self, KernelError> {
        match self {
            Self::LeakyRelu { slope } if !(slope > 0.0 && slope.is_finite()) => Err(KernelError::Slope { slope }),
            _ => Ok(self),
        }
    }

    /// `z ← σ(z)`.
    ///
    /// ```
    /// use conv_kernels::Activation;
    /// let mut z = [0.0f64, -1000.0, 1000.0];
    /// Activation::Sigmoid.apply(&mut z);
    /// assert_eq!(z, [0.5, 0.0, 1.0]);
    /// ```
    pub fn apply<T: Scalar>(self, z: &mut [T]) {
        match self {
            Self::Identity => {}
            Self::Sigmoid => z.iter_mut().for_each(|z| *z = sigmoid(*z)),
            Self::Tanh => z.iter_mut().for_each(|z| *z = z.tanh()),
            // `z <= 0` is false for NaN, which so stays.
            Self::Relu => vectorized(|| z.iter_mut().for_each(|z| *z = if *z <= T::ZERO { T::ZERO } else { *z })),
            Self::LeakyRelu { slope } => {
                let slope = T::of(slope);
                vectorized(|| z.iter_mut().for_each(|z| *z = if *z > T::ZERO { *z } else { slope * *z }));
            }
        }
    }

    /// `dy ← dy · σ′(z)`, from the output `y = σ(z)`: for the sigmoid `y(1 - y)`, for tanh `1 - y²`, for ReLU 1 above
    /// zero and 0 elsewhere, for its leaky kin 1 above zero and the slope elsewhere.
    ///
    /// A NaN in `dy` stays, except under a ReLU that is switched off; one in `y` spreads, except through the identity.
    ///
    /// # Panics
    ///
    /// If the two slices differ in length.
    ///
    /// ```
    /// use conv_kernels::Activation;
    /// let mut dy = [1.0, 16.0];
    /// Activation::Sigmoid.backprop(&[0.5, 0.25], &mut dy);
    /// assert_eq!(dy, [0.25, 3.0]);
    /// ```
    pub fn backprop<T: Scalar>(self, y: &[T], dy: &mut [T]) {
        assert_eq!(y.len(), dy.len(), "y and dy must have the same length");
        let one = T::one();
        match self {
            Self::Identity => {}
            Self::Sigmoid => update(y, dy, |y, dy| dy * (y * (one - y))),
            Self::Tanh => update(y, dy, |y, dy| dy * (one - y * y)),
            Self::Relu => update(y, dy, |y, dy| if y > T::ZERO { dy } else { not_above_zero(y, T::ZERO) }),
            Self::LeakyRelu { slope } => {
                let slope = T::of(slope);
                update(y, dy, |y, dy| if y > T::ZERO { dy } else { not_above_zero(y, slope * dy) });
            }
        }
    }
}

/// `dy[i] ← f(y[i], dy[i])`.
fn update<T: Scalar>(y: &[T], dy: &mut [T], f: impl Fn(T, T) -> T) {
    vectorized(|| {
        for (dy, &y) in dy.iter_mut().zip(y) {
            *dy = f(y, *dy);
        }
    });
}

/// Runs plain loops, compiled for the instruction set that the kernels use: so that the compiler's vectors are as long as
/// this CPU's.
///
/// Only what is inlined into `work` is compiled anew: loops over slices, arithmetic, no calls. Results have the same bits:
/// nothing is fused or reordered.
///
/// ```
/// let (x, mut y) = ([1.0f32; 100], [2.0f32; 100]);
/// conv_kernels::vectorized(|| y.iter_mut().zip(&x).for_each(|(y, x)| *y -= 0.5 * x));
/// assert_eq!(y, [1.5; 100]);
/// ```
#[inline]
pub fn vectorized(work: impl FnOnce()) {
    match Isa::detect() {
        Ok(isa) => <f32 as Scalar>::run(isa, Loops(work)),
        // whoever asks for a set that there is not learns so elsewhere
        Err(_) => work(),
    }
}

/// Loops of no particular type.
struct Loops<F>(F);

impl<T, F: FnOnce()> Op<T> for Loops<F> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, _: S) {
        (self.0)();
    }
}

/// `value` where `y` is zero or below; NaN where `y` is NaN.
#[inline(always)]
fn not_above_zero<T: Scalar>(y: T, value: T) -> T {
    if y <= T::ZERO { value } else { y }
}

/// `identity`, `sigmoid`, `tanh`, `relu`, `leaky_relu(0.01)`.
impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity => f.write_str("identity"),
            Self::Sigmoid => f.write_str("sigmoid"),
            Self::Tanh => f.write_str("tanh"),
            Self::Relu => f.write_str("relu"),
            Self::LeakyRelu { slope } => write!(f, "leaky_relu({slope})"),
        }
    }
}

/// `out = exp(z) / Σ exp(z)` over one row: positive numbers that add up to 1.
///
/// The row's maximum is subtracted first, so no finite logit overflows. A row that holds NaN or `+∞`, or nothing but
/// `-∞`, has no softmax: all of `out` is NaN then. An empty row stays empty.
///
/// # Panics
///
/// If the slices differ in length.
///
/// ```
/// use conv_kernels::softmax;
/// let mut p = [0.0f32; 3];
/// softmax(&[1e38, 1e38, -1e38], &mut p);
/// assert_eq!(p, [0.5, 0.5, 0.0]);
/// ```
pub fn softmax<T: Scalar>(logits: &[T], out: &mut [T]) {
    assert_eq!(logits.len(), out.len(), "logits and out must have the same length");
    let max = maximum(logits);
    let mut sum = T::ZERO;
    for (out, &z) in out.iter_mut().zip(logits) {
        *out = (z - max).exp();
        sum += *out;
    }
    out.iter_mut().for_each(|out| *out /= sum);
}

/// `out = z - ln Σ exp(z)` over one row: the logarithm of [`softmax`], finite where softmax itself underflows to 0.
///
/// Finite for logits up to ±1e38 in `f32`. A row that holds NaN or `+∞`, or nothing but `-∞`, gives NaN throughout.
///
/// # Panics
///
/// If the slices differ in length.
///
/// ```
/// use conv_kernels::log_softmax;
/// let mut log_p = [0.0f32; 2];
/// log_softmax(&[1e38, -1e38], &mut log_p);
/// assert_eq!(log_p, [0.0, -2e38]);
/// ```
pub fn log_softmax<T: Scalar>(logits: &[T], out: &mut [T]) {
    assert_eq!(logits.len(), out.len(), "logits and out must have the same length");
    let max = maximum(logits);
    let sum = logits.iter().fold(T::ZERO, |sum, &z| sum + (z - max).exp());
    let log_sum = sum.ln();
    for (out, &z) in out.iter_mut().zip(logits) {
        *out = (z - max) - log_sum;
    }
}

/// By sign, so that `exp` never overflows: `1 / (1 + e^-z)` above zero, `e^z / (1 + e^z)` below.
fn sigmoid<T: Scalar>(z: T) -> T {
    let e = (-z.abs()).exp();
    let numerator = if z >= T::ZERO { T::one() } else { e };
    numerator / (T::one() + e)
}

/// The largest number of a row, NaN aside.
fn maximum<T: Scalar>(row: &[T]) -> T {
    row.iter().fold(T::neg_infinity(), |max, &z| if z > max { z } else { max })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Activation; 5] = [
        Activation::Identity,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Relu,
        Activation::LeakyRelu { slope: 0.1 },
    ];

    fn applied<T: Scalar>(activation: Activation, z: T) -> T {
        let mut z = [z];
        activation.apply(&mut z);
        z[0]
    }

    #[test]
    fn activations_at_their_extremes() {
        let (inf, max) = (f32::INFINITY, f32::MAX);
        for (activation, z, expected) in [
            (Activation::Sigmoid, -inf, 0.0),
            (Activation::Sigmoid, -max, 0.0),
            (Activation::Sigmoid, -100.0, (-100f32).exp()),
            (Activation::Sigmoid, inf, 1.0),
            (Activation::Sigmoid, max, 1.0),
            (Activation::Tanh, inf, 1.0),
            (Activation::Tanh, -inf, -1.0),
            (Activation::Relu, -inf, 0.0),
            (Activation::Relu, inf, inf),
            (Activation::Relu, f32::from_bits(1), f32::from_bits(1)),
            (Activation::LeakyRelu { slope: 0.5 }, -inf, -inf),
            (Activation::LeakyRelu { slope: 0.5 }, -3.0, -1.5),
            (Activation::Identity, -max, -max),
        ] {
            assert_eq!(applied(activation, z), expected, "{activation}({z})");
        }
        assert_eq!(applied(Activation::Relu, -0.0f32).to_bits(), 0, "+0");
        for activation in ALL {
            assert!(applied(activation, f32::NAN).is_nan(), "{activation}");
        }
    }

    #[test]
    fn sigmoid_is_accurate_on_both_sides() {
        for step in -2000..=2000 {
            let z = f64::from(step) * 0.01;
            let got = applied(Activation::Sigmoid, z);
            // tanh has no cancellation where this identity is used
            let expected = if z > 0.0 { 0.5 + 0.5 * (0.5 * z).tanh() } else { z.exp() / (1.0 + z.exp()) };
            assert!((got - expected).abs() <= 4.0 * f64::EPSILON * expected, "{z}: {got} for {expected}");
        }
    }

    #[test]
    fn backprop_is_the_derivative() {
        let step = 1e-6;
        for activation in ALL {
            for z in [-2.5, -0.3, 0.2, 1.7] {
                let numeric = (applied(activation, z + step) - applied(activation, z - step)) / (2.0 * step);
                let mut dz = [3.0f64];
                activation.backprop(&[applied(activation, z)], &mut dz);
                assert!((dz[0] - 3.0 * numeric).abs() < 1e-8, "{activation} at {z}: {} for {numeric}", dz[0]);
            }
        }
    }

    #[test]
    fn backprop_spreads_nan_and_stops_at_a_relu_that_is_off() {
        for activation in ALL {
            let mut dz = [f32::NAN; 2];
            activation.backprop(&[0.5, f32::NAN], &mut dz);
            assert!(dz[0].is_nan() && dz[1].is_nan(), "{activation}");
        }
        let mut dz = [f32::NAN];
        Activation::Relu.backprop(&[0.0], &mut dz);
        assert_eq!(dz, [0.0]);
        for activation in &ALL[1..] {
            let mut dz = [1.0f32];
            activation.backprop(&[f32::NAN], &mut dz);
            assert!(dz[0].is_nan(), "{activation}");
        }
    }

    #[test]
    fn softmax_adds_up_and_matches_its_logarithm() {
        let logits: Vec<f64> = (0..50).map(|i| f64::from(i * i % 37) * 0.7 - 11.0).collect();
        let (mut p, mut log_p) = (vec![0.0; 50], vec![0.0; 50]);
        softmax(&logits, &mut p);
        log_softmax(&logits, &mut log_p);
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-14);
        assert!(p.iter().zip(&log_p).all(|(p, log_p)| (p.ln() - log_p).abs() < 1e-13));
        assert!((p[1] / p[0]).ln() - (logits[1] - logits[0]) < 1e-13);
    }

    #[test]
    fn softmax_of_extreme_rows() {
        for row in [[1e38f32, -1e38, 0.0], [-1e38, -1e38, -1e38], [f32::MAX, 0.0, 0.0], [90.0, 89.0, -200.0]] {
            let (mut p, mut log_p) = ([0.0; 3], [0.0; 3]);
            softmax(&row, &mut p);
            log_softmax(&row, &mut log_p);
            assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{row:?}: {p:?}");
            assert!(log_p.iter().all(|log_p| log_p.is_finite()), "{row:?}: {log_p:?}");
        }
        let low = f32::NEG_INFINITY;
        for row in [[f32::NAN, 0.0, 1.0], [f32::INFINITY, 0.0, 1.0], [low, low, low]] {
            let (mut p, mut log_p) = ([0.0; 3], [0.0; 3]);
            softmax(&row, &mut p);
            log_softmax(&row, &mut log_p);
            assert!(p.iter().chain(&log_p).all(|value| value.is_nan()), "{row:?}: {p:?} {log_p:?}");
        }
        let mut p = [0.0; 2];
        softmax(&[low, 3.0], &mut p);
        assert_eq!(p, [0.0, 1.0]);
        softmax::<f32>(&[], &mut []);
        log_softmax::<f32>(&[], &mut []);
    }

    #[test]
    fn slopes_that_cannot_be() {
        for slope in [0.0, -0.1, f64::INFINITY, f64::NAN] {
            assert_eq!(
                Activation::leaky_relu(slope).map_err(|error| error.to_string()),
                Err(format!("the slope of a leaky ReLU must be finite and > 0 (got {slope}); for slope 0 use Relu")),
            );
        }
        assert_eq!(ALL.map(|a| a.to_string()), ["identity", "sigmoid", "tanh", "relu", "leaky_relu(0.1)"]);
    }
}
