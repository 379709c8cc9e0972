//! Convolutions of one channel at a time: [`Algorithm::Depthwise`](crate::Algorithm::Depthwise).
//!
//! ```text
//! forward:          y[map]     = σ(x[channel] ⋆ weight[map] + bias[map])
//! input gradient:   dx[channel] = Σ over its maps of dy[map], in a border of zeros ⋆ weight[map], turned by 180°
//! weight gradient:  dweight[map] = Σ over images and strips of x[channel] ⋆ dy[map]
//! ```
//!
//! Where each overlay sees one channel, a matrix product would have a single row, or few. Instead, overlays go over
//! planes, and read each about once, so that small ones are as fast as the memory. Overlays of 3 × 3 elements slide over
//! a plane where it lies (`simd::plane::slide`); others sweep over a copy in a border of zeros ([`crate::sweep`] has the
//! borders, `simd::plane` the tiles).
//!
//! The images' sums are chains of multiply-adds in the order of the definition. Padding is skipped as the definition
//! has it: where a NaN shows that a zero has met an infinity, or could meet one, the sums are formed again, row by row.

mod geometry;
mod rows;
mod way;

use std::ops::Range;

use ndarray::{ArrayViewMut3, Axis};

pub(crate) use geometry::Geometry;
use way::Way;

use super::definition::{self, add_mended};
use super::{Partials, finish, pass_lanes};
use crate::scratch::aligned;
use crate::simd::Isa;
use crate::simd::gradient::{AlongPixels, SumLanes};
use crate::simd::plane::gradient::Collect;
use crate::simd::plane::slide::gradient::SlideGradient;
use crate::simd::tiles::Runs;
use crate::sweep::{STRIP_UNIT, Track};
use crate::threads::{Cell, Cuts, grid, view3};
use crate::{Conv2dShape, Epilogue, Scalar};

