//! Vectors along the images of a batch: [`Algorithm::Images`](crate::Algorithm::Images).
//!
//! Small feature maps leave vectors along their rows half empty, and few channels those along the channels. A batch has
//! images enough:
//!
//! ```text
//! for each vector of images                                              each lane is an image
//!     turn its pixels into vectors                                       squares of pixels and images are transposed
//!     for each pixel of dx, for each element over it
//!         dx[c, pixel] += w[o, element] · dy[o, pixel - element]         the definition, on vectors
//!     turn the vectors of dx back into images
//! ```
//!
//! Nothing is computed that the definition does not have: not even the zeros of a border, since all lanes have the same one. The
//! weight gradient goes strip by strip, `dw[o, tap] += x[pixel + tap] · dy[o, pixel]`, and adds up the lanes at the very end.
//!
//! Cost: the definition's multiply-adds, in whole vectors; and the transposition of both images, about five cycles a vector,
//! for one image in as many as a vector has lanes. Both have to lie in the second cache, for all images of a vector: so this
//! is for small images of few channels.
//!
//! Images that do not fill a vector are left to the [direct algorithm](super::direct) on the mirrored shape, whose sums are the
//! same chains.

use std::ops::Range;

use ndarray::{ArrayViewMut3, s};

use super::definition::{self, add_mended};
use super::{Partials, channel_unit, groups_within, pass_lanes};
use crate::scratch::aligned;
use crate::simd::Isa;
use crate::simd::gradient::{AlongPixels, SumLanes};
use crate::simd::images::{AlongImages, Turn, TurnBack, turned_len};
use crate::simd::tiles::{Runs, even_parts};
use crate::threads::{Cell, Cuts, grid, view3};
use crate::{Conv2dShape, Scalar};

/// Elements of the images of a vector, and of what becomes of them, that half fill the second cache.
const LARGEST: usize = 128 << 10;

/// Pixels whose gradients in four channels, as vectors, half fill the first cache.
pub(crate) const AT_A_TIME: usize = 128;

/// A pass over a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Images<'a> {
    shape: &'a Conv2dShape,
    batch: usize,
    isa: Isa,
}

/// How the weight gradient is cut.
struct Strips {
    /// Rows of a strip, and how many strips an image has.
    rows: usize,
    count: usize,
    /// Rows and columns of a channel of the copy under it, with its border: of the highest strip for any batch, so that taps are
    /// always at the same places.
    copy: [usize; 2],
}

impl<'a> Images<'a> {
    /// Whether a vector of images fits the second cache with what becomes of it, for the forward pass; and for the weight gradient
    /// a strip of them, and the sums.
    pub(crate) fn applies_to(shape: &Conv2dShape, lanes: usize) -> [bool; 2] {
        let fits = |vectors: usize| shape.stride()[1] == 1 && vectors.saturating_mul(lanes) <= LARGEST;
        let rows = shape.input()[0].min((shape.kernel()[0] - 1) * shape.dilation()[0] + 1);
        let underlays = (shape.in_channels() * shape.input()[1]).saturating_mul(rows);
        let strip = underlays + shape.out_channels() * shape.output()[1];
        [fits(shape.input_len().saturating_add(shape.output_len())), fits(strip) && fits(shape.weight_len())]
    }

    pub(crate) fn new(shape: &'a Conv2dShape, batch: usize, isa: Isa) -> Self {
        Self { shape, batch, isa }
    }

    /// Input and output channels of a group.
    fn group(&self) -> [usize; 2] {
        let groups = self.shape.groups();
        [self.shape.in_channels() / groups, self.shape.out_channels() / groups]
    }

    /// How many images fill vectors.
    pub(crate) fn whole<T: Scalar>(batch: usize, isa: Isa) -> usize {
        batch - batch % isa.lanes::<T>()
    }

    /// Scratch elements of the forward pass.
    pub(crate) fn scratch_len<T: Scalar>(&self) -> usize {
        pass_lanes(self.shape, self.batch) * self.lens::<T>().into_iter().sum::<usize>()
    }

    /// Scratch elements of a cell: the images of a group, and a block of its feature maps.
    fn lens<T: Scalar>(&self) -> [usize; 2] {
        let ([depth, maps], lanes) = (self.group(), self.isa.lanes::<T>());
        let block = maps.min(self.isa.most_rows()[0]);
        [depth * self.shape.in_pixels(), block * self.shape.out_pixels()]
            .map(|len| aligned::<T>(turned_len(len, lanes)))
    }

