//! The passes of a plan, after every length has been checked.
//!
//! [`Scalar`] calls them for each element type, so that they are compiled in this crate.

use super::Conv2dPlan;
use crate::conv::depthwise::Depthwise;
use crate::conv::direct::{Direct, Overlays, Pooled};
use crate::conv::product::Product;
use crate::conv::winograd::Winograd;
use crate::pool::Pooling;
use crate::scratch::aligned;
use crate::simd::winograd::Tile;
use crate::threads::images_for_all_lanes;
use crate::{Algorithm, Epilogue, Pool2dShape, Scalar, Scratch};

/// One pass, with what it reads and what it writes.
#[derive(Debug)]
pub enum Pass<'a, T> {
    /// [`Conv2dPlan::forward`].
    Forward { x: &'a [T], weight: &'a [T], epilogue: Epilogue<'a, T>, y: &'a mut [T] },
    /// [`Conv2dPlan::forward_max_pooled`]; `pool` says how.
    ForwardMaxPooled {
        x: &'a [T],
        weight: &'a [T],
        epilogue: Epilogue<'a, T>,
        pool: &'a Pool2dShape,
        y: &'a mut [T],
        positions: &'a mut [u32],
    },
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
                self.forward_into(batch, x, weight, epilogue, y, scratch);
            }
            Pass::ForwardMaxPooled { x, weight, epilogue, pool, y, positions } => {
                let scratch = scratch.lend(self.pooled_scratch_len(batch));
                let (overlays, pooled) = (Overlays::straight(weight), Pooled { shape: pool, y, positions });
                match self.passes[0] {
                    Algorithm::Direct => self.direct(batch).pooled_by_pixels(x, overlays, epilogue, pooled, scratch),
                    Algorithm::Channels => {
                        self.direct(batch).pooled_by_channels(x, overlays, epilogue, pooled, scratch);
                    }
                    _ => self.forward_and_pool(batch, x, weight, epilogue, pooled, scratch),
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

    fn forward_into(
        &self,
        batch: usize,
        x: &[T],
        weight: &[T],
        epilogue: Epilogue<'_, T>,
        y: &mut [T],
        scratch: &mut [T],
    ) {
        let overlays = Overlays::straight(weight);
        match self.passes[0] {
            Algorithm::Depthwise => self.depthwise(batch).forward(x, weight, epilogue, y, scratch),
            Algorithm::Direct => self.direct(batch).forward_by_pixels(x, overlays, epilogue, y, scratch),
            Algorithm::Channels => self.direct(batch).forward_by_channels(x, overlays, epilogue, y, scratch),
            algorithm @ (Algorithm::Winograd | Algorithm::Winograd4) => {
                self.winograd(algorithm, 0, batch).forward(x, overlays, epilogue, y, scratch);
            }
            algorithm => self.product(algorithm, batch).forward(x, weight, epilogue, y, scratch),
        }
    }

    /// The feature maps of some images into scratch, and from there, pooled, into `y`; then the next images.
    fn forward_and_pool(
        &self,
        batch: usize,
        x: &[T],
        weight: &[T],
        epilogue: Epilogue<'_, T>,
        pooled: Pooled<'_, T>,
        scratch: &mut [T],
    ) {
        let Pooled { shape, y, positions } = pooled;
        let together = self.pooled_together(batch);
        let (maps, scratch) = scratch.split_at_mut(aligned::<T>(together * shape.input_len()));
        let outputs = together * shape.output_len();
        let pooled = y.chunks_mut(outputs).zip(positions.chunks_mut(outputs));
        for (x, (y, positions)) in x.chunks(together * self.shape.input_len()).zip(pooled) {
            let batch = y.len() / shape.output_len();
            let maps = &mut maps[..batch * shape.input_len()];
            self.forward_into(batch, x, weight, epilogue, maps, scratch);
            Pooling::Max { x: maps, y, positions }.run(shape, batch, self.isa);
        }
    }

    /// Images whose feature maps are in scratch at the same time: all lanes have work, and the maps, where they are
    /// not large, stay in a cache.
    fn pooled_together(&self, batch: usize) -> usize {
        images_for_all_lanes(self.shape.macs()).min(batch).max(1)
    }

    /// Scratch elements for the forward pass with max pooling.
    pub(super) fn pooled_scratch_len(&self, batch: usize) -> usize {
        match self.passes[0] {
            Algorithm::Direct => self.direct(batch).pooled_pixels_scratch_len::<T>(),
            Algorithm::Channels => self.direct(batch).pooled_channels_scratch_len::<T>(),
            _ => {
                let together = self.pooled_together(batch);
                let forward = [together, batch % together].map(|images| self.pass_scratch_len(0, images));
                aligned::<T>(together * self.shape.output_len()) + forward[0].max(forward[1])
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
        Product::new(&self.shape, batch, self.isa, algorithm)
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
