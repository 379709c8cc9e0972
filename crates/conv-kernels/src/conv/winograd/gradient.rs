//! The weight gradient by minimal filtering: the transpose of the forward pass.
//!
//! ```text
//! for each band of tiles t
//!     for each input channel c, t                       V[·, c, t]  = Bᵀ x[c, t] B
//!     for each output channel o, t                      dM[·, o, t] = A dy[o, t] Aᵀ       2x2 gradients, 16 numbers
//!     for each point p                                  dU[p] += V[p] dM[p]ᵀ              a matrix product
//! for each o, c                                         dw[o, c] += Gᵀ dU[·, c, o] G
//! ```
//!
//! Cost: for each tile as many multiply-adds as the forward pass has, 16 instead of 36 a pair of channels; the transforms of
//! `x` and of `dy`, once for every 128 channels of the other; and the sums, which are loaded and stored once a band.
//!
//! Each sum is one chain of multiply-adds through the tiles of its share of the batch; the shares are added in a tree.

use std::ops::Range;

use ndarray::{ArrayViewMut2, ArrayViewMut3, Axis, s};

use super::band::Band;
use super::layout::{GRADIENT_SECTION, Layout};
use super::{KERNEL_COST, Source, Winograd};
use crate::Scalar;
use crate::conv::definition;
use crate::conv::{Partials, groups_within};
use crate::simd::tiles::even_parts;
use crate::simd::winograd::{GradientProduct, KernelGradient, Seen};
use crate::threads::{Cell, Cuts, grid, lanes, view3};

/// What the cells of a call share.
struct Call<'a, T> {
    layout: Layout,
    x: &'a [T],
    dy: &'a [T],
}

/// Some channels of a group.
struct Section {
    inputs: Range<usize>,
    outputs: Range<usize>,
}

impl Winograd {
    fn gradient_layout<T: Scalar>(&self) -> Layout {
        Layout::of_gradient::<T>(&self.shape, self.tile, self.isa)
    }

    /// How the bands are shared out, and how many there are.
    fn partials<T: Scalar>(&self, layout: &Layout) -> (Partials, usize) {
        let rows = self.batch * layout.steps[0] * layout.rows;
        let bands = rows.div_ceil(layout.band_rows);
        let cell_len = layout.gradient_lens::<T>().into_iter().sum();
        let sums = [layout.groups * layout.blocks(), layout.kernels_block::<T>()];
        let unit = if layout.groups > 1 { layout.blocks() } else { GRADIENT_SECTION / (2 * layout.lanes) };
        (Partials::new::<T>(&self.shape, self.batch, bands, cell_len, sums).cut_at(unit), bands)
    }

    /// Scratch elements of the weight gradient.
    pub(crate) fn gradient_scratch_len<T: Scalar>(&self) -> usize {
        self.partials::<T>(&self.gradient_layout::<T>()).0.scratch_len::<T>()
    }

    /// `dweight += Σ x · dy`.
    pub(crate) fn weight_gradient<T: Scalar>(&self, x: &[T], dy: &[T], dweight: &mut [T], scratch: &mut [T]) {
        let layout = self.gradient_layout::<T>();
        let call = Call { layout, x, dy };
        let (partials, bands) = self.partials::<T>(&layout);
        let all_rows = self.batch * layout.steps[0] * layout.rows;
        let sums = partials.sum(scratch, &|share, first, mut sums, scratch| {
            for (group, blocks) in groups_within(first..first + sums.nrows(), layout.blocks()) {
                let at = group * layout.blocks() + blocks.start - first;
                let mut sums = sums.slice_mut(s![at..at + blocks.len(), ..]);
                sums.fill(T::ZERO);
                for band in share.clone() {
                    let rows = band * all_rows / bands..(band + 1) * all_rows / bands;
                    for columns in even_parts(layout.columns, layout.band_columns) {
                        let (rows, per_plane) = (rows.clone(), layout.rows);
                        let band = Band { group, rows, columns, first_image: 0, per_plane, top: 0 };
                        self.add_band(&call, &band, &blocks, sums.view_mut(), scratch);
                    }
                }
            }
        });
        self.transform_sums(&call, sums, dweight);
    }

