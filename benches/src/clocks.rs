//! Where the time of a training step goes: a network like another one, with a clock around every layer.
//!
//! The clocked network has layers "of the user's own", so it shows what the layers cost one by one, in their places in
//! the network and with its weights.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use layers::random::Stream;
use layers::{
    Conv2d, Dense, Dropout, Layer, LayerError, MaxPool2d, PackFor, Padding, Pass, Phase, Scalar, Scope, State,
    TensorSpec,
};
use ndarray::{ArrayView, ArrayViewMut, Ix2, Ix4};
use net::{LayerSpec, NamedLayer, Sequential, SequentialBuilder};

use crate::networks::{Batch, Training};
use crate::passes::median;
use crate::peak::seconds;

/// Median times of the parts of a training step, in seconds.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Every layer, but those that are computed together with the one before: it has their time.
    pub layers: Vec<LayerTimes>,
    /// The gradient without the layers: the input's copy, packed weights, the cost, sums of gradients.
    pub between: f64,
    /// The optimizer.
    pub update: f64,
    /// The whole step.
    pub step: f64,
}

/// Median times of a layer's passes, in seconds.
#[derive(Clone, Debug)]
pub struct LayerTimes {
    /// Its name in the network.
    pub name: String,
    /// What it is: `20 maps 5x5, relu`.
    pub what: String,
    /// The forward pass.
    pub forward: f64,
    /// All gradients.
    pub backward: f64,
}

/// Times the parts of training steps, at least 5 and for `least_seconds`, after 2 to warm up.
///
/// Times are sums over threads: in a pool of one thread they add up to the step.
///
/// # Errors
///
/// If the network has a layer that is in none of the reference networks, or does not fit the batch.
pub fn profile(net: &Sequential, batch: Batch, least_seconds: f64) -> Result<Profile> {
    let (net, faces) = clocked(net)?;
    let mut training = Training::new(net, batch);
    for _ in 0..2 {
        training.step()?;
    }
    let read = |face: &Face| [face.clock.forward.take(), face.clock.backward.take()];
    faces.iter().for_each(|face| _ = read(face));
    let (mut passes, mut totals, mut sum) =
        (vec![[Vec::new(), Vec::new()]; faces.len()], [const { Vec::new() }; 3], 0.0);
    while totals[0].len() < 5 || sum < least_seconds {
        let (gradient, cost) = seconds(|| training.gradient());
        cost?;
        let (update, ()) = seconds(|| training.update());
        let mut between = gradient;
        for (times, face) in passes.iter_mut().zip(&faces) {
            for (times, seconds) in times.iter_mut().zip(read(face)) {
                times.push(seconds);
                between -= seconds;
            }
        }
        let parts = [between, update, gradient + update];
        totals.iter_mut().zip(parts).for_each(|(times, seconds)| times.push(seconds));
        sum += gradient + update;
    }
    let layers = faces.into_iter().zip(passes).map(|(Face { name, what, .. }, passes)| {
        let [forward, backward] = passes.map(median);
        LayerTimes { name, what, forward, backward }
    });
    let layers = layers.filter(|layer| layer.forward > 0.0).collect();
    let [between, update, step] = totals.map(median);
    Ok(Profile { layers, between, update, step })
}

/// A layer's name and description, and its clock.
struct Face {
    name: String,
    what: String,
    clock: Arc<Clock>,
}

/// The same network with clocks.
fn clocked(net: &Sequential) -> Result<(Sequential, Vec<Face>)> {
    let spec = net.spec().context("only networks of overlay's own layers have a description")?;
    let mut making =
        Making { builder: Sequential::builder(&spec.input[..]), shape: spec.input.clone(), faces: Vec::new() };
    for layer in &spec.layers {
        making = making.layer(layer)?;
    }
    let mut copy = making.builder.build(0)?;
    copy.parameters_mut().values_mut().copy_from_slice(net.parameters().values());
    Ok((copy, making.faces))
}

/// A clocked network in the making.
struct Making {
    builder: SequentialBuilder<f32>,
    /// Of a sample, after the layers so far.
    shape: Vec<usize>,
    faces: Vec<Face>,
}

impl Making {
    fn layer(self, NamedLayer { name, layer }: &NamedLayer) -> Result<Self> {
        let image = || <[usize; 3]>::try_from(&self.shape[..]).with_context(|| format!("{name} takes images"));
        match *layer {
            LayerSpec::Conv2d {
                out_channels,
                kernel_size,
                stride,
                padding,
                dilation,
                groups,
                bias,
                activation,
                ..
            } => {
                let [top, bottom, left, right] = padding;
                let conv = Conv2d::new(image()?, out_channels, kernel_size).stride(stride).dilation(dilation);
                let conv = conv.padding(Padding { top, bottom, left, right }).groups(groups).bias(bias);
                self.add(name, conv.activation(activation).build::<f32>()?)
            }
            LayerSpec::Dense { outputs, bias, activation, .. } => {
                let dense = Dense::new(self.shape.iter().product(), outputs).bias(bias).activation(activation);
                self.add(name, dense.build::<f32>()?)
            }
            LayerSpec::MaxPool2d { window, stride } => {
                let pool = MaxPool2d::new(image()?, window).stride(stride).build()?;
                self.add(name, pool)
            }
            LayerSpec::Dropout { probability, inverted } if self.shape.len() == 3 => {
                self.add(name, Dropout::<Ix4>::new(probability)?.inverted(inverted))
            }
            LayerSpec::Dropout { probability, inverted } => {
                self.add(name, Dropout::<Ix2>::new(probability)?.inverted(inverted))
            }
            ref other => bail!("{name}: no clock has been made for {other:?}"),
        }
    }

