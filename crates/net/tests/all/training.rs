//! The training loop: it learns, it stops, it refuses, and it does the same for any number of threads.

use std::sync::atomic::{AtomicU64, Ordering};

use layers::{Phase, random::Key};
use ndarray::{Array1, Array4, array};
use net::{
    Activation::{Relu, Sigmoid},
    Flow, Images, Init, NetError, Observer, Scaling, Schedule, Sequential, Targets, Trainer,
    cost::Quadratic,
    observe::StepReport,
    optim::{Adam, OptimizerState, Sgd},
};

/// Eight-by-eight images with a bright quarter: which quarter is the class.
pub(crate) fn quarters(count: usize, seed: u64) -> (Array4<u8>, Array1<u8>) {
    let mut stream = Key::new(seed).stream("test", "quarters", 0, 0);
    let labels = Array1::from_shape_simple_fn(count, || stream.below(4) as u8);
    let images = Array4::from_shape_fn((count, 1, 8, 8), |(i, _, row, column)| {
        let bright = usize::from(labels[i]) == row / 4 * 2 + column / 4;
        (stream.below(100) + if bright { 100 } else { 0 }) as u8
    });
    (images, labels)
}

pub(crate) fn small(seed: u64) -> Sequential {
    Sequential::builder([1, 8, 8])
        .conv2d(6, 3)
        .activation(Relu)
        .batch_norm2d()
        .max_pool2d(2)
        .dense(16)
        .activation(Relu)
        .dropout(0.25)
        .dense(4)
        .build(seed)
        .unwrap()
}

fn train(threads: usize, shuffle: bool) -> (Sequential, net::History) {
    let (train, test) = (quarters(203, 1), quarters(60, 2));
    let mut net = small(3);
    let history = Trainer::new(Sgd::new(0.05).momentum(0.9))
        .batch_size(20)
        .epochs(3)
        .schedule(Schedule::Cosine { end: 0.1 })
        .shuffle(shuffle)
        .seed(11)
        .threads(threads)
        .fit(&mut net, (train.0.view(), train.1.view()), (test.0.view(), test.1.view()))
        .unwrap();
    (net, history)
}

#[test]
fn it_learns_and_reports() {
    let (_, history) = train(2, true);
    let last = history.epochs.last().unwrap();
    assert_eq!((history.epochs.len(), history.stopped, last.epoch), (3, false, 3));
    assert!(last.held_out.accuracy() > 0.95, "{}", last.held_out.accuracy());
    assert!(last.train_cost < history.epochs[0].train_cost);
    assert_eq!(last.held_out.confusion.total(), 60);
}

#[test]
fn the_same_bits_for_any_number_of_threads() {
    let bits = |net: &Sequential| -> Vec<u32> {
        net.parameters().values().iter().chain(net.buffers().values()).map(|v| v.to_bits()).collect()
    };
    let (one, _) = train(1, true);
    for threads in [2, 3, 8] {
        assert_eq!(bits(&train(threads, true).0), bits(&one), "{threads} threads");
    }
    assert_ne!(bits(&train(1, false).0), bits(&one), "another order of the samples");
}

/// Thirty-two lanes that share sixteen gradient buffers; tensors that are long enough for sums and updates to be cut for several
/// threads.
#[test]
fn the_same_bits_where_lanes_share_and_tensors_are_cut() {
    let mut stream = Key::new(1).stream("test", "noise", 0, 0);
    let labels = Array1::from_shape_simple_fn(128, || stream.below(10) as u8);
    let images = Array4::from_shape_simple_fn((128, 1, 16, 16), || stream.below(256) as u8);
    let data = (images.view(), labels.view());
    let bits = |threads| {
        let maps = Sequential::builder([1, 16, 16]).conv2d(32, 3).activation(Relu).conv2d(64, 3).activation(Relu);
        let maps = maps.max_pool2d(2).conv2d(128, 3).activation(Relu).dropout(0.25);
        let mut net = maps.dense(128).activation(Relu).dropout(0.5).dense(10).build(2).unwrap();
        let long = |name: &str| net.parameters().tensor(name).unwrap().len() > 1 << 16;
        assert!(long("conv3.weight") && long("fc1.weight"));
        let trainer = Trainer::new(Sgd::new(0.01).momentum(0.9)).ema(0.9).batch_size(64);
        let start = net.parameters().values().to_vec();
        { trainer }.threads(threads).fit(&mut net, data, data).unwrap();
        assert!(net.parameters().values().iter().zip(&start).filter(|(now, then)| now != then).count() > 1 << 18);
        net.parameters().values().iter().map(|value| value.to_bits()).collect::<Vec<_>>()
    };
    let one = bits(1);
    for threads in [2, 3, 8] {
        assert!(bits(threads) == one, "{threads} threads");
    }
}

