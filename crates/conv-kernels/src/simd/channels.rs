//! The forward tile whose vectors lie along the output channels.
//!
//! ```text
//! for each block of two vectors of output channels:
//!     for each part of the taps:                        its weights stay in the first cache
//!         for each tile of a few pixels of a row:       their sums in registers, 12 of them with AVX2
//!             for each tap: sums[pixel] += x[pixel + tap] · weights[tap]
//!     transpose the sums, 8 pixels by 8 channels, into the feature maps
//! ```
//!
//! A pixel is read as a number, not as part of a vector: rows of any length leave no lane empty, and only channels
//! that do not fill their vector do. The transposition costs each output about as much as ten taps.

use std::ops::Range;

use ndarray::ArrayViewMut2;

use super::tiles::{Runs, activate, even_parts, thin_rows, wide_rows, with_rows};
use super::{MAX_VECTOR, Op, Simd};
use crate::{Activation, Scalar};

/// Taps of a part: 16 KiB of weights.
const PART: usize = 256;

/// Forward: output channels of one group over a strip of the image.
///
/// Each output pixel is one chain of multiply-adds from zero through the taps in their order; then the bias is added.
pub(crate) struct CorrelateChannels<'a, T> {
    /// From the pixel under the strip's first output pixel, in the first channel.
    pub(crate) image: &'a [T],
    /// Where each tap lies, from there.
    pub(crate) taps: &'a [usize],
    /// The weights, for each block of two vectors of output channels `(tap, channel in it)`; the last block has one
    /// vector if that is enough. Zeros for channels that are not there.
    pub(crate) weight: &'a [T],
    /// One number an output channel, or nothing.
    pub(crate) bias: Option<&'a [T]>,
    /// σ, where a vector can do it; the others are left to the caller.
    pub(crate) activation: Activation,
    /// The output rows; they lie one after the other in the maps.
    pub(crate) runs: Runs,
    /// Room for the sums of a block, [`sums_len`].
    pub(crate) sums: &'a mut [T],
    /// Output, one channel a row.
    pub(crate) maps: ArrayViewMut2<'a, T>,
}

/// Elements of the sums of a block over `pixels`.
pub(crate) fn sums_len(pixels: usize, lanes: usize) -> usize {
    pixels.next_multiple_of(lanes) * 2 * lanes
}

/// Channels of the blocks of `channels`, filled up to whole vectors.
pub(crate) fn block_widths(channels: usize, lanes: usize) -> impl Iterator<Item = usize> {
    (0..channels).step_by(2 * lanes).map(move |first| (channels - first).next_multiple_of(lanes).min(2 * lanes))
}

impl<T: Scalar> Op<T> for CorrelateChannels<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(mut self, simd: S) {
        let Runs { count, len, image_pitch, map_pitch } = self.runs;
        let far = self.taps.iter().copied().max().unwrap_or(0);
        let (channels, pixels) = self.maps.dim();
        assert!(
            count > 0 && len > 0 && map_pitch == len && pixels == count * len,
            "the maps hold all runs, and no more"
        );
        assert!(far + (count - 1) * image_pitch + len <= self.image.len(), "the image holds all runs");
        assert_eq!(self.weight.len(), self.taps.len() * channels.next_multiple_of(S::LANES), "a weight for each tap");
        assert!(self.bias.is_none_or(|bias| bias.len() == channels), "a bias for each channel");
        assert!(self.sums.len() >= sums_len(pixels, S::LANES), "room for the sums of a block");
        assert!(pixels == 1 || self.maps.strides()[1] == 1, "maps are rows");
        let mut weight = self.weight;
        for (block, width) in block_widths(channels, S::LANES).enumerate() {
            let (first, rest) = weight.split_at(self.taps.len() * width);
            weight = rest;
            for part in even_parts(self.taps.len(), PART) {
                if part.end == self.taps.len() {
                    self.prefetch(simd, 2 * block * S::LANES, width);
                }
                let weight = &first[part.start * width..part.end * width];
                if width == S::LANES {
                    self.part::<S, 1>(simd, weight, part, thin_rows::<T, S>());
                } else {
                    self.part::<S, 2>(simd, weight, part, wide_rows::<T, S>());
                }
            }
            for vector in 0..width / S::LANES {
                self.finish(simd, (2 * block + vector) * S::LANES, vector * S::LANES, width);
            }
        }
    }
}

