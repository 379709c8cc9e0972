//! `correlate` and `convolve` on arrays of any number of axes, with scipy.signal's conventions.
//!
//! One rule gives every result. Lay the second operand (the *overlay*) over the first so that it overlaps it in at
//! least one element, multiply each covered element with the one that lies on it, and add the products: doing so at
//! every place gives the *full* correlation, `m + k - 1` results along an axis of lengths `m` and `k`. [`Mode`] says
//! which of them are wanted. Convolution is the same with the overlay reversed along every axis.
//!
//! * `window` says which part of the full correlation a mode asks for;
//! * `slide` computes that part of integers, a row at a time;
//! * `planes` that of floats, by vectors.

pub(crate) mod planes;
pub(crate) mod slide;
mod window;

use ndarray::{Array, Array2, ArrayRef, ArrayRef2, ArrayView, Axis, Dimension, Ix2};

use crate::{Element, KernelError};
use window::{SameStart, Window};

/// Which places of the overlay are wanted, as in scipy.signal.
///
/// For operands of lengths `m` and `k` along an axis (Appendix A of the article shows the first two):
///
/// | mode | places | length |
/// |---|---|---|
/// | `Valid` | one operand lies wholly inside the other | `max(m, k) - min(m, k) + 1` |
/// | `Full` | the operands share at least one element | `m + k - 1` |
/// | `Same` | the middle `m` of `Full` | `m` |
///
/// `Same` is centred on the *first* operand, also when the second is the larger one. When `m` of `k + m - 1` places
/// have no exact middle (`k` is even), scipy starts one place later in [`correlate2d`], at `k / 2`, than in
/// [`correlate`], [`convolve`] and [`convolve2d`], at `(k - 1) / 2`. So does this crate:
///
/// ```
/// use conv_kernels::{Mode, correlate, correlate2d};
/// use ndarray::array;
/// let (first, second) = (array![[1, 2, 3]], array![[10, 20]]);
/// assert_eq!(correlate(&first, &second, Mode::Same)?, array![[20, 50, 80]]);
/// assert_eq!(correlate2d(&first, &second, Mode::Same)?, array![[50, 80, 30]]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Only complete overlaps. One operand must be at least as large as the other along *every* axis.
    Valid,
    /// Every overlap.
    Full,
    /// The middle of `Full`, of the first operand's shape.
    Same,
}

/// The shape of the result of [`correlate`], [`convolve`] and their 2-D forms: [`Mode`] has the table.
///
/// # Errors
///
/// As for [`correlate`].
///
/// ```
/// use conv_kernels::{Mode, output_shape};
/// assert_eq!(output_shape(&[4, 5], &[2, 2], Mode::Valid)?, [3, 4]);
/// assert_eq!(output_shape(&[4, 5], &[2, 2], Mode::Full)?, [5, 6]);
/// assert_eq!(output_shape(&[4, 5], &[2, 2], Mode::Same)?, [4, 5]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
#[doc(alias = "get_feature_map_shape")]
pub fn output_shape(first: &[usize], second: &[usize], mode: Mode) -> Result<Vec<usize>, KernelError> {
    Window::new(first, second, mode, SameStart::Left).map(|window| window.shape)
}

/// Slides `second` over `first`: the sum of products at every place that `mode` asks for.
///
/// `out[p] = Σ_t first[p + t] · second[t]` in [`Mode::Valid`]; the operands have the same number of axes and any
/// strides. This is `scipy.signal.correlate` with `method="direct"`.
///
/// * **Larger second operand.** In `Mode::Valid` it is then `first` that moves, inside `second`, and the result
///   still lists the places of the overlay in ascending order. (scipy says the same in other words: it swaps the
///   operands, and reverses the result.) The other modes make no difference between a smaller and a larger operand.
/// * **Order of addition.** Each result is one chain: it starts at zero and adds its products in the row-major order of
///   the elements of `first` that are covered. Where the CPU has fused multiply-adds (AVX2 with FMA), a product and the
///   sum it is added to are rounded once; elsewhere twice, as by
///   [`reference::correlate`](crate::reference::correlate), whose bits floats have there. The bits depend on nothing
///   else: on no strides, and on no number of threads.
/// * **Integers** are exact, and wrap on overflow as numpy's do.
/// * **Outside of `first`** there is nothing, and nothing is added: an infinity or a NaN in `second` reaches only
///   the results in which it covers an element. (scipy adds `0 · w` there in two and more dimensions.) A sum that
///   underflows to `-0.0` may be `0.0` there.
///
/// Large inputs are spread over the current rayon pool; below about eight million products of floats, or two of
/// integers, all is done on the calling thread.
///
/// # Errors
///
/// * [`KernelError::Ranks`]: the operands have different numbers of axes (possible with `IxDyn` only);
/// * [`KernelError::EmptyOperand`]: an operand has no elements;
/// * [`KernelError::NeitherContains`]: `Mode::Valid`, and each operand is longer than the other along some axis;
/// * [`KernelError::TooLarge`]: the result would not fit in the address space;
/// * [`KernelError::InstructionSet`]: floats, and the environment variable `CONV_ISA` names an instruction set that is
///   not available.
///
/// # Example
///
/// Appendix B of the article "Convolutional Neural Networks: An Intuitive Primer": correlating two stacks is the
/// same as adding the correlations of their maps.
///
/// ```
/// use conv_kernels::{Mode, correlate, correlate2d};
/// use ndarray::{Axis, array, stack};
/// let map1 = array![[1, 2, 3], [4, 5, 6], [7, 8, 9]];
/// let map2 = array![[9, 8, 7], [6, 5, 4], [3, 2, 1]];
/// let filter1 = array![[1, 2], [3, 4]];
/// let filter2 = array![[5, 6], [7, 8]];
///
/// let sum = correlate2d(&map1, &filter1, Mode::Valid)? + correlate2d(&map2, &filter2, Mode::Valid)?;
/// assert_eq!(sum, array![[212, 196], [164, 148]]);
///
/// let maps = stack![Axis(0), map1, map2];
/// let filters = stack![Axis(0), filter1, filter2];
/// let stacked = correlate(&maps, &filters, Mode::Valid)?;
/// assert_eq!(stacked, sum.insert_axis(Axis(0)));
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
#[doc(alias = "cross-correlation")]
#[doc(alias = "overlay")]
#[doc(alias = "underlay")]
pub fn correlate<T: Element, D: Dimension>(
    first: &ArrayRef<T, D>,
    second: &ArrayRef<T, D>,
    mode: Mode,
) -> Result<Array<T, D>, KernelError> {
    allocate(first, second.view(), mode, SameStart::Left)
}

