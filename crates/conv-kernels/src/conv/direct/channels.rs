//! Forward with vectors along the output channels: see [`CorrelateChannels`].

use std::ops::Range;

use ndarray::{ArrayViewMut2, Axis};

use super::{Direct, Overlays};
use crate::scratch::aligned;
use crate::simd::channels::{CorrelateChannels, sums_len};
use crate::simd::tiles::{activates, even_parts};
use crate::{Epilogue, Scalar};

/// Pixels whose sums, two vectors each, half fill the first cache.
pub(super) const PIXELS: usize = 256;

impl Direct<'_> {
    /// Output rows that are computed together.
    fn channels_rows(&self) -> usize {
        (PIXELS / self.shape.output()[1]).clamp(1, self.geometry.rows())
    }

    /// Elements of the packed weights: the channels of a group fill vectors.
    pub(super) fn packed_channels_len<T: Scalar>(&self) -> usize {
        self.shape.groups() * self.group().1.next_multiple_of(self.isa.lanes::<T>()) * self.shape.taps()
    }

    /// Scratch elements of a cell: a copied strip, and the sums of a block.
    fn channels_lens<T: Scalar>(&self) -> [usize; 3] {
        let sums = sums_len(self.channels_rows() * self.shape.output()[1], self.isa.lanes::<T>());
        [self.copy_len::<T>(), aligned::<T>(sums), 0]
    }

    /// Scratch elements for the forward pass.
    pub(crate) fn channels_scratch_len<T: Scalar>(&self) -> usize {
        self.forward_len::<T>(self.packed_channels_len::<T>(), self.channels_lens::<T>())
    }

    /// `y = σ(x ⋆ w + b)`. Each sum is one chain of multiply-adds, in the order of the weights.
    pub(crate) fn forward_by_channels<T: Scalar>(
        &self,
        x: &[T],
        overlays: Overlays<'_, T>,
        epilogue: Epilogue<'_, T>,
        y: &mut [T],
        scratch: &mut [T],
    ) {
        let width = self.shape.output()[1];
        let (packed, cells) = self.pack_channels(overlays, scratch);
        self.for_each_strip(x, y, cells, self.channels_lens::<T>(), &|underlays, strip, mut y, [sums, _]| {
            for rows in even_parts(y.ncols() / width, self.channels_rows()) {
                let image = &underlays[rows.start * self.geometry.pitch()..];
                let maps = y.slice_axis_mut(Axis(1), (rows.start * width..rows.end * width).into());
                self.forward_piece(image, packed, strip.channels.clone(), epilogue, maps, sums);
            }
        });
    }

    /// The packed weights, and the rest of the scratch.
    pub(super) fn pack_channels<'s, T: Scalar>(
        &self,
        overlays: Overlays<'_, T>,
        scratch: &'s mut [T],
    ) -> (&'s [T], &'s mut [T]) {
        let len = self.packed_channels_len::<T>();
        let (packed, rest) = scratch.split_at_mut(aligned::<T>(len));
        overlays.pack_channels(self.shape, self.isa, &mut packed[..len]);
        (&packed[..len], rest)
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
