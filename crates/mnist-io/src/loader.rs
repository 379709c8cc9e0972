//! Finding a data set: the places, in order.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use crate::family::FILES;
use crate::{DownloadEvent, Family, LoadError, Mnist, Source};

/// Finds and loads a data set, with choices.
///
/// The places, in order: the folder given to [`Loader::dir`], and no other if there is one; else the folder named in
/// `MNIST_DIR` (`FASHION_MNIST_DIR`), and no other if that is set; else the user's cache (`overlay/mnist` in it), then
/// the folder of the distribution's package (Fashion-MNIST), then the network (MNIST, with the feature `download`).
///
/// ```
/// use mnist_io::Loader;
///
/// let empty = tempfile::tempdir()?;
/// let error = Loader::new().dir(empty.path()).load().unwrap_err();
/// assert!(error.to_string().contains("none of the four files is there"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Loader {
    family: Family,
    dir: Option<PathBuf>,
    cache: Option<PathBuf>,
    offline: bool,
    /// Other addresses than the published ones, for tests.
    #[cfg(all(test, feature = "download"))]
    mirrors: Option<Vec<String>>,
}

/// What a machine has set up, apart from what the caller asks for.
#[derive(Debug, Default)]
struct Surroundings {
    /// The folder that the environment variable names.
    named: Option<PathBuf>,
    cache: Option<PathBuf>,
    system: Option<PathBuf>,
}

impl Loader {
    /// A loader of MNIST that looks in all places.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Which data set to load.
    #[must_use]
    pub fn family(mut self, family: Family) -> Self {
        self.family = family;
        self
    }

    /// Looks in this folder and nowhere else.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Takes this folder for the cache: looked into, and filled by a download.
    #[must_use]
    pub fn cache(mut self, cache: impl Into<PathBuf>) -> Self {
        self.cache = Some(cache.into());
        self
    }

    /// With `true`, never uses the network.
    #[must_use]
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// Loads the data set from the first place that has it.
    ///
    /// # Errors
    ///
    /// As [`Mnist::load`].
    pub fn load(&self) -> Result<Mnist, LoadError> {
        self.load_with(&mut |_| {})
    }

