//! The algorithms of the convolution layer, and what they share: how work is cut, and what follows a sum.

pub(crate) mod columns;
pub(crate) mod definition;
pub(crate) mod depthwise;
pub(crate) mod direct;
pub(crate) mod images;
pub(crate) mod product;
pub(crate) mod winograd;

use std::ops::Range;

use ndarray::{ArrayViewMut2, ArrayViewMut3, Axis, s};

use crate::scratch::aligned;
use crate::simd::rows::Chains;
use crate::simd::{Isa, Op, Simd};
use crate::threads::{Cell, Cuts, MAX_LANES, grid, lanes, rows, view3};
use crate::{Conv2dShape, Epilogue, Scalar};

/// Partial weight gradients may take this many bytes in all; larger ones are cut into channels instead.
const PARTIALS_BYTES: usize = 8 << 20;

/// Cells worth cutting one pass over a batch into.
pub(crate) fn pass_lanes(shape: &Conv2dShape, batch: usize) -> usize {
    lanes(shape.macs().saturating_mul(batch as u64))
}

/// A product of this many rows is worth the making of its other operand.
pub(crate) const ENOUGH_ROWS: usize = 128;

/// Channels are cut at multiples of this: at whole groups, or at `enough` of them where there is one group.
pub(crate) fn channel_unit(shape: &Conv2dShape, channels: usize, enough: usize) -> usize {
    if shape.groups() > 1 { channels / shape.groups() } else { enough }
}

/// The parts of each group that lie in `channels`: `(group, channels of the group, counted within it)`.
pub(crate) fn groups_within(channels: Range<usize>, per_group: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    (channels.start / per_group..channels.end.div_ceil(per_group)).map(move |group| {
        let first = group * per_group;
        (group, channels.start.max(first) - first..channels.end.min(first + per_group) - first)
    })
}

/// `σ(z + b)` over rows of output pixels, while they are hot in the cache.
pub(crate) fn finish<T: Scalar>(epilogue: Epilogue<'_, T>, y: &mut ArrayViewMut3<'_, T>, first_channel: usize) {
    for ([_, channel], z) in rows(y, [0, first_channel, 0]) {
        if let Some(bias) = epilogue.bias {
            let b = bias[channel];
            z.iter_mut().for_each(|z| *z += b);
        }
        epilogue.activation.apply(z);
    }
}

/// Weight gradients as sums of partial sums.
///
/// The batch is cut into blocks (their number depends on shape and batch), the blocks into lanes; each lane adds up
/// its own partial gradient in block order, and the partial gradients are added in a fixed tree. So the bits do not
/// depend on the number of threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partials {
    /// Partial gradients.
    lanes: usize,
    /// What each consists of: rows, one an output channel (and some that fill groups up), and their length.
    rows: [usize; 2],
    /// Rows are cut at multiples of this.
    unit: usize,
    /// Cells in all: lanes, each cut into rows.
    cells: usize,
    /// Pieces that the batch is cut into.
    blocks: usize,
    /// Scratch elements of one cell.
    cell_len: usize,
}

impl Partials {
    /// Partial gradients of `rows`, `[how many, how long]`.
    pub(crate) fn new<T: Scalar>(
        shape: &Conv2dShape,
        batch: usize,
        blocks: usize,
        cell_len: usize,
        rows: [usize; 2],
    ) -> Self {
        let (cells, unit) = (pass_lanes(shape, batch), channel_unit(shape, rows[0], ENOUGH_ROWS));
        let lanes = cells.min(blocks).clamp(1, MAX_LANES);
        Self { lanes, rows, unit, cells, blocks, cell_len: aligned::<T>(cell_len) }.within::<T>(PARTIALS_BYTES)
    }

    /// No more of them than take so many bytes.
    pub(crate) fn within<T>(self, bytes: usize) -> Self {
        let affordable = bytes / (self.rows[0] * self.rows[1] * size_of::<T>()).max(1);
        Self { lanes: self.lanes.min(affordable).max(1), ..self }
    }

    /// Partial gradients that look like the weights.
    pub(crate) fn of_weights<T: Scalar>(shape: &Conv2dShape, batch: usize, blocks: usize, cell_len: usize) -> Self {
        Self::new::<T>(shape, batch, blocks, cell_len, [shape.out_channels(), shape.taps()])
    }

    /// The same with rows cut at multiples of `unit`.
    pub(crate) fn cut_at(self, unit: usize) -> Self {
        Self { unit, ..self }
    }

    /// Elements of all partial gradients.
    fn len(&self) -> usize {
        self.lanes * self.rows[0] * self.rows[1]
    }

    /// Scratch elements of the whole pass.
    pub(crate) fn scratch_len<T: Scalar>(&self) -> usize {
        aligned::<T>(self.len()) + self.cells * self.cell_len
    }