/// [`correlate`] into an array of the caller's: any strides, every element overwritten.
///
/// # Errors
///
/// As for [`correlate`]; [`KernelError::ArrayShape`] when `out` does not have the shape [`output_shape`]. Nothing is
/// written then.
///
/// ```
/// use conv_kernels::{Mode, correlate_into};
/// use ndarray::{Array1, array};
/// let mut out = Array1::zeros(3);
/// correlate_into(&array![1.0, 2.0, 3.0, 4.0], &array![-1.0, 1.0], Mode::Valid, &mut out)?;
/// assert_eq!(out, array![1.0, 1.0, 1.0]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
pub fn correlate_into<T: Element, D: Dimension>(
    first: &ArrayRef<T, D>,
    second: &ArrayRef<T, D>,
    mode: Mode,
    out: &mut ArrayRef<T, D>,
) -> Result<(), KernelError> {
    fill(first, second.view(), mode, SameStart::Left, out)
}

/// [`correlate`] with the second operand reversed along every axis (in two dimensions: rotated by 180°).
///
/// This is `scipy.signal.convolve` with `method="direct"`. All that [`correlate`] says holds here too; in
/// particular, products are added in the row-major order of the elements of `first`. Convolution is commutative, so
/// exchanging the operands changes nothing in [`Mode::Full`] and [`Mode::Valid`] but, for floats, the order of
/// addition.
///
/// # Errors
///
/// As for [`correlate`].
///
/// ```
/// use conv_kernels::{Mode, convolve};
/// use ndarray::array;
/// // (1 + 2x + 3x²)(4 + 5x) = 4 + 13x + 22x² + 15x³
/// assert_eq!(convolve(&array![1, 2, 3], &array![4, 5], Mode::Full)?, array![4, 13, 22, 15]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
pub fn convolve<T: Element, D: Dimension>(
    first: &ArrayRef<T, D>,
    second: &ArrayRef<T, D>,
    mode: Mode,
) -> Result<Array<T, D>, KernelError> {
    allocate(first, reversed(second), mode, SameStart::Left)
}

/// [`convolve`] into an array of the caller's: any strides, every element overwritten.
///
/// # Errors
///
/// As for [`correlate_into`].
///
/// ```
/// use conv_kernels::{Mode, convolve_into};
/// use ndarray::{Array1, array};
/// let mut out = Array1::zeros(4);
/// convolve_into(&array![1, 2, 3], &array![4, 5], Mode::Full, &mut out)?;
/// assert_eq!(out, array![4, 13, 22, 15]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
pub fn convolve_into<T: Element, D: Dimension>(
    first: &ArrayRef<T, D>,
    second: &ArrayRef<T, D>,
    mode: Mode,
    out: &mut ArrayRef<T, D>,
) -> Result<(), KernelError> {
    fill(first, reversed(second), mode, SameStart::Left, out)
}

/// [`correlate`] in two dimensions: `scipy.signal.correlate2d` with its default zero boundary.
///
/// Differs from [`correlate`] in one point, as scipy's does: where [`Mode::Same`] starts when the second operand has
/// an even length.
///
/// # Errors
///
/// As for [`correlate`].
///
/// # Example
///
/// Appendix A of the article:
///
/// ```
/// use conv_kernels::{Mode, correlate2d};
/// use ndarray::array;
/// let values = array![[1, 2, 3], [4, 5, 6], [7, 8, 9]];
/// let f = array![[10, 20], [30, 40]];
/// assert_eq!(correlate2d(&values, &f, Mode::Valid)?, array![[370, 470], [670, 770]]);
/// assert_eq!(
///     correlate2d(&values, &f, Mode::Full)?,
///     array![[40, 110, 180, 90], [180, 370, 470, 210], [360, 670, 770, 330], [140, 230, 260, 90]]
/// );
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
pub fn correlate2d<T: Element>(
    first: &ArrayRef2<T>,
    second: &ArrayRef2<T>,
    mode: Mode,
) -> Result<Array2<T>, KernelError> {
    allocate(first, second.view(), mode, SameStart::Right)
}

