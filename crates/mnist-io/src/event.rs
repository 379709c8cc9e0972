//! What a download reports while it runs.

use std::path::Path;

/// One step of a download, handed to the callback of [`Loader::load_with`](crate::Loader::load_with).
///
/// Without the feature `download` none is ever made.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum DownloadEvent<'a> {
    /// A mirror is asked for a file.
    Started {
        /// Name of the file, `train-images-idx3-ubyte.gz`.
        file: &'a str,
        /// Where it is fetched from.
        url: &'a str,
    },
    /// Bytes arrived.
    Progress {
        /// Name of the file.
        file: &'a str,
        /// Bytes that have arrived, compressed.
        received: u64,
        /// Bytes that the server announced, if it did.
        total: Option<u64>,
    },
    /// A mirror did not give the file; the next one is tried.
    MirrorFailed {
        /// Name of the file.
        file: &'a str,
        /// Where it was fetched from.
        url: &'a str,
        /// Why it is not good, in one line.
        reason: &'a str,
    },
    /// The file is complete, its sum is the published one, and it is on disk.
    Finished {
        /// Name of the file.
        file: &'a str,
        /// Where it lies.
        path: &'a Path,
    },
}
