//! Forward and 2x2 max pooling in one pass: the feature map is never written to memory.
//!
//! ```text
//! for each strip of an even number of output rows:
//!     for each block of output channels:
//!         maps = σ(x ⋆ w + b)                               by the tiles of the forward pass, into scratch
//!         y, positions = the largest of each 2x2 of maps    while these are in a cache
//! ```
//!
//! The sums cost what they cost in the forward pass. Of each four pixels one is written, and its position, and none is
//! read again.

use std::ops::Range;

use ndarray::{ArrayViewMut2, ArrayViewMut3, s};

use super::{Direct, Strip, blocks, section};
use crate::conv::{channel_unit, pass_lanes};
use crate::scratch::aligned;
use crate::simd::Isa;
use crate::simd::channels::sums_len;
use crate::simd::pool::MaxRows;
use crate::simd::tiles::even_parts;
use crate::threads::{Cell, Cuts, grid, view3};
use crate::{Epilogue, Pool2dShape, Scalar};

/// Where the pooled maps go: `y` and `positions (images, channels, pixels)`.
pub(crate) struct Pooled<'a, T> {
    /// Of 2x2 windows, side by side, over the feature maps.
    pub(crate) shape: &'a Pool2dShape,
    pub(crate) y: &'a mut [T],
    pub(crate) positions: &'a mut [u32],
}

/// A rectangle of the pooled maps, which begins at `[image, channel, pixel]`.
struct Part<'a, T> {
    shape: &'a Pool2dShape,
    isa: Isa,
    y: ArrayViewMut3<'a, T>,
    positions: ArrayViewMut3<'a, u32>,
    start: [usize; 3],
}

impl<T: Scalar> Part<'_, T> {
    /// Pools some rows of some feature maps of an image: `maps (channels, pixels)`, from this place on.
    fn pool(&mut self, [image, channel, row]: [usize; 3], mut maps: ArrayViewMut2<'_, T>) {
        let ([_, width], [_, columns]) = (self.shape.input(), self.shape.output());
        let (first, rows) = (row / 2 * columns - self.start[2], maps.ncols() / width / 2);
        let (image, channel) = (image - self.start[0], channel - self.start[1]);
        let part = s![image, channel..channel + maps.nrows(), first..first + rows * columns];
        let (mut y, mut positions) = (self.y.slice_mut(part), self.positions.slice_mut(part));
        let (pitch, shape, isa) = (maps.ncols(), self.shape, self.isa);
        let max_rows = |pixels: &[T], y: &mut [T], positions: &mut [u32]| {
            let (window, stride, plane, first) = (shape.window(), shape.stride(), [pitch, rows], row * width);
            T::run(isa, MaxRows { pixels, width, plane, window, stride, first, y, positions });
        };
        // Whole maps follow each other without a gap.
        if let (Some(maps), Some(y), Some(positions)) =
            (maps.as_slice_mut(), y.as_slice_mut(), positions.as_slice_mut())
        {
            return max_rows(maps, y, positions);
        }
        for (map, (y, positions)) in maps.outer_iter().zip(y.outer_iter_mut().zip(positions.outer_iter_mut())) {
            const CONTIGUOUS: &str = "rows of a map are contiguous";
            let (y, positions) = (y.into_slice().expect(CONTIGUOUS), positions.into_slice().expect(CONTIGUOUS));
            max_rows(map.to_slice().expect(CONTIGUOUS), y, positions);
        }
    }
}

/// The beginning of `buffer` as `(channels, pixels)`.
fn maps_in<T>(buffer: &mut [T], channels: usize, pixels: usize) -> ArrayViewMut2<'_, T> {
    let maps = ArrayViewMut2::from_shape((channels, pixels), &mut buffer[..channels * pixels]);
    maps.expect("the slice was cut to channels × pixels")
}

