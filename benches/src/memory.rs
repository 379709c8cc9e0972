//! The most memory that this process holds at a time.

use std::fs;

/// A stretch of the program whose largest resident memory is of interest: of the whole process, its code and what the allocator
/// kept from before included.
///
/// ```
/// use overlay_benches::memory::PeakMemory;
/// if let Some(peak) = PeakMemory::begin() {
///     let before = peak.bytes().expect("Linux says");
///     let held = std::hint::black_box(vec![1u8; 64 << 20]);
///     drop(held);
///     assert!(peak.bytes().expect("Linux says") >= before + (60 << 20));
/// }
/// ```
#[derive(Debug)]
pub struct PeakMemory(());

impl PeakMemory {
    /// Forgets the peak so far; `None` where the system cannot, which only Linux can.
    #[must_use]
    pub fn begin() -> Option<Self> {
        fs::write("/proc/self/clear_refs", "5").ok().map(|()| Self(()))
    }

    /// The peak since then.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        high_water_mark(&fs::read_to_string("/proc/self/status").ok()?)
    }
}

/// `VmHWM` in bytes: Linux writes it in kibibytes.
fn high_water_mark(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    value.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_read_among_others() {
        assert_eq!(high_water_mark("VmPeak:\t  900 kB\nVmHWM:\t   12 kB\nVmRSS:\t 3 kB\n"), Some(12 << 10));
        for other in ["", "VmHWM:\t 12", "VmHWM:\t many kB", "VmRSS:\t 3 kB"] {
            assert_eq!(high_water_mark(other), None, "{other:?}");
        }
    }
}
