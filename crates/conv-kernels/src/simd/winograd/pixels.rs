//! `V`: pixels, transformed; or the gradients of outputs.

use std::marker::PhantomData;

use super::{F2x3, F2x3By2, F2x5, F2x5By2, F4x3, Filter, Tile, with_filter};
use crate::Scalar;
use crate::simd::squares::{lanes_len, to_lanes};
use crate::simd::{MAX_VECTOR, Op, Simd};

/// What a tile sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The pixels under its outputs: `V = Bᵀ d B`. Neighbours share some.
    Input,
    /// The gradients of its outputs: `A d Aᵀ`.
    Gradient,
}

/// `V` of some rows of tiles, in their order: lanes are channels.
///
/// What tiles see of an image is a window of it, and zeros around. If they see only every second column, or one of `step`,
/// then a row of tiles consists of `step` rows, one after the other, that begin at neighbouring columns.
pub(crate) struct PixelTransform<'a, T> {
    pub(crate) tile: Tile,
    pub(crate) seen: Seen,
    /// From the window's first pixel in the first channel on.
    pub(crate) pixels: &'a [T],
    /// From one channel to the next.
    pub(crate) channel_pitch: usize,
    /// From one line to the next.
    pub(crate) line_pitch: usize,
    /// From one column that a tile sees to the next.
    pub(crate) step: usize,
    /// Channels, at most a vector: the other lanes are zeros.
    pub(crate) channels: usize,
    /// Lines and columns of the window.
    pub(crate) window: [usize; 2],
    /// Lines of zeros above it, and columns left of it.
    pub(crate) border: [usize; 2],
    /// Rows and columns of tiles, columns for one of `step`.
    pub(crate) tiles: [usize; 2],
    /// Room for turning the window, [`PixelTransform::turned_len`].
    pub(crate) turned: &'a mut [T],
    /// From one point to the next.
    pub(crate) plane: usize,
    /// `(point, tile, channel)`.
    pub(crate) transformed: &'a mut [T],
}

impl<T: Scalar> Op<T> for PixelTransform<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let ([rows, columns], [lines, width]) = (self.tiles, self.window);
        let written = rows * self.step * columns * S::LANES;
        assert!((self.tile.points() - 1) * self.plane + written <= self.transformed.len(), "room for all points");
        assert!(Self::turned_len(self.window, S::LANES) <= self.turned.len(), "room for the window");
        if lines > 0 && width > 0 {
            // Lines side by side are one.
            let (runs, len) = if width == self.line_pitch { (1, lines * width) } else { (lines, width) };
            for run in 0..runs {
                let (pixels, turned) =
                    (&self.pixels[run * self.line_pitch..], &mut self.turned[run * len * S::LANES..]);
                to_lanes(simd, pixels, self.channel_pitch, [self.channels, len], turned);
            }
        }
        with_filter!(self.tile, self.transform::<S>(simd));
    }
}

/// One dimension of what is done to `L` pixels in a row.
trait Transform<const L: usize, const N: usize> {
    /// From one tile's first to the next's.
    const STEP: usize;

    fn apply<T: Scalar, S: Simd<T>>(simd: S, pixels: [S::Vector; L]) -> [S::Vector; N];
}

/// `Bᵀ d`.
struct OfInput<F, const K: usize, const M: usize>(PhantomData<F>);

/// `A d`.
struct OfGradient<F, const K: usize, const L: usize>(PhantomData<F>);

impl<F: Filter<K, L, M, N>, const K: usize, const L: usize, const M: usize, const N: usize> Transform<L, N>
    for OfInput<F, K, M>
{
    const STEP: usize = M * F::STRIDE;

    #[inline(always)]
    fn apply<T: Scalar, S: Simd<T>>(simd: S, pixels: [S::Vector; L]) -> [S::Vector; N] {
        F::input::<T, S>(simd, pixels)
    }
}

