//! The passes of a plan, after every length has been checked.
//!
//! [`Scalar`] calls them for each element type, so that they are compiled in this crate.

use super::{Conv2dPlan, Weights};
use crate::conv::definition::{self, all_finite, mend_all};
use crate::conv::depthwise::Depthwise;
use crate::conv::direct::{Direct, Overlays, Pooled};
use crate::conv::images::{Images, Maps, Packed};
use crate::conv::product::Product;
use crate::conv::winograd::Winograd;
use crate::scratch::aligned;
use crate::{Activation, Algorithm, Epilogue, Padding, Pool2dShape, Scalar, Scratch};

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
    /// [`Conv2dPlan::backward_max_pooled`]; `pool` says how.
    BackwardMaxPooled {
        x: &'a [T],
        pool: &'a Pool2dShape,
        dy: &'a [T],
        positions: &'a [u32],
        weights: Weights<'a, T>,
        dx: Option<&'a mut [T]>,
        dweight: &'a mut [T],
    },
    /// [`Conv2dPlan::input_gradient`].
    InputGradient { dy: &'a [T], weights: Weights<'a, T>, dx: &'a mut [T] },
    /// [`Conv2dPlan::weight_gradient`].
    WeightGradient { x: &'a [T], dy: &'a [T], dweight: &'a mut [T] },
}

/// The weights of a pass, as its algorithm reads them.
#[derive(Clone, Copy)]
pub(super) struct Ready<'p, T> {
    /// `(O, C / groups, KH, KW)`.
    plain: &'p [T],
    /// In the algorithm's order.
    pub(super) packed: &'p [T],
    /// Whether all of them are finite, where it matters.
    pub(super) finite: bool,
}

impl<T: Scalar> Conv2dPlan<T> {
    pub(crate) fn run(&self, batch: usize, pass: Pass<'_, T>, scratch: &mut Scratch<T>) {
        match pass {
            Pass::Pack { weight, packed } => self.pack_all(weight, packed),
            Pass::Forward { x, weights, epilogue, y } => {
                let (own, scratch) = self.lend(0, self.cells_len(0, batch), scratch);
                self.checked(0, batch, x, self.ready(0, weights, own), epilogue, y, scratch);
            }
            Pass::ForwardMaxPooled { x, weights, epilogue, pool, y, positions } => {
                let (own, scratch) = self.lend(0, self.pooled_cells_len(batch), scratch);
                let pooled = Pooled { shape: pool, y, positions };
                self.pooled_images(batch, x, self.ready(0, weights, own), epilogue, pooled, scratch);
            }
            Pass::InputGradient { dy, weights, dx } => {
                self.input_gradient_of(batch, dy, weights, dx, scratch.lend(self.pass_scratch_len(1, batch)));
            }
            Pass::WeightGradient { x, dy, dweight } => {
                self.weight_gradient_of(batch, x, dy, dweight, scratch.lend(self.pass_scratch_len(2, batch)));
            }
            Pass::BackwardMaxPooled { x, pool, dy, positions, weights, dx, dweight } => {
                let scratch = scratch.lend(self.backward_scratch_len(batch));
                self.backward_of_winners(batch, x, pool, dy, positions, weights, dx, dweight, scratch);
            }
        }
    }

    pub(super) fn input_gradient_of(
        &self,
        batch: usize,
        dy: &[T],
        weights: Weights<'_, T>,
        dx: &mut [T],
        scratch: &mut [T],
    ) {
        let (own, scratch) = scratch.split_at_mut(self.pass_packed_len(1));
        self.checked(1, batch, dy, self.ready(1, weights, own), Epilogue::none(), dx, scratch);
    }

