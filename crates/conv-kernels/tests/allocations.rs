//! A training step in its stride allocates nothing: what a pass needs lies in its scratch.
//!
//! This binary holds one test, since the allocator counts for the whole process.

mod common;

use std::alloc::System;
use std::hint::black_box;

use common::{again_with_each_instruction_set, instruction_set};
use conv_kernels::{Activation, BatchNorm, Moments, Normalized, Statistics};
use conv_kernels::{Algorithm, Conv2dPlan, Conv2dShape, Epilogue, Options, PackFor, Pool2dShape, Scratch, Weights};
use conv_kernels::{avg_pool2d, avg_pool2d_backward, gemm, max_pool2d, max_pool2d_backward, pool};
use ndarray::Array2;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Whether matrix products are by `matrixmultiply`, which packs operands into memory that it allocates: with vectors of its
/// own, overlay needs it no more.
fn products_allocate() -> bool {
    instruction_set() == "portable"
}

/// Whether an algorithm is one of matrix products, or leaves a few images to one.
fn multiplies_matrices(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::Im2col | Algorithm::Pointwise | Algorithm::Images)
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

/// What each pass of a plan allocates, with its algorithm; then what has none.
fn passes(plan: &Conv2dPlan<f32>, batch: usize) -> [(&'static str, Option<Algorithm>, usize); 9] {
    let shape = plan.shape();
    let (x, weight) = (vec![0.5; batch * shape.input_len()], vec![0.25; shape.weight_len()]);
    let (bias, dy) = (vec![1.0; shape.out_channels()], vec![0.5; batch * shape.output_len()]);
    let (mut y, mut dx, mut dweight, mut dbias) = (dy.clone(), x.clone(), weight.clone(), bias.clone());
    let mut packed = [PackFor::Forward, PackFor::Learning].map(|passes| vec![0.0; plan.packed_len(passes)]);
    let windows = Pool2dShape::new(shape.out_channels(), shape.output(), [2; 2], [2; 2]).unwrap();
    let mut positions = vec![0; batch * windows.output_len()];
    let mut pooled = vec![0.0; positions.len()];
    let mut scratch = Scratch::new();
    let epilogue = Epilogue { bias: Some(&bias), ..Epilogue::none() };
    let [by_forward, by_input, by_weight] = plan.algorithms().map(Some);
    let pack = allocations(|| plan.pack(PackFor::Forward, &weight, &mut packed[0]).unwrap());
    let pack_all = allocations(|| plan.pack(PackFor::Learning, &weight, &mut packed[1]).unwrap());
    let forward = allocations(|| plan.forward(batch, &x, &weight, epilogue, &mut y, &mut scratch).unwrap());
    let forward_packed = allocations(|| {
        plan.forward(batch, &x, Weights::Packed(&packed[0]), epilogue, &mut y, &mut scratch).unwrap();
    });
    let pooling = allocations(|| {
        let (pooled, positions) = (&mut pooled, &mut positions);
        plan.forward_max_pooled(batch, &x, &weight, epilogue, pooled, positions, &mut scratch).unwrap();
    });
    let input = allocations(|| plan.input_gradient(batch, &dy, &weight, &mut dx, &mut scratch).unwrap());
    let input_packed = allocations(|| {
        plan.input_gradient(batch, &dy, Weights::Packed(&packed[1]), &mut dx, &mut scratch).unwrap();
    });
    let weight = allocations(|| plan.weight_gradient(batch, &x, &dy, &mut dweight, &mut scratch).unwrap());
    let bias = allocations(|| plan.bias_gradient(batch, &dy, &mut dbias).unwrap());
    [
        ("pack for use", None, pack),
        ("pack for learning", None, pack_all),
        ("forward", by_forward, forward),
        ("forward with packed weights", by_forward, forward_packed),
        ("forward_max_pooled", by_forward, pooling),
        ("input_gradient", by_input, input),
        ("input_gradient with packed weights", by_input, input_packed),
        ("weight_gradient", by_weight, weight),
        ("bias_gradient", None, bias),
    ]
}

/// What pooling allocates, of maxima and of means, there and back.
fn pooling(channels: usize, side: usize, batch: usize) -> [usize; 4] {
    let shape = Pool2dShape::new(channels, [side; 2], [2; 2], [2; 2]).unwrap();
    let mut x: Vec<f32> = (0..batch * channels * side * side).map(|index| (index % 101) as f32).collect();
    let len = batch * channels * (side / 2) * (side / 2);
    let (mut y, mut positions) = (vec![0.0; len], vec![0; len]);
    [
        allocations(|| max_pool2d(&shape, batch, &x, &mut y, &mut positions).unwrap()),
        allocations(|| max_pool2d_backward(&shape, batch, &y, &positions, &mut x).unwrap()),
        allocations(|| avg_pool2d(&shape, batch, &x, &mut y).unwrap()),
        allocations(|| avg_pool2d_backward(&shape, batch, &y, &mut x).unwrap()),
    ]
}

/// What batch normalization allocates, there and back.
fn normalization(channels: usize, plane: usize, batch: usize) -> [usize; 2] {
    let (weight, bias) = (vec![1.0f32; channels], vec![0.5; channels]);
    let norm = BatchNorm { plane, weight: &weight, bias: &bias, epsilon: 1e-5, activation: Activation::Relu };
    let x: Vec<f32> = (0..batch * channels * plane).map(|index| (index % 101) as f32).collect();
    let (mut y, mut dy, mut dx) = (x.clone(), x.clone(), x.clone());
    let (mut dweight, mut dbias, mut moments) = (weight.clone(), bias.clone(), vec![Moments::default(); channels]);
    let statistics = Statistics::Batch;
    [
        allocations(|| norm.forward(batch, &x, &mut y, &mut moments, statistics).unwrap()),
        allocations(|| {
            let seen = Normalized { x: &x, y: &y, moments: &moments, statistics, dy: &mut dy };
            norm.backward(batch, seen, Some(&mut dx), &mut dweight, &mut dbias).unwrap();
        }),
    ]
}

/// What a matrix product allocates, with its operands as they are, and transposed.
fn product([m, k, n]: [usize; 3]) -> [usize; 2] {
    let (a, b, mut c) = (Array2::ones((m, k)), Array2::ones((k, n)), Array2::zeros((m, n)));
    let (a_turned, b_turned) = (Array2::<f32>::ones((k, m)), Array2::ones((n, k)));
    [
        allocations(|| gemm(1.0, &a, &b, 0.0, &mut c).unwrap()),
        allocations(|| gemm(0.5, &a_turned.t(), &b_turned.t(), 1.0, &mut c).unwrap()),
    ]
}

/// Layers of every kind, with a batch each.
fn layers() -> [(Conv2dShape, usize); 9] {
    let conv = Conv2dShape::builder;
    [
        (conv(1, 20, [28, 28], [5, 5]), 1),
        (conv(1, 20, [28, 28], [5, 5]), 32),
        (conv(20, 40, [12, 12], [5, 5]), 8),
        (conv(32, 64, [26, 26], [3, 3]).padding(1), 2),
        (conv(16, 32, [32, 32], [3, 3]).stride([2, 2]).padding(1), 8),
        (conv(24, 48, [20, 20], [3, 3]).groups(4).dilation([2, 2]), 8),
        (conv(32, 32, [56, 56], [3, 3]).groups(32).padding(1), 4),
        (conv(64, 64, [28, 28], [1, 1]), 4),
        (conv(1, 1, [300, 300], [11, 11]), 1),
    ]
    .map(|(builder, batch)| (builder.build().unwrap(), batch))
}

/// The passes of all layers by all algorithms: which algorithms these were, and what allocates.
fn faults_of_layers() -> (Vec<Algorithm>, Vec<String>) {
    let (mut reached, mut faults) = (Vec::new(), Vec::new());
    for (shape, batch) in layers() {
        let force = |algorithm| Conv2dPlan::new(shape, &Options::default().force(algorithm)).ok();
        for (pass, by, count) in Algorithm::ALL.into_iter().filter_map(force).flat_map(|plan| passes(&plan, batch)) {
            reached.extend(by);
            if count > 0 && !(products_allocate() && by.is_some_and(multiplies_matrices)) {
                faults.push(format!("{pass} of {batch} x ({shape}) by {by:?}: {count}"));
            }
        }
    }
    (reached, faults)
}

/// What else allocates.
fn other_faults() -> Vec<String> {
    let mut faults = Vec::new();
    let mut expect_none = |what: String, counts: &[usize]| {
        if counts.iter().any(|&count| count > 0) {
            faults.push(format!("{what}: {counts:?}"));
        }
    };
    for (channels, side, batch) in [(1, 8, 1), (20, 24, 64)] {
        let what = format!("of {batch} x {channels}x{side}x{side}");
        expect_none(format!("pooling {what}"), &pooling(channels, side, batch));
        expect_none(format!("batch normalization {what}"), &normalization(channels, side * side, batch));
    }
    for sizes in [[3, 4, 5], [100, 1440, 64], [1, 800, 2000], [300, 300, 301]] {
        if !products_allocate() {
            expect_none(format!("gemm of {sizes:?}"), &product(sizes));
        }
    }
    faults
}

#[test]
fn a_step_allocates_nothing() {
    assert_eq!(allocations(|| drop(black_box(vec![0; 9]))), 1, "what counts counts");
    for threads in [1, 2] {
        let ((reached, mut faults), others) = pool(threads).unwrap().install(|| (faults_of_layers(), other_faults()));
        faults.extend(others);
        assert!(faults.is_empty(), "with {threads} threads: {faults:#?}");
        assert!(Algorithm::ALL.iter().all(|algorithm| reached.contains(algorithm)), "{reached:?}");
    }
    // No test of its own: what it allocates would be counted here.
    again_with_each_instruction_set();
}
