//! An augmentation at work in a training run.

use std::sync::{Arc, Mutex, PoisonError};

use layers::{Scalar, random::Key};
use ndarray::{ArrayView3, ArrayViewMut3};

use super::{Augment, Image, stream};
use crate::{Images, NetError, Sequential, error::dims};

/// An augmentation with all that it needs besides an image.
pub(crate) struct Augmenter<T: Scalar> {
    augment: Arc<dyn Augment<T>>,
    shape: [usize; 3],
    background: Vec<T>,
    /// Room for a copy of the image, and scratch: a thread takes one for each image, and puts it back. There are soon as many
    /// as there are threads, and no more are made.
    rooms: Mutex<Vec<Vec<T>>>,
}

impl<T: Scalar> Augmenter<T> {
    /// For the training images of a network; the augmentation's settings are sound.
    pub(crate) fn new(
        augment: Arc<dyn Augment<T>>,
        net: &Sequential<T>,
        images: &Images<'_, T>,
    ) -> Result<Self, NetError> {
        let Ok(shape) = <[usize; 3]>::try_from(net.input.as_slice()) else {
            return Err(NetError::Setting(format!(
                "augmentation wants images (channels, rows, columns), but the network takes samples {}; train without it, \
                 or build the network for images: a dense layer flattens them",
                dims(&net.input)
            )));
        };
        let background = (0..shape[0]).map(|channel| images.background(&net.scaling, channel)).collect();
        Ok(Self { augment, shape, background, rooms: Mutex::default() })
    }

    /// Changes a loaded sample, `pixels` in C order, in place.
    pub(crate) fn apply(&self, key: Key, epoch: u64, sample: u64, pixels: &mut [T]) {
        const FITS: &str = "a sample has the shape of the network's input";
        let len = pixels.len();
        let rooms = || self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let room = rooms().pop();
        let mut room = room.unwrap_or_else(|| vec![T::ZERO; len + self.augment.scratch(self.shape)]);
        let (copy, scratch) = room.split_at_mut(len);
        copy.copy_from_slice(pixels);
        let image =
            Image { pixels: ArrayView3::from_shape(self.shape, copy).expect(FITS), background: &self.background };
        let out = ArrayViewMut3::from_shape(self.shape, pixels).expect(FITS);
        self.augment.apply(image, &mut stream(key, epoch, sample), scratch, out);
        rooms().push(room);
    }
}
