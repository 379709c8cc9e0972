//! The definition of a matrix product.

use ndarray::ArrayRef2;

use crate::{KernelError, Scalar};

/// `C ← α A B + β C` as three loops; the oracle of [`gemm`](crate::gemm()).
///
/// # Errors
///
/// [`KernelError::ArrayShape`] if the shapes do not fit together.
///
/// ```
/// use conv_kernels::reference;
/// use ndarray::array;
///
/// let mut c = array![[100.0]];
/// reference::gemm(2.0, &array![[1.0, 2.0]], &array![[3.0], [4.0]], 1.0, &mut c)?;
/// assert_eq!(c, array![[122.0]]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
pub fn gemm<T: Scalar>(
    alpha: T,
    a: &ArrayRef2<T>,
    b: &ArrayRef2<T>,
    beta: T,
    c: &mut ArrayRef2<T>,
) -> Result<(), KernelError> {
    crate::gemm::check(a, b, c)?;
    for ((i, j), c) in c.indexed_iter_mut() {
        let mut sum = T::ZERO;
        for k in 0..a.ncols() {
            sum += a[[i, k]] * b[[k, j]];
        }
        let kept = if beta == T::ZERO { T::ZERO } else { beta * *c };
        *c = alpha * sum + kept;
    }
    Ok(())
}
