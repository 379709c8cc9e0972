//! Running a batch through a network, forward and back.
//!
//! A batch travels segment by segment. Within a segment it is cut into lanes, by the shapes alone, which run side by side;
//! gradients are summed over lanes in a fixed order. So every number is the same for any number of threads.

use layers::{Phase, Scalar, State, random::Key};
use ndarray::{ArrayView2, ArrayViewMut2};
use rayon::prelude::*;

use crate::{
    Cost, Images, NetError, Sequential, Targets, Workspace,
    erased::{ErasedPass, Shape},
    error::dims,
    sequential::Stage,
    workspace::Lane,
};

/// Sums over fewer values than this stay on the calling thread.
const PARALLEL_SUM: usize = 1 << 16;

/// Writes sample `i` of a batch into a slice.
type Load<'a, T> = dyn Fn(usize, &mut [T]) + Sync + 'a;

/// The random numbers of a training step: the root key, the epoch, and each sample's number in its data set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draw<'a> {
    pub(crate) key: Key,
    pub(crate) epoch: u64,
    pub(crate) samples: &'a [u64],
}

impl<T: Scalar> Sequential<T> {
    /// The network's outputs `(N, K)` for a batch; every layer's output stays in the workspace.
    ///
    /// # Errors
    /// [`NetError::Data`] when the images have another shape, are more than the workspace holds, or the workspace belongs to
    /// another network.
    pub fn infer<'w>(
        &self,
        workspace: &'w mut Workspace<T>,
        images: &Images<'_, T>,
    ) -> Result<ArrayView2<'w, T>, NetError> {
        self.check_batch(workspace, images)?;
        self.forward_images(workspace, images, None);
        Ok(workspace.outputs())
    }

    /// The gradient of the mean cost of a batch, left in [`Workspace::grads`]; returns the cost.
    ///
    /// `phase` decides whether dropout drops and batch normalization uses the batch's statistics, as in learning.
    ///
    /// # Errors
    /// [`NetError::Data`] when images and targets do not fit the network, one another, or the workspace.
    ///
    /// ```
    /// use net::{Activation::Sigmoid, Images, Sequential, Targets, cost::Quadratic};
    /// use layers::Phase;
    /// use ndarray::array;
    /// let net = Sequential::builder_of::<f64>([2]).dense(3).activation(Sigmoid).dense(1).activation(Sigmoid).build(7)?;
    /// let mut workspace = net.workspace(4);
    /// let (x, y) = (array![[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], array![[0.0], [1.0], [1.0], [0.0]]);
    /// let cost = net.gradient(&mut workspace, &Images::from(x.view()), Targets::Values(y.view()), &Quadratic::new(), Phase::Infer)?;
    /// assert!(cost > 0.0 && workspace.grads().tensor("fc1.weight")?.iter().any(|&g| g != 0.0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn gradient(
        &self,
        workspace: &mut Workspace<T>,
        images: &Images<'_, T>,
        targets: Targets<'_, T>,
        cost: &dyn Cost<T>,
        phase: Phase<'_>,
    ) -> Result<f64, NetError> {
        self.check_batch(workspace, images)?;
        self.check_targets(images.len(), targets)?;
        if !workspace.learns {
            return Err(NetError::Data(
                "a workspace for inference holds no gradients; make one with workspace()".into(),
            ));
        }
        let draw = match phase {
            Phase::Infer => None,
            Phase::Train { samples, .. } if samples.len() != images.len() => {
                return Err(NetError::Data(format!("{} sample numbers for {} images", samples.len(), images.len())));
            }
            Phase::Train { key, epoch, samples } => Some(Draw { key, epoch, samples }),
        };
        self.forward_images(workspace, images, draw);
        let value = self.cost_gradient(workspace, targets, cost);
        self.backward(workspace);
        Ok(value)
    }

    fn forward_images(&self, workspace: &mut Workspace<T>, images: &Images<'_, T>, draw: Option<Draw<'_>>) {
        let tables = std::mem::take(&mut workspace.tables);
        self.forward(workspace, images.len(), draw, &|i, out| images.write(i, &tables, out));
        workspace.tables = tables;
    }

    /// Runs `count` samples through all layers and gathers the outputs.
    pub(crate) fn forward(
        &self,
        workspace: &mut Workspace<T>,
        count: usize,
        draw: Option<Draw<'_>>,
        load: &Load<'_, T>,
    ) {
        workspace.count = count;
        for (index, segment) in self.segments.iter().enumerate() {
            let stages = &self.stages[segment.stages.clone()];
            let len: usize = stages[0].input.iter().product();
            let (before, rest) = workspace.spaces.split_at_mut(index);
            let space = &mut rest[0];
            let (per_lane, active) = (space.per_lane, space.active(count));
            let run = |(i, lane): (usize, &mut Lane<T>)| {
                let first = i * per_lane;
                lane.count = per_lane.min(count - first);
                for (k, out) in lane.values[0].chunks_exact_mut(len).take(lane.count).enumerate() {
                    match before.last() {
                        None => load(first + k, out),
                        Some(space) => {
                            out.copy_from_slice(space.sample(first + k, self.segments[index - 1].stages.len(), len))
                        }
                    }
                }
                let lane_draw = draw.map(|draw| Draw { samples: &draw.samples[first..first + lane.count], ..draw });
                self.lane_forward(stages, lane, lane_draw);
            };
            match &mut space.lanes[..active] {
                [lane] => run((0, lane)),
                lanes => lanes.par_iter_mut().enumerate().for_each(run),
            }
        }
        self.gather_outputs(workspace);
    }

    fn lane_forward(&self, stages: &[Stage<T>], lane: &mut Lane<T>, draw: Option<Draw<'_>>) {
        let count = lane.count;
        let phase = match draw {
            None => Phase::Infer,
            Some(Draw { key, epoch, samples }) => {
                lane.samples[..count].copy_from_slice(samples);
                Phase::Train { key, epoch, samples: &lane.samples[..count] }
            }
        };
        for (k, stage) in stages.iter().enumerate() {
            let (x, y) = lane.values.split_at_mut(k + 1);
            let [input, output] = stage.shapes(count);
            let (x, y) = (&x[k][..input.len()], &mut y[0][..output.len()]);
            stage.layer.forward(self.state(stage), [input, output], x, y, &mut lane.memos[k], phase);
        }
    }

    fn gather_outputs(&self, workspace: &mut Workspace<T>) {
        let len = self.outputs();
        let place = self.segments.last().map_or(0, |segment| segment.stages.len());
        if let Some(space) = workspace.spaces.last() {
            for (image, out) in workspace.outputs.chunks_exact_mut(len).take(workspace.count).enumerate() {
                out.copy_from_slice(space.sample(image, place, len));
            }
        }
    }

    /// The mean cost of the outputs, and its gradient, left in the workspace.
    pub(crate) fn cost_gradient(
        &self,
        workspace: &mut Workspace<T>,
        targets: Targets<'_, T>,
        cost: &dyn Cost<T>,
    ) -> f64 {
        const FITS: &str = "the buffers hold the whole capacity";
        let (count, width) = (workspace.count, self.outputs());
        let outputs = ArrayView2::from_shape((count, width), &workspace.outputs[..count * width]).expect(FITS);
        let gradient = &mut workspace.output_gradient[..count * width];
        cost.evaluate(outputs, targets, ArrayViewMut2::from_shape((count, width), gradient).expect(FITS))
    }

    /// Goes back from `∂C/∂outputs` to the gradient of every parameter.
    pub(crate) fn backward(&self, workspace: &mut Workspace<T>) {
        let count = workspace.count;
        for (index, segment) in self.segments.iter().enumerate().rev() {
            let stages = &self.stages[segment.stages.clone()];
            let len: usize = stages.last().map_or(0, |stage| stage.output.iter().product());
            let (spaces, after) = workspace.spaces.split_at_mut(index + 1);
            let space = &mut spaces[index];
            let (per_lane, active) = (space.per_lane, space.active(count));
            let output_gradient = &workspace.output_gradient;
            let share = active.div_ceil(space.grads.len()).max(1);
            let run = |(group, (lanes, grads)): (usize, (&mut [Lane<T>], &mut Vec<T>))| {
                grads.fill(T::ZERO);
                for (i, lane) in lanes.iter_mut().enumerate() {
                    let first = (group * share + i) * per_lane;
                    let diffs = lane.diffs.last_mut().map_or(&mut [][..], |diffs| diffs.as_mut_slice());
                    for (k, out) in diffs.chunks_exact_mut(len).take(lane.count).enumerate() {
                        let at = (first + k) * len;
                        out.copy_from_slice(match after.first() {
                            None => &output_gradient[at..at + len],
                            Some(space) => space.input_gradient(first + k, len),
                        });
                    }
                    self.lane_backward(stages, segment.stages.start == 0, lane, grads);
                }
            };
            if active <= share {
                run((0, (&mut space.lanes[..active], &mut space.grads[0])));
            } else {
                space.lanes[..active].par_chunks_mut(share).zip(&mut space.grads).enumerate().for_each(run);
            }
            let used = active.div_ceil(share);
            let range = stages.iter().map(|stage| stage.params.start).min().unwrap_or(0)
                ..stages.last().map_or(0, |stage| stage.params.end);
            sum(&mut workspace.grads.values_mut()[range], &space.grads[..used]);
        }
    }

    fn lane_backward(&self, stages: &[Stage<T>], first: bool, lane: &mut Lane<T>, grads: &mut [T]) {
        let start = stages[0].params.start;
        for (k, stage) in stages.iter().enumerate().rev() {
            let (dx, dy) = lane.diffs.split_at_mut(k + 1);
            let [input, output] = stage.shapes(lane.count);
            let pass = ErasedPass {
                x: &lane.values[k][..input.len()],
                y: &lane.values[k + 1][..output.len()],
                dy: &mut dy[0][..output.len()],
                memo: &mut lane.memos[k],
            };
            let dx = (!first || k > 0).then(|| &mut dx[k][..input.len()]);
            let grads = &mut grads[stage.params.start - start..stage.params.end - start];
            stage.layer.backward(self.state(stage), [input, output], pass, dx, grads);
        }
    }

    /// Takes over what the last [`gradient`](Self::gradient) in [`Phase::Train`] learnt besides gradients: the running
    /// statistics of batch normalization. The last part of a training step of one's own:
    ///
    /// ```
    /// use layers::{Phase, random::Key};
    /// use net::{Images, Sequential, Targets, cost::SoftmaxCrossEntropy, optim::{OptimizerState, Sgd}};
    /// use ndarray::Array4;
    /// let mut net = Sequential::builder([1, 8, 8]).conv2d(4, 3).batch_norm2d().dense(10).build(1)?;
    /// let (optimizer, mut workspace) = (Sgd::new(0.1), net.workspace(2));
    /// let mut state = OptimizerState::new(&optimizer, net.parameters().layout());
    /// let (images, labels) = (Array4::<u8>::ones((2, 1, 8, 8)), [3, 7]);
    /// for epoch in 0..3 {
    ///     let phase = Phase::Train { key: Key::new(0), epoch, samples: &[0, 1] };
    ///     let cost = SoftmaxCrossEntropy::new();
    ///     net.gradient(&mut workspace, &Images::from(images.view()), Targets::Classes(&labels), &cost, phase)?;
    ///     // here gradients may be clipped, or averaged with those of other processes: workspace.grads_mut()
    ///     state.step(&optimizer, 0.1, net.parameters_mut(), workspace.grads());
    ///     net.commit(&workspace);
    /// }
    /// assert_eq!(net.buffers().tensor("bn1.num_batches_tracked")?.sum(), 3.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn commit(&mut self, workspace: &Workspace<T>) {
        for (segment, space) in self.segments.iter().zip(&workspace.spaces) {
            for (k, stage) in self.stages[segment.stages.clone()].iter().enumerate() {
                if !stage.buffers.is_empty() {
                    for lane in &space.lanes[..space.active(workspace.count)] {
                        stage.layer.commit(&lane.memos[k], &mut self.buffers.values_mut()[stage.buffers.clone()]);
                    }
                }
            }
        }
    }

    /// The first layer that gave an infinite value or NaN in the last forward pass.
    pub(crate) fn first_not_finite(&self, workspace: &Workspace<T>) -> Option<String> {
        self.segments.iter().zip(&workspace.spaces).find_map(|(segment, space)| {
            let lanes = &space.lanes[..space.active(workspace.count)];
            self.stages[segment.stages.clone()].iter().enumerate().find_map(|(k, stage)| {
                let bad = |lane: &Lane<T>| {
                    lane.values[k + 1][..stage.shapes(lane.count)[1].len()].iter().any(|v| !v.is_finite())
                };
                lanes.iter().any(bad).then(|| stage.name.clone())
            })
        })
    }

    fn state(&self, stage: &Stage<T>) -> State<'_, T> {
        State {
            params: &self.params.values()[stage.params.clone()],
            buffers: &self.buffers.values()[stage.buffers.clone()],
        }
    }

    fn check_batch(&self, workspace: &Workspace<T>, images: &Images<'_, T>) -> Result<(), NetError> {
        self.check_workspace(workspace)?;
        images.check("the batch", &self.input)?;
        if (1..=workspace.capacity).contains(&images.len()) {
            return Ok(());
        }
        Err(NetError::Data(format!("the workspace holds batches of 1 to {}; got {}", workspace.capacity, images.len())))
    }

    fn check_targets(&self, count: usize, targets: Targets<'_, T>) -> Result<(), NetError> {
        let classes = self.outputs();
        let wrong = |wanted: &[usize], got: &[usize]| {
            Err(NetError::Data(format!("the targets must have the shape {}; they have {}", dims(wanted), dims(got))))
        };
        match targets {
            Targets::Classes(labels) if labels.len() != count => wrong(&[count], &[labels.len()]),
            Targets::Values(values) if values.dim() != (count, classes) => wrong(&[count, classes], values.shape()),
            Targets::Values(_) => Ok(()),
            Targets::Classes(labels) => match labels.iter().position(|&label| usize::from(label) >= classes) {
                Some(index) => {
                    Err(NetError::Label { what: "the targets".into(), label: labels[index], index, classes })
                }
                None => Ok(()),
            },
        }
    }
}

impl<T> Stage<T> {
    /// The shapes of some samples before and after the layer.
    fn shapes(&self, count: usize) -> [Shape<'_>; 2] {
        [Shape { count, sample: &self.input }, Shape { count, sample: &self.output }]
    }
}

impl Shape<'_> {
    /// The number of values.
    fn len(self) -> usize {
        self.count * self.sample.iter().product::<usize>()
    }
}

/// `total = parts[0] + parts[1] + …`, in that order for every element.
fn sum<T: Scalar>(total: &mut [T], parts: &[Vec<T>]) {
    let add = |(total, at): (&mut [T], usize)| {
        let range = at..at + total.len();
        total.copy_from_slice(&parts[0][range.clone()]);
        for part in &parts[1..] {
            for (total, &value) in total.iter_mut().zip(&part[range.clone()]) {
                *total += value;
            }
        }
    };
    if total.len() < PARALLEL_SUM {
        add((total, 0));
    } else {
        let chunk = PARALLEL_SUM / 4;
        total.par_chunks_mut(chunk).enumerate().for_each(|(i, total)| add((total, i * chunk)));
    }
}
