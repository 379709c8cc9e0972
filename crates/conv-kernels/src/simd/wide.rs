//! A set for tests, which no CPU has to have: vectors as long as those of AVX-512, in memory.
//!
//! It is slow, and there to find kernels that take any length of a vector for granted. As in the sets with an instruction
//! for it, multiply-adds are rounded once.

mod tests;

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

macro_rules! wide {
    ($t:ident, $lanes:expr) => {
        impl Simd<$t> for Wide {
            type Vector = [$t; { $lanes }];

            const LANES: usize = $lanes;

            #[inline(always)]
            fn splat(self, value: $t) -> Self::Vector {
                [value; { $lanes }]
            }

            #[inline(always)]
            unsafe fn load(self, from: *const $t) -> Self::Vector {
                // SAFETY: the caller promises that many readable elements; an array is aligned as its elements are.
                unsafe { from.cast::<Self::Vector>().read() }
            }

            #[inline(always)]
            unsafe fn store(self, vector: Self::Vector, to: *mut $t) {
                // SAFETY: the caller promises that many writable elements; an array is aligned as its elements are.
                unsafe { to.cast::<Self::Vector>().write(vector) }
            }

            #[inline(always)]
            fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
                std::array::from_fn(|lane| a[lane].mul_add(b[lane], c[lane]))
            }

            #[inline(always)]
            fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
                let mut sum = a;
                for lane in 0..$lanes {
                    sum[lane] += b[lane];
                }
                sum
            }

            #[inline(always)]
            fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
                let mut difference = a;
                for lane in 0..$lanes {
                    difference[lane] -= b[lane];
                }
                difference
            }

            #[inline(always)]
            fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
                let mut product = a;
                for lane in 0..$lanes {
                    product[lane] *= b[lane];
                }
                product
            }

            #[inline(always)]
            fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
                let mut max = b;
                for lane in 0..$lanes {
                    max[lane] = if a[lane] > b[lane] { a[lane] } else { b[lane] };
                }
                max
            }

            #[inline(always)]
            fn where_positive(self, sign: Self::Vector, then: Self::Vector, otherwise: Self::Vector) -> Self::Vector {
                let mut chosen = otherwise;
                for lane in 0..$lanes {
                    chosen[lane] = if sign[lane] > 0.0 { then[lane] } else { otherwise[lane] };
                }
                chosen
            }

            #[inline(always)]
            fn deinterleave(self, a: Self::Vector, b: Self::Vector) -> (Self::Vector, Self::Vector) {
                let lane = |index: usize| if index < $lanes { a[index] } else { b[index - $lanes] };
                (std::array::from_fn(|index| lane(2 * index)), std::array::from_fn(|index| lane(2 * index + 1)))
            }

            #[inline(always)]
            fn interleave(self, a: Self::Vector, b: Self::Vector) -> (Self::Vector, Self::Vector) {
                let lane = |index: usize| if index % 2 == 0 { a[index / 2] } else { b[index / 2] };
                (std::array::from_fn(lane), std::array::from_fn(|index| lane($lanes + index)))
            }

            #[inline(always)]
            unsafe fn transpose(self, from: *const $t, from_pitch: usize, to: *mut $t, to_pitch: usize) {
                for row in 0..$lanes {
                    for column in 0..$lanes {
                        // SAFETY: the caller promises both squares.
                        unsafe { *to.add(column * to_pitch + row) = *from.add(row * from_pitch + column) };
                    }
                }
            }

            fn run<O: Op<$t>>(self, op: O) {
                op.eval(self);
            }
        }
    };
}

wide!(f32, BYTES / size_of::<f32>());
wide!(f64, BYTES / size_of::<f64>());
