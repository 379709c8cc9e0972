//! Files: a round trip, and what a damaged or foreign file is answered with.

use std::{collections::HashMap, fs, path::Path};

use net::{Activation::Relu, NetError, Scaling, Sequential};
use proptest::prelude::*;
use safetensors::{Dtype, tensor::TensorView};

fn net() -> Sequential {
    let mut net = Sequential::builder([1, 8, 8])
        .scaling(Scaling::unit().standardized(&[0.1307], &[0.3081]))
        .conv2d(3, 3)
        .activation(Relu)
        .batch_norm2d()
        .max_pool2d(2)
        .dense(4)
        .build(5)
        .unwrap();
    net.buffers_mut().tensor_mut("bn1.num_batches_tracked").unwrap().fill(7.0);
    net.metadata_mut().insert("trained_on".into(), "a test".into());
    net
}

fn problem(result: Result<Sequential, NetError>) -> String {
    match result {
        Err(NetError::Model { problem, .. }) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_round_trip_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let net = net();
    net.save(&path).unwrap();
    let loaded: Sequential = Sequential::load(&path).unwrap();
    assert_eq!(loaded.parameters().values(), net.parameters().values());
    assert_eq!(loaded.buffers().values(), net.buffers().values());
    assert_eq!((loaded.spec(), loaded.metadata(), loaded.scaling()), (net.spec(), net.metadata(), net.scaling()));
    // as another element type
    let wide: Sequential<f64> = Sequential::load(&path).unwrap();
    assert!(wide.parameters().values().iter().zip(net.parameters().values()).all(|(&a, &b)| a == f64::from(b)));
    // over an older file, with the same bytes, leaving nothing else behind
    let bytes = fs::read(&path).unwrap();
    net.save(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn names_and_types_are_pytorch_s() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    net().save(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Vec<_> = tensors.iter().map(|(name, t)| (name.to_string(), t.dtype(), t.shape().to_vec())).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let want = [
        ("bn1.bias", Dtype::F32, vec![3]),
        ("bn1.num_batches_tracked", Dtype::I64, vec![]),
        ("bn1.running_mean", Dtype::F32, vec![3]),
        ("bn1.running_var", Dtype::F32, vec![3]),
        ("bn1.weight", Dtype::F32, vec![3]),
        ("conv1.bias", Dtype::F32, vec![3]),
        ("conv1.weight", Dtype::F32, vec![3, 1, 3, 3]),
        ("fc1.bias", Dtype::F32, vec![4]),
        ("fc1.weight", Dtype::F32, vec![4, 27]),
    ];
    assert_eq!(all, want.map(|(name, dtype, shape)| (name.to_string(), dtype, shape)));
}

#[test]
fn a_network_with_a_layer_of_one_s_own_is_loaded_by_its_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let build = |seed| {
        Sequential::builder([4]).layer(layers::Activate::<ndarray::Ix2>::new(Relu)).dense(3).build(seed).unwrap()
    };
    build(1).save(&path).unwrap();
    let message = problem(Sequential::load(&path));
    assert_eq!(message, "it holds weights, but does not say of which network: build the network, then load_weights()");
    let mut other = build(2);
    other.load_weights(&path).unwrap();
    assert_eq!(other.parameters().values(), build(1).parameters().values());

    let mut scaled = Sequential::builder([4]).scaling(Scaling::nielsen()).dense(3).build(2).unwrap();
    let message = scaled.load_weights(&path).unwrap_err().to_string();
    assert!(message.contains("its network scales bytes by {\"divisor\":255.0"), "{message}");
}

/// Writes a file with these tensors (F32) and the architecture of `net`.
fn write(path: &Path, net: &Sequential, tensors: &[(&str, Vec<usize>, Vec<f32>)]) {
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(.., v)| v.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    let notes = HashMap::from([("overlay.network".to_string(), serde_json::to_string(net.spec().unwrap()).unwrap())]);
    fs::write(path, safetensors::serialize(views, Some(notes)).unwrap()).unwrap();
}

#[test]
fn foreign_tensors_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let small = Sequential::builder([2]).dense(1).build(0).unwrap();
    write(&path, &small, &[("fc1.weight", vec![1, 3], vec![0.0; 3]), ("fc9.bias", vec![1], vec![0.0])]);
    let want = "it does not fit the network: fc1.weight is (1, 3) in the file, (1, 2) in the network; fc1.bias (1,) is missing; `fc9.bias` is not in the network";
    assert_eq!(problem(Sequential::load(&path)), want);

    write(&path, &small, &[("fc1.weight", vec![1, 2], vec![1.0, f32::NAN]), ("fc1.bias", vec![1], vec![0.0])]);
    let mut net = small.clone();
    let message = net.load_weights(&path).unwrap_err().to_string();
    assert!(message.ends_with("fc1.weight holds NaN at index 1: a network with it would answer NaN"), "{message}");
    assert_eq!(net.parameters().values(), small.parameters().values(), "unchanged after an error");
}

/// An architecture that promises more than the file holds is refused before memory is taken.
#[test]
fn a_hostile_architecture_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let huge = "{\"input\":[1,16384],\"scaling\":{\"divisor\":255.0,\"mean\":[0.0],\"deviation\":[1.0]},\
        \"layers\":[{\"name\":\"fc1\",\"layer\":{\"dense\":{\"outputs\":100000000,\"bias\":true,\"activation\":\"identity\",\"init\":null}}}]}";
    for (spec, message) in [
        (huge.to_string(), "it does not fit the network: fc1.weight (100000000, 16384) is missing"),
        (huge.replace("16384", "0"), "its architecture does not hold together"),
        (huge.replace("16384", "18446744073709551615"), "its architecture does not hold together"),
        (
            huge.replace("16384", "200000000"),
            "its architecture does not hold together: up to fc1, one sample makes 300000000 values",
        ),
        (huge.replace("\"fc1\"", "\"\\u0007\""), "its architecture does not hold together"),
        (huge.replace("\"dense\"", "\"lstm\""), "its architecture cannot be read"),
        ("[".repeat(200_000), "its architecture cannot be read"),
    ] {
        let notes = HashMap::from([("overlay.network".to_string(), spec)]);
        let none: [(&str, TensorView<'_>); 0] = [];
        fs::write(&path, safetensors::serialize(none, Some(notes)).unwrap()).unwrap();
        let problem = problem(Sequential::load(&path));
        assert!(problem.starts_with(message), "{problem}");
    }
}

#[test]
fn a_name_that_stands_twice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let file = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
    fs::write(&path, file).unwrap();
    assert!(problem(Sequential::load(&path)).contains("the tensor `a` is there twice"));
}

/// Every prefix and every changed byte of a file: an error, or a network of the same shape with finite numbers.
#[test]
fn damaged_files_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    Sequential::builder([1, 4, 4]).conv2d(1, 3).dense(2).build(0).unwrap().save(&path).unwrap();
    let good = fs::read(&path).unwrap();
    let hurt = folder.path().join("hurt.safetensors");
    for end in 0..good.len() {
        fs::write(&hurt, &good[..end]).unwrap();
        assert!(Sequential::<f32>::load(&hurt).is_err(), "prefix of {end}");
    }
    for at in 0..good.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] ^= change;
            fs::write(&hurt, &bytes).unwrap();
            if let Ok(net) = Sequential::<f32>::load(&hurt) {
                assert!(net.parameters().values().iter().all(|v| v.is_finite()), "byte {at}");
            }
        }
    }
}

#[test]
fn a_folder_that_is_not_there() {
    let message = net().save("/nowhere/at/all/net.safetensors").unwrap_err().to_string();
    assert!(message.starts_with("/nowhere/at/all/net.safetensors: "), "{message}");
    let message = Sequential::<f32>::load("/nowhere/net.safetensors").unwrap_err().to_string();
    assert!(message.starts_with("/nowhere/net.safetensors: "), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any network of ours comes back from its file as it was.
    #[test]
    fn any_network_round_trips(maps in 1usize..5, kernel in 1usize..4, pool in 1usize..3, units in 1usize..6, norm: bool, bias: bool, seed: u64) {
        let mut builder = Sequential::builder([2, 7, 6]).conv2d(maps, kernel).bias(bias);
        if norm {
            builder = builder.batch_norm2d();
        }
        let net = builder.activation(Relu).max_pool2d(pool).dense(units).bias(bias).dropout(0.2).build(seed).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.safetensors");
        net.save(&path).unwrap();
        let loaded: Sequential = Sequential::load(&path).unwrap();
        prop_assert_eq!(loaded.parameters().values(), net.parameters().values());
        prop_assert_eq!(loaded.spec(), net.spec());
    }
}
