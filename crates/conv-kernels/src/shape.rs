//! The geometry of a convolution: every size, and every check, in one place.

use std::fmt;
use std::ops::Range;

use crate::KernelError;

/// The most elements that any array of the crate may have: `2^63 - 1` bytes of `f64`.
const MAX_ELEMENTS: usize = isize::MAX as usize / size_of::<f64>();

/// Rows and columns of zeros around an image.
///
/// ```
/// use conv_kernels::Padding;
/// assert_eq!(Padding::from(1), Padding { top: 1, bottom: 1, left: 1, right: 1 });
/// assert_eq!(Padding::from([2, 0]), Padding { top: 2, bottom: 2, left: 0, right: 0 });
/// assert_eq!(Padding::default(), Padding::NONE);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Padding {
    /// Rows of zeros above the image.
    pub top: usize,
    /// Rows of zeros below it.
    pub bottom: usize,
    /// Columns of zeros to its left.
    pub left: usize,
    /// Columns of zeros to its right.
    pub right: usize,
}

impl Padding {
    /// No padding: scipy's mode "valid".
    pub const NONE: Self = Self { top: 0, bottom: 0, left: 0, right: 0 };

    /// The padding that keeps the image's size at stride 1; when it cannot be the same on both sides (even kernels)
    /// the extra row goes to the bottom and the extra column to the right, as PyTorch's `padding="same"` does.
    ///
    /// A size of zero counts as one (the shape's builder refuses it later).
    ///
    /// ```
    /// use conv_kernels::Padding;
    /// assert_eq!(Padding::same([3, 3], [1, 1]), Padding::from(1));
    /// assert_eq!(Padding::same([4, 1], [1, 1]), Padding { top: 1, bottom: 2, left: 0, right: 0 });
    /// assert_eq!(Padding::same([3, 3], [2, 2]), Padding::from(2));
    /// ```
    #[must_use]
    pub fn same(kernel: [usize; 2], dilation: [usize; 2]) -> Self {
        let [vertical, horizontal] = [0, 1].map(|axis| covered(kernel[axis], dilation[axis]) - 1);
        Self { top: vertical / 2, bottom: vertical.div_ceil(2), left: horizontal / 2, right: horizontal.div_ceil(2) }
    }
}

/// The same padding on all four sides.
impl From<usize> for Padding {
    fn from(all: usize) -> Self {
        Self::from([all, all])
    }
}

/// `[vertical, horizontal]`: above and below, left and right.
impl From<[usize; 2]> for Padding {
    fn from([vertical, horizontal]: [usize; 2]) -> Self {
        Self { top: vertical, bottom: vertical, left: horizontal, right: horizontal }
    }
}

/// The geometry of a convolution layer for one image; valid by construction.
///
/// Images are `(N, C, H, W)`, weights `(out, in / groups, kh, kw)`. Along each axis, with dilation `d`, stride `s`
/// and kernel `k`, the output has `floor((size + padding - d·(k - 1) - 1) / s) + 1` positions: the places where the
/// overlay, sliding by `s`, lies wholly inside the padded image.
///
/// ```
/// use conv_kernels::Conv2dShape;
///
/// // Twenty overlays of 5x5 over a handwritten digit.
/// let shape = Conv2dShape::builder(1, 20, [28, 28], [5, 5]).build()?;
/// assert_eq!(shape.output(), [24, 24]);
/// assert_eq!(shape.weight_dim(), [20, 1, 5, 5]);
/// assert_eq!(shape.output_dim(64)?, [64, 20, 24, 24]);
/// assert_eq!(shape.to_string(), "1x28x28 -> 20 @ 5x5");
///
/// let halved = Conv2dShape::builder(64, 128, [56, 56], [3, 3]).stride([2, 2]).padding(1).build()?;
/// assert_eq!(halved.output(), [28, 28]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
#[doc(alias = "FeatureMap")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dShape {
    in_channels: usize,
    out_channels: usize,
    groups: usize,
    input: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: Padding,
    output: [usize; 2],
}

