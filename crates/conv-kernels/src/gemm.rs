//! The matrix product, on all threads.

use ndarray::{ArrayRef2, ArrayView2, ArrayViewMut2, Axis, s};

use crate::simd::Isa;
use crate::simd::gemm::{Product, scratch_len};
use crate::threads::{Cell, Cuts, grid, lanes};
use crate::{KernelError, Scalar};

/// Tiles of C begin at multiples of this, so that full register tiles stay full.
const UNIT: usize = 32;

/// `C ← α A B + β C` for `A (m, k)`, `B (k, n)`, `C (m, n)`.
///
/// Any strides will do: transposed arrays (`.t()`) and slices cost nothing extra. With `β = 0`, C is overwritten
/// whatever it held, NaN included. The operands must not be larger than `C` asks for. Large products run on all
/// threads of the current rayon pool; the bits do not depend on how many there are.
///
/// # Errors
///
/// [`KernelError::ArrayShape`] if the shapes do not fit together.
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
    let ((m, k), n) = (a.dim(), b.ncols());
    let macs = (m as u64).saturating_mul(n as u64).saturating_mul(k as u64);
    let isa = Isa::detect()?;
    let (units, order) =
        if along_columns(isa.lanes::<T>(), a, b, c) { ([16, 48, 1], [0, 1, 2]) } else { ([48, 16, 1], [1, 0, 2]) };
    let cuts = Cuts::new(lanes(macs), [m, n, 1], units, order);
    let whole = Cell::whole(c.view_mut().insert_axis(Axis(2)), &mut [][..]);
    grid(whole, cuts, 0, &|tile: Cell<'_, _, T>| {
        let c = tile.view.index_axis_move(Axis(2), 0);
        let [top, left, _] = tile.start;
        let rows = a.slice(s![top..top + c.nrows(), ..]);
        let columns = b.slice(s![.., left..left + c.ncols()]);
        T::product(alpha, rows, columns, beta, c);
    });
    Ok(())
}

/// `C ← α A B + β C` on the calling thread, with the vectors of a fast set.
pub(crate) fn serial<T: Scalar>(
    isa: Isa,
    alpha: T,
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    beta: T,
    mut c: ArrayViewMut2<'_, T>,
) {
    let add = beta != T::ZERO;
    if beta != T::one() && (add || a.ncols() == 0) {
        c.mapv_inplace(|c| if add { beta * c } else { T::ZERO });
    }
    if along_columns(isa.lanes::<T>(), &a, &b, &c) {
        let (a, b, c) = (b.reversed_axes(), a.reversed_axes(), c.reversed_axes());
        T::with_scratch(scratch_len(&a, b.ncols()), |scratch| T::run(isa, (Product { alpha, a, b, add, c }, scratch)));
    } else {
        T::with_scratch(scratch_len(&a, b.ncols()), |scratch| T::run(isa, (Product { alpha, a, b, add, c }, scratch)));
    }
}

/// Whether vectors should rather lie along the columns of C, which then is `Cᵀ = Bᵀ Aᵀ`.
fn along_columns<T>(lanes: usize, a: &ArrayRef2<T>, b: &ArrayRef2<T>, c: &ArrayRef2<T>) -> bool {
    let cost = |m: usize, b: [usize; 2], b_strides: [isize; 2], c_stride: isize| {
        let [k, n] = b.map(|len| len as f64);
        let (rows, lanes) = (m as f64, lanes as f64);
        let vectors = (n / lanes).ceil();
        let sums = rows * k * if vectors == 1.0 { 1.0 } else { vectors / 2.0 };
        let copy = match b_strides {
            [_, 1] => 1.0 / lanes,
            [1, _] => 3.0 / lanes,
            _ => 2.0,
        };
        let scattered = if c_stride == 1 && n >= lanes { 0.0 } else { 4.0 * rows * n * (k / 256.0).ceil() };
        sums + copy * k * n + scattered
    };
    let ([m, k, n], strides) = ([a.nrows(), a.ncols(), b.ncols()], |x: &ArrayRef2<T>| [x.strides()[0], x.strides()[1]]);
    let ([a_row, a_column], [c_row, c_column]) = (strides(a), strides(c));
    cost(n, [k, m], [a_column, a_row], c_row) < cost(m, [k, n], strides(b), c_column)
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
