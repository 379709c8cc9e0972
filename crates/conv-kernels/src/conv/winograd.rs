//! Winograd's minimal filtering for 3x3 kernels: [`Algorithm::Winograd`](crate::Algorithm::Winograd), of tiles of 2x2
//! outputs, and [`Algorithm::Winograd4`](crate::Algorithm::Winograd4), of 4x4.
//!
//! Four neighbouring outputs of a 3x3 kernel see 4x4 inputs. The definition makes 36 products of them; 16 are enough,
//! if inputs and kernels are transformed first:
//!
//! ```text
//! for each output channel o, input channel c        U[·, c, o] = G w[o, c] Gᵀ             16 numbers
//! for each band of tiles (of one image, or of several that are small)
//!     for each c, tile t                            V[·, c, t] = Bᵀ x[c, t] B             16 numbers
//!     for each point p of the 16                    M[p] = U[p]ᵀ V[p]                     a matrix product
//!     for each o, tile t                            y[o, t] = σ(Aᵀ M[·, o, t] A + b[o])   2x2 pixels
//! ```
//!
//! Tiles of 4x4 outputs have 6x6 inputs: 36 points, for 144 products by the definition.
//!
//! Cost: for each tile `16·C·O` multiply-adds instead of `36·C·O` (`36·C·O` instead of `144·C·O`), and the transforms:
//! 32 additions a tile and input channel, 24 a tile and output channel. They are few where both channels are many.
//!
//! # Rounding
//!
//! Sums are formed of transformed numbers, which may be larger than the result. With `u` half of `T::EPSILON`, and
//! `|x|`, `|w|` the largest numbers of an input channel and of a kernel:
//!
//! ```text
//! |error| ≤ (C + k)·u·κ·Σ |x|·|w|    over the C input channels of the group
//! ```
//!
//! `κ`, the square of the largest row sum of `|Aᵀ|·(|G| 1 ⊙ |Bᵀ| 1)`, says how far the transforms can enlarge numbers:
//! 64 for tiles of 2x2, and 877 for 4x4; 9 is the definition's. `k` counts the roundings on the longest way through the
//! transforms: 12, and 34. Errors in practice are much smaller, as those of sums are. The filters of 2x2 have halves
//! only, so small integers give exact results; those of 4x4 have thirds and fifths, and are never exact.
//!
//! A number that is not finite spreads to all outputs of the tiles that see it.
//!
//! Sources: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015 (arXiv 1509.09308), for the
//! method; Barabasz, Anderson, Soodhalter and Gregg, "Error Analysis and Improving the Accuracy of Winograd Convolution
//! for Deep Neural Networks", 2018 (arXiv 1803.10986), for its errors and the choice of points.

mod layout;

use std::ops::Range;

use ndarray::{ArrayViewMut3, Axis, s};

use super::direct::Overlays;
use super::{channel_unit, groups_within, pass_lanes};
use crate::plan::mirrored;
use crate::simd::Isa;
use crate::simd::tiles::{ROWS, activates, even_parts};
use crate::simd::winograd::{InputTransform, KernelTransform, OutputTransform, Product, TAPS, Tile};
use crate::threads::{Cell, Cuts, grid, lanes, view3};
use crate::{Conv2dShape, Epilogue, Scalar};
use layout::{GATHERED, Layout, SECTION, SWEEP};

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

/// Some tiles: rows of them, counted through the images of a cell, and columns.
struct Band {
    rows: Range<usize>,
    columns: Range<usize>,
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
    /// 3x3 kernels without gaps that slide by one.
    pub(crate) fn applies_to(shape: &Conv2dShape) -> bool {
        shape.kernel() == [3, 3] && shape.stride() == [1, 1] && shape.dilation() == [1, 1]
    }

    pub(crate) fn new(shape: Conv2dShape, tile: Tile, batch: usize, isa: Isa) -> Self {
        Self { shape, tile, batch, isa }
    }

    /// For the input gradient: the same with input and output exchanged. None if some padding is more than 2.
    pub(crate) fn mirrored(&self) -> Option<Self> {
        mirrored(&self.shape).map(|shape| Self { shape, ..*self })
    }

    fn layout<T: Scalar>(&self) -> Layout {
        Layout::new::<T>(&self.shape, self.tile, self.isa.lanes::<T>())
    }

    /// Scratch elements: transformed kernels, and what each cell needs.
    pub(crate) fn scratch_len<T: Scalar>(&self) -> usize {
        let layout = self.layout::<T>();
        let cells = pass_lanes(&self.shape, self.batch);
        self.tile.points() * layout.kernels_plane::<T>() + cells * layout.cell_lens::<T>().into_iter().sum::<usize>()
    }

