//! Pooling: the largest, or the mean, of the pixels under a sliding window.
//!
//! ```text
//! forward:    y[o]  = max, or mean, of x[p] for p under window o; the largest one's position is kept
//! backward:   dx    = 0;  dx[position of o] += dy[o],  or  dx[p] += dy[o] / pixels of the window  for all p under it
//! ```
//!
//! Cost: each pixel is read once for each window that sees it, and nothing is multiplied: it is as fast as the memory, if
//! vectors do it. The usual 2x2 windows side by side have loops of their own.

mod max;
mod mean;
mod run;
mod shape;

pub(crate) use run::Pooling;
pub use shape::Pool2dShape;

use crate::simd::Isa;
use crate::{KernelError, Scalar};

/// The largest pixel under each position of the window, and where it is.
///
/// `x (N, C, H, W)`, `y` and `positions (N, C, OH, OW)`. A position is the row-major index of the maximum in its
/// `H·W` plane; of equal maxima the first counts. NaN spreads: a window that holds one gives NaN, and the first NaN's
/// position. Bits and positions are those of [`reference::max_pool2d`](crate::reference::max_pool2d).
///
/// # Errors
///
/// [`KernelError::Length`] if a slice does not fit the shape and the batch.
///
/// ```
/// use conv_kernels::{Pool2dShape, max_pool2d};
/// let shape = Pool2dShape::new(1, [2, 4], [2, 2], [2, 2])?;
/// let (mut y, mut positions) = ([0.0; 2], [0; 2]);
/// max_pool2d(&shape, 1, &[1., 2., 7., 7., 4., 3., 7., 7.], &mut y, &mut positions)?;
/// assert_eq!((y, positions), ([4.0, 7.0], [4, 2]));
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
#[doc(alias = "MaxPoolingMap")]
pub fn max_pool2d<T: Scalar>(
    shape: &Pool2dShape,
    batch: usize,
    x: &[T],
    y: &mut [T],
    positions: &mut [u32],
) -> Result<(), KernelError> {
    shape.expect_input("x", batch, x.len())?;
    shape.expect_output("y", batch, y.len())?;
    shape.expect_output("positions", batch, positions.len())?;
    T::pooling(shape, batch, Isa::detect()?, Pooling::Max { x, y, positions });
    Ok(())
}

/// Sends each gradient `dy` back to the pixel that was the largest; `dx` is overwritten.
///
/// Where windows overlap, gradients for one pixel add up, in row-major order of the windows; pixels that were nowhere
/// the largest get zero. A gradient whose maximum was NaN goes to that NaN's pixel.
///
/// # Errors
///
/// [`KernelError::Length`] if a slice does not fit the shape and the batch, [`KernelError::Position`] if a position
/// lies outside its plane.
///
/// ```
/// use conv_kernels::{Pool2dShape, max_pool2d_backward};
/// let shape = Pool2dShape::new(1, [1, 3], [1, 2], [1, 1])?;
/// let mut dx = [f32::NAN; 3];
/// max_pool2d_backward(&shape, 1, &[10.0, 5.0], &[1, 1], &mut dx)?;
/// assert_eq!(dx, [0.0, 15.0, 0.0]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
pub fn max_pool2d_backward<T: Scalar>(
    shape: &Pool2dShape,
    batch: usize,
    dy: &[T],
    positions: &[u32],
    dx: &mut [T],
) -> Result<(), KernelError> {
    shape.expect_output("dy", batch, dy.len())?;
    shape.expect_positions(batch, positions)?;
    shape.expect_input("dx", batch, dx.len())?;
    T::pooling(shape, batch, Isa::detect()?, Pooling::MaxBackward { dy, positions, dx });
    Ok(())
}

/// The mean of the pixels under each position of the window.
///
/// `x (N, C, H, W)`, `y (N, C, OH, OW)`. Each sum runs over the window in row-major order, and is then divided by the
/// window's size: the bits of [`reference::avg_pool2d`](crate::reference::avg_pool2d).
///
/// # Errors
///
/// [`KernelError::Length`] if a slice does not fit the shape and the batch.
///
/// ```
/// use conv_kernels::{Pool2dShape, avg_pool2d};
/// let shape = Pool2dShape::new(1, [2, 2], [2, 2], [2, 2])?;
/// let mut y = [0.0];
/// avg_pool2d(&shape, 1, &[1.0, 2.0, 3.0, 6.0], &mut y)?;
/// assert_eq!(y, [3.0]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
pub fn avg_pool2d<T: Scalar>(shape: &Pool2dShape, batch: usize, x: &[T], y: &mut [T]) -> Result<(), KernelError> {
    shape.expect_input("x", batch, x.len())?;
    shape.expect_output("y", batch, y.len())?;
    T::pooling(shape, batch, Isa::detect()?, Pooling::Mean { x, y });
    Ok(())
}

/// Gives each pixel under a window an equal share of its gradient `dy`; `dx` is overwritten.
///
/// Where windows overlap the shares add up, in row-major order of the windows; pixels that no window covers get zero.
///
/// # Errors
///
/// [`KernelError::Length`] if a slice does not fit the shape and the batch.
///
/// ```
/// use conv_kernels::{Pool2dShape, avg_pool2d_backward};
/// let shape = Pool2dShape::new(1, [1, 3], [1, 2], [1, 1])?;
/// let mut dx = [f64::NAN; 3];
/// avg_pool2d_backward(&shape, 1, &[10.0, 4.0], &mut dx)?;
/// assert_eq!(dx, [5.0, 7.0, 2.0]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
pub fn avg_pool2d_backward<T: Scalar>(
    shape: &Pool2dShape,
    batch: usize,
    dy: &[T],
    dx: &mut [T],
) -> Result<(), KernelError> {
    shape.expect_output("dy", batch, dy.len())?;
    shape.expect_input("dx", batch, dx.len())?;
    T::pooling(shape, batch, Isa::detect()?, Pooling::MeanBackward { dy, dx });
    Ok(())
}
