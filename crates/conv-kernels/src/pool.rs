//! Pooling: the largest, or the mean, of the pixels under a sliding window.

use ndarray::ArrayViewMut3;

use crate::shape::{expect_len, images, non_zero, window_positions};
use crate::threads::{Cell, Cuts, grid, lanes, rows, view3};
use crate::{KernelError, Scalar};

/// The geometry of a pooling layer for one image; valid by construction.
///
/// Along each axis the output has `floor((size - window) / stride) + 1` positions. Pixels at the far edges that no
/// window covers do not count, and get no gradient.
///
/// ```
/// use conv_kernels::Pool2dShape;
/// let usual = Pool2dShape::new(20, [24, 24], [2, 2], [2, 2])?;
/// assert_eq!(usual.output(), [12, 12]);
/// let article = Pool2dShape::new(1, [3, 3], [2, 2], [1, 1])?; // the article's window slides by one
/// assert_eq!(article.output_dim(64)?, [64, 1, 2, 2]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
#[doc(alias = "MaxPoolingMap")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool2dShape {
    channels: usize,
    input: [usize; 2],
    window: [usize; 2],
    stride: [usize; 2],
    output: [usize; 2],
}

impl Pool2dShape {
    /// Checks the sizes, each `[rows, columns]`, and computes the output size.
    ///
    /// # Errors
    ///
    /// - [`KernelError::Zero`] for a size or stride that is zero;
    /// - [`KernelError::WindowTooLarge`] if the window is larger than the input;
    /// - [`KernelError::PlaneTooLarge`] if a plane has more than 2³² pixels;
    /// - [`KernelError::TooLarge`] if one image could not exist in memory.
    ///
    /// ```
    /// use conv_kernels::Pool2dShape;
    /// let refused = Pool2dShape::new(1, [4, 4], [2, 2], [0, 2]).unwrap_err();
    /// assert_eq!(refused.to_string(), "the vertical stride must be at least 1");
    /// ```
    pub fn new(
        channels: usize,
        input: [usize; 2],
        window: [usize; 2],
        stride: [usize; 2],
    ) -> Result<Self, KernelError> {
        non_zero([
            ("channels", channels),
            ("the input's height", input[0]),
            ("the input's width", input[1]),
            ("the window's height", window[0]),
            ("the window's width", window[1]),
            ("the vertical stride", stride[0]),
            ("the horizontal stride", stride[1]),
        ])?;
        let output = window_positions("pooling window", window, input, stride)?;
        images("the input image", [1, channels, input[0], input[1]])?;
        if (input[0] * input[1] - 1) as u64 > u64::from(u32::MAX) {
            return Err(KernelError::PlaneTooLarge { input });
        }
        Ok(Self { channels, input, window, stride, output })
    }

    /// Channels, the same for input and output.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// `[rows, columns]` of the input.
    pub fn input(&self) -> [usize; 2] {
        self.input
    }

    /// `[rows, columns]` of the window.
    pub fn window(&self) -> [usize; 2] {
        self.window
    }

    /// How far the window slides, `[down, right]`.
    pub fn stride(&self) -> [usize; 2] {
        self.stride
    }

    /// `[rows, columns]` of the output.
    pub fn output(&self) -> [usize; 2] {
        self.output
    }

    /// Elements of one input image, `C·H·W`.
    pub fn input_len(&self) -> usize {
        self.channels * self.in_pixels()
    }

    /// Elements of one output image, `C·OH·OW`.
    pub fn output_len(&self) -> usize {
        self.channels * self.out_pixels()
    }

    /// The dimensions `(N, C, H, W)` of `batch` input images.
    ///
    /// # Errors
    ///
    /// [`KernelError::TooLarge`] if they would have more than `2^63 - 1` bytes.
    pub fn input_dim(&self, batch: usize) -> Result<[usize; 4], KernelError> {
        images("the batch of input images", [batch, self.channels, self.input[0], self.input[1]])
    }

    /// The dimensions `(N, C, OH, OW)` of `batch` output images.
    ///
    /// # Errors
    ///
    /// [`KernelError::TooLarge`] if they would have more than `2^63 - 1` bytes.
    pub fn output_dim(&self, batch: usize) -> Result<[usize; 4], KernelError> {
        images("the batch of output images", [batch, self.channels, self.output[0], self.output[1]])
    }

    fn in_pixels(&self) -> usize {
        self.input[0] * self.input[1]
    }

    fn out_pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Refuses a slice that does not hold `batch` input images.
    pub(crate) fn expect_input(&self, what: &'static str, batch: usize, got: usize) -> Result<(), KernelError> {
        expect_len(what, "(N, C, H, W)", &self.input_dim(batch)?, got)
    }

    /// Refuses a slice that does not hold `batch` output images.
    pub(crate) fn expect_output(&self, what: &'static str, batch: usize, got: usize) -> Result<(), KernelError> {
        expect_len(what, "(N, C, OH, OW)", &self.output_dim(batch)?, got)
    }

    /// Refuses positions that are too many, too few, or outside their plane.
    pub(crate) fn expect_positions(&self, batch: usize, positions: &[u32]) -> Result<(), KernelError> {
        self.expect_output("positions", batch, positions.len())?;
        let pixels = self.in_pixels();
        match positions.iter().position(|&position| position as usize >= pixels) {
            Some(index) => Err(KernelError::Position { index, got: positions[index], pixels }),
            None => Ok(()),
        }
    }

