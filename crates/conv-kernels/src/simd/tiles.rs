//! The tiles of the direct convolution: blocks of sums that stay in registers while their products stream by.
//!
//! A tile is a few rows by 2 vectors: with 6 rows, 12 sums, two vectors and a factor fill the 16 registers of a CPU with
//! AVX2, and 12 independent sums are enough to hide the latency of an addition; 32 registers hold 14 rows. All three
//! passes read the image where it lies: without stride, what one kernel element sees of a row of underlays is again a
//! row of the image.

mod runs;

use std::ops::Range;

use ndarray::ArrayViewMut2;

use runs::Place;
pub(crate) use runs::{Runs, even_parts};

use super::{Op, Simd};
use crate::{Activation, Scalar};

/// The most rows of a tile that is two vectors wide, and of one that is one vector wide, in so many registers.
pub(crate) const fn most_rows(registers: usize) -> [usize; 2] {
    if registers < 32 { [6, 8] } else { [MAX_ROWS; 2] }
}

/// The most rows of any tile.
pub(crate) const MAX_ROWS: usize = 14;

/// The most rows of a tile that is two vectors of `S` wide.
pub(super) const fn wide_rows<T, S: Simd<T>>() -> usize {
    most_rows(S::REGISTERS)[0]
}

/// The same for one vector.
pub(super) const fn thin_rows<T, S: Simd<T>>() -> usize {
    most_rows(S::REGISTERS)[1]
}

/// Evaluates `call` with the constant `R` that equals `rows`, which is one of those listed, or at most the constant
/// `most`.
macro_rules! with_rows {
    ($rows:expr, ..=$most:expr, $r:ident => $call:expr) => {
        with_rows!($rows, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14] up to $most, $r => $call)
    };
    ($rows:expr, [$($n:literal),*], $r:ident => $call:expr) => {
        with_rows!($rows, [$($n),*] up to $crate::simd::tiles::MAX_ROWS, $r => $call)
    };
    ($rows:expr, [$($n:literal),*] up to $most:expr, $r:ident => $call:expr) => {
        match $rows {
            $($n if const { $n <= $most } => {
                const $r: usize = $n;
                $call
            })*
            rows => unreachable!("no tile has {rows} rows"),
        }
    };
}
pub(super) use with_rows;

/// `sums[r][n] += factors[r] · vectors[n]`.
///
/// # Safety
///
/// `R` factors must be readable.
#[inline(always)]
pub(super) unsafe fn outer<T: Scalar, S: Simd<T>, const R: usize, const N: usize>(
    simd: S,
    factors: *const T,
    vectors: [S::Vector; N],
    sums: &mut [[S::Vector; N]; R],
) {
    for r in 0..R {
        // SAFETY: the caller promises `R` factors.
        let factor = simd.splat(unsafe { *factors.add(r) });
        for n in 0..N {
            sums[r][n] = simd.mul_add(factor, vectors[n], sums[r][n]);
        }
    }
}

/// Forward: a few output channels over a strip of the image.
///
/// Each output pixel is one chain of multiply-adds, `w·x + …`, from zero through the taps in their order; then the
/// bias is added.
pub(crate) struct Correlate<'a, T> {
    /// From the pixel under the strip's first output pixel, in the first channel.
    pub(crate) image: &'a [T],
    /// Where each tap lies, from there.
    pub(crate) taps: &'a [usize],
    /// Taps of an input channel, and which of them count: the others see padding only.
    pub(crate) of_channel: usize,
    pub(crate) span: Range<usize>,
    /// The weights `(tap, output channel)` of these channels.
    pub(crate) weight: &'a [T],
    /// One number an output channel, or nothing.
    pub(crate) bias: Option<&'a [T]>,
    /// σ, where a vector can do it; the others are left to the caller.
    pub(crate) activation: Activation,
    /// The output rows.
    pub(crate) runs: Runs,
    /// Room for unfinished sums, as much as [`unfinished_len`] says.
    pub(crate) unfinished: &'a mut [T],
    /// Output, one channel a row; as many as a tile has rows.
    pub(crate) maps: ArrayViewMut2<'a, T>,
}

