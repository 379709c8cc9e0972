#![doc = include_str!("../README.md")]
#![deny(clippy::print_stdout)]

// Helpers of the tests in `tests/` serve the unit tests too, and name the crate from outside.
#[cfg(test)]
extern crate self as conv_kernels;

mod conv;
mod error;
mod gemm;
pub mod machine;
mod norm;
mod plan;
mod pool;
pub mod reference;
mod scalar;
mod scratch;
mod shape;
mod signal;
mod simd;
mod sweep;
mod threads;
mod vecmath;

pub use error::KernelError;
pub use gemm::gemm;
pub use norm::{BatchNorm, Moments, Normalized, Statistics};
pub use plan::{Algorithm, Conv2dPlan, Epilogue, Gradients, Options, PackFor, Weights};
pub use pool::{Pool2dShape, avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward};
pub use scalar::{Element, Scalar};
pub use scratch::Scratch;
pub use shape::{Conv2dShape, Conv2dShapeBuilder, Padding};
pub use signal::{
    Mode, convolve, convolve_into, convolve2d, convolve2d_into, correlate, correlate_into, correlate2d,
    correlate2d_into, output_shape,
};
pub use threads::pool;
pub use vecmath::{Activation, log_softmax, softmax, vectorized};
