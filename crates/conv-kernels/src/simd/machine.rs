//! What measures the machine itself: arithmetic without memory, and memory without arithmetic.

use super::{Op, Simd};
use crate::Scalar;

/// Independent chains of a measurement: enough to hide the latency of an addition, and they fit in registers.
pub(crate) const CHAINS: usize = 12;

/// `rounds` multiply-adds in each lane of each chain, all of which end in `sum`.
pub(crate) struct MultiplyAdds<'a, T> {
    pub(crate) rounds: u64,
    pub(crate) factor: T,
    pub(crate) sum: &'a mut T,
}

impl<T: Scalar> Op<T> for MultiplyAdds<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let factor = simd.splat(self.factor);
        let mut chains = [factor; CHAINS];
        for _ in 0..self.rounds {
            for chain in &mut chains {
                *chain = simd.mul_add(*chain, factor, factor);
            }
        }
        *self.sum = total(simd, chains);
    }
}

/// The sum of all `numbers`.
pub(crate) struct Sum<'a, T> {
    pub(crate) numbers: &'a [T],
    pub(crate) sum: &'a mut T,
}

impl<T: Scalar> Op<T> for Sum<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let mut chains = [simd.splat(T::ZERO); CHAINS];
        let blocks = self.numbers.chunks_exact(CHAINS * S::LANES);
        let rest = blocks.remainder();
        for block in blocks {
            for (index, chain) in chains.iter_mut().enumerate() {
                // SAFETY: a block holds that many vectors.
                let vector = unsafe { simd.load(block.as_ptr().add(index * S::LANES)) };
                *chain = simd.add(*chain, vector);
            }
        }
        *self.sum = rest.iter().fold(total(simd, chains), |sum, &number| sum + number);
    }
}

/// The sum of all lanes of all chains.
#[inline(always)]
fn total<T: Scalar, S: Simd<T>>(simd: S, chains: [S::Vector; CHAINS]) -> T {
    let mut lanes = [T::ZERO; super::MAX_VECTOR];
    let sum = chains.into_iter().fold(simd.splat(T::ZERO), |sum, chain| simd.add(sum, chain));
    // SAFETY: no vector has more than `MAX_VECTOR` lanes.
    unsafe { simd.store(sum, lanes.as_mut_ptr()) };
    lanes.into_iter().fold(T::ZERO, |sum, lane| sum + lane)
}
