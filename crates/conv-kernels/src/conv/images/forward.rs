//! Forward with vectors along the images, pooled or not; on the mirrored shape, the input gradient.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::{ArrayViewMut3, s};

use super::turning::Piece;
use super::{Images, Maps};
use crate::conv::direct::{Pooled, blocks, section};
use crate::conv::{channel_unit, groups_within, pass_lanes};
use crate::scratch::aligned;
use crate::simd::images::{AlongImages, BlockWeights, PooledAlongImages, TurnBack, TurnBackPositions, turned_len};
use crate::simd::tiles::activates;
use crate::threads::{Cell, Cuts, grid, view3};
use crate::{Epilogue, Scalar};

/// Weights in the order of the algorithm that computes images that fill no vector.
#[derive(Clone, Copy)]
pub(crate) enum Packed<'a, T> {
    /// As for [`Direct::forward_by_pixels`](super::super::direct::Direct::forward_by_pixels).
    Pixels(&'a [T]),
    /// As for [`Direct::forward_by_channels`](super::super::direct::Direct::forward_by_channels).
    Channels(&'a [T]),
}

impl Images<'_> {
    /// Blocks of some channels of a group, no more than a tile has rows, and their weights.
    fn blocks<'w, T: Scalar>(
        &self,
        packed: Packed<'w, T>,
        epilogue: Epilogue<'w, T>,
        group: usize,
        channels: Range<usize>,
    ) -> impl Iterator<Item = (Range<usize>, BlockWeights<'w, T>)> {
        let ([_, maps], taps, lanes, isa) = (self.group(), self.shape.taps(), self.isa.lanes::<T>(), self.isa);
        let weights = move |block: &Range<usize>| {
            let all = group * maps + block.start..group * maps + block.end;
            let (packed, pitch) = match packed {
                Packed::Pixels(packed) => (&packed[all.start * taps..], block.len()),
                Packed::Channels(packed) => {
                    let (per_group, first) = (maps.next_multiple_of(lanes), block.start / (2 * lanes) * 2 * lanes);
                    let at = (group * per_group + first) * taps + block.start - first;
                    (&packed[at..], (per_group - first).min(2 * lanes))
                }
            };
            BlockWeights { packed, pitch, channels: block.len(), bias: epilogue.bias.map(|bias| &bias[all]) }
        };
        // With weights along the channels no tile crosses from one block of vectors into the next.
        let step = match packed {
            Packed::Pixels(_) => channels.len().max(1),
            Packed::Channels(_) => 2 * lanes,
        };
        let parts = channels.clone().step_by(step).map(move |first| first..channels.end.min(first + step));
        parts.flat_map(move |part| blocks(part, isa)).map(move |block| (block.clone(), weights(&block)))
    }

    /// The batch in vectors of images, and the channels where these are few.
    fn cuts<T: Scalar>(&self, pixels: usize) -> Cuts {
        let dim = [self.batch, self.shape.out_channels(), pixels];
        let units = [self.isa.lanes::<T>(), channel_unit(self.shape, dim[1], section(self.isa)), pixels];
        Cuts::new(pass_lanes(self.shape, self.batch), dim, units, [0, 1, 2])
    }

    /// Scratch elements of the forward pass.
    pub(crate) fn scratch_len<T: Scalar>(&self) -> usize {
        pass_lanes(self.shape, self.batch) * self.lens::<T>().into_iter().sum::<usize>()
    }

    /// Scratch elements of a cell: the images of a group, what turning them takes, and a block of its feature maps.
    fn lens<T: Scalar>(&self) -> [usize; 3] {
        let ([depth, maps], lanes, [height, width]) = (self.group(), self.isa.lanes::<T>(), self.shape.input());
        let block = maps.min(self.isa.most_rows()[0]);
        let len = |pixels: usize| aligned::<T>(turned_len(pixels, lanes));
        let room = Maps::<T>::room(depth, height, width, lanes);
        [len(depth * height * width), room, len(block * self.shape.out_pixels())]
    }

    /// `y = σ(x ⋆ w + b)` for a batch of whole vectors of images. The bits are those of the algorithm that the weights are packed
    /// for. True if there are winners elsewhere than under their own windows: then nothing counts.
    pub(crate) fn forward<T: Scalar>(
        &self,
        x: Maps<'_, T>,
        packed: Packed<'_, T>,
        epilogue: Epilogue<'_, T>,
        y: &mut [T],
        scratch: &mut [T],
    ) -> bool {
        let strays = AtomicBool::new(false);
        let (lanes, [depth, maps], lens) = (self.isa.lanes::<T>(), self.group(), self.lens::<T>());
        let ([height, width], pixels) = (self.shape.input(), self.shape.out_pixels());
        let whole = Cell::whole(view3([self.batch, self.shape.out_channels(), pixels], y), scratch);
        grid(whole, self.cuts::<T>(pixels), lens.into_iter().sum(), &|mut cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            let (turned, scratch) = cell.scratch.split_at_mut(lens[0]);
            let (room, sums) = scratch.split_at_mut(lens[1]);
            let (images, channels, _) = cell.view.dim();
            for first in (0..images).step_by(lanes) {
                for (group, within) in groups_within(cell.start[1]..cell.start[1] + channels, maps) {
                    let channels = group * depth..(group + 1) * depth;
                    let piece = Piece { images: [cell.start[0] + first, lanes], channels, rows: 0..height };
                    if x.turn(self.isa, [self.shape.in_channels(), height, width], piece, turned, room) {
                        strays.store(true, Ordering::Relaxed);
                    }
                    for (block, weights) in self.blocks(packed, epilogue, group, within) {
                        let (shape, activation) = (self.shape, epilogue.activation);
                        T::run(self.isa, AlongImages { shape, x: turned, weights, activation, y: &mut *sums });
                        if !activates(activation) {
                            activation.apply(&mut sums[..block.len() * pixels * lanes]);
                        }
                        for (at, channel) in block.enumerate() {
                            let from = &sums[at * pixels * lanes..];
                            let channel = group * maps + channel - cell.start[1];
                            let to = cell.view.slice_mut(s![first..first + lanes, channel, ..]);
                            T::run(self.isa, TurnBack { from, to });
                        }
                    }
                }
            }
        });
        strays.into_inner()
    }

    /// Scratch elements of the forward pass with max pooling.
    pub(crate) fn pooled_scratch_len<T: Scalar>(&self, windows: usize) -> usize {
        pass_lanes(self.shape, self.batch) * self.pooled_lens::<T>(windows).into_iter().sum::<usize>()
    }

    /// Scratch elements of a cell: the images of a group in their border, and what becomes of a block of feature maps.
    fn pooled_lens<T: Scalar>(&self, windows: usize) -> [usize; 3] {
        let ([depth, maps], lanes, [rows, columns]) = (self.group(), self.isa.lanes::<T>(), self.bordered());
        let block = maps.min(self.isa.most_rows()[0]);
        [depth * rows * columns, block * windows, block * windows].map(|pixels| aligned::<T>(turned_len(pixels, lanes)))
    }

    /// The largest of each 2x2 pixels, side by side, of `σ(x ⋆ w + b)`, and where it is, for a batch of whole vectors of images.
    /// True if there is a sum that is not finite: then nothing else counts.
    pub(crate) fn pooled<T: Scalar>(
        &self,
        x: &[T],
        packed: Packed<'_, T>,
        epilogue: Epilogue<'_, T>,
        pooled: Pooled<'_, T>,
        scratch: &mut [T],
    ) -> bool {
        let (lanes, [_, maps], size) = (self.isa.lanes::<T>(), self.group(), self.bordered());
        let strange = AtomicBool::new(false);
        let (windows, count) = (pooled.shape.output(), pooled.shape.output()[0] * pooled.shape.output()[1]);
        let (dim, lens) = ([self.batch, self.shape.out_channels(), count], self.pooled_lens::<T>(count));
        let whole = Cell::whole((view3(dim, pooled.y), view3(dim, pooled.positions)), scratch);
        grid(whole, self.cuts::<T>(count), lens.into_iter().sum(), &|cell: Cell<'_, (ArrayViewMut3<'_, T>, _), T>| {
            let (turned, scratch) = cell.scratch.split_at_mut(lens[0]);
            let (largest, places) = scratch.split_at_mut(lens[1]);
            let ((mut y, mut positions), mut is_strange) = (cell.view, false);
            let (images, channels, _) = y.dim();
            for first in (0..images).step_by(lanes) {
                for (group, within) in groups_within(cell.start[1]..cell.start[1] + channels, maps) {
                    self.turn_underlays(x, [cell.start[0] + first, lanes], group, turned);
                    for (block, weights) in self.blocks(packed, epilogue, group, within) {
                        let op = PooledAlongImages {
                            shape: self.shape,
                            x: turned,
                            size,
                            weights,
                            activation: epilogue.activation,
                            windows,
                            y: &mut *largest,
                            positions: &mut *places,
                            strange: &mut is_strange,
                        };
                        T::run(self.isa, op);
                        for (at, channel) in block.enumerate() {
                            let channel = group * maps + channel - cell.start[1];
                            let part = s![first..first + lanes, channel, ..];
                            let (from, to) = (&largest[at * count * lanes..], y.slice_mut(part));
                            T::run(self.isa, TurnBack { from, to });
                            let (from, to) = (&places[at * count * lanes..], positions.slice_mut(part));
                            T::run(self.isa, TurnBackPositions(TurnBack { from, to }));
                        }
                    }
                }
            }
            if is_strange {
                strange.store(true, Ordering::Relaxed);
            }
        });
        strange.into_inner()
    }
}
