//! Pixels of images into vectors with a lane for each image, and back; and the gradients of winners of a max pooling.

use ndarray::ArrayViewMut2;

use super::super::squares::{from_lanes, from_lanes_u32, lanes_len, to_lanes, to_lanes_u32};
use super::super::{MAX_VECTOR, Op, Simd};
use crate::Scalar;

/// Elements that so many pixels need, each a vector, and what [`Turn`] may leave behind the last one.
pub(crate) const fn turned_len(pixels: usize, lanes: usize) -> usize {
    pixels * lanes + lanes_len(0, lanes)
}

/// Runs of pixels of some images into vectors, `(pixel, lane)`; lanes without an image become zeros.
pub(crate) struct Turn<'a, E, T> {
    /// From the first pixel of the first image on.
    pub(crate) from: &'a [E],
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

impl<T: Scalar> Op<T> for Turn<'_, T, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        for run in 0..self.runs[0] {
            let from = &self.from[run * self.pitches[0]..];
            let to = &mut self.to[run * self.pitches[1] * S::LANES..];
            to_lanes(simd, from, self.image_pitch, [self.images, self.runs[1]], to);
        }
    }
}

/// The same for positions: whole numbers, less than 2^24. Lanes without an image have those of the first.
pub(crate) struct TurnPositions<'a, T>(pub(crate) Turn<'a, u32, T>);

impl<T: Scalar> Op<T> for TurnPositions<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let turn = self.0;
        for run in 0..turn.runs[0] {
            let from = &turn.from[run * turn.pitches[0]..];
            let to = &mut turn.to[run * turn.pitches[1] * S::LANES..];
            to_lanes_u32(simd, from, turn.image_pitch, [turn.images, turn.runs[1]], to);
        }
    }
}

/// Vectors `(pixel, lane)` back into images, one a row.
pub(crate) struct TurnBack<'a, E, T> {
    pub(crate) from: &'a [T],
    pub(crate) to: ArrayViewMut2<'a, E>,
}

impl<T: Scalar> Op<T> for TurnBack<'_, T, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(mut self, simd: S) {
        let pixels = self.to.ncols();
        from_lanes(simd, self.from, [0, pixels], &mut self.to);
    }
}

/// The same for positions.
pub(crate) struct TurnBackPositions<'a, T>(pub(crate) TurnBack<'a, u32, T>);

impl<T: Scalar> Op<T> for TurnBackPositions<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let TurnBack { from, mut to } = self.0;
        let pixels = to.ncols();
        from_lanes_u32(simd, from, [0, pixels], &mut to);
    }
}

/// Gradients of 2x2 windows, side by side, to the pixels that were the largest under them; zeros to all others.
pub(crate) struct SpreadWinners<'a, T> {
    /// Gradients and positions, `(channel, window, lane)`, the latter within planes of which the rows here are a part.
    pub(crate) dy: &'a [T],
    pub(crate) positions: &'a [T],
    pub(crate) channels: usize,
    /// `[rows, columns]` of the windows.
    pub(crate) windows: [usize; 2],
    /// `[rows, columns]` of the pixels, and the position of the first one.
    pub(crate) pixels: [usize; 2],
    pub(crate) first: usize,
    /// `(channel, pixel, lane)`.
    pub(crate) to: &'a mut [T],
    /// Set if a position lies elsewhere than under its own window: then `to` means nothing.
    pub(crate) strays: &'a mut bool,
}

impl<T: Scalar> Op<T> for SpreadWinners<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let ([rows, columns], [height, width]) = (self.windows, self.pixels);
        assert!(2 * rows <= height && 2 * columns <= width, "windows fit the rows");
        let zero = simd.splat(T::ZERO);
        let (places, mut offsets) = ([0, 1, width, width + 1], [zero; 4]);
        for n in 0..4 {
            offsets[n] = simd.splat(T::of(places[n] as f64));
        }
        let mut strays = zero;
        for channel in 0..self.channels {
            let windows = channel * rows * columns * S::LANES..(channel + 1) * rows * columns * S::LANES;
            let (dy, positions) = (&self.dy[windows.clone()], &self.positions[windows]);
            let to = &mut self.to[channel * height * width * S::LANES..][..height * width * S::LANES];
            for row in 0..rows {
                for column in 0..columns {
                    let (at, corner) = ((row * columns + column) * S::LANES, 2 * (row * width + column));
                    let first = simd.splat(T::of((self.first + corner) as f64));
                    // SAFETY: these windows are there, and the pixels under them.
                    unsafe {
                        let dy = simd.load(dy.as_ptr().add(at));
                        let place = simd.sub(simd.load(positions.as_ptr().add(at)), first);
                        for n in 0..4 {
                            let to = to.as_mut_ptr().add((corner + places[n]) * S::LANES);
                            simd.store(simd.where_equal(place, offsets[n], dy, zero), to);
                        }
                        // No product of neighbouring whole numbers is negative, and only those with zero are zero.
                        let (second, third) = (simd.sub(place, offsets[1]), simd.sub(place, offsets[2]));
                        let upper = simd.mul(place, second);
                        let lower = simd.mul(third, simd.sub(third, offsets[1]));
                        strays = simd.max(simd.mul(upper, lower), strays);
                    }
                }
            }
            if 2 * columns < width {
                to.chunks_exact_mut(width * S::LANES).for_each(|row| row[2 * columns * S::LANES..].fill(T::ZERO));
            }
            to[2 * rows * width * S::LANES..].fill(T::ZERO);
        }
        let mut lanes = [T::ZERO; MAX_VECTOR];
        // SAFETY: no vector has more lanes.
        unsafe { simd.store(strays, lanes.as_mut_ptr()) };
        *self.strays |= lanes.iter().any(|&lane| lane > T::ZERO);
    }
}
