//! The contract of a layer.

use std::{any::Any, fmt::Debug};

use conv_kernels::{PackFor, Scalar};
use ndarray::{ArrayView, ArrayViewMut, Dimension};

use crate::{
    LayerError, TensorSpec,
    random::{Key, Stream},
};

/// One differentiable step of a network: `y = f(x; θ)`, and the way back.
///
/// A layer is a *formula with sizes*: it holds no weights, no activations, no gradients. Those are arguments, so one layer
/// serves many threads, and looking inside means reading what the caller owns. Batches come first: `x` is `(N, …)`.
///
/// Every view that a layer is handed is in standard (C) layout, and every shape has been checked against
/// [`output_shape`](Layer::output_shape) before: the two passes return no `Result`.
///
/// A layer of one's own, `y = x·θ` with one learnt factor:
///
/// ```
/// use layers::{Layer, LayerError, Pass, Phase, Scalar, Solo, State, TensorSpec, random::Stream};
/// use ndarray::{ArrayView2, ArrayViewMut2, Ix2, array};
///
/// #[derive(Debug)]
/// struct Scale;
///
/// impl<T: Scalar> Layer<T> for Scale {
///     type In = Ix2;
///     type Out = Ix2;
///     type Memo = ();
///     fn kind(&self) -> &'static str {
///         "scale"
///     }
///     fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
///         Ok(input.to_vec())
///     }
///     fn params(&self) -> Vec<TensorSpec> {
///         vec![TensorSpec::weight("weight", &[1])]
///     }
///     fn init(&self, params: &mut [T], _: &mut Stream) {
///         params[0] = T::of(3.0);
///     }
///     fn memo(&self, _: &Ix2) {}
///     fn forward(&self, state: State<'_, T>, x: ArrayView2<'_, T>, mut y: ArrayViewMut2<'_, T>, (): &mut (), _: Phase<'_>) {
///         y.zip_mut_with(&x, |y, &x| *y = x * state.params[0]);
///     }
///     fn backward(&self, state: State<'_, T>, pass: Pass<'_, T, Self>, dx: Option<ArrayViewMut2<'_, T>>, grads: &mut [T]) {
///         grads[0] += (&pass.x * &pass.dy).sum();
///         if let Some(mut dx) = dx {
///             dx.zip_mut_with(&pass.dy, |dx, &dy| *dx = dy * state.params[0]);
///         }
///     }
/// }
///
/// let mut scale = Solo::<f64, _>::new(Scale, &[2], 0)?;
/// assert_eq!(scale.forward(&array![[1.0, 2.0]])?, array![[3.0, 6.0]]);
/// assert_eq!(scale.backward(&array![[1.0, 1.0]])?, array![[3.0, 3.0]]);
/// assert_eq!(scale.grads().tensor("weight")?[0], 3.0);
/// # Ok::<(), layers::LayerError>(())
/// ```
pub trait Layer<T: Scalar>: Debug + Send + Sync + 'static {
    /// Rank of an input batch: `Ix4` for images `(N, C, H, W)`, `Ix2` for vectors `(N, F)`.
    type In: Dimension;
    /// Rank of an output batch.
    type Out: Dimension;
    /// What [`backward`](Layer::backward) needs besides `x` and `y`: the winners of a max-pooling, a dropout mask, scratch.
    type Memo: Debug + Send + Sync + 'static;

    /// What it is called when nobody gives it a name: `conv`, `fc`, `pool`, … (a number is appended).
    fn kind(&self) -> &'static str;

    /// One line for a summary: `"20 maps 5x5, relu"`.
    fn describe(&self) -> String {
        String::new()
    }

    /// Everything that decides what the layer computes, besides its kind and its parameters: what must be the same for a resumed
    /// run to be the same run. [`describe`](Layer::describe) unless that leaves something out.
    ///
    /// ```
    /// use layers::{BatchNorm2d, Layer};
    /// let norm = BatchNorm2d::new([20, 12, 12]).momentum(0.2).build()?;
    /// assert_eq!(Layer::<f32>::describe(&norm), "20 channels");
    /// assert_eq!(Layer::<f32>::settings(&norm), "20 channels, epsilon 1e-5, momentum 0.2");
    /// # Ok::<(), layers::LayerError>(())
    /// ```
    fn settings(&self) -> String {
        self.describe()
    }

    /// The shape of one sample's output, given the shape of one sample's input (no batch axis).
    ///
    /// # Errors
    /// [`LayerError::InputShape`] when the layer was not made for such an input.
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError>;

    /// What is learnt, in order. The passes receive these tensors as one slice, laid out as
    /// [`Layout::new`](crate::Layout::new) does; [`split`](crate::split) cuts it.
    fn params(&self) -> Vec<TensorSpec> {
        Vec::new()
    }

    /// Writes the starting values of the parameters.
    fn init(&self, params: &mut [T], stream: &mut Stream) {
        let _ = (params, stream);
    }

    /// What training changes besides parameters, such as running statistics.
    fn buffers(&self) -> Vec<TensorSpec> {
        Vec::new()
    }

    /// Writes the starting values of the buffers.
    fn init_buffers(&self, buffers: &mut [T]) {
        let _ = buffers;
    }

    /// Whether samples pass through alone, or as a batch.
    fn scope(&self) -> Scope {
        Scope::Sample
    }

    /// Samples that it computes at once, if it gets as many: a network sends small samples through it so many at a time, or
    /// more. 1 where that makes no difference.
    fn at_once(&self) -> usize {
        1
    }

    /// Multiply-adds of the definition, forward, for one sample of that shape.
    fn macs(&self, input: &[usize]) -> u64 {
        let _ = input;
        0
    }

    /// Tells the layer its name in the network, which keys its random numbers.
    fn attach(&mut self, name: &str) {
        let _ = name;
    }

    /// This layer and the next one as a single layer, if that is faster. Networks compute with it, unless they are to be looked
    /// into.
    ///
    /// `next` is a layer, to be downcast. The single layer has the parameters and buffers of the two, in that order, the
    /// multiply-adds of both, and gives the bits that the two give one after the other, wherever these are finite.
    fn fuse(&self, next: &dyn Any) -> Option<Self>
    where
        Self: Sized,
    {
        let _ = next;
        None
    }

    /// The length of [`State::packed`]: none for layers that read their parameters as they are.
    fn packed_len(&self, passes: PackFor) -> usize {
        let _ = passes;
        0
    }

    /// Puts the parameters into the order in which the passes read them: once, when they have changed, for all lanes of a
    /// batch. `packed` has the length that [`packed_len`](Layer::packed_len) says.
    fn pack(&self, passes: PackFor, params: &[T], packed: &mut [T]) {
        let _ = (passes, params, packed);
    }

    /// Room for a batch of that shape and for any smaller one.
    fn memo(&self, input: &Self::In) -> Self::Memo;

    /// `y = f(x)`; overwrites all of `y`.
    fn forward(
        &self,
        state: State<'_, T>,
        x: ArrayView<'_, T, Self::In>,
        y: ArrayViewMut<'_, T, Self::Out>,
        memo: &mut Self::Memo,
        phase: Phase<'_>,
    );

    /// `dx = ∂C/∂x` (overwritten; `None` for a first layer, which needs none) and `grads += ∂C/∂θ`, given `dy = ∂C/∂y` and
    /// what the forward pass left.
    #[doc(alias = "propagate_backward")]
    fn backward(
        &self,
        state: State<'_, T>,
        pass: Pass<'_, T, Self>,
        dx: Option<ArrayViewMut<'_, T, Self::In>>,
        grads: &mut [T],
    ) where
        Self: Sized;

    /// Takes over what a training step learnt besides gradients: the last forward pass's memo becomes buffers.
    fn commit(&self, memo: &Self::Memo, buffers: &mut [T]) {
        let _ = (memo, buffers);
    }
}

