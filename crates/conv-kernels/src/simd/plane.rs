//! A small overlay sweeps over a plane: the tiles for one channel at a time.
//!
//! ```text
//! for each tile of R rows and N vectors of results:
//!     sums ← 0
//!     for each row of the plane under the tile:
//!         for each column of the overlay:
//!             load N vectors of the row
//!             for each row of results that lies over it (at most R):
//!                 sums[row] += overlay[its row there][column] · vectors
//! ```
//!
//! Where a product of matrices would have a single row, a tile takes several rows of *results*: neighbouring results see
//! neighbouring rows of the plane, so that a vector, once loaded, serves up to R of them. A tile costs
//! `R · N` multiply-adds for `N` loads of pixels and `R` of weights in each column of each row; only the first and last
//! `R - 1` rows under it serve fewer.
//!
//! Each result is one chain of multiply-adds, from zero through the overlay's elements in their order: its bits depend
//! on no tile, strip, or thread.

pub(crate) mod add;
pub(crate) mod gradient;
pub(crate) mod slide;

use super::tiles::{activate, activates};
use super::{Op, Simd};
use crate::{Activation, Scalar};

/// The correlation of planes with their overlays, the planes' results added up.
///
/// `out[y][x] = σ(Σ weight[layer][i][j] · image[layer][y · stride + i · dilation][x + columns[j]] + bias)`.
pub(crate) struct Sweep<'a, T> {
    /// The planes.
    pub(crate) image: &'a [T],
    /// Where each plane begins under the first result, in `image`, and its overlay in `weight`.
    pub(crate) layers: &'a [[usize; 2]],
    /// From a row of a plane to the next.
    pub(crate) pitch: usize,
    /// Rows of the plane from a row of results to the next.
    pub(crate) stride: usize,
    /// Rows of the plane from a row of the overlay to the next.
    pub(crate) dilation: usize,
    /// The overlays.
    pub(crate) weight: &'a [T],
    /// Rows of an overlay.
    pub(crate) kernel_rows: usize,
    /// From a row of an overlay to the next.
    pub(crate) weight_pitch: usize,
    /// Where each column of an overlay meets a row of the plane, from the pixel under the result's first column.
    pub(crate) columns: &'a [usize],
    /// Added to all results.
    pub(crate) bias: Option<T>,
    /// σ, which must be one that [`activates`].
    pub(crate) activation: Activation,
    /// Rows and columns of results; a row fills a vector.
    pub(crate) size: [usize; 2],
    /// The results.
    pub(crate) out: &'a mut [T],
    /// From a row of results to the next.
    pub(crate) out_pitch: usize,
}

/// Rows of results that see the same rows of the plane through neighbouring rows of the overlay.
#[derive(Clone, Copy)]
struct Band {
    /// The first row under it, in a plane.
    image: usize,
    /// The first row of results.
    out: usize,
}

/// Sweeps a band of `R` rows, in tiles as wide as listed; where a row is no multiple, its last vector begins earlier.
macro_rules! sweep_band {
    ($self:ident, $simd:ident, $band:ident, $side:ident, $rows:literal x [$($vectors:literal),*]) => {{
        let (width, mut done) = ($self.size[1], 0);
        let vectors = width.div_ceil(S::LANES);
        $(
            while vectors - done >= $vectors {
                let (first, end) = (done * S::LANES, (done + $vectors) * S::LANES);
                $self.tile::<S, $rows, $vectors, $side>($simd, $band, first, end.min(width) - S::LANES);
                done += $vectors;
            }
        )*
        $rows
    }};
}

impl<T: Scalar> Op<T> for Sweep<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        self.check(S::LANES);
        let dense =
            self.columns.windows(2).all(|pair| pair[0] + 1 == pair[1]) && self.weight_pitch == self.columns.len();
        match [self.kernel_rows, self.columns.len()] {
            [3, 3] if dense => self.sweep::<S, 3>(simd),
            _ => self.sweep::<S, 0>(simd),
        }
    }
}

