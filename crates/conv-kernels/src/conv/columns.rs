//! The column matrix: underlays as columns, so that a convolution becomes a matrix product.
//!
//! "An easy way to compute this operation for a given feature neuron is to flatten the activations of the underlay
//! into a single column and to flatten the weights filter into a single row" (the article). With one column for each
//! output pixel, all overlays meet all underlays in one product: `Y (O × pixels) = W (O × taps) · columns (taps ×
//! pixels)`. Row `(c, kh, kw)` of the matrix is what kernel element `(kh, kw)` sees of channel `c`.
//!
//! ```text
//! for each tap (c, kh, kw), for each output pixel (i, j):    columns[tap, pixel] = x[c, i·stride + kh·dilation − padding, …]
//! ```
//!
//! Cost: each pixel is written once for each tap that sees it, read again when the product packs it, and multiplied `O` times.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2};

use crate::simd::rows::{copy, every_second, spread};
use crate::simd::{Op, Simd};
use crate::{Conv2dShape, Scalar};

/// Writes the underlays of output pixels, with zeros where they lie on padding.
pub(crate) struct Gather<'a, T> {
    pub(crate) shape: &'a Conv2dShape,
    /// The channels of one group, or some of them.
    pub(crate) image: &'a [T],
    pub(crate) pixels: &'a Range<usize>,
    /// `(taps, pixels)`.
    pub(crate) columns: ArrayViewMut2<'a, T>,
}

impl<T: Scalar> Op<T> for Gather<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let Self { shape, image, pixels, mut columns } = self;
        let width = shape.input()[1];
        let mut rows = columns.rows_mut().into_iter();
        for plane in image.chunks_exact(shape.in_pixels()) {
            for (kernel_row, kernel_column) in elements(shape) {
                let (vertical, horizontal) = (shape.reach(0, kernel_row), shape.reach(1, kernel_column));
                let Some(row) = rows.next() else { return };
                let row = row.into_slice().expect("the rows of the column matrix are contiguous");
                for (out_row, run, at) in runs(pixels, shape.output()[1]) {
                    let target = &mut row[at..at + run.len()];
                    let real = vertical.input(out_row).zip(horizontal.within(&run));
                    let Some((line, (inside, first))) = real else {
                        target.fill(T::ZERO);
                        continue;
                    };
                    if inside != run {
                        target.fill(T::ZERO);
                    }
                    let target = &mut target[inside.start - run.start..inside.end - run.start];
                    let line = &plane[line * width + first..(line + 1) * width];
                    if horizontal.stride > 1 {
                        // The lines between are left out, so that the CPU does not see what comes next: asks for the same
                        // line two channels further.
                        for pixel in (0..line.len()).step_by(S::LANES) {
                            simd.prefetch_read(line.as_ptr().wrapping_add(2 * shape.in_pixels() + pixel));
                        }
                    }
                    match horizontal.stride {
                        1 => copy(simd, &line[..target.len()], target),
                        2 => _ = every_second(simd, line, target),
                        stride => target.iter_mut().zip(line.iter().step_by(stride)).for_each(|(t, &pixel)| *t = pixel),
                    }
                }
            }
        }
    }
}

/// The transpose of [`Gather`]: adds each column to the underlay that it stands for, and drops what lies on padding.
pub(crate) struct Scatter<'a, T> {
    pub(crate) shape: &'a Conv2dShape,
    /// `(taps, pixels)`.
    pub(crate) columns: ArrayView2<'a, T>,
    pub(crate) pixels: &'a Range<usize>,
    /// The channels of one group, or some of them; zeros at first.
    pub(crate) image: &'a mut [T],
}

impl<T: Scalar> Op<T> for Scatter<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let Self { shape, columns, pixels, image } = self;
        let width = shape.input()[1];
        let alone = shape.kernel() == [1, 1];
        let mut rows = columns.rows().into_iter();
        for plane in image.chunks_exact_mut(shape.in_pixels()) {
            for (kernel_row, kernel_column) in elements(shape) {
                let (vertical, horizontal) = (shape.reach(0, kernel_row), shape.reach(1, kernel_column));
                let Some(row) = rows.next() else { return };
                let row = row.to_slice().expect("the rows of the column matrix are contiguous");
                for (out_row, run, at) in runs(pixels, shape.output()[1]) {
                    let real = vertical.input(out_row).zip(horizontal.within(&run));
                    let Some((line, (inside, first))) = real else { continue };
                    let source = &row[at + inside.start - run.start..at + inside.end - run.start];
                    let line = &mut plane[line * width + first..(line + 1) * width];
                    match horizontal.stride {
                        1 => line.iter_mut().zip(source).for_each(|(pixel, &s)| *pixel += s),
                        2 if alone => spread(simd, source, &mut line[..2 * source.len() - 1]),
                        stride => line.iter_mut().step_by(stride).zip(source).for_each(|(pixel, &s)| *pixel += s),
                    }
                }
            }
        }
    }
}

/// The kernel's elements, row by row.
fn elements(shape: &Conv2dShape) -> impl Iterator<Item = (usize, usize)> + use<> {
    let [rows, columns] = shape.kernel();
    (0..rows).flat_map(move |row| (0..columns).map(move |column| (row, column)))
}

/// Cuts consecutive pixels at the ends of the image's rows of `width`: `(row, columns in it, index of the first)`.
fn runs(pixels: &Range<usize>, width: usize) -> impl Iterator<Item = (usize, Range<usize>, usize)> + use<> {
    let Range { start, end } = *pixels;
    (start / width..end.div_ceil(width)).map(move |row| {
        let first = row * width;
        let run = start.max(first) - first..end.min(first + width) - first;
        let at = first + run.start - start;
        (row, run, at)
    })
}
