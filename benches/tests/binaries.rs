//! The binaries, as they are called from a shell.

use std::process::{Command, Output};

use overlay_benches::memory::PeakMemory;
use serde_json::Value;

fn run(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).output().unwrap()
}

fn layers(args: &[&str]) -> Output {
    run(env!("CARGO_BIN_EXE_layers"), args)
}

fn steps(args: &[&str]) -> Output {
    run(env!("CARGO_BIN_EXE_steps"), args)
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn layers_prints_a_json_object_a_layer_and_pass() {
    let lines = lines(&layers(&["--suite", "mnist", "--layer", "single", "--secs", "0", "--threads", "1", "--json"]));
    let passes: Vec<_> = lines.iter().map(|line| line["pass"].as_str().unwrap()).collect();
    assert_eq!(passes, ["forward", "input_gradient", "weight_gradient"]);
    for line in &lines {
        assert_eq!((line["peer"].as_str(), line["threads"].as_u64()), (Some("overlay"), Some(1)));
        assert_eq!((line["suite"].as_str(), line["layer"].as_str()), (Some("mnist"), Some("mnist.single.k3")));
        assert!(["ms", "gflops", "peak_share"].iter().all(|key| line[key].as_f64().unwrap() > 0.0), "{line}");
        assert!(line["kernel"].is_string());
    }
}

#[test]
fn layers_prints_a_table_with_means() {
    let args = ["--suite", "mnist", "--layer", "single", "--pass", "forward", "--secs", "0", "--algorithm", "im2col"];
    let output = layers(&args);
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(lines[0].starts_with("suite") && lines[1].ends_with("im2col"), "{text}");
    assert!(lines[4].starts_with("mnist") && lines[4].contains("forward") && lines[4].ends_with('%'), "{text}");
}

#[test]
fn picks_are_raced_against_all_others() {
    let args = ["--suite", "mnist", "--layer", "single", "--pass", "forward", "--secs", "0", "--check-picks", "--json"];
    let output = layers(&args);
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    let times = line["ms"].as_object().unwrap();
    assert!(times.contains_key("im2col") && times.contains_key(line["pick"].as_str().unwrap()), "{line}");
    let lag = line["lag"].as_f64().unwrap();
    let refusal = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.success(), refusal.is_empty(), "{refusal}");
    assert!(refusal.is_empty() || lag > 1.0 && refusal.contains("mnist/mnist.single.k3 forward"), "{refusal}");
}

#[test]
fn threads_are_raced_against_one() {
    let args = ["--suite", "mnist", "--layer", "single", "--secs", "0", "--threads", "2", "--check-threads", "--json"];
    let output = layers(&args);
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    for line in &lines {
        assert!(["ms", "one_thread_ms", "lag"].iter().all(|key| line[key].as_f64().unwrap() > 0.0), "{line}");
    }
    let lags = lines.iter().any(|line| line["lag"].as_f64().unwrap() > 1.1);
    assert_eq!(output.status.success(), !lags, "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn steps_prints_a_json_object_a_network_and_batch() {
    let lines = lines(&steps(&["--nets", "mlp30,lenet5", "--batch", "1,3", "--secs", "0", "--threads", "1", "--json"]));
    let rows: Vec<_> =
        lines.iter().map(|line| (line["net"].as_str().unwrap(), line["batch"].as_u64().unwrap())).collect();
    assert_eq!(rows, [("mlp30", 1), ("lenet5", 1), ("mlp30", 3), ("lenet5", 3)]);
    for line in &lines {
        assert_eq!((line["peer"].as_str(), line["threads"].as_u64()), (Some("overlay"), Some(1)));
        let speeds = ["train_img_s", "infer_img_s", "single_us", "activation_bytes"];
        let shares = ["peak_share", "infer_peak_share", "single_peak_share"];
        assert!(speeds.iter().chain(&shares).all(|key| line[key].as_f64().unwrap() > 0.0), "{line}");
        let held = line["activation_bytes"].as_u64().unwrap();
        match line.get("peak_bytes").unwrap() {
            Value::Null => assert!(PeakMemory::begin().is_none(), "{line}"),
            peak => assert!(peak.as_u64().unwrap() > held, "{line}"),
        }
        assert!(line["one_thread"].is_null());
    }
}

#[test]
fn steps_prints_a_table() {
    let text = String::from_utf8(steps(&["--nets", "mlp30", "--batch", "2", "--secs", "0"]).stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with("net ") && lines[0].contains("act. MiB  peak MiB  (threads: "), "{text}");
    let peak = lines[1].split_whitespace().last().unwrap();
    assert_eq!(peak.parse::<f64>().is_ok_and(|mib| mib > 1.0), PeakMemory::begin().is_some(), "{text}");
}

#[test]
fn steps_tells_the_time_of_each_layer() {
    let args = ["--nets", "nielsen", "--batch", "2", "--secs", "0", "--layers"];
    let text = String::from_utf8(steps(&args).stdout).unwrap();
    let first: Vec<_> = text.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    let expected = "net nielsen layer conv1 conv2 fc1 fc2 between update step";
    assert_eq!(first.join(" "), expected, "{text}");

    let line = &lines(&steps(&[&args[..], &["--json"]].concat()))[0]["one_thread"];
    let ms = |value: &Value| value.as_f64().unwrap();
    let layers = line["layers"].as_array().unwrap().iter();
    let layers: Vec<_> = layers.map(|layer| ms(&layer["forward_ms"]) + ms(&layer["backward_ms"])).collect();
    assert!(layers.len() == 4 && layers.iter().all(|&layer| 0.0 < layer && layer < ms(&line["step_ms"])), "{line}");
}

#[test]
fn layers_refuses_wrong_arguments_in_words() {
    for (args, expected) in [
        (&["--threads", "0"][..], "the number of threads must be 1 to 256 (got 0)"),
        (&["--threads", "257"], "the number of threads must be 1 to 256 (got 257)"),
        (&["--suite", "cats"], r#"no suite "cats": there are mnist, cifar, "#),
        (&["--suite", "mnist", "--layer", "cats"], r#"no layer of suite "mnist" has "cats" in its name"#),
        (&["--shapes", "no/such/file.json"], "no/such/file.json: "),
        (&["--shapes", "Cargo.toml"], "Cargo.toml: "),
        (&["--algorithm", "magic"], "one of im2col, "),
        (&["--secs", "-1"], "must be 0 to 3600"),
    ] {
        let output = layers(args);
        let refusal = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && refusal.contains(expected), "{args:?}: {refusal}");
    }
}

#[test]
fn steps_refuses_wrong_arguments_in_words() {
    for (args, expected) in [
        (&["--threads", "0"][..], "the number of threads must be 1 to 256 (got 0)"),
        (&["--nets", "mlp30,cats"], "[possible values: mlp30, lenet5, nielsen, torch-example]"),
        (&["--batch", "0"], "0 is not in 1..=4096"),
        (&["--batch", "64,many"], "invalid value 'many' for '--batch <N>'"),
        (&["--secs", "nan"], "must be 0 to 3600"),
    ] {
        let output = steps(args);
        let refusal = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && refusal.contains(expected), "{args:?}: {refusal}");
    }
}
