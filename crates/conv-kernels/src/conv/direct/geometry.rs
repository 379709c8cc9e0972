//! How a direct convolution walks over its image: strips, runs, and where the taps lie.

use std::ops::Range;

use super::bands;
use crate::simd::Isa;
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

/// Pixels of the shortest run that is worth walking over with vectors of `lanes`: one of them, but not fewer than the
/// sets in use have in their longest, so that which shapes can be computed depends neither on these nor on the type.
pub(crate) fn shortest_run(lanes: usize) -> usize {
    lanes.max(8)
}

/// What follows from a shape and an instruction set, once a plan.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    copied: bool,
    /// From one row of underlays to the next, as the tiles see them.
    pitch: usize,
    /// Pixels from one channel to the next, as the tiles see them: of the image, or of a copied strip.
    plane: usize,
    /// Output rows of the highest strip.
    rows: usize,
    /// The longest run of pixels.
    longest_run: usize,
    narrow: bool,
    joined: bool,
    phases: [Vec<usize>; 2],
    taps: Vec<usize>,
    targets: Vec<usize>,
    sights: Vec<(Range<usize>, Range<usize>)>,
}

/// Rows and columns that the dilated kernel covers.
fn covers(shape: &Conv2dShape) -> [usize; 2] {
    [0, 1].map(|axis| (shape.kernel()[axis] - 1) * shape.dilation()[axis] + 1)
}

/// Rows and columns from the first underlay's first pixel to the last one's last, where a copy is worth having.
fn reached_size(shape: &Conv2dShape) -> Option<[usize; 2]> {
    let covers = covers(shape);
    let size = [0, 1].map(|axis| (shape.output()[axis] - 1) * shape.stride()[axis] + covers[axis]);
    let most = shape.in_pixels().saturating_mul(4).saturating_add(1 << 16);
    size[0].checked_mul(size[1]).is_some_and(|pixels| pixels <= most).then_some(size)
}

/// The phases of an axis that a kernel element lies on: with stride 2, the even pixels, the odd ones, or both.
fn phases(shape: &Conv2dShape, axis: usize) -> Vec<usize> {
    let stride = shape.stride()[axis];
    let met = (0..shape.kernel()[axis]).map(|at| at * shape.dilation()[axis] % stride);
    // After as many elements as the stride has phases they repeat.
    let mut phases: Vec<_> = met.take(stride).collect();
    phases.sort_unstable();
    phases.dedup();
    phases
}

/// All output rows, in parts that see the image through the same rows of the overlay, and which these are.
fn sights(shape: &Conv2dShape) -> Vec<(Range<usize>, Range<usize>)> {
    let rows: Vec<_> = (0..shape.kernel()[0]).map(|row| shape.reach(0, row).outputs).collect();
    let seen = |row: usize| {
        let first = rows.iter().position(|outputs| outputs.contains(&row)).unwrap_or(0);
        first..first + rows[first..].iter().take_while(|outputs| outputs.contains(&row)).count()
    };
    let all: Vec<_> = (0..shape.output()[0]).map(seen).collect();
    let mut next = 0;
    all.chunk_by(|a, b| a == b)
        .map(|part| {
            next += part.len();
            (next - part.len()..next, part[0].clone())
        })
        .collect()
}

/// Columns of a phase, of those that an underlay reaches.
fn phase_width(shape: &Conv2dShape, reached: usize) -> usize {
    reached.div_ceil(shape.stride()[1])
}

impl Geometry {
    /// The shapes that can be computed: where padding is not most of the image.
    pub(crate) fn applies_to(shape: &Conv2dShape) -> bool {
        reached_size(shape).is_some()
    }

    /// Whether, besides, the rows of the feature map, joined, fill a vector of `lanes`.
    pub(crate) fn fills_vectors(shape: &Conv2dShape, lanes: usize) -> bool {
        let [rows, columns] = shape.output();
        let joined = |width: usize| (rows - 1) * phase_width(shape, width) + columns;
        reached_size(shape).is_some_and(|[_, width]| joined(width) >= shortest_run(lanes))
    }

