//! Runs that are stopped and go on: the same end, or a refusal that says why.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use conv_kernels::{Algorithm, Options, Padding};
use layers::{Conv2d, Conv2dBuilder};
use ndarray::{Array1, Array4};
use net::{
    Activation::Relu,
    Checkpoints, Flow, History, LayerSpec, NetError, Observer, Schedule, Sequential, Trainer,
    cost::SoftmaxCrossEntropy,
    observe::{EarlyStopping, EpochReport, Notice, StepReport},
    optim::{Adam, RmsProp, Sgd},
};

use crate::training::{quarters, small};

/// 11 steps an epoch.
fn data() -> [(Array4<u8>, Array1<u8>); 2] {
    [quarters(203, 1), quarters(60, 2)]
}

fn fit(trainer: Trainer<'_, f32>, net: &mut Sequential) -> Result<History, NetError> {
    let [train, test] = data();
    let mut trainer = trainer.batch_size(20);
    trainer.fit(net, (train.0.view(), train.1.view()), (test.0.view(), test.1.view()))
}

/// Everything that must be the same, to the bit: parameters, buffers, reports without their times.
fn outcome(net: &Sequential, history: &History) -> (Vec<u32>, String) {
    let bits = net.parameters().tensors().chain(net.buffers().tensors());
    let bits = bits.flat_map(|tensor| tensor.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>()).collect();
    let mut epochs = history.epochs.clone();
    for report in &mut epochs {
        (report.seconds, report.samples_per_second) = (0.0, 0.0);
    }
    (bits, format!("{epochs:?}"))
}

/// Stops after a step of the whole run.
struct StopAfter(u64);

