//! What can be wrong with a layer or with what it is given.

use conv_kernels::KernelError;

/// Why a layer cannot be made, or refuses its input.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The input has a shape that the layer was not made for.
    #[error("wants {wants}; it got {} per sample", dims(.got))]
    InputShape {
        /// What the layer works on, as in `"(32, 12, 12)"`.
        wants: String,
        /// The shape of one sample, without the batch axis.
        got: Vec<usize>,
    },

    /// A batch, gradient or parameter tensor has the wrong shape.
    #[error("{what} must have the shape {}; it has {}", dims(.expected), dims(.got))]
    ArrayShape {
        /// Which array.
        what: String,
        /// The shape that it must have.
        expected: Vec<usize>,
        /// The shape that it has.
        got: Vec<usize>,
    },

    /// A layer has no tensor of that name.
    #[error("no tensor is called `{name}`; there are: {known}")]
    UnknownTensor {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        known: String,
    },

    /// A size that must be at least one is zero.
    #[error("{what} must be at least 1")]
    Zero {
        /// Which size.
        what: &'static str,
    },

    /// More elements than memory can address.
    #[error("{what} {} would have more than 2^63 - 1 bytes: reduce its sizes", dims(.shape))]
    TooLarge {
        /// Which tensor.
        what: &'static str,
        /// The shape that was asked for.
        shape: Vec<usize>,
    },

    /// A number is out of its range.
    #[error("{what} must be {range} (got {got})")]
    Range {
        /// Which number.
        what: &'static str,
        /// The range, in words.
        range: &'static str,
        /// The number.
        got: f64,
    },

    /// Backward was called before any forward pass.
    #[error("there is no forward pass to go back through: call forward first")]
    NoForward,

    /// The geometry is impossible.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// A shape as people write it: `(3, 4)`, `(5,)`.
pub(crate) fn dims(shape: &[usize]) -> String {
    match shape {
        [one] => format!("({one},)"),
        _ => format!("({})", shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}