    /// What a band adds to the sums of some blocks of output channels.
    fn add_band<T: Scalar>(
        &self,
        call: &Call<'_, T>,
        band: &Band,
        blocks: &Range<usize>,
        mut sums: ArrayViewMut2<'_, T>,
        scratch: &mut [T],
    ) {
        let layout = &call.layout;
        let [inputs_len, gradients_len, _] = layout.gradient_lens::<T>();
        let (inputs, rest) = scratch.split_at_mut(inputs_len);
        let (gradients, turned) = rest.split_at_mut(gradients_len);
        let (plane, group) = (layout.section_plane::<T>(), band.group);
        let maps = layout.block(blocks.start).0.start..layout.block(blocks.end - 1).0.end;
        for section in sections(0..layout.depth) {
            let channels = group * layout.depth + section.start..group * layout.depth + section.end;
            let source = Source { seen: Seen::Input, pixels: call.x, channels };
            self.transform_pixels(layout, band, source, plane, inputs, turned);
            for outputs in sections(maps.clone()) {
                let channels = group * layout.maps + outputs.start..group * layout.maps + outputs.end;
                let source = Source { seen: Seen::Gradient, pixels: call.dy, channels };
                self.transform_pixels(layout, band, source, plane, gradients, turned);
                let section = Section { inputs: section.clone(), outputs };
                self.add_products(layout, band, &section, [inputs, gradients], blocks.start, &mut sums);
            }
        }
    }

    /// `dw += Gᵀ dU G`, in parallel.
    fn transform_sums<T: Scalar>(&self, call: &Call<'_, T>, sums: &[T], dweight: &mut [T]) {
        let Call { layout, x, dy } = call;
        let work = lanes((layout.groups * layout.depth * layout.maps * KERNEL_COST) as u64);
        let dim = [layout.groups, layout.maps, self.shape.taps()];
        let cuts = Cuts::new(work, dim, [1, 2 * layout.lanes, dim[2]], [0, 1, 2]);
        let whole = Cell::whole(view3(dim, dweight), &mut [][..]);
        grid(whole, cuts, 0, &|mut cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            T::with_scratch(layout.kernels_room::<T>(), |room| {
                let (maps, [first_group, first_map, _]) = (cell.view.dim().1, cell.start);
                for (group, mut kernels) in (first_group..).zip(cell.view.axis_iter_mut(Axis(0))) {
                    for first in (0..maps).step_by(layout.lanes) {
                        let (map, end) = (first_map + first, maps.min(first + layout.lanes));
                        let block = map / (2 * layout.lanes);
                        let (channels, width) = layout.block(block);
                        let at = (group * layout.blocks() + block) * layout.kernels_block::<T>();
                        let op = KernelGradient {
                            tile: self.tile,
                            sums: &sums[at + map - channels.start..at + layout.kernels_block::<T>()],
                            plane: layout.kernels_plane::<T>(),
                            width,
                            kernels: kernels.slice_mut(s![first..end, ..]),
                            exact: &|[kernel, index]| {
                                let kernel = group * layout.maps + map + kernel;
                                definition::weight_gradient(&self.shape, x, dy, kernel * dim[2] + index)
                            },
                            room: &mut *room,
                        };
                        T::run(self.isa, op);
                    }
                }
            });
        });
    }

    /// `dU += V dMᵀ` for a section of the channels; the sums are those of the blocks from `first` on.
    fn add_products<T: Scalar>(
        &self,
        layout: &Layout,
        band: &Band,
        section: &Section,
        [inputs, gradients]: [&[T]; 2],
        first: usize,
        sums: &mut ArrayViewMut2<'_, T>,
    ) {
        let (plane, pitch) = (layout.section_plane::<T>(), layout.inputs_pitch::<T>());
        let points = inputs.chunks_exact(plane).zip(gradients.chunks_exact(plane)).enumerate();
        for (point, (inputs, gradients)) in points {
            for block in layout.blocks_within(&section.outputs) {
                let (channels, width) = layout.block(block);
                let mut row = sums.row_mut(block - first);
                let row = row.as_slice_mut().expect("sums of a block are contiguous");
                let op = GradientProduct {
                    inputs,
                    depth: section.inputs.len(),
                    gradients: &gradients[(channels.start - section.outputs.start) / layout.lanes * pitch..],
                    pitch,
                    tiles: band.tiles(layout),
                    width,
                    sums: &mut row[point * layout.kernels_plane::<T>() + section.inputs.start * width..],
                };
                T::run(self.isa, op);
            }
        }
    }
}

/// Channels, a few at a time.
fn sections(channels: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    channels.clone().step_by(GRADIENT_SECTION).map(move |start| start..channels.end.min(start + GRADIENT_SECTION))
}
