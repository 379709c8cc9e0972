//! How the three passes of a depthwise convolution sweep over their planes.

use crate::sweep::{Course, Track};
use crate::{Conv2dShape, Scalar};

/// What follows from a shape and an instruction set, once a plan.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    /// An overlay over a channel of the image; in the weight gradient too. Not where the image is mostly padding.
    pub(super) forward: Option<Track>,
    /// The turned overlays over their feature maps' gradients; not where these would be mostly border, or zeros that a
    /// large stride puts between them.
    pub(super) backward: Option<Track>,
    /// Where each element of the overlay lies under the first pixel of a feature map.
    pub(super) taps: Vec<usize>,
}

impl Geometry {
    /// For vectors of `lanes` elements of type `T`.
    pub(crate) fn new<T: Scalar>(shape: &Conv2dShape, lanes: usize) -> Self {
        let (kernel, stride, dilation, pad) = (shape.kernel(), shape.stride(), shape.dilation(), shape.padding());
        let border = [pad.top as isize, pad.left as isize];
        let track = |course: Course, layers: Vec<[usize; 2]>| {
            course.is_affordable(lanes).then(|| Track::new::<T>(course, layers, lanes))
        };
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
        let forward = track(forward, vec![[0, 0]]);
        let tap = |track: &Track, tap: usize| {
            tap / kernel[1] * dilation[0] * track.pitch() + track.columns()[tap % kernel[1]]
        };
        let taps = forward.iter().flat_map(|track| (0..shape.taps()).map(|index| tap(track, index))).collect();

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
        Self { forward, backward: track(backward, layers), taps }
    }
}
