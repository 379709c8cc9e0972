//! Forward with vectors along the pixels of a row: see [`Correlate`].
//!
//! ```text
//! for each block of output channels (6, or 14 where there are 32 registers), for each two vectors of output pixels
//!     sums = 0                                               a tile, in registers
//!     for each tap (c, kh, kw)
//!         sums[o] += w[o, c, kh, kw] · x[c, pixels + (kh, kw)]     the weight in all lanes, the pixels as they lie
//!     y[o] = σ(sums[o] + b[o])
//! ```
//!
//! Cost: `taps · O · vectors` multiply-adds of whole vectors; a load for six or fourteen of them, none of which waits for
//! another. Nothing is packed but the weights, and one channel, or three, need no padding to eight: first layers are at
//! home here, and whatever has rows of at least half a vector. On the mirrored shape it is the input gradient, the "same"
//! twin of [`scatter`](super::scatter), which writes each pixel once but also multiplies the zeros around `dy`.
//!
//! A narrow feature map leaves vectors half empty. Its rows may then be joined: one long run of pixels through the
//! whole strip, which also computes what lies between the rows and nobody asked for.

use std::ops::Range;

use ndarray::{ArrayViewMut2, Axis};

use super::{Direct, Overlays, blocks};
use crate::scratch::aligned;
use crate::simd::tiles::{Correlate, activates, unfinished_len};
use crate::{Epilogue, Scalar};

impl Direct<'_> {
    /// Scratch elements for the forward pass.
    pub(crate) fn pixels_scratch_len<T: Scalar>(&self) -> usize {
        self.forward_len(self.pixels_lens::<T>())
    }

    /// Scratch elements of a cell: a copied strip, a block of joined rows, unfinished sums.
    pub(super) fn pixels_lens<T: Scalar>(&self) -> [usize; 3] {
        let [most, _] = self.isa.most_rows();
        let joined = if self.geometry.joined() { most * self.geometry.longest_run() } else { 0 };
        let runs = self.geometry.runs(self.shape, self.geometry.rows());
        let unfinished = unfinished_len(most, self.shape.taps(), runs, [self.isa.piece::<T>(), self.isa.pieces()]);
        [self.copy_len::<T>(), aligned::<T>(joined), aligned::<T>(unfinished)]
    }

    /// `y = σ(x ⋆ w + b)`, the weights packed by [`Direct::pack_pixels`]. Each sum is one chain of multiply-adds, in the
    /// order of the weights.
    pub(crate) fn forward_by_pixels<T: Scalar>(
        &self,
        x: &[T],
        packed: &[T],
        epilogue: Epilogue<'_, T>,
        y: &mut [T],
        scratch: &mut [T],
    ) {
        self.for_each_strip(
            x,
            y,
            scratch,
            self.pixels_lens::<T>(),
            &|underlays, strip, mut y, [joined, unfinished]| {
                let first = strip.channels.start;
                for block in blocks(0..strip.channels.len(), self.isa) {
                    let all = first + block.start..first + block.end;
                    let y = y.slice_axis_mut(Axis(0), block.into());
                    let buffers = [&mut *joined, &mut *unfinished];
                    self.forward_block(underlays, packed, &strip.rows, all, epilogue, y, buffers);
                }
            },
        );
    }

    /// Weights in the order of these tiles, as many as there are.
    pub(crate) fn pack_pixels<T: Scalar>(&self, overlays: Overlays<'_, T>, packed: &mut [T]) {
        overlays.pack(self.shape, self.isa, &mut packed[..self.shape.weight_len()]);
    }

    /// A block of output channels over the rows of a strip: `y (channels, pixels)`.
    #[expect(clippy::too_many_arguments, reason = "image, weights and output, each with what is taken of it")]
    pub(super) fn forward_block<T: Scalar>(
        &self,
        image: &[T],
        packed: &[T],
        rows: &Range<usize>,
        block: Range<usize>,
        Epilogue { bias, activation }: Epilogue<'_, T>,
        mut y: ArrayViewMut2<'_, T>,
        [joined, unfinished]: [&mut [T]; 2],
    ) {
        let weight = &packed[block.start * self.shape.taps()..block.end * self.shape.taps()];
        let bias = bias.map(|bias| &bias[block]);
        let ([kernel_rows, kernel_columns], width) = (self.shape.kernel(), self.shape.output()[1]);
        let (taps, of_channel) = (self.geometry.taps(), kernel_rows * kernel_columns);
        if !self.geometry.joined() {
            for (rows_there, seen) in self.geometry.sights(rows) {
                let image = &image[(rows_there.start - rows.start) * self.geometry.pitch()..];
                let runs = self.geometry.separate_runs(self.shape, rows_there.len());
                let span = seen.start * kernel_columns..seen.end * kernel_columns;
                let pixels = (rows_there.start - rows.start) * width..(rows_there.end - rows.start) * width;
                let (unfinished, maps) = (&mut *unfinished, y.slice_axis_mut(Axis(1), pixels.into()));
                let op = Correlate { image, taps, of_channel, span, weight, bias, activation, runs, unfinished, maps };
                T::run(self.isa, op);
            }
        } else {
            let (runs, span) = (self.geometry.runs(self.shape, rows.len()), 0..of_channel);
            let joined = &mut joined[..y.nrows() * runs.len];
            let maps = ArrayViewMut2::from_shape((y.nrows(), runs.len), &mut *joined);
            let maps = maps.expect("the slice was cut to channels × pixels");
            let op = Correlate { image, taps, of_channel, span, weight, bias, activation, runs, unfinished, maps };
            T::run(self.isa, op);
            for (mut y, joined) in y.outer_iter_mut().zip(joined.chunks_exact(runs.len)) {
                let y = y.as_slice_mut().expect("the pixels of a feature map are contiguous");
                for (y, row) in y.chunks_exact_mut(width).zip(joined.chunks(self.geometry.pitch())) {
                    y.copy_from_slice(&row[..width]);
                }
            }
        }
        if !activates(activation) {
            for mut y in y.outer_iter_mut() {
                activation.apply(y.as_slice_mut().expect("the pixels of a feature map are contiguous"));
            }
        }
    }
}
