//! The algorithms of a plan, and what each can compute.

use std::fmt;

use super::mirrored;
use crate::Conv2dShape;
use crate::conv::direct::{Geometry, shortest_run};
use crate::conv::images::Images;
use crate::conv::winograd::Winograd;
use crate::simd::winograd::Tile;

/// How a convolution is computed.
///
/// NaN and infinities reach the sums that they are part of by definition, and no others, whichever algorithm: sums that
/// are not finite and may owe it to the zeros of a border or to Winograd's transforms are formed again, one by one.
///
/// ```
/// use conv_kernels::Algorithm;
/// assert_eq!(Algorithm::Im2col.to_string(), "im2col");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Underlays become the columns of a matrix, block by block, and the convolution a matrix product. For every
    /// shape. Padding is multiplied like the zeros that it stands for.
    Im2col,
    /// A matrix product straight on the image: for 1x1 kernels with stride 1 and no padding.
    Pointwise,
    /// Plane by plane, by tiles of several rows of results: for groups of one input channel each, where a product would
    /// have a single row, or few. Padding is skipped.
    Depthwise,
    /// Straight on the image, by tiles whose vectors lie along the pixels of a row; the input gradient adds to each
    /// underlay what its output pixel sends back. Padding is multiplied as by [`Algorithm::Im2col`].
    Direct,
    /// Straight on the image, by tiles whose vectors lie along the output channels; the input gradient is a full
    /// convolution as the article has it, with vectors along the input channels. Padding is multiplied.
    Channels,
    /// The input gradient as a full convolution by [`Algorithm::Direct`]'s forward pass.
    Mirrored,
    /// Vectors along the images of a batch, for small images. Those that fill no vector are left to [`Algorithm::Direct`],
    /// [`Algorithm::Channels`] or [`Algorithm::Mirrored`], whose bits these are, and to the next best weight gradient.
    Images,
    /// Winograd's minimal filtering, F(2x2, 3x3): 16 products where the definition has 36; and 49 for 100 with 5x5 kernels.
    /// For either with stride 1; with stride 2 it saves less, and has no input gradient.
    Winograd,
    /// The same, F(4x4, 3x3): 36 products where the definition has 144. Its errors are several times as large, so a plan
    /// never chooses it by itself.
    Winograd4,
}

impl Algorithm {
    /// Every algorithm there is.
    pub const ALL: [Self; 9] = [
        Self::Im2col,
        Self::Pointwise,
        Self::Depthwise,
        Self::Direct,
        Self::Channels,
        Self::Mirrored,
        Self::Images,
        Self::Winograd,
        Self::Winograd4,
    ];

    /// Whether its kernels read weights in an order of their own, in the forward pass and the input gradient.
    pub(super) fn packs(self) -> bool {
        !matches!(self, Self::Im2col | Self::Pointwise | Self::Depthwise)
    }

    /// Which passes of a shape it can compute with vectors of `lanes`, in pieces of `piece`: forward, input gradient,
    /// weight gradient.
    pub(super) fn passes(self, shape: &Conv2dShape, [lanes, piece]: [usize; 2]) -> [bool; 3] {
        match self {
            Self::Im2col => [true; 3],
            Self::Pointwise => {
                [shape.kernel() == [1, 1] && shape.stride() == [1, 1] && shape.input() == shape.output(); 3]
            }
            Self::Depthwise => [shape.groups() == shape.in_channels(); 3],
            Self::Direct => {
                let images = Geometry::fills_vectors(shape, piece);
                [images, images, Geometry::applies_to(shape) && shape.output()[1] >= shortest_run(lanes)]
            }
            Self::Channels => {
                let applies = Geometry::applies_to(shape);
                [applies, mirrored(shape).is_some_and(|shape| Geometry::applies_to(&shape)), applies]
            }
            Self::Mirrored => {
                [false, mirrored(shape).is_some_and(|shape| Geometry::fills_vectors(&shape, piece)), false]
            }
            Self::Images => {
                let [whole, strips] = Images::applies_to(shape, lanes);
                let [by_channels, ..] = Self::Channels.passes(shape, [lanes, piece]);
                [whole && by_channels, whole && Self::Mirrored.passes(shape, [lanes, piece])[1], strips]
            }
            Self::Winograd | Self::Winograd4 => {
                let applies = self.tile(shape).is_some();
                [applies, applies && mirrored(shape).is_some(), applies]
            }
        }
    }

    /// The tiles of a Winograd algorithm, if it has any for the shape.
    pub(super) fn tile(self, shape: &Conv2dShape) -> Option<Tile> {
        let tiles: &[Tile] = match self {
            Self::Winograd => &[Tile::F2x3, Tile::F2x5, Tile::F2x3By2, Tile::F2x5By2],
            Self::Winograd4 => &[Tile::F4x3],
            _ => &[],
        };
        tiles.iter().copied().find(|&tile| Winograd::applies_to(shape, tile))
    }

    /// Whether a plan may choose it by itself: the larger errors of F(4x4, 3x3) are for those who ask for it.
    pub(super) fn chosen(self) -> bool {
        self != Self::Winograd4
    }

    /// Whether it is one of those in `conv::direct`.
    pub(super) fn is_direct(self) -> bool {
        matches!(self, Self::Direct | Self::Channels | Self::Mirrored)
    }

    pub(super) fn domain(self) -> &'static str {
        match self {
            Self::Im2col => "every shape",
            Self::Pointwise => "1x1 kernels with stride 1 and no padding",
            Self::Depthwise => "groups of one input channel each",
            Self::Direct => "little padding, and outputs of at least 8 pixels, or a longer vector",
            Self::Channels => "little padding",
            Self::Mirrored => {
                "stride 1, less padding than the kernel covers, and inputs of at least 8 pixels, or a longer vector"
            }
            Self::Images => "small images of few channels, and an overlay that slides by one column",
            Self::Winograd => "3x3 and 5x5 kernels with stride 1, or 2 and dilation 1",
            Self::Winograd4 => "3x3 kernels with stride 1",
        }
    }
}

/// `im2col`, `pointwise`, `depthwise`, `direct`, `channels`, `mirrored`, `images`, `winograd2`, `winograd4`.
impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Im2col => "im2col",
            Self::Pointwise => "pointwise",
            Self::Depthwise => "depthwise",
            Self::Direct => "direct",
            Self::Channels => "channels",
            Self::Mirrored => "mirrored",
            Self::Images => "images",
            Self::Winograd => "winograd2",
            Self::Winograd4 => "winograd4",
        })
    }
}
