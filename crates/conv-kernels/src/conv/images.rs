//! Vectors along the images of a batch: [`Algorithm::Images`](crate::Algorithm::Images).
//!
//! Small feature maps leave vectors along their rows half empty, and few channels those along the channels. A batch has
//! images enough:
//!
//! ```text
//! for each vector of images                                              each lane is an image
//!     turn its pixels into vectors                                       squares of pixels and images are transposed
//!     for each output pixel, for each element of the overlay over it
//!         y[o, pixel] += w[o, c, element] · x[c, pixel + element]        the definition, on vectors
//!     turn the vectors of y back into images
//! ```
//!
//! Nothing is computed that the definition does not have: not even the zeros of a border, since all lanes have the same one. The
//! input gradient is that of the mirrored shape. The weight gradient goes strip by strip,
//! `dw[o, tap] += x[pixel + tap] · dy[o, pixel]`, and adds up the lanes at the very end.
//!
//! A max pooling of 2x2 pixels, side by side, has its place between sums and turning: then a quarter is turned, and on the way
//! back what is turned spreads to the winners.
//!
//! Cost: the definition's multiply-adds, in whole vectors; and the transposition of both images, about five cycles a vector,
//! for one image in as many as a vector has lanes. Both have to lie in the second cache, for all images of a vector: so this
//! is for small images of few channels.
//!
//! Images that do not fill a vector are left to other algorithms: in the forward pass and the input gradient to those
//! whose sums are the same chains.

mod forward;
mod gradient;
mod turning;

pub(crate) use forward::Packed;
pub(crate) use turning::Maps;

use crate::simd::Isa;
use crate::{Conv2dShape, Scalar};

/// Elements of the images of a vector, and of what becomes of them, that half fill the second cache.
const LARGEST: usize = 128 << 10;

/// Pixels whose gradients in four channels, as vectors, half fill the first cache.
pub(crate) const AT_A_TIME: usize = 128;

/// A pass over a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Images<'a> {
    shape: &'a Conv2dShape,
    batch: usize,
    isa: Isa,
}

impl<'a> Images<'a> {
    /// Whether a vector of images fits the second cache with what becomes of it, for the forward pass; and for the weight gradient
    /// a strip of them, and the sums.
    pub(crate) fn applies_to(shape: &Conv2dShape, lanes: usize) -> [bool; 2] {
        let fits = |vectors: usize| shape.stride()[1] == 1 && vectors.saturating_mul(lanes) <= LARGEST;
        let rows = shape.input()[0].min((shape.kernel()[0] - 1) * shape.dilation()[0] + 1);
        let underlays = (shape.in_channels() * shape.input()[1]).saturating_mul(rows);
        let strip = underlays + shape.out_channels() * shape.output()[1];
        [fits(shape.input_len().saturating_add(shape.output_len())), fits(strip) && fits(shape.weight_len())]
    }

    pub(crate) fn new(shape: &'a Conv2dShape, batch: usize, isa: Isa) -> Self {
        Self { shape, batch, isa }
    }

    /// Input and output channels of a group.
    fn group(&self) -> [usize; 2] {
        let groups = self.shape.groups();
        [self.shape.in_channels() / groups, self.shape.out_channels() / groups]
    }

    /// How many images fill vectors.
    pub(crate) fn whole<T: Scalar>(batch: usize, isa: Isa) -> usize {
        batch - batch % isa.lanes::<T>()
    }

    /// Whether so many images nearly fill vectors: others would leave lanes empty.
    pub(crate) fn fill<T: Scalar>(batch: usize, isa: Isa) -> bool {
        3 * batch.next_multiple_of(isa.lanes::<T>()) <= 4 * batch
    }

    /// Batches of more images nearly fill vectors.
    pub(crate) fn most_few<T: Scalar>(isa: Isa) -> usize {
        3 * isa.lanes::<T>()
    }

    /// Pixels that the overlay covers along an axis, but for the first.
    fn covered(&self, axis: usize) -> usize {
        (self.shape.kernel()[axis] - 1) * self.shape.dilation()[axis]
    }
}
