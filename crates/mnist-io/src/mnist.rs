//! A data set of the family, in memory.

use std::fmt;
use std::path::{Path, PathBuf};

use ndarray::{Array1, Array3, ArrayD, Ix1, Ix3};
use sha2::{Digest, Sha256};

use crate::family::FILES;
use crate::text::hex;
use crate::{Family, IdxError, IdxReader, LoadError, Loader, Split, leakage};

/// A data set of the MNIST family: images for training and for testing.
///
/// ```
/// let data = mnist_io::Mnist::sample()?;
/// assert_eq!(data.train.len(), 8000);
/// assert_eq!(data.train.labels[0], 5);
/// assert_eq!(data.source.to_string(), "the bundled sample of MNIST: 8,000 digits to train, 2,000 to test");
/// # Ok::<(), mnist_io::LoadError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Mnist {
    /// What to learn from; 60,000 images in MNIST.
    pub train: Split,
    /// What to be judged by; 10,000 images in MNIST.
    pub test: Split,
    /// Where it came from.
    pub source: Source,
    family: Family,
    /// SHA-256 of the four uncompressed files.
    sums: [String; 4],
    fallback: Option<String>,
}

/// Where a data set came from. Displayed as one plain line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// A folder that was named, or one that a distribution's package fills.
    Directory(PathBuf),
    /// The user's cache folder, filled before.
    Cache(PathBuf),
    /// The user's cache folder, filled just now.
    Downloaded(PathBuf),
    /// The digits inside this crate.
    BundledSample,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(dir) => write!(f, "the folder {}", dir.display()),
            Self::Cache(dir) => write!(f, "the cache {}", dir.display()),
            Self::Downloaded(dir) => write!(f, "downloaded to {}", dir.display()),
            Self::BundledSample => f.write_str("the bundled sample of MNIST: 8,000 digits to train, 2,000 to test"),
        }
    }
}

impl Mnist {
    /// Loads MNIST from wherever it is: the folder named in `MNIST_DIR`, the user's cache, else (feature `download`)
    /// the network. [`Loader`] has choices.
    ///
    /// # Errors
    ///
    /// [`LoadError::NotFound`] lists each place that was looked at, and what to do. A `MNIST_DIR` that does not hold
    /// the four files, and files that are damaged, are errors too: nothing is passed over in silence.
    ///
    /// ```
    /// fn count() -> Result<usize, mnist_io::LoadError> {
    ///     Ok(mnist_io::Mnist::load()?.train.len())
    /// }
    /// ```
    pub fn load() -> Result<Self, LoadError> {
        Loader::new().load()
    }

    /// As [`Mnist::load`], but falls back on the bundled sample when MNIST is nowhere and cannot be downloaded;
    /// [`Mnist::source`] and [`Mnist::fallback_reason`] tell.
    ///
    /// # Errors
    ///
    /// When `MNIST_DIR` is set but does not hold the four files, or when files are damaged.
    ///
    /// ```
    /// fn announce() -> Result<(), mnist_io::LoadError> {
    ///     let data = mnist_io::Mnist::load_or_sample()?;
    ///     println!("{} images from {}", data.train.len(), data.source);
    ///     if let Some(reason) = data.fallback_reason() {
    ///         eprintln!("note: {reason}");
    ///     }
    ///     Ok(())
    /// }
    /// ```
    #[cfg(feature = "sample")]
    pub fn load_or_sample() -> Result<Self, LoadError> {
        Loader::new().load_or_sample()
    }

    /// Loads the four files of MNIST from a folder. Each may be gzipped or not, and be called
    /// `train-images-idx3-ubyte` or `train-images.idx3-ubyte`, with `.gz` or without.
    ///
    /// # Errors
    ///
    /// [`LoadError`] when a file is missing, damaged, or does not belong to its partner.
    ///
    /// ```
    /// let error = mnist_io::Mnist::from_dir("no/such/folder").unwrap_err();
    /// assert!(error.to_string().starts_with("no/such/folder: there is no such folder: "));
    /// ```
    pub fn from_dir(dir: impl AsRef<Path>) -> Result<Self, LoadError> {
        Loader::new().dir(dir.as_ref()).load()
    }

    /// The 10,000 digits inside this crate: 8,000 to train and 2,000 to test, all of them from MNIST's training
    /// images. Enough to try things; figures to publish need the whole of MNIST.
    ///
    /// # Errors
    ///
    /// Only when memory runs out.
    ///
    /// ```
    /// let data = mnist_io::Mnist::sample()?;
    /// assert_eq!((data.train.len(), data.test.len()), (8000, 2000));
    /// # Ok::<(), mnist_io::LoadError>(())
    /// ```
    #[cfg(feature = "sample")]
    pub fn sample() -> Result<Self, LoadError> {
        crate::sample::load()
    }

    /// Which data set it is meant to be.
    #[must_use]
    pub fn family(&self) -> Family {
        self.family
    }

