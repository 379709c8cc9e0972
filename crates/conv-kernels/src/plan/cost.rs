//! What each algorithm costs, estimated in closed form from the shape alone.
//!
//! Costs are clock cycles for one image on one core that starts two multiply-adds of a vector each cycle, has two
//! loads for them, and waits four cycles for a sum: what CPUs with AVX2 and FMA do. Only their order matters, so other
//! CPUs need no other figures.

use super::{Algorithm, mirrored};
use crate::conv::direct::Geometry;
use crate::conv::images::AT_A_TIME;
use crate::simd::Isa;
use crate::simd::gradient::DOT_ROWS;
use crate::simd::winograd::Tile;
use crate::{Conv2dShape, Padding, Scalar};

/// Cycles between the start of an addition and that of the next one to the same sum.
const LATENCY: f64 = 4.0;

/// Starting a tile, walking on, storing its sums: besides what each of its rows costs.
const TILE: f64 = 10.0;

/// Loading, adding to, and storing a vector.
const UPDATE: f64 = 1.5;

/// Adding a piece of a vector to the image, masked, where neighbours have just been written.
const SCATTER: f64 = 2.5;

/// Walking on to the next row with a pointer for each of a tile's rows.
const RUN: f64 = 10.0;

/// Bytes of the first cache, and the cycles that a vector takes from the second.
const FIRST_CACHE: usize = 32 << 10;
const SECOND_CACHE_LOAD: f64 = 1.3;

/// Starting and ending with a plane; with one that an overlay slides over.
const PLANE: f64 = 330.0;
const SLIDE: f64 = 60.0;

/// What a step takes longer where taps do not share cache lines: in 1x1 kernels.
const LONELY_TAP: f64 = 1.4;

/// One point of a tile in the transforms of a vector of channels, for each lane: turning a vector takes as many steps.
const WINOGRAD_TRANSFORM: f64 = 0.19;

/// What the products at one point take longer than tiles in registers: V and M come and go through the second cache, and so
/// do the sums of the weight gradient, once a band. Its transforms have the gradients to turn besides.
const WINOGRAD_PRODUCTS: f64 = 1.1;
const WINOGRAD_GRADIENT: [f64; 2] = [1.35, 1.15];

/// How much more the larger windows of strided tiles take.
const WINOGRAD_STRIDED: f64 = 1.15;

/// Moving a pixel into a border of zeros; apart from its neighbours, where the overlay slides by more than one.
const COPY: f64 = 0.4;
const COPY_STRIDED: f64 = 1.5;

/// Transposing a vector with its neighbours, and what is done to it on the way; where the neighbours are other images.
const TRANSPOSE: f64 = 5.0;
const TURN: f64 = 6.0;

/// Max pooling of a vector of pixels in their row; and of a window whose lanes are images, and of which only the largest pixel is turned.
const POOL: f64 = 5.5;
const POOL_ALONG_IMAGES: f64 = 10.0;

/// The passes, as [`super::Conv2dPlan::algorithms`] lists them.
const FORWARD: usize = 0;
const INPUT_GRADIENT: usize = 1;
const WEIGHT_GRADIENT: usize = 2;

/// The estimates for one shape, element type and instruction set.
pub(super) struct Costs<'a> {
    shape: &'a Conv2dShape,
    lanes: usize,
    /// Lanes of a piece of a vector.
    piece: usize,
    /// The most rows of a tile that is two vectors wide, and of one that is one vector wide.
    most_rows: [usize; 2],
    geometry: Option<Geometry>,
    mirror: Option<(Conv2dShape, Geometry)>,
}

impl<'a> Costs<'a> {
    pub(super) fn new<T: Scalar>(shape: &'a Conv2dShape, isa: Isa) -> Self {
        let (lanes, piece, most_rows) = (isa.lanes::<T>(), isa.piece::<T>(), isa.most_rows());
        let geometry = |shape: &Conv2dShape| Geometry::applies_to(shape).then(|| Geometry::outline::<T>(shape, piece));
        let mirror = mirrored(shape).and_then(|mirror| geometry(&mirror).map(|geometry| (mirror, geometry)));
        Self { shape, lanes, piece, most_rows, geometry: geometry(shape), mirror }
    }

