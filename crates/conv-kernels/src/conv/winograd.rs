//! Winograd's minimal filtering for 3x3 kernels: [`Algorithm::Winograd`](crate::Algorithm::Winograd), of tiles of 2x2
//! outputs, and [`Algorithm::Winograd4`](crate::Algorithm::Winograd4), of 4x4.
//!
//! Four neighbouring outputs of a 3x3 kernel see 4x4 inputs. The definition makes 36 products of them; 16 are enough,
//! if inputs and kernels are transformed first:
//!
//! ```text
//! for each output channel o, input channel c            U[·, c, o] = G w[o, c] Gᵀ             16 numbers
//! for each band of tiles t (of one image, or of several that are small)
//!     for each c, t                                     V[·, c, t] = Bᵀ x[c, t] B             16 numbers
//!     for each part of the output channels o
//!         for each point p of the 16                    M[p] = U[p]ᵀ V[p]                     a matrix product
//!         for each o, t                                 y[o, t] = σ(Aᵀ M[·, o, t] A + b[o])   2x2 pixels
//! ```
//!
//! Vectors lie along the channels everywhere, so the size of an image does not matter. Bands are so small that `V` and
//! the `M` of a part about fit the second cache, but not so small that `U`, which passes by once a band, holds them up.
//! Each `M[p, o, t]` is one chain of multiply-adds through the input channels.
//!
//! Tiles of 4x4 outputs have 6x6 inputs: 36 points, for 144 products by the definition.
//!
//! Cost: for each tile `16·C·O` multiply-adds instead of `36·C·O` (`36·C·O` instead of `144·C·O`), and the transforms:
//! 32 additions a tile and input channel, 24 a tile and output channel, and the turning of pixels from rows into vectors
//! of channels and back. They are few where both channels are many.
//!
//! # Rounding
//!
//! Sums are formed of transformed numbers, which may be larger than the result. With `u` half of `T::EPSILON`, and
//! `|x|`, `|w|` the largest numbers of an input channel and of a kernel:
//!
//! ```text
//! |error| ≤ (C + k)·u·κ·Σ |x|·|w|    over the C input channels of the group, to first order in u
//! ```
//!
//! `κ`, the square of the largest row sum of `|Aᵀ|·(|G| 1 ⊙ |Bᵀ| 1)`, says how far the transforms can enlarge numbers:
//! 64 for tiles of 2x2, and 877 for 4x4; 9 is the definition's. `k` counts the roundings on the longest way through the
//! transforms: 12, and 24. Errors in practice are much smaller, as those of sums are. The filters of 2x2 have halves
//! only, so small integers give exact results; those of 4x4 have thirds and fifths, and are never exact.
//!
//! A number that is not finite spreads to all outputs of the tiles that see it.
//!
//! Sources: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015 (arXiv 1509.09308), for the
//! method; Barabasz, Anderson, Soodhalter and Gregg, "Error Analysis and Improving the Accuracy of Winograd Convolution
//! for Deep Neural Networks", 2018 (arXiv 1803.10986), for its errors and the choice of points.

mod layout;

use std::ops::Range;

use ndarray::{ArrayViewMut3, s};

use super::direct::Overlays;
use super::{channel_unit, groups_within, pass_lanes};
use crate::plan::mirrored;
use crate::simd::Isa;
use crate::simd::tiles::{activates, even_parts};
use crate::simd::winograd::{InputTransform, KernelTransform, OutputTransform, Product, Tile};
use crate::threads::{Cell, Cuts, grid, lanes, rows, view3};
use crate::{Conv2dShape, Epilogue, Scalar};
use layout::{Layout, SECTION};

/// What transforming a kernel costs, in multiply-adds of the products.
const KERNEL_COST: usize = 256;

/// The forward pass of a 3x3 convolution, or of the mirrored one: then it is the input gradient.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Winograd {
    shape: Conv2dShape,
    tile: Tile,
    batch: usize,
    isa: Isa,
}

