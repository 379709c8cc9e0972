//! A small overlay slides down a plane that is read where it lies: no border, no copy.
//!
//! ```text
//! for each block of rows of results, or of whole planes if these are small, for each vector of its columns:
//!     for each row of pixels under it, downwards, but for those above and below the plane:
//!         load it once for each column of the overlay, with zeros left and right of the plane
//!         for each row of the overlay, and the row of results that sees the pixels through it:
//!             sums[row of results] += weights · pixels
//!         store the sums of the row of results that has met its last pixels
//! ```
//!
//! The few rows of results over a row of pixels are told apart by their age: the newest, of age 0, sees the pixels
//! through the overlay's first row, the oldest through its last one. Their sums stay in registers, as do the weights, so a
//! vector of results costs `K · K` multiply-adds, and little besides: `K` loads and a store. With a stride of two, one
//! pair of vectors, taken apart in registers, serves two columns of the overlay.
//!
//! Each result is one chain of multiply-adds, from zero through the overlay's elements in their order: its bits depend
//! on no block, strip, or thread.

pub(crate) mod gradient;

use std::ops::Range;

use super::super::tiles::{activate, activates};
use super::super::{Op, Simd};
use crate::{Activation, Scalar};

/// Bytes of the pixels under a block, which stay in the first cache while its columns pass, beside those of the next
/// block, which are asked for meanwhile.
const BLOCK_BYTES: usize = 8 << 10;

/// Rows of results in the smallest block: the rows of pixels that it shares with the next one are met twice.
const BLOCK_ROWS: usize = 8;

/// A plane, and how an overlay of `K × K` elements slides over it. Rows come first in all pairs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plane {
    /// Rows and columns.
    pub(crate) size: [usize; 2],
    /// Where the plane's first pixel lies under the first result; negative where the plane begins before it.
    pub(crate) origin: [isize; 2],
    /// `K`, one for which [`slides`].
    pub(crate) kernel: usize,
    /// Rows and columns from a result to the next, one for which [`slides`].
    pub(crate) stride: usize,
    /// Columns of results.
    pub(crate) width: usize,
    /// Rows of results in a block, and planes.
    block: [usize; 2],
}

/// Whether an overlay of so many rows and columns can slide at this stride, and had better: over long rows a block is low,
/// and jumps from each to the next; tiles that walk along them are faster, even over a copy, unless that takes them apart.
pub(crate) fn slides(kernel: usize, stride: usize, row_bytes: usize) -> bool {
    kernel == 3 && (stride == 1 && row_bytes * BLOCK_ROWS <= BLOCK_BYTES || stride == 2)
}

/// Calls `$method` with `K`, the stride, and the number of rows of results over a row of pixels: `K / STRIDE`, rounded up.
macro_rules! with_kernel {
    ($plane:expr, $S:ident, $this:ident.$method:ident($simd:ident)) => {
        match ($plane.kernel, $plane.stride) {
            (3, 1) => $this.$method::<$S, 3, 1, 3>($simd),
            (3, 2) => $this.$method::<$S, 3, 2, 2>($simd),
            (kernel, stride) => unreachable!("nobody slides by {stride} with {kernel} columns"),
        }
    };
}
use with_kernel;

/// A vector of columns of results.
struct Strip<M, const K: usize> {
    /// The first column, and how many there are.
    first: usize,
    count: usize,
    /// The column of the plane under the overlay's first one there.
    under: isize,
    /// Which pixels lie in the plane: for each column of the overlay, of one vector after the other.
    masks: [[M; 2]; K],
    /// Whether some do not.
    edge: bool,
}

impl Plane {
    /// For elements of type `T`; see the fields.
    pub(crate) fn new<T>(size: [usize; 2], origin: [isize; 2], kernel: usize, stride: usize, width: usize) -> Self {
        let row = size[1] * size_of::<T>();
        let block = [(BLOCK_BYTES / (row * stride)).max(BLOCK_ROWS), (BLOCK_BYTES / (row * size[0])).max(1)];
        Self { size, origin, kernel, stride, width, block }
    }