impl Direct<'_> {
    /// Scratch elements for [`Direct::pooled_by_pixels`].
    pub(crate) fn pooled_pixels_scratch_len<T: Scalar>(&self) -> usize {
        self.pooled_len(self.pooled_pixels_lens::<T>())
    }

    /// Scratch elements for [`Direct::pooled_by_channels`].
    pub(crate) fn pooled_channels_scratch_len<T: Scalar>(&self) -> usize {
        self.pooled_len(self.pooled_channels_lens::<T>())
    }

    fn pooled_len(&self, ([copy, first, second], maps): ([usize; 3], usize)) -> usize {
        self.forward_len([copy, first + second, maps])
    }

    /// Scratch elements of a cell: those of the forward pass, and a block's feature maps over a strip.
    fn pooled_pixels_lens<T: Scalar>(&self) -> ([usize; 3], usize) {
        let maps = self.isa.most_rows()[0] * self.geometry.rows() * self.shape.output()[1];
        (self.pixels_lens::<T>(), aligned::<T>(maps))
    }

    /// The same for blocks of two vectors of channels, over a few rows.
    fn pooled_channels_lens<T: Scalar>(&self) -> ([usize; 3], usize) {
        let (pixels, lanes) = (2 * self.pooled_rows::<T>() * self.shape.output()[1], self.isa.lanes::<T>());
        let sums = aligned::<T>(sums_len(pixels, lanes));
        ([self.copy_len::<T>(), sums, 0], aligned::<T>(2 * lanes * pixels))
    }

    /// Pooled rows that are computed together, with vectors along the channels.
    fn pooled_rows<T: Scalar>(&self) -> usize {
        (self.channels_pixels::<T>() / 2 / self.shape.output()[1]).clamp(1, self.geometry.rows() / 2)
    }

    /// [`Direct::forward_by_pixels`], pooled.
    pub(crate) fn pooled_by_pixels<T: Scalar>(
        &self,
        x: &[T],
        packed: &[T],
        epilogue: Epilogue<'_, T>,
        pooled: Pooled<'_, T>,
        scratch: &mut [T],
    ) {
        let (width, lens) = (self.shape.output()[1], self.pooled_pixels_lens::<T>());
        self.pool_strips(x, pooled, scratch, lens, &|underlays, strip, [joined, unfinished, maps], part| {
            let first = strip.channels.start;
            for block in blocks(0..strip.channels.len(), self.isa) {
                let block = first + block.start..first + block.end;
                let place = [strip.image, block.start, strip.rows.start];
                let mut maps = maps_in(maps, block.len(), strip.rows.len() * width);
                let buffers = [&mut *joined, &mut *unfinished];
                self.forward_block(underlays, packed, &strip.rows, block, epilogue, maps.view_mut(), buffers);
                part.pool(place, maps);
            }
        });
    }

    /// [`Direct::forward_by_channels`], pooled.
    pub(crate) fn pooled_by_channels<T: Scalar>(
        &self,
        x: &[T],
        packed: &[T],
        epilogue: Epilogue<'_, T>,
        pooled: Pooled<'_, T>,
        scratch: &mut [T],
    ) {
        let (width, packed) = (self.shape.output()[1], &packed[..self.packed_channels_len::<T>()]);
        let (lens, vectors) = (self.pooled_channels_lens::<T>(), 2 * self.isa.lanes::<T>());
        self.pool_strips(x, pooled, scratch, lens, &|underlays, strip, [sums, _, maps], part| {
            for piece in even_parts(strip.rows.len() / 2, self.pooled_rows::<T>()) {
                let underlays = &underlays[2 * piece.start * self.geometry.pitch()..];
                for first in strip.channels.clone().step_by(vectors) {
                    let block = first..strip.channels.end.min(first + vectors);
                    let mut maps = maps_in(maps, block.len(), 2 * piece.len() * width);
                    self.forward_piece(underlays, packed, block, epilogue, maps.view_mut(), sums);
                    part.pool([strip.image, first, strip.rows.start + 2 * piece.start], maps);
                }
            }
        });
    }

    /// Calls `compute(underlays, strip, buffers, part)` for each strip of each image: with the two buffers of the forward
    /// pass, one for feature maps, and the part of the pooled maps that lies over the strip.
    fn pool_strips<T: Scalar>(
        &self,
        x: &[T],
        pooled: Pooled<'_, T>,
        scratch: &mut [T],
        ([copy_len, first_len, second_len], maps_len): ([usize; 3], usize),
        compute: &(impl Fn(&[T], Strip, [&mut [T]; 3], &mut Part<'_, T>) + Sync),
    ) {
        let (shape, [height, width]) = (pooled.shape, pooled.shape.output());
        let dim = [self.batch, self.shape.out_channels(), height * width];
        let rows = if self.geometry.narrow() { dim[2] } else { width };
        let units = [1, channel_unit(self.shape, dim[1], section(self.isa)), rows];
        let cuts = Cuts::new(pass_lanes(self.shape, self.batch), dim, units, [0, 2, 1]);
        let whole = Cell::whole((view3(dim, pooled.y), view3(dim, pooled.positions)), scratch);
        let cell_len = copy_len + first_len + second_len + maps_len;
        grid(whole, cuts, cell_len, &|cell: Cell<'_, (ArrayViewMut3<'_, T>, _), T>| {
            let (copy, buffers) = cell.scratch.split_at_mut(copy_len);
            let (first, buffers) = buffers.split_at_mut(first_len);
            let (second, maps) = buffers.split_at_mut(second_len);
            let (y, positions) = cell.view;
            let (images, channels, pixels) = y.dim();
            let start @ [first_image, first_map, first_pixel] = cell.start;
            let (rows, unit) = self.rows_under(first_pixel / width..(first_pixel + pixels) / width);
            let all = [first_image..first_image + images, first_map..first_map + channels];
            let mut part = Part { shape, isa: self.isa, y, positions, start };
            self.walk(x, all, rows, unit, copy, |underlays, strip| {
                compute(underlays, strip, [&mut *first, &mut *second, &mut *maps], &mut part);
            });
        });
    }

    /// The output rows under these of the pooled maps, and of how many a strip is a multiple. An odd last row is not
    /// computed but where it may take all rows to fill a vector.
    fn rows_under(&self, pooled: Range<usize>) -> (Range<usize>, usize) {
        let height = self.shape.output()[0];
        if self.geometry.narrow() { (0..height, height) } else { (2 * pooled.start..2 * pooled.end, 2) }
    }
}
