//! `mnist evaluate MODEL`.

use std::process::ExitCode;

use anyhow::Context as _;
use net::{Sequential, cost::SoftmaxCrossEntropy};

use crate::{args::EvaluateArgs, data, output};

/// The note in a model file that says what it learnt from.
pub(crate) const TRAINED_ON: &str = "trained_on";

pub(crate) fn run(args: &EvaluateArgs) -> anyhow::Result<ExitCode> {
    let net: Sequential = Sequential::load(&args.model)?;
    let data = data::load(&args.data)?;
    if let Some(trained_on) = net.metadata().get(TRAINED_ON) {
        mnist_io::check_leakage(trained_on, data.provenance()).with_context(|| args.model.display().to_string())?;
    }
    // the cost is not shown: models learn with different ones
    let evaluation = net
        .evaluate(data.test.pair(), &SoftmaxCrossEntropy::new())
        .with_context(|| format!("{} does not fit the images", args.model.display()))?;
    output::line(&format!("{}\n", net.summary()))?;
    output::line(&format!("{}", evaluation.confusion))?;
    output::accuracy(&evaluation)?;
    Ok(ExitCode::SUCCESS)
}
