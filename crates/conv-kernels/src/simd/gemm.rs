//! The matrix product, on one thread.
//!
//! ```text
//! for each block of A's rows, and each part of k: as much of A as the second cache holds
//!     copy it, tile by tile, where its strides are bad and many panels follow
//!     for each panel of B, two vectors wide and as deep as the part: what the nearest caches hold
//!         copy it, transposed where B is
//!         for each tile of C, as high as there are registers for its sums, and as wide as the panel
//!             for each k of the part:  tile += column of A · row of the panel
//! ```
//!
//! That is `m·n·k` multiply-adds, and `n·k` elements of B copied once for each block of rows. For a few rows B is not
//! copied at all, if its rows are contiguous: the parts of k are then so short that B streams by as it lies in memory.
//!
//! Several B that share A, and have a C each, are one product: their columns stand side by side, as those of a single
//! wide matrix, and a panel goes on from one B to the next. So small images fill vectors as well as large ones do.
//! Several pairs of A and B that share C are one product as well, with all their k in a row.
//!
//! Each element of C is one chain of multiply-adds through all of k, in order: unfinished sums wait in C. So its bits
//! depend on its row of A and its column of B alone, not on tiles, blocks, or the matrices that these came in.

mod columns;
mod copies;
mod panel;
#[cfg(test)]
mod tests;

use std::ops::Range;

use ndarray::{ArrayView3, ArrayViewMut3};

use columns::Columns;
use copies::Copies;

use super::tiles::{MAX_ROWS, even_parts, most_rows, wide_rows, with_rows};
use super::{Isa, MAX_VECTOR, Op, Simd};
use crate::Scalar;

/// The deepest part of k for 16 registers: a panel of vectors of 32 bytes has 16 KiB then, half of the first cache. More
/// registers make more of each load, so that panels may come from the second cache, and C is read and written less often.
const DEPTH: usize = 256;

/// The deepest part of any set.
const MAX_DEPTH: usize = depth(32);

/// The most elements of a panel, and what may be stored beyond it.
const PANEL: usize = (MAX_DEPTH * 2 + 1) * MAX_VECTOR;

/// The most elements of a tile of C.
const TILE: usize = MAX_ROWS * 2 * MAX_VECTOR;

/// Depth of a part where B is read in place: about as many streams as a CPU follows.
const STREAMS: usize = 16;

/// At most so many rows read B in place, wherever it is.
pub(crate) const FEW: usize = 6;

/// B of at most so many bytes stays in the second cache: it is read in place if its vectors are used once, by the only tile
/// under them.
const NEAR: usize = 512 << 10;

/// At most so many rows are thin: their tiles are four vectors wide, for enough independent sums.
const THIN: usize = 2;

/// Tiles of thin products in place are so many vectors wide, where there are 32 registers.
const WIDE: usize = 8;

/// The most rows of A in a block: about 300 KiB of `f32` with 16 registers, 600 with 32; half of the second cache.
const BLOCK: usize = 256;

/// The deepest part of k.
const fn depth(registers: usize) -> usize {
    DEPTH / 16 * registers
}

/// Elements of the copy of a tile of A: its columns, in whole vectors.
const fn tile_len(registers: usize, lanes: usize) -> usize {
    most_rows(registers)[0].next_multiple_of(lanes) * depth(registers)
}

/// `C ← α A B`, or `C ← α A B + C`, for each of several B and C; or `C ← α Σ A B (+ C)` over several A and B.
pub(crate) struct Product<'a, T> {
    /// α, multiplied into B.
    pub(crate) alpha: T,
    /// A `(terms, m, k)`: one, or as many as there are B.
    pub(crate) a: ArrayView3<'a, T>,
    /// B `(matrices, k, n)`; vectors lie along its rows.
    pub(crate) b: ArrayView3<'a, T>,
    /// Whether the sums begin with what C holds; else C is not read.
    pub(crate) add: bool,
    /// What is added to the finished sums, one number a row of C, or nothing.
    pub(crate) bias: Option<&'a [T]>,
    /// C `(matrices, m, n)`, or only one if there are several A.
    pub(crate) c: ArrayViewMut3<'a, T>,
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
    starts: [isize; N],
}

/// What a panel is for: rows of A, some terms, a part of k of each, and the panel's first vector, counted along the rows of
/// all C.
#[derive(Clone, Copy)]
struct At {
    row: usize,
    rows: usize,
    term: usize,
    terms: usize,
    k: usize,
    depth: usize,
    vector: usize,
}

