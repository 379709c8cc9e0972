//! Room for a batch on its way through a network.

use std::{fmt, sync::Arc};

use layers::{Arena, Layout, Scalar};
use ndarray::{ArrayD, ArrayView2, IxDyn};

use crate::{
    NetError, Sequential,
    erased::{Erased, ErasedMemo, Shape},
    sequential::{Segment, Stage},
};

/// At most this many gradient buffers a segment: lanes that share one add to it in order.
const GRADIENT_BUFFERS: usize = 16;

/// Activations, gradients and everything else that a pass through a network needs, made once for a largest batch: any batch
/// up to it fits, and no pass allocates.
///
/// Made by [`Sequential::workspace`] (for learning) and [`Sequential::inference_workspace`] (for use).
pub struct Workspace<T: Scalar> {
    pub(crate) capacity: usize,
    /// Samples of the last forward pass.
    pub(crate) count: usize,
    pub(crate) spaces: Vec<Space<T>>,
    /// The outputs `(N, K)` of the last forward pass.
    pub(crate) outputs: Vec<T>,
    /// `∂C/∂outputs`.
    pub(crate) output_gradient: Vec<T>,
    /// What each byte becomes, for each channel.
    pub(crate) tables: Vec<T>,
    pub(crate) grads: Arena<T>,
    pub(crate) learns: bool,
    layers: Vec<Arc<dyn Erased<T>>>,
}

/// Room for one segment.
pub(crate) struct Space<T> {
    /// Samples in a full lane.
    pub(crate) per_lane: usize,
    pub(crate) lanes: Vec<Lane<T>>,
    /// Gradients of the segment's parameters, summed over the lanes that share a buffer.
    pub(crate) grads: Vec<Vec<T>>,
}

/// Some samples of the batch, on their way through one segment.
pub(crate) struct Lane<T> {
    pub(crate) count: usize,
    pub(crate) samples: Vec<u64>,
    /// The segment's input, then each layer's output.
    pub(crate) values: Vec<Vec<T>>,
    /// `∂C/∂values`.
    pub(crate) diffs: Vec<Vec<T>>,
    pub(crate) memos: Vec<ErasedMemo>,
}

impl<T: Scalar> Sequential<T> {
    /// Room for learning from batches of up to `batch` samples.
    #[must_use]
    pub fn workspace(&self, batch: usize) -> Workspace<T> {
        self.room(batch, true)
    }

    /// Room for using the network on up to `batch` samples at once: no gradients.
    #[must_use]
    pub fn inference_workspace(&self, batch: usize) -> Workspace<T> {
        self.room(batch, false)
    }

    fn room(&self, batch: usize, learns: bool) -> Workspace<T> {
        let capacity = batch.max(1);
        let outputs = vec![T::ZERO; capacity * self.outputs()];
        let layout = if learns { Arc::clone(self.params.layout()) } else { Arc::new(Layout::default()) };
        Workspace {
            capacity,
            count: 0,
            spaces: self.segments.iter().map(|segment| Space::new(&self.stages, segment, capacity, learns)).collect(),
            output_gradient: if learns { outputs.clone() } else { Vec::new() },
            outputs,
            tables: if self.input.len() == 3 { self.scaling.tables(self.input[0]) } else { Vec::new() },
            grads: Arena::zeros(layout),
            learns,
            layers: self.stages.iter().map(|stage| Arc::clone(&stage.layer)).collect(),
        }
    }

    /// The output of a layer in the last forward pass, `(N, …)`: looking inside.
    ///
    /// # Errors
    /// [`NetError::Data`] when the network has no layer of that name, or the workspace belongs to another network.
    ///
    /// ```
    /// use net::{Images, Sequential};
    /// use ndarray::Array4;
    /// let net = Sequential::builder([1, 28, 28]).conv2d(20, 5).max_pool2d(2).dense(10).build(0)?;
    /// let mut workspace = net.inference_workspace(2);
    /// let digits = Array4::<u8>::zeros((2, 1, 28, 28));
    /// net.infer(&mut workspace, &Images::from(digits.view()))?;
    /// assert_eq!(net.activation(&workspace, "pool1")?.shape(), [2, 20, 12, 12]);
    /// # Ok::<(), net::NetError>(())
    /// ```
    pub fn activation(&self, workspace: &Workspace<T>, layer: &str) -> Result<ArrayD<T>, NetError> {
        self.check_workspace(workspace)?;
        let unknown = || {
            let known = self.layer_names().collect::<Vec<_>>().join(", ");
            NetError::Data(format!("no layer is called `{layer}`; there are: {known}"))
        };
        let index = self.stages.iter().position(|stage| stage.name == layer).ok_or_else(unknown)?;
        let segment = self.segments.iter().position(|s| s.stages.contains(&index)).ok_or_else(unknown)?;
        let (stage, space) = (&self.stages[index], &workspace.spaces[segment]);
        let place = index - self.segments[segment].stages.start + 1;
        let len: usize = stage.output.iter().product();
        let values = (0..workspace.count).flat_map(|image| space.sample(image, place, len).iter().copied()).collect();
        let shape: Vec<usize> = [workspace.count].iter().chain(&stage.output).copied().collect();
        Ok(ArrayD::from_shape_vec(IxDyn(&shape), values).expect("as many values as samples times their length"))
    }

