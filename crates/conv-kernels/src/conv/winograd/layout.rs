//! How the tiles and channels of a convolution are gone through, and where they lie in the working memory.

use std::ops::Range;

use crate::Conv2dShape;
use crate::scratch::aligned;
use crate::simd::Isa;
use crate::simd::tiles::even_parts;
use crate::simd::winograd::{TAPS, Tile};

/// Output channels are cut at multiples of this, within which blocks of about equal height are formed.
pub(super) const SECTION: usize = 24;

/// The most input channels whose transformed tiles are in the working memory at once.
const DEPTH_PART: usize = 64;

/// The most output channels whose products are.
pub(super) const MAPS_PART: usize = 3 * SECTION;

/// Channels whose pixels are copied before they are transformed, or transformed before they are copied: what has just
/// been written cannot yet be read without waiting.
pub(super) const TOGETHER: usize = 8;

/// Kernels that are brought side by side before they are transformed, and are then in the first cache.
pub(super) const CHUNK: usize = 192;

/// Bytes that transformed inputs and products may take: about what the second cache holds.
const BAND_BYTES: usize = 544 << 10;

/// A band has at least so many tiles, where there are so many: the transformed kernels pass by once a band.
const MIN_TILES: usize = 32;

/// More tiles than this gain nothing.
const MAX_TILES: usize = 192;

/// What a band costs besides its products: see [`Layout::cost`].
const BAND_COST: usize = 2;

/// Follows from the shape and the instruction set alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) tile: Tile,
    pub(super) groups: usize,
    /// Input channels of a group.
    pub(super) depth: usize,
    /// Output channels of a group.
    pub(super) maps: usize,
    /// Input channels whose transformed tiles are in the working memory at once.
    pub(super) depth_part: usize,
    /// Rows of tiles of an image.
    pub(super) rows: usize,
    /// Columns of tiles of an image.
    pub(super) columns: usize,
    /// The most rows of tiles of a band, of one image or of several.
    pub(super) band_rows: usize,
    /// The most columns of tiles of a band.
    pub(super) band_columns: usize,
    /// From one channel's tiles to the next's.
    pub(super) pitch: usize,
    /// The most output channels of a block, of which [`SECTION`] is a multiple.
    pub(super) block_rows: usize,
    lanes: usize,
}

impl Layout {
    /// For elements of type `T`.
    pub(super) fn new<T>(shape: &Conv2dShape, tile: Tile, isa: Isa) -> Self {
        let lanes = isa.lanes::<T>();
        let block_rows = if isa.most_rows()[0] < 12 { 6 } else { 12 };
        let (depth, maps) = (shape.in_channels() / shape.groups(), shape.out_channels() / shape.groups());
        let [rows, columns] = shape.output().map(|size| size.div_ceil(tile.side()));
        let depth_part = depth.div_ceil(depth.div_ceil(DEPTH_PART));
        let bytes = tile.points() * (depth_part + maps.min(MAPS_PART)) * size_of::<T>();
        let most = (BAND_BYTES / bytes).clamp(MIN_TILES, MAX_TILES);
        let band_columns = columns.div_ceil(columns.div_ceil(most));
        let best = |&a: &usize, &b: &usize| {
            (Self::cost(a * band_columns, lanes) * b).cmp(&(Self::cost(b * band_columns, lanes) * a))
        };
        let band_rows = (1..=most / band_columns).rev().min_by(best).unwrap_or(1);
        let pitch = staggered::<T>(band_rows * band_columns + lanes);
        let groups = shape.groups();
        Self { tile, groups, depth, maps, depth_part, rows, columns, band_rows, band_columns, pitch, block_rows, lanes }
    }

    /// What a band of so many tiles costs: a pair of vectors 4, one alone 3, for it keeps the multipliers waiting.
    fn cost(tiles: usize, lanes: usize) -> usize {
        let vectors = tiles.div_ceil(lanes);
        vectors / 2 * 4 + vectors % 2 * 3 + BAND_COST
    }

    /// Images that share a band, where there are so many.
    pub(super) fn images(&self) -> usize {
        self.band_rows.div_ceil(self.rows)
    }

    /// Elements of the transformed kernels of a block of output channels, at one point.
    pub(super) fn block_len<T>(&self) -> usize {
        aligned::<T>(self.block_rows * self.depth)
    }

    /// Blocks of all output channels.
    pub(super) fn blocks(&self) -> usize {
        self.groups * self.blocks_before(self.maps)
    }

    /// Blocks between two places where channels may be cut.
    pub(super) fn blocks_of_unit(&self) -> usize {
        self.blocks_before(if self.groups > 1 { self.maps } else { SECTION })
    }

