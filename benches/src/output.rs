//! Writing to the terminal or into a pipe, without panicking when nobody reads.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Result;

/// A line of results, on standard output.
///
/// # Errors
///
/// If it cannot be written.
pub fn line(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// How a program ends: with its error on standard error, if there is one.
#[must_use]
pub fn exit(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // whoever reads our output has seen enough
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// `value` with as many digits after the point, for a file.
#[must_use]
pub fn rounded(value: f64, digits: i32) -> f64 {
    let unit = 10f64.powi(digits);
    (value * unit).round() / unit
}

/// Nothing of nothing.
#[must_use]
pub fn geometric_mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.into_iter().fold((0, 0.0), |(count, sum), value| (count + 1, sum + value.ln()));
    (count > 0).then(|| (sum / f64::from(count)).exp())
}

/// One for each processor, as many as [`conv_kernels::pool`] takes.
#[must_use]
pub fn all_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometric_means_multiply() {
        assert_eq!(geometric_mean([2.0, 8.0]).map(|mean| rounded(mean, 9)), Some(4.0));
        assert_eq!(geometric_mean([]), None);
    }
}
