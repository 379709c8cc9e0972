//! `article`: the listing of "Convolutional Neural Networks: An Intuitive Primer", line by line, with its numbers.

mod appendix_a;
mod appendix_b;
mod backpropagation;
mod chaining;
mod demo;
mod diagrams;
mod equality;
mod functions;
mod golden;
mod grid;
mod max_pooling;
mod report;
mod sizes;

use std::io::{self, BufWriter, ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;

use golden::Golden;
use report::Report;

/// Runs the article's listing and appendices in Rust, line by line, and compares every number with the article's.
///
/// Each line of Python (>>>) stands above the Rust that takes its place (rs>), and each result beside what it should be. Where
/// the article prints no number, it is the one that its own listing gives in Python, with numpy's random numbers for seed 0
/// (other seeds are named). Nothing is read, nothing is written but the report.
///
/// Ends with status 0 if all results are equal, else 1.
#[derive(Debug, Parser)]
#[command(name = "article", version)]
struct Cli {}

fn main() -> ExitCode {
    Cli::parse();
    match print(BufWriter::new(io::stdout().lock())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // whoever reads our output has seen enough
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The whole article; whether all its numbers came out.
fn print(out: impl Write) -> anyhow::Result<bool> {
    let golden = Golden::read()?;
    let mut report = Report::new(out);
    report.head()?;
    sizes::run(&mut report)?;
    diagrams::run(&mut report, &golden.diagrams)?;
    backpropagation::run(&mut report, &golden.diagrams)?;
    chaining::run(&mut report, &golden.chained)?;
    max_pooling::run(&mut report)?;
    demo::run(&mut report, &golden.demo)?;
    demo::run_scaled(&mut report, &golden.scaled_feature_map, &golden.scaled_fully_connected)?;
    appendix_a::run(&mut report)?;
    appendix_b::run(&mut report)?;
    Ok(report.finish()?)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_article_comes_out() {
        let mut out = Vec::new();
        let all_equal = print(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(all_equal && !text.contains("DIFFERENT"), "{text}");

        let end = text.lines().last().unwrap();
        let equal = text.lines().filter(|line| line.trim_end().ends_with("  equal")).count();
        assert_eq!(end, format!("{equal} of {equal} results equal"));
        assert!(equal > 60, "{equal}");
    }

    #[test]
    fn lines_fit_a_terminal_of_100_columns() {
        let mut out = Vec::new();
        print(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let long: Vec<_> = text.lines().filter(|line| line.chars().count() > 100).collect();
        assert!(long.is_empty(), "{}", long.join("\n"));
    }

    #[test]
    fn a_reader_who_leaves_early_is_no_failure() {
        #[derive(Debug)]
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(is_broken_pipe(&print(Closed).unwrap_err()));
        assert!(!is_broken_pipe(&anyhow::anyhow!("something else")));
    }
}
