//! Room for a batch on its way through a network.

use std::{fmt, sync::Arc};

use layers::{Arena, Layout, PackFor, Scalar};
use ndarray::{ArrayD, ArrayView2, IxDyn};

use crate::{
    NetError, Sequential,
    erased::{Erased, ErasedMemo, Shape},
    packed::Packed,
    sequential::{Route, Segment, Stage},
};

/// A batch has at least so many lanes, if it has as many samples.
const LANES: usize = 4;

/// At most this many gradient buffers a segment: lanes that share one add to it in order.
pub(crate) const GRADIENT_BUFFERS: usize = 16;

/// Activations, gradients and everything else that a pass through a network needs, made once for a largest batch: any batch
/// up to it fits, and no pass allocates.
///
/// Made by [`Sequential::workspace`] (for learning), [`Sequential::inference_workspace`] (for use) and
/// [`Sequential::open_workspace`] (for looking inside).
pub struct Workspace<T: Scalar> {
    pub(crate) capacity: usize,
    /// Samples of the last forward pass.
    pub(crate) count: usize,
    /// Every segment's inside.
    pub(crate) spaces: Vec<Space<T>>,
    /// What lies before, between and behind segments: of the whole batch.
    pub(crate) edges: Vec<Edge<T>>,
    /// What each byte becomes, for each channel.
    pub(crate) tables: Vec<T>,
    pub(crate) packed: Packed<T>,
    pub(crate) grads: Arena<T>,
    pub(crate) learns: bool,
    /// Whether every layer is computed apart.
    open: bool,
    layers: Vec<Arc<dyn Erased<T>>>,
}

/// Values of the whole batch, and their gradient.
pub(crate) struct Edge<T> {
    /// Of one sample.
    pub(crate) len: usize,
    pub(crate) values: Vec<T>,
    /// `∂C/∂values`; empty where nobody asks.
    pub(crate) diffs: Vec<T>,
}

/// Room for one segment.
pub(crate) struct Space<T> {
    /// Samples in a full lane of a large batch; none in segments that take a batch whole.
    most: Option<usize>,
    pub(crate) lanes: Vec<Lane<T>>,
    /// Gradients of the segment's parameters, summed over the lanes that share a buffer; none where all lanes share one.
    pub(crate) grads: Vec<Vec<T>>,
}

/// Some samples of the batch, on their way through one segment.
pub(crate) struct Lane<T> {
    pub(crate) count: usize,
    pub(crate) samples: Vec<u64>,
    /// Each layer's output but the last, which is an edge.
    pub(crate) values: Vec<Vec<T>>,
    /// `∂C/∂values`.
    pub(crate) diffs: Vec<Vec<T>>,
    pub(crate) memos: Vec<ErasedMemo>,
}

impl<T: Scalar> Sequential<T> {
    /// Room for learning from batches of up to `batch` samples.
    #[must_use]
    pub fn workspace(&self, batch: usize) -> Workspace<T> {
        self.room(batch, true, false)
    }

    /// Room for using the network on up to `batch` samples at once: no gradients.
    #[must_use]
    pub fn inference_workspace(&self, batch: usize) -> Workspace<T> {
        self.room(batch, false, false)
    }

    /// [`workspace`](Self::workspace) with every layer's output in it, for [`activation`](Self::activation): layers that are
    /// faster together, and leave no trace of what is between them, are computed apart. The bits are the same, but for the
    /// gradients of biases before a max pooling, which add up in another order.
    #[must_use]
    pub fn open_workspace(&self, batch: usize) -> Workspace<T> {
        self.room(batch, true, true)
    }

    fn room(&self, batch: usize, learns: bool, open: bool) -> Workspace<T> {
        let capacity = batch.max(1);
        let route = choose([open, learns], [&self.apart, &self.fused, &self.serving]);
        let layout = if learns { Arc::clone(self.params.layout()) } else { Arc::new(Layout::default()) };
        let passes = if learns { PackFor::Learning } else { PackFor::Forward };
        let shapes = route.segments.iter().map(|segment| &route.stages[segment.stages.end - 1].output);
        let edge = |(place, shape): (usize, &Vec<usize>)| {
            let len = shape.iter().product();
            let room = |wanted: bool| if wanted { vec![T::ZERO; capacity * len] } else { Vec::new() };
            Edge { len, values: room(true), diffs: room(learns && place > 0) }
        };
        Workspace {
            capacity,
            count: 0,
            spaces: route.segments.iter().map(|segment| Space::new(&route.stages, segment, capacity, learns)).collect(),
            edges: std::iter::once(&self.input).chain(shapes).enumerate().map(edge).collect(),
            tables: if self.input.len() == 3 { self.scaling.tables(self.input[0]) } else { Vec::new() },
            packed: Packed::new(&route.stages, passes),
            grads: Arena::zeros(layout),
            learns,
            open,
            layers: self.layers().iter().map(|stage| Arc::clone(&stage.layer)).collect(),
        }
    }

    /// The way that a batch takes in a workspace.
    pub(crate) fn route(&self, workspace: &Workspace<T>) -> &Route<T> {
        workspace.choose([&self.apart, &self.fused, &self.serving])
    }

