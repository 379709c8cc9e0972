//! Images into vectors: with a border of zeros, or, behind a max pooling, from what it passes back.

use std::ops::Range;

use super::Images;
use crate::scratch::aligned;
use crate::simd::Isa;
use crate::simd::images::{SpreadWinners, Turn, TurnPositions, turned_len};
use crate::{Padding, Pool2dShape, Scalar};

/// Images, or gradients of feature maps, `(image, channel, pixel)`.
#[derive(Clone, Copy)]
pub(crate) enum Maps<'a, T> {
    /// All pixels.
    Whole(&'a [T]),
    /// Those that were the largest of 2x2, side by side, `(image, channel, window)`: their gradients, and where they are.
    Winners { pool: &'a Pool2dShape, dy: &'a [T], positions: &'a [u32] },
}

/// Some rows of some channels of a vector of images.
pub(super) struct Piece {
    /// The first image, and how many.
    pub(super) images: [usize; 2],
    pub(super) channels: Range<usize>,
    /// An even one first.
    pub(super) rows: Range<usize>,
}

impl<T: Scalar> Maps<'_, T> {
    /// Scratch elements for the turning of at most so many rows of so many channels.
    pub(super) fn room(channels: usize, rows: usize, width: usize, lanes: usize) -> usize {
        2 * aligned::<T>(turned_len(channels * (rows / 2) * (width / 2), lanes))
    }

    /// Vectors `(channel, row, column, lane)` of a piece of maps of so many channels, rows and columns. True if a winner lies
    /// elsewhere than under its own window: then they mean nothing.
    pub(super) fn turn(
        self,
        isa: Isa,
        [channels, height, width]: [usize; 3],
        Piece { images: [first, images], channels: piece, rows }: Piece,
        to: &mut [T],
        room: &mut [T],
    ) -> bool {
        let mut strays = false;
        match self {
            Self::Whole(maps) => {
                let (plane, len) = (height * width, rows.len() * width);
                let from = &maps[(first * channels + piece.start) * plane + rows.start * width..];
                let (runs, pitches) = ([piece.len(), len], [plane, len]);
                // Whole planes are one run.
                let (runs, pitches) = if len == plane { ([1, piece.len() * plane], [0; 2]) } else { (runs, pitches) };
                T::run(isa, Turn { from, image_pitch: channels * plane, images, runs, pitches, to });
            }
            Self::Winners { pool, dy, positions } => {
                let ([all, columns], plane) = (pool.output(), pool.output()[0] * pool.output()[1]);
                let windows = (rows.start / 2).min(all)..(rows.end / 2).min(all);
                let len = windows.len() * columns;
                let (turned, places) = room.split_at_mut(room.len() / 2);
                if len > 0 {
                    let at = (first * channels + piece.start) * plane + windows.start * columns;
                    let (image_pitch, runs, pitches) = (channels * plane, [piece.len(), len], [plane, len]);
                    let turn = Turn { from: &dy[at..], image_pitch, images, runs, pitches, to: &mut *turned };
                    T::run(isa, turn);
                    let turn = Turn { from: &positions[at..], image_pitch, images, runs, pitches, to: &mut *places };
                    T::run(isa, TurnPositions(turn));
                }
                let spread = SpreadWinners {
                    dy: turned,
                    positions: places,
                    channels: piece.len(),
                    windows: [windows.len(), columns],
                    pixels: [rows.len(), width],
                    first: rows.start * width,
                    to,
                    strays: &mut strays,
                };
                T::run(isa, spread);
            }
        }
        strays
    }
}

impl Images<'_> {
    /// The channels of a group of some images, with the border, from a row of it on: `(channel, row, column, lane)`, as many rows
    /// as `reached`, and `[rows, columns]` of a channel there.
    pub(super) fn turn_bordered<T: Scalar>(
        &self,
        x: &[T],
        [first, images]: [usize; 2],
        group: usize,
        [top, reached]: [usize; 2],
        [copy_rows, copy_width]: [usize; 2],
        to: &mut [T],
    ) {
        let (lanes, shape, depth) = (self.isa.lanes::<T>(), self.shape, self.group()[0]);
        let ([height, width], padding) = (shape.input(), shape.padding());
        // Columns behind the last that an overlay reaches are left out.
        let real = width.min(copy_width - padding.left);
        for channel in 0..depth {
            let plane = (first * shape.in_channels() + group * depth + channel) * height * width;
            for row in 0..reached {
                let to = &mut to[(channel * copy_rows + row) * copy_width * lanes..];
                let Some(line) = (top + row).checked_sub(padding.top).filter(|&line| line < height) else {
                    to[..copy_width * lanes].fill(T::ZERO);
                    continue;
                };
                to[..padding.left * lanes].fill(T::ZERO);
                let op = Turn {
                    from: &x[plane + line * width..],
                    image_pitch: shape.input_len(),
                    images,
                    runs: [1, real],
                    pitches: [0; 2],
                    to: &mut to[padding.left * lanes..],
                };
                T::run(self.isa, op);
                to[(padding.left + real) * lanes..copy_width * lanes].fill(T::ZERO);
            }
        }
    }

    /// All that overlays reach of a group's channels: `(channel, row, column, lane)`, as [`Images::bordered`] says.
    pub(super) fn turn_underlays<T: Scalar>(&self, x: &[T], images: [usize; 2], group: usize, to: &mut [T]) {
        let (shape, size) = (self.shape, self.bordered());
        if shape.padding() != Padding::NONE || size != shape.input() {
            return self.turn_bordered(x, images, group, [0, size[0]], size, to);
        }
        let [depth, _] = self.group();
        let [height, width] = size;
        let piece = Piece { images, channels: group * depth..(group + 1) * depth, rows: 0..height };
        Maps::Whole(x).turn(self.isa, [shape.in_channels(), height, width], piece, to, &mut []);
    }

    /// `[rows, columns]` of a channel with its border, as far as overlays reach.
    pub(super) fn bordered(&self) -> [usize; 2] {
        let shape = self.shape;
        [0, 1].map(|axis| (shape.output()[axis] - 1) * shape.stride()[axis] + 1 + self.covered(axis))
    }
}