impl Observer for StopAfter {
    fn step(&mut self, report: &StepReport) -> Flow {
        if (report.epoch - 1) * 11 + report.step == self.0 { Flow::Stop } else { Flow::Continue }
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Observer for Log {
    fn notice(&mut self, notice: &Notice) {
        self.0.lock().unwrap().push(notice.to_string());
    }
    fn epoch(&mut self, report: &EpochReport) -> Flow {
        self.0.lock().unwrap().push(format!("epoch {}", report.epoch));
        Flow::Continue
    }
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn newest(folder: &Path) -> PathBuf {
    folder.join(files(folder).last().unwrap())
}

/// BatchNorm, dropout, a schedule; stopped again and again, at the end of an epoch and within, and killed, which is to lose
/// the last checkpoint.
#[test]
fn a_resumed_run_ends_as_the_one_that_was_not_stopped() {
    let optimizers: [fn() -> Trainer<'static, f32>; 6] = [
        || Trainer::new(Sgd::new(0.05).momentum(0.9)),
        || Trainer::new(Sgd::new(0.05)).ema(0.9),
        || Trainer::new(Adam::new(0.01)).ema(0.95),
        || Trainer::new(RmsProp::new(0.002)),
        || Trainer::new(Sgd::new(0.05).momentum(0.9)).keep_best(true),
        || Trainer::new(Sgd::new(0.05)).ema(0.9).keep_best(true),
    ];
    for trainer in optimizers {
        let trainer = || trainer().epochs(3).schedule(Schedule::Cosine { end: 0.1 }).seed(11);
        let mut whole = small(3);
        let history = fit(trainer(), &mut whole).unwrap();
        let want = outcome(&whole, &history);

        for checkpoints in [Checkpoints::every_epochs, Checkpoints::every_steps] {
            let folder = tempfile::tempdir().unwrap();
            let trainer = || trainer().checkpoints(checkpoints(Checkpoints::in_dir(folder.path()), 2));
            for (threads, stop) in [(1, 1), (2, 5), (3, 11), (1, 12), (2, 20), (1, 22), (1, 31)] {
                let stopped = fit(trainer().threads(threads).observe(StopAfter(stop)), &mut small(3)).unwrap();
                assert!(stopped.stopped && stopped.epochs.len() as u64 == stop / 11);
                assert!(newest(folder.path()).ends_with(format!("checkpoint-{stop:010}.safetensors")));
                if files(folder.path()).len() == 2 && stop != 31 {
                    fs::remove_file(newest(folder.path())).unwrap();
                }
            }
            for _ in 0..2 {
                // the second time there is nothing left to do
                let mut net = small(3);
                let history = fit(trainer(), &mut net).unwrap();
                assert!(!history.stopped);
                assert!(outcome(&net, &history) == want);
            }
        }
    }
}

#[test]
fn the_last_two_are_kept_and_other_files_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["notes.txt", "checkpoint-7.safetensors", ".overlay-x.partial"] {
        fs::write(folder.path().join(name), "mine").unwrap();
    }
    let every = |checkpoints: Checkpoints, epochs| {
        let trainer = Trainer::new(Sgd::new(0.05)).epochs(epochs).checkpoints(checkpoints);
        fit(trainer, &mut small(3)).unwrap();
        let mut names = files(folder.path());
        names.retain(|name| !["notes.txt", "checkpoint-7.safetensors"].contains(&name.as_str()));
        names
    };
    let at = |steps: u64| format!("checkpoint-{steps:010}.safetensors");
    assert_eq!(every(Checkpoints::in_dir(folder.path()).every_steps(4), 1), [at(8), at(11)]);
    assert_eq!(every(Checkpoints::in_dir(folder.path()), 3), [at(22), at(33)]);
    assert_eq!(every(Checkpoints::in_dir(folder.path()).every_epochs(2), 5), [at(44), at(55)]);
    assert_eq!(fs::read_to_string(folder.path().join("notes.txt")).unwrap(), "mine");
    assert_eq!(files(folder.path()).len(), 4, "what a killed run had half written is gone");
}

#[test]
fn observers_are_told_of_the_epochs_before() {
    let folder = tempfile::tempdir().unwrap();
    let trainer = || Trainer::new(Sgd::new(0.05)).epochs(3).checkpoints(Checkpoints::in_dir(folder.path()));
    fit(trainer().observe(StopAfter(24)), &mut small(3)).unwrap();
    let path = newest(folder.path());
    let log = Log::default();
    fit(trainer().observe(log.clone()), &mut small(3)).unwrap();
    let resumed = format!("resumed from {} (epochs done: 2, steps of the next: 2)", path.display());
    assert_eq!(*log.0.lock().unwrap(), [&resumed, "epoch 1", "epoch 2", "epoch 3"]);

    /// Ends the run by what it has seen of earlier epochs.
    struct Twice(u64);
    impl Observer for Twice {
        fn epoch(&mut self, _: &EpochReport) -> Flow {
            self.0 += 1;
            if self.0 == 2 { Flow::Stop } else { Flow::Continue }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let trainer = || Trainer::new(Sgd::new(0.05)).epochs(9).checkpoints(Checkpoints::in_dir(folder.path()));
    fit(trainer().observe(StopAfter(13)), &mut small(3)).unwrap();
    for _ in 0..2 {
        let history = fit(trainer().observe(Twice(0)), &mut small(3)).unwrap();
        assert!(history.stopped && history.epochs.len() == 2);
    }
}

#[test]
fn a_checkpoint_is_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let mut net = small(3);
    net.metadata_mut().insert("trained_on".into(), "quarters".into());
    fit(Trainer::new(Adam::new(0.01)).ema(0.9).checkpoints(Checkpoints::in_dir(folder.path())), &mut net).unwrap();
    let loaded: Sequential = Sequential::load(newest(folder.path())).unwrap();
    assert_eq!(loaded.parameters().values(), net.parameters().values());
    assert_eq!(loaded.buffers().values(), net.buffers().values());
    assert_eq!(loaded.metadata(), net.metadata());
}

/// What a run of `one` leaves is refused by `other`, for these reasons.
fn refused(one: Trainer<'_, f32>, other: Trainer<'_, f32>) -> Vec<String> {
    refused_networks((one, small(3)), (other, small(3)))
}

fn refused_networks(one: (Trainer<'_, f32>, Sequential), other: (Trainer<'_, f32>, Sequential)) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = || Checkpoints::in_dir(folder.path());
    let (trainer, mut net) = one;
    fit(trainer.checkpoints(checkpoints()).observe(StopAfter(14)), &mut net).unwrap();
    let left = files(folder.path());
    let (trainer, mut net) = other;
    let before = net.parameters().values().to_vec();
    match fit(trainer.checkpoints(checkpoints()), &mut net) {
        Err(NetError::OtherRun { path, differences }) => {
            assert_eq!(path, newest(folder.path()));
            assert_eq!(net.parameters().values(), before);
            assert_eq!(files(folder.path()), left);
            differences
        }
        Ok(_) => Vec::new(),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn other_settings_are_refused_by_name() {
    let sgd = |rate| Trainer::new(Sgd::new(rate).momentum(0.9)).epochs(2);
    let plain = || sgd(0.03);
    assert_eq!(refused(plain(), plain().threads(2)), [""; 0]);
    assert_eq!(refused(plain(), sgd(0.05)), ["learning rate: 0.03 in the checkpoint, 0.05 in this run"]);
    assert_eq!(
        refused(plain(), Trainer::new(Sgd::new(0.03)).epochs(2).seed(1).shuffle(false)),
        [
            "optimizer: sgd momentum 0.9 in the checkpoint, sgd in this run",
            "seed: 0 in the checkpoint, 1 in this run",
            "order of samples: shuffled in the checkpoint, as given in this run",
        ]
    );
    let patient = |epochs| plain().observe(EarlyStopping::new(epochs));
    assert_eq!(refused(patient(3), patient(3)), [""; 0]);
    assert_eq!(
        refused(patient(3), patient(4).observe(Log::default())),
        ["stopped by: early stopping, 3 epochs without a higher accuracy in the checkpoint, \
          early stopping, 4 epochs without a higher accuracy in this run"]
    );
    assert_eq!(
        refused(plain(), plain().observe(EarlyStopping::new(0).by_cost())),
        ["stopped by: nothing in the checkpoint, early stopping, 1 epochs without a lower cost in this run"]
    );
    assert_eq!(
        refused(plain().ema(0.9), plain().cost(SoftmaxCrossEntropy::new().label_smoothing(0.1).unwrap())),
        [
            "cost: softmax-cross-entropy in the checkpoint, softmax-cross-entropy label-smoothing 0.1 in this run",
            "average of the weights: decay 0.9 in the checkpoint, none in this run",
        ]
    );
}

#[test]
fn other_networks_are_refused_by_layer() {
    let trainer = || Trainer::new(Sgd::new(0.03)).epochs(2);
    let net = |rate, seed| {
        let net = Sequential::builder([1, 8, 8]).dense(8).activation(Relu);
        if rate > 0.0 { net.dropout(rate).dense(4).build(seed) } else { net.dense(4).build(seed) }.unwrap()
    };
    let refused = |one, other| refused_networks((trainer(), one), (trainer(), other));
    assert_eq!(
        refused(net(0.2, 0), net(0.5, 0)),
        ["layer drop1: drop p = 0.2 to (8,) in the checkpoint, drop p = 0.5 to (8,) in this run"]
    );
    let without = refused(net(0.2, 0), net(0.0, 0));
    assert_eq!(without[0], "layers: fc1, drop1, fc2 in the checkpoint, fc1, fc2 in this run");
    assert!(without[1].starts_with("layer drop1: ") && without[1].ends_with("nothing in this run"), "{without:?}");
    let start = refused(net(0.2, 0), net(0.2, 1));
    assert!(start.len() == 1 && start[0].starts_with("starting weights: sha256 "), "{start:?}");
}

/// Whether layers are described by the builder or made by the user, all that decides what they compute is compared.
#[test]
fn layers_beside_one_of_the_users_own_are_compared_in_full() {
    let net = |conv: Conv2dBuilder, momentum| {
        let builder = Sequential::builder([1, 8, 8]).layer(conv.build::<f32>().unwrap());
        let builder = builder.spec(LayerSpec::BatchNorm2d { epsilon: 1e-5, momentum, activation: Relu });
        (Trainer::new(Sgd::new(0.03)).epochs(2), builder.dense(4).build(1).unwrap())
    };
    let conv = || Conv2d::new([1, 8, 8], 6, 3).padding(1);
    let forced = |algorithm| conv().options(Options::default().force(algorithm));
    let differences = |one, other| refused_networks(one, other);
    assert_eq!(differences(net(conv(), 0.1), net(conv(), 0.1)), [""; 0]);
    assert_eq!(
        differences(net(conv(), 0.1), net(conv(), 0.2)),
        ["layer bn1: bn 6 channels, relu, epsilon 1e-5, momentum 0.1 to (6, 8, 8) in the checkpoint, \
          bn 6 channels, relu, epsilon 1e-5, momentum 0.2 to (6, 8, 8) in this run"]
    );
    let algorithms = differences(net(forced(Algorithm::Im2col), 0.1), net(forced(Algorithm::Direct), 0.1));
    assert!(
        algorithms.len() == 1 && algorithms[0].starts_with("layer conv1: conv 6 maps 3x3, padding"),
        "{algorithms:?}"
    );
    let shifted = || conv().padding(Padding { top: 2, bottom: 0, left: 1, right: 1 });
    let padding = differences(net(conv(), 0.1), net(shifted(), 0.1));
    assert!(padding.len() == 1 && padding[0].contains(", padding 2 0 1 1, "), "{padding:?}");
}

#[test]
fn other_data_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [train, test] = data();
    let learn = |train: &(Array4<u8>, Array1<u8>), test: &(Array4<u8>, Array1<u8>)| {
        let mut trainer = Trainer::new(Sgd::new(0.03)).batch_size(20).checkpoints(Checkpoints::in_dir(folder.path()));
        trainer.fit(&mut small(3), (train.0.view(), train.1.view()), (test.0.view(), test.1.view()))
    };
    learn(&train, &test).unwrap();
    let (mut pixel, mut label) = (train.clone(), test.clone());
    pixel.0[[202, 0, 7, 7]] ^= 1;
    label.1[0] = (label.1[0] + 1) % 4;
    let differences = |error: Result<History, NetError>| match error.unwrap_err() {
        NetError::OtherRun { differences, .. } => differences,
        other => panic!("{other}"),
    };
    let found = differences(learn(&pixel, &label));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("training data: 203 samples, sha256 "), "{found:?}");
    assert!(found[1].starts_with("held-out data: 60 samples, sha256 "), "{found:?}");
    assert_eq!(differences(learn(&quarters(100, 1), &test)).len(), 1);
}

/// More epochs are no other run as long as the steps that are done would have been the same.
#[test]
fn the_number_of_epochs_may_change_where_nothing_depends_on_it() {
    let run = |epochs, schedule| Trainer::new(Sgd::new(0.03)).epochs(epochs).schedule(schedule);
    for schedule in [Schedule::Constant, Schedule::Exponential { factor: 0.5 }] {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = || Checkpoints::in_dir(folder.path());
        fit(run(2, schedule).checkpoints(checkpoints()), &mut small(3)).unwrap();
        let (mut more, mut whole) = (small(3), small(3));
        let history = fit(run(4, schedule).checkpoints(checkpoints()), &mut more).unwrap();
        let want = fit(run(4, schedule), &mut whole).unwrap();
        assert!(outcome(&more, &history) == outcome(&whole, &want));
    }
    let cosine = Schedule::Cosine { end: 0.1 };
    assert_eq!(
        refused(run(2, cosine), run(3, cosine)),
        ["epochs: 2 in the checkpoint, 3 in this run, which changes the learning rates of steps made"]
    );
    let constant = Schedule::Constant;
    assert_eq!(
        refused(run(2, constant), run(1, constant)),
        ["epochs: 2 in the checkpoint, 1 in this run, fewer than are done"]
    );
}

type Damage = fn(&mut Vec<u8>);

/// A damaged checkpoint is passed over with a notice, and the run still ends as it should.
#[test]
fn a_damaged_checkpoint_is_passed_over() {
    let trainer = || Trainer::new(Sgd::new(0.05).momentum(0.9)).epochs(2);
    let mut whole = small(3);
    let history = fit(trainer(), &mut whole).unwrap();
    let want = outcome(&whole, &history);
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
    let empty = |bytes: &mut Vec<u8>| bytes.clear();
    let flip = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
    let damages: [(Damage, &str); 3] = [(cut, "not a whole"), (empty, "not a whole"), (flip, "SHA-256")];
    for (damage, reason) in damages {
        let folder = tempfile::tempdir().unwrap();
        let trainer = || trainer().checkpoints(Checkpoints::in_dir(folder.path()).every_steps(3));
        fit(trainer().observe(StopAfter(14)), &mut small(3)).unwrap();
        let path = newest(folder.path());
        let spoil = |path: &Path| {
            let mut bytes = fs::read(path).unwrap();
            damage(&mut bytes);
            fs::write(path, bytes).unwrap();
        };
        spoil(&path);
        let (log, mut net) = (Log::default(), small(3));
        let history = fit(trainer().observe(log.clone()), &mut net).unwrap();
        assert!(outcome(&net, &history) == want);
        let log = log.0.lock().unwrap();
        assert!(log[0].starts_with(&format!("skipped {}: ", path.display())) && log[0].contains(reason), "{log:?}");
        assert!(log[1].ends_with("(epochs done: 1, steps of the next: 1)"), "{log:?}");

        // when none is left, the user decides
        for name in files(folder.path()) {
            spoil(&folder.path().join(name));
        }
        let error = fit(trainer(), &mut small(3)).unwrap_err();
        assert!(matches!(&error, NetError::Model { .. }), "{error:?}");
        let error = error.to_string();
        assert!(error.contains("no checkpoint here can be read") && error.contains("0000000022"), "{error}");
    }
}

/// Whichever byte is wrong.
#[test]
fn no_damaged_byte_goes_unseen() {
    let folder = tempfile::tempdir().unwrap();
    fit(Trainer::new(Sgd::new(0.05)).checkpoints(Checkpoints::in_dir(folder.path())), &mut small(3)).unwrap();
    let path = newest(folder.path());
    let whole = fs::read(&path).unwrap();
    assert!(Sequential::<f32>::load(&path).is_ok());
    for at in (0..whole.len()).step_by(17) {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        fs::write(&path, bytes).unwrap();
        let result = Sequential::<f32>::load(&path).map(drop);
        assert!(matches!(result, Err(NetError::Model { .. })), "byte {at} of {}: {result:?}", whole.len());
    }
}

/// The run ends where the cost is no number, and what it leaves is the network of the step before.
#[test]
fn a_run_that_diverges_keeps_the_last_good_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    // the second epoch's steps are much too long
    let trainer = || Trainer::new(Sgd::new(0.05)).epochs(3).schedule(Schedule::Exponential { factor: 1e20 });
    let checkpoints = Checkpoints::in_dir(folder.path()).every_steps(1);
    let error = fit(trainer().checkpoints(checkpoints), &mut small(3)).unwrap_err();
    let text = error.to_string();
    let NetError::Diverged { epoch: 2, step, layer: Some(_), checkpoint: Some(path), .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(path, newest(folder.path()));
    // the step before the one that failed was the bad one
    assert!(path.ends_with(format!("checkpoint-{:010}.safetensors", 11 + step - 2)), "step {step}: {}", path.display());
    assert!(text.contains(&format!("the last good checkpoint is {}", path.display())), "{text}");
    assert!(Sequential::<f32>::load(&path).is_ok());
    assert_eq!(files(folder.path()).len(), 2);
}

#[test]
fn folders_and_intervals_that_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = |checkpoints| {
        fit(Trainer::new(Sgd::new(0.05)).checkpoints(checkpoints), &mut small(3)).unwrap_err().to_string()
    };
    assert!(refused(Checkpoints::in_dir(&file)).contains("file: "));
    let at_least_1 = "the epochs or steps between two checkpoints must be at least 1";
    assert_eq!(refused(Checkpoints::in_dir(folder.path()).every_steps(0)), at_least_1);
    assert_eq!(refused(Checkpoints::in_dir(folder.path()).every_epochs(0)), at_least_1);
}
