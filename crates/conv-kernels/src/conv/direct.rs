//! Convolutions straight on the image, by hand-written tiles: [`Algorithm::Direct`](crate::Algorithm::Direct).
//!
//! Where the overlay slides by one, the pixels that one of its elements meets along a row of underlays lie side by side
//! in the image: they are read where they are, and no column matrix is made. Padded images are copied first, strip by
//! strip, into a border of zeros, so that no tile meets an edge.
//!
//! A narrow feature map leaves vectors half empty. Its rows may then be joined: one long run of pixels through the
//! whole strip, which also computes what lies between the rows and nobody asked for.

mod geometry;
mod gradient;
mod overlays;

use std::ops::Range;

use ndarray::{ArrayViewMut2, ArrayViewMut3, Axis, s};

pub(crate) use geometry::Geometry;
pub(crate) use overlays::Overlays;
use overlays::pack_transposed;

use super::{channel_unit, groups_within, pass_lanes};
use crate::scratch::aligned;
use crate::simd::Isa;
use crate::simd::tiles::{Correlate, ROWS, Scatter, activates, even_parts, unfinished_len};
use crate::threads::{Cell, Cuts, grid, view3};
use crate::{Conv2dShape, Epilogue, Scalar};

/// Output channels are cut at multiples of this, within which blocks of about equal height are formed.
const SECTION: usize = 8 * ROWS;

/// One pass of a convolution whose overlay slides by one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Direct<'a> {
    shape: &'a Conv2dShape,
    geometry: &'a Geometry,
    batch: usize,
    isa: Isa,
}

impl<'a> Direct<'a> {
    pub(crate) fn new(shape: &'a Conv2dShape, geometry: &'a Geometry, batch: usize, isa: Isa) -> Self {
        Self { shape, geometry, batch, isa }
    }

    /// Input and output channels of a group.
    fn group(&self) -> (usize, usize) {
        (self.shape.in_channels() / self.shape.groups(), self.shape.out_channels() / self.shape.groups())
    }

    /// In words: the vectors, and what lies along them.
    pub(crate) fn explain<T: Scalar>(&self) -> String {
        let rows = if self.geometry.joined() { "rows of pixels, joined" } else { "rows of pixels" };
        let gradient = if self.along_pixels::<T>() { "rows of pixels" } else { "output channels" };
        let (isa, lanes) = (self.isa.name(), self.isa.lanes::<T>());
        let copy = if self.geometry.copied() { "; padded by copying" } else { "" };
        format!("vectors: {isa}, {lanes} lanes along {rows}; in weight_gradient along {gradient}{copy}")
    }

    /// Scratch elements for the most demanding of the three passes.
    pub(crate) fn scratch_len<T: Scalar>(&self) -> usize {
        let input_gradient = self.images_len::<T>(self.input_gradient_lens::<T>());
        input_gradient.max(self.forward_scratch_len::<T>()).max(self.weight_gradient_scratch_len::<T>())
    }

    /// Scratch elements for the forward pass.
    pub(crate) fn forward_scratch_len<T: Scalar>(&self) -> usize {
        self.images_len::<T>(self.forward_lens::<T>())
    }

    /// Packed weights, and what each cell needs.
    fn images_len<T: Scalar>(&self, cell: [usize; 3]) -> usize {
        aligned::<T>(self.shape.weight_len()) + pass_lanes(self.shape, self.batch) * cell.into_iter().sum::<usize>()
    }

    /// Scratch elements of a cell of the forward pass: a padded strip, a block of joined rows, unfinished sums.
    fn forward_lens<T: Scalar>(&self) -> [usize; 3] {
        let joined = if self.geometry.joined() { ROWS * self.geometry.longest_run() } else { 0 };
        let runs = self.geometry.runs(self.shape, self.geometry.rows());
        let unfinished = unfinished_len(self.shape.taps(), runs, self.isa.lanes::<T>());
        [self.padded_len::<T>(), aligned::<T>(joined), aligned::<T>(unfinished)]
    }

    /// Elements of a padded strip, if the image is padded.
    fn padded_len<T: Scalar>(&self) -> usize {
        if self.geometry.copied() { aligned::<T>(self.group().0 * self.geometry.plane()) } else { 0 }
    }

