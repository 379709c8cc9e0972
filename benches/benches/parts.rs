//! The other kernels of a network: products of dense layers, pooling, activations.

use std::{hint::black_box, time::Duration};

use conv_kernels::{Activation, Pool2dShape, gemm, log_softmax, max_pool2d, max_pool2d_backward};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;
use overlay_benches::numbers;

const SECOND: Duration = Duration::from_secs(1);

fn products(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gemm");
    for (m, n, k) in [(64, 100, 640), (100, 640, 64), (64, 10, 100), (512, 512, 512)] {
        let matrix =
            |rows, columns| Array2::from_shape_vec((rows, columns), numbers(rows * columns)).expect("as many numbers");
        let (a, b, mut c) = (matrix(m, k), matrix(k, n), matrix(m, n));
        group.throughput(Throughput::Elements((m * n * k) as u64));
        group.bench_function(BenchmarkId::from_parameter(format!("{m}x{n}x{k}")), |bencher| {
            bencher.iter(|| gemm(1.0, black_box(&a), &b, 0.0, &mut c).expect("the shapes agree"));
        });
    }
    group.finish();
}

fn pooling(criterion: &mut Criterion) {
    const FITS: &str = "every slice has the length that the shape says";
    let mut group = criterion.benchmark_group("max_pool2d");
    for (name, window, stride) in [("2x2", 2, 2), ("2x2-stride-1", 2, 1), ("3x3-stride-2", 3, 2)] {
        let shape = Pool2dShape::new(20, [24, 24], [window; 2], [stride; 2]).expect("the window fits");
        let (x, mut y) = (numbers(64 * shape.input_len()), numbers(64 * shape.output_len()));
        let (mut positions, mut dx) = (vec![0; y.len()], x.clone());
        group.throughput(Throughput::Elements(x.len() as u64));
        group.bench_function(BenchmarkId::new("forward", name), |bencher| {
            bencher.iter(|| max_pool2d(&shape, 64, black_box(&x), &mut y, &mut positions).expect(FITS));
        });
        group.bench_function(BenchmarkId::new("backward", name), |bencher| {
            bencher.iter(|| max_pool2d_backward(&shape, 64, black_box(&y), &positions, &mut dx).expect(FITS));
        });
    }
    group.finish();
}

fn elementwise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("elementwise");
    let x = numbers(64 * 1000);
    group.throughput(Throughput::Elements(x.len() as u64));
    for activation in [Activation::Sigmoid, Activation::Tanh, Activation::Relu] {
        let mut z = x.clone();
        group.bench_function(BenchmarkId::from_parameter(activation), |bencher| {
            bencher.iter(|| {
                z.copy_from_slice(black_box(&x));
                activation.apply(&mut z);
            });
        });
    }
    let mut out = x.clone();
    group.bench_function("log_softmax", |bencher| {
        bencher.iter(|| x.chunks_exact(10).zip(out.chunks_exact_mut(10)).for_each(|(x, out)| log_softmax(x, out)));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(SECOND / 2).measurement_time(2 * SECOND);
    targets = products, pooling, elementwise
}
criterion_main!(benches);
