//! Results of real numbers as chains of multiply-adds, in the order and with the rounding that kernels promise.
//!
//! The zeros of the padding are left out: a sum that begins at zero is the same with them and without.

use std::ops::Range;

use conv_kernels::{Algorithm, Conv2dShape, Scalar};

use super::{Data, Problem};

/// Images, and output pixels of each, that share one step of a weight gradient.
type Block = (Range<usize>, Range<usize>);

/// One problem, and where its overlays lie.
pub(crate) struct Chains<'a, T> {
    problem: Problem,
    data: &'a Data<T>,
    /// For each output pixel, the elements of the overlay that lie on the image, and on which pixel.
    underlays: Vec<Vec<[usize; 2]>>,
    /// Whether products are not rounded before they are added.
    fused: bool,
}

/// `0..len` in as few parts of at most `most` as there can be, of about the same length.
fn even_parts(len: usize, most: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let parts = len.div_ceil(most);
    (0..parts).map(move |part| part * len / parts..(part + 1) * len / parts)
}

fn underlays(shape: &Conv2dShape) -> Vec<Vec<[usize; 2]>> {
    let ([rows, columns], [kernel_rows, kernel_columns]) = (shape.output(), shape.kernel());
    let (pads, width) = ([shape.padding().top, shape.padding().left], shape.input()[1]);
    let at = |axis: usize, place: usize, element: usize| {
        let at = place * shape.stride()[axis] + element * shape.dilation()[axis];
        at.checked_sub(pads[axis]).filter(|&at| at < shape.input()[axis])
    };
    let under = |pixel: usize, element: usize| {
        let row = at(0, pixel / columns, element / kernel_columns)?;
        Some([element, row * width + at(1, pixel % columns, element % kernel_columns)?])
    };
    let elements = 0..kernel_rows * kernel_columns;
    (0..rows * columns).map(|pixel| elements.clone().filter_map(|element| under(pixel, element)).collect()).collect()
}

impl<'a, T: Scalar> Chains<'a, T> {
    pub(crate) fn new(problem: Problem, data: &'a Data<T>, fused: bool) -> Self {
        Self { problem, data, underlays: underlays(&problem.shape), fused }
    }

    fn step(&self, sum: T, a: T, b: T) -> T {
        if self.fused { a.mul_add(b, sum) } else { sum + a * b }
    }

    /// Calls `visit(element of the overlay, index into x, into weight, into y)` for each product of a block, in the order
    /// of the definition.
    fn products(&self, (images, pixels): &Block, mut visit: impl FnMut(usize, usize, usize, usize)) {
        let shape = &self.problem.shape;
        let [maps, depth, rows, columns] = shape.weight_dim();
        let (elements, plane) = (rows * columns, shape.input()[0] * shape.input()[1]);
        for (image, map) in images.clone().flat_map(|image| (0..maps).map(move |map| (image, map))) {
            let first = image * shape.in_channels() + map / (maps / shape.groups()) * depth;
            for pixel in pixels.clone() {
                let y = (image * maps + map) * self.underlays.len() + pixel;
                for channel in 0..depth {
                    let (x, weight) = ((first + channel) * plane, (map * depth + channel) * elements);
                    for &[element, place] in &self.underlays[pixel] {
                        visit(element, x + place, weight + element, y);
                    }
                }
            }
        }
    }

    /// All images and pixels.
    fn all(&self) -> Block {
        (0..self.problem.batch, 0..self.underlays.len())
    }

    /// `σ(z + b)`, each z one chain through the taps.
    pub(crate) fn forward(&self) -> Vec<T> {
        let Data { x, weight, bias, dy } = self.data;
        let mut sums = vec![T::ZERO; dy.len()];
        self.products(&self.all(), |_, x_at, weight_at, y| sums[y] = self.step(sums[y], weight[weight_at], x[x_at]));
        let maps = sums.chunks_mut(self.underlays.len()).zip(bias.iter().cycle());
        maps.for_each(|(map, &b)| map.iter_mut().for_each(|z| *z = (*z + b).max(T::ZERO)));
        sums
    }

    /// Each pixel of dx one chain through all that it gets: map by map, one output pixel after the other.
    pub(crate) fn gathered(&self) -> Vec<T> {
        let Data { x, weight, dy, .. } = self.data;
        let mut dx = vec![T::ZERO; x.len()];
        self.products(&self.all(), |_, x, weight_at, y| dx[x] = self.step(dx[x], weight[weight_at], dy[y]));
        dx
    }

