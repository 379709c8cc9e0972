//! Images, labels, and how bytes become numbers.

use std::ops::Range;

use layers::Scalar;
use ndarray::{ArrayView, ArrayView1, ArrayView4, ArrayViewD, Dimension};
use serde::{Deserialize, Serialize};

use crate::{NetError, augment::ExpandedImages, error::dims};

/// How a byte becomes a number: `(byte / divisor − mean) / deviation`, per channel.
///
/// It belongs to the model: a network that learnt on pixels / 256 misreads pixels / 255.
///
/// ```
/// use net::Scaling;
/// assert_eq!(Scaling::unit().value(255, 0), 1.0);
/// assert_eq!(Scaling::nielsen().value(128, 0), 0.5);
/// let mnist = Scaling::unit().standardized(&[0.1307], &[0.3081]);
/// assert!((mnist.value(0, 0) - -0.4242).abs() < 1e-4);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaling {
    divisor: f64,
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Scaling {
    /// 0 to 1: bytes / 255.
    #[must_use]
    pub fn unit() -> Self {
        Self { divisor: 255.0, mean: vec![0.0], deviation: vec![1.0] }
    }

    /// Bytes / 256, as Nielsen's copy of MNIST has them.
    #[must_use]
    pub fn nielsen() -> Self {
        Self { divisor: 256.0, ..Self::unit() }
    }

    /// Then `(value − mean) / deviation`: one pair for all channels, or one for each.
    #[must_use]
    pub fn standardized(mut self, mean: &[f64], deviation: &[f64]) -> Self {
        self.mean = mean.to_vec();
        self.deviation = deviation.to_vec();
        self
    }

    /// What a byte of one channel becomes. A single pair of mean and deviation serves every channel.
    #[must_use]
    pub fn value(&self, byte: u8, channel: usize) -> f64 {
        let of = |values: &[f64]| values.get(channel).or(values.first()).copied();
        (f64::from(byte) / self.divisor - of(&self.mean).unwrap_or(0.0)) / of(&self.deviation).unwrap_or(1.0)
    }

    /// The values of all 256 bytes for each channel, one table after another.
    pub(crate) fn tables<T: Scalar>(&self, channels: usize) -> Vec<T> {
        (0..channels).flat_map(|c| (0..=255).map(move |byte| T::of(self.value(byte, c)))).collect()
    }

    pub(crate) fn check(&self, channels: usize) -> Result<(), NetError> {
        let fits = |values: &[f64]| values.len() == 1 || values.len() == channels;
        let finite = self.mean.iter().chain([&self.divisor]).chain(&self.deviation).all(|v| v.is_finite());
        let divides = self.divisor != 0.0 && self.deviation.iter().all(|&v| v != 0.0);
        if fits(&self.mean) && fits(&self.deviation) && finite && divides {
            return Ok(());
        }
        Err(NetError::Shape(format!(
            "scaling needs a finite mean and a finite deviation other than 0, one pair or one for each of {channels} channels; got mean {:?}, deviation {:?}, divisor {}",
            self.mean, self.deviation, self.divisor
        )))
    }
}