    /// `y = x ⋆ w` for a batch of whole vectors of images, the weights packed as for
    /// [`Direct::forward_by_pixels`](super::direct::Direct::forward_by_pixels), whose bits these are.
    pub(crate) fn forward<T: Scalar>(&self, x: &[T], packed: &[T], y: &mut [T], scratch: &mut [T]) {
        let (lanes, [_, maps]) = (self.isa.lanes::<T>(), self.group());
        let dim = [self.batch, self.shape.out_channels(), self.shape.out_pixels()];
        let units = [lanes, channel_unit(self.shape, dim[1], super::direct::section(self.isa)), dim[2]];
        let cuts = Cuts::new(pass_lanes(self.shape, self.batch), dim, units, [0, 1, 2]);
        let len = self.lens::<T>().into_iter().sum();
        grid(Cell::whole(view3(dim, y), scratch), cuts, len, &|mut cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            let (images, channels, _) = cell.view.dim();
            for first in (0..images).step_by(lanes) {
                for (group, within) in groups_within(cell.start[1]..cell.start[1] + channels, maps) {
                    let at = group * maps + within.start - cell.start[1];
                    let y = cell.view.slice_mut(s![first..first + lanes, at..at + within.len(), ..]);
                    self.block(x, packed, cell.start[0] + first, group, within, y, cell.scratch);
                }
            }
        });
    }

    /// Some channels of a group of a vector of images.
    #[expect(clippy::too_many_arguments, reason = "input, weights and output, each with what is taken of it")]
    fn block<T: Scalar>(
        &self,
        x: &[T],
        packed: &[T],
        image: usize,
        group: usize,
        channels: Range<usize>,
        mut y: ArrayViewMut3<'_, T>,
        scratch: &mut [T],
    ) {
        let ([depth, maps], taps, pixels) = (self.group(), self.shape.taps(), self.shape.out_pixels());
        let (turned, sums) = scratch.split_at_mut(self.lens::<T>()[0]);
        let len = depth * self.shape.in_pixels();
        let op = Turn {
            from: &x[image * self.shape.input_len() + group * len..],
            image_pitch: self.shape.input_len(),
            images: self.isa.lanes::<T>(),
            runs: [1, len],
            pitches: [len; 2],
            to: turned,
        };
        T::run(self.isa, op);
        for block in super::direct::blocks(channels.clone(), self.isa) {
            let all = group * maps + block.start..group * maps + block.end;
            let weight = &packed[all.start * taps..all.end * taps];
            T::run(self.isa, AlongImages { shape: self.shape, x: turned, weight, y: sums });
            let at = block.start - channels.start;
            for channel in 0..block.len() {
                let from = &sums[channel * pixels * self.isa.lanes::<T>()..];
                T::run(self.isa, TurnBack { from, to: y.slice_mut(s![.., at + channel, ..]) });
            }
        }
    }

    /// Whether so many images nearly fill vectors: others would leave lanes empty.
    pub(crate) fn fill<T: Scalar>(batch: usize, isa: Isa) -> bool {
        3 * batch.next_multiple_of(isa.lanes::<T>()) <= 4 * batch
    }

    /// Batches of more images nearly fill vectors.
    pub(crate) fn most_few<T: Scalar>(isa: Isa) -> usize {
        3 * isa.lanes::<T>()
    }

    /// As few strips as the second cache allows, and threads.
    fn strips<T: Scalar>(&self) -> Strips {
        let ([depth, maps], [height, width]) = (self.group(), self.shape.output());
        let stride = self.shape.stride()[0];
        let covered = [0, 1].map(|axis| (self.shape.kernel()[axis] - 1) * self.shape.dilation()[axis]);
        let copy_width = width + covered[1];
        let room = (LARGEST / self.isa.lanes::<T>()).saturating_sub(depth * copy_width * covered[0]);
        let line = (depth * copy_width).saturating_mul(stride).saturating_add(maps * width);
        let most = (room / line).clamp(1, height);
        let vectors = self.batch.div_ceil(self.isa.lanes::<T>()).max(1);
        let wanted = pass_lanes(self.shape, self.batch).div_ceil(vectors).min(height);
        let rows = height.div_ceil(height.div_ceil(most).max(wanted));
        Strips { rows, count: height.div_ceil(rows), copy: [(most - 1) * stride + 1 + covered[0], copy_width] }
    }

    /// Scratch elements of a cell of the weight gradient: a strip of the images of a group, and one of their gradients.
    fn gradient_lens<T: Scalar>(&self, strips: &Strips) -> [usize; 2] {
        let ([depth, maps], lanes) = (self.group(), self.isa.lanes::<T>());
        let pixels = [depth * strips.copy[0] * strips.copy[1], maps * strips.rows * self.shape.output()[1]];
        pixels.map(|pixels| aligned::<T>(turned_len(pixels, lanes)))
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

    /// `dweight += Σ x · dy`.
    pub(crate) fn weight_gradient<T: Scalar>(
        &self,
        taps: &[usize],
        x: &[T],
        dy: &[T],
        dweight: &mut [T],
        scratch: &mut [T],
    ) {
        let strips = self.strips::<T>();
        let (lens, [_, maps]) = (self.gradient_lens::<T>(&strips), self.group());
        let sums = self.partials::<T>(&strips).sum(scratch, &|blocks, first_map, mut partial, scratch| {
            let (underlays, gradients) = scratch.split_at_mut(lens[0]);
            for (group, within) in groups_within(first_map..first_map + partial.nrows(), maps) {
                let all = group * maps + within.start..group * maps + within.end;
                let mut sums = partial.slice_mut(s![all.start - first_map..all.end - first_map, ..]);
                let sums = sums.as_slice_mut().expect("whole rows are contiguous");
                sums.fill(T::ZERO);
                for block in blocks.clone() {
                    let (vector, strip) = (block / strips.count, block % strips.count);
                    let rows = strip * strips.rows..((strip + 1) * strips.rows).min(self.shape.output()[0]);
                    self.turn_underlays(x, vector, group, &rows, &strips, underlays);
                    self.turn_gradients(dy, vector, &all, &rows, gradients);
                    self.add_strip(taps, underlays, gradients, [all.len(), rows.len()], &strips, sums);
                }
            }
        });
        T::run(self.isa, SumLanes { sums, count: dweight.len() });
        add_mended(dweight, sums, &|weight| definition::weight_gradient(self.shape, x, dy, weight));
    }

    /// Images of the `vector`-th vector.
    fn images_in<T: Scalar>(&self, vector: usize) -> [usize; 2] {
        let lanes = self.isa.lanes::<T>();
        [vector * lanes, lanes.min(self.batch - vector * lanes)]
    }

    /// The pixels of a group under some output rows, in a border of zeros.
    fn turn_underlays<T: Scalar>(
        &self,
        x: &[T],
        vector: usize,
        group: usize,
        rows: &Range<usize>,
        strips: &Strips,
        to: &mut [T],
    ) {
        let ([first, images], lanes) = (self.images_in::<T>(vector), self.isa.lanes::<T>());
        let ([height, width], padding, [copy_rows, copy_width]) =
            (self.shape.input(), self.shape.padding(), strips.copy);
        let (top, last) = (rows.start * self.shape.stride()[0], (rows.end - 1) * self.shape.stride()[0]);
        let reached = last - top + 1 + (self.shape.kernel()[0] - 1) * self.shape.dilation()[0];
        // Columns behind the last that an overlay reaches are left out.
        let real = width.min(copy_width - padding.left);
        for channel in 0..self.group()[0] {
            let plane = (first * self.shape.in_channels() + group * self.group()[0] + channel) * height * width;
            for row in 0..reached {
                let to = &mut to[(channel * copy_rows + row) * copy_width * lanes..];
                let Some(line) = (top + row).checked_sub(padding.top).filter(|&line| line < height) else {
                    to[..copy_width * lanes].fill(T::ZERO);
                    continue;
                };
                to[..padding.left * lanes].fill(T::ZERO);
                let op = Turn {
                    from: &x[plane + line * width..],
                    image_pitch: self.shape.input_len(),
                    images,
                    runs: [1, real],
                    pitches: [0; 2],
                    to: &mut to[padding.left * lanes..],
                };
                T::run(self.isa, op);
                to[(padding.left + real) * lanes..copy_width * lanes].fill(T::ZERO);
            }
        }
    }

    /// The gradients of some channels in some output rows.
    fn turn_gradients<T: Scalar>(
        &self,
        dy: &[T],
        vector: usize,
        channels: &Range<usize>,
        rows: &Range<usize>,
        to: &mut [T],
    ) {
        let ([first, images], width) = (self.images_in::<T>(vector), self.shape.output()[1]);
        let pixels = self.shape.out_pixels();
        let plane = first * self.shape.out_channels() + channels.start;
        let op = Turn {
            from: &dy[plane * pixels + rows.start * width..],
            image_pitch: self.shape.output_len(),
            images,
            runs: [channels.len(), rows.len() * width],
            pitches: [pixels, rows.len() * width],
            to,
        };
        T::run(self.isa, op);
    }

    /// The products of a strip, some rows at a time: an image of vectors is one of numbers, only wider.
    fn add_strip<T: Scalar>(
        &self,
        taps: &[usize],
        image: &[T],
        maps: &[T],
        [channels, rows]: [usize; 2],
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
