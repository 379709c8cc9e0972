//! The definition of pooling, forward and backward.

use crate::{KernelError, Pool2dShape, Scalar};

/// The largest neuron under each position of the window, and where it is; the oracle of [`crate::max_pool2d`].
///
/// # Errors
///
/// [`KernelError::Length`] if a slice does not fit the shape.
///
/// ```
/// use conv_kernels::{Pool2dShape, reference};
/// let shape = Pool2dShape::new(1, [2, 4], [2, 2], [2, 2])?;
/// let (mut y, mut positions) = ([0.0; 2], [0; 2]);
/// reference::max_pool2d(&shape, 1, &[1., 2., 7., 7., 4., 3., 7., 7.], &mut y, &mut positions)?;
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
    for_each_window(shape, batch, |output, plane, window| {
        let mut largest = window[0];
        for &at in &window[1..] {
            let (a, max) = (x[plane + at], x[plane + largest]);
            if a > max || (a.is_nan() && !max.is_nan()) {
                largest = at;
            }
        }
        y[output] = x[plane + largest];
        positions[output] = largest as u32;
    });
    Ok(())
}

/// Sends each gradient back to the neuron that was the largest; `dx` is overwritten.
///
/// # Errors
///
/// [`KernelError::Length`] if a slice does not fit the shape, [`KernelError::Position`] if a position lies outside
/// its plane.
///
/// ```
/// use conv_kernels::{Pool2dShape, reference};
/// let shape = Pool2dShape::new(1, [1, 3], [1, 2], [1, 1])?;
/// let mut dx = [f32::NAN; 3];
/// reference::max_pool2d_backward(&shape, 1, &[10.0, 5.0], &[1, 1], &mut dx)?;
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
    dx.fill(T::ZERO);
    for_each_window(shape, batch, |output, plane, _| dx[plane + positions[output] as usize] += dy[output]);
    Ok(())
}

/// The mean of the neurons under each position of the window; the oracle of [`crate::avg_pool2d`].
///
/// # Errors
///
/// [`KernelError::Length`] if a slice does not fit the shape.
///
/// ```
/// use conv_kernels::{Pool2dShape, reference};
/// let shape = Pool2dShape::new(1, [2, 2], [2, 2], [2, 2])?;
/// let mut y = [0.0];
/// reference::avg_pool2d(&shape, 1, &[1.0, 2.0, 3.0, 6.0], &mut y)?;
/// assert_eq!(y, [3.0]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
pub fn avg_pool2d<T: Scalar>(shape: &Pool2dShape, batch: usize, x: &[T], y: &mut [T]) -> Result<(), KernelError> {
    shape.expect_input("x", batch, x.len())?;
    shape.expect_output("y", batch, y.len())?;
    for_each_window(shape, batch, |output, plane, window| {
        let sum = window.iter().fold(T::ZERO, |sum, at| sum + x[plane + at]);
        y[output] = sum / T::of(window.len() as f64);
    });
    Ok(())
}

/// Gives each neuron under a window an equal share of its gradient; `dx` is overwritten.
///
/// # Errors
///
/// [`KernelError::Length`] if a slice does not fit the shape.
///
/// ```
/// use conv_kernels::{Pool2dShape, reference};
/// let shape = Pool2dShape::new(1, [1, 3], [1, 2], [1, 1])?;
/// let mut dx = [f64::NAN; 3];
/// reference::avg_pool2d_backward(&shape, 1, &[10.0, 4.0], &mut dx)?;
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
    dx.fill(T::ZERO);
    for_each_window(shape, batch, |output, plane, window| {
        for at in window {
            dx[plane + at] += dy[output] / T::of(window.len() as f64);
        }
    });
    Ok(())
}

/// Slides the window over each plane: calls `visit(index of the output, start of the plane, positions in the plane)`.
fn for_each_window(shape: &Pool2dShape, batch: usize, mut visit: impl FnMut(usize, usize, &[usize])) {
    let ([height, width], [rows, columns]) = (shape.input(), shape.output());
    let ([window_rows, window_columns], [down, right]) = (shape.window(), shape.stride());
    let mut window = Vec::new();
    for plane in 0..batch * shape.channels() {
        for row in 0..rows {
            for column in 0..columns {
                window.clear();
                for y in row * down..row * down + window_rows {
                    window.extend((column * right..column * right + window_columns).map(|x| y * width + x));
                }
                visit((plane * rows + row) * columns + column, plane * height * width, &window);
            }
        }
    }
}
