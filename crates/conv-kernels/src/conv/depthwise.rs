//! Convolutions of one channel at a time: [`Algorithm::Depthwise`](crate::Algorithm::Depthwise).
//!
//! ```text
//! forward:          y[map]     = σ(x[channel] ⋆ weight[map] + bias[map])
//! input gradient:   dx[channel] = Σ over its maps of dy[map], in a border of zeros ⋆ weight[map], turned by 180°
//! weight gradient:  dweight[map] = Σ over images and strips of x[channel] ⋆ dy[map]
//! ```
//!
//! Where each overlay sees one channel, a matrix product would have a single row, or few. Instead, overlays sweep over
//! planes: [`crate::sweep`] has the borders, `simd::plane` the tiles. Each plane is read about once, so small overlays
//! are as fast as the memory.
//!
//! The images' sums are chains of multiply-adds in the order of the definition. Padding is skipped as the definition
//! has it: where a NaN shows that a zero of the border has met an infinity, or could meet one, the sums are formed again,
//! row by row.

mod geometry;
mod rows;

use std::ops::Range;

use ndarray::ArrayViewMut3;

pub(crate) use geometry::Geometry;

use super::{Partials, add, finish, pass_lanes};
use crate::scratch::aligned;
use crate::simd::Isa;
use crate::simd::gradient::AlongPixels;
use crate::simd::plane::gradient::Collect;
use crate::simd::tiles::Runs;
use crate::sweep::{STRIP_UNIT, Track};
use crate::threads::{Cell, Cuts, grid, rows as runs, view3};
use crate::{Conv2dShape, Epilogue, Scalar};

/// One pass of a convolution whose groups have one input channel each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Depthwise<'a> {
    shape: &'a Conv2dShape,
    geometry: &'a Geometry,
    batch: usize,
    isa: Isa,
}

impl<'a> Depthwise<'a> {
    pub(crate) fn new(shape: &'a Conv2dShape, geometry: &'a Geometry, batch: usize, isa: Isa) -> Self {
        Self { shape, geometry, batch, isa }
    }

    /// Scratch elements for the most demanding of the three passes.
    pub(crate) fn scratch_len<T: Scalar>(&self) -> usize {
        let forward = self.forward_len::<T>();
        let backward = self.backward_lens::<T>().into_iter().sum();
        let images = pass_lanes(self.shape, self.batch) * forward.max(backward);
        images.max(self.partials::<T>().0.scratch_len::<T>())
    }

    /// Scratch elements of a cell of the forward pass.
    fn forward_len<T: Scalar>(&self) -> usize {
        self.geometry.forward.as_ref().map_or(0, Track::scratch_len::<T>)
    }

    /// Scratch elements of a cell of the input gradient: the turned overlays, and what they sweep in.
    fn backward_lens<T: Scalar>(&self) -> [usize; 2] {
        let sweep = self.geometry.backward.as_ref().map_or(0, Track::scratch_len::<T>);
        [aligned::<T>(self.multiplier() * self.shape.taps()), sweep]
    }

    /// Output channels of one input channel.
    fn multiplier(&self) -> usize {
        self.shape.out_channels() / self.shape.in_channels()
    }

