//! The tiles of the weight gradient: vectors along output channels, or along pixels.

use super::channels::block_widths;
use super::tiles::{Runs, even_parts, thin_rows, wide_rows, with_rows};
use super::{MAX_VECTOR, Op, Simd};
use crate::Scalar;

/// Weight gradient of a strip, vectors along the output channels.
///
/// ```text
/// for each block of two vectors of output channels:
///     transpose its gradients: (pixel, channel)         they stay in the first cache
///     for each tile of a few taps:                      their sums in registers, 12 of them with AVX2
///         for each pixel: sums[tap] += x[pixel + tap] · gradients[pixel]
///     add the sums to those of the strips before
/// ```
pub(crate) struct AlongChannels<'a, T> {
    /// From the pixel under the strip's first output pixel, in the first channel.
    pub(crate) image: &'a [T],
    /// Where each tap lies, from there.
    pub(crate) taps: &'a [usize],
    /// The output rows; they lie one after the other in the maps.
    pub(crate) runs: Runs,
    /// Gradients, channels `map_len` apart.
    pub(crate) maps: &'a [T],
    /// Pixels of a channel there.
    pub(crate) map_len: usize,
    /// Output channels.
    pub(crate) channels: usize,
    /// Room for the transposed gradients of a block, [`transposed_len`].
    pub(crate) transposed: &'a mut [T],
    /// Sums, added to: for each block of two vectors of output channels `(tap, channel in it)`; the last block has one
    /// vector if that is enough.
    pub(crate) sums: &'a mut [T],
}

/// Elements of the transposed gradients of a block.
pub(crate) fn transposed_len(pixels: usize, lanes: usize) -> usize {
    pixels * 2 * lanes
}

impl<T: Scalar> Op<T> for AlongChannels<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(mut self, simd: S) {
        let Runs { count, len, image_pitch, map_pitch } = self.runs;
        let (far, pixels) = (self.taps.iter().copied().max().unwrap_or(0), count * len);
        assert!(count > 0 && len > 0 && map_pitch == len, "rows lie one after the other");
        assert!(far + (count - 1) * image_pitch + len <= self.image.len(), "the image holds all runs");
        assert!(
            self.channels > 0 && (self.channels - 1) * self.map_len + pixels <= self.maps.len(),
            "a gradient for each pixel and channel"
        );
        assert!(self.transposed.len() >= transposed_len(pixels, S::LANES), "room for a block of gradients");
        let sums = self.channels.next_multiple_of(S::LANES) * self.taps.len();
        assert_eq!(self.sums.len(), sums, "a sum for each tap and channel");
        let mut block = 0;
        for (first, width) in (0..self.channels).step_by(2 * S::LANES).zip(block_widths(self.channels, S::LANES)) {
            for vector in 0..width / S::LANES {
                self.transpose(simd, first + vector * S::LANES, vector * S::LANES, width);
            }
            if width == S::LANES {
                self.block::<S, 1>(simd, block, thin_rows::<T, S>());
            } else {
                self.block::<S, 2>(simd, block, wide_rows::<T, S>());
            }
            block += width * self.taps.len();
        }
    }
}