impl Conv2dShape {
    /// Starts a shape with stride 1, no padding, dilation 1 and one group.
    ///
    /// `input` is `[rows, columns]` of one image without padding, `kernel` that of one overlay.
    ///
    /// ```
    /// # use conv_kernels::Conv2dShape;
    /// let shape = Conv2dShape::builder(3, 8, [32, 32], [3, 3]).padding(1).build()?;
    /// assert_eq!(shape.output(), [32, 32]);
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    pub fn builder(
        in_channels: usize,
        out_channels: usize,
        input: [usize; 2],
        kernel: [usize; 2],
    ) -> Conv2dShapeBuilder {
        Conv2dShapeBuilder(Self {
            in_channels,
            out_channels,
            groups: 1,
            input,
            kernel,
            stride: [1, 1],
            dilation: [1, 1],
            padding: Padding::NONE,
            output: [0, 0],
        })
    }

    /// Channels of the input.
    pub fn in_channels(&self) -> usize {
        self.in_channels
    }

    /// Channels of the output: the number of feature maps.
    pub fn out_channels(&self) -> usize {
        self.out_channels
    }

    /// Groups into which the channels are divided; each output channel sees the input channels of its group only.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// `[rows, columns]` of the input, without padding.
    pub fn input(&self) -> [usize; 2] {
        self.input
    }

    /// `[rows, columns]` of the kernel (the overlay).
    #[doc(alias = "overlay")]
    pub fn kernel(&self) -> [usize; 2] {
        self.kernel
    }

    /// How far the overlay slides, `[down, right]`.
    pub fn stride(&self) -> [usize; 2] {
        self.stride
    }

    /// Distance between neighbouring kernel elements on the image, `[down, right]`; 1 is the usual, gapless kernel.
    pub fn dilation(&self) -> [usize; 2] {
        self.dilation
    }

    /// The zeros around the image.
    pub fn padding(&self) -> Padding {
        self.padding
    }

    /// `[rows, columns]` of the output.
    pub fn output(&self) -> [usize; 2] {
        self.output
    }

    /// Elements of one input image, `C·H·W`.
    pub fn input_len(&self) -> usize {
        self.in_channels * self.input[0] * self.input[1]
    }

    /// Elements of one output image, `O·OH·OW`.
    pub fn output_len(&self) -> usize {
        self.out_channels * self.output[0] * self.output[1]
    }

    /// Elements of the weights, `O·(C / groups)·KH·KW`.
    pub fn weight_len(&self) -> usize {
        self.weight_dim().iter().product()
    }

    /// The weights' dimensions, `(out, in / groups, kh, kw)`.
    pub fn weight_dim(&self) -> [usize; 4] {
        [self.out_channels, self.in_channels / self.groups, self.kernel[0], self.kernel[1]]
    }

    /// The dimensions `(N, C, H, W)` of `batch` input images.
    ///
    /// # Errors
    ///
    /// [`KernelError::TooLarge`] if they would have more than `2^63 - 1` bytes.
    pub fn input_dim(&self, batch: usize) -> Result<[usize; 4], KernelError> {
        images("the batch of input images", [batch, self.in_channels, self.input[0], self.input[1]])
    }

    /// The dimensions `(N, O, OH, OW)` of `batch` output images.
    ///
    /// # Errors
    ///
    /// [`KernelError::TooLarge`] if they would have more than `2^63 - 1` bytes.
    pub fn output_dim(&self, batch: usize) -> Result<[usize; 4], KernelError> {
        images("the batch of output images", [batch, self.out_channels, self.output[0], self.output[1]])
    }

    /// Multiply-adds of the definition for one image, padding included (at most `u64::MAX`).
    ///
    /// ```
    /// # use conv_kernels::Conv2dShape;
    /// let shape = Conv2dShape::builder(1, 20, [28, 28], [5, 5]).build()?;
    /// assert_eq!(shape.macs(), 20 * 24 * 24 * 5 * 5);
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    pub fn macs(&self) -> u64 {
        (self.output_len() as u64).saturating_mul(self.taps() as u64)
    }

