//! Convolutions as matrix products: [`Algorithm::Im2col`] and [`Algorithm::Pointwise`].
//!
//! Output pixels are taken block by block: several images where these are small, a strip of one image's pixels where
//! it is large, so that the column matrix of a block stays in the cache. A 1x1 kernel needs no column matrix: the
//! image is one.
//!
//! An element of a product depends on its own row and column alone, so the bits of one image do not depend on its
//! company. Where the order of additions does depend on the blocks (the input gradient), these follow from the shape.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2, ArrayViewMut3, Axis, s};

use super::columns::{gather, scatter};
use super::{ENOUGH_ROWS, Partials, add, channel_unit, finish, groups_within, pass_lanes};
use crate::scratch::aligned;
use crate::simd::Isa;
use crate::simd::tiles::even_parts;
use crate::threads::{Cell, Cuts, grid, view3};
use crate::{Algorithm, Conv2dShape, Epilogue, Scalar};

/// Bytes that a block's column matrix and its product may take.
const BLOCK_BYTES: usize = 512 << 10;

/// A block has at least this many columns where there are so many: narrower products spend their time in packing.
const MIN_COLUMNS: usize = 64;

/// One pass of a convolution as matrix products.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product<'a> {
    shape: &'a Conv2dShape,
    batch: usize,
    isa: Isa,
    /// The image is its own column matrix.
    pointwise: bool,
}

/// Images, and output pixels of each, that share a product.
type Block = (Range<usize>, Range<usize>);

impl<'a> Product<'a> {
    pub(crate) fn new(shape: &'a Conv2dShape, batch: usize, isa: Isa, algorithm: Algorithm) -> Self {
        Self { shape, batch, isa, pointwise: algorithm == Algorithm::Pointwise }
    }

    /// Input and output channels of a group.
    fn group(&self) -> (usize, usize) {
        (self.shape.in_channels() / self.shape.groups(), self.shape.out_channels() / self.shape.groups())
    }

    /// Columns of the largest block.
    fn columns<T>(&self) -> usize {
        if self.pointwise {
            return self.shape.out_pixels();
        }
        let bytes = (self.shape.taps() + self.group().1).saturating_mul(size_of::<T>());
        (BLOCK_BYTES / bytes / 16 * 16).max(MIN_COLUMNS)
    }

    /// How many images of `run` pixels each share a block.
    fn together<T>(&self, run: usize) -> usize {
        if self.pointwise { 1 } else { (self.columns::<T>() / run).max(1) }
    }

    /// The blocks of `images`, of which each has the pixels `run`.
    fn blocks<T>(&self, images: Range<usize>, run: Range<usize>) -> impl Iterator<Item = Block> + use<T> {
        let (together, strip) = (self.together::<T>(run.len()), self.columns::<T>());
        images.clone().step_by(together).flat_map(move |image| {
            let images = image..images.end.min(image + together);
            even_parts(run.len(), strip).map(move |part| (images.clone(), shift(&part, run.start)))
        })
    }

    /// Scratch elements for one block: its columns, and its product.
    fn block_len<T: Scalar>(&self) -> usize {
        let (columns, product) = self.block_lens::<T>();
        columns + product
    }

    fn block_lens<T: Scalar>(&self) -> (usize, usize) {
        if self.pointwise {
            return (0, 0);
        }
        let width = self.columns::<T>().min(self.batch * self.shape.out_pixels());
        (aligned::<T>(self.shape.taps() * width), aligned::<T>(self.group().1 * width))
    }

    /// Scratch elements for the forward pass and the input gradient.
    pub(crate) fn scratch_len<T: Scalar>(&self) -> usize {
        pass_lanes(self.shape, self.batch) * self.block_len::<T>()
    }

    /// Scratch elements for the weight gradient.
    pub(crate) fn weight_gradient_scratch_len<T: Scalar>(&self) -> usize {
        self.partials::<T>().scratch_len::<T>()
    }

