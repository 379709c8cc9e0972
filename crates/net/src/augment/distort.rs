//! Affine and elastic distortion in one: images are interpolated once. With mirror images and holes, for what is not a digit.

use std::ops::Range;

use layers::{Scalar, random::Stream};
use ndarray::{ArrayView2, ArrayViewMut3, Axis, s};

use super::{Affine, Augment, AugmentError, Elastic, Image};

/// Moves, turns, scales, shears and bends; mirrors and cuts out, if asked to.
///
/// The new image's pixel at (i, j) comes from a place in the old one: that of the [`Affine`] map, moved by the [`Elastic`] field's
/// value at (i, j). Places between pixels are interpolated linearly in both directions, so new values lie between old ones (up
/// to rounding). All channels are distorted alike.
///
/// ```
/// use net::{Sequential, Trainer, augment::{Affine, Distort, Elastic}, optim::Sgd};
/// let data = mnist_io::Mnist::sample()?;
/// let (train, validation) = data.train.take(500).split_at(400);
/// let distort = Distort::new()
///     .affine(Affine { shift: 2.0, rotation: 12.0, scale: 0.12, shear: 8.0 })
///     .elastic(Elastic { sigma: 4.0, alpha: 34.0 });
/// let mut net = Sequential::builder([1, 28, 28]).conv2d(4, 5).max_pool2d(4).dense(10).build(42)?;
/// Trainer::new(Sgd::new(0.05).momentum(0.9)).augment(distort).fit(&mut net, train.pair(), validation.pair())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "RandomAffine")]
#[doc(alias = "ElasticTransform")]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Distort {
    affine: Affine,
    elastic: Option<Elastic>,
    flip: f64,
    cutout: u8,
    fill: Option<f64>,
}

impl Distort {
    /// No distortion, until told otherwise: images stay as they are.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves, turns, scales and shears.
    #[must_use]
    pub fn affine(mut self, affine: Affine) -> Self {
        self.affine = affine;
        self
    }

    /// Bends.
    #[must_use]
    pub fn elastic(mut self, elastic: Elastic) -> Self {
        self.elastic = Some(elastic);
        self
    }

    /// With this probability, first turns left into right: a shirt stays a shirt, but a digit is none any more.
    ///
    /// For clothes: 0.5.
    #[doc(alias = "RandomHorizontalFlip")]
    #[must_use]
    pub fn flip(mut self, probability: f64) -> Self {
        self.flip = probability;
        self
    }

    /// At last, fills a square with so many pixels on a side, whose middle is as likely on each pixel; what of it is outside the
    /// image falls away (DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", 2017).
    #[doc(alias = "RandomErasing")]
    #[must_use]
    pub fn cutout(mut self, pixels: u8) -> Self {
        self.cutout = pixels;
        self
    }

    /// What comes in from outside the image, and into what is cut out, in the scale of the network's input; background unless
    /// told otherwise.
    #[must_use]
    pub fn fill(mut self, value: f64) -> Self {
        self.fill = Some(value);
        self
    }
}

impl<T: Scalar> Augment<T> for Distort {
    fn name(&self) -> &'static str {
        "distort"
    }

    fn describe(&self) -> String {
        let elastic = self.elastic.map(|elastic| format!(" {elastic}")).unwrap_or_default();
        let flip = if self.flip == 0.0 { String::new() } else { format!(" flip {}", self.flip) };
        let cutout = if self.cutout == 0 { String::new() } else { format!(" cutout {}", self.cutout) };
        let fill = self.fill.map(|fill| format!(" fill {fill}")).unwrap_or_default();
        format!("distort {}{elastic}{flip}{cutout}{fill}", self.affine)
    }

    fn validate(&self) -> Result<(), AugmentError> {
        self.affine.validate()?;
        self.elastic.map_or(Ok(()), |elastic| elastic.validate())?;
        let flip = (0.0..=1.0).contains(&self.flip);
        AugmentError::unless(flip, "the flip of the distortion", "0 to 1", self.flip)?;
        check_fill("the fill of the distortion", self.fill)
    }

    fn scratch(&self, [_, rows, columns]: [usize; 3]) -> usize {
        let elastic = self.elastic.map_or(0, |_| Elastic::scratch([rows, columns]));
        2 * places([rows, columns]) + elastic.max(framed(rows) * framed(columns))
    }

    fn apply(&self, image: Image<'_, T>, stream: &mut Stream, scratch: &mut [T], mut out: ArrayViewMut3<'_, T>) {
        let (_, rows, columns) = image.pixels.dim();
        let size = [rows, columns];
        let (sources, scratch) = scratch.split_at_mut(2 * places(size));
        let mut field = Field { size, sources: sources.split_at_mut(places(size)).into() };
        self.affine.draw(stream).trace(&mut field);
        if let Some(elastic) = &self.elastic {
            elastic.bend(&mut field, stream, scratch);
        }
        // drawn last, and only if asked for: other draws are the same with and without
        let flip = self.flip > 0.0 && stream.uniform() < self.flip;
        let hole = (self.cutout > 0 && rows * columns > 0).then(|| size.map(|n| cut(stream, n, self.cutout.into())));
        let channels = image.pixels.outer_iter().zip(out.outer_iter_mut()).zip(image.background);
        for ((mut plane, mut out), &background) in channels {
            let fill = self.fill.map_or(background, T::of);
            if flip {
                plane.invert_axis(Axis(1));
            }
            let canvas = &mut scratch[..framed(rows) * framed(columns)];
            frame(plane, fill, canvas);
            field.sample(canvas, out.iter_mut());
            if let Some([rows, columns]) = &hole {
                out.slice_mut(s![rows.clone(), columns.clone()]).fill(fill);
            }
        }
    }
}

