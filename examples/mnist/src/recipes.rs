//! `mnist recipes`.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::{
    args::RecipesArgs,
    output,
    recipe::{self, BUNDLED, Overrides, Recipe},
};

pub(crate) fn run(args: &RecipesArgs) -> anyhow::Result<ExitCode> {
    match &args.name {
        Some(name) => output::line(recipe::text(name).with_context(|| recipe::unknown(name))?.trim_end())?,
        None => {
            output::line("recipe                        parameters  multiply-adds  training on MNIST  what")?;
            for (name, _) in BUNDLED {
                output::line(&row(name)?)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Name, parameters, multiply-adds of an image's forward pass, operations of the whole run, title.
fn row(name: &str) -> anyhow::Result<String> {
    let recipe = Recipe::load(name, Overrides::default())?;
    let net = recipe.network(0)?;
    let parameters = net.summary().parameters();
    let training = recipe::teraflop(recipe.flop(&net, recipe::MNIST));
    Ok(format!("{name:<28}  {parameters:>10}  {:>13}  {training:>17}  {}", net.macs(), recipe.title))
}