    /// `y = σ(W · columns + b)`, strip by strip.
    pub(crate) fn forward<T: Scalar>(
        &self,
        x: &[T],
        weight: &[T],
        epilogue: Epilogue<'_, T>,
        y: &mut [T],
        scratch: &mut [T],
    ) {
        let (_, maps) = self.group();
        let dim = [self.batch, self.shape.out_channels(), self.shape.out_pixels()];
        // Each cell makes the column matrix for itself.
        let units = [1, channel_unit(self.shape, dim[1], ENOUGH_ROWS), MIN_COLUMNS];
        let cuts = Cuts::new(pass_lanes(self.shape, self.batch), dim, units, [0, 2, 1]);
        let whole = Cell::whole(view3(dim, y), scratch);
        grid(whole, cuts, self.block_len::<T>(), &|cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            let Cell { view: mut y, start: [first_image, first_map, first_pixel], scratch } = cell;
            let (columns, product) = scratch.split_at_mut(self.block_lens::<T>().0);
            let (images, channels, pixels) = y.dim();
            for (images, pixels) in self.blocks::<T>(0..images, 0..pixels) {
                for (group, within) in groups_within(first_map..first_map + channels, maps) {
                    let shifted = (shift(&images, first_image), shift(&pixels, first_pixel));
                    let columns = self.columns_of(x, group, &shifted, columns);
                    let first = group * maps + within.start;
                    let overlays = self.overlays(weight, first..group * maps + within.end);
                    let first = first - first_map;
                    let mut y = y.slice_mut(s![images.clone(), first..first + within.len(), pixels.clone()]);
                    multiply_into(self.isa, overlays, columns, &mut y, product);
                    finish(epilogue, &mut y, first_map + first);
                }
            }
        });
    }

    /// `dx = scatter(Wᵀ · dy)`: each output pixel's gradient, through the weights, to its underlay.
    pub(crate) fn input_gradient<T: Scalar>(&self, dy: &[T], weight: &[T], dx: &mut [T], scratch: &mut [T]) {
        let (depth, maps) = self.group();
        let dim = [self.batch, self.shape.in_channels(), self.shape.in_pixels()];
        // Underlays overlap, so images are not cut into strips here, but into channels, of which each makes a row for
        // every kernel element.
        let elements = self.shape.kernel()[0] * self.shape.kernel()[1];
        let units = [1, channel_unit(self.shape, dim[1], ENOUGH_ROWS.div_ceil(elements)), dim[2]];
        let cuts = Cuts::new(pass_lanes(self.shape, self.batch), dim, units, [0, 1, 2]);
        let whole = Cell::whole(view3(dim, dx), scratch);
        grid(whole, cuts, self.block_len::<T>(), &|cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            let Cell { view: mut dx, start: [first_image, first_channel, _], scratch } = cell;
            let (columns, gradients) = scratch.split_at_mut(self.block_lens::<T>().0);
            let (images, channels, _) = dx.dim();
            if !self.pointwise {
                dx.fill(T::ZERO);
            }
            for (images, pixels) in self.blocks::<T>(0..images, 0..self.shape.out_pixels()) {
                for (group, within) in groups_within(first_channel..first_channel + channels, depth) {
                    let of_group = group * maps..(group + 1) * maps;
                    let shifted = (shift(&images, first_image), pixels.clone());
                    let dy = self.gradients_of(dy, of_group.clone(), &shifted, gradients);
                    let taps = within.start * elements..within.end * elements;
                    let overlays = self.overlays(weight, of_group).slice_move(s![.., taps]).reversed_axes();
                    let first = group * depth + within.start - first_channel;
                    let mut dx = dx.slice_mut(s![images.clone(), first..first + within.len(), ..]);
                    if self.pointwise {
                        let dx = dx.index_axis_mut(Axis(0), 0).slice_move(s![.., pixels.clone()]);
                        T::product(self.isa, T::one(), overlays, dy, T::ZERO, dx);
                        continue;
                    }
                    let columns = &mut columns[..overlays.nrows() * dy.ncols()];
                    let mut columns = matrix_mut(overlays.nrows(), dy.ncols(), columns);
                    T::product(self.isa, T::one(), overlays, dy, T::ZERO, columns.view_mut());
                    for (image, mut dx) in dx.outer_iter_mut().enumerate() {
                        let columns = columns.slice(s![.., part(image, &pixels)]);
                        let dx = dx.as_slice_mut().expect("whole channels of one image are contiguous");
                        scatter(self.shape, columns, &pixels, dx);
                    }
                }
            }
        });
    }

    /// `dweight += Σ dy · columnsᵀ` over the blocks of the batch.
    pub(crate) fn weight_gradient<T: Scalar>(&self, x: &[T], dy: &[T], dweight: &mut [T], scratch: &mut [T]) {
        let (_, maps) = self.group();
        let sum = self.partials::<T>().sum(scratch, &|blocks, first_map, mut partial, scratch| {
            let (columns, gradients) = scratch.split_at_mut(self.block_lens::<T>().0);
            let all = self.blocks::<T>(0..self.batch, 0..self.shape.out_pixels());
            for block in all.skip(blocks.start).take(blocks.len()) {
                for (group, within) in groups_within(first_map..first_map + partial.nrows(), maps) {
                    let columns = self.columns_of(x, group, &block, columns);
                    let of_cell = group * maps + within.start..group * maps + within.end;
                    let rows = of_cell.start - first_map..of_cell.end - first_map;
                    let dy = self.gradients_of(dy, of_cell, &block, gradients);
                    let partial = partial.slice_mut(s![rows, ..]);
                    T::product(self.isa, T::one(), dy, columns.reversed_axes(), T::one(), partial);
                }
            }
        });
        add(dweight, sum);
    }

    /// How the weight gradient's blocks are shared out.
    fn partials<T: Scalar>(&self) -> Partials {
        let run = self.shape.out_pixels();
        let blocks = self.batch.div_ceil(self.together::<T>(run)) * run.div_ceil(self.columns::<T>());
        Partials::of_weights::<T>(self.shape, self.batch, blocks, self.block_len::<T>())
    }

    /// The overlays of the given output channels, one a row.
    fn overlays<'w, T: Scalar>(&self, weight: &'w [T], channels: Range<usize>) -> ArrayView2<'w, T> {
        let taps = self.shape.taps();
        matrix(channels.len(), taps, &weight[channels.start * taps..channels.end * taps])
    }

    /// The column matrix `(taps, pixels)` of a block and a group, made in `buffer` where it has to be made.
    fn columns_of<'b, T: Scalar>(
        &self,
        x: &'b [T],
        group: usize,
        (images, pixels): &Block,
        buffer: &'b mut [T],
    ) -> ArrayView2<'b, T> {
        let depth = self.group().0;
        let plane = self.shape.in_pixels();
        let planes = |image: usize| {
            let first = image * self.shape.in_channels() + group * depth;
            &x[first * plane..(first + depth) * plane]
        };
        if self.pointwise {
            return matrix(depth, plane, planes(images.start)).slice_move(s![.., pixels.clone()]);
        }
        let (taps, width) = (self.shape.taps(), images.len() * pixels.len());
        let mut columns = matrix_mut(taps, width, &mut buffer[..taps * width]);
        for (index, image) in images.clone().enumerate() {
            gather(self.shape, planes(image), pixels, columns.slice_mut(s![.., part(index, pixels)]));
        }
        matrix(taps, width, &buffer[..taps * width])
    }

    /// The gradients `(channels, pixels)` of a block, copied to `buffer` where they come from several images.
    fn gradients_of<'b, T: Scalar>(
        &self,
        dy: &'b [T],
        channels: Range<usize>,
        (images, pixels): &Block,
        buffer: &'b mut [T],
    ) -> ArrayView2<'b, T> {
        let plane = self.shape.out_pixels();
        let planes = |image: usize| {
            let first = image * self.shape.out_channels() + channels.start;
            matrix(channels.len(), plane, &dy[first * plane..(first + channels.len()) * plane])
                .slice_move(s![.., pixels.clone()])
        };
        if images.len() == 1 {
            return planes(images.start);
        }
        let (height, width) = (channels.len(), images.len() * pixels.len());
        let mut gradients = matrix_mut(height, width, &mut buffer[..height * width]);
        for (index, image) in images.clone().enumerate() {
            gradients.slice_mut(s![.., part(index, pixels)]).assign(&planes(image));
        }
        matrix(height, width, &buffer[..height * width])
    }
}

