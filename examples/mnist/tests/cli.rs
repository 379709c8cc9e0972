//! The program as its users meet it.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

/// The program, with no MNIST in reach: it has the bundled sample.
fn mnist(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mnist"));
    command.current_dir(folder).env_remove("MNIST_DIR").env("XDG_CACHE_HOME", folder).env("HOME", folder);
    command.stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn last_line(output: &Output) -> String {
    text(&output.stdout).lines().last().unwrap_or_default().to_string()
}

/// The accuracy in percent, from `test accuracy 99.12 % (88 errors of 10000)`.
fn accuracy(line: &str) -> f64 {
    let words: Vec<&str> = line.split(' ').collect();
    let ["test", "accuracy", percent, "%", errors, "errors", "of", total] = words[..] else { panic!("{line}") };
    let (errors, total) = (errors.trim_start_matches('('), total.trim_end_matches(')'));
    let (errors, total): (f64, f64) = (errors.parse().unwrap(), total.parse().unwrap());
    let percent: f64 = percent.parse().unwrap();
    assert!((percent - 100.0 * (1.0 - errors / total)).abs() < 0.01, "{line}");
    percent
}

#[test]
fn it_trains_saves_and_tests_what_it_saved() {
    let folder = tempfile::tempdir().unwrap();
    let train = |threads: &str, file: &str| {
        let args = ["--offline", "--epochs", "2", "--seed", "1", "--threads", threads, "--save", file];
        let output = mnist(folder.path()).args(args).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        output
    };
    let output = train("2", "two.safetensors");
    let percent = accuracy(&last_line(&output));
    assert!(percent > 93.0, "{percent}");

    // the pipe on standard error got one plain line an epoch
    let progress = text(&output.stderr);
    let epochs: Vec<&str> = progress.lines().filter(|line| line.starts_with("epoch ")).collect();
    assert!(epochs.len() == 2 && epochs[1].contains(&format!("held out {percent:.2} %")), "{progress}");
    assert!(!progress.contains(['\r', '\u{1b}']), "{progress:?}");
    assert!(text(&output.stdout).contains("data    8000 training and 2000 test images: the bundled sample"));
    // 6 · 1,633,000 multiply-adds · 8000 images · 2 epochs
    let work =
        |line: &str| line.starts_with("recipe  default: images 8000, epochs 2, ") && line.ends_with("; 0.16 TFLOP");
    assert!(text(&output.stdout).lines().any(work), "{}", text(&output.stdout));

    // the same bits with another number of threads
    train("3", "three.safetensors");
    let read = |file: &str| fs::read(folder.path().join(file)).unwrap();
    assert!(read("two.safetensors") == read("three.safetensors"));

    let tested = mnist(folder.path()).args(["evaluate", "two.safetensors", "--offline"]).output().unwrap();
    assert!(tested.status.success(), "{}", text(&tested.stderr));
    assert_eq!(last_line(&tested), last_line(&output));
}

#[test]
fn it_learns_from_changed_images() {
    let folder = tempfile::tempdir().unwrap();
    let train = |augment: &[&str]| {
        let args = ["--offline", "--recipe", "mlp", "--epochs", "3"];
        let output = mnist(folder.path()).args(args).args(augment).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        accuracy(&last_line(&output))
    };
    let (plain, changed) = (train(&[]), train(&["--augment"]));
    assert!(changed != plain && changed > 50.0, "{changed} %, {plain} % without");
}

#[test]
fn recipes_are_listed_printed_and_followed() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let output = mnist(folder.path()).args(args).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let list = run(&["recipes"]);
    let mlp = list.lines().find(|line| line.starts_with("mlp ")).unwrap();
    assert!(mlp.contains("23860") && mlp.contains("23820") && mlp.contains("0.26 TFLOP"), "{list}");

    let printed = run(&["recipes", "mlp"]);
    fs::write(folder.path().join("mine.toml"), printed.replace("outputs = 30", "outputs = 12")).unwrap();
    let output = run(&["train", "--recipe", "mine.toml", "--offline", "--epochs", "1"]);
    let line = "recipe  mine.toml: images 8000, epochs 1, batch size 10, sgd lr 3, schedule constant, quadratic cost; ";
    assert!(output.lines().any(|said| said.starts_with(line)), "{output}");
    assert!(output.contains("12 neurons, sigmoid") && accuracy(output.lines().last().unwrap()) > 20.0, "{output}");
}