    /// The output channels of a block: their group, and which of it.
    pub(super) fn block(&self, index: usize) -> (usize, Range<usize>) {
        let (per_group, of_section) = (self.blocks_before(self.maps), SECTION / self.block_rows);
        let (group, index) = (index / per_group, index % per_group);
        let first = index / of_section * SECTION;
        let mut parts = even_parts(SECTION.min(self.maps - first), self.block_rows);
        let part = parts.nth(index % of_section).unwrap_or(0..0);
        (group, first + part.start..first + part.end)
    }

    /// The blocks of some output channels of a group, which begin at a multiple of [`SECTION`].
    pub(super) fn blocks_within(&self, group: usize, channels: &Range<usize>) -> Range<usize> {
        let first = group * self.blocks_before(self.maps);
        first + self.blocks_before(channels.start)..first + self.blocks_before(channels.end)
    }

    /// Blocks of the first `channels` of a group.
    fn blocks_before(&self, channels: usize) -> usize {
        channels / SECTION * (SECTION / self.block_rows) + (channels % SECTION).div_ceil(self.block_rows)
    }

    /// Elements of all transformed kernels.
    pub(super) fn kernels_len<T>(&self) -> usize {
        self.blocks() * self.tile.points() * self.block_len::<T>()
    }

    /// A chunk of kernels, as they are and transformed.
    pub(super) fn gathered_len(&self) -> usize {
        (TAPS + self.tile.points()) * CHUNK
    }

    /// From one point's inputs to the next's.
    pub(super) fn inputs_plane<T>(&self) -> usize {
        staggered::<T>(self.depth_part * self.pitch)
    }

    /// From one point's products to the next's.
    pub(super) fn products_plane<T>(&self) -> usize {
        staggered::<T>(self.maps.min(MAPS_PART) * self.pitch)
    }

    /// Elements under the tiles of a band in one channel, of one image.
    pub(super) fn strip_len(&self) -> usize {
        let pitch = self.band_columns * self.tile.side() + 2;
        self.tile.strip_len(self.band_rows.min(self.rows), pitch, self.lanes)
    }

    /// What a cell needs: inputs, products, and, one after the other, strips of images and rows of pixels.
    pub(super) fn cell_lens<T>(&self) -> [usize; 3] {
        let points = self.tile.points();
        let pixels = self.tile.side() * self.tile.side() * self.pitch;
        let shared = (TOGETHER * self.strip_len().max(pixels)).max(self.gathered_len());
        [points * self.inputs_plane::<T>(), points * self.products_plane::<T>(), aligned::<T>(shared)]
    }
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
    fn blocks_follow_each_other_through_all_groups() {
        let cases = [(1, 1), (1, 64), (1, 24), (3, 13), (2, 50)];
        for (isa, (groups, maps)) in Isa::available().flat_map(|isa| cases.map(|case| (isa, case))) {
            let shape = Conv2dShape::builder(groups, groups * maps, [9, 9], [3, 3]).groups(groups).build().unwrap();
            let layout = Layout::new::<f32>(&shape, Tile::Two, isa);
            let mut expected = 0;
            for index in 0..layout.blocks() {
                let (group, channels) = layout.block(index);
                assert_eq!(group * maps + channels.start, expected);
                assert!((1..=layout.block_rows).contains(&channels.len()));
                expected += channels.len();
            }
            assert_eq!(expected, groups * maps);
            for first in (0..maps).step_by(SECTION) {
                let blocks = layout.blocks_within(groups - 1, &(first..maps));
                assert_eq!(layout.block(blocks.start), (groups - 1, layout.block(blocks.start).1));
                assert_eq!(layout.block(blocks.start).1.start, first);
                assert_eq!(blocks.end, layout.blocks());
            }
        }
    }

    #[test]
    fn bands_fill_their_vectors() {
        let of = |isa: Isa, channels: usize, size: usize| {
            let shape = Conv2dShape::builder(channels, channels, [size, size], [3, 3]).padding(1).build().unwrap();
            let layout = Layout::new::<f32>(&shape, Tile::Two, isa);
            (layout.band_rows, layout.band_columns)
        };
        for isa in Isa::available() {
            for (rows, columns) in [of(isa, 64, 56), of(isa, 128, 28), of(isa, 256, 14), of(isa, 512, 7)] {
                let (tiles, lanes) = (rows * columns, isa.lanes::<f32>());
                assert!(tiles >= MIN_TILES && 8 * tiles >= 7 * tiles.next_multiple_of(lanes), "{rows} x {columns}");
            }
            assert!(of(isa, 8, 3000).1 <= MAX_TILES);
        }
    }
}