    /// Products in the sum of one output pixel, `(C / groups)·KH·KW`: the rows of the column matrix.
    pub(crate) fn taps(&self) -> usize {
        self.weight_dim()[1..].iter().product()
    }

    /// Pixels of one output channel.
    pub(crate) fn out_pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Pixels of one input channel.
    pub(crate) fn in_pixels(&self) -> usize {
        self.input[0] * self.input[1]
    }

    /// Where one kernel element meets the image along `axis` (0: rows, 1: columns).
    pub(crate) fn reach(&self, axis: usize, element: usize) -> Reach {
        let before = [self.padding.top, self.padding.left][axis];
        let (stride, ahead) = (self.stride[axis], element * self.dilation[axis]);
        // A division costs as much as a short row of the image, and most strides are 1.
        let positions = |pixels: usize| if stride == 1 { pixels } else { pixels.div_ceil(stride) };
        // Output position o reads input position o·stride + ahead - before, real while that lies in 0..input.
        let start = positions(before.saturating_sub(ahead));
        let end = positions((self.input[axis] + before).saturating_sub(ahead)).min(self.output[axis]);
        if start >= end {
            return Reach { outputs: 0..0, first: 0, stride };
        }
        Reach { outputs: start..end, first: start * stride + ahead - before, stride }
    }

    /// The kernel elements that meet the image, and no padding, where the overlay lies at position `output` along `axis`.
    pub(crate) fn seen(&self, axis: usize, output: usize) -> Range<usize> {
        let before = [self.padding.top, self.padding.left][axis];
        let (at, dilation) = (output * self.stride[axis], self.dilation[axis]);
        let start = before.saturating_sub(at).div_ceil(dilation);
        let end = (self.input[axis] + before).saturating_sub(at).div_ceil(dilation).min(self.kernel[axis]);
        start.min(end)..end
    }

    /// The pixel under an `element` of the overlay that lies at `position`; the two do not meet on the padding.
    pub(crate) fn under(&self, position: [usize; 2], element: [usize; 2]) -> [usize; 2] {
        let before = [self.padding.top, self.padding.left];
        [0, 1].map(|axis| {
            (position[axis] * self.stride[axis] + element[axis] * self.dilation[axis]).saturating_sub(before[axis])
        })
    }

    /// Refuses a slice that does not hold `batch` input images.
    pub(crate) fn expect_input(&self, what: &'static str, batch: usize, got: usize) -> Result<(), KernelError> {
        expect_len(what, "(N, C, H, W)", &self.input_dim(batch)?, got)
    }

    /// Refuses a slice that does not hold `batch` output images.
    pub(crate) fn expect_output(&self, what: &'static str, batch: usize, got: usize) -> Result<(), KernelError> {
        expect_len(what, "(N, O, OH, OW)", &self.output_dim(batch)?, got)
    }

    /// Refuses a slice that does not hold the weights.
    pub(crate) fn expect_weight(&self, what: &'static str, got: usize) -> Result<(), KernelError> {
        expect_len(what, "(O, C / groups, KH, KW)", &self.weight_dim(), got)
    }

    /// Refuses a slice that does not hold one number for each output channel.
    pub(crate) fn expect_bias(&self, what: &'static str, got: usize) -> Result<(), KernelError> {
        expect_len(what, "(O,)", &[self.out_channels], got)
    }
}

/// `1x28x28 -> 20 @ 5x5`, and whatever is not the default: one image, its feature maps and their overlays.
impl fmt::Display for Conv2dShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { in_channels, out_channels, groups, input, kernel, stride, dilation, padding, .. } = self;
        write!(f, "{in_channels}x{}x{} -> {out_channels} @ {}x{}", input[0], input[1], kernel[0], kernel[1])?;
        if *stride != [1, 1] {
            write!(f, ", stride {}x{}", stride[0], stride[1])?;
        }
        if *padding != Padding::NONE {
            let Padding { top, bottom, left, right } = padding;
            write!(f, ", padding {top}+{bottom}x{left}+{right}")?;
        }
        if *dilation != [1, 1] {
            write!(f, ", dilation {}x{}", dilation[0], dilation[1])?;
        }
        if *groups != 1 {
            write!(f, ", {groups} groups")?;
        }
        Ok(())
    }
}

