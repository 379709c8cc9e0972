//! Optimizers against PyTorch, and their state.

use std::sync::Arc;

use layers::{Arena, Layout, Scalar, TensorSpec};
use net::optim::{Adam, AdamW, Decay, OptimError, Optimizer, OptimizerState, RmsProp, Sgd, Step};

fn layout() -> Arc<Layout> {
    Arc::new(Layout::new([TensorSpec::weight("weight", &[3]), TensorSpec::plain("bias", &[3])]))
}

/// One step down ½ Σ c (θ − o)², for weights and biases alike.
fn descend<T: Scalar>(state: &mut OptimizerState<T>, optimizer: &dyn Optimizer<T>, params: &mut Arena<T>) {
    let mut grads = Arena::zeros(Arc::clone(params.layout()));
    for name in ["weight", "bias"] {
        let theta = params.tensor(name).unwrap();
        let mut gradient = grads.tensor_mut(name).unwrap();
        for (i, (c, o)) in [(1.0, 0.5), (0.5, 1.0), (4.0, -1.0)].into_iter().enumerate() {
            gradient[i] = T::of(c) * (theta[i] - T::of(o));
        }
    }
    state.step(optimizer, optimizer.learning_rate(), params, &grads);
}

fn start<T: Scalar>() -> Arena<T> {
    let mut params = Arena::zeros(layout());
    for name in ["weight", "bias"] {
        params.tensor_mut(name).unwrap().as_slice_mut().unwrap().copy_from_slice(&[1.0, -2.0, 0.5].map(T::of));
    }
    params
}

/// Weights and biases after `steps` steps from (1, −2, 0.5).
fn after<T: Scalar>(optimizer: &dyn Optimizer<T>, steps: usize) -> [Vec<f64>; 2] {
    let mut params = start();
    let mut state = OptimizerState::new(optimizer, params.layout());
    (0..steps).for_each(|_| descend(&mut state, optimizer, &mut params));
    ["weight", "bias"].map(|name| params.tensor(name).unwrap().iter().map(|v| v.as_f64()).collect())
}

#[track_caller]
fn assert_close(got: &[f64], expected: &[f64], tolerance: f64) {
    let close = got.iter().zip(expected).all(|(g, e)| (g - e).abs() <= tolerance);
    assert!(got.len() == expected.len() && close, "{got:?} is not {expected:?}");
}

/// Produced by PyTorch 2.15, float64:
/// ```python
/// w = tensor([1.0, -2.0, 0.5], requires_grad=True)
/// opt = SGD([w], 0.1, momentum=0.9)  # and the others
/// for _ in range(4):
///     opt.zero_grad()
///     (0.5 * (tensor([1.0, 0.5, 4.0]) * (w - tensor([0.5, 1.0, -1.0])) ** 2).sum()).backward()
///     opt.step()
/// print(w.tolist())
/// ```
#[test]
fn four_steps_agree_with_pytorch() {
    fn check(optimizer: impl Optimizer<f64> + Optimizer<f32>, expected: [f64; 3]) {
        assert_close(&after::<f64>(&optimizer, 4)[0], &expected, 1e-14);
        assert_close(&after::<f32>(&optimizer, 4)[0], &expected, 1e-5);
    }
    let sgd = Sgd::new(0.1);
    check(sgd, [0.82805, -1.44351875, -0.8056]);
    check(sgd.momentum(0.9), [0.6134000000000001, -0.7438812499999998, -2.215]);
    check(sgd.momentum(0.9).nesterov(true), [0.546943955, -0.42245348937500005, -1.52515216]);
    check(sgd.momentum(0.9).decay(Decay::L2(0.01)), [0.606306193651, -0.729133464552, -2.2118913271495]);
    check(Adam::new(0.1), [0.6129154024398078, -1.6009135330968831, 0.10219893577511655]);
    // betas=(0.8, 0.99), eps=1e-3, weight_decay=0.05
    let adam = Adam::new(0.1).betas(0.8, 0.99).epsilon(1e-3).decay(Decay::L2(0.05));
    check(adam, [0.6180069685857944, -1.6020279938569808, 0.10397109969400402]);
    check(AdamW::new(0.1).weight_decay(0.05), [0.5972258910144026, -1.5643059409298856, 0.09532198751316531]);
    check(RmsProp::new(0.1), [0.5278885187479693, 0.19944487133531769, -0.9757809248656191]);
    // alpha=0.9, eps=1e-4, momentum=0.5, weight_decay=0.05
    let rms_prop = RmsProp::new(0.1).alpha(0.9).epsilon(1e-4).momentum(0.5).decay(Decay::L2(0.05));
    check(rms_prop, [0.36291678954562967, -0.6456762068200608, -0.7301368068046958]);
}

