//! Planes in borders of zeros, and the overlays that sweep over them strip by strip.
//!
//! ```text
//! for each strip of rows of results:
//!     copy the rows of the planes under it into a border of zeros, unless they can be read where they are
//!     let the tiles of `simd::plane` compute its results
//! ```
//!
//! A strip and its copy stay in the second cache, so that no border costs a copy of the whole image. The copy also
//! makes the tiles' work uniform: with a stride it takes the columns apart, so that what one column of the overlay
//! meets lies side by side; zeros between the pixels make an input gradient with stride a plain correlation; and
//! results narrower than a vector get columns that nobody asked for.

use std::ops::Range;

use crate::scratch::aligned;
use crate::simd::plane::Sweep;
use crate::simd::rows::{Rows, copy, copy_rows, split, spread, zeros};
use crate::simd::tiles::activates;
use crate::simd::{Isa, Op, Simd};
use crate::{Epilogue, Scalar};

/// Bytes that a strip's copy may take.
const STRIP_BYTES: usize = 96 << 10;

/// A bordered plane that is not small has at most so many times the plane's pixels.
const MAX_BORDER: usize = 8;

/// So few pixels may be bordered by any number of others.
const SMALL: usize = 1 << 14;

/// Strips, but for the last, have a multiple of this many rows, as have the tallest tiles.
pub(crate) const STRIP_UNIT: usize = 6;

/// How an overlay moves over planes in a border of zeros. Rows come first in all pairs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course {
    /// Rows and columns of a plane.
    pub(crate) plane: [usize; 2],
    /// Where the plane's first pixel lies under the first result; negative where the plane begins before it.
    pub(crate) origin: [isize; 2],
    /// From a pixel of the plane to the next: more than 1 where zeros come between.
    pub(crate) spread: [usize; 2],
    /// Rows and columns of the overlay.
    pub(crate) kernel: [usize; 2],
    /// From a row of the overlay to the next.
    pub(crate) kernel_pitch: usize,
    /// How far it moves from a result to the next.
    pub(crate) stride: [usize; 2],
    /// From a pixel under it to the next.
    pub(crate) dilation: [usize; 2],
    /// Rows and columns of results.
    pub(crate) out: [usize; 2],
}

impl Course {
    /// Rows and columns under `results` neighbouring results along an axis.
    fn under(&self, axis: usize, results: usize) -> usize {
        (results - 1) * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis] + 1
    }

    /// Whether zeros are no more than a few times the pixels, for vectors of so many lanes.
    pub(crate) fn is_affordable(&self, lanes: usize) -> bool {
        let bordered = |axis: usize, results: usize| {
            // Columns taken apart come in whole strides.
            (results - 1)
                .checked_mul(self.stride[axis])?
                .checked_add(self.under(axis, 1))?
                .checked_add(self.stride[axis])
        };
        let pixels = bordered(0, self.out[0]).zip(bordered(1, self.out[1].max(lanes)));
        let pixels = pixels.and_then(|(rows, columns)| rows.checked_mul(columns));
        let most = (self.plane[0] * self.plane[1]).saturating_mul(MAX_BORDER).saturating_add(SMALL);
        let between = self.spread[0].saturating_mul(self.spread[1]);
        between <= MAX_BORDER && pixels.is_some_and(|pixels| pixels <= most)
    }

    /// Whether all results see pixels of the plane alone.
    pub(crate) fn is_inside(&self) -> bool {
        let inside = |axis: usize| {
            self.origin[axis] <= 0
                && self.under(axis, self.out[axis]) <= self.plane[axis].saturating_sub(self.skipped(axis))
        };
        self.spread == [1, 1] && inside(0) && inside(1)
    }

    /// Rows or columns of the plane before the first result.
    fn skipped(&self, axis: usize) -> usize {
        (-self.origin[axis]).max(0) as usize
    }

    /// The pixels of the plane that lie in `range` of the bordered plane along `axis`, and where the first lies there.
    fn pixels(&self, axis: usize, range: &Range<usize>) -> (Range<usize>, usize) {
        let (origin, spread) = (self.origin[axis], self.spread[axis] as isize);
        let before =
            |at: usize| ((at as isize - origin).max(0) as usize).div_ceil(spread as usize).min(self.plane[axis]);
        let pixels = before(range.start)..before(range.end);
        let first = origin + pixels.start as isize * spread - range.start as isize;
        (pixels, first.clamp(0, range.len() as isize) as usize)
    }
}

