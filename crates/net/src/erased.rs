//! The erased twin of [`Layer`]: the only place where a layer's ranks and memo are forgotten.
//!
//! A batch is a flat slice and the shape of one sample. A layer of vectors (rank 2) also takes a batch of images, each
//! flattened: both are the same memory.

use std::{any::Any, fmt::Debug, sync::Arc};

use layers::{Layer, LayerError, PackFor, Pass, Phase, Scalar, Scope, State, TensorSpec, random::Stream};
use ndarray::{ArrayView, ArrayViewMut, Dimension};

/// A layer's memo, whatever its type.
pub(crate) type ErasedMemo = Box<dyn Any + Send + Sync>;

/// Invariants of every call: ranks and shapes are settled by [`Erased::output_shape`] when a network is built, and a memo is
/// only ever handed to the layer that made it.
const CHECKED: &str = "ranks, shapes and memos were settled when the network was built";

/// Some samples: how many, the shape of one, and their values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape<'a> {
    pub(crate) count: usize,
    pub(crate) sample: &'a [usize],
}

impl Shape<'_> {
    /// As a layer of rank `D` sees it.
    fn dim<D: Dimension>(self) -> D {
        let mut dim = D::zeros(D::NDIM.unwrap_or(self.sample.len() + 1));
        dim[0] = self.count;
        if dim.ndim() == 2 {
            dim[1] = self.sample.iter().product();
        } else {
            dim.slice_mut()[1..].copy_from_slice(self.sample);
        }
        dim
    }

    fn view<'v, T, D: Dimension>(self, values: &'v [T]) -> ArrayView<'v, T, D> {
        ArrayView::from_shape(self.dim::<D>(), values).expect(CHECKED)
    }

    fn view_mut<'v, T, D: Dimension>(self, values: &'v mut [T]) -> ArrayViewMut<'v, T, D> {
        ArrayViewMut::from_shape(self.dim::<D>(), values).expect(CHECKED)
    }
}

/// What the forward pass left, and the gradient that comes back.
pub(crate) struct ErasedPass<'a, T> {
    pub(crate) x: &'a [T],
    pub(crate) y: &'a [T],
    pub(crate) dy: &'a mut [T],
    pub(crate) memo: &'a mut ErasedMemo,
}

/// [`Layer`] without its types; see there for what each method means.
pub(crate) trait Erased<T: Scalar>: Debug + Send + Sync {
    fn kind(&self) -> &'static str;
    fn describe(&self) -> String;
    fn settings(&self) -> String;
    /// Checks rank and shape of a sample; the shape of its output.
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError>;
    fn params(&self) -> Vec<TensorSpec>;
    fn init(&self, params: &mut [T], stream: &mut Stream);
    fn buffers(&self) -> Vec<TensorSpec>;
    fn init_buffers(&self, buffers: &mut [T]);
    fn scope(&self) -> Scope;
    fn at_once(&self) -> usize;
    fn macs(&self, input: &[usize]) -> u64;
    fn attach(&mut self, name: &str);
    fn as_any(&self) -> &dyn Any;
    fn fuse(&self, next: &dyn Erased<T>) -> Option<Arc<dyn Erased<T>>>;
    fn packed_len(&self, passes: PackFor) -> usize;
    fn pack(&self, passes: PackFor, params: &[T], packed: &mut [T]);
    fn memo(&self, input: Shape<'_>) -> ErasedMemo;
    fn forward(
        &self,
        state: State<'_, T>,
        io: [Shape<'_>; 2],
        x: &[T],
        y: &mut [T],
        memo: &mut ErasedMemo,
        phase: Phase<'_>,
    );
    fn backward(
        &self,
        state: State<'_, T>,
        io: [Shape<'_>; 2],
        pass: ErasedPass<'_, T>,
        dx: Option<&mut [T]>,
        grads: &mut [T],
    );
    fn commit(&self, memo: &ErasedMemo, buffers: &mut [T]);
}

impl<T: Scalar, L: Layer<T>> Erased<T> for L {
    fn kind(&self) -> &'static str {
        Layer::kind(self)
    }

    fn describe(&self) -> String {
        Layer::describe(self)
    }

    fn settings(&self) -> String {
        Layer::settings(self)
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
        let rank = L::In::NDIM.unwrap_or(input.len() + 1);
        if rank != 2 && rank != input.len() + 1 {
            let wants = format!("samples with {} axes", rank - 1);
            return Err(LayerError::InputShape { wants, got: input.to_vec() });
        }
        let output = Layer::output_shape(self, input)?;
        let rank = L::Out::NDIM.unwrap_or(output.len() + 1);
        if rank != output.len() + 1 {
            let wants = format!("to give samples with {} axes, but says it gives {output:?}", rank - 1);
            return Err(LayerError::InputShape { wants, got: input.to_vec() });
        }
        Ok(output)
    }

    fn params(&self) -> Vec<TensorSpec> {
        Layer::params(self)
    }

    fn init(&self, params: &mut [T], stream: &mut Stream) {
        Layer::init(self, params, stream);
    }

    fn buffers(&self) -> Vec<TensorSpec> {
        Layer::buffers(self)
    }

    fn init_buffers(&self, buffers: &mut [T]) {
        Layer::init_buffers(self, buffers);
    }

    fn scope(&self) -> Scope {
        Layer::scope(self)
    }

    fn at_once(&self) -> usize {
        Layer::at_once(self)
    }

    fn macs(&self, input: &[usize]) -> u64 {
        Layer::macs(self, input)
    }

    fn attach(&mut self, name: &str) {
        Layer::attach(self, name);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn fuse(&self, next: &dyn Erased<T>) -> Option<Arc<dyn Erased<T>>> {
        Layer::fuse(self, next.as_any()).map(|both| Arc::new(both) as Arc<dyn Erased<T>>)
    }

    fn packed_len(&self, passes: PackFor) -> usize {
        Layer::packed_len(self, passes)
    }

    fn pack(&self, passes: PackFor, params: &[T], packed: &mut [T]) {
        Layer::pack(self, passes, params, packed);
    }

    fn memo(&self, input: Shape<'_>) -> ErasedMemo {
        Box::new(Layer::memo(self, &input.dim()))
    }

    fn forward(
        &self,
        state: State<'_, T>,
        [input, output]: [Shape<'_>; 2],
        x: &[T],
        y: &mut [T],
        memo: &mut ErasedMemo,
        phase: Phase<'_>,
    ) {
        let memo = memo.downcast_mut().expect(CHECKED);
        Layer::forward(self, state, input.view(x), output.view_mut(y), memo, phase);
    }

    fn backward(
        &self,
        state: State<'_, T>,
        [input, output]: [Shape<'_>; 2],
        pass: ErasedPass<'_, T>,
        dx: Option<&mut [T]>,
        grads: &mut [T],
    ) {
        let pass = Pass {
            x: input.view(pass.x),
            y: output.view(pass.y),
            dy: output.view_mut(pass.dy),
            memo: pass.memo.downcast_mut().expect(CHECKED),
        };
        Layer::backward(self, state, pass, dx.map(|dx| input.view_mut(dx)), grads);
    }

    fn commit(&self, memo: &ErasedMemo, buffers: &mut [T]) {
        Layer::commit(self, memo.downcast_ref().expect(CHECKED), buffers);
    }
}
