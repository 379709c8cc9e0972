//! The sliding overlay for integers, a row at a time.
//!
//! Along one axis, with an image of length `m` and an overlay of length `k`, tap `t` of the overlay lies at place `p`
//! of the full correlation over element `p + t - (k - 1)` of the image, where there is one. A row of results is a
//! sum over pairs of rows (one of the image, one of the overlay that lies on it); in the inside of such a row, where
//! the overlay's row hangs out on neither side, a block of neighbouring results is kept in registers while all taps
//! pass. At the two ends each tap adds to the results that it reaches.
//!
//! Every result adds its products in the row-major order of the taps, which is that of the image elements as well.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayViewD, ArrayViewMut1, ArrayViewMutD, Axis, CowArray, Dimension, IxDyn, indices, s};

use crate::Element;
use crate::sweep::STRIP_UNIT;
use crate::threads::lanes;

/// An integer's product takes so many times a float's, about.
const PRODUCT_COST: u64 = 4;

/// The last axis is cut only into parts at least this long.
const SHORTEST_CUT: usize = 256;

/// Results of an end of a row that are summed together: few enough to stay in the first-level cache.
const END_BLOCK: usize = 512;

/// Fills `out` with the window of the full correlation of `first` and `second` that begins at `start`.
pub(crate) fn correlate<T: Element>(
    first: ArrayViewD<'_, T>,
    second: ArrayViewD<'_, T>,
    start: Vec<usize>,
    out: ArrayViewMutD<'_, T>,
) {
    let Operands { image, overlay, start, out } = Operands::new(first, second, start, out, 1);
    let (image, overlay) = (with_contiguous_rows(image), with_contiguous_rows(overlay));
    let slide = Slide { image: Rows::of(&image), overlay: Rows::of(&overlay) };
    let overlaps = slide.image.outer.iter().zip(&slide.overlay.outer).map(|(&m, &k)| m.min(k));
    let products = out.shape().iter().copied().chain(overlaps).fold(slide.overlay.len, usize::saturating_mul);
    slide.fill(lanes(PRODUCT_COST.saturating_mul(products as u64)), &start, out);
}

/// What slides over what.
pub(super) struct Operands<'a, 'out, T> {
    pub(super) image: ArrayViewD<'a, T>,
    pub(super) overlay: ArrayViewD<'a, T>,
    /// The place of the full correlation where `out` begins.
    pub(super) start: Vec<usize>,
    pub(super) out: ArrayViewMutD<'out, T>,
}

impl<'a, 'out, T: Element> Operands<'a, 'out, T> {
    /// The same correlation with at least `axes` axes, and with an overlay whose rows are the shorter ones.
    pub(super) fn new(
        first: ArrayViewD<'a, T>,
        second: ArrayViewD<'a, T>,
        start: Vec<usize>,
        out: ArrayViewMutD<'out, T>,
        axes: usize,
    ) -> Self {
        let mut operands = Self { image: first, overlay: second, start, out };
        while operands.out.ndim() < axes {
            let Self { image, overlay, mut start, out } = operands;
            start.insert(0, 0);
            let [image, overlay] = [image, overlay].map(|operand| operand.insert_axis(Axis(0)));
            operands = Self { image, overlay, start, out: out.insert_axis(Axis(0)) };
        }
        operands.exchange();
        operands
    }

    /// Exchanged operands give the reversed result, and the same sums: both operands are still read forwards, so the
    /// products come in the same order.
    fn exchange(&mut self) {
        let (m, k) = (self.image.shape(), self.overlay.shape());
        if k.last() <= m.last() {
            return;
        }
        for axis in 0..m.len() {
            self.start[axis] = m[axis] + k[axis] - 1 - self.start[axis] - self.out.shape()[axis];
            self.out.invert_axis(Axis(axis));
        }
        std::mem::swap(&mut self.image, &mut self.overlay);
    }
}

