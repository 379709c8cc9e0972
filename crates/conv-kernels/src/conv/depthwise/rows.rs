//! The same passes row by row, as the definition has it: each overlay element takes its row of the image, scales it, and
//! adds it to its row of the feature map.
//!
//! Padding is skipped, so that an infinite weight makes no NaN there. The sums are those of the tiles, bit for bit, but
//! for the weight gradient's.

use std::ops::Range;

use crate::conv::sum_of;
use crate::simd::Isa;
use crate::simd::plane::add::AddScaled;
use crate::{Conv2dShape, Scalar};

/// Adds `factor · row` to `sums`, each at every so many places.
fn add<T: Scalar>(isa: Isa, (sums, sums_step): (&mut [T], usize), factor: T, (row, row_step): (&[T], usize)) {
    T::run(isa, AddScaled { sums, sums_step, row, row_step, factor });
}

/// Rows of a feature map from `first_row` on: `y = x ⋆ overlay`.
pub(super) fn forward<T: Scalar>(
    shape: &Conv2dShape,
    isa: Isa,
    plane: &[T],
    overlay: &[T],
    first_row: usize,
    y: &mut [T],
) {
    let ([kernel_rows, kernel_columns], [_, out_width]) = (shape.kernel(), shape.output());
    y.fill(T::ZERO);
    for (row, y) in (first_row..).zip(y.chunks_exact_mut(out_width)) {
        for i in 0..kernel_rows {
            let Some(line) = shape.reach(0, i).input(row) else { continue };
            let line = &plane[line * shape.input()[1]..][..shape.input()[1]];
            for j in 0..kernel_columns {
                let reach = shape.reach(1, j);
                if let Some(line) = line.get(reach.first..) {
                    let y = &mut y[reach.outputs.clone()];
                    add(isa, (y, 1), overlay[i * kernel_columns + j], (line, reach.stride));
                }
            }
        }
    }
}

/// Rows of an image's channel from `first_row` on: what the feature maps above it send back.
pub(super) fn input_gradient<T: Scalar>(
    shape: &Conv2dShape,
    isa: Isa,
    maps: &[T],
    overlays: &[T],
    first_row: usize,
    dx: &mut [T],
) {
    let ([kernel_rows, kernel_columns], [_, width], [_, out_width]) = (shape.kernel(), shape.input(), shape.output());
    dx.fill(T::ZERO);
    for (map, overlay) in maps.chunks_exact(shape.out_pixels()).zip(overlays.chunks_exact(shape.taps())) {
        for (row, dx) in (first_row..).zip(dx.chunks_exact_mut(width)) {
            // The last element of the overlay reaches a pixel first, when the overlay slides.
            for i in (0..kernel_rows).rev() {
                let Some(line) = shape.reach(0, i).output(row) else { continue };
                let line = &map[line * out_width..][..out_width];
                for j in (0..kernel_columns).rev() {
                    let reach = shape.reach(1, j);
                    if let Some(dx) = dx.get_mut(reach.first..) {
                        let line = &line[reach.outputs.clone()];
                        add(isa, (dx, reach.stride), overlay[i * kernel_columns + j], (line, 1));
                    }
                }
            }
        }
    }
}

/// `sums += Σ x · dy` over the rows `rows` of a feature map.
pub(super) fn weight_gradient<T: Scalar>(
    shape: &Conv2dShape,
    plane: &[T],
    map: &[T],
    rows: Range<usize>,
    sums: &mut [T],
) {
    let ([kernel_rows, kernel_columns], [_, out_width]) = (shape.kernel(), shape.output());
    for row in rows {
        let gradients = &map[row * out_width..][..out_width];
        for i in 0..kernel_rows {
            let Some(line) = shape.reach(0, i).input(row) else { continue };
            let line = &plane[line * shape.input()[1]..][..shape.input()[1]];
            for j in 0..kernel_columns {
                let reach = shape.reach(1, j);
                let gradients = &gradients[reach.outputs.clone()];
                if !gradients.is_empty() {
                    sums[i * kernel_columns + j] += dot(gradients, &line[reach.first..], reach.stride);
                }
            }
        }
    }
}

/// `Σ a · b`, where `b` is read at every `stride`-th place.
fn dot<T: Scalar>(a: &[T], b: &[T], stride: usize) -> T {
    match stride {
        1 => sum_of(a, &b[..a.len()], |a, b| a * b),
        _ => a.iter().zip(b.iter().step_by(stride)).fold(T::ZERO, |sum, (&a, &b)| sum + a * b),
    }
}
