//! Numbers, conditions and files that are far too large end in an answer that names them: no panic, no abort, neither
//! hours nor gigabytes. What is printed of them commands no terminal.

#![expect(clippy::disallowed_methods, reason = "tests start the program as a user does")]

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Runs `dyno` with 4 GiB of address space.
fn dyno(args: &[&str]) -> (Output, Duration) {
    let began = Instant::now();
    let program = assert_cmd::cargo::cargo_bin!("dyno");
    let output = Command::new("sh")
        .args(["-c", "ulimit -v 4194304; exec \"$@\"", "sh"])
        .arg(program)
        .args(args)
        .output()
        .unwrap();
    (output, began.elapsed())
}

fn refused(args: &[&str], told: &str) {
    let (output, took) = dyno(args);
    let said = String::from_utf8_lossy(&output.stderr);
    let begin: String = said.chars().take(600).collect();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {begin}");
    assert!(said.contains(told), "{args:?} does not say `{told}`: {begin}");
    assert!(took < Duration::from_secs(20), "{args:?}: {took:?}");
}

const LAUNCH: [&str; 7] =
    ["predict", "--model", "Qwen/Qwen3-8B", "--hardware", "a100-sxm-80gb", "--engine", "vllm"];

#[test]
fn numbers_on_the_command_line() {
    for (workload, told) in [
        ("random:8/4,n=4000000000", "num_prompts"),
        ("random:8/4,n=100,concurrency=4294967295", "max_concurrency"),
        ("random:8/4,scale=1e300", "num_prompts"),
        ("chat,turns=4000000000", "num_prompts"),
        ("random:8/4,n=100,rate=1e-300", "request_rate"),
    ] {
        refused(&[&LAUNCH[..], &["--workload", workload]].concat(), told);
    }
    let few = ["--workload", "random:8/4,n=4"];
    refused(&[&LAUNCH[..], &few, &["--draws", "4200000000"]].concat(), "--draws");
    let bench = ["bench", "--base-url", "http://127.0.0.1:1", "--threads", "100000", "--out", "o.json"];
    refused(&[&bench[..], &few].concat(), "--threads");
}

#[test]
fn numbers_in_a_scenario() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("s.json");
    let scenario = r#"{"engine":"vllm","serve_command":"vllm serve Qwen/Qwen3-8B","model":"Qwen/Qwen3-8B",
        "hardware":"a100-sxm-80gb","workload":{"dataset":"random","input_len":8,"output_len":4,
        "num_prompts":4000000000,"request_rate":1e-300,"max_concurrency":4294967295}}"#;
    std::fs::write(&file, scenario).unwrap();
    refused(&["predict", "--scenarios", file.to_str().unwrap()], "max_concurrency");
}

#[test]
fn conditions_and_values_of_a_search_space() {
    let shipped =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("search-spaces/sglang.toml"));
    let shipped = shipped.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("s.toml");
    let many = 100_000;
    let need = "need = \"vendor != 'cpu'\"";
    let conditions = [
        format!("{}sm >= 75{}", "(".repeat(many), ")".repeat(many)),
        format!("{}sm >= 75", "not ".repeat(many)),
        vec!["sm >= 75"; many].join(" or "),
    ];
    for condition in conditions {
        assert!(shipped.contains(need));
        std::fs::write(&file, shipped.replacen(need, &format!("need = \"{condition}\""), 1)).unwrap();
        refused(&["check", file.to_str().unwrap()], "is longer than");
    }
    let values: Vec<String> = (0..20_000).map(|i| format!("{:.6}", 0.1 + f64::from(i) * 1e-6)).collect();
    let old = "values = [0.85, 0.9]";
    assert!(shipped.contains(old));
    let list = format!("values = [{}]", values.join(","));
    std::fs::write(&file, shipped.replacen(old, &list, 1)).unwrap();
    refused(&["check", file.to_str().unwrap()], "values to try");
}

/// A file of 2 GiB that takes no room on the disk.
#[test]
fn files_that_are_too_large() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(&path).unwrap().set_len(2 << 30).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let large = at("large.json");
    at("model/config.json");
    at("run/run.json");
    let model = dir.path().join("model").to_str().unwrap().to_owned();
    let run = dir.path().join("run").to_str().unwrap().to_owned();
    let workloads = ["trace", "custom", "sharegpt"].map(|kind| format!("{kind}:{large}"));
    let mut commands: Vec<Vec<&str>> = vec![
        vec!["predict", "--scenarios", &large],
        vec!["compare", &large, &large],
        vec!["fit", &large, "-o", "p.toml"],
        vec!["trial", &large],
        vec!["model", &model],
        vec!["report", &run],
    ];
    for workload in &workloads {
        commands.push([&LAUNCH[..], &["--workload", workload]].concat());
    }
    commands.push([&LAUNCH[..], &["--workload", "random:8/4,n=4", "--profile", &large]].concat());
    for command in commands {
        refused(&command, "MiB that are read");
    }
    let (output, _) = dyno(&["check", &large]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("MiB that are read"), "{output:?}");
}

#[test]
fn names_command_no_terminal() {
    let name = "\u{1b}[31mred\u{1b}]0;title\u{7}";
    let (output, _) =
        dyno(&["predict", "--model", name, "--hardware", "cpu", "--workload", "random:8/2,n=2"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains('\u{1b}') && said.contains("\\u{1b}[31mred"), "{said}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("s.json");
    let scenario = r#"{"engine":"vllm","serve_command":"vllm serve \u001b[31mred\u0007","model":"Qwen/Qwen3-8B",
        "hardware":"a100-sxm-80gb","workload":{"dataset":"random","input_len":8,"output_len":4,"num_prompts":4}}"#;
    std::fs::write(&file, scenario).unwrap();
    let (output, _) = dyno(&["predict", "--scenarios", file.to_str().unwrap()]);
    let told = [output.stdout, output.stderr].concat();
    assert!(!told.iter().any(|b| *b == 0x1b || *b == 7), "{}", String::from_utf8_lossy(&told));
}
