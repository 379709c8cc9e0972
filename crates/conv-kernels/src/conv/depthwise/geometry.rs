//! How the three passes of a depthwise convolution sweep over their planes.

use crate::sweep::{Course, Track};
use crate::{Conv2dShape, Scalar};

/// An input gradient with stride is computed with zeros between the gradients, if these do not make it more than so many
/// times the work.
const MAX_SPREAD: usize = 6;

/// What follows from a shape and an instruction set, once a plan.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    /// An overlay over a channel of the image; in the weight gradient too.
    pub(super) forward: Track,
    /// The turned overlays over their feature maps' gradients; not where the stride is large.
    pub(super) backward: Option<Track>,
    /// Where each element of the overlay lies under the first pixel of a feature map.
    pub(super) taps: Vec<usize>,
}

impl Geometry {
    /// For vectors of `lanes` elements of type `T`.
    pub(crate) fn new<T: Scalar>(shape: &Conv2dShape, lanes: usize) -> Self {
        let (kernel, stride, dilation, pad) = (shape.kernel(), shape.stride(), shape.dilation(), shape.padding());
        let border = [pad.top as isize, pad.left as isize];
        let forward = Course {
            plane: shape.input(),
            origin: border,
            spread: [1, 1],
            kernel,
            kernel_pitch: kernel[1],
            stride,
            dilation,
            out: shape.output(),
        };
        let forward = Track::new::<T>(forward, vec![[0, 0]], lanes);
        let row = |i: usize| i * dilation[0] * forward.pitch();
        let taps = (0..kernel[0]).flat_map(|i| forward.columns().iter().map(move |&column| row(i) + column)).collect();

        let backward = Course {
            plane: shape.output(),
            origin: [0, 1].map(|axis| ((kernel[axis] - 1) * dilation[axis]) as isize - border[axis]),
            spread: stride,
            kernel,
            kernel_pitch: kernel[1],
            stride: [1, 1],
            dilation,
            out: shape.input(),
        };
        let maps = shape.out_channels() / shape.groups();
        let layers = (0..maps).map(|map| [map * shape.out_pixels(), map * shape.taps()]).collect();
        let backward = (stride[0] * stride[1] <= MAX_SPREAD).then(|| Track::new::<T>(backward, layers, lanes));
        Self { forward, backward, taps }
    }
}
