//! The data sets that share MNIST's format, and what is known of each.

use std::fmt;

use crate::leakage;

/// A data set in MNIST's format: 60,000 + 10,000 grey images of 28x28, ten classes, four files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Family {
    /// Handwritten digits (LeCun, Cortes, Burges 1998).
    #[default]
    Mnist,
    /// Photographs of clothes (Xiao, Rasul, Vollgraf 2017).
    FashionMnist,
}

impl Family {
    /// What the labels 0 to 9 mean.
    ///
    /// ```
    /// use mnist_io::Family;
    ///
    /// assert_eq!(Family::Mnist.class_names()[7], "7");
    /// assert_eq!(Family::FashionMnist.class_names()[9], "Ankle boot");
    /// ```
    #[must_use]
    pub fn class_names(self) -> [&'static str; 10] {
        match self {
            Self::Mnist => ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
            Self::FashionMnist => [
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ],
        }
    }

    /// The environment variable that names the folder of the four files.
    ///
    /// ```
    /// assert_eq!(mnist_io::Family::Mnist.env_var(), "MNIST_DIR");
    /// ```
    #[must_use]
    pub fn env_var(self) -> &'static str {
        match self {
            Self::Mnist => "MNIST_DIR",
            Self::FashionMnist => "FASHION_MNIST_DIR",
        }
    }

    /// The name in folders and in [`Mnist::provenance`](crate::Mnist::provenance).
    pub(crate) fn slug(self) -> &'static str {
        match self {
            Self::Mnist => leakage::MNIST,
            Self::FashionMnist => leakage::FASHION_MNIST,
        }
    }

    /// Where a distribution's package puts the files.
    pub(crate) fn system_folder(self) -> Option<&'static str> {
        match self {
            Self::Mnist => None,
            Self::FashionMnist => Some("/usr/share/datasets/fashion-mnist"),
        }
    }

    /// SHA-256 of the four uncompressed files, in the order of [`FILES`]. Those of Fashion-MNIST were taken from the
    /// Debian package `dataset-fashion-mnist`; its authors publish sums of the compressed files only.
    pub(crate) fn published_sums(self) -> [&'static str; 4] {
        match self {
            Self::Mnist => [
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ],
            Self::FashionMnist => [
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ],
        }
    }

    /// How to come by the files, for an error message.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::Mnist => {
                "fetch them with: curl -fL --remote-name-all 'https://storage.googleapis.com/cvdf-datasets/mnist/\
                 {train-images-idx3,train-labels-idx1,t10k-images-idx3,t10k-labels-idx1}-ubyte.gz' \
                 and name their folder in MNIST_DIR, or use the bundled sample"
            }
            Self::FashionMnist => {
                "install the Debian package dataset-fashion-mnist, or take the four .gz files from \
                 https://github.com/zalandoresearch/fashion-mnist (data/fashion) and name their folder in \
                 FASHION_MNIST_DIR"
            }
        }
    }
}

/// `MNIST` or `Fashion-MNIST`.
impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mnist => "MNIST",
            Self::FashionMnist => "Fashion-MNIST",
        })
    }
}

/// The four files: images and labels for training, then for testing.
pub(crate) const FILES: [&str; 4] =
    ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

/// The lengths of the published files, uncompressed, in the order of [`FILES`].
#[cfg(feature = "download")]
pub(crate) const LENGTHS: [u64; 4] = [47_040_016, 60_008, 7_840_016, 10_008];
