//! `V`: pixels, transformed.

use super::squares::{lanes_len, to_lanes};
use super::{F2x3, F2x5, F4x3, Filter, Tile, with_filter};
use crate::Scalar;
use crate::simd::{MAX_VECTOR, Op, Simd};

/// `V = Bᵀ d B` of some rows of tiles, in their order: lanes are input channels.
///
/// What tiles see of an image is a window of it, and zeros around.
pub(crate) struct InputTransform<'a, T> {
    pub(crate) tile: Tile,
    /// From the window's first pixel in the first channel on.
    pub(crate) pixels: &'a [T],
    /// From one channel to the next.
    pub(crate) channel_pitch: usize,
    /// From one line to the next.
    pub(crate) line_pitch: usize,
    /// Channels, at most a vector: the other lanes are zeros.
    pub(crate) channels: usize,
    /// Lines and columns of the window.
    pub(crate) window: [usize; 2],
    /// Lines of zeros above it, and columns left of it.
    pub(crate) border: [usize; 2],
    /// Rows and columns of tiles.
    pub(crate) tiles: [usize; 2],
    /// Room for turning the window, [`InputTransform::turned_len`].
    pub(crate) turned: &'a mut [T],
    /// From one point to the next.
    pub(crate) plane: usize,
    /// `(point, tile, input channel)`.
    pub(crate) transformed: &'a mut [T],
}

impl<T: Scalar> Op<T> for InputTransform<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let ([rows, columns], [lines, width]) = (self.tiles, self.window);
        let written = rows * columns * S::LANES;
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

impl<T: Scalar> InputTransform<'_, T> {
    /// Elements of the room for turning a window.
    pub(crate) const fn turned_len([lines, width]: [usize; 2], lanes: usize) -> usize {
        lines * width * lanes + lanes_len(0, lanes)
    }

    /// Along the rows of tiles: neighbours share `K - 1` columns of pixels, transformed.
    #[inline(always)]
    fn transform<S: Simd<T>, F: Filter<K, L, M, N>, const K: usize, const L: usize, const M: usize, const N: usize>(self, simd: S) {
        let zeros = [T::ZERO; MAX_VECTOR];
        let [lines, width] = self.window;
        for row in 0..self.tiles[0] {
            // Where each line begins, and how far apart its pixels are: those of the border are all at one place.
            let mut places = [(zeros.as_ptr(), 0); L];
            for (index, place) in places.iter_mut().enumerate() {
                let line = (row * M + index).wrapping_sub(self.border[0]);
                if line < lines {
                    *place = (self.turned[line * width * S::LANES..].as_ptr(), S::LANES);
                }
            }
            let mut seen = [[simd.splat(T::ZERO); N]; L];
            for index in 0..K - 1 {
                seen[M + index] = self.column::<S, F, K, L, M, N>(simd, &places, index);
            }
            for tile in 0..self.tiles[1] {
                for index in 0..K - 1 {
                    seen[index] = seen[M + index];
                }
                for index in K - 1..L {
                    seen[index] = self.column::<S, F, K, L, M, N>(simd, &places, tile * M + index);
                }
                let to = self.transformed[(row * self.tiles[1] + tile) * S::LANES..].as_mut_ptr();
                for line in 0..N {
                    let mut values = [simd.splat(T::ZERO); L];
                    for index in 0..L {
                        values[index] = seen[index][line];
                    }
                    let values = F::input::<T, S>(simd, values);
                    for index in 0..N {
                        // SAFETY: `eval` has checked that there is room for a vector of all tiles at every point.
                        unsafe { simd.store(values[index], to.add((line * N + index) * self.plane)) };
                    }
                }
            }
        }
    }

    /// The pixels of a column under a row of tiles, transformed.
    #[inline(always)]
    fn column<S: Simd<T>, F: Filter<K, L, M, N>, const K: usize, const L: usize, const M: usize, const N: usize>(
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
        F::input::<T, S>(simd, pixels)
    }
}
