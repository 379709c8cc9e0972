//! Convolutions row by row, without a column matrix: [`Algorithm::Depthwise`](crate::Algorithm::Depthwise).
//!
//! Where each overlay sees one channel, a matrix product would have a single row, or few. Instead, each overlay element
//! takes its row of the image, scales it, and adds it to its row of the feature map.
//!
//! Both passes that write images add in the order of the reference, so they have its bits.

use ndarray::ArrayViewMut3;

use super::{Partials, add, finish, pass_lanes, sum_of};
use crate::threads::{Cell, Cuts, grid, rows, view3};
use crate::{Conv2dShape, Epilogue, Scalar};

/// One pass of a convolution whose groups have one input channel each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Depthwise<'a> {
    shape: &'a Conv2dShape,
    batch: usize,
}

impl<'a> Depthwise<'a> {
    pub(crate) fn new(shape: &'a Conv2dShape, batch: usize) -> Self {
        Self { shape, batch }
    }

    /// Scratch elements for the weight gradient; the other passes need none.
    pub(crate) fn weight_gradient_scratch_len<T: Scalar>(&self) -> usize {
        self.partials::<T>().scratch_len::<T>()
    }

    /// One block is one output row of one image.
    fn partials<T: Scalar>(&self) -> Partials {
        Partials::of_weights::<T>(self.shape, self.batch, self.batch * self.shape.output()[0], 0)
    }

    /// Output channels of one input channel.
    fn multiplier(&self) -> usize {
        self.shape.out_channels() / self.shape.in_channels()
    }

    /// Row `row` of channel `channel` of image `image` of the input.
    fn input_row<'x, T>(&self, x: &'x [T], image: usize, channel: usize, row: usize) -> &'x [T] {
        let [height, width] = self.shape.input();
        let first = ((image * self.shape.in_channels() + channel) * height + row) * width;
        &x[first..first + width]
    }

    /// Row `row` of channel `channel` of image `image` of the output's gradient.
    fn gradient_row<'y, T>(&self, dy: &'y [T], image: usize, channel: usize, row: usize) -> &'y [T] {
        let [height, width] = self.shape.output();
        let first = ((image * self.shape.out_channels() + channel) * height + row) * width;
        &dy[first..first + width]
    }

    /// `y = σ(x ⋆ w + b)`, one row of a feature map after the other.
    pub(crate) fn forward<T: Scalar>(&self, x: &[T], weight: &[T], epilogue: Epilogue<'_, T>, y: &mut [T]) {
        let [kernel_rows, kernel_columns] = self.shape.kernel();
        let width = self.shape.output()[1];
        let dim = [self.batch, self.shape.out_channels(), self.shape.out_pixels()];
        let cuts = Cuts::new(pass_lanes(self.shape, self.batch), dim, [1, 1, width], [0, 1, 2]);
        grid(Cell::whole(view3(dim, y), &mut []), cuts, 0, &|mut cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            let first_row = cell.start[2] / width;
            for ([image, map], y) in rows(&mut cell.view, cell.start) {
                let overlay = &weight[map * self.shape.taps()..][..self.shape.taps()];
                for (row, y) in (first_row..).zip(y.chunks_exact_mut(width)) {
                    y.fill(T::ZERO);
                    for i in 0..kernel_rows {
                        let Some(line) = self.shape.reach(0, i).input(row) else { continue };
                        let line = self.input_row(x, image, map / self.multiplier(), line);
                        for j in 0..kernel_columns {
                            let reach = self.shape.reach(1, j);
                            let y = &mut y[reach.outputs.clone()];
                            let line = &line[reach.first..];
                            add_scaled(y, 1, overlay[i * kernel_columns + j], line, reach.stride);
                        }
                    }
                }
            }
            finish(epilogue, &mut cell.view, cell.start[1]);
        });
    }

    /// `dx`: each input row collects what the rows of the feature maps above it send back.
    pub(crate) fn input_gradient<T: Scalar>(&self, dy: &[T], weight: &[T], dx: &mut [T]) {
        let [kernel_rows, kernel_columns] = self.shape.kernel();
        let width = self.shape.input()[1];
        let dim = [self.batch, self.shape.in_channels(), self.shape.in_pixels()];
        let cuts = Cuts::new(pass_lanes(self.shape, self.batch), dim, [1, 1, width], [0, 1, 2]);
        grid(Cell::whole(view3(dim, dx), &mut []), cuts, 0, &|mut cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            let first_row = cell.start[2] / width;
            for ([image, channel], dx) in rows(&mut cell.view, cell.start) {
                dx.fill(T::ZERO);
                for map in channel * self.multiplier()..(channel + 1) * self.multiplier() {
                    let overlay = &weight[map * self.shape.taps()..][..self.shape.taps()];
                    for (row, dx) in (first_row..).zip(dx.chunks_exact_mut(width)) {
                        // The last element of the overlay reaches a pixel first, when the overlay slides.
                        for i in (0..kernel_rows).rev() {
                            let Some(line) = self.shape.reach(0, i).output(row) else { continue };
                            let line = self.gradient_row(dy, image, map, line);
                            for j in (0..kernel_columns).rev() {
                                let reach = self.shape.reach(1, j);
                                let line = &line[reach.outputs.clone()];
                                let dx = &mut dx[reach.first..];
                                add_scaled(dx, reach.stride, overlay[i * kernel_columns + j], line, 1);
                            }
                        }
                    }
                }
            }
        });
    }

    /// `dweight += Σ x · dy`, over the rows of all feature maps.
    pub(crate) fn weight_gradient<T: Scalar>(&self, x: &[T], dy: &[T], dweight: &mut [T], scratch: &mut [T]) {
        let [kernel_rows, kernel_columns] = self.shape.kernel();
        let height = self.shape.output()[0];
        let sum = self.partials::<T>().sum(scratch, &|blocks, first_map, mut partial, _| {
            for (map, mut partial) in (first_map..).zip(partial.rows_mut()) {
                for (image, row) in blocks.clone().map(|block| (block / height, block % height)) {
                    let gradients = self.gradient_row(dy, image, map, row);
                    for i in 0..kernel_rows {
                        let Some(line) = self.shape.reach(0, i).input(row) else { continue };
                        let line = self.input_row(x, image, map / self.multiplier(), line);
                        for j in 0..kernel_columns {
                            let reach = self.shape.reach(1, j);
                            let gradients = &gradients[reach.outputs.clone()];
                            partial[i * kernel_columns + j] += dot(gradients, &line[reach.first..], reach.stride);
                        }
                    }
                }
            }
        });
        add(dweight, sum);
    }
}

/// `y += w · x`, each at every so many places, up to the end of the shorter one.
fn add_scaled<T: Scalar>(y: &mut [T], y_stride: usize, w: T, x: &[T], x_stride: usize) {
    if y_stride == 1 && x_stride == 1 {
        y.iter_mut().zip(x).for_each(|(y, &x)| *y += w * x);
    } else {
        y.iter_mut().step_by(y_stride).zip(x.iter().step_by(x_stride)).for_each(|(y, &x)| *y += w * x);
    }
}

/// `Σ a · b`, where `b` is read at every `stride`-th place.
fn dot<T: Scalar>(a: &[T], b: &[T], stride: usize) -> T {
    match stride {
        1 => sum_of(a, &b[..a.len()], |a, b| a * b),
        _ => a.iter().zip(b.iter().step_by(stride)).fold(T::ZERO, |sum, (&a, &b)| sum + a * b),
    }
}