/// Where to cut an output of this shape so that it can be computed in so many parts: along its first axis of several
/// elements, at whole tiles of rows, but not into short rows.
pub(super) fn cut(shape: &[usize], parts: usize) -> Option<(Axis, usize)> {
    let last = shape.len() - 1;
    let axis = shape[..last].iter().position(|&len| len > 1).unwrap_or(last);
    let worth = parts > 1 && (axis < last || shape[last] >= 2 * SHORTEST_CUT);
    let (len, at) = (shape[axis], shape[axis] * (parts / 2) / parts);
    let whole = at.next_multiple_of(STRIP_UNIT);
    worth.then(|| (Axis(axis), if whole < len { whole } else { at.max(1) }))
}

/// The slices along the inner axes that lie over each other at these places of the outer axes, in row-major order:
/// indices into those of the image and of the overlay, which have these lengths along the outer axes.
pub(super) fn pairs_on(places: impl Iterator<Item = usize>, image: &[usize], overlay: &[usize]) -> Vec<RowPair> {
    let mut pairs = vec![(0, 0)];
    for (place, (&m, &k)) in places.zip(image.iter().zip(overlay)) {
        let along = |&(image, overlay): &RowPair| {
            taps_on(place, m, k).map(move |tap| (image * m + place + tap - (k - 1), overlay * k + tap))
        };
        pairs = pairs.iter().flat_map(along).collect();
    }
    pairs
}

/// The array itself if its rows are contiguous, else a copy in standard layout.
fn with_contiguous_rows<T: Element>(array: ArrayViewD<'_, T>) -> CowArray<'_, T, IxDyn> {
    let last = array.ndim() - 1;
    if array.strides()[last] == 1 || array.shape()[last] == 1 {
        array.into()
    } else {
        array.as_standard_layout().into_owned().into()
    }
}

/// An array as its rows (slices along the last axis), in row-major order of the other axes.
struct Rows<'a, T> {
    rows: Vec<&'a [T]>,
    /// Lengths of all axes but the last.
    outer: Vec<usize>,
    /// Length of the last axis.
    len: usize,
}

impl<'a, T: Element> Rows<'a, T> {
    fn of(array: &'a CowArray<'_, T, IxDyn>) -> Self {
        let (&len, outer) = array.shape().split_last().expect("arrays without axes were given one");
        let row = |row: ArrayView1<'a, T>| row.to_slice().expect("the rows are contiguous");
        Self { rows: array.rows().into_iter().map(row).collect(), outer: outer.to_vec(), len }
    }
}

/// An overlay on its way over an image.
struct Slide<'a, T> {
    image: Rows<'a, T>,
    overlay: Rows<'a, T>,
}

/// Rows that lie over each other: indices into the rows of the image and of the overlay.
pub(super) type RowPair = (usize, usize);

