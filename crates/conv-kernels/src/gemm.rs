//! The matrix product, on all threads: a dense layer's `x Wᵀ`, `dy W` and `dyᵀ x` are three of them.
//!
//! ```text
//! C, or Cᵀ = Bᵀ Aᵀ where its vectors would fill better
//! for each rectangle of it, in parallel:    the product of some rows of A with some columns of B, on one thread
//! ```
//!
//! Cost: `m·n·k` multiply-adds, and a copy of its columns of B for each rectangle, one for every 256 rows: rectangles are as
//! wide as can be if there are to be enough for sixteen threads.

use ndarray::{ArrayRef2, ArrayView2, ArrayView3, ArrayViewMut2, ArrayViewMut3, Axis, s};

use crate::simd::Isa;
use crate::simd::gemm::{FEW, Product, scratch_len};
use crate::simd::squares::Transpose;
use crate::threads::{Cell, Cuts, grid, lanes};
use crate::{KernelError, Scalar};

/// Rows of C are cut at multiples of this: fewer would not pay for the copies of B that each cell makes.
const ROWS_UNIT: usize = 192;

/// A product is worth handing over sooner than a convolution, whose pieces come with copies: as if it had so many times
/// as many multiply-adds.
const EAGER: u64 = 2;

/// Multiply-adds that are worth cutting in two, even if the other thread has to be woken.
const TWO: u64 = 2_000_000;

/// Where there are only two cells, they are about equal: columns are cut at a multiple of this, two vectors of any set, so
/// that no tile becomes thin.
const HALVES_UNIT: usize = 32;

/// With a few rows, the time goes into reading B: an element takes as long as this many multiply-adds.
const READ: u64 = 8;

/// Sums of so many products are worth a copy of C.
const LONG: usize = 64;

/// Columns are cut at multiples of one of these.
const COLUMNS_UNITS: [usize; 4] = [256, 128, 64, 32];

/// `C ← α A B + β C` for `A (m, k)`, `B (k, n)`, `C (m, n)`.
///
/// Any strides will do: transposed arrays (`.t()`) and slices cost nothing extra. With `β = 0`, C is overwritten
/// whatever it held, NaN included. The operands must not be larger than `C` asks for. Large products run on all
/// threads of the current rayon pool; the bits do not depend on how many there are.
///
/// # Errors
///
/// [`KernelError::ArrayShape`] if the shapes do not fit together; [`KernelError::InstructionSet`] if the environment
/// variable `CONV_ISA` names an instruction set that is not available.
///
/// ```
/// use conv_kernels::gemm;
/// use ndarray::{Array2, array};
///
/// let a = array![[1.0, 2.0], [3.0, 4.0]];
/// let mut c = Array2::from_elem((2, 2), f64::NAN);
/// gemm(1.0, &a, &a.t(), 0.0, &mut c)?;
/// assert_eq!(c, array![[5.0, 11.0], [11.0, 25.0]]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
pub fn gemm<T: Scalar>(
    alpha: T,
    a: &ArrayRef2<T>,
    b: &ArrayRef2<T>,
    beta: T,
    c: &mut ArrayRef2<T>,
) -> Result<(), KernelError> {
    check(a, b, c)?;
    let isa = Isa::detect()?;
    if along_columns(isa.lanes::<T>(), a, b, beta != T::ZERO, c) {
        cells(isa, alpha, b.t(), a.t(), beta, c.view_mut().reversed_axes());
    } else {
        cells(isa, alpha, a.view(), b.view(), beta, c.view_mut());
    }
    Ok(())
}

/// The product, cut into rectangles of C.
fn cells<T: Scalar>(isa: Isa, alpha: T, a: ArrayView2<'_, T>, b: ArrayView2<'_, T>, beta: T, c: ArrayViewMut2<'_, T>) {
    let cuts = cuts(a.nrows(), a.ncols(), b.ncols());
    let whole = Cell::whole(c.insert_axis(Axis(2)), &mut [][..]);
    grid(whole, cuts, 0, &|cell: Cell<'_, _, T>| {
        let c = cell.view.index_axis_move(Axis(2), 0);
        let [top, left, _] = cell.start;
        let rows = a.slice(s![top..top + c.nrows(), ..]);
        let columns = b.slice(s![.., left..left + c.ncols()]);
        let [rows, columns] = [rows, columns].map(|matrix| matrix.insert_axis(Axis(0)));
        T::product(isa, alpha, rows, columns, beta, None, c.insert_axis(Axis(0)));
    });
}

/// Cells as wide as can be if there are to be about enough of them: each copies its columns of B, and goes through its
/// rows of A once a panel.
fn cuts(m: usize, k: usize, n: usize) -> Cuts {
    let macs = (m as u64).saturating_mul(n as u64).saturating_mul(k as u64);
    let read = if m <= FEW { READ.saturating_mul(n as u64).saturating_mul(k as u64) } else { 0 };
    let lanes = lanes(macs.saturating_mul(EAGER).max(read)).max(if macs < TWO { 1 } else { 2 });
    let cuts = |columns| Cuts::new(lanes, [m, n, 1], [ROWS_UNIT, columns, 1], [1, 0, 2]);
    if lanes == 2 {
        return cuts(HALVES_UNIT);
    }
    let enough = |cuts: &Cuts| 2 * cuts.parts[0] * cuts.parts[1] >= lanes;
    COLUMNS_UNITS.into_iter().map(cuts).find(enough).unwrap_or_else(|| cuts(COLUMNS_UNITS[3]))
}