/// Longer chains are cut, and go on where they were, so that the weights and pixels of a part stay in the first cache.
const CHAIN: usize = 512;

/// Elements that the unfinished sums of a block of so many channels need.
pub(crate) fn unfinished_len(channels: usize, taps: usize, runs: Runs, [piece, pieces]: [usize; 2]) -> usize {
    if taps > CHAIN { channels * runs.vector_count(piece, pieces) * piece * pieces } else { 0 }
}

impl<T: Scalar> Op<T> for Correlate<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let far = self.taps.iter().copied().max().unwrap_or(0);
        self.runs.check(S::LANES / S::PIECES, self.image.len(), far, self.maps.ncols());
        assert_eq!(self.weight.len(), self.taps.len() * self.maps.nrows(), "a weight for each tap and channel");
        assert!(self.taps.len().is_multiple_of(self.of_channel) && self.span.end <= self.of_channel, "whole channels");
        assert!(self.bias.is_none_or(|bias| bias.len() == self.maps.nrows()), "a bias for each channel");
        let unfinished =
            unfinished_len(self.maps.nrows(), self.taps.len(), self.runs, [S::LANES / S::PIECES, S::PIECES]);
        assert!(self.unfinished.len() >= unfinished, "room for unfinished sums");
        assert_eq!(self.maps.strides()[1], 1, "maps are rows");
        with_rows!(self.maps.nrows(), ..=wide_rows::<T, S>(), R => self.rows::<S, R>(simd));
    }
}

impl<T: Scalar> Correlate<'_, T> {
    #[inline(always)]
    fn rows<S: Simd<T>, const R: usize>(mut self, simd: S) {
        let unit = if self.span.len() < self.of_channel { self.of_channel } else { 1 };
        for part in even_parts(self.taps.len() / unit, (CHAIN / unit).max(1)) {
            let part = part.start * unit..part.end * unit;
            let (mut places, mut index) = (self.runs.vectors(S::LANES / S::PIECES, S::PIECES), 0);
            while let Some(first) = places.next() {
                match places.next() {
                    Some(second) => self.tile::<S, R, 2>(simd, part.clone(), index, [first, second]),
                    None => self.tile::<S, R, 1>(simd, part.clone(), index, [first]),
                }
                index += 2;
            }
        }
    }

    /// The sums of vectors `index..index + N` over a part of the taps.
    #[inline(always)]
    fn tile<S: Simd<T>, const R: usize, const N: usize>(
        &mut self,
        simd: S,
        part: Range<usize>,
        index: usize,
        places: [[Place; 2]; N],
    ) {
        let mut sums = [[simd.splat(T::ZERO); N]; R];
        let unfinished = self.unfinished.as_mut_ptr();
        // Each vector has its own place there: overlapping ones must not meet in the maps before they are finished.
        let place = |r: usize, n: usize| ((index + n) * R + r) * S::LANES;
        if part.start > 0 {
            for r in 0..R {
                for n in 0..N {
                    // SAFETY: `eval` has checked that there is room for `R` sums of all vectors.
                    sums[r][n] = unsafe { simd.load(unfinished.add(place(r, n))) };
                }
            }
        }
        let (maps, pitch) = (self.maps.as_mut_ptr(), self.maps.strides()[0]);
        if part.end == self.taps.len() {
            // A store that misses the cache holds up all that follow: the lines come while the sums are formed.
            for r in 0..R {
                for n in 0..N {
                    simd.prefetch(maps.wrapping_offset(r as isize * pitch + places[n][0].map as isize));
                }
            }
        }
        let image = self.image.as_ptr();
        // If all of them count, the channels' taps are one row.
        let all = self.span.len() == self.of_channel;
        let (step, span) = if all { (part.len(), 0..part.len()) } else { (self.of_channel, self.span.clone()) };
        let mut first = part.start;
        while first < part.end {
            let span = first + span.start..first + span.end;
            first += step;
            // SAFETY: `eval` has checked that there are `R` weights for each tap.
            let mut weight = unsafe { self.weight.as_ptr().add(span.start * R) };
            for &tap in &self.taps[span] {
                let mut pixels = [simd.splat(T::ZERO); N];
                // SAFETY: `eval` has checked that the image holds all vectors of all taps, and the weights as above.
                unsafe {
                    for n in 0..N {
                        pixels[n] = simd.load_pieces(places[n].map(|place| image.add(place.image + tap)));
                    }
                    outer(simd, weight, pixels, &mut sums);
                    weight = weight.add(R);
                }
            }
        }
        if part.end < self.taps.len() {
            for r in 0..R {
                for n in 0..N {
                    // SAFETY: as for loading them.
                    unsafe { simd.store(sums[r][n], unfinished.add(place(r, n))) };
                }
            }
            return;
        }
        if let Some(bias) = self.bias {
            for r in 0..R {
                for n in 0..N {
                    sums[r][n] = simd.add(sums[r][n], simd.splat(bias[r]));
                }
            }
        }
        activate(simd, self.activation, &mut sums);
        for r in 0..R {
            for n in 0..N {
                // SAFETY: `eval` has checked that each of the `R` rows of the maps holds all vectors.
                unsafe {
                    let map = maps.offset(r as isize * pitch);
                    simd.store_pieces(sums[r][n], places[n].map(|place| map.add(place.map)));
                }
            }
        }
    }
}

