#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]
#![deny(clippy::print_stdout)]

pub mod augment;
mod builder;
pub mod cost;
mod data;
mod erased;
mod error;
mod evaluate;
mod execute;
pub mod metrics;
pub mod observe;
pub mod optim;
mod packed;
mod save;
mod schedule;
mod sequential;
mod spec;
mod summary;
mod train;
mod way;
mod workspace;

pub use builder::SequentialBuilder;
pub use cost::{Cost, Targets};
pub use data::{Data, Images, Scaling};
pub use error::NetError;
pub use evaluate::Evaluation;
pub use layers::{Activation, Init, Padding, Scalar, Size};
pub use observe::{Flow, Observer};
pub use schedule::{Position, Schedule, ScheduleError};
pub use sequential::Sequential;
pub use spec::{LayerSpec, NamedLayer, NetSpec};
pub use summary::Summary;
pub use train::{Checkpoints, History, Trainer};
pub use workspace::Workspace;