    /// The blocks of some rows of results on `count` planes: planes, and rows there.
    #[inline(always)]
    fn blocks(self, count: usize, rows: Range<usize>) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let [height, planes] = self.block;
        (0..count).step_by(planes).flat_map(move |plane| {
            let planes = plane..count.min(plane + planes);
            let rows = rows.clone();
            rows.clone().step_by(height).map(move |row| (planes.clone(), row..rows.end.min(row + height)))
        })
    }

    /// The vector of columns from `first` on.
    #[inline(always)]
    fn strip<T, S: Simd<T>, const K: usize, const STRIDE: usize>(&self, simd: S, first: usize) -> Strip<S::Mask, K> {
        let width = self.size[1] as isize;
        let under = (first * STRIDE) as isize - self.origin[1];
        let count = (self.width - first).min(S::LANES);
        let mut masks = [[simd.mask(0..0); 2]; K];
        for j in 0..K {
            // The last column that a result sees through this one, or through another that is loaded with it.
            let last = under + ((count - 1) * STRIDE + (j + STRIDE - 1).min(K - 1)) as isize;
            for part in 0..STRIDE {
                let from = under + (j + part * S::LANES) as isize;
                let lane = |column: isize| (column - from).clamp(0, S::LANES as isize) as usize;
                let end = lane(width.min(last + 1));
                masks[j][part] = simd.mask(lane(0).min(end)..end);
            }
        }
        let edge = count < S::LANES || under < 0 || under + (K - 1 + STRIDE * S::LANES) as isize > width;
        Strip { first, count, under, masks, edge }
    }

    /// Of the rows of results `rows`, those over rows of the plane: the first under them, and all before the next one's.
    #[inline(always)]
    fn inside<const STRIDE: usize>(&self, rows: Range<usize>) -> Range<usize> {
        let before = |row: isize| row.max(0) as usize / STRIDE;
        let start = before(self.origin[0] + STRIDE as isize - 1).clamp(rows.start, rows.end);
        let end = before(self.origin[0] + self.size[0] as isize).clamp(start, rows.end);
        start..end
    }

    /// What each column of the overlay meets under a strip, in the row `below` the first under the row of results
    /// `newest`; nothing where that row lies above or below the plane, unless it is known to be `INSIDE`.
    ///
    /// # Safety
    ///
    /// `pixels` must hold the plane, of which the strip must be, and no edge unless `EDGE`; if `INSIDE`, the plane must
    /// have the row.
    #[inline(always)]
    unsafe fn load<T: Scalar, S: Simd<T>, const K: usize, const STRIDE: usize, const EDGE: bool, const INSIDE: bool>(
        &self,
        simd: S,
        pixels: &[T],
        plane: usize,
        newest: usize,
        below: usize,
        strip: &Strip<S::Mask, K>,
    ) -> Option<[S::Vector; K]> {
        let row = (newest * STRIDE + below) as isize - self.origin[0];
        if !INSIDE && (row < 0 || row >= self.size[0] as isize) {
            return None;
        }
        let row = (plane * self.size[0]) as isize + row;
        // It may lie before the pixels, where the masks let none of its first ones pass.
        let row = pixels.as_ptr().wrapping_offset(row * self.size[1] as isize + strip.under);
        // SAFETY: all vectors lie within the row, or else the masks let only pixels of the row pass.
        let load = |j: usize, part: usize| unsafe {
            let from = row.wrapping_add(j + part * S::LANES);
            if EDGE { simd.load_masked(from, strip.masks[j][part]) } else { simd.load(from) }
        };
        // A block further: a walk down is none that the CPU foresees.
        for part in 0..STRIDE {
            simd.prefetch_read(row.wrapping_add(part * S::LANES + self.block[0] * STRIDE * self.size[1]));
        }
        let mut vectors = [simd.splat(T::ZERO); K];
        for j in (0..K).step_by(STRIDE) {
            if STRIDE == 1 {
                vectors[j] = load(j, 0);
            } else {
                let (even, odd) = simd.deinterleave(load(j, 0), load(j, 1));
                vectors[j] = even;
                if j + 1 < K {
                    vectors[j + 1] = odd;
                }
            }
        }
        Some(vectors)
    }
}

/// All one year older, and a newborn.
#[inline(always)]
fn aged<V: Copy, const AGES: usize>(vectors: [V; AGES], newborn: V) -> [V; AGES] {
    let mut aged = [newborn; AGES];
    aged[1..].copy_from_slice(&vectors[..AGES - 1]);
    aged
}

/// The correlation of planes, one after the other, with an overlay each.
///
/// `out[y][x] = σ(Σ weight[i][j] · pixels[y · stride + i - origin][x · stride + j - origin] + bias)`.
pub(crate) struct Slide<'a, T> {
    /// A plane.
    pub(crate) plane: Plane,
    /// The pixels of them all.
    pub(crate) pixels: &'a [T],
    /// Their overlays.
    pub(crate) weight: &'a [T],
    /// What is added to the results of each.
    pub(crate) bias: Option<&'a [T]>,
    /// σ, which must be one that [`activates`].
    pub(crate) activation: Activation,
    /// Which rows of results.
    pub(crate) rows: Range<usize>,
    /// The results there.
    pub(crate) out: &'a mut [T],
}

impl<T: Scalar> Op<T> for Slide<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        with_kernel!(self.plane, S, self.slide(simd));
    }
}

