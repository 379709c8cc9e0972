//! Layers that are computed as one, and parameters that are packed once: the same bits, never stale.

use layers::{Activation, Phase, random::Key};
use ndarray::{Array4, ArrayView4};
use net::{Images, Sequential, SequentialBuilder, Targets, Workspace, cost::SoftmaxCrossEntropy};

const SAMPLES: [u64; 50] = {
    let mut samples = [0; 50];
    let mut index = 0;
    while index < samples.len() {
        samples[index] = 7 * index as u64;
        index += 1;
    }
    samples
};

fn normal(shape: [usize; 4]) -> Array4<f32> {
    let mut stream = Key::new(5).stream("test", "stages", 0, 0);
    Array4::from_shape_simple_fn(shape, || stream.normal() as f32)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Cost, outputs and gradient of a step; bias gradients of convolutions, whose order of addition differs, are rounded.
fn step(net: &Sequential, workspace: &mut Workspace<f32>, images: ArrayView4<'_, f32>) -> (u64, Vec<u32>, Vec<u32>) {
    let samples = &SAMPLES[..images.len_of(ndarray::Axis(0))];
    let labels: Vec<u8> = samples.iter().map(|sample| (sample % 4) as u8).collect();
    let phase = Phase::Train { key: Key::new(1), epoch: 2, samples };
    let cost = SoftmaxCrossEntropy::new();
    let cost = net.gradient(workspace, &Images::from(images), Targets::Classes(&labels), &cost, phase).unwrap();
    let outputs = workspace.outputs().iter().copied().collect::<Vec<_>>();
    for (spec, range) in net.parameters().layout().iter() {
        if spec.name.starts_with("conv") && spec.name.ends_with("bias") {
            workspace.grads_mut().values_mut()[range].iter_mut().for_each(|db| *db = (*db * 1e4).round());
        }
    }
    (cost.to_bits(), bits(&outputs), bits(workspace.grads().values()))
}

/// Networks whose convolutions are followed by a pooling: by one that fuses, and by others.
fn networks() -> Vec<(Sequential, bool)> {
    let builder = |shape: [usize; 3]| Sequential::builder(shape);
    let finish = |builder: SequentialBuilder<f32>| builder.dropout(0.25).dense(12).dense(4).build(3).unwrap();
    let mut networks = Vec::new();
    for activation in [
        Activation::Identity,
        Activation::Relu,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::LeakyRelu { slope: 0.1 },
    ] {
        // direct, along the pixels and along the channels; odd maps
        let first = builder([1, 20, 23]).conv2d(6, 5).activation(activation).max_pool2d(2);
        networks.push((finish(first.conv2d(16, 3).activation(activation).max_pool2d(2)), true));
    }
    // Winograd's form; no bias; padding and stride; a depthwise layer
    networks.push((finish(builder([32, 12, 12]).conv2d(32, 3).padding(1).max_pool2d(2)), true));
    networks.push((finish(builder([3, 15, 14]).conv2d(9, 3).stride(2).padding(1).bias(false).max_pool2d(2)), true));
    networks
        .push((finish(builder([6, 14, 14]).conv2d(6, 3).groups(6).activation(Activation::Relu).max_pool2d(2)), true));
    // other windows, overlapping ones, and a second pooling
    networks.push((finish(builder([2, 14, 14]).conv2d(4, 3).max_pool2d(3)), false));
    networks.push((finish(builder([2, 14, 14]).conv2d(4, 3).max_pool2d(2).stride(1)), false));
    networks.push((finish(builder([2, 14, 14]).conv2d(4, 3).max_pool2d(2).max_pool2d(2)), true));
    networks.push((finish(builder([2, 14, 14]).max_pool2d(2).conv2d(4, 3)), false));
    // in use, its samples do not meet
    networks.push((finish(builder([2, 9, 9]).conv2d(4, 3).batch_norm2d().max_pool2d(2).batch_norm2d()), false));
    networks
}

#[test]
fn a_fused_stage_has_the_bits_of_its_layers() {
    for (net, fuses) in networks() {
        let shape = <[usize; 3]>::try_from(net.input_shape()).unwrap();
        for batch in [1, 3, 50] {
            let images = normal([batch, shape[0], shape[1], shape[2]]);
            let (mut fused, mut open) = (net.workspace(50), net.open_workspace(50));
            let expected = step(&net, &mut open, images.view());
            assert_eq!(step(&net, &mut fused, images.view()), expected, "{}", net.summary());
            let mut inference = net.inference_workspace(batch);
            let outputs = [&mut inference, &mut open].map(|workspace| {
                let outputs = net.infer(workspace, &Images::from(images.view())).unwrap();
                bits(outputs.as_slice().unwrap())
            });
            assert_eq!(outputs[0], outputs[1]);
            assert_eq!(net.activation(&inference, "conv1").is_err(), fuses, "{}", net.summary());
            for layer in ["pool1", "fc1"] {
                let inside = [&inference, &open].map(|workspace| net.activation(workspace, layer).unwrap());
                assert_eq!(inside[0], inside[1]);
            }
        }
    }
}

#[test]
fn what_is_between_fused_layers_is_seen_in_an_open_workspace() {
    let net = Sequential::builder([1, 8, 8]).conv2d(2, 3).max_pool2d(2).dense(4).build(0).unwrap();
    let error = net.activation(&net.workspace(1), "conv1").unwrap_err().to_string();
    assert_eq!(
        error,
        "`conv1` is computed together with the layer after it; to look inside, make the workspace with open_workspace()"
    );
    assert!(net.activation(&net.open_workspace(1), "conv1").is_ok());
}

/// Workspaces keep packed parameters: a change must reach them, from wherever it comes.
#[test]
fn packed_parameters_follow_every_change() {
    let (net, _) = networks().swap_remove(1);
    let images = normal([3, 1, 20, 23]);
    let images = Images::from(images.view());
    let fresh = |net: &Sequential| net.infer(&mut net.inference_workspace(3), &images).unwrap().to_owned();
    let (mut inference, mut learning) = (net.inference_workspace(3), net.workspace(3));
    let mut seen = Vec::new();
    let mut check = |net: &Sequential| {
        let expected = fresh(net);
        for workspace in [&mut inference, &mut learning] {
            assert_eq!(net.infer(workspace, &images).unwrap(), expected);
        }
        assert!(!seen.contains(&expected), "the change changed nothing");
        seen.push(expected);
    };
    check(&net);
    let mut changed = net.clone();
    for name in ["conv1.weight", "conv2.weight", "fc1.weight"] {
        *changed.parameters_mut().tensor_mut(name).unwrap().first_mut().unwrap() += 1.0;
        check(&changed);
    }
    changed.parameters_mut().values_mut().iter_mut().for_each(|value| *value *= 0.5);
    check(&changed);
    changed.initialize(9);
    check(&changed);
    // the one that it was cloned from is as it was
    assert_eq!(net.infer(&mut inference, &images).unwrap(), fresh(&net));
}
