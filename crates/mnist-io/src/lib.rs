#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]
// Files come from anywhere: nothing that a file says may become a panic.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout))]

mod atomic;
#[cfg(feature = "download")]
mod download;
mod error;
mod event;
mod family;
mod idx;
mod leakage;
mod loader;
mod mnist;
#[cfg(feature = "sample")]
mod sample;
mod split;
mod text;

pub use error::LoadError;
pub use event::DownloadEvent;
pub use family::Family;
pub use idx::{
    ElementType, Idx, IdxElement, IdxError, IdxProblem, IdxReader, read_idx, read_idx_from, write_idx, write_idx_to,
};
pub use leakage::{LeakageError, check_leakage};
pub use loader::Loader;
pub use mnist::{Mnist, Source};
pub use split::{Split, SplitView};