    /// As [`Loader::load`], telling `progress` how a download goes.
    ///
    /// # Errors
    ///
    /// As [`Mnist::load`].
    ///
    /// ```
    /// use mnist_io::{DownloadEvent, Loader};
    ///
    /// fn fetch() -> Result<mnist_io::Mnist, mnist_io::LoadError> {
    ///     Loader::new().load_with(&mut |event| {
    ///         if let DownloadEvent::Started { url, .. } = event {
    ///             eprintln!("fetching {url}");
    ///         }
    ///     })
    /// }
    /// ```
    pub fn load_with(&self, progress: &mut dyn FnMut(DownloadEvent<'_>)) -> Result<Mnist, LoadError> {
        self.load_in(Surroundings::of(self.family), progress)
    }

    /// As [`Loader::load`], but falls back on the bundled sample when MNIST is in none of the places and cannot be
    /// downloaded. There is no sample of Fashion-MNIST.
    ///
    /// # Errors
    ///
    /// As [`Mnist::load_or_sample`]; for Fashion-MNIST as [`Mnist::load`].
    ///
    /// ```
    /// use mnist_io::Loader;
    ///
    /// let empty = tempfile::tempdir()?;
    /// let error = Loader::new().dir(empty.path()).load_or_sample();
    /// assert!(error.is_err(), "a folder that was asked for is never passed over");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(feature = "sample")]
    pub fn load_or_sample(&self) -> Result<Mnist, LoadError> {
        self.load_or_sample_with(&mut |_| {})
    }

    /// As [`Loader::load_or_sample`], telling `progress` how a download goes.
    ///
    /// # Errors
    ///
    /// As [`Loader::load_or_sample`].
    #[cfg(feature = "sample")]
    pub fn load_or_sample_with(&self, progress: &mut dyn FnMut(DownloadEvent<'_>)) -> Result<Mnist, LoadError> {
        or_sample(self.load_with(progress))
    }

    /// Downloads what the cache lacks, whatever the other places hold, and loads it from there.
    ///
    /// # Errors
    ///
    /// [`LoadError::NotFound`] with what each mirror said, or when the loader is offline, the family has no mirrors,
    /// or there is no cache folder.
    ///
    /// ```
    /// use mnist_io::{Family, Loader};
    ///
    /// let error = Loader::new().family(Family::FashionMnist).download(&mut |_| {}).unwrap_err();
    /// assert!(error.to_string().contains("dataset-fashion-mnist"));
    /// ```
    #[cfg(feature = "download")]
    pub fn download(&self, progress: &mut dyn FnMut(DownloadEvent<'_>)) -> Result<Mnist, LoadError> {
        let cache = self.cache.clone().or_else(|| cache_of(self.family));
        self.load_from_network(cache.as_deref(), Vec::new(), progress)
    }

    fn load_in(&self, around: Surroundings, progress: &mut dyn FnMut(DownloadEvent<'_>)) -> Result<Mnist, LoadError> {
        if let Some(dir) = self.dir.as_ref().or(around.named.as_ref()) {
            return match look_into(dir) {
                Ok(paths) => Mnist::from_paths(self.family, Source::Directory(dir.clone()), paths),
                Err(what) => Err(LoadError::MissingFiles { dir: dir.clone(), what, family: self.family }),
            };
        }
        let mut looked_at = vec![format!("{} (not set)", self.family.env_var())];
        let cache = self.cache.clone().or(around.cache);
        match &cache {
            None => looked_at.push(NO_CACHE.to_owned()),
            Some(dir) => match look_into(dir) {
                Ok(paths) => {
                    return Mnist::from_paths(self.family, Source::Cache(dir.clone()), paths);
                }
                Err(what) => looked_at.push(format!("{} ({what})", dir.display())),
            },
        }
        if let Some(dir) = around.system {
            match look_into(&dir) {
                Ok(paths) => return Mnist::from_paths(self.family, Source::Directory(dir), paths),
                Err(what) => looked_at.push(format!("{} ({what})", dir.display())),
            }
        }
        self.load_from_network(cache.as_deref(), looked_at, progress)
    }

    #[cfg(feature = "download")]
    fn load_from_network(
        &self,
        cache: Option<&Path>,
        mut looked_at: Vec<String>,
        progress: &mut dyn FnMut(DownloadEvent<'_>),
    ) -> Result<Mnist, LoadError> {
        let reason = match (self.why_no_download(), cache) {
            (Some(reason), _) => reason.to_owned(),
            (None, None) => "there is no folder to put it in".to_owned(),
            (None, Some(cache)) => match self.fetch_into(cache, progress) {
                Ok(()) => return self.load_downloaded(cache),
                Err(error) => error.to_string(),
            },
        };
        looked_at.push(format!("download ({reason})"));
        Err(self.not_found(looked_at))
    }

    #[cfg(not(feature = "download"))]
    fn load_from_network(
        &self,
        _cache: Option<&Path>,
        mut looked_at: Vec<String>,
        _progress: &mut dyn FnMut(DownloadEvent<'_>),
    ) -> Result<Mnist, LoadError> {
        looked_at.push("download (this program was built without the feature `download`)".to_owned());
        Err(self.not_found(looked_at))
    }

    #[cfg(feature = "download")]
    fn fetch_into(
        &self,
        cache: &Path,
        progress: &mut dyn FnMut(DownloadEvent<'_>),
    ) -> Result<(), crate::download::DownloadError> {
        #[cfg(test)]
        let mirrors = self.mirrors.clone();
        #[cfg(not(test))]
        let mirrors = None;
        crate::download::fetch_missing(cache, mirrors, |name| find(cache, name).is_some(), progress)
    }

    #[cfg(feature = "download")]
    fn load_downloaded(&self, cache: &Path) -> Result<Mnist, LoadError> {
        match look_into(cache) {
            Ok(paths) => Mnist::from_paths(self.family, Source::Downloaded(cache.to_owned()), paths),
            Err(what) => Err(LoadError::MissingFiles { dir: cache.to_owned(), what, family: self.family }),
        }
    }

    #[cfg(feature = "download")]
    fn why_no_download(&self) -> Option<&'static str> {
        match (self.offline, self.family) {
            (true, _) => Some("offline, as asked"),
            (false, Family::Mnist) => None,
            (false, _) => Some("this family is not downloaded"),
        }
    }

    fn not_found(&self, looked_at: Vec<String>) -> LoadError {
        LoadError::NotFound { family: self.family, looked_at }
    }
}

const NO_CACHE: &str = "the user's cache (there is none: no home folder is set)";

/// Absent data may be replaced by the sample; damaged data, or a named folder without data, may not.
#[cfg(feature = "sample")]
fn or_sample(loaded: Result<Mnist, LoadError>) -> Result<Mnist, LoadError> {
    match loaded {
        Err(absent @ LoadError::NotFound { family: Family::Mnist, .. }) => {
            Ok(Mnist::sample()?.because(absent.to_string()))
        }
        other => other,
    }
}

impl Surroundings {
    fn of(family: Family) -> Self {
        Self {
            named: env::var_os(family.env_var()).filter(|dir| !dir.is_empty()).map(PathBuf::from),
            cache: cache_of(family),
            system: family.system_folder().map(PathBuf::from),
        }
    }
}

fn cache_of(family: Family) -> Option<PathBuf> {
    let base = etcetera::choose_base_strategy().ok()?;
    Some(base.cache_dir().join("overlay").join(family.slug()))
}

/// The four files in a folder, or what is wrong with it.
fn look_into(dir: &Path) -> Result<[PathBuf; 4], String> {
    let paths = FILES.map(|name| find(dir, name));
    match paths {
        [Some(a), Some(b), Some(c), Some(d)] => return Ok([a, b, c, d]),
        [None, None, None, None] => {
            return Err(if dir.is_dir() {
                "none of the four files is there".to_owned()
            } else {
                "there is no such folder".to_owned()
            });
        }
        _ => {}
    }
    let missing: Vec<&str> =
        (FILES.iter().zip(&paths)).filter(|(_, path)| path.is_none()).map(|(name, _)| *name).collect();
    Err(format!("{} {} missing", missing.join(", "), if missing.len() == 1 { "is" } else { "are" }))
}

/// The file of that name, under any of the names that it goes by.
fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    let dotted = name.replacen("-idx", ".idx", 1);
    [name.to_owned(), dotted.clone(), format!("{name}.gz"), format!("{dotted}.gz")]
        .into_iter()
        .map(|name| dir.join(name))
        .find(|path| is_there(path))
}

/// A file that cannot be looked at counts as there: opening it will say why.
fn is_there(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    }
}

#[cfg(test)]
mod tests;