#[test]
fn one_step_of_the_primer() {
    // the Neural Networks Primer: step size 0.1, w = 2.45, b = −0.11
    let (mut params, grads) = ([2.45, -0.11], [-0.014334109526226761, -0.018992369482903983]);
    Sgd::new(0.1).update(Step { number: 1, learning_rate: 0.1, decay: true }, &mut params, &grads, &mut []);
    assert_close(&params, &[2.451433410952623, -0.1081007630517096], 1e-15);
}

#[test]
fn decay_spares_biases() {
    let pairs: [(&dyn Optimizer<f64>, &dyn Optimizer<f64>); 5] = [
        (&Sgd::new(0.1).decay(Decay::L2(0.2)), &Sgd::new(0.1)),
        (&Sgd::new(0.1).decay(Decay::L1(0.2)), &Sgd::new(0.1)),
        (&Adam::new(0.1).decay(Decay::L2(0.2)), &Adam::new(0.1)),
        (&AdamW::new(0.1).weight_decay(0.2), &AdamW::new(0.1).weight_decay(0.0)),
        (&RmsProp::new(0.1).decay(Decay::L2(0.2)), &RmsProp::new(0.1)),
    ];
    for (with, without) in pairs {
        let ([weight, bias], [plain, plain_bias]) = (after(with, 3), after(without, 3));
        assert_eq!(bias, plain_bias, "{}", with.describe());
        assert!(weight.iter().zip(&plain).all(|(w, p)| w != p), "{}", with.describe());
    }
}

#[test]
fn l1_pulls_all_weights_alike_and_leaves_zero_alone() {
    let mut params = [4.0, -0.5, 0.0, -0.0];
    let step = Step { number: 1, learning_rate: 0.5, decay: true };
    Sgd::new(0.5).decay(Decay::L1(0.25)).update(step, &mut params, &[0.0; 4], &mut []);
    assert_eq!(params, [3.875, -0.375, 0.0, 0.0]);
}

#[test]
fn nielsens_decay_is_that_of_his_programs() {
    // network2.py: w = (1 - eta*(lmbda/n))*w - (eta/len(mini_batch))*nw
    let (eta, lambda, n) = (0.5, 5.0, 50_000);
    let (mut params, gradient) = ([0.75], 0.25);
    let step = Step { number: 1, learning_rate: eta, decay: true };
    Sgd::new(eta).decay(Decay::nielsen_ch3(lambda, n)).update(step, &mut params, &[gradient], &mut []);
    assert_close(&params, &[(1.0 - eta * (lambda / n as f64)) * 0.75 - eta * gradient], 1e-16);
    // network3.py: cost = mean NLL + 0.5*lmbda*l2_norm_squared/num_training_batches
    assert_eq!(Decay::nielsen_ch6(0.1, 5_000), Decay::L2(2e-5));
    assert_eq!(Decay::nielsen_ch6(0.1, 25_000), Decay::L2(4e-6));
}

