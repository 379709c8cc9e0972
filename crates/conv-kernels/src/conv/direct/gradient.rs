//! The weight gradient of a direct convolution.

use std::ops::Range;

use ndarray::{ArrayViewMut2, s};

use super::Direct;
use crate::Scalar;
use crate::conv::{Partials, groups_within, pass_lanes};
use crate::scratch::aligned;
use crate::simd::gradient::{AlongChannels, AlongPixels};

/// So few taps leave too little to do for a transposed gradient.
const FEW_TAPS: usize = 32;

impl Direct<'_> {
    /// Whether vectors lie along the pixels; along the output channels otherwise.
    pub(crate) fn along_pixels<T: Scalar>(&self) -> bool {
        let (lanes, maps) = (self.isa.lanes::<T>(), self.group().1);
        self.shape.output()[1] >= lanes && (self.shape.taps() <= FEW_TAPS || 2 * maps < lanes)
    }

    /// Output channels of a group, in whole vectors.
    fn channels<T: Scalar>(&self) -> usize {
        self.group().1.next_multiple_of(self.isa.lanes::<T>())
    }

    /// Scratch elements of a cell: a padded strip, the sums, and a strip's gradients, transposed, or a mask.
    fn weight_gradient_lens<T: Scalar>(&self) -> [usize; 3] {
        let (lanes, maps) = (self.isa.lanes::<T>(), self.group().1);
        let (taps, width) = (self.shape.taps(), self.shape.output()[1]);
        let (sums, gradients) = if self.along_pixels::<T>() {
            (maps * taps * lanes, width + lanes)
        } else {
            (self.channels::<T>() * taps, self.geometry.rows() * width * self.channels::<T>())
        };
        [self.padded_len::<T>(), aligned::<T>(sums), aligned::<T>(gradients)]
    }

    /// How the strips are shared out, and how many an image has.
    fn partials<T: Scalar>(&self) -> (Partials, usize) {
        let height = self.shape.output()[0];
        let wanted = pass_lanes(self.shape, self.batch).div_ceil(self.batch.max(1));
        let strips = height.div_ceil(self.geometry.rows()).max(wanted).min(height);
        let len = self.weight_gradient_lens::<T>().into_iter().sum();
        (Partials::new::<T>(self.shape, self.batch, self.batch * strips, len), strips)
    }

    pub(super) fn weight_gradient_scratch_len<T: Scalar>(&self) -> usize {
        self.partials::<T>().0.scratch_len::<T>(self.shape)
    }

    /// `dweight += Σ x · dy`, strip by strip.
    pub(crate) fn weight_gradient<T: Scalar>(&self, x: &[T], dy: &[T], dweight: &mut [T], scratch: &mut [T]) {
        let (maps, height) = (self.group().1, self.shape.output()[0]);
        let lens = self.weight_gradient_lens::<T>();
        let (partials, strips) = self.partials::<T>();
        partials.add_to(self.shape, dweight, scratch, &|blocks, first_map, mut partial, scratch| {
            let (padded, rest) = scratch.split_at_mut(lens[0]);
            let (sums, buffer) = rest.split_at_mut(lens[1]);
            for (group, within) in groups_within(first_map..first_map + partial.nrows(), maps) {
                sums.fill(T::ZERO);
                let maps = group * maps + within.start..group * maps + within.end;
                for (image, strip) in blocks.clone().map(|block| (block / strips, block % strips)) {
                    let strip = strip * height / strips..(strip + 1) * height / strips;
                    let underlays = self.underlays(x, image, group, &strip, padded);
                    self.add_strip(underlays, dy, image, &maps, &strip, sums, buffer);
                }
                let partial = partial.slice_mut(s![maps.start - first_map..maps.end - first_map, ..]);
                self.add_sums(sums, partial);
            }
        });
    }

    /// `sums += ` what a strip contributes.
    #[expect(clippy::too_many_arguments, reason = "a strip, its two arrays, and the two that are worked in")]
    fn add_strip<T: Scalar>(
        &self,
        image: &[T],
        dy: &[T],
        index: usize,
        maps: &Range<usize>,
        strip: &Range<usize>,
        sums: &mut [T],
        buffer: &mut [T],
    ) {
        let (pixels, width) = (self.shape.out_pixels(), self.shape.output()[1]);
        let first = index * self.shape.out_channels();
        let dy = &dy[(first + maps.start) * pixels..(first + maps.end) * pixels];
        let dy = &dy[strip.start * width..];
        let taps = self.geometry.taps();
        let runs = self.geometry.separate_runs(self.shape, strip.len());
        if self.along_pixels::<T>() {
            let lanes = self.isa.lanes::<T>();
            runs.write_mask(lanes, buffer, &mut || true);
            let (mask, sums) = (&*buffer, &mut sums[..maps.len() * taps.len() * lanes]);
            let channels = maps.len();
            T::run(self.isa, AlongPixels { image, taps, runs, mask, maps: dy, map_len: pixels, channels, sums });
        } else {
            let channels = maps.len().next_multiple_of(self.isa.lanes::<T>());
            let buffer = &mut buffer[..strip.len() * width * channels];
            transpose(dy, pixels, maps.len(), channels, buffer);
            let sums = &mut sums[..channels * taps.len()];
            T::run(self.isa, AlongChannels { image, taps, runs, maps: buffer, channels, sums });
        }
    }

    /// `partial += sums`, whose lanes are added up first.
    fn add_sums<T: Scalar>(&self, sums: &[T], mut partial: ArrayViewMut2<'_, T>) {
        let (lanes, (maps, taps)) = (self.isa.lanes::<T>(), partial.dim());
        if self.along_pixels::<T>() {
            for (partial, sums) in partial.iter_mut().zip(sums.chunks_exact(lanes)) {
                *partial += sums.iter().fold(T::ZERO, |total, &sum| total + sum);
            }
        } else {
            let channels = maps.next_multiple_of(lanes);
            for (map, mut partial) in partial.outer_iter_mut().enumerate() {
                for tap in 0..taps {
                    partial[tap] += sums[tap * channels + map];
                }
            }
        }
    }
}

/// `(channel, pixel)`, channels `map_len` apart, to `(pixel, channel)`, filled up with zeros to `columns` channels.
fn transpose<T: Scalar>(maps: &[T], map_len: usize, channels: usize, columns: usize, transposed: &mut [T]) {
    /// Channels that are taken together: a cache line of the smaller type holds twice as many.
    const TOGETHER: usize = 8;
    for first in (0..columns).step_by(TOGETHER) {
        let width = TOGETHER.min(columns - first);
        if first + TOGETHER <= channels {
            let rows: [&[T]; TOGETHER] = std::array::from_fn(|row| &maps[(first + row) * map_len..]);
            for (pixel, to) in transposed.chunks_exact_mut(columns).enumerate() {
                for row in 0..TOGETHER {
                    to[first + row] = rows[row][pixel];
                }
            }
        } else {
            for (pixel, to) in transposed.chunks_exact_mut(columns).enumerate() {
                for channel in first..first + width {
                    to[channel] = if channel < channels { maps[channel * map_len + pixel] } else { T::ZERO };
                }
            }
        }
    }
}