    /// The channels of one group of an image from the first row under `strip` on, with their padding.
    fn underlays<'b, T: Scalar>(
        &self,
        x: &'b [T],
        image: usize,
        group: usize,
        strip: &Range<usize>,
        buffer: &'b mut [T],
    ) -> &'b [T] {
        let (depth, plane) = (self.group().0, self.shape.in_pixels());
        let first = image * self.shape.in_channels() + group * depth;
        let planes = &x[first * plane..(first + depth) * plane];
        if !self.geometry.copied() {
            return &planes[strip.start * self.shape.input()[1]..];
        }
        for (pixels, padded) in planes.chunks_exact(plane).zip(buffer.chunks_exact_mut(self.geometry.plane())) {
            self.geometry.copy(self.shape, pixels, strip, padded);
        }
        buffer
    }

    /// `y = σ(x ⋆ w + b)`. Each sum is one chain of multiply-adds, in the order of the weights.
    pub(crate) fn forward<T: Scalar>(
        &self,
        x: &[T],
        overlays: Overlays<'_, T>,
        epilogue: Epilogue<'_, T>,
        y: &mut [T],
        scratch: &mut [T],
    ) {
        let ((_, maps), taps, width) = (self.group(), self.shape.taps(), self.shape.output()[1]);
        let (packed, cells) = scratch.split_at_mut(aligned::<T>(self.shape.weight_len()));
        overlays.pack(self.shape, &mut packed[..self.shape.weight_len()]);
        let dim = [self.batch, self.shape.out_channels(), self.shape.out_pixels()];
        let rows = if self.geometry.narrow() { dim[2] } else { width };
        let units = [1, channel_unit(self.shape, dim[1], SECTION), rows];
        let cuts = Cuts::new(pass_lanes(self.shape, self.batch), dim, units, [0, 2, 1]);
        let (whole, packed) = (Cell::whole(view3(dim, y), cells), &*packed);
        let lens = self.forward_lens::<T>();
        grid(whole, cuts, lens.into_iter().sum(), &|cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            let Cell { view: mut y, start: [first_image, first_map, first_pixel], scratch } = cell;
            let (padded, buffers) = scratch.split_at_mut(lens[0]);
            let (images, channels, pixels) = y.dim();
            let (top, rows) = (first_pixel / width, pixels / width);
            for image in 0..images {
                for (group, within) in groups_within(first_map..first_map + channels, maps) {
                    for strip in self.geometry.strips(rows) {
                        let under = top + strip.start..top + strip.end;
                        let underlays = self.underlays(x, first_image + image, group, &under, padded);
                        for block in blocks(within.clone()) {
                            let block = group * maps + block.start..group * maps + block.end;
                            let weight = &packed[block.start * taps..block.end * taps];
                            let bias = epilogue.bias.map(|bias| &bias[block.clone()]);
                            let block = block.start - first_map..block.end - first_map;
                            let y = y.slice_mut(s![image, block, strip.start * width..strip.end * width]);
                            let epilogue = Epilogue { bias, ..epilogue };
                            self.forward_block(underlays, weight, epilogue, y, buffers);
                        }
                    }
                }
            }
        });
    }

    /// A block of output channels over a strip.
    fn forward_block<T: Scalar>(
        &self,
        image: &[T],
        weight: &[T],
        Epilogue { bias, activation }: Epilogue<'_, T>,
        mut y: ArrayViewMut2<'_, T>,
        buffers: &mut [T],
    ) {
        let (joined, unfinished) = buffers.split_at_mut(self.forward_lens::<T>()[1]);
        let (channels, pixels) = y.dim();
        let width = self.shape.output()[1];
        let runs = self.geometry.runs(self.shape, pixels / width);
        let taps = self.geometry.taps();
        if !self.geometry.joined() {
            T::run(self.isa, Correlate { image, taps, weight, bias, activation, runs, unfinished, maps: y.view_mut() });
        } else {
            let joined = &mut joined[..channels * runs.len];
            let maps = ArrayViewMut2::from_shape((channels, runs.len), &mut *joined);
            let maps = maps.expect("the slice was cut to channels × pixels");
            T::run(self.isa, Correlate { image, taps, weight, bias, activation, runs, unfinished, maps });
            for (mut y, joined) in y.outer_iter_mut().zip(joined.chunks_exact(runs.len)) {
                let y = y.as_slice_mut().expect("the pixels of a feature map are contiguous");
                for (y, row) in y.chunks_exact_mut(width).zip(joined.chunks(self.geometry.pitch())) {
                    y.copy_from_slice(&row[..width]);
                }
            }
        }
        if !activates(activation) {
            for mut y in y.outer_iter_mut() {
                activation.apply(y.as_slice_mut().expect("the pixels of a feature map are contiguous"));
            }
        }
    }

    /// Scratch elements of a cell of the input gradient: a padded strip of `dx`, joined rows of `dy`, and a mask.
    fn input_gradient_lens<T: Scalar>(&self) -> [usize; 3] {
        let joined = if self.geometry.joined() { self.group().1 * self.geometry.longest_run() } else { 0 };
        let mask = self.geometry.longest_run() + self.isa.lanes::<T>();
        [self.padded_len::<T>(), aligned::<T>(joined), aligned::<T>(mask)]
    }

    /// `dx`: what the elements of the overlays send back, strip by strip, added to the image.
    pub(crate) fn input_gradient<T: Scalar>(&self, dy: &[T], weight: &[T], dx: &mut [T], scratch: &mut [T]) {
        let ((depth, maps), pixels) = (self.group(), self.shape.out_pixels());
        let elements = self.shape.taps() / depth;
        let (packed, cells) = scratch.split_at_mut(aligned::<T>(self.shape.weight_len()));
        pack_transposed(self.shape, weight, &mut packed[..self.shape.weight_len()]);
        let dim = [self.batch, self.shape.in_channels(), self.shape.in_pixels()];
        let units = [1, channel_unit(self.shape, dim[1], ROWS), dim[2]];
        let cuts = Cuts::new(pass_lanes(self.shape, self.batch), dim, units, [0, 1, 2]);
        let (whole, packed) = (Cell::whole(view3(dim, dx), cells), &*packed);
        let len = self.input_gradient_lens::<T>().into_iter().sum();
        grid(whole, cuts, len, &|cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            let Cell { view: mut dx, start: [first_image, first_channel, _], scratch } = cell;
            let channels = dx.len_of(Axis(1));
            for (image, mut dx) in (first_image..).zip(dx.outer_iter_mut()) {
                let dx = dx.as_slice_mut().expect("whole channels of one image are contiguous");
                for (group, within) in groups_within(first_channel..first_channel + channels, depth) {
                    let first = (group * depth + within.start - first_channel) * dim[2];
                    let dx = &mut dx[first..first + within.len() * dim[2]];
                    let first = (image * self.shape.out_channels() + group * maps) * pixels;
                    let dy = &dy[first..first + maps * pixels];
                    let weight = &packed[group * depth * elements * maps..(group + 1) * depth * elements * maps];
                    self.send_back(dy, weight, within, dx, scratch);
                }
            }
        });
    }

    /// The input gradient of one image, for some channels of a group.
    fn send_back<T: Scalar>(&self, dy: &[T], weight: &[T], channels: Range<usize>, dx: &mut [T], scratch: &mut [T]) {
        let lens = self.input_gradient_lens::<T>();
        let (padded, rest) = scratch.split_at_mut(lens[0]);
        let (joined, mask) = rest.split_at_mut(lens[1]);
        let (maps, plane) = (self.group().1, self.geometry.plane());
        let elements = self.geometry.targets().len() / self.group().0;
        dx.fill(T::ZERO);
        for strip in self.geometry.strips(self.shape.output()[0]) {
            let runs = self.geometry.runs(self.shape, strip.len());
            self.geometry.write_mask(self.shape, runs, self.isa.lanes::<T>(), mask);
            let (dy, map_len) = self.gradients(dy, &strip, joined);
            let image = if self.geometry.copied() {
                let image = &mut padded[..channels.len() * plane];
                image.fill(T::ZERO);
                image
            } else {
                &mut dx[strip.start * self.shape.input()[1]..]
            };
            for band in bands(channels.clone()) {
                let rows = band.start * elements..band.end * elements;
                let op = Scatter {
                    maps: dy,
                    map_len,
                    depth: maps,
                    weight: &weight[rows.start * maps..rows.end * maps],
                    targets: &self.geometry.targets()[rows],
                    runs,
                    mask,
                    image: &mut image[(band.start - channels.start) * plane..],
                };
                T::run(self.isa, op);
            }
            if self.geometry.copied() {
                let planes = dx.chunks_exact_mut(self.shape.in_pixels()).zip(padded.chunks_exact(plane));
                planes.for_each(|(dx, padded)| self.geometry.add_copy(self.shape, padded, &strip, dx));
            }
        }
    }

    /// The gradients of a group from the strip's first row on, and the distance of their channels; copied where rows
    /// are joined.
    fn gradients<'b, T: Scalar>(&self, dy: &'b [T], strip: &Range<usize>, joined: &'b mut [T]) -> (&'b [T], usize) {
        let (pixels, width) = (self.shape.out_pixels(), self.shape.output()[1]);
        if !self.geometry.joined() {
            return (&dy[strip.start * width..], pixels);
        }
        let len = self.geometry.runs(self.shape, strip.len()).len;
        for (dy, joined) in dy.chunks_exact(pixels).zip(joined.chunks_exact_mut(len)) {
            let rows = dy[strip.start * width..strip.end * width].chunks_exact(width);
            for (row, joined) in rows.zip(joined.chunks_mut(self.geometry.pitch())) {
                joined[..width].copy_from_slice(row);
            }
        }
        (&joined[..self.group().1 * len], len)
    }
}

/// Blocks of output channels, one a tile; the channels start at a multiple of [`SECTION`].
fn blocks(channels: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    channels.clone().step_by(SECTION).flat_map(move |first| {
        let len = SECTION.min(channels.end - first);
        even_parts(len, ROWS).map(move |block| first + block.start..first + block.end)
    })
}

/// Bands of input channels: their kernel elements make the rows of the input gradient's tiles.
fn bands(channels: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    channels.clone().step_by(ROWS).map(move |first| first..channels.end.min(first + ROWS))
}
