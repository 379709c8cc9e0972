//! Which part of the full correlation a mode asks for, and whether the operands can be correlated at all.

use crate::{KernelError, Mode};

/// Where `Mode::Same` starts in the full correlation. The two differ when the overlay has an even length.
#[derive(Clone, Copy)]
pub(super) enum SameStart {
    /// `(k - 1) / 2`.
    Left,
    /// `k / 2`.
    Right,
}

/// Bytes of an `f64` or `i64`: an output that they would not fit into is refused for every element type.
const WIDEST_ELEMENT: usize = 8;

/// A box of the full correlation.
#[derive(Debug)]
pub(super) struct Window {
    /// Index of its first element, one number an axis.
    pub(super) start: Vec<usize>,
    /// Its lengths: the shape of the output.
    pub(super) shape: Vec<usize>,
}

impl Window {
    /// The window of `mode` for operands of these shapes.
    pub(super) fn new(first: &[usize], second: &[usize], mode: Mode, same: SameStart) -> Result<Self, KernelError> {
        check(first, second, mode)?;
        let too_large = KernelError::TooLarge { what: "the output" };
        let (mut start, mut shape) = (Vec::with_capacity(first.len()), Vec::with_capacity(first.len()));
        let mut bytes = Some(WIDEST_ELEMENT);
        for (&m, &k) in first.iter().zip(second) {
            let Some(full) = m.checked_add(k - 1) else { return Err(too_large) };
            let (from, len) = match mode {
                Mode::Full => (0, full),
                Mode::Same => match same {
                    SameStart::Left => ((k - 1) / 2, m),
                    SameStart::Right => (k / 2, m),
                },
                Mode::Valid => (m.min(k) - 1, m.abs_diff(k) + 1),
            };
            start.push(from);
            shape.push(len);
            bytes = bytes.and_then(|bytes| bytes.checked_mul(len));
        }
        match bytes {
            Some(bytes) if isize::try_from(bytes).is_ok() => Ok(Self { start, shape }),
            _ => Err(too_large),
        }
    }
}

/// Same number of axes, no empty operand and, for `Mode::Valid`, one that contains the other.
fn check(first: &[usize], second: &[usize], mode: Mode) -> Result<(), KernelError> {
    if first.len() != second.len() {
        return Err(KernelError::Ranks { first: first.to_vec(), second: second.to_vec() });
    }
    for (operand, shape) in [("first", first), ("second", second)] {
        if shape.contains(&0) {
            return Err(KernelError::EmptyOperand { operand, shape: shape.to_vec() });
        }
    }
    let contains = |a: &[usize], b: &[usize]| a.iter().zip(b).all(|(a, b)| a >= b);
    if mode == Mode::Valid && !contains(first, second) && !contains(second, first) {
        return Err(KernelError::NeitherContains { first: first.to_vec(), second: second.to_vec() });
    }
    Ok(())
}
