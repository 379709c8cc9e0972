//! Convolutions as matrix products: [`Algorithm::Im2col`] and [`Algorithm::Pointwise`].
//!
//! ```text
//! forward:          y  =  W · columns                   the columns of several images side by side
//! input gradient:   columns  =  Wᵀ · dy                 added back to the pixels that they came from
//! weight gradient:  dW  =  Σ dy · columnsᵀ              over the images
//! ```
//!
//! Output pixels are taken block by block: several images where these are small, a strip of one image's pixels where
//! it is large, so that the column matrix of a block stays in the cache. A 1x1 kernel needs no column matrix: the
//! image is one.
//!
//! An element of a product depends on its own row and column alone, so the bits of one image do not depend on its
//! company. Where the order of additions does depend on the blocks (the input gradient), these follow from the shape.
//!
//! Cost: the multiply-adds of the definition at the speed of [`gemm`](crate::gemm()), which packs each block of columns once
//! for every 256 output channels; and two passes over the column matrix, where there is one.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayView3, ArrayViewMut3, Axis, s};

use super::columns::{Gather, Scatter};
use super::definition::{self, add_mended};
use super::{ENOUGH_ROWS, Partials, channel_unit, finish, groups_within, pass_lanes};
use crate::scratch::aligned;
use crate::simd::Isa;
use crate::simd::tiles::even_parts;
use crate::threads::{Cell, Cuts, grid, view3};
use crate::{Activation, Algorithm, Conv2dShape, Epilogue, Scalar};

/// Bytes that a block's column matrix may take.
const BLOCK_BYTES: usize = 1 << 20;

/// Bytes of a block's output where there is no column matrix: what is still in the cache when bias and activation follow.
const OUTPUT_BYTES: usize = 512 << 10;

/// Such a block has at least so many columns.
const MIN_OUTPUT_COLUMNS: usize = 384;

/// A block has at least this many columns where there are so many: narrower products spend their time in packing.
const MIN_COLUMNS: usize = 64;

/// So many columns are worth the copy of the weights that a cell makes.
const ENOUGH_COLUMNS: usize = 768;

/// Bytes of all partial gradients of sums over images, which are read and written once for a few of these: the fewer, the
/// longer the second cache holds what a cell has of them.
const SUMS_BYTES: usize = 2 << 20;

/// Smaller images than this are joined for sums over their pixels.
const ENOUGH_PIXELS: usize = 32;

