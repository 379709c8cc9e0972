//! The set that every CPU has: short arrays, which the compiler turns into whatever vectors the target promises.
//!
//! Products are rounded before they are added: a fused multiply-add without an instruction for it would be slow.

use super::{Op, Set, Simd};
use crate::Scalar;

/// Bytes of a vector: what the smallest vector registers in use hold.
const BYTES: usize = 16;

/// Every CPU has it, so anybody may make one.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Set for Portable {
    const NAME: &'static str = "portable";
    const IS_FAST: bool = false;

    fn detect() -> Option<Self> {
        Some(Self)
    }
}

/// The operations of `$set` on arrays of `$lanes` elements, with `a·b + c` as `$mul_add(a, b, c)` has it.
macro_rules! arrays {
    ($set:ident, $t:ident, $lanes:expr, $pieces:literal, $mul_add:path) => {
        impl Simd<$t> for $set {
            type Vector = [$t; { $lanes }];

            type Mask = [bool; { $lanes }];

            const LANES: usize = $lanes;

            const PIECES: usize = $pieces;

            // long vectors come in larger files of registers
            const REGISTERS: usize = 16 * $pieces;

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
            unsafe fn load_pieces(self, from: [*const $t; 2]) -> Self::Vector {
                const PIECE: usize = $lanes / $pieces;
                let mut vector = [0.0; { $lanes }];
                for piece in 0..$pieces {
                    // SAFETY: the caller promises that many readable elements of each piece.
                    let lanes = unsafe { from[piece].cast::<[$t; PIECE]>().read() };
                    vector[piece * PIECE..][..PIECE].copy_from_slice(&lanes);
                }
                vector
            }

            #[inline(always)]
            unsafe fn store_pieces(self, vector: Self::Vector, to: [*mut $t; 2]) {
                const PIECE: usize = $lanes / $pieces;
                for piece in 0..$pieces {
                    for lane in 0..PIECE {
                        // SAFETY: the caller promises that many writable elements of each piece.
                        unsafe { *to[piece].add(lane) = vector[piece * PIECE + lane] };
                    }
                }
            }

            #[inline(always)]
            unsafe fn add_pieces(self, vector: Self::Vector, to: [*mut $t; 2]) {
                const PIECE: usize = $lanes / $pieces;
                for piece in 0..$pieces {
                    for lane in 0..PIECE {
                        // SAFETY: the caller promises that many readable and writable elements of each piece.
                        unsafe { *to[piece].add(lane) += vector[piece * PIECE + lane] };
                    }
                }
            }

            #[inline(always)]
            fn mask(self, lanes: std::ops::Range<usize>) -> Self::Mask {
                std::array::from_fn(|lane| lanes.contains(&lane))
            }

            #[inline(always)]
            unsafe fn load_masked(self, from: *const $t, mask: Self::Mask) -> Self::Vector {
                // SAFETY: the caller promises the lanes in the mask.
                std::array::from_fn(|lane| if mask[lane] { unsafe { from.wrapping_add(lane).read() } } else { 0.0 })
            }

            #[inline(always)]
            unsafe fn store_masked(self, vector: Self::Vector, to: *mut $t, mask: Self::Mask) {
                for lane in 0..$lanes {
                    if mask[lane] {
                        // SAFETY: the caller promises the lanes in the mask.
                        unsafe { to.wrapping_add(lane).write(vector[lane]) };
                    }
                }
            }

            #[inline(always)]
            fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
                let mut sum = c;
                for lane in 0..$lanes {
                    sum[lane] = $mul_add(a[lane], b[lane], c[lane]);
                }
                sum
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
            fn where_equal(
                self,
                a: Self::Vector,
                b: Self::Vector,
                then: Self::Vector,
                otherwise: Self::Vector,
            ) -> Self::Vector {
                let mut chosen = otherwise;
                for lane in 0..$lanes {
                    chosen[lane] = if a[lane] == b[lane] { then[lane] } else { otherwise[lane] };
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
            unsafe fn load_u32(self, from: *const u32) -> Self::Vector {
                // SAFETY: the caller promises that many readable numbers.
                std::array::from_fn(|lane| unsafe { from.add(lane).read() } as i32 as $t)
            }

            #[inline(always)]
            unsafe fn store_u32(self, vector: Self::Vector, to: *mut u32) {
                for lane in 0..$lanes {
                    // SAFETY: the caller promises that many writable numbers.
                    unsafe { to.add(lane).write(vector[lane] as i32 as u32) };
                }
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

#[cfg(test)]
pub(super) use arrays;

/// Rounded twice.
#[inline(always)]
fn mul_add<T: Scalar>(a: T, b: T, c: T) -> T {
    c + a * b
}

arrays!(Portable, f32, BYTES / size_of::<f32>(), 1, mul_add);
arrays!(Portable, f64, BYTES / size_of::<f64>(), 1, mul_add);
