//! Layers that do one thing in training and another in use: batch normalization and dropout.

use crate::common::normal;
use layers::{Arena, BatchNorm2d, Dropout, Layer, Phase, Solo, random::Key};
use ndarray::{Array4, Axis, Ix2, array};

fn training(samples: &[u64]) -> Phase<'_> {
    Phase::Train { key: Key::new(1), epoch: 0, samples }
}

fn values(arena: &Arena<f64>, name: &str) -> Vec<f64> {
    arena.tensor(name).unwrap().iter().copied().collect()
}

/// The definition, channel by channel.
fn normalized(x: &Array4<f64>, epsilon: f64) -> Array4<f64> {
    let mut y = x.clone();
    for mut channel in y.axis_iter_mut(Axis(1)) {
        let (mean, variance) = (channel.mean().unwrap(), channel.var(0.0));
        channel.mapv_inplace(|v| (v - mean) / (variance + epsilon).sqrt());
    }
    y
}

#[test]
fn batch_norm_follows_the_definition() {
    let x = normal::<f64, _>((4, 3, 5, 6), 1).mapv(|v| 3.0 * v + 2.0);
    let mut norm = Solo::new(BatchNorm2d::new([3, 5, 6]).build().unwrap(), &[3, 5, 6], 0).unwrap();
    let (weight, bias) = (array![2.0, -1.0, 0.5], array![0.0, 1.0, 10.0]);
    norm.params_mut().set("weight", &weight.clone().into_dyn()).unwrap();
    norm.params_mut().set("bias", &bias.clone().into_dyn()).unwrap();
    let y = norm.forward_in(&x, training(&[0, 1, 2, 3])).unwrap();
    let broadcast = |v: &ndarray::Array1<f64>| v.clone().into_shape_with_order((3, 1, 1)).unwrap();
    let expected = normalized(&x, 1e-5) * broadcast(&weight) + broadcast(&bias);
    assert!((&y - &expected).iter().all(|error| error.abs() < 1e-13));

    // running statistics: a tenth of the way, the variance divided by m - 1
    assert_eq!(values(norm.buffers(), "num_batches_tracked"), [1.0]);
    for (channel, x) in x.axis_iter(Axis(1)).enumerate() {
        let [mean, var] = ["running_mean", "running_var"].map(|name| values(norm.buffers(), name)[channel]);
        assert!((mean - 0.1 * x.mean().unwrap()).abs() < 1e-14);
        assert!((var - (0.9 + 0.1 * x.var(1.0))).abs() < 1e-14);
    }

    // for use, they are what counts, and stay as they are
    let before = norm.buffers().values().to_vec();
    let y = norm.forward(&x).unwrap();
    let [mean, var] = ["running_mean", "running_var"].map(|name| broadcast(&values(norm.buffers(), name).into()));
    let expected = (&x - &mean) / var.mapv(|v| (v + 1e-5).sqrt()) * broadcast(&weight) + broadcast(&bias);
    assert!((&y - &expected).iter().all(|error| error.abs() < 1e-13));
    assert_eq!(norm.buffers().values(), before);
}

#[test]
fn batch_norm_of_one_value_per_channel() {
    let mut norm = Solo::new(BatchNorm2d::new([2, 1, 1]).momentum(0.5).build().unwrap(), &[2, 1, 1], 0).unwrap();
    let y = norm.forward_in(&array![[[[4.0f64]], [[-6.0]]]], training(&[0])).unwrap();
    assert_eq!(y, array![[[[0.0]], [[0.0]]]]);
    assert_eq!(values(norm.buffers(), "running_mean"), [2.0, -3.0]);
    assert_eq!(values(norm.buffers(), "running_var"), [1.0, 1.0], "there is no m - 1 to divide by");
}

#[test]
fn batch_norm_learns_nothing_from_an_empty_batch() {
    let mut norm = Solo::<f64, _>::new(BatchNorm2d::new([2, 3, 3]).build().unwrap(), &[2, 3, 3], 0).unwrap();
    let before = norm.buffers().values().to_vec();
    norm.forward_in(&Array4::zeros((0, 2, 3, 3)), training(&[])).unwrap();
    assert_eq!(norm.buffers().values(), before);
}

/// The mask of a training pass over ones.
fn mask(name: &str, p: f64, phase: Phase<'_>, batch: usize) -> Vec<Vec<f64>> {
    over_ones(Dropout::<Ix2>::new(p).unwrap(), name, phase, batch)
}

fn over_ones(mut layer: Dropout<Ix2>, name: &str, phase: Phase<'_>, batch: usize) -> Vec<Vec<f64>> {
    Layer::<f64>::attach(&mut layer, name);
    let x = ndarray::Array2::<f64>::ones((batch, 200));
    let (mut y, mut memo) = (x.clone(), Layer::<f64>::memo(&layer, &x.raw_dim()));
    let state = layers::State::new(&[], &[]);
    layer.forward(state, x.view(), y.view_mut(), &mut memo, phase);
    y.rows().into_iter().map(|row| row.to_vec()).collect()
}

#[test]
fn dropout_masks_belong_to_samples() {
    let phase = |key: u64, epoch, samples| Phase::Train { key: Key::new(key), epoch, samples };
    let masks = mask("drop1", 0.5, phase(1, 0, &[10, 11, 12]), 3);
    assert_ne!(masks[0], masks[1]);
    // elsewhere in a batch, or alone: the same
    assert_eq!(mask("drop1", 0.5, phase(1, 0, &[12, 10]), 2), [masks[2].clone(), masks[0].clone()]);
    // another seed, epoch or layer: another one
    for other in [
        mask("drop1", 0.5, phase(2, 0, &[10]), 1),
        mask("drop1", 0.5, phase(1, 1, &[10]), 1),
        mask("drop2", 0.5, phase(1, 0, &[10]), 1),
    ] {
        assert_ne!(other[0], masks[0]);
    }
}

#[test]
fn dropout_keeps_the_expectation() {
    let samples: Vec<u64> = (0..500).collect();
    for p in [0.0, 0.1, 0.5, 0.9] {
        let masks = mask("drop1", p, training(&samples), 500).concat();
        assert!(masks.iter().all(|&v| v == 0.0 || v == 1.0 / (1.0 - p)));
        let dropped = masks.iter().filter(|&&v| v == 0.0).count() as f64 / masks.len() as f64;
        // five standard errors
        assert!((dropped - p).abs() <= 5.0 * (p * (1.0 - p) / masks.len() as f64).sqrt(), "{dropped} of {p}");
    }
    assert!(mask("drop1", 0.9, Phase::Infer, 1)[0].iter().all(|&v| v == 1.0));
}

/// The same values are dropped; all is 1 - p times what it is otherwise, in both phases.
#[test]
fn dropout_that_is_not_inverted() {
    for p in [0.0, 0.5, 0.75] {
        for phase in [training(&[3, 4]), Phase::Infer] {
            let plain = over_ones(Dropout::<Ix2>::new(p).unwrap().inverted(false), "drop1", phase, 2).concat();
            let inverted = mask("drop1", p, phase, 2).concat();
            assert!(plain.iter().zip(&inverted).all(|(&plain, &inverted)| plain == (1.0 - p) * inverted));
        }
    }
}