    /// Each pixel of dx a sum of chains: one through the maps for each element of the overlay, element by element; of some
    /// output pixels after the other, as many as share a column matrix.
    pub(crate) fn scattered(&self) -> Vec<T> {
        let Data { x, weight, dy, .. } = self.data;
        let (len, mut dx) = (self.problem.shape.input_len(), vec![T::ZERO; x.len()]);
        let parts = even_parts(self.underlays.len(), self.columns());
        let elements = self.problem.shape.kernel()[0] * self.problem.shape.kernel()[1];
        for (image, dx) in dx.chunks_exact_mut(len).enumerate() {
            for part in parts.clone() {
                let mut sums = vec![T::ZERO; elements * len];
                self.products(&(image..image + 1, part), |element, x, weight_at, y| {
                    let sum = &mut sums[element * len + x - image * len];
                    *sum = self.step(*sum, weight[weight_at], dy[y]);
                });
                sums.chunks_exact(len).for_each(|sums| add(dx, sums));
            }
        }
        dx
    }

    /// Output pixels that share a column matrix, of one image or several: it has at most a MiB (`src/conv/product.rs`).
    fn columns(&self) -> usize {
        let taps = self.problem.shape.weight_len() / self.problem.shape.out_channels();
        ((1 << 20) / (taps * size_of::<T>()) / 16 * 16).max(64)
    }

    /// Each element of dweight a sum of chains, over 1: the tree of `Partials` in `src/conv.rs`. Each share of the blocks
    /// makes a partial gradient, and these are added in pairs, then pairs of pairs, and so on. Where the order depends on
    /// more than the blocks, there is no answer.
    pub(crate) fn weight_gradient(&self, algorithm: Algorithm) -> Option<Vec<T>> {
        let Data { x, weight, dy, .. } = self.data;
        let blocks = match algorithm {
            Algorithm::Channels => self.strips()?,
            _ => self.deep_blocks(algorithm == Algorithm::Pointwise)?,
        };
        let shares = self.shares().min(blocks.len()).max(1);
        let mut partials = vec![vec![T::ZERO; weight.len()]; shares];
        for (share, partial) in partials.iter_mut().enumerate() {
            for block in &blocks[share * blocks.len() / shares..(share + 1) * blocks.len() / shares] {
                // Matrix products go on with their chains; tiles begin anew with each strip.
                let anew = algorithm == Algorithm::Channels;
                let mut sums = if anew { vec![T::ZERO; weight.len()] } else { partial.clone() };
                self.products(block, |_, x_at, w, y| sums[w] = self.step(sums[w], x[x_at], dy[y]));
                if anew { add(partial, &sums) } else { *partial = sums }
            }
        }
        let mut step = 1;
        while step < shares {
            for first in (0..shares - step).step_by(2 * step) {
                let (to, from) = partials.split_at_mut(first + step);
                add(&mut to[first], &from[0]);
            }
            step *= 2;
        }
        Some(partials[0].iter().map(|&sum| T::one() + sum).collect())
    }

    /// Cells that the pass is worth cutting into (`src/threads.rs`).
    fn shares(&self) -> usize {
        let flops = 2 * self.problem.shape.macs() * self.problem.batch as u64;
        1 << (flops / 6_000_000).clamp(1, 16).ilog2()
    }

    /// The blocks of a matrix product over pixels (`src/conv/product.rs`): without a column matrix, whole images. Small ones
    /// are joined then, which matters where there are shares.
    fn deep_blocks(&self, pointwise: bool) -> Option<Vec<Block>> {
        let (batch, pixels) = (self.problem.batch, self.underlays.len());
        if pointwise && pixels < 192 && self.shares() > 1 {
            return None;
        }
        let [together, strip] = if pointwise { [1, pixels] } else { [self.columns() / pixels, self.columns()] };
        let strips = even_parts(pixels, strip);
        let images = even_parts(batch, together.clamp(1, batch.max(1)));
        Some(images.flat_map(|images| strips.clone().map(move |strip| (images.clone(), strip))).collect())
    }

    /// The strips of tiles whose vectors lie along the channels (`src/conv/direct/gradient.rs`); none if they are so large
    /// that their height depends on more than the width of a feature map.
    fn strips(&self) -> Option<Vec<Block>> {
        let Problem { shape, batch, .. } = self.problem;
        let [height, width] = shape.output();
        let [maps, depth, ..] = shape.weight_dim();
        let strip = (256 / width).clamp(1, height);
        // At least what a row takes: its pixels, the border, and the rows between.
        let padded =
            (shape.input()[1] + shape.padding().left + shape.padding().right).saturating_add(shape.stride()[1]);
        let pixels = padded.saturating_mul(depth).saturating_mul(shape.stride()[0]);
        let row = pixels.saturating_add(maps / shape.groups() * width);
        if strip > 4 && row > (192 << 10) / size_of::<T>() / strip {
            return None;
        }
        let wanted = self.shares().div_ceil(batch.max(1));
        let strips = height.div_ceil(strip).max(wanted).min(height);
        let rows = move |strip: usize| strip * height / strips * width;
        Some(
            (0..batch * strips)
                .map(|at| (at / strips..at / strips + 1, rows(at % strips)..rows(at % strips + 1)))
                .collect(),
        )
    }
}

fn add<T: Scalar>(to: &mut [T], from: &[T]) {
    to.iter_mut().zip(from).for_each(|(to, &from)| *to += from);
}
