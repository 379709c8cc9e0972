//! The passes of batch normalization, after every length has been checked.
//!
//! The kernels are plain loops, without branches, which the compiler turns into vectors; as [`Op`]s they are compiled for each
//! instruction set. A sum has [`CHAINS`] partial sums whatever the set, so all sets give the same bits.

use ndarray::{ArrayViewMut2, ArrayViewMut3, Axis};

use super::{BatchNorm, Moments, Normalized, Statistics};
use crate::simd::{Isa, Op, Simd};
use crate::threads::{Cell, Cuts, grid, lanes, view3};
use crate::{Activation, Scalar};

/// Partial sums of a run of values.
const CHAINS: usize = 32;

/// Values whose sums are `T`s; these are then added as `f64`s.
const RUN: usize = 1024;

/// What a value costs, in multiply-adds of a convolution: it is read twice, and there is little to compute.
const MACS: u64 = 48;

/// One pass, with what it reads and what it writes.
#[derive(Debug)]
pub enum Normalizing<'a, T> {
    /// [`BatchNorm::forward`].
    Forward { x: &'a [T], y: &'a mut [T], moments: &'a mut [Moments], statistics: Statistics },
    /// [`BatchNorm::backward`].
    Backward { seen: Normalized<'a, T>, dx: Option<&'a mut [T]>, dweight: &'a mut [T], dbias: &'a mut [T] },
}

impl<T: Scalar> Normalizing<'_, T> {
    pub(crate) fn run(self, norm: &BatchNorm<'_, T>, batch: usize, isa: Isa) {
        let (channels, plane) = (norm.channels(), norm.plane);
        let images = [batch, channels, plane];
        let cuts = Cuts::new(lanes((batch * channels * plane) as u64 * MACS), images, [1; 3], [1, 0, 2]);
        // a channel is never divided
        let cuts = Cuts { parts: [1, cuts.parts[1], 1], ..cuts };
        match self {
            Self::Forward { x, y, moments, statistics } => {
                let whole = Cell::whole((view3(images, y), view3([1, channels, 1], moments)), &mut [][..]);
                grid(whole, cuts, 0, &|cell: Cell<'_, (ArrayViewMut3<'_, T>, _), T>| {
                    let (y, moments) = cell.view;
                    T::run(isa, Forward { norm, x, y, moments, statistics, first: cell.start[1] });
                });
            }
            Self::Backward { seen, dx, dweight, dbias } => {
                let Normalized { x, y, moments, statistics, dy } = seen;
                let sums = (view3([1, channels, 1], dweight), view3([1, channels, 1], dbias));
                let gradients = (view3(images, dy), dx.map(|dx| view3(images, dx)));
                let whole = Cell::whole((gradients, sums), &mut [][..]);
                grid(whole, cuts, 0, &|cell: Cell<'_, ((ArrayViewMut3<'_, T>, _), _), T>| {
                    let ((dy, dx), (dweight, dbias)) = cell.view;
                    let first = cell.start[1];
                    T::run(isa, Backward { norm, x, y, moments, statistics, dy, dx, dweight, dbias, first });
                });
            }
        }
    }
}

/// Some channels, from `first` on, of a forward pass.
struct Forward<'a, T> {
    norm: &'a BatchNorm<'a, T>,
    x: &'a [T],
    y: ArrayViewMut3<'a, T>,
    moments: ArrayViewMut3<'a, Moments>,
    statistics: Statistics,
    first: usize,
}

impl<T: Scalar> Op<T> for Forward<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, _: S) {
        let Self { norm, x, mut y, mut moments, statistics, first } = self;
        for ((channel, mut y), moments) in (first..).zip(y.axis_iter_mut(Axis(1))).zip(&mut moments) {
            if statistics == Statistics::Batch {
                *moments = self::moments(norm, x, channel);
            }
            let line = Line::new(norm, *moments, channel);
            let (centre, scale) = (line.centre, T::of(line.scale));
            let shift = T::of(norm.bias[channel].as_f64() - (moments.mean - centre.as_f64()) * line.scale);
            for (x, y) in planes(norm, x, channel).zip(planes_mut(&mut y)) {
                match norm.activation {
                    Activation::Relu => {
                        for (y, &x) in y.iter_mut().zip(x) {
                            let z = (x - centre) * scale + shift;
                            *y = if z <= T::ZERO { T::ZERO } else { z };
                        }
                    }
                    activation => {
                        y.iter_mut().zip(x).for_each(|(y, &x)| *y = (x - centre) * scale + shift);
                        activation.apply(y);
                    }
                }
            }
        }
    }
}

/// Some channels, from `first` on, of a backward pass.
struct Backward<'a, T> {
    norm: &'a BatchNorm<'a, T>,
    x: &'a [T],
    y: &'a [T],
    moments: &'a [Moments],
    statistics: Statistics,
    dy: ArrayViewMut3<'a, T>,
    dx: Option<ArrayViewMut3<'a, T>>,
    dweight: ArrayViewMut3<'a, T>,
    dbias: ArrayViewMut3<'a, T>,
    first: usize,
}

