//! Whole networks: the gradient of a batch, and inference.

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use layers::{Phase, random::Key};
use ndarray::Array4;
use net::{Activation::Relu, Activation::Sigmoid, Images, NetError, Sequential, Targets, cost::SoftmaxCrossEntropy};
use overlay_benches::numbers;

const SECOND: Duration = Duration::from_secs(1);

fn networks() -> Result<Vec<(&'static str, Sequential)>, NetError> {
    let digits = || Sequential::builder([1, 28, 28]);
    Ok(vec![
        ("mlp30", digits().dense(30).activation(Sigmoid).dense(10).build(0)?),
        (
            "lenet5",
            digits()
                .conv2d(6, 5)
                .padding(2)
                .activation(Relu)
                .max_pool2d(2)
                .conv2d(16, 5)
                .activation(Relu)
                .max_pool2d(2)
                .dense(120)
                .activation(Relu)
                .dense(84)
                .activation(Relu)
                .dense(10)
                .build(0)?,
        ),
        (
            "nielsen",
            digits()
                .conv2d(20, 5)
                .activation(Relu)
                .max_pool2d(2)
                .conv2d(40, 5)
                .activation(Relu)
                .max_pool2d(2)
                .dense(100)
                .activation(Relu)
                .dense(10)
                .build(0)?,
        ),
    ])
}

fn steps(criterion: &mut Criterion) {
    const FITS: &str = "images and labels fit the network";
    let batch = 64;
    let values = numbers(batch * 784);
    let x = Array4::from_shape_vec((batch, 1, 28, 28), values).expect("as many numbers as pixels");
    let labels: Vec<u8> = (0..batch).map(|i| (i % 10) as u8).collect();
    let samples: Vec<u64> = (0..batch as u64).collect();
    let images = Images::from(x.view());
    for (name, net) in networks().expect("the sizes fit") {
        let mut group = criterion.benchmark_group(format!("network/{name}"));
        group.throughput(Throughput::Elements(batch as u64));
        let mut workspace = net.workspace(batch);
        group.bench_function(BenchmarkId::new("gradient", batch), |bencher| {
            let phase = Phase::Train { key: Key::new(0), epoch: 0, samples: &samples };
            let cost = SoftmaxCrossEntropy::new();
            bencher.iter(|| {
                net.gradient(&mut workspace, black_box(&images), Targets::Classes(&labels), &cost, phase).expect(FITS)
            });
        });
        group.bench_function(BenchmarkId::new("infer", batch), |bencher| {
            bencher.iter(|| net.infer(&mut workspace, black_box(&images)).map(|outputs| outputs[[0, 0]]).expect(FITS));
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(SECOND / 2).measurement_time(2 * SECOND);
    targets = steps
}
criterion_main!(benches);
