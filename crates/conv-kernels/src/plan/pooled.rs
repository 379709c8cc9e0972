//! The passes with 2x2 max pooling: while feature maps are in a cache, or by way of memory.

use super::run::Ready;
use super::{Algorithm, Conv2dPlan, Weights};
use crate::conv::direct::Pooled;
use crate::conv::images::{Images, Maps, Packed};
use crate::pool::Pooling;
use crate::scratch::aligned;
use crate::threads::images_for_all_lanes;
use crate::{Epilogue, Pool2dShape, Scalar, Scratch};

impl<T: Scalar> Conv2dPlan<T> {
    /// The forward pass with max pooling.
    pub(super) fn pooled_images(
        &self,
        batch: usize,
        x: &[T],
        weights: Ready<'_, T>,
        epilogue: Epilogue<'_, T>,
        Pooled { shape, y, positions }: Pooled<'_, T>,
        scratch: &mut [T],
    ) {
        let pooled = Pooled { shape, y: &mut *y, positions: &mut *positions };
        let done =
            weights.finite && self.pooled_by(self.passes[0], batch, x, weights.packed, epilogue, pooled, scratch);
        if !done {
            let pooled = Pooled { shape, y, positions };
            self.forward_and_pool(batch, x, weights, epilogue, pooled, scratch);
        }
    }

    /// The same by an algorithm that has it; false if it has not, or if it has met what is not finite.
    #[expect(clippy::too_many_arguments, reason = "those of the pass")]
    fn pooled_by(
        &self,
        algorithm: Algorithm,
        batch: usize,
        x: &[T],
        packed: &[T],
        epilogue: Epilogue<'_, T>,
        pooled: Pooled<'_, T>,
        scratch: &mut [T],
    ) -> bool {
        match algorithm {
            Algorithm::Direct => self.direct(batch).pooled_by_pixels(x, packed, epilogue, pooled, scratch),
            Algorithm::Channels => self.direct(batch).pooled_by_channels(x, packed, epilogue, pooled, scratch),
            Algorithm::Images => {
                let (shape, whole) = (pooled.shape, Images::whole::<T>(batch, self.isa));
                let (x, few) = x.split_at(whole * self.shape.input_len());
                let (y, rest) = pooled.y.split_at_mut(whole * shape.output_len());
                let (positions, places) = pooled.positions.split_at_mut(y.len());
                let (images, weights) = (Images::new(&self.shape, whole, self.isa), self.packed_for_images(0, packed));
                let (pooled, rest) = (Pooled { shape, y, positions }, Pooled { shape, y: rest, positions: places });
                return !images.pooled(x, weights, epilogue, pooled, scratch)
                    && self.pooled_by(self.few[0], batch - whole, few, packed, epilogue, rest, scratch);
            }
            algorithm @ (Algorithm::Winograd | Algorithm::Winograd4) => {
                let winograd = self.winograd(algorithm, 0, batch);
                return winograd.pools(epilogue.activation) && !winograd.pooled(x, packed, epilogue, pooled, scratch);
            }
            _ => return false,
        }
        true
    }

