//! Bands of tiles, and what they see of an image.

use std::ops::Range;

use super::layout::Layout;
use crate::conv::groups_within;
use crate::simd::winograd::Seen;
use crate::{Conv2dShape, Padding};

/// Some tiles: rows of them, counted through the planes of the images of a cell, and columns; and the group of channels they
/// are for.
pub(super) struct Band {
    pub(super) group: usize,
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
    /// The first image of the cell.
    pub(super) first_image: usize,
    /// Rows of tiles of a plane that lie in the cell, and the first of them.
    pub(super) per_plane: usize,
    pub(super) top: usize,
}

/// The rows of a band that lie in one plane of an image.
pub(super) struct Part {
    /// Counted from the first of the cell.
    pub(super) image: usize,
    /// The plane: its first line.
    pub(super) plane: usize,
    pub(super) rows: Range<usize>,
    /// The band's first tile there.
    pub(super) tile: usize,
}

/// Lines or columns of an image that some tiles see.
pub(super) struct Window {
    /// Of those that they would see, how many lie before the image.
    pub(super) border: usize,
    /// The first in the image, and how many.
    pub(super) first: usize,
    pub(super) len: usize,
}

impl Band {
    /// The parts of the band, plane by plane.
    pub(super) fn parts(&self, layout: &Layout) -> impl Iterator<Item = Part> {
        let ([planes, across], columns) = (layout.steps, self.columns.len());
        let mut tile = 0;
        groups_within(self.rows.clone(), self.per_plane).map(move |(index, rows)| {
            let first = tile;
            tile += rows.len() * across * columns;
            let rows = self.top + rows.start..self.top + rows.end;
            Part { image: index / planes, plane: index % planes, rows, tile: first }
        })
    }

    pub(super) fn tiles(&self, layout: &Layout) -> usize {
        self.rows.len() * layout.steps[1] * self.columns.len()
    }

    /// The lines and the columns of a part.
    pub(super) fn windows(&self, layout: &Layout, shape: &Conv2dShape, part: &Part, seen: Seen) -> [Window; 2] {
        let (reach, size, padding) = match seen {
            Seen::Input => (layout.tile.reach(), shape.input(), shape.padding()),
            Seen::Gradient => return self.outputs(layout, shape.output(), layout.tile.side(), part),
        };
        self.windows_of(layout, part, reach, size, padding)
    }

    /// The lines and the columns of the output, if it has so many, and a tile a square of `side`.
    pub(super) fn outputs(&self, layout: &Layout, size: [usize; 2], side: usize, part: &Part) -> [Window; 2] {
        self.windows_of(layout, part, (side, 0), size, Padding::NONE)
    }

    /// From one tile's first to the next's, and how many more a tile sees.
    fn windows_of(
        &self,
        layout: &Layout,
        part: &Part,
        (step, beyond): (usize, usize),
        [height, width]: [usize; 2],
        padding: Padding,
    ) -> [Window; 2] {
        let tiles = |tiles: &Range<usize>| tiles.start * step..tiles.end * step + beyond;
        let ([down, across], columns) = (layout.steps, tiles(&self.columns));
        // Columns of all steps lie side by side.
        let columns = columns.start * across..columns.end * across;
        [
            Window::new(tiles(&part.rows), [part.plane, down], padding.top, height),
            Window::new(columns, [0, 1], padding.left, width),
        ]
    }
}

impl Window {
    /// Of lines `first + step · n`, for some `n`, counted from the padding on.
    fn new(seen: Range<usize>, [first, step]: [usize; 2], padding: usize, len: usize) -> Self {
        let before = |end: usize| end.saturating_sub(first).div_ceil(step);
        let (start, end) = (seen.start.max(before(padding)), seen.end.min(before(padding + len)));
        if start >= end {
            return Self { border: 0, first: 0, len: 0 };
        }
        Self { border: start - seen.start, first: first + start * step - padding, len: end - start }
    }
}