#[test]
fn wrong_values_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("page.html"), "<html>").unwrap();
    let table: &[(&[&str], i32, &str)] = &[
        (&["--lr", "0"], 2, "must be > 0 and finite (got 0)"),
        (&["--lr", "-1"], 2, "must be > 0 and finite (got -1)"),
        (&["--lr", "NaN"], 2, "must be > 0 and finite (got NaN)"),
        (&["--lr", "fast"], 2, "not a number"),
        (&["--epochs", "0"], 2, "0 is not in 1..=100000"),
        (&["--batch-size", "0"], 2, "0 is not in 1..=60000"),
        (&["--checkpoint-every", "5"], 2, "--checkpoint <DIR>"),
        (&["--checkpoint", "c", "--checkpoint-every", "0"], 2, "0 is not in 1.."),
        (&["--checkpoint", "page.html", "--offline"], 1, "page.html: "),
        (&["--threads", "0"], 2, "0 is not in 1..=256"),
        (&["--threads", "2000"], 2, "2000 is not in 1..=256"),
        (&["--seed", "x"], 2, "invalid digit"),
        (&["--recipe", "vgg"], 1, "no recipe is called `vgg`; bundled are default, fast, best"),
        (&["--lr", "1e37", "--batch-size", "60000", "--epochs", "1", "--offline"], 1, "try a smaller learning rate"),
        (&["--spice"], 2, "unexpected argument '--spice'"),
        (&["--data", "nowhere"], 1, "nowhere"),
        (&["--save", "no/such/folder/m.safetensors"], 1, "no file can be made in that folder"),
        (&["--save", "."], 1, "this is a folder; name a file in it"),
        (&["--recipe", "./page.html"], 1, "./page.html: TOML parse error at line 1, column 7"),
        (&["recipes", "vgg"], 1, "no recipe is called `vgg`"),
        (&["vote", "one.safetensors"], 2, "2 values required by '<MODELS> <MODELS>...'"),
        (&["vote", "missing.safetensors", "page.html", "--offline"], 1, "missing.safetensors: "),
        (&["evaluate"], 2, "<MODEL>"),
        (&["evaluate", "missing.safetensors"], 1, "missing.safetensors: "),
        (&["evaluate", "page.html"], 1, "page.html: not a whole safetensors file"),
    ];
    for (args, status, reason) in table {
        let output = mnist(folder.path()).args(*args).output().unwrap();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(*status), "{args:?}: {error}");
        assert!(error.contains(reason) && error.contains("error: "), "{args:?}: {error}");
        assert!(!error.contains("panicked"), "{error}");
    }
}

/// Three small networks, each wrong in its own way.
#[test]
fn networks_vote() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let output = mnist(folder.path()).args(args).arg("--offline").output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let files = ["0.safetensors", "1.safetensors", "2.safetensors"];
    let mut alone = Vec::new();
    for file in files {
        let seed = &file[..1];
        let output = run(&["train", "--recipe", "mlp", "--epochs", "1", "--seed", seed, "--save", file]);
        alone.push(output.lines().last().unwrap().to_string());
    }
    let together = run(&["vote", files[0], files[1], files[2]]);
    for (file, alone) in files.iter().zip(&alone) {
        let line = format!("model   {file}: {}", alone.strip_prefix("test accuracy ").unwrap());
        assert!(together.lines().any(|said| said == line), "{line}: {together}");
    }
    let worst = alone.iter().map(|line| accuracy(line)).fold(100.0, f64::min);
    assert!(accuracy(together.lines().last().unwrap()) > worst, "{together}");
    // a network that votes with itself says what it says
    let itself = run(&["vote", files[0], files[0]]);
    assert_eq!(itself.lines().last(), Some(alone[0].as_str()));
}

/// The sample's test images are among MNIST's training images.
#[test]
fn a_model_is_not_tested_on_what_it_learnt_from() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = net::Sequential::builder([1, 28, 28]).dense(10).build(0).unwrap();
    model.metadata_mut().insert("trained_on".into(), "mnist".into());
    model.save(folder.path().join("all.safetensors")).unwrap();
    let output = mnist(folder.path()).args(["evaluate", "all.safetensors", "--offline"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("too good to be true"), "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains("accuracy"));
}

/// Without --save nobody is left to work for; with it, the work is done.
#[test]
fn a_reader_that_goes_away_is_no_error() {
    reader_goes_away(&["--offline"], false);
    reader_goes_away(&["--offline", "--epochs", "1", "--recipe", "mlp", "--save", "kept.safetensors"], true);
}

fn reader_goes_away(args: &[&str], save: bool) {
    let folder = tempfile::tempdir().unwrap();
    let mut child = mnist(folder.path()).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let error = text(&output.stderr);
    assert!(output.status.success() && !error.contains("panicked") && !error.contains("error"), "{error}");
    assert_eq!(folder.path().join("kept.safetensors").exists(), save);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = mnist(folder.path()).args(["--offline", "--epochs", "1"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("error: standard output: No space left"), "{}", text(&output.stderr));
}

/// Ctrl-C ends the run after its step; what was learnt is saved, and tested.
#[cfg(unix)]
#[test]
fn an_interrupt_keeps_what_was_learnt() {
    use std::io::{BufRead as _, BufReader, Read as _};
    let folder = tempfile::tempdir().unwrap();
    let mut child = mnist(folder.path())
        .args(["--offline", "--epochs", "1000", "--recipe", "mlp"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut progress = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("epoch ") {
        line.clear();
        assert_ne!(progress.read_line(&mut line).unwrap(), 0, "it ended by itself");
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    progress.read_to_string(&mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{rest}");
    assert!(text(&output.stdout).contains("saved   mnist-interrupted-1.safetensors"), "{}", text(&output.stdout));
    assert!(accuracy(&last_line(&output)) > 20.0);
    let saved = folder.path().join("mnist-interrupted-1.safetensors");
    assert!(net::Sequential::<f32>::load(saved).is_ok());
}
