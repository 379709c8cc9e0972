//! scipy's functions on single images.

use std::{hint::black_box, time::Duration};

use conv_kernels::{Mode, correlate2d};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;
use overlay_benches::numbers;

const SECOND: Duration = Duration::from_secs(1);

fn image(rows: usize, columns: usize) -> Array2<f32> {
    Array2::from_shape_vec((rows, columns), numbers(rows * columns)).expect("as many numbers as elements")
}

fn images(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("correlate2d");
    for (size, kernel, mode) in [
        (28, 5, Mode::Valid),
        (28, 5, Mode::Full),
        (512, 3, Mode::Valid),
        (512, 7, Mode::Same),
        (512, 15, Mode::Full),
        (128, 31, Mode::Valid),
    ] {
        let (image, overlay) = (image(size, size), image(kernel, kernel));
        let result = correlate2d(&image, &overlay, mode).expect("the kernel is smaller than the image");
        group.throughput(Throughput::Elements((result.len() * kernel * kernel) as u64));
        group.bench_function(BenchmarkId::from_parameter(format!("{size}-{kernel}-{mode:?}")), |bencher| {
            bencher.iter(|| correlate2d(black_box(&image), &overlay, mode));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(SECOND / 2).measurement_time(2 * SECOND);
    targets = images
}
criterion_main!(benches);