impl<T: Scalar> CorrelateChannels<'_, T> {
    /// Asks for the maps of a block: they come while the last sums are formed.
    #[inline(always)]
    fn prefetch<S: Simd<T>>(&mut self, simd: S, first: usize, width: usize) {
        let (channels, pixels) = self.maps.dim();
        for channel in first..channels.min(first + width) {
            let map = self.maps.as_mut_ptr().wrapping_offset(channel as isize * self.maps.strides()[0]);
            for pixel in (0..pixels).step_by(2 * S::LANES) {
                simd.prefetch(map.wrapping_add(pixel));
            }
        }
    }

    /// The sums of all pixels over a part of the taps.
    #[inline(always)]
    fn part<S: Simd<T>, const N: usize>(&mut self, simd: S, weight: &[T], part: Range<usize>, most: usize) {
        for run in 0..self.runs.count {
            for pixels in even_parts(self.runs.len, most) {
                let (rows, first) = (pixels.len(), pixels.start);
                if N == 1 {
                    with_rows!(rows, ..=thin_rows::<T, S>(), R => self.tile::<S, R, N>(simd, weight, &part, run, first));
                } else {
                    with_rows!(rows, ..=wide_rows::<T, S>(), R => self.tile::<S, R, N>(simd, weight, &part, run, first));
                }
            }
        }
    }

    /// The sums of `R` pixels.
    #[inline(always)]
    fn tile<S: Simd<T>, const R: usize, const N: usize>(
        &mut self,
        simd: S,
        weight: &[T],
        part: &Range<usize>,
        run: usize,
        pixel: usize,
    ) {
        let mut sums = [[simd.splat(T::ZERO); N]; R];
        let place = (run * self.runs.len + pixel) * N * S::LANES;
        let all = self.sums.as_mut_ptr();
        if part.start > 0 {
            for r in 0..R {
                for n in 0..N {
                    // SAFETY: `eval` has checked that there is room for two vectors of every pixel.
                    sums[r][n] = unsafe { simd.load(all.add(place + (r * N + n) * S::LANES)) };
                }
            }
        }
        let mut weight = weight.as_ptr();
        for &tap in &self.taps[part.clone()] {
            let mut weights = [simd.splat(T::ZERO); N];
            // SAFETY: `eval` has checked that there are `N` vectors of weights for each tap, and that the image holds
            // all runs of all taps.
            unsafe {
                for n in 0..N {
                    weights[n] = simd.load(weight.add(n * S::LANES));
                }
                let pixels = self.image.as_ptr().add(run * self.runs.image_pitch + pixel + tap);
                for r in 0..R {
                    let x = simd.splat(*pixels.add(r));
                    for n in 0..N {
                        sums[r][n] = simd.mul_add(x, weights[n], sums[r][n]);
                    }
                }
                weight = weight.add(N * S::LANES);
            }
        }
        for r in 0..R {
            for n in 0..N {
                // SAFETY: as for loading them.
                unsafe { simd.store(sums[r][n], all.add(place + (r * N + n) * S::LANES)) };
            }
        }
    }

    /// Bias and σ for one vector of channels, and the transposition into the maps. The sums of a pixel are `width`
    /// apart, and these begin at `column`.
    #[inline(always)]
    fn finish<S: Simd<T>>(&mut self, simd: S, first: usize, column: usize, width: usize) {
        let (channels, pixels) = self.maps.dim();
        let real = (channels - first).min(S::LANES);
        // Adding -0 leaves everything as it is, -0 too.
        let mut bias = [-T::ZERO; MAX_VECTOR];
        if let Some(all) = self.bias {
            bias[..real].copy_from_slice(&all[first..first + real]);
        }
        // SAFETY: no vector has more than `MAX_VECTOR` lanes.
        let bias = unsafe { simd.load(bias.as_ptr()) };
        for pixel in 0..pixels {
            // SAFETY: `eval` has checked that there are sums of whole vectors for every pixel.
            unsafe {
                let sum = self.sums.as_mut_ptr().add(pixel * width + column);
                let mut sums = [[simd.add(simd.load(sum), bias)]];
                activate(simd, self.activation, &mut sums);
                simd.store(sums[0][0], sum);
            }
        }
        let mut corner = [T::ZERO; MAX_VECTOR * MAX_VECTOR];
        for pixel in (0..pixels).step_by(S::LANES) {
            // The last square begins earlier, and overlaps; where there is none before it, it has rows of leavings.
            let pixel = pixel.min(pixels.saturating_sub(S::LANES));
            let sums = self.sums[pixel * width + column..].as_ptr();
            if real == S::LANES && pixels >= S::LANES {
                let pitch = self.maps.strides()[0];
                // SAFETY: `LANES` channels follow `first`, and as many pixels `pixel`; the sums as above, of pixels
                // filled up to a multiple of `LANES`.
                unsafe {
                    let maps = self.maps.as_mut_ptr().offset(first as isize * pitch).add(pixel);
                    simd.transpose(sums, width, maps, pitch as usize);
                }
                continue;
            }
            // SAFETY: the corner holds the largest square there is; the sums as above.
            unsafe { simd.transpose(sums, width, corner.as_mut_ptr(), S::LANES) };
            let count = S::LANES.min(pixels - pixel);
            for channel in 0..real {
                for lane in 0..count {
                    self.maps[[first + channel, pixel + lane]] = corner[channel * S::LANES + lane];
                }
            }
        }
    }
}