impl<F: Filter<K, L, M, N>, const K: usize, const L: usize, const M: usize, const N: usize> Transform<M, N>
    for OfGradient<F, K, L>
{
    const STEP: usize = M;

    #[inline(always)]
    fn apply<T: Scalar, S: Simd<T>>(simd: S, pixels: [S::Vector; M]) -> [S::Vector; N] {
        F::output_gradient::<T, S>(simd, pixels)
    }
}

impl<T: Scalar> PixelTransform<'_, T> {
    /// Elements of the room for turning a window.
    pub(crate) const fn turned_len([lines, width]: [usize; 2], lanes: usize) -> usize {
        lines * width * lanes + lanes_len(0, lanes)
    }

    #[inline(always)]
    fn transform<S: Simd<T>, F: Filter<K, L, M, N>, const K: usize, const L: usize, const M: usize, const N: usize>(
        mut self,
        simd: S,
    ) {
        let step = self.step;
        for (row, phase) in (0..self.tiles[0] * step).map(|row| (row / step, row % step)) {
            match self.seen {
                Seen::Input => self.row::<S, OfInput<F, K, M>, L, N>(simd, row, phase),
                Seen::Gradient => self.row::<S, OfGradient<F, K, L>, M, N>(simd, row, phase),
            }
        }
    }

    /// Along a row of tiles: neighbours share some columns of pixels, transformed.
    #[inline(always)]
    fn row<S: Simd<T>, F: Transform<L, N>, const L: usize, const N: usize>(
        &mut self,
        simd: S,
        row: usize,
        phase: usize,
    ) {
        // Where each line begins, and how far apart its pixels are: those of the border are all at one place.
        let zeros = [T::ZERO; MAX_VECTOR];
        let mut places = [(zeros.as_ptr(), 0); L];
        for (index, place) in places.iter_mut().enumerate() {
            let line = (row * F::STEP + index).wrapping_sub(self.border[0]);
            if line < self.window[0] {
                *place = (self.turned[line * self.window[1] * S::LANES..].as_ptr(), S::LANES);
            }
        }
        let mut seen = [[simd.splat(T::ZERO); N]; L];
        for index in 0..L - F::STEP {
            seen[F::STEP + index] = self.column::<S, F, L, N>(simd, &places, index * self.step + phase);
        }
        for tile in 0..self.tiles[1] {
            for index in 0..L - F::STEP {
                seen[index] = seen[F::STEP + index];
            }
            for index in L - F::STEP..L {
                seen[index] = self.column::<S, F, L, N>(simd, &places, (tile * F::STEP + index) * self.step + phase);
            }
            let first = (row * self.step + phase) * self.tiles[1] + tile;
            let to = self.transformed[first * S::LANES..].as_mut_ptr();
            for line in 0..N {
                let mut values = [simd.splat(T::ZERO); L];
                for index in 0..L {
                    values[index] = seen[index][line];
                }
                let values = F::apply::<T, S>(simd, values);
                for index in 0..N {
                    // SAFETY: `eval` has checked that there is room for a vector of all tiles at every point.
                    unsafe { simd.store(values[index], to.add((line * N + index) * self.plane)) };
                }
            }
        }
    }

    /// The pixels of a column under a row of tiles, transformed.
    #[inline(always)]
    fn column<S: Simd<T>, F: Transform<L, N>, const L: usize, const N: usize>(
        &self,
        simd: S,
        places: &[(*const T, usize); L],
        column: usize,
    ) -> [S::Vector; N] {
        let column = column.wrapping_sub(self.border[1]);
        let mut pixels = [simd.splat(T::ZERO); L];
        if column < self.window[1] {
            for line in 0..L {
                let (first, pitch) = places[line];
                // SAFETY: `eval` has checked that a vector of each pixel of the window is in `turned`, where lines within
                // it begin; other lines are a single vector of zeros.
                pixels[line] = unsafe { simd.load(first.add(column * pitch)) };
            }
        }
        F::apply::<T, S>(simd, pixels)
    }
}