/// What is cut out of an axis of `n` pixels: `side` of them about a middle that is drawn, or fewer at the ends.
fn cut(stream: &mut Stream, n: usize, side: usize) -> Range<usize> {
    let middle = stream.below(n as u64) as usize;
    middle.saturating_sub(side / 2)..(middle + side.div_ceil(2)).min(n)
}

/// Whether what is around an image is a number.
pub(super) fn check_fill(what: &'static str, fill: Option<f64>) -> Result<(), AugmentError> {
    AugmentError::unless(fill.is_none_or(f64::is_finite), what, "finite", fill.unwrap_or_default())
}

/// Pixels whose sources are found side by side.
const LANES: usize = 16;

/// Where each pixel of a new image comes from.
pub(super) struct Field<'a, T> {
    /// Rows and columns of the image.
    pub(super) size: [usize; 2],
    /// The source's row, and its column, for each pixel, in pixels of the old image: `(rows, columns)` each, and then what fills
    /// the last vector.
    pub(super) sources: [&'a mut [T]; 2],
}

/// How many sources there is room for.
pub(super) fn places([rows, columns]: [usize; 2]) -> usize {
    (rows * columns).next_multiple_of(LANES)
}

impl<T: Scalar> Field<'_, T> {
    /// Takes every pixel of the new image from a framed old one.
    pub(super) fn sample<'o>(&self, canvas: &[T], mut out: impl Iterator<Item = &'o mut T>) {
        let stride = framed(self.size[1]);
        let [(source_rows, _), (source_columns, _)] =
            self.sources.each_ref().map(|sources| sources.as_chunks::<LANES>());
        for (rows, columns) in source_rows.iter().zip(source_columns) {
            let (top, down) = cells(rows, self.size[0]);
            let (left, right) = cells(columns, self.size[1]);
            for (lane, out) in (0..LANES).zip(&mut out) {
                let at = top[lane] as usize * stride + left[lane] as usize;
                let (above, below) = (&canvas[at..at + 2], &canvas[at + stride..at + stride + 2]);
                let above = above[0] + right[lane] * (above[1] - above[0]);
                let below = below[0] + right[lane] * (below[1] - below[0]);
                *out = above + down[lane] * (below - above);
            }
        }
    }
}

/// The cells of a framed axis with `n` pixels that places lie in, and how far along them; what is outside is on the frame.
fn cells<T: Scalar>(places: &[T; LANES], n: usize) -> ([i32; LANES], [T; LANES]) {
    let (mut indices, mut shares) = ([0; LANES], [T::ZERO; LANES]);
    let most = T::of((n + 1) as f64);
    for lane in 0..LANES {
        let place = places[lane] + T::one();
        let place = if place > T::ZERO { place } else { T::ZERO };
        let place = if place < most { place } else { most };
        indices[lane] = place.as_f64() as i32;
        shares[lane] = place - T::of(f64::from(indices[lane]));
    }
    (indices, shares)
}

/// The length of an axis in its frame: one pixel before it, and two after it, so that the last cell has an end.
pub(super) fn framed(n: usize) -> usize {
    n + 3
}

/// Copies an image into a canvas with a frame around it.
pub(super) fn frame<T: Scalar>(plane: ArrayView2<'_, T>, fill: T, canvas: &mut [T]) {
    canvas.fill(fill);
    for (row, framed) in plane.outer_iter().zip(canvas.chunks_exact_mut(framed(plane.ncols())).skip(1)) {
        for (&pixel, framed) in row.iter().zip(&mut framed[1..]) {
            *framed = pixel;
        }
    }
}
