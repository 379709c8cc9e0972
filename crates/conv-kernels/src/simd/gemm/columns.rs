//! Vectors of columns, which may go on from one matrix to the next.

use std::ops::Range;

/// `N` vectors of columns, counted through all matrices.
pub(super) struct Columns<const N: usize> {
    /// Matrix, and column of it, where each begins.
    pub(super) starts: [(usize, usize); N],
    /// Columns of each.
    pub(super) lanes: usize,
    /// Columns of a matrix.
    pub(super) n: usize,
    /// Whether each lies in one matrix.
    pub(super) whole: bool,
}

/// Neighbouring columns of one matrix, and which lanes of a vector these are.
pub(super) struct Run {
    pub(super) matrix: usize,
    pub(super) first: usize,
    pub(super) lanes: Range<usize>,
}

impl<const N: usize> Columns<N> {
    /// Where the vectors begin in memory.
    #[inline(always)]
    pub(super) fn offsets(&self, strides: &[isize]) -> [isize; N] {
        self.starts.map(|(matrix, column)| matrix as isize * strides[0] + column as isize * strides[2])
    }

    /// One vector, cut where a matrix ends.
    #[inline(always)]
    pub(super) fn runs(&self, vector: usize) -> impl Iterator<Item = Run> + use<N> {
        let ((mut matrix, mut first), mut lane) = (self.starts[vector], 0);
        let (lanes, n) = (self.lanes, self.n);
        std::iter::from_fn(move || {
            let len = (n - first).min(lanes - lane);
            let run = (len > 0).then_some(Run { matrix, first, lanes: lane..lane + len });
            (matrix, first, lane) = (matrix + 1, 0, lane + len);
            run
        })
    }
}
