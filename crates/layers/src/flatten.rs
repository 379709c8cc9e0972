//! From images to vectors.

use conv_kernels::Scalar;
use ndarray::{ArrayView4, ArrayViewMut2, ArrayViewMut4, Ix2, Ix4};

use crate::{
    Layer, LayerError, Pass, Phase, State,
    views::{elements, elements_mut, expect_rank},
};

/// `(N, C, H, W)` to `(N, C·H·W)`: the same values in the same order.
///
/// ```
/// use layers::{Flatten, Solo};
/// use ndarray::array;
/// let mut flatten = Solo::<f64, _>::new(Flatten::new(), &[1, 2, 2], 0)?;
/// assert_eq!(flatten.forward(&array![[[[1.0, 2.0], [3.0, 4.0]]]])?, array![[1.0, 2.0, 3.0, 4.0]]);
/// # Ok::<(), layers::LayerError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[doc(alias = "as_col")]
pub struct Flatten;

impl Flatten {
    /// The layer.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl<T: Scalar> Layer<T> for Flatten {
    type In = Ix4;
    type Out = Ix2;
    type Memo = ();

    fn kind(&self) -> &'static str {
        "flatten"
    }

    fn describe(&self) -> String {
        "images to vectors".into()
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
        expect_rank::<Ix4>(input)?;
        Ok(vec![input.iter().product()])
    }

    fn memo(&self, _: &Ix4) {}

    fn forward(&self, _: State<'_, T>, x: ArrayView4<'_, T>, mut y: ArrayViewMut2<'_, T>, (): &mut (), _: Phase<'_>) {
        elements_mut(&mut y).copy_from_slice(elements(&x));
    }

    fn backward(&self, _: State<'_, T>, mut pass: Pass<'_, T, Self>, dx: Option<ArrayViewMut4<'_, T>>, _: &mut [T]) {
        if let Some(mut dx) = dx {
            elements_mut(&mut dx).copy_from_slice(elements_mut(&mut pass.dy));
        }
    }
}
