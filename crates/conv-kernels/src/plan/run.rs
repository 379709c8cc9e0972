//! The passes of a plan, after every length has been checked.
//!
//! [`Scalar`] calls them for each element type, so that they are compiled in this crate.

use super::{Conv2dPlan, Weights};
use crate::conv::depthwise::Depthwise;
use crate::conv::direct::{Direct, Overlays, Pooled};
use crate::conv::product::Product;
use crate::conv::winograd::Winograd;
use crate::pool::Pooling;
use crate::scratch::aligned;
use crate::threads::images_for_all_lanes;
use crate::{Algorithm, Epilogue, Pool2dShape, Scalar, Scratch};

/// One pass, with what it reads and what it writes.
#[derive(Debug)]
pub enum Pass<'a, T> {
    /// [`Conv2dPlan::pack`].
    Pack { weight: &'a [T], packed: &'a mut [T] },
    /// [`Conv2dPlan::forward`].
    Forward { x: &'a [T], weights: Weights<'a, T>, epilogue: Epilogue<'a, T>, y: &'a mut [T] },
    /// [`Conv2dPlan::forward_max_pooled`]; `pool` says how.
    ForwardMaxPooled {
        x: &'a [T],
        weights: Weights<'a, T>,
        epilogue: Epilogue<'a, T>,
        pool: &'a Pool2dShape,
        y: &'a mut [T],
        positions: &'a mut [u32],
    },
    /// [`Conv2dPlan::input_gradient`].
    InputGradient { dy: &'a [T], weights: Weights<'a, T>, dx: &'a mut [T] },
    /// [`Conv2dPlan::weight_gradient`].
    WeightGradient { x: &'a [T], dy: &'a [T], dweight: &'a mut [T] },
}

impl<T: Scalar> Conv2dPlan<T> {
    pub(crate) fn run(&self, batch: usize, pass: Pass<'_, T>, scratch: &mut Scratch<T>) {
        match pass {
            Pass::Pack { weight, packed } => {
                let (forward, input_gradient) = packed.split_at_mut(self.pass_packed_len(0));
                self.pack_pass(0, weight, forward);
                if !input_gradient.is_empty() {
                    self.pack_pass(1, weight, input_gradient);
                }
            }
            Pass::Forward { x, weights, epilogue, y } => {
                let (own, scratch) = self.lend(0, self.cells_len(0, batch), scratch);
                self.forward_into(batch, x, self.packed(0, weights, own), epilogue, y, scratch);
            }
            Pass::ForwardMaxPooled { x, weights, epilogue, pool, y, positions } => {
                let (own, scratch) = self.lend(0, self.pooled_cells_len(batch), scratch);
                let (packed, pooled) = (self.packed(0, weights, own), Pooled { shape: pool, y, positions });
                match self.passes[0] {
                    Algorithm::Direct => self.direct(batch).pooled_by_pixels(x, packed, epilogue, pooled, scratch),
                    Algorithm::Channels => self.direct(batch).pooled_by_channels(x, packed, epilogue, pooled, scratch),
                    algorithm @ (Algorithm::Winograd | Algorithm::Winograd4)
                        if self.winograd(algorithm, 0, batch).pools(epilogue.activation) =>
                    {
                        self.winograd(algorithm, 0, batch).pooled(x, packed, epilogue, pooled, scratch);
                    }
                    _ => self.forward_and_pool(batch, x, packed, epilogue, pooled, scratch),
                }
            }
            Pass::InputGradient { dy, weights, dx } => {
                let (own, scratch) = self.lend(1, self.cells_len(1, batch), scratch);
                let (packed, bare) = (self.packed(1, weights, own), Epilogue::none());
                match self.passes[1] {
                    Algorithm::Depthwise => self.depthwise(batch).input_gradient(dy, packed, dx, scratch),
                    Algorithm::Direct => self.direct(batch).input_gradient(dy, packed, dx, scratch),
                    Algorithm::Channels => self.mirror(batch).forward_by_channels(dy, packed, bare, dx, scratch),
                    Algorithm::Mirrored => self.mirror(batch).forward_by_pixels(dy, packed, bare, dx, scratch),
                    algorithm @ (Algorithm::Winograd | Algorithm::Winograd4) => {
                        self.winograd(algorithm, 1, batch).forward(dy, packed, bare, dx, scratch);
                    }
                    algorithm => self.product(algorithm, batch).input_gradient(dy, packed, dx, scratch),
                }
            }
            Pass::WeightGradient { x, dy, dweight } => {
                let scratch = scratch.lend(self.pass_scratch_len(2, batch));
                match self.passes[2] {
                    Algorithm::Depthwise => self.depthwise(batch).weight_gradient(x, dy, dweight, scratch),
                    Algorithm::Direct => self.direct(batch).weight_gradient_by_pixels(x, dy, dweight, scratch),
                    Algorithm::Channels => self.direct(batch).weight_gradient_by_channels(x, dy, dweight, scratch),
                    algorithm @ (Algorithm::Winograd | Algorithm::Winograd4) => {
                        self.winograd(algorithm, 2, batch).weight_gradient(x, dy, dweight, scratch);
                    }
                    algorithm => self.product(algorithm, batch).weight_gradient(x, dy, dweight, scratch),
                }
            }
        }
    }

    /// Room for the packed weights of pass 0 or 1, and for its cells.
    fn lend<'s>(&self, pass: usize, cells: usize, scratch: &'s mut Scratch<T>) -> (&'s mut [T], &'s mut [T]) {
        let own = self.own_packed_len(pass);
        scratch.lend(own + cells).split_at_mut(own)
    }

    /// Packed weights for pass 0 or 1: those that the caller has, or else put in order in `own`.
    fn packed<'p>(&self, pass: usize, weights: Weights<'p, T>, own: &'p mut [T]) -> &'p [T] {
        match weights {
            Weights::Packed(packed) if pass == 0 => &packed[..self.pass_packed_len(0)],
            Weights::Packed(packed) => &packed[self.pass_packed_len(0)..],
            Weights::Plain(weight) if own.is_empty() => weight,
            Weights::Plain(weight) => {
                self.pack_pass(pass, weight, own);
                own
            }
        }
    }

    /// Puts the weights into the order of pass 0 or 1; algorithms that have none take them as they are.
    fn pack_pass(&self, pass: usize, weight: &[T], packed: &mut [T]) {
        let (straight, mirrored) = (Overlays::straight(weight), Overlays::mirrored(weight));
        match (self.passes[pass], pass) {
            (Algorithm::Direct, 0) => self.direct(1).pack_pixels(straight, packed),
            (Algorithm::Direct, _) => self.direct(1).pack_scatter(weight, packed),
            (Algorithm::Channels, 0) => self.direct(1).pack_channels(straight, packed),
            (Algorithm::Channels, _) => self.mirror(1).pack_channels(mirrored, packed),
            (Algorithm::Mirrored, _) => self.mirror(1).pack_pixels(mirrored, packed),
            (algorithm @ (Algorithm::Winograd | Algorithm::Winograd4), _) => {
                let overlays = if pass == 0 { straight } else { mirrored };
                self.winograd(algorithm, pass, 1).transform_kernels(overlays, packed);
            }
            _ => packed[..weight.len()].copy_from_slice(weight),
        }
    }

    /// Elements of the packed weights of pass 0 or 1.
    pub(super) fn pass_packed_len(&self, pass: usize) -> usize {
        aligned::<T>(match (self.passes[pass], pass) {
            (Algorithm::Channels, 0) => self.direct(1).packed_channels_len::<T>(),
            (Algorithm::Channels, _) => self.mirror(1).packed_channels_len::<T>(),
            (algorithm @ (Algorithm::Winograd | Algorithm::Winograd4), _) => {
                self.winograd(algorithm, pass, 1).kernels_len::<T>()
            }
            _ => self.shape.weight_len(),
        })
    }

    /// Scratch elements for them in a call with plain weights: none where these serve as they are.
    fn own_packed_len(&self, pass: usize) -> usize {
        if self.passes[pass].packs() { self.pass_packed_len(pass) } else { 0 }
    }

    fn forward_into(
        &self,
        batch: usize,
        x: &[T],
        packed: &[T],
        epilogue: Epilogue<'_, T>,
        y: &mut [T],
        scratch: &mut [T],
    ) {
        match self.passes[0] {
            Algorithm::Depthwise => self.depthwise(batch).forward(x, packed, epilogue, y, scratch),
            Algorithm::Direct => self.direct(batch).forward_by_pixels(x, packed, epilogue, y, scratch),
            Algorithm::Channels => self.direct(batch).forward_by_channels(x, packed, epilogue, y, scratch),
            algorithm @ (Algorithm::Winograd | Algorithm::Winograd4) => {
                self.winograd(algorithm, 0, batch).forward(x, packed, epilogue, y, scratch);
            }
            algorithm => self.product(algorithm, batch).forward(x, packed, epilogue, y, scratch),
        }
    }

    /// The feature maps of some images into scratch, and from there, pooled, into `y`; then the next images.
    fn forward_and_pool(
        &self,
        batch: usize,
        x: &[T],
        packed: &[T],
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
            self.forward_into(batch, x, packed, epilogue, maps, scratch);
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
        self.own_packed_len(0) + self.pooled_cells_len(batch)
    }

    fn pooled_cells_len(&self, batch: usize) -> usize {
        match self.passes[0] {
            Algorithm::Direct => self.direct(batch).pooled_pixels_scratch_len::<T>(),
            Algorithm::Channels => self.direct(batch).pooled_channels_scratch_len::<T>(),
            _ => {
                let together = self.pooled_together(batch);
                let forward = [together, batch % together].map(|images| self.cells_len(0, images));
                let some = aligned::<T>(together * self.shape.output_len()) + forward[0].max(forward[1]);
                some.max(self.cells_len(0, batch))
            }
        }
    }

    /// Scratch elements for pass 0 (forward), 1 (input gradient) or 2 (weight gradient).
    pub(super) fn pass_scratch_len(&self, pass: usize, batch: usize) -> usize {
        let packed = if pass == 2 { 0 } else { self.own_packed_len(pass) };
        packed + self.cells_len(pass, batch)
    }

    /// The same without the packed weights.
    fn cells_len(&self, pass: usize, batch: usize) -> usize {
        match (self.passes[pass], pass) {
            (Algorithm::Depthwise, _) => self.depthwise(batch).scratch_len::<T>(),
            (Algorithm::Direct, 0) => self.direct(batch).pixels_scratch_len::<T>(),
            (Algorithm::Direct, 1) => self.direct(batch).scatter_scratch_len::<T>(),
            (Algorithm::Direct, _) => self.direct(batch).by_pixels_scratch_len::<T>(),
            (Algorithm::Channels, 0) => self.direct(batch).channels_scratch_len::<T>(),
            (Algorithm::Channels, 1) => self.mirror(batch).channels_scratch_len::<T>(),
            (Algorithm::Channels, _) => self.direct(batch).by_channels_scratch_len::<T>(),
            (Algorithm::Mirrored, _) => self.mirror(batch).pixels_scratch_len::<T>(),
            (algorithm @ (Algorithm::Winograd | Algorithm::Winograd4), 2) => {
                self.winograd(algorithm, pass, batch).gradient_scratch_len::<T>()
            }
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

    /// The passes of the shape; the input gradient is the forward pass of the mirrored one.
    fn winograd(&self, algorithm: Algorithm, pass: usize, batch: usize) -> Winograd {
        let tile = algorithm.tile(&self.shape).expect("plans have no pass that its algorithm lacks");
        let straight = Winograd::new(self.shape, tile, batch, self.isa);
        if pass != 1 { straight } else { straight.mirrored().expect("plans have no pass that its algorithm lacks") }
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