    /// Whether a workspace was made by this network (or by one that it was cloned from).
    pub(crate) fn check_workspace(&self, workspace: &Workspace<T>) -> Result<(), NetError> {
        let same = workspace.layers.len() == self.stages.len()
            && workspace.layers.iter().zip(&self.stages).all(|(layer, stage)| Arc::ptr_eq(layer, &stage.layer));
        if same {
            Ok(())
        } else {
            Err(NetError::Data(
                "the workspace was made by another network; make one with this one's workspace()".into(),
            ))
        }
    }
}

impl<T: Scalar> Workspace<T> {
    /// The largest batch that fits.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The outputs `(N, K)` of the last forward pass.
    #[must_use]
    pub fn outputs(&self) -> ArrayView2<'_, T> {
        let width = self.outputs.len() / self.capacity;
        ArrayView2::from_shape((self.count, width), &self.outputs[..self.count * width])
            .expect("count is at most the capacity")
    }

    /// The gradient of the parameters from the last backward pass; empty in a workspace for inference.
    #[must_use]
    pub fn grads(&self) -> &Arena<T> {
        &self.grads
    }

    /// The gradient, for writing: to clip it, or to average it with others.
    pub fn grads_mut(&mut self) -> &mut Arena<T> {
        &mut self.grads
    }
}

impl<T: Scalar> Space<T> {
    fn new(stages: &[Stage<T>], segment: &Segment, capacity: usize, learns: bool) -> Self {
        let per_lane = segment.lane.unwrap_or(capacity);
        let count = capacity.div_ceil(per_lane);
        let first = segment.stages.start == 0;
        let stages = &stages[segment.stages.clone()];
        let lanes: Vec<_> = (0..count).map(|_| Lane::new(stages, per_lane.min(capacity), learns, first)).collect();
        let params: usize = stages.iter().map(|stage| stage.params.len()).sum();
        let buffers = if learns { lanes.len().min(GRADIENT_BUFFERS) } else { 0 };
        Self { per_lane, lanes, grads: vec![vec![T::ZERO; params]; buffers] }
    }

    /// How many lanes a batch of `count` samples takes.
    pub(crate) fn active(&self, count: usize) -> usize {
        count.div_ceil(self.per_lane)
    }

    /// The values of one sample of the batch at one place of the segment (0 is its input).
    pub(crate) fn sample(&self, image: usize, place: usize, len: usize) -> &[T] {
        let at = image % self.per_lane * len;
        &self.lanes[image / self.per_lane].values[place][at..at + len]
    }

    /// The gradient of one sample of the batch with respect to the segment's input.
    pub(crate) fn input_gradient(&self, image: usize, len: usize) -> &[T] {
        let at = image % self.per_lane * len;
        &self.lanes[image / self.per_lane].diffs[0][at..at + len]
    }
}

impl<T: Scalar> Lane<T> {
    fn new(stages: &[Stage<T>], capacity: usize, learns: bool, first: bool) -> Self {
        let room = |shape: &[usize]| vec![T::ZERO; capacity * shape.iter().product::<usize>()];
        let shapes =
            || stages.first().map(|stage| &stage.input).into_iter().chain(stages.iter().map(|stage| &stage.output));
        let diff = |(place, shape): (usize, &Vec<usize>)| {
            if learns && !(first && place == 0) { room(shape) } else { Vec::new() }
        };
        Self {
            count: 0,
            samples: vec![0; capacity],
            values: shapes().map(|shape| room(shape)).collect(),
            diffs: shapes().enumerate().map(diff).collect(),
            memos: stages
                .iter()
                .map(|stage| stage.layer.memo(Shape { count: capacity, sample: &stage.input }))
                .collect(),
        }
    }
}

impl<T: Scalar> fmt::Debug for Workspace<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace")
            .field("capacity", &self.capacity)
            .field("count", &self.count)
            .field("learns", &self.learns)
            .finish_non_exhaustive()
    }
}