    /// Cycles if every multiply-add of the definition took its share of a full vector.
    pub(super) fn ideal(&self) -> f64 {
        self.shape.macs() as f64 / (2 * self.lanes) as f64
    }

    /// Cycles of one pass, if the algorithm has it.
    pub(super) fn of(&self, algorithm: Algorithm, pass: usize) -> Option<f64> {
        if !algorithm.passes(self.shape, [self.lanes, self.piece])[pass] {
            return None;
        }
        let direct = |work: fn(&Self, &Conv2dShape, &Geometry) -> f64| {
            self.geometry.as_ref().map(|geometry| work(self, self.shape, geometry))
        };
        let mirrored = |work: fn(&Self, &Conv2dShape, &Geometry) -> f64| {
            self.mirror.as_ref().map(|(shape, geometry)| work(self, shape, geometry))
        };
        match (algorithm, pass) {
            (Algorithm::Direct, FORWARD) => direct(Self::by_pixels),
            (Algorithm::Direct, INPUT_GRADIENT) => direct(Self::scatter),
            (Algorithm::Direct, _) => direct(Self::gradient_by_pixels),
            (Algorithm::Channels, FORWARD) => direct(Self::by_channels),
            (Algorithm::Channels, INPUT_GRADIENT) => mirrored(Self::by_channels),
            (Algorithm::Channels, _) => direct(Self::gradient_by_channels),
            (Algorithm::Mirrored, _) => mirrored(Self::by_pixels),
            (Algorithm::Winograd | Algorithm::Winograd4, INPUT_GRADIENT) => {
                Some(self.winograd(&super::mirrored(self.shape)?, algorithm.tile(self.shape)?, pass))
            }
            (Algorithm::Winograd | Algorithm::Winograd4, _) => {
                Some(self.winograd(self.shape, algorithm.tile(self.shape)?, pass))
            }
            (Algorithm::Images, FORWARD) => Some(self.by_images(self.shape)),
            (Algorithm::Images, INPUT_GRADIENT) => self.mirror.as_ref().map(|(shape, _)| self.by_images(shape)),
            (Algorithm::Images, _) => Some(self.gradient_by_images()),
            (Algorithm::Depthwise, _) => Some(self.depthwise(pass)),
            (Algorithm::Im2col | Algorithm::Pointwise, _) => Some(self.product(algorithm, pass)),
        }
    }

    /// Cycles of the forward pass with max pooling by 2x2 pixels, for an algorithm that does not write feature maps to memory.
    pub(super) fn pooled(&self, algorithm: Algorithm) -> Option<f64> {
        let forward = self.of(algorithm, FORWARD)?;
        let (pixels, windows) = (self.shape.output_len() as f64, self.shape.output_len() as f64 / 4.0);
        Some(match algorithm {
            // Of each window the largest pixel and its position are turned.
            Algorithm::Images => {
                forward + (windows * POOL_ALONG_IMAGES - (pixels - 2.0 * windows) * TURN) / self.lanes as f64
            }
            _ => forward + pixels * POOL / self.lanes as f64,
        })
    }

    /// A tile of `rows` by two vectors, through `depth` steps.
    fn tile(rows: usize, depth: usize) -> f64 {
        let rows = rows as f64;
        depth as f64 * LATENCY.max(rows).max((3.0 + rows) / 2.0) + TILE + 2.0 * UPDATE * rows
    }

    /// The same by one vector.
    fn thin_tile(rows: usize, depth: usize) -> f64 {
        let rows = rows as f64;
        depth as f64 * LATENCY.max((2.0 + rows) / 2.0) + TILE + UPDATE * rows
    }

    /// Pairs of vectors along the rows of one channel.
    fn pairs(&self, shape: &Conv2dShape, geometry: &Geometry) -> f64 {
        even_parts(shape.output()[0], geometry.rows(), |rows| {
            geometry.runs(shape, rows).vector_count(self.piece, self.lanes / self.piece).div_ceil(2) as f64
        })
    }

