//! Tiles whose vectors lie along the images of a batch: each lane is an image, and each pixel a vector.

mod pooled;
mod turn;

use std::ops::Range;

pub(crate) use pooled::PooledAlongImages;
pub(crate) use turn::{SpreadWinners, Turn, TurnBack, TurnBackPositions, TurnPositions, turned_len};

use super::tiles::{activate, outer, wide_rows, with_rows};
use super::{Op, Simd};
use crate::{Activation, Conv2dShape, Scalar};

/// The weights of some output channels of a group, as many as a tile has rows: `(tap, output channel)`.
#[derive(Clone, Copy)]
pub(crate) struct BlockWeights<'a, T> {
    /// From the first one on.
    pub(crate) packed: &'a [T],
    /// From one tap to the next.
    pub(crate) pitch: usize,
    /// Output channels.
    pub(crate) channels: usize,
    /// A number for each of them, or nothing.
    pub(crate) bias: Option<&'a [T]>,
}

impl<T> BlockWeights<'_, T> {
    /// Whether they are there for so many taps.
    fn check(&self, taps: usize) {
        assert!((taps - 1) * self.pitch + self.channels <= self.packed.len(), "a weight for each tap and channel");
        assert!(self.bias.is_none_or(|bias| bias.len() == self.channels), "a bias for each channel");
    }
}

/// Forward: a few output channels of a vector of images.
///
/// Each output pixel is one chain of multiply-adds from zero through the taps in their order, without those on the padding; then
/// the bias is added.
pub(crate) struct AlongImages<'a, T> {
    pub(crate) shape: &'a Conv2dShape,
    /// `(input channel of the group, row, column, lane)`.
    pub(crate) x: &'a [T],
    pub(crate) weights: BlockWeights<'a, T>,
    /// σ, where a vector can do it; the others are left to the caller.
    pub(crate) activation: Activation,
    /// `(output channel, row, column, lane)`.
    pub(crate) y: &'a mut [T],
}

/// Pixels that see the image through the same elements of the overlay.
struct Part {
    pixels: [Range<usize>; 2],
    elements: [Range<usize>; 2],
}

impl<T: Scalar> Op<T> for AlongImages<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(mut self, simd: S) {
        let (shape, channels) = (self.shape, self.weights.channels);
        assert!(self.x.len() >= shape.weight_dim()[1] * shape.in_pixels() * S::LANES, "all pixels of a group");
        assert!(self.y.len() >= channels * shape.out_pixels() * S::LANES, "room for all pixels");
        self.weights.check(shape.taps());
        for (rows, rows_seen) in parts(shape, 0) {
            for (columns, columns_seen) in parts(shape, 1) {
                let part = Part { pixels: [rows.clone(), columns], elements: [rows_seen.clone(), columns_seen] };
                with_rows!(channels, ..=wide_rows::<T, S>(), R => self.part::<S, R>(simd, &part));
            }
        }
    }
}

impl<T: Scalar> AlongImages<'_, T> {
    #[inline(always)]
    fn part<S: Simd<T>, const R: usize>(&mut self, simd: S, part: &Part) {
        let [rows, columns] = &part.pixels;
        let place = |pixel: usize| [rows.start + pixel / columns.len(), columns.start + pixel % columns.len()];
        let count = rows.len() * columns.len();
        for pixel in (0..count / 2 * 2).step_by(2) {
            self.tile::<S, R, 2>(simd, [place(pixel), place(pixel + 1)], &part.elements);
        }
        if count % 2 > 0 {
            self.tile::<S, R, 1>(simd, [place(count - 1)], &part.elements);
        }
    }

    #[inline(always)]
    fn tile<S: Simd<T>, const R: usize, const N: usize>(
        &mut self,
        simd: S,
        pixels: [[usize; 2]; N],
        elements: &[Range<usize>; 2],
    ) {
        let [height, width] = self.shape.input();
        let mut under = [self.x.as_ptr(); N];
        if elements.iter().all(|elements| !elements.is_empty()) {
            for n in 0..N {
                let [y, x] = self.shape.under(pixels[n], [elements[0].start, elements[1].start]);
                under[n] = self.x[(y * width + x) * S::LANES..].as_ptr();
            }
        }
        let planes = Planes { shape: self.shape, pixels: height * width, width };
        // SAFETY: `under` lies in the first channel, and there these elements of the overlay meet pixels of the image; so they do
        // in all channels, which `eval` has checked to be in `x`, as it has the weights of all taps.
        let mut sums = unsafe { planes.sums::<T, S, R, N>(simd, under, elements, &self.weights) };
        activate(simd, self.activation, &mut sums);
        let [map_rows, map_columns] = self.shape.output();
        for r in 0..R {
            for n in 0..N {
                let [row, column] = pixels[n];
                let at = ((r * map_rows + row) * map_columns + column) * S::LANES;
                // SAFETY: `eval` has checked that there is room for all pixels of `R` channels.
                unsafe { simd.store(sums[r][n], self.y.as_mut_ptr().add(at)) };
            }
        }
    }
}

/// How pixels lie in a group's channels.
#[derive(Clone, Copy)]
struct Planes<'a> {
    shape: &'a Conv2dShape,
    /// Pixels of a channel.
    pixels: usize,
    /// Of a row.
    width: usize,
}

impl Planes<'_> {
    /// The sums over some `elements` of the overlay for `N` pixels, the first element of each lying at `under`, and `R` channels;
    /// with the bias.
    ///
    /// # Safety
    ///
    /// From `under` on the elements must meet pixels that can be read, in all channels of the group, and there must be weights for
    /// all taps.
    #[inline(always)]
    unsafe fn sums<T: Scalar, S: Simd<T>, const R: usize, const N: usize>(
        self,
        simd: S,
        under: [*const T; N],
        [rows, columns]: &[Range<usize>; 2],
        weights: &BlockWeights<'_, T>,
    ) -> [[S::Vector; N]; R] {
        let ([kernel_rows, kernel_columns], [down, right]) = (self.shape.kernel(), self.shape.dilation());
        let mut sums = [[simd.splat(T::ZERO); N]; R];
        for channel in 0..self.shape.weight_dim()[1] {
            for row in rows.clone() {
                let tap = (channel * kernel_rows + row) * kernel_columns;
                let line = channel * self.pixels + (row - rows.start) * down * self.width;
                for column in columns.clone() {
                    let at = (line + (column - columns.start) * right) * S::LANES;
                    let mut vectors = [simd.splat(T::ZERO); N];
                    // SAFETY: the caller promises these pixels and weights.
                    unsafe {
                        for n in 0..N {
                            vectors[n] = simd.load(under[n].add(at));
                        }
                        outer(simd, weights.packed.as_ptr().add((tap + column) * weights.pitch), vectors, &mut sums);
                    }
                }
            }
        }
        if let Some(bias) = weights.bias {
            for r in 0..R {
                for n in 0..N {
                    sums[r][n] = simd.add(sums[r][n], simd.splat(bias[r]));
                }
            }
        }
        sums
    }
}

/// The outputs along an axis (0: rows, 1: columns), in parts that see the image through the same elements, and these.
#[inline(always)]
fn parts(shape: &Conv2dShape, axis: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let (outputs, mut first) = (shape.output()[axis], 0);
    std::iter::from_fn(move || {
        let (start, seen) = (first, shape.seen(axis, first.min(outputs - 1)));
        while first < outputs && shape.seen(axis, first) == seen {
            first += 1;
        }
        (start < outputs).then_some((start..first, seen))
    })
}
