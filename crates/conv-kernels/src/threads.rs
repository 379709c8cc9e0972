//! How work is shared between threads.
//!
//! Work is cut before anybody asks how many threads there are: the cuts follow from the shape and the batch alone, so
//! sums are formed in the same order, and results have the same bits, on any number of threads.

use ndarray::{ArrayViewMut3, Axis};

use crate::KernelError;

/// The most threads that [`pool`] starts.
const MAX_THREADS: usize = 256;

/// The most cells that the work of one call is cut into.
pub(crate) const MAX_LANES: usize = 16;

/// Work is cut into cells of at least this size: handing over smaller ones takes longer than computing them.
const LANE_FLOPS: u64 = 6_000_000;

/// A rayon pool of exactly `threads` threads, for `pool(n)?.install(|| …)`.
///
/// Without one the kernels use rayon's global pool. Results do not depend on the choice, not by a single bit.
///
/// # Errors
///
/// [`KernelError::ThreadCount`] unless `1 <= threads <= 256`; [`KernelError::Threads`] if the system refuses to start
/// that many.
///
/// ```
/// let pool = conv_kernels::pool(2)?;
/// assert_eq!(pool.current_num_threads(), 2);
/// assert_eq!(conv_kernels::pool(0).unwrap_err().to_string(), "the number of threads must be 1 to 256 (got 0)");
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
pub fn pool(threads: usize) -> Result<rayon::ThreadPool, KernelError> {
    if !(1..=MAX_THREADS).contains(&threads) {
        return Err(KernelError::ThreadCount { max: MAX_THREADS, got: threads });
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("overlay-{index}"))
        .build()
        .map_err(|error| not_started(threads, &error))
}

/// The error of a pool that the system refused; the innermost cause is what the system said.
fn not_started(threads: usize, error: &dyn std::error::Error) -> KernelError {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    KernelError::Threads { threads, reason: cause.to_string() }
}

/// The number of cells worth cutting `macs` multiply-adds into: 1 for small work, at most [`MAX_LANES`]; a power of two,
/// which most numbers of threads share out evenly.
pub(crate) fn lanes(macs: u64) -> usize {
    let flops = macs.saturating_mul(2);
    let cells = (flops / LANE_FLOPS).clamp(1, MAX_LANES as u64);
    1 << cells.ilog2()
}

/// The number of images of `macs` multiply-adds each that are worth cutting into all [`MAX_LANES`] cells.
pub(crate) fn images_for_all_lanes(macs: u64) -> usize {
    (MAX_LANES as u64 * LANE_FLOPS / 2).div_ceil(macs.max(1)) as usize
}

/// Output that can be cut in two along an axis.
pub(crate) trait Split: Sized + Send {
    /// Length along `axis`.
    fn len_of(&self, axis: usize) -> usize;

    /// The part before position `at` of `axis`, and the rest.
    fn split_at(self, axis: usize, at: usize) -> (Self, Self);
}

impl<T: Send> Split for ArrayViewMut3<'_, T> {
    fn len_of(&self, axis: usize) -> usize {
        self.shape()[axis]
    }

    fn split_at(self, axis: usize, at: usize) -> (Self, Self) {
        ndarray::ArrayViewMut::split_at(self, Axis(axis), at)
    }
}

/// Two arrays that are cut at the same places.
impl<A: Split, B: Split> Split for (A, B) {
    fn len_of(&self, axis: usize) -> usize {
        self.0.len_of(axis)
    }

    fn split_at(self, axis: usize, at: usize) -> (Self, Self) {
        let (first, second) = (self.0.split_at(axis, at), self.1.split_at(axis, at));
        ((first.0, second.0), (first.1, second.1))
    }
}

/// One array or none.
impl<A: Split> Split for Option<A> {
    fn len_of(&self, axis: usize) -> usize {
        self.as_ref().map_or(0, |view| view.len_of(axis))
    }

    fn split_at(self, axis: usize, at: usize) -> (Self, Self) {
        self.map(|view| view.split_at(axis, at)).unzip()
    }
}

/// Where a grid is cut: into how many parts along each axis, at multiples of which unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cuts {
    /// Parts along each axis.
    pub(crate) parts: [usize; 3],
    /// Each cut lies at a multiple of this.
    pub(crate) units: [usize; 3],
}

impl Cuts {
    /// At most `lanes` cells: along the axis that comes first in `order` as many parts as it has units (`lens` is
    /// the length of each axis), then along the next.
    pub(crate) fn new(lanes: usize, lens: [usize; 3], units: [usize; 3], order: [usize; 3]) -> Self {
        let mut parts = [1; 3];
        let mut left = lanes;
        for axis in order {
            parts[axis] = (lens[axis] / units[axis]).clamp(1, left);
            left /= parts[axis];
        }
        Self { parts, units }
    }

    /// Cells in all.
    fn cells(&self) -> usize {
        self.parts.iter().product()
    }
}