/// Bytes of the weight gradient's sums that a cell adds to at a time: as many maps take turns, one image after the other.
const SUMS_BYTES: usize = 8 << 10;

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
        let [turned, backward] = self.backward_lens::<T>();
        let lanes = pass_lanes(self.shape, self.batch);
        (lanes * forward).max(turned + lanes * backward).max(self.partials::<T>().0.scratch_len::<T>())
    }

    /// Scratch elements of a cell of the forward pass.
    fn forward_len<T: Scalar>(&self) -> usize {
        self.geometry.forward.scratch_len::<T>()
    }

    /// Scratch elements of the input gradient: the turned overlays, and what a cell sweeps in.
    fn backward_lens<T: Scalar>(&self) -> [usize; 2] {
        [aligned::<T>(self.shape.out_channels() * self.shape.taps()), self.geometry.backward.scratch_len::<T>()]
    }

    /// Output channels of one input channel.
    fn multiplier(&self) -> usize {
        self.shape.out_channels() / self.shape.in_channels()
    }

    /// The channel under feature map `map` of an image, or those under `count` maps from there on if each has its own.
    fn planes<'x, T>(&self, x: &'x [T], image: usize, map: usize, count: usize) -> &'x [T] {
        let first = image * self.shape.in_channels() + map / self.multiplier();
        &x[first * self.shape.in_pixels()..][..count * self.shape.in_pixels()]
    }

    /// The gradients of `count` feature maps of an image, from `map` on.
    fn maps<'y, T>(&self, dy: &'y [T], image: usize, map: usize, count: usize) -> &'y [T] {
        let first = image * self.shape.out_channels() + map;
        &dy[first * self.shape.out_pixels()..][..count * self.shape.out_pixels()]
    }

    /// How many planes of an image to go over at once, if whole planes are wanted.
    fn at_once(&self, way: &Way, whole: bool) -> usize {
        if whole && way.takes_many() && self.multiplier() == 1 { self.shape.in_channels() } else { 1 }
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
        let (taps, [_, width], pixels) = (self.shape.taps(), self.shape.output(), self.shape.out_pixels());
        let dim = [self.batch, self.shape.out_channels(), pixels];
        let (whole, cuts) = (Cell::whole(view3(dim, y), scratch), self.cuts(dim, width));
        let (way, all_finite) = (&self.geometry.forward, finite(weight));
        grid(whole, cuts, self.forward_len::<T>(), &|cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            let at_once = self.at_once(way, cell.view.len_of(Axis(2)) == pixels);
            for_runs(cell, width, at_once, |[image, map], rows, y, scratch| {
                let count = y.len() / (rows.len() * width);
                let (planes, overlays) = (self.planes(x, image, map, count), &weight[map * taps..][..count * taps]);
                let epilogue = Epilogue { bias: epilogue.bias.map(|bias| &bias[map..map + count]), ..epilogue };
                if way.suits(|| all_finite || finite(overlays)) {
                    way.correlate(self.isa, planes, overlays, epilogue, rows, y, scratch);
                    return;
                }
                let maps = y.chunks_exact_mut(rows.len() * width).zip(overlays.chunks_exact(taps));
                for (index, (y, overlay)) in maps.enumerate() {
                    let plane = self.planes(x, image, map + index, 1);
                    rows::forward(self.shape, self.isa, plane, overlay, rows.start, y);
                    finish(epilogue, &mut view3([1, 1, y.len()], y), index);
                }
            });
        });
    }

    /// `dx`: each pixel collects what the feature maps above it send back.
    pub(crate) fn input_gradient<T: Scalar>(&self, dy: &[T], weight: &[T], dx: &mut [T], scratch: &mut [T]) {
        let (taps, [_, width], pixels) = (self.shape.taps(), self.shape.input(), self.shape.in_pixels());
        let (dim, lens) = ([self.batch, self.shape.in_channels(), pixels], self.backward_lens::<T>());
        let (turned, scratch) = scratch.split_at_mut(lens[0]);
        let turned = &mut turned[..weight.len()];
        for (turned, overlay) in turned.chunks_exact_mut(taps).zip(weight.chunks_exact(taps)) {
            turned.iter_mut().zip(overlay.iter().rev()).for_each(|(to, &weight)| *to = weight);
        }
        let (turned, overlay_len) = (&*turned, self.multiplier() * taps);
        let (whole, cuts) = (Cell::whole(view3(dim, dx), scratch), self.cuts(dim, width));
        let (way, all_finite) = (&self.geometry.backward, finite(weight));
        grid(whole, cuts, lens[1], &|cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            let at_once = self.at_once(way, cell.view.len_of(Axis(2)) == pixels);
            for_runs(cell, width, at_once, |[image, channel], rows, dx, scratch| {
                let count = dx.len() / (rows.len() * width);
                let overlays = channel * overlay_len..(channel + count) * overlay_len;
                let map = channel * self.multiplier();
                if way.suits(|| all_finite || finite(&weight[overlays.clone()])) {
                    let maps = self.maps(dy, image, map, count * self.multiplier());
                    way.correlate(self.isa, maps, &turned[overlays], Epilogue::none(), rows, dx, scratch);
                    return;
                }
                let channels = dx.chunks_exact_mut(rows.len() * width).zip(weight[overlays].chunks_exact(overlay_len));
                for (index, (dx, overlays)) in channels.enumerate() {
                    let maps = self.maps(dy, image, map + index * self.multiplier(), self.multiplier());
                    rows::input_gradient(self.shape, self.isa, maps, overlays, rows.start, dx);
                }
            });
        });
    }

    /// How the strips are shared out, and how many an image has.
    fn partials<T: Scalar>(&self) -> (Partials, usize) {
        let height = self.shape.output()[0];
        let wanted = pass_lanes(self.shape, self.batch).div_ceil(self.batch.max(1));
        let strip = self.geometry.forward.strip().unwrap_or(height);
        let strips = height.div_ceil(strip).max(wanted).min(height);
        let len = self.gradient_lens::<T>().into_iter().sum();
        (Partials::of_weights::<T>(self.shape, self.batch, self.batch * strips, len), strips)
    }

    /// Maps whose sums a cell adds to at a time.
    fn maps_at_a_time<T: Scalar>(&self) -> usize {
        let sums = self.shape.taps() * self.isa.lanes::<T>() * size_of::<T>();
        (SUMS_BYTES / sums).clamp(1, self.shape.out_channels())
    }

    /// Scratch elements of a cell of the weight gradient: the sums; where it sweeps, a strip's copy, its gradients
    /// where they are narrower than a vector, and a mask.
    fn gradient_lens<T: Scalar>(&self) -> [usize; 4] {
        let lanes = self.isa.lanes::<T>();
        let sums = aligned::<T>(self.maps_at_a_time::<T>() * self.shape.taps() * lanes);
        let Way::Sweep(track) = &self.geometry.forward else { return [sums, 0, 0, 0] };
        let narrow = if self.is_narrow(track) { track.strip() * track.width() } else { 0 };
        [sums, track.copy_len::<T>(), aligned::<T>(narrow), aligned::<T>(track.width() + 2 * lanes)]
    }

    /// Whether a row of a feature map does not fill a vector.
    fn is_narrow(&self, track: &Track) -> bool {
        track.width() > self.shape.output()[1]
    }

    /// `dweight += Σ x · dy`, strip by strip.
    pub(crate) fn weight_gradient<T: Scalar>(&self, x: &[T], dy: &[T], dweight: &mut [T], scratch: &mut [T]) {
        let [height, width] = self.shape.output();
        let (partials, strips) = self.partials::<T>();
        let (lens, taps, lanes) = (self.gradient_lens::<T>(), self.shape.taps(), self.isa.lanes::<T>());
        let at_once = self.at_once(&self.geometry.forward, strips == 1);
        let sum = partials.sum(scratch, &|blocks, first_map, mut partial, scratch| {
            let (sums, buffers) = scratch.split_at_mut(lens[0]);
            let strips = blocks.map(|block| {
                let strip = block % strips;
                (block / strips, strip * height / strips..(strip + 1) * height / strips)
            });
            let at_a_time = self.maps_at_a_time::<T>();
            let partials = partial.axis_chunks_iter_mut(Axis(0), at_a_time);
            for (map, mut partials) in (first_map..).step_by(at_a_time).zip(partials) {
                let sums = &mut sums[..partials.nrows() * taps * lanes];
                sums.fill(T::ZERO);
                for (image, rows) in strips.clone() {
                    for (map, sums) in (map..).step_by(at_once).zip(sums.chunks_mut(at_once * taps * lanes)) {
                        let count = sums.len() / (taps * lanes);
                        let maps = self.maps(dy, image, map, count);
                        let maps = &maps[rows.start * width..][..((count - 1) * height + rows.len()) * width];
                        self.add_strip(self.planes(x, image, map, count), rows.clone(), maps, sums, buffers);
                    }
                }
                T::run(self.isa, SumLanes { sums: &mut *sums, count: partials.nrows() * taps });
                for ((map, partial), sums) in (map..).zip(partials.rows_mut()).zip(sums.chunks_exact(taps)) {
                    let partial = partial.into_slice().expect("partial gradients are rows");
                    partial.copy_from_slice(sums);
                    if matches!(self.geometry.forward, Way::Rows) {
                        partial.fill(T::ZERO);
                        for (image, rows) in strips.clone() {
                            let (plane, maps) = (self.planes(x, image, map, 1), self.maps(dy, image, map, 1));
                            rows::weight_gradient(self.shape, plane, maps, rows, partial);
                        }
                    }
                }
            }
        });
        add_mended(dweight, sum, &|weight| definition::weight_gradient(self.shape, x, dy, weight));
    }

    /// `sums += ` what a strip of planes contributes, lane by lane; nothing if it has to go row by row.
    fn add_strip<T: Scalar>(&self, pixels: &[T], rows: Range<usize>, maps: &[T], sums: &mut [T], buffers: &mut [T]) {
        match &self.geometry.forward {
            &Way::Slide { plane, .. } => T::run(self.isa, SlideGradient { plane, pixels, rows, maps, sums }),
            Way::Sweep(track) => self.sweep_strip(track, pixels, rows, maps, sums, buffers),
            Way::Rows => {}
        }
    }

    /// The same for planes in a border of zeros.
    fn sweep_strip<T: Scalar>(
        &self,
        track: &Track,
        plane: &[T],
        rows: Range<usize>,
        dy: &[T],
        sums: &mut [T],
        buffers: &mut [T],
    ) {
        let ([_, copy, narrow, _], width) = (self.gradient_lens::<T>(), self.shape.output()[1]);
        let (copy, buffers) = buffers.split_at_mut(copy);
        let (narrow, mask) = buffers.split_at_mut(narrow);
        let image = track.under(self.isa, plane, &rows, copy);
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

/// Calls `work(image and plane, rows, their pixels, scratch)` for the rows of each plane of a cell, or of `at_once` of
/// them, which must be whole.
fn for_runs<T: Scalar>(
    cell: Cell<'_, ArrayViewMut3<'_, T>, T>,
    width: usize,
    at_once: usize,
    work: impl Fn([usize; 2], Range<usize>, &mut [T], &mut [T]),
) {
    let Cell { mut view, start: [image, plane, pixel], scratch } = cell;
    let rows = pixel / width..(pixel + view.len_of(Axis(2))) / width;
    for (image, mut planes) in (image..).zip(view.outer_iter_mut()) {
        let parts = planes.axis_chunks_iter_mut(Axis(0), at_once);
        for (plane, part) in (plane..).step_by(at_once).zip(parts) {
            let pixels = part.into_slice().expect("the rows of one plane, or whole planes, are contiguous");
            work([image, plane], rows.clone(), pixels, scratch);
        }
    }
}

/// Whether a zero may be multiplied with any of them.
fn finite<T: Scalar>(weights: &[T]) -> bool {
    // Eight at a time: the compiler makes vectors of what has no way out.
    weights.chunks(8).all(|weights| weights.iter().fold(true, |finite, weight| finite & weight.is_finite()))
}