/// Until they have so many.
const ENOUGH_DEPTH: usize = 192;

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

    /// Columns of the largest block that has a column matrix.
    fn columns<T>(&self) -> usize {
        (BLOCK_BYTES / self.shape.taps().saturating_mul(size_of::<T>()) / 16 * 16).max(MIN_COLUMNS)
    }

    /// The blocks of `images`, of which each has the pixels `run`: of about `most` columns, unless they have a column
    /// matrix.
    fn blocks<T>(&self, images: Range<usize>, run: Range<usize>, most: usize) -> impl Iterator<Item = Block> + use<T> {
        let (together, strip) = if self.pointwise {
            (most.div_ceil(run.len()), most)
        } else {
            (self.columns::<T>() / run.len(), self.columns::<T>())
        };
        blocks(images, run, together, strip)
    }

    /// Images, and pixels of each, in a block of a sum over pixels: the most.
    fn deep<T>(&self) -> [usize; 2] {
        let pixels = self.shape.out_pixels();
        let [together, strip] = if self.sums_images() {
            [1, pixels]
        } else if self.pointwise {
            [ENOUGH_DEPTH.div_ceil(pixels), pixels]
        } else {
            [self.columns::<T>() / pixels, self.columns::<T>()]
        };
        [together.min(self.batch).max(1), strip.min(pixels)]
    }

    /// The blocks of the batch for sums over pixels.
    fn deep_blocks<T>(&self) -> impl Iterator<Item = Block> + use<T> {
        let [together, strip] = self.deep::<T>();
        blocks(0..self.batch, 0..self.shape.out_pixels(), together, strip)
    }

    /// Scratch elements for the column matrix of one block.
    fn block_len<T: Scalar>(&self) -> usize {
        let width = self.columns::<T>().min(self.batch * self.shape.out_pixels());
        if self.pointwise { 0 } else { aligned::<T>(self.shape.taps() * width) }
    }

    /// The same for sums over pixels, and those for the gradients of several images.
    fn deep_lens<T: Scalar>(&self) -> [usize; 2] {
        let [together, strip] = self.deep::<T>();
        let width = |needed| if needed { together * strip } else { 0 };
        let columns = self.shape.taps() * width(together > 1 || !self.pointwise);
        [aligned::<T>(columns), aligned::<T>(self.group().1 * width(together > 1))]
    }

    /// Scratch elements for the forward pass and the input gradient.
    pub(crate) fn scratch_len<T: Scalar>(&self) -> usize {
        pass_lanes(self.shape, self.batch) * self.block_len::<T>()
    }

    /// Scratch elements for the weight gradient.
    pub(crate) fn weight_gradient_scratch_len<T: Scalar>(&self) -> usize {
        self.partials::<T>().scratch_len::<T>()
    }

    /// Where a pass is cut whose output is `dim`, (images, channels, pixels). With a column matrix: channels and pixels in such
    /// units, but channels last, since each cell makes its own matrix. Without one each cell copies its weights for all of
    /// its columns, and its columns for all of its weights: it should have many of both.
    fn cuts(&self, dim: [usize; 3], channels: usize, pixels: usize) -> Cuts {
        let work = pass_lanes(self.shape, self.batch);
        if !self.pointwise {
            let units = [1, channel_unit(self.shape, dim[1], channels), pixels];
            return Cuts::new(work, dim, units, [0, 2, 1]);
        }
        let images = ENOUGH_COLUMNS.div_ceil(dim[2]).min(dim[0]).max(1);
        let pixels = pixels.max(ENOUGH_COLUMNS / images).min(dim[2]);
        let units = [images, channel_unit(self.shape, dim[1], 2 * ENOUGH_ROWS), pixels];
        Cuts::new(work, dim, units, [0, 1, 2])
    }

    /// `y = σ(W · columns + b)`, block by block.
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
        let whole = Cell::whole(view3(dim, y), scratch);
        let cuts = self.cuts(dim, ENOUGH_ROWS, MIN_COLUMNS);
        grid(whole, cuts, self.block_len::<T>(), &|cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            let Cell { view: mut y, start: [first_image, first_map, first_pixel], scratch } = cell;
            let (images, channels, pixels) = y.dim();
            // The bias is added on the way: without an activation there is no reason to stop.
            let most = match epilogue.activation {
                Activation::Identity => usize::MAX,
                _ => (OUTPUT_BYTES / (channels * size_of::<T>())).max(MIN_OUTPUT_COLUMNS),
            };
            for (images, pixels) in self.blocks::<T>(0..images, 0..pixels, most) {
                for (group, within) in groups_within(first_map..first_map + channels, maps) {
                    let shifted = (shift(&images, first_image), shift(&pixels, first_pixel));
                    let columns = self.columns_of(x, group, &shifted, scratch);
                    let first = group * maps + within.start;
                    let overlays = self.overlays(weight, first..group * maps + within.end);
                    let bias = epilogue.bias.map(|bias| &bias[first..first + within.len()]);
                    let first = first - first_map;
                    let mut y = y.slice_mut(s![images.clone(), first..first + within.len(), pixels.clone()]);
                    let overlays = overlays.insert_axis(Axis(0));
                    T::product(self.isa, T::one(), overlays, columns, T::ZERO, bias, y.view_mut());
                    finish(Epilogue { bias: None, ..epilogue }, &mut y, first_map + first);
                }
            }
        });
    }

    /// `dx`: the columns `Wᵀ · dy`, added back to the pixels that they came from.
    pub(crate) fn input_gradient<T: Scalar>(&self, dy: &[T], weight: &[T], dx: &mut [T], scratch: &mut [T]) {
        let (depth, maps) = self.group();
        let dim = [self.batch, self.shape.in_channels(), self.shape.in_pixels()];
        // Underlays overlap, so images are not cut into strips here, but into channels, of which each makes a row for
        // every kernel element.
        let elements = self.shape.kernel()[0] * self.shape.kernel()[1];
        let cuts = self.cuts(dim, ENOUGH_ROWS.div_ceil(elements), dim[2]);
        let whole = Cell::whole(view3(dim, dx), scratch);
        grid(whole, cuts, self.block_len::<T>(), &|cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            let Cell { view: mut dx, start: [first_image, first_channel, _], scratch } = cell;
            let (images, channels, _) = dx.dim();
            if !self.pointwise {
                dx.fill(T::ZERO);
            }
            for (images, pixels) in self.blocks::<T>(0..images, 0..self.shape.out_pixels(), usize::MAX) {
                for (group, within) in groups_within(first_channel..first_channel + channels, depth) {
                    let of_group = group * maps..(group + 1) * maps;
                    let dy = self.gradients_of(dy, of_group.clone(), &(shift(&images, first_image), pixels.clone()));
                    let taps = within.start * elements..within.end * elements;
                    let overlays = self.overlays(weight, of_group).slice_move(s![.., taps]).reversed_axes();
                    let overlays = overlays.insert_axis(Axis(0));
                    let first = group * depth + within.start - first_channel;
                    let mut dx = dx.slice_mut(s![images.clone(), first..first + within.len(), ..]);
                    if self.pointwise {
                        T::product(self.isa, T::one(), overlays, dy, T::ZERO, None, dx);
                        continue;
                    }
                    let rows = overlays.len_of(Axis(1));
                    let columns = &mut scratch[..rows * images.len() * pixels.len()];
                    let target = by_image_mut(rows, images.len(), columns);
                    T::product(self.isa, T::one(), overlays, dy, T::ZERO, None, target);
                    let columns = by_image(rows, images.len(), columns);
                    for (columns, mut dx) in columns.outer_iter().zip(dx.outer_iter_mut()) {
                        let image = dx.as_slice_mut().expect("whole channels of one image are contiguous");
                        T::run(self.isa, Scatter { shape: self.shape, columns, pixels: &pixels, image });
                    }
                }
            }
        });
    }

    /// `dweight += Σ dy · columnsᵀ` over the blocks of the batch.
    pub(crate) fn weight_gradient<T: Scalar>(&self, x: &[T], dy: &[T], dweight: &mut [T], scratch: &mut [T]) {
        let (_, maps) = self.group();
        let sum = self.partials::<T>().sum(scratch, &|blocks, first_map, mut partial, scratch| {
            for (group, within) in groups_within(first_map..first_map + partial.nrows(), maps) {
                let of_cell = group * maps + within.start..group * maps + within.end;
                let rows = of_cell.start - first_map..of_cell.end - first_map;
                let mut sums = partial.slice_mut(s![rows, ..]).insert_axis(Axis(0));
                let mut add = |dy: ArrayView3<'_, T>, columns: ArrayView3<'_, T>, beta: T| {
                    let columns = columns.permuted_axes([0, 2, 1]);
                    T::product(self.isa, T::one(), dy, columns, beta, None, sums.view_mut());
                };
                if self.sums_images() {
                    let images = (blocks.clone(), 0..self.shape.out_pixels());
                    add(self.gradients_of(dy, of_cell, &images), self.underlays(x, group, &images), T::ZERO);
                    continue;
                }
                let (columns, gradients) = scratch.split_at_mut(self.deep_lens::<T>()[0]);
                let mut beta = T::ZERO;
                for block in self.deep_blocks::<T>().skip(blocks.start).take(blocks.len()) {
                    let columns = if self.pointwise {
                        side_by_side(self.underlays(x, group, &block), columns)
                    } else {
                        self.column_matrix(x, group, &block, columns)
                    };
                    let dy = side_by_side(self.gradients_of(dy, of_cell.clone(), &block), gradients);
                    add(dy.insert_axis(Axis(0)), columns.insert_axis(Axis(0)), beta);
                    beta = T::one();
                }
            }
        });
        add_mended(dweight, sum, &|weight| definition::weight_gradient(self.shape, x, dy, weight));
    }

    /// Whether sums over pixels need neither a column matrix nor joined images: then each block is an image.
    fn sums_images(&self) -> bool {
        self.pointwise && self.shape.out_pixels() >= ENOUGH_PIXELS
    }

    /// How the weight gradient's blocks are shared out.
    fn partials<T: Scalar>(&self) -> Partials {
        let blocks = self.deep_blocks::<T>().count();
        let partials = Partials::of_weights::<T>(self.shape, self.batch, blocks, self.deep_lens::<T>().iter().sum());
        if self.sums_images() { partials.within::<T>(SUMS_BYTES) } else { partials }
    }

    /// The overlays of the given output channels, one a row.
    fn overlays<'w, T: Scalar>(&self, weight: &'w [T], channels: Range<usize>) -> ArrayView2<'w, T> {
        let taps = self.shape.taps();
        matrix(channels.len(), taps, &weight[channels.start * taps..channels.end * taps])
    }

    /// The columns `(images, taps, pixels)` of a block and a group, made in `buffer` where they have to be made.
    fn columns_of<'b, T: Scalar>(
        &self,
        x: &'b [T],
        group: usize,
        block: &Block,
        buffer: &'b mut [T],
    ) -> ArrayView3<'b, T> {
        if self.pointwise {
            return self.underlays(x, group, block);
        }
        let columns = self.column_matrix(x, group, block, buffer);
        let columns = columns.to_slice().expect("the column matrix is contiguous");
        by_image(self.shape.taps(), block.0.len(), columns)
    }

    /// The column matrix `(taps, pixels)` of a block and a group.
    fn column_matrix<'b, T: Scalar>(
        &self,
        x: &[T],
        group: usize,
        (images, pixels): &Block,
        buffer: &'b mut [T],
    ) -> ArrayView2<'b, T> {
        let (depth, plane, taps) = (self.group().0, self.shape.in_pixels(), self.shape.taps());
        let buffer = &mut buffer[..taps * images.len() * pixels.len()];
        for (image, columns) in images.clone().zip(by_image_mut(taps, images.len(), buffer).outer_iter_mut()) {
            let first = image * self.shape.in_channels() + group * depth;
            let image = &x[first * plane..(first + depth) * plane];
            T::run(self.isa, Gather { shape: self.shape, image, pixels, columns });
        }
        matrix(taps, images.len() * pixels.len(), buffer)
    }

    /// The pixels `(images, channels, pixels)` of a block and a group, for kernels that see one pixel.
    fn underlays<'b, T: Scalar>(&self, x: &'b [T], group: usize, block: &Block) -> ArrayView3<'b, T> {
        let (depth, dim) = (self.group().0, [self.shape.in_channels(), self.shape.in_pixels()]);
        channels_of(x, dim, group * depth..(group + 1) * depth, block)
    }

    /// The gradients `(images, channels, pixels)` of a block.
    fn gradients_of<'b, T: Scalar>(&self, dy: &'b [T], channels: Range<usize>, block: &Block) -> ArrayView3<'b, T> {
        channels_of(dy, [self.shape.out_channels(), self.shape.out_pixels()], channels, block)
    }
}