#[test]
fn state_that_has_decayed_becomes_zero() {
    let optimizers: [&dyn Optimizer<f32>; 3] =
        [&Sgd::new(0.1).momentum(0.9), &Adam::new(0.1).betas(0.9, 0.9), &RmsProp::new(0.1).alpha(0.9).momentum(0.9)];
    for optimizer in optimizers {
        let layout = layout();
        let (mut params, mut grads) = (Arena::zeros(layout.clone()), Arena::zeros(layout.clone()));
        let mut state = OptimizerState::new(optimizer, &layout);
        grads.values_mut().fill(1.0);
        state.step(optimizer, 0.1, &mut params, &grads);
        assert!(state.slots().all(|(_, slot)| slot.tensor("weight").unwrap().iter().all(|&v| v != 0.0)));
        grads.values_mut().fill(0.0);
        for _ in 0..1000 {
            state.step(optimizer, 0.1, &mut params, &grads);
            let values = state.slots().flat_map(|(_, slot)| slot.values());
            assert!(values.copied().all(|v| v == 0.0 || v.abs() >= 1e-30), "{}", optimizer.name());
        }
        assert!(state.slots().all(|(_, slot)| slot.values().iter().all(|&v| v == 0.0)), "{}", optimizer.name());
    }
}

/// Weights that began as (1, −2, 0.5) · `from`, after steps without gradients, on which none was subnormal.
fn shrunk<T: Scalar>(optimizer: &dyn Optimizer<T>, from: f64, steps: usize) -> Vec<f64> {
    let mut params = start::<T>();
    params.values_mut().iter_mut().for_each(|value| *value *= T::of(from));
    let (mut state, grads) = (OptimizerState::new(optimizer, params.layout()), Arena::zeros(layout()));
    let tiny = T::min_positive_value().as_f64();
    for _ in 0..steps {
        state.step(optimizer, 0.1, &mut params, &grads);
        let mut values = params.values().iter().map(|value| value.as_f64().abs());
        assert!(values.all(|v| v == 0.0 || v > tiny), "{} in {}", optimizer.describe(), T::NAME);
    }
    params.tensor("weight").unwrap().iter().map(|value| value.as_f64()).collect()
}

/// With a penalty and no gradients weights shrink for ever: to 0, and not to subnormal numbers.
#[test]
fn weights_that_have_decayed_become_zero() {
    fn check<T: Scalar>(steps: usize) {
        let (sgd, rms) = (Sgd::new(0.1).decay(Decay::L2(5.0)), RmsProp::new(0.1).decay(Decay::L2(0.5)));
        let geometric: [&dyn Optimizer<T>; 4] =
            [&sgd, &sgd.momentum(0.5), &sgd.momentum(0.5).nesterov(true), &AdamW::new(0.1).weight_decay(5.0)];
        let others: [&dyn Optimizer<T>; 3] = [&Adam::new(0.1).decay(Decay::L2(0.5)), &rms, &rms.momentum(0.9)];
        for optimizer in geometric {
            assert_eq!(shrunk(optimizer, 1.0, steps), [0.0; 3], "{} in {}", optimizer.describe(), T::NAME);
        }
        let tiny = T::min_positive_value().as_f64();
        for optimizer in geometric.into_iter().chain(others) {
            assert_eq!(shrunk(optimizer, tiny, 1), [0.0; 3], "{} in {}", optimizer.describe(), T::NAME);
        }
        // numbers that are only small stay what they are
        let plain: [&dyn Optimizer<T>; 4] =
            [&Sgd::new(0.1), &Sgd::new(0.1).momentum(0.9), &Adam::new(0.1), &RmsProp::new(0.1)];
        let small = tiny * 2f64.powi(30);
        for optimizer in plain {
            assert_eq!(shrunk(optimizer, small, 3), [small, -2.0 * small, 0.5 * small], "{}", optimizer.describe());
        }
    }
    check::<f32>(400);
    check::<f64>(4_000);
}

