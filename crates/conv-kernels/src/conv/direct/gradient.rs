//! The weight gradients of direct convolutions: see [`AlongPixels`] and [`AlongChannels`].

use std::ops::Range;

use ndarray::{ArrayViewMut2, s};

use super::Direct;
use crate::Scalar;
use crate::conv::{Partials, groups_within, pass_lanes};
use crate::scratch::aligned;
use crate::simd::channels::block_widths;
use crate::simd::gradient::{AlongChannels, AlongPixels, transposed_len};

/// Pixels whose gradients, two vectors of channels each, half fill the first cache.
const PIXELS: usize = 256;

/// What differs between the two ways to compute a weight gradient.
#[derive(Clone, Copy)]
struct Way {
    /// Output rows of a strip.
    rows: usize,
    /// Scratch elements of a cell: a copied strip, the sums of a group, a buffer.
    lens: [usize; 3],
}

impl Way {
    fn cell_len(&self) -> usize {
        self.lens.into_iter().sum()
    }
}

/// A strip of an image with the gradients of some output channels there.
struct Strip<'a, T> {
    underlays: &'a [T],
    /// From the strip's first pixel of the first channel on; channels lie as far apart as in the feature map.
    dy: &'a [T],
    channels: usize,
    rows: usize,
}

impl Direct<'_> {
    /// With vectors along the pixels: the sums are vectors, and the buffer is a mask.
    fn by_pixels<T: Scalar>(&self) -> Way {
        let (lanes, width) = (self.isa.lanes::<T>(), self.shape.output()[1]);
        let sums = aligned::<T>(self.group().1 * self.shape.taps() * lanes);
        Way { rows: self.geometry.rows(), lens: [self.copy_len::<T>(), sums, aligned::<T>(width + lanes)] }
    }

    /// With vectors along the output channels: the buffer is a block of transposed gradients.
    fn by_channels<T: Scalar>(&self) -> Way {
        let (lanes, width) = (self.isa.lanes::<T>(), self.shape.output()[1]);
        let rows = (PIXELS / width).clamp(1, self.geometry.rows());
        let sums = aligned::<T>(self.group().1.next_multiple_of(lanes) * self.shape.taps());
        Way { rows, lens: [self.copy_len::<T>(), sums, aligned::<T>(transposed_len(rows * width, lanes))] }
    }

    /// Scratch elements for the weight gradient with vectors along the pixels.
    pub(crate) fn by_pixels_scratch_len<T: Scalar>(&self) -> usize {
        self.partials::<T>(self.by_pixels::<T>()).0.scratch_len::<T>(self.shape)
    }

    /// Scratch elements for the weight gradient with vectors along the output channels.
    pub(crate) fn by_channels_scratch_len<T: Scalar>(&self) -> usize {
        self.partials::<T>(self.by_channels::<T>()).0.scratch_len::<T>(self.shape)
    }

    /// `dweight += Σ x · dy`, strip by strip, with vectors along the pixels.
    pub(crate) fn weight_gradient_by_pixels<T: Scalar>(&self, x: &[T], dy: &[T], dweight: &mut [T], scratch: &mut [T]) {
        let (lanes, map_len) = (self.isa.lanes::<T>(), self.shape.out_pixels());
        let add = |strip: Strip<'_, T>, sums: &mut [T], mask: &mut [T]| {
            let (taps, runs) = (self.geometry.taps(), self.geometry.separate_runs(self.shape, strip.rows));
            runs.write_mask(lanes, mask, &mut || true);
            let sums = &mut sums[..strip.channels * taps.len() * lanes];
            let Strip { underlays: image, dy: maps, channels, .. } = strip;
            T::run(self.isa, AlongPixels { image, taps, runs, mask, maps, map_len, channels, sums });
        };
        let finish = |sums: &[T], mut partial: ArrayViewMut2<'_, T>| {
            for (partial, sums) in partial.iter_mut().zip(sums.chunks_exact(lanes)) {
                *partial += sums.iter().fold(T::ZERO, |total, &sum| total + sum);
            }
        };
        self.weight_gradient(self.by_pixels::<T>(), [x, dy], dweight, scratch, &add, &finish);
    }

    /// `dweight += Σ x · dy`, strip by strip, with vectors along the output channels.
    pub(crate) fn weight_gradient_by_channels<T: Scalar>(
        &self,
        x: &[T],
        dy: &[T],
        dweight: &mut [T],
        scratch: &mut [T],
    ) {
        let (lanes, map_len) = (self.isa.lanes::<T>(), self.shape.out_pixels());
        let add = |strip: Strip<'_, T>, sums: &mut [T], transposed: &mut [T]| {
            let (taps, runs) = (self.geometry.taps(), self.geometry.separate_runs(self.shape, strip.rows));
            let sums = &mut sums[..strip.channels.next_multiple_of(lanes) * taps.len()];
            let Strip { underlays: image, dy: maps, channels, .. } = strip;
            T::run(self.isa, AlongChannels { image, taps, runs, maps, map_len, channels, transposed, sums });
        };
        let finish = |sums: &[T], mut partial: ArrayViewMut2<'_, T>| {
            let ((channels, taps), mut sums) = (partial.dim(), sums);
            for (first, width) in (0..channels).step_by(2 * lanes).zip(block_widths(channels, lanes)) {
                let (block, rest) = sums.split_at(width * taps);
                sums = rest;
                for channel in first..(first + width).min(channels) {
                    let of_channel = block[channel - first..].iter().step_by(width);
                    partial.row_mut(channel).iter_mut().zip(of_channel).for_each(|(partial, &sum)| *partial += sum);
                }
            }
        };
        self.weight_gradient(self.by_channels::<T>(), [x, dy], dweight, scratch, &add, &finish);
    }

    /// How the strips are shared out, and how many an image has.
    fn partials<T: Scalar>(&self, way: Way) -> (Partials, usize) {
        let height = self.shape.output()[0];
        let wanted = pass_lanes(self.shape, self.batch).div_ceil(self.batch.max(1));
        let strips = height.div_ceil(way.rows).max(wanted).min(height);
        (Partials::new::<T>(self.shape, self.batch, self.batch * strips, way.cell_len()), strips)
    }

    /// `dweight += ` the sums of all strips: `add(strip, sums, buffer)` adds up those of a cell, group by group, and
    /// `finish(sums, partial)` brings them into the order of the weights.
    fn weight_gradient<T: Scalar>(
        &self,
        way: Way,
        [x, dy]: [&[T]; 2],
        dweight: &mut [T],
        scratch: &mut [T],
        add: &(impl Fn(Strip<'_, T>, &mut [T], &mut [T]) + Sync),
        finish: &(impl Fn(&[T], ArrayViewMut2<'_, T>) + Sync),
    ) {
        let ((_, maps), [height, width]) = (self.group(), self.shape.output());
        let (partials, strips) = self.partials::<T>(way);
        partials.add_to(self.shape, dweight, scratch, &|blocks, first_map, mut partial, scratch| {
            let (copy, rest) = scratch.split_at_mut(way.lens[0]);
            let (sums, buffer) = rest.split_at_mut(way.lens[1]);
            for (group, within) in groups_within(first_map..first_map + partial.nrows(), maps) {
                sums.fill(T::ZERO);
                let maps = group * maps + within.start..group * maps + within.end;
                for (image, strip) in blocks.clone().map(|block| (block / strips, block % strips)) {
                    let rows = strip * height / strips..(strip + 1) * height / strips;
                    let underlays = self.underlays(x, image, group, &rows, copy);
                    let dy = &self.maps_of(dy, image, &maps)[rows.start * width..];
                    add(Strip { underlays, dy, channels: maps.len(), rows: rows.len() }, sums, buffer);
                }
                finish(sums, partial.slice_mut(s![maps.start - first_map..maps.end - first_map, ..]));
            }
        });
    }

    /// The gradients of some output channels of an image.
    fn maps_of<'y, T>(&self, dy: &'y [T], image: usize, maps: &Range<usize>) -> &'y [T] {
        let (pixels, first) = (self.shape.out_pixels(), image * self.shape.out_channels());
        &dy[(first + maps.start) * pixels..(first + maps.end) * pixels]
    }
}
