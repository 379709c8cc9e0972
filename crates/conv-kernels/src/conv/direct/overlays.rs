//! The weights in the order in which tiles read them.

use std::ops::Range;

use ndarray::ArrayViewMut3;

use super::{bands, blocks, section};
use crate::conv::groups_within;
use crate::simd::Isa;
use crate::simd::channels::block_widths;
use crate::simd::tiles::MAX_ROWS;
use crate::threads::{Cell, Cuts, grid, lanes, view3};
use crate::{Conv2dShape, Scalar};

/// What moving an element costs, in multiply-adds.
const MOVE: u64 = 16;

/// The overlays of a layer, or those of its mirrored shape: input and output channels exchanged, rotated by 180°.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overlays<'a, T> {
    weight: &'a [T],
    mirrored: bool,
}

impl<'a, T: Scalar> Overlays<'a, T> {
    /// As they are: `weight (O, C / groups, KH, KW)`.
    pub(crate) fn straight(weight: &'a [T]) -> Self {
        Self { weight, mirrored: false }
    }

    /// For the mirrored shape of the layer with these weights.
    pub(crate) fn mirrored(weight: &'a [T]) -> Self {
        Self { weight, mirrored: true }
    }

    /// Calls `visit(index, weight)` for the taps of one overlay; `shape` is the one to compute, mirrored or not.
    fn for_each(&self, shape: &Conv2dShape, overlay: usize, mut visit: impl FnMut(usize, T)) {
        let (taps, elements) = (shape.taps(), shape.kernel()[0] * shape.kernel()[1]);
        if !self.mirrored {
            let overlay = &self.weight[overlay * taps..][..taps];
            return overlay.iter().enumerate().for_each(|(tap, &weight)| visit(tap, weight));
        }
        let (depth, maps) = (taps / elements, shape.out_channels() / shape.groups());
        let (group, map) = (overlay / maps, overlay % maps);
        for channel in 0..depth {
            let rotated = &self.weight[((group * depth + channel) * maps + map) * elements..][..elements];
            for (element, &weight) in rotated.iter().rev().enumerate() {
                visit(channel * elements + element, weight);
            }
        }
    }

    /// Some channels of one overlay, element after element: `element_pitch` apart, and channels `pitch` apart.
    pub(crate) fn gather(
        &self,
        shape: &Conv2dShape,
        overlay: usize,
        channels: Range<usize>,
        gathered: &mut [T],
        [element_pitch, pitch]: [usize; 2],
    ) {
        let elements = shape.kernel()[0] * shape.kernel()[1];
        let (depth, maps) = (shape.taps() / elements, shape.out_channels() / shape.groups());
        let (group, map) = (overlay / maps, overlay % maps);
        let (first, step) = if self.mirrored {
            ((group * depth + channels.start) * maps + map, maps)
        } else {
            (overlay * depth + channels.start, 1)
        };
        for element in 0..elements {
            let place = if self.mirrored { elements - 1 - element } else { element };
            let weights = self.weight[first * elements + place..].iter().step_by(step * elements);
            let gathered = gathered[element * element_pitch..].iter_mut().step_by(pitch).take(channels.len());
            gathered.zip(weights).for_each(|(gathered, &weight)| *gathered = weight);
        }
    }

    /// `(block of output channels, tap, output channel in it)`, for tiles whose vectors lie along the pixels.
    pub(super) fn pack(&self, shape: &Conv2dShape, isa: Isa, packed: &mut [T]) {
        let maps = shape.out_channels() / shape.groups();
        self.for_each_part(shape, [maps, section(isa)], packed, &|group, within, packed| {
            let first = within.start;
            for block in blocks(within, isa) {
                let packed = &mut packed[(block.start - first) * shape.taps()..];
                self.pack_block(shape, group * maps + block.start..group * maps + block.end, block.len(), packed);
            }
        });
    }

