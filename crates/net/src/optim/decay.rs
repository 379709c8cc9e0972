//! Weight decay: the pull of every weight towards zero.

use std::fmt;

use layers::Scalar;

use super::{OptimError, not_negative};

/// A penalty on large weights, added to the cost C₀ of every batch. Biases and scales are left alone.
///
/// **One name, three numbers.** The factor means different things in different places:
///
/// | source | the cost | this type |
/// |---|---|---|
/// | PyTorch's `weight_decay` λ | C₀ + λ/2 Σ w² | `Decay::L2(λ)` |
/// | Nielsen, chapter 3 (`network2.py`), n training images | C₀ + λ/(2n) Σ w² | [`Decay::nielsen_ch3(λ, n)`](Decay::nielsen_ch3) |
/// | Nielsen, chapter 6 (`network3.py`), b batches an epoch | C₀ + λ/(2b) Σ w² | [`Decay::nielsen_ch6(λ, b)`](Decay::nielsen_ch6) |
///
/// So the λ = 0.1 of Nielsen's best networks, trained on 50,000 images in batches of 10, is a `weight_decay` of 0.00002 in
/// PyTorch; taken for one of 0.1 it is 5,000 times too strong, and ruins the network:
///
/// ```
/// use net::optim::{Decay, Sgd};
///
/// let decay = Decay::nielsen_ch6(0.1, 50_000 / 10);
/// assert_eq!(decay, Decay::L2(2e-5));
/// let sgd = Sgd::new(0.03).decay(decay);
/// # let _ = sgd;
/// ```
#[doc(alias = "regularization")]
#[doc(alias = "weight_decay")]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Decay {
    /// No penalty.
    #[default]
    None,
    /// λ/2 Σ w²: each weight is pulled in proportion to its size.
    L2(f64),
    /// λ Σ |w|: each weight is pulled alike, and many end near zero.
    L1(f64),
}

impl Decay {
    /// The λ of Nielsen's chapter 3, for a training set of `training_images`.
    ///
    /// ```
    /// use net::optim::Decay;
    /// assert_eq!(Decay::nielsen_ch3(5.0, 50_000), Decay::L2(1e-4));
    /// ```
    #[must_use]
    pub fn nielsen_ch3(lambda: f64, training_images: usize) -> Self {
        Self::L2(lambda / training_images as f64)
    }

    /// The λ of Nielsen's chapter 6, for `batches_per_epoch` mini-batches in the training set.
    #[must_use]
    pub fn nielsen_ch6(lambda: f64, batches_per_epoch: usize) -> Self {
        Self::L2(lambda / batches_per_epoch as f64)
    }

    /// The pull on the parameters of a slice, if decay applies to them.
    pub(super) fn pull<T: Scalar>(self, applies: bool) -> Pull<T> {
        let (l2, l1) = match self {
            Self::L2(lambda) if applies => (lambda, 0.0),
            Self::L1(lambda) if applies => (0.0, lambda),
            _ => (0.0, 0.0),
        };
        Pull { l2: T::of(l2), l1: T::of(l1) }
    }

    pub(super) fn validate(self) -> Result<(), OptimError> {
        match self {
            Self::None => Ok(()),
            Self::L2(lambda) | Self::L1(lambda) => not_negative("the weight decay", lambda),
        }
    }
}

/// The gradient of a penalty: both kinds in one formula without branches, which the compiler can vectorise.
#[derive(Clone, Copy)]
pub(super) struct Pull<T> {
    l2: T,
    l1: T,
}

impl<T: Scalar> Pull<T> {
    /// The gradient g of the cost plus that of the penalty, λ₂ w + λ₁ sign w; the sign of 0 is 0.
    #[inline(always)]
    pub(super) fn add_to(self, g: T, w: T) -> T {
        let positive = if w > T::ZERO { self.l1 } else { T::ZERO };
        let negative = if w < T::ZERO { self.l1 } else { T::ZERO };
        g + (self.l2 * w + (positive - negative))
    }
}

/// `" decay l2 0.00002"`, to be appended to a description; nothing for none.
impl fmt::Display for Decay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::L2(lambda) => write!(f, " decay l2 {lambda}"),
            Self::L1(lambda) => write!(f, " decay l1 {lambda}"),
        }
    }
}
