//! Tiles whose vectors lie along the images of a batch: each lane is an image, and each pixel a vector.

use std::ops::Range;

use ndarray::ArrayViewMut2;

use super::squares::{from_lanes, lanes_len, to_lanes};
use super::tiles::{outer, wide_rows, with_rows};
use super::{Op, Simd};
use crate::{Conv2dShape, Scalar};

/// Elements that so many pixels need, each a vector, and what [`Turn`] may leave behind the last one.
pub(crate) const fn turned_len(pixels: usize, lanes: usize) -> usize {
    pixels * lanes + lanes_len(0, lanes)
}

/// Runs of pixels of some images into vectors, `(pixel, lane)`; lanes without an image become zeros.
pub(crate) struct Turn<'a, T> {
    /// From the first pixel of the first image on.
    pub(crate) from: &'a [T],
    /// From one image to the next.
    pub(crate) image_pitch: usize,
    /// How many.
    pub(crate) images: usize,
    /// Runs, and pixels of each.
    pub(crate) runs: [usize; 2],
    /// From one run to the next: there, and here.
    pub(crate) pitches: [usize; 2],
    /// Room for whole squares: a square more than is wanted.
    pub(crate) to: &'a mut [T],
}

impl<T: Scalar> Op<T> for Turn<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        for run in 0..self.runs[0] {
            let from = &self.from[run * self.pitches[0]..];
            let to = &mut self.to[run * self.pitches[1] * S::LANES..];
            to_lanes(simd, from, self.image_pitch, [self.images, self.runs[1]], to);
        }
    }
}

/// Vectors `(pixel, lane)` back into images, one a row.
pub(crate) struct TurnBack<'a, T> {
    pub(crate) from: &'a [T],
    pub(crate) to: ArrayViewMut2<'a, T>,
}

impl<T: Scalar> Op<T> for TurnBack<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(mut self, simd: S) {
        let pixels = self.to.ncols();
        from_lanes(simd, self.from, [0, pixels], &mut self.to);
    }
}

/// Forward: a few output channels of a vector of images.
///
/// Each output pixel is one chain of multiply-adds from zero through the taps in their order, without those on the padding.
pub(crate) struct AlongImages<'a, T> {
    pub(crate) shape: &'a Conv2dShape,
    /// `(input channel of the group, row, column, lane)`.
    pub(crate) x: &'a [T],
    /// `(tap, output channel)`.
    pub(crate) weight: &'a [T],
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
        let (shape, channels) = (self.shape, self.weight.len() / self.shape.taps());
        assert!(self.x.len() >= shape.weight_dim()[1] * shape.in_pixels() * S::LANES, "all pixels of a group");
        assert!(self.y.len() >= channels * shape.out_pixels() * S::LANES, "room for all pixels");
        assert_eq!(self.weight.len(), channels * shape.taps(), "a weight for each tap and channel");
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
        [rows, columns]: &[Range<usize>; 2],
    ) {
        let ([height, width], [kernel_rows, kernel_columns]) = (self.shape.input(), self.shape.kernel());
        let [down, right] = self.shape.dilation();
        let mut sums = [[simd.splat(T::ZERO); N]; R];
        let mut under = [self.x.as_ptr(); N];
        if !rows.is_empty() && !columns.is_empty() {
            for n in 0..N {
                let [y, x] = self.shape.under(pixels[n], [rows.start, columns.start]);
                under[n] = self.x[(y * width + x) * S::LANES..].as_ptr();
            }
        }
        for channel in 0..self.shape.weight_dim()[1] {
            for row in rows.clone() {
                let tap = (channel * kernel_rows + row) * kernel_columns;
                let line = (channel * height + (row - rows.start) * down) * width;
                for column in columns.clone() {
                    let at = (line + (column - columns.start) * right) * S::LANES;
                    let mut vectors = [simd.splat(T::ZERO); N];
                    // SAFETY: `under` lies in the first channel; these elements of the overlay meet pixels of the image
                    // there, and so in all channels, which `eval` has checked to be in `x`, like the weights of all taps.
                    unsafe {
                        for n in 0..N {
                            vectors[n] = simd.load(under[n].add(at));
                        }
                        outer(simd, self.weight.as_ptr().add((tap + column) * R), vectors, &mut sums);
                    }
                }
            }
        }
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
