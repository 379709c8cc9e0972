//! A training step in its stride allocates nothing, with augmentation neither.
//!
//! This binary holds one test, since the allocator counts for the whole process.

use std::alloc::System;

use net::{
    Activation::Relu,
    Flow, Observer, Sequential, Trainer,
    augment::{Affine, Augment, Distort, Elastic, Shift},
    observe::StepReport,
    optim::Sgd,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The fewest allocations from one step to the next. The thread pool's queues may grow at any time, but not at each step.
struct Fewest<'a> {
    since: Option<Region<'a, System>>,
    fewest: &'a mut usize,
}

impl Observer for Fewest<'_> {
    fn step(&mut self, _: &StepReport) -> Flow {
        if let Some(region) = &self.since {
            let change = region.change();
            *self.fewest = change.allocations.min(*self.fewest);
        }
        self.since = Some(Region::new(ALLOCATOR));
        Flow::Continue
    }
}

fn allocations(augment: impl Augment<f32> + 'static) -> usize {
    let data = mnist_io::Mnist::sample().unwrap();
    let (train, held_out) = data.train.take(640).split_at(600);
    let mut net =
        Sequential::builder([1, 28, 28]).conv2d(4, 5).activation(Relu).max_pool2d(2).dense(10).build(1).unwrap();
    let mut fewest = usize::MAX;
    Trainer::new(Sgd::new(0.01))
        .batch_size(60)
        .threads(2)
        .augment(augment)
        .observe(Fewest { since: None, fewest: &mut fewest })
        .fit(&mut net, train.pair(), held_out.pair())
        .unwrap();
    fewest
}

#[test]
fn a_steady_step_allocates_nothing() {
    let affine = Affine { shift: 2.0, rotation: 12.0, scale: 0.12, shear: 8.0 };
    let distort = Distort::new().affine(affine).elastic(Elastic { sigma: 4.0, alpha: 34.0 }).flip(0.5).cutout(6);
    assert_eq!(allocations(distort), 0);
    assert_eq!(allocations(Shift::new(2)), 0);
}