impl<T: Scalar> AlongChannels<'_, T> {
    /// One vector of channels from `first` on, to `column` of the pixels' gradients, `width` apart; zeros for channels
    /// that are not there.
    #[inline(always)]
    fn transpose<S: Simd<T>>(&mut self, simd: S, first: usize, column: usize, width: usize) {
        let pixels = self.runs.count * self.runs.len;
        let real = (self.channels - first).min(S::LANES);
        let maps = &self.maps[first * self.map_len..];
        if real == S::LANES && pixels >= S::LANES {
            for pixel in (0..pixels).step_by(S::LANES) {
                // The last square begins earlier, and overlaps.
                let pixel = pixel.min(pixels - S::LANES);
                // SAFETY: `LANES` channels follow `first`, each with all pixels; and there is room for two vectors of
                // channels of each pixel.
                unsafe {
                    let to = self.transposed.as_mut_ptr().add(pixel * width + column);
                    simd.transpose(maps.as_ptr().add(pixel), self.map_len, to, width);
                }
            }
            return;
        }
        for pixel in 0..pixels {
            for lane in 0..S::LANES {
                let gradient = if lane < real { maps[lane * self.map_len + pixel] } else { T::ZERO };
                self.transposed[pixel * width + column + lane] = gradient;
            }
        }
    }

    /// All taps of a block, whose sums begin at `block`, in tiles of about the same height.
    #[inline(always)]
    fn block<S: Simd<T>, const N: usize>(&mut self, simd: S, block: usize, most: usize) {
        for rows in even_parts(self.taps.len(), most) {
            let sums = block + rows.start * N * S::LANES;
            let taps = &self.taps[rows];
            if N == 1 {
                with_rows!(taps.len(), ..=thin_rows::<T, S>(), R => self.tile::<S, R, N>(simd, sums, taps));
            } else {
                with_rows!(taps.len(), ..=wide_rows::<T, S>(), R => self.tile::<S, R, N>(simd, sums, taps));
            }
        }
    }

    #[inline(always)]
    fn tile<S: Simd<T>, const R: usize, const N: usize>(&mut self, simd: S, first: usize, taps: &[usize]) {
        let mut sums = [[simd.splat(T::ZERO); N]; R];
        let mut places = [0; R];
        places.copy_from_slice(&taps[..R]);
        let (mut gradients, mut image) = (self.transposed.as_ptr(), self.image.as_ptr());
        let Runs { count, len, image_pitch, .. } = self.runs;
        // One loop through all runs: to begin anew with each, a tile would have to make a pointer for each of its rows.
        let mut end = len;
        for pixel in 1..=count * len {
            let mut vectors = [simd.splat(T::ZERO); N];
            // SAFETY: `eval` has checked that the image holds all runs of all taps, and `transpose` has written the
            // gradients of as many pixels.
            unsafe {
                for n in 0..N {
                    vectors[n] = simd.load(gradients.add(n * S::LANES));
                }
                for r in 0..R {
                    let x = simd.splat(*image.add(places[r]));
                    for n in 0..N {
                        sums[r][n] = simd.mul_add(x, vectors[n], sums[r][n]);
                    }
                }
                gradients = gradients.add(N * S::LANES);
            }
            image = image.wrapping_add(1);
            if pixel == end {
                image = image.wrapping_add(image_pitch - len);
                end += len;
            }
        }
        for r in 0..R {
            for n in 0..N {
                // SAFETY: `eval` has checked that there is a sum for each tap and channel.
                unsafe {
                    let sum = self.sums.as_mut_ptr().add(first + (r * N + n) * S::LANES);
                    simd.store(simd.add(simd.load(sum), sums[r][n]), sum);
                }
            }
        }
    }
}

/// `weight (channel, tap) += sums`, as [`AlongChannels`] leaves them.
pub(crate) struct AddTransposed<'a, T> {
    pub(crate) sums: &'a [T],
    pub(crate) taps: usize,
    pub(crate) weight: &'a mut [T],
}

impl<T: Scalar> Op<T> for AddTransposed<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let channels = self.weight.len() / self.taps;
        assert_eq!(self.sums.len(), channels.next_multiple_of(S::LANES) * self.taps, "sums for all weights");
        let mut square = [T::ZERO; MAX_VECTOR * MAX_VECTOR];
        let mut block = self.sums;
        for (first, width) in (0..channels).step_by(2 * S::LANES).zip(block_widths(channels, S::LANES)) {
            let (sums, rest) = block.split_at(width * self.taps);
            block = rest;
            for (column, tap) in (0..width)
                .step_by(S::LANES)
                .flat_map(|column| (0..self.taps).step_by(S::LANES).map(move |tap| (column, tap)))
            {
                let taps = S::LANES.min(self.taps - tap);
                let channels = first + column..channels.min(first + column + S::LANES);
                if taps == S::LANES {
                    // SAFETY: `taps` rows of `width` sums follow, and the square holds the largest there is.
                    unsafe {
                        let from = sums.as_ptr().add(tap * width + column);
                        simd.transpose(from, width, square.as_mut_ptr(), MAX_VECTOR);
                    }
                } else {
                    for (row, lane) in (0..taps).flat_map(|row| (0..S::LANES).map(move |lane| (row, lane))) {
                        square[lane * MAX_VECTOR + row] = sums[(tap + row) * width + column + lane];
                    }
                }
                for (channel, row) in channels.zip(square.chunks_exact(MAX_VECTOR)) {
                    let weight = &mut self.weight[channel * self.taps + tap..][..taps];
                    weight.iter_mut().zip(row).for_each(|(weight, &sum)| *weight += sum);
                }
            }
        }
    }
}

