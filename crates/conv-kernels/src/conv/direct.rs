//! Convolutions straight on the image, by hand-written tiles: [`Algorithm::Direct`](crate::Algorithm::Direct), whose
//! vectors lie along the pixels, and [`Algorithm::Channels`](crate::Algorithm::Channels).
//!
//! Where the overlay slides by one, the pixels that one of its elements meets along a row of underlays lie side by side
//! in the image: they are read where they are, and no column matrix is made. Padded images are copied first, strip by
//! strip, into a border of zeros, so that no tile meets an edge; and where the overlay slides by more, the copy takes
//! the image apart into its phases (with stride 2, the even pixels and the odd ones), in which it slides by one.
//!
//! * `geometry` says where the taps lie, and `border` makes the copies;
//! * `overlays` puts the weights in the order of the tiles;
//! * `pixels` and `channels` are the forward passes, and, on the mirrored shape, input gradients;
//! * `pooled` is the forward passes again, and max pooling with them;
//! * `scatter` is the input gradient that adds up what each underlay gets;
//! * `gradient` is the weight gradient.

mod border;
mod channels;
mod geometry;
mod gradient;
mod overlays;
mod pixels;
mod pooled;
mod scatter;

use std::ops::Range;

use ndarray::{ArrayViewMut2, ArrayViewMut3, s};

use border::Border;
pub(crate) use geometry::{Geometry, shortest_run};
pub(crate) use overlays::Overlays;
pub(crate) use pooled::Pooled;

use super::{channel_unit, groups_within, pass_lanes};
use crate::scratch::aligned;
use crate::simd::Isa;
use crate::simd::tiles::even_parts;
use crate::threads::{Cell, Cuts, grid, view3};
use crate::{Conv2dShape, Scalar};

/// Output channels are blocked from multiples of this on, as many in a tile whose vectors lie along the pixels as it has
/// rows. They are cut at such multiples too: these are whole pairs of vectors along the channels.
pub(super) fn section(isa: Isa) -> usize {
    let rows: usize = if isa.most_rows()[0] <= 6 { 48 } else { 96 };
    rows.next_multiple_of(2 * isa.lanes::<f32>())
}

/// A piece of the feature maps of one image: channels of one group, and rows.
struct Strip {
    image: usize,
    channels: Range<usize>,
    rows: Range<usize>,
}

/// One pass of a convolution straight on the image.
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

    /// What it computes: the mirrored shape, for an input gradient.
    pub(crate) fn shape(&self) -> &'a Conv2dShape {
        self.shape
    }

    /// Input and output channels of a group.
    fn group(&self) -> (usize, usize) {
        (self.shape.in_channels() / self.shape.groups(), self.shape.out_channels() / self.shape.groups())
    }

    /// Scratch elements of a forward pass: what each cell needs.
    fn forward_len(&self, cell: [usize; 3]) -> usize {
        pass_lanes(self.shape, self.batch) * cell.into_iter().sum::<usize>()
    }

    /// Elements of a copied strip, if the image is copied.
    fn copy_len<T: Scalar>(&self) -> usize {
        if self.geometry.copied() { aligned::<T>(self.group().0 * self.geometry.plane()) } else { 0 }
    }

    /// The channels of one group of an image from the first row under `strip` on, with their border.
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
        for (pixels, copy) in planes.chunks_exact(plane).zip(buffer.chunks_exact_mut(self.geometry.plane())) {
            T::run(self.isa, Border { geometry: self.geometry, shape: self.shape, pixels, strip, copy });
        }
        buffer
    }

    /// Calls `compute(underlays, strip, y, buffers)` for each strip of each image: `y (channels, pixels)`, and
    /// two buffers after the one for the copy, of the lengths `cell[1..]`.
    fn for_each_strip<T: Scalar>(
        &self,
        x: &[T],
        y: &mut [T],
        scratch: &mut [T],
        cell: [usize; 3],
        compute: &(impl Fn(&[T], &Strip, ArrayViewMut2<'_, T>, [&mut [T]; 2]) + Sync),
    ) {
        let width = self.shape.output()[1];
        let dim = [self.batch, self.shape.out_channels(), self.shape.out_pixels()];
        let rows = if self.geometry.narrow() { dim[2] } else { width };
        let units = [1, channel_unit(self.shape, dim[1], section(self.isa)), rows];
        let cuts = Cuts::new(pass_lanes(self.shape, self.batch), dim, units, [0, 2, 1]);
        let whole = Cell::whole(view3(dim, y), scratch);
        grid(whole, cuts, cell.into_iter().sum(), &|part: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            let Cell { view: mut y, start: [first_image, first_map, first_pixel], scratch } = part;
            let (copy, buffers) = scratch.split_at_mut(cell[0]);
            let (first, second) = buffers.split_at_mut(cell[1]);
            let (images, channels, pixels) = y.dim();
            let (first_row, rows) = (first_pixel / width, pixels / width);
            let all = [first_image..first_image + images, first_map..first_map + channels];
            self.walk(x, all, first_row..first_row + rows, 1, copy, |underlays, strip| {
                let Strip { image, ref channels, ref rows } = strip;
                let within = channels.start - first_map..channels.end - first_map;
                let pixels = (rows.start - first_row) * width..(rows.end - first_row) * width;
                let y = y.slice_mut(s![image - first_image, within, pixels]);
                compute(underlays, &strip, y, [&mut *first, &mut *second]);
            });
        });
    }

    /// Calls `visit(underlays, strip)` for each strip of some images and output channels, and of whole units of output
    /// rows.
    fn walk<T: Scalar>(
        &self,
        x: &[T],
        [images, channels]: [Range<usize>; 2],
        rows: Range<usize>,
        unit: usize,
        copy: &mut [T],
        mut visit: impl FnMut(&[T], Strip),
    ) {
        let maps = self.group().1;
        for image in images {
            for (group, within) in groups_within(channels.clone(), maps) {
                let channels = group * maps + within.start..group * maps + within.end;
                for strip in even_parts(rows.len() / unit, self.geometry.rows() / unit) {
                    let rows = rows.start + strip.start * unit..rows.start + strip.end * unit;
                    let underlays = self.underlays(x, image, group, &rows, copy);
                    visit(underlays, Strip { image, channels: channels.clone(), rows });
                }
            }
        }
    }
}

/// Blocks of output channels, one a tile; the channels start at a multiple of [`section`].
pub(super) fn blocks(channels: Range<usize>, isa: Isa) -> impl Iterator<Item = Range<usize>> {
    let (section, [most, _]) = (section(isa), isa.most_rows());
    channels.clone().step_by(section).flat_map(move |first| {
        let len = section.min(channels.end - first);
        even_parts(len, most).map(move |block| first + block.start..first + block.end)
    })
}

/// Bands of input channels: their kernel elements make the rows of the input gradient's tiles, which have at most `rows`.
fn bands(channels: Range<usize>, rows: usize) -> impl Iterator<Item = Range<usize>> {
    channels.clone().step_by(rows).map(move |first| first..channels.end.min(first + rows))
}
