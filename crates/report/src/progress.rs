//! Progress of a training run.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use net::{
    Flow, Observer,
    observe::{EpochReport, Notice, Run, StepReport},
};

/// Shows a training run: on a terminal a bar that moves and one line that stays for each epoch, elsewhere the lines alone.
pub struct Progress {
    out: Out,
    epochs: u64,
    batch_size: usize,
    /// The epoch that the bar shows.
    epoch: u64,
    /// The cost of recent steps, smoothed.
    cost: Option<f64>,
}

enum Out {
    Bar(ProgressBar),
    Lines(Box<dyn Write + Send>),
}

impl Progress {
    /// On standard error.
    #[must_use]
    pub fn stderr() -> Self {
        if io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            let style = ProgressStyle::with_template(
                "{prefix} {bar:24.cyan} {pos:>6}/{len} images  {per_sec:>12}  {msg}  eta {eta}",
            );
            // an unknown key in the template is a mistake of this file, and the default bar still shows the run
            if let Ok(style) = style {
                bar.set_style(style.progress_chars("━╸ ").with_key("per_sec", per_second));
            }
            return Self::new(Out::Bar(bar));
        }
        Self::lines(io::stderr())
    }

    /// One plain line an epoch, without control characters: for pipes, logs and files.
    ///
    /// A line that cannot be written is dropped: a full disk does not end a training run.
    #[must_use]
    pub fn lines(out: impl Write + Send + 'static) -> Self {
        Self::new(Out::Lines(Box::new(out)))
    }

    fn new(out: Out) -> Self {
        Self { out, epochs: 0, batch_size: 0, epoch: 0, cost: None }
    }

    /// A line that stays.
    fn say(&mut self, line: &dyn fmt::Display) {
        match &mut self.out {
            Out::Bar(bar) => bar.suspend(|| {
                let _ = writeln!(io::stderr(), "{line}");
            }),
            Out::Lines(out) => {
                let _ = writeln!(out, "{line}").and_then(|()| out.flush());
            }
        }
    }
}

fn per_second(state: &indicatif::ProgressState, out: &mut dyn fmt::Write) {
    let _ = write!(out, "{:.0}/s", state.per_sec());
}

impl Observer for Progress {
    fn start(&mut self, run: &Run) {
        (self.epochs, self.batch_size) = (run.epochs, run.batch_size);
        (self.epoch, self.cost) = (0, None);
        if let Out::Bar(bar) = &self.out {
            bar.set_length(run.samples as u64);
        }
    }

    fn notice(&mut self, notice: &Notice) {
        self.say(notice);
    }

    fn step(&mut self, report: &StepReport) -> Flow {
        let smooth = self.cost.map_or(report.cost, |cost| 0.95 * cost + 0.05 * report.cost);
        self.cost = Some(smooth);
        if let Out::Bar(bar) = &self.out {
            if report.epoch != self.epoch {
                self.epoch = report.epoch;
                bar.set_prefix(format!(
                    "epoch {:>w$}/{}",
                    report.epoch,
                    self.epochs,
                    w = self.epochs.to_string().len()
                ));
                bar.reset();
                // a run that goes on from a checkpoint begins within an epoch
                bar.set_position((report.step - 1) * self.batch_size as u64);
                bar.reset_eta();
            }
            bar.inc(report.samples as u64);
            bar.set_message(format!("cost {smooth:.4}"));
        }
        Flow::Continue
    }

    fn epoch(&mut self, report: &EpochReport) -> Flow {
        self.say(&line(report, self.epochs));
        Flow::Continue
    }

    fn finish(&mut self) {
        if let Out::Bar(bar) = &self.out {
            bar.finish_and_clear();
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.out {
            Out::Bar(_) => "bar",
            Out::Lines(_) => "lines",
        };
        f.debug_tuple("Progress").field(&kind).finish()
    }
}

/// An epoch in one line.
fn line(report: &EpochReport, epochs: u64) -> String {
    format!(
        "epoch {:>width$}/{epochs}  {:.1} s  {:.0} images/s  cost {:.4}  train {:.2} %  held out {:.2} %  lr {}",
        report.epoch,
        report.seconds,
        report.samples_per_second,
        report.train_cost,
        100.0 * report.train_accuracy,
        100.0 * report.held_out.accuracy(),
        significant(report.learning_rate),
        width = epochs.to_string().len(),
    )
}

/// Three significant digits, without zeros at the end.
fn significant(value: f64) -> String {
    let digits = (2.0 - value.abs().log10().floor()).clamp(0.0, 12.0) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use net::{Evaluation, metrics::Confusion};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().map_err(|_| io::ErrorKind::Other)?.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn report(epoch: u64) -> EpochReport {
        let mut confusion = Confusion::new(2);
        confusion.add(0, 0);
        confusion.add(1, 0);
        EpochReport {
            epoch,
            train_cost: 0.21314,
            train_accuracy: 0.93621,
            held_out: Evaluation { cost: 0.1, confusion },
            learning_rate: 0.03,
            seconds: 2.12,
            samples_per_second: 28_400.4,
        }
    }

    #[test]
    fn a_pipe_gets_one_plain_line_an_epoch_and_a_notice() {
        let out = Shared::default();
        let mut progress = Progress::lines(out.clone());
        progress.start(&Run { epochs: 14, steps: 1, samples: 2, batch_size: 2, threads: 1 });
        progress.notice(&Notice::Resumed { path: "runs/a".into(), epochs: 0, steps: 1 });
        progress.step(&StepReport { epoch: 1, step: 1, samples: 2, cost: 0.5, learning_rate: 0.03 });
        progress.epoch(&report(1));
        progress.finish();
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let want = "resumed from runs/a (epochs done: 0, steps of the next: 1)\n\
            epoch  1/14  2.1 s  28400 images/s  cost 0.2131  train 93.62 %  held out 50.00 %  lr 0.03\n";
        assert_eq!(text, want);
    }

    #[test]
    fn learning_rates_are_short() {
        for (value, text) in
            [(0.03, "0.03"), (3.0, "3"), (0.012_345, "0.0123"), (1e-5, "0.00001"), (100.0, "100"), (0.0, "0")]
        {
            assert_eq!(significant(value), text);
        }
    }
}
