//! Winograd's minimal filtering in vectors: each lane is a channel of its own.
//!
//! The four steps of `conv/winograd.rs`, each an [`Op`](super::Op): [`KernelTransform`], [`InputTransform`], [`Product`],
//! [`OutputTransform`]. The transforms first turn what they read, or last what they write, so that channels are lanes:
//! images of any width leave no lane empty.

mod filters;
mod input;
mod kernel;
mod output;
mod product;
mod squares;

use filters::{F2, F4, Filter};
pub(crate) use input::InputTransform;
pub(crate) use kernel::KernelTransform;
pub(crate) use output::OutputTransform;
pub(crate) use product::Product;

/// Elements of a 3x3 kernel.
const TAPS: usize = 9;

/// The size of the tiles that a filter computes at once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tile {
    /// F(2x2, 3x3): 2x2 outputs from 4x4 inputs.
    Two,
    /// F(4x4, 3x3): 4x4 outputs from 6x6 inputs.
    Four,
}

impl Tile {
    /// Outputs along one side.
    pub(crate) const fn side(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// Products of a tile in one channel, each at a point of its own.
    pub(crate) const fn points(self) -> usize {
        (self.side() + 2) * (self.side() + 2)
    }
}

/// Evaluates `call` with the filter `F` and its constants `M` and `N` for a [`Tile`].
macro_rules! with_filter {
    ($tile:expr, $self:ident.$method:ident::<$set:ident>($($argument:expr),*)) => {
        match $tile {
            Tile::Two => $self.$method::<$set, F2, 2, 4>($($argument),*),
            Tile::Four => $self.$method::<$set, F4, 4, 6>($($argument),*),
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
