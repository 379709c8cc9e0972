//! Runs that are killed, and started again with the same command.

use std::{
    fs,
    hash::{BuildHasher as _, RandomState},
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

/// A run of 20 steps on the bundled sample: dropout, momentum, one-cycle; with no MNIST in reach.
fn mnist(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mnist"));
    command.current_dir(folder).env_remove("MNIST_DIR").env("XDG_CACHE_HOME", folder).env("HOME", folder);
    command.args(["--offline", "--epochs", "1", "--batch-size", "400"]).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(folder: &Path, args: &[&str]) -> Output {
    mnist(folder, args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The last line, of a run that went well.
fn result(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().last().unwrap_or_default().to_string()
}

const CHECKPOINTS: [&str; 4] = ["--checkpoint", "checkpoints", "--checkpoint-every", "1"];

/// `kill -9` at moments that differ each time that this test runs, as often as it takes.
#[cfg(unix)]
#[test]
fn a_run_killed_anywhere_and_started_again_ends_with_the_same_file() {
    use std::os::unix::process::ExitStatusExt as _;
    let folder = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let whole = run(folder.path(), &["--save", "whole.safetensors"]);
    let (time, want) = (begin.elapsed(), fs::read(folder.path().join("whole.safetensors")).unwrap());
    let args = [&CHECKPOINTS[..], &["--save", "resumed.safetensors"]].concat();

    let random = RandomState::new();
    let mut kills = Vec::new();
    let mut resumed = 0;
    let last = loop {
        // later and later: the last one may come to its end
        let latest = time.mul_f64(0.6 + 0.2 * kills.len() as f64);
        let delay = latest.mul_f64((random.hash_one(kills.len()) % 1000) as f64 / 1000.0);
        let mut child = mnist(folder.path(), &args).spawn().unwrap();
        std::thread::sleep(delay);
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        resumed += usize::from(text(&output.stderr).contains("resumed after 0 epochs and "));
        if output.status.signal() != Some(9) {
            break output;
        }
        kills.push(delay);
        if kills.len() == 6 {
            break run(folder.path(), &args);
        }
    };
    println!("killed after {kills:?}, of which {resumed} had been resumed; the whole took {time:?}");
    assert_eq!(result(&last), result(&whole), "killed after {kills:?}");
    let got = fs::read(folder.path().join("resumed.safetensors")).unwrap();
    assert!(got == want, "other bytes; killed after {kills:?}");
    let kept = fs::read_dir(folder.path().join("checkpoints")).unwrap().count();
    assert_eq!(kept, 2, "two checkpoints, and nothing half written; killed after {kills:?}");
}

/// Ctrl-C leaves a checkpoint, which is a model too, and other settings are refused by name.
#[cfg(unix)]
#[test]
fn an_interrupted_run_goes_on_with_the_same_command_alone() {
    use std::io::Read as _;
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = folder.path().join("checkpoints");
    let mut child = mnist(folder.path(), &CHECKPOINTS).spawn().unwrap();
    while fs::read_dir(&checkpoints).map_or(0, Iterator::count) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130), "{stdout}");
    assert!(stdout.contains("stopped; the same command goes on from the checkpoint in checkpoints"), "{stdout}");
    let accuracy = stdout.lines().last().unwrap();
    assert!(accuracy.starts_with("test accuracy "), "{stdout}");

    let files = |folder: &Path| {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names
    };
    let left = files(&checkpoints);
    let model = left.last().unwrap().to_str().unwrap();
    let mut evaluate = Command::new(env!("CARGO_BIN_EXE_mnist"));
    evaluate.args(["evaluate", model, "--offline"]).env_remove("MNIST_DIR");
    let tested = evaluate.env("XDG_CACHE_HOME", folder.path()).env("HOME", folder.path()).output().unwrap();
    assert_eq!(result(&tested), accuracy);

    let refused = run(folder.path(), &[&CHECKPOINTS[..], &["--lr", "0.03", "--seed", "7"]].concat());
    let error = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{error}");
    assert!(error.contains("learning rate: 0.05 in the checkpoint, 0.03 in this run; "), "{error}");
    assert!(error.contains("seed: 0 in the checkpoint, 7 in this run; "), "{error}");
    assert!(error.contains("begin in another folder"), "{error}");
    assert_eq!(files(&checkpoints), left);

    let resumed = run(folder.path(), &CHECKPOINTS);
    let whole = run(folder.path(), &[]);
    assert_eq!(result(&resumed), result(&whole));
    assert!(text(&resumed.stderr).contains("resumed after 0 epochs and "), "{}", text(&resumed.stderr));
    // there is nothing left to do
    assert_eq!(result(&run(folder.path(), &CHECKPOINTS)), result(&whole));
}