/// A network that diverges goes back to where it was before that epoch, even when only its last step went wrong.
#[test]
fn a_run_that_diverges_keeps_the_epoch_before() {
    let (images, labels) = quarters(40, 1);
    let data = (images.view(), labels.view());
    let mut net = small(0);
    let before = net.clone();
    let error = Trainer::new(Sgd::new(1e37)).batch_size(40).fit(&mut net, data, data).unwrap_err();
    assert!(matches!(error, NetError::Diverged { epoch: 1, step: 1, layer: Some(_), .. }), "{error}");
    assert_eq!(net.parameters().values(), before.parameters().values());
    assert_eq!(net.buffers().values(), before.buffers().values());
}

/// Room for more samples than a batch has changes nothing.
#[test]
fn the_same_bits_in_a_larger_workspace() {
    let net = small(1);
    let (images, labels) = quarters(30, 5);
    let samples: Vec<u64> = (0..30).collect();
    let gradient = |capacity| {
        let mut workspace = net.workspace(capacity);
        let phase = Phase::Train { key: Key::new(1), epoch: 0, samples: &samples };
        let labels = Targets::Classes(labels.as_slice().unwrap());
        net.gradient(&mut workspace, &Images::from(images.view()), labels, &Quadratic, phase).unwrap();
        workspace.grads().values().to_vec()
    };
    assert_eq!(gradient(30), gradient(77));
}

