//! Results for people, in columns, and for programs, in JSON lines.

use anyhow::Result;
use conv_kernels::Algorithm;
use overlay_benches::output::{geometric_mean, line, rounded};
use overlay_benches::passes::{Pass, Times};
use overlay_benches::shapes::Layer;
use serde_json::json;

/// One measurement.
pub(crate) struct Row<'a> {
    pub(crate) layer: &'a Layer,
    pub(crate) pass: Pass,
    pub(crate) times: Times,
    /// What the machine could do, in FLOP/s.
    pub(crate) peak: f64,
    pub(crate) kernel: Algorithm,
}

/// Where results go as they come.
pub(crate) struct Table {
    json: bool,
    threads: usize,
    /// Columns of the suite and layer.
    widths: [usize; 2],
    /// Suite, pass and share of peak of every row.
    shares: Vec<(String, Pass, f64)>,
}

impl Table {
    pub(crate) fn new(json: bool, threads: usize, layers: &[Layer]) -> Result<Self> {
        let longest = |name: fn(&Layer) -> &str| layers.iter().map(|layer| name(layer).len()).fold(5, usize::max);
        let widths = [longest(|layer| &layer.suite), longest(|layer| &layer.name)];
        let table = Self { json, threads, widths, shares: Vec::new() };
        if !json {
            let [suite, layer] = widths;
            line(&format!(
                "{:suite$}  {:layer$}  {:15}  {:>10}  {:>8}  {:>7}  {:>7}  kernel (threads: {threads})",
                "suite", "layer", "pass", "ms", "GFLOP/s", "peak", "at best"
            ))?;
        }
        Ok(table)
    }

    pub(crate) fn row(&mut self, row: Row<'_>) -> Result<()> {
        let Row { layer, pass, times: Times { median, best }, peak, kernel } = row;
        let share_of = |seconds: f64| layer.flops() / seconds / peak;
        let (ms, gflops, share) = (median * 1e3, layer.flops() / median / 1e9, share_of(median));
        self.shares.push((layer.suite.clone(), pass, share));
        let [suite, name] = self.widths;
        if self.json {
            line(
                &json!({
                    "peer": "overlay", "threads": self.threads, "suite": layer.suite, "layer": layer.name,
                    "pass": pass.to_string(), "ms": rounded(ms, 5), "best_ms": rounded(best * 1e3, 5), "gflops": rounded(gflops, 2),
                    "peak_share": rounded(share, 4), "kernel": kernel.to_string(),
                })
                .to_string(),
            )
        } else {
            line(&format!(
                "{:suite$}  {:name$}  {pass:15}  {ms:10.4}  {gflops:8.1}  {:5.1} %  {:5.1} %  {kernel}",
                layer.suite,
                layer.name,
                100.0 * share,
                100.0 * share_of(best)
            ))
        }
    }

    /// The geometric mean of the shares, by suite and pass.
    pub(crate) fn finish(self) -> Result<()> {
        if self.json {
            return Ok(());
        }
        let mut suites: Vec<&str> = self.shares.iter().map(|(suite, ..)| suite.as_str()).collect();
        suites.dedup();
        line("\ngeometric mean of the share of peak")?;
        for suite in suites {
            for pass in Pass::ALL {
                let of = |wanted: &(String, Pass, f64)| wanted.0 == suite && wanted.1 == pass;
                let shares = self.shares.iter().filter(|row| of(row)).map(|(.., share)| *share);
                if let Some(mean) = geometric_mean(shares) {
                    line(&format!("{suite:0$}  {pass:15}  {1:4.1} %", self.widths[0], 100.0 * mean))?;
                }
            }
        }
        Ok(())
    }
}