impl<T: Scalar> Slide<'_, T> {
    /// All blocks and strips.
    #[inline(always)]
    fn slide<S: Simd<T>, const K: usize, const STRIDE: usize, const AGES: usize>(mut self, simd: S) {
        let Plane { size, width, .. } = self.plane;
        let count = self.weight.len() / (K * K);
        assert_eq!(self.pixels.len(), count * size[0] * size[1], "planes are whole, and have an overlay each");
        assert_eq!(self.out.len(), count * self.rows.len() * width, "room for the results");
        assert!(self.bias.is_none_or(|bias| bias.len() == count), "a bias for each plane");
        assert!(activates(self.activation), "an activation that vectors compute");
        for (planes, rows) in self.plane.blocks(count, self.rows.clone()) {
            for first in (0..width).step_by(S::LANES) {
                // The last vector begins earlier, if it can.
                let first = first.min(width.saturating_sub(S::LANES));
                let strip = self.plane.strip::<T, S, K, STRIDE>(simd, first);
                if strip.edge {
                    self.strip::<S, K, STRIDE, AGES, true>(simd, &strip, planes.clone(), rows.clone());
                } else {
                    self.strip::<S, K, STRIDE, AGES, false>(simd, &strip, planes.clone(), rows.clone());
                }
            }
        }
    }

    /// A strip of a block.
    #[inline(always)]
    fn strip<S: Simd<T>, const K: usize, const STRIDE: usize, const AGES: usize, const EDGE: bool>(
        &mut self,
        simd: S,
        strip: &Strip<S::Mask, K>,
        planes: Range<usize>,
        rows: Range<usize>,
    ) {
        // Rows whose oldest is one of this block, and has room for a whole vector: where a row is narrower, its store
        // runs over into the next one, which is written later.
        let mut room = self.rows.end;
        if strip.count < S::LANES {
            room -= (S::LANES.div_ceil(strip.count) - 1).min(self.rows.len());
        }
        let first = rows.start + AGES - 1;
        let inside = self.plane.inside::<STRIDE>(first..(rows.end.min(room) + AGES - 1).max(first));
        for plane in planes {
            let mut weights = [[simd.splat(T::ZERO); K]; K];
            for i in 0..K {
                for j in 0..K {
                    weights[i][j] = simd.splat(self.weight[(plane * K + i) * K + j]);
                }
            }
            let mut sums = [simd.splat(T::ZERO); AGES];
            macro_rules! steps {
                ($newest:expr, $inside:literal) => {
                    for newest in $newest {
                        let asked = newest >= first;
                        self.step::<S, K, STRIDE, AGES, EDGE, $inside>(
                            simd, strip, plane, &weights, newest, asked, &mut sums,
                        );
                    }
                };
            }
            steps!(rows.start..inside.start, false);
            steps!(inside.clone(), true);
            steps!(inside.end..rows.end + AGES - 1, false);
        }
    }

    /// The rows of pixels from the first under the row of results `newest` to the first under the next one; results of
    /// the oldest there, if they are asked for.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "what stays the same from step to step, and where this one is")]
    fn step<
        S: Simd<T>,
        const K: usize,
        const STRIDE: usize,
        const AGES: usize,
        const EDGE: bool,
        const INSIDE: bool,
    >(
        &mut self,
        simd: S,
        strip: &Strip<S::Mask, K>,
        plane: usize,
        weights: &[[S::Vector; K]; K],
        newest: usize,
        asked: bool,
        sums: &mut [S::Vector; AGES],
    ) {
        for below in 0..STRIDE {
            // SAFETY: `slide` has checked the pixels, and made the strip; `strip` has found which rows are inside.
            let pixels = unsafe {
                self.plane.load::<T, S, K, STRIDE, EDGE, INSIDE>(simd, self.pixels, plane, newest, below, strip)
            };
            let Some(pixels) = pixels else { continue };
            for age in 0..AGES {
                let i = age * STRIDE + below;
                if i < K {
                    for j in 0..K {
                        sums[age] = simd.mul_add(weights[i][j], pixels[j], sums[age]);
                    }
                }
            }
        }
        if INSIDE || asked {
            let mut sum = [[sums[AGES - 1]]];
            if let Some(bias) = self.bias {
                sum[0][0] = simd.add(sum[0][0], simd.splat(bias[plane]));
            }
            activate(simd, self.activation, &mut sum);
            let row = plane * self.rows.len() + newest + 1 - AGES - self.rows.start;
            // SAFETY: the row is one of those that `out` holds, which have `count` columns from `first` on, whole vectors
            // but where a row is narrower; even there `strip` has found room for one if this is inside.
            unsafe {
                let to = self.out.as_mut_ptr().add(row * self.plane.width + strip.first);
                simd.prefetch(to.wrapping_add(self.plane.block[0] * self.plane.width));
                if INSIDE || strip.count == S::LANES {
                    simd.store(sum[0][0], to);
                } else {
                    simd.store_masked(sum[0][0], to, simd.mask(0..strip.count));
                }
            }
        }
        *sums = aged(*sums, simd.splat(T::ZERO));
    }
}
