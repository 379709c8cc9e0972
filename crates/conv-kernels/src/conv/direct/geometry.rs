//! How a direct convolution walks over its image: strips, runs, and where the taps lie.

use std::ops::Range;

use super::bands;
use crate::simd::MAX_VECTOR;
use crate::simd::tiles::{Runs, even_parts};
use crate::{Conv2dShape, Scalar};

/// Bytes that a strip of the input and the output may take.
const STRIP_BYTES: usize = 192 << 10;

/// A strip has at least this many rows where there are so many.
const MIN_ROWS: usize = 4;

/// What a tile costs besides its taps, in taps: starting and storing its sums.
const TILE_COST: usize = 4;

/// What a vector of joined rows costs besides that: they are copied.
const JOINING_COST: usize = 8;

/// A narrow map may be computed at so many times its pixels.
const MAX_WASTE: usize = 3;

/// What follows from a shape and an instruction set, once a plan.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    padded: bool,
    /// The padded image's width.
    padded_width: usize,
    /// Pixels from one channel to the next, as the tiles see them: of the image, or of a padded strip.
    plane: usize,
    /// Output rows of the highest strip.
    rows: usize,
    /// The longest run of pixels.
    longest_run: usize,
    narrow: bool,
    joined: bool,
    taps: Vec<usize>,
    targets: Vec<usize>,
}

/// Rows and columns that the dilated kernel covers.
fn covers(shape: &Conv2dShape) -> [usize; 2] {
    [0, 1].map(|axis| (shape.kernel()[axis] - 1) * shape.dilation()[axis] + 1)
}

/// Rows and columns of the padded image, if they are worth having.
fn padded_size(shape: &Conv2dShape) -> Option<[usize; 2]> {
    let [height, width] = shape.input();
    let pad = shape.padding();
    let size = [height + pad.top + pad.bottom, width + pad.left + pad.right];
    let most = shape.in_pixels().saturating_mul(4).saturating_add(1 << 16);
    size[0].checked_mul(size[1]).is_some_and(|pixels| pixels <= most).then_some(size)
}

impl Geometry {
    /// The shapes that can be computed: the overlay slides by one, padding is not most of the image, and the feature
    /// map's rows, joined, fill a vector.
    pub(crate) fn applies_to(shape: &Conv2dShape) -> bool {
        let [rows, columns] = shape.output();
        shape.stride() == [1, 1]
            && padded_size(shape).is_some_and(|[_, width]| (rows - 1) * width + columns >= MAX_VECTOR)
    }

    /// Whether vectors are full enough: a narrow map's rows are joined, over pixels that nobody asked for.
    pub(crate) fn is_dense(shape: &Conv2dShape) -> bool {
        let [rows, columns] = shape.output();
        let joined = padded_size(shape).map_or(usize::MAX, |[_, width]| (rows - 1) * width + columns);
        columns >= MAX_VECTOR || joined <= MAX_WASTE * shape.out_pixels()
    }

    /// For vectors of `lanes` elements of type `T`, of a shape that [`Geometry::applies_to`].
    pub(crate) fn new<T: Scalar>(shape: &Conv2dShape, lanes: usize) -> Self {
        let [_, padded_width] = padded_size(shape).unwrap_or(shape.input());
        let [height, width] = shape.output();
        let (depth, maps) = (shape.in_channels() / shape.groups(), shape.out_channels() / shape.groups());
        let padded = shape.input() != [height + covers(shape)[0] - 1, width + covers(shape)[1] - 1];

        let narrow = width < MAX_VECTOR;
        let bytes = (depth * padded_width + maps * width) * size_of::<T>();
        let rows = if narrow { height } else { (STRIP_BYTES / bytes).max(MIN_ROWS).min(height) };

        let separate = height * width.div_ceil(lanes) * (shape.taps() + TILE_COST);
        let together = ((height - 1) * padded_width + width).div_ceil(lanes);
        let joined = narrow || together * (shape.taps() + TILE_COST + JOINING_COST) < separate;
        let longest_run = if joined { (rows - 1) * padded_width + width } else { width };

        let plane = if padded { (rows + covers(shape)[0] - 1) * padded_width } else { shape.in_pixels() };
        let [kernel_rows, kernel_columns] = shape.kernel();
        let elements = || {
            (0..kernel_rows)
                .flat_map(move |row| (0..kernel_columns).map(move |column| (row, column)))
                .map(|(row, column)| row * shape.dilation()[0] * padded_width + column * shape.dilation()[1])
        };
        let taps = (0..depth).flat_map(|channel| elements().map(move |at| channel * plane + at)).collect();
        let targets = bands(0..depth)
            .flat_map(|band| elements().flat_map(move |at| (0..band.len()).map(move |channel| channel * plane + at)))
            .collect();
        Self { padded, padded_width, plane, rows, longest_run, narrow, joined, taps, targets }
    }

