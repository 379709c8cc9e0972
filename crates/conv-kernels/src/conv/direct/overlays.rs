//! The weights in the order in which tiles read them.

use std::ops::Range;

use ndarray::ArrayViewMut3;

use super::{SECTION, bands, blocks};
use crate::conv::groups_within;
use crate::simd::tiles::ROWS;
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

    /// `(block of output channels, tap, output channel in it)`.
    pub(super) fn pack(&self, shape: &Conv2dShape, packed: &mut [T]) {
        let (channels, taps) = (shape.out_channels(), shape.taps());
        let maps = channels / shape.groups();
        let unit = if shape.groups() > 1 { maps } else { SECTION };
        let cuts = Cuts::new(lanes(shape.weight_len() as u64 * MOVE), [channels, 1, 1], [unit, 1, 1], [0, 1, 2]);
        let whole = Cell::whole(view3([channels, 1, taps], packed), &mut []);
        grid(whole, cuts, 0, &|mut cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            let (first, count) = (cell.start[0], cell.view.dim().0);
            let packed = cell.view.as_slice_mut().expect("whole overlays are contiguous");
            for (group, within) in groups_within(first..first + count, maps) {
                for block in blocks(within) {
                    let block = group * maps + block.start..group * maps + block.end;
                    self.pack_block(shape, block.clone(), &mut packed[(block.start - first) * taps..]);
                }
            }
        });
    }

    fn pack_block(&self, shape: &Conv2dShape, block: Range<usize>, packed: &mut [T]) {
        let rows = block.len();
        for (row, overlay) in block.enumerate() {
            let packed = &mut packed[row..];
            self.for_each(shape, overlay, |tap, weight| packed[tap * rows] = weight);
        }
    }
}

/// Weights as [`Scatter`](crate::simd::tiles::Scatter) wants them, band by band: in the order of
/// [`Geometry::targets`](super::Geometry::targets).
pub(super) fn pack_transposed<T: Scalar>(shape: &Conv2dShape, weight: &[T], packed: &mut [T]) {
    let (depth, maps) = (shape.in_channels() / shape.groups(), shape.out_channels() / shape.groups());
    let taps = shape.taps();
    let elements = taps / depth;
    let unit = if shape.groups() > 1 { depth } else { ROWS };
    let dim = [shape.in_channels(), 1, elements * maps];
    let cuts = Cuts::new(lanes(shape.weight_len() as u64 * MOVE), dim, [unit, 1, 1], [0, 1, 2]);
    grid(Cell::whole(view3(dim, packed), &mut []), cuts, 0, &|mut cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
        let (first, count) = (cell.start[0], cell.view.dim().0);
        let packed = cell.view.as_slice_mut().expect("whole channels are contiguous");
        let mut packed = packed.iter_mut();
        for (group, within) in groups_within(first..first + count, depth) {
            let overlays = &weight[group * maps * taps..(group + 1) * maps * taps];
            for band in bands(within) {
                for rows in (0..band.len() * elements).step_by(ROWS) {
                    let rows = rows..(rows + ROWS).min(band.len() * elements);
                    let mut places = [0; ROWS];
                    for (place, row) in places.iter_mut().zip(rows.clone()) {
                        let (element, channel) = (row / band.len(), band.start + row % band.len());
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
