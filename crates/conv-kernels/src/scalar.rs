//! The element types: what the kernels can add and multiply.

use std::cell::RefCell;
use std::fmt::Debug;

use ndarray::{ArrayView3, ArrayViewD, ArrayViewMut3, ArrayViewMutD, Axis, NdFloat};

use crate::norm::Normalizing;
use crate::plan::Pass;
use crate::pool::Pooling;
use crate::signal::{planes, slide};
use crate::simd::{Isa, Op, Set, Simd, machine, product};
use crate::{BatchNorm, Conv2dPlan, KernelError, Pool2dShape, Scratch, gemm};

// The hidden methods below hold the kernels: as methods of a concrete type they are compiled here, once, and not again in
// every crate that calls a generic function of this one.

mod sealed {
    /// Keeps the two traits closed: kernels rely on how each element type rounds and wraps.
    #[expect(unnameable_types, reason = "the seal of the sealed-trait pattern")]
    pub trait Sealed {}
}

/// A type that [`correlate`](crate::correlate) and [`convolve`](crate::convolve) work on: `f32`, `f64`, `i32`, `i64`.
///
/// Integers wrap on overflow, as numpy's do.
///
/// ```
/// use conv_kernels::Element;
/// assert_eq!(i32::MAX.mul_add_to(2, 3), i32::MIN + 5);
/// assert_eq!(1.5f64.mul_add_to(2.0, 3.0), 7.5);
/// ```
pub trait Element: Copy + Debug + Default + PartialEq + Send + Sync + sealed::Sealed + 'static {
    /// The additive identity.
    const ZERO: Self;

    /// `self + a·b`: for floats rounded twice (once a product, once a sum), for integers wrapping.
    #[must_use]
    fn mul_add_to(self, a: Self, b: Self) -> Self;

    /// Fills `out` with the window of the full correlation that begins at `start`.
    #[doc(hidden)]
    fn slide(
        first: ArrayViewD<'_, Self>,
        second: ArrayViewD<'_, Self>,
        start: Vec<usize>,
        out: ArrayViewMutD<'_, Self>,
    ) -> Result<(), KernelError>;
}

/// A real number that networks compute with: `f32` or `f64`.
///
/// Everything that ndarray's [`NdFloat`] offers (arithmetic, `exp`, `sqrt`, …), and conversions for constants.
///
/// ```
/// use conv_kernels::Scalar;
/// fn half<T: Scalar>(x: T) -> T {
///     x * T::of(0.5)
/// }
/// assert_eq!(half(3.0f32), 1.5);
/// assert_eq!(<f64 as Scalar>::NAME, "f64");
/// ```
pub trait Scalar: Element + NdFloat {
    /// The type's name in messages and files.
    const NAME: &'static str;

    /// The nearest value to `v`.
    #[must_use]
    fn of(v: f64) -> Self;

    /// The value as `f64`, exactly.
    #[must_use]
    fn as_f64(self) -> f64;

    /// `C ← α A B + β C` for each of several B and C, or `C ← α Σ A B + β C` over several A and B; and then the bias, one
    /// number a row of C, on the calling thread. [`gemm`](crate::gemm()) is the checked, parallel one.
    #[doc(hidden)]
    fn product(
        isa: Isa,
        alpha: Self,
        a: ArrayView3<'_, Self>,
        b: ArrayView3<'_, Self>,
        beta: Self,
        bias: Option<&[Self]>,
        c: ArrayViewMut3<'_, Self>,
    );

