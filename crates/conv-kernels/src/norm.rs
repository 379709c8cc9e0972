//! Batch normalization: each channel of a batch shifted and scaled by its mean and its variance.

mod run;

pub(crate) use run::Normalizing;

use crate::simd::Isa;
use crate::{Activation, KernelError, Scalar};

/// What a channel is normalized by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// The mean of its values.
    pub mean: f64,
    /// The mean squared distance from the mean: divided by the number of values.
    pub variance: f64,
}

/// Whose moments a batch is normalized by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistics {
    /// Its own: they depend on every value of it.
    Batch,
    /// Given ones, that do not depend on it.
    Given,
}

/// Batch normalization `y = σ((x − mean)/√(variance + ε) · weight + bias)`, channel by channel.
///
/// Images are `(N, C, H, W)`; `C` is the length of `weight`. A channel is computed by one thread, in the order of the images:
/// results have the same bits for any number of threads, and in every instruction set. Sums run over 1,024 values at most
/// in `T`, and over those sums in `f64`; squares are taken around the mean, which is known then.
///
/// ```
/// use conv_kernels::{Activation, BatchNorm, Moments, Statistics};
/// let norm = BatchNorm { plane: 2, weight: &[1.0f32], bias: &[0.5], epsilon: 1e-9, activation: Activation::Relu };
/// let (mut y, mut moments) = ([0.0; 4], [Moments::default()]);
/// norm.forward(2, &[1.0, 1.0, 3.0, 3.0], &mut y, &mut moments, Statistics::Batch)?;
/// assert_eq!(moments, [Moments { mean: 2.0, variance: 1.0 }]);
/// assert_eq!(y, [0.0, 0.0, 1.5, 1.5]); // (-1 + 0.5), (1 + 0.5), cut at zero
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a, T> {
    /// Values of one plane, `H·W`.
    pub plane: usize,
    /// What each channel is scaled by in the end.
    pub weight: &'a [T],
    /// What each channel is shifted by in the end.
    pub bias: &'a [T],
    /// ε, which the variance has added to it.
    pub epsilon: f64,
    /// σ.
    pub activation: Activation,
}

/// What the backward pass reads of the forward pass, and the gradient that comes in.
#[derive(Debug)]
pub struct Normalized<'a, T> {
    /// The input of the forward pass.
    pub x: &'a [T],
    /// Its output.
    pub y: &'a [T],
    /// What it normalized by.
    pub moments: &'a [Moments],
    /// Whose these were.
    pub statistics: Statistics,
    /// `∂C/∂y`; it becomes `∂C/∂y · σ′`.
    pub dy: &'a mut [T],
}

impl<T: Scalar> BatchNorm<'_, T> {
    /// Normalizes `batch` images by the moments of each channel, which for [`Statistics::Batch`] are computed first.
    ///
    /// # Errors
    ///
    /// [`KernelError::Length`] if a slice does not fit the channels, the plane and the batch.
    pub fn forward(
        &self,
        batch: usize,
        x: &[T],
        y: &mut [T],
        moments: &mut [Moments],
        statistics: Statistics,
    ) -> Result<(), KernelError> {
        self.expect_channels("bias", self.bias.len())?;
        self.expect_channels("moments", moments.len())?;
        self.expect_images("x", batch, x.len())?;
        self.expect_images("y", batch, y.len())?;
        T::normalization(self, batch, Isa::detect()?, Normalizing::Forward { x, y, moments, statistics });
        Ok(())
    }

    /// The way back: adds to `dweight` and `dbias`, and overwrites `dx`, if it is wanted.
    ///
    /// With x̂ the normalized input and δ = ∂C/∂y · σ′: ∂C/∂bias = Σ δ and ∂C/∂weight = Σ δ·x̂ over a channel's m values. Of
    /// a batch's own moments, the part of δ that a shift (its mean) or a scale (its share along x̂) would undo does not reach
    /// x: ∂C/∂x = weight/√(variance + ε) · (δ − Σδ/m − x̂·Σ(δ·x̂)/m). Given moments undo nothing.
    ///
    /// # Errors
    ///
    /// [`KernelError::Length`] if a slice does not fit the channels, the plane and the batch.
    ///
    /// ```
    /// use conv_kernels::{Activation, BatchNorm, Moments, Normalized, Statistics};
    /// let norm = BatchNorm { plane: 2, weight: &[3.0f64], bias: &[0.0], epsilon: 1e-9, activation: Activation::Identity };
    /// let (x, moments) = ([1.0, 3.0], [Moments { mean: 2.0, variance: 1.0 }]);
    /// let (mut dx, mut dweight, mut dbias) = ([0.0; 2], [0.0], [0.0]);
    /// let statistics = Statistics::Batch;
    /// let seen = Normalized { x: &x, y: &[-3.0, 3.0], moments: &moments, statistics, dy: &mut [1.0, 2.0] };
    /// norm.backward(1, seen, Some(&mut dx), &mut dweight, &mut dbias)?;
    /// // two values are -1 and 1 once they are normalized, whatever they were: no gradient reaches them
    /// assert!(dx.iter().all(|&dx: &f64| dx.abs() < 1e-8));
    /// assert!(dbias == [3.0] && (dweight[0] - 1.0f64).abs() < 1e-8);
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    pub fn backward(
        &self,
        batch: usize,
        seen: Normalized<'_, T>,
        dx: Option<&mut [T]>,
        dweight: &mut [T],
        dbias: &mut [T],
    ) -> Result<(), KernelError> {
        self.expect_channels("moments", seen.moments.len())?;
        self.expect_channels("dweight", dweight.len())?;
        self.expect_channels("dbias", dbias.len())?;
        let dx_len = dx.as_ref().map_or(seen.x.len(), |dx| dx.len());
        for (what, len) in [("x", seen.x.len()), ("y", seen.y.len()), ("dy", seen.dy.len()), ("dx", dx_len)] {
            self.expect_images(what, batch, len)?;
        }
        T::normalization(self, batch, Isa::detect()?, Normalizing::Backward { seen, dx, dweight, dbias });
        Ok(())
    }

    fn channels(&self) -> usize {
        self.weight.len()
    }

    fn expect_channels(&self, what: &'static str, got: usize) -> Result<(), KernelError> {
        let expected = self.channels();
        if got == expected {
            return Ok(());
        }
        Err(KernelError::Length { what, expected, got, layout: "one for each channel".into() })
    }

    fn expect_images(&self, what: &'static str, batch: usize, got: usize) -> Result<(), KernelError> {
        let (channels, plane) = (self.channels(), self.plane);
        let expected = batch.checked_mul(channels).and_then(|planes| planes.checked_mul(plane));
        let expected = expected.ok_or(KernelError::TooLarge { what })?;
        if got == expected {
            return Ok(());
        }
        Err(KernelError::Length {
            what,
            expected,
            got,
            layout: format!("(N, C, H·W) = ({batch}, {channels}, {plane})"),
        })
    }
}
