//! `roofline`: what limits a kernel on this machine: its multiply-adds, and how fast each level of its memory is read.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use conv_kernels::machine::Machine;
use overlay_benches::output::{all_threads, exit, line, rounded};
use overlay_benches::peak::{clock, fma_peak, read_bandwidth};
use rayon::ThreadPool;
use serde_json::{Value, json};

/// What each thread reads over and over, in KiB: from what fits the smallest cache to what fits none.
const LEVELS: [usize; 8] = [16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10];

/// All threads together read from at most this many KiB.
const MOST: usize = 2 << 20;

/// Measures the clock, the peak of multiply-adds, and the bandwidth of reading, each as the best of many short windows.
///
/// The ridge of a level is the work on each byte, in flop of f32, above which arithmetic is the limit and not that level.
#[derive(Debug, Parser)]
#[command(name = "roofline", version)]
struct Args {
    /// Threads beside the measurement with one, 1 to 256 [default: one for each processor]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    exit(run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    let roofline = Roofline { machine: Machine::detect()?, clock: clock(), json: args.json };
    roofline.processor()?;
    let one = conv_kernels::pool(1)?;
    let all = conv_kernels::pool(args.threads.unwrap_or_else(all_threads))?;
    roofline.limits(&one)?;
    if all.current_num_threads() > 1 {
        roofline.limits(&all)?;
    }
    Ok(())
}

/// What is measured, and how it is shown.
struct Roofline {
    machine: Machine,
    /// Cycles a second.
    clock: f64,
    json: bool,
}

impl Roofline {
    fn processor(&self) -> Result<()> {
        let (name, vectors, ghz) = (cpu(), self.machine.instruction_set(), self.clock / 1e9);
        self.show(format!("{name}, vectors: {vectors}"), json!({"what": "cpu", "name": name, "vectors": vectors}))?;
        self.show(
            format!("clock: {ghz:.2} GHz, if integers are rotated, xored and added in a cycle each"),
            json!({"what": "clock", "ghz": rounded(ghz, 3)}),
        )
    }

    /// What the threads of a pool can do together.
    fn limits(&self, pool: &ThreadPool) -> Result<()> {
        let single = fma_peak::<f32>(self.machine, pool);
        self.arithmetic(pool, "f32", single)?;
        self.arithmetic(pool, "f64", fma_peak::<f64>(self.machine, pool))?;
        for kib in LEVELS.map(|kib| kib.min(MOST / pool.current_num_threads())) {
            self.reading(pool, kib, read_bandwidth(self.machine, pool, kib << 10), single)?;
        }
        Ok(())
    }

    fn arithmetic(&self, pool: &ThreadPool, element: &str, peak: f64) -> Result<()> {
        let threads = pool.current_num_threads();
        let (gflops, a_cycle) = (peak / 1e9, peak / self.clock / threads as f64);
        self.show(
            format!("threads: {threads}, {element}: {gflops:7.1} GFLOP/s, {a_cycle:4.1} flop a cycle and thread"),
            json!({
                "what": "multiply_adds", "threads": threads, "element": element,
                "gflops": rounded(gflops, 2), "flop_a_cycle": rounded(a_cycle, 2),
            }),
        )
    }

    fn reading(&self, pool: &ThreadPool, kib: usize, rate: f64, peak: f64) -> Result<()> {
        let threads = pool.current_num_threads();
        let (gigabytes, a_cycle, ridge) = (rate / 1e9, rate / self.clock / threads as f64, peak / rate);
        self.show(
            format!(
                "threads: {threads}, read {kib:6} KiB each: {gigabytes:6.1} GB/s, {a_cycle:5.1} B a cycle and thread, \
                 ridge at {ridge:5.1} flop/B",
            ),
            json!({
                "what": "read", "threads": threads, "kib": kib, "gb_s": rounded(gigabytes, 2),
                "bytes_a_cycle": rounded(a_cycle, 2), "ridge": rounded(ridge, 3),
            }),
        )
    }

    fn show(&self, text: String, entry: Value) -> Result<()> {
        line(&if self.json { entry.to_string() } else { text })
    }
}

/// What the system calls the processor.
fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim()));
    name.unwrap_or("unnamed CPU").to_owned()
}