/// Builds a [`Conv2dShape`]; see [`Conv2dShape::builder`].
///
/// ```
/// use conv_kernels::{Conv2dShape, Padding};
/// let depthwise = Conv2dShape::builder(32, 32, [112, 112], [3, 3])
///     .groups(32)
///     .stride([2, 2])
///     .padding(Padding { top: 0, bottom: 1, left: 0, right: 1 })
///     .build()?;
/// assert_eq!(depthwise.output(), [56, 56]);
/// assert_eq!(depthwise.weight_dim(), [32, 1, 3, 3]);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Conv2dShapeBuilder(Conv2dShape);

impl Conv2dShapeBuilder {
    /// How far the overlay slides, `[down, right]`; 1 unless set.
    pub fn stride(mut self, stride: [usize; 2]) -> Self {
        self.0.stride = stride;
        self
    }

    /// The zeros around the image: a number for all sides, `[vertical, horizontal]`, or a [`Padding`]; none unless set.
    pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
        self.0.padding = padding.into();
        self
    }

    /// Distance between neighbouring kernel elements on the image, `[down, right]`; 1 unless set.
    pub fn dilation(mut self, dilation: [usize; 2]) -> Self {
        self.0.dilation = dilation;
        self
    }

    /// Divides the channels into groups that do not see each other; 1 unless set. `groups == in_channels` is the
    /// depthwise convolution.
    pub fn groups(mut self, groups: usize) -> Self {
        self.0.groups = groups;
        self
    }

    /// Checks everything, and computes the output size.
    ///
    /// # Errors
    ///
    /// - [`KernelError::Zero`] for a size, stride, dilation or number of groups or channels that is zero;
    /// - [`KernelError::Groups`] if the groups do not divide both channel counts;
    /// - [`KernelError::WindowTooLarge`] if the dilated kernel is larger than the padded input;
    /// - [`KernelError::TooLarge`] if an array of one image, or the weights, could not exist in memory.
    ///
    /// ```
    /// # use conv_kernels::Conv2dShape;
    /// let refused = Conv2dShape::builder(1, 1, [4, 4], [5, 5]).build().unwrap_err();
    /// assert_eq!(
    ///     refused.to_string(),
    ///     "the kernel covers 5x5 pixels, more than the padded input 4x4: use a smaller one, or more padding",
    /// );
    /// ```
    pub fn build(self) -> Result<Conv2dShape, KernelError> {
        let mut shape = self.0;
        non_zero([
            ("in_channels", shape.in_channels),
            ("out_channels", shape.out_channels),
            ("groups", shape.groups),
            ("the input's height", shape.input[0]),
            ("the input's width", shape.input[1]),
            ("the kernel's height", shape.kernel[0]),
            ("the kernel's width", shape.kernel[1]),
            ("the vertical stride", shape.stride[0]),
            ("the horizontal stride", shape.stride[1]),
            ("the vertical dilation", shape.dilation[0]),
            ("the horizontal dilation", shape.dilation[1]),
        ])?;
        let Conv2dShape { in_channels, out_channels, groups, .. } = shape;
        if !in_channels.is_multiple_of(groups) || !out_channels.is_multiple_of(groups) {
            return Err(KernelError::Groups { groups, in_channels, out_channels });
        }
        let padded = padded(shape.input, shape.padding)?;
        let covers = [0, 1].map(|axis| covered(shape.kernel[axis], shape.dilation[axis]));
        shape.output = window_positions("kernel", covers, padded, shape.stride)?;

        images("the input image", [1, in_channels, shape.input[0], shape.input[1]])?;
        images("the output image", [1, out_channels, shape.output[0], shape.output[1]])?;
        images("the weight array", shape.weight_dim())?;
        Ok(shape)
    }
}

