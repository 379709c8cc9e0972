//! The passes of a plan, after every length has been checked.
//!
//! [`Scalar`] calls them for each element type, so that they are compiled in this crate.

use super::Conv2dPlan;
use crate::conv::depthwise::Depthwise;
use crate::conv::direct::{Direct, Overlays};
use crate::conv::product::Product;
use crate::{Algorithm, Epilogue, Scalar, Scratch};

/// An algorithm, ready for one call.
pub(super) enum Method<'a> {
    Depthwise(Depthwise<'a>),
    Direct(Direct<'a>),
    /// The forward pass of the mirrored shape.
    Mirrored(Direct<'a>),
    Product(Product<'a>),
}

/// One pass, with what it reads and what it writes.
#[derive(Debug)]
pub enum Pass<'a, T> {
    /// [`Conv2dPlan::forward`].
    Forward { x: &'a [T], weight: &'a [T], epilogue: Epilogue<'a, T>, y: &'a mut [T] },
    /// [`Conv2dPlan::input_gradient`].
    InputGradient { dy: &'a [T], weight: &'a [T], dx: &'a mut [T] },
    /// [`Conv2dPlan::weight_gradient`].
    WeightGradient { x: &'a [T], dy: &'a [T], dweight: &'a mut [T] },
}

impl<T: Scalar> Conv2dPlan<T> {
    pub(crate) fn run(&self, batch: usize, pass: Pass<'_, T>, scratch: &mut Scratch<T>) {
        match pass {
            Pass::Forward { x, weight, epilogue, y } => match self.method(self.passes[0], batch) {
                Method::Depthwise(method) => method.forward(x, weight, epilogue, y),
                Method::Direct(method) | Method::Mirrored(method) => {
                    let scratch = scratch.lend(method.forward_scratch_len::<T>());
                    method.forward(x, Overlays::straight(weight), epilogue, y, scratch);
                }
                Method::Product(method) => {
                    method.forward(x, weight, epilogue, y, scratch.lend(method.scratch_len::<T>()))
                }
            },
            Pass::InputGradient { dy, weight, dx } => match self.method(self.passes[1], batch) {
                Method::Depthwise(method) => method.input_gradient(dy, weight, dx),
                Method::Direct(method) => {
                    method.input_gradient(dy, weight, dx, scratch.lend(method.scratch_len::<T>()))
                }
                Method::Mirrored(method) => {
                    let scratch = scratch.lend(method.forward_scratch_len::<T>());
                    method.forward(dy, Overlays::mirrored(weight), Epilogue::none(), dx, scratch);
                }
                Method::Product(method) => {
                    method.input_gradient(dy, weight, dx, scratch.lend(method.scratch_len::<T>()))
                }
            },
            Pass::WeightGradient { x, dy, dweight } => match self.method(self.passes[2], batch) {
                Method::Depthwise(method) => {
                    method.weight_gradient(x, dy, dweight, scratch.lend(method.weight_gradient_scratch_len::<T>()));
                }
                Method::Direct(method) | Method::Mirrored(method) => {
                    method.weight_gradient(x, dy, dweight, scratch.lend(method.scratch_len::<T>()));
                }
                Method::Product(method) => {
                    method.weight_gradient(x, dy, dweight, scratch.lend(method.weight_gradient_scratch_len::<T>()));
                }
            },
        }
    }

    /// An algorithm, ready for a batch.
    pub(super) fn method(&self, algorithm: Algorithm, batch: usize) -> Method<'_> {
        match (algorithm, &self.direct, &self.mirror) {
            (Algorithm::Direct, Some(geometry), _) => {
                Method::Direct(Direct::new(&self.shape, geometry, batch, self.isa))
            }
            (Algorithm::Mirrored, _, Some((shape, geometry))) => {
                Method::Mirrored(Direct::new(shape, geometry, batch, self.isa))
            }
            (Algorithm::Depthwise, ..) => Method::Depthwise(Depthwise::new(&self.shape, batch)),
            _ => Method::Product(Product::new(&self.shape, batch, algorithm)),
        }
    }
}