    /// Copying the image into its border.
    fn copying(&self, shape: &Conv2dShape, geometry: &Geometry) -> f64 {
        let each = if shape.stride()[1] > 1 { COPY_STRIDED } else { COPY };
        let strips = shape.output()[0].div_ceil(geometry.rows());
        if geometry.copied() { (strips * geometry.plane()) as f64 * shape.in_channels() as f64 * each } else { 0.0 }
    }

    /// Copying joined rows apart, or together: `channels` maps.
    fn joining(&self, shape: &Conv2dShape, geometry: &Geometry, channels: usize) -> f64 {
        if geometry.joined() { (channels * shape.out_pixels()) as f64 * COPY } else { 0.0 }
    }

    /// How much longer the steps of a tile take.
    fn lonely(shape: &Conv2dShape) -> f64 {
        if shape.kernel() == [1, 1] { LONELY_TAP } else { 1.0 }
    }

    /// Input and output channels of a group, and groups.
    fn group(shape: &Conv2dShape) -> (usize, usize, f64) {
        let groups = shape.groups();
        (shape.in_channels() / groups, shape.out_channels() / groups, groups as f64)
    }

    fn by_pixels(&self, shape: &Conv2dShape, geometry: &Geometry) -> f64 {
        let (_, maps, groups) = Self::group(shape);
        // Rows of the overlay over padding are left out, unless rows are joined.
        let met: usize = (0..shape.kernel()[0]).map(|row| shape.reach(0, row).outputs.len()).sum();
        let share = if geometry.joined() { 1.0 } else { met as f64 / (shape.kernel()[0] * shape.output()[0]) as f64 };
        let depth = (shape.taps() as f64 * share) as usize;
        let column = even_parts(maps, self.most_rows[0], |rows| Self::tile(rows, depth));
        groups * self.pairs(shape, geometry) * column * Self::lonely(shape)
            + self.copying(shape, geometry)
            + self.joining(shape, geometry, shape.out_channels())
    }

    fn scatter(&self, shape: &Conv2dShape, geometry: &Geometry) -> f64 {
        let (_, maps, groups) = Self::group(shape);
        let update = |rows: usize| (2 * self.lanes / self.piece * rows) as f64 * SCATTER;
        let column = even_parts(shape.taps(), self.most_rows[0], |rows| Self::tile(rows, maps) + update(rows));
        groups * self.pairs(shape, geometry) * column * Self::lonely(shape)
            + 2.0 * self.copying(shape, geometry)
            + self.joining(shape, geometry, shape.out_channels())
    }

    /// Output channels of a tile of dot products.
    fn dot_columns(&self) -> usize {
        if self.most_rows[0] > DOT_ROWS { 4 } else { 2 }
    }

    fn gradient_by_pixels(&self, shape: &Conv2dShape, geometry: &Geometry) -> f64 {
        let (depth, maps, groups) = Self::group(shape);
        let [height, width] = shape.output();
        let vectors = height * width.div_ceil(self.lanes);
        let width_of_tile = self.dot_columns();
        // Every tile reads a whole strip anew, from the cache that it fits into: two vectors of gradients and one a row.
        let strip = depth * geometry.rows() * geometry.pitch() * shape.stride()[0];
        let load = if strip * size_of::<f32>() <= FIRST_CACHE { 0.5 } else { SECOND_CACHE_LOAD };
        let tile = |rows: usize| {
            let products = (rows * width_of_tile) as f64;
            let step = LATENCY.max(products / 2.0).max((width_of_tile + rows) as f64 * load);
            vectors as f64 * step + height as f64 * RUN + TILE + UPDATE * products
        };
        let columns = even_parts(shape.taps(), DOT_ROWS, tile);
        groups * maps.div_ceil(width_of_tile) as f64 * columns + self.copying(shape, geometry)
    }