    /// Cells worth cutting a batch into. Pooling waits for memory and branches, not for arithmetic, so each pixel under
    /// a window counts as several multiply-adds.
    fn lanes(&self, batch: usize) -> usize {
        let windows = (batch * self.output_len()) as u64;
        lanes(windows.saturating_mul(4 * (self.window[0] * self.window[1]) as u64))
    }

    /// Cuts of `(N, C, OH·OW)`, at whole rows.
    fn output_cuts(&self, batch: usize) -> Cuts {
        let units = [1, 1, self.output[1]];
        Cuts::new(self.lanes(batch), [batch, self.channels, self.out_pixels()], units, [0, 1, 2])
    }

    /// Cuts of `(N, C, H·W)`, at whole planes.
    fn input_cuts(&self, batch: usize) -> Cuts {
        let units = [1, 1, self.in_pixels()];
        Cuts::new(self.lanes(batch), [batch, self.channels, self.in_pixels()], units, [0, 1, 2])
    }

    /// Where plane `channel` of image `image` lies among planes of `pixels`.
    fn plane(&self, [image, channel]: [usize; 2], pixels: usize) -> std::ops::Range<usize> {
        let start = (image * self.channels + channel) * pixels;
        start..start + pixels
    }
}

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
    let dim = [batch, shape.channels, shape.out_pixels()];
    let whole = Cell::whole((view3(dim, y), view3(dim, positions)), &mut [][..]);
    grid(whole, shape.output_cuts(batch), 0, &|cell: Cell<'_, (ArrayViewMut3<'_, T>, _), T>| {
        let (mut y, mut positions) = cell.view;
        let first_row = cell.start[2] / shape.output[1];
        for ((at, y), (_, positions)) in rows(&mut y, cell.start).zip(rows(&mut positions, cell.start)) {
            let plane = &x[shape.plane(at, shape.in_pixels())];
            match (shape.window, shape.stride) {
                // the usual window, unrolled
                ([2, 2], [2, 2]) => max_plane(plane, shape, [2, 2], [2, 2], first_row, y, positions),
                (window, stride) => max_plane(plane, shape, window, stride, first_row, y, positions),
            }
        }
    });
    Ok(())
}

/// Output rows from `first_row` on of one plane.
#[inline(always)]
fn max_plane<T: Scalar>(
    plane: &[T],
    shape: &Pool2dShape,
    window: [usize; 2],
    stride: [usize; 2],
    first_row: usize,
    y: &mut [T],
    positions: &mut [u32],
) {
    let (width, columns) = (shape.input[1], shape.output[1]);
    let out_rows = y.chunks_exact_mut(columns).zip(positions.chunks_exact_mut(columns));
    for (row, (y, positions)) in (first_row..).zip(out_rows) {
        for (column, (y, position)) in y.iter_mut().zip(positions).enumerate() {
            let corner = row * stride[0] * width + column * stride[1];
            let (mut max, mut at) = (plane[corner], corner);
            for i in 0..window[0] {
                for j in 0..window[1] {
                    let here = corner + i * width + j;
                    let a = plane[here];
                    if a > max || (a.is_nan() && !max.is_nan()) {
                        (max, at) = (a, here);
                    }
                }
            }
            // fits: a plane has at most 2^32 pixels
            (*y, *position) = (max, at as u32);
        }
    }
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
    let whole = Cell::whole(view3([batch, shape.channels, shape.in_pixels()], dx), &mut [][..]);
    grid(whole, shape.input_cuts(batch), 0, &|mut cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
        for (at, dx) in rows(&mut cell.view, cell.start) {
            dx.fill(T::ZERO);
            let outputs = shape.plane(at, shape.out_pixels());
            for (&dy, &position) in dy[outputs.clone()].iter().zip(&positions[outputs]) {
                dx[position as usize] += dy;
            }
        }
    });
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
    let ([window_rows, window_columns], [down, right]) = (shape.window, shape.stride);
    let area = T::of((window_rows * window_columns) as f64);
    let (width, columns) = (shape.input[1], shape.output[1]);
    let whole = Cell::whole(view3([batch, shape.channels, shape.out_pixels()], y), &mut [][..]);
    grid(whole, shape.output_cuts(batch), 0, &|mut cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
        let first_row = cell.start[2] / columns;
        for (at, y) in rows(&mut cell.view, cell.start) {
            let plane = &x[shape.plane(at, shape.in_pixels())];
            for (row, y) in (first_row..).zip(y.chunks_exact_mut(columns)) {
                for (column, y) in y.iter_mut().enumerate() {
                    let corner = row * down * width + column * right;
                    let window = (0..window_rows).flat_map(|i| &plane[corner + i * width..][..window_columns]);
                    *y = window.fold(T::ZERO, |sum, &a| sum + a) / area;
                }
            }
        }
    });
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
    let ([window_rows, window_columns], [down, right]) = (shape.window, shape.stride);
    let area = T::of((window_rows * window_columns) as f64);
    let (width, columns) = (shape.input[1], shape.output[1]);
    let whole = Cell::whole(view3([batch, shape.channels, shape.in_pixels()], dx), &mut [][..]);
    grid(whole, shape.input_cuts(batch), 0, &|mut cell: Cell<'_, ArrayViewMut3<'_, T>, T>| {
        for (at, dx) in rows(&mut cell.view, cell.start) {
            dx.fill(T::ZERO);
            for (output, &dy) in dy[shape.plane(at, shape.out_pixels())].iter().enumerate() {
                let share = dy / area;
                let corner = output / columns * down * width + output % columns * right;
                for i in 0..window_rows {
                    dx[corner + i * width..][..window_columns].iter_mut().for_each(|dx| *dx += share);
                }
            }
        }
    });
    Ok(())
}