    /// The feature maps of some images into scratch, and from there, pooled, into `y`; then the next images.
    fn forward_and_pool(
        &self,
        batch: usize,
        x: &[T],
        weights: Ready<'_, T>,
        epilogue: Epilogue<'_, T>,
        pooled: Pooled<'_, T>,
        scratch: &mut [T],
    ) {
        let Pooled { shape, y, positions } = pooled;
        let together = self.pooled_together(batch);
        // Only for weights that are not finite there is more to do than was to be expected.
        let (needed, mut more) = (self.unpooled_cells_len(batch), Scratch::new());
        let scratch = if scratch.len() < needed { more.lend(needed) } else { scratch };
        let (maps, scratch) = scratch.split_at_mut(aligned::<T>(together * shape.input_len()));
        let outputs = together * shape.output_len();
        let pooled = y.chunks_mut(outputs).zip(positions.chunks_mut(outputs));
        for (x, (y, positions)) in x.chunks(together * self.shape.input_len()).zip(pooled) {
            let batch = y.len() / shape.output_len();
            let maps = &mut maps[..batch * shape.input_len()];
            self.checked(0, batch, x, weights, epilogue, maps, scratch);
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
        self.pass_packed_len(0) + self.pooled_cells_len(batch)
    }

    pub(super) fn pooled_cells_len(&self, batch: usize) -> usize {
        self.pooled_cells_len_of(self.passes[0], batch)
    }

    fn pooled_cells_len_of(&self, algorithm: Algorithm, batch: usize) -> usize {
        match algorithm {
            Algorithm::Images => {
                let [rows, columns] = self.shape.output();
                let images = Images::new(&self.shape, batch, self.isa);
                let few = batch.min(Images::most_few::<T>(self.isa));
                images.pooled_scratch_len::<T>(rows / 2 * (columns / 2)).max(self.pooled_cells_len_of(self.few[0], few))
            }
            Algorithm::Direct => self.direct(batch).pooled_pixels_scratch_len::<T>(),
            Algorithm::Channels => self.direct(batch).pooled_channels_scratch_len::<T>(),
            _ => self.unpooled_cells_len(batch).max(self.cells_len(0, batch)),
        }
    }

    /// Scratch elements for the gradients behind max pooling: those of all feature maps, and either pass's.
    pub(super) fn backward_scratch_len(&self, batch: usize) -> usize {
        let passes = self.pass_scratch_len(1, batch).max(self.pass_scratch_len(2, batch));
        aligned::<T>(batch * self.shape.output_len()) + passes
    }

    /// Scratch elements for the feature maps of some images, and for what computes them.
    fn unpooled_cells_len(&self, batch: usize) -> usize {
        let together = self.pooled_together(batch);
        let forward = [together, batch % together].map(|images| self.cells_len(0, images));
        aligned::<T>(together * self.shape.output_len()) + forward[0].max(forward[1])
    }

    /// Both gradients behind a max pooling: from the winners alone, or from the gradients of all maps.
    #[expect(clippy::too_many_arguments, reason = "those of the passes")]
    pub(super) fn backward_of_winners(
        &self,
        batch: usize,
        x: &[T],
        pool: &Pool2dShape,
        dy: &[T],
        positions: &[u32],
        weights: Weights<'_, T>,
        dx: Option<&mut [T]>,
        dweight: &mut [T],
        scratch: &mut [T],
    ) {
        let winners = Maps::Winners { pool, dy, positions };
        let weight_done = self.weight_gradient_of_winners(batch, x, winners, dweight, scratch);
        let dx =
            dx.and_then(|dx| (!self.input_gradient_of_winners(batch, winners, weights, dx, scratch)).then_some(dx));
        if weight_done && dx.is_none() {
            return;
        }
        let len = batch * pool.input_len();
        let (gradients, scratch) = scratch.split_at_mut(aligned::<T>(len));
        let gradients = &mut gradients[..len];
        Pooling::MaxBackward { dy, positions, dx: &mut *gradients }.run(pool, batch, self.isa);
        if !weight_done {
            self.weight_gradient_of(batch, x, gradients, dweight, scratch);
        }
        if let Some(dx) = dx {
            self.input_gradient_of(batch, gradients, weights, dx, scratch);
        }
    }

    /// The weight gradient from winners alone, if its algorithm can do it; else false.
    fn weight_gradient_of_winners(
        &self,
        batch: usize,
        x: &[T],
        winners: Maps<'_, T>,
        dweight: &mut [T],
        scratch: &mut [T],
    ) -> bool {
        self.weight_gradient_algorithm(batch) == Algorithm::Images && {
            let images = Images::new(&self.shape, batch, self.isa);
            images.weight_gradient(&self.taps, x, winners, dweight, scratch)
        }
    }

    /// The same for the input gradient.
    fn input_gradient_of_winners(
        &self,
        batch: usize,
        winners: Maps<'_, T>,
        weights: Weights<'_, T>,
        dx: &mut [T],
        scratch: &mut [T],
    ) -> bool {
        if self.passes[1] != Algorithm::Images || Images::whole::<T>(batch, self.isa) != batch {
            return false;
        }
        let (own, scratch) = scratch.split_at_mut(self.pass_packed_len(1));
        let weights = self.ready(1, weights, own);
        let (images, packed) =
            (Images::new(self.mirror(batch).shape(), batch, self.isa), Packed::Pixels(weights.packed));
        weights.finite && !images.forward(winners, packed, Epilogue::none(), dx, scratch)
    }
}