/// [`correlate2d`] into an array of the caller's: any strides, every element overwritten.
///
/// # Errors
///
/// As for [`correlate_into`].
///
/// ```
/// use conv_kernels::{Mode, correlate2d_into};
/// use ndarray::{Array2, array};
/// let values = array![[1, 2, 3], [4, 5, 6], [7, 8, 9]];
/// let mut out = Array2::zeros((2, 2));
/// correlate2d_into(&values, &array![[10, 20], [30, 40]], Mode::Valid, &mut out)?;
/// assert_eq!(out, array![[370, 470], [670, 770]]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
pub fn correlate2d_into<T: Element>(
    first: &ArrayRef2<T>,
    second: &ArrayRef2<T>,
    mode: Mode,
    out: &mut ArrayRef2<T>,
) -> Result<(), KernelError> {
    fill(first, second.view(), mode, SameStart::Right, out)
}

/// [`convolve`] in two dimensions: `scipy.signal.convolve2d` with its default zero boundary.
///
/// # Errors
///
/// As for [`correlate`].
///
/// # Example
///
/// Appendix A of the article:
///
/// ```
/// use conv_kernels::{Mode, convolve2d, correlate2d};
/// use ndarray::array;
/// let values = array![[1, 2, 3], [4, 5, 6], [7, 8, 9]];
/// let (f, f_rot180) = (array![[10, 20], [30, 40]], array![[40, 30], [20, 10]]);
/// assert_eq!(convolve2d(&values, &f, Mode::Valid)?, array![[230, 330], [530, 630]]);
/// assert_eq!(convolve2d(&values, &f, Mode::Valid)?, correlate2d(&values, &f_rot180, Mode::Valid)?);
/// assert_eq!(
///     convolve2d(&values, &f, Mode::Full)?,
///     array![[10, 40, 70, 60], [70, 230, 330, 240], [190, 530, 630, 420], [210, 520, 590, 360]]
/// );
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
pub fn convolve2d<T: Element>(
    first: &ArrayRef2<T>,
    second: &ArrayRef2<T>,
    mode: Mode,
) -> Result<Array2<T>, KernelError> {
    convolve::<T, Ix2>(first, second, mode)
}

/// [`convolve2d`] into an array of the caller's: any strides, every element overwritten.
///
/// # Errors
///
/// As for [`correlate_into`].
///
/// ```
/// use conv_kernels::{Mode, convolve2d_into};
/// use ndarray::{Array2, array};
/// let values = array![[1, 2, 3], [4, 5, 6], [7, 8, 9]];
/// let mut out = Array2::zeros((2, 2));
/// convolve2d_into(&values, &array![[10, 20], [30, 40]], Mode::Valid, &mut out)?;
/// assert_eq!(out, array![[230, 330], [530, 630]]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
pub fn convolve2d_into<T: Element>(
    first: &ArrayRef2<T>,
    second: &ArrayRef2<T>,
    mode: Mode,
    out: &mut ArrayRef2<T>,
) -> Result<(), KernelError> {
    convolve_into::<T, Ix2>(first, second, mode, out)
}

/// The same elements read backwards along every axis.
fn reversed<T, D: Dimension>(array: &ArrayRef<T, D>) -> ArrayView<'_, T, D> {
    let mut view = array.view();
    for axis in 0..view.ndim() {
        view.invert_axis(Axis(axis));
    }
    view
}

/// Correlates into a new array.
fn allocate<T: Element, D: Dimension>(
    first: &ArrayRef<T, D>,
    second: ArrayView<'_, T, D>,
    mode: Mode,
    same: SameStart,
) -> Result<Array<T, D>, KernelError> {
    let window = Window::new(first.shape(), second.shape(), mode, same)?;
    let mut dim = first.raw_dim();
    dim.slice_mut().copy_from_slice(&window.shape);
    let mut out = Array::from_elem(dim, T::ZERO);
    T::slide(first.view().into_dyn(), second.into_dyn(), window.start, out.view_mut().into_dyn())?;
    Ok(out)
}

/// Correlates into `out`, whose shape must be the right one.
fn fill<T: Element, D: Dimension>(
    first: &ArrayRef<T, D>,
    second: ArrayView<'_, T, D>,
    mode: Mode,
    same: SameStart,
    out: &mut ArrayRef<T, D>,
) -> Result<(), KernelError> {
    let window = Window::new(first.shape(), second.shape(), mode, same)?;
    if out.shape() != window.shape {
        return Err(KernelError::ArrayShape { what: "out", expected: window.shape, got: out.shape().to_vec() });
    }
    T::slide(first.view().into_dyn(), second.into_dyn(), window.start, out.view_mut().into_dyn())
}
