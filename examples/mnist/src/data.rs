//! Finding the images.

use mnist_io::{DownloadEvent, Loader, Mnist};

use crate::{args::DataArgs, output};

/// The data set, and a plain line about where it came from.
pub(crate) fn load(args: &DataArgs) -> anyhow::Result<Mnist> {
    let mut loader = Loader::new().family(args.family.into()).offline(args.offline);
    if let Some(dir) = &args.data {
        loader = loader.dir(dir);
    }
    let data = loader.load_or_sample_with(&mut tell)?;
    if let Some(reason) = data.fallback_reason() {
        output::note(&format!("data    {reason}"));
    }
    output::line(&format!(
        "data    {} training and {} test images: {}",
        data.train.len(),
        data.test.len(),
        data.source
    ))?;
    Ok(data)
}

/// What a download has to say; its progress in between is too quick to be worth a line.
fn tell(event: DownloadEvent<'_>) {
    match event {
        DownloadEvent::Started { file, url } => output::note(&format!("data    fetching {file} from {url}")),
        DownloadEvent::MirrorFailed { file, reason, .. } => output::note(&format!("data    {file}: {reason}")),
        _ => {}
    }
}