    /// The channel under feature map `map` of an image.
    fn plane<'x, T>(&self, x: &'x [T], image: usize, map: usize) -> &'x [T] {
        let first = image * self.shape.in_channels() + map / self.multiplier();
        &x[first * self.shape.in_pixels()..][..self.shape.in_pixels()]
    }

    /// How the rows of `dim` planes are cut.
    fn cuts(&self, dim: [usize; 3], width: usize) -> Cuts {
        Cuts::new(pass_lanes(self.shape, self.batch), dim, [1, 1, STRIP_UNIT * width], [0, 1, 2])
    }

    /// `y = σ(x ⋆ w + b)`.
    pub(crate) fn forward<T: Scalar>(
        &self,
        x: &[T],
        weight: &[T],
        epilogue: Epilogue<'_, T>,
        y: &mut [T],
        scratch: &mut [T],
    ) {
        let (taps, width) = (self.shape.taps(), self.shape.output()[1]);
        let dim = [self.batch, self.shape.out_channels(), self.shape.out_pixels()];
        let (whole, cuts) = (Cell::whole(view3(dim, y), scratch), self.cuts(dim, width));
        grid(whole, cuts, self.forward_len::<T>(), &|mut cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            let first_row = cell.start[2] / width;
            for ([image, map], y) in runs(&mut cell.view, cell.start) {
                let (plane, overlay) = (self.plane(x, image, map), &weight[map * taps..][..taps]);
                let epilogue = Epilogue { bias: epilogue.bias.map(|bias| &bias[map..=map]), ..epilogue };
                match &self.geometry.forward {
                    Some(track) if !track.copies() || finite(overlay) => {
                        track.sweep(self.isa, plane, overlay, epilogue, first_row, y, cell.scratch);
                    }
                    _ => {
                        rows::forward(self.shape, self.isa, plane, overlay, first_row, y);
                        finish(epilogue, &mut view3([1, 1, y.len()], y), 0);
                    }
                }
            }
        });
    }

    /// `dx`: each pixel collects what the feature maps above it send back.
    pub(crate) fn input_gradient<T: Scalar>(&self, dy: &[T], weight: &[T], dx: &mut [T], scratch: &mut [T]) {
        let (width, pixels) = (self.shape.input()[1], self.shape.out_pixels());
        let (maps, taps) = (self.multiplier(), self.shape.taps());
        let dim = [self.batch, self.shape.in_channels(), self.shape.in_pixels()];
        let (whole, cuts) = (Cell::whole(view3(dim, dx), scratch), self.cuts(dim, width));
        let lens = self.backward_lens::<T>();
        grid(whole, cuts, lens.into_iter().sum(), &|mut cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            let first_row = cell.start[2] / width;
            let (turned, scratch) = cell.scratch.split_at_mut(lens[0]);
            let turned = &mut turned[..maps * taps];
            for ([image, channel], dx) in runs(&mut cell.view, cell.start) {
                let overlays = &weight[channel * maps * taps..][..maps * taps];
                let first = image * self.shape.out_channels() + channel * maps;
                let dy = &dy[first * pixels..][..maps * pixels];
                match &self.geometry.backward {
                    Some(track) if finite(overlays) => {
                        for (turned, overlay) in turned.chunks_exact_mut(taps).zip(overlays.chunks_exact(taps)) {
                            turned.iter_mut().zip(overlay.iter().rev()).for_each(|(to, &weight)| *to = weight);
                        }
                        track.sweep(self.isa, dy, turned, Epilogue::none(), first_row, dx, scratch);
                    }
                    _ => rows::input_gradient(self.shape, self.isa, dy, overlays, first_row, dx),
                }
            }
        });
    }

    /// How the strips are shared out, and how many an image has.
    fn partials<T: Scalar>(&self) -> (Partials, usize) {
        let height = self.shape.output()[0];
        let wanted = pass_lanes(self.shape, self.batch).div_ceil(self.batch.max(1));
        let strip = self.geometry.forward.as_ref().map_or(height, Track::strip);
        let strips = height.div_ceil(strip).max(wanted).min(height);
        let len = self.gradient_lens::<T>().into_iter().sum();
        (Partials::of_weights::<T>(self.shape, self.batch, self.batch * strips, len), strips)
    }

    /// Scratch elements of a cell of the weight gradient: a strip's copy, its gradients where they are narrower than a
    /// vector, a mask, and the sums.
    fn gradient_lens<T: Scalar>(&self) -> [usize; 4] {
        let Some(track) = &self.geometry.forward else { return [0; 4] };
        let (lanes, height) = (self.isa.lanes::<T>(), track.strip());
        let narrow = if self.is_narrow(track) { height * track.width() } else { 0 };
        let lens = [narrow, track.width() + lanes, self.shape.taps() * lanes].map(aligned::<T>);
        [track.copy_len::<T>(), lens[0], lens[1], lens[2]]
    }

    /// Whether a row of a feature map does not fill a vector.
    fn is_narrow(&self, track: &Track) -> bool {
        track.width() > self.shape.output()[1]
    }

    /// `dweight += Σ x · dy`, strip by strip.
    pub(crate) fn weight_gradient<T: Scalar>(&self, x: &[T], dy: &[T], dweight: &mut [T], scratch: &mut [T]) {
        let ([height, _], pixels) = (self.shape.output(), self.shape.out_pixels());
        let (partials, strips) = self.partials::<T>();
        let sum = partials.sum(scratch, &|blocks, first_map, mut partial, scratch| {
            for (map, partial) in (first_map..).zip(partial.rows_mut()) {
                let partial = partial.into_slice().expect("partial gradients are rows");
                let strips = blocks.clone().map(|block| {
                    let (image, strip) = (block / strips, block % strips);
                    let rows = strip * height / strips..(strip + 1) * height / strips;
                    let dy = &dy[(image * self.shape.out_channels() + map) * pixels..][..pixels];
                    (self.plane(x, image, map), dy, rows)
                });
                let swept = self.geometry.forward.as_ref().is_some_and(|track| {
                    self.sum_strips(track, strips.clone(), partial, scratch);
                    !track.copies() || partial.iter().all(|sum| !sum.is_nan())
                });
                if !swept {
                    partial.fill(T::ZERO);
                    for (plane, dy, rows) in strips {
                        rows::weight_gradient(self.shape, plane, dy, rows, partial);
                    }
                }
            }
        });
        add(dweight, sum);
    }

    /// What strips of channels and of their feature maps' gradients contribute.
    fn sum_strips<'x, T: Scalar>(
        &self,
        track: &Track,
        strips: impl Iterator<Item = (&'x [T], &'x [T], Range<usize>)>,
        partial: &mut [T],
        scratch: &mut [T],
    ) {
        let lanes = self.isa.lanes::<T>();
        let (buffers, sums) = scratch.split_at_mut(self.gradient_lens::<T>()[..3].iter().sum());
        let sums = &mut sums[..self.shape.taps() * lanes];
        sums.fill(T::ZERO);
        for (plane, dy, rows) in strips {
            self.add_strip(track, plane, dy, rows, sums, buffers);
        }
        for (partial, sums) in partial.iter_mut().zip(sums.chunks_exact(lanes)) {
            *partial = sums.iter().fold(T::ZERO, |total, &sum| total + sum);
        }
    }

    /// `sums += ` what a strip contributes, lane by lane.
    fn add_strip<T: Scalar>(
        &self,
        track: &Track,
        plane: &[T],
        dy: &[T],
        rows: Range<usize>,
        sums: &mut [T],
        buffers: &mut [T],
    ) {
        let (lens, width) = (self.gradient_lens::<T>(), self.shape.output()[1]);
        let (copy, buffers) = buffers.split_at_mut(lens[0]);
        let (narrow, mask) = buffers.split_at_mut(lens[1]);
        let image = track.under(self.isa, plane, &rows, copy);
        let dy = &dy[rows.start * width..rows.end * width];
        let maps = if self.is_narrow(track) {
            for (to, dy) in narrow.chunks_exact_mut(track.width()).zip(dy.chunks_exact(width)) {
                to[..width].copy_from_slice(dy);
                to[width..].fill(T::ZERO);
            }
            &*narrow
        } else {
            dy
        };
        let (stride, dilation) = (self.shape.stride()[0], self.shape.dilation()[0]);
        let (pitch, map_pitch) = (track.pitch(), track.width());
        if stride == 1 {
            let (columns, kernel_rows, size) = (track.columns(), self.shape.kernel()[0], [rows.len(), map_pitch]);
            T::run(self.isa, Collect { image, pitch, dilation, kernel_rows, columns, maps, map_pitch, size, sums });
        } else {
            let runs = Runs { count: rows.len(), len: map_pitch, image_pitch: stride * pitch, map_pitch };
            runs.write_mask(self.isa.lanes::<T>(), mask, &mut || true);
            let (taps, map_len) = (&self.geometry.taps[..], maps.len());
            T::run(self.isa, AlongPixels { image, taps, runs, mask, maps, map_len, channels: 1, sums });
        }
    }
}

/// Whether a zero may be multiplied with any of them.
fn finite<T: Scalar>(weights: &[T]) -> bool {
    weights.iter().all(|weight| weight.is_finite())
}
