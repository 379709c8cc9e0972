//! Runs that are killed, and started again with the same command.
#![cfg(unix)]

use std::{
    fs,
    hash::{BuildHasher as _, RandomState},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// A folder with 400 digits to train and 100 to test in `digits`.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_digits(&folder.path().join("digits"), 400);
    folder
}

/// So many digits to train and 100 to test.
fn write_digits(digits: &Path, train: usize) {
    fs::create_dir(digits).unwrap();
    let sample = mnist_io::Mnist::sample().unwrap();
    for (name, part) in [("train", sample.train.take(train)), ("t10k", sample.test.take(100))] {
        mnist_io::write_idx(digits.join(format!("{name}-images-idx3-ubyte")), &part.images).unwrap();
        mnist_io::write_idx(digits.join(format!("{name}-labels-idx1-ubyte")), &part.labels).unwrap();
    }
}

/// 20 steps an epoch.
fn train(folder: &TempDir, args: &[&str]) -> Command {
    mnist(folder, &[&["--data", "digits", "--batch-size", "20"], args].concat())
}

fn mnist(folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mnist"));
    command.current_dir(folder.path()).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The last line, of a run that went well.
fn result(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().last().unwrap_or_default().to_string()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The default network has dropout, its optimizer momentum, and its learning rate changes with each step.
#[test]
fn a_run_killed_anywhere_and_started_again_ends_with_the_same_file() {
    kill_again_and_again(&folder(), &["--epochs", "2"], "1");
}

/// Normalization, an average of the weights, and the network of the best epoch, all beside the one that takes the steps.
const KEEPING: &str = r#"
title = "normalized, averaged, the best kept"
source = "this test"
layers = [
    { conv2d = { out_channels = 6, kernel_size = 5, bias = false } },
    { max_pool2d = { window = 2 } },
    { batch_norm2d = { activation = "relu" } },
    { dropout = { probability = 0.2 } },
    { dense = { outputs = 10 } },
]
cost = "softmax_cross_entropy"
optimizer = { adam = { learning_rate = 0.002 } }
schedule = { cosine = { end = 0.1 } }
batch_size = 20
epochs = 4
ema = 0.95
split = { train = 300, validation = 100 }
keep = "best_validation"
early_stopping = { patience = 4 }
"#;

/// Steps between checkpoints that divide no epoch.
#[test]
fn a_killed_run_that_averages_and_keeps_the_best_ends_with_the_same_file() {
    let folder = folder();
    fs::write(folder.path().join("keeping.toml"), KEEPING).unwrap();
    kill_again_and_again(&folder, &["--recipe", "./keeping.toml"], "7");
}

/// `kill -9` at moments that differ each time that this test runs, and a checkpoint after `every` steps.
fn kill_again_and_again(folder: &TempDir, run: &[&str], every: &str) {
    let [whole, resumed, checkpoints] = ["whole", "resumed", "checkpoints"].map(|name| folder.path().join(name));
    let begin = Instant::now();
    let want = result(&train(folder, &[run, &["--save", "whole"]].concat()).output().unwrap());
    let time = begin.elapsed();

    let random = RandomState::new();
    let (mut kills, mut resumptions, mut latest) = (Vec::new(), 0, 0.5);
    let keep = ["--save", "resumed", "--checkpoint", "checkpoints", "--checkpoint-every", every];
    let args = [run, &keep].concat();
    loop {
        let delay = time.mul_f64(latest * (random.hash_one(kills.len()) % 1000) as f64 / 1000.0);
        let mut child = train(folder, &args).spawn().unwrap();
        std::thread::sleep(delay);
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        let error = text(&output.stderr);
        resumptions += usize::from(error.contains("resumed from "));
        assert!(!error.contains("skipped"), "a half written checkpoint; killed after {kills:?}: {error}");
        if output.status.signal() == Some(9) {
            kills.push(delay);
            // later and later, until one comes to its end
            latest += 0.2;
            continue;
        }
        assert_eq!(result(&output), want, "killed after {kills:?}");
        assert!(fs::read(&resumed).unwrap() == fs::read(&whole).unwrap(), "other bytes; killed after {kills:?}");
        assert_eq!(files(&checkpoints).len(), 2, "two checkpoints, nothing half written; killed after {kills:?}");
        if kills.len() >= 3 && resumptions >= 2 {
            break;
        }
        // this one was too quick
        fs::remove_dir_all(&checkpoints).unwrap();
        latest = 0.5;
    }
    println!("{:?} without a kill; killed after {kills:?}; {resumptions} runs had gone on", time);
}

/// Ctrl-C leaves a checkpoint, which is a model too; other settings are refused by name.
#[test]
fn an_interrupted_run_goes_on_where_it_was() {
    let folder = folder();
    let checkpoints = folder.path().join("checkpoints");
    let run = |epochs: &str, args: &[&str]| {
        let mut command = train(&folder, &["--recipe", "mlp", "--epochs", epochs]);
        command.args(args);
        command
    };
    let keep = ["--checkpoint", "checkpoints"];
    let mut child = run("100000", &keep).spawn().unwrap();
    while fs::read_dir(&checkpoints).map_or(0, Iterator::count) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{stdout}");
    assert!(stdout.contains("stopped; the same command goes on from the checkpoint in checkpoints"), "{stdout}");

    let left = files(&checkpoints);
    let newest = left.last().unwrap().to_str().unwrap();
    let tested = mnist(&folder, &["evaluate", newest, "--data", "digits"]).output().unwrap();
    assert_eq!(Some(result(&tested).as_str()), stdout.lines().last());

    let refused = run("100000", &keep).args(["--lr", "0.5", "--seed", "7"]).output().unwrap();
    let error = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{error}");
    for reason in ["learning rate: 3 in the checkpoint, 0.5 in this run", "seed: 0 in the checkpoint, 7 in this run"] {
        assert!(error.contains(reason), "{error}");
    }
    assert!(error.contains("or begin in another folder"), "{error}");
    write_digits(&folder.path().join("others"), 399);
    let others = ["--data", "others", "--batch-size", "20", "--recipe", "mlp", "--epochs", "100000"];
    let refused = mnist(&folder, &[&others[..], &keep].concat()).output().unwrap();
    let error = text(&refused.stderr);
    let reason = ["training data: 400 samples, sha256 ", " in the checkpoint, 399 samples, sha256 "];
    assert!(refused.status.code() == Some(1) && reason.iter().all(|part| error.contains(part)), "{error}");
    assert!(!error.contains("held-out data"), "the test images are the same: {error}");
    assert_eq!(files(&checkpoints), left);

    // the learning rate is constant, so another number of epochs is no other run
    let steps = newest.rsplit('-').next().and_then(|end| end.strip_suffix(".safetensors")?.parse::<u64>().ok());
    let epochs = (steps.unwrap() / 20 + 1).to_string();
    let whole = run(&epochs, &["--save", "whole"]).output().unwrap();
    for notice in ["resumed from ", &format!("(epochs done: {epochs}, steps of the next: 0)")] {
        let resumed = run(&epochs, &keep).args(["--save", "resumed"]).output().unwrap();
        assert!(text(&resumed.stderr).contains(notice), "{}", text(&resumed.stderr));
        assert_eq!(result(&resumed), result(&whole));
        let read = |name| fs::read(folder.path().join(name)).unwrap();
        assert!(read("resumed") == read("whole"));
    }
}
