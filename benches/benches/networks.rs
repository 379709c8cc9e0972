//! Whole networks: the steps of training, and inference.

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use overlay_benches::networks::{Batch, NAMES, Training, network};

const SECOND: Duration = Duration::from_secs(1);

fn steps(criterion: &mut Criterion) {
    const KNOWN: &str = "one of the networks";
    const FITS: &str = "the batch fits the network";
    let len = 64;
    let batch = Batch::new(len).expect("a small batch");
    for name in NAMES {
        let net = network(name).expect(KNOWN);
        let mut group = criterion.benchmark_group(format!("network/{name}"));
        group.throughput(Throughput::Elements(len as u64));
        let mut workspace = net.inference_workspace(len);
        group.bench_function(BenchmarkId::new("infer", len), |bencher| {
            let images = batch.images();
            bencher.iter(|| net.infer(&mut workspace, black_box(&images)).map(|outputs| outputs[[0, 0]]).expect(FITS));
        });
        let mut training = Training::new(net, batch.clone());
        group.bench_function(BenchmarkId::new("step", len), |bencher| bencher.iter(|| training.step().expect(FITS)));
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(SECOND / 2).measurement_time(2 * SECOND);
    targets = steps
}
criterion_main!(benches);
