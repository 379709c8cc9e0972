//! `mnist`: trains and tests networks on handwritten digits.

mod args;
mod data;
mod evaluate;
mod interrupt;
mod output;
mod recipe;
mod recipes;
mod train;
mod vote;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command, DataArgs};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        None => with_threads(&cli.train.data, || train::run(&cli.train)),
        Some(Command::Train(args)) => with_threads(&args.data, || train::run(&args)),
        Some(Command::Evaluate(args)) => with_threads(&args.data, || evaluate::run(&args)),
        Some(Command::Vote(args)) => with_threads(&args.data, || vote::run(&args)),
        Some(Command::Recipes(args)) => recipes::run(&args),
    };
    match result {
        Ok(status) => status,
        // whoever reads our output has seen enough
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs in a pool of the threads that were asked for, entered once.
fn with_threads(args: &DataArgs, run: impl FnOnce() -> anyhow::Result<ExitCode> + Send) -> anyhow::Result<ExitCode> {
    let all = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(256);
    conv_kernels::pool(args.threads.map_or(all, usize::from))?.install(run)
}