    /// The output of a layer in the last forward pass, `(N, …)`: looking inside.
    ///
    /// # Errors
    /// [`NetError::Data`] when the network has no layer of that name, when the workspace belongs to another network, or when it is
    /// not [open](Self::open_workspace) and the layer is computed together with the next.
    ///
    /// ```
    /// use net::{Images, Sequential};
    /// use ndarray::Array4;
    /// let net = Sequential::builder([1, 28, 28]).conv2d(20, 5).max_pool2d(2).dense(10).build(0)?;
    /// let mut workspace = net.open_workspace(2);
    /// let digits = Array4::<u8>::zeros((2, 1, 28, 28));
    /// net.infer(&mut workspace, &Images::from(digits.view()))?;
    /// assert_eq!(net.activation(&workspace, "conv1")?.shape(), [2, 20, 24, 24]);
    /// # Ok::<(), net::NetError>(())
    /// ```
    pub fn activation(&self, workspace: &Workspace<T>, layer: &str) -> Result<ArrayD<T>, NetError> {
        self.check_workspace(workspace)?;
        let index = self.layers().iter().position(|stage| stage.name == layer).ok_or_else(|| {
            let known = self.layer_names().collect::<Vec<_>>().join(", ");
            NetError::Data(format!("no layer is called `{layer}`; there are: {known}"))
        })?;
        let route = self.route(workspace);
        let stage = route.stages.iter().position(|stage| stage.end == index + 1).ok_or_else(|| {
            NetError::Data(format!(
                "`{layer}` is computed together with the layer after it; to look inside, make the workspace with open_workspace()"
            ))
        })?;
        let shape: Vec<usize> = [workspace.count].iter().chain(&route.stages[stage].output).copied().collect();
        let values = workspace.outputs_of(route, stage).flatten().copied().collect();
        Ok(ArrayD::from_shape_vec(IxDyn(&shape), values).expect("as many values as samples times their length"))
    }

    /// Whether a workspace was made by this network (or by one that it was cloned from).
    pub(crate) fn check_workspace(&self, workspace: &Workspace<T>) -> Result<(), NetError> {
        let same = workspace.layers.len() == self.layers().len()
            && workspace.layers.iter().zip(self.layers()).all(|(layer, stage)| Arc::ptr_eq(layer, &stage.layer));
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
    /// The one that is for it: layers apart, fused to learn, or fused for use.
    pub(crate) fn choose<R>(&self, routes: [R; 3]) -> R {
        choose([self.open, self.learns], routes)
    }

    /// The largest batch that fits.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The outputs `(N, K)` of the last forward pass.
    #[must_use]
    pub fn outputs(&self) -> ArrayView2<'_, T> {
        let Edge { len, values, .. } = &self.edges[self.edges.len() - 1];
        ArrayView2::from_shape((self.count, *len), &values[..self.count * len]).expect("count is at most the capacity")
    }

    /// The output of a stage in the last forward pass, in one piece or lane by lane.
    pub(crate) fn outputs_of(&self, route: &Route<T>, stage: usize) -> impl Iterator<Item = &[T]> {
        let segment = route.segments.iter().position(|segment| segment.stages.contains(&stage)).unwrap_or_default();
        let place = stage - route.segments[segment].stages.start;
        let len: usize = route.stages[stage].output.iter().product();
        let (space, edge) = (&self.spaces[segment], &self.edges[segment + 1]);
        let last = stage + 1 == route.segments[segment].stages.end;
        let whole = last.then(|| &edge.values[..self.count * len]);
        let lanes = &space.lanes[..if last { 0 } else { space.active(self.count) }];
        whole.into_iter().chain(lanes.iter().map(move |lane| &lane.values[place][..lane.count * len]))
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

/// See [`Workspace::choose`].
fn choose<R>([open, learns]: [bool; 2], [apart, fused, serving]: [R; 3]) -> R {
    match (open, learns) {
        (true, _) => apart,
        (false, true) => fused,
        (false, false) => serving,
    }
}

impl<T: Scalar> Space<T> {
    fn new(stages: &[Stage<T>], segment: &Segment, capacity: usize, learns: bool) -> Self {
        let mut space = Self { most: segment.lane, lanes: Vec::new(), grads: Vec::new() };
        let count = (1..=capacity).map(|count| space.active(count)).max().unwrap_or(0);
        let stages = &stages[segment.stages.clone()];
        let of_lane = space.per_lane(capacity);
        space.lanes = (0..count).map(|_| Lane::new(stages, of_lane, learns)).collect();
        let params: usize = stages.iter().map(|stage| stage.params.len()).sum();
        let buffers = if learns && count > 1 { count.min(GRADIENT_BUFFERS) } else { 0 };
        space.grads = vec![vec![T::ZERO; params]; buffers];
        space
    }

    /// Samples in a full lane of a batch: few in a small batch, so that there are lanes enough for several threads.
    pub(crate) fn per_lane(&self, count: usize) -> usize {
        let few = 1 << (count / LANES).max(1).ilog2();
        self.most.map_or(count, |most| most.min(few))
    }

    /// How many lanes a batch of `count` samples takes.
    pub(crate) fn active(&self, count: usize) -> usize {
        count.div_ceil(self.per_lane(count))
    }
}

impl<T: Scalar> Lane<T> {
    fn new(stages: &[Stage<T>], capacity: usize, learns: bool) -> Self {
        let between = &stages[..stages.len() - 1];
        let room = |stage: &Stage<T>| vec![T::ZERO; capacity * stage.output.iter().product::<usize>()];
        Self {
            count: 0,
            samples: vec![0; capacity],
            values: between.iter().map(room).collect(),
            diffs: between.iter().filter(|_| learns).map(room).collect(),
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
