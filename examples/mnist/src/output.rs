//! Writing to the terminal or into a pipe, without panicking when nobody reads.

use std::io::{self, Write as _};

use net::metrics::Confusion;

/// A line of results, on standard output.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|error| anyhow::Error::new(error).context("standard output"))
}

/// A line for the person who waits, on standard error; lost when nobody reads it.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The last line of every run: `test accuracy 99.12 % (88 errors of 10000)`.
pub(crate) fn accuracy(confusion: &Confusion) -> String {
    format!("test accuracy {}", share(confusion))
}

/// `99.12 % (88 errors of 10000)`.
pub(crate) fn share(confusion: &Confusion) -> String {
    let (errors, total) = (confusion.errors(), confusion.total());
    format!("{:.2} % ({errors} errors of {total})", 100.0 * confusion.accuracy())
}
