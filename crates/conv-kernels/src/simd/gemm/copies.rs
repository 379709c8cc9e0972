//! Copies of A, where its own places are bad.

use ndarray::{ArrayView3, Axis};

use super::super::tiles::{even_parts, wide_rows};
use super::{At, FEW, Place, Product, tile_len};
use crate::Scalar;
use crate::simd::Simd;

/// Rows whose distance is a multiple of so many bytes have the same places in the first cache.
const PAGE: usize = 4096;

/// Of so many rows a tile may be high.
const COLLIDING: usize = 8;

/// Elements of a cache line, or of several.
const LINE: usize = 16;

/// Whether, and how, A is copied, part by part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copies {
    /// It is read where it lies.
    None,
    /// Rows as they are, but at another distance: those of A drive each other out of the first cache.
    Rows,
    /// Tile by tile, `(k, row)` each, in whole vectors of rows.
    Tiles,
}

impl Copies {
    /// What pays for itself, with so many columns of B.
    #[inline(always)]
    pub(super) fn of<T>(a: &ArrayView3<'_, T>, columns: usize) -> Self {
        let ((terms, rows, _), [row, column]) = (a.dim(), [a.strides()[1], a.strides()[2]]);
        let collide = rows > COLLIDING && (row.unsigned_abs() * size_of::<T>()).is_multiple_of(PAGE);
        match column {
            // One after the other: a tile goes through all of them.
            _ if terms > 1 => Self::Tiles,
            _ if rows <= FEW => Self::None,
            1 if columns >= 256 => Self::Tiles,
            1 if columns >= 32 && collide => Self::Rows,
            1 => Self::None,
            _ if columns >= 64 => Self::Tiles,
            _ => Self::None,
        }
    }
}

/// From one copied row to the next: an odd number of lines. A copy of tiles has as much room and more.
#[inline(always)]
fn pitch(depth: usize) -> usize {
    (depth.div_ceil(LINE) | 1) * LINE
}

impl<T: Scalar> Product<'_, T> {
    /// Copies a part of A.
    #[inline(always)]
    pub(super) fn copy_a<S: Simd<T>>(&self, simd: S, at: At, copies: Copies, block: &mut [T]) {
        match copies {
            Copies::None => {}
            Copies::Rows => {
                let copies = block.chunks_exact_mut(pitch(at.depth));
                let a = self.a.index_axis(Axis(0), at.term);
                for (row, copy) in (at.row..at.row + at.rows).zip(copies) {
                    let row = a.row(row).to_slice().expect("rows that are copied as they are have no gaps");
                    copy[..at.depth].copy_from_slice(&row[at.k..at.k + at.depth]);
                }
            }
            Copies::Tiles => self.copy_tiles(simd, at, block),
        }
    }

    /// Where a tile of A lies: rows of the part that `at` is, counted from its first one.
    #[inline(always)]
    pub(super) fn place_of_tile<S: Simd<T>>(
        &self,
        at: At,
        (index, first): (usize, usize),
        copies: Copies,
        block: &[T],
    ) -> Place<*const T> {
        match copies {
            Copies::None => self.place_of_a(at),
            Copies::Rows => {
                let pitch = pitch(at.depth);
                Place { first: block[first * pitch..].as_ptr(), row: pitch as isize, column: 1 }
            }
            Copies::Tiles => {
                let width = at.rows.next_multiple_of(S::LANES);
                let first = index * tile_len(S::REGISTERS, S::LANES) + self.above(at, width);
                Place { first: block[first..].as_ptr(), row: 1, column: width as isize }
            }
        }
    }

    /// Copies a part of A, tile by tile; a few columns of all tiles at a time, so that a cache line that two tiles share is
    /// still there for the second.
    #[inline(always)]
    fn copy_tiles<S: Simd<T>>(&self, simd: S, at: At, block: &mut [T]) {
        let depth = at.depth.min(S::LANES);
        for (term, first) in (0..at.terms).flat_map(|term| (0..at.depth).step_by(S::LANES).map(move |k| (term, k))) {
            // The last columns begin earlier where the part is no multiple.
            let first = first.min(at.depth - depth);
            let copies = block.chunks_exact_mut(tile_len(S::REGISTERS, S::LANES));
            for (tile, copy) in even_parts(at.rows, wide_rows::<T, S>()).zip(copies) {
                let (row, term, k) = (at.row + tile.start, at.term + term, at.k + first);
                let part = At { row, rows: tile.len(), term, k, depth, ..at };
                let width = part.rows.next_multiple_of(S::LANES);
                let place = (term - at.term) * at.depth + first;
                self.copy_square(simd, part, &mut copy[place * width..(place + depth) * width]);
            }
        }
    }

    /// Copies a few columns of one tile, at most as many as a vector has lanes.
    #[inline(always)]
    fn copy_square<S: Simd<T>>(&self, simd: S, at: At, copy: &mut [T]) {
        let width = at.rows.next_multiple_of(S::LANES);
        assert!(at.depth <= S::LANES && copy.len() == at.depth * width, "room for whole vectors of rows");
        let top = at.row - self.above(at, width);
        let a = self.place_of_a(At { row: top, ..at });
        let whole = self.a.dim().1 >= width;
        for row in (0..width).step_by(S::LANES) {
            let from = a.first.wrapping_offset(row as isize * a.row);
            let to = copy[row..].as_mut_ptr();
            if whole && a.column == 1 && a.row > 0 && at.depth == S::LANES {
                // SAFETY: A has these rows and columns, as many as lanes, and the copy has room for all.
                unsafe { simd.transpose(from, a.row as usize, to, width) };
            } else if whole && a.row == 1 {
                for k in 0..at.depth {
                    // SAFETY: as above.
                    unsafe { simd.store(simd.load(from.wrapping_offset(k as isize * a.column)), to.add(k * width)) };
                }
            } else {
                for (k, row) in (0..at.depth).flat_map(|k| (row..row + S::LANES).map(move |row| (k, row))) {
                    if let Some(&a) = self.a.get([at.term, top + row, at.k + k]) {
                        copy[k * width + row] = a;
                    }
                }
            }
        }
    }

    /// How many rows above a tile are copied with it: near the end of A, they make whole vectors.
    #[inline(always)]
    fn above(&self, at: At, width: usize) -> usize {
        at.row - at.row.min(self.a.dim().1.saturating_sub(width))
    }
}
