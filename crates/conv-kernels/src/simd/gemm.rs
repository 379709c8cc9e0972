//! The matrix product, on one thread.
//!
//! ```text
//! for each block of A's rows, and each part of k: as much of A as the second cache holds
//!     copy it, where its strides are bad and many panels follow
//!     for each panel of B, two vectors wide and as deep as the part: what the first cache holds
//!         copy it, transposed where B is
//!         for each tile of C, six rows high and as wide as the panel
//!             for each k of the part:  tile += column of A · row of the panel
//! ```
//!
//! That is `m·n·k` multiply-adds, and `n·k` elements of B copied once for each block of rows. For a few rows B is not
//! copied at all, if its rows are contiguous: the parts of k are then so short that B streams by as it lies in memory.
//!
//! Each element of C is one chain of multiply-adds through all of k, in order: unfinished sums wait in C. So its bits
//! depend on its row of A and its column of B alone, not on tiles, blocks, or the matrices that these came in.

use ndarray::{ArrayView2, ArrayViewMut2};

use super::tiles::{even_parts, with_rows};
use super::{MAX_VECTOR, Op, Simd};
use crate::Scalar;

/// Depth of a panel that is two vectors wide: 16 KiB of vectors of 32 bytes.
const DEPTH: usize = 256;

/// The most elements of a panel.
const PANEL: usize = DEPTH * 2 * MAX_VECTOR;

/// Depth of a part where B is read in place: about as many streams as a CPU follows.
const STREAMS: usize = 16;

/// At most so many rows read B in place.
const FEW: usize = ROWS;

/// The most rows of a tile.
const ROWS: usize = 6;

/// At most so many rows are thin: their tiles are four vectors wide, for enough independent sums.
const THIN: usize = 2;

/// Columns of A that are copied at a time.
const COLUMNS: usize = 8;

/// The most rows of A in a block: 256 KiB of `f32`.
const BLOCK: usize = 256;

/// `C ← α A B`, or `C ← α A B + C`.
pub(crate) struct Product<'a, T> {
    /// α, multiplied into B.
    pub(crate) alpha: T,
    /// A `(m, k)`.
    pub(crate) a: ArrayView2<'a, T>,
    /// B `(k, n)`; vectors lie along its rows.
    pub(crate) b: ArrayView2<'a, T>,
    /// Whether the sums begin with what C holds; else C is not read.
    pub(crate) add: bool,
    /// C `(m, n)`.
    pub(crate) c: ArrayViewMut2<'a, T>,
    /// Room for copies of A and B, as much as [`scratch_len`] says.
    pub(crate) scratch: &'a mut [T],
}

/// A matrix in memory: its first element, and the distances between rows and between columns.
#[derive(Clone, Copy)]
struct Place<P> {
    first: P,
    row: isize,
    column: isize,
}

/// Rows of `N` vectors in memory.
#[derive(Clone, Copy)]
struct Strip<P, const N: usize> {
    first: P,
    row: isize,
    /// Where the vectors begin in a row.
    starts: [usize; N],
}

/// What a panel is for: rows of A, a part of k, and the panel's first vector, counted along a row of C.
#[derive(Clone, Copy)]
struct At {
    row: usize,
    rows: usize,
    k: usize,
    depth: usize,
    vector: usize,
}

/// Elements of scratch that a product needs.
pub(crate) fn scratch_len<T>(a: &ArrayView2<'_, T>, n: usize) -> usize {
    PANEL + if copies(a, n) { BLOCK.min(a.nrows()).div_ceil(ROWS) * ROWS * DEPTH } else { 0 }
}

/// Whether a copy of A pays for itself.
#[inline(always)]
fn copies<T>(a: &ArrayView2<'_, T>, n: usize) -> bool {
    a.nrows() > ROWS && n >= if a.strides()[1] == 1 { 256 } else { 64 }
}

