//! A network: layers in order, and one arena of parameters.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use layers::{Arena, Layout, Scalar, Scope, TensorSpec, random::Key};

use crate::{NetError, NetSpec, Scaling, SequentialBuilder, erased::Erased};

/// Layers in order, with their parameters: the article's networks.
///
/// A network is not changed by using it: activations and gradients live in a [`Workspace`](crate::Workspace), so one network
/// serves many threads.
///
/// ```
/// use net::{Activation::Relu, Sequential};
/// let net = Sequential::builder([1, 28, 28])
///     .conv2d(20, 5).activation(Relu).max_pool2d(2)
///     .conv2d(40, 5).activation(Relu).max_pool2d(2)
///     .dense(100).activation(Relu).dropout(0.5)
///     .dense(10)
///     .build(42)?;
/// assert_eq!(net.parameters().layout().count(), 85_670);
/// # Ok::<(), net::NetError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sequential<T: Scalar = f32> {
    pub(crate) input: Vec<usize>,
    pub(crate) scaling: Scaling,
    /// One layer a stage.
    pub(crate) apart: Route<T>,
    /// Layers that are faster as one share a stage.
    pub(crate) fused: Route<T>,
    /// The same for use, where few layers need the whole batch.
    pub(crate) serving: Route<T>,
    pub(crate) params: Arena<T>,
    pub(crate) buffers: Arena<T>,
    pub(crate) spec: Option<NetSpec>,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// The way of a batch through the network.
#[derive(Clone, Debug)]
pub(crate) struct Route<T> {
    pub(crate) stages: Vec<Stage<T>>,
    pub(crate) segments: Vec<Segment>,
}

/// A layer in its place: its name, its shapes, and where its tensors lie in the arenas.
#[derive(Clone, Debug)]
pub(crate) struct Stage<T> {
    /// The name of the layer, the first of those that are fused here.
    pub(crate) name: String,
    /// How many layers it ends after.
    pub(crate) end: usize,
    pub(crate) layer: Arc<dyn Erased<T>>,
    pub(crate) input: Vec<usize>,
    pub(crate) output: Vec<usize>,
    pub(crate) params: Range<usize>,
    pub(crate) buffers: Range<usize>,
}

/// Layers in a row through which a batch travels in the same way: cut into lanes of `lane` samples that run side by side,
/// or whole (`None`).
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) stages: Range<usize>,
    pub(crate) lane: Option<usize>,
}

impl Sequential<f32> {
    /// Begins a network of `f32` for samples of a shape: `[channels, rows, columns]`, or `[features]`.
    #[must_use]
    pub fn builder(input: impl Into<Vec<usize>>) -> SequentialBuilder<f32> {
        SequentialBuilder::new(input)
    }

    /// Begins a network of another element type: `Sequential::builder_of::<f64>([1, 28, 28])`.
    #[must_use]
    pub fn builder_of<T: Scalar>(input: impl Into<Vec<usize>>) -> SequentialBuilder<T> {
        SequentialBuilder::new(input)
    }
}

impl<T: Scalar> Sequential<T> {
    /// Gives layers that fit one another their parameters, drawn from `seed`.
    pub(crate) fn assemble(
        input: Vec<usize>,
        scaling: Scaling,
        mut stages: Vec<Stage<T>>,
        spec: Option<NetSpec>,
        seed: u64,
    ) -> Self {
        let params = lay_out(&mut stages, |stage| stage.layer.params(), |stage| &mut stage.params);
        let buffers = lay_out(&mut stages, |stage| stage.layer.buffers(), |stage| &mut stage.buffers);
        let fused = fused(&stages);
        let serving = Route::new(fused.clone(), true);
        let (fused, apart) = (Route::new(fused, false), Route::new(stages, false));
        let metadata = BTreeMap::new();
        let mut net = Self { input, scaling, apart, fused, serving, params, buffers, spec, metadata };
        net.initialize(seed);
        net
    }

    /// Draws the parameters anew: the same seed gives the same network.
    pub fn initialize(&mut self, seed: u64) {
        self.params.values_mut().fill(T::ZERO);
        for stage in &self.apart.stages {
            let mut stream = Key::new(seed).stream("init", &stage.name, 0, 0);
            stage.layer.init(&mut self.params.values_mut()[stage.params.clone()], &mut stream);
            stage.layer.init_buffers(&mut self.buffers.values_mut()[stage.buffers.clone()]);
        }
    }

    /// The shape of one input sample, without the batch axis.
    #[must_use]
    pub fn input_shape(&self) -> &[usize] {
        &self.input
    }

    /// The shape of one output, without the batch axis.
    #[must_use]
    pub fn output_shape(&self) -> &[usize] {
        self.layers().last().map_or(&self.input, |stage| &stage.output)
    }

