//! The most that this machine does, in arithmetic and in reading: what shares of peak are shares of.
//!
//! Other work on the machine makes any one measurement too low, never too high. So the peak is the best of many windows
//! that are short enough to fall between disturbances.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use conv_kernels::Scalar;
use conv_kernels::machine::Machine;
use rayon::ThreadPool;

/// A window lasts about this long.
const WINDOW: Duration = Duration::from_micros(300);

/// Windows of one measurement.
const WINDOWS: usize = 250;

/// Bytes; also more elements than a slice has to be moved by for its alignment.
const CACHE_LINE: usize = 64;

/// Of what is larger, a window reads the next part of this size: so that it stays short however slow the memory.
const PART_BYTES: usize = 4 << 20;

/// Multiply-adds of all threads of the pool at once, in FLOP/s.
pub fn fma_peak<T: Scalar>(machine: Machine, pool: &ThreadPool) -> f64 {
    let rounds = rounds_of_a_window(1000, |rounds| {
        machine.multiply_adds::<T>(rounds);
    });
    best_of_windows(pool, |_, _| machine.multiply_adds::<T>(rounds) as f64)
}

/// The cycles of the clock in a second, from steps that wait for each other.
///
/// Each step is a rotation, an exclusive or and an addition of integers, each of which takes one cycle on every CPU
/// of the last years, and none of which a compiler can merge with the next.
#[must_use]
pub fn clock() -> f64 {
    const CYCLES: f64 = 3.0;
    let run = |steps: u64| {
        let constant = black_box(0x9e37_79b9_7f4a_7c15_u64);
        let chain = |x: u64, _| (x.rotate_left(13) ^ constant).wrapping_add(constant);
        black_box((0..black_box(steps)).fold(1, chain));
    };
    let steps = rounds_of_a_window(1000, run);
    let best = (0..WINDOWS).map(|_| seconds(|| run(steps)).0).fold(f64::INFINITY, f64::min);
    CYCLES * steps as f64 / best
}

/// Bytes a second that all threads of the pool read at once, each from `bytes` of its own.
pub fn read_bandwidth(machine: Machine, pool: &ThreadPool, bytes: usize) -> f64 {
    let len = bytes / size_of::<f32>();
    let buffers = pool.broadcast(|_| vec![1.0f32; len + CACHE_LINE]);
    let part_len = len.min(PART_BYTES / size_of::<f32>());
    let parts = len / part_len;
    let read = |thread: usize, window: usize, times: u64| {
        // no load shall cross the border of two cache lines
        let start = buffers[thread].as_ptr().align_offset(CACHE_LINE) + window % parts * part_len;
        black_box(machine.sum(&buffers[thread][start..][..part_len], times as usize));
    };
    let times = if parts == 1 { rounds_of_a_window(1, |times| read(0, 0, times)) } else { 1 };
    best_of_windows(pool, |thread, window| {
        read(thread, window, times);
        times as f64 * (part_len * size_of::<f32>()) as f64
    })
}

/// How often to do what takes `run(rounds)` long so that it fills a window: `least`, or 2, 4, 8, … times that.
fn rounds_of_a_window(least: u64, run: impl Fn(u64)) -> u64 {
    let best_of_three = |rounds| (0..3).map(|_| seconds(|| run(rounds)).0).fold(f64::INFINITY, f64::min);
    let mut rounds = least;
    while best_of_three(rounds) < WINDOW.as_secs_f64() {
        rounds *= 2;
    }
    rounds
}

/// The most work a second that all threads of the pool reach together: each window starts on all of them at once, and
/// counts the sum of their rates. `work` gets the thread's number and the window's, and returns how much it did.
pub fn best_of_windows(pool: &ThreadPool, work: impl Fn(usize, usize) -> f64 + Sync) -> f64 {
    let start = Barrier::new(pool.current_num_threads());
    let rates = pool.broadcast(|thread| {
        let rates = (0..WINDOWS).map(|window| {
            start.wait();
            let (seconds, done) = seconds(|| work(thread.index(), window));
            done / seconds
        });
        rates.collect::<Vec<_>>()
    });
    (0..WINDOWS).map(|window| rates.iter().map(|rates| rates[window]).sum()).fold(0.0, f64::max)
}

/// How long `work` took, and what it returned.
pub fn seconds<R>(work: impl FnOnce() -> R) -> (f64, R) {
    let start = Instant::now();
    let result = work();
    (start.elapsed().as_secs_f64(), result)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    #[test]
    fn rates_of_threads_add_up() {
        let pool = conv_kernels::pool(3).unwrap();
        let rate = |threads: Range<usize>| {
            let work = |thread, _| {
                std::thread::sleep(Duration::from_micros(500));
                if threads.contains(&thread) { 1.0 } else { 0.0 }
            };
            best_of_windows(&pool, work)
        };
        let (one, three) = (rate(1..2), rate(0..3));
        assert!(2.0 * one < three && three < 5.0 * one, "{one} {three}");
    }

    #[test]
    fn a_clock_ticks_billions_of_times_a_second() {
        assert!((0.1e9..20e9).contains(&clock()));
    }

    #[test]
    fn memory_is_read() {
        let machine = Machine::detect().unwrap();
        assert!(read_bandwidth(machine, &conv_kernels::pool(2).unwrap(), 16 << 10) > 1e8);
    }

    #[test]
    fn the_peak_is_above_a_flop_a_cycle() {
        let machine = Machine::detect().unwrap();
        assert!(fma_peak::<f32>(machine, &conv_kernels::pool(1).unwrap()) > 1e9);
    }
}
