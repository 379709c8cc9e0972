//! Whole networks in burn, on its backend for the CPU: trains and runs them as `steps --json` does overlay's, and prints one JSON
//! object a network and batch.
//!
//! burn asks the environment for the number of threads: set `RAYON_NUM_THREADS`.

use std::hint::black_box;

use anyhow::{Result, bail};
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use clap::Parser;
use overlay_benches::networks::NAMES;
use overlay_benches::output::{line, rounded};
use overlay_benches::passes::median_seconds;
use serde_json::json;

/// Times whole networks in burn: steps of training, inference of batches and of single images.
#[derive(Debug, Parser)]
struct Args {
    #[arg(long, value_delimiter = ',', default_values = NAMES)]
    nets: Vec<String>,

    /// Images in a batch
    #[arg(long, value_delimiter = ',', default_value = "64")]
    batch: Vec<usize>,

    /// What RAYON_NUM_THREADS says already
    #[arg(long)]
    threads: Option<usize>,

    #[arg(long, default_value_t = 1.0)]
    secs: f64,
}

/// What the images go through, in order: the layers with parameters are in a [`Net`].
#[derive(Clone, Copy)]
enum Step {
    Conv,
    Dense,
    Pool,
    Relu,
    Sigmoid,
    Dropout(usize),
    Flatten,
}

/// The layers of a kind, in order.
#[derive(Module, Debug)]
struct Net {
    convs: Vec<Conv2d>,
    pool: MaxPool2d,
    dropouts: Vec<Dropout>,
    dense: Vec<Linear>,
}

/// A network of [`NAMES`], and its steps.
fn network(name: &str, device: &Device) -> Result<(Net, &'static [Step])> {
    use Step::{Conv, Dense, Flatten, Pool, Relu, Sigmoid};
    // (inputs, outputs, size of the overlay, padding), and (inputs, outputs)
    type Sizes = (&'static [[usize; 4]], &'static [[usize; 2]], &'static [f64]);
    let ((convs, dense, dropouts), steps): (Sizes, &[Step]) = match name {
        "mlp30" => ((&[], &[[784, 30], [30, 10]], &[]), &[Flatten, Dense, Sigmoid, Dense]),
        "lenet5" => (
            (&[[1, 6, 5, 2], [6, 16, 5, 0]], &[[400, 120], [120, 84], [84, 10]], &[]),
            &[Conv, Relu, Pool, Conv, Relu, Pool, Flatten, Dense, Relu, Dense, Relu, Dense],
        ),
        "nielsen" => (
            (&[[1, 20, 5, 0], [20, 40, 5, 0]], &[[640, 100], [100, 10]], &[]),
            &[Conv, Relu, Pool, Conv, Relu, Pool, Flatten, Dense, Relu, Dense],
        ),
        "torch-example" => (
            (&[[1, 32, 3, 0], [32, 64, 3, 0]], &[[9216, 128], [128, 10]], &[0.25, 0.5]),
            &[Conv, Relu, Conv, Relu, Pool, Step::Dropout(0), Flatten, Dense, Relu, Step::Dropout(1), Dense],
        ),
        _ => bail!("no network {name:?}: there are {}", NAMES.join(", ")),
    };
    let conv = |&[inputs, outputs, kernel, pad]: &[usize; 4]| {
        let config = Conv2dConfig::new([inputs, outputs], [kernel; 2]);
        config.with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad)).init(device)
    };
    let net = Net {
        convs: convs.iter().map(conv).collect(),
        pool: MaxPool2dConfig::new([2, 2]).init(),
        dropouts: dropouts.iter().map(|&probability| DropoutConfig::new(probability).init()).collect(),
        dense: dense.iter().map(|&[inputs, outputs]| LinearConfig::new(inputs, outputs).init(device)).collect(),
    };
    Ok((net, steps))
}

impl Net {
    fn forward(&self, images: Tensor<4>, steps: &[Step]) -> Tensor<2> {
        let (mut convs, mut dense) = (self.convs.iter(), self.dense.iter());
        let flatten = steps.iter().position(|step| matches!(step, Step::Flatten)).expect("images become vectors");
        let mut maps = images;
        for step in &steps[..flatten] {
            maps = match *step {
                Step::Conv => convs.next().expect("as many as steps").forward(maps),
                Step::Pool => self.pool.forward(maps),
                Step::Dropout(index) => self.dropouts[index].forward(maps),
                _ => relu(maps),
            };
        }
        let mut values: Tensor<2> = maps.flatten(1, 3);
        for step in &steps[flatten + 1..] {
            values = match *step {
                Step::Dense => dense.next().expect("as many as steps").forward(values),
                Step::Sigmoid => sigmoid(values),
                Step::Dropout(index) => self.dropouts[index].forward(values),
                _ => relu(values),
            };
        }
        values
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    for &batch in &args.batch {
        for name in &args.nets {
            measure(&args, name, batch)?;
        }
    }
    Ok(())
}

fn measure(args: &Args, name: &str, batch: usize) -> Result<()> {
    let device = Device::flex();
    let (net, steps) = network(name, &device)?;
    let images = |count: usize, device: &Device| {
        Tensor::<4>::random([count, 1, 28, 28], Distribution::Uniform(0.0, 1.0), device)
    };
    let [many, one] = [batch, 1].map(|count| images(count, &device));
    let infer = median_seconds(args.secs, || Ok(drop(black_box(net.forward(many.clone(), steps).into_data()))))?;
    let single = median_seconds(args.secs, || Ok(drop(black_box(net.forward(one.clone(), steps).into_data()))))?;

    let device = device.autodiff();
    let (net, steps) = network(name, &device)?;
    let labels: Vec<i32> = (0..batch as i32).map(|label| label % 10).collect();
    let labels = Tensor::<1, Int>::from_data(TensorData::from(labels.as_slice()), &device);
    let (images, cost) = (images(batch, &device), CrossEntropyLossConfig::new().init(&device));
    let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
    let mut optimizer = SgdConfig::new().with_momentum(Some(momentum)).init();
    let mut net = Some(net);
    let train = median_seconds(args.secs, || {
        let learning = net.take().expect("put back below");
        let loss = cost.forward(learning.forward(images.clone(), steps), labels.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &learning);
        net = Some(optimizer.step(0.01, learning, gradients));
        Ok(())
    })?;
    let threads = args.threads.unwrap_or_else(rayon::current_num_threads);
    let entry = json!({
        "peer": "burn-flex 0.22.1", "net": name, "batch": batch, "threads": threads,
        "train_img_s": rounded(batch as f64 / train, 0), "infer_img_s": rounded(batch as f64 / infer, 0),
        "single_us": rounded(single * 1e6, 2),
    });
    line(&entry.to_string())
}