/// Weight gradient of a strip, vectors along the pixels of a row.
///
/// A tile's rows are taps, its columns output channels: two, or four where 32 registers hold the sums, since each row and
/// each column has to be loaded. The sums stay vectors: their lanes are added up at the very end, by [`SumLanes`].
pub(crate) struct AlongPixels<'a, T> {
    /// From the pixel under the strip's first output pixel, in the first channel.
    pub(crate) image: &'a [T],
    /// Where each tap lies, from there.
    pub(crate) taps: &'a [usize],
    /// The output rows.
    pub(crate) runs: Runs,
    /// Which pixels of a run to let pass, if it does not consist of whole vectors; see [`Runs::write_mask`].
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

/// The most taps of a tile.
pub(crate) const DOT_ROWS: usize = 6;

impl<T: Scalar> Op<T> for AlongPixels<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(mut self, simd: S) {
        let far = self.taps.iter().copied().max().unwrap_or(0);
        let others = self.channels.saturating_sub(1) * self.map_len;
        assert!(self.channels > 0 && others <= self.maps.len(), "all channels are there");
        self.runs.check(S::LANES, self.image.len(), far, self.maps.len() - others);
        let whole = self.runs.len.is_multiple_of(S::LANES);
        assert!(whole || self.mask.len() >= self.runs.mask_len(S::LANES), "a mask for the last vector of a run");
        assert_eq!(self.sums.len(), self.channels * self.taps.len() * S::LANES, "a sum for each channel, tap and lane");
        let mut channel = 0;
        while S::REGISTERS >= 32 && channel + 4 <= self.channels {
            self.columns::<S, 4>(simd, channel);
            channel += 4;
        }
        while channel + 2 <= self.channels {
            self.columns::<S, 2>(simd, channel);
            channel += 2;
        }
        if channel < self.channels {
            self.columns::<S, 1>(simd, channel);
        }
    }
}

impl<T: Scalar> AlongPixels<'_, T> {
    /// All taps of `N` channels, in tiles of about the same height.
    #[inline(always)]
    fn columns<S: Simd<T>, const N: usize>(&mut self, simd: S, channel: usize) {
        let taps = self.taps;
        for rows in even_parts(taps.len(), DOT_ROWS) {
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

/// Sums `(number, lane)` become sums over the lanes, in their order: the first `count` elements.
pub(crate) struct SumLanes<'a, T> {
    pub(crate) sums: &'a mut [T],
    pub(crate) count: usize,
}

impl<T: Scalar> Op<T> for SumLanes<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        assert!(self.count * S::LANES <= self.sums.len(), "a vector for each number");
        let mut square = [T::ZERO; MAX_VECTOR * MAX_VECTOR];
        let whole = self.count / S::LANES * S::LANES;
        for first in (0..whole).step_by(S::LANES) {
            // SAFETY: `LANES` vectors follow, and the square holds the largest there is. The vector of sums overwrites one that
            // has been read: the first of them, or one before.
            unsafe {
                simd.transpose(self.sums.as_ptr().add(first * S::LANES), S::LANES, square.as_mut_ptr(), MAX_VECTOR);
                let mut sum = simd.splat(T::ZERO);
                for lane in 0..S::LANES {
                    sum = simd.add(sum, simd.load(square.as_ptr().add(lane * MAX_VECTOR)));
                }
                simd.store(sum, self.sums.as_mut_ptr().add(first));
            }
        }
        for number in whole..self.count {
            let lanes = &self.sums[number * S::LANES..(number + 1) * S::LANES];
            self.sums[number] = lanes.iter().fold(T::ZERO, |sum, &lane| sum + lane);
        }
    }
}
