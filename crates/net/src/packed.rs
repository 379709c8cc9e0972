//! Parameters in the order in which the layers read them.

use std::ops::Range;

use layers::{Arena, Layout, PackFor, Scalar, TensorSpec};

use crate::sequential::Stage;

/// What the layers make of their parameters once, for all lanes of a batch, and for all batches until a parameter changes.
pub(crate) struct Packed<T> {
    passes: PackFor,
    values: Arena<T>,
    /// Where the share of each stage lies.
    ranges: Vec<Range<usize>>,
    /// Of the parameters that are packed.
    version: Option<u64>,
}

impl<T: Scalar> Packed<T> {
    pub(crate) fn new(stages: &[Stage<T>], passes: PackFor) -> Self {
        let share = |stage: &Stage<T>| TensorSpec::plain(&stage.name, &[stage.layer.packed_len(passes)]);
        let layout = Layout::new(stages.iter().map(share));
        let ranges = layout.iter().map(|(_, range)| range).collect();
        Self { passes, values: Arena::zeros(layout), ranges, version: None }
    }

    /// Packs the parameters, if they have changed.
    pub(crate) fn update(&mut self, stages: &[Stage<T>], params: &Arena<T>) {
        if self.version == Some(params.version()) {
            return;
        }
        let values = self.values.values_mut();
        for (stage, range) in stages.iter().zip(&self.ranges).filter(|(_, range)| !range.is_empty()) {
            stage.layer.pack(self.passes, &params.values()[stage.params.clone()], &mut values[range.clone()]);
        }
        self.version = Some(params.version());
    }

    /// What a stage has packed.
    pub(crate) fn of(&self, stage: usize) -> &[T] {
        &self.values.values()[self.ranges[stage].clone()]
    }
}
