//! In their stride, neither a training step nor inference allocates: for any network, optimizer, augmentation, number of threads.
//!
//! This binary holds one test, since the allocator counts for the whole process.

use std::alloc::System;

use conv_kernels::machine::Machine;
use net::{
    Activation::{Relu, Sigmoid},
    Flow, Images, Observer, Sequential, Trainer,
    augment::{Affine, Distort, Elastic, Shift},
    observe::StepReport,
    optim::{Adam, Sgd},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Training samples in a step, and steps.
const BATCH: usize = 40;
const STEPS: usize = 11;

/// How often memory was asked for since the region's begin.
fn asked(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change.allocations + change.reallocations
}

/// The thread pool's queues may grow at any time, but not at each step.
fn median(mut counts: Vec<usize>) -> usize {
    assert_eq!(counts.len(), STEPS - 1, "one between two steps each");
    counts.sort_unstable();
    counts[counts.len() / 2]
}

/// Counts from one step to the next.
struct Counts<'a> {
    since: Option<Region<'a, System>>,
    counts: &'a mut Vec<usize>,
}

impl Observer for Counts<'_> {
    fn step(&mut self, _: &StepReport) -> Flow {
        if let Some(region) = &self.since {
            self.counts.push(asked(region));
        }
        self.since = Some(Region::new(ALLOCATOR));
        Flow::Continue
    }
}

type Networks = [(&'static str, Sequential); 3];

fn networks() -> Networks {
    let images = || Sequential::builder([1, 28, 28]);
    let normalized = images().conv2d(4, 3).batch_norm2d().activation(Relu).max_pool2d(2).dropout(0.25).dense(10);
    let two = images().conv2d(6, 5).activation(Relu).max_pool2d(2).conv2d(8, 3).activation(Relu);
    let two = two.avg_pool2d(2).dense(30).activation(Relu).dropout(0.5).dense(10);
    let mlp = images().dense(30).activation(Sigmoid).dense(10);
    [("normalized", normalized), ("two convolutions", two), ("mlp", mlp)]
        .map(|(name, net)| (name, net.build(1).unwrap()))
}

fn of_a_step(trainer: Trainer<'_, f32>, net: &Sequential, threads: usize) -> usize {
    let data = mnist_io::Mnist::sample().unwrap();
    let (train, held_out) = data.train.take(BATCH * STEPS + 20).split_at(BATCH * STEPS);
    let mut counts = Vec::with_capacity(STEPS);
    let trainer = trainer.batch_size(BATCH).threads(threads);
    let mut trainer = trainer.observe(Counts { since: None, counts: &mut counts });
    trainer.fit(&mut net.clone(), train.pair(), held_out.pair()).unwrap();
    drop(trainer);
    median(counts)
}

fn of_an_inference(net: &Sequential, batch: usize, threads: usize) -> usize {
    let data = mnist_io::Mnist::sample().unwrap();
    let (images, _) = data.test.take(batch).pair();
    let images = Images::from(images);
    conv_kernels::pool(threads).unwrap().install(|| {
        let mut workspace = net.inference_workspace(batch);
        let mut infer = || {
            let region = Region::new(ALLOCATOR);
            net.infer(&mut workspace, &images).unwrap();
            asked(&region)
        };
        // the first one packs the weights
        infer();
        median((1..STEPS).map(|_| infer()).collect())
    })
}

#[test]
fn a_steady_step_allocates_nothing() {
    if Machine::detect().unwrap().instruction_set() == "portable" {
        println!("not asked of the portable set: its matrix products are matrixmultiply's, which allocates");
        return;
    }
    let affine = Affine { shift: 2.0, rotation: 12.0, scale: 0.12, shear: 8.0 };
    let distort = || Distort::new().affine(affine).elastic(Elastic { sigma: 4.0, alpha: 34.0 }).flip(0.5).cutout(6);
    for threads in [1, 2] {
        for (name, net) in networks() {
            let trainers = [
                ("plain", Trainer::new(Sgd::new(0.01))),
                ("momentum, average", Trainer::new(Sgd::new(0.01).momentum(0.9)).ema(0.9)),
                ("adam, distortions", Trainer::new(Adam::new(0.001)).augment(distort())),
                ("shifts", Trainer::new(Sgd::new(0.01)).augment(Shift::new(2))),
            ];
            for (how, trainer) in trainers {
                assert_eq!(of_a_step(trainer, &net, threads), 0, "{name}, {how}, {threads} threads");
            }
            for batch in [1, BATCH] {
                let count = of_an_inference(&net, batch, threads);
                assert_eq!(count, 0, "{name}, inference of {batch}, {threads} threads");
            }
        }
    }
}
