//! What can be wrong with a call, in the words of the caller.

use crate::plan::Algorithm;

/// Why a kernel refused its input. Nothing has been written when one is returned.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// An operand of `correlate` or `convolve` has no elements.
    #[error("the {operand} operand is empty (shape {}): correlation needs at least one element on each side", dims(.shape))]
    EmptyOperand {
        /// `"first"` or `"second"`.
        operand: &'static str,
        /// Its shape.
        shape: Vec<usize>,
    },

    /// The operands of `correlate` or `convolve` have different numbers of axes.
    #[error("the operands must have the same number of axes; got {} and {}: insert axes of length 1 into the one with fewer", dims(.first), dims(.second))]
    Ranks {
        /// Shape of the first operand.
        first: Vec<usize>,
        /// Shape of the second operand.
        second: Vec<usize>,
    },

    /// `Mode::Valid`, and neither operand contains the other.
    #[error(
        "mode valid needs one operand at least as large as the other in every dimension; got {} and {}: crop one of them, or use Mode::Full or Mode::Same",
        dims(.first), dims(.second)
    )]
    NeitherContains {
        /// Shape of the first operand.
        first: Vec<usize>,
        /// Shape of the second operand.
        second: Vec<usize>,
    },

    /// An array has the wrong shape for the call.
    #[error("{what} must have the shape {}; it has {}", dims(.expected), dims(.got))]
    ArrayShape {
        /// Which array.
        what: &'static str,
        /// The shape that the call needs.
        expected: Vec<usize>,
        /// The shape that it got.
        got: Vec<usize>,
    },

    /// A slice has the wrong length for the plan's shape and the batch.
    #[error("{what} must hold {expected} elements, {layout}; it holds {got}")]
    Length {
        /// Which slice.
        what: &'static str,
        /// The length that the call needs.
        expected: usize,
        /// The length that it got.
        got: usize,
        /// Layout and sizes, as in `"(N, C, H, W) = (64, 1, 28, 28)"`.
        layout: String,
    },

    /// A size that must be at least one is zero.
    #[error("{what} must be at least 1")]
    Zero {
        /// Which size.
        what: &'static str,
    },

    /// The window does not fit its input.
    #[error("the {what} covers {}x{} pixels, more than the padded input {}x{}: use a smaller one, or more padding", .covers[0], .covers[1], .input[0], .input[1])]
    WindowTooLarge {
        /// `"kernel"` or `"pooling window"`.
        what: &'static str,
        /// Rows and columns that it covers, dilation included.
        covers: [usize; 2],
        /// Rows and columns of the input, padding included.
        input: [usize; 2],
    },

    /// A plane with more pixels than a pooling position can count.
    #[error("a plane of {}x{} pixels has more than 2^32 of them, which pooling positions cannot tell apart: pool it in parts", .input[0], .input[1])]
    PlaneTooLarge {
        /// Rows and columns of the plane.
        input: [usize; 2],
    },

    /// A position of a maximum that lies outside its plane.
    #[error(
        "positions[{index}] is {got}, but a plane has {pixels} pixels: pass the positions that max_pool2d wrote for this shape"
    )]
    Position {
        /// Index into the positions.
        index: usize,
        /// The position there.
        got: u32,
        /// Pixels of a plane.
        pixels: usize,
    },

    /// The channels cannot be divided into the groups.
    #[error("{groups} groups must divide both in_channels ({in_channels}) and out_channels ({out_channels})")]
    Groups {
        /// The number of groups.
        groups: usize,
        /// Channels of the input.
        in_channels: usize,
        /// Channels of the output.
        out_channels: usize,
    },

    /// More elements than memory can address.
    #[error("{what} would have more than 2^63 - 1 bytes: reduce its sizes or the batch")]
    TooLarge {
        /// Which array.
        what: &'static str,
    },

    /// A forced algorithm cannot compute this shape.
    #[error(
        "{algorithm} cannot compute {shape}: it is for {applies_to}; leave Options::force empty to let the plan choose"
    )]
    NotApplicable {
        /// The algorithm that was forced.
        algorithm: Algorithm,
        /// The geometry.
        shape: String,
        /// What it is for.
        applies_to: &'static str,
    },

    /// The environment asks for an instruction set that is unknown, or that this CPU lacks.
    #[error(
        "{variable} asks for the instruction set {got:?}, which is not available: use one of {available}, or unset it"
    )]
    InstructionSet {
        /// The environment variable.
        variable: &'static str,
        /// What it holds.
        got: String,
        /// The sets that this CPU has, the best first.
        available: String,
    },

    /// The slope of a leaky ReLU whose sign the output could not tell.
    #[error("the slope of a leaky ReLU must be finite and > 0 (got {slope}); for slope 0 use Relu")]
    Slope {
        /// The slope that was asked for.
        slope: f64,
    },

    /// A thread count out of range.
    #[error("the number of threads must be 1 to {max} (got {got})")]
    ThreadCount {
        /// The largest number accepted.
        max: usize,
        /// The number that was asked for.
        got: usize,
    },

    /// The system refused to start the threads.
    #[error("could not start {threads} threads: {reason}; ask for fewer")]
    Threads {
        /// The number that was asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },
}

/// A shape as people write it: `(3, 4)`, `(5,)`.
fn dims(shape: &[usize]) -> String {
    match shape {
        [one] => format!("({one},)"),
        _ => format!("({})", shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}
