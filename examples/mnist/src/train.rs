//! `mnist`, `mnist train`.

use std::{
    num::{NonZeroU64, NonZeroUsize},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use net::{Checkpoints, NetError, Trainer, augment::Expanded, cost::SoftmaxCrossEntropy};
use report::Progress;

use crate::{
    args::TrainArgs,
    data,
    evaluate::TRAINED_ON,
    interrupt::{self, Interrupt},
    output,
    recipe::{Overrides, Recipe},
};

pub(crate) fn run(args: &TrainArgs) -> anyhow::Result<ExitCode> {
    if cfg!(debug_assertions) {
        output::note("note    this is a debug build: add --release, it is many times faster");
    }
    if let Some(path) = &args.save {
        check_writable(path)?;
    }
    let recipe = Recipe::load(&args.recipe, overrides(args))?;
    // a reader who went away is no reason to lose what is to be saved
    let say = |text: &str| match output::line(text) {
        Err(error) if (args.save.is_some() || args.checkpoint.is_some()) && output::is_broken_pipe(&error) => Ok(()),
        result => result,
    };
    let interrupt = Interrupt::listen()?;
    let (data, line) = data::load(&args.data)?;
    say(&line)?;
    let mut net = recipe.network(args.seed)?;
    let notes = net.metadata_mut();
    notes.insert(TRAINED_ON.into(), data.provenance().into());
    notes.insert("seed".into(), args.seed.to_string());
    say(&format!("recipe  {}: {}", args.recipe, recipe.describe(&net, data.train.len())))?;
    say(&net.summary().to_string())?;
    if interrupt.pressed() {
        return Ok(ExitCode::from(interrupt::STATUS));
    }

    let trainer = trainer(args, &recipe, data.train.len())?;
    let mut trainer = trainer.observe(Progress::stderr()).observe(interrupt.clone());
    let (train, validation) = recipe.cut(data.train.view());
    let held_out = validation.unwrap_or(data.test.view());
    let trained = if recipe.expands() {
        trainer.fit(&mut net, Expanded::new(train.pair()).pair(), held_out.pair())
    } else {
        trainer.fit(&mut net, train.pair(), held_out.pair())
    };
    if let Err(error @ (NetError::Diverged { .. } | NetError::NotFinite { .. })) = trained {
        let kept = args.save.as_deref().map_or(Ok(()), |path| net.save(path));
        return kept.map_err(Into::into).and(Err(error.into()));
    }
    let history = trained?;
    if let Some(best) = history.best().filter(|_| recipe.keeps_best()) {
        let accuracy = 100.0 * best.held_out.accuracy();
        say(&format!(
            "kept    the network of epoch {}, the best on the validation images: {accuracy:.2} %",
            best.epoch
        ))?;
    }
    let path = args.save.clone().or_else(|| (interrupt.pressed() && args.checkpoint.is_none()).then(free_name));
    if let Some(path) = path {
        net.save(&path)?;
        say(&format!("saved   {}", path.display()))?;
    }
    if let Some(patience) = recipe.patience().filter(|_| history.stopped && !interrupt.pressed()) {
        let epoch = history.epochs.len();
        say(&format!("stopped after epoch {epoch}: no better one on the validation images among the last {patience}"))?;
    } else if let Some(folder) = args.checkpoint.as_deref().filter(|_| history.stopped) {
        say(&format!("stopped; the same command goes on from the checkpoint in {}", folder.display()))?;
    }
    match history.epochs.last() {
        Some(last) if !history.stopped && validation.is_none() => say(&output::accuracy(&last.held_out.confusion))?,
        _ => say(&output::accuracy(&net.evaluate(data.test.pair(), &SoftmaxCrossEntropy::new())?.confusion))?,
    }
    Ok(if interrupt.pressed() { ExitCode::from(interrupt::STATUS) } else { ExitCode::SUCCESS })
}

/// What the command line says in the recipe's place.
fn overrides(args: &TrainArgs) -> Overrides {
    Overrides {
        epochs: args.epochs.and_then(|n| NonZeroU64::new(n.into())),
        batch_size: args.batch_size.and_then(|n| NonZeroUsize::new(n as usize)),
        learning_rate: args.lr,
        augment: args.augment,
    }
}

/// The recipe's run, with the seed and the checkpoints of the command line.
fn trainer<'o>(args: &TrainArgs, recipe: &Recipe, images: usize) -> anyhow::Result<Trainer<'o, f32>> {
    let trainer = recipe.trainer(images)?.seed(args.seed);
    Ok(match &args.checkpoint {
        Some(folder) => trainer.checkpoints(match args.checkpoint_every {
            Some(steps) => Checkpoints::in_dir(folder).every_steps(steps),
            None => Checkpoints::in_dir(folder),
        }),
        None => trainer,
    })
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
    let mut names = (1..).map(|n: u32| PathBuf::from(format!("mnist-interrupted-{n}.safetensors")));
    names.find(|path| !path.exists()).expect("no folder holds four billion files")
}
