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
        AugmentError::unless(range(60.0, self.shear), "the shear of the affine distortion", "0 to 60 degrees", self.shear)
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