/// Images, as many as `together`, at most, and pixels of `run`, at most `strip`.
fn blocks(images: Range<usize>, run: Range<usize>, together: usize, strip: usize) -> impl Iterator<Item = Block> {
    even_parts(images.len(), together.max(1)).flat_map(move |some| {
        let images = shift(&some, images.start);
        even_parts(run.len(), strip).map(move |part| (images.clone(), shift(&part, run.start)))
    })
}

/// Some channels of a block, `(images, channels, pixels)`, of maps `dim` (channels, pixels) an image.
fn channels_of<'b, T>(
    maps: &'b [T],
    dim: [usize; 2],
    channels: Range<usize>,
    (images, pixels): &Block,
) -> ArrayView3<'b, T> {
    let all = ArrayView3::from_shape((maps.len() / (dim[0] * dim[1]), dim[0], dim[1]), maps);
    all.expect("public functions check lengths first").slice_move(s![images.clone(), channels, pixels.clone()])
}

/// `(images, channels, pixels)` as a matrix `(channels, pixels of all images)`, made in `buffer` where there are several.
fn side_by_side<'b, T: Scalar>(maps: ArrayView3<'b, T>, buffer: &'b mut [T]) -> ArrayView2<'b, T> {
    let (images, channels, pixels) = maps.dim();
    if images == 1 {
        return maps.index_axis_move(Axis(0), 0);
    }
    let buffer = &mut buffer[..channels * images * pixels];
    by_image_mut(channels, images, buffer).assign(&maps);
    matrix(channels, images * pixels, buffer)
}

/// A matrix of `rows`, whose columns belong to several images, one after the other, as `(images, rows, columns)`.
fn by_image<T>(rows: usize, images: usize, slice: &[T]) -> ArrayView3<'_, T> {
    let dim = (rows, images, slice.len() / (rows * images));
    ArrayView3::from_shape(dim, slice).expect("rows have columns of all images").permuted_axes([1, 0, 2])
}

/// The same, to be written.
fn by_image_mut<T>(rows: usize, images: usize, slice: &mut [T]) -> ArrayViewMut3<'_, T> {
    let dim = (rows, images, slice.len() / (rows * images));
    ArrayViewMut3::from_shape(dim, slice).expect("rows have columns of all images").permuted_axes([1, 0, 2])
}

fn shift(range: &Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}

fn matrix<T>(rows: usize, columns: usize, slice: &[T]) -> ArrayView2<'_, T> {
    ArrayView2::from_shape((rows, columns), slice).expect("the slice was cut to rows × columns")
}
