//! Every bundled recipe works; wrong files are refused with a reason.

use std::fs;

use mnist_io::Mnist;
use net::{
    Activation::{Relu, Sigmoid},
    Init, Schedule, Sequential, SequentialBuilder, Trainer,
    augment::{Affine, Distort, Expanded},
    cost::{Quadratic, SoftmaxCrossEntropy},
    optim::Sgd,
};

use super::*;

fn bundled(name: &str) -> Recipe {
    Recipe::load(name, Overrides::default()).unwrap()
}

/// One epoch on 40 digits.
fn epoch(recipe: &Recipe, net: &mut Sequential, trainer: Trainer<'_, f32>) {
    let data = Mnist::sample().unwrap();
    let (train, validation) = recipe.cut(data.train.take(40));
    let held_out = validation.unwrap_or(data.test.take(20));
    let mut trainer = trainer.epochs(1).seed(3);
    let history = if recipe.expands() {
        trainer.fit(net, Expanded::new(train.pair()).pair(), held_out.pair())
    } else {
        trainer.fit(net, train.pair(), held_out.pair())
    };
    assert_eq!(history.unwrap().epochs.len(), 1);
}

#[test]
fn every_bundled_recipe_learns() {
    for (name, _) in BUNDLED {
        let recipe = bundled(name);
        let mut net = recipe.network(1).unwrap();
        let before = net.parameters().values().to_vec();
        // decay is divided by the size of the training set: with MNIST's, forty images do no harm
        epoch(&recipe, &mut net, recipe.trainer(MNIST).unwrap());
        assert!(net.parameters().values() != before && recipe.flop(&net, MNIST) > 0.0, "{name}");
        println!("{name}: {}", recipe.describe(&net, MNIST));
    }
}

#[test]
fn every_file_is_bundled() {
    let folder = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/recipes")).unwrap();
    let names = folder.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_string());
    let (mut files, mut names_of_bundled): (Vec<_>, Vec<_>) =
        (names.collect(), BUNDLED.iter().map(|(n, _)| *n).collect());
    files.sort();
    names_of_bundled.sort_unstable();
    assert_eq!(files, names_of_bundled);
}

/// The same architecture, the same first bits, the same bits after an epoch.
fn assert_equal(
    name: &str,
    by_hand: SequentialBuilder<f32>,
    trainer: impl Fn() -> Trainer<'static, f32>,
    epochs: [u64; 2],
) {
    let recipe = bundled(name);
    assert_eq!([MNIST, 8000].map(|images| recipe.sizes(images).epochs), epochs, "{name}");
    let shown = |trainer: Trainer<'_, f32>| format!("{trainer:?}");
    assert_eq!(shown(recipe.trainer(MNIST).unwrap()), shown(trainer().epochs(epochs[0])), "{name}");
    let (mut net, mut expected) = (recipe.network(7).unwrap(), by_hand.build(7).unwrap());
    assert_eq!(net.spec(), expected.spec(), "{name}");
    let bits = |net: &Sequential| net.parameters().values().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let start = bits(&net);
    assert!(start == bits(&expected), "{name}");
    epoch(&recipe, &mut net, recipe.trainer(MNIST).unwrap().batch_size(20));
    epoch(&recipe, &mut expected, trainer().batch_size(20));
    assert!(bits(&net) == bits(&expected) && bits(&net) != start, "{name}");
}

#[test]
fn the_first_three_are_what_they_say() {
    let digits = || Sequential::builder([1, 28, 28]);
    let convolutional =
        digits().conv2d(20, 5).activation(Relu).max_pool2d(2).conv2d(40, 5).activation(Relu).max_pool2d(2);
    let one_cycle = || {
        let schedule = Schedule::OneCycle { warmup: 0.1, start: 0.1, end: 0.001 };
        let affine = Affine { shift: 1.0, rotation: 8.0, scale: 0.08, shear: 5.0 };
        Trainer::new(Sgd::new(0.1).momentum(0.9).nesterov(true))
            .batch_size(64)
            .schedule(schedule)
            .cost(SoftmaxCrossEntropy::new().label_smoothing(0.05).unwrap())
            .augment(Distort::new().affine(affine))
    };
    let of_default = convolutional.dense(100).activation(Relu).dropout(0.3).dense(10);
    assert_equal("default", of_default, one_cycle, [8, 14]);

    let quadratic = |rate| move || Trainer::new(Sgd::new(rate)).batch_size(10).cost(Quadratic::new());
    let fan_in = |net: SequentialBuilder<f32>| net.activation(Sigmoid).init(Init::NielsenFanIn);
    let of_article = fan_in(fan_in(fan_in(digits().conv2d(20, 5)).max_pool2d(2).dense(100)).dense(10));
    assert_equal("sigmoid", of_article, quadratic(1.0), [10, 30]);

    let normal = |net: SequentialBuilder<f32>| net.activation(Sigmoid).init(Init::StandardNormal);
    assert_equal("mlp", normal(normal(digits().dense(30)).dense(10)), quadratic(3.0), [30, 30]);
}

