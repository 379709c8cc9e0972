//! The sliding overlay for floats: plane by plane, by the tiles of `simd::plane`.
//!
//! ```text
//! for each place along the outer axes (all but the last two):
//!     pairs ← the planes of the image, and those of the overlay that lie on them
//!     results of that place ← Σ over the pairs of image plane ⋆ overlay plane
//! ```
//!
//! Each result is one chain of multiply-adds through all pairs, in the row-major order of the taps. Where an overlay
//! hangs out, it meets a border of zeros, which changes no sum: unless it holds an infinity or a NaN. Then each tap is
//! added to the results that it reaches, a row at a time.

use ndarray::{ArrayViewD, ArrayViewMut2, ArrayViewMutD, Axis, Dimension, Ix2, indices};

use super::slide::{Operands, cut, pairs_on, taps_on};
use crate::simd::Isa;
use crate::simd::plane::add::AddScaled;
use crate::sweep::{Course, STRIP_UNIT, Track};
use crate::threads::lanes;
use crate::{Epilogue, KernelError, Scalar};

/// Fills `out` with the window of the full correlation of `first` and `second` that begins at `start`.
pub(crate) fn correlate<T: Scalar>(
    first: ArrayViewD<'_, T>,
    second: ArrayViewD<'_, T>,
    start: Vec<usize>,
    out: ArrayViewMutD<'_, T>,
) -> Result<(), KernelError> {
    correlate_with(Isa::detect()?, first, second, start, out);
    Ok(())
}

/// The same by kernels of any set.
pub(crate) fn correlate_with<T: Scalar>(
    isa: Isa,
    first: ArrayViewD<'_, T>,
    second: ArrayViewD<'_, T>,
    start: Vec<usize>,
    out: ArrayViewMutD<'_, T>,
) {
    let Operands { image, overlay, start, out } = Operands::new(first, second, start, out, 2);
    let (image, overlay) = (image.as_standard_layout(), overlay.as_standard_layout());
    let planes = Planes {
        isa,
        image: Stack::of(image.shape(), image.as_slice().expect("standard layout")),
        overlay: Stack::of(overlay.shape(), overlay.as_slice().expect("standard layout")),
        finite: overlay.iter().all(|weight| weight.is_finite()),
    };
    planes.fill(&start, out);
}

/// An array as planes: slices along the last two axes.
struct Stack<'a, T> {
    elements: &'a [T],
    /// Lengths of all axes but the last two.
    outer: &'a [usize],
    /// Lengths of these.
    plane: [usize; 2],
}

impl<'a, T> Stack<'a, T> {
    fn of(shape: &'a [usize], elements: &'a [T]) -> Self {
        let (outer, plane) = shape.split_at(shape.len() - 2);
        Self { elements, outer, plane: [plane[0], plane[1]] }
    }

    /// Elements of a plane.
    fn plane_len(&self) -> usize {
        self.plane[0] * self.plane[1]
    }

    fn row(&self, plane: usize, row: usize) -> &'a [T] {
        &self.elements[plane * self.plane_len() + row * self.plane[1]..][..self.plane[1]]
    }
}

/// An overlay on its way over an image.
struct Planes<'a, T> {
    isa: Isa,
    image: Stack<'a, T>,
    overlay: Stack<'a, T>,
    /// Whether a zero may be multiplied with any element of the overlay.
    finite: bool,
}