/// Elements of scratch that a product needs, with `columns` of all B together.
pub(crate) fn scratch_len<T>(isa: Isa, a: &ArrayView3<'_, T>, columns: usize) -> usize {
    needs(isa.registers(), isa.lanes::<T>(), a, columns)
}

#[inline(always)]
fn needs<T>(registers: usize, lanes: usize, a: &ArrayView3<'_, T>, columns: usize) -> usize {
    let copied = Copies::of(a, columns) != Copies::None;
    let tiles = if copied { BLOCK.min(a.dim().1).div_ceil(most_rows(registers)[0]) } else { 0 };
    TILE + PANEL + tiles * tile_len(registers, lanes)
}

impl<T: Scalar> Op<T> for Product<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(mut self, simd: S) {
        let scratch = std::mem::take(&mut self.scratch);
        let ((terms, m, k), (matrices, b_rows, n)) = (self.a.dim(), self.b.dim());
        let sums = if terms == 1 { matrices } else { 1 };
        assert!(terms == 1 || terms == matrices, "one A for all B, or one for each");
        assert_eq!(b_rows, k, "A has as many columns as B has rows");
        assert_eq!(self.c.dim(), (sums, m, n), "C has the rows of A and the columns of B");
        assert!(self.bias.is_none_or(|bias| bias.len() == m), "a number for each row of C");
        let columns = sums * n;
        let copies = Copies::of(&self.a, columns);
        assert!(scratch.len() >= needs(S::REGISTERS, S::LANES, &self.a, columns), "room for copies");
        if columns == 0 {
            return;
        }
        let flat = matrices == 1 && self.b.strides()[2] == 1 && n >= S::LANES;
        let near = k * n * size_of::<T>() <= NEAR;
        let once = m <= FEW || (near && m <= wide_rows::<T, S>());
        let in_place = once && flat && self.alpha == T::one();
        // A chain waits for its own sums: many side by side do not.
        let wide = in_place && m <= THIN && S::REGISTERS >= 32;
        let depth = match m {
            _ if in_place && !near => STREAMS,
            ..=THIN => depth(S::REGISTERS) / 2,
            _ => depth(S::REGISTERS),
        };
        let (copy_of_c, rest) = scratch.split_at_mut(TILE);
        let (panel, block) = rest.split_at_mut(PANEL);
        for rows in even_parts(m, BLOCK) {
            for (some, part) in parts([terms, k], depth) {
                let [term, terms, k, depth] = [some.start, some.len(), part.start, part.len()];
                let mut at = At { row: rows.start, rows: rows.len(), term, terms, k, depth, vector: 0 };
                self.copy_a(simd, at, copies, block);
                let copy = (copies, &*block);
                let vectors = columns.div_ceil(S::LANES);
                // Narrow panels come first, so that the last vector, which overlaps its neighbour where the columns are
                // no multiple, is in the same panel: the overlap is computed twice, but not added twice.
                while at.vector < vectors {
                    let left = vectors - at.vector;
                    at.vector += match (left % 2, left % 4) {
                        _ if wide => {
                            let many = (left - 1) % WIDE + 1;
                            with_rows!(many, [1, 2, 3, 4, 5, 6, 7, 8], N => self.panel::<S, N>(simd, at, copy, true, [panel, copy_of_c]))
                        }
                        (1, _) => self.panel::<S, 1>(simd, at, copy, in_place, [panel, copy_of_c]),
                        (_, 0) if m <= THIN => self.panel::<S, 4>(simd, at, copy, in_place, [panel, copy_of_c]),
                        _ => self.panel::<S, 2>(simd, at, copy, in_place, [panel, copy_of_c]),
                    };
                }
            }
        }
    }
}

