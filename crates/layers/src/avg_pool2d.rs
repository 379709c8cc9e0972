//! Average pooling.

use conv_kernels::{Pool2dShape, Scalar, avg_pool2d, avg_pool2d_backward};
use ndarray::{ArrayView4, ArrayViewMut4, Ix4};

use crate::{
    Layer, LayerError, Pass, Phase, Pool2dBuilder, Size, State, pool2d,
    views::{elements, elements_mut},
};

const CHECKED: &str = "the shapes were checked when the layer was built and the batch entered";

/// The mean of each window: `(N, C, H, W)` to `(N, C, OH, OW)`.
///
/// Backward gives every pixel of a window an equal share of its gradient; overlapping windows add.
///
/// ```
/// use layers::{AvgPool2d, Solo};
/// use ndarray::array;
///
/// let mut pool = Solo::<f64, _>::new(AvgPool2d::new([1, 2, 2], 2).build()?, &[1, 2, 2], 0)?;
/// assert_eq!(pool.forward(&array![[[[1.0, 2.0], [3.0, 6.0]]]])?, array![[[[3.0]]]]);
/// assert_eq!(pool.backward(&array![[[[1.0]]]])?, array![[[[0.25, 0.25], [0.25, 0.25]]]]);
/// # Ok::<(), layers::LayerError>(())
/// ```
#[derive(Clone, Debug)]
pub struct AvgPool2d {
    shape: Pool2dShape,
}

impl AvgPool2d {
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

impl From<Pool2dShape> for AvgPool2d {
    fn from(shape: Pool2dShape) -> Self {
        Self { shape }
    }
}

impl<T: Scalar> Layer<T> for AvgPool2d {
    type In = Ix4;
    type Out = Ix4;
    type Memo = ();

    fn kind(&self) -> &'static str {
        "pool"
    }

    fn describe(&self) -> String {
        pool2d::describe("average", &self.shape)
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
        pool2d::output_shape(&self.shape, input)
    }

    fn memo(&self, _: &Ix4) {}

    fn forward(&self, _: State<'_, T>, x: ArrayView4<'_, T>, mut y: ArrayViewMut4<'_, T>, (): &mut (), _: Phase<'_>) {
        avg_pool2d(&self.shape, x.dim().0, elements(&x), elements_mut(&mut y)).expect(CHECKED);
    }

    fn backward(&self, _: State<'_, T>, mut pass: Pass<'_, T, Self>, dx: Option<ArrayViewMut4<'_, T>>, _: &mut [T]) {
        let Some(mut dx) = dx else { return };
        let dy = elements_mut(&mut pass.dy);
        avg_pool2d_backward(&self.shape, pass.x.dim().0, dy, elements_mut(&mut dx)).expect(CHECKED);
    }
}