impl<T: Scalar> Op<T> for Backward<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, _: S) {
        let Self { norm, x, y, moments, statistics, mut dy, mut dx, mut dweight, mut dbias, first } = self;
        let mut dx = dx.as_mut().map(|dx| dx.axis_iter_mut(Axis(1)));
        let channels = (first..).zip(dy.axis_iter_mut(Axis(1)));
        for ((channel, mut dy), (dweight, dbias)) in channels.zip(dweight.iter_mut().zip(&mut dbias)) {
            let dx = dx.as_mut().and_then(Iterator::next);
            let line = Line::new(norm, moments[channel], channel);
            let centre = line.centre;
            let (mut sum, mut product) = (0.0, 0.0);
            for ((x, y), dy) in planes(norm, x, channel).zip(planes(norm, y, channel)).zip(planes_mut(&mut dy)) {
                for ((x, y), dy) in x.chunks(RUN).zip(y.chunks(RUN)).zip(dy.chunks_mut(RUN)) {
                    match norm.activation {
                        Activation::Relu => {
                            dy.iter_mut().zip(y).for_each(|(dy, &y)| *dy = if y > T::ZERO { *dy } else { T::ZERO });
                        }
                        activation => activation.backprop(y, dy),
                    }
                    let [part, with_x] = sums(x, dy, |x, dy| [dy, (x - centre) * dy]);
                    (sum, product) = (sum + part, product + with_x);
                }
            }
            // the centre is the mean but for rounding
            let off = moments[channel].mean - centre.as_f64();
            let along = (product - off * sum) * line.inverse;
            *dweight += T::of(along);
            *dbias += T::of(sum);

            let Some(mut dx) = dx else { continue };
            let share = match statistics {
                Statistics::Batch => 1.0 / dy.len() as f64,
                Statistics::Given => 0.0,
            };
            let slope = -line.scale * line.inverse * along * share;
            let shift = -line.scale * sum * share - slope * off;
            let (scale, slope, shift) = (T::of(line.scale), T::of(slope), T::of(shift));
            for ((x, dx), dy) in planes(norm, x, channel).zip(planes_mut(&mut dx)).zip(planes_mut(&mut dy)) {
                for ((dx, &x), &mut dy) in dx.iter_mut().zip(x).zip(dy) {
                    *dx = dy * scale + ((x - centre) * slope + shift);
                }
            }
        }
    }
}

/// What a channel is multiplied by, and around what: `(x − mean) · scale`.
struct Line<T> {
    /// The mean, rounded.
    centre: T,
    /// 1/√(variance + ε).
    inverse: f64,
    /// `inverse · weight`.
    scale: f64,
}

impl<T: Scalar> Line<T> {
    #[inline(always)]
    fn new(norm: &BatchNorm<'_, T>, moments: Moments, channel: usize) -> Self {
        let inverse = 1.0 / (moments.variance + norm.epsilon).sqrt();
        Self { centre: T::of(moments.mean), inverse, scale: inverse * norm.weight[channel].as_f64() }
    }
}

/// Mean and variance of one channel of `x`.
#[inline(always)]
fn moments<T: Scalar>(norm: &BatchNorm<'_, T>, x: &[T], channel: usize) -> Moments {
    let runs = || planes(norm, x, channel).flat_map(|plane| plane.chunks(RUN));
    let count = (x.len() / norm.channels()) as f64;
    let total = runs().fold(0.0, |total, run| total + sums(run, run, |x, _| [x])[0]);
    let centre = T::of(total / count);
    let (mut off, mut squares) = (0.0, 0.0);
    for run in runs() {
        let parts = sums(run, run, |x, _| [x - centre, (x - centre) * (x - centre)]);
        (off, squares) = (off + parts[0], squares + parts[1]);
    }
    // the first sum is zero but for rounding, which it takes out of the others
    let variance = (squares - off * off / count) / count;
    // a maximum would hide NaN
    let variance = if variance < 0.0 { 0.0 } else { variance };
    Moments { mean: centre.as_f64() + off / count, variance }
}

/// The sum of each term over a run of values.
#[inline(always)]
fn sums<T: Scalar, const N: usize>(a: &[T], b: &[T], terms: impl Fn(T, T) -> [T; N]) -> [f64; N] {
    let mut chains = [[T::ZERO; CHAINS]; N];
    let (a, a_rest) = a.as_chunks::<CHAINS>();
    let (b, b_rest) = b.as_chunks::<CHAINS>();
    for (a, b) in a.iter().zip(b) {
        for at in 0..CHAINS {
            let terms = terms(a[at], b[at]);
            (0..N).for_each(|term| chains[term][at] += terms[term]);
        }
    }
    for (at, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
        let terms = terms(a, b);
        (0..N).for_each(|term| chains[term][at] += terms[term]);
    }
    chains.map(total)
}

/// The sum of all chains, halves first.
#[inline(always)]
fn total<T: Scalar>(mut chains: [T; CHAINS]) -> f64 {
    let mut half = CHAINS / 2;
    while half > 0 {
        for at in 0..half {
            let other = chains[at + half];
            chains[at] += other;
        }
        half /= 2;
    }
    chains[0].as_f64()
}

/// The planes of one channel, image by image.
#[inline(always)]
fn planes<'a, T: Scalar>(
    norm: &BatchNorm<'_, T>,
    values: &'a [T],
    channel: usize,
) -> impl Iterator<Item = &'a [T]> + Clone {
    values.chunks_exact(norm.plane.max(1)).skip(channel).step_by(norm.channels())
}

/// The planes of one channel of a cell, image by image.
#[inline(always)]
fn planes_mut<'v, T>(channel: &'v mut ArrayViewMut2<'_, T>) -> impl Iterator<Item = &'v mut [T]> {
    let planes = channel.rows_mut().into_iter();
    planes.map(|plane| plane.into_slice().expect("cells are cut along channels, so planes are contiguous"))
}