/// What the cells of a call share.
struct Call<'a, T> {
    layout: Layout,
    x: &'a [T],
    kernels: &'a [T],
    epilogue: Epilogue<'a, T>,
}

/// Some tiles: rows of them, counted through the images of a cell, and columns; and the group of channels they are for.
struct Band {
    group: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    /// The first image of the cell.
    first_image: usize,
    /// Rows of tiles of an image that lie in the cell, and the first of them.
    per_image: usize,
    top: usize,
}

impl Band {
    /// The parts of the band that lie in one image each: the image, rows of tiles of it, and the band's first tile there.
    fn parts(&self) -> impl Iterator<Item = (usize, Range<usize>, usize)> {
        let mut before = 0;
        groups_within(self.rows.clone(), self.per_image).map(move |(image, rows)| {
            let first = before;
            before += rows.len() * self.columns.len();
            (image, self.top + rows.start..self.top + rows.end, first)
        })
    }

    fn tiles(&self) -> usize {
        self.rows.len() * self.columns.len()
    }
}

impl Winograd {
    /// Kernels as large as the tile's, without gaps, that slide by one.
    pub(crate) fn applies_to(shape: &Conv2dShape, tile: Tile) -> bool {
        shape.kernel() == [tile.kernel(); 2] && shape.stride() == [1, 1] && shape.dilation() == [1, 1]
    }

    pub(crate) fn new(shape: Conv2dShape, tile: Tile, batch: usize, isa: Isa) -> Self {
        Self { shape, tile, batch, isa }
    }

    /// For the input gradient: the same with input and output exchanged. None if some padding is more than 2.
    pub(crate) fn mirrored(&self) -> Option<Self> {
        mirrored(&self.shape).map(|shape| Self { shape, ..*self })
    }

    fn layout<T: Scalar>(&self) -> Layout {
        Layout::new::<T>(&self.shape, self.tile, self.isa)
    }

    /// Elements of the transformed kernels.
    pub(crate) fn kernels_len<T: Scalar>(&self) -> usize {
        let layout = self.layout::<T>();
        layout.groups * layout.blocks() * layout.kernels_block::<T>()
    }

    /// Scratch elements: what each cell needs.
    pub(crate) fn scratch_len<T: Scalar>(&self) -> usize {
        let layout = self.layout::<T>();
        let cells = pass_lanes(&self.shape, self.batch);
        cells * layout.cell_lens::<T>().into_iter().sum::<usize>()
    }