#[test]
fn the_command_line_comes_first() {
    let overrides = Overrides {
        epochs: NonZeroU64::new(2),
        batch_size: NonZeroUsize::new(5),
        learning_rate: Some(0.25),
        augment: true,
    };
    let recipe = Recipe::load("default", overrides).unwrap();
    let net = recipe.network(0).unwrap();
    for images in [MNIST, 8000] {
        let said = recipe.describe(&net, images);
        for part in ["epochs 2,", "batch size 5,", "sgd lr 0.25 momentum 0.9 nesterov,", "elastic sigma 4 alpha 34"] {
            assert!(said.contains(part), "{said}");
        }
    }
}

#[test]
fn sizes_are_those_of_the_book() {
    // images, validation, samples, steps
    let sizes = |name: &str, images| {
        let Sizes { train, validation, samples, batches, .. } = bundled(name).sizes(images);
        [train, validation, samples, batches]
    };
    assert_eq!(sizes("nielsen-ch6-4", MNIST), [50_000, 10_000, 250_000, 25_000]);
    assert_eq!(sizes("nielsen-ch6-3", 6000), [5000, 1000, 5000, 500]);
    assert_eq!(sizes("nielsen-ch3-30-overfit", 8000), [1000, 0, 1000, 100]);
    assert_eq!(sizes("nielsen-ch1-30", 8000), [8000, 0, 8000, 800]);
    let decay = |name: &str, words: &str| {
        let recipe = bundled(name);
        let said = recipe.describe(&recipe.network(0).unwrap(), MNIST);
        assert!(said.contains(words), "{name}: {said}");
    };
    decay("nielsen-ch3-30-decay", "decay l2 0.0001,");
    decay("nielsen-ch6-3", "decay l2 0.00002,");
    decay("nielsen-ch6-4", "decay l2 0.000004,");
    let tiny = bundled("tiny").network(0).unwrap();
    assert!(tiny.summary().parameters() <= 8000, "{}", tiny.summary());
}

#[test]
fn operations_are_counted() {
    // 784-30-10: 23,820 multiply-adds forward, as often backward twice, for 60,000 images, 30 times
    let mlp = bundled("mlp");
    let flop = mlp.flop(&mlp.network(0).unwrap(), MNIST);
    assert_eq!(flop, 2.0 * 3.0 * 23_820.0 * 60_000.0 * 30.0);
    assert_eq!(teraflop(flop), "0.26 TFLOP");
}

/// The own recipes say in a comment how much work they are: who changes one changes the other.
#[test]
fn the_work_of_our_own_recipes_is_written_in_them() {
    for name in ["default", "fast", "best", "tiny", "fashion"] {
        let recipe = bundled(name);
        let line =
            format!("# training on 60,000 images: {}", teraflop(recipe.flop(&recipe.network(0).unwrap(), MNIST)));
        let text = text(name).unwrap();
        assert!(text.lines().any(|said| said == line), "{name}: no line `{line}`");
    }
}

#[test]
fn a_recipe_can_stop_early() {
    let text = text("mlp").unwrap();
    let early = "epochs = 30\nearly_stopping = { patience = 2 }\nsplit = { train = 50_000, validation = 10_000 }";
    let mut recipe = Recipe::parse(&text.replacen("epochs = 30", early, 1), Overrides::default()).unwrap();
    recipe.optimizer.set_learning_rate(1e-30); // nothing is learnt
    let mut net = recipe.network(1).unwrap();
    let said = recipe.describe(&net, MNIST);
    assert!(said.contains("epochs 30, stopped early after 2 without a better one, batch size 10,"), "{said}");
    let data = Mnist::sample().unwrap();
    let (train, validation) = recipe.cut(data.train.take(60));
    let validation = validation.unwrap();
    let history = recipe.trainer(MNIST).unwrap().fit(&mut net, train.pair(), validation.pair()).unwrap();
    assert!(history.stopped && history.epochs.len() == 3, "{}", history.epochs.len());
}

