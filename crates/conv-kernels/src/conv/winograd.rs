//! Winograd's minimal filtering for 3x3 kernels: [`Algorithm::Winograd`](crate::Algorithm::Winograd), of tiles of 2x2
//! outputs, and [`Algorithm::Winograd4`](crate::Algorithm::Winograd4), of 4x4.
//!
//! Four neighbouring outputs of a 3x3 kernel see 4x4 inputs. The definition makes 36 products of them; 16 are enough,
//! if inputs and kernels are transformed first:
//!
//! ```text
//! for each output channel o, input channel c            U[·, c, o] = G w[o, c] Gᵀ             16 numbers
//! for each band of tiles t (of one image, or of several that are small)
//!     for each part of the output channels o
//!         for each part of the input channels c
//!             for each c, t                             V[·, c, t] = Bᵀ x[c, t] B             16 numbers
//!             for each point p of the 16                M[p] += U[p]ᵀ V[p]                    a matrix product
//!         for each o, t                                 y[o, t] = σ(Aᵀ M[·, o, t] A + b[o])   2x2 pixels
//! ```
//!
//! Parts and bands are so small that `V` and `M` about fit the second cache; where there are several parts of input
//! channels, `V` is made anew for each part of the output channels instead of being kept farther away.
//! Each `M[p, o, t]` is one chain of multiply-adds through the input channels, whatever the parts.
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

use ndarray::{ArrayViewMut3, Axis, s};

