//! What decides the outcome of a run, in words, so that a checkpoint of another run is refused with the difference.

use std::any::type_name;

use conv_kernels::machine::Machine;
use layers::{Arena, Scalar};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Trainer;
use crate::{Data, Images, NetError, Sequential, error::dims, observe::Run, save::checksum::hex};

/// Names and values. What cannot change the outcome, such as the number of threads, is not among them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Settings(Vec<(String, String)>);

impl<T: Scalar> Trainer<'_, T> {
    /// The settings of a run; a new setting of [`Trainer`] is a new line here. The number of epochs is compared by itself: often
    /// it may change.
    pub(super) fn settings(
        &self,
        net: &Sequential<T>,
        train: &Data<'_, T>,
        held_out: &Data<'_, T>,
        run: &Run,
    ) -> Result<Settings, NetError> {
        let rate = self.optimizer.learning_rate();
        // said in a line of its own
        let optimizer = self.optimizer.describe().replacen(&format!(" lr {rate}"), "", 1);
        let own = [
            ("training data", fingerprint(train)),
            ("held-out data", fingerprint(held_out)),
            ("learning rate", rate.to_string()),
            ("optimizer", optimizer),
            ("schedule", self.schedule.to_string()),
            ("cost", self.cost.describe()),
            ("augmentation", self.augment.as_ref().map_or("none".into(), |augment| augment.describe())),
            ("batch size", run.batch_size.to_string()),
            ("seed", self.seed.to_string()),
            ("order of samples", if self.shuffle { "shuffled" } else { "as given" }.into()),
            ("average of the weights", self.ema.map_or("none".into(), |decay| format!("decay {decay}"))),
            ("network that is kept", if self.keep_best { "the best on the held-out data" } else { "the last" }.into()),
            ("stopped by", self.stopped_by()),
            ("element type", type_name::<T>().into()),
            ("instruction set", Machine::detect()?.instruction_set().into()),
            ("version of overlay", env!("CARGO_PKG_VERSION").into()),
        ];
        let own = own.map(|(name, value)| (name.to_string(), value)).into_iter();
        Ok(Settings(own.chain(architecture(net)).collect()))
    }
}

impl<T: Scalar> Trainer<'_, T> {
    /// The observers that decide when the run ends.
    fn stopped_by(&self) -> String {
        let all: Vec<_> = self.observers.iter().filter_map(|observer| observer.settings()).collect();
        if all.is_empty() { "nothing".into() } else { all.join("; ") }
    }
}

impl Settings {
    /// A line for each setting in which a checkpoint differs from `self`, the run that would go on from it.
    pub(super) fn differences(&self, checkpoint: &Self) -> Vec<String> {
        let names = self.0.iter().chain(checkpoint.0.iter().filter(|(name, _)| self.get(name).is_none()));
        let pairs = names.map(|(name, _)| (name, checkpoint.get(name), self.get(name)));
        let differ = pairs.filter(|(_, then, now)| then != now);
        differ.map(|(name, then, now)| difference(name, then.unwrap_or("nothing"), now.unwrap_or("nothing"))).collect()
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

pub(super) fn difference(name: &str, then: &str, now: &str) -> String {
    format!("{name}: {then} in the checkpoint, {now} in this run")
}

/// The layers, and where their parameters start.
fn architecture<T: Scalar>(net: &Sequential<T>) -> Vec<(String, String)> {
    let layers = net.layers().iter().map(|stage| {
        let what = format!("{} {}", stage.layer.kind(), stage.layer.settings());
        (format!("layer {}", stage.name), format!("{what} to {}", dims(&stage.output)))
    });
    let mut sum = Sha256::new();
    for arena in [&net.params, &net.buffers] {
        add_arena(&mut sum, arena);
    }
    let start = hex(&sum.finalize());
    let names: Vec<_> = net.layer_names().collect();
    let scaling = serde_json::to_string(&net.scaling).unwrap_or_default();
    let whole = [("input", dims(&net.input)), ("scaling", scaling), ("layers", names.join(", "))];
    let whole = whole.map(|(name, value)| (name.to_string(), value)).into_iter();
    whole.chain(layers).chain([("starting weights".to_string(), format!("sha256 {start}"))]).collect()
}

/// Values, not gaps: what is in those means nothing.
fn add_arena<T: Scalar>(sum: &mut Sha256, arena: &Arena<T>) {
    for tensor in arena.tensors() {
        sum.update(&tensor.spec.name);
        tensor.values.iter().for_each(|value| sum.update(value.as_f64().to_le_bytes()));
    }
}

/// How many samples there are, and a hash of images and labels.
fn fingerprint<T: Scalar>(data: &Data<'_, T>) -> String {
    let mut sum = Sha256::new();
    let shape = |sum: &mut Sha256, kind: &str, shape: &[usize]| {
        sum.update(kind);
        shape.iter().for_each(|&size| sum.update((size as u64).to_le_bytes()));
    };
    match &data.images {
        Images::Bytes(view) => {
            shape(&mut sum, "bytes", view.shape());
            match view.as_slice() {
                Some(bytes) => sum.update(bytes),
                None => view.iter().for_each(|&byte| sum.update([byte])),
            }
        }
        Images::Values(view) => {
            shape(&mut sum, "values", view.shape());
            view.iter().for_each(|value| sum.update(value.as_f64().to_le_bytes()));
        }
        Images::Expanded(images) => {
            shape(&mut sum, "expanded", images.shape());
            let same = (0..=u8::MAX).collect::<Vec<_>>().repeat(images.shape()[1]);
            let mut image = vec![0; images.shape()[1..].iter().product()];
            for index in 0..images.shape()[0] {
                images.write(index, &same, &mut image);
                sum.update(&image);
            }
        }
    }
    data.labels.iter().for_each(|&label| sum.update([label]));
    format!("{} samples, sha256 {}", data.len(), hex(&sum.finalize()))
}
