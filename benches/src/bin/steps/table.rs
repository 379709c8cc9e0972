//! Results for people, in columns, and for programs, in JSON lines.

use anyhow::Result;
use overlay_benches::clocks::Profile;
use overlay_benches::output::{line, rounded};
use serde_json::{Value, json};

/// The measurements of one network and batch.
pub(crate) struct Row<'a> {
    pub(crate) net: &'a str,
    pub(crate) batch: usize,
    /// A training step.
    pub(crate) train: Figure,
    /// The inference of a batch.
    pub(crate) infer: Figure,
    /// The inference of one image.
    pub(crate) single: Figure,
    /// Memory of the batch's activations, by their sizes.
    pub(crate) activation_bytes: usize,
    /// The most memory that the process held meanwhile, where the system says.
    pub(crate) peak_bytes: Option<u64>,
    /// The time by layer, if asked for.
    pub(crate) profile: Option<Profile>,
}

/// How long something takes, and the share of peak that it reaches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) seconds: f64,
    pub(crate) peak_share: f64,
}

/// Where results go as they come.
pub(crate) struct Table {
    pub(crate) json: bool,
    pub(crate) threads: usize,
}

impl Table {
    pub(crate) fn heading(&self) -> Result<()> {
        if self.json {
            return Ok(());
        }
        line(&format!(
            "{:13}  {:>5}  {:>11}  {:>7}  {:>11}  {:>7}  {:>9}  {:>7}  {:>8}  {:>8}  (threads: {})",
            "net",
            "batch",
            "train img/s",
            "share",
            "infer img/s",
            "share",
            "single µs",
            "share",
            "act. MiB",
            "peak MiB",
            self.threads
        ))
    }

    pub(crate) fn row(&self, row: &Row<'_>) -> Result<()> {
        if self.json {
            return line(&self.object(row).to_string());
        }
        let Row { net, batch, train, infer, single, activation_bytes, peak_bytes, profile } = row;
        let images = *batch as f64;
        let [trains, infers, singly] = [train, infer, single].map(|figure| 100.0 * figure.peak_share);
        let (train, infer, single) = (images / train.seconds, images / infer.seconds, single.seconds * 1e6);
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        let (activations, peak) = (mib(*activation_bytes as f64), peak_bytes.map(|bytes| mib(bytes as f64)));
        let peak = peak.map_or("-".into(), |peak| format!("{peak:.1}"));
        line(&format!(
            "{net:13}  {batch:5}  {train:11.0}  {trains:5.1} %  {infer:11.0}  {infers:5.1} %  {single:9.1}  {singly:5.1} %  \
             {activations:8.2}  {peak:>8}"
        ))?;
        profile.as_ref().map_or(Ok(()), by_layer)
    }

    fn object(&self, row: &Row<'_>) -> Value {
        let images = row.batch as f64;
        let mut object = json!({
            "peer": "overlay", "net": row.net, "batch": row.batch, "threads": self.threads,
            "train_img_s": rounded(images / row.train.seconds, 0), "infer_img_s": rounded(images / row.infer.seconds, 0),
            "single_us": rounded(row.single.seconds * 1e6, 2), "peak_share": rounded(row.train.peak_share, 4),
            "infer_peak_share": rounded(row.infer.peak_share, 4), "single_peak_share": rounded(row.single.peak_share, 4),
            "activation_bytes": row.activation_bytes, "peak_bytes": row.peak_bytes,
        });
        if let Some(Profile { layers, between, update, step }) = &row.profile {
            let ms = |seconds: f64| rounded(seconds * 1e3, 5);
            let layers = layers.iter().map(|layer| {
                json!({
                    "layer": layer.name, "what": layer.what,
                    "forward_ms": ms(layer.forward), "backward_ms": ms(layer.backward),
                })
            });
            object["one_thread"] = json!({
                "layers": layers.collect::<Vec<_>>(),
                "between_ms": ms(*between), "update_ms": ms(*update), "step_ms": ms(*step),
            });
        }
        object
    }
}

/// The parts of a step, in milliseconds and as shares of it.
fn by_layer(Profile { layers, between, update, step }: &Profile) -> Result<()> {
    let part = |name: &str, what: &str, passes: [Option<f64>; 2], all: f64| {
        let [forward, backward] = passes.map(|seconds| seconds.map_or(String::new(), |s| format!("{:.4}", s * 1e3)));
        line(&format!("  {name:8}  {what:24}  {forward:>10}  {backward:>11}  {:4.1} %", 100.0 * all / step))
    };
    line(&format!(
        "  {:8}  {:24}  {:>10}  {:>11}  {:>6}  (one thread)",
        "layer", "what", "forward ms", "backward ms", "share"
    ))?;
    for layer in layers {
        let (forward, backward) = (layer.forward, layer.backward);
        part(&layer.name, &layer.what, [Some(forward), Some(backward)], forward + backward)?;
    }
    part("between", "packing, cost, sums", [None, Some(*between)], *between)?;
    part("update", "sgd with momentum", [None, Some(*update)], *update)?;
    part("step", "all of it", [None, Some(*step)], *step)
}
