//! The tests of `mnist-io`, in one program.

mod folders;
mod hostile;
mod round_trip;
#[cfg(feature = "sample")]
mod sample;
mod whole;