/// A rectangle of the output, where it starts in the whole, and the scratch to compute it in.
pub(crate) struct Cell<'a, V, T> {
    /// The rectangle.
    pub(crate) view: V,
    /// Index of its first element in the whole.
    pub(crate) start: [usize; 3],
    /// Its own working memory.
    pub(crate) scratch: &'a mut [T],
}

impl<'a, V, T> Cell<'a, V, T> {
    /// All of the output, with scratch for all of its cells.
    pub(crate) fn whole(view: V, scratch: &'a mut [T]) -> Self {
        Self { view, start: [0; 3], scratch }
    }
}

/// Calls `work` for each cell of the grid, in parallel where there are several; each gets `scratch_len` elements.
pub(crate) fn grid<V: Split, T: Send>(
    cell: Cell<'_, V, T>,
    cuts: Cuts,
    scratch_len: usize,
    work: &(impl Fn(Cell<'_, V, T>) + Sync),
) {
    let Some(axis) = cuts.parts.iter().position(|&parts| parts > 1) else {
        return work(cell);
    };
    let (len, unit, parts) = (cell.view.len_of(axis), cuts.units[axis], cuts.parts[axis]);
    let mut halves = [cuts; 2];
    halves[0].parts[axis] = parts / 2;
    halves[1].parts[axis] = parts - parts / 2;
    let at = (len.div_ceil(unit) * halves[0].parts[axis] / parts * unit).min(len);

    let (first, second) = cell.view.split_at(axis, at);
    let (first_scratch, second_scratch) = cell.scratch.split_at_mut(halves[0].cells() * scratch_len);
    let mut second_start = cell.start;
    second_start[axis] += at;
    rayon::join(
        || grid(Cell { view: first, start: cell.start, scratch: first_scratch }, halves[0], scratch_len, work),
        || grid(Cell { view: second, start: second_start, scratch: second_scratch }, halves[1], scratch_len, work),
    );
}

/// `slice` as an array of the shape `dim`, which its length was checked for.
pub(crate) fn view3<T>(dim: [usize; 3], slice: &mut [T]) -> ArrayViewMut3<'_, T> {
    ArrayViewMut3::from_shape(dim, slice).expect("public functions check the lengths of their slices first")
}

/// The runs along the last axis of a cell, each with its indices along the first two axes of the whole.
pub(crate) fn rows<'v, T>(
    view: &'v mut ArrayViewMut3<'_, T>,
    start: [usize; 3],
) -> impl Iterator<Item = ([usize; 2], &'v mut [T])> {
    let per_image = view.len_of(Axis(1));
    view.lanes_mut(Axis(2)).into_iter().enumerate().map(move |(index, run)| {
        let at = [start[0] + index / per_image, start[1] + index % per_image];
        (at, run.into_slice().expect("cells are cut from contiguous arrays, so their runs are contiguous"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array3;

    #[test]
    fn a_grid_visits_every_element_once_and_cuts_at_units() {
        for (dim, units, lanes) in
            [([5, 7, 3], [1, 2, 1], 16), ([1, 1, 100], [1, 1, 24], 7), ([3, 1, 1], [1; 3], 1), ([40, 9, 2], [1; 3], 11)]
        {
            let mut counts = Array3::<u32>::zeros(dim);
            let cuts = Cuts::new(lanes, dim, units, [0, 1, 2]);
            assert!(cuts.cells() <= lanes);
            let mut scratch = vec![0u32; 3 * lanes];
            let whole = Cell::whole(counts.view_mut(), &mut scratch);
            grid(whole, cuts, 3, &|mut cell| {
                assert!(!cell.view.is_empty());
                assert!((0..3).all(|axis| cell.start[axis] % units[axis] == 0));
                cell.view += 1;
            });
            assert!(counts.iter().all(|&count| count == 1), "{dim:?}");
        }
    }

    #[test]
    fn small_work_is_one_lane() {
        assert_eq!([0, 3_999_999, 8_000_000, u64::MAX].map(lanes), [1, 1, 2, MAX_LANES]);
        for macs in [1, 288_000, 5_000_001, u64::MAX] {
            let images = images_for_all_lanes(macs);
            assert_eq!(lanes(macs.saturating_mul(images as u64)), MAX_LANES);
            assert!(images == 1 || lanes(macs * (images as u64 - 1)) < MAX_LANES);
        }
    }

    #[test]
    fn refused_threads_are_an_error_that_says_what_the_system_said() {
        let refusal = std::io::Error::other("resource temporarily unavailable");
        assert_eq!(
            not_started(200, &refusal).to_string(),
            "could not start 200 threads: resource temporarily unavailable; ask for fewer",
        );
        for threads in [0, 257] {
            assert_eq!(pool(threads).map(|_| ()), Err(KernelError::ThreadCount { max: 256, got: threads }));
        }
        assert_eq!(pool(1).map(|pool| pool.current_num_threads()), Ok(1));
    }
}
