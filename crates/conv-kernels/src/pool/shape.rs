//! The geometry of a pooling layer.

use std::ops::Range;

use crate::KernelError;
use crate::shape::{expect_len, images, non_zero, window_positions};
use crate::threads::{Cuts, lanes};
use crate::vecmath::vectorized;

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

    pub(super) fn in_pixels(&self) -> usize {
        self.input[0] * self.input[1]
    }

    pub(crate) fn out_pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Whether windows are 2x2 pixels, side by side.
    pub(super) fn is_pairs(&self) -> bool {
        self.window == [2, 2] && self.stride == [2, 2]
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
        // without an early end, which would keep the compiler from using vectors
        let mut last = 0;
        vectorized(|| last = positions.iter().fold(0, |last, &position| last.max(position)));
        if positions.is_empty() || (last as usize) < pixels {
            return Ok(());
        }
        let index = positions.iter().position(|&position| position as usize >= pixels).unwrap_or_default();
        Err(KernelError::Position { index, got: positions[index], pixels })
    }

    /// Cells worth cutting a batch into. Pooling waits for memory and branches, not for arithmetic, so each pixel under
    /// a window counts as several multiply-adds.
    fn lanes(&self, batch: usize) -> usize {
        let windows = (batch * self.output_len()) as u64;
        lanes(windows.saturating_mul(4 * (self.window[0] * self.window[1]) as u64))
    }

    /// Cuts of `(N, C, OH·OW)`, at whole rows.
    pub(super) fn output_cuts(&self, batch: usize) -> Cuts {
        let units = [1, 1, self.output[1]];
        Cuts::new(self.lanes(batch), [batch, self.channels, self.out_pixels()], units, [0, 1, 2])
    }

    /// Cuts of `(N, C, H·W)`, at whole planes.
    pub(super) fn input_cuts(&self, batch: usize) -> Cuts {
        let units = [1, 1, self.in_pixels()];
        Cuts::new(self.lanes(batch), [batch, self.channels, self.in_pixels()], units, [0, 1, 2])
    }

    /// Where plane `channel` of image `image` lies among planes of `pixels`.
    pub(super) fn plane(&self, [image, channel]: [usize; 2], pixels: usize) -> Range<usize> {
        let start = (image * self.channels + channel) * pixels;
        start..start + pixels
    }
}