    /// Of a shape that [`Geometry::applies_to`], for elements of type `T`.
    pub(crate) fn new<T: Scalar>(shape: &Conv2dShape, isa: Isa) -> Self {
        let mut geometry = Self::outline::<T>(shape, isa.lanes::<T>());
        let depth = shape.in_channels() / shape.groups();
        let (elements, plane) = (&geometry.elements(shape), geometry.plane);
        let taps = (0..depth).flat_map(|channel| elements.iter().map(move |at| channel * plane + at)).collect();
        let targets = bands(0..depth, isa.most_rows()[0]).flat_map(|band| {
            let ordered = target_order(shape.kernel()).map(|element| elements[element]);
            ordered.flat_map(move |at| (0..band.len()).map(move |channel| channel * plane + at))
        });
        geometry.targets = targets.collect();
        geometry.taps = taps;
        geometry.sights = sights(shape);
        geometry
    }

    /// The same without the places of the taps, for vectors of `lanes` elements.
    pub(crate) fn outline<T: Scalar>(shape: &Conv2dShape, lanes: usize) -> Self {
        let reached = reached_size(shape).unwrap_or(shape.input());
        let [height, width] = shape.output();
        let (depth, maps) = (shape.in_channels() / shape.groups(), shape.out_channels() / shape.groups());
        let copied = shape.stride() != [1, 1] || shape.input() != reached;
        let phases = [0, 1].map(|axis| phases(shape, axis));
        let pitch = phase_width(shape, reached[1]);

        let narrow = width < shortest_run(lanes);
        let bytes = (depth * phases[0].len() * phases[1].len() * pitch + maps * width) * size_of::<T>();
        let rows = if narrow { height } else { (STRIP_BYTES / bytes).max(MIN_ROWS).min(height) };

        let separate = height * width.div_ceil(lanes) * (shape.taps() + TILE_COST);
        let together = ((height - 1) * pitch + width).div_ceil(lanes);
        let joined = narrow || together * (shape.taps() + TILE_COST + JOINING_COST) < separate;
        let longest_run = if joined { (rows - 1) * pitch + width } else { width };

        let mut geometry = Self {
            copied,
            pitch,
            plane: shape.in_pixels(),
            rows,
            longest_run,
            narrow,
            joined,
            phases,
            taps: Vec::new(),
            targets: Vec::new(),
            sights: Vec::new(),
        };
        if copied {
            geometry.plane = geometry.phase_planes() * geometry.phase_rows(shape, rows) * pitch;
        }
        geometry
    }