    /// `y = σ(x ⋆ w + b)`, the kernels transformed by [`Winograd::transform_kernels`].
    pub(crate) fn forward<T: Scalar>(
        &self,
        x: &[T],
        kernels: &[T],
        epilogue: Epilogue<'_, T>,
        y: &mut [T],
        scratch: &mut [T],
    ) {
        let (layout, side) = (self.layout::<T>(), self.tile.side());
        let call = Call { layout, x, kernels, epilogue };

        let dim = [self.batch, self.shape.out_channels(), self.shape.out_pixels()];
        let pixels = layout.band_rows.min(layout.rows) * side * self.shape.output()[1];
        let units = [layout.images(), channel_unit(&self.shape, dim[1], SECTION), pixels];
        let cuts = Cuts::new(pass_lanes(&self.shape, self.batch), dim, units, [0, 2, 1]);
        let cell_len = layout.cell_lens::<T>().into_iter().sum();
        grid(Cell::whole(view3(dim, y), scratch), cuts, cell_len, &|cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            self.compute(&call, cell);
        });
    }

    /// `U`, in parallel: `(block of output channels, point, input channel, output channel in the block)`.
    pub(crate) fn transform_kernels<T: Scalar>(&self, overlays: Overlays<'_, T>, transformed: &mut [T]) {
        let layout = &self.layout::<T>();
        let [_, _, cell_len] = layout.cell_lens::<T>();
        let work = lanes((layout.groups * layout.depth * layout.maps * KERNEL_COST) as u64);
        let dim = [layout.groups, layout.blocks(), layout.kernels_block::<T>()];
        let cuts = Cuts::new(work, dim, [1, 1, dim[2]], [0, 1, 2]);
        let whole = Cell::whole(view3(dim, &mut transformed[..self.kernels_len::<T>()]), &mut [][..]);
        grid(whole, cuts, 0, &|mut cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            T::with_scratch(cell_len, |turned| {
                for ([group, index], transformed) in rows(&mut cell.view, cell.start) {
                    let (channels, width) = layout.block(index);
                    for first in (0..width).step_by(layout.lanes) {
                        let map = group * layout.maps + channels.start + first;
                        let (kernels, pitches) = overlays.kernels(&self.shape, map, 0);
                        let op = KernelTransform {
                            tile: self.tile,
                            kernels,
                            pitches,
                            rotated: overlays.rotated(),
                            maps: layout.lanes.min(channels.len() - first),
                            channels: layout.depth,
                            turned: &mut *turned,
                            width,
                            plane: layout.kernels_plane::<T>(),
                            transformed: &mut transformed[first..],
                        };
                        T::run(self.isa, op);
                    }
                }
            });
        });
    }

    /// A cell of the output.
    fn compute<T: Scalar>(&self, call: &Call<'_, T>, cell: Cell<'_, ArrayViewMut3<'_, T>, T>) {
        let Call { layout, .. } = call;
        let Cell { view: mut y, start: [first_image, first_map, first_pixel], scratch } = cell;
        let [inputs_len, products_len, _] = layout.cell_lens::<T>();
        let (inputs, rest) = scratch.split_at_mut(inputs_len);
        let (products, shared) = rest.split_at_mut(products_len);
        let (images, maps, pixels) = y.dim();
        let (side, width) = (self.tile.side(), self.shape.output()[1]);
        let (top, per_image) = (first_pixel / width / side, (pixels / width).div_ceil(side));
        for (group, within) in groups_within(first_map..first_map + maps, layout.maps) {
            for columns in even_parts(layout.columns, layout.band_columns) {
                for rows in even_parts(images * per_image, layout.band_rows) {
                    let band = Band { group, rows, columns: columns.clone(), first_image, per_image, top };
                    self.transform_inputs(call, &band, inputs, shared);
                    for first in within.clone().step_by(SECTION) {
                        let part = first..within.end.min(first + SECTION);
                        self.multiply(call, &band, &part, inputs, products);
                        let at = group * layout.maps + first - first_map;
                        let maps = y.slice_mut(s![.., at..at + part.len(), ..]);
                        self.transform_products(call, &band, &part, products, shared, maps);
                    }
                }
            }
        }
    }

    /// `V` of a band: `(point, vector of input channels, tile, channel in it)`.
    fn transform_inputs<T: Scalar>(&self, call: &Call<'_, T>, band: &Band, inputs: &mut [T], turned: &mut [T]) {
        let Call { layout, x, .. } = call;
        let ([height, width], padding) = (self.shape.input(), self.shape.padding());
        let (left, columns) = seen(&band.columns, self.tile, padding.left, width);
        for (image, rows, tile) in band.parts() {
            let (above, lines) = seen(&rows, self.tile, padding.top, height);
            let first = (band.first_image + image) * self.shape.in_channels() + band.group * layout.depth;
            for vector in 0..layout.vectors() {
                let channel = vector * layout.lanes;
                let pixels = (first + channel) * height * width + lines.start * width + columns.start;
                let op = InputTransform {
                    tile: self.tile,
                    pixels: &x[pixels..],
                    channel_pitch: height * width,
                    line_pitch: width,
                    channels: layout.lanes.min(layout.depth - channel),
                    window: [lines.len(), columns.len()],
                    border: [above, left],
                    tiles: [rows.len(), band.columns.len()],
                    turned,
                    plane: layout.inputs_plane::<T>(),
                    transformed: &mut inputs[vector * layout.inputs_pitch::<T>() + tile * layout.lanes..],
                };
                T::run(self.isa, op);
            }
        }
    }

    /// `M` of a band, for some output channels of a group: `(block, point, tile, channel in it)`.
    fn multiply<T: Scalar>(
        &self,
        call: &Call<'_, T>,
        band: &Band,
        maps: &Range<usize>,
        inputs: &[T],
        products: &mut [T],
    ) {
        let Call { layout, kernels, .. } = call;
        let blocks = layout.blocks_within(maps);
        for (point, inputs) in inputs.chunks_exact(layout.inputs_plane::<T>()).enumerate() {
            for (index, products) in blocks.clone().zip(products.chunks_exact_mut(layout.products_block::<T>())) {
                let block = band.group * layout.blocks() + index;
                let op = Product {
                    kernels: &kernels[block * layout.kernels_block::<T>() + point * layout.kernels_plane::<T>()..],
                    width: layout.block(index).1,
                    depth: layout.depth,
                    inputs,
                    pitch: layout.inputs_pitch::<T>(),
                    tiles: band.tiles(),
                    products: &mut products[point * layout.products_plane::<T>()..],
                };
                T::run(self.isa, op);
            }
        }
    }

    /// Pixels from `M`: those of a band, in some output channels of a group.
    fn transform_products<T: Scalar>(
        &self,
        call: &Call<'_, T>,
        band: &Band,
        maps: &Range<usize>,
        products: &[T],
        pixels: &mut [T],
        mut y: ArrayViewMut3<'_, T>,
    ) {
        let (Call { layout, epilogue, .. }, side) = (call, self.tile.side());
        let [height, width] = self.shape.output();
        let columns = band.columns.start * side..width.min(band.columns.end * side);
        for (block, products) in layout.blocks_within(maps).zip(products.chunks_exact(layout.products_block::<T>())) {
            let (channels, block_width) = layout.block(block);
            let all = band.group * layout.maps + channels.start..band.group * layout.maps + channels.end;
            let channels = channels.start - maps.start..channels.end - maps.start;
            for (image, rows, tile) in band.parts() {
                let lines = rows.start * side..height.min(rows.end * side);
                let op = OutputTransform {
                    tile: self.tile,
                    products: &products[tile * block_width..],
                    plane: layout.products_plane::<T>(),
                    width: block_width,
                    tiles: [rows.len(), band.columns.len()],
                    bias: epilogue.bias.map(|bias| &bias[all.clone()]),
                    activation: epilogue.activation,
                    pixels,
                    maps: y.slice_mut(s![image, channels.clone(), ..]),
                    window: [lines.len(), columns.len()],
                    first: (lines.start - band.top * side) * width + columns.start,
                    line_pitch: width,
                };
                T::run(self.isa, op);
            }
        }
        self.activate(call, band, y);
    }

    /// σ for the pixels of a band, where no vector can do it.
    fn activate<T: Scalar>(&self, call: &Call<'_, T>, band: &Band, mut y: ArrayViewMut3<'_, T>) {
        let (activation, side) = (call.epilogue.activation, self.tile.side());
        if activates(activation) {
            return;
        }
        let [height, width] = self.shape.output();
        let columns = band.columns.start * side..width.min(band.columns.end * side);
        for (image, rows, _) in band.parts() {
            for line in rows.start * side..height.min(rows.end * side) {
                let first = (line - band.top * side) * width;
                let mut lines = y.slice_mut(s![image, .., first + columns.start..first + columns.end]);
                for mut line in lines.rows_mut() {
                    activation.apply(line.as_slice_mut().expect("the pixels of a feature map are contiguous"));
                }
            }
        }
    }
}

/// Of the pixels under some tiles, along one dimension: how many lie before the image, and which of its pixels follow.
fn seen(tiles: &Range<usize>, tile: Tile, padding: usize, len: usize) -> (usize, Range<usize>) {
    let (first, end) = (tiles.start * tile.side(), tiles.end * tile.side() + tile.kernel() - 1);
    let (start, end) = (first.saturating_sub(padding).min(len), end.saturating_sub(padding).min(len));
    (padding.saturating_sub(first), if start < end { start..end } else { 0..0 })
}
