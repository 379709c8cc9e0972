//! Channels copied into a border of zeros, so that no tile meets an edge; and added from there to the image again.

use std::ops::Range;

use super::geometry::{Geometry, real_columns};
use crate::simd::rows::{
    Rows, add_row, add_to_every_second, copy as copy_pixels, copy_rows, every_second, split, zeros,
};
use crate::simd::{Op, Simd};
use crate::{Conv2dShape, Scalar};

/// Copies the rows under `strip` of a channel, phase by phase, into a border of zeros.
pub(super) struct Border<'a, T> {
    pub(super) geometry: &'a Geometry,
    pub(super) shape: &'a Conv2dShape,
    pub(super) pixels: &'a [T],
    pub(super) strip: &'a Range<usize>,
    pub(super) copy: &'a mut [T],
}

impl<T: Scalar> Op<T> for Border<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        if self.shape.stride() == [1, 1] {
            self.whole(simd);
        } else if self.shape.stride()[1] == 2 && self.geometry.phase_columns() == 2 {
            self.halves(simd);
        } else {
            self.phases(simd);
        }
    }
}

impl<T: Scalar> Border<'_, T> {
    /// Neighbours stay neighbours.
    #[inline(always)]
    fn whole<S: Simd<T>>(self, simd: S) {
        let ([height, width], pad, pitch) = (self.shape.input(), self.shape.padding(), self.geometry.pitch());
        let used = self.geometry.phase_rows(self.shape, self.strip.len());
        let copy = &mut self.copy[..used * pitch];
        let (above, first) = (pad.top.saturating_sub(self.strip.start), self.strip.start.saturating_sub(pad.top));
        let count = used.saturating_sub(above).min(height.saturating_sub(first));
        let len = width.min(pitch.saturating_sub(pad.left));
        if count == 0 || len == 0 {
            return zeros(simd, copy, copy.len());
        }
        let start = above * pitch + pad.left;
        zeros(simd, copy, start);
        let rows = Rows { count, len, from_pitch: width, to_pitch: pitch };
        copy_rows(simd, rows, &self.pixels[first * width..], &mut copy[start..]);
    }

    /// Even pixels go to one phase, odd ones to the other, at once.
    #[inline(always)]
    fn halves<S: Simd<T>>(self, simd: S) {
        let Self { geometry, shape, pixels, strip, copy } = self;
        let (width, pitch) = (shape.input()[1], geometry.pitch());
        let phases = [0, 1].map(|phase| real_columns(shape.padding().left, 2, phase));
        let borders = phases.map(|(border, _)| border.min(pitch));
        for (rows, plane) in copy.chunks_exact_mut(geometry.phase_len(shape) * 2).enumerate() {
            let (first, second) = plane.split_at_mut(geometry.phase_len(shape));
            let copies = first.chunks_exact_mut(pitch).zip(second.chunks_exact_mut(pitch));
            for (index, (first, second)) in copies.take(geometry.phase_rows(shape, strip.len())).enumerate() {
                let Some(row) = geometry.row_under(shape, strip, rows, index) else {
                    zeros(simd, first, first.len());
                    zeros(simd, second, second.len());
                    continue;
                };
                zeros(simd, first, borders[0]);
                zeros(simd, second, borders[1]);
                let (first, second) = (&mut first[borders[0]..], &mut second[borders[1]..]);
                let (evens, odds) = if phases[0].1 == 0 { (first, second) } else { (second, first) };
                let len = width.min(2 * evens.len()).min(2 * odds.len() + 1);
                split(simd, &pixels[row * width..][..len], evens, odds);
                for rest in [&mut evens[len.div_ceil(2)..], &mut odds[len / 2..]] {
                    zeros(simd, rest, rest.len());
                }
            }
        }
    }

    /// Each phase takes every so many pixels.
    #[inline(always)]
    fn phases<S: Simd<T>>(self, simd: S) {
        let Self { geometry, shape, pixels, strip, copy } = self;
        let (width, left, stride) = (shape.input()[1], shape.padding().left, shape.stride()[1]);
        geometry.rows_under(shape, strip, copy.chunks_exact_mut(geometry.pitch()), |row, phase, copy| {
            let Some(row) = row else { return zeros(simd, copy, copy.len()) };
            let (border, first) = real_columns(left, stride, phase);
            let border = border.min(copy.len());
            zeros(simd, copy, border);
            let (row, real) = (&pixels[row * width..][..width][first.min(width)..], &mut copy[border..]);
            let count = match stride {
                1 => {
                    let count = row.len().min(real.len());
                    copy_pixels(simd, &row[..count], &mut real[..count]);
                    count
                }
                2 => every_second(simd, row, real),
                _ => {
                    real.iter_mut().zip(row.iter().step_by(stride)).for_each(|(real, &pixel)| *real = pixel);
                    row.len().div_ceil(stride).min(real.len())
                }
            };
            let rest = &mut real[count..];
            zeros(simd, rest, rest.len());
        });
    }
}

/// Adds what has come together under `strip`, phase by phase, to a channel of the image, and drops what lies on the
/// border.
pub(super) struct AddBorder<'a, T> {
    pub(super) geometry: &'a Geometry,
    pub(super) shape: &'a Conv2dShape,
    pub(super) pixels: &'a mut [T],
    pub(super) strip: &'a Range<usize>,
    pub(super) copy: &'a [T],
}

impl<T: Scalar> Op<T> for AddBorder<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let Self { geometry, shape, pixels, strip, copy } = self;
        let (width, left, stride) = (shape.input()[1], shape.padding().left, shape.stride()[1]);
        geometry.rows_under(shape, strip, copy.chunks_exact(geometry.pitch()), |row, phase, copy| {
            let Some(row) = row else { return };
            let (border, first) = real_columns(left, stride, phase);
            let real = &copy[border.min(copy.len())..];
            let row = &mut pixels[row * width..][..width][first.min(width)..];
            match stride {
                1 => add_row(simd, real, row),
                2 => add_to_every_second(simd, real, row),
                _ => row.iter_mut().step_by(stride).zip(real).for_each(|(pixel, &sum)| *pixel += sum),
            }
        });
    }
}