#[test]
fn a_gradient_that_is_not_a_number_is_not_hidden() {
    let optimizers: [&dyn Optimizer<f32>; 5] =
        [&Sgd::new(0.1), &Sgd::new(0.1).momentum(0.9), &Adam::new(0.1), &AdamW::new(0.1), &RmsProp::new(0.1)];
    for optimizer in optimizers {
        let mut params = start();
        let mut grads = Arena::zeros(Arc::clone(params.layout()));
        grads.values_mut()[0] = f32::NAN;
        OptimizerState::new(optimizer, params.layout()).step(optimizer, 0.1, &mut params, &grads);
        let weight = params.tensor("weight").unwrap();
        assert!(weight[0].is_nan() && weight[1].is_finite(), "{}", optimizer.name());
    }
}

#[test]
fn a_restored_run_is_the_same_run() {
    let optimizers: [&dyn Optimizer<f32>; 4] =
        [&Sgd::new(0.1).momentum(0.9), &Adam::new(0.1), &AdamW::new(0.1), &RmsProp::new(0.1).momentum(0.5)];
    for optimizer in optimizers {
        let mut params = start();
        let mut state = OptimizerState::new(optimizer, params.layout());
        (0..3).for_each(|_| descend(&mut state, optimizer, &mut params));

        let mut saved: Vec<_> = state.slots().map(|(name, slot)| (name.to_string(), slot.clone())).collect();
        saved.reverse(); // files do not promise an order
        let mut resumed = OptimizerState::new(optimizer, params.layout());
        resumed.restore(state.step_number(), saved).unwrap();
        let mut resumed_params = params.clone();
        for _ in 0..3 {
            descend(&mut state, optimizer, &mut params);
            descend(&mut resumed, optimizer, &mut resumed_params);
        }
        assert_eq!(resumed.step_number(), 6);
        assert_eq!(resumed_params.values(), params.values(), "{}", optimizer.name());
    }
}

#[test]
fn a_foreign_state_is_refused() {
    let (sgd, layout) = (Sgd::new(0.1).momentum(0.9), layout());
    let mut state = OptimizerState::<f32>::new(&sgd, &layout);
    let arena = || Arena::zeros(layout.clone());
    let mut refuses = |slots: Vec<(&str, Arena<f32>)>, message: &str| {
        assert_eq!(state.restore(7, slots).unwrap_err().to_string(), message);
        assert_eq!(state.step_number(), 0);
    };
    for names in [&[][..], &["exp_avg", "exp_avg_sq"], &["momentum_buffer", "momentum_buffer"], &["momentum"]] {
        let expected = format!(
            "the saved state has the slots [{}], this optimizer has [momentum_buffer]: resume with the optimizer that saved it",
            names.join(", ")
        );
        refuses(names.iter().map(|&name| (name, arena())).collect(), &expected);
    }
    let other = Layout::new([TensorSpec::weight("weight", &[4])]);
    refuses(
        vec![("momentum_buffer", Arena::zeros(other))],
        "the saved slot `momentum_buffer` has other tensors than the parameters: resume with the network that saved it",
    );
}

