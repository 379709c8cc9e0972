//! The passes of pooling, after every length has been checked.
//!
//! The kernels are plain loops over rows, without branches, which the compiler turns into vectors; as [`Op`](crate::simd::Op)s they are
//! compiled for each instruction set.

use ndarray::{ArrayViewMut3, Axis};

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
                input_planes(shape, batch, dx, &|first, dx| {
                    let planes = dx.len() / shape.in_pixels();
                    let outputs = first * shape.out_pixels()..(first + planes) * shape.out_pixels();
                    SendBack { shape, dy: &dy[outputs.clone()], positions: &positions[outputs], dx }.run(isa);
                });
            }
            Self::MeanBackward { dy, dx } => {
                input_planes(shape, batch, dx, &|first, dx| {
                    let dy = dy[first * shape.out_pixels()..].chunks_exact(shape.out_pixels());
                    for (dx, dy) in dx.chunks_exact_mut(shape.in_pixels()).zip(dy) {
                        T::run(isa, Share { shape, dy, dx });
                    }
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
        let (first_row, rows) = (cell.start[2] / shape.output()[1], y.len_of(Axis(2)) / shape.output()[1]);
        let (width, window, stride, pitch) = (shape.input()[1], shape.window(), shape.stride(), shape.in_pixels());
        let first = first_row * stride[0] * width;
        let max_rows = |at, y: &mut [T], positions: &mut [u32]| {
            let (pixels, plane) = (&x[shape.plane(at, pitch).start + first..], [pitch, rows]);
            T::run(isa, MaxRows { pixels, width, plane, window, stride, first, y, positions });
        };
        if let (Some(y), Some(positions)) = (y.as_slice_mut(), positions.as_slice_mut()) {
            // Whole planes follow each other without a gap.
            return max_rows([cell.start[0], cell.start[1]], y, positions);
        }
        for ((at, y), (_, positions)) in self::rows(&mut y, cell.start).zip(self::rows(&mut positions, cell.start)) {
            max_rows(at, y, positions);
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

/// Calls `work(first, planes)` for all planes of `dx`, some of one image at a time; `first` counts through all images.
fn input_planes<T: Scalar>(shape: &Pool2dShape, batch: usize, dx: &mut [T], work: &(impl Fn(usize, &mut [T]) + Sync)) {
    let whole = Cell::whole(view3([batch, shape.channels(), shape.in_pixels()], dx), &mut [][..]);
    grid(whole, shape.input_cuts(batch), 0, &|mut cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
        let [image, channel, _] = cell.start;
        for (image, planes) in (image..).zip(cell.view.outer_iter_mut()) {
            let planes = planes.into_slice().expect("whole planes of one image are contiguous");
            work(image * shape.channels() + channel, planes);
        }
    });
}