#[test]
fn exclusive_or() {
    let mut net = Sequential::builder_of::<f64>([2])
        .dense(4)
        .activation(Sigmoid)
        .init(Init::StandardNormal)
        .dense(1)
        .activation(Sigmoid)
        .init(Init::StandardNormal)
        .build(1)
        .unwrap();
    let (x, y) = (array![[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], array![[0.0], [1.0], [1.0], [0.0]]);
    let (mut workspace, optimizer) = (net.workspace(4), Adam::new(0.1));
    let mut state = OptimizerState::new(&optimizer, net.parameters().layout());
    for _ in 0..500 {
        let targets = Targets::Values(y.view());
        net.gradient(&mut workspace, &Images::from(x.view()), targets, &Quadratic, Phase::Infer).unwrap();
        state.step(&optimizer, 0.1, net.parameters_mut(), workspace.grads());
    }
    let outputs = net.predict(&Images::from(x.view())).unwrap();
    assert!(outputs.iter().zip(&y).all(|(a, y)| (a - y).abs() < 0.1), "{outputs}");
}

/// A run that is stopped ends after the step that it is in, and keeps what was learnt.
#[test]
fn an_observer_stops_the_run() {
    struct After(u64, &'static AtomicU64);
    impl Observer for After {
        fn step(&mut self, report: &StepReport) -> Flow {
            self.1.fetch_add(1, Ordering::SeqCst);
            if report.epoch == 1 && report.step >= self.0 { Flow::Stop } else { Flow::Continue }
        }
        fn finish(&mut self) {
            self.1.fetch_add(1000, Ordering::SeqCst);
        }
    }
    static STEPS: AtomicU64 = AtomicU64::new(0);
    let (images, labels) = quarters(100, 1);
    let data = (images.view(), labels.view());
    let mut net = small(0);
    let before = net.parameters().values().to_vec();
    let mut trainer = Trainer::new(Sgd::new(0.1)).batch_size(10).epochs(5).observe(After(4, &STEPS));
    let history = trainer.fit(&mut net, data, data).unwrap();
    assert!(history.stopped && history.epochs.is_empty());
    assert_eq!(STEPS.load(Ordering::SeqCst), 1004);
    assert_ne!(net.parameters().values(), before);
}

#[test]
fn a_cost_that_is_not_finite_ends_the_run_and_names_the_place() {
    let (images, labels) = quarters(100, 1);
    let data = (images.view(), labels.view());
    let mut net = small(0);
    let error = Trainer::new(Sgd::new(1e30)).batch_size(10).epochs(2).fit(&mut net, data, data).unwrap_err();
    let NetError::Diverged { epoch: 1, layer: Some(layer), .. } = &error else { panic!("{error}") };
    assert!(error.to_string().contains(&format!("the first output that is not finite is {layer}'s")), "{error}");
}

#[test]
fn refusals() {
    let (images, labels) = quarters(10, 1);
    let data = (images.view(), labels.view());
    let wide = Array4::<u8>::zeros((10, 1, 8, 9));
    let few = labels.slice(ndarray::s![..9]);
    let mut bad = labels.clone();
    bad[7] = 4;
    let none = Array4::<u8>::zeros((0, 1, 8, 8));
    let fit = |trainer: Trainer<'_, f32>, train: (_, _)| {
        let mut trainer = trainer;
        trainer.fit(&mut small(0), train, data).unwrap_err().to_string()
    };
    let trainer = || Trainer::new(Sgd::new(0.1));
    assert_eq!(
        fit(trainer(), (wide.view(), labels.view())),
        "the training set: the network wants samples (1, 8, 8); the images are (10, 1, 8, 9)"
    );
    assert_eq!(
        fit(trainer(), (images.view(), few)),
        "the training set: 10 images, but 9 labels; there must be one for each"
    );
    assert_eq!(
        fit(trainer(), (images.view(), bad.view())),
        "the training set: label 4 at index 7; the network has 4 outputs, so labels are 0 to 3"
    );
    assert_eq!(fit(trainer(), (none.view(), labels.slice(ndarray::s![..0]))), "the training set: there are no images");
    assert_eq!(fit(trainer().epochs(0), data), "epochs must be at least 1");
    assert_eq!(fit(trainer().batch_size(0), data), "the batch size must be at least 1");
    assert_eq!(fit(trainer().threads(0), data), "the number of threads must be 1 to 256 (got 0)");
    assert!(fit(Trainer::new(Sgd::new(f64::NAN)), data).contains("NaN"));
    assert!(fit(trainer().schedule(Schedule::Cosine { end: f64::NAN }), data).contains("NaN"));
}

#[test]
fn a_workspace_belongs_to_its_network_and_has_a_size() {
    let (net, other) = (small(0), small(0));
    let (images, _) = quarters(10, 1);
    let images = Images::from(images.view());
    let error = net.infer(&mut other.workspace(10), &images).unwrap_err().to_string();
    assert_eq!(error, "the workspace was made by another network; make one with this one's workspace()");
    let error = net.infer(&mut net.workspace(9), &images).unwrap_err().to_string();
    assert_eq!(error, "the workspace holds batches of 1 to 9; got 10");
    assert!(net.clone().infer(&mut net.workspace(10), &images).is_ok(), "a clone is the same network");
    let mut inference = net.inference_workspace(10);
    let error =
        net.gradient(&mut inference, &images, Targets::Classes(&[0; 10]), &Quadratic, Phase::Infer).unwrap_err();
    assert_eq!(error.to_string(), "a workspace for inference holds no gradients; make one with workspace()");
    let error = net.activation(&inference, "conv7").unwrap_err().to_string();
    assert_eq!(error, "no layer is called `conv7`; there are: conv1, bn1, pool1, fc1, drop1, fc2");
}

/// What the workspace shows is what the layers computed.
#[test]
fn looking_inside() {
    let net = Sequential::builder([1, 8, 8]).conv2d(2, 3).max_pool2d(2).dense(4).build(0).unwrap();
    let (images, _) = quarters(9, 1);
    let mut workspace = net.open_workspace(20);
    let outputs = net.infer(&mut workspace, &Images::from(images.view())).unwrap().to_owned();
    assert_eq!(net.activation(&workspace, "conv1").unwrap().shape(), [9, 2, 6, 6]);
    assert_eq!(net.activation(&workspace, "fc1").unwrap(), outputs.into_dyn());
    let (conv, pool) = (net.activation(&workspace, "conv1").unwrap(), net.activation(&workspace, "pool1").unwrap());
    let window = conv.slice(ndarray::s![8, 1, 2..4, 4..6]).iter().copied().fold(f32::MIN, f32::max);
    assert_eq!(pool[[8, 1, 1, 2]], window);
}

#[test]
fn images_may_lie_in_any_order_in_memory() {
    let net = small(1);
    let (images, _) = quarters(12, 3);
    let turned = images.view().permuted_axes([0, 1, 3, 2]);
    let copied = turned.as_standard_layout();
    let predict = |images: ndarray::ArrayView4<'_, u8>| net.predict(&Images::from(images)).unwrap();
    assert_eq!(predict(turned), predict(copied.view()));
    assert_ne!(predict(turned), predict(images.view()));
    let values = images.mapv(|byte| f32::from(byte) / 255.0);
    let turned = values.view().permuted_axes([0, 1, 3, 2]);
    assert_eq!(net.predict(&Images::from(turned)).unwrap(), predict(copied.view()));
}

#[test]
fn bytes_are_scaled_as_the_model_says() {
    let mut net = Sequential::builder([2, 1, 1])
        .scaling(Scaling::nielsen().standardized(&[0.5, 0.25], &[2.0, 0.5]))
        .dense(2)
        .build(0)
        .unwrap();
    net.parameters_mut().set("fc1.weight", array![[1.0, 0.0], [0.0, 1.0]].into_dyn().view()).unwrap();
    let bytes = Array4::from_shape_vec((1, 2, 1, 1), vec![192, 192]).unwrap();
    let outputs = net.predict(&Images::from(bytes.view())).unwrap();
    assert_eq!(outputs, array![[0.125, 1.0]]);
    let error =
        Sequential::builder([3, 1, 1]).scaling(Scaling::unit().standardized(&[0.0, 0.0], &[1.0])).dense(1).build(0);
    assert!(error.unwrap_err().to_string().starts_with("scaling needs a finite mean"));
}
