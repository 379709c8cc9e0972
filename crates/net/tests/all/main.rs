//! The tests of `net`, in one program: a program for each file would compile everything as often.

mod augment;
mod build;
mod cost;
mod divergence;
mod ema;
mod gradients;
mod keep_best;
mod metrics;
mod optim;
mod resuming;
mod saving;
mod schedule;
mod stages;
mod stopping;
mod training;