/// A course, prepared for vectors of some length.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    course: Course,
    /// Columns of results that are computed: at least a vector.
    width: usize,
    /// Whether rows are copied.
    copies: bool,
    /// From a row to the next, as the tiles see them.
    pitch: usize,
    /// Columns of the plane that a row's copy has, and where the first of them would lie, were columns not taken apart.
    inside: Range<usize>,
    left: usize,
    /// The part of a row's copy that is not border.
    span: Range<usize>,
    /// Where each column of the overlay meets a row.
    columns: Vec<usize>,
    /// Where each plane and its overlay begin, for the caller.
    layers: Vec<[usize; 2]>,
    /// The same, as the tiles see them.
    seen: Vec<[usize; 2]>,
    /// Rows of results in the tallest strip.
    strip: usize,
}

impl Track {
    /// For vectors of `lanes` elements of type `T`; `layers` says where each plane and its overlay begin.
    pub(crate) fn new<T: Scalar>(course: Course, layers: Vec<[usize; 2]>, lanes: usize) -> Self {
        let width = course.out[1].max(lanes);
        let copies = !course.is_inside() || course.stride[1] > 1 || width > course.out[1];
        // Columns taken apart: those that neighbouring results meet lie side by side.
        let phases = course.stride[1];
        let phase = course.under(1, width).div_ceil(phases);
        let pitch = if copies { phases * phase } else { course.plane[1] };
        let columns = (0..course.kernel[1]).map(|j| j * course.dilation[1]);
        let columns = columns.map(|at| if copies { at % phases * phase + at / phases } else { at }).collect();

        let row_bytes = layers.len().max(1) * pitch * size_of::<T>() * course.stride[0];
        let halo = course.under(0, 1) / course.stride[0];
        let strip = (STRIP_BYTES / row_bytes).max(halo).max(1).next_multiple_of(STRIP_UNIT).min(course.out[0]);
        let plane = course.under(0, strip) * pitch;
        let seen = layers.iter().enumerate().map(|(index, layer)| [index * plane, layer[1]]).collect();
        let seen = if copies { seen } else { layers.clone() };
        let (inside, left) = course.pixels(1, &(0..pitch));
        let span = match course.stride[1] {
            1 => left..(left + inside.len() * course.spread[1]).min(pitch),
            _ => 0..pitch,
        };
        Self { course, width, copies, pitch, inside, left, span, columns, layers, seen, strip }
    }

    /// Whether rows are copied into a border of zeros.
    pub(crate) fn copies(&self) -> bool {
        self.copies
    }

    /// Columns of results that are computed.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// From a row to the next, as the tiles see them.
    pub(crate) fn pitch(&self) -> usize {
        self.pitch
    }

    /// Where each column of the overlay meets a row.
    pub(crate) fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Rows of results in the tallest strip.
    pub(crate) fn strip(&self) -> usize {
        self.strip
    }

    /// Scratch elements for the copy of a strip.
    pub(crate) fn copy_len<T: Scalar>(&self) -> usize {
        let rows = if self.copies { self.course.under(0, self.strip) } else { 0 };
        aligned::<T>(self.layers.len() * rows * self.pitch)
    }

    /// Scratch elements for a strip of results that are narrower than a vector.
    fn narrow_len<T: Scalar>(&self) -> usize {
        if self.width > self.course.out[1] { aligned::<T>(self.strip * self.width) } else { 0 }
    }

    /// Scratch elements for [`Track::sweep`].
    pub(crate) fn scratch_len<T: Scalar>(&self) -> usize {
        self.copy_len::<T>() + self.narrow_len::<T>()
    }