/// A sound recipe with some words exchanged for others, and what is said about it.
const WRONG: &[(&str, &str, &str)] = &[
    ("epochs = 30", "epochs = 0", "expected a nonzero u64"),
    ("epochs = 30", "epoch = 30", "unknown field `epoch`, expected one of `title`, `source`"),
    ("epochs = 30", "epochs = 30\nepochs = 31", "duplicate key"),
    ("epochs = 30\n", "", "missing field `epochs`"),
    ("batch_size = 10", "batch_size = 0", "expected a nonzero usize"),
    ("batch_size = 10", "batch_size = \"ten\"", "invalid type: string \"ten\", expected a nonzero usize"),
    ("\"quadratic\"", "\"cubic\"", "unknown variant `cubic`, expected one of `quadratic`, `mean_squared_error`"),
    ("sgd", "lion", "unknown variant `lion`, expected one of `sgd`, `adam`, `adamw`, `rmsprop`"),
    ("learning_rate = 3.0", "rate = 3.0", "unexpected keys in table: rate, available keys: learning_rate, momentum"),
    ("learning_rate = 3.0", "learning_rate = -3.0", "the learning rate must be > 0 and finite (got -3)"),
    (
        "learning_rate = 3.0",
        "learning_rate = 3.0, decay = { l3 = 1.0 }",
        "unknown variant `l3`, expected one of `l2`, `l1`",
    ),
    ("dense = { outputs = 30", "dens = { outputs = 30", "unknown variant `dens`, expected one of `conv2d`, `dense`"),
    ("outputs = 30", "neurons = 30", "unexpected keys in table: neurons, available keys: outputs, activation, init"),
    ("outputs = 10", "outputs = 0", "fc2: "),
    ("outputs = 10", "outputs = 11", "the last layer has outputs of shape [11]; ten digits need [10]"),
    (
        "\"sigmoid\"",
        "\"sigmoidal\"",
        "unknown variant `sigmoidal`, expected one of `identity`, `sigmoid`, `tanh`, `relu`",
    ),
    ("\"standard_normal\"", "\"normal\"", "unknown variant `normal`, expected one of `standard_normal`, `he_normal`"),
    (
        "epochs = 30",
        "epochs = 30\nschedule = { cosine = { end = 2.0 } }",
        "the end of the cosine schedule must be 0 to 1 (got 2)",
    ),
    (
        "epochs = 30",
        "epochs = 30\nschedule = { cosine = { stop = 0.0 } }",
        "unexpected keys in table: stop, available keys: end",
    ),
    ("epochs = 30", "epochs = 30\nema = 1.0", "the decay of the average must be at least 0 and below 1 (got 1)"),
    ("epochs = 30", "epochs = 30\nsplit = { train = 0 }", "expected a nonzero usize"),
    ("epochs = 30", "epochs = 30\nlabel_smoothing = 0.1", "for the cost `softmax_cross_entropy` alone; leave it out"),
    ("\"quadratic\"", "\"softmax_cross_entropy\"\nlabel_smoothing = 1.0", "must be at least 0 and below 1 (got 1)"),
    ("epochs = 30", "epochs = 30\nkeep = \"first\"", "unknown variant `first`, expected `last` or `best_validation`"),
    ("epochs = 30", "epochs = 30\nkeep = \"best_validation\"", "needs images to choose by: split = { train = 50_000, "),
    (
        "epochs = 30",
        "epochs = 30\nearly_stopping = { patience = 3 }",
        "needs images to stop by: split = { train = 50_000, ",
    ),
    (
        "epochs = 30",
        "epochs = 30\nearly_stopping = { patience = 3 }\nsplit = { train = 50_000, validation = 0 }",
        "early_stopping needs images to stop by",
    ),
    ("epochs = 30", "epochs = 30\nearly_stopping = { patience = 0 }", "expected a nonzero u64"),
    ("epochs = 30", "epochs = 30\nearly_stopping = { epochs = 3 }", "unknown field `epochs`, expected `patience`"),
    ("epochs = 30", "epochs = 30\naugment = { shear = {} }", "unknown variant `shear`, expected `shift` or `distort`"),
    ("epochs = 30", "epochs = 30\naugment = { distort = { shear = 90.0 } }", "must be 0 to 60 degrees (got 90)"),
    (
        "epochs = 30",
        "epochs = 30\naugment = { distort = { flip = 2.0 } }",
        "the flip of the distortion must be 0 to 1 (got 2)",
    ),
    (
        "epochs = 30",
        "epochs = 30\nscaling = { standardized = { mean = 0.1, deviation = 0.0 } }",
        "a finite deviation other than 0",
    ),
    ("title = ", "title ", "TOML parse error at line 1, column 7"),
];

#[test]
fn wrong_files_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let sound = text("mlp").unwrap();
    fs::write(&path, sound).unwrap();
    assert!(Recipe::load(path.to_str().unwrap(), Overrides::default()).is_ok());
    let mut surprises = Vec::new();
    for (words, others, reason) in WRONG {
        assert!(sound.contains(words), "{words}");
        fs::write(&path, sound.replacen(words, others, 1)).unwrap();
        let error = Recipe::load(path.to_str().unwrap(), Overrides::default()).unwrap_err();
        let said = format!("{error:#}");
        if !(said.starts_with(path.to_str().unwrap()) && said.contains(reason)) {
            surprises.push(format!("{others}: {said}"));
        }
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

#[test]
fn a_recipe_that_is_not_there() {
    let said = |name: &str| format!("{:#}", Recipe::load(name, Overrides::default()).unwrap_err());
    let unknown = said("vgg");
    assert!(unknown.starts_with("no recipe is called `vgg`; bundled are default, fast, best, "), "{unknown}");
    assert!(unknown.ends_with("a file needs its path: ./vgg.toml"), "{unknown}");
    assert!(said("./missing.toml").starts_with("./missing.toml: "), "{}", said("./missing.toml"));
}

#[test]
fn the_file_in_the_book_is_a_recipe() {
    let chapter = include_str!("../../../../docs/src/recipes.md");
    let file = chapter.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let recipe = Recipe::parse(file, Overrides::default()).unwrap();
    epoch(&recipe, &mut recipe.network(0).unwrap(), recipe.trainer(MNIST).unwrap());
}
