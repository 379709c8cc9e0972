//! A training step in its stride allocates nothing: what a pass needs lies in its scratch.
//!
//! This binary holds one test, since the allocator counts for the whole process.

use std::alloc::System;
use std::hint::black_box;

use conv_kernels::machine::Machine;
use conv_kernels::{Algorithm, Conv2dPlan, Conv2dShape, Epilogue, Options, Pool2dShape, Scratch};
use conv_kernels::{max_pool2d, max_pool2d_backward, pool};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Algorithms whose matrix products are by `matrixmultiply`, which packs operands into memory that it allocates: with
/// vectors of its own, overlay needs it no more.
fn allocating() -> &'static [Algorithm] {
    match Machine::detect().unwrap().instruction_set() {
        "portable" => &[Algorithm::Im2col, Algorithm::Pointwise],
        _ => &[],
    }
}

/// Allocations of a call, after one to warm up. The thread pool's queues may grow at any time, but not at each of
/// several calls: the least counts.
fn allocations(mut call: impl FnMut()) -> usize {
    call();
    let count = |()| {
        let region = Region::new(ALLOCATOR);
        call();
        let change = region.change();
        change.allocations + change.reallocations
    };
    [(); 4].map(count).into_iter().min().unwrap_or(0)
}

/// What each pass of a plan allocates, with its algorithm, then the bias gradient.
fn passes(plan: &Conv2dPlan<f32>, batch: usize) -> [(&'static str, Option<Algorithm>, usize); 4] {
    let shape = plan.shape();
    let (x, weight) = (vec![0.5; batch * shape.input_len()], vec![0.25; shape.weight_len()]);
    let (bias, dy) = (vec![1.0; shape.out_channels()], vec![0.5; batch * shape.output_len()]);
    let (mut y, mut dx, mut dweight, mut dbias) = (dy.clone(), x.clone(), weight.clone(), bias.clone());
    let mut scratch = Scratch::new();
    let epilogue = Epilogue { bias: Some(&bias), ..Epilogue::none() };
    let [by_forward, by_input, by_weight] = plan.algorithms().map(Some);
    let forward = allocations(|| plan.forward(batch, &x, &weight, epilogue, &mut y, &mut scratch).unwrap());
    let input = allocations(|| plan.input_gradient(batch, &dy, &weight, &mut dx, &mut scratch).unwrap());
    let weight = allocations(|| plan.weight_gradient(batch, &x, &dy, &mut dweight, &mut scratch).unwrap());
    let bias = allocations(|| plan.bias_gradient(batch, &dy, &mut dbias).unwrap());
    [
        ("forward", by_forward, forward),
        ("input_gradient", by_input, input),
        ("weight_gradient", by_weight, weight),
        ("bias_gradient", None, bias),
    ]
}

/// What max pooling allocates, there and back.
fn pooling(channels: usize, side: usize, batch: usize) -> [usize; 2] {
    let shape = Pool2dShape::new(channels, [side; 2], [2; 2], [2; 2]).unwrap();
    let mut x: Vec<f32> = (0..batch * channels * side * side).map(|index| (index % 101) as f32).collect();
    let len = batch * channels * (side / 2) * (side / 2);
    let (mut y, mut positions) = (vec![0.0; len], vec![0; len]);
    [
        allocations(|| max_pool2d(&shape, batch, &x, &mut y, &mut positions).unwrap()),
        allocations(|| max_pool2d_backward(&shape, batch, &y, &positions, &mut x).unwrap()),
    ]
}

#[test]
fn a_step_allocates_nothing() {
    assert_eq!(allocations(|| drop(black_box(vec![0; 9]))), 1, "what counts counts");

    let conv = Conv2dShape::builder;
    let layers = [
        (conv(1, 20, [28, 28], [5, 5]), 1),
        (conv(1, 20, [28, 28], [5, 5]), 64),
        (conv(20, 40, [12, 12], [5, 5]), 16),
        (conv(32, 64, [26, 26], [3, 3]).padding(1), 8),
        (conv(16, 32, [32, 32], [3, 3]).stride([2, 2]).padding(1), 8),
        (conv(24, 48, [20, 20], [3, 3]).groups(4).dilation([2, 2]), 8),
        (conv(32, 32, [56, 56], [3, 3]).groups(32).padding(1), 4),
        (conv(64, 64, [28, 28], [1, 1]), 4),
        (conv(1, 1, [300, 300], [11, 11]), 1),
    ];
    for threads in [1, 2] {
        let (mut reached, mut faults) = (Vec::new(), Vec::new());
        pool(threads).unwrap().install(|| {
            for (builder, batch) in layers {
                let shape = builder.build().unwrap();
                let force = |algorithm| Conv2dPlan::new(shape, &Options::default().force(algorithm)).ok();
                for (pass, by, count) in
                    Algorithm::ALL.into_iter().filter_map(force).flat_map(|plan| passes(&plan, batch))
                {
                    reached.extend(by);
                    if count > 0 && by.is_none_or(|by| !allocating().contains(&by)) {
                        faults.push(format!("{pass} of {batch} x ({shape}) by {by:?}: {count}"));
                    }
                }
            }
            for (channels, side, batch) in [(1, 8, 1), (20, 24, 64)] {
                let counts = pooling(channels, side, batch);
                if counts != [0, 0] {
                    faults.push(format!("max pooling of {batch} x {channels}x{side}x{side}: {counts:?}"));
                }
            }
        });
        assert!(faults.is_empty(), "with {threads} threads: {faults:#?}");
        assert!(Algorithm::ALL.iter().all(|algorithm| reached.contains(algorithm)), "{reached:?}");
    }
}