/// `y (images, channels, pixels) = overlays · columns`; several images take the way through `buffer`.
fn multiply_into<T: Scalar>(
    isa: Isa,
    overlays: ArrayView2<'_, T>,
    columns: ArrayView2<'_, T>,
    y: &mut ArrayViewMut3<'_, T>,
    buffer: &mut [T],
) {
    let (images, channels, pixels) = y.dim();
    if images == 1 {
        return T::product(isa, T::one(), overlays, columns, T::ZERO, y.index_axis_mut(Axis(0), 0));
    }
    let width = images * pixels;
    let mut product = matrix_mut(channels, width, &mut buffer[..channels * width]);
    T::product(isa, T::one(), overlays, columns, T::ZERO, product.view_mut());
    for (index, mut y) in y.outer_iter_mut().enumerate() {
        y.assign(&product.slice(s![.., part(index, &(0..pixels))]));
    }
}

/// The columns of image `index` of a block.
fn part(index: usize, pixels: &Range<usize>) -> Range<usize> {
    index * pixels.len()..(index + 1) * pixels.len()
}

fn shift(range: &Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}

fn matrix<T>(rows: usize, columns: usize, slice: &[T]) -> ArrayView2<'_, T> {
    ArrayView2::from_shape((rows, columns), slice).expect("the slice was cut to rows × columns")
}

fn matrix_mut<T>(rows: usize, columns: usize, slice: &mut [T]) -> ArrayViewMut2<'_, T> {
    ArrayViewMut2::from_shape((rows, columns), slice).expect("the slice was cut to rows × columns")
}
