//! Shifts by whole pixels.

use layers::{Scalar, random::Stream};
use ndarray::{ArrayView2, ArrayViewMut3};

use super::{Augment, AugmentError, Image, distort::check_fill};

/// Moves an image by whole pixels, so that no value changes: each of −pixels … pixels down and to the right is as likely.
///
/// ```
/// use net::{Trainer, augment::Shift, optim::Sgd};
/// let trainer = Trainer::<f32>::new(Sgd::new(0.1)).augment(Shift::new(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    pixels: u8,
    fill: Option<f64>,
}

impl Shift {
    /// By at most so many pixels in each direction.
    #[must_use]
    pub fn new(pixels: u8) -> Self {
        Self { pixels, fill: None }
    }

    /// What comes in from outside the image, in the scale of the network's input; background unless told otherwise.
    #[must_use]
    pub fn fill(mut self, value: f64) -> Self {
        self.fill = Some(value);
        self
    }
}

impl<T: Scalar> Augment<T> for Shift {
    fn name(&self) -> &'static str {
        "shift"
    }

    fn describe(&self) -> String {
        let fill = self.fill.map(|fill| format!(" fill {fill}")).unwrap_or_default();
        format!("shift {}{fill}", self.pixels)
    }

    fn validate(&self) -> Result<(), AugmentError> {
        check_fill("the fill of the shift", self.fill)
    }

    fn apply(&self, image: Image<'_, T>, stream: &mut Stream, _: &mut [T], mut out: ArrayViewMut3<'_, T>) {
        let most = isize::from(self.pixels);
        let by = [(); 2].map(|()| stream.below(2 * u64::from(self.pixels) + 1) as isize - most);
        let channels = image.pixels.outer_iter().zip(out.outer_iter_mut()).zip(image.background);
        for ((plane, mut out), &background) in channels {
            shifted(plane, by, self.fill.map_or(background, T::of), |pixel| pixel, out.iter_mut());
        }
    }
}

/// Writes a plane that was moved down and to the right, each pixel turned into a value.
pub(super) fn shifted<'o, P: Copy, T: Copy + 'o>(
    plane: ArrayView2<'_, P>,
    [down, right]: [isize; 2],
    fill: T,
    value: impl Fn(P) -> T,
    out: impl Iterator<Item = &'o mut T>,
) {
    let (rows, columns) = plane.dim();
    let places = (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j)));
    for (out, (i, j)) in out.zip(places) {
        // a place before the first row or column wraps around, to far behind the last
        let source = plane.get((i.wrapping_add_signed(-down), j.wrapping_add_signed(-right)));
        *out = source.map_or(fill, |&pixel| value(pixel));
    }
}