    /// Some output rows, in parts that see the image through the same rows of the overlay, and which these are: near the
    /// upper and lower edges some see padding only.
    pub(crate) fn sights(&self, rows: &Range<usize>) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let within = move |part: &Range<usize>| part.start.max(rows.start)..part.end.min(rows.end);
        self.sights.iter().map(move |(part, seen)| (within(part), seen.clone())).filter(|(part, _)| !part.is_empty())
    }

    /// Where each kernel element lies in a channel.
    fn elements(&self, shape: &Conv2dShape) -> Vec<usize> {
        let phase_len = self.phase_rows(shape, self.rows) * self.pitch;
        let place = |axis: usize, element: usize| {
            let (at, stride) = (element * shape.dilation()[axis], shape.stride()[axis]);
            (self.phases[axis].iter().position(|&phase| phase == at % stride).unwrap_or(0), at / stride)
        };
        let [rows, columns] = shape.kernel();
        (0..rows)
            .flat_map(|row| (0..columns).map(move |column| (row, column)))
            .map(|(row, column)| {
                let ((row_phase, row), (column_phase, column)) = (place(0, row), place(1, column));
                (row_phase * self.phases[1].len() + column_phase) * phase_len + row * self.pitch + column
            })
            .collect()
    }

    /// Planes that a copied channel is taken apart into: one a phase.
    fn phase_planes(&self) -> usize {
        self.phases[0].len() * self.phases[1].len()
    }

    /// Rows of a phase under a strip of `rows`.
    pub(super) fn phase_rows(&self, shape: &Conv2dShape, rows: usize) -> usize {
        rows + (covers(shape)[0] - 1) / shape.stride()[0]
    }

    /// Whether the image has to be copied: into a border of zeros, and taken apart where the overlay slides by more
    /// than one.
    pub(crate) fn copied(&self) -> bool {
        self.copied
    }

    /// From one row of underlays to the next, as the tiles see them.
    pub(crate) fn pitch(&self) -> usize {
        self.pitch
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
            Runs { count: 1, len: (rows - 1) * self.pitch + width, image_pitch: 0, map_pitch: 0 }
        } else {
            self.separate_runs(shape, rows)
        }
    }

    /// The rows of a strip, each a run.
    pub(crate) fn separate_runs(&self, shape: &Conv2dShape, rows: usize) -> Runs {
        let width = shape.output()[1];
        Runs { count: rows, len: width, image_pitch: self.pitch, map_pitch: width }
    }

    /// The mask that lets the pixels of the feature map pass, not what lies between its rows.
    pub(crate) fn write_mask<T: Scalar>(&self, shape: &Conv2dShape, runs: Runs, lanes: usize, mask: &mut [T]) {
        let width = shape.output()[1];
        let (pitch, mut column) = (self.pitch, 0);
        let mut wanted = move || {
            let wanted = column < width;
            column = if column + 1 == pitch { 0 } else { column + 1 };
            wanted
        };
        runs.write_mask(lanes, mask, &mut wanted);
    }

    /// Calls `visit(row of the image if it is no padding, phase of the columns, row of the copy)` for each row under
    /// `strip` of a copied channel.
    #[inline(always)]
    pub(super) fn rows_under<'c, R>(
        &self,
        shape: &Conv2dShape,
        strip: &Range<usize>,
        copy: impl Iterator<Item = R> + 'c,
        mut visit: impl FnMut(Option<usize>, usize, R),
    ) {
        let (top, stride) = (shape.padding().top, shape.stride()[0]);
        let mut copy = copy;
        for &row_phase in &self.phases[0] {
            for &column_phase in &self.phases[1] {
                let used = self.phase_rows(shape, strip.len());
                let unused = self.phase_rows(shape, self.rows) - used;
                for (row, copy) in copy.by_ref().take(used).enumerate() {
                    let row = ((strip.start + row) * stride + row_phase).checked_sub(top);
                    visit(row.filter(|&row| row < shape.input()[0]), column_phase, copy);
                }
                copy.by_ref().take(unused).for_each(drop);
            }
        }
    }

    /// Adds what has come together under `strip` to a channel of the image, and drops what lies on the border.
    pub(crate) fn add_copy<T: Scalar>(&self, shape: &Conv2dShape, copy: &[T], strip: &Range<usize>, pixels: &mut [T]) {
        let (width, left, stride) = (shape.input()[1], shape.padding().left, shape.stride()[1]);
        self.rows_under(shape, strip, copy.chunks_exact(self.pitch), |row, phase, copy| {
            let Some(row) = row else { return };
            let (border, first) = real_columns(left, stride, phase);
            let real = &copy[border.min(self.pitch)..];
            let row = &mut pixels[row * width..][..width][first.min(width)..];
            match stride {
                1 => row.iter_mut().zip(real).for_each(|(pixel, &sum)| *pixel += sum),
                _ => row.iter_mut().step_by(stride).zip(real).for_each(|(pixel, &sum)| *pixel += sum),
            }
        });
    }
}

/// The kernel's elements, column by column: what neighbours in this order add to the image lies in different rows, and
/// does not have to wait for each other.
pub(super) fn target_order([rows, columns]: [usize; 2]) -> impl Iterator<Item = usize> {
    (0..columns).flat_map(move |column| (0..rows).map(move |row| row * columns + column))
}

/// Of the columns of a phase, how many lie on the padding at the left, and the image's column of the next one.
pub(super) fn real_columns(left: usize, stride: usize, phase: usize) -> (usize, usize) {
    let border = left.saturating_sub(phase).div_ceil(stride);
    (border, border * stride + phase - left)
}
