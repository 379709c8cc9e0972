//! Everything that can go wrong between a folder and a data set.

use std::path::PathBuf;

use thiserror::Error;

use crate::text::thousands;
use crate::{Family, IdxError};

/// Why a data set could not be loaded. Displayed as one line: which file, what is wrong, what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// One of the four files is malformed or cannot be read.
    #[error(transparent)]
    Idx(#[from] IdxError),

    /// The images file holds something else than images of 28x28.
    #[error(
        "{file}: holds an array of shape ({shape}), images of 28x28 have (N, 28, 28): \
         this is not the file that its name says; delete it and fetch it again"
    )]
    ImageShape {
        /// The file.
        file: String,
        /// The shape found, as `60000, 28, 28`.
        shape: String,
    },

    /// The labels file holds something else than one number for each image.
    #[error(
        "{file}: holds an array of shape ({shape}), labels have (N): \
         this is not the file that its name says; delete it and fetch it again"
    )]
    LabelShape {
        /// The file.
        file: String,
        /// The shape found.
        shape: String,
    },

    /// A well-formed file without a single image.
    #[error("{file}: holds no images at all: it is empty; delete it and fetch it again")]
    Empty {
        /// The file.
        file: String,
    },

    /// Not as many labels as images.
    #[error(
        "{images} has {} images, {labels} has {} labels: the two do not belong together; \
         delete both and fetch them again", thousands(*image_count as u64), thousands(*label_count as u64)
    )]
    CountMismatch {
        /// The images file.
        images: String,
        /// Images in it.
        image_count: usize,
        /// The labels file.
        labels: String,
        /// Labels in it.
        label_count: usize,
    },

    /// A label that is no class.
    #[error(
        "{file}: label {label} at index {index} (0..=9 expected): \
         the file is damaged or not of this family; delete it and fetch it again"
    )]
    Label {
        /// The labels file.
        file: String,
        /// The label.
        label: u8,
        /// Which label, counted from 0.
        index: usize,
    },

    /// A folder that was named holds not all of the four files.
    #[error("{}: {what}: put the four files there, .gz or not, or name another folder; {}", dir.display(), family.remedy())]
    MissingFiles {
        /// The folder.
        dir: PathBuf,
        /// `there is no such folder`, or which files it lacks.
        what: String,
        /// Which data set was looked for.
        family: Family,
    },

    /// The data set is in none of the places.
    #[error("{family} was found nowhere (looked at: {}): {}", looked_at.join("; "), family.remedy())]
    NotFound {
        /// Which data set was looked for.
        family: Family,
        /// Each place, and why it did not serve.
        looked_at: Vec<String>,
    },
}
