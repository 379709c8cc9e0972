//! The file of a checkpoint.
//!
//! A safetensors file: the network that the run would end with, as [`Sequential::save`] writes it, and beside it what the run
//! needs to go on. So a checkpoint is a model, too.

use std::path::Path;

use layers::{Arena, Layout, Scalar, TensorSpec};
use serde::{Deserialize, Serialize};

use super::{
    course::{Course, Place},
    settings::Settings,
};
use crate::{
    NetError, Sequential,
    observe::Run,
    save::{BESIDE, CHECKPOINT, ModelFile, checksum, encode, write_atomically},
};

/// The name of the tensor with the reports of the epochs, as JSON.
const HISTORY: &str = "checkpoint.history";

/// Where the network of the last step is, when it is not what the run would end with.
const STEPS: &str = "network.";
/// Where the average of the weights is, when it is not what the run would end with.
const AVERAGE: &str = "average.";

/// What a checkpoint says besides numbers in tensors.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) settings: Settings,
    /// Epochs of the whole run.
    pub(super) epochs: u64,
    pub(super) at: Place,
}

/// Writes a checkpoint; the file appears whole or not at all.
pub(super) fn write<T: Scalar>(
    path: &Path,
    record: &Record,
    net: &Sequential<T>,
    course: &Course<T>,
) -> Result<(), NetError> {
    let fail = |error: &dyn std::fmt::Display| NetError::Model {
        path: path.into(),
        problem: format!("cannot be written: {error}"),
    };
    let mut metadata = net.notes();
    metadata.insert(CHECKPOINT.into(), serde_json::to_string(record).map_err(|error| fail(&error))?);
    checksum::reserve(&mut metadata);
    let history = serde_json::to_string(&record.at.history).map_err(|error| fail(&error))?;
    let (params, buffers) = course.outcome(net);
    let slots: Vec<_> = course.optimizer.slots().map(|(name, slot)| (slot_prefix(name), slot)).collect();
    let [steps, averaged] = prefixes(course);
    let mut arenas = vec![("", params), ("", buffers)];
    arenas.extend(slots.iter().map(|(prefix, slot)| (prefix.as_str(), *slot)));
    if !steps.is_empty() {
        arenas.extend([(steps.as_str(), &net.params), (steps.as_str(), &net.buffers)]);
    }
    if let Some(average) = course.average.as_ref().filter(|_| !averaged.is_empty()) {
        arenas.extend([(averaged.as_str(), &average.params), (averaged.as_str(), &average.buffers)]);
    }
    let mut bytes = encode(arenas, [(HISTORY, history.as_str())], metadata).map_err(|error| fail(&error))?;
    checksum::seal(&mut bytes);
    write_atomically(path, &bytes).map_err(|cause| NetError::File { path: path.into(), cause })
}

/// A checkpoint that was read, its content still to be compared with the run.
pub(super) struct Saved {
    file: ModelFile,
    pub(super) record: Record,
}

impl Saved {
    /// Reads a checkpoint.
    pub(super) fn read(path: &Path) -> Result<Self, NetError> {
        let file = ModelFile::read(path)?;
        let fail = |problem: String| NetError::Model { path: path.into(), problem };
        let record = file.metadata.get(CHECKPOINT).ok_or_else(|| fail("a model, but not a checkpoint".into()))?;
        let unread = |error: serde_json::Error| fail(format!("its record cannot be read: {error}"));
        let mut record: Record = serde_json::from_str(record).map_err(unread)?;
        record.at.history = serde_json::from_str(file.text(HISTORY).map_err(fail)?).map_err(unread)?;
        Ok(Self { file, record })
    }

    /// Sets network and course to where the checkpoint was written; leaves them alone when it does not fit.
    pub(super) fn restore<T: Scalar>(
        self,
        run: &Run,
        net: &mut Sequential<T>,
        course: &mut Course<T>,
    ) -> Result<(), String> {
        let at = self.record.at;
        if at.history.len() as u64 != at.epoch || at.step >= run.steps {
            return Err(format!("its record contradicts itself: epoch {}, step {}", at.epoch, at.step));
        }
        let [steps, averaged] = prefixes(course);
        let slots: Vec<_> = course.optimizer.slots().map(|(name, slot)| (name, slot.clone())).collect();
        let mut wanted = Vec::new();
        for arena in [&net.params, &net.buffers] {
            wanted.extend(["", &steps, &averaged].map(|prefix| named(prefix, arena.layout())).concat());
        }
        wanted.extend(slots.iter().flat_map(|(name, slot)| named(&slot_prefix(name), slot.layout())));
        self.file.check(wanted)?;

        let read = |arena: &Arena<T>, prefix: &str| {
            let mut arena = arena.clone();
            self.file.fill_arena(&mut arena, prefix).map(|()| arena)
        };
        let network = |prefix: &str| Ok::<_, String>((read(&net.params, prefix)?, read(&net.buffers, prefix)?));
        let (outcome, averaged_weights, (params, buffers)) = (network("")?, network(&averaged)?, network(&steps)?);
        let slots = slots.iter().map(|(name, slot)| Ok((*name, read(slot, &slot_prefix(name))?)));
        let slots = slots.collect::<Result<Vec<_>, String>>()?;
        course.optimizer.restore(at.epoch * run.steps + at.step, slots).map_err(|error| error.to_string())?;
        (net.params, net.buffers) = (params, buffers);
        if let Some(average) = &mut course.average {
            (average.params, average.buffers) = averaged_weights;
        }
        if course.keeps_best && at.epoch > 0 {
            course.best = Some(outcome);
        }
        course.at = at;
        Ok(())
    }
}

/// What the names of two networks begin with that a run needs besides the one that it would end with: that of the last step, and
/// the average. Nothing where they are that one, or there is none.
fn prefixes<T: Scalar>(course: &Course<T>) -> [String; 2] {
    let beside = |needed: bool, prefix: &str| if needed { format!("{BESIDE}{prefix}") } else { String::new() };
    let averages = course.average.is_some();
    [beside(averages || course.keeps_best, STEPS), beside(averages && course.keeps_best, AVERAGE)]
}

fn slot_prefix(slot: &str) -> String {
    format!("{BESIDE}optimizer.{slot}.")
}

fn named(prefix: &str, layout: &Layout) -> Vec<TensorSpec> {
    layout.iter().map(|(spec, _)| TensorSpec { name: format!("{prefix}{}", spec.name), ..spec.clone() }).collect()
}
