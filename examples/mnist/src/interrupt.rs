//! Ctrl-C: the first ends the run after its step, the second ends the program.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Context as _;
use net::{
    Flow, Observer,
    observe::{EpochReport, StepReport},
};

use crate::output;

/// The exit status of a program that Ctrl-C ended.
pub(crate) const STATUS: u8 = 130;

/// Whether Ctrl-C was pressed; as an observer, it stops the run then.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Begins to listen. To be called once.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let pressed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&pressed);
        ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::SeqCst) {
                std::process::exit(i32::from(STATUS));
            }
            output::note("\nstopping after this step; Ctrl-C again quits at once");
        })
        .context("could not listen for Ctrl-C")?;
        Ok(Self(pressed))
    }

    pub(crate) fn pressed(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn flow(&self) -> Flow {
        if self.pressed() { Flow::Stop } else { Flow::Continue }
    }
}

impl Observer for Interrupt {
    fn step(&mut self, _: &StepReport) -> Flow {
        self.flow()
    }

    fn epoch(&mut self, _: &EpochReport) -> Flow {
        self.flow()
    }
}