impl<T: Element> Slide<'_, T> {
    /// Fills `out`, which begins at place `start` of the full correlation, in so many parts, in parallel.
    fn fill(&self, parts: usize, start: &[usize], out: ArrayViewMutD<'_, T>) {
        let Some((axis, at)) = cut(out.shape(), parts) else { return self.fill_rows(start, out) };
        let (near, far) = out.split_at(axis, at);
        let mut far_start = start.to_vec();
        far_start[axis.index()] += at;
        rayon::join(|| self.fill(parts / 2, start, near), || self.fill(parts - parts / 2, &far_start, far));
    }

    /// Fills `out` row by row.
    fn fill_rows(&self, start: &[usize], mut out: ArrayViewMutD<'_, T>) {
        let outer_shape = out.shape()[..out.ndim() - 1].to_vec();
        let mut sums = Vec::new();
        for (index, row) in indices(outer_shape).into_iter().zip(out.rows_mut()) {
            let places = start.iter().zip(index.slice()).map(|(start, index)| start + index);
            let pairs = pairs_on(places, &self.image.outer, &self.overlay.outer);
            self.fill_row(start[start.len() - 1], &pairs, row, &mut sums);
        }
    }

    /// Fills one row of the output, which begins at place `start` of the last axis.
    fn fill_row(&self, start: usize, pairs: &[RowPair], row: ArrayViewMut1<'_, T>, sums: &mut Vec<T>) {
        let (m, k) = (self.image.len, self.overlay.len);
        let end = start + row.len();
        let inside = (k - 1).clamp(start, end)..m.clamp(start, end);
        let (left, rest) = row.split_at(Axis(0), inside.start - start);
        let (middle, right) = rest.split_at(Axis(0), inside.len());
        self.fill_end(start..inside.start, pairs, left, sums);
        self.fill_inside(inside.start, pairs, middle);
        self.fill_end(inside.end..end, pairs, right, sums);
    }

    /// Results at which the overlay's row hangs out of the image's row.
    fn fill_end(&self, places: Range<usize>, pairs: &[RowPair], mut out: ArrayViewMut1<'_, T>, sums: &mut Vec<T>) {
        let (m, k) = (self.image.len, self.overlay.len);
        for (mut out, from) in out.axis_chunks_iter_mut(Axis(0), END_BLOCK).zip(places.step_by(END_BLOCK)) {
            let to = from + out.len();
            sums.clear();
            sums.resize(out.len(), T::ZERO);
            for &(image, overlay) in pairs {
                let (image, overlay) = (self.image.rows[image], self.overlay.rows[overlay]);
                for tap in taps_on(to - 1, m, k).start..taps_on(from, m, k).end {
                    let back = k - 1 - tap;
                    let reached = from.max(back)..to.min(m + back);
                    let covered = &image[reached.start - back..reached.end - back];
                    add_products(&mut sums[reached.start - from..reached.end - from], covered, overlay[tap]);
                }
            }
            write(&mut out, sums);
        }
    }

    /// Results at which the overlay's row lies wholly on the image's row: in blocks as wide as fits, the last one
    /// overlapping the one before it.
    fn fill_inside(&self, place: usize, pairs: &[RowPair], out: ArrayViewMut1<'_, T>) {
        if out.is_empty() {
            return;
        }
        let left = place - (self.overlay.len - 1);
        match out.len() {
            32.. if size_of::<T>() <= 4 => self.fill_blocks::<32>(left, pairs, out),
            16.. => self.fill_blocks::<16>(left, pairs, out),
            8.. => self.fill_blocks::<8>(left, pairs, out),
            4.. => self.fill_blocks::<4>(left, pairs, out),
            _ => self.fill_blocks::<1>(left, pairs, out),
        }
    }

    /// [`Self::fill_inside`] in blocks of `W` results; `left` is the first image column covered.
    fn fill_blocks<const W: usize>(&self, left: usize, pairs: &[RowPair], mut out: ArrayViewMut1<'_, T>) {
        let last = out.len() - W;
        for at in (0..last).step_by(W).chain([last]) {
            let sums = self.block::<W>(left + at, pairs);
            write(&mut out.slice_mut(s![at..at + W]), &sums);
        }
    }

    /// `W` neighbouring results, the first of which covers the image from column `left`.
    fn block<const W: usize>(&self, left: usize, pairs: &[RowPair]) -> [T; W] {
        let mut sums = [T::ZERO; W];
        for &(image, overlay) in pairs {
            let (image, overlay) = (self.image.rows[image], self.overlay.rows[overlay]);
            for (covered, &tap) in image[left..].windows(W).zip(overlay) {
                add_products(&mut sums, covered, tap);
            }
        }
        sums
    }
}

/// The taps that lie on the image at `place` of the full correlation, on an axis of lengths `m` and `k`.
pub(super) fn taps_on(place: usize, m: usize, k: usize) -> Range<usize> {
    (k - 1).saturating_sub(place)..k.min(m + k - 1 - place)
}

/// `sums += covered * tap`.
#[inline(always)]
fn add_products<T: Element>(sums: &mut [T], covered: &[T], tap: T) {
    for (sum, &value) in sums.iter_mut().zip(covered) {
        *sum = sum.mul_add_to(value, tap);
    }
}

/// Copies `sums` to a row of any stride.
fn write<T: Element>(out: &mut ArrayViewMut1<'_, T>, sums: &[T]) {
    for (out, &sum) in out.iter_mut().zip(sums) {
        *out = sum;
    }
}
