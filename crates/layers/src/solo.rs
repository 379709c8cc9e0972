//! One layer on its own.

use conv_kernels::Scalar;
use ndarray::{Array, ArrayRef, Dimension};

use crate::{Arena, Layer, LayerError, Layout, Pass, Phase, State, random::Key};

/// One layer with its parameters, the memory of its last pass, and its gradient: the article's classes.
///
/// It allocates, checks and copies; networks do none of that. For reading, testing and small experiments.
///
/// ```
/// use layers::{Activation, Conv2d, Solo};
/// use ndarray::array;
///
/// // the article's FeatureMap(input_data, (2, 2)), one image of one channel
/// let mut map = Solo::<f64, _>::new(Conv2d::new([1, 3, 3], 1, 2).activation(Activation::Sigmoid).build()?, &[1, 3, 3], 0)?;
/// let image = array![[[[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]]]];
/// let a = map.forward(&image)?;
/// assert_eq!(a.dim(), (1, 1, 2, 2));
/// let a_prev_gradient = map.backward(&array![[[[1.0, 0.0], [0.0, 0.0]]]])?;
/// assert_eq!(a_prev_gradient.dim(), (1, 1, 3, 3));
/// # Ok::<(), layers::LayerError>(())
/// ```
#[derive(Debug)]
#[doc(alias("FeatureMap", "MaxPoolingMap", "FullyConnectedLayer"))]
pub struct Solo<T: Scalar, L: Layer<T>> {
    layer: L,
    input: Vec<usize>,
    output: Vec<usize>,
    params: Arena<T>,
    buffers: Arena<T>,
    grads: Arena<T>,
    last: Option<Last<T, L>>,
}

/// What the last forward pass left.
#[derive(Debug)]
struct Last<T: Scalar, L: Layer<T>> {
    x: Array<T, L::In>,
    y: Array<T, L::Out>,
    memo: L::Memo,
}

impl<T: Scalar, L: Layer<T>> Solo<T, L> {
    /// The layer for samples of shape `input` (no batch axis), its parameters drawn from `seed`.
    ///
    /// # Errors
    /// [`LayerError::InputShape`] when the layer was not made for such an input.
    pub fn new(mut layer: L, input: &[usize], seed: u64) -> Result<Self, LayerError> {
        let output = layer.output_shape(input)?;
        if L::In::NDIM != Some(input.len() + 1) {
            let wants = format!("{} axes per sample", L::In::NDIM.unwrap_or(1) - 1);
            return Err(LayerError::InputShape { wants, got: input.to_vec() });
        }
        let name = layer.kind();
        layer.attach(name);
        let mut params = Arena::zeros(Layout::new(layer.params()));
        layer.init(params.values_mut(), &mut Key::new(seed).stream("init", name, 0, 0));
        let mut buffers = Arena::zeros(Layout::new(layer.buffers()));
        layer.init_buffers(buffers.values_mut());
        let grads = Arena::zeros(params.layout().clone());
        Ok(Self { layer, input: input.to_vec(), output, params, buffers, grads, last: None })
    }

    /// The layer.
    pub fn layer(&self) -> &L {
        &self.layer
    }

    /// The parameters, by name.
    pub fn params(&self) -> &Arena<T> {
        &self.params
    }

    /// The parameters, for writing.
    pub fn params_mut(&mut self) -> &mut Arena<T> {
        &mut self.params
    }

    /// The buffers (running statistics), by name.
    pub fn buffers(&self) -> &Arena<T> {
        &self.buffers
    }

    /// The buffers, for writing.
    pub fn buffers_mut(&mut self) -> &mut Arena<T> {
        &mut self.buffers
    }

    /// What the last forward pass remembered, such as the positions of the winners of a max-pooling.
    pub fn memo(&self) -> Option<&L::Memo> {
        self.last.as_ref().map(|last| &last.memo)
    }

    /// The sum of the gradients of all backward passes since [`clear_grads`](Self::clear_grads).
    pub fn grads(&self) -> &Arena<T> {
        &self.grads
    }