#[test]
fn settings_out_of_range_are_refused() {
    let sgd = Sgd::new(0.1);
    let cases: [(&dyn Optimizer<f32>, &str); 17] = [
        (&Sgd::new(0.0), "the learning rate must be > 0 and finite (got 0)"),
        (&Sgd::new(f64::NAN), "the learning rate must be > 0 and finite (got NaN)"),
        (&Sgd::new(f64::INFINITY), "the learning rate must be > 0 and finite (got inf)"),
        (
            &Sgd::new(1e-60),
            "the learning rate 1e-60 is out of the range of f32: choose one nearer to 1, or train in f64",
        ),
        (&sgd.momentum(1.0), "the momentum must be at least 0 and below 1 (got 1)"),
        (&sgd.momentum(-0.1), "the momentum must be at least 0 and below 1 (got -0.1)"),
        (&sgd.nesterov(true), "nesterov needs momentum: set one, usually 0.9, or leave nesterov off"),
        (&sgd.decay(Decay::L2(-1.0)), "the weight decay must be >= 0 and finite (got -1)"),
        (&sgd.decay(Decay::nielsen_ch6(0.1, 0)), "the weight decay must be >= 0 and finite (got inf)"),
        (&Adam::new(-1.0), "the learning rate must be > 0 and finite (got -1)"),
        (&Adam::new(0.1).betas(1.0, 0.9), "beta1 must be at least 0 and below 1 (got 1)"),
        (&Adam::new(0.1).betas(0.9, f64::NAN), "beta2 must be at least 0 and below 1 (got NaN)"),
        (&Adam::new(0.1).epsilon(0.0), "epsilon must be > 0 and finite (got 0)"),
        (
            &Adam::new(0.1).epsilon(1e-50),
            "epsilon 1e-50 is out of the range of f32: choose one nearer to 1, or train in f64",
        ),
        (&AdamW::new(0.1).weight_decay(f64::NAN), "the weight decay must be >= 0 and finite (got NaN)"),
        (&RmsProp::new(0.1).alpha(1.5), "alpha must be at least 0 and below 1 (got 1.5)"),
        (&RmsProp::new(0.1).momentum(2.0), "the momentum must be at least 0 and below 1 (got 2)"),
    ];
    for (optimizer, message) in cases {
        assert_eq!(optimizer.validate().unwrap_err().to_string(), message);
    }
    assert_eq!(Optimizer::<f64>::validate(&Adam::new(0.1).epsilon(1e-50)), Ok(()));
}

#[test]
fn usual_settings_are_accepted() {
    let optimizers: [&dyn Optimizer<f32>; 5] = [
        &Sgd::new(3.0),
        &Sgd::new(0.03).momentum(0.9).nesterov(true).decay(Decay::L1(1e-5)),
        &Adam::new(0.001).betas(0.0, 0.9),
        &AdamW::new(0.001),
        &RmsProp::new(0.01),
    ];
    for optimizer in optimizers {
        assert_eq!(optimizer.validate(), Ok::<(), OptimError>(()), "{}", optimizer.describe());
    }
}

/// Long tensors are cut for several threads: the bits are those of one formula for the whole.
#[test]
fn long_tensors_are_cut_without_a_trace() {
    let len = 200_003;
    let layout = Arc::new(Layout::new([TensorSpec::weight("weight", &[len])]));
    let mut stream = layers::random::Key::new(3).stream("test", "long", 0, 0);
    let mut numbers = || (0..len).map(|_| stream.normal() as f32).collect::<Vec<_>>();
    let (start, gradient) = (numbers(), numbers());
    let optimizers: [&dyn Optimizer<f32>; 4] = [
        &Sgd::new(0.1).decay(Decay::L2(0.01)),
        &Sgd::new(0.1).momentum(0.9).nesterov(true),
        &Adam::new(0.01).decay(Decay::L1(0.01)),
        &RmsProp::new(0.01).momentum(0.5),
    ];
    for optimizer in optimizers {
        let (mut params, mut grads) = (Arena::zeros(layout.clone()), Arena::zeros(layout.clone()));
        params.values_mut()[..len].copy_from_slice(&start);
        grads.values_mut()[..len].copy_from_slice(&gradient);
        let mut state = OptimizerState::new(optimizer, &layout);
        let (mut expected, mut slots) = (start.clone(), vec![vec![0.0; len]; optimizer.slots().len()]);
        for number in 1..=2 {
            state.step(optimizer, 0.1, &mut params, &grads);
            let mut slots: Vec<_> = slots.iter_mut().map(Vec::as_mut_slice).collect();
            let step = Step { number, learning_rate: 0.1, decay: true };
            optimizer.update(step, &mut expected, &gradient, &mut slots);
        }
        assert!(params.values()[..len] == expected, "{}", optimizer.describe());
        for ((name, slot), expected) in state.slots().zip(&slots) {
            assert!(slot.values()[..len] == **expected, "{}: {name}", optimizer.describe());
        }
    }
}
