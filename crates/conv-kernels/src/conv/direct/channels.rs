//! Forward with vectors along the output channels: see [`CorrelateChannels`].

use ndarray::Axis;

use super::{Direct, Overlays};
use crate::scratch::aligned;
use crate::simd::channels::{CorrelateChannels, sums_len};
use crate::simd::tiles::{activates, even_parts};
use crate::{Epilogue, Scalar};

/// Pixels whose sums, two vectors each, half fill the first cache.
const PIXELS: usize = 256;

impl Direct<'_> {
    /// Output rows that are computed together.
    fn channels_rows(&self) -> usize {
        (PIXELS / self.shape.output()[1]).clamp(1, self.geometry.rows())
    }

    /// Elements of the packed weights: the channels of a group fill vectors.
    fn packed_channels_len<T: Scalar>(&self) -> usize {
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
        let (taps, width, maps) = (self.geometry.taps(), self.shape.output()[1], self.group().1);
        let len = self.packed_channels_len::<T>();
        let (packed, cells) = scratch.split_at_mut(aligned::<T>(len));
        let lanes = self.isa.lanes::<T>();
        overlays.pack_channels(self.shape, lanes, &mut packed[..len]);
        let (packed, of_group) = (&*packed, len / self.shape.groups());
        self.for_each_strip(x, y, cells, self.channels_lens::<T>(), &|underlays, channels, mut y, [sums, _]| {
            let bias = epilogue.bias.map(|bias| &bias[channels.clone()]);
            let first = channels.start / maps * of_group + channels.start % maps * taps.len();
            let weight = &packed[first..first + channels.len().next_multiple_of(lanes) * taps.len()];
            for rows in even_parts(y.ncols() / width, self.channels_rows()) {
                let op = CorrelateChannels {
                    image: &underlays[rows.start * self.geometry.pitch()..],
                    taps,
                    weight,
                    bias,
                    activation: epilogue.activation,
                    runs: self.geometry.separate_runs(self.shape, rows.len()),
                    sums: &mut *sums,
                    maps: y.slice_axis_mut(Axis(1), (rows.start * width..rows.end * width).into()),
                };
                T::run(self.isa, op);
            }
            if !activates(epilogue.activation) {
                for mut y in y.outer_iter_mut() {
                    epilogue.activation.apply(y.as_slice_mut().expect("the pixels of a feature map are contiguous"));
                }
            }
        });
    }
}