/// A batch, or a whole data set, of samples.
#[derive(Clone, Debug)]
pub enum Images<'a, T> {
    /// Bytes `(N, C, H, W)`, which the network's [`Scaling`] turns into numbers, a batch at a time.
    Bytes(ArrayView4<'a, u8>),
    /// Numbers `(N, …)`, used as they are.
    Values(ArrayViewD<'a, T>),
    /// Bytes too: five samples for each image.
    Expanded(ExpandedImages<'a>),
}

impl<T: Scalar> Images<'_, T> {
    /// The number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape().first().copied().unwrap_or(0)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shape(&self) -> &[usize] {
        match self {
            Self::Bytes(view) => view.shape(),
            Self::Values(view) => view.shape(),
            Self::Expanded(images) => images.shape(),
        }
    }

    /// Some samples in a row.
    pub(crate) fn slice(&self, range: Range<usize>) -> Images<'_, T> {
        match self {
            Self::Bytes(view) => Images::Bytes(view.slice_axis(ndarray::Axis(0), range.into())),
            Self::Values(view) => Images::Values(view.slice_axis(ndarray::Axis(0), range.into())),
            Self::Expanded(images) => Images::Expanded(images.slice(range)),
        }
    }

    /// What is around the images: what byte 0 becomes, or the number 0.
    pub(crate) fn background(&self, scaling: &Scaling, channel: usize) -> T {
        match self {
            Self::Bytes(_) | Self::Expanded(_) => T::of(scaling.value(0, channel)),
            Self::Values(_) => T::ZERO,
        }
    }

    /// Writes sample `index` as numbers, in C order.
    pub(crate) fn write(&self, index: usize, tables: &[T], out: &mut [T]) {
        match self {
            Self::Bytes(view) => {
                let image = view.index_axis(ndarray::Axis(0), index);
                let plane = image.len() / image.len_of(ndarray::Axis(0)).max(1);
                for ((channel, out), table) in
                    image.outer_iter().zip(out.chunks_exact_mut(plane.max(1))).zip(tables.chunks_exact(256))
                {
                    match (channel.as_slice(), <&[T; 256]>::try_from(table)) {
                        (Some(bytes), Ok(table)) => {
                            out.iter_mut().zip(bytes).for_each(|(out, &byte)| *out = table[usize::from(byte)]);
                        }
                        _ => out.iter_mut().zip(channel).for_each(|(out, &byte)| *out = table[usize::from(byte)]),
                    }
                }
            }
            Self::Values(view) => {
                let sample = view.index_axis(ndarray::Axis(0), index);
                match sample.as_slice() {
                    Some(values) => out.copy_from_slice(values),
                    None => out.iter_mut().zip(&sample).for_each(|(out, &value)| *out = value),
                }
            }
            Self::Expanded(images) => images.write(index, tables, out),
        }
    }

    /// Whether the samples have the shape that a network wants.
    pub(crate) fn check(&self, what: &str, input: &[usize]) -> Result<(), NetError> {
        let shape = self.shape();
        if shape.len() == input.len() + 1 && shape[1..] == *input {
            return Ok(());
        }
        let (input, shape) = (dims(input), dims(shape));
        Err(NetError::Data(format!("{what}: the network wants samples {input}; the images are {shape}")))
    }
}

/// As many classes as a label, one byte, can tell apart.
const CLASSES: usize = 256;

/// Images and the class of each.
#[derive(Clone, Debug)]
pub struct Data<'a, T> {
    /// The samples, first axis N.
    pub images: Images<'a, T>,
    /// The class of each sample, `(N,)`.
    pub labels: ArrayView1<'a, u8>,
}

impl<T: Scalar> Data<'_, T> {
    /// The number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    pub(crate) fn check(&self, what: &str, input: &[usize], classes: usize) -> Result<(), NetError> {
        self.images.check(what, input)?;
        if classes > CLASSES {
            return Err(NetError::Data(format!(
                "{what}: labels are bytes, for at most {CLASSES} classes; the network has {classes} outputs"
            )));
        }
        let (images, labels) = (self.images.len(), self.labels.len());
        if images != labels {
            return Err(NetError::Data(format!(
                "{what}: {images} images, but {labels} labels; there must be one for each"
            )));
        }
        if labels == 0 {
            return Err(NetError::Data(format!("{what}: there are no images")));
        }
        match self.labels.iter().position(|&label| usize::from(label) >= classes) {
            Some(index) => Err(NetError::Label { what: what.into(), label: self.labels[index], index, classes }),
            None => Ok(()),
        }
    }
}

macro_rules! from_arrays {
    ($t:ty) => {
        impl<'a> From<ArrayView4<'a, u8>> for Images<'a, $t> {
            fn from(bytes: ArrayView4<'a, u8>) -> Self {
                Self::Bytes(bytes)
            }
        }
        impl<'a> From<ExpandedImages<'a>> for Images<'a, $t> {
            fn from(images: ExpandedImages<'a>) -> Self {
                Self::Expanded(images)
            }
        }
        impl<'a, D: Dimension> From<ArrayView<'a, $t, D>> for Images<'a, $t> {
            fn from(values: ArrayView<'a, $t, D>) -> Self {
                Self::Values(values.into_dyn())
            }
        }
        impl<'a, I: Into<Images<'a, $t>>> From<(I, ArrayView1<'a, u8>)> for Data<'a, $t> {
            fn from((images, labels): (I, ArrayView1<'a, u8>)) -> Self {
                Self { images: images.into(), labels }
            }
        }
    };
}
from_arrays!(f32);
from_arrays!(f64);