    /// What lies under the results `rows`, at most a strip of them.
    pub(crate) fn under<'b, T: Scalar>(
        &self,
        isa: Isa,
        planes: &'b [T],
        rows: &Range<usize>,
        copy: &'b mut [T],
    ) -> &'b [T] {
        let Course { plane: [_, width], stride, .. } = self.course;
        let first = rows.start * stride[0];
        if !self.copies {
            return &planes[(self.course.skipped(0) + first) * width + self.course.skipped(1)..];
        }
        T::run(isa, Border { track: self, planes, rows: first..first + self.course.under(0, rows.len()), copy });
        copy
    }

    /// `out = σ(Σ weight ⋆ planes + bias)` for the rows of results from `first_row` on that `out` has room for.
    #[expect(clippy::too_many_arguments, reason = "what is swept over, what sweeps, what follows, and what comes out")]
    pub(crate) fn sweep<T: Scalar>(
        &self,
        isa: Isa,
        planes: &[T],
        weight: &[T],
        epilogue: Epilogue<'_, T>,
        first_row: usize,
        out: &mut [T],
        scratch: &mut [T],
    ) {
        let Course { kernel, kernel_pitch, stride, dilation, out: [_, width], .. } = self.course;
        let (copy, narrow) = scratch.split_at_mut(self.copy_len::<T>());
        let fused = activates(epilogue.activation);
        let mut row = first_row;
        for out in out.chunks_mut(self.strip * width) {
            let rows = row..row + out.len() / width;
            let wide = self.width == width;
            let image = self.under(isa, planes, &rows, copy);
            let sweep = Sweep {
                image,
                layers: &self.seen,
                pitch: self.pitch,
                stride: stride[0],
                dilation: dilation[0],
                weight,
                kernel_rows: kernel[0],
                weight_pitch: kernel_pitch,
                columns: &self.columns,
                bias: epilogue.bias.map(|bias| bias[0]),
                activation: if fused { epilogue.activation } else { crate::Activation::Identity },
                size: [rows.len(), self.width],
                out: if wide { &mut *out } else { &mut *narrow },
                out_pitch: self.width,
            };
            T::run(isa, sweep);
            if !wide {
                for (out, narrow) in out.chunks_exact_mut(width).zip(narrow.chunks_exact(self.width)) {
                    out.copy_from_slice(&narrow[..width]);
                }
            }
            if !fused {
                epilogue.activation.apply(out);
            }
            row = rows.end;
        }
    }
}

/// Copies rows of the planes into a border of zeros.
struct Border<'a, T> {
    track: &'a Track,
    planes: &'a [T],
    /// Rows, counted in the bordered plane.
    rows: Range<usize>,
    copy: &'a mut [T],
}

impl<T: Scalar> Op<T> for Border<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let Self { track, planes, rows, copy } = self;
        let Track { course, pitch, ref span, .. } = *track;
        let width = course.plane[1];
        let (inside, above) = course.pixels(0, &rows);
        for (&[plane, _], &[seen, _]) in track.layers.iter().zip(&track.seen) {
            let copy = &mut copy[seen..seen + rows.len() * pitch];
            let plane = &planes[plane..plane + course.plane[0] * width];
            if inside.is_empty() {
                zeros(simd, copy, copy.len());
                continue;
            }
            let first = above * pitch + span.start;
            let pixels = |row: usize| &plane[(inside.start + row) * width..][track.inside.clone()];
            zeros(simd, copy, first);
            if course.stride[1] == 1 && course.spread == [1, 1] {
                let rows = Rows { count: inside.len(), len: span.len(), from_pitch: width, to_pitch: pitch };
                copy_rows(simd, rows, &plane[inside.start * width + track.inside.start..], &mut copy[first..]);
                continue;
            }
            let mut done = first;
            for row in 0..inside.len() {
                let at = (above + row * course.spread[0]) * pitch;
                // What runs over here is written after it.
                zeros(simd, &mut copy[done..], at + span.start - done);
                done = at + span.end;
                track.copy_row(simd, pixels(row), &mut copy[at + span.start..done]);
            }
            copy[done..].fill(T::ZERO);
        }
    }
}

impl Track {
    /// Copies a row of a plane to its span of a bordered row.
    #[inline(always)]
    fn copy_row<T: Scalar, S: Simd<T>>(&self, simd: S, pixels: &[T], row: &mut [T]) {
        match (self.course.stride[1], self.course.spread[1]) {
            (1, 1) => copy(simd, pixels, row),
            (1, 2) => spread(simd, pixels, row),
            (1, spread) => {
                row.fill(T::ZERO);
                row.iter_mut().step_by(spread).zip(pixels).for_each(|(to, &pixel)| *to = pixel);
            }
            (2, _) => {
                zeros(simd, row, row.len());
                let (even, odd) = row.split_at_mut(self.pitch / 2);
                let (even, odd) = (&mut even[self.left.div_ceil(2)..], &mut odd[self.left / 2..]);
                let (first, second) = if self.left.is_multiple_of(2) { (even, odd) } else { (odd, even) };
                split(simd, pixels, first, second);
            }
            (stride, _) => {
                row.fill(T::ZERO);
                for (phase, row) in row.chunks_exact_mut(self.pitch / stride).enumerate() {
                    // The first pixel whose bordered column is `phase`, or a multiple of the stride further.
                    let first = (phase + stride - self.left % stride) % stride;
                    let row = row.iter_mut().skip((self.left + first) / stride);
                    row.zip(pixels.iter().skip(first).step_by(stride)).for_each(|(to, &pixel)| *to = pixel);
                }
            }
        }
    }
}
