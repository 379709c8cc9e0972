//! Winograd's minimal filtering in vectors: each lane is a channel of its own.
//!
//! The four steps of `conv/winograd.rs`, each an [`Op`](super::Op): [`KernelTransform`], [`PixelTransform`], [`Product`],
//! [`OutputTransform`]; and the other two of the weight gradient, [`GradientProduct`] and [`KernelGradient`]. The
//! transforms first turn what they read, or last what they write, so that channels are lanes: images of any width leave
//! no lane empty.

mod filters;
mod gradient;
mod kernel;
mod output;
mod pixels;
mod pooled;
mod product;

use filters::{F2x3, F2x3By2, F2x5, F2x5By2, F4x3, Filter};
pub(crate) use gradient::{GradientProduct, KernelGradient};
pub(crate) use kernel::KernelTransform;
pub(crate) use output::OutputTransform;
pub(crate) use pixels::{PixelTransform, Seen};
pub(crate) use pooled::Positions;
pub(crate) use product::Product;

/// The kernels and the tiles of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tile {
    /// F(2x2, 3x3): 2x2 outputs of a 3x3 kernel, from 4x4 inputs.
    F2x3,
    /// F(4x4, 3x3): 4x4 outputs, from 6x6 inputs.
    F4x3,
    /// F(2x2, 5x5) in pieces: 2x2 outputs of a 5x5 kernel, from 6x6 inputs.
    F2x5,
    /// 2x2 outputs of a 3x3 kernel that slides by two, in pieces, from 5x5 inputs.
    F2x3By2,
    /// 2x2 outputs of a 5x5 kernel that slides by two, in pieces, from 7x7 inputs.
    F2x5By2,
}

impl Tile {
    /// Rows, and columns, of the kernels.
    pub(crate) const fn kernel(self) -> usize {
        match self {
            Self::F2x3 | Self::F4x3 | Self::F2x3By2 => 3,
            Self::F2x5 | Self::F2x5By2 => 5,
        }
    }

    /// By how much they slide.
    pub(crate) const fn stride(self) -> usize {
        match self {
            Self::F2x3By2 | Self::F2x5By2 => 2,
            Self::F2x3 | Self::F4x3 | Self::F2x5 => 1,
        }
    }

    /// Outputs along one side.
    pub(crate) const fn side(self) -> usize {
        match self {
            Self::F4x3 => 4,
            _ => 2,
        }
    }

    /// From one tile's first input to the next's, and how many more inputs a tile has.
    pub(crate) const fn reach(self) -> (usize, usize) {
        (self.side() * self.stride(), self.kernel() - self.stride())
    }

    /// Products of a tile in one channel, each at a point of its own.
    pub(crate) const fn points(self) -> usize {
        match self {
            Self::F2x3 => 4 * 4,
            Self::F4x3 => 6 * 6,
            Self::F2x5 | Self::F2x5By2 => 7 * 7,
            Self::F2x3By2 => 5 * 5,
        }
    }
}

/// Evaluates `call` with the filter `F` of a [`Tile`], and its constants `K`, `L`, `M` and `N`.
macro_rules! with_filter {
    ($tile:expr, $self:ident.$method:ident::<$set:ident>($($argument:expr),*)) => {
        match $tile {
            Tile::F2x3 => $self.$method::<$set, F2x3, 3, 4, 2, 4>($($argument),*),
            Tile::F4x3 => $self.$method::<$set, F4x3, 3, 6, 4, 6>($($argument),*),
            Tile::F2x5 => $self.$method::<$set, F2x5, 5, 6, 2, 7>($($argument),*),
            Tile::F2x3By2 => $self.$method::<$set, F2x3By2, 3, 5, 2, 5>($($argument),*),
            Tile::F2x5By2 => $self.$method::<$set, F2x5By2, 5, 7, 2, 7>($($argument),*),
        }
    };
}
use with_filter;

/// Transforms columns, then rows.
macro_rules! in_two_dimensions {
    ($simd:expr, $transform:path, $square:expr, $from:expr => $to:expr) => {{
        let zero = $simd.splat(T::ZERO);
        let mut half = [[zero; $from]; $to];
        for column in 0..$from {
            let mut line = [zero; $from];
            for row in 0..$from {
                line[row] = $square[row][column];
            }
            let line = $transform($simd, line);
            for row in 0..$to {
                half[row][column] = line[row];
            }
        }
        let mut whole = [[zero; $to]; $to];
        for row in 0..$to {
            whole[row] = $transform($simd, half[row]);
        }
        whole
    }};
}
use in_two_dimensions;
