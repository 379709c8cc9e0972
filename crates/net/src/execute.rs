//! Running a batch through a network, forward and back.
//!
//! A batch travels segment by segment. Within a segment it is cut into lanes, by the layers' shapes and its size alone, which run side by side;
//! gradients are summed over lanes in a fixed order. So every number is the same for any number of threads.

use std::sync::atomic::{AtomicBool, Ordering};

use layers::{Phase, Scalar, random::Key, vectorized};
use ndarray::{ArrayView2, ArrayViewMut2};
use rayon::prelude::*;

use crate::{
    Cost, Images, NetError, Sequential, Targets, Workspace,
    error::dims,
    way::Way,
    workspace::{Edge, GRADIENT_BUFFERS, Lane},
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

/// Lanes that share a buffer of gradients, with their part of the edges; `first` is the number of the first lane.
struct Part<'a, T> {
    first: usize,
    lanes: &'a mut [Lane<T>],
    dy: &'a mut [T],
    dx: Option<&'a mut [T]>,
    grads: &'a mut [T],
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
        let shared = workspace.spaces.iter().any(|space| space.active(images.len()) > 1);
        let mut step = || {
            self.forward_images(workspace, images, draw);
            let value = self.cost_gradient(workspace, targets, cost);
            self.backward(workspace);
            value
        };
        Ok(if shared { awake(step) } else { step() })
    }

    fn forward_images(&self, workspace: &mut Workspace<T>, images: &Images<'_, T>, draw: Option<Draw<'_>>) {
        let tables = std::mem::take(&mut workspace.tables);
        self.forward(workspace, images.len(), draw, &|i, out| images.write(i, &tables, out));
        workspace.tables = tables;
    }

    /// Runs `count` samples through all layers.
    pub(crate) fn forward(
        &self,
        workspace: &mut Workspace<T>,
        count: usize,
        draw: Option<Draw<'_>>,
        load: &Load<'_, T>,
    ) {
        let route = self.route(workspace);
        workspace.count = count;
        workspace.packed.update(&route.stages, &self.params);
        let Workspace { spaces, edges, packed, .. } = workspace;
        for (index, (segment, space)) in route.segments.iter().zip(spaces).enumerate() {
            let way = Way::new(self, packed, &route.stages, segment);
            let (before, after) = edges.split_at_mut(index + 1);
            let (before, after) = (&mut before[index], &mut after[0]);
            let (per_lane, active, len) = (space.per_lane(count), space.active(count), before.len);
            let run = |i: usize, lane: &mut Lane<T>, x: &mut [T], y: &mut [T]| {
                let first = i * per_lane;
                lane.count = per_lane.min(count - first);
                if index == 0 {
                    x.chunks_exact_mut(len).take(lane.count).zip(first..).for_each(|(x, sample)| load(sample, x));
                }
                let draw = draw.map(|draw| Draw { samples: &draw.samples[first..first + lane.count], ..draw });
                way.forward(lane, x, y, draw);
            };
            let (x, y) = (&mut before.values[..], &mut after.values[..]);
            match &mut space.lanes[..active] {
                [lane] => run(0, lane, x, y),
                lanes => {
                    let (x, y) = (x.par_chunks_mut(per_lane * len), y.par_chunks_mut(per_lane * after.len));
                    let lanes = lanes.par_iter_mut().zip(x).zip(y).enumerate();
                    lanes.for_each(|(i, ((lane, x), y))| run(i, lane, x, y));
                }
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
        let count = workspace.count;
        let last = workspace.edges.len() - 1;
        let Edge { len, values, diffs } = &mut workspace.edges[last];
        let outputs = ArrayView2::from_shape((count, *len), &values[..count * *len]).expect(FITS);
        cost.evaluate(
            outputs,
            targets,
            ArrayViewMut2::from_shape((count, *len), &mut diffs[..count * *len]).expect(FITS),
        )
    }

    /// Goes back from `∂C/∂outputs` to the gradient of every parameter.
    pub(crate) fn backward(&self, workspace: &mut Workspace<T>) {
        let route = self.route(workspace);
        let Workspace { spaces, edges, packed, grads, count, .. } = workspace;
        for (index, (segment, space)) in route.segments.iter().zip(spaces).enumerate().rev() {
            let way = Way::new(self, packed, &route.stages, segment);
            let total = &mut grads.values_mut()[way.params()];
            let (before, after) = edges.split_at_mut(index + 1);
            let (before, after) = (&mut before[index], &mut after[0]);
            let (x, y, dy) = (&before.values[..], &after.values[..], &mut after.diffs[..]);
            // the input of the network has no gradient
            let dx = (index > 0).then_some(&mut before.diffs[..]);
            let per_lane = space.per_lane(*count);
            let [x_len, y_len] = [before.len, after.len].map(|len| per_lane * len);
            let run = |Part { first, lanes, dy, mut dx, grads }: Part<'_, T>| {
                grads.fill(T::ZERO);
                for ((i, lane), dy) in lanes.iter_mut().enumerate().zip(dy.chunks_mut(y_len)) {
                    let (x, y) = (&x[(first + i) * x_len..], &y[(first + i) * y_len..]);
                    way.backward(lane, [x, y], dy, dx.as_mut().map(|dx| &mut dx[i * x_len..]), grads);
                }
            };
            let active = space.active(*count);
            let share = active.div_ceil(GRADIENT_BUFFERS);
            let lanes = &mut space.lanes[..active];
            if active <= share {
                run(Part { first: 0, lanes, dy, dx, grads: total });
                continue;
            }
            let parts = lanes.par_chunks_mut(share).zip(dy.par_chunks_mut(share * y_len)).zip(&mut space.grads);
            let parts = parts.enumerate().map(|(i, ((lanes, dy), grads))| (i * share, lanes, dy, grads));
            match dx {
                None => parts.for_each(|(first, lanes, dy, grads)| run(Part { first, lanes, dy, dx: None, grads })),
                Some(dx) => parts.zip(dx.par_chunks_mut(share * x_len)).for_each(|((first, lanes, dy, grads), dx)| {
                    run(Part { first, lanes, dy, dx: Some(dx), grads });
                }),
            }
            sum(total, &space.grads[..active.div_ceil(share)]);
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
        let Self { buffers, apart, fused, serving, .. } = self;
        let route = workspace.choose([apart, fused, serving]);
        for (segment, space) in route.segments.iter().zip(&workspace.spaces) {
            for (k, stage) in route.stages[segment.stages.clone()].iter().enumerate() {
                if !stage.buffers.is_empty() {
                    for lane in &space.lanes[..space.active(workspace.count)] {
                        stage.layer.commit(&lane.memos[k], &mut buffers.values_mut()[stage.buffers.clone()]);
                    }
                }
            }
        }
    }

    /// The first layer that gave an infinite value or NaN in the last forward pass.
    pub(crate) fn first_not_finite(&self, workspace: &Workspace<T>) -> Option<String> {
        let route = self.route(workspace);
        let bad = |stage: &usize| workspace.outputs_of(route, *stage).flatten().any(|value| !value.is_finite());
        (0..route.stages.len()).find(bad).map(|stage| route.stages[stage].name.clone())
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

/// Does `work`, and keeps another thread from falling asleep meanwhile: when there is nothing for it to do, it looks again.
/// Between the parts of a step that threads share lie others, of a few microseconds: it takes longer to be woken after them.
fn awake<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    /// Set even if the work panics.
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let done = AtomicBool::new(false);
    let work = || {
        let _done = Done(&done);
        work()
    };
    let look = || {
        while !done.load(Ordering::Acquire) {
            if rayon::yield_now() != Some(rayon::Yield::Executed) {
                std::thread::yield_now();
            }
        }
    };
    rayon::join(work, look).0
}

/// `total = parts[0] + parts[1] + …`, in that order for every element.
fn sum<T: Scalar>(total: &mut [T], parts: &[Vec<T>]) {
    let add = |(total, at): (&mut [T], usize)| {
        let range = at..at + total.len();
        total.copy_from_slice(&parts[0][range.clone()]);
        vectorized(|| {
            for part in &parts[1..] {
                total.iter_mut().zip(&part[range.clone()]).for_each(|(total, &value)| *total += value);
            }
        });
    };
    if total.len() < PARALLEL_SUM {
        add((total, 0));
    } else {
        let chunk = PARALLEL_SUM / 4;
        total.par_chunks_mut(chunk).enumerate().for_each(|(i, total)| add((total, i * chunk)));
    }
}
