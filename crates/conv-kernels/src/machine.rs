//! What this machine can do, as the kernels see it: work whose duration is a limit for any convolution.
//!
//! Nothing is timed here. A benchmark times a call, and divides what the call did by its duration.

use std::hint::black_box;

use crate::simd::Isa;
use crate::simd::machine::CHAINS;
use crate::{KernelError, Scalar};

/// The vectors that kernels use on this CPU.
///
/// ```
/// use conv_kernels::machine::Machine;
/// use std::time::Instant;
///
/// let machine = Machine::detect()?;
/// let start = Instant::now();
/// let flops = machine.multiply_adds::<f32>(100_000);
/// println!("{:.1} GFLOP/s on one thread", flops as f64 / start.elapsed().as_secs_f64() / 1e9);
/// # Ok::<(), conv_kernels::KernelError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Machine(Isa);

impl Machine {
    /// The best instruction set of this CPU, or the one that the environment variable `CONV_ISA` asks for.
    ///
    /// # Errors
    ///
    /// [`KernelError::InstructionSet`] if `CONV_ISA` names a set that is not available.
    ///
    /// ```
    /// assert!(conv_kernels::machine::Machine::detect().is_ok());
    /// ```
    pub fn detect() -> Result<Self, KernelError> {
        Isa::detect().map(Self)
    }

    /// The names that `CONV_ISA` may have on this CPU, the best set first.
    ///
    /// ```
    /// use conv_kernels::machine::Machine;
    /// assert!(Machine::available().contains(&"portable"));
    /// ```
    #[must_use]
    pub fn available() -> Vec<&'static str> {
        Isa::available().map(Isa::name).collect()
    }

    /// The set's name: `portable`, `avx2`, or what else [`Machine::available`] lists.
    ///
    /// ```
    /// use conv_kernels::machine::Machine;
    /// let machine = Machine::detect()?;
    /// assert!(Machine::available().contains(&machine.instruction_set()));
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    pub fn instruction_set(self) -> &'static str {
        self.0.name()
    }

    /// Multiplies and adds in registers on the calling thread, `rounds` times in each of 12 independent chains of
    /// vectors, and returns how many floating-point operations that was. No kernel can do them faster.
    ///
    /// ```
    /// let machine = conv_kernels::machine::Machine::detect()?;
    /// assert_eq!(machine.multiply_adds::<f64>(20), 2 * machine.multiply_adds::<f64>(10));
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    pub fn multiply_adds<T: Scalar>(self, rounds: u64) -> u64 {
        // below 1, so that chains converge instead of running off to infinity
        black_box(T::multiply_adds(self.0, black_box(rounds), black_box(T::of(0.5))));
        2 * rounds * (CHAINS * self.0.lanes::<T>()) as u64
    }

    /// The sum of `numbers`, read in order, `times` times, on the calling thread, as fast as the memory delivers them.
    ///
    /// ```
    /// let machine = conv_kernels::machine::Machine::detect()?;
    /// assert_eq!(machine.sum(&[1.0f32; 1000], 3), 3000.0);
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    pub fn sum<T: Scalar>(self, numbers: &[T], times: usize) -> T {
        T::sum_of(self.0, numbers, times)
    }
}
