//! Convolution layers, by family of shapes and by pass.

use std::{hint::black_box, time::Duration};

use conv_kernels::{Conv2dPlan, Epilogue, Options};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use overlay_benches::{Case, family, numbers};

const SECOND: Duration = Duration::from_secs(1);

fn layers(criterion: &mut Criterion) {
    for family_name in ["mnist", "cifar", "resnet", "mobile"] {
        let mut group = criterion.benchmark_group(format!("conv2d/{family_name}"));
        for case in family(family_name).expect("a test builds every family") {
            // elements are multiply-adds: criterion's Gelem/s are half the GFLOP/s
            group.throughput(Throughput::Elements(case.shape.macs() * case.batch as u64));
            passes(&mut group, &case);
        }
        group.finish();
    }
}

fn passes(group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>, case: &Case) {
    const FITS: &str = "every slice has the length that the shape says";
    let Case { name, batch, shape } = *case;
    let plan = Conv2dPlan::<f32>::new(shape, &Options::default()).expect("the plan chooses among what applies");
    let mut scratch = plan.scratch(batch);
    let (x, weight) = (numbers(batch * shape.input_len()), numbers(shape.weight_len()));
    let (bias, dy) = (numbers(shape.out_channels()), numbers(batch * shape.output_len()));
    let (mut y, mut dx, mut dweight) = (dy.clone(), x.clone(), weight.clone());
    group.bench_function(BenchmarkId::new("forward", name), |bencher| {
        let epilogue = Epilogue { bias: Some(&bias), ..Epilogue::none() };
        bencher.iter(|| plan.forward(batch, black_box(&x), &weight, epilogue, &mut y, &mut scratch).expect(FITS));
    });
    group.bench_function(BenchmarkId::new("input_gradient", name), |bencher| {
        bencher.iter(|| plan.input_gradient(batch, black_box(&dy), &weight, &mut dx, &mut scratch).expect(FITS));
    });
    group.bench_function(BenchmarkId::new("weight_gradient", name), |bencher| {
        bencher.iter(|| plan.weight_gradient(batch, black_box(&x), &dy, &mut dweight, &mut scratch).expect(FITS));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(SECOND / 2).measurement_time(2 * SECOND);
    targets = layers
}
criterion_main!(benches);