/// Whether [`Correlate`] computes σ itself.
pub(crate) fn activates(activation: Activation) -> bool {
    matches!(activation, Activation::Identity | Activation::Relu | Activation::LeakyRelu { .. })
}

/// `σ(z)` in registers, with the bits of [`Activation::apply`]; nothing for those that no vector computes.
#[inline(always)]
pub(super) fn activate<T: Scalar, S: Simd<T>, const R: usize, const N: usize>(
    simd: S,
    activation: Activation,
    sums: &mut [[S::Vector; N]; R],
) {
    let zero = simd.splat(T::ZERO);
    match activation {
        Activation::Relu => {
            for r in 0..R {
                for n in 0..N {
                    // The maximum keeps NaN, and -0, to which the addition gives its sign.
                    sums[r][n] = simd.add(simd.max(zero, sums[r][n]), zero);
                }
            }
        }
        Activation::LeakyRelu { slope } => {
            let slope = simd.splat(T::of(slope));
            for r in 0..R {
                for n in 0..N {
                    let z = sums[r][n];
                    sums[r][n] = simd.where_positive(z, z, simd.mul(slope, z));
                }
            }
        }
        Activation::Identity | Activation::Sigmoid | Activation::Tanh => {}
    }
}

/// Input gradient: what some kernel elements send back to a strip of the image.
///
/// A tile is the product of the weights of a few kernel elements and input channels with the gradients of two vectors
/// of output pixels, one chain through the output channels; each of its rows is then added to the image where the
/// kernel element lies. Neighbouring rows go to different channels where they can: an addition to what has just been
/// written nearby would have to wait for it.
pub(crate) struct Scatter<'a, T> {
    /// Gradients of the output pixels, channels `map_len` apart.
    pub(crate) maps: &'a [T],
    /// Pixels of a channel there.
    pub(crate) map_len: usize,
    /// Output channels.
    pub(crate) depth: usize,
    /// The weights, for as many of `targets` as a tile has rows (then for the rest) `(output channel, target)`.
    pub(crate) weight: &'a [T],
    /// Where each row's kernel element and input channel lie, from the pixel under the first output pixel.
    pub(crate) targets: &'a [usize],
    /// The output rows.
    pub(crate) runs: Runs,
    /// Which pixels of a run to let pass; see [`Runs::write_mask`]. Then zeros, as many as a piece has lanes.
    pub(crate) mask: &'a [T],
    /// The image that is added to.
    pub(crate) image: &'a mut [T],
}

