//! Forward and 2x2 max pooling in one pass: of four sums one is written, and its position.

use std::ops::Range;

use super::super::tiles::{MAX_ROWS, activate, activates, wide_rows, with_rows};
use super::super::{MAX_VECTOR, Op, Simd};
use super::{BlockWeights, Planes};
use crate::{Activation, Conv2dShape, Scalar};

/// Sums under the windows of a tile's rows.
const SUMS: usize = 4 * MAX_ROWS * MAX_VECTOR;

/// Forward, pooled: a few output channels of a vector of images.
///
/// Sums and bias as in [`AlongImages`](super::AlongImages), but that padding is multiplied.
pub(crate) struct PooledAlongImages<'a, T> {
    pub(crate) shape: &'a Conv2dShape,
    /// `(input channel of the group, row, column, lane)`, with the padding.
    pub(crate) x: &'a [T],
    /// `[rows, columns]` of a channel there.
    pub(crate) size: [usize; 2],
    pub(crate) weights: BlockWeights<'a, T>,
    pub(crate) activation: Activation,
    /// `[rows, columns]` of the windows: 2x2 pixels, side by side.
    pub(crate) windows: [usize; 2],
    /// `(output channel, window, lane)`: the largest, and its place in its feature map.
    pub(crate) y: &'a mut [T],
    pub(crate) positions: &'a mut [T],
    /// Set if a sum is not finite: then the others mean nothing.
    pub(crate) strange: &'a mut bool,
}

impl<T: Scalar> Op<T> for PooledAlongImages<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(mut self, simd: S) {
        let ([rows, columns], shape) = (self.windows, self.shape);
        let covered = |axis: usize| {
            let outputs = 2 * self.windows[axis];
            (outputs - 1) * shape.stride()[axis] + 1 + (shape.kernel()[axis] - 1) * shape.dilation()[axis]
        };
        assert!(rows > 0 && columns > 0 && covered(0) <= self.size[0] && covered(1) <= self.size[1], "all underlays");
        let pixels = self.size[0] * self.size[1];
        assert!(self.x.len() >= shape.weight_dim()[1] * pixels * S::LANES, "all pixels of a group");
        let outputs = self.weights.channels * rows * columns * S::LANES;
        assert!(self.y.len() >= outputs && self.positions.len() >= outputs, "room for all windows");
        self.weights.check(shape.taps());
        with_rows!(self.weights.channels, ..=wide_rows::<T, S>(), R => self.all::<S, R>(simd));
    }
}

impl<T: Scalar> PooledAlongImages<'_, T> {
    #[inline(always)]
    fn all<S: Simd<T>, const R: usize>(&mut self, simd: S) {
        let mut sums = [T::ZERO; SUMS];
        let mut tame = simd.splat(T::ZERO);
        for row in 0..self.windows[0] {
            let rows = self.seen(0, row);
            for column in 0..self.windows[1] {
                let elements = [rows.clone(), self.seen(1, column)];
                for below in 0..2 {
                    self.pair::<S, R>(
                        simd,
                        [2 * row + below, 2 * column],
                        &elements,
                        &mut sums[2 * below * S::LANES..],
                    );
                }
                if !activates(self.activation) {
                    self.activation.apply(&mut sums[..4 * R * S::LANES]);
                }
                tame = self.pool::<S, R>(simd, [row, column], &sums, tame);
            }
        }
        let mut lanes = [T::ZERO; MAX_VECTOR];
        // SAFETY: no vector has more lanes.
        unsafe { simd.store(tame, lanes.as_mut_ptr()) };
        *self.strange |= lanes.iter().any(|&lane| lane != T::ZERO);
    }

    /// The elements of the overlay through which one of a window's two pixels along an axis sees the image.
    #[inline(always)]
    fn seen(&self, axis: usize, window: usize) -> Range<usize> {
        let (first, second) = (self.shape.seen(axis, 2 * window), self.shape.seen(axis, 2 * window + 1));
        if first.is_empty() { second } else { first.start.min(second.start)..first.end.max(second.end) }
    }

    /// The sums at a pixel and at the one to the right, `(channel, 4, lane)`.
    #[inline(always)]
    fn pair<S: Simd<T>, const R: usize>(&self, simd: S, pixel: [usize; 2], elements: &[Range<usize>; 2], to: &mut [T]) {
        let (stride, dilation, [height, width]) = (self.shape.stride(), self.shape.dilation(), self.size);
        let y = pixel[0] * stride[0] + elements[0].start * dilation[0];
        let x = pixel[1] * stride[1] + elements[1].start * dilation[1];
        let left = &self.x[(y * width + x) * S::LANES..];
        let under = [left.as_ptr(), left[stride[1] * S::LANES..].as_ptr()];
        let planes = Planes { shape: self.shape, pixels: height * width, width };
        // SAFETY: `eval` has checked that all underlays are there, and the weights of all taps.
        let mut sums = unsafe { planes.sums::<T, S, R, 2>(simd, under, elements, &self.weights) };
        activate(simd, self.activation, &mut sums);
        assert!(to.len() >= (4 * R - 2) * S::LANES, "room for the sums of all channels");
        for r in 0..R {
            for n in 0..2 {
                // SAFETY: as has just been checked.
                unsafe { simd.store(sums[r][n], to.as_mut_ptr().add((4 * r + n) * S::LANES)) };
            }
        }
    }

    /// The largest of each four sums, the first of equal ones. Adds to `tame`, which stays zero while all are finite.
    #[inline(always)]
    fn pool<S: Simd<T>, const R: usize>(
        &mut self,
        simd: S,
        [row, column]: [usize; 2],
        sums: &[T; SUMS],
        mut tame: S::Vector,
    ) -> S::Vector {
        let ([rows, columns], width) = (self.windows, self.shape.output()[1]);
        let corner = 2 * (row * width + column);
        let (places, mut positions) = ([0, 1, width, width + 1], [simd.splat(T::ZERO); 4]);
        for n in 0..4 {
            positions[n] = simd.splat(T::of((corner + places[n]) as f64));
        }
        for r in 0..R {
            let sums = &sums[4 * r * S::LANES..4 * (r + 1) * S::LANES];
            // SAFETY: a vector from here on is there.
            let mut largest = unsafe { simd.load(sums.as_ptr()) };
            let (mut position, mut total) = (positions[0], largest);
            for n in 1..4 {
                // SAFETY: as above.
                let next = unsafe { simd.load(sums.as_ptr().add(n * S::LANES)) };
                position = simd.where_positive(simd.sub(next, largest), positions[n], position);
                largest = simd.max(next, largest);
                total = simd.add(total, next);
            }
            tame = simd.mul_add(total, simd.splat(T::ZERO), tame);
            let at = ((r * rows + row) * columns + column) * S::LANES;
            // SAFETY: `eval` has checked that there is room for all windows of `R` channels.
            unsafe {
                simd.store(largest, self.y.as_mut_ptr().add(at));
                simd.store(position, self.positions.as_mut_ptr().add(at));
            }
        }
        tame
    }
}