    pub(super) fn weight_gradient_of(&self, batch: usize, x: &[T], dy: &[T], dweight: &mut [T], scratch: &mut [T]) {
        match self.weight_gradient_algorithm(batch) {
            Algorithm::Images => {
                let images = Images::new(&self.shape, batch, self.isa);
                images.weight_gradient(&self.taps, x, Maps::Whole(dy), dweight, scratch);
            }
            Algorithm::Depthwise => self.depthwise(batch).weight_gradient(x, dy, dweight, scratch),
            Algorithm::Direct => self.direct(batch).weight_gradient_by_pixels(x, dy, dweight, scratch),
            Algorithm::Channels => self.direct(batch).weight_gradient_by_channels(x, dy, dweight, scratch),
            algorithm @ (Algorithm::Winograd | Algorithm::Winograd4) => {
                self.winograd(algorithm, 2, batch).weight_gradient(x, dy, dweight, scratch);
            }
            algorithm => self.product(algorithm, batch).weight_gradient(x, dy, dweight, scratch),
        }
    }

    /// Room for the packed weights of pass 0 or 1, and for its cells.
    fn lend<'s>(&self, pass: usize, cells: usize, scratch: &'s mut Scratch<T>) -> (&'s mut [T], &'s mut [T]) {
        let own = self.pass_packed_len(pass);
        scratch.lend(own + cells).split_at_mut(own)
    }

    /// The weights for pass 0 or 1: in the order that the caller has had made, or else one that is made in `own`.
    pub(super) fn ready<'p>(&self, pass: usize, weights: Weights<'p, T>, own: &'p mut [T]) -> Ready<'p, T> {
        let packs = self.passes[pass].packs();
        match weights {
            Weights::Packed(packed) => {
                let (head, orders) = packed.split_at(self.packed_head_len());
                let (forward, input_gradient) = orders.split_at(self.pass_packed_len(0));
                let plain = &head[aligned::<T>(1)..][..self.shape.weight_len()];
                let order = if pass == 0 { forward } else { input_gradient };
                let finite = !self.meets_zeros(pass) || head[0] == T::ZERO;
                Ready { plain, packed: if packs { order } else { plain }, finite }
            }
            Weights::Plain(plain) => {
                let finite = !self.meets_zeros(pass) || all_finite(plain);
                if !packs {
                    return Ready { plain, packed: plain, finite };
                }
                self.pack_pass(pass, plain, own);
                Ready { plain, packed: own, finite }
            }
        }
    }

    /// Packed weights: what tells whether they are finite, the weights as they are, and the orders of passes 0 and 1.
    fn pack_all(&self, weight: &[T], packed: &mut [T]) {
        let (head, orders) = packed.split_at_mut(self.packed_head_len());
        head[0] = if all_finite(weight) { T::ZERO } else { T::one() };
        head[aligned::<T>(1)..][..weight.len()].copy_from_slice(weight);
        let (forward, input_gradient) = orders.split_at_mut(self.pass_packed_len(0));
        for (pass, order) in [forward, input_gradient].into_iter().enumerate().filter(|(_, order)| !order.is_empty()) {
            self.pack_pass(pass, weight, order);
        }
    }

    /// Elements of the weights as they are, and what comes before them.
    pub(super) fn packed_head_len(&self) -> usize {
        aligned::<T>(1) + aligned::<T>(self.shape.weight_len())
    }

    /// Whether weights of pass 0 or 1 are multiplied with zeros that the definition does not have.
    fn meets_zeros(&self, pass: usize) -> bool {
        match (self.few[pass], pass) {
            (Algorithm::Im2col | Algorithm::Direct | Algorithm::Channels, 0) => self.shape.padding() != Padding::NONE,
            (Algorithm::Channels | Algorithm::Mirrored, _) => true,
            _ => false,
        }
    }

    /// Puts the weights into the order of pass 0 or 1, whose algorithm has one.
    fn pack_pass(&self, pass: usize, weight: &[T], packed: &mut [T]) {
        let (straight, mirrored) = (Overlays::straight(weight), Overlays::mirrored(weight));
        match (self.few[pass], pass) {
            (Algorithm::Direct, 0) => self.direct(1).pack_pixels(straight, packed),
            (Algorithm::Direct, _) => self.direct(1).pack_scatter(weight, packed),
            (Algorithm::Channels, 0) => self.direct(1).pack_channels(straight, packed),
            (Algorithm::Channels, _) => self.mirror(1).pack_channels(mirrored, packed),
            (Algorithm::Mirrored, _) => self.mirror(1).pack_pixels(mirrored, packed),
            (algorithm @ (Algorithm::Winograd | Algorithm::Winograd4), _) => {
                let overlays = if pass == 0 { straight } else { mirrored };
                self.winograd(algorithm, pass, 1).transform_kernels(overlays, packed);
            }
            (algorithm, _) => unreachable!("{algorithm} takes weights as they are"),
        }
    }

    /// Elements of the order that pass 0 or 1 has of its own.
    pub(super) fn pass_packed_len(&self, pass: usize) -> usize {
        aligned::<T>(match (self.few[pass], pass) {
            (algorithm, _) if !algorithm.packs() => 0,
            (Algorithm::Channels, 0) => self.direct(1).packed_channels_len::<T>(),
            (Algorithm::Channels, _) => self.mirror(1).packed_channels_len::<T>(),
            (algorithm @ (Algorithm::Winograd | Algorithm::Winograd4), _) => {
                self.winograd(algorithm, pass, 1).kernels_len::<T>()
            }
            _ => self.shape.weight_len(),
        })
    }

    /// Pass 0 or 1: what is not finite is so by definition.
    #[expect(clippy::too_many_arguments, reason = "those of the passes")]
    pub(super) fn checked(
        &self,
        pass: usize,
        batch: usize,
        from: &[T],
        weights: Ready<'_, T>,
        epilogue: Epilogue<'_, T>,
        to: &mut [T],
        scratch: &mut [T],
    ) {
        let algorithm = self.passes[pass];
        let strange = self.by_algorithm(algorithm, pass, batch, from, weights.packed, epilogue, to, scratch);
        if !strange && weights.finite {
            return;
        }
        // Again without the activation, which hides what is not finite.
        let sums = Epilogue { activation: Activation::Identity, ..epilogue };
        self.by_algorithm(algorithm, pass, batch, from, weights.packed, sums, to, scratch);
        let (shape, maps, pixels) = (&self.shape, self.shape.out_channels(), self.shape.out_pixels());
        match pass {
            0 => mend_all(to, &|index| {
                let sum = definition::forward(shape, from, weights.plain, index);
                epilogue.bias.map_or(sum, |bias| sum + bias[index / pixels % maps])
            }),
            _ => mend_all(to, &|index| definition::input_gradient(shape, from, weights.plain, index)),
        }
        epilogue.activation.apply(to);
    }

    /// Pass 0 or 1 by an algorithm; true if it tells that it has made infinities or NaN, which it may spread.
    #[expect(clippy::too_many_arguments, reason = "those of the passes")]
    fn by_algorithm(
        &self,
        algorithm: Algorithm,
        pass: usize,
        batch: usize,
        from: &[T],
        packed: &[T],
        epilogue: Epilogue<'_, T>,
        to: &mut [T],
        scratch: &mut [T],
    ) -> bool {
        match (algorithm, pass) {
            (Algorithm::Depthwise, 0) => self.depthwise(batch).forward(from, packed, epilogue, to, scratch),
            (Algorithm::Depthwise, _) => self.depthwise(batch).input_gradient(from, packed, to, scratch),
            (Algorithm::Direct, 0) => self.direct(batch).forward_by_pixels(from, packed, epilogue, to, scratch),
            (Algorithm::Direct, _) => self.direct(batch).input_gradient(from, packed, to, scratch),
            (Algorithm::Channels, 0) => self.direct(batch).forward_by_channels(from, packed, epilogue, to, scratch),
            (Algorithm::Channels, _) => self.mirror(batch).forward_by_channels(from, packed, epilogue, to, scratch),
            (Algorithm::Mirrored, _) => self.mirror(batch).forward_by_pixels(from, packed, epilogue, to, scratch),
            (Algorithm::Images, _) => {
                let shape = if pass == 0 { &self.shape } else { self.mirror(batch).shape() };
                let whole = Images::whole::<T>(batch, self.isa);
                let (from, few) = from.split_at(whole * shape.input_len());
                let (to, rest) = to.split_at_mut(whole * shape.output_len());
                let weights = self.packed_for_images(pass, packed);
                Images::new(shape, whole, self.isa).forward(Maps::Whole(from), weights, epilogue, to, scratch);
                return self.by_algorithm(self.few[pass], pass, batch - whole, few, packed, epilogue, rest, scratch);
            }
            (algorithm @ (Algorithm::Winograd | Algorithm::Winograd4), _) => {
                return self.winograd(algorithm, pass, batch).forward(from, packed, epilogue, to, scratch);
            }
            (algorithm, 0) => self.product(algorithm, batch).forward(from, packed, epilogue, to, scratch),
            (algorithm, _) => self.product(algorithm, batch).input_gradient(from, packed, to, scratch),
        }
        false
    }

    /// The weights for pass 0 or 1 by [`Algorithm::Images`].
    pub(super) fn packed_for_images<'p>(&self, pass: usize, packed: &'p [T]) -> Packed<'p, T> {
        if self.few[pass] == Algorithm::Channels { Packed::Channels(packed) } else { Packed::Pixels(packed) }
    }

    /// Scratch elements for pass 0 (forward), 1 (input gradient) or 2 (weight gradient).
    pub(super) fn pass_scratch_len(&self, pass: usize, batch: usize) -> usize {
        let packed = if pass == 2 { 0 } else { self.pass_packed_len(pass) };
        packed + self.cells_len(pass, batch)
    }

    /// The same without the packed weights.
    pub(super) fn cells_len(&self, pass: usize, batch: usize) -> usize {
        self.cells_len_of(self.passes[pass], pass, batch)
    }

    fn cells_len_of(&self, algorithm: Algorithm, pass: usize, batch: usize) -> usize {
        match (algorithm, pass) {
            (Algorithm::Images, _) => {
                let images = match pass {
                    0 => Images::new(&self.shape, batch, self.isa).scratch_len::<T>(),
                    1 => Images::new(self.mirror(batch).shape(), batch, self.isa).scratch_len::<T>(),
                    _ => Images::new(&self.shape, batch, self.isa).gradient_scratch_len::<T>(),
                };
                let few = batch.min(Images::most_few::<T>(self.isa));
                images.max(self.cells_len_of(self.few[pass], pass, few))
            }
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

    /// The algorithm of the weight gradient for so many images.
    pub(super) fn weight_gradient_algorithm(&self, batch: usize) -> Algorithm {
        if Images::fill::<T>(batch, self.isa) { self.passes[2] } else { self.few[2] }
    }

    fn depthwise(&self, batch: usize) -> Depthwise<'_> {
        let geometry = self.depthwise.as_ref().expect("plans with a depthwise pass have its geometry");
        Depthwise::new(&self.shape, geometry, batch, self.isa)
    }

    /// The passes of the shape; the input gradient is the forward pass of the mirrored one.
    pub(super) fn winograd(&self, algorithm: Algorithm, pass: usize, batch: usize) -> Winograd {
        let tile = algorithm.tile(&self.shape).expect("plans have no pass that its algorithm lacks");
        let straight = Winograd::new(self.shape, tile, batch, self.isa);
        if pass != 1 { straight } else { straight.mirrored().expect("plans have no pass that its algorithm lacks") }
    }

    fn product(&self, algorithm: Algorithm, batch: usize) -> Product<'_> {
        Product::new(&self.shape, batch, self.isa, algorithm)
    }

    pub(super) fn direct(&self, batch: usize) -> Direct<'_> {
        let geometry = self.direct.as_ref().expect("plans with a direct pass have its geometry");
        Direct::new(&self.shape, geometry, batch, self.isa)
    }

    /// The direct convolution whose forward pass is the input gradient.
    pub(super) fn mirror(&self, batch: usize) -> Direct<'_> {
        let (shape, geometry) = self.mirror.as_ref().expect("plans with a mirrored pass have its geometry");
        Direct::new(shape, geometry, batch, self.isa)
    }
}
