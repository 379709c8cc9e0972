//! The gradient of a small overlay that swept over a plane.
//!
//! ```text
//! for each block of rows and columns of the results' gradients:
//!     for each tile of R rows and N columns of the overlay:
//!         sums ← 0
//!         for each row of the plane under the block:
//!             for each vector of columns:
//!                 load the R rows of gradients that lie over it, and the N vectors of pixels
//!                 sums[i][j] += gradients[i] · pixels[j]
//!         add the sums to the overlay's
//! ```
//!
//! `R · N` multiply-adds for `R + N` loads, all of them from a block that fits into the first cache. The sums stay
//! vectors: their lanes are added up at the very end, by the caller.

use std::ops::Range;

use super::super::tiles::{even_parts, with_rows};
use super::super::{MAX_VECTOR, Op, Simd};
use crate::Scalar;

/// Rows and columns of the overlay in the largest tile, for overlays of so many columns.
const fn largest_tile(columns: usize) -> [usize; 2] {
    if columns == 5 { [2, 5] } else { [3, 4] }
}

/// Rows of gradients in a block.
const BLOCK_ROWS: usize = 8;

/// Bytes of a row of a block.
const BLOCK_BYTES: usize = 1 << 10;

/// `sums[i][j] += Σ maps[y][x] · image[y + i · dilation][x + columns[j]]`, lane by lane.
pub(crate) struct Collect<'a, T> {
    /// The plane, from the pixel under the first gradient on.
    pub(crate) image: &'a [T],
    /// From a row of the plane to the next.
    pub(crate) pitch: usize,
    /// Rows of the plane from a row of the overlay to the next.
    pub(crate) dilation: usize,
    /// Rows of the overlay.
    pub(crate) kernel_rows: usize,
    /// Where each column of the overlay meets a row of the plane.
    pub(crate) columns: &'a [usize],
    /// Gradients of the results.
    pub(crate) maps: &'a [T],
    /// From a row of gradients to the next.
    pub(crate) map_pitch: usize,
    /// Rows and columns of gradients; a row fills a vector.
    pub(crate) size: [usize; 2],
    /// Sums `(row, column, lane)` of the overlay, added to.
    pub(crate) sums: &'a mut [T],
}

/// Rows of gradients, `dilation` apart, and their columns.
#[derive(Clone)]
struct Block {
    first: usize,
    rows: usize,
    columns: Range<usize>,
}

impl<T: Scalar> Op<T> for Collect<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(mut self, simd: S) {
        self.check(S::LANES);
        let [rows, width] = self.size;
        let vectors = BLOCK_BYTES / (S::LANES * size_of::<T>());
        // What a row's last vector has not shared with the one before: nothing, where the row is a multiple.
        let mut mask = [T::ZERO; MAX_VECTOR];
        mask[S::LANES - width % S::LANES..S::LANES].fill(T::one());
        // SAFETY: no vector has more than `MAX_VECTOR` lanes.
        let mask = unsafe { simd.load(mask.as_ptr()) };
        for phase in 0..self.dilation.min(rows) {
            let count = (rows - phase).div_ceil(self.dilation);
            for rows in even_parts(count, BLOCK_ROWS) {
                let first = phase + rows.start * self.dilation;
                for part in even_parts(width.div_ceil(S::LANES), vectors) {
                    let columns = part.start * S::LANES..(part.end * S::LANES).min(width);
                    self.block(simd, &Block { first, rows: rows.len(), columns }, mask);
                }
            }
        }
    }
}

