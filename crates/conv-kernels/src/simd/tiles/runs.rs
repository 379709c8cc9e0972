//! Runs of pixels, and the vectors and pieces of vectors that they are made of.

use std::ops::Range;

use crate::Scalar;

/// Runs of neighbouring pixels that vectors walk over: the rows of a strip, or one long run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runs {
    /// How many.
    pub(crate) count: usize,
    /// Pixels of each: a vector or more.
    pub(crate) len: usize,
    /// From a run's first pixel to the next run's, in the image.
    pub(crate) image_pitch: usize,
    /// The same in the feature map.
    pub(crate) map_pitch: usize,
}

/// Where a piece of a vector lies.
#[derive(Clone, Copy, Debug)]
pub(in crate::simd) struct Place {
    pub(in crate::simd) image: usize,
    pub(in crate::simd) map: usize,
    /// In a run's mask.
    pub(in crate::simd) mask: usize,
}

impl Runs {
    /// All vectors in order, of one or two pieces with `lanes` each. Where a run's length is no multiple, its last piece
    /// begins earlier, and overlaps; where the last vector lacks a piece, it has one twice, the second time masked.
    #[inline(always)]
    pub(in crate::simd) fn vectors(self, lanes: usize, pieces: usize) -> Vectors {
        Vectors { runs: self, lanes, pieces, run: 0, pixel: 0 }
    }

    /// How many vectors there are.
    #[inline(always)]
    pub(crate) fn vector_count(&self, lanes: usize, pieces: usize) -> usize {
        (self.count * self.len.div_ceil(lanes)).div_ceil(pieces)
    }

    /// Checks that a map, and an image whose farthest row is `far` away, have all pixels, in pieces of `lanes`.
    #[inline(always)]
    pub(in crate::simd) fn check(&self, lanes: usize, image_len: usize, far: usize, map_len: usize) {
        assert!(self.len >= lanes && self.count > 0, "runs fill pieces");
        assert!(far + (self.count - 1) * self.image_pitch + self.len <= image_len, "the image holds all runs");
        assert!((self.count - 1) * self.map_pitch + self.len <= map_len, "the map holds all runs");
    }

    /// Elements of a mask for runs of this length: one a pixel, and one a lane of the last piece.
    pub(crate) fn mask_len(&self, lanes: usize) -> usize {
        self.len + lanes
    }

    /// Writes a mask that lets pass, once each, the pixels for which `wanted`, asked in their order, says so: positive
    /// numbers for these, zeros for others.
    pub(crate) fn write_mask<T: Scalar>(&self, lanes: usize, mask: &mut [T], wanted: &mut impl FnMut() -> bool) {
        let (pixels, last) = mask[..self.mask_len(lanes)].split_at_mut(self.len);
        pixels.iter_mut().for_each(|mask| *mask = if wanted() { T::one() } else { T::ZERO });
        last.copy_from_slice(&pixels[self.len - lanes..]);
        let done = self.len / lanes * lanes;
        last[..done + lanes - self.len].fill(T::ZERO);
    }
}

/// `0..len` in as few parts of at most `most` as there can be, of about the same length.
#[inline(always)]
pub(crate) fn even_parts(len: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = len.div_ceil(most);
    (0..parts).map(move |part| part * len / parts..(part + 1) * len / parts)
}

/// See [`Runs::vectors`].
#[derive(Clone)]
pub(in crate::simd) struct Vectors {
    runs: Runs,
    lanes: usize,
    pieces: usize,
    run: usize,
    pixel: usize,
}

impl Iterator for Vectors {
    type Item = [Place; 2];

    #[inline(always)]
    fn next(&mut self) -> Option<[Place; 2]> {
        let first = self.piece()?;
        let again = Place { mask: self.runs.len + self.lanes, ..first };
        Some([first, if self.pieces > 1 { self.piece().unwrap_or(again) } else { again }])
    }
}

impl Vectors {
    #[inline(always)]
    fn piece(&mut self) -> Option<Place> {
        let Runs { count, len, image_pitch, map_pitch } = self.runs;
        if self.run == count {
            return None;
        }
        let whole = self.pixel + self.lanes <= len;
        let (pixel, mask) = if whole { (self.pixel, self.pixel) } else { (len - self.lanes, len) };
        let place = Place { image: self.run * image_pitch + pixel, map: self.run * map_pitch + pixel, mask };
        self.pixel += self.lanes;
        if self.pixel >= len {
            (self.run, self.pixel) = (self.run + 1, 0);
        }
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_and_their_mask_meet_every_wanted_pixel_once() {
        for (lanes, pieces) in [(2, 1), (2, 2), (4, 1), (8, 2), (16, 1)] {
            for (count, len) in (1..4).flat_map(|count| (lanes..4 * lanes).map(move |len| (count, len))) {
                let runs = Runs { count, len, image_pitch: len + 3, map_pitch: len };
                runs.check(lanes, count * (len + 3) - 3, 0, count * len);
                let mut mask = vec![f32::NAN; runs.mask_len(lanes) + lanes];
                let mut pixel = 0;
                runs.write_mask(lanes, &mut mask, &mut || {
                    pixel += 1;
                    pixel % 5 != 0
                });
                mask[runs.mask_len(lanes)..].fill(0.0);
                let mut met = vec![0; count * len];
                let used = |vector: [Place; 2]| vector.into_iter().take(pieces);
                for place in runs.vectors(lanes, pieces).flat_map(used) {
                    assert_eq!(place.image, place.map / len * (len + 3) + place.map % len);
                    for lane in (0..lanes).filter(|lane| mask[place.mask + lane] > 0.0) {
                        met[place.map + lane] += 1;
                    }
                }
                assert_eq!(runs.vectors(lanes, pieces).count(), runs.vector_count(lanes, pieces));
                let wanted = (0..count * len).map(|index| i32::from((index % len + 1) % 5 != 0));
                assert!(met.into_iter().eq(wanted), "{count} runs of {len} in {lanes} lanes");
            }
        }
    }

    #[test]
    fn parts_are_even() {
        let lens = |len, most| even_parts(len, most).map(|part| part.len()).collect::<Vec<_>>();
        assert_eq!(lens(20, 6), [5, 5, 5, 5]);
        assert_eq!(lens(16, 6), [5, 5, 6]);
        assert_eq!(lens(6, 6), [6]);
        assert_eq!(lens(0, 6), [0; 0]);
    }
}
