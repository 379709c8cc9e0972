//! The matrix product, on all threads.

use ndarray::{ArrayRef2, Axis, s};

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
    let order = if m >= n { [0, 1, 2] } else { [1, 0, 2] };
    let cuts = Cuts::new(lanes(macs), [m, n, 1], [UNIT, UNIT, 1], order);
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