    fn add(mut self, name: &str, layer: impl Layer<f32>) -> Result<Self> {
        self.shape = layer.output_shape(&self.shape)?;
        let clock = Arc::<Clock>::default();
        self.faces.push(Face { name: name.to_owned(), what: layer.describe(), clock: Arc::clone(&clock) });
        self.builder = self.builder.layer(Clocked { layer, clock }).named(name);
        Ok(self)
    }
}

/// The time that a layer has taken, on all threads together.
#[derive(Debug, Default)]
struct Clock {
    forward: Time,
    backward: Time,
}

/// Nanoseconds.
#[derive(Debug, Default)]
struct Time(AtomicU64);

impl Time {
    fn measure<R>(&self, work: impl FnOnce() -> R) -> R {
        let (seconds, result) = seconds(work);
        self.0.fetch_add((seconds * 1e9) as u64, Ordering::Relaxed);
        result
    }

    /// The seconds since the last call.
    fn take(&self) -> f64 {
        self.0.swap(0, Ordering::Relaxed) as f64 / 1e9
    }
}

/// A layer that is timed.
#[derive(Debug)]
struct Clocked<L> {
    layer: L,
    clock: Arc<Clock>,
}

impl<T: Scalar, L: Layer<T>> Layer<T> for Clocked<L> {
    type In = L::In;
    type Out = L::Out;
    type Memo = L::Memo;

    fn forward(
        &self,
        state: State<'_, T>,
        x: ArrayView<'_, T, L::In>,
        y: ArrayViewMut<'_, T, L::Out>,
        memo: &mut L::Memo,
        phase: Phase<'_>,
    ) {
        self.clock.forward.measure(|| self.layer.forward(state, x, y, memo, phase));
    }

    fn backward(
        &self,
        state: State<'_, T>,
        Pass { x, y, dy, memo }: Pass<'_, T, Self>,
        dx: Option<ArrayViewMut<'_, T, L::In>>,
        grads: &mut [T],
    ) {
        self.clock.backward.measure(|| self.layer.backward(state, Pass { x, y, dy, memo }, dx, grads));
    }

    fn kind(&self) -> &'static str {
        self.layer.kind()
    }

    fn describe(&self) -> String {
        self.layer.describe()
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
        self.layer.output_shape(input)
    }

    fn params(&self) -> Vec<TensorSpec> {
        self.layer.params()
    }

    fn init(&self, params: &mut [T], stream: &mut Stream) {
        self.layer.init(params, stream);
    }

    fn buffers(&self) -> Vec<TensorSpec> {
        self.layer.buffers()
    }

    fn init_buffers(&self, buffers: &mut [T]) {
        self.layer.init_buffers(buffers);
    }

    fn scope(&self) -> Scope {
        self.layer.scope()
    }

    fn at_once(&self) -> usize {
        self.layer.at_once()
    }

    fn macs(&self, input: &[usize]) -> u64 {
        self.layer.macs(input)
    }

    fn attach(&mut self, name: &str) {
        self.layer.attach(name);
    }

    fn memo(&self, input: &L::In) -> L::Memo {
        self.layer.memo(input)
    }

    fn commit(&self, memo: &L::Memo, buffers: &mut [T]) {
        self.layer.commit(memo, buffers);
    }

    /// Of the layers here only poolings are taken in.
    fn fuse(&self, next: &dyn Any) -> Option<Self> {
        let layer = self.layer.fuse(&next.downcast_ref::<Clocked<MaxPool2d>>()?.layer)?;
        Some(Self { layer, clock: Arc::clone(&self.clock) })
    }

    fn packed_len(&self, passes: PackFor) -> usize {
        self.layer.packed_len(passes)
    }

    fn pack(&self, passes: PackFor, params: &[T], packed: &mut [T]) {
        self.layer.pack(passes, params, packed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::{NAMES, network};

    #[test]
    fn a_clocked_network_computes_the_same_bits() {
        for name in NAMES {
            let net = network(name).unwrap();
            let clocked = clocked(&net).unwrap().0;
            let costs = [net, clocked].map(|net| {
                let mut training = Training::new(net, Batch::new(20).unwrap());
                [(); 3].map(|()| training.step().unwrap())
            });
            assert_eq!(costs[0], costs[1], "{name}");
        }
    }

    #[test]
    fn the_parts_are_shorter_than_the_step() {
        let pool = conv_kernels::pool(1).unwrap();
        let net = network("torch-example").unwrap();
        let profile = pool.install(|| profile(&net, Batch::new(4).unwrap(), 0.0)).unwrap();
        let names: Vec<_> = profile.layers.iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(names, ["conv1", "conv2", "drop1", "fc1", "drop2", "fc2"]);
        assert_eq!(profile.layers[0].what, "32 maps 3x3, relu");
        let parts = profile.layers.iter().flat_map(|layer| [layer.forward, layer.backward]);
        for part in parts.chain([profile.between, profile.update]) {
            assert!(0.0 < part && part < profile.step, "{profile:?}");
        }
    }

    #[test]
    fn layers_without_a_clock_are_named() {
        let net = Sequential::builder([1, 8, 8]).batch_norm2d().build(0).unwrap();
        let refusal = profile(&net, Batch::new(1).unwrap(), 0.0).unwrap_err().to_string();
        assert!(refusal.starts_with("bn1: no clock has been made for BatchNorm2d"), "{refusal}");
    }
}
