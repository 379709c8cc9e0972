//! What all tests share: the instruction sets, and slices whose neighbours are watched.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::env;
use std::ops::{Deref, DerefMut};
use std::process::Command;

use conv_kernels::Scalar;
use conv_kernels::machine::Machine;

/// Tells a test binary that another one has started it.
const AGAIN: &str = "CONV_TESTS_AGAIN";

/// The instruction set that is used here.
pub(crate) fn instruction_set() -> &'static str {
    let set = Machine::detect().expect("CONV_ISA names a set that the CPU has").instruction_set();
    assert!(env::var("CONV_ISA").ok().is_none_or(|forced| forced == set), "CONV_ISA decides");
    set
}

/// Whether it rounds `a·b + c` once.
pub(crate) fn fuses() -> bool {
    instruction_set() != "portable"
}

/// Runs this test binary once more for each other instruction set that the CPU has; there it does nothing.
pub(crate) fn again_with_each_instruction_set() {
    again(&[]);
}

/// The same with arguments.
pub(crate) fn again(arguments: &[&str]) {
    if env::var_os(AGAIN).is_some() {
        return;
    }
    let default = instruction_set();
    for set in Machine::available().into_iter().filter(|&set| set != default) {
        let mut again = Command::new(env::current_exe().expect("a test has a path"));
        let output = again.args(arguments).env("CONV_ISA", set).env(AGAIN, "1").output().expect("it runs");
        assert!(output.status.success(), "under {set}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

/// Elements before and after a slice.
const MARGIN: usize = 32;

/// Room for results between canaries, which must stay as they are.
pub(crate) struct BetweenCanaries<T> {
    all: Vec<T>,
    canary: T,
}

impl<T: Copy + PartialEq> BetweenCanaries<T> {
    /// `len` elements that hold `start`.
    pub(crate) fn new(len: usize, canary: T, start: T) -> Self {
        let mut all = vec![canary; len + 2 * MARGIN];
        all[MARGIN..MARGIN + len].fill(start);
        Self { all, canary }
    }

    /// What has been written, if nothing has been written beside it.
    pub(crate) fn checked(&self) -> Vec<T> {
        let (before, rest) = self.all.split_at(MARGIN);
        let (written, after) = rest.split_at(rest.len() - MARGIN);
        assert!(before.iter().chain(after).all(|&a| a == self.canary), "written out of bounds");
        written.to_vec()
    }
}

impl<T> Deref for BetweenCanaries<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.all[MARGIN..self.all.len() - MARGIN]
    }
}

impl<T> DerefMut for BetweenCanaries<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let end = self.all.len() - MARGIN;
        &mut self.all[MARGIN..end]
    }
}

/// Lends `len` elements that hold `start` to `write`, and checks that their neighbours stay as they are.
pub(crate) fn between_canaries<T: Copy + PartialEq>(
    len: usize,
    canary: T,
    start: T,
    write: impl FnOnce(&mut [T]),
) -> Vec<T> {
    let mut room = BetweenCanaries::new(len, canary, start);
    write(&mut room);
    room.checked()
}

/// A copy of some numbers between NaN: what is read beyond its ends shows in a result that it reaches.
pub(crate) struct BetweenNan<T>(Vec<T>);

impl<T: Scalar> BetweenNan<T> {
    pub(crate) fn new(values: &[T]) -> Self {
        let margin = [T::of(f64::NAN); MARGIN];
        Self([&margin, values, &margin].concat())
    }
}

impl<T> Deref for BetweenNan<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0[MARGIN..self.0.len() - MARGIN]
    }
}
