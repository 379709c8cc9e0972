//! The passes of a plan, after every length has been checked.
//!
//! [`Scalar`] calls these for each element type, so that they are compiled in this crate.

use super::Conv2dPlan;
use crate::conv::depthwise::Depthwise;
use crate::conv::direct::Direct;
use crate::conv::product::Product;
use crate::{Algorithm, Epilogue, Scalar, Scratch};

/// An algorithm, ready for one call.
pub(super) enum Method<'a> {
    Depthwise(Depthwise<'a>),
    Direct(Direct<'a>),
    Product(Product<'a>),
}

impl<T: Scalar> Conv2dPlan<T> {
    pub(crate) fn run_forward(
        &self,
        batch: usize,
        x: &[T],
        weight: &[T],
        epilogue: Epilogue<'_, T>,
        y: &mut [T],
        scratch: &mut Scratch<T>,
    ) {
        match self.method(self.passes.forward, batch) {
            Method::Depthwise(depthwise) => depthwise.forward(x, weight, epilogue, y),
            Method::Direct(direct) => direct.forward(x, weight, epilogue, y, scratch.lend(direct.scratch_len::<T>())),
            Method::Product(product) => {
                product.forward(x, weight, epilogue, y, scratch.lend(product.scratch_len::<T>()));
            }
        }
    }

    pub(crate) fn run_input_gradient(
        &self,
        batch: usize,
        dy: &[T],
        weight: &[T],
        dx: &mut [T],
        scratch: &mut Scratch<T>,
    ) {
        match self.method(self.passes.input_gradient, batch) {
            Method::Depthwise(depthwise) => depthwise.input_gradient(dy, weight, dx),
            Method::Direct(direct) => direct.input_gradient(dy, weight, dx, scratch.lend(direct.scratch_len::<T>())),
            Method::Product(product) => {
                product.input_gradient(dy, weight, dx, scratch.lend(product.scratch_len::<T>()));
            }
        }
    }

    pub(crate) fn run_weight_gradient(
        &self,
        batch: usize,
        x: &[T],
        dy: &[T],
        dweight: &mut [T],
        scratch: &mut Scratch<T>,
    ) {
        match self.method(self.passes.weight_gradient, batch) {
            Method::Depthwise(depthwise) => {
                let scratch = scratch.lend(depthwise.weight_gradient_scratch_len::<T>());
                depthwise.weight_gradient(x, dy, dweight, scratch);
            }
            Method::Direct(direct) => {
                direct.weight_gradient(x, dy, dweight, scratch.lend(direct.scratch_len::<T>()));
            }
            Method::Product(product) => {
                product.weight_gradient(x, dy, dweight, scratch.lend(product.weight_gradient_scratch_len::<T>()));
            }
        }
    }

    /// An algorithm, ready for a batch.
    pub(super) fn method(&self, algorithm: Algorithm, batch: usize) -> Method<'_> {
        match (algorithm, &self.geometry) {
            (Algorithm::Direct, Some(geometry)) => Method::Direct(Direct::new(&self.shape, geometry, batch, self.isa)),
            (Algorithm::Depthwise, _) => Method::Depthwise(Depthwise::new(&self.shape, batch)),
            (algorithm, _) => Method::Product(Product::new(&self.shape, batch, algorithm)),
        }
    }
}
