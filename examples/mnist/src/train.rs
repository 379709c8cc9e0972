//! `mnist`, `mnist train`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use net::{Sequential, cost::SoftmaxCrossEntropy};
use report::Progress;

use crate::{
    args::TrainArgs,
    data,
    evaluate::TRAINED_ON,
    interrupt::{self, Interrupt},
    models, output,
};

pub(crate) fn run(args: &TrainArgs) -> anyhow::Result<ExitCode> {
    if cfg!(debug_assertions) {
        output::note("note    this is a debug build: add --release, it is many times faster");
    }
    if let Some(path) = &args.save {
        check_writable(path)?;
    }
    let interrupt = Interrupt::listen()?;
    let data = data::load(&args.data)?;
    let mut net = models::build(args.model, args.seed)?;
    output::line(&format!("{}", net.summary()))?;

    let mut trainer = models::trainer(args, data.train.len()).observe(Progress::stderr()).observe(interrupt.clone());
    trainer.fit(&mut net, data.train.pair(), data.test.pair())?;

    net.metadata_mut().insert(TRAINED_ON.into(), data.provenance().into());
    net.metadata_mut().insert("seed".into(), args.seed.to_string());
    let path = args.save.clone().or_else(|| interrupt.pressed().then(free_name));
    if let Some(path) = &path {
        net.save(path)?;
        output::line(&format!("saved   {}", path.display()))?;
    }
    finish(&net, &data, interrupt.pressed())
}

fn finish(net: &Sequential, data: &mnist_io::Mnist, interrupted: bool) -> anyhow::Result<ExitCode> {
    let evaluation = net.evaluate(data.test.pair(), &SoftmaxCrossEntropy::new())?;
    output::accuracy(&evaluation)?;
    Ok(if interrupted { ExitCode::from(interrupt::STATUS) } else { ExitCode::SUCCESS })
}

/// Whether a file can be made there: better said before the training than after it.
fn check_writable(path: &Path) -> anyhow::Result<()> {
    if path.is_dir() {
        anyhow::bail!("--save {}: this is a folder; name a file in it", path.display());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::tempfile_in(folder)
        .map(drop)
        .with_context(|| format!("--save {}: no file can be made in that folder", path.display()))
}

/// Where to put what an interrupted run learnt, when nobody said: a name that is not taken.
fn free_name() -> PathBuf {
    let names = (1..).map(|n| PathBuf::from(format!("mnist-interrupted-{n}.safetensors")));
    names.into_iter().find(|path| !path.exists()).unwrap_or_else(|| PathBuf::from("mnist-interrupted.safetensors"))
}
