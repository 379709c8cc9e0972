//! What several tests draw from.
#![allow(dead_code, reason = "each test file uses a part")]

use layers::{Scalar, random::Key};
use ndarray::{Array, Dimension, IntoDimension};

/// Normal numbers, the same for the same seed.
pub(crate) fn normal<T: Scalar, D: Dimension>(shape: impl IntoDimension<Dim = D>, seed: u64) -> Array<T, D> {
    let mut stream = Key::new(seed).stream("test", "normal", 0, 0);
    Array::from_shape_simple_fn(shape.into_dimension(), || T::of(stream.normal()))
}

/// Integers from -4 to 4, the same for the same seed: their sums are exact in `f32`.
pub(crate) fn integers<T: Scalar, D: Dimension>(shape: impl IntoDimension<Dim = D>, seed: u64) -> Array<T, D> {
    let mut stream = Key::new(seed).stream("test", "integers", 0, 0);
    Array::from_shape_simple_fn(shape.into_dimension(), || T::of(stream.below(9) as f64 - 4.0))
}
