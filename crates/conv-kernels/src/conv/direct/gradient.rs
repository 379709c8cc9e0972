//! The weight gradients of direct convolutions: see [`AlongPixels`] and [`AlongChannels`].
//!
//! ```text
//! for each share of the batch, for each strip of its images
//!     partial[o, tap] += Σ x[pixel + tap] · dy[o, pixel]     lanes are output channels, or pixels
//! dweight += Σ partial                                       in a tree; along the pixels, first over the lanes
//! ```
//!
//! Cost along the channels: `pixels · taps · ⌈O / lanes⌉` multiply-adds of whole vectors, and one transposition of `dy`, about
//! five cycles a vector. Along the pixels: `O · taps · vectors of pixels`, with two loads for a tile's row or column instead of
//! one, so tiles are as square as can be; it pays for few channels and wide images.

use std::ops::Range;

use ndarray::s;

use super::Direct;
use crate::Scalar;
use crate::conv::definition::{self, add_mended, all_finite};
use crate::conv::{Partials, groups_within, pass_lanes};
use crate::scratch::aligned;
use crate::simd::gradient::{AddTransposed, AlongChannels, AlongPixels, SumLanes, transposed_len};

/// Pixels whose gradients, two vectors of channels each, half fill the first cache.
const PIXELS: usize = 256;

