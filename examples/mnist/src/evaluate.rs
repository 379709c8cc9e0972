//! `mnist evaluate MODEL`.

use std::{path::Path, process::ExitCode};

use anyhow::Context as _;
use mnist_io::Mnist;
use net::{Sequential, cost::SoftmaxCrossEntropy};

use crate::{args::EvaluateArgs, data, output};

/// The note in a model file that says what it learnt from.
pub(crate) const TRAINED_ON: &str = "trained_on";

pub(crate) fn run(args: &EvaluateArgs) -> anyhow::Result<ExitCode> {
    let net: Sequential = Sequential::load(&args.model)?;
    let (data, line) = data::load(&args.data)?;
    output::line(&line)?;
    check_origin(&net, &args.model, &data)?;
    // the cost is not shown: models learn with different ones
    let evaluation = net
        .evaluate(data.test.pair(), &SoftmaxCrossEntropy::new())
        .with_context(|| format!("{} is not for these images", args.model.display()))?;
    output::line(&format!("{}\n", net.summary()))?;
    output::line(&evaluation.confusion.to_string())?;
    output::line(&output::accuracy(&evaluation.confusion))?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses a network that learnt from the images it is to be tested on, where that can be known.
pub(crate) fn check_origin(net: &Sequential, model: &Path, data: &Mnist) -> anyhow::Result<()> {
    match net.metadata().get(TRAINED_ON) {
        Some(trained_on) => {
            mnist_io::check_leakage(trained_on, data.provenance()).with_context(|| model.display().to_string())?;
            if trained_on != data.provenance() {
                output::note(&format!("note    this network learnt from {trained_on}"));
            }
        }
        None => {
            output::note("note    the file does not say what the network learnt from: perhaps from these very images")
        }
    }
    Ok(())
}