/// What a layer has: parameters and buffers, each laid out as its specs say, and what it made of the parameters.
#[derive(Clone, Copy, Debug)]
pub struct State<'a, T> {
    /// The tensors of [`Layer::params`].
    pub params: &'a [T],
    /// The tensors of [`Layer::buffers`].
    pub buffers: &'a [T],
    /// What [`Layer::pack`] made of `params`, or empty: then a pass makes it for itself.
    pub packed: &'a [T],
}

impl<'a, T> State<'a, T> {
    /// Parameters and buffers, nothing packed.
    #[must_use]
    pub fn new(params: &'a [T], buffers: &'a [T]) -> Self {
        Self { params, buffers, packed: &[] }
    }
}

/// What one forward pass left for the backward pass.
#[derive(Debug)]
pub struct Pass<'a, T: Scalar, L: Layer<T>> {
    /// The input.
    pub x: ArrayView<'a, T, L::In>,
    /// The output.
    pub y: ArrayView<'a, T, L::Out>,
    /// `∂C/∂y`. A layer may use it as working space: nobody reads it afterwards.
    pub dy: ArrayViewMut<'a, T, L::Out>,
    /// What forward remembered.
    pub memo: &'a mut L::Memo,
}

/// Why the forward pass is run.
#[derive(Clone, Copy, Debug)]
pub enum Phase<'a> {
    /// For learning: dropout drops, batch statistics are used.
    Train {
        /// The root of all random numbers of the run.
        key: Key,
        /// The epoch, from 0.
        epoch: u64,
        /// The number of each sample of the batch in its data set: masks belong to samples, not to places in a batch.
        samples: &'a [u64],
    },
    /// For use.
    Infer,
}

/// Whether samples pass through a layer alone or as a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each sample's output depends on that sample alone: a batch may be cut, and its parts run side by side.
    Sample,
    /// To learn, the layer wants the whole batch: because samples meet (batch normalization), or because one large product is
    /// faster. In use ([`Phase::Infer`], no gradients) each sample's output depends on that sample alone.
    BatchToLearn,
    /// The layer always wants the whole batch.
    Batch,
}
