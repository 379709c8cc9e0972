//! Augmentation: every epoch sees each image a little changed, so that a network learns what does not matter.
//!
//! | what | how | source |
//! |---|---|---|
//! | [`Distort`] with [`Affine`] | shifts, turns, scales and shears by random amounts | Simard, Steinkraus and Platt, 2003 |
//! | [`Distort`] with [`Elastic`] | bends by a smooth random field | the same |
//! | [`Distort::flip`] | mirror images, left to right | |
//! | [`Distort::cutout`] | square holes | DeVries and Taylor, 2017 |
//! | [`Shift`] | moves by whole pixels | |
//! | [`Expanded`] | no chance: a data set five times as large, with four shifts of every image | Nielsen, chapters 3 and 6 |
//!
//! All but the last are given to [`Trainer::augment`](crate::Trainer::augment), and change images as they are loaded, on all
//! threads. What happens to a sample depends on (seed, epoch, sample), and on nothing else: not on the number of threads, not
//! on the batch. Only training images are changed, never those that a network is tested on.
//!
//! What comes in from outside an image is *background*: what byte 0 is after scaling; 0 for images that are numbers already;
//! another value by [`Distort::fill`] and [`Shift::fill`].
//!
//! ```
//! use layers::random::Key;
//! use ndarray::Array3;
//! use net::augment::{Affine, Augment, Distort, Elastic, Image};
//!
//! let distort = Distort::new()
//!     .affine(Affine { shift: 2.0, rotation: 12.0, scale: 0.12, shear: 8.0 })
//!     .elastic(Elastic { sigma: 4.0, alpha: 34.0 });
//! let digit = Array3::<f32>::from_elem((1, 28, 28), 0.5);
//! let image = Image { pixels: digit.view(), background: &[0.0] };
//! let changed = distort.changed(image, Key::new(42), 0, 17);
//! assert_ne!(changed, digit);
//! assert_eq!(changed, distort.changed(image, Key::new(42), 0, 17)); // the same seed, epoch and sample
//! assert_ne!(changed, distort.changed(image, Key::new(42), 1, 17)); // another epoch
//! ```

use std::fmt::Debug;

use layers::{
    Scalar,
    random::{Key, Stream},
};
use ndarray::{Array3, ArrayView3, ArrayViewMut3};

mod affine;
mod augmenter;
mod distort;
mod elastic;
mod expanded;
mod shift;

pub use affine::Affine;
pub(crate) use augmenter::Augmenter;
pub use distort::Distort;
pub use elastic::Elastic;
pub use expanded::{Expanded, ExpandedImages};
pub use shift::Shift;

/// An image, and what is around it.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a, T> {
    /// `(C, H, W)`, scaled as the network wants it.
    pub pixels: ArrayView3<'a, T>,
    /// The value of the background, for each channel.
    pub background: &'a [T],
}

/// A random change of one image.
///
/// An augmentation of one's own, noise:
///
/// ```
/// use layers::{Scalar, random::Stream};
/// use ndarray::ArrayViewMut3;
/// use net::augment::{Augment, Image};
///
/// #[derive(Debug)]
/// struct Noise(f64);
///
/// impl<T: Scalar> Augment<T> for Noise {
///     fn name(&self) -> &'static str {
///         "noise"
///     }
///     fn describe(&self) -> String {
///         format!("noise {}", self.0)
///     }
///     fn apply(&self, image: Image<'_, T>, stream: &mut Stream, _: &mut [T], mut out: ArrayViewMut3<'_, T>) {
///         out.assign(&image.pixels);
///         out.mapv_inplace(|v| v + T::of(self.0 * stream.normal()));
///     }
/// }
/// ```
pub trait Augment<T: Scalar>: Debug + Send + Sync {
    /// What it is called in reports and files: `"distort"`.
    fn name(&self) -> &'static str;

    /// The name and every setting: what must be the same for a resumed run to be the same run.
    fn describe(&self) -> String {
        self.name().into()
    }

    /// Whether the settings make sense; asked before a training run starts.
    ///
    /// # Errors
    /// [`AugmentError`], which names the setting.
    fn validate(&self) -> Result<(), AugmentError> {
        Ok(())
    }

    /// How many numbers [`apply`](Self::apply) needs as scratch, for images of `shape` `(C, H, W)`.
    fn scratch(&self, shape: [usize; 3]) -> usize {
        let _ = shape;
        0
    }

    /// Writes the changed image to `out`, `(C, H, W)` like the image. All chance comes from `stream`; `scratch` is as long as
    /// [`scratch`](Self::scratch) says, and holds anything. Called by several threads at once.
    ///
    /// # Panics
    /// May, where `scratch` is shorter. The trainer's never is.
    fn apply(&self, image: Image<'_, T>, stream: &mut Stream, scratch: &mut [T], out: ArrayViewMut3<'_, T>);

    /// What becomes of a sample in an epoch (from 0), for looking at it: what the trainer sees, in an array of its own.
    #[must_use]
    fn changed(&self, image: Image<'_, T>, key: Key, epoch: u64, sample: u64) -> Array3<T> {
        let mut out = Array3::zeros(image.pixels.raw_dim());
        let (channels, rows, columns) = image.pixels.dim();
        let mut scratch = vec![T::ZERO; self.scratch([channels, rows, columns])];
        self.apply(image, &mut stream(key, epoch, sample), &mut scratch, out.view_mut());
        out
    }
}

/// An augmentation chosen while the program runs.
impl<T: Scalar> Augment<T> for Box<dyn Augment<T>> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn describe(&self) -> String {
        (**self).describe()
    }

    fn validate(&self) -> Result<(), AugmentError> {
        (**self).validate()
    }

    fn scratch(&self, shape: [usize; 3]) -> usize {
        (**self).scratch(shape)
    }

    fn apply(&self, image: Image<'_, T>, stream: &mut Stream, scratch: &mut [T], out: ArrayViewMut3<'_, T>) {
        (**self).apply(image, stream, scratch, out);
    }
}

/// The random numbers for one sample in one epoch.
fn stream(key: Key, epoch: u64, sample: u64) -> Stream {
    key.stream("augment", "", epoch, sample)
}

/// A setting of an augmentation is out of its range.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{what} must be {range} (got {got})")]
pub struct AugmentError {
    /// Which setting.
    pub what: &'static str,
    /// The range, in words.
    pub range: &'static str,
    /// The number that was asked for.
    pub got: f64,
}

impl AugmentError {
    /// `Ok` if the setting is in its range; NaN never is.
    fn unless(right: bool, what: &'static str, range: &'static str, got: f64) -> Result<(), Self> {
        if right { Ok(()) } else { Err(Self { what, range, got }) }
    }
}
