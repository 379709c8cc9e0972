#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]
#![deny(clippy::print_stdout)]

mod activate;
mod arena;
mod avg_pool2d;
mod batch_norm2d;
mod conv2d;
mod dense;
mod dropout;
mod error;
mod flatten;
pub mod gradcheck;
mod init;
mod layer;
mod max_pool2d;
mod pool2d;
pub mod random;
mod size;
mod solo;
mod views;
mod workroom;

pub use activate::Activate;
pub use arena::{Arena, Layout, Tensor, TensorSpec, split, split_mut};
pub use avg_pool2d::AvgPool2d;
pub use batch_norm2d::{BatchNorm2d, BatchNorm2dBuilder, Normalized};
pub use conv_kernels::{Activation, PackFor, Padding, Scalar, vectorized};
pub use conv2d::{Conv2d, Conv2dBuilder, Conv2dMemo};
pub use dense::{Dense, DenseBuilder};
pub use dropout::{Dropout, Mask};
pub use error::LayerError;
pub use flatten::Flatten;
pub use init::Init;
pub use layer::{Layer, Pass, Phase, Scope, State};
pub use max_pool2d::MaxPool2d;
pub use pool2d::Pool2dBuilder;
pub use size::Size;
pub use solo::Solo;