impl<T: Scalar> Product<'_, T> {
    /// Where a part of A lies, that of the first term.
    #[inline(always)]
    fn place_of_a(&self, at: At) -> Place<*const T> {
        let [term, row, column] = [self.a.strides()[0], self.a.strides()[1], self.a.strides()[2]];
        let offset = at.term as isize * term + at.row as isize * row + at.k as isize * column;
        Place { first: self.a.as_ptr().wrapping_offset(offset), row, column }
    }

    /// `N` vectors of all rows of C, over a part of k. Answers `N`.
    #[inline(always)]
    fn panel<S: Simd<T>, const N: usize>(
        &mut self,
        simd: S,
        at: At,
        (copies, block): (Copies, &[T]),
        in_place: bool,
        [panel, copy_of_c]: [&mut [T]; 2],
    ) -> usize {
        let columns = self.columns::<S, N>(at.vector);
        let b = if in_place {
            let row = self.b.strides()[1];
            let first = self.b.as_ptr().wrapping_offset(at.k as isize * row);
            Strip { first, row, starts: columns.offsets(self.b.strides()) }
        } else {
            self.pack::<S, N>(simd, at, &columns, panel);
            Strip { first: panel.as_ptr(), row: (N * S::LANES) as isize, starts: side_by_side(S::LANES) }
        };
        // In C itself if its rows are contiguous, else in a copy.
        let direct = self.c.strides()[2] == 1 && columns.whole;
        for (index, tile) in even_parts(at.rows, wide_rows::<T, S>()).enumerate() {
            let at = At { row: at.row + tile.start, rows: tile.len(), ..at };
            let a = self.place_of_tile::<S>(at, (index, tile.start), copies, block);
            let ahead = self.ahead::<S>(at, N + index, in_place);
            let add = self.add || at.k > 0 || at.term > 0;
            let (terms, _, k) = self.a.dim();
            let finished = at.k + at.depth == k && at.term + at.terms == terms;
            let bias = self.bias.filter(|_| finished).map(|bias| &bias[at.row..at.row + at.rows]);
            let c = if direct {
                let row = self.c.strides()[1];
                let first = self.c.as_mut_ptr().wrapping_offset(at.row as isize * row);
                Strip { first, row, starts: columns.offsets(self.c.strides()) }
            } else {
                assert!(at.rows * N * S::LANES <= copy_of_c.len(), "tiles of more vectors than two have fewer rows");
                if add {
                    self.exchange(simd, at, &columns, copy_of_c, false);
                }
                let first = copy_of_c.as_mut_ptr();
                Strip { first, row: (N * S::LANES) as isize, starts: side_by_side(S::LANES) }
            };
            // SAFETY: the tile and the part lie within A, or in its copy, and the panel holds the part; C or the copy has
            // these rows, and whole vectors in them.
            unsafe {
                if N > 2 {
                    with_rows!(at.rows, [1, 2], R => multiply::<T, S, R, N>(simd, at.terms * at.depth, a, b, ahead, add, bias, c));
                } else {
                    with_rows!(at.rows, ..=wide_rows::<T, S>(), R => {
                        multiply::<T, S, R, N>(simd, at.terms * at.depth, a, b, ahead, add, bias, c);
                    });
                }
            }
            if !direct {
                self.exchange(simd, at, &columns, copy_of_c, true);
            }
        }
        N
    }

    /// What a tile asks the caches for while it multiplies, one element a step: a vector of the next panel, `beyond` this
    /// one's first. Packing would wait for them all.
    #[inline(always)]
    fn ahead<S: Simd<T>>(&self, at: At, beyond: usize, in_place: bool) -> Place<*const T> {
        let ((matrices, _, n), strides) = (self.c.dim(), self.b.strides());
        let (start, first) = ((at.vector + beyond) * S::LANES, self.b.as_ptr());
        if in_place || strides[2] != 1 || start >= matrices * n {
            return Place { first, row: 0, column: 0 };
        }
        let [matrix, k, column] = [start / n + at.term, at.k, start % n].map(|index| index as isize);
        Place {
            first: first.wrapping_offset(matrix * strides[0] + k * strides[1] + column),
            row: strides[1],
            column: 1,
        }
    }

    /// The columns under `N` vectors.
    #[inline(always)]
    fn columns<S: Simd<T>, const N: usize>(&self, vector: usize) -> Columns<N> {
        let (matrices, _, n) = self.c.dim();
        let lanes = S::LANES.min(matrices * n);
        let starts = std::array::from_fn(|v| {
            let start = ((vector + v) * S::LANES).min(matrices * n - lanes);
            (start / n, start % n)
        });
        Columns { starts, lanes, n, whole: lanes == S::LANES && starts.iter().all(|start| start.1 + lanes <= n) }
    }

    /// Moves a tile of C to its copy, or back.
    #[inline(always)]
    fn exchange<S: Simd<T>, const N: usize>(
        &mut self,
        simd: S,
        At { row: top, rows, .. }: At,
        columns: &Columns<N>,
        copy: &mut [T],
        back: bool,
    ) {
        let [matrix, row, column] = [self.c.strides()[0], self.c.strides()[1], self.c.strides()[2]];
        assert!(top + rows <= self.c.dim().1 && rows * N * S::LANES <= copy.len(), "C and the copy have these rows");
        for (v, run) in (0..N).flat_map(|v| columns.runs(v).map(move |run| (v, run))) {
            let offset = run.matrix as isize * matrix + top as isize * row + run.first as isize * column;
            let c = self.c.as_mut_ptr().wrapping_offset(offset);
            for r in 0..rows {
                let c = c.wrapping_offset(r as isize * row);
                let copy = copy[(r * N + v) * S::LANES + run.lanes.start..].as_mut_ptr();
                let (from, to) = if back { (copy, c) } else { (c, copy) };
                if column == 1 {
                    let mask = simd.mask(run.lanes.clone());
                    let first = run.lanes.start;
                    // SAFETY: C has these columns, side by side, and the copy a vector for them.
                    unsafe {
                        simd.store_masked(
                            simd.load_masked(from.wrapping_sub(first), mask),
                            to.wrapping_sub(first),
                            mask,
                        );
                    }
                    continue;
                }
                let [from_pitch, to_pitch] = if back { [1, column] } else { [column, 1] };
                for lane in 0..run.lanes.len() as isize {
                    // SAFETY: as above, whatever the distance between columns.
                    unsafe { *to.wrapping_offset(lane * to_pitch) = *from.wrapping_offset(lane * from_pitch) };
                }
            }
        }
    }
}