impl<T: Scalar> Sweep<'_, T> {
    /// All bands. If `K` is not 0, overlays are of `K × K` elements that lie side by side: what is known makes loops
    /// straight code.
    #[inline(always)]
    fn sweep<S: Simd<T>, const K: usize>(mut self, simd: S) {
        // Rows that are `dilation` apart see the same rows of the plane; with a stride none are taken together.
        let (bands, rows) = if self.stride == 1 { (self.dilation, self.size[0]) } else { (self.size[0], 1) };
        for first in 0..bands.min(self.size[0]) {
            let mut band = Band { image: first * self.stride * self.pitch, out: first * self.out_pitch };
            let mut left = if self.stride == 1 { (rows - first).div_ceil(self.dilation) } else { rows };
            while left > 0 {
                let taken = match left.min(if K > 0 { K } else { self.kernel_rows }) {
                    6.. => sweep_band!(self, simd, band, K, 6 x [2, 1]),
                    3..=5 => sweep_band!(self, simd, band, K, 3 x [3, 2, 1]),
                    2 => sweep_band!(self, simd, band, K, 2 x [4, 2, 1]),
                    _ => sweep_band!(self, simd, band, K, 1 x [8, 7, 6, 5, 4, 3, 2, 1]),
                };
                left -= taken;
                band.image += taken * self.dilation * self.pitch;
                band.out += taken * self.dilation * self.out_pitch;
            }
        }
    }

    /// Checks that every element that a tile meets is there.
    #[inline(always)]
    fn check(&self, lanes: usize) {
        let [rows, width] = self.size;
        assert!(rows > 0 && width >= lanes, "results fill vectors");
        assert!(self.stride > 0 && self.dilation > 0 && self.kernel_rows > 0, "the overlay moves, and has rows");
        let far = self.columns.iter().copied().max().unwrap_or(0);
        let below = (rows - 1) * self.stride + (self.kernel_rows - 1) * self.dilation;
        let elements = (self.kernel_rows - 1) * self.weight_pitch + self.columns.len();
        for &[image, weight] in self.layers {
            assert!(image + below * self.pitch + far + width <= self.image.len(), "the planes hold all rows");
            assert!(weight + elements <= self.weight.len(), "a weight for each element of all overlays");
        }
        assert!((rows - 1) * self.out_pitch + width <= self.out.len(), "room for all results");
        assert!(activates(self.activation), "an activation that vectors compute");
    }

    /// `N` vectors of each of `R` rows of results, side by side from column `first` on, but for the one at `last`.
    #[inline(always)]
    fn tile<S: Simd<T>, const R: usize, const N: usize, const K: usize>(
        &mut self,
        simd: S,
        band: Band,
        first: usize,
        last: usize,
    ) {
        let place = |n: usize| if n + 1 < N { first + n * S::LANES } else { last };
        let mut sums = [[simd.splat(T::ZERO); N]; R];
        let (kernel_rows, pitch) = if K > 0 { (K, K) } else { (self.kernel_rows, self.weight_pitch) };
        let step = self.dilation * self.pitch;
        for &[image, weight] in self.layers {
            // SAFETY: `check` has seen that the plane holds `kernel_rows` rows, `step` apart, under each row of
            // results, `far + width` elements of each, and that the overlay holds `kernel_rows` rows. The `R` rows of the
            // band, `dilation` apart, are all there, `R <= kernel_rows`, and the last vector ends within `width`.
            unsafe {
                let image = self.image.as_ptr().add(image + band.image);
                let weight = self.weight.as_ptr().add(weight);
                macro_rules! rows {
                    ($index:expr, $from:tt, $to:tt) => {{
                        let row = image.add(($index) * step);
                        let row = [row.add(first), row.add(last)];
                        line::<T, S, R, N, K, $from, $to>(simd, row, self.columns, weight, $index, pitch, &mut sums);
                    }};
                }
                // Rows that only the first results see, those that all see, those that only the last ones see.
                macro_rules! first_rows {
                    ($($to:literal),*) => { $(if $to < R { rows!($to - 1, 0, $to); })* };
                }
                macro_rules! last_rows {
                    ($($from:literal),*) => { $(if $from < R { rows!(kernel_rows - 1 + $from, $from, R); })* };
                }
                first_rows!(1, 2, 3, 4, 5);
                for index in R - 1..kernel_rows {
                    rows!(index, 0, R);
                }
                last_rows!(1, 2, 3, 4, 5);
            }
        }
        if let Some(bias) = self.bias {
            for r in 0..R {
                for n in 0..N {
                    sums[r][n] = simd.add(sums[r][n], simd.splat(bias));
                }
            }
        }
        activate(simd, self.activation, &mut sums);
        for r in 0..R {
            for n in 0..N {
                // SAFETY: `check` has seen that there is room for all rows of results, `width` elements each.
                unsafe {
                    let row = self.out.as_mut_ptr().add(band.out + r * self.dilation * self.out_pitch);
                    simd.store(sums[r][n], row.add(place(n)));
                }
            }
        }
    }
}

/// What row `index` under a tile adds to its results `FROM..TO`: the first row of results sees it through row `index` of
/// the overlay, the next through the one above, and so on.
///
/// # Safety
///
/// At each of `columns`, `N - 1` vectors must be readable from `row[0]` on, and another from `row[1]` on; and of each of
/// these rows of the overlay at `weight`, an element for each column. If `K` is not 0, there must be `K` columns, side by
/// side.
#[inline(always)]
unsafe fn line<
    T: Scalar,
    S: Simd<T>,
    const R: usize,
    const N: usize,
    const K: usize,
    const FROM: usize,
    const TO: usize,
>(
    simd: S,
    row: [*const T; 2],
    columns: &[usize],
    weight: *const T,
    index: usize,
    pitch: usize,
    sums: &mut [[S::Vector; N]; R],
) {
    let mut rows = [weight; R];
    for r in FROM..TO.min(R) {
        // SAFETY: the caller promises this row of the overlay.
        rows[r] = unsafe { weight.add((index - r) * pitch) };
    }
    for j in 0..if K > 0 { K } else { columns.len() } {
        let column = if K > 0 { columns[0] + j } else { columns[j] };
        let mut pixels = [simd.splat(T::ZERO); N];
        for n in 0..N {
            // SAFETY: the caller promises all vectors.
            pixels[n] = unsafe {
                let place = if n + 1 < N { row[0].add(column + n * S::LANES) } else { row[1].add(column) };
                simd.load(place)
            };
        }
        for r in FROM..TO.min(R) {
            // SAFETY: the caller promises an element for each column.
            let factor = simd.splat(unsafe { *rows[r].add(j) });
            for n in 0..N {
                sums[r][n] = simd.mul_add(factor, pixels[n], sums[r][n]);
            }
        }
    }
}
