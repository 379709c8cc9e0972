//! The reference networks, and steps of training them.

use anyhow::{Context, Result, bail};
use layers::{Phase, random::Key};
use ndarray::{Array4, s};
use net::Activation::{Relu, Sigmoid};
use net::cost::SoftmaxCrossEntropy;
use net::optim::{OptimizerState, Sgd};
use net::{Images, Sequential, Targets, Workspace};

use crate::numbers;

/// The networks, smallest first: Nielsen's first one, LeCun's with ReLU and max pooling, Nielsen's convolutional one,
/// and the MNIST example of PyTorch.
pub const NAMES: [&str; 4] = ["mlp30", "lenet5", "nielsen", "torch-example"];

const CLASSES: usize = 10;
const LEARNING_RATE: f64 = 0.01;

/// A network for images `(1, 28, 28)` of 10 classes, by its name.
///
/// # Errors
///
/// If it is not one of [`NAMES`].
pub fn network(name: &str) -> Result<Sequential> {
    let images = Sequential::builder([1, 28, 28]);
    let hidden = match name {
        "mlp30" => images.dense(30).activation(Sigmoid),
        "lenet5" => {
            let pooled = images.conv2d(6, 5).padding(2).activation(Relu).max_pool2d(2);
            let pooled = pooled.conv2d(16, 5).activation(Relu).max_pool2d(2);
            pooled.dense(120).activation(Relu).dense(84).activation(Relu)
        }
        "nielsen" => {
            let pooled = images.conv2d(20, 5).activation(Relu).max_pool2d(2);
            pooled.conv2d(40, 5).activation(Relu).max_pool2d(2).dense(100).activation(Relu)
        }
        "torch-example" => {
            let maps = images.conv2d(32, 3).activation(Relu).conv2d(64, 3).activation(Relu);
            maps.max_pool2d(2).dropout(0.25).dense(128).activation(Relu).dropout(0.5)
        }
        _ => bail!("no network {name:?}: there are {}", NAMES.join(", ")),
    };
    Ok(hidden.dense(CLASSES).build(0)?)
}

/// Images of noise, and a class for each.
#[derive(Clone, Debug)]
pub struct Batch {
    images: Array4<f32>,
    labels: Vec<u8>,
    samples: Vec<u64>,
}

impl Batch {
    /// As many images `(1, 28, 28)` of numbers from 0 to 1.
    ///
    /// # Errors
    ///
    /// If memory cannot hold them.
    pub fn new(len: usize) -> Result<Self> {
        let pixels = len.checked_mul(28 * 28).context("too many images")?;
        let values = numbers(pixels).into_iter().map(|value| value + 0.5).collect();
        Ok(Self {
            images: Array4::from_shape_vec((len, 1, 28, 28), values)?,
            labels: (0..CLASSES as u8).cycle().take(len).collect(),
            samples: (0..len as u64).collect(),
        })
    }

    /// The images.
    #[must_use]
    pub fn images(&self) -> Images<'_, f32> {
        self.images.view().into()
    }

    /// The first image, or none of none.
    #[must_use]
    pub fn first(&self) -> Images<'_, f32> {
        self.images.slice(s![..self.labels.len().min(1), .., .., ..]).into()
    }
}

/// A network that learns one batch again and again, by gradient descent with momentum.
#[derive(Debug)]
pub struct Training {
    net: Sequential,
    batch: Batch,
    workspace: Workspace<f32>,
    optimizer: Sgd,
    state: OptimizerState<f32>,
}

impl Training {
    /// Before the first step.
    #[must_use]
    pub fn new(net: Sequential, batch: Batch) -> Self {
        let optimizer = Sgd::new(LEARNING_RATE).momentum(0.9);
        let state = OptimizerState::new(&optimizer, net.parameters().layout());
        Self { workspace: net.workspace(batch.labels.len()), net, batch, optimizer, state }
    }

    /// A step: forward, the softmax's cross-entropy, backward, the update. Returns the cost before it.
    ///
    /// # Errors
    ///
    /// If the network does not fit the batch.
    pub fn step(&mut self) -> Result<f64> {
        let cost = self.gradient()?;
        self.update();
        Ok(cost)
    }

    /// The first part of a step: all but the update.
    ///
    /// # Errors
    ///
    /// If the network does not fit the batch.
    pub fn gradient(&mut self) -> Result<f64> {
        let Self { net, batch, workspace, state, .. } = self;
        let phase = Phase::Train { key: Key::new(0), epoch: state.step_number(), samples: &batch.samples };
        let targets = Targets::Classes(&batch.labels);
        Ok(net.gradient(workspace, &batch.images(), targets, &SoftmaxCrossEntropy::new(), phase)?)
    }

    /// The second part: moves the parameters.
    pub fn update(&mut self) {
        let Self { net, workspace, optimizer, state, .. } = self;
        state.step(optimizer, LEARNING_RATE, net.parameters_mut(), workspace.grads());
        net.commit(workspace);
    }
}

/// Floating-point operations of a step for one image by the definition: two for each multiply-add of the forward pass
/// and of both gradients, except the first layer's input gradient, which nobody needs.
///
/// # Errors
///
/// If there is a layer of the user's own: its description is needed.
pub fn step_flops(net: &Sequential) -> Result<f64> {
    let spec = net.spec().context("only networks of overlay's own layers have a description")?;
    let first = spec.layers.first().context("a network has layers")?.layer.clone();
    let first = Sequential::builder(net.input_shape()).spec(first).build(0)?;
    Ok(2.0 * (3 * net.macs() - first.macs()) as f64)
}

/// Floating-point operations of the inference of one image by the definition: two for each multiply-add.
#[must_use]
pub fn infer_flops(net: &Sequential) -> f64 {
    2.0 * net.macs() as f64
}

/// Bytes that a forward pass of one image leaves to the backward pass: its input and the output of each layer.
///
/// # Errors
///
/// If the network does not take images `(1, 28, 28)`.
pub fn activation_bytes(net: &Sequential) -> Result<usize> {
    let (batch, mut workspace) = (Batch::new(1)?, net.open_workspace(1));
    net.infer(&mut workspace, &batch.images())?;
    let mut values = batch.images.len();
    for layer in net.layer_names() {
        values += net.activation(&workspace, layer)?.len();
    }
    Ok(values * size_of::<f32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_learns_its_batch() {
        for name in NAMES {
            let mut training = Training::new(network(name).unwrap(), Batch::new(10).unwrap());
            let first = training.step().unwrap();
            let last = (0..60).map(|_| training.step().unwrap()).last().unwrap();
            assert!(last < first, "{name}: {first} {last}");
        }
        let refusal = network("cats").unwrap_err().to_string();
        assert_eq!(refusal, r#"no network "cats": there are mlp30, lenet5, nielsen, torch-example"#);
    }

    #[test]
    fn operations_and_activations_are_those_of_the_definition() {
        let mlp = network("mlp30").unwrap();
        assert_eq!(step_flops(&mlp).unwrap(), 2.0 * (2.0 * 784.0 * 30.0 + 3.0 * 30.0 * 10.0));
        assert_eq!(infer_flops(&mlp), 2.0 * (784.0 * 30.0 + 30.0 * 10.0));
        assert_eq!(activation_bytes(&mlp).unwrap(), 4 * (784 + 30 + 10));
        let nielsen = network("nielsen").unwrap();
        let (first, second) = (20.0 * 576.0 * 25.0, 40.0 * 64.0 * 500.0);
        assert_eq!(step_flops(&nielsen).unwrap(), 2.0 * (2.0 * first + 3.0 * (second + 64_000.0 + 1000.0)));
    }
}
