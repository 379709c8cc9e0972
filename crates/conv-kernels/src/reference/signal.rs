//! Correlation and convolution by definition.

use ndarray::{Array, ArrayRef, ArrayView, Axis, Dimension, indices};

use crate::{Element, KernelError, Mode, output_shape};

/// Cross-correlation, by definition.
///
/// In the article's words: place the overlay over the input, take each cell that it covers, multiply it by its
/// corresponding cell of the overlay, then add these products together; move the overlay on, and do the same again.
/// Where the overlay hangs out of the input, the cells that cover nothing are left out.
///
/// Same results as [`crate::correlate`]: floats bit for bit where all sums are exact, or where the CPU has no fused
/// multiply-add; else that one rounds a product and a sum once, and this one twice.
///
/// # Errors
///
/// As for [`crate::correlate`].
///
/// # Example
///
/// The article's 3×3 input and 2×2 overlay (Appendix A):
///
/// ```
/// use conv_kernels::{Mode, reference};
/// use ndarray::array;
/// let values = array![[1, 2, 3], [4, 5, 6], [7, 8, 9]];
/// let f = array![[10, 20], [30, 40]];
/// assert_eq!(reference::correlate(&values, &f, Mode::Valid)?, array![[370, 470], [670, 770]]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
pub fn correlate<T: Element, D: Dimension>(
    first: &ArrayRef<T, D>,
    second: &ArrayRef<T, D>,
    mode: Mode,
) -> Result<Array<T, D>, KernelError> {
    let shape = output_shape(first.shape(), second.shape(), mode)?;
    let (input, overlay) = (first.view().into_dyn(), second.view().into_dyn());

    // The article's first position, overlay and input corner on corner, is where Valid starts (overlay not larger);
    // Full starts k - 1 earlier, where the overlay's last cell covers the input's first one.
    let start = |(&m, &k): (&usize, &usize)| match mode {
        Mode::Full => 0,
        Mode::Same => (k - 1) / 2,
        Mode::Valid => m.min(k) - 1,
    };
    let start: Vec<usize> = input.shape().iter().zip(overlay.shape()).map(start).collect();

    let sum_at = |place: &[usize]| {
        let mut sum = T::ZERO;
        let mut covered = vec![0; place.len()];
        'cells: for cell in indices(overlay.raw_dim()) {
            for axis in 0..place.len() {
                match (start[axis] + place[axis] + cell[axis]).checked_sub(overlay.shape()[axis] - 1) {
                    Some(at) if at < input.shape()[axis] => covered[axis] = at,
                    _ => continue 'cells,
                }
            }
            sum = sum.mul_add_to(input[&covered[..]], overlay[&cell]);
        }
        sum
    };

    let mut dim = first.raw_dim();
    dim.slice_mut().copy_from_slice(&shape);
    let mut out = Array::from_elem(dim, T::ZERO);
    for (place, value) in out.view_mut().into_dyn().indexed_iter_mut() {
        *value = sum_at(place.slice());
    }
    Ok(out)
}

/// Convolution, by definition: [`correlate`] with the overlay rotated by 180° first (reversed along every axis).
///
/// Same results as [`crate::convolve`], with the same reservation.
///
/// # Errors
///
/// As for [`crate::correlate`].
///
/// ```
/// use conv_kernels::{Mode, reference};
/// use ndarray::array;
/// let values = array![[1, 2, 3], [4, 5, 6], [7, 8, 9]];
/// let f = array![[10, 20], [30, 40]];
/// assert_eq!(reference::convolve(&values, &f, Mode::Valid)?, array![[230, 330], [530, 630]]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
pub fn convolve<T: Element, D: Dimension>(
    first: &ArrayRef<T, D>,
    second: &ArrayRef<T, D>,
    mode: Mode,
) -> Result<Array<T, D>, KernelError> {
    let mut rotated: ArrayView<'_, T, D> = second.view();
    for axis in 0..rotated.ndim() {
        rotated.invert_axis(Axis(axis));
    }
    correlate(first, &rotated, mode)
}