    /// Why this is the bundled sample although something else was asked for first, in one line.
    #[must_use]
    pub fn fallback_reason(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    /// Whether the four files are, byte for byte, the published ones: their SHA-256 sums are compared.
    ///
    /// ```
    /// assert!(!mnist_io::Mnist::sample()?.is_verified());
    /// # Ok::<(), mnist_io::LoadError>(())
    /// ```
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.sums == self.family.published_sums()
    }

    /// What the images are, told by the sums of the files and not by where they lie: `"mnist"`, `"mnist-sample"`,
    /// `"fashion-mnist"`, or `"unknown"`. Store it with a model; [`check_leakage`](crate::check_leakage) reads it.
    ///
    /// ```
    /// assert_eq!(mnist_io::Mnist::sample()?.provenance(), "mnist-sample");
    /// # Ok::<(), mnist_io::LoadError>(())
    /// ```
    #[must_use]
    pub fn provenance(&self) -> &'static str {
        if self.sums == SAMPLE_SUMS {
            return leakage::MNIST_SAMPLE;
        }
        [Family::Mnist, Family::FashionMnist]
            .into_iter()
            .find(|family| self.sums == family.published_sums())
            .map_or(leakage::UNKNOWN, Family::slug)
    }

    /// One sum for the four uncompressed files: equal fingerprints are equal data. It is the SHA-256, in hexadecimal,
    /// of the four SHA-256 sums written in hexadecimal, a line each: train images, train labels, test images, test
    /// labels.
    ///
    /// ```
    /// assert_eq!(mnist_io::Mnist::sample()?.fingerprint().len(), 64);
    /// # Ok::<(), mnist_io::LoadError>(())
    /// ```
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut sum = Sha256::new();
        for line in &self.sums {
            sum.update(line);
            sum.update("\n");
        }
        hex(&sum.finalize())
    }

    #[cfg(feature = "sample")]
    pub(crate) fn because(mut self, reason: String) -> Self {
        self.fallback = Some(reason);
        self
    }

    /// The data set in four files, each opened by `read` and called by its name in errors.
    pub(crate) fn from_files<F>(
        family: Family,
        source: Source,
        files: &[(String, F); 4],
        read: impl Fn(&str, &F) -> Result<(ArrayD<u8>, String), IdxError>,
    ) -> Result<Self, LoadError> {
        let split = |images: &(String, F), labels: &(String, F)| -> Result<_, LoadError> {
            let (pixels, images_sum) = read(&images.0, &images.1)?;
            let pixels = as_images(pixels, &images.0)?;
            let (classes, labels_sum) = read(&labels.0, &labels.1)?;
            let classes = as_labels(classes, &labels.0)?;
            let split = Split::from_files(pixels, &images.0, classes, &labels.0)?;
            Ok((split, images_sum, labels_sum))
        };
        let [train_images, train_labels, test_images, test_labels] = files;
        let (train, sum0, sum1) = split(train_images, train_labels)?;
        let (test, sum2, sum3) = split(test_images, test_labels)?;
        Ok(Self { train, test, source, family, sums: [sum0, sum1, sum2, sum3], fallback: None })
    }

    /// The data set in four files on disk.
    pub(crate) fn from_paths(family: Family, source: Source, paths: [PathBuf; 4]) -> Result<Self, LoadError> {
        let files = paths.map(|path| (path.display().to_string(), path));
        Self::from_files(family, source, &files, |_, path| IdxReader::new().read_hashed(path))
    }
}

/// SHA-256 of the sample's four uncompressed files, in the order of [`FILES`].
pub(crate) const SAMPLE_SUMS: [&str; FILES.len()] = [
    "18aec7bd98b9621e25de273e48b71dfbd4313e98b17b952a72f491584776aec4",
    "76168f9cdeedf60a7a73de030b527d826cb3a26880fa1fa385aff620a4ccfd9e",
    "92cb49931816cb108996de418b46679864b26f5fc03bfcd65308942657fc8468",
    "e9b3960ab805ce0f6b0b1495ae9994d3f958cccb1694c4be7d5bc085bae56276",
];

fn as_images(array: ArrayD<u8>, file: &str) -> Result<Array3<u8>, LoadError> {
    let shape = shape_of(&array);
    let images = array.into_dimensionality::<Ix3>();
    match images {
        Ok(images) if matches!(images.dim(), (_, 28, 28)) => {
            if images.is_empty() {
                return Err(LoadError::Empty { file: file.to_owned() });
            }
            Ok(images)
        }
        _ => Err(LoadError::ImageShape { file: file.to_owned(), shape }),
    }
}

fn as_labels(array: ArrayD<u8>, file: &str) -> Result<Array1<u8>, LoadError> {
    let shape = shape_of(&array);
    array.into_dimensionality::<Ix1>().map_err(|_| LoadError::LabelShape { file: file.to_owned(), shape })
}

fn shape_of(array: &ArrayD<u8>) -> String {
    let sizes: Vec<String> = array.shape().iter().map(usize::to_string).collect();
    sizes.join(", ")
}
