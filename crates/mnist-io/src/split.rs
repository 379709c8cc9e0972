//! Images with their labels.

use ndarray::{Array1, Array3, ArrayView1, ArrayView3, ArrayView4, Axis};

use crate::LoadError;

/// Images and the label of each.
///
/// ```
/// let data = mnist_io::Mnist::sample()?;
/// let (images, labels) = data.train.pair();
/// assert_eq!(images.shape(), [8000, 1, 28, 28]);
/// assert_eq!(labels.len(), 8000);
/// # Ok::<(), mnist_io::LoadError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Split {
    /// Pixels, 0 is background and 255 is ink, (N, 28, 28).
    pub images: Array3<u8>,
    /// Classes, 0 to 9, (N).
    pub labels: Array1<u8>,
}

impl Split {
    /// Pairs images with labels.
    ///
    /// # Errors
    ///
    /// [`LoadError::CountMismatch`] unless there is one label for each image, [`LoadError::Label`] for a label above 9.
    ///
    /// ```
    /// use mnist_io::Split;
    /// use ndarray::{Array1, Array3};
    ///
    /// let blank = Split::new(Array3::zeros((2, 28, 28)), Array1::zeros(2))?;
    /// assert_eq!(blank.len(), 2);
    /// assert!(Split::new(Array3::zeros((2, 28, 28)), Array1::zeros(3)).is_err());
    /// # Ok::<(), mnist_io::LoadError>(())
    /// ```
    pub fn new(images: Array3<u8>, labels: Array1<u8>) -> Result<Self, LoadError> {
        Self::from_files(images, "the images", labels, "the labels")
    }

    /// As [`Split::new`]; the names are for the error.
    pub(crate) fn from_files(
        images: Array3<u8>,
        images_name: &str,
        labels: Array1<u8>,
        labels_name: &str,
    ) -> Result<Self, LoadError> {
        let count = images.len_of(Axis(0));
        if count != labels.len() {
            return Err(LoadError::CountMismatch {
                images: images_name.to_owned(),
                image_count: count,
                labels: labels_name.to_owned(),
                label_count: labels.len(),
            });
        }
        if let Some((index, &label)) = labels.iter().enumerate().find(|&(_, &label)| label > 9) {
            return Err(LoadError::Label { file: labels_name.to_owned(), label, index });
        }
        Ok(Self { images, labels })
    }

    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// Whether there are no images.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Images (N, 1, 28, 28) and labels (N), as networks take them. Nothing is copied.
    #[must_use]
    pub fn pair(&self) -> (ArrayView4<'_, u8>, ArrayView1<'_, u8>) {
        self.view().pair()
    }

    /// All of it, as a view.
    #[must_use]
    pub fn view(&self) -> SplitView<'_> {
        SplitView { images: self.images.view(), labels: self.labels.view() }
    }

    /// The first `n` images, or all if there are fewer.
    ///
    /// ```
    /// let data = mnist_io::Mnist::sample()?;
    /// assert_eq!(data.test.take(100).len(), 100);
    /// # Ok::<(), mnist_io::LoadError>(())
    /// ```
    #[must_use]
    pub fn take(&self, n: usize) -> SplitView<'_> {
        self.view().take(n)
    }

    /// The first `n` images (all if there are fewer), and the rest: say, to train and to validate.
    ///
    /// ```
    /// let data = mnist_io::Mnist::sample()?;
    /// let (train, validation) = data.train.split_at(7000);
    /// assert_eq!((train.len(), validation.len()), (7000, 1000));
    /// # Ok::<(), mnist_io::LoadError>(())
    /// ```
    #[must_use]
    pub fn split_at(&self, n: usize) -> (SplitView<'_>, SplitView<'_>) {
        self.view().split_at(n)
    }
}

/// Some of the images of a [`Split`], in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SplitView<'a> {
    /// Pixels, (N, 28, 28).
    pub images: ArrayView3<'a, u8>,
    /// Classes, (N).
    pub labels: ArrayView1<'a, u8>,
}

impl<'a> SplitView<'a> {
    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Images (N, 1, 28, 28) and labels (N). Nothing is copied.
    #[must_use]
    pub fn pair(self) -> (ArrayView4<'a, u8>, ArrayView1<'a, u8>) {
        (self.images.insert_axis(Axis(1)), self.labels)
    }

    /// The first `n` images, or all if there are fewer.
    #[must_use]
    pub fn take(self, n: usize) -> Self {
        self.split_at(n).0
    }

    /// The first `n` images (all if there are fewer), and the rest.
    #[must_use]
    pub fn split_at(self, n: usize) -> (Self, Self) {
        let n = n.min(self.images.len_of(Axis(0))).min(self.labels.len());
        let (images, more_images) = self.images.split_at(Axis(0), n);
        let (labels, more_labels) = self.labels.split_at(Axis(0), n);
        (Self { images, labels }, Self { images: more_images, labels: more_labels })
    }

    /// A copy that stands on its own.
    #[must_use]
    pub fn to_owned(self) -> Split {
        Split { images: self.images.to_owned(), labels: self.labels.to_owned() }
    }
}
