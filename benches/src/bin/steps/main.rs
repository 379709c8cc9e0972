//! `steps`: how fast whole networks learn and answer, beside what the machine could do.

mod args;
mod table;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser as _;
use conv_kernels::machine::Machine;
use net::{Images, Sequential};
use overlay_benches::clocks::profile;
use overlay_benches::memory::PeakMemory;
use overlay_benches::networks::{Batch, Training, activation_bytes, infer_flops, network, step_flops};
use overlay_benches::output::{all_threads, exit};
use overlay_benches::passes::median_seconds;
use overlay_benches::peak::fma_peak;

use args::Args;
use table::{Figure, Row, Table};

fn main() -> ExitCode {
    exit(run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    let machine = Machine::detect()?;
    let (pool, one) = (conv_kernels::pool(args.threads.unwrap_or_else(all_threads))?, conv_kernels::pool(1)?);
    let table = Table { json: args.json, threads: pool.current_num_threads() };
    table.heading()?;
    for batch in args.batch.iter().map(|&batch| usize::from(batch)) {
        for name in &args.nets {
            let peak = fma_peak::<f32>(machine, &pool);
            let mut row = pool.install(|| measure(name, batch, peak, args.secs))?;
            if args.layers {
                row.profile = Some(one.install(|| profile(&network(name)?, Batch::new(batch)?, args.secs))?);
            }
            table.row(&row)?;
        }
    }
    Ok(())
}

/// A network on all threads of the current pool; `peak` is what they could do, in FLOP/s.
fn measure(name: &str, batch: usize, peak: f64, least_seconds: f64) -> Result<Row<'_>> {
    let memory = PeakMemory::begin();
    let (net, images) = (network(name)?, Batch::new(batch)?);
    let (step, infer_one) = (step_flops(&net)? * batch as f64, infer_flops(&net));
    let activations = activation_bytes(&net)? * batch;

    let infer = inference(&net, &images.images(), least_seconds)?;
    let single = inference(&net, &images.first(), least_seconds)?;
    let (mut training, mut cost) = (Training::new(net, images), 0.0);
    let train = median_seconds(least_seconds, || {
        cost = training.step()?;
        Ok(())
    })?;
    ensure!(cost.is_finite(), "{name}, batch {batch}: the cost has become {cost}, so the times say little");
    Ok(Row {
        net: name,
        batch,
        train: Figure { seconds: train, peak_share: step / train / peak },
        infer: Figure { seconds: infer, peak_share: infer_one * batch as f64 / infer / peak },
        single: Figure { seconds: single, peak_share: infer_one / single / peak },
        activation_bytes: activations,
        peak_bytes: memory.and_then(|memory| memory.bytes()),
        profile: None,
    })
}

/// The seconds that a network takes to answer, from a workspace for as many images.
fn inference(net: &Sequential, images: &Images<'_, f32>, least_seconds: f64) -> Result<f64> {
    let mut workspace = net.inference_workspace(images.len());
    median_seconds(least_seconds, || Ok(net.infer(&mut workspace, images).map(|_| ())?))
}
