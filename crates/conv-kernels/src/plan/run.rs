//! The passes of a plan, after every length has been checked.
//!
//! [`Scalar`] calls them for each element type, so that they are compiled in this crate.

use super::Conv2dPlan;
use crate::conv::depthwise::Depthwise;
use crate::conv::direct::{Direct, Overlays};
use crate::conv::product::Product;
use crate::conv::winograd::Winograd;
use crate::simd::winograd::Tile;
use crate::{Algorithm, Epilogue, Scalar, Scratch};

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
            Pass::Forward { x, weight, epilogue, y } => {
                let scratch = scratch.lend(self.pass_scratch_len(0, batch));
                match self.passes[0] {
                    Algorithm::Depthwise => self.depthwise(batch).forward(x, weight, epilogue, y, scratch),
                    Algorithm::Direct => {
                        self.direct(batch).forward_by_pixels(x, Overlays::straight(weight), epilogue, y, scratch);
                    }
                    Algorithm::Channels => {
                        self.direct(batch).forward_by_channels(x, Overlays::straight(weight), epilogue, y, scratch);
                    }
                    algorithm @ (Algorithm::Winograd | Algorithm::Winograd4) => {
                        self.winograd(algorithm, 0, batch).forward(x, Overlays::straight(weight), epilogue, y, scratch);
                    }
                    algorithm => self.product(algorithm, batch).forward(x, weight, epilogue, y, scratch),
                }
            }
            Pass::InputGradient { dy, weight, dx } => {
                let scratch = scratch.lend(self.pass_scratch_len(1, batch));
                let (overlays, bare) = (Overlays::mirrored(weight), Epilogue::none());
                match self.passes[1] {
                    Algorithm::Depthwise => self.depthwise(batch).input_gradient(dy, weight, dx, scratch),
                    Algorithm::Direct => self.direct(batch).input_gradient(dy, weight, dx, scratch),
                    Algorithm::Channels => self.mirror(batch).forward_by_channels(dy, overlays, bare, dx, scratch),
                    Algorithm::Mirrored => self.mirror(batch).forward_by_pixels(dy, overlays, bare, dx, scratch),
                    algorithm @ (Algorithm::Winograd | Algorithm::Winograd4) => {
                        self.winograd(algorithm, 1, batch).forward(dy, overlays, bare, dx, scratch);
                    }
                    algorithm => self.product(algorithm, batch).input_gradient(dy, weight, dx, scratch),
                }
            }
            Pass::WeightGradient { x, dy, dweight } => {
                let scratch = scratch.lend(self.pass_scratch_len(2, batch));
                match self.passes[2] {
                    Algorithm::Depthwise => self.depthwise(batch).weight_gradient(x, dy, dweight, scratch),
                    Algorithm::Direct => self.direct(batch).weight_gradient_by_pixels(x, dy, dweight, scratch),
                    Algorithm::Channels => self.direct(batch).weight_gradient_by_channels(x, dy, dweight, scratch),
                    algorithm => self.product(algorithm, batch).weight_gradient(x, dy, dweight, scratch),
                }
            }
        }
    }

    /// Scratch elements for pass 0 (forward), 1 (input gradient) or 2 (weight gradient).
    pub(super) fn pass_scratch_len(&self, pass: usize, batch: usize) -> usize {
        match (self.passes[pass], pass) {
            (Algorithm::Depthwise, _) => self.depthwise(batch).scratch_len::<T>(),
            (Algorithm::Direct, 0) => self.direct(batch).pixels_scratch_len::<T>(),
            (Algorithm::Direct, 1) => self.direct(batch).scatter_scratch_len::<T>(),
            (Algorithm::Direct, _) => self.direct(batch).by_pixels_scratch_len::<T>(),
            (Algorithm::Channels, 0) => self.direct(batch).channels_scratch_len::<T>(),
            (Algorithm::Channels, 1) => self.mirror(batch).channels_scratch_len::<T>(),
            (Algorithm::Channels, _) => self.direct(batch).by_channels_scratch_len::<T>(),
            (Algorithm::Mirrored, _) => self.mirror(batch).pixels_scratch_len::<T>(),
            (algorithm @ (Algorithm::Winograd | Algorithm::Winograd4), _) => {
                self.winograd(algorithm, pass, batch).scratch_len::<T>()
            }
            (algorithm, 2) => self.product(algorithm, batch).weight_gradient_scratch_len::<T>(),
            (algorithm, _) => self.product(algorithm, batch).scratch_len::<T>(),
        }
    }

    fn depthwise(&self, batch: usize) -> Depthwise<'_> {
        let geometry = self.depthwise.as_ref().expect("plans with a depthwise pass have its geometry");
        Depthwise::new(&self.shape, geometry, batch, self.isa)
    }

    /// The forward pass of the shape, or of the mirrored one.
    fn winograd(&self, algorithm: Algorithm, pass: usize, batch: usize) -> Winograd {
        let tile = if algorithm == Algorithm::Winograd { Tile::Two } else { Tile::Four };
        let straight = Winograd::new(self.shape, tile, batch, self.isa);
        if pass == 0 { straight } else { straight.mirrored().expect("plans have no pass that its algorithm lacks") }
    }

    fn product(&self, algorithm: Algorithm, batch: usize) -> Product<'_> {
        Product::new(&self.shape, batch, algorithm)
    }

    fn direct(&self, batch: usize) -> Direct<'_> {
        let geometry = self.direct.as_ref().expect("plans with a direct pass have its geometry");
        Direct::new(&self.shape, geometry, batch, self.isa)
    }

    /// The direct convolution whose forward pass is the input gradient.
    fn mirror(&self, batch: usize) -> Direct<'_> {
        let (shape, geometry) = self.mirror.as_ref().expect("plans with a mirrored pass have its geometry");
        Direct::new(shape, geometry, batch, self.isa)
    }
}
