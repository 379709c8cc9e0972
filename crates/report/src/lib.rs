#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]
#![deny(clippy::print_stdout)]

mod progress;

pub use progress::Progress;