impl<T: Scalar> Planes<'_, T> {
    /// Fills `out`, which begins at place `start` of the full correlation.
    fn fill(&self, start: &[usize], out: ArrayViewMutD<'_, T>) {
        let (image, overlay) = (&self.image, &self.overlay);
        let overlaps = image.outer.iter().chain(&image.plane).zip(overlay.outer.iter().chain(&overlay.plane));
        let overlaps = overlaps.map(|(&m, &k)| m.min(k));
        let products = out.shape().iter().copied().chain(overlaps).fold(1, u64_product);
        self.fill_parts(lanes(products), start, out);
    }

    /// The same in so many parts, of about the same size, in parallel.
    fn fill_parts(&self, parts: usize, start: &[usize], out: ArrayViewMutD<'_, T>) {
        let Some((axis, at)) = cut(out.shape(), parts) else { return self.fill_planes(start, out) };
        let (near, far) = out.split_at(axis, at);
        let mut far_start = start.to_vec();
        far_start[axis.index()] += at;
        rayon::join(|| self.fill_parts(parts / 2, start, near), || self.fill_parts(parts - parts / 2, &far_start, far));
    }

    fn fill_planes(&self, start: &[usize], mut out: ArrayViewMutD<'_, T>) {
        let axes = out.ndim() - 2;
        let (outer_start, [row, column]) = (&start[..axes], [start[axes], start[axes + 1]]);
        let mut scratch = Vec::new();
        for index in indices(&out.shape()[..axes]) {
            let places = outer_start.iter().zip(index.slice()).map(|(start, index)| start + index);
            let pairs = pairs_on(places, self.image.outer, self.overlay.outer);
            let mut plane = out.view_mut();
            for &at in index.slice() {
                plane.index_axis_inplace(Axis(0), at);
            }
            let plane = plane.into_dimensionality::<Ix2>().expect("two axes are left");
            self.fill_plane(&pairs, [row, column], plane, &mut scratch);
        }
    }

    /// Fills a plane of the output, which begins at `start` along the last two axes, in blocks of rows: few rows of a
    /// high overlay lie on a low image at a time.
    fn fill_plane(
        &self,
        pairs: &[(usize, usize)],
        mut start: [usize; 2],
        mut out: ArrayViewMut2<'_, T>,
        scratch: &mut Vec<T>,
    ) {
        for mut out in out.axis_chunks_iter_mut(Axis(0), self.image.plane[0].max(STRIP_UNIT)) {
            let (rows, width) = out.dim();
            let track = self.track(pairs, start, [rows, width]);
            if track.copies() && !self.finite {
                self.add_taps(pairs, start, out);
            } else {
                let results = if out.is_standard_layout() { 0 } else { rows * width };
                let len = track.scratch_len::<T>() + results;
                scratch.resize(scratch.len().max(len), T::ZERO);
                let (results, scratch) = scratch.split_at_mut(results);
                let (image, weight) = (self.image.elements, self.overlay.elements);
                match out.as_slice_mut() {
                    Some(out) => track.sweep(self.isa, image, weight, Epilogue::none(), 0, out, scratch),
                    None => {
                        track.sweep(self.isa, image, weight, Epilogue::none(), 0, results, scratch);
                        out.iter_mut().zip(results).for_each(|(out, &mut result)| *out = result);
                    }
                }
            }
            start[0] += rows;
        }
    }

    /// How the overlay's planes sweep over the image's, for `size` results from `start` on. Taps that meet no pixel on the
    /// way are left out.
    fn track(&self, pairs: &[(usize, usize)], start: [usize; 2], size: [usize; 2]) -> Track {
        let (plane, overlay) = (self.image.plane, self.overlay.plane);
        let taps = [0, 1].map(|axis| {
            let (m, k, last) = (plane[axis], overlay[axis], start[axis] + size[axis] - 1);
            taps_on(last, m, k).start..taps_on(start[axis], m, k).end
        });
        let course = Course {
            plane,
            // Tap t at place p lies on pixel p + t - (k - 1).
            origin: [0, 1].map(|axis| (overlay[axis] - 1) as isize - (start[axis] + taps[axis].start) as isize),
            spread: [1, 1],
            kernel: [taps[0].len(), taps[1].len()],
            kernel_pitch: overlay[1],
            stride: [1, 1],
            dilation: [1, 1],
            out: size,
        };
        let first = taps[0].start * overlay[1] + taps[1].start;
        let (image_len, overlay_len) = (self.image.plane_len(), self.overlay.plane_len());
        let layers = pairs.iter().map(|&(image, overlay)| [image * image_len, overlay * overlay_len + first]);
        Track::new::<T>(course, layers.collect(), self.isa.lanes::<T>())
    }

    /// Results as sums of rows, in which each tap is added where it covers a pixel.
    fn add_taps(&self, pairs: &[(usize, usize)], start: [usize; 2], mut out: ArrayViewMut2<'_, T>) {
        let ([height, m], [kernel_rows, k]) = (self.image.plane, self.overlay.plane);
        let (from, to) = (start[1], start[1] + out.ncols());
        let mut sums = vec![T::ZERO; out.ncols()];
        for (place, mut out) in (start[0]..).zip(out.rows_mut()) {
            sums.fill(T::ZERO);
            for &(image, overlay) in pairs {
                for row in taps_on(place, height, kernel_rows) {
                    let pixels = self.image.row(image, place + row - (kernel_rows - 1));
                    for (tap, &factor) in self.overlay.row(overlay, row).iter().enumerate() {
                        let back = k - 1 - tap;
                        let reached = from.max(back)..to.min(m + back);
                        if !reached.is_empty() {
                            let row = &pixels[reached.start - back..reached.end - back];
                            let sums = &mut sums[reached.start - from..reached.end - from];
                            T::run(self.isa, AddScaled { sums, sums_step: 1, row, row_step: 1, factor });
                        }
                    }
                }
            }
            out.iter_mut().zip(&sums).for_each(|(out, &sum)| *out = sum);
        }
    }
}

fn u64_product(product: u64, len: usize) -> u64 {
    product.saturating_mul(len as u64)
}
