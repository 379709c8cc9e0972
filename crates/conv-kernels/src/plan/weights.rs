//! The weights of a layer, and the order in which its kernels read them.

use super::{Conv2dPlan, run::Pass};
use crate::{KernelError, Scalar, Scratch};

/// The weights that a pass reads.
///
/// Slices, arrays and vectors of plain weights convert by themselves.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a, T> {
    /// `(O, C / groups, KH, KW)`: each call puts them into the order of its kernels.
    Plain(&'a [T]),
    /// In that order already, by [`Conv2dPlan::pack`].
    Packed(&'a [T]),
}

impl<'a, T> From<&'a [T]> for Weights<'a, T> {
    fn from(weight: &'a [T]) -> Self {
        Self::Plain(weight)
    }
}

impl<'a, T, const N: usize> From<&'a [T; N]> for Weights<'a, T> {
    fn from(weight: &'a [T; N]) -> Self {
        Self::Plain(weight)
    }
}

impl<'a, T> From<&'a Vec<T>> for Weights<'a, T> {
    fn from(weight: &'a Vec<T>) -> Self {
        Self::Plain(weight)
    }
}

/// The passes that packed weights are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackFor {
    /// The forward pass, as in the use of a network.
    Forward,
    /// The forward pass and the input gradient, as in learning.
    Learning,
}

impl<T: Scalar> Conv2dPlan<T> {
    /// Elements of packed weights.
    pub fn packed_len(&self, passes: PackFor) -> usize {
        let forward = self.packed_head_len() + self.pass_packed_len(0);
        match passes {
            PackFor::Forward => forward,
            PackFor::Learning => forward + self.pass_packed_len(1),
        }
    }

    /// Puts weights `(O, C / groups, KH, KW)` into the order in which the kernels read them, for several calls.
    ///
    /// What is packed for learning serves every forward pass too. Results have the bits of those with plain weights.
    /// Packed weights mean something to this plan and its clones alone.
    ///
    /// # Errors
    ///
    /// [`KernelError::Length`] if a slice does not fit the shape.
    ///
    /// ```
    /// use conv_kernels::{Conv2dPlan, Conv2dShape, Epilogue, Options, PackFor, Weights};
    /// let shape = Conv2dShape::builder(1, 1, [1, 3], [1, 2]).build()?;
    /// let plan = Conv2dPlan::<f32>::new(shape, &Options::default())?;
    /// let mut packed = vec![0.0; plan.packed_len(PackFor::Forward)];
    /// plan.pack(PackFor::Forward, &[1.0, 10.0], &mut packed)?;
    /// let (mut y, mut scratch) = ([0.0; 2], plan.scratch(1));
    /// plan.forward(1, &[1., 2., 3.], Weights::Packed(&packed), Epilogue::none(), &mut y, &mut scratch)?;
    /// assert_eq!(y, [21.0, 32.0]);
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    pub fn pack(&self, passes: PackFor, weight: &[T], packed: &mut [T]) -> Result<(), KernelError> {
        self.shape.expect_weight("weight", weight.len())?;
        expect_packed("packed", self.packed_len(passes), packed.len())?;
        T::convolution(self, 1, Pass::Pack { weight, packed }, &mut Scratch::new());
        Ok(())
    }

    /// Refuses weights that do not fit, for pass 0 (forward) or 1 (input gradient).
    pub(super) fn expect_weights(&self, pass: usize, weights: Weights<'_, T>) -> Result<(), KernelError> {
        match weights {
            Weights::Plain(weight) => self.shape.expect_weight("weight", weight.len()),
            Weights::Packed(packed) if pass == 0 && packed.len() == self.packed_len(PackFor::Forward) => Ok(()),
            Weights::Packed(packed) => {
                expect_packed("the packed weights", self.packed_len(PackFor::Learning), packed.len())
            }
        }
    }
}

/// Refuses packed weights of another length.
fn expect_packed(what: &'static str, expected: usize, got: usize) -> Result<(), KernelError> {
    if got == expected {
        return Ok(());
    }
    Err(KernelError::Length { what, expected, got, layout: "as Conv2dPlan::packed_len says".into() })
}
