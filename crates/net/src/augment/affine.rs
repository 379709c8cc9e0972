//! Random shift, rotation, scale and shear.

use std::fmt;

use layers::{Scalar, random::Stream};

use super::{AugmentError, distort::Field};

/// How far an image may be moved, turned, scaled and sheared; each amount is drawn evenly from its range, and does not depend on
/// the others. About the centre of the image; nothing by default.
///
/// For digits: shift 2, rotation 12, scale 0.12, shear 8.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Affine {
    /// Pixels, up or down and left or right: −shift to shift, fractions too.
    pub shift: f64,
    /// Degrees, to either side: 0 to 180.
    pub rotation: f64,
    /// The image becomes 1 − scale to 1 + scale times as large: 0 to 0.9.
    pub scale: f64,
    /// Degrees by which upright lines lean, to either side: 0 to 60.
    pub shear: f64,
}

impl Affine {
    pub(super) fn validate(&self) -> Result<(), AugmentError> {
        let range = |most: f64, got: f64| (0.0..=most).contains(&got);
        let shift = self.shift >= 0.0 && self.shift.is_finite();
        AugmentError::unless(shift, "the shift of the affine distortion", "at least 0 pixels and finite", self.shift)?;
        let rotation = range(180.0, self.rotation);
        AugmentError::unless(rotation, "the rotation of the affine distortion", "0 to 180 degrees", self.rotation)?;
        AugmentError::unless(range(0.9, self.scale), "the scale of the affine distortion", "0 to 0.9", self.scale)?;
        AugmentError::unless(
            range(60.0, self.shear),
            "the shear of the affine distortion",
            "0 to 60 degrees",
            self.shear,
        )
    }

    /// One change from the range. It takes the same number of draws whatever the settings.
    pub(super) fn draw(&self, stream: &mut Stream) -> Transform {
        let mut within = |most: f64| (2.0 * stream.uniform() - 1.0) * most;
        Transform {
            down: within(self.shift),
            right: within(self.shift),
            rotation: within(self.rotation).to_radians(),
            scale: 1.0 + within(self.scale),
            shear: within(self.shear).to_radians(),
        }
    }
}

/// Every setting: `"affine shift 2 rotation 12 scale 0.12 shear 8"`.
impl fmt::Display for Affine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shift, rotation, scale, shear } = self;
        write!(f, "affine shift {shift} rotation {rotation} scale {scale} shear {shear}")
    }
}

/// One change: scaled, sheared, turned (anticlockwise), then moved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transform {
    down: f64,
    right: f64,
    rotation: f64,
    scale: f64,
    shear: f64,
}