impl<T: Scalar> Op<T> for Product<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(mut self, simd: S) {
        let scratch = std::mem::take(&mut self.scratch);
        let ((m, k), n) = (self.a.dim(), self.b.ncols());
        assert_eq!(self.b.nrows(), k, "A has as many columns as B has rows");
        assert_eq!(self.c.dim(), (m, n), "C has the rows of A and the columns of B");
        let copies = copies(&self.a, n);
        assert!(scratch.len() >= scratch_len(&self.a, n), "room for copies");
        if n == 0 {
            return;
        }
        let in_place = m <= FEW && self.b.strides()[1] == 1 && n >= S::LANES && self.alpha == T::one();
        let depth = match m {
            _ if in_place => STREAMS,
            ..=THIN => DEPTH / 2,
            _ => DEPTH,
        };
        let (panel, block) = scratch.split_at_mut(PANEL);
        for rows in even_parts(m, BLOCK) {
            for part in even_parts(k, depth) {
                let mut at = At { row: rows.start, rows: rows.len(), k: part.start, depth: part.len(), vector: 0 };
                if copies {
                    self.copy_a(at, block);
                }
                let copy = copies.then_some(&*block);
                let vectors = n.div_ceil(S::LANES);
                // Narrow panels come first, so that the last vector, which overlaps its neighbour where n is no
                // multiple, is in the same panel: the overlap is computed twice, but not added twice.
                while at.vector < vectors {
                    let left = vectors - at.vector;
                    at.vector += match (left % 2, left % 4) {
                        (1, _) => self.panel::<S, 1>(simd, at, copy, in_place, panel),
                        (_, 0) if m <= THIN => self.panel::<S, 4>(simd, at, copy, in_place, panel),
                        _ => self.panel::<S, 2>(simd, at, copy, in_place, panel),
                    };
                }
            }
        }
    }
}

