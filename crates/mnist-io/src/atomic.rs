//! Files that appear whole or not at all: a temporary file in the same folder, fsync, rename.

use std::fs::File;
use std::io;
use std::path::Path;

use tempfile::NamedTempFile;

/// A temporary file beside `target`, readable by whoever the umask lets read.
/// It deletes itself unless it is persisted.
pub(crate) fn temporary_beside(target: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".mnist-io-").suffix(".partial");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder_of(target))
}

/// Brings the finished file to disk under its name, replacing a file of that name.
pub(crate) fn replace(file: NamedTempFile, target: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(target).map_err(|failure| failure.error)?;
    sync_folder(target)
}

/// As [`replace`], but a file that is there already stays as it is and is no error.
#[cfg(feature = "download")]
pub(crate) fn keep_existing(file: NamedTempFile, target: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    match file.persist_noclobber(target) {
        Ok(_) => sync_folder(target),
        Err(failure) if failure.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(failure) => Err(failure.error),
    }
}

fn folder_of(target: &Path) -> &Path {
    match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The rename itself is on disk once the folder is; only Unix lets a folder be synced.
fn sync_folder(target: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder_of(target))?.sync_all()?;
    }
    Ok(())
}