    /// `y = σ(x ⋆ w + b)`.
    pub(crate) fn forward<T: Scalar>(
        &self,
        x: &[T],
        overlays: Overlays<'_, T>,
        epilogue: Epilogue<'_, T>,
        y: &mut [T],
        scratch: &mut [T],
    ) {
        let (layout, side) = (self.layout::<T>(), self.tile.side());
        let (kernels, cells) = scratch.split_at_mut(self.tile.points() * layout.kernels_plane::<T>());
        self.transform_kernels(&layout, overlays, kernels, cells);
        let call = Call { layout, x, kernels, epilogue };

        let dim = [self.batch, self.shape.out_channels(), self.shape.out_pixels()];
        let pixels = layout.band_rows.min(layout.rows) * side * self.shape.output()[1];
        let units = [layout.images(), channel_unit(&self.shape, dim[1], SECTION), pixels];
        let cuts = Cuts::new(pass_lanes(&self.shape, self.batch), dim, units, [0, 2, 1]);
        let cell_len = layout.cell_lens::<T>().into_iter().sum();
        grid(Cell::whole(view3(dim, y), cells), cuts, cell_len, &|cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            self.compute(&call, cell);
        });
    }

    /// `U`, in parallel: `(point, block of output channels, input channel, output channel in the block)`.
    fn transform_kernels<T: Scalar>(
        &self,
        layout: &Layout,
        overlays: Overlays<'_, T>,
        transformed: &mut [T],
        scratch: &mut [T],
    ) {
        let (plane, block_len) = (layout.kernels_plane::<T>(), layout.block_len::<T>());
        let gathered_len = TAPS * GATHERED * ROWS;
        let work = lanes((layout.groups * layout.depth * layout.maps * KERNEL_COST) as u64);
        let dim = [self.tile.points(), 1, plane];
        let units = [dim[0], 1, layout.blocks_of_unit() * block_len];
        let cuts = Cuts::new(work.min(pass_lanes(&self.shape, self.batch)), dim, units, [2, 1, 0]);
        let whole = Cell::whole(view3(dim, transformed), scratch);
        grid(whole, cuts, gathered_len, &|cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            let first = cell.start[2] / block_len;
            let count = (cell.view.len_of(Axis(2)) / block_len).min(layout.blocks() - first);
            let gathered = &mut cell.scratch[..gathered_len];
            let mut transformed = cell.view.index_axis_move(Axis(1), 0);
            for (block, index) in (first..first + count).enumerate() {
                let (group, maps) = layout.block(index);
                for channels in (0..layout.depth).step_by(GATHERED) {
                    let channels = channels..layout.depth.min(channels + GATHERED);
                    let first = block * block_len + channels.start * maps.len();
                    for (row, map) in maps.clone().enumerate() {
                        let map = group * layout.maps + map;
                        let pitches = [GATHERED * ROWS, maps.len()];
                        overlays.gather(&self.shape, map, channels.clone(), &mut gathered[row..], pitches);
                    }
                    let op = KernelTransform {
                        tile: self.tile,
                        kernels: gathered,
                        count: channels.len() * maps.len(),
                        transformed: transformed.slice_mut(s![.., first..(block + 1) * block_len]),
                    };
                    T::run(self.isa, op);
                }
            }
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
                for rows in (0..images * per_image).step_by(layout.band_rows) {
                    let rows = rows..(images * per_image).min(rows + layout.band_rows);
                    let band = Band { rows, columns: columns.clone(), per_image, top };
                    self.transform_inputs(call, group, first_image, &band, inputs, shared);
                    for first in within.clone().step_by(SWEEP) {
                        let sweep = first..within.end.min(first + SWEEP);
                        self.multiply(call, group, &sweep, band.tiles(), inputs, products);
                        let at = group * layout.maps + sweep.start - first_map;
                        let maps = y.slice_mut(s![.., at..at + sweep.len(), ..]);
                        self.transform_products(call, group * layout.maps + sweep.start, &band, products, shared, maps);
                    }
                }
            }
        }
    }

    /// `V` of a band, for all input channels of a group.
    fn transform_inputs<T: Scalar>(
        &self,
        call: &Call<'_, T>,
        group: usize,
        first_image: usize,
        band: &Band,
        inputs: &mut [T],
        strip: &mut [T],
    ) {
        let Call { layout, x, .. } = call;
        let (plane, pitch) = (layout.inputs_plane::<T>(), band.columns.len() * self.tile.side() + 2);
        for (image, rows, tile) in band.parts() {
            let first = (first_image + image) * self.shape.in_channels() + group * layout.depth;
            let channels = x.chunks_exact(self.shape.in_pixels()).skip(first).take(layout.depth);
            for (channel, pixels) in channels.enumerate() {
                let lines = rows.start * self.tile.side()..rows.end * self.tile.side() + 2;
                self.copy(pixels, lines, band.columns.start * self.tile.side(), pitch, strip);
                let op = InputTransform {
                    tile: self.tile,
                    strip,
                    pitch,
                    rows: rows.len(),
                    columns: band.columns.len(),
                    plane,
                    transformed: &mut inputs[channel * layout.pitch + tile..],
                };
                T::run(self.isa, op);
            }
        }
    }

    /// Copies lines of the bordered image, from column `left` on, into rows of `pitch` pixels.
    fn copy<T: Scalar>(&self, pixels: &[T], lines: Range<usize>, left: usize, pitch: usize, strip: &mut [T]) {
        let ([height, width], padding) = (self.shape.input(), self.shape.padding());
        let border = padding.left.saturating_sub(left).min(pitch);
        let first = left.saturating_sub(padding.left).min(width);
        let real = border..border + (width - first).min(pitch - border);
        for (line, to) in lines.zip(strip.chunks_exact_mut(pitch)) {
            match line.checked_sub(padding.top).filter(|&line| line < height) {
                None => to.fill(T::ZERO),
                Some(line) => {
                    to[..real.start].fill(T::ZERO);
                    to[real.clone()].copy_from_slice(&pixels[line * width + first..][..real.len()]);
                    to[real.end..].fill(T::ZERO);
                }
            }
        }
    }

    /// `M` of a band, for some output channels of a group.
    fn multiply<T: Scalar>(
        &self,
        call: &Call<'_, T>,
        group: usize,
        maps: &Range<usize>,
        tiles: usize,
        inputs: &[T],
        products: &mut [T],
    ) {
        let Call { layout, kernels, .. } = call;
        let block_len = layout.block_len::<T>();
        let points = kernels.chunks_exact(layout.kernels_plane::<T>());
        let points = points.zip(inputs.chunks_exact(layout.inputs_plane::<T>()));
        for ((kernels, inputs), products) in points.zip(products.chunks_exact_mut(layout.products_plane::<T>())) {
            for block in layout.blocks_within(group, maps) {
                let (_, rows) = layout.block(block);
                let op = Product {
                    kernels: &kernels[block * block_len..],
                    rows: rows.len(),
                    depth: layout.depth,
                    inputs,
                    count: tiles,
                    pitch: layout.pitch,
                    products: &mut products[(rows.start - maps.start) * layout.pitch..],
                };
                T::run(self.isa, op);
            }
        }
    }

    /// Pixels from `M`: those of a band, in some output channels, of which `first_map` is the first.
    fn transform_products<T: Scalar>(
        &self,
        call: &Call<'_, T>,
        first_map: usize,
        band: &Band,
        products: &[T],
        pixels: &mut [T],
        mut y: ArrayViewMut3<'_, T>,
    ) {
        let (Call { layout, epilogue, .. }, side) = (call, self.tile.side());
        let [height, width] = self.shape.output();
        let columns = band.columns.start * side..width.min(band.columns.end * side);
        let (pitch, line_len) = (layout.pitch * side, band.columns.len() * side);
        for map in 0..y.len_of(Axis(1)) {
            let op = OutputTransform {
                tile: self.tile,
                products: &products[map * layout.pitch..],
                plane: layout.products_plane::<T>(),
                count: band.tiles(),
                bias: epilogue.bias.map_or(T::ZERO, |bias| bias[first_map + map]),
                activation: epilogue.activation,
                rows: &mut pixels[..side * pitch],
            };
            T::run(self.isa, op);
            for (image, rows, tile) in band.parts() {
                let mut y = y.slice_mut(s![image, map, ..]);
                let y = y.as_slice_mut().expect("the pixels of a feature map are contiguous");
                for (index, row) in (rows.start * side..height.min(rows.end * side)).enumerate() {
                    let from = index % side * pitch + tile * side + index / side * line_len;
                    let to = &mut y[(row - band.top * side) * width..][columns.clone()];
                    to.copy_from_slice(&pixels[from..][..columns.len()]);
                    if !activates(epilogue.activation) {
                        epilogue.activation.apply(to);
                    }
                }
            }
        }
    }
}
