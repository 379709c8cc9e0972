//! Random numbers that depend on what they are for, and on nothing else.
//!
//! Every use has a stream of its own, keyed by (seed, purpose, name, epoch, sample). So no result depends on the number of
//! threads or on the order in which work is done, no two layers share a mask, and a run that was stopped and resumed draws
//! the same numbers. The generator is ChaCha with 8 rounds: the same stream on every platform.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// The root of all random numbers of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    seed: u64,
}

impl Key {
    /// The key of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The stream for one purpose (`"init"`, `"dropout"`, `"shuffle"`, …) of one named thing, in one epoch, for one sample.
    ///
    /// ```
    /// use layers::random::Key;
    /// let key = Key::new(42);
    /// let mut mask = key.stream("dropout", "drop1", 3, 77);
    /// assert_eq!(mask.uniform(), key.stream("dropout", "drop1", 3, 77).uniform());
    /// assert_ne!(mask.uniform(), key.stream("dropout", "drop2", 3, 77).uniform());
    /// ```
    #[must_use]
    pub fn stream(self, purpose: &str, name: &str, epoch: u64, sample: u64) -> Stream {
        let mut seed = [0; 32];
        let words = [self.seed, tag(purpose, name), epoch, sample];
        for (bytes, word) in seed.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Stream { rng: ChaCha8Rng::from_seed(seed), spare: None }
    }
}

/// FNV-1a over both words: 64 bits that tell one use from another.
fn tag(purpose: &str, name: &str) -> u64 {
    let bytes = purpose.bytes().chain([0]).chain(name.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Stream {
    rng: ChaCha8Rng,
    spare: Option<f64>,
}

impl Stream {
    /// The next 32 random bits.
    pub fn bits(&mut self) -> u32 {
        self.rng.next_u32()
    }

    /// As many times the next 32 random bits, faster than one by one.
    ///
    /// ```
    /// use layers::random::Key;
    /// let [mut stream, mut twin] = [(); 2].map(|()| Key::new(1).stream("example", "", 0, 0));
    /// let mut words = [0; 100];
    /// stream.fill_bits(&mut words);
    /// assert!(words.iter().all(|&word| word == twin.bits()));
    /// assert_eq!(stream.bits(), twin.bits());
    /// ```
    pub fn fill_bits(&mut self, words: &mut [u32]) {
        let mut bytes = [0; 256];
        for words in words.chunks_mut(bytes.len() / 4) {
            let bytes = &mut bytes[..4 * words.len()];
            self.rng.fill_bytes(bytes);
            for (word, &bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
                *word = u32::from_le_bytes(bytes);
            }
        }
    }

    /// Uniform in [0, 1), a multiple of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Normal with mean 0 and standard deviation 1 (Box and Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        // 1 - u lies in (0, 1]: its logarithm is finite
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.uniform()).sin_cos();
        self.spare = Some(radius * sin);
        radius * cos
    }

    /// Uniform in 0..n, without bias.
    ///
    /// # Panics
    /// When `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "there is no number below 0");
        // accept only draws below the largest multiple of n
        let limit = u64::MAX - u64::MAX % n;
        loop {
            let draw = self.rng.next_u64();
            if draw < limit {
                return draw % n;
            }
        }
    }

    /// A random order, every one equally likely (Fisher and Yates).
    pub fn shuffle<X>(&mut self, items: &mut [X]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written down once: a change here would change every trained network.
    #[test]
    fn streams_are_pinned() {
        let mut stream = Key::new(0).stream("init", "conv1", 0, 0);
        let first: [u32; 3] = std::array::from_fn(|_| stream.bits());
        assert_eq!(first, PINNED);
    }
    const PINNED: [u32; 3] = [920_658_054, 868_254_416, 2_208_473_713];

    #[test]
    fn normal_has_mean_0_and_deviation_1() {
        let mut stream = Key::new(7).stream("test", "", 0, 0);
        let n = 100_000;
        let draws: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(n);
        let variance = draws.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(n);
        // five standard errors
        assert!(mean.abs() < 5.0 / f64::from(n).sqrt(), "mean {mean}");
        assert!((variance - 1.0).abs() < 5.0 * (2.0 / f64::from(n)).sqrt(), "variance {variance}");
    }

    #[test]
    fn below_reaches_every_number_evenly() {
        let mut stream = Key::new(8).stream("test", "", 0, 0);
        let mut counts = [0; 7];
        for _ in 0..7000 {
            counts[stream.below(7) as usize] += 1;
        }
        assert!(counts.iter().all(|&c| (850..1150).contains(&c)), "{counts:?}");
    }

    #[test]
    fn shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        Key::new(9).stream("shuffle", "", 0, 0).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
