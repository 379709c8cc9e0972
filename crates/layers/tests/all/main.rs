//! The tests of `layers`, in one program: a program for each file would compile everything as often.

mod agreement;
mod common;
mod golden;
mod gradcheck_controls;
mod gradients;
mod phases;
mod refusals;
mod settings;