    /// Sets the gradients to zero.
    pub fn clear_grads(&mut self) {
        self.grads.values_mut().fill(T::ZERO);
    }

    /// θ ← θ − step_size · ∂C/∂θ, as the article's classes do at the end of `propagate_backward`; then clears the gradients.
    pub fn descend(&mut self, step_size: T) {
        let grads = self.grads.values();
        for (param, &grad) in self.params.values_mut().iter_mut().zip(grads) {
            *param -= step_size * grad;
        }
        self.clear_grads();
    }

    /// The forward pass over a batch, for use: `(N, …)` to `(N, …)`.
    ///
    /// # Errors
    /// [`LayerError::ArrayShape`] when a sample has another shape than the layer was made for.
    #[doc(alias = "feed_forward")]
    pub fn forward(&mut self, x: &ArrayRef<T, L::In>) -> Result<Array<T, L::Out>, LayerError> {
        self.forward_in(x, Phase::Infer)
    }

    /// The forward pass in a given phase. In [`Phase::Train`] the buffers are updated.
    ///
    /// # Errors
    /// [`LayerError::ArrayShape`] when a sample has another shape than the layer was made for, or when the phase names
    /// another number of samples.
    pub fn forward_in(&mut self, x: &ArrayRef<T, L::In>, phase: Phase<'_>) -> Result<Array<T, L::Out>, LayerError> {
        let batch = x.shape().first().copied().unwrap_or(0);
        check("the input", x.shape(), batch, &self.input)?;
        if let Phase::Train { samples, .. } = phase {
            check("the list of sample numbers", &[samples.len()], batch, &[])?;
        }
        let x = x.as_standard_layout().into_owned();
        let mut y = Array::zeros(with_batch::<L::Out>(batch, &self.output));
        let mut memo = self.layer.memo(&x.raw_dim());
        let state = State::new(self.params.values(), self.buffers.values());
        self.layer.forward(state, x.view(), y.view_mut(), &mut memo, phase);
        if matches!(phase, Phase::Train { .. }) {
            self.layer.commit(&memo, self.buffers.values_mut());
        }
        self.last = Some(Last { x, y: y.clone(), memo });
        Ok(y)
    }

    /// The backward pass through the last forward pass: returns `∂C/∂x`, adds `∂C/∂θ` to [`grads`](Self::grads).
    ///
    /// # Errors
    /// [`LayerError::NoForward`] before any forward pass; [`LayerError::ArrayShape`] when `dy` has not the shape of its output.
    #[doc(alias = "propagate_backward")]
    pub fn backward(&mut self, dy: &ArrayRef<T, L::Out>) -> Result<Array<T, L::In>, LayerError> {
        let last = self.last.as_mut().ok_or(LayerError::NoForward)?;
        check("the gradient", dy.shape(), last.y.shape()[0], &self.output)?;
        let mut dy = dy.as_standard_layout().into_owned();
        let mut dx = Array::zeros(last.x.raw_dim());
        let state = State::new(self.params.values(), self.buffers.values());
        let pass = Pass { x: last.x.view(), y: last.y.view(), dy: dy.view_mut(), memo: &mut last.memo };
        self.layer.backward(state, pass, Some(dx.view_mut()), self.grads.values_mut());
        Ok(dx)
    }
}

/// `(batch, …shape)`; the ranks agree since [`Solo::new`].
fn with_batch<D: Dimension>(batch: usize, shape: &[usize]) -> D {
    let mut dim = D::zeros(shape.len() + 1);
    dim[0] = batch;
    for (axis, &len) in shape.iter().enumerate() {
        dim[axis + 1] = len;
    }
    dim
}

fn check(what: &str, got: &[usize], batch: usize, sample: &[usize]) -> Result<(), LayerError> {
    let mut expected = vec![batch];
    expected.extend(sample);
    if got == expected {
        Ok(())
    } else {
        Err(LayerError::ArrayShape { what: what.into(), expected, got: got.to_vec() })
    }
}
