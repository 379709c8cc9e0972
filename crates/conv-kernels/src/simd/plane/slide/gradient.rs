//! The gradient of a small overlay that slid down a plane.
//!
//! ```text
//! for each block of rows of results, or of whole planes if these are small, for each vector of its columns:
//!     for each row of pixels under it, downwards, but for those above and below the plane:
//!         load it once for each column of the overlay, with zeros left and right of the plane
//!         for each row of the overlay, and the row of results that sees the pixels through it:
//!             sums[row of the overlay] += gradients[row of results] · pixels
//! ```
//!
//! The same walk, but here the sums belong to the overlay, all `K · K` of them in registers, and what grows old are the
//! gradients of the results. The sums stay vectors: their lanes are added up at the very end, by the caller.

use std::ops::Range;

use super::super::super::{Op, Simd};
use super::{Plane, Strip, aged, with_kernel};
use crate::Scalar;

/// The gradients of the overlays of planes, one after the other.
///
/// `sums[i][j] += Σ maps[y][x] · pixels[y · stride + i - origin][x · stride + j - origin]`, lane by lane.
pub(crate) struct SlideGradient<'a, T> {
    /// A plane.
    pub(crate) plane: Plane,
    /// The pixels of them all.
    pub(crate) pixels: &'a [T],
    /// Which rows of results.
    pub(crate) rows: Range<usize>,
    /// Their gradients.
    pub(crate) maps: &'a [T],
    /// Sums `(plane, row, column, lane)` of the overlays, added to.
    pub(crate) sums: &'a mut [T],
}

impl<T: Scalar> Op<T> for SlideGradient<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        with_kernel!(self.plane, S, self.slide(simd));
    }
}

impl<T: Scalar> SlideGradient<'_, T> {
    /// All blocks and strips.
    #[inline(always)]
    fn slide<S: Simd<T>, const K: usize, const STRIDE: usize, const AGES: usize>(mut self, simd: S) {
        let Plane { size, width, .. } = self.plane;
        let count = self.sums.len() / (K * K * S::LANES);
        assert_eq!(self.sums.len(), count * K * K * S::LANES, "a sum for each element and lane");
        assert_eq!(self.pixels.len(), count * size[0] * size[1], "planes are whole, and have an overlay each");
        assert_eq!(self.maps.len(), count * self.rows.len() * width, "the gradients are there");
        for (planes, rows) in self.plane.blocks(count, self.rows.clone()) {
            for first in (0..width).step_by(S::LANES) {
                let strip = self.plane.strip::<T, S, K, STRIDE>(simd, first);
                if strip.edge {
                    self.strip::<S, K, STRIDE, AGES, true>(simd, &strip, planes.clone(), rows.clone());
                } else {
                    self.strip::<S, K, STRIDE, AGES, false>(simd, &strip, planes.clone(), rows.clone());
                }
            }
        }
    }

    /// A strip of a block.
    #[inline(always)]
    fn strip<S: Simd<T>, const K: usize, const STRIDE: usize, const AGES: usize, const EDGE: bool>(
        &mut self,
        simd: S,
        strip: &Strip<S::Mask, K>,
        planes: Range<usize>,
        rows: Range<usize>,
    ) {
        let mask = simd.mask(0..strip.count);
        let inside = self.plane.inside::<STRIDE>(rows.clone());
        for plane in planes {
            let place = |i: usize, j: usize| ((plane * K + i) * K + j) * S::LANES;
            let mut sums = [[simd.splat(T::ZERO); K]; K];
            for i in 0..K {
                for j in 0..K {
                    // SAFETY: there is a sum for each element and lane of each plane.
                    sums[i][j] = unsafe { simd.load(self.sums.as_ptr().add(place(i, j))) };
                }
            }
            let mut gradients = [simd.splat(T::ZERO); AGES];
            macro_rules! steps {
                ($newest:expr, $inside:literal) => {
                    for newest in $newest {
                        let mut newborn = simd.splat(T::ZERO);
                        if $inside || newest < rows.end {
                            let row = plane * self.rows.len() + newest - self.rows.start;
                            let from = self.maps.as_ptr().wrapping_add(row * self.plane.width + strip.first);
                            simd.prefetch_read(from.wrapping_add(self.plane.block[0] * self.plane.width));
                            // SAFETY: `maps` holds the row, and a whole vector of it if the strip is no edge.
                            newborn = unsafe { if EDGE { simd.load_masked(from, mask) } else { simd.load(from) } };
                        }
                        gradients = aged(gradients, newborn);
                        self.step::<S, K, STRIDE, AGES, EDGE, $inside>(
                            simd, strip, plane, newest, &gradients, &mut sums,
                        );
                    }
                };
            }
            steps!(rows.start..inside.start, false);
            steps!(inside.clone(), true);
            steps!(inside.end..rows.end + AGES - 1, false);
            for i in 0..K {
                for j in 0..K {
                    // SAFETY: as above.
                    unsafe { simd.store(sums[i][j], self.sums.as_mut_ptr().add(place(i, j))) };
                }
            }
        }
    }

    /// The rows of pixels from the first under the row of results `newest` to the first under the next one.
    #[inline(always)]
    fn step<
        S: Simd<T>,
        const K: usize,
        const STRIDE: usize,
        const AGES: usize,
        const EDGE: bool,
        const INSIDE: bool,
    >(
        &self,
        simd: S,
        strip: &Strip<S::Mask, K>,
        plane: usize,
        newest: usize,
        gradients: &[S::Vector; AGES],
        sums: &mut [[S::Vector; K]; K],
    ) {
        for below in 0..STRIDE {
            // SAFETY: `slide` has checked the pixels, and made the strip; `strip` has found which rows are inside.
            let pixels = unsafe {
                self.plane.load::<T, S, K, STRIDE, EDGE, INSIDE>(simd, self.pixels, plane, newest, below, strip)
            };
            let Some(pixels) = pixels else { continue };
            for j in 0..K {
                for age in 0..AGES {
                    let i = age * STRIDE + below;
                    if i < K {
                        sums[i][j] = simd.mul_add(gradients[age], pixels[j], sums[i][j]);
                    }
                }
            }
        }
    }
}