/// Parts of a sum: some terms with all of their k, or one with a part of it.
#[inline(always)]
fn parts([terms, k]: [usize; 2], depth: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    even_parts(terms, (depth / k.max(1)).max(1))
        .flat_map(move |terms| even_parts(k, depth).map(move |part| (terms.clone(), part)))
}

/// Where vectors that follow each other begin.
#[inline(always)]
fn side_by_side<const N: usize>(lanes: usize) -> [isize; N] {
    std::array::from_fn(|v| (v * lanes) as isize)
}

/// `C = A B` or `C += A B`, and the bias, for `R` rows and `N` vectors, all of which stay in registers.
///
/// # Safety
///
/// `R` rows and `depth` columns of A must be readable, and `depth` rows of B; `R` rows of C must be readable and
/// writable: whole vectors each.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "three matrices, and what is done on the way")]
unsafe fn multiply<T: Scalar, S: Simd<T>, const R: usize, const N: usize>(
    simd: S,
    depth: usize,
    mut a: Place<*const T>,
    mut b: Strip<*const T, N>,
    mut ahead: Place<*const T>,
    add: bool,
    bias: Option<&[T]>,
    c: Strip<*mut T, N>,
) {
    let mut sums = [[simd.splat(T::ZERO); N]; R];
    let at = |r: usize, v: usize| c.first.wrapping_offset(r as isize * c.row + c.starts[v]);
    for r in 0..R {
        for v in 0..N {
            if add {
                // SAFETY: the caller promises C.
                sums[r][v] = unsafe { simd.load(at(r, v)) };
            }
            // The tile below comes next. Loads and stores that miss the cache would hold up all that follow.
            simd.prefetch(at(R + r, v));
        }
    }
    macro_rules! steps {
        ($row:expr, $column:expr) => {
            for _ in 0..depth {
                let mut vectors = [simd.splat(T::ZERO); N];
                for v in 0..N {
                    // SAFETY: the caller promises B.
                    vectors[v] = unsafe { simd.load(b.first.offset(b.starts[v])) };
                }
                for r in 0..R {
                    // SAFETY: the caller promises A.
                    let factor = simd.splat(unsafe { *a.first.offset(r as isize * $row) });
                    for v in 0..N {
                        sums[r][v] = simd.mul_add(factor, vectors[v], sums[r][v]);
                    }
                }
                if R > THIN {
                    simd.prefetch_read(ahead.first);
                    ahead.first = ahead.first.wrapping_offset(ahead.row);
                }
                (a.first, b.first) = (a.first.wrapping_offset($column), b.first.wrapping_offset(b.row));
            }
        };
    }
    // Distances that are known, those of a copy, need no registers.
    let width = const { R.next_multiple_of(S::LANES) as isize };
    if [a.row, a.column] == [1, width] {
        steps!(1, width)
    } else {
        steps!(a.row, a.column)
    }
    if let Some(bias) = bias {
        assert_eq!(bias.len(), R, "a number for each row");
        for r in 0..R {
            for v in 0..N {
                sums[r][v] = simd.add(sums[r][v], simd.splat(bias[r]));
            }
        }
    }
    for r in 0..R {
        for v in 0..N {
            // SAFETY: the caller promises C.
            unsafe { simd.store(sums[r][v], at(r, v)) };
        }
    }
}