/// `C ← α A B + β C` for each of several B and C on the calling thread, or `C ← α Σ A B + β C` over several A and B, with the
/// vectors of a fast set; and then the bias, one number a row of C.
pub(crate) fn serial<T: Scalar>(
    isa: Isa,
    alpha: T,
    a: ArrayView3<'_, T>,
    b: ArrayView3<'_, T>,
    beta: T,
    bias: Option<&[T]>,
    mut c: ArrayViewMut3<'_, T>,
) {
    let add = beta != T::ZERO;
    if beta != T::one() && (add || a.is_empty()) {
        c.mapv_inplace(|c| if add { beta * c } else { T::ZERO });
    }
    let run = |a: ArrayView3<'_, T>, b: ArrayView3<'_, T>, bias, c: ArrayViewMut3<'_, T>| {
        let len = scratch_len(isa, &a, c.len_of(Axis(0)) * c.len_of(Axis(2)));
        if add || !apart(a.len_of(Axis(2)), [c.strides()[1], c.strides()[2]], c.len_of(Axis(0))) {
            return T::with_scratch(len, |scratch| T::run(isa, Product { alpha, a, b, add, bias, c, scratch }));
        }
        T::with_scratch(len + c.len(), |scratch| {
            let (scratch, whole) = scratch.split_at_mut(len);
            let rows = ArrayViewMut3::from_shape(c.dim(), &mut *whole).expect("the slice was cut to that");
            T::run(isa, Product { alpha, a, b, add, bias, c: rows, scratch });
            T::run(isa, Transpose { from: whole, to: c.index_axis_move(Axis(0), 0).reversed_axes() });
        });
    };
    let [first_a, first_b] = [&a, &b].map(|matrices| matrices.index_axis(Axis(0), 0));
    let one = c.len_of(Axis(0)) == 1;
    if !one || !along_columns(isa.lanes::<T>(), &first_a, &first_b, add, &c.index_axis(Axis(0), 0)) {
        return run(a, b, bias, c);
    }
    let [a, b] = [a, b].map(|matrices| matrices.permuted_axes([0, 2, 1]));
    run(b, a, None, c.view_mut().permuted_axes([0, 2, 1]));
    add_bias(bias, c);
}

/// `C ← C + b`, one number a row.
pub(crate) fn add_bias<T: Scalar>(bias: Option<&[T]>, mut c: ArrayViewMut3<'_, T>) {
    for mut c in c.outer_iter_mut() {
        for (mut row, &b) in c.rows_mut().into_iter().zip(bias.unwrap_or_default()) {
            row.mapv_inplace(|c| c + b);
        }
    }
}

/// Whether a C whose columns are contiguous, and not its rows, is better computed apart, and moved at the end by squares: tiles
/// would go to it number by number, back and forth for each part of k.
fn apart(k: usize, [row, column]: [isize; 2], matrices: usize) -> bool {
    row == 1 && column != 1 && matrices == 1 && k >= LONG
}

/// Whether vectors should rather lie along the columns of C, as rows of `Cᵀ = Bᵀ Aᵀ`: by a rough count of cycles. `add` says
/// that C counts.
fn along_columns<T>(lanes: usize, a: &ArrayRef2<T>, b: &ArrayRef2<T>, add: bool, c: &ArrayRef2<T>) -> bool {
    let cycles = |m: usize, k: usize, n: usize, b_strides: [isize; 2], c_strides: [isize; 2]| {
        let moved_once = !add && apart(k, c_strides, 1);
        let (m, k, width, lanes) = (m as f64, k as f64, n as f64, lanes as f64);
        let vectors = (width / lanes).ceil();
        // A tile of a single vector waits for its sums.
        let sums = m * k * (vectors / 2.0).max(1.0);
        let copy = match b_strides {
            [_, 1] => 1.0 / lanes,
            [1, _] => 3.0 / lanes,
            _ => 2.0,
        };
        let through_a_buffer = match c_strides {
            [_, 1] if width >= lanes => 0.0,
            _ if moved_once => 0.5,
            _ => 4.0 * (k / 256.0).ceil(),
        };
        sums + copy * k * width + through_a_buffer * m * width
    };
    let ((m, k), n) = (a.dim(), b.ncols());
    let strides = |x: &ArrayRef2<T>| [x.strides()[0], x.strides()[1]];
    let ([a_row, a_column], [c_row, c_column]) = (strides(a), strides(c));
    cycles(n, k, m, [a_column, a_row], [c_column, c_row]) < cycles(m, k, n, strides(b), [c_row, c_column])
}

/// Refuses operands that do not fit together.
pub(crate) fn check<T>(a: &ArrayRef2<T>, b: &ArrayRef2<T>, c: &ArrayRef2<T>) -> Result<(), KernelError> {
    let ((m, k), (_, n)) = (a.dim(), b.dim());
    let expect = |what, expected: [usize; 2], got: &[usize]| {
        if got == expected {
            return Ok(());
        }
        Err(KernelError::ArrayShape { what, expected: expected.to_vec(), got: got.to_vec() })
    };
    expect("b", [k, n], b.shape())?;
    expect("c", [m, n], c.shape())
}