impl<T: Scalar> Collect<'_, T> {
    /// Checks that every element that a tile meets is there.
    #[inline(always)]
    fn check(&self, lanes: usize) {
        let [rows, width] = self.size;
        assert!(rows > 0 && width >= lanes, "gradients fill vectors");
        assert!(self.dilation > 0 && self.kernel_rows > 0, "the overlay has rows");
        let far = self.columns.iter().copied().max().unwrap_or(0);
        let below = rows - 1 + (self.kernel_rows - 1) * self.dilation;
        assert!(below * self.pitch + far + width <= self.image.len(), "the plane holds all rows");
        assert!((rows - 1) * self.map_pitch + width <= self.maps.len(), "the gradients are there");
        let elements = self.kernel_rows * self.columns.len();
        assert_eq!(self.sums.len(), elements * lanes, "a sum for each element and lane");
    }

    /// What a block contributes to the whole overlay.
    #[inline(always)]
    fn block<S: Simd<T>>(&mut self, simd: S, block: &Block, mask: S::Vector) {
        let most = largest_tile(self.columns.len());
        for overlay_rows in even_parts(self.kernel_rows, most[0].min(block.rows)) {
            for overlay_columns in even_parts(self.columns.len(), most[1]) {
                let at = [overlay_rows.start, overlay_columns.start];
                match overlay_columns.len() {
                    5 => with_rows!(overlay_rows.len(), [1, 2], R => self.tile::<S, R, 5>(simd, block, mask, at)),
                    columns => with_rows!(overlay_rows.len(), [1, 2, 3], R => {
                        with_rows!(columns, [1, 2, 3, 4], N => self.tile::<S, R, N>(simd, block, mask, at));
                    }),
                }
            }
        }
    }

    /// What a block contributes to `R` rows and `N` columns of the overlay, of which `at` is the first element.
    #[inline(always)]
    fn tile<S: Simd<T>, const R: usize, const N: usize>(
        &mut self,
        simd: S,
        block: &Block,
        mask: S::Vector,
        at: [usize; 2],
    ) {
        let mut sums = [[simd.splat(T::ZERO); N]; R];
        let (step, map_step) = (self.dilation * self.pitch, self.dilation * self.map_pitch);
        let mut places = [0; N];
        places.copy_from_slice(&self.columns[at[1]..at[1] + N]);
        let columns = &block.columns;
        // SAFETY: `check` has seen that all gradients are there, and all rows of the plane under them. The tile meets
        // rows `first + (at[0]..at[0] + R + rows - 1) · dilation` of the plane, of which result row `r` of the block
        // sees `at[0] + i + r`; `R <= rows`. All columns end at `width` or before, where a vector is masked.
        unsafe {
            let image = self.image.as_ptr().add(block.first * self.pitch + at[0] * step);
            let maps = self.maps.as_ptr().add(block.first * self.map_pitch);
            macro_rules! rows {
                ($index:expr, $from:tt, $to:tt) => {{
                    let row = image.add(($index) * step);
                    line::<T, S, R, N, $from, $to>(
                        simd, row, &places, maps, $index, map_step, columns, mask, &mut sums,
                    );
                }};
            }
            // Rows under the first gradients only, those under `R` rows of them, those under the last ones only.
            macro_rules! first_rows {
                ($($to:literal),*) => { $(if $to < R { rows!($to - 1, 0, $to); })* };
            }
            macro_rules! last_rows {
                ($($from:literal),*) => { $(if $from < R { rows!(block.rows - 1 + $from, $from, R); })* };
            }
            first_rows!(1, 2);
            for index in R - 1..block.rows {
                rows!(index, 0, R);
            }
            last_rows!(1, 2);
        }
        for r in 0..R {
            for n in 0..N {
                // SAFETY: `check` has seen that there is a sum for each element and lane.
                unsafe {
                    let element = (at[0] + r) * self.columns.len() + at[1] + n;
                    let sum = self.sums.as_mut_ptr().add(element * S::LANES);
                    simd.store(simd.add(simd.load(sum), sums[r][n]), sum);
                }
            }
        }
    }
}

/// What row `index` under a block contributes to rows `FROM..TO` of a tile: the first meets there row `index` of the
/// gradients, the next the one above, and so on.
///
/// # Safety
///
/// These rows of gradients must be readable at `columns`, as must the pixels there from each of `places` on. Fewer
/// columns than fill a whole vector must have others before them that are readable too; `mask` is zero there.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "two arrays, and where to read them")]
unsafe fn line<T: Scalar, S: Simd<T>, const R: usize, const N: usize, const FROM: usize, const TO: usize>(
    simd: S,
    row: *const T,
    places: &[usize; N],
    maps: *const T,
    index: usize,
    map_step: usize,
    columns: &Range<usize>,
    mask: S::Vector,
    sums: &mut [[S::Vector; N]; R],
) {
    let zero = simd.splat(T::ZERO);
    let mut rows = [maps; R];
    let mut pixels = [row; N];
    // SAFETY: the caller promises these rows and places.
    unsafe {
        for r in FROM..TO.min(R) {
            rows[r] = maps.add((index - r) * map_step);
        }
        for n in 0..N {
            pixels[n] = row.add(places[n]);
        }
    }
    let mut column = columns.start;
    while column + S::LANES <= columns.end {
        let mut gradients = [zero; R];
        // SAFETY: the caller promises all whole vectors.
        unsafe {
            for r in FROM..TO.min(R) {
                gradients[r] = simd.load(rows[r].add(column));
            }
            for n in 0..N {
                let x = simd.load(pixels[n].add(column));
                for r in FROM..TO.min(R) {
                    sums[r][n] = simd.mul_add(x, gradients[r], sums[r][n]);
                }
            }
        }
        column += S::LANES;
    }
    if column < columns.end {
        // The last vector begins earlier: zeros on both sides for what the one before has had, so that no infinity
        // meets a zero.
        let from = columns.end - S::LANES;
        // SAFETY: the caller promises the vector that ends with the columns.
        unsafe {
            let mut gradients = [zero; R];
            for r in FROM..TO.min(R) {
                gradients[r] = simd.where_positive(mask, simd.load(rows[r].add(from)), zero);
            }
            for n in 0..N {
                let x = simd.where_positive(mask, simd.load(pixels[n].add(from)), zero);
                for r in FROM..TO.min(R) {
                    sums[r][n] = simd.mul_add(x, gradients[r], sums[r][n]);
                }
            }
        }
    }
}
