//! Finding the images.

use mnist_io::{DownloadEvent, Family, Loader, Mnist};

use crate::{args::DataArgs, output};

/// The data set, and a plain line about where it came from.
pub(crate) fn load(args: &DataArgs) -> anyhow::Result<(Mnist, String)> {
    let family: Family = args.family.into();
    let mut loader = Loader::new().family(family).offline(args.offline);
    if let Some(dir) = &args.data {
        loader = loader.dir(dir);
    }
    let mut failure = None;
    let data = loader.load_or_sample_with(&mut |event| match event {
        DownloadEvent::Started { file, url } => output::note(&format!("data    fetching {file} from {url}")),
        DownloadEvent::MirrorFailed { reason, .. } => failure = Some(reason.to_string()),
        _ => {}
    })?;
    if family == Family::FashionMnist && data.provenance() == "mnist" {
        anyhow::bail!("{}: these are the digits of MNIST, not Fashion-MNIST; leave --family out", data.source);
    }
    let mut line =
        format!("data    {} training and {} test images: {}", data.train.len(), data.test.len(), data.source);
    if data.fallback_reason().is_some() {
        let why = failure.map_or_else(String::new, |reason| format!(", nor downloaded: {reason}"));
        line += &format!(" (all of MNIST was not found{why}; --data DIR names a folder that has it)");
    }
    Ok((data, line))
}
