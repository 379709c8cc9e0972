//! The way of some samples through the layers of a segment, and back.

use std::ops::Range;

use layers::{Phase, Scalar, State};

use crate::{
    Sequential,
    erased::{ErasedPass, Shape},
    execute::Draw,
    packed::Packed,
    sequential::{Segment, Stage},
    workspace::Lane,
};

/// A segment of a network.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a, T: Scalar> {
    net: &'a Sequential<T>,
    packed: &'a Packed<T>,
    /// Of the segment, and the number of its first one.
    stages: &'a [Stage<T>],
    first: usize,
}

impl<'a, T: Scalar> Way<'a, T> {
    pub(crate) fn new(
        net: &'a Sequential<T>,
        packed: &'a Packed<T>,
        stages: &'a [Stage<T>],
        segment: &Segment,
    ) -> Self {
        Self { net, packed, stages: &stages[segment.stages.clone()], first: segment.stages.start }
    }

    /// Where the parameters of the segment lie in the arena.
    pub(crate) fn params(&self) -> Range<usize> {
        self.stages[0].params.start..self.stages[self.stages.len() - 1].params.end
    }

    /// Through all layers: `x` and `y` hold the lane's samples, or more.
    pub(crate) fn forward(&self, lane: &mut Lane<T>, x: &[T], y: &mut [T], draw: Option<Draw<'_>>) {
        let count = lane.count;
        let phase = match draw {
            None => Phase::Infer,
            Some(Draw { key, epoch, samples }) => {
                lane.samples[..count].copy_from_slice(samples);
                Phase::Train { key, epoch, samples: &lane.samples[..count] }
            }
        };
        for (k, (stage, memo)) in self.stages.iter().zip(&mut lane.memos).enumerate() {
            let (before, after) = lane.values.split_at_mut(k);
            let (x, y) = (before.last().map_or(x, Vec::as_slice), after.first_mut().map_or(&mut *y, Vec::as_mut_slice));
            let [input, output] = stage.shapes(count);
            let (x, y) = (&x[..input.len()], &mut y[..output.len()]);
            stage.layer.forward(self.state(k), [input, output], x, y, memo, phase);
        }
    }

    /// And back: `dx` is written, unless nobody wants it; `grads`, of the segment's parameters, is added to.
    pub(crate) fn backward(
        &self,
        lane: &mut Lane<T>,
        [x, y]: [&[T]; 2],
        dy: &mut [T],
        mut dx: Option<&mut [T]>,
        grads: &mut [T],
    ) {
        let Lane { count, values, diffs, memos, .. } = lane;
        let start = self.params().start;
        for (k, (stage, memo)) in self.stages.iter().zip(memos).enumerate().rev() {
            let (before, after) = diffs.split_at_mut(k);
            let dy = after.first_mut().map_or(&mut *dy, Vec::as_mut_slice);
            let dx = before.last_mut().map(Vec::as_mut_slice).or(dx.as_deref_mut());
            let (before, after) = values.split_at(k);
            let (x, y) = (before.last().map_or(x, Vec::as_slice), after.first().map_or(y, Vec::as_slice));
            let [input, output] = stage.shapes(*count);
            let pass = ErasedPass { x: &x[..input.len()], y: &y[..output.len()], dy: &mut dy[..output.len()], memo };
            let dx = dx.map(|dx| &mut dx[..input.len()]);
            let grads = &mut grads[stage.params.start - start..stage.params.end - start];
            stage.layer.backward(self.state(k), [input, output], pass, dx, grads);
        }
    }

    fn state(&self, k: usize) -> State<'a, T> {
        let (net, stage) = (self.net, &self.stages[k]);
        State {
            params: &net.params.values()[stage.params.clone()],
            buffers: &net.buffers.values()[stage.buffers.clone()],
            packed: self.packed.of(self.first + k),
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
