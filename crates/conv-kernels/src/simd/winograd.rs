//! Winograd's minimal filtering in vectors: each lane is a tile of its own.
//!
//! The four steps of `conv/winograd.rs`, each an [`Op`]: [`KernelTransform`], [`InputTransform`], [`Product`],
//! [`OutputTransform`].

mod filters;
mod product;

use filters::{F2, F4, Filter};
pub(crate) use product::Product;

use super::tiles::activate;
use super::{Op, Simd};
use crate::{Activation, Scalar};

/// Elements of a 3x3 kernel.
pub(crate) const TAPS: usize = 9;

/// The size of the tiles that a filter computes at once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tile {
    /// F(2x2, 3x3): 2x2 outputs from 4x4 inputs.
    Two,
    /// F(4x4, 3x3): 4x4 outputs from 6x6 inputs.
    Four,
}

impl Tile {
    /// Outputs along one side.
    pub(crate) const fn side(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// Products of a tile in one channel, each at a point of its own.
    pub(crate) const fn points(self) -> usize {
        (self.side() + 2) * (self.side() + 2)
    }

    /// Elements of a strip under `rows` of tiles: rows of pixels, `pitch` apart, and what the last of the vectors of
    /// `lanes` reads behind them.
    pub(crate) const fn strip_len(self, rows: usize, pitch: usize, lanes: usize) -> usize {
        (rows * self.side() + 2) * pitch + self.side() * (lanes + 1)
    }
}

/// Evaluates `call` with the filter `F` and its constants `M` and `N` for a [`Tile`].
macro_rules! with_filter {
    ($tile:expr, $self:ident.$method:ident::<$set:ident>($simd:expr)) => {
        match $tile {
            Tile::Two => $self.$method::<$set, F2, 2, 4>($simd),
            Tile::Four => $self.$method::<$set, F4, 4, 6>($simd),
        }
    };
}

/// Transforms columns, then rows.
macro_rules! in_two_dimensions {
    ($simd:expr, $transform:path, $square:expr, $from:expr => $to:expr) => {{
        let zero = $simd.splat(T::ZERO);
        let mut half = [[zero; $from]; $to];
        for column in 0..$from {
            let mut line = [zero; $from];
            for row in 0..$from {
                line[row] = $square[row][column];
            }
            let line = $transform($simd, line);
            for row in 0..$to {
                half[row][column] = line[row];
            }
        }
        let mut whole = [[zero; $to]; $to];
        for row in 0..$to {
            whole[row] = $transform($simd, half[row]);
        }
        whole
    }};
}

/// `U = G g Gᵀ`: lanes are kernels.
pub(crate) struct KernelTransform<'a, T> {
    pub(crate) tile: Tile,
    /// `(element, kernel)`: [`TAPS`] rows.
    pub(crate) kernels: &'a [T],
    /// How many kernels to transform, rounded up to whole vectors; as many are written for each point.
    pub(crate) count: usize,
    /// `(point, kernel)`.
    pub(crate) transformed: &'a mut [T],
}

impl<T: Scalar> Op<T> for KernelTransform<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let written = self.count.next_multiple_of(S::LANES);
        assert!(self.kernels.len() / TAPS >= written, "all elements of all kernels");
        assert!(self.transformed.len() / self.tile.points() >= written, "room for all points of all kernels");
        with_filter!(self.tile, self.transform::<S>(simd));
    }
}

impl<T: Scalar> KernelTransform<'_, T> {
    #[inline(always)]
    fn transform<S: Simd<T>, F: Filter<M, N>, const M: usize, const N: usize>(self, simd: S) {
        let (kernels, pitch) = (self.kernels.as_ptr(), self.kernels.len() / TAPS);
        let (transformed, plane) = (self.transformed.as_mut_ptr(), self.transformed.len() / (N * N));
        for first in (0..self.count).step_by(S::LANES) {
            let mut kernel = [[simd.splat(T::ZERO); 3]; 3];
            for row in 0..3 {
                for column in 0..3 {
                    // SAFETY: `eval` has checked that each of the nine rows holds all vectors.
                    kernel[row][column] = unsafe { simd.load(kernels.add((3 * row + column) * pitch + first)) };
                }
            }
            let points = in_two_dimensions!(simd, F::kernel::<T, S>, kernel, 3 => N);
            for row in 0..N {
                for column in 0..N {
                    // SAFETY: `eval` has checked that there is room for all vectors at all `N · N` points.
                    unsafe { simd.store(points[row][column], transformed.add((row * N + column) * plane + first)) };
                }
            }
        }
    }
}

/// `V = Bᵀ d B`: the tiles of some rows of tiles of one channel, in their order.
pub(crate) struct InputTransform<'a, T> {
    pub(crate) tile: Tile,
    /// The pixels under the tiles, as long as [`Tile::strip_len`] says.
    pub(crate) strip: &'a [T],
    /// From one row of pixels to the next.
    pub(crate) pitch: usize,
    /// Rows of tiles.
    pub(crate) rows: usize,
    /// Tiles of each.
    pub(crate) columns: usize,
    /// From one point's tiles to the next's.
    pub(crate) plane: usize,
    /// `(point, tile)`, and room for a vector behind the last tile.
    pub(crate) transformed: &'a mut [T],
}