    /// The number of outputs of one sample: classes, for a classifier.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.output_shape().iter().product()
    }

    /// The names of the layers, in order.
    pub fn layer_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.layers().iter().map(|stage| stage.name.as_str())
    }

    /// How bytes become numbers: part of the model.
    #[must_use]
    pub fn scaling(&self) -> &Scaling {
        &self.scaling
    }

    /// The parameters, by name: `conv1.weight`, `fc1.bias`, …
    #[must_use]
    pub fn parameters(&self) -> &Arena<T> {
        &self.params
    }

    /// The parameters, for writing.
    pub fn parameters_mut(&mut self) -> &mut Arena<T> {
        &mut self.params
    }

    /// What training changes besides parameters, by name: `bn1.running_mean`, …
    #[must_use]
    pub fn buffers(&self) -> &Arena<T> {
        &self.buffers
    }

    /// The buffers, for writing.
    pub fn buffers_mut(&mut self) -> &mut Arena<T> {
        &mut self.buffers
    }

    /// The architecture, unless a layer of the user's own is in it.
    #[must_use]
    pub fn spec(&self) -> Option<&NetSpec> {
        self.spec.as_ref()
    }

    /// Notes that travel with the saved model: what it was trained on, and the like.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The notes, for writing.
    pub fn metadata_mut(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.metadata
    }

    /// Multiply-adds of one sample's forward pass, by the layers' definitions.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.layers().iter().map(|stage| stage.layer.macs(&stage.input)).sum()
    }

    /// The layers, each in its place.
    pub(crate) fn layers(&self) -> &[Stage<T>] {
        &self.apart.stages
    }
}

impl<T: Scalar> Route<T> {
    fn new(stages: Vec<Stage<T>>, serving: bool) -> Self {
        Self { segments: segments(&stages, serving), stages }
    }
}

/// The same stages, but one for layers that are faster as one.
fn fused<T: Scalar>(stages: &[Stage<T>]) -> Vec<Stage<T>> {
    let mut fused: Vec<Stage<T>> = Vec::new();
    for stage in stages {
        let both = fused.last().and_then(|before| before.layer.fuse(&*stage.layer));
        match (both, fused.last_mut()) {
            (Some(layer), Some(before)) => {
                (before.layer, before.end, before.output) = (layer, stage.end, stage.output.clone());
                (before.params.end, before.buffers.end) = (stage.params.end, stage.buffers.end);
            }
            _ => fused.push(stage.clone()),
        }
    }
    fused
}

/// One arena for some tensors of all stages, whose names get the layer's name in front.
fn lay_out<T: Scalar>(
    stages: &mut [Stage<T>],
    specs: impl Fn(&Stage<T>) -> Vec<TensorSpec>,
    place: impl Fn(&mut Stage<T>) -> &mut Range<usize>,
) -> Arena<T> {
    let mut all = Vec::new();
    let mut start = 0;
    for stage in stages {
        let mut tensors = specs(stage);
        let len = Layout::new(tensors.iter().cloned()).len();
        *place(stage) = start..start + len;
        start += len;
        for tensor in &mut tensors {
            tensor.name = format!("{}.{}", stage.name, tensor.name);
        }
        all.append(&mut tensors);
    }
    Arena::zeros(Layout::new(all))
}

/// A lane holds enough samples for about this many multiply-adds forward: long enough to pay for handing it to a thread,
/// short enough that a batch of 64 small images feeds several threads. It is a power of two: then the usual batches make equal
/// lanes, and the usual numbers of threads get equally many.
const LANE_MACS: u64 = 4_000_000;
/// And at most this many samples, which fill the longest vectors along the images.
const LANE_SAMPLES: u64 = 16;
/// A lane that takes no more multiply-adds than this holds as many samples as its layers compute at once.
const LANE_MOST_MACS: u64 = 32_000_000;
/// A layer without multiply-adds, on samples of at most this many values, stays with the whole batch that came before it.
const SMALL_SAMPLE: usize = 4096;

/// In use, layers of at most so many bytes of parameters go on with the lanes that came before: each lane reads the parameters
/// anew, from the second cache.
const LANE_BYTES: usize = 512 << 10;

/// Cuts the layers into segments, by their shapes alone: the same cuts for any batch and any number of threads. `serving` says
/// that there will be no learning.
fn segments<T: Scalar>(stages: &[Stage<T>], serving: bool) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut whole = None;
    for (index, stage) in stages.iter().enumerate() {
        let small = stage.layer.macs(&stage.input) == 0 && stage.input.iter().product::<usize>() <= SMALL_SAMPLE;
        let in_lanes = serving && whole == Some(false) && stage.params.len() * size_of::<T>() <= LANE_BYTES;
        let wants_whole = match stage.layer.scope() {
            Scope::Batch => true,
            Scope::BatchToLearn => !in_lanes,
            Scope::Sample => whole == Some(true) && small,
        };
        match segments.last_mut() {
            Some(last) if whole == Some(wants_whole) => last.stages.end = index + 1,
            _ => segments.push(Segment { stages: index..index + 1, lane: (!wants_whole).then_some(1) }),
        }
        whole = Some(wants_whole);
    }
    for segment in &mut segments {
        let macs: u64 = stages[segment.stages.clone()].iter().map(|stage| stage.layer.macs(&stage.input)).sum();
        let samples = LANE_MACS.div_ceil(macs.max(1)).min(LANE_SAMPLES) as usize;
        let at_once = stages[segment.stages.clone()].iter().map(|stage| stage.layer.at_once()).max().unwrap_or(1);
        let affordable = at_once as u64 * macs <= LANE_MOST_MACS;
        let samples = samples.max(if affordable { at_once } else { 1 });
        segment.lane = segment.lane.map(|_| samples.next_power_of_two());
    }
    segments
}

/// Errors that name a layer and what is before it.
pub(crate) fn layer_error<T>(name: &str, before: Option<&Stage<T>>, cause: layers::LayerError) -> NetError {
    let after = match (&cause, before) {
        (layers::LayerError::InputShape { .. }, Some(stage)) => stage.name.clone(),
        (layers::LayerError::InputShape { .. }, None) => "the input".into(),
        _ => String::new(),
    };
    NetError::Layer { name: name.into(), after, cause: Box::new(cause) }
}