    /// Whether the image has to be copied into a border of zeros.
    pub(crate) fn padded(&self) -> bool {
        self.padded
    }

    /// Columns of the padded image.
    pub(crate) fn padded_width(&self) -> usize {
        self.padded_width
    }

    /// Pixels from one channel to the next, as the tiles see them.
    pub(crate) fn plane(&self) -> usize {
        self.plane
    }

    /// Whether a row may be too short for a vector, so that an image must not be cut.
    pub(crate) fn narrow(&self) -> bool {
        self.narrow
    }

    /// Whether the rows of a strip make one run.
    pub(crate) fn joined(&self) -> bool {
        self.joined
    }

    /// Pixels of the longest run.
    pub(crate) fn longest_run(&self) -> usize {
        self.longest_run
    }

    /// Where each tap lies, from the first pixel of the first underlay: in the order of the weights.
    pub(crate) fn taps(&self) -> &[usize] {
        &self.taps
    }

    /// The same from a band's first channel on, and in another order: band by band, each kernel element's channels.
    pub(crate) fn targets(&self) -> &[usize] {
        &self.targets
    }

    /// `rows` output rows, cut into strips of about the same height.
    pub(crate) fn strips(&self, rows: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        even_parts(rows, self.rows)
    }

    /// Output rows of the highest strip.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The runs of a strip of `rows`.
    pub(crate) fn runs(&self, shape: &Conv2dShape, rows: usize) -> Runs {
        let width = shape.output()[1];
        if self.joined {
            Runs { count: 1, len: (rows - 1) * self.padded_width + width, image_pitch: 0, map_pitch: 0 }
        } else {
            self.separate_runs(shape, rows)
        }
    }

    /// The rows of a strip, each a run.
    pub(crate) fn separate_runs(&self, shape: &Conv2dShape, rows: usize) -> Runs {
        let width = shape.output()[1];
        Runs { count: rows, len: width, image_pitch: self.padded_width, map_pitch: width }
    }

    /// The mask that lets the pixels of the feature map pass, not what lies between its rows.
    pub(crate) fn write_mask<T: Scalar>(&self, shape: &Conv2dShape, runs: Runs, lanes: usize, mask: &mut [T]) {
        let width = shape.output()[1];
        let (padded_width, mut column) = (self.padded_width, 0);
        let mut wanted = move || {
            let wanted = column < width;
            column = if column + 1 == padded_width { 0 } else { column + 1 };
            wanted
        };
        runs.write_mask(lanes, mask, &mut wanted);
    }

    /// Copies the rows under `strip` into a border of zeros.
    pub(crate) fn pad<T: Scalar>(&self, shape: &Conv2dShape, pixels: &[T], strip: &Range<usize>, padded: &mut [T]) {
        let [height, width] = shape.input();
        let (top, left) = (shape.padding().top, shape.padding().left);
        let rows = strip.start..strip.end + covers(shape)[0] - 1;
        for (row, padded) in rows.zip(padded.chunks_exact_mut(self.padded_width)) {
            if (top..top + height).contains(&row) {
                padded[..left].fill(T::ZERO);
                padded[left..left + width].copy_from_slice(&pixels[(row - top) * width..][..width]);
                padded[left + width..].fill(T::ZERO);
            } else {
                padded.fill(T::ZERO);
            }
        }
    }

    /// Adds what has come together under `strip` to the image, and drops what lies on the border.
    pub(crate) fn add_unpadded<T: Scalar>(
        &self,
        shape: &Conv2dShape,
        padded: &[T],
        strip: &Range<usize>,
        pixels: &mut [T],
    ) {
        let [height, width] = shape.input();
        let (top, left) = (shape.padding().top, shape.padding().left);
        let rows = strip.start..strip.end + covers(shape)[0] - 1;
        for (row, padded) in rows.zip(padded.chunks_exact(self.padded_width)) {
            if (top..top + height).contains(&row) {
                let pixels = &mut pixels[(row - top) * width..][..width];
                pixels.iter_mut().zip(&padded[left..]).for_each(|(pixel, &sum)| *pixel += sum);
            }
        }
    }
}
