//! Every operation of this crate by its definition, in plain loops.
//!
//! Slow on purpose: these functions are to be read, and to be compared with. The tests hold each fast kernel against
//! them. Results that are sums add their terms in the order in which the loops below meet them.
//!
//! ```
//! use conv_kernels::{Mode, correlate, reference};
//! use ndarray::array;
//! let (first, second) = (array![0.5, 1.5, 2.5, 3.5], array![0.75, -0.25]);
//! // these sums are exact, so: not nearly equal, but equal
//! assert_eq!(correlate(&first, &second, Mode::Full)?, reference::correlate(&first, &second, Mode::Full)?);
//! # Ok::<(), conv_kernels::KernelError>(())
//! ```

mod conv2d;
mod gemm;
mod norm;
mod pool;
mod signal;

pub(crate) use conv2d::underlay;
pub use conv2d::{conv2d_bias_gradient, conv2d_forward, conv2d_input_gradient, conv2d_weight_gradient};
pub use gemm::gemm;
pub use norm::{batch_norm, batch_norm_backward};
pub use pool::{avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward};
pub use signal::{convolve, correlate};
