//! Fetching MNIST: into a temporary file, checked, and only then under its name.

use std::fmt;
use std::fs;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;
use ureq::Agent;
use ureq::config::AutoHeaderValue;

use crate::family::{FILES, LENGTHS};
use crate::idx::uncompressed_sum;
use crate::text::{looks_like, thousands};
use crate::{DownloadEvent, Family, atomic};

/// In the order in which they are asked.
const MIRRORS: [&str; 2] =
    ["https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/"];

/// The largest file takes 9,912,422 bytes; a server that sends more than this is not sending it.
const MAX_DOWNLOAD: u64 = 16 << 20;

const CONNECT: Duration = Duration::from_secs(5);
/// For one file from one mirror, all in all.
const OVERALL: Duration = Duration::from_secs(180);

/// Why a file could not be downloaded. Becomes one of the places of `LoadError::NotFound`, which says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    /// No mirror gave the file.
    #[error("{}", said(attempts))]
    AllMirrors {
        /// Each address, and why it did not serve.
        attempts: Vec<(String, String)>,
    },
    /// The folder cannot be written to.
    #[error("{}: cannot be written to: {error}; choose another cache folder", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

fn said(attempts: &[(String, String)]) -> String {
    let each: Vec<String> = attempts.iter().map(|(url, reason)| format!("{url}: {reason}")).collect();
    each.join("; ")
}

/// A file to fetch, and what it must hold.
#[derive(Debug)]
struct Wanted<'a> {
    name: String,
    /// Uncompressed length in bytes.
    length: u64,
    /// SHA-256 of the uncompressed bytes.
    sum: &'a str,
}

/// Fetches the files of MNIST that are not `present` into `dir`, which is made if need be.
/// No file that is there already is touched.
pub(crate) fn fetch_missing(
    dir: &Path,
    mirrors: Option<Vec<String>>,
    present: impl Fn(&str) -> bool,
    progress: &mut dyn FnMut(DownloadEvent<'_>),
) -> Result<(), DownloadError> {
    let mirrors = mirrors.unwrap_or_else(|| MIRRORS.map(str::to_owned).to_vec());
    let agent = agent();
    for ((name, length), sum) in FILES.into_iter().zip(LENGTHS).zip(Family::Mnist.published_sums()) {
        if !present(name) {
            let wanted = Wanted { name: format!("{name}.gz"), length, sum };
            fetch(&agent, &mirrors, &wanted, dir, progress)?;
        }
    }
    Ok(())
}

fn agent() -> Agent {
    let config = Agent::config_builder()
        // Tests talk to a server of their own, on the loopback.
        .https_only(!cfg!(test))
        .max_redirects(3)
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_global(Some(OVERALL))
        .user_agent(AutoHeaderValue::from(concat!("mnist-io/", env!("CARGO_PKG_VERSION"))));
    #[cfg(test)]
    let config = config.proxy(None);
    config.build().new_agent()
}

/// Asks the mirrors in turn until one gives the file.
fn fetch(
    agent: &Agent,
    mirrors: &[String],
    wanted: &Wanted<'_>,
    dir: &Path,
    progress: &mut dyn FnMut(DownloadEvent<'_>),
) -> Result<(), DownloadError> {
    let folder = |error| DownloadError::Folder { dir: dir.to_owned(), error };
    fs::create_dir_all(dir).map_err(folder)?;
    let path = dir.join(&wanted.name);
    let file = wanted.name.as_str();
    let mut attempts = Vec::new();
    for mirror in mirrors {
        let url = format!("{mirror}{file}");
        progress(DownloadEvent::Started { file, url: &url });
        let mut temporary = atomic::temporary_beside(&path).map_err(folder)?;
        let outcome = receive(agent, &url, file, &mut temporary, progress).and_then(|()| check(&mut temporary, wanted));
        match outcome {
            Ok(()) => {
                atomic::keep_existing(temporary, &path).map_err(folder)?;
                progress(DownloadEvent::Finished { file, path: &path });
                return Ok(());
            }
            Err(Refusal(reason)) => {
                progress(DownloadEvent::MirrorFailed { file, url: &url, reason: &reason });
                attempts.push((url, reason));
            }
        }
    }
    Err(DownloadError::AllMirrors { attempts })
}

/// Why what a mirror sent is not the file.
struct Refusal(String);

impl Refusal {
    fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

fn receive(
    agent: &Agent,
    url: &str,
    file: &str,
    output: &mut NamedTempFile,
    progress: &mut dyn FnMut(DownloadEvent<'_>),
) -> Result<(), Refusal> {
    let response = agent.get(url).call().map_err(explain)?;
    let body = response.into_body();
    let total = body.content_length();
    let mut input = body.into_reader();
    let mut received = 0;
    let mut piece = vec![0; 64 * 1024];
    loop {
        let n = input
            .read(&mut piece)
            .map_err(|error| Refusal(format!("broke off after {} bytes: {error}", thousands(received))))?;
        if n == 0 {
            return Ok(());
        }
        received += n as u64;
        if received > MAX_DOWNLOAD {
            return Err(Refusal(format!("sends more than {} bytes", thousands(MAX_DOWNLOAD))));
        }
        output
            .write_all(piece.get(..n).unwrap_or_default())
            .map_err(|error| Refusal(format!("cannot be stored: {error}")))?;
        progress(DownloadEvent::Progress { file, received, total });
    }
}

/// Network errors in words that say whose fault it is.
fn explain(error: ureq::Error) -> Refusal {
    match error {
        ureq::Error::StatusCode(code) => Refusal(format!("the server answers {code}")),
        ureq::Error::HostNotFound => Refusal::new("no network: the server's name is not known"),
        ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => {
            Refusal::new("no network: the server does not answer")
        }
        ureq::Error::Io(error) => Refusal(format!("the network fails: {error}")),
        other => Refusal::new(other),
    }
}

/// Whether the file is gzip and holds what was published.
fn check(file: &mut NamedTempFile, wanted: &Wanted<'_>) -> Result<(), Refusal> {
    let unreadable = |error: io::Error| Refusal(format!("cannot be read back: {error}"));
    file.rewind().map_err(unreadable)?;
    let mut start = Vec::new();
    file.as_file().take(4).read_to_end(&mut start).map_err(unreadable)?;
    if !start.starts_with(&[0x1f, 0x8b]) {
        return Err(Refusal(format!("sends something that is not gzip{}", looks_like(&start))));
    }
    file.rewind().map_err(unreadable)?;
    let sum = uncompressed_sum(BufReader::new(file.as_file()), wanted.length)
        .map_err(|error| Refusal(format!("sends damaged gzip data: {error}")))?
        .ok_or_else(|| Refusal(format!("sends more than the {} bytes of the file", thousands(wanted.length))))?;
    if sum != wanted.sum {
        return Err(Refusal(format!("sends other data: sha256 is {sum}, want {}", wanted.sum)));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