impl<T: Scalar> Product<'_, T> {
    /// Where a part of A lies.
    #[inline(always)]
    fn place_of_a(&self, at: At) -> Place<*const T> {
        let [row, column] = [self.a.strides()[0], self.a.strides()[1]];
        let first = self.a.as_ptr().wrapping_offset(at.row as isize * row + at.k as isize * column);
        Place { first, row, column }
    }

    /// Copies a part of A, tile by tile, `(k, row)` each; a few columns of all tiles at a time, so that a cache line that
    /// two tiles share is still there for the second.
    #[inline(always)]
    fn copy_a(&self, at: At, block: &mut [T]) {
        for columns in (0..at.depth).step_by(COLUMNS) {
            let columns = columns..at.depth.min(columns + COLUMNS);
            for (tile, copy) in even_parts(at.rows, ROWS).zip(block.chunks_exact_mut(ROWS * DEPTH)) {
                let a = self.place_of_a(At { row: at.row + tile.start, ..at });
                with_rows!(tile.len(), [1, 2, 3, 4, 5, 6], R => {
                    for (k, copy) in columns.clone().zip(&mut copy.as_chunks_mut::<R>().0[columns.clone()]) {
                        for r in 0..R {
                            // SAFETY: this is an element of A.
                            copy[r] = unsafe { *a.first.wrapping_offset(r as isize * a.row + k as isize * a.column) };
                        }
                    }
                });
            }
        }
    }

    /// `N` vectors of all rows of C, over a part of k. Answers `N`.
    #[inline(always)]
    fn panel<S: Simd<T>, const N: usize>(
        &mut self,
        simd: S,
        at: At,
        copy: Option<&[T]>,
        in_place: bool,
        panel: &mut [T],
    ) -> usize {
        let starts = self.starts::<S, N>(at.vector);
        let b = if in_place {
            let row = self.b.strides()[0];
            Strip { first: self.b.as_ptr().wrapping_offset(at.k as isize * row), row, starts }
        } else {
            self.pack::<S, N>(simd, at, starts, panel);
            let packed = std::array::from_fn(|v| v * S::LANES);
            Strip { first: panel.as_ptr(), row: (N * S::LANES) as isize, starts: packed }
        };
        for (index, tile) in even_parts(at.rows, ROWS).enumerate() {
            let at = At { row: at.row + tile.start, rows: tile.len(), ..at };
            let a = match copy {
                Some(copy) => Place { first: copy[index * ROWS * DEPTH..].as_ptr(), row: 1, column: at.rows as isize },
                None => self.place_of_a(at),
            };
            // SAFETY: the tile and the part lie within A, or in its copy, and the panel holds the part.
            unsafe {
                if N > 2 {
                    with_rows!(at.rows, [1, 2], R => self.tile::<S, R, N>(simd, at, a, b, starts));
                } else {
                    with_rows!(at.rows, [1, 2, 3, 4, 5, 6], R => self.tile::<S, R, N>(simd, at, a, b, starts));
                }
            }
        }
        N
    }

    /// Where vectors begin in a row of C.
    #[inline(always)]
    fn starts<S: Simd<T>, const N: usize>(&self, vector: usize) -> [usize; N] {
        std::array::from_fn(|v| ((vector + v) * S::LANES).min(self.c.ncols().saturating_sub(S::LANES)))
    }

    /// One tile, in C itself if its rows are contiguous, else in a copy.
    ///
    /// # Safety
    ///
    /// As for [`multiply`] in A and B; whole vectors of C must begin at `starts`, unless C is narrower than a vector.
    #[inline(always)]
    unsafe fn tile<S: Simd<T>, const R: usize, const N: usize>(
        &mut self,
        simd: S,
        at: At,
        a: Place<*const T>,
        b: Strip<*const T, N>,
        starts: [usize; N],
    ) {
        let add = self.add || at.k > 0;
        let columns = S::LANES.min(self.c.ncols());
        if self.c.strides()[1] == 1 && columns == S::LANES {
            let row = self.c.strides()[0];
            let c = Strip { first: self.c.as_mut_ptr().wrapping_offset(at.row as isize * row), row, starts };
            // SAFETY: the caller promises A and B, and that whole vectors of C, which has these rows, lie there.
            return unsafe { multiply::<T, S, R, N>(simd, at.depth, a, b, add, c) };
        }
        let mut copy = [T::ZERO; ROWS * 2 * MAX_VECTOR];
        assert!(R * N * S::LANES <= copy.len(), "tiles of more vectors than two have fewer rows");
        let each = || (0..R).flat_map(|r| (0..N).flat_map(move |v| (0..columns).map(move |lane| (r, v, lane))));
        let place = |r: usize, v: usize, lane: usize| (r * N + v) * S::LANES + lane;
        if add {
            each().for_each(|(r, v, lane)| copy[place(r, v, lane)] = self.c[[at.row + r, starts[v] + lane]]);
        }
        let packed = std::array::from_fn(|v| v * S::LANES);
        let c = Strip { first: copy.as_mut_ptr(), row: (N * S::LANES) as isize, starts: packed };
        // SAFETY: the caller promises A and B; the copy has `R` rows of `N` vectors.
        unsafe { multiply::<T, S, R, N>(simd, at.depth, a, b, add, c) };
        each().for_each(|(r, v, lane)| self.c[[at.row + r, starts[v] + lane]] = copy[place(r, v, lane)]);
    }

    /// Copies vectors of B to the panel, `(k, vector, lane)`, with zeros where B is narrower than a vector.
    #[inline(always)]
    fn pack<S: Simd<T>, const N: usize>(&self, simd: S, at: At, starts: [usize; N], panel: &mut [T]) {
        let (depth, width) = (at.depth, N * S::LANES);
        let panel = &mut panel[..depth * width];
        let [row, column] = [self.b.strides()[0], self.b.strides()[1]];
        let columns = S::LANES.min(self.b.ncols());
        let place = |k: usize, v: usize| k * width + v * S::LANES;
        let from = |k: usize, v: usize| {
            self.b.as_ptr().wrapping_offset((at.k + k) as isize * row + starts[v] as isize * column)
        };
        if column == 1 && columns == S::LANES {
            for k in 0..depth {
                for v in 0..N {
                    // SAFETY: whole vectors lie in B from `starts` on; the panel was cut to `depth` rows.
                    unsafe { simd.store(simd.load(from(k, v)), panel.as_mut_ptr().add(place(k, v))) };
                }
            }
        } else if row == 1 && column > 0 && columns == S::LANES && depth >= S::LANES {
            for k in (0..depth).step_by(S::LANES) {
                // The last square begins earlier where the part is no multiple.
                let k = k.min(depth - S::LANES);
                for v in 0..N {
                    // SAFETY: as many columns as lanes lie in B from `starts` on, and as many rows from `k` on; the
                    // panel was cut to `depth` rows.
                    unsafe { simd.transpose(from(k, v), column as usize, panel.as_mut_ptr().add(place(k, v)), width) };
                }
            }
        } else {
            for (k, v) in (0..depth).flat_map(|k| (0..N).map(move |v| (k, v))) {
                for lane in 0..S::LANES {
                    let value = if lane < columns { self.b[[at.k + k, starts[v] + lane]] } else { T::ZERO };
                    panel[place(k, v) + lane] = value;
                }
            }
        }
        if self.alpha != T::one() {
            panel.iter_mut().for_each(|b| *b *= self.alpha);
        }
    }
}

