//! Ways to compute a pass, and their results.

use anyhow::Result;

/// One way to compute a pass: its name, and a call that does it.
pub struct Way {
    pub name: &'static str,
    pub call: Box<dyn FnMut() -> Result<Box<dyn Computed>>>,
}

impl Way {
    pub fn new<C: Computed + 'static>(name: &'static str, mut call: impl FnMut() -> Result<C> + 'static) -> Self {
        Self { name, call: Box::new(move || Ok(Box::new(call()?))) }
    }
}

/// What a call computed, in the library's own type: a call that is timed copies nothing.
pub trait Computed {
    /// The numbers, in overlay's order.
    fn values(&self) -> Result<Vec<f32>>;
}

/// One after the other: the gradients by the weights and by the bias.
impl<A: Computed, B: Computed> Computed for (A, B) {
    fn values(&self) -> Result<Vec<f32>> {
        Ok([self.0.values()?, self.1.values()?].concat())
    }
}