    /// Runs one pass of a plan over `batch` images, the lengths checked.
    #[doc(hidden)]
    fn convolution(plan: &Conv2dPlan<Self>, batch: usize, pass: Pass<'_, Self>, scratch: &mut Scratch<Self>);

    /// Runs one pass of pooling over `batch` images, the lengths checked.
    #[doc(hidden)]
    fn pooling(shape: &Pool2dShape, batch: usize, isa: Isa, pass: Pooling<'_, Self>);

    /// Runs one pass of batch normalization over `batch` images, the lengths checked.
    #[doc(hidden)]
    fn normalization(norm: &BatchNorm<'_, Self>, batch: usize, isa: Isa, pass: Normalizing<'_, Self>);

    /// Lends this thread's own scratch to `work`.
    #[doc(hidden)]
    fn with_scratch(len: usize, work: impl FnOnce(&mut [Self]));

    /// Runs a kernel with the vectors of an instruction set.
    #[doc(hidden)]
    fn run(isa: Isa, op: impl Op<Self>) {
        isa.run(op);
    }

    /// The same where the set is known.
    #[doc(hidden)]
    fn run_with(set: impl Set, op: impl Op<Self>);

    /// Arithmetic for its own sake: [`Machine::multiply_adds`](crate::machine::Machine::multiply_adds).
    #[doc(hidden)]
    fn multiply_adds(isa: Isa, rounds: u64, factor: Self) -> Self;

    /// [`Machine::sum`](crate::machine::Machine::sum).
    #[doc(hidden)]
    fn sum_of(isa: Isa, numbers: &[Self], times: usize) -> Self;
}

macro_rules! float {
    ($t:ident, $product:path) => {
        impl sealed::Sealed for $t {}
        impl Element for $t {
            const ZERO: Self = 0.0;
            #[inline(always)]
            fn mul_add_to(self, a: Self, b: Self) -> Self {
                self + a * b
            }
            fn slide(
                first: ArrayViewD<'_, Self>,
                second: ArrayViewD<'_, Self>,
                start: Vec<usize>,
                out: ArrayViewMutD<'_, Self>,
            ) -> Result<(), KernelError> {
                planes::correlate(first, second, start, out)
            }
        }
        impl Scalar for $t {
            const NAME: &'static str = stringify!($t);
            #[inline(always)]
            fn of(v: f64) -> Self {
                v as $t
            }
            #[inline(always)]
            fn as_f64(self) -> f64 {
                f64::from(self)
            }
            fn product(
                isa: Isa,
                alpha: Self,
                a: ArrayView3<'_, Self>,
                b: ArrayView3<'_, Self>,
                beta: Self,
                bias: Option<&[Self]>,
                mut c: ArrayViewMut3<'_, Self>,
            ) {
                if isa.is_fast() {
                    return gemm::serial(isa, alpha, a, b, beta, bias, c);
                }
                for (index, b) in b.outer_iter().enumerate() {
                    // The only A, or the only C, is that of all B.
                    let [a_index, c_index] = [a.len_of(Axis(0)), c.len_of(Axis(0))].map(|count| index.min(count - 1));
                    let beta = if c_index < index { 1.0 } else { beta };
                    $product(alpha, a.index_axis(Axis(0), a_index), b, beta, c.index_axis_mut(Axis(0), c_index));
                }
                gemm::add_bias(bias, c);
            }
            fn convolution(plan: &Conv2dPlan<Self>, batch: usize, pass: Pass<'_, Self>, scratch: &mut Scratch<Self>) {
                plan.run(batch, pass, scratch);
            }
            fn pooling(shape: &Pool2dShape, batch: usize, isa: Isa, pass: Pooling<'_, Self>) {
                pass.run(shape, batch, isa);
            }
            fn normalization(norm: &BatchNorm<'_, Self>, batch: usize, isa: Isa, pass: Normalizing<'_, Self>) {
                pass.run(norm, batch, isa);
            }
            fn with_scratch(len: usize, work: impl FnOnce(&mut [Self])) {
                thread_local! {
                    static SCRATCH: RefCell<Scratch<$t>> = const { RefCell::new(Scratch::new()) };
                }
                SCRATCH.with_borrow_mut(|scratch| work(scratch.lend(len)));
            }
            fn run_with(set: impl Set, op: impl Op<Self>) {
                Simd::<$t>::run(set, op);
            }
            fn multiply_adds(isa: Isa, rounds: u64, factor: Self) -> Self {
                let mut sum = 0.0;
                Self::run(isa, machine::MultiplyAdds { rounds, factor, sum: &mut sum });
                sum
            }
            fn sum_of(isa: Isa, numbers: &[Self], times: usize) -> Self {
                let mut sum = 0.0;
                Self::run(isa, machine::Sum { numbers, times, sum: &mut sum });
                sum
            }
        }
    };
}

macro_rules! integer {
    ($t:ident) => {
        impl sealed::Sealed for $t {}
        impl Element for $t {
            const ZERO: Self = 0;
            #[inline(always)]
            fn mul_add_to(self, a: Self, b: Self) -> Self {
                self.wrapping_add(a.wrapping_mul(b))
            }
            fn slide(
                first: ArrayViewD<'_, Self>,
                second: ArrayViewD<'_, Self>,
                start: Vec<usize>,
                out: ArrayViewMutD<'_, Self>,
            ) -> Result<(), KernelError> {
                slide::correlate(first, second, start, out);
                Ok(())
            }
        }
    };
}

float!(f32, product::sgemm);
float!(f64, product::dgemm);
integer!(i32);
integer!(i64);
