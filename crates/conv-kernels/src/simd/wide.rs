//! A set for tests, which no CPU has to have: vectors as long as those of AVX-512, in memory.
//!
//! It is slow, and there to find kernels that take any length of a vector for granted. As in the sets with an instruction
//! for it, multiply-adds are rounded once.

mod tests;

use super::portable::arrays;
use super::{Op, Set, Simd};

/// Bytes of a vector.
const BYTES: usize = 64;

/// Arrays are everywhere, so anybody may make one.
#[derive(Clone, Copy, Debug)]
pub struct Wide;

impl Set for Wide {
    const NAME: &'static str = "wide";

    fn detect() -> Option<Self> {
        Some(Self)
    }
}

arrays!(Wide, f32, BYTES / size_of::<f32>(), 2, f32::mul_add);
arrays!(Wide, f64, BYTES / size_of::<f64>(), 2, f64::mul_add);
