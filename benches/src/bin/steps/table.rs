//! Results for people, in columns, and for programs, in JSON lines.

use anyhow::Result;
use overlay_benches::clocks::Profile;
use overlay_benches::output::{line, rounded};
use serde_json::{Value, json};

/// The measurements of one network and batch.
pub(crate) struct Row<'a> {
    pub(crate) net: &'a str,
    pub(crate) batch: usize,
    /// Seconds of a training step.
    pub(crate) train: f64,
    /// Seconds of the inference of a batch.
    pub(crate) infer: f64,
    /// Seconds of the inference of one image.
    pub(crate) single: f64,
    /// The share of peak that a training step reaches.
    pub(crate) peak_share: f64,
    /// Memory of the batch's activations.
    pub(crate) bytes: usize,
    /// The time by layer, if asked for.
    pub(crate) profile: Option<Profile>,
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
            "{:13}  {:>5}  {:>11}  {:>11}  {:>9}  {:>6}  {:>7}  (threads: {})",
            "net", "batch", "train img/s", "infer img/s", "single µs", "share", "MiB", self.threads
        ))
    }

    pub(crate) fn row(&self, row: &Row<'_>) -> Result<()> {
        if self.json {
            return line(&self.object(row).to_string());
        }
        let Row { net, batch, train, infer, single, peak_share, bytes, profile } = row;
        let images = *batch as f64;
        let (train, infer, single) = (images / train, images / infer, single * 1e6);
        let (share, mib) = (100.0 * peak_share, *bytes as f64 / f64::from(1 << 20));
        line(&format!("{net:13}  {batch:5}  {train:11.0}  {infer:11.0}  {single:9.1}  {share:4.1} %  {mib:7.2}"))?;
        profile.as_ref().map_or(Ok(()), by_layer)
    }

    fn object(&self, row: &Row<'_>) -> Value {
        let images = row.batch as f64;
        let mut object = json!({
            "peer": "overlay", "net": row.net, "batch": row.batch, "threads": self.threads,
            "train_img_s": rounded(images / row.train, 0), "infer_img_s": rounded(images / row.infer, 0),
            "single_us": rounded(row.single * 1e6, 2), "peak_share": rounded(row.peak_share, 4),
            "activation_bytes": row.bytes,
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