    fn by_channels(&self, shape: &Conv2dShape, geometry: &Geometry) -> f64 {
        let (_, _, groups) = Self::group(shape);
        let (rows, [wide, thin]) = (shape.output()[0] as f64, self.most_rows);
        let run = |most: usize, tile: fn(usize, usize) -> f64| -> f64 {
            even_parts(shape.output()[1], most, |pixels| tile(pixels, shape.taps()))
        };
        let lonely = Self::lonely(shape) * groups * rows;
        self.by_blocks(shape, lonely * run(wide, Self::tile), lonely * run(thin, Self::thin_tile))
            + self.copying(shape, geometry)
    }

    /// A vector of images, two pixels at a time, and the turning of all of them, for one of the images.
    fn by_images(&self, shape: &Conv2dShape) -> f64 {
        let (depth, maps, groups) = Self::group(shape);
        let seen = |axis: usize| (0..shape.output()[axis]).map(move |at| shape.seen(axis, at).len()).sum::<usize>();
        let (pixels, taps) = (shape.out_pixels() as f64, (depth * seen(0) * seen(1)) as f64);
        let column = even_parts(maps, self.most_rows[0], |rows| {
            let step = LATENCY.max(rows as f64).max((3 + rows) as f64 / 2.0);
            taps * step / 2.0 + pixels * (TILE / 2.0 + UPDATE * rows as f64)
        });
        (groups * column + self.turning()) / self.lanes as f64
    }

    fn gradient_by_images(&self) -> f64 {
        let (_, maps, groups) = Self::group(self.shape);
        let width_of_tile = self.dot_columns();
        let [height, width] = self.shape.output();
        let strips = height.div_ceil((AT_A_TIME / width).max(1)) as f64;
        let tile = |rows: usize| {
            let products = (rows * width_of_tile) as f64;
            let step = LATENCY.max(products / 2.0).max((width_of_tile + rows) as f64 / 2.0);
            (height * width) as f64 * step + height as f64 * RUN + strips * (TILE + UPDATE * products)
        };
        let columns = even_parts(self.shape.taps(), DOT_ROWS, tile);
        let last = self.shape.weight_len() as f64 * TRANSPOSE;
        (groups * maps.div_ceil(width_of_tile) as f64 * columns + self.turning() + last) / self.lanes as f64
    }

    /// Turning the images of a vector, and what becomes of them.
    fn turning(&self) -> f64 {
        (self.shape.input_len() + self.shape.output_len()) as f64 * TURN
    }

    fn gradient_by_channels(&self, shape: &Conv2dShape, geometry: &Geometry) -> f64 {
        let (_, _, groups) = Self::group(shape);
        // Walking on to the next row costs each tile something.
        let [height, width] = shape.output();
        let (depth, [wide, thin]) = (height * (width + 1), self.most_rows);
        let taps = |most: usize, tile: fn(usize, usize) -> f64| -> f64 {
            even_parts(shape.taps(), most, |rows| tile(rows, depth)) * Self::lonely(shape)
        };
        self.by_blocks(shape, groups * taps(wide, Self::tile), groups * taps(thin, Self::thin_tile))
            + self.copying(shape, geometry)
    }

    /// Blocks of output channels: `wide` cycles for each of two vectors, `thin` for one of one, and the transposition.
    fn by_blocks(&self, shape: &Conv2dShape, wide: f64, thin: f64) -> f64 {
        let vectors = Self::group(shape).1.div_ceil(self.lanes);
        let transposed = (shape.groups() * vectors * shape.out_pixels()) as f64 * TRANSPOSE;
        (vectors / 2) as f64 * wide + (vectors % 2) as f64 * thin + transposed
    }

