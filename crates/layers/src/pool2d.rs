//! What the two poolings have in common: their sizes.

use std::marker::PhantomData;

use conv_kernels::Pool2dShape;

use crate::{LayerError, Size, views::expect_sample};

/// Sizes of a [`MaxPool2d`](crate::MaxPool2d) or [`AvgPool2d`](crate::AvgPool2d), on their way to be checked.
///
/// ```
/// use layers::{Layer, MaxPool2d};
/// let usual = MaxPool2d::new([20, 24, 24], 2).build()?;
/// assert_eq!(Layer::<f32>::output_shape(&usual, &[20, 24, 24])?, [20, 12, 12]);
/// let of_the_article = MaxPool2d::new([1, 4, 5], 2).stride(1).build()?;
/// assert_eq!(Layer::<f32>::output_shape(&of_the_article, &[1, 4, 5])?, [1, 3, 4]);
/// # Ok::<(), layers::LayerError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "call `build` to make the layer"]
pub struct Pool2dBuilder<L> {
    input: [usize; 3],
    window: Size,
    stride: Option<Size>,
    layer: PhantomData<L>,
}

impl<L: From<Pool2dShape>> Pool2dBuilder<L> {
    pub(crate) fn new(input: [usize; 3], window: Size) -> Self {
        Self { input, window, stride: None, layer: PhantomData }
    }

    /// How far the window moves at each step (default: its own size, so that windows do not overlap).
    pub fn stride(self, stride: impl Into<Size>) -> Self {
        Self { stride: Some(stride.into()), ..self }
    }

    /// Checks the sizes.
    ///
    /// # Errors
    /// [`LayerError::Kernel`] when a size is zero or the window is larger than the input.
    pub fn build(self) -> Result<L, LayerError> {
        let [channels, height, width] = self.input;
        let stride = self.stride.unwrap_or(self.window);
        Ok(L::from(Pool2dShape::new(channels, [height, width], self.window.pair(), stride.pair())?))
    }
}

/// `"max 2x2"`, `"max 3x3, stride 1x1"`.
pub(crate) fn describe(what: &str, shape: &Pool2dShape) -> String {
    let window = Size::from(shape.window());
    if shape.stride() == shape.window() {
        return format!("{what} {window}");
    }
    format!("{what} {window}, stride {}", Size::from(shape.stride()))
}

/// The shape of one pooled sample, given the right input.
pub(crate) fn output_shape(shape: &Pool2dShape, input: &[usize]) -> Result<Vec<usize>, LayerError> {
    let [height, width] = shape.input();
    expect_sample(&[shape.channels(), height, width], input)?;
    let [out_height, out_width] = shape.output();
    Ok(vec![shape.channels(), out_height, out_width])
}
