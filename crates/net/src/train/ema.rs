//! The exponential moving average of a network.

use std::{mem, sync::Arc};

use layers::{Arena, Scalar, vectorized};

use crate::{Sequential, optim::flush};

/// The mean of a network after each step so far, in which a step weighs `decay` times as much as the one after it.
///
/// The weights are normalised (the bias correction of Adam, and of optax's `ema`), so the network before the first step has no
/// share in the mean. BatchNorm's statistics are averaged like the weights: those of the last step belong to weights that the
/// averaged network does not have. Counters are copied, for a mean of counts counts nothing.
#[derive(Clone, Debug)]
pub(super) struct Average<T: Scalar> {
    decay: f64,
    pub(super) params: Arena<T>,
    pub(super) buffers: Arena<T>,
}

impl<T: Scalar> Average<T> {
    /// Before the first step: the network itself.
    pub(super) fn new(decay: f64, net: &Sequential<T>) -> Self {
        Self { decay, params: net.params.clone(), buffers: net.buffers.clone() }
    }

    /// Takes in the network after step `number`, counted from 1. Allocates nothing.
    pub(super) fn add(&mut self, net: &Sequential<T>, number: u64) {
        let share = (1.0 - self.decay) / (1.0 - self.decay.powf(number as f64));
        follow(&mut self.params, &net.params, share);
        follow(&mut self.buffers, &net.buffers, share);
    }

    /// Exchanges the average for what the network holds.
    pub(super) fn swap(&mut self, net: &mut Sequential<T>) {
        mem::swap(&mut self.params, &mut net.params);
        mem::swap(&mut self.buffers, &mut net.buffers);
    }
}

/// average ← (1 − share) average + share now
fn follow<T: Scalar>(average: &mut Arena<T>, now: &Arena<T>, share: f64) {
    let (keep, share) = (T::of(1.0 - share), T::of(share));
    let layout = Arc::clone(now.layout());
    for (spec, range) in layout.iter() {
        let (average, now) = (&mut average.values_mut()[range.clone()], &now.values()[range]);
        if spec.count {
            average.copy_from_slice(now);
        } else {
            vectorized(|| average.iter_mut().zip(now).for_each(|(a, &now)| *a = flush(keep * *a + share * now)));
        }
    }
}