    /// Products at all points of each tile, and as many transforms of vectors of channels.
    fn winograd(&self, shape: &Conv2dShape, tile: Tile, pass: usize) -> f64 {
        let (depth, maps, groups) = Self::group(shape);
        let tiles = [0, 1].map(|axis| {
            let step = shape.dilation()[axis];
            step * shape.output()[axis].div_ceil(step).div_ceil(tile.side())
        });
        let [wide, thin] = self.most_rows;
        let (read, written) = (depth.div_ceil(self.lanes), maps.div_ceil(self.lanes));
        let (wide_blocks, thin_blocks) = ((written / 2) as f64, (written % 2) as f64);
        let (products, transforms) = if pass == WEIGHT_GRADIENT {
            // The rows of a tile lie in one vector.
            let vector = |channels: usize, each: fn(f64) -> f64| match channels {
                0 => 0.0,
                _ => even_parts(channels, wide, |rows| LATENCY.max(each(rows as f64))),
            };
            let (whole, rest) = ((depth / self.lanes) as f64, depth % self.lanes);
            let [longer, turning] = WINOGRAD_GRADIENT;
            let all = |each| whole * vector(self.lanes, each) + vector(rest, each);
            (longer * (wide_blocks * all(|rows| rows) + thin_blocks * all(|rows| (1.0 + rows) / 2.0)), turning)
        } else {
            let wide = Self::tile(wide, depth) / wide as f64;
            (WINOGRAD_PRODUCTS * (wide_blocks * wide + thin_blocks * Self::thin_tile(thin, depth) / thin as f64), 1.0)
        };
        let transforms = transforms * ((read + written) * self.lanes) as f64 * WINOGRAD_TRANSFORM;
        let strided = if tile.stride() > 1 { WINOGRAD_STRIDED } else { 1.0 };
        groups * (tiles[0] * tiles[1] * tile.points()) as f64 * (products + transforms) * strided
    }

    /// The products, and what each plane costs: more where it is copied. The input gradient sweeps over its border too.
    fn depthwise(&self, pass: usize) -> f64 {
        let (planes, stride) = (self.shape.out_channels() as f64, self.shape.stride());
        let spread = pass == INPUT_GRADIENT && stride != [1, 1];
        let slides = self.shape.kernel() == [3, 3] && self.shape.dilation() == [1, 1] && !spread;
        if slides && (stride == [1, 1] || stride == [2, 2]) {
            let [rows, columns] = if pass == INPUT_GRADIENT { self.shape.input() } else { self.shape.output() };
            let vectors = rows * columns.div_ceil(self.lanes);
            return planes * (1.5 * (vectors * self.shape.taps()) as f64 / 2.0 + SLIDE);
        }
        let pixels = self.shape.in_pixels() as f64;
        let copied = self.shape.padding() != Padding::NONE || pass == INPUT_GRADIENT;
        let copy = match stride {
            [1, 1] if copied => COPY,
            [1, 1] => 0.0,
            _ => COPY_STRIDED,
        };
        let swept = if pass == INPUT_GRADIENT { pixels } else { self.shape.out_pixels() as f64 };
        let each = if pass == WEIGHT_GRADIENT { 1.9 } else { 1.3 };
        planes * (each * swept * self.shape.taps() as f64 / (2 * self.lanes) as f64 + PLANE + pixels * copy)
    }

    /// The product of full tiles, with what packing takes, and the column matrix.
    fn product(&self, algorithm: Algorithm, pass: usize) -> f64 {
        let (depth, maps, _) = Self::group(self.shape);
        let waste = maps.next_multiple_of(6) as f64 / maps as f64;
        if algorithm == Algorithm::Pointwise {
            // Few rows hardly repay the packing of the other operand, and less if it is transposed.
            let packing = match pass {
                FORWARD => 8.0 / maps as f64,
                INPUT_GRADIENT => 8.0 / depth as f64,
                _ => 16.0 / maps as f64,
            };
            return self.ideal() * waste * (1.24 + packing);
        }
        let columns = self.shape.taps() * self.shape.out_pixels();
        let packing = if pass == FORWARD { 1.3 } else { 1.5 };
        self.ideal() * waste * packing + (columns * self.shape.groups()) as f64 * 2.0
    }
}

/// The sum of `cost(length)` over the parts that [`even_parts`](crate::simd::tiles::even_parts) makes.
fn even_parts(len: usize, most: usize, cost: impl Fn(usize) -> f64) -> f64 {
    let parts = len.div_ceil(most);
    let (short, longer) = (len / parts, len % parts);
    (parts - longer) as f64 * cost(short) + if longer > 0 { longer as f64 * cost(short + 1) } else { 0.0 }
}
