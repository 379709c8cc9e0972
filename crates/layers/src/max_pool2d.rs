//! Max pooling.

use conv_kernels::{Pool2dShape, Scalar, max_pool2d, max_pool2d_backward};
use ndarray::{ArrayView4, ArrayViewMut4, Ix4};

use crate::{
    Layer, LayerError, Pass, Phase, Pool2dBuilder, Size, State, pool2d,
    views::{elements, elements_mut},
};

const CHECKED: &str = "the shapes were checked when the layer was built and the batch entered";

/// The largest value of each window: `(N, C, H, W)` to `(N, C, OH, OW)`.
///
/// Backward gives each gradient to the pixel that won; overlapping windows add. Of equal values the first in row-major order
/// wins; NaN wins over everything.
///
/// Source: "Convolutional Neural Networks: An Intuitive Primer", section "Max Pooling", where the window slides by one
/// (`.stride(1)`); the usual step, and the default, is the size of the window.
///
/// ```
/// use layers::{MaxPool2d, Solo};
/// use ndarray::array;
///
/// // the article's diagram
/// let mut pool = Solo::<f64, _>::new(MaxPool2d::new([1, 3, 3], 2).stride(1).build()?, &[1, 3, 3], 0)?;
/// let a = pool.forward(&array![[[[-0.7, -0.2, -0.6], [0.3, -0.6, 0.1], [0.3, 0.5, 0.2]]]])?;
/// assert_eq!(a, array![[[[0.3, 0.1], [0.5, 0.5]]]]);
/// assert_eq!(pool.memo(), Some(&vec![3, 5, 7, 7])); // where in the plane
/// # Ok::<(), layers::LayerError>(())
/// ```
#[derive(Clone, Debug)]
#[doc(alias("MaxPoolingMap", "max_positions"))]
pub struct MaxPool2d {
    shape: Pool2dShape,
}

impl MaxPool2d {
    /// Windows over images of shape `input` = `(C, H, W)`; `window` is a side, or `[height, width]`.
    pub fn new(input: [usize; 3], window: impl Into<Size>) -> Pool2dBuilder<Self> {
        Pool2dBuilder::new(input, window.into())
    }

    /// The geometry.
    #[must_use]
    pub fn shape(&self) -> &Pool2dShape {
        &self.shape
    }
}

impl From<Pool2dShape> for MaxPool2d {
    fn from(shape: Pool2dShape) -> Self {
        Self { shape }
    }
}

impl<T: Scalar> Layer<T> for MaxPool2d {
    type In = Ix4;
    type Out = Ix4;
    /// For each output, the row-major place of the winner in its plane of H·W pixels.
    type Memo = Vec<u32>;

    fn kind(&self) -> &'static str {
        "pool"
    }

    fn describe(&self) -> String {
        pool2d::describe("max", &self.shape)
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
        pool2d::output_shape(&self.shape, input)
    }

    fn memo(&self, input: &Ix4) -> Vec<u32> {
        vec![0; input[0] * self.shape.output_len()]
    }

    fn forward(
        &self,
        _: State<'_, T>,
        x: ArrayView4<'_, T>,
        mut y: ArrayViewMut4<'_, T>,
        positions: &mut Vec<u32>,
        _: Phase<'_>,
    ) {
        let positions = &mut positions[..y.len()];
        max_pool2d(&self.shape, x.dim().0, elements(&x), elements_mut(&mut y), positions).expect(CHECKED);
    }

    fn backward(&self, _: State<'_, T>, mut pass: Pass<'_, T, Self>, dx: Option<ArrayViewMut4<'_, T>>, _: &mut [T]) {
        let Some(mut dx) = dx else { return };
        let positions = &pass.memo[..pass.dy.len()];
        let dy = elements_mut(&mut pass.dy);
        max_pool2d_backward(&self.shape, pass.x.dim().0, dy, positions, elements_mut(&mut dx)).expect(CHECKED);
    }
}
