//! An activation function as a layer of its own.

use std::marker::PhantomData;

use conv_kernels::{Activation, Scalar};
use ndarray::{ArrayView, ArrayViewMut, Dimension};

use crate::{
    Layer, LayerError, Pass, Phase, State,
    views::{elements, elements_mut, expect_rank},
};

/// `y = σ(x)`, element by element, for batches of rank `D`: `Ix4` images or `Ix2` vectors.
///
/// [`Conv2d`](crate::Conv2d), [`Dense`](crate::Dense) and [`BatchNorm2d`](crate::BatchNorm2d) carry an activation of their own, as
/// the article's classes do; this one is for after layers that do not, such as pooling.
///
/// ```
/// use layers::{Activate, Activation, Solo};
/// use ndarray::{Ix2, array};
///
/// let mut relu = Solo::<f64, _>::new(Activate::<Ix2>::new(Activation::Relu), &[2], 0)?;
/// assert_eq!(relu.forward(&array![[-1.0, 2.0]])?, array![[0.0, 2.0]]);
/// assert_eq!(relu.backward(&array![[5.0, 5.0]])?, array![[0.0, 5.0]]);
/// # Ok::<(), layers::LayerError>(())
/// ```
#[derive(Clone, Debug)]
#[doc(alias("ReLU", "sigmoid"))]
pub struct Activate<D> {
    activation: Activation,
    rank: PhantomData<D>,
}

impl<D: Dimension> Activate<D> {
    /// The layer that applies `activation`.
    #[must_use]
    pub fn new(activation: Activation) -> Self {
        Self { activation, rank: PhantomData }
    }
}

impl<T: Scalar, D: Dimension + 'static> Layer<T> for Activate<D> {
    type In = D;
    type Out = D;
    type Memo = ();

    fn kind(&self) -> &'static str {
        match self.activation {
            Activation::Identity => "identity",
            Activation::Sigmoid => "sigmoid",
            Activation::Tanh => "tanh",
            Activation::Relu => "relu",
            Activation::LeakyRelu { .. } => "leaky_relu",
        }
    }

    fn describe(&self) -> String {
        self.activation.to_string()
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
        expect_rank::<D>(input)?;
        self.activation.check()?;
        Ok(input.to_vec())
    }

    fn memo(&self, _: &D) {}

    fn forward(
        &self,
        _: State<'_, T>,
        x: ArrayView<'_, T, D>,
        mut y: ArrayViewMut<'_, T, D>,
        (): &mut (),
        _: Phase<'_>,
    ) {
        y.assign(&x);
        self.activation.apply(elements_mut(&mut y));
    }

    fn backward(&self, _: State<'_, T>, pass: Pass<'_, T, Self>, dx: Option<ArrayViewMut<'_, T, D>>, _: &mut [T]) {
        let Some(mut dx) = dx else { return };
        dx.assign(&pass.dy);
        self.activation.backprop(elements(&pass.y), elements_mut(&mut dx));
    }
}
