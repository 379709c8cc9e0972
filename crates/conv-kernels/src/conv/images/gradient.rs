//! The weight gradient with vectors along the images.

use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::s;

use super::turning::Piece;
use super::{AT_A_TIME, Images, LARGEST, Maps};
use crate::Scalar;
use crate::conv::definition::{self, add_mended, all_finite};
use crate::conv::{Partials, add, groups_within, pass_lanes};
use crate::scratch::aligned;
use crate::simd::gradient::{AlongPixels, SumLanes};
use crate::simd::images::turned_len;
use crate::simd::tiles::{Runs, even_parts};

/// How the weight gradient is cut.
struct Strips {
    /// Rows of a strip, an even number unless there is a single strip, and how many strips an image has.
    rows: usize,
    count: usize,
    /// Rows and columns of a channel of the copy under it, with its border: of the highest strip for any batch, so that taps are
    /// always at the same places.
    copy: [usize; 2],
}

impl Images<'_> {
    /// As few strips as the second cache allows, and threads.
    fn strips<T: Scalar>(&self) -> Strips {
        let ([depth, maps], [height, width]) = (self.group(), self.shape.output());
        let stride = self.shape.stride()[0];
        let covered = [0, 1].map(|axis| self.covered(axis));
        let copy_width = width + covered[1];
        let room = (LARGEST / self.isa.lanes::<T>()).saturating_sub(depth * copy_width * covered[0]);
        let line = (depth * copy_width).saturating_mul(stride).saturating_add(maps * width);
        let most = (room / line).max(1).next_multiple_of(2).min(height);
        let vectors = self.batch.div_ceil(self.isa.lanes::<T>()).max(1);
        let wanted = pass_lanes(self.shape, self.batch).div_ceil(vectors).min(height);
        let rows = height.div_ceil(height.div_ceil(most).max(wanted)).next_multiple_of(2).min(height);
        Strips { rows, count: height.div_ceil(rows), copy: [(most - 1) * stride + 1 + covered[0], copy_width] }
    }

    /// Scratch elements of a cell of the weight gradient: a strip of the images of a group, one of their gradients, and what
    /// turning these takes.
    fn gradient_lens<T: Scalar>(&self, strips: &Strips) -> [usize; 3] {
        let ([depth, maps], lanes, width) = (self.group(), self.isa.lanes::<T>(), self.shape.output()[1]);
        let len = |pixels: usize| aligned::<T>(turned_len(pixels, lanes));
        let (image, gradients) = (depth * strips.copy[0] * strips.copy[1], maps * strips.rows * width);
        [len(image), len(gradients), Maps::<T>::room(maps, strips.rows, width, lanes)]
    }

    fn partials<T: Scalar>(&self, strips: &Strips) -> Partials {
        let (lanes, cell_len) = (self.isa.lanes::<T>(), self.gradient_lens::<T>(strips).into_iter().sum());
        let rows = [self.shape.out_channels(), self.shape.taps() * lanes];
        Partials::new::<T>(self.shape, self.batch, self.batch.div_ceil(lanes) * strips.count, cell_len, rows)
    }

    /// Scratch elements of the weight gradient.
    pub(crate) fn gradient_scratch_len<T: Scalar>(&self) -> usize {
        self.partials::<T>(&self.strips::<T>()).scratch_len::<T>()
    }

    /// `dweight += Σ x · dy`. False, and nothing is added, if there are winners alone and one lies elsewhere than under its own
    /// window, or a sum is not finite.
    pub(crate) fn weight_gradient<T: Scalar>(
        &self,
        taps: &[usize],
        x: &[T],
        dy: Maps<'_, T>,
        dweight: &mut [T],
        scratch: &mut [T],
    ) -> bool {
        let (strips, strays) = (self.strips::<T>(), AtomicBool::new(false));
        let (lens, [_, maps]) = (self.gradient_lens::<T>(&strips), self.group());
        let sums = self.partials::<T>(&strips).sum(scratch, &|blocks, first_map, mut partial, scratch| {
            let (underlays, scratch) = scratch.split_at_mut(lens[0]);
            let (gradients, room) = scratch.split_at_mut(lens[1]);
            for (group, within) in groups_within(first_map..first_map + partial.nrows(), maps) {
                let all = group * maps + within.start..group * maps + within.end;
                let mut sums = partial.slice_mut(s![all.start - first_map..all.end - first_map, ..]);
                let sums = sums.as_slice_mut().expect("whole rows are contiguous");
                sums.fill(T::ZERO);
                for block in blocks.clone() {
                    let (vector, strip) = (block / strips.count, block % strips.count);
                    let rows = strip * strips.rows..((strip + 1) * strips.rows).min(self.shape.output()[0]);
                    let images = self.images_in::<T>(vector);
                    let stride = self.shape.stride()[0];
                    let underlays_of = [rows.start * stride, (rows.len() - 1) * stride + 1 + self.covered(0)];
                    self.turn_bordered(x, images, group, underlays_of, strips.copy, underlays);
                    let [height, width] = self.shape.output();
                    let size = [rows.len(), all.len()];
                    let piece = Piece { images, channels: all.clone(), rows };
                    if dy.turn(self.isa, [self.shape.out_channels(), height, width], piece, gradients, room) {
                        strays.store(true, Ordering::Relaxed);
                    }
                    self.add_strip(taps, underlays, gradients, size, &strips, sums);
                }
            }
        });
        T::run(self.isa, SumLanes { sums, count: dweight.len() });
        let sums = &sums[..dweight.len()];
        match dy {
            Maps::Whole(dy) => {
                add_mended(dweight, sums, &|weight| definition::weight_gradient(self.shape, x, dy, weight))
            }
            Maps::Winners { .. } if strays.into_inner() || !all_finite(sums) => return false,
            Maps::Winners { .. } => add(dweight, sums),
        }
        true
    }

    /// Images of the `vector`-th vector.
    fn images_in<T: Scalar>(&self, vector: usize) -> [usize; 2] {
        let lanes = self.isa.lanes::<T>();
        [vector * lanes, lanes.min(self.batch - vector * lanes)]
    }

    /// The products of a strip, some rows at a time: an image of vectors is one of numbers, only wider.
    fn add_strip<T: Scalar>(
        &self,
        taps: &[usize],
        image: &[T],
        maps: &[T],
        [rows, channels]: [usize; 2],
        strips: &Strips,
        sums: &mut [T],
    ) {
        let (lanes, width) = (self.isa.lanes::<T>(), self.shape.output()[1]);
        let (image_pitch, map_pitch) = (strips.copy[1] * self.shape.stride()[0] * lanes, width * lanes);
        for part in even_parts(rows, (AT_A_TIME / width).max(1)) {
            let op = AlongPixels {
                image: &image[part.start * image_pitch..],
                taps,
                runs: Runs { count: part.len(), len: width * lanes, image_pitch, map_pitch },
                mask: &[],
                maps: &maps[part.start * map_pitch..],
                map_len: rows * map_pitch,
                channels,
                sums: &mut *sums,
            };
            T::run(self.isa, op);
        }
    }

    /// Where the taps of the weight gradient lie in a strip of vectors.
    pub(crate) fn taps<T: Scalar>(&self) -> Vec<usize> {
        let ([depth, _], [rows, columns]) = (self.group(), self.shape.kernel());
        let ([down, right], Strips { copy: [copy_rows, copy_width], .. }) = (self.shape.dilation(), self.strips::<T>());
        let place = |tap: usize| {
            let (channel, row, column) = (tap / (rows * columns), tap / columns % rows, tap % columns);
            ((channel * copy_rows + row * down) * copy_width + column * right) * self.isa.lanes::<T>()
        };
        (0..depth * rows * columns).map(place).collect()
    }
}
