//! How the three passes of a depthwise convolution get over their planes.

use super::way::Way;
use crate::sweep::Course;
use crate::{Conv2dShape, Scalar};

/// What follows from a shape and an instruction set, once a plan.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    /// An overlay over a channel of the image; in the weight gradient too.
    pub(super) forward: Way,
    /// The turned overlays over their feature maps' gradients.
    pub(super) backward: Way,
    /// Where each element of the overlay lies under the first pixel of a feature map, where the forward pass sweeps.
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
        let backward = Course {
            plane: shape.output(),
            origin: [0, 1].map(|axis| ((kernel[axis] - 1) * dilation[axis]) as isize - border[axis]),
            spread: stride,
            stride: [1, 1],
            out: shape.input(),
            ..forward
        };
        let maps = shape.out_channels() / shape.groups();
        let layers = (0..maps).map(|map| [map * shape.out_pixels(), map * shape.taps()]).collect();
        let (forward, backward) = (Way::new::<T>(forward, vec![[0, 0]], lanes), Way::new::<T>(backward, layers, lanes));
        let mut taps = Vec::new();
        if let Way::Sweep(track) = &forward {
            let tap = |tap: usize| tap / kernel[1] * dilation[0] * track.pitch() + track.columns()[tap % kernel[1]];
            taps.extend((0..shape.taps()).map(tap));
        }
        Self { forward, backward, taps }
    }
}
