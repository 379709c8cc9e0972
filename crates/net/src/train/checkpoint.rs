//! Checkpoints: what a run leaves behind so that it can go on after it was ended, in whatever way.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use layers::Scalar;

use super::{
    course::Course,
    record::{self, Record, Saved},
    settings::{Settings, difference},
};
use crate::{
    NetError, Schedule, Sequential,
    observe::{Notice, Run},
    save::PARTIAL,
};

/// Where a run keeps its checkpoints, and how often it writes one; see [`Trainer::checkpoints`](crate::Trainer::checkpoints).
///
/// One is written after every epoch unless told otherwise, and in any case where the run ends or is stopped; never of a network
/// with an infinite parameter or NaN. The last two stay.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    every: Every,
}

#[derive(Clone, Copy, Debug)]
enum Every {
    Epochs(u64),
    Steps(u64),
}

impl Checkpoints {
    /// In a folder of their own, one run a folder; it is made if it is not there.
    #[must_use]
    pub fn in_dir(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), every: Every::Epochs(1) }
    }

    /// One after every `epochs` epochs, evaluated. 1 unless told otherwise.
    #[must_use]
    pub fn every_epochs(self, epochs: u64) -> Self {
        Self { every: Every::Epochs(epochs), ..self }
    }

    /// One after every `steps` steps of the run, in the middle of an epoch too.
    #[must_use]
    pub fn every_steps(self, steps: u64) -> Self {
        Self { every: Every::Steps(steps), ..self }
    }

    pub(super) fn check(&self) -> Result<(), NetError> {
        match self.every {
            Every::Epochs(0) | Every::Steps(0) => {
                Err(NetError::Setting("the epochs or steps between two checkpoints must be at least 1".into()))
            }
            _ => Ok(()),
        }
    }
}

/// Writes the checkpoints of one run, and finds them again.
pub(super) struct Keeper {
    checkpoints: Checkpoints,
    settings: Settings,
    schedule: Schedule,
    run: Run,
}

impl Keeper {
    pub(super) fn new(checkpoints: Checkpoints, settings: Settings, schedule: Schedule, run: Run) -> Self {
        Self { checkpoints, settings, schedule, run }
    }

    /// Whether a checkpoint is wanted here.
    pub(super) fn due<T: Scalar>(&self, course: &Course<T>) -> bool {
        match self.checkpoints.every {
            Every::Epochs(epochs) => course.at.step == 0 && course.at.epoch.is_multiple_of(epochs),
            Every::Steps(steps) => course.optimizer.step_number().is_multiple_of(steps),
        }
    }

    /// Writes a checkpoint, then removes all but it and the one before it.
    pub(super) fn write<T: Scalar>(&self, net: &Sequential<T>, course: &mut Course<T>) -> Result<(), NetError> {
        let number = course.optimizer.step_number();
        let path = self.checkpoints.folder.join(file_name(number));
        let record = Record { settings: self.settings.clone(), epochs: self.run.epochs, at: course.at.clone() };
        record::write(&path, &record, net, course)?;
        course.checkpoint = Some(path);
        self.tidy(number)
    }

    /// Goes on from the newest checkpoint that can be read; the notice says from which. Without any, the run begins.
    pub(super) fn resume<T: Scalar>(
        &self,
        net: &mut Sequential<T>,
        course: &mut Course<T>,
    ) -> Result<Vec<Notice>, NetError> {
        let folder = &self.checkpoints.folder;
        fs::create_dir_all(folder).map_err(|cause| NetError::File { path: folder.clone(), cause })?;
        let mut notices = Vec::new();
        for (_, path) in self.list()? {
            let restored = Saved::read(&path).and_then(|saved| {
                self.compare(&path, &saved.record)?;
                let fail = |problem| NetError::Model { path: path.clone(), problem };
                saved.restore(&self.run, net, course).map_err(fail)
            });
            match restored {
                Ok(()) => {
                    notices.push(Notice::Resumed {
                        path: path.clone(),
                        epochs: course.at.epoch,
                        steps: course.at.step,
                    });
                    course.checkpoint = Some(path);
                    return Ok(notices);
                }
                Err(error @ NetError::OtherRun { .. }) => return Err(error),
                Err(error) => notices.push(Notice::Skipped { problem: error.to_string() }),
            }
        }
        match notices.first() {
            // to begin anew is for the user to decide
            Some(Notice::Skipped { problem }) => {
                let problem = format!("no checkpoint here can be read, remove them to begin anew; {problem}");
                Err(NetError::Model { path: folder.clone(), problem })
            }
            _ => Ok(notices),
        }
    }

    /// Refuses a checkpoint of a run that would have learnt something else.
    fn compare(&self, path: &Path, record: &Record) -> Result<(), NetError> {
        let mut differences = self.settings.differences(&record.settings);
        let now = &self.run;
        if differences.is_empty() && record.epochs != now.epochs {
            let then = Run { epochs: record.epochs, ..now.clone() };
            let done = record.at.epoch.saturating_mul(now.steps).saturating_add(record.at.step);
            let rate = |run: &Run, step| self.schedule.factor(run.position(step));
            let beyond = done > now.epochs.saturating_mul(now.steps);
            if beyond || (0..done).any(|step| rate(&then, step) != rate(now, step)) {
                let why = if beyond { "fewer than are done" } else { "which changes the learning rates of steps made" };
                let line = difference("epochs", &record.epochs.to_string(), &now.epochs.to_string());
                differences.push(format!("{line}, {why}"));
            }
        }
        if differences.is_empty() { Ok(()) } else { Err(NetError::OtherRun { path: path.into(), differences }) }
    }

    /// The checkpoints in the folder, with their numbers, the newest first.
    fn list(&self) -> Result<Vec<(u64, PathBuf)>, NetError> {
        let names = self.names()?.into_iter();
        let mut all: Vec<_> =
            names.filter_map(|name| Some((number(&name)?, self.checkpoints.folder.join(name)))).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        Ok(all)
    }

    /// Keeps checkpoint `newest` and the one before it. What else there is could not be read, or was half written when a run
    /// was killed.
    fn tidy(&self, newest: u64) -> Result<(), NetError> {
        let all = self.list()?;
        let before = all.iter().map(|(number, _)| *number).find(|&number| number < newest);
        let old = all.into_iter().filter(|&(number, _)| number != newest && Some(number) != before);
        let partial = |name: &String| name.starts_with(PARTIAL[0]) && name.ends_with(PARTIAL[1]);
        let partial = self.names()?.into_iter().filter(partial).map(|name| self.checkpoints.folder.join(name));
        for path in old.map(|(_, path)| path).chain(partial) {
            match fs::remove_file(&path) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(NetError::File { path, cause }),
                _ => {}
            }
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>, NetError> {
        let folder = &self.checkpoints.folder;
        let names = fs::read_dir(folder).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>, _>>()
        });
        let names = names.map_err(|cause| NetError::File { path: folder.clone(), cause })?;
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }
}

/// `checkpoint-0000000120.safetensors`: after 120 steps.
fn file_name(steps: u64) -> String {
    format!("checkpoint-{steps:010}.safetensors")
}

fn number(name: &str) -> Option<u64> {
    let number = name.strip_prefix("checkpoint-")?.strip_suffix(".safetensors")?.parse().ok()?;
    // no other spelling of the number
    (file_name(number) == name).then_some(number)
}
