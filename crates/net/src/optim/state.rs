//! What an optimizer remembers of a network.

use std::sync::Arc;

use layers::{Arena, Layout, Scalar};

use super::{OptimError, Optimizer, Step};

/// No optimizer here needs more slots; a bound spares the steps an allocation.
const MAX_SLOTS: usize = 2;

/// Parameters that are worth handing to a thread.
const PIECE: usize = 1 << 16;

/// Parameters are cut at multiples of so many.
const LINE: usize = 64;

/// The state of an optimizer for all parameters of a network: the number of steps made, and its slots.
///
/// Slots are arenas with the layout of the parameters, so they are saved and restored as parameters are. The optimizer itself
/// stays outside, and is handed to every [`step`](OptimizerState::step).
///
/// ```
/// use std::sync::Arc;
///
/// use layers::{Arena, Layout, TensorSpec};
/// use net::optim::{OptimizerState, Sgd};
///
/// let layout = Arc::new(Layout::new([TensorSpec::weight("weight", &[2, 3])]));
/// let sgd = Sgd::new(0.03).momentum(0.9);
/// let (mut params, grads) = (Arena::<f32>::zeros(layout.clone()), Arena::zeros(layout.clone()));
/// let mut state = OptimizerState::new(&sgd, &layout);
/// state.step(&sgd, 0.03, &mut params, &grads);
///
/// // save and restore
/// let saved: Vec<_> = state.slots().map(|(name, slot)| (name, slot.clone())).collect();
/// let mut resumed = OptimizerState::new(&sgd, &layout);
/// resumed.restore(state.step_number(), saved)?;
/// assert_eq!(resumed.step_number(), 1);
/// # Ok::<(), net::optim::OptimError>(())
/// ```
#[derive(Clone, Debug)]
pub struct OptimizerState<T: Scalar> {
    step: u64,
    layout: Arc<Layout>,
    names: &'static [&'static str],
    slots: Vec<Arena<T>>,
}

impl<T: Scalar> OptimizerState<T> {
    /// The state before the first step: slots of zeros.
    ///
    /// # Panics
    /// When the optimizer names more than two slots.
    #[must_use]
    pub fn new(optimizer: &dyn Optimizer<T>, layout: &Arc<Layout>) -> Self {
        let names = optimizer.slots();
        assert!(
            names.len() <= MAX_SLOTS,
            "an optimizer has at most {MAX_SLOTS} slots; {} has {names:?}",
            optimizer.name()
        );
        let slots = names.iter().map(|_| Arena::zeros(Arc::clone(layout))).collect();
        Self { step: 0, layout: Arc::clone(layout), names, slots }
    }

    /// The number of steps made.
    #[must_use]
    pub fn step_number(&self) -> u64 {
        self.step
    }

    /// The slots, by name.
    pub fn slots(&self) -> impl ExactSizeIterator<Item = (&'static str, &Arena<T>)> {
        self.names.iter().copied().zip(&self.slots)
    }

    /// Goes on after `step` steps with saved slots, in any order. On an error nothing has changed.
    ///
    /// # Errors
    /// [`OptimError::Slots`] when the names are not those of the optimizer, [`OptimError::Layout`] when a slot has not the
    /// layout of the parameters.
    pub fn restore<S: AsRef<str>>(
        &mut self,
        step: u64,
        slots: impl IntoIterator<Item = (S, Arena<T>)>,
    ) -> Result<(), OptimError> {
        let mut saved: Vec<_> = slots.into_iter().collect();
        let place = |name: &S| self.names.iter().position(|known| *known == name.as_ref());
        saved.sort_by_key(|(name, _)| place(name));
        if !saved.iter().map(|(name, _)| name.as_ref()).eq(self.names.iter().copied()) {
            let got = saved.iter().map(|(name, _)| name.as_ref()).collect::<Vec<_>>().join(", ");
            return Err(OptimError::Slots { expected: self.names.join(", "), got });
        }
        if let Some((slot, _)) = saved.iter().find(|(_, arena)| *arena.layout() != self.layout) {
            return Err(OptimError::Layout { slot: slot.as_ref().into() });
        }
        self.slots = saved.into_iter().map(|(_, arena)| arena).collect();
        self.step = step;
        Ok(())
    }

    /// One step for every tensor: `params` move against `grads`. `learning_rate` is that of this step, after any schedule.
    /// Allocates nothing.
    ///
    /// # Panics
    /// When parameters or gradients have another layout than the state, or when the optimizer needs other slots than the one
    /// that the state was made for.
    pub fn step(&mut self, optimizer: &dyn Optimizer<T>, learning_rate: f64, params: &mut Arena<T>, grads: &Arena<T>) {
        for arena in [&*params, grads] {
            assert!(*arena.layout() == self.layout, "parameters, gradients and optimizer state have one layout");
        }
        assert_eq!(optimizer.slots(), self.names, "the state was made for another optimizer");
        self.step += 1;
        let layout = Arc::clone(&self.layout);
        for (spec, range) in layout.iter() {
            let step = Step { number: self.step, learning_rate, decay: spec.decay };
            let mut slots: [&mut [T]; MAX_SLOTS] = Default::default();
            for (slot, arena) in slots.iter_mut().zip(&mut self.slots) {
                *slot = &mut arena.values_mut()[range.clone()];
            }
            let (params, grads) = (&mut params.values_mut()[range.clone()], &grads.values()[range]);
            update(optimizer, step, self.names.len(), params, grads, slots);
        }
    }
}

/// Optimizers work element by element, so long slices are cut, and the pieces go to all threads.
fn update<T: Scalar>(
    optimizer: &dyn Optimizer<T>,
    step: Step,
    count: usize,
    params: &mut [T],
    grads: &[T],
    mut slots: [&mut [T]; MAX_SLOTS],
) {
    if params.len() <= PIECE {
        return optimizer.update(step, params, grads, &mut slots[..count]);
    }
    let at = (params.len() / 2).next_multiple_of(LINE);
    let (params, grads) = (params.split_at_mut(at), grads.split_at(at));
    let [first, second] = slots.map(|slot| slot.split_at_mut(at.min(slot.len())));
    rayon::join(
        || update(optimizer, step, count, params.0, grads.0, [first.0, second.0]),
        || update(optimizer, step, count, params.1, grads.1, [first.1, second.1]),
    );
}