/// `C = A B` or `C += A B` for `R` rows and `N` vectors, all of which stay in registers.
///
/// # Safety
///
/// `R` rows and `depth` columns of A must be readable, and `depth` rows of B; `R` rows of C must be readable and
/// writable: whole vectors each.
#[inline(always)]
unsafe fn multiply<T: Scalar, S: Simd<T>, const R: usize, const N: usize>(
    simd: S,
    depth: usize,
    mut a: Place<*const T>,
    mut b: Strip<*const T, N>,
    add: bool,
    c: Strip<*mut T, N>,
) {
    let mut sums = [[simd.splat(T::ZERO); N]; R];
    let at = |r: usize, v: usize| c.first.wrapping_offset(r as isize * c.row + c.starts[v] as isize);
    for r in 0..R {
        for v in 0..N {
            if add {
                // SAFETY: the caller promises C.
                sums[r][v] = unsafe { simd.load(at(r, v)) };
            } else {
                // A store that misses the cache holds up all that follow.
                simd.prefetch(at(r, v));
            }
        }
    }
    macro_rules! steps {
        ($row:expr, $column:expr) => {
            for _ in 0..depth {
                let mut vectors = [simd.splat(T::ZERO); N];
                for v in 0..N {
                    // SAFETY: the caller promises B.
                    vectors[v] = unsafe { simd.load(b.first.add(b.starts[v])) };
                }
                for r in 0..R {
                    // SAFETY: the caller promises A.
                    let factor = simd.splat(unsafe { *a.first.offset(r as isize * $row) });
                    for v in 0..N {
                        sums[r][v] = simd.mul_add(factor, vectors[v], sums[r][v]);
                    }
                }
                (a.first, b.first) = (a.first.wrapping_offset($column), b.first.wrapping_offset(b.row));
            }
        };
    }
    // Distances that are known, those of a copy, need no registers.
    if [a.row, a.column] == [1, R as isize] {
        steps!(1, R as isize)
    } else {
        steps!(a.row, a.column)
    }
    for r in 0..R {
        for v in 0..N {
            // SAFETY: the caller promises C.
            unsafe { simd.store(sums[r][v], at(r, v)) };
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, s};

    use super::*;
    use crate::simd::Isa;

    /// `C ← A B (+ C)` by one chain an element.
    fn chains<T: Scalar>(fused: bool, a: ArrayView2<'_, T>, b: ArrayView2<'_, T>, start: &Array2<T>) -> Array2<T> {
        let mul_add = |sum: T, a: T, b: T| if fused { a.mul_add(b, sum) } else { sum + a * b };
        Array2::from_shape_fn(start.dim(), |(row, column)| {
            let pairs = a.row(row).into_iter().zip(b.column(column));
            pairs.fold(start[[row, column]], |sum, (&a, &b)| mul_add(sum, a, b))
        })
    }

    fn numbers<T: Scalar>(rows: usize, columns: usize) -> Array2<T> {
        let mut state = (rows * 31 + columns) as u64;
        Array2::from_shape_simple_fn((rows, columns), || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            T::of((state >> 40) as f64 / f64::from(1 << 23) - 1.0)
        })
    }

    /// All strides of operands, into a part of a larger C whose other elements stay.
    fn check<T: Scalar>(isa: Isa, m: usize, k: usize, n: usize) {
        let (a, a_t, b, b_t) = (numbers::<T>(m, k), numbers::<T>(k, m), numbers::<T>(k, 2 * n), numbers::<T>(n, k));
        for a in [a.view(), a_t.t()] {
            for b in [b.slice(s![.., ..n]), b.slice(s![.., ..;2]), b_t.t()] {
                for (add, transposed) in [(false, false), (true, false), (true, true)] {
                    let start = if add { numbers(m, n) } else { Array2::zeros((m, n)) };
                    let canary = T::of(-777.0);
                    let mut store = Array2::from_elem((m + 2, n + 2), canary);
                    if transposed {
                        store = Array2::from_elem((n + 2, m + 2), canary).reversed_axes();
                    }
                    let mut c = store.slice_mut(s![1..=m, 1..=n]);
                    c.assign(&start.mapv(|value| if add { value } else { T::nan() }));
                    let mut scratch = vec![T::nan(); scratch_len(&a, n)];
                    T::run(isa, Product { alpha: T::one(), a, b, add, c: c.view_mut(), scratch: &mut scratch });
                    assert_eq!(c, chains(isa.is_fast(), a, b, &start), "{m}x{k}x{n}, {}", isa.name());
                    c.fill(canary);
                    assert!(store.iter().all(|&value| value == canary), "{m}x{k}x{n}: written beyond C");
                }
            }
        }
    }

    #[test]
    fn every_element_is_one_chain_whatever_the_shape() {
        for isa in Isa::available() {
            for m in [1, 2, 3, 6, 7, 13] {
                for n in [1, 5, 8, 10, 17, 24, 31, 32, 70] {
                    for k in [1, 7, 20, 300] {
                        check::<f32>(isa, m, k, n);
                        check::<f64>(isa, m, k, n);
                    }
                }
            }
            check::<f32>(isa, 260, 30, 70);
            check::<f32>(isa, 40, 300, 290);
            check::<f64>(isa, 260, 30, 70);
        }
    }
}
