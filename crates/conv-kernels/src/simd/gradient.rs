//! The tiles of the weight gradient: vectors along output channels, or along pixels.

use super::tiles::{ROWS, Runs, even_parts, with_rows};
use super::{Op, Simd};
use crate::Scalar;

/// The most rows of a tile that is one vector wide: each has a pointer of its own, and these fill the registers.
const TALL: usize = 8;

/// Weight gradient of a strip, vectors along the output channels.
///
/// A tile's rows are taps, its columns output channels; it walks over the strip's pixels, and is added to `sums` when
/// it is through.
pub(crate) struct AlongChannels<'a, T> {
    /// From the pixel under the strip's first output pixel, in the first channel.
    pub(crate) image: &'a [T],
    /// Where each tap lies, from there.
    pub(crate) taps: &'a [usize],
    /// Rows of the strip, their pixels, and how far apart they are in the image.
    pub(crate) runs: Runs,
    /// Gradients `(pixel, output channel)`; the channels fill vectors.
    pub(crate) maps: &'a [T],
    /// Output channels there.
    pub(crate) channels: usize,
    /// Sums `(tap, output channel)`, added to.
    pub(crate) sums: &'a mut [T],
}

impl<T: Scalar> Op<T> for AlongChannels<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(mut self, simd: S) {
        let Runs { count, len, image_pitch, .. } = self.runs;
        let far = self.taps.iter().copied().max().unwrap_or(0);
        assert!(count > 0 && far + (count - 1) * image_pitch + len <= self.image.len(), "the image holds all runs");
        assert_eq!(self.maps.len(), count * len * self.channels, "a gradient for each pixel and channel");
        assert_eq!(self.sums.len(), self.taps.len() * self.channels, "a sum for each tap and channel");
        assert!(self.channels.is_multiple_of(S::LANES), "the channels fill vectors");
        let mut channel = 0;
        while channel + 2 * S::LANES <= self.channels {
            self.columns::<S, 2>(simd, channel, ROWS);
            channel += 2 * S::LANES;
        }
        if channel < self.channels {
            self.columns::<S, 1>(simd, channel, TALL);
        }
    }
}

impl<T: Scalar> AlongChannels<'_, T> {
    /// All taps of `N` vectors of channels, in tiles of about the same height.
    #[inline(always)]
    fn columns<S: Simd<T>, const N: usize>(&mut self, simd: S, channel: usize, most: usize) {
        let taps = self.taps;
        for rows in even_parts(taps.len(), most) {
            let first = rows.start;
            let taps = &taps[rows];
            if N == 1 {
                with_rows!(taps.len(), [1, 2, 3, 4, 5, 6, 7, 8], R => self.tile::<S, R, N>(simd, channel, first, taps));
            } else {
                with_rows!(taps.len(), [1, 2, 3, 4, 5, 6], R => self.tile::<S, R, N>(simd, channel, first, taps));
            }
        }
    }

    #[inline(always)]
    fn tile<S: Simd<T>, const R: usize, const N: usize>(
        &mut self,
        simd: S,
        channel: usize,
        first: usize,
        taps: &[usize],
    ) {
        let zero = simd.splat(T::ZERO);
        let mut sums = [[zero; N]; R];
        // SAFETY: `eval` has checked that the channels fill vectors, of which `columns` takes `N` that are there, and
        // that every pixel has its gradients.
        let mut maps = unsafe { self.maps.as_ptr().add(channel) };
        for run in 0..self.runs.count {
            let mut rows = [self.image.as_ptr(); R];
            for r in 0..R {
                // SAFETY: `eval` has checked that the image holds all runs of all taps.
                rows[r] = unsafe { rows[r].add(run * self.runs.image_pitch + taps[r]) };
            }
            for pixel in 0..self.runs.len {
                let mut gradients = [zero; N];
                // SAFETY: as above for both; `maps` steps over the pixels' gradients, at most to their end.
                unsafe {
                    for n in 0..N {
                        gradients[n] = simd.load(maps.add(n * S::LANES));
                    }
                    for r in 0..R {
                        let x = simd.splat(*rows[r].add(pixel));
                        for n in 0..N {
                            sums[r][n] = simd.mul_add(x, gradients[n], sums[r][n]);
                        }
                    }
                }
                maps = maps.wrapping_add(self.channels);
            }
        }
        let all = self.sums.as_mut_ptr();
        for r in 0..R {
            for n in 0..N {
                // SAFETY: `eval` has checked that there is a sum for each tap and channel.
                unsafe {
                    let sum = all.add((first + r) * self.channels + channel + n * S::LANES);
                    simd.store(simd.add(simd.load(sum), sums[r][n]), sum);
                }
            }
        }
    }
}

