//! Elastic distortion.

use std::fmt;

use layers::{Scalar, random::Stream};

use super::{AugmentError, distort::Field};

/// Numbers that are smoothed side by side.
const LANES: usize = 16;

/// Each pixel comes from a place a little away, neighbours from neighbouring places: as hands differ when they write (Simard,
/// Steinkraus and Platt, "Best Practices for Convolutional Neural Networks", 2003).
///
/// Two fields, one down and one to the right, of numbers drawn evenly from −1 to 1, are smoothed by a Gaussian whose weights sum
/// to 1, and multiplied by `alpha`. The Gaussian ends at three times `sigma`; beyond the image the fields are 0. A deviation of
/// the displacement, far from the edges, is about 0.16 · alpha / sigma pixels.
///
/// The paper's settings for digits: sigma 4, alpha 34.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Elastic {
    /// How far displacements agree: the Gaussian's standard deviation in pixels.
    pub sigma: f64,
    /// How strong they are, in pixels.
    pub alpha: f64,
}

impl Elastic {
    pub(super) fn validate(&self) -> Result<(), AugmentError> {
        let (sigma, alpha) = (self.sigma > 0.0 && self.sigma.is_finite(), self.alpha >= 0.0 && self.alpha.is_finite());
        AugmentError::unless(sigma, "the sigma of the elastic distortion", "> 0 pixels and finite", self.sigma)?;
        AugmentError::unless(alpha, "the alpha of the elastic distortion", "at least 0 pixels and finite", self.alpha)
    }

    /// How many numbers [`bend`](Self::bend) needs.
    pub(super) fn scratch([rows, columns]: [usize; 2]) -> usize {
        rows.max(columns) + rows * stride(columns) + columns * stride(rows)
    }

    /// Moves the sources by a random field. Fields are drawn row by row: first that down, then that to the right.
    pub(super) fn bend<T: Scalar>(&self, field: &mut Field<'_, T>, stream: &mut Stream, scratch: &mut [T]) {
        let [rows, columns] = field.size;
        let (kernel, scratch) = scratch.split_at_mut(rows.max(columns));
        let (noise, turned) = scratch.split_at_mut(rows * stride(columns));
        let kernel = self.gaussian(kernel);
        let alpha = T::of(self.alpha);
        for sources in &mut field.sources {
            for i in 0..rows {
                for values in noise[i * stride(columns)..][..columns].chunks_mut(4) {
                    for (value, byte) in values.iter_mut().zip(stream.bits().to_le_bytes()) {
                        // a byte is enough: smoothing adds many of them
                        *value = T::of((f64::from(byte) - 127.5) / 128.0);
                    }
                }
            }
            smooth(kernel, [rows, columns], noise, turned);
            smooth(kernel, [columns, rows], turned, noise);
            for i in 0..rows {
                let moved = &noise[i * stride(columns)..][..columns];
                for (source, &by) in sources[i * columns..(i + 1) * columns].iter_mut().zip(moved) {
                    *source += alpha * by;
                }
            }
        }
    }

    /// The weights at distances 0, 1, … : as many as matter, at most as many as there is room for.
    fn gaussian<'k, T: Scalar>(&self, room: &'k mut [T]) -> &'k [T] {
        let len = room.len().min(((3.0 * self.sigma).ceil() as usize).saturating_add(1));
        let weight = |distance: usize| (-0.5 * (distance as f64 / self.sigma).powi(2)).exp();
        let sum = 2.0 * (0..len).map(weight).sum::<f64>() - 1.0; // the centre is there once
        for (distance, value) in room[..len].iter_mut().enumerate() {
            *value = T::of(weight(distance) / sum);
        }
        &room[..len]
    }
}

/// Every setting: `"elastic sigma 4 alpha 34"`.
impl fmt::Display for Elastic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "elastic sigma {} alpha {}", self.sigma, self.alpha)
    }
}

/// The distance between the starts of rows of `n` numbers: whole vectors.
fn stride(n: usize) -> usize {
    n.next_multiple_of(LANES)
}

/// Smooths `from`, `(rows, columns)`, along its columns into `to`, transposed: doing it twice smooths both ways.
///
/// What stands between the end of a row and the start of the next is read, but goes nowhere.
fn smooth<T: Scalar>(kernel: &[T], [rows, columns]: [usize; 2], from: &[T], to: &mut [T]) {
    let (from, blocks) = (from.as_chunks::<LANES>().0, stride(columns) / LANES);
    for i in 0..rows {
        let near = i.saturating_sub(kernel.len() - 1)..(i + kernel.len()).min(rows);
        for block in 0..blocks {
            let mut sums = [T::ZERO; LANES];
            for k in near.clone() {
                let (weight, values) = (kernel[i.abs_diff(k)], &from[k * blocks + block]);
                for lane in 0..LANES {
                    sums[lane] += weight * values[lane];
                }
            }
            for (j, sum) in (block * LANES..columns).zip(sums) {
                to[j * stride(rows) + i] = sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use layers::random::Key;

    use super::*;
    use crate::augment::distort::places;

    /// The field at each pixel by its definition: a weighted sum over all numbers that were drawn.
    #[test]
    fn fields_are_smoothed_noise() {
        for ([rows, columns], sigma) in [([5, 37], 1.3), ([20, 16], 4.0), ([1, 3], 0.4), ([9, 1], 2.0)] {
            let (elastic, size) = (Elastic { sigma, alpha: 3.0 }, [rows, columns]);
            let mut stream = Key::new(1).stream("test", "", 0, 0);
            let mut draws = stream.clone();
            let mut sources = vec![7.0; 2 * places(size)];
            let mut field = Field { size, sources: sources.split_at_mut(places(size)).into() };
            elastic.bend(&mut field, &mut stream, &mut vec![f64::NAN; Elastic::scratch(size)]);

            let reach = ((3.0 * sigma).ceil() as isize).min(rows.max(columns) as isize - 1);
            let weight = |distance: isize| (-0.5 * (distance as f64 / sigma).powi(2)).exp();
            let sum: f64 = (-reach..=reach).map(weight).sum();
            for sources in &field.sources {
                let rows_drawn = (0..rows).map(|_| {
                    let bytes = (0..columns.div_ceil(4)).flat_map(|_| draws.bits().to_le_bytes());
                    bytes.map(|byte| (f64::from(byte) - 127.5) / 128.0).collect::<Vec<_>>()
                });
                let noise: Vec<_> = rows_drawn.collect();
                for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
                    let mut expected = 7.0;
                    for (k, l) in (0..rows).flat_map(|k| (0..columns).map(move |l| (k, l))) {
                        let (down, right) = (k as isize - i as isize, l as isize - j as isize);
                        if down.abs() <= reach && right.abs() <= reach {
                            expected += 3.0 * weight(down) * weight(right) / (sum * sum) * noise[k][l];
                        }
                    }
                    let got = sources[i * columns + j];
                    assert!((got - expected).abs() < 1e-12, "{size:?}, sigma {sigma}, ({i}, {j}): {got}, {expected}");
                }
            }
        }
    }
}
