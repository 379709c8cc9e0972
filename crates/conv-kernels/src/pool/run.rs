//! The passes of pooling, after every length has been checked.
//!
//! The kernels are plain loops over rows, without branches, which the compiler turns into vectors; as [`Op`](crate::simd::Op)s they are
//! compiled for each instruction set.

use ndarray::ArrayViewMut3;

use super::Pool2dShape;
use super::max::SendBack;
use super::mean::{MeanPlane, Share};
use crate::Scalar;
use crate::simd::Isa;
use crate::simd::pool::MaxRows;
use crate::threads::{Cell, grid, rows, view3};

/// One pass, with what it reads and what it writes.
#[derive(Debug)]
pub enum Pooling<'a, T> {
    /// [`crate::max_pool2d`].
    Max { x: &'a [T], y: &'a mut [T], positions: &'a mut [u32] },
    /// [`crate::max_pool2d_backward`].
    MaxBackward { dy: &'a [T], positions: &'a [u32], dx: &'a mut [T] },
    /// [`crate::avg_pool2d`].
    Mean { x: &'a [T], y: &'a mut [T] },
    /// [`crate::avg_pool2d_backward`].
    MeanBackward { dy: &'a [T], dx: &'a mut [T] },
}

impl<T: Scalar> Pooling<'_, T> {
    pub(crate) fn run(self, shape: &Pool2dShape, batch: usize, isa: Isa) {
        match self {
            Self::Max { x, y, positions } => max(shape, batch, isa, x, y, positions),
            Self::Mean { x, y } => mean(shape, batch, isa, x, y),
            Self::MaxBackward { dy, positions, dx } => {
                each_input_plane(shape, batch, dx, &|at, dx| {
                    let outputs = shape.plane(at, shape.out_pixels());
                    T::run(isa, SendBack { shape, dy: &dy[outputs.clone()], positions: &positions[outputs], dx });
                });
            }
            Self::MeanBackward { dy, dx } => {
                each_input_plane(shape, batch, dx, &|at, dx| {
                    let dy = &dy[shape.plane(at, shape.out_pixels())];
                    T::run(isa, Share { shape, dy, dx });
                });
            }
        }
    }
}

fn max<T: Scalar>(shape: &Pool2dShape, batch: usize, isa: Isa, x: &[T], y: &mut [T], positions: &mut [u32]) {
    let dim = [batch, shape.channels(), shape.out_pixels()];
    let whole = Cell::whole((view3(dim, y), view3(dim, positions)), &mut [][..]);
    grid(whole, shape.output_cuts(batch), 0, &|cell: Cell<'_, (ArrayViewMut3<'_, T>, _), T>| {
        let (mut y, mut positions) = cell.view;
        let first_row = cell.start[2] / shape.output()[1];
        for ((at, y), (_, positions)) in rows(&mut y, cell.start).zip(rows(&mut positions, cell.start)) {
            let (width, window, stride) = (shape.input()[1], shape.window(), shape.stride());
            let first = first_row * stride[0] * width;
            let pixels = &x[shape.plane(at, shape.in_pixels())][first..];
            let plane = [pixels.len(), shape.output()[0]];
            T::run(isa, MaxRows { pixels, width, plane, window, stride, first, y, positions });
        }
    });
}

fn mean<T: Scalar>(shape: &Pool2dShape, batch: usize, isa: Isa, x: &[T], y: &mut [T]) {
    let whole = Cell::whole(view3([batch, shape.channels(), shape.out_pixels()], y), &mut [][..]);
    grid(whole, shape.output_cuts(batch), 0, &|mut cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
        let first_row = cell.start[2] / shape.output()[1];
        for (at, y) in rows(&mut cell.view, cell.start) {
            T::run(isa, MeanPlane { shape, plane: &x[shape.plane(at, shape.in_pixels())], first_row, y });
        }
    });
}

/// Calls `work([image, channel], plane)` for all planes of `dx`.
fn each_input_plane<T: Scalar>(
    shape: &Pool2dShape,
    batch: usize,
    dx: &mut [T],
    work: &(impl Fn([usize; 2], &mut [T]) + Sync),
) {
    let whole = Cell::whole(view3([batch, shape.channels(), shape.in_pixels()], dx), &mut [][..]);
    grid(whole, shape.input_cuts(batch), 0, &|mut cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
        rows(&mut cell.view, cell.start).for_each(|(at, dx)| work(at, dx));
    });
}
