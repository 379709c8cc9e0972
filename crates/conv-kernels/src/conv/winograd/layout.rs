//! How the tiles and channels of a convolution are gone through, and where they lie in the working memory.

use std::ops::Range;

use crate::scratch::aligned;
use crate::simd::Isa;
use crate::simd::winograd::{KernelGradient, KernelTransform, OutputTransform, PixelTransform, Tile};
use crate::{Conv2dShape, Scalar};

/// Output channels are cut at multiples of this, and the products of so many are in the working memory at once: whole
/// blocks of two vectors of any set.
pub(super) const SECTION: usize = 64;

/// Bytes that transformed inputs and products may take: about what the second cache holds.
const BAND_BYTES: usize = 544 << 10;

/// A band has at least so many tiles, where there are so many: the transformed kernels pass by once a band.
const MIN_TILES: usize = 32;

/// More tiles than this gain nothing.
const MAX_TILES: usize = 192;

/// Channels, of the input and of the output, whose weight gradients are added to at once: whole blocks.
pub(super) const GRADIENT_SECTION: usize = 128;

/// The most tiles of a band of the weight gradient.
const MAX_GRADIENT_TILES: usize = 96;

/// Follows from the shape and the instruction set alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) tile: Tile,
    pub(super) groups: usize,
    /// Input channels of a group.
    pub(super) depth: usize,
    /// Output channels of a group.
    pub(super) maps: usize,
    /// Lanes of a vector, each for a channel.
    pub(super) lanes: usize,
    /// From one line that a tile sees to the next, and from one column: where kernels have gaps, an image falls apart
    /// into as many planes of lines, and each of their lines into as many of columns, which have nothing to do with each
    /// other.
    pub(super) steps: [usize; 2],
    /// Rows of tiles of a plane.
    pub(super) rows: usize,
    /// Columns of tiles, for one of the steps.
    pub(super) columns: usize,
    /// The most rows of tiles of a band, of one plane or of several.
    pub(super) band_rows: usize,
    /// The most columns of tiles of a band.
    pub(super) band_columns: usize,
}

impl Layout {
    /// For the outputs, of elements of type `T`.
    pub(super) fn new<T>(shape: &Conv2dShape, tile: Tile, isa: Isa) -> Self {
        let [depth, maps] = [shape.in_channels(), shape.out_channels()].map(|all| all / shape.groups());
        Self::with_tiles::<T>(shape, tile, isa, tiles::<T>(tile, depth + maps.min(SECTION), MAX_TILES))
    }

    /// For the weight gradient: sums are loaded and stored once a band.
    pub(super) fn of_gradient<T>(shape: &Conv2dShape, tile: Tile, isa: Isa) -> Self {
        let [depth, maps] = [shape.in_channels(), shape.out_channels()].map(|all| all / shape.groups());
        let channels = depth.min(GRADIENT_SECTION) + maps.min(GRADIENT_SECTION);
        Self::with_tiles::<T>(shape, tile, isa, tiles::<T>(tile, channels, MAX_GRADIENT_TILES))
    }

    /// With bands of at most so many tiles.
    fn with_tiles<T>(shape: &Conv2dShape, tile: Tile, isa: Isa, most: usize) -> Self {
        let (lanes, groups, steps) = (isa.lanes::<T>(), shape.groups(), shape.dilation());
        let [depth, maps] = [shape.in_channels(), shape.out_channels()].map(|all| all / groups);
        let [rows, columns] = [0, 1].map(|axis| shape.output()[axis].div_ceil(steps[axis]).div_ceil(tile.side()));
        let most = (most / steps[1]).max(1);
        let band_columns = columns.div_ceil(columns.div_ceil(most));
        let band_rows = most / band_columns;
        Self { tile, groups, depth, maps, lanes, steps, rows, columns, band_rows, band_columns }
    }

    /// Images that share a band, where there are so many.
    pub(super) fn images(&self) -> usize {
        self.band_rows.div_ceil(self.rows * self.steps[0])
    }

    /// The most tiles of a band.
    fn band_tiles(&self) -> usize {
        self.band_rows * self.band_columns * self.steps[1]
    }

    /// Vectors of input channels of a group.
    pub(super) fn vectors(&self) -> usize {
        self.depth.div_ceil(self.lanes)
    }

    /// Blocks of output channels, two vectors each, of a group.
    pub(super) fn blocks(&self) -> usize {
        self.maps.div_ceil(2 * self.lanes)
    }

    /// The output channels of a block of a group, and how many fill its vectors.
    pub(super) fn block(&self, index: usize) -> (Range<usize>, usize) {
        let first = 2 * self.lanes * index;
        let channels = first..self.maps.min(first + 2 * self.lanes);
        let width = channels.len().next_multiple_of(self.lanes);
        (channels, width)
    }

    /// The blocks of some output channels of a group, which begin at a multiple of [`SECTION`].
    pub(super) fn blocks_within(&self, channels: &Range<usize>) -> Range<usize> {
        channels.start / (2 * self.lanes)..channels.end.div_ceil(2 * self.lanes)
    }

    /// From one point's kernels of a block to the next's.
    pub(super) fn kernels_plane<T>(&self) -> usize {
        staggered::<T>(2 * self.lanes * self.depth)
    }

