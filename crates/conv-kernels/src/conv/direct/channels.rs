//! Forward with vectors along the output channels: see [`CorrelateChannels`].
//!
//! Cost: `pixels · taps · ⌈O / lanes⌉` multiply-adds of whole vectors, whatever the width of the image, and the turning of
//! the sums into maps, about five cycles a vector. It pays with small images and many channels, and with overlays that slide
//! by more than one.

use std::ops::Range;

use ndarray::{ArrayViewMut2, Axis};

use super::{Direct, Overlays};
use crate::scratch::aligned;
use crate::simd::channels::{CorrelateChannels, sums_len};
use crate::simd::tiles::{activates, even_parts};
use crate::{Epilogue, Scalar};

/// Bytes of sums that leave room for the rest in the first cache.
const SUMS_BYTES: usize = 16 << 10;

impl Direct<'_> {
    /// Pixels whose sums, two vectors each, are formed together.
    pub(super) fn channels_pixels<T: Scalar>(&self) -> usize {
        SUMS_BYTES / (2 * self.isa.lanes::<T>() * size_of::<T>())
    }

    /// Output rows that are computed together.
    fn channels_rows<T: Scalar>(&self) -> usize {
        (self.channels_pixels::<T>() / self.shape.output()[1]).clamp(1, self.geometry.rows())
    }

    /// Elements of the packed weights: the channels of a group fill vectors.
    pub(crate) fn packed_channels_len<T: Scalar>(&self) -> usize {
        self.shape.groups() * self.group().1.next_multiple_of(self.isa.lanes::<T>()) * self.shape.taps()
    }

    /// Scratch elements of a cell: a copied strip, and the sums of a block.
    fn channels_lens<T: Scalar>(&self) -> [usize; 3] {
        let sums = sums_len(self.channels_rows::<T>() * self.shape.output()[1], self.isa.lanes::<T>());
        [self.copy_len::<T>(), aligned::<T>(sums), 0]
    }

    /// Scratch elements for the forward pass.
    pub(crate) fn channels_scratch_len<T: Scalar>(&self) -> usize {
        self.forward_len(self.channels_lens::<T>())
    }

    /// `y = σ(x ⋆ w + b)`, the weights packed by [`Direct::pack_channels`]. Each sum is one chain of multiply-adds, in the
    /// order of the weights.
    pub(crate) fn forward_by_channels<T: Scalar>(
        &self,
        x: &[T],
        packed: &[T],
        epilogue: Epilogue<'_, T>,
        y: &mut [T],
        scratch: &mut [T],
    ) {
        let (width, packed) = (self.shape.output()[1], &packed[..self.packed_channels_len::<T>()]);
        self.for_each_strip(x, y, scratch, self.channels_lens::<T>(), &|underlays, strip, mut y, [sums, _]| {
            for rows in even_parts(y.ncols() / width, self.channels_rows::<T>()) {
                let image = &underlays[rows.start * self.geometry.pitch()..];
                let maps = y.slice_axis_mut(Axis(1), (rows.start * width..rows.end * width).into());
                self.forward_piece(image, packed, strip.channels.clone(), epilogue, maps, sums);
            }
        });
    }

    /// Weights in the order of these tiles: [`Direct::packed_channels_len`] elements.
    pub(crate) fn pack_channels<T: Scalar>(&self, overlays: Overlays<'_, T>, packed: &mut [T]) {
        overlays.pack_channels(self.shape, self.isa, &mut packed[..self.packed_channels_len::<T>()]);
    }

    /// Output channels of one group, the first of a block, over some rows of a strip: `maps (channels, pixels)`.
    pub(super) fn forward_piece<T: Scalar>(
        &self,
        image: &[T],
        packed: &[T],
        channels: Range<usize>,
        Epilogue { bias, activation }: Epilogue<'_, T>,
        mut maps: ArrayViewMut2<'_, T>,
        sums: &mut [T],
    ) {
        let (taps, of_group) = (self.geometry.taps(), self.group().1);
        let first = channels.start / of_group * (packed.len() / self.shape.groups());
        let weight = &packed[first + channels.start % of_group * taps.len()..];
        let weight = &weight[..channels.len().next_multiple_of(self.isa.lanes::<T>()) * taps.len()];
        let bias = bias.map(|bias| &bias[channels]);
        let runs = self.geometry.separate_runs(self.shape, maps.ncols() / self.shape.output()[1]);
        let op = CorrelateChannels { image, taps, weight, bias, activation, runs, sums, maps: maps.view_mut() };
        T::run(self.isa, op);
        if !activates(activation) {
            for mut map in maps.outer_iter_mut() {
                activation.apply(map.as_slice_mut().expect("the pixels of a feature map are contiguous"));
            }
        }
    }
}