    /// The sum of the partial gradients, where `work(blocks, first row, partial, scratch)` writes the share of these
    /// blocks, one or more, to rows that hold anything.
    pub(crate) fn sum<'s, T: Scalar>(
        &self,
        scratch: &'s mut [T],
        work: &(impl Fn(Range<usize>, usize, ArrayViewMut2<'_, T>, &mut [T]) + Sync),
    ) -> &'s mut [T] {
        let (partials, cells) = scratch.split_at_mut(aligned::<T>(self.len()));
        let partials = &mut partials[..self.len()];
        if self.blocks == 0 {
            partials.fill(T::ZERO);
            return partials;
        }

        let [rows, row] = self.rows;
        let dim = [self.lanes, rows, row];
        let cuts = Cuts::new(self.cells, dim, [1, self.unit, row], [0, 1, 2]);
        let whole = Cell::whole(view3(dim, partials), cells);
        grid(whole, cuts, self.cell_len, &|mut cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
            for (lane, partial) in (cell.start[0]..).zip(cell.view.axis_iter_mut(Axis(0))) {
                let first = |lane: usize| lane * self.blocks / self.lanes;
                work(first(lane)..first(lane + 1), cell.start[1], partial, cell.scratch);
            }
        });

        add_tree(partials, rows * row);
        &mut partials[..rows * row]
    }
}

/// Adds rows of `len` elements in pairs, then pairs of pairs, and so on into the first.
fn add_tree<T: Scalar>(rows: &mut [T], len: usize) {
    let count = rows.len() / len;
    let cuts = Cuts::new(lanes((READ * rows.len()) as u64), [1, count, len], [1, count, LINE], [2, 0, 1]);
    let whole = Cell::whole(view3([1, count, len], rows), &mut [][..]);
    grid(whole, cuts, 0, &|cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
        let mut rows = cell.view.index_axis_move(Axis(0), 0);
        let mut step = 1;
        while step < count {
            for first in (0..count - step).step_by(2 * step) {
                let (mut to, from) = rows.multi_slice_mut((s![first, ..], s![first + step, ..]));
                to += &from;
            }
            step *= 2;
        }
    });
}

/// `to += from`.
pub(crate) fn add<T: Scalar>(to: &mut [T], from: &[T]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to += from;
    }
}

/// Sums are cut between threads at multiples of this: whole cache lines.
const LINE: usize = 16;

/// Reading an element takes as long as this many multiply-adds, for the cutting of work.
const READ: usize = 16;

/// `dbias += Σ dy`, maps of so many channels and pixels: each channel a row sum after the other.
pub(crate) fn bias_gradient<T: Scalar>(isa: Isa, [channels, pixels]: [usize; 2], dy: &[T], dbias: &mut [T]) {
    let cuts = Cuts::new(lanes((dy.len() * READ) as u64), [1, channels, 1], [1; 3], [0, 1, 2]);
    let whole = Cell::whole(view3([1, channels, 1], dbias), &mut [][..]);
    grid(whole, cuts, 0, &|mut cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
        let dbias = cell.view.as_slice_mut().expect("channels are contiguous");
        T::run(isa, SumMaps { dy, pixels, channels, first: cell.start[1], sums: dbias });
    });
}

/// Channels that are added up at a time, one image after the other: what lies side by side is read so.
const CHANNELS_AT_A_TIME: usize = 8;

/// `sums += Σ dy` over some channels of all images, each in interleaved chains through all of them.
struct SumMaps<'a, T> {
    dy: &'a [T],
    pixels: usize,
    channels: usize,
    first: usize,
    sums: &'a mut [T],
}

impl<T: Scalar> Op<T> for SumMaps<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let Self { dy, pixels, channels, first, sums } = self;
        for (index, sums) in sums.chunks_mut(CHANNELS_AT_A_TIME).enumerate() {
            let mut chains = [Chains::new(simd); CHANNELS_AT_A_TIME];
            let first = first + index * CHANNELS_AT_A_TIME;
            for image in dy.chunks_exact(channels * pixels) {
                let maps = image[first * pixels..][..sums.len() * pixels].chunks_exact(pixels);
                for (chains, map) in chains.iter_mut().zip(maps) {
                    chains.add(simd, map);
                }
            }
            for (sum, chains) in sums.iter_mut().zip(&chains) {
                *sum += chains.sum(simd);
            }
        }
    }
}

/// `Σ f(a, b)` over two rows in 16 interleaved chains, which the compiler turns into vectors, added in a fixed order.
#[inline(always)]
pub(crate) fn sum_of<T: Scalar>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> T {
    let mut chains = [T::ZERO; 16];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (a, b) in a.iter().zip(b) {
        for chain in 0..16 {
            chains[chain] += f(a[chain], b[chain]);
        }
    }
    for (chain, (&a, &b)) in chains.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *chain += f(a, b);
    }
    for width in [8, 4, 2, 1] {
        for chain in 0..width {
            chains[chain] += chains[chain + width];
        }
    }
    chains[0]
}
