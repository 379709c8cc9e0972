//! Winograd's minimal filtering: [`Algorithm::Winograd`](crate::Algorithm::Winograd), by tiles of 2x2 outputs of 3x3 or
//! 5x5 kernels, and [`Algorithm::Winograd4`](crate::Algorithm::Winograd4), by tiles of 4x4 of 3x3 kernels.
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
//! The weight gradient goes the same way backwards: [`gradient`].
//!
//! Vectors lie along the channels everywhere, so the size of an image does not matter. Bands are so small that `V` and
//! the `M` of a part about fit the second cache, but not so small that `U`, which passes by once a band, holds them up.
//! Each `M[p, o, t]` is one chain of multiply-adds through the input channels.
//!
//! A tile of 2x2 outputs of a 5x5 kernel has 6x6 inputs, and 49 points for 100 products by the definition; tiles of 4x4
//! outputs of a 3x3 kernel have 6x6 inputs: 36 points, for 144 products. Kernels that slide by two save less, 25 for 36
//! and 49 for 100, and only in the forward pass and the weight gradient. If a kernel has gaps, an image falls apart into
//! planes of pixels that share no output, and each is a small image of its own.
//!
//! Cost: for each tile `16·C·O` multiply-adds instead of `36·C·O`, and the transforms: 32 additions a tile and input
//! channel, 24 a tile and output channel, and the turning of pixels from rows into vectors of channels and back. They
//! are few where both channels are many.
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
//! `κ`, the square of the largest row sum of `|Aᵀ|·(|G| 1 ⊙ |Bᵀ| 1)`, says how far the transforms can enlarge numbers;
//! `k` counts the roundings on the longest way through the transforms. The weight gradient sums over tiles instead of
//! channels, and its `κ` is that of `|Gᵀ|·(|A| 1 ⊙ |Bᵀ| 1)`.
//!
//! | filter | κ | κ of the weight gradient | k | the definition's κ |
//! |---|---|---|---|---|
//! | F(2x2, 3x3) | 64 | 36 | 12 | 9, 4 |
//! | F(2x2, 5x5) in pieces | 144 | 36 | 14 | 25, 4 |
//! | 3x3 by two | 25 | 16 | 12 | 9, 4 |
//! | 5x5 by two | 144 | 36 | 14 | 25, 4 |
//! | F(4x4, 3x3) | 877 | 1248 | 24 | 9, 16 |
//!
//! Errors in practice are much smaller, as those of sums are. The filters of 2x2 have halves only, so small integers
//! give exact results; those of 4x4 have thirds and fifths, and are never exact.
//!
//! A number that is not finite spreads to all outputs of the tiles that see it, and to the gradient of the whole kernel. Such
//! sums are noticed where they are transformed, and [formed again](super::definition).
//!
//! Sources: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015 (arXiv 1509.09308), for the
//! method; Barabasz, Anderson, Soodhalter and Gregg, "Error Analysis and Improving the Accuracy of Winograd Convolution
//! for Deep Neural Networks", 2018 (arXiv 1803.10986), for its errors and the choice of points.

mod band;
mod gradient;
mod layout;

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use ndarray::{ArrayViewMut3, s};

use super::direct::{Overlays, Pooled};
use super::{channel_unit, groups_within, pass_lanes};
use crate::plan::mirrored;
use crate::simd::Isa;
use crate::simd::pool::LARGEST;
use crate::simd::tiles::{activates, even_parts};
use crate::simd::winograd::{KernelTransform, OutputTransform, PixelTransform, Positions, Product, Seen, Tile};
use crate::threads::{Cell, Cuts, grid, lanes, rows, view3};
use crate::{Activation, Conv2dShape, Epilogue, Scalar};
use band::Band;
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
    /// Lines and columns of the output, which may be pooled.
    size: [usize; 2],
    /// How many of them belong to a tile.
    side: usize,
    /// Whether a sum was not finite.
    strange: AtomicBool,
}

/// Feature maps; or pooled ones, and the positions of what is in them.
type Output<'a, T> = (ArrayViewMut3<'a, T>, Option<ArrayViewMut3<'a, u32>>);

/// What is transformed: some channels of the images, or of the gradients of the outputs.
struct Source<'a, T> {
    seen: Seen,
    pixels: &'a [T],
    channels: Range<usize>,
}