/// What differs between the two ways to compute a weight gradient.
#[derive(Clone, Copy)]
struct Way {
    /// Output rows of a strip.
    strip: usize,
    /// The sums: rows of a group, one an output channel or a few more, and their length.
    sums: [usize; 2],
    /// Scratch elements of a cell: a copied strip, and a buffer.
    lens: [usize; 2],
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
        let sums = [self.group().1, self.shape.taps() * lanes];
        Way { strip: self.geometry.rows(), sums, lens: [self.copy_len::<T>(), aligned::<T>(width + lanes)] }
    }

    /// With vectors along the output channels: the buffer is a block of transposed gradients.
    fn by_channels<T: Scalar>(&self) -> Way {
        let (lanes, width) = (self.isa.lanes::<T>(), self.shape.output()[1]);
        let strip = (PIXELS / width).clamp(1, self.geometry.rows());
        let sums = [self.group().1.next_multiple_of(lanes), self.shape.taps()];
        Way { strip, sums, lens: [self.copy_len::<T>(), aligned::<T>(transposed_len(strip * width, lanes))] }
    }

    /// Scratch elements for the weight gradient with vectors along the pixels.
    pub(crate) fn by_pixels_scratch_len<T: Scalar>(&self) -> usize {
        self.partials::<T>(self.by_pixels::<T>()).0.scratch_len::<T>()
    }

    /// Scratch elements for the weight gradient with vectors along the output channels.
    pub(crate) fn by_channels_scratch_len<T: Scalar>(&self) -> usize {
        self.partials::<T>(self.by_channels::<T>()).0.scratch_len::<T>()
    }

    /// `dweight += Σ x · dy`, strip by strip, with vectors along the pixels.
    pub(crate) fn weight_gradient_by_pixels<T: Scalar>(&self, x: &[T], dy: &[T], dweight: &mut [T], scratch: &mut [T]) {
        let (lanes, map_len) = (self.isa.lanes::<T>(), self.shape.out_pixels());
        let sums = self.sum_strips(self.by_pixels::<T>(), [x, dy], scratch, &|strip, sums, mask| {
            let (taps, runs) = (self.geometry.taps(), self.geometry.separate_runs(self.shape, strip.rows));
            runs.write_mask(lanes, mask, &mut || true);
            let Strip { underlays: image, dy: maps, channels, .. } = strip;
            T::run(self.isa, AlongPixels { image, taps, runs, mask, maps, map_len, channels, sums });
        });
        T::run(self.isa, SumLanes { sums, count: dweight.len() });
        add_mended(dweight, sums, &|weight| definition::weight_gradient(self.shape, x, dy, weight));
    }

    /// `dweight += Σ x · dy`, strip by strip, with vectors along the output channels.
    pub(crate) fn weight_gradient_by_channels<T: Scalar>(
        &self,
        x: &[T],
        dy: &[T],
        dweight: &mut [T],
        scratch: &mut [T],
    ) {
        let (maps, map_len) = (self.group().1, self.shape.out_pixels());
        let way = self.by_channels::<T>();
        let sum = self.sum_strips(way, [x, dy], scratch, &|strip, sums, transposed| {
            let (taps, runs) = (self.geometry.taps(), self.geometry.separate_runs(self.shape, strip.rows));
            let Strip { underlays: image, dy: maps, channels, .. } = strip;
            T::run(self.isa, AlongChannels { image, taps, runs, maps, map_len, channels, transposed, sums });
        });
        let taps = self.shape.taps();
        let add = |dweight: &mut [T]| {
            for (dweight, sum) in dweight.chunks_exact_mut(maps * taps).zip(sum.chunks_exact(way.sums[0] * taps)) {
                T::run(self.isa, AddTransposed { sums: sum, taps, weight: dweight });
            }
        };
        if all_finite(sum) {
            return add(dweight);
        }
        let mut sums = vec![T::ZERO; dweight.len()];
        add(&mut sums);
        add_mended(dweight, &sums, &|weight| definition::weight_gradient(self.shape, x, dy, weight));
    }

    /// How the strips are shared out, and how many an image has.
    fn partials<T: Scalar>(&self, way: Way) -> (Partials, usize) {
        let height = self.shape.output()[0];
        let wanted = pass_lanes(self.shape, self.batch).div_ceil(self.batch.max(1));
        let strips = height.div_ceil(way.strip).max(wanted).min(height);
        let rows = [self.shape.groups() * way.sums[0], way.sums[1]];
        (Partials::new::<T>(self.shape, self.batch, self.batch * strips, way.lens[0] + way.lens[1], rows), strips)
    }

    /// The sums of all strips, of which `add(strip, sums, buffer)` adds one to those of some channels of a group.
    fn sum_strips<'s, T: Scalar>(
        &self,
        way: Way,
        [x, dy]: [&[T]; 2],
        scratch: &'s mut [T],
        add: &(impl Fn(Strip<'_, T>, &mut [T], &mut [T]) + Sync),
    ) -> &'s mut [T] {
        let ((_, maps), [height, width]) = (self.group(), self.shape.output());
        let (partials, strips) = self.partials::<T>(way);
        partials.sum(scratch, &|blocks, first_row, mut partial, scratch| {
            let (copy, buffer) = scratch.split_at_mut(way.lens[0]);
            for (group, within) in groups_within(first_row..first_row + partial.nrows(), way.sums[0]) {
                let first = group * way.sums[0] + within.start - first_row;
                let mut sums = partial.slice_mut(s![first..first + within.len(), ..]);
                let sums = sums.as_slice_mut().expect("whole rows are contiguous");
                sums.fill(T::ZERO);
                let maps = group * maps + within.start..group * maps + within.end.min(maps);
                for (image, strip) in blocks.clone().map(|block| (block / strips, block % strips)) {
                    let rows = strip * height / strips..(strip + 1) * height / strips;
                    let underlays = self.underlays(x, image, group, &rows, copy);
                    let dy = &self.maps_of(dy, image, &maps)[rows.start * width..];
                    add(Strip { underlays, dy, channels: maps.len(), rows: rows.len() }, sums, buffer);
                }
            }
        })
    }

    /// The gradients of some output channels of an image.
    fn maps_of<'y, T>(&self, dy: &'y [T], image: usize, maps: &Range<usize>) -> &'y [T] {
        let (pixels, first) = (self.shape.out_pixels(), image * self.shape.out_channels());
        &dy[(first + maps.start) * pixels..(first + maps.end) * pixels]
    }
}
