//! Runs that end up with something that is no number: what they say, and what they leave.

use net::{
    Activation::{Relu, Sigmoid},
    Checkpoints, Flow, NetError, Observer, Sequential, Trainer,
    observe::StepReport,
    optim::{Optimizer, Step},
};

use crate::training::{quarters, small};

/// Moves nothing, but writes `value` into tensors of `len` elements from step `number` on.
#[derive(Clone, Copy, Debug)]
struct Poison {
    number: u64,
    len: usize,
    value: f32,
}

impl Optimizer<f32> for Poison {
    fn name(&self) -> &'static str {
        "poison"
    }
    fn learning_rate(&self) -> f64 {
        0.1
    }
    fn update(&self, step: Step, params: &mut [f32], _: &[f32], _: &mut [&mut [f32]]) {
        if step.number >= self.number && params.len() == self.len {
            params[0] = self.value;
        }
    }
}

/// Moves nothing at all.
const STILL: Poison = Poison { number: u64::MAX, len: 0, value: 0.0 };

/// Stops after a step of the second epoch.
struct StopAfter(u64);

impl Observer for StopAfter {
    fn step(&mut self, report: &StepReport) -> Flow {
        if (report.epoch, report.step) == (2, self.0) { Flow::Stop } else { Flow::Continue }
    }
}

/// Ten steps an epoch.
fn fit(trainer: Trainer<'_, f32>, net: &mut Sequential) -> Result<net::History, NetError> {
    let (images, labels) = quarters(100, 1);
    let data = (images.view(), labels.view());
    { trainer }.batch_size(10).epochs(3).fit(net, data, data)
}

/// Layers apart, and a convolution that shares its stage with the pooling after it.
#[test]
fn the_first_layer_that_gives_no_number_is_named() {
    let pooled =
        || Sequential::builder([1, 8, 8]).conv2d(6, 3).activation(Relu).max_pool2d(2).dense(4).build(0).unwrap();
    for net in [small(0), pooled()] {
        for layer in ["conv1", "fc1"] {
            let mut net = net.clone();
            let mut weight = net.parameters_mut().tensor_mut(&format!("{layer}.weight")).unwrap();
            *weight.iter_mut().next().unwrap() = f32::NAN;
            let error = fit(Trainer::new(STILL), &mut net).unwrap_err();
            let NetError::Diverged { epoch: 1, step: 1, layer: Some(named), .. } = &error else { panic!("{error:?}") };
            assert_eq!(named, layer);
            assert!(error.to_string().contains(&format!("not finite is {layer}'s; ")), "{error}");
        }
    }
}

/// The cost of a step is known before its update: whoever stops right after it has seen nothing wrong.
#[test]
fn a_run_stopped_right_after_a_bad_step_does_not_leave_it() {
    for ema in [None, Some(0.5)] {
        let folder = tempfile::tempdir().unwrap();
        let trainer = |stop| {
            // the biases of the convolution
            let trainer = Trainer::new(Poison { number: 13, len: 6, value: f32::NAN }).observe(StopAfter(stop));
            let trainer = trainer.checkpoints(Checkpoints::in_dir(folder.path()).every_steps(1));
            if let Some(decay) = ema { trainer.ema(decay) } else { trainer }
        };
        let before = small(0);
        let mut net = before.clone();
        assert!(fit(trainer(2), &mut net).unwrap().stopped);
        assert!(net.parameters().values().iter().all(|value| value.is_finite()));

        let mut net = before.clone();
        let error = fit(trainer(3), &mut net).unwrap_err();
        let NetError::NotFinite { tensor, epoch: 2, step: 3, checkpoint: Some(kept), .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(tensor, "conv1.bias");
        assert!(kept.ends_with("checkpoint-0000000012.safetensors"), "{error}");
        let text = error.to_string();
        assert!(
            text.starts_with("conv1.bias is infinite or NaN after epoch 2, step 3 (learning rate 0.1); "),
            "{text}"
        );
        assert!(net.parameters().values().iter().chain(net.buffers().values()).all(|value| value.is_finite()));
        // an average of equal numbers is rounded
        assert!(ema.is_some() || net.parameters().values() == before.parameters().values());
    }
}

/// A sigmoid makes a finite output of an infinite sum.
#[test]
fn an_infinite_parameter_ends_the_run_where_the_cost_is_finite() {
    let folder = tempfile::tempdir().unwrap();
    let mut net = Sequential::builder([1, 8, 8]).dense(5).activation(Sigmoid).dense(4).build(0).unwrap();
    let before = net.clone();
    let poison = || Trainer::new(Poison { number: 15, len: 5, value: f32::INFINITY });
    let found = |error: NetError| match error {
        NetError::NotFinite { tensor, epoch: 2, step, checkpoint, .. } => (tensor, step, checkpoint),
        other => panic!("{other:?}"),
    };
    assert_eq!(found(fit(poison(), &mut net).unwrap_err()), ("fc1.bias".into(), 10, None));
    assert_eq!(net.parameters().values(), before.parameters().values());
    // no checkpoint has it either
    let checkpoints = Checkpoints::in_dir(folder.path()).every_steps(3);
    let (_, step, kept) = found(fit(poison().checkpoints(checkpoints), &mut net).unwrap_err());
    assert_eq!(step, 5);
    assert!(kept.unwrap().ends_with("checkpoint-0000000012.safetensors"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}