impl<T: Scalar> Op<T> for InputTransform<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let strip_len = self.tile.strip_len(self.rows, self.pitch, S::LANES);
        assert!(strip_len <= self.strip.len(), "the strip holds all rows");
        assert!(self.columns * self.tile.side() + 2 <= self.pitch, "a row holds all columns");
        let written = self.rows * self.columns + S::LANES;
        assert!((self.tile.points() - 1) * self.plane + written <= self.transformed.len(), "room for all points");
        with_filter!(self.tile, self.transform::<S>(simd));
    }
}

impl<T: Scalar> InputTransform<'_, T> {
    /// Down the columns, a vector of tiles wide: two rows of pixels serve two rows of tiles each.
    #[inline(always)]
    fn transform<S: Simd<T>, F: Filter<M, N>, const M: usize, const N: usize>(self, simd: S) {
        for first in (0..self.columns).step_by(S::LANES) {
            // The last vector begins earlier and repeats tiles, or, where there are too few, writes what the next
            // row of tiles overwrites.
            let first = first.min(self.columns.saturating_sub(S::LANES));
            let mut lines = [[simd.splat(T::ZERO); N]; N];
            for line in 0..2 {
                lines[M + line] = self.line::<S, F, M, N>(simd, line, first);
            }
            for row in 0..self.rows {
                (lines[0], lines[1]) = (lines[M], lines[M + 1]);
                for line in 2..N {
                    lines[line] = self.line::<S, F, M, N>(simd, row * M + line, first);
                }
                // SAFETY: `eval` has checked that there is room for all tiles, and a vector more, at every point.
                let to = unsafe { self.transformed.as_mut_ptr().add(row * self.columns + first) };
                for column in 0..N {
                    let mut values = [simd.splat(T::ZERO); N];
                    for line in 0..N {
                        values[line] = lines[line][column];
                    }
                    let values = F::input::<T, S>(simd, values);
                    for line in 0..N {
                        // SAFETY: as above.
                        unsafe { simd.store(values[line], to.add((line * N + column) * self.plane)) };
                    }
                }
            }
        }
    }

    /// A row of pixels under tiles `first..first + LANES` of a row, transformed.
    #[inline(always)]
    fn line<S: Simd<T>, F: Filter<M, N>, const M: usize, const N: usize>(
        &self,
        simd: S,
        line: usize,
        first: usize,
    ) -> [S::Vector; N] {
        // SAFETY: `eval` has checked that the strip holds `M · LANES + M` elements behind its last row; the vector
        // begins within a row.
        F::input::<T, S>(simd, unsafe { F::split(simd, self.strip.as_ptr().add(line * self.pitch + first * M)) })
    }
}

/// `σ(Aᵀ p A + b)`: the pixels of tiles of one channel, as rows: row `i` of all tiles side by side.
pub(crate) struct OutputTransform<'a, T> {
    pub(crate) tile: Tile,
    /// `(point, tile)`, whole vectors.
    pub(crate) products: &'a [T],
    /// From one point's tiles to the next's.
    pub(crate) plane: usize,
    /// Tiles, rounded up to whole vectors.
    pub(crate) count: usize,
    pub(crate) bias: T,
    /// σ, where a vector can do it; the others are left to the caller.
    pub(crate) activation: Activation,
    /// As many rows as a tile has, of the same length: whole vectors.
    pub(crate) rows: &'a mut [T],
}

impl<T: Scalar> Op<T> for OutputTransform<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let (read, side) = (self.count.next_multiple_of(S::LANES), self.tile.side());
        assert!((self.tile.points() - 1) * self.plane + read <= self.products.len(), "products at all points");
        assert!(self.rows.len() / side >= read * side, "room for all rows");
        with_filter!(self.tile, self.transform::<S>(simd));
    }
}

impl<T: Scalar> OutputTransform<'_, T> {
    #[inline(always)]
    fn transform<S: Simd<T>, F: Filter<M, N>, const M: usize, const N: usize>(self, simd: S) {
        let (products, pitch, bias) = (self.products.as_ptr(), self.rows.len() / M, simd.splat(self.bias));
        let zero = simd.splat(T::ZERO);
        for first in (0..self.count).step_by(S::LANES) {
            let mut square = [[zero; N]; N];
            for row in 0..N {
                for column in 0..N {
                    // SAFETY: `eval` has checked that there are products for all vectors at all `N · N` points.
                    square[row][column] = unsafe { simd.load(products.add((row * N + column) * self.plane + first)) };
                }
            }
            let mut pixels = in_two_dimensions!(simd, F::output::<T, S>, square, N => M);
            for row in 0..M {
                for column in 0..M {
                    pixels[row][column] = simd.add(pixels[row][column], bias);
                }
            }
            activate(simd, self.activation, &mut pixels);
            for row in 0..M {
                let joined = F::join(simd, pixels[row]);
                for vector in 0..M {
                    let at = row * pitch + first * M + vector * S::LANES;
                    // SAFETY: `eval` has checked that each of the `M` rows has room for `M` outputs of every tile.
                    unsafe { simd.store(joined[vector], self.rows.as_mut_ptr().add(at)) };
                }
            }
        }
    }
}
