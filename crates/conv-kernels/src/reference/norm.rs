//! The definition of batch normalization, forward and backward.

use crate::{BatchNorm, Moments, Normalized, Scalar, Statistics};

/// Each channel shifted and scaled, in `f64` throughout; the oracle of [`BatchNorm::forward`].
///
/// # Panics
///
/// If a slice does not fit the channels, the plane and the batch.
///
/// ```
/// use conv_kernels::{Activation, BatchNorm, Moments, Statistics, reference};
/// let norm = BatchNorm { plane: 1, weight: &[2.0], bias: &[1.0], epsilon: 1e-9, activation: Activation::Identity };
/// let (mut y, mut moments) = ([0.0f32; 2], [Moments::default()]);
/// reference::batch_norm(&norm, 2, &[4.0, 6.0], &mut y, &mut moments, Statistics::Batch);
/// assert_eq!((y, moments), ([-1.0, 3.0], [Moments { mean: 5.0, variance: 1.0 }]));
/// ```
pub fn batch_norm<T: Scalar>(
    norm: &BatchNorm<'_, T>,
    batch: usize,
    x: &[T],
    y: &mut [T],
    moments: &mut [Moments],
    statistics: Statistics,
) {
    let count = (batch * norm.plane) as f64;
    for (channel, moments) in moments.iter_mut().enumerate() {
        let places = || places(norm, batch, channel);
        if statistics == Statistics::Batch {
            let mean = places().map(|at| x[at].as_f64()).sum::<f64>() / count;
            let variance = places().map(|at| (x[at].as_f64() - mean).powi(2)).sum::<f64>() / count;
            *moments = Moments { mean, variance };
        }
        let deviation = (moments.variance + norm.epsilon).sqrt();
        for at in places() {
            let normalized = (x[at].as_f64() - moments.mean) / deviation;
            let mut z = [T::of(normalized * norm.weight[channel].as_f64() + norm.bias[channel].as_f64())];
            norm.activation.apply(&mut z);
            y[at] = z[0];
        }
    }
}

/// The way back, in `f64` throughout; the oracle of [`BatchNorm::backward`].
///
/// # Panics
///
/// If a slice does not fit the channels, the plane and the batch.
///
/// ```
/// use conv_kernels::{Activation, BatchNorm, Moments, Normalized, Statistics, reference};
/// let norm = BatchNorm { plane: 1, weight: &[2.0], bias: &[1.0], epsilon: 1e-9, activation: Activation::Identity };
/// let (moments, statistics) = ([Moments { mean: 5.0, variance: 1.0 }], Statistics::Given);
/// let (mut dx, mut dweight, mut dbias) = ([0.0f32; 2], [0.0], [0.0]);
/// let seen = Normalized { x: &[4.0, 6.0], y: &[-1.0, 3.0], moments: &moments, statistics, dy: &mut [1.0, 0.5] };
/// reference::batch_norm_backward(&norm, 2, seen, &mut dx, &mut dweight, &mut dbias);
/// assert_eq!((dx, dweight, dbias), ([2.0, 1.0], [-0.5], [1.5]));
/// ```
pub fn batch_norm_backward<T: Scalar>(
    norm: &BatchNorm<'_, T>,
    batch: usize,
    seen: Normalized<'_, T>,
    dx: &mut [T],
    dweight: &mut [T],
    dbias: &mut [T],
) {
    let Normalized { x, y, moments, statistics, dy } = seen;
    norm.activation.backprop(y, dy);
    let count = (batch * norm.plane) as f64;
    for (channel, moments) in moments.iter().enumerate() {
        let places = || places(norm, batch, channel);
        let deviation = (moments.variance + norm.epsilon).sqrt();
        let normalized = |at: usize| (x[at].as_f64() - moments.mean) / deviation;
        let sum: f64 = places().map(|at| dy[at].as_f64()).sum();
        let along: f64 = places().map(|at| dy[at].as_f64() * normalized(at)).sum();
        dbias[channel] += T::of(sum);
        dweight[channel] += T::of(along);
        for at in places() {
            let undone = match statistics {
                Statistics::Batch => sum / count + normalized(at) * along / count,
                Statistics::Given => 0.0,
            };
            dx[at] = T::of(norm.weight[channel].as_f64() / deviation * (dy[at].as_f64() - undone));
        }
    }
}

/// Where the values of a channel are, image by image.
fn places<T>(norm: &BatchNorm<'_, T>, batch: usize, channel: usize) -> impl Iterator<Item = usize> {
    let (channels, plane) = (norm.weight.len(), norm.plane);
    (0..batch).flat_map(move |image| (image * channels + channel) * plane..(image * channels + channel + 1) * plane)
}