/// Where one kernel element meets the image along one axis; see [`Conv2dShape::reach`].
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    /// The output positions at which the element lies on the image, not on the padding.
    pub(crate) outputs: Range<usize>,
    /// The input position under it at `outputs.start`; each further output position is `stride` further.
    pub(crate) first: usize,
    /// The stride along this axis.
    pub(crate) stride: usize,
}

impl Reach {
    /// The input position under the element at output position `output`; `None` on the padding.
    pub(crate) fn input(&self, output: usize) -> Option<usize> {
        self.outputs.contains(&output).then(|| self.first + (output - self.outputs.start) * self.stride)
    }

    /// The output position at which the element lies on input position `input`; `None` where it skips that.
    pub(crate) fn output(&self, input: usize) -> Option<usize> {
        let ahead = input.checked_sub(self.first)?;
        let (steps, between) = if self.stride == 1 { (ahead, 0) } else { (ahead / self.stride, ahead % self.stride) };
        let output = self.outputs.start + steps;
        (between == 0 && self.outputs.contains(&output)).then_some(output)
    }

    /// The part of the output positions `run` that lies on the image, and the input position where it starts;
    /// `None` if there is none.
    pub(crate) fn within(&self, run: &Range<usize>) -> Option<(Range<usize>, usize)> {
        let start = run.start.max(self.outputs.start);
        let end = run.end.min(self.outputs.end);
        (start < end).then(|| (start..end, self.first + (start - self.outputs.start) * self.stride))
    }
}

/// Positions of a sliding window along both axes, or why there are none.
pub(crate) fn window_positions(
    what: &'static str,
    covers: [usize; 2],
    input: [usize; 2],
    stride: [usize; 2],
) -> Result<[usize; 2], KernelError> {
    if covers[0] > input[0] || covers[1] > input[1] {
        return Err(KernelError::WindowTooLarge { what, covers, input });
    }
    Ok([0, 1].map(|axis| (input[axis] - covers[axis]) / stride[axis] + 1))
}

/// Refuses the first size that is zero.
pub(crate) fn non_zero<const N: usize>(sizes: [(&'static str, usize); N]) -> Result<(), KernelError> {
    match sizes.into_iter().find(|(_, size)| *size == 0) {
        Some((what, _)) => Err(KernelError::Zero { what }),
        None => Ok(()),
    }
}

/// Hands `dim` back if an array with these dimensions can exist.
pub(crate) fn images(what: &'static str, dim: [usize; 4]) -> Result<[usize; 4], KernelError> {
    let len = dim.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
    match len {
        Some(len) if len <= MAX_ELEMENTS => Ok(dim),
        _ => Err(KernelError::TooLarge { what }),
    }
}

/// Refuses a slice that does not hold exactly `dim`; `axes` names them, as in `"(N, C, H, W)"`.
pub(crate) fn expect_len(what: &'static str, axes: &'static str, dim: &[usize], got: usize) -> Result<(), KernelError> {
    let expected = dim.iter().product();
    if got == expected {
        return Ok(());
    }
    let sizes = dim.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let sizes = if dim.len() == 1 { format!("({sizes},)") } else { format!("({sizes})") };
    Err(KernelError::Length { what, expected, got, layout: format!("{axes} = {sizes}") })
}

/// Positions from the first to the last element of a dilated kernel along one axis, both included.
fn covered(kernel: usize, dilation: usize) -> usize {
    kernel.saturating_sub(1).saturating_mul(dilation).saturating_add(1)
}

/// Rows and columns of the padded input.
fn padded(input: [usize; 2], padding: Padding) -> Result<[usize; 2], KernelError> {
    let Padding { top, bottom, left, right } = padding;
    let sum = |sizes: [usize; 3]| {
        let total = sizes.iter().try_fold(0usize, |total, &size| total.checked_add(size));
        total.filter(|&total| total <= MAX_ELEMENTS).ok_or(KernelError::TooLarge { what: "the padded input" })
    };
    Ok([sum([input[0], top, bottom])?, sum([input[1], left, right])?])
}