/// Weight gradient of a strip, vectors along the pixels of a row.
///
/// A tile's rows are taps, its columns two output channels. Its sums stay vectors: their lanes are added up at the
/// very end, by the caller.
pub(crate) struct AlongPixels<'a, T> {
    /// From the pixel under the strip's first output pixel, in the first channel.
    pub(crate) image: &'a [T],
    /// Where each tap lies, from there.
    pub(crate) taps: &'a [usize],
    /// The output rows.
    pub(crate) runs: Runs,
    /// Which pixels of a run to let pass; see [`Runs::write_mask`].
    pub(crate) mask: &'a [T],
    /// Gradients, channels `map_len` apart.
    pub(crate) maps: &'a [T],
    /// Pixels of a channel there.
    pub(crate) map_len: usize,
    /// Output channels.
    pub(crate) channels: usize,
    /// Sums `(output channel, tap, lane)`, added to.
    pub(crate) sums: &'a mut [T],
}

impl<T: Scalar> Op<T> for AlongPixels<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(mut self, simd: S) {
        let far = self.taps.iter().copied().max().unwrap_or(0);
        let others = self.channels.saturating_sub(1) * self.map_len;
        assert!(self.channels > 0 && others <= self.maps.len(), "all channels are there");
        self.runs.check(S::LANES, self.image.len(), far, self.maps.len() - others);
        assert!(self.mask.len() >= self.runs.mask_len(S::LANES), "a mask for all vectors of a run");
        assert_eq!(self.sums.len(), self.channels * self.taps.len() * S::LANES, "a sum for each channel, tap and lane");
        let pairs = self.channels / 2 * 2;
        for channel in (0..pairs).step_by(2) {
            self.columns::<S, 2>(simd, channel);
        }
        if pairs < self.channels {
            self.columns::<S, 1>(simd, pairs);
        }
    }
}

impl<T: Scalar> AlongPixels<'_, T> {
    /// All taps of `N` channels, in tiles of about the same height.
    #[inline(always)]
    fn columns<S: Simd<T>, const N: usize>(&mut self, simd: S, channel: usize) {
        let taps = self.taps;
        for rows in even_parts(taps.len(), ROWS) {
            let first = rows.start;
            let taps = &taps[rows];
            with_rows!(taps.len(), [1, 2, 3, 4, 5, 6], R => self.tile::<S, R, N>(simd, channel, first, taps));
        }
    }

    #[inline(always)]
    fn tile<S: Simd<T>, const R: usize, const N: usize>(
        &mut self,
        simd: S,
        channel: usize,
        first: usize,
        taps: &[usize],
    ) {
        let zero = simd.splat(T::ZERO);
        let mut sums = [[zero; N]; R];
        let mut rows = [self.image.as_ptr(); R];
        for r in 0..R {
            // SAFETY: `eval` has checked that the image holds all taps.
            rows[r] = unsafe { rows[r].add(taps[r]) };
        }
        let mut maps = self.maps[channel * self.map_len..].as_ptr();
        let Runs { count, len, image_pitch, map_pitch } = self.runs;
        let whole = len / S::LANES * S::LANES;
        for _ in 0..count {
            // SAFETY: `eval` has checked that the image holds all runs of all taps, every channel all runs, and the
            // mask the vectors of a run; `N` channels follow `channel`.
            unsafe {
                let mut pixel = 0;
                while pixel < whole {
                    let mut gradients = [zero; N];
                    for n in 0..N {
                        gradients[n] = simd.load(maps.add(n * self.map_len + pixel));
                    }
                    for r in 0..R {
                        let x = simd.load(rows[r].add(pixel));
                        for n in 0..N {
                            sums[r][n] = simd.mul_add(x, gradients[n], sums[r][n]);
                        }
                    }
                    pixel += S::LANES;
                }
                if whole < len {
                    // The last vector overlaps: zeros on both sides for what the one before has had, so that no
                    // infinity meets a zero.
                    let mask = simd.load(self.mask.as_ptr().add(len));
                    let mut gradients = [zero; N];
                    for n in 0..N {
                        let gradient = simd.load(maps.add(n * self.map_len + len - S::LANES));
                        gradients[n] = simd.where_positive(mask, gradient, zero);
                    }
                    for r in 0..R {
                        let x = simd.where_positive(mask, simd.load(rows[r].add(len - S::LANES)), zero);
                        for n in 0..N {
                            sums[r][n] = simd.mul_add(x, gradients[n], sums[r][n]);
                        }
                    }
                }
            }
            maps = maps.wrapping_add(map_pitch);
            for r in 0..R {
                rows[r] = rows[r].wrapping_add(image_pitch);
            }
        }
        let all = self.sums.as_mut_ptr();
        for n in 0..N {
            for r in 0..R {
                // SAFETY: `eval` has checked that there is a sum for each channel, tap and lane.
                unsafe {
                    let sum = all.add(((channel + n) * self.taps.len() + first + r) * S::LANES);
                    simd.store(simd.add(simd.load(sum), sums[r][n]), sum);
                }
            }
        }
    }
}