    /// The same in blocks of two vectors (one, where that is enough for the last channels of a group), filled up with
    /// zeros: for tiles whose vectors lie along the output channels.
    pub(super) fn pack_channels(&self, shape: &Conv2dShape, isa: Isa, packed: &mut [T]) {
        let maps = shape.out_channels() / shape.groups();
        let lanes = isa.lanes::<T>();
        let (per_group, cut) = (maps.next_multiple_of(lanes), section(isa));
        self.for_each_part(shape, [per_group, cut], packed, &|group, within, packed| {
            packed.fill(T::ZERO);
            let mut packed = packed;
            for (first, width) in within.clone().step_by(2 * lanes).zip(block_widths(within.len(), lanes)) {
                let (block, rest) = packed.split_at_mut(width * shape.taps());
                let last = (first + width).min(maps);
                self.pack_block(shape, group * maps + first..group * maps + last, width, block);
                packed = rest;
            }
        });
    }

    /// Calls `pack(group, channels within it, packed)` for parts of the output channels; those of a group fill `per_group`
    /// in `packed`. A single group is cut at multiples of `cut`.
    fn for_each_part(
        &self,
        shape: &Conv2dShape,
        [per_group, cut]: [usize; 2],
        packed: &mut [T],
        pack: &(impl Fn(usize, Range<usize>, &mut [T]) + Sync),
    ) {
        let (channels, taps) = (shape.groups() * per_group, shape.taps());
        let unit = if shape.groups() > 1 { per_group } else { cut };
        let cuts = Cuts::new(lanes(shape.weight_len() as u64 * MOVE), [channels, 1, 1], [unit, 1, 1], [0, 1, 2]);
        let whole = Cell::whole(view3([channels, 1, taps], packed), &mut []);
        grid(whole, cuts, 0, &|mut cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            let (first, count) = (cell.start[0], cell.view.dim().0);
            let mut packed = cell.view.as_slice_mut().expect("whole overlays are contiguous");
            for (group, within) in groups_within(first..first + count, per_group) {
                let (of_group, rest) = packed.split_at_mut(within.len() * taps);
                pack(group, within, of_group);
                packed = rest;
            }
        });
    }

    /// The taps of the overlays `block`, `width` apart.
    fn pack_block(&self, shape: &Conv2dShape, block: Range<usize>, width: usize, packed: &mut [T]) {
        for (row, overlay) in block.enumerate() {
            let packed = &mut packed[row..];
            self.for_each(shape, overlay, |tap, weight| packed[tap * width] = weight);
        }
    }
}

/// Weights as [`Scatter`](crate::simd::tiles::Scatter) wants them, band by band: in the order of
/// [`Geometry::targets`](super::Geometry::targets), column by column of the kernel.
pub(super) fn pack_transposed<T: Scalar>(shape: &Conv2dShape, isa: Isa, weight: &[T], packed: &mut [T]) {
    let (depth, maps) = (shape.in_channels() / shape.groups(), shape.out_channels() / shape.groups());
    let taps = shape.taps();
    let elements = taps / depth;
    let [most, _] = isa.most_rows();
    let unit = if shape.groups() > 1 { depth } else { most };
    let dim = [shape.in_channels(), 1, elements * maps];
    let cuts = Cuts::new(lanes(shape.weight_len() as u64 * MOVE), dim, [unit, 1, 1], [0, 1, 2]);
    grid(Cell::whole(view3(dim, packed), &mut []), cuts, 0, &|mut cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
        let (first, count) = (cell.start[0], cell.view.dim().0);
        let packed = cell.view.as_slice_mut().expect("whole channels are contiguous");
        let mut packed = packed.iter_mut();
        for (group, within) in groups_within(first..first + count, depth) {
            let overlays = &weight[group * maps * taps..(group + 1) * maps * taps];
            for band in bands(within, most) {
                for rows in (0..band.len() * elements).step_by(most) {
                    let rows = rows..(rows + most).min(band.len() * elements);
                    let mut places = [0; MAX_ROWS];
                    for (place, row) in places.iter_mut().zip(rows.clone()) {
                        let (index, channel) = (row / band.len(), band.start + row % band.len());
                        let element = index % shape.kernel()[0] * shape.kernel()[1] + index / shape.kernel()[0];
                        *place = channel * elements + element;
                    }
                    for overlay in overlays.chunks_exact(taps) {
                        let weights = places[..rows.len()].iter().map(|&place| overlay[place]);
                        weights.zip(packed.by_ref()).for_each(|(weight, packed)| *packed = weight);
                    }
                }
            }
        }
    });
}