    /// From one block's kernels to the next's.
    pub(super) fn kernels_block<T>(&self) -> usize {
        self.tile.points() * self.kernels_plane::<T>()
    }

    /// From one vector of input channels to the next of a point's inputs.
    pub(super) fn inputs_pitch<T>(&self) -> usize {
        staggered::<T>(self.band_tiles() * self.lanes)
    }

    /// From one point's inputs to the next's: for all channels of a group.
    pub(super) fn inputs_plane<T>(&self) -> usize {
        staggered::<T>(self.vectors() * self.inputs_pitch::<T>())
    }

    /// The same for a section of channels.
    pub(super) fn section_plane<T>(&self) -> usize {
        let vectors = self.depth.max(self.maps).min(GRADIENT_SECTION).div_ceil(self.lanes);
        staggered::<T>(vectors * self.inputs_pitch::<T>())
    }

    /// From one point's products of a block to the next's.
    pub(super) fn products_plane<T>(&self) -> usize {
        staggered::<T>(self.band_tiles() * 2 * self.lanes)
    }

    /// From one block's products to the next's.
    pub(super) fn products_block<T>(&self) -> usize {
        self.tile.points() * self.products_plane::<T>()
    }

    /// Room for turning what a band sees.
    fn turned_len<T: Scalar>(&self) -> usize {
        let (step, beyond) = self.tile.reach();
        let lines = self.band_rows.min(self.rows) * step + beyond;
        let window = [lines, (self.band_columns * step + beyond) * self.steps[1]];
        PixelTransform::<T>::turned_len(window, self.lanes)
    }

    /// What a cell of the output needs: inputs, products, and, one after the other, room for turning kernels, and pixels.
    pub(super) fn cell_lens<T: Scalar>(&self) -> [usize; 3] {
        let tiles = [self.band_rows.min(self.rows), self.band_columns * self.steps[1]];
        let pixels = OutputTransform::<T>::pixels_len(self.tile, tiles, self.lanes);
        let shared = self.turned_len::<T>().max(pixels).max(KernelTransform::<T>::turned_len(self.tile, self.lanes));
        let blocks = self.blocks().min(SECTION / (2 * self.lanes));
        let inputs = self.tile.points() * self.inputs_plane::<T>();
        [inputs, blocks * self.products_block::<T>(), aligned::<T>(shared)]
    }

    /// What a cell of the weight gradient needs: inputs, gradients, and room for turning them.
    pub(super) fn gradient_lens<T: Scalar>(&self) -> [usize; 3] {
        let section = self.tile.points() * self.section_plane::<T>();
        [section, section, aligned::<T>(self.turned_len::<T>())]
    }

    /// What turning the sums of the weight gradient needs.
    pub(super) fn kernels_room<T: Scalar>(&self) -> usize {
        KernelGradient::<T>::room_len(self.tile, self.lanes)
    }
}

/// Tiles of a band, for so many channels of inputs and results.
fn tiles<T>(tile: Tile, channels: usize, most: usize) -> usize {
    (BAND_BYTES / (tile.points() * channels * size_of::<T>())).clamp(MIN_TILES, most)
}

/// `len` rounded up to an odd number of cache lines: what lies so far apart does not compete for the same places in
/// the cache.
fn staggered<T>(len: usize) -> usize {
    let line = aligned::<T>(1);
    (len.div_ceil(line) | 1) * line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_follow_each_other_through_a_group() {
        let cases = [(1, 1), (1, 64), (1, 24), (3, 13), (2, 50), (1, 150)];
        for (isa, (groups, maps)) in Isa::available().flat_map(|isa| cases.map(|case| (isa, case))) {
            let shape = Conv2dShape::builder(groups, groups * maps, [9, 9], [3, 3]).groups(groups).build().unwrap();
            let layout = Layout::new::<f32>(&shape, Tile::F2x3, isa);
            let mut expected = 0;
            for index in 0..layout.blocks() {
                let (channels, width) = layout.block(index);
                assert_eq!(channels.start, expected);
                assert!([layout.lanes, 2 * layout.lanes].contains(&width));
                assert!((1..=width).contains(&channels.len()) && channels.len() + layout.lanes > width);
                expected += channels.len();
            }
            assert_eq!(expected, maps);
            for first in (0..maps).step_by(SECTION) {
                let blocks = layout.blocks_within(&(first..maps));
                assert_eq!((layout.block(blocks.start).0.start, blocks.end), (first, layout.blocks()));
            }
        }
    }

    #[test]
    fn bands_have_enough_tiles() {
        let of = |isa: Isa, channels: usize, size: usize| {
            let shape = Conv2dShape::builder(channels, channels, [size, size], [3, 3]).padding(1).build().unwrap();
            let layout = Layout::new::<f32>(&shape, Tile::F2x3, isa);
            (layout.band_rows, layout.band_columns)
        };
        for isa in Isa::available() {
            for (rows, columns) in [of(isa, 64, 56), of(isa, 128, 28), of(isa, 256, 14), of(isa, 512, 7)] {
                assert!((MIN_TILES / 2..=MAX_TILES).contains(&(rows * columns)), "{rows} x {columns}");
            }
            assert!(of(isa, 8, 3000).1 <= MAX_TILES);
        }
    }
}