impl<T: Scalar> Op<T> for Scatter<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(mut self, simd: S) {
        let far = self.targets.iter().copied().max().unwrap_or(0);
        assert!(
            self.depth > 0 && self.depth * self.map_len <= self.maps.len() + self.map_len,
            "all channels are there"
        );
        let last_map = self.maps.len() - (self.depth - 1) * self.map_len;
        let piece = S::LANES / S::PIECES;
        self.runs.check(piece, self.image.len(), far, last_map);
        assert!(self.mask.len() >= self.runs.mask_len(piece) + piece, "a mask for all pieces of a run, and for none");
        assert_eq!(self.weight.len(), self.targets.len() * self.depth, "a weight for each channel and target");
        let few = (FIRST_CACHE / (self.depth * S::LANES * size_of::<T>())).max(2) / 2 * 2;
        let mut places = self.runs.vectors(piece, S::PIECES);
        for _ in 0..self.runs.vector_count(piece, S::PIECES).div_ceil(few) {
            let most = wide_rows::<T, S>();
            for (targets, weight) in self.targets.chunks(most).zip(self.weight.chunks(most * self.depth)) {
                let places = places.clone().take(few);
                with_rows!(targets.len(), ..=wide_rows::<T, S>(), R => {
                    self.rows::<S, R>(simd, targets, weight, places);
                });
            }
            places.nth(few - 1);
        }
    }
}

/// Bytes of gradients that all targets meet before the next ones come: what the first cache holds, with room to spare.
const FIRST_CACHE: usize = 16 << 10;

impl<T: Scalar> Scatter<'_, T> {
    #[inline(always)]
    fn rows<S: Simd<T>, const R: usize>(
        &mut self,
        simd: S,
        targets: &[usize],
        weight: &[T],
        mut places: impl Iterator<Item = [Place; 2]>,
    ) {
        while let Some(first) = places.next() {
            match places.next() {
                Some(second) => self.tile::<S, R, 2>(simd, targets, weight, [first, second]),
                None => self.tile::<S, R, 1>(simd, targets, weight, [first]),
            }
        }
    }

    #[inline(always)]
    fn tile<S: Simd<T>, const R: usize, const N: usize>(
        &mut self,
        simd: S,
        targets: &[usize],
        weight: &[T],
        places: [[Place; 2]; N],
    ) {
        let zero = simd.splat(T::ZERO);
        let mut sums = [[zero; N]; R];
        let (maps, mut weight, mut at) = (self.maps.as_ptr(), weight.as_ptr(), 0);
        for _ in 0..self.depth {
            let mut gradients = [zero; N];
            // SAFETY: `eval` has checked that every channel holds all vectors, and that there are `R` weights for
            // each channel.
            unsafe {
                for n in 0..N {
                    gradients[n] = simd.load_pieces(places[n].map(|place| maps.add(place.map + at)));
                }
                outer(simd, weight, gradients, &mut sums);
                weight = weight.add(R);
            }
            at += self.map_len;
        }
        for n in 0..N {
            // SAFETY: `eval` has checked that the mask holds all vectors of a run.
            let mask = unsafe { simd.load_pieces(places[n].map(|place| self.mask.as_ptr().add(place.mask))) };
            for r in 0..R {
                sums[r][n] = simd.where_positive(mask, sums[r][n], zero);
            }
        }
        for r in 0..R {
            for n in 0..N {
                // SAFETY: `eval` has checked that the image holds all vectors of all targets.
                unsafe {
                    let image = self.image.as_mut_ptr().add(targets[r]);
                    simd.add_pieces(sums[r][n], places[n].map(|place| image.add(place.image)));
                }
            }
        }
    }
}
