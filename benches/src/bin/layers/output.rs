//! Results for people, in columns, and for programs, in JSON lines.

use std::io::{self, Write as _};

use anyhow::Result;
use conv_kernels::Algorithm;
use overlay_benches::passes::Pass;
use overlay_benches::shapes::Layer;
use serde_json::json;

/// One measurement.
pub(crate) struct Row<'a> {
    pub(crate) layer: &'a Layer,
    pub(crate) pass: Pass,
    pub(crate) seconds: f64,
    /// What the machine could do, in FLOP/s.
    pub(crate) peak: f64,
    pub(crate) kernel: Algorithm,
}

/// Where results go as they come.
pub(crate) struct Output {
    json: bool,
    threads: usize,
    /// Columns of the suite and layer.
    widths: [usize; 2],
    /// Suite, pass and share of peak of every row.
    shares: Vec<(String, Pass, f64)>,
}

impl Output {
    pub(crate) fn new(json: bool, threads: usize, layers: &[Layer]) -> Result<Self> {
        let longest = |name: fn(&Layer) -> &str| layers.iter().map(|layer| name(layer).len()).fold(5, usize::max);
        let widths = [longest(|layer| &layer.suite), longest(|layer| &layer.name)];
        let output = Self { json, threads, widths, shares: Vec::new() };
        if !json {
            let [suite, layer] = widths;
            line(&format!(
                "{:suite$}  {:layer$}  {:15}  {:>10}  {:>8}  {:>6}  kernel (threads: {threads})",
                "suite", "layer", "pass", "ms", "GFLOP/s", "peak"
            ))?;
        }
        Ok(output)
    }

    pub(crate) fn row(&mut self, row: Row<'_>) -> Result<()> {
        let Row { layer, pass, seconds, peak, kernel } = row;
        let (ms, gflops, share) = (seconds * 1e3, layer.flops() / seconds / 1e9, layer.flops() / seconds / peak);
        self.shares.push((layer.suite.clone(), pass, share));
        let [suite, name] = self.widths;
        if self.json {
            let rounded = |value: f64, digits: i32| (value * 10f64.powi(digits)).round() / 10f64.powi(digits);
            line(
                &json!({
                    "peer": "overlay", "threads": self.threads, "suite": layer.suite, "layer": layer.name,
                    "pass": pass.to_string(), "ms": rounded(ms, 5), "gflops": rounded(gflops, 2),
                    "peak_share": rounded(share, 4), "kernel": kernel.to_string(),
                })
                .to_string(),
            )
        } else {
            line(&format!(
                "{:suite$}  {:name$}  {pass:15}  {ms:10.4}  {gflops:8.1}  {:4.1} %  {kernel}",
                layer.suite,
                layer.name,
                100.0 * share
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

/// Nothing of nothing.
fn geometric_mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0, 0.0), |(count, sum), value| (count + 1, sum + value.ln()));
    (count > 0).then(|| (sum / f64::from(count)).exp())
}

/// A line of results, on standard output.
pub(crate) fn line(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// A line for the person who waits, on standard error; lost when nobody reads it.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
