//! The most arithmetic that this machine does: what shares of peak are shares of.
//!
//! Other work on the machine makes any one measurement too low, never too high. So the peak is the best of many windows
//! that are short enough to fall between disturbances.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use conv_kernels::Scalar;
use conv_kernels::machine::Machine;
use rayon::ThreadPool;

/// A window lasts about this long.
const WINDOW: Duration = Duration::from_micros(300);

/// Windows of one measurement.
const WINDOWS: usize = 250;

/// Multiply-adds of all threads of the pool at once, in FLOP/s.
pub fn fma_peak<T: Scalar>(machine: Machine, pool: &ThreadPool) -> f64 {
    let mut rounds = 1000;
    while seconds(|| machine.multiply_adds::<T>(rounds)).0 < WINDOW.as_secs_f64() {
        rounds *= 2;
    }
    best_of_windows(pool, || {
        let (seconds, flops) = seconds(|| machine.multiply_adds::<T>(rounds));
        flops as f64 / seconds
    })
}

/// The most that all threads of the pool reach together: each window starts on all of them at once, and counts the sum
/// of their rates.
pub fn best_of_windows(pool: &ThreadPool, window: impl Fn() -> f64 + Sync) -> f64 {
    let start = Barrier::new(pool.current_num_threads());
    let rates = pool.broadcast(|_| {
        let rates = (0..WINDOWS).map(|_| {
            start.wait();
            window()
        });
        rates.collect::<Vec<_>>()
    });
    (0..WINDOWS).map(|index| rates.iter().map(|rates| rates[index]).sum()).fold(0.0, f64::max)
}

/// How long `work` took, and what it returned.
pub fn seconds<R>(work: impl FnOnce() -> R) -> (f64, R) {
    let start = Instant::now();
    let result = work();
    (start.elapsed().as_secs_f64(), result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_threads_add_up() {
        let pool = conv_kernels::pool(3).unwrap();
        assert_eq!(best_of_windows(&pool, || 2.0), 6.0);
    }

    #[test]
    fn the_peak_is_above_a_flop_a_cycle() {
        let machine = Machine::detect().unwrap();
        assert!(fma_peak::<f32>(machine, &conv_kernels::pool(1).unwrap()) > 1e9);
    }
}
