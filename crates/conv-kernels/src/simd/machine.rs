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

/// The sum of all `numbers`, read so many times.
pub(crate) struct Sum<'a, T> {
    pub(crate) numbers: &'a [T],
    pub(crate) times: usize,
    pub(crate) sum: &'a mut T,
}

impl<T: Scalar> Op<T> for Sum<'_, T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(self, simd: S) {
        let mut chains = [simd.splat(T::ZERO); CHAINS];
        let mut rest = T::ZERO;
        for _ in 0..self.times {
            let blocks = self.numbers.chunks_exact(CHAINS * S::LANES);
            let vectors = blocks.remainder().chunks_exact(S::LANES);
            rest = vectors.remainder().iter().fold(rest, |rest, &number| rest + number);
            for block in blocks {
                for (index, chain) in chains.iter_mut().enumerate() {
                    // SAFETY: a block holds that many vectors.
                    let vector = unsafe { simd.load(block.as_ptr().add(index * S::LANES)) };
                    *chain = simd.add(*chain, vector);
                }
            }
            for (chain, vector) in chains.iter_mut().zip(vectors) {
                // SAFETY: it has that many elements.
                *chain = simd.add(*chain, unsafe { simd.load(vector.as_ptr()) });
            }
        }
        *self.sum = rest + total(simd, chains);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Isa;

    #[test]
    fn sums_are_of_all_numbers() {
        for isa in Isa::available() {
            for len in (0..300).step_by(7) {
                let numbers: Vec<f32> = (0..len).map(|number| number as f32).collect();
                let mut sum = f32::NAN;
                <f32 as Scalar>::run(isa, Sum { numbers: &numbers, times: 2, sum: &mut sum });
                assert_eq!(sum, (len * (len - 1).max(0)) as f32);
            }
        }
    }

    #[test]
    fn chains_of_multiply_adds_converge() {
        for isa in Isa::available() {
            let mut sum = f64::NAN;
            <f64 as Scalar>::run(isa, MultiplyAdds { rounds: 100, factor: 0.5, sum: &mut sum });
            assert_eq!(sum, (CHAINS * isa.lanes::<f64>()) as f64);
        }
    }
}