use super::direct::Overlays;
use super::{channel_unit, groups_within, pass_lanes};
use crate::plan::mirrored;
use crate::simd::Isa;
use crate::simd::tiles::{activates, even_parts};
use crate::simd::winograd::{InputTransform, KernelTransform, OutputTransform, Product, TAPS, Tile};
use crate::threads::{Cell, Cuts, grid, lanes, rows, view3};
use crate::{Conv2dShape, Epilogue, Scalar};
use layout::{CHUNK, Layout, MAPS_PART, SECTION, TOGETHER};

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
        Layout::new::<T>(&self.shape, self.tile, self.isa)
    }

    /// Scratch elements: transformed kernels, and what each cell needs.
    pub(crate) fn scratch_len<T: Scalar>(&self) -> usize {
        let layout = self.layout::<T>();
        let cells = pass_lanes(&self.shape, self.batch);
        layout.kernels_len::<T>() + cells * layout.cell_lens::<T>().into_iter().sum::<usize>()
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
        let (kernels, cells) = scratch.split_at_mut(layout.kernels_len::<T>());
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

    /// `U`, in parallel: `(block of output channels, point, input channel, output channel in the block)`.
    fn transform_kernels<T: Scalar>(
        &self,
        layout: &Layout,
        overlays: Overlays<'_, T>,
        transformed: &mut [T],
        scratch: &mut [T],
    ) {
        let block_len = layout.block_len::<T>();
        let points_len = self.tile.points() * block_len;
        let work = lanes((layout.groups * layout.depth * layout.maps * KERNEL_COST) as u64);
        let dim = [1, layout.blocks(), points_len];
        let units = [1, layout.blocks_of_unit(), points_len];
        let cuts = Cuts::new(work.min(pass_lanes(&self.shape, self.batch)), dim, units, [1, 0, 2]);
        let whole = Cell::whole(view3(dim, transformed), scratch);
        grid(whole, cuts, layout.gathered_len(), &|mut cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            let (gathered, results) = cell.scratch[..layout.gathered_len()].split_at_mut(TAPS * CHUNK);
            for ([_, index], points) in rows(&mut cell.view, cell.start) {
                let (group, maps) = layout.block(index);
                for channels in (0..layout.depth).step_by(CHUNK / layout.block_rows) {
                    let channels = channels..layout.depth.min(channels + CHUNK / layout.block_rows);
                    let chunk = channels.start * maps.len()..channels.end * maps.len();
                    for (row, map) in maps.clone().enumerate() {
                        let map = group * layout.maps + map;
                        let pitches = [CHUNK, maps.len()];
                        overlays.gather(&self.shape, map, channels.clone(), &mut gathered[row..], pitches);
                    }
                    let (tile, count) = (self.tile, chunk.len());
                    T::run(self.isa, KernelTransform { tile, kernels: gathered, count, transformed: results });
                    for (point, result) in points.chunks_exact_mut(block_len).zip(results.chunks_exact(CHUNK)) {
                        point[chunk.clone()].copy_from_slice(&result[..count]);
                    }
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
                    let band = Band { group, rows, columns: columns.clone(), first_image, per_image, top };
                    for first in within.clone().step_by(MAPS_PART) {
                        let part = first..within.end.min(first + MAPS_PART);
                        for channels in even_parts(layout.depth, layout.depth_part) {
                            // Inputs in one part are still there; in several parts they are made anew, in the cache.
                            if channels.len() < layout.depth || first == within.start {
                                self.transform_inputs(call, &band, channels.clone(), inputs, shared);
                            }
                            self.multiply(call, &band, &part, channels, inputs, products);
                        }
                        let at = group * layout.maps + part.start - first_map;
                        let maps = y.slice_mut(s![.., at..at + part.len(), ..]);
                        self.transform_products(call, group * layout.maps + part.start, &band, products, shared, maps);
                    }
                }
            }
        }
    }

    /// `V` of a band, for some input channels of a group.
    fn transform_inputs<T: Scalar>(
        &self,
        call: &Call<'_, T>,
        band: &Band,
        channels: Range<usize>,
        inputs: &mut [T],
        strips: &mut [T],
    ) {
        let Call { layout, x, .. } = call;
        let (side, plane) = (self.tile.side(), self.shape.in_pixels());
        let pitch = band.columns.len() * side + 2;
        for (image, rows, tile) in band.parts() {
            let image = band.first_image + image;
            let first = image * self.shape.in_channels() + band.group * layout.depth + channels.start;
            let lines = rows.start * side..rows.end * side + 2;
            // The border is the same for all channels: zeros that no copy overwrites.
            strips[..TOGETHER * layout.strip_len()].fill(T::ZERO);
            for together in (0..channels.len()).step_by(TOGETHER) {
                let together = together..channels.len().min(together + TOGETHER);
                let planes = x.chunks_exact(plane).skip(first + together.start).take(together.len());
                for (pixels, strip) in planes.zip(strips.chunks_exact_mut(layout.strip_len())) {
                    self.copy(pixels, lines.clone(), band.columns.start * side, pitch, strip);
                }
                for (channel, strip) in together.zip(strips.chunks_exact(layout.strip_len())) {
                    let op = InputTransform {
                        tile: self.tile,
                        strip,
                        pitch,
                        rows: rows.len(),
                        columns: band.columns.len(),
                        plane: layout.inputs_plane::<T>(),
                        transformed: &mut inputs[channel * layout.pitch + tile..],
                    };
                    T::run(self.isa, op);
                }
            }
        }
    }

    /// Copies what lines of the bordered image, from column `left` on, have of the image into rows of `pitch` pixels.
    fn copy<T: Scalar>(&self, pixels: &[T], lines: Range<usize>, left: usize, pitch: usize, strip: &mut [T]) {
        let ([height, width], padding) = (self.shape.input(), self.shape.padding());
        let border = padding.left.saturating_sub(left).min(pitch);
        let first = left.saturating_sub(padding.left).min(width);
        let count = (width - first).min(pitch - border);
        for (line, to) in lines.zip(strip.chunks_exact_mut(pitch)) {
            if let Some(line) = line.checked_sub(padding.top).filter(|&line| line < height) {
                to[border..border + count].copy_from_slice(&pixels[line * width + first..][..count]);
            }
        }
    }

    /// `M` of a band, for some output channels of a group: what some input channels add.
    fn multiply<T: Scalar>(
        &self,
        call: &Call<'_, T>,
        band: &Band,
        maps: &Range<usize>,
        channels: Range<usize>,
        inputs: &[T],
        products: &mut [T],
    ) {
        let Call { layout, kernels, .. } = call;
        let (block_len, points) = (layout.block_len::<T>(), self.tile.points());
        let blocks = layout.blocks_within(band.group, maps);
        let products = products.chunks_exact_mut(layout.products_plane::<T>());
        for (point, (inputs, products)) in inputs.chunks_exact(layout.inputs_plane::<T>()).zip(products).enumerate() {
            let op = Product {
                kernels: &kernels[(blocks.start * points + point) * block_len..],
                block_pitch: points * block_len,
                blocks: blocks.clone().map(|block| layout.block(block).1.len()),
                channels: channels.clone(),
                inputs,
                count: band.tiles(),
                pitch: layout.pitch,
                products,
            };
            T::run(self.isa, op);
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
        for maps in (0..y.len_of(Axis(1))).step_by(TOGETHER) {
            let maps = maps..y.len_of(Axis(1)).min(maps + TOGETHER);
            for (map, pixels) in maps.clone().zip(pixels.chunks_exact_mut(side * pitch)) {
                let op = OutputTransform {
                    tile: self.tile,
                    products: &products[map * layout.pitch..],
                    plane: layout.products_plane::<T>(),
                    count: band.tiles(),
                    bias: epilogue.bias.map_or(T::ZERO, |bias| bias[first_map + map]),
                    activation: epilogue.activation,
                    rows: pixels,
                };
                T::run(self.isa, op);
            }
            for (map, pixels) in maps.zip(pixels.chunks_exact(side * pitch)) {
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
}