impl Transform {
    /// Where each pixel of the new image comes from: the transform backwards.
    pub(super) fn trace<T: Scalar>(self, field: &mut Field<'_, T>) {
        let [rows, columns] = field.size;
        let (sin, cos) = self.rotation.sin_cos();
        let (scale, lean) = (1.0 / self.scale, self.shear.tan());
        let centre = [rows, columns].map(|n| (n as f64 - 1.0) / 2.0);
        // turned back, upright again, and of the old size; y points down
        let back = |y: f64, x: f64| {
            let (y, x) = (x * sin + y * cos, x * cos - y * sin);
            [y * scale, (x + lean * y) * scale]
        };
        let step = back(0.0, 1.0).map(T::of);
        for i in 0..rows {
            let start = back(i as f64 - centre[0] - self.down, -centre[1] - self.right);
            for axis in 0..2 {
                let start = T::of(start[axis] + centre[axis]);
                let row = &mut field.sources[axis][i * columns..(i + 1) * columns];
                for (source, j) in row.iter_mut().zip(0_i32..) {
                    *source = start + step[axis] * T::of(f64::from(j));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ArrayView2, array, s};

    use super::*;
    use crate::augment::distort::{frame, framed, places};

    const STILL: Transform = Transform { down: 0.0, right: 0.0, rotation: 0.0, scale: 1.0, shear: 0.0 };

    fn transformed(transform: Transform, image: ArrayView2<'_, f64>, fill: f64) -> Array2<f64> {
        let size = [image.nrows(), image.ncols()];
        let mut sources = vec![f64::NAN; 2 * places(size)];
        let mut canvas = vec![f64::NAN; framed(size[0]) * framed(size[1])];
        let mut field = Field { size, sources: sources.split_at_mut(places(size)).into() };
        transform.trace(&mut field);
        frame(image, fill, &mut canvas);
        let mut out = Array2::from_elem(image.raw_dim(), f64::NAN);
        field.sample(&canvas, out.iter_mut());
        out
    }

    fn numbers(rows: usize, columns: usize) -> Array2<f64> {
        Array2::from_shape_fn((rows, columns), |(i, j)| ((7 * i + 3 * j) % 11) as f64 + 1.0)
    }

    fn assert_close(got: &Array2<f64>, expected: ArrayView2<'_, f64>) {
        assert!((got - &expected).iter().all(|off| off.abs() < 1e-12), "{got} is not\n{expected}");
    }

    #[test]
    fn nothing_moves_without_settings() {
        let image = numbers(7, 20);
        assert_eq!(transformed(STILL, image.view(), -1.0), image);
    }

    #[test]
    fn a_shift_by_whole_pixels_is_exact() {
        let image = numbers(6, 19);
        let moved = transformed(Transform { down: 2.0, right: -3.0, ..STILL }, image.view(), -1.0);
        assert_eq!(moved.slice(s![2.., ..16]), image.slice(s![..4, 3..]));
        assert!(moved.slice(s![..2, ..]).iter().chain(moved.slice(s![.., 16..]).iter()).all(|&v| v == -1.0));
        let gone = transformed(Transform { down: 1e9, right: -1e9, ..STILL }, image.view(), -1.0);
        assert!(gone.iter().all(|&v| v == -1.0));
    }

    #[test]
    fn a_shift_by_half_a_pixel_is_a_mean_of_two() {
        let moved = transformed(Transform { right: 0.5, ..STILL }, array![[2.0, 4.0, 8.0]].view(), 0.0);
        assert_close(&moved, array![[1.0, 3.0, 6.0]].view());
    }

    #[test]
    fn quarter_turns_are_exact() {
        for n in [6, 7] {
            let image = numbers(n, n);
            let turned =
                |degrees: f64| transformed(Transform { rotation: degrees.to_radians(), ..STILL }, image.view(), 0.0);
            // anticlockwise: the last column becomes the first row
            assert_close(&turned(90.0), image.t().slice(s![..;-1, ..]));
            assert_close(&turned(-90.0), image.t().slice(s![.., ..;-1]));
            assert_close(&turned(180.0), image.slice(s![..;-1, ..;-1]));
        }
    }

    #[test]
    fn twice_as_large_and_half_as_large() {
        let image = Array2::from_shape_fn((5, 5), |(i, j)| (10 * i + j) as f64);
        let large = transformed(Transform { scale: 2.0, ..STILL }, image.view(), 0.0);
        assert_close(&large, Array2::from_shape_fn((5, 5), |(i, j)| (10 * (2 + i) + 2 + j) as f64 / 2.0).view());
        let small = transformed(Transform { scale: 0.5, ..STILL }, image.view(), -1.0);
        assert_close(&small.slice(s![1..4, 1..4]).to_owned(), image.slice(s![..;2, ..;2]));
        assert_eq!(small[[0, 2]], -1.0);
    }

    #[test]
    fn shear_moves_rows_by_their_distance_from_the_middle() {
        let image = numbers(3, 9);
        let sheared = transformed(Transform { shear: 45_f64.to_radians(), ..STILL }, image.view(), 0.0);
        assert_close(&sheared.slice(s![0..1, 1..]).to_owned(), image.slice(s![0..1, ..8]));
        assert_close(&sheared.slice(s![1..2, ..]).to_owned(), image.slice(s![1..2, ..]));
        assert_close(&sheared.slice(s![2..3, ..8]).to_owned(), image.slice(s![2..3, 1..]));
    }
}