impl Winograd {
    /// Kernels as large as the tile's that slide as it does, without gaps if by more than one.
    pub(crate) fn applies_to(shape: &Conv2dShape, tile: Tile) -> bool {
        let gaps = shape.dilation() != [1, 1];
        shape.kernel() == [tile.kernel(); 2] && shape.stride() == [tile.stride(); 2] && (tile.stride() == 1 || !gaps)
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

    /// `y = σ(x ⋆ w + b)`, the kernels transformed by [`Winograd::transform_kernels`]; true if some sum is not finite, and
    /// more of them perhaps than by definition.
    pub(crate) fn forward<T: Scalar>(
        &self,
        x: &[T],
        kernels: &[T],
        epilogue: Epilogue<'_, T>,
        y: &mut [T],
        scratch: &mut [T],
    ) -> bool {
        let (layout, strange) = (self.layout::<T>(), AtomicBool::new(false));
        let call = Call { layout, x, kernels, epilogue, size: self.shape.output(), side: self.tile.side(), strange };
        self.cells(&call, y, None, scratch);
        call.strange.into_inner()
    }

    /// Whether [`Winograd::pooled`] can do it: windows are within tiles, and vectors can activate and count.
    pub(crate) fn pools(&self, activation: Activation) -> bool {
        self.shape.dilation() == [1, 1] && self.shape.out_pixels() <= LARGEST && activates(activation)
    }

    /// [`Winograd::forward`], and 2x2 max pooling before anything is written: which means nothing where some sum is not finite.
    pub(crate) fn pooled<T: Scalar>(
        &self,
        x: &[T],
        kernels: &[T],
        epilogue: Epilogue<'_, T>,
        Pooled { shape, y, positions }: Pooled<'_, T>,
        scratch: &mut [T],
    ) -> bool {
        let (size, side, strange) = (shape.output(), self.tile.side() / 2, AtomicBool::new(false));
        let call = Call { layout: self.layout::<T>(), x, kernels, epilogue, size, side, strange };
        self.cells(&call, y, Some(positions), scratch);
        call.strange.into_inner()
    }

    /// Cuts the output into cells, and computes them.
    fn cells<T: Scalar>(&self, call: &Call<'_, T>, y: &mut [T], positions: Option<&mut [u32]>, scratch: &mut [T]) {
        let Call { layout, size: [height, width], side, .. } = *call;
        let dim = [self.batch, self.shape.out_channels(), height * width];
        let cells = pass_lanes(&self.shape, self.batch);
        // A single image is cut even if it is no more than a band.
        let shared = if self.batch == 1 { layout.rows.div_ceil(cells) } else { layout.rows };
        let rows = (layout.band_rows.min(shared) * side).min(height);
        let pixels = if layout.steps == [1, 1] { rows * width } else { dim[2] };
        let units = [layout.images(), channel_unit(&self.shape, dim[1], SECTION), pixels];
        let cuts = Cuts::new(cells, dim, units, [0, 2, 1]);
        let cell_len = layout.cell_lens::<T>().into_iter().sum();
        let output = (view3(dim, y), positions.map(|positions| view3(dim, positions)));
        grid(Cell::whole(output, scratch), cuts, cell_len, &|cell: Cell<'_, Output<'_, T>, T>| {
            self.compute(call, cell)
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
    fn compute<T: Scalar>(&self, call: &Call<'_, T>, cell: Cell<'_, Output<'_, T>, T>) {
        let Call { layout, size: [height, width], side, .. } = call;
        let Cell { view: (mut y, mut positions), start: [first_image, first_map, first_pixel], scratch } = cell;
        let [inputs_len, products_len, _] = layout.cell_lens::<T>();
        let (inputs, rest) = scratch.split_at_mut(inputs_len);
        let (products, shared) = rest.split_at_mut(products_len);
        let (images, maps, pixels) = y.dim();
        // Rows of an image that falls apart are not cut.
        let whole = pixels == height * width;
        let top = first_pixel / width / side;
        let per_plane = if whole { layout.rows } else { (pixels / width).div_ceil(*side) };
        for (group, within) in groups_within(first_map..first_map + maps, layout.maps) {
            for columns in even_parts(layout.columns, layout.band_columns) {
                for rows in even_parts(images * layout.steps[0] * per_plane, layout.band_rows) {
                    let band = Band { group, rows, columns: columns.clone(), first_image, per_plane, top };
                    let channels = group * layout.depth..(group + 1) * layout.depth;
                    let source = Source { seen: Seen::Input, pixels: call.x, channels };
                    self.transform_pixels(layout, &band, source, layout.inputs_plane::<T>(), inputs, shared);
                    for first in within.clone().step_by(SECTION) {
                        let part = first..within.end.min(first + SECTION);
                        self.multiply(call, &band, &part, inputs, products);
                        let at = group * layout.maps + first - first_map;
                        let of_part = s![.., at..at + part.len(), ..];
                        let output = (y.slice_mut(of_part), positions.as_mut().map(|all| all.slice_mut(of_part)));
                        self.transform_products(call, &band, &part, products, shared, output);
                    }
                }
            }
        }
    }

    /// `V` of a band: `(point, vector of channels, tile, channel in it)`, points `plane` apart.
    fn transform_pixels<T: Scalar>(
        &self,
        layout: &Layout,
        band: &Band,
        Source { seen, pixels, channels }: Source<'_, T>,
        plane: usize,
        transformed: &mut [T],
        turned: &mut [T],
    ) {
        let (all, [height, width]) = match seen {
            Seen::Input => (self.shape.in_channels(), self.shape.input()),
            Seen::Gradient => (self.shape.out_channels(), self.shape.output()),
        };
        for part in band.parts(layout) {
            let [lines, columns] = band.windows(layout, &self.shape, &part, seen);
            for (vector, channel) in channels.clone().step_by(layout.lanes).enumerate() {
                let first = ((band.first_image + part.image) * all + channel) * height * width;
                let op = PixelTransform {
                    tile: self.tile,
                    seen,
                    pixels: &pixels[first + lines.first * width + columns.first..],
                    channel_pitch: height * width,
                    line_pitch: width * layout.steps[0],
                    step: layout.steps[1],
                    channels: layout.lanes.min(channels.end - channel),
                    window: [lines.len, columns.len],
                    border: [lines.border, columns.border],
                    tiles: [part.rows.len(), band.columns.len()],
                    turned,
                    plane,
                    transformed: &mut transformed[vector * layout.inputs_pitch::<T>() + part.tile * layout.lanes..],
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
                    tiles: band.tiles(layout),
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
        (mut y, mut positions): Output<'_, T>,
    ) {
        let Call { layout, epilogue, side, size: [_, width], .. } = call;
        let [down, across] = layout.steps;
        let above = band.top * side * width;
        for part in band.parts(layout) {
            let [lines, columns] = band.outputs(layout, call.size, *side, &part);
            if lines.len == 0 || columns.len == 0 {
                continue;
            }
            let first = lines.first * width + columns.first - above;
            let blocks = layout.blocks_within(maps).zip(products.chunks_exact(layout.products_block::<T>()));
            for (block, products) in blocks {
                let (channels, block_width) = layout.block(block);
                let first_map = band.group * layout.maps;
                let all = first_map + channels.start..first_map + channels.end;
                let of_block = s![part.image, channels.start - maps.start..channels.end - maps.start, ..];
                let positions = positions.as_mut().map(|all| Positions {
                    maps: all.slice_mut(of_block),
                    first: (lines.first * self.shape.output()[1] + columns.first) * self.tile.side() / side,
                    width: self.shape.output()[1],
                });
                let op = OutputTransform {
                    tile: self.tile,
                    products: &products[part.tile * block_width..],
                    plane: layout.products_plane::<T>(),
                    width: block_width,
                    tiles: [part.rows.len(), band.columns.len()],
                    step: across,
                    bias: epilogue.bias.map(|bias| &bias[all]),
                    activation: epilogue.activation,
                    pixels,
                    maps: y.slice_mut(of_block),
                    window: [lines.len, columns.len],
                    first,
                    line_pitch: width * down,
                    strange: &call.strange,
                    positions,
                };
                T::run(self.isa, op);
            }
            if !activates(epilogue.activation) {
                for line in (0..lines.len).map(|line| first + line * width * down) {
                    let mut lines = y.slice_mut(s![part.image, .., line..line + columns.len]);
                    for mut line in lines.rows_mut() {
                        let line = line.as_slice_mut().expect("the pixels of a feature map are contiguous");
                        epilogue.activation.apply(line);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What fills up vectors and tiles makes no NaN, whatever the buffers held.
    #[test]
    fn only_strange_numbers_are_strange() {
        let tiles =
            [(Tile::F2x3, 3, 1), (Tile::F2x5, 5, 1), (Tile::F4x3, 3, 1), (Tile::F2x3By2, 3, 2), (Tile::F2x5By2, 5, 2)];
        for (isa, (tile, kernel, stride)) in Isa::available().flat_map(|isa| tiles.map(|tile| (isa, tile))) {
            for (channels, maps, side) in [(1, 1, 5), (3, 7, 8), (17, 13, 9), (16, 33, 12), (2, 40, 6)] {
                let shape = Conv2dShape::builder(channels, maps, [side, side + 1], [kernel; 2]);
                let shape = shape.stride([stride; 2]).padding(1).build().unwrap();
                let winograd = Winograd::new(shape, tile, 2, isa);
                let mut kernels = vec![f32::NAN; winograd.kernels_len::<f32>()];
                winograd.transform_kernels(Overlays::straight(&vec![0.5; shape.weight_len()]), &mut kernels);
                let strange = |x: &[f32]| {
                    let mut y = vec![0.0; 2 * shape.output_len()];
                    let mut scratch = vec![f32::NAN; winograd.scratch_len::<f32>()];
                    winograd.forward(x, &kernels, Epilogue::none(), &mut y, &mut scratch)
                };
                let mut x = vec![0.5; 2 * shape.input_len()];
                assert!(!strange(&x), "{shape} with {}", isa.name());
                x[7] = f32::INFINITY;
                assert!(strange(&x), "{shape} with {}", isa.name());
            }
        }
    }
}
