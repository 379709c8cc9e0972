//! Copies of B.

use super::columns::Columns;
use super::{At, Product, Simd};
use crate::Scalar;

impl<T: Scalar> Product<'_, T> {
    /// Copies vectors of B to the panel, `(term, k, vector, lane)`, with zeros where B is narrower than a vector.
    #[inline(always)]
    pub(super) fn pack<S: Simd<T>, const N: usize>(&self, simd: S, at: At, columns: &Columns<N>, panel: &mut [T]) {
        for term in 0..at.terms {
            let at = At { term: at.term + term, ..at };
            self.pack_term(simd, at, columns, &mut panel[term * at.depth * N * S::LANES..]);
        }
    }

    /// One term of them.
    #[inline(always)]
    fn pack_term<S: Simd<T>, const N: usize>(&self, simd: S, at: At, columns: &Columns<N>, panel: &mut [T]) {
        let (depth, width) = (at.depth, N * S::LANES);
        assert!(panel.len() >= depth * width + S::LANES, "room for the part, and for what is stored beyond it");
        let strides = [self.b.strides()[0], self.b.strides()[1], self.b.strides()[2]];
        let place = |k: usize, v: usize| k * width + v * S::LANES;
        let from = |k: usize, matrix: usize, column: usize| {
            let [matrix, k, column] = [(at.term + matrix) as isize, (at.k + k) as isize, column as isize];
            self.b.as_ptr().wrapping_offset(matrix * strides[0] + k * strides[1] + column * strides[2])
        };
        let [_, row, column] = strides;
        if columns.lanes < S::LANES {
            panel[..depth * width].fill(T::ZERO);
        }
        if column == 1 && columns.whole {
            let mut vectors = columns.starts.map(|(matrix, column)| from(0, matrix, column));
            for k in 0..depth {
                for v in 0..N {
                    // SAFETY: whole vectors of B begin there; the panel has room.
                    unsafe { simd.store(simd.load(vectors[v]), panel.as_mut_ptr().add(place(k, v))) };
                    vectors[v] = vectors[v].wrapping_offset(row);
                }
            }
        } else if row == 1 && column > 0 && columns.whole && depth >= S::LANES {
            for k in (0..depth).step_by(S::LANES) {
                // The last square begins earlier where the part is no multiple.
                let k = k.min(depth - S::LANES);
                for (v, &(matrix, start)) in columns.starts.iter().enumerate() {
                    let to = panel.as_mut_ptr().wrapping_add(place(k, v));
                    // SAFETY: as many columns as lanes lie in B from there on, and as many rows from `k` on; the panel
                    // has room.
                    unsafe { simd.transpose(from(k, matrix, start), column as usize, to, width) };
                }
            }
        } else {
            for k in 0..depth {
                // What follows a row, elements that may be read: all rows below it, if they follow without a gap.
                let below = if row == columns.n as isize { (self.b.dim().1 - at.k - k - 1) * columns.n } else { 0 };
                for (v, run) in (0..N).flat_map(|v| columns.runs(v).map(move |run| (v, run))) {
                    let (from, to) = (from(k, run.matrix, run.first), place(k, v) + run.lanes.start);
                    if column == 1 && columns.n - run.first + below >= S::LANES && to + S::LANES <= panel.len() {
                        // SAFETY: whole vectors may be read and written, as was asked. What is written beyond the run is
                        // replaced by the next run.
                        unsafe { simd.store(simd.load(from), panel.as_mut_ptr().add(to)) };
                        continue;
                    }
                    for lane in 0..run.lanes.len() {
                        panel[to + lane] = self.b[[at.term + run.matrix, at.k + k, run.first + lane]];
                    }
                }
            }
        }
        if self.alpha != T::one() {
            panel[..depth * width].iter_mut().for_each(|b| *b *= self.alpha);
        }
    }
}
