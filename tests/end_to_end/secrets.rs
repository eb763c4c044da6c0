//! No secret of a command line or of the environment is in any file that a command leaves, nor in what it prints.

use std::path::Path;
use std::process::{Command, Output};

const SECRETS: [&str; 4] = ["sekret-flag-1", "sekret-word-2", "sekret-json-3", "sekret-env-4"];

fn dyno(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("dyno"));
    command.args(args).current_dir(dir).env("HOME", dir).env("HF_TOKEN", SECRETS[3]).output().unwrap()
}

fn assert_silent(dir: &Path, output: &Output) {
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    for secret in SECRETS {
        assert!(!said.contains(secret), "{secret}: {said}");
        assert!(!holds(dir, secret), "{secret} is in a file");
    }
}

fn holds(dir: &Path, secret: &str) -> bool {
    std::fs::read_dir(dir).unwrap().flatten().any(|e| {
        let path = e.path();
        let found = if path.is_dir() {
            holds(&path, secret)
        } else {
            String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains(secret)
        };
        assert!(!found || path.is_dir(), "{secret} is in {}", path.display());
        found
    })
}

/// An engine that tells all that it was given, and ends.
const TELLTALE: &str =
    "sh -c 'API_KEY=sekret-word-2; echo \"RuntimeError: $API_KEY $HF_TOKEN $*\"; exit 1' sh";

#[test]
fn a_campaign_tells_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let json = format!("{{\"api_key\":\"{}\"}}", SECRETS[2]);
    let output = dyno(
        dir.path(),
        &[
            "tune",
            "--model",
            "Qwen/Qwen3-8B",
            "--engine",
            "vllm",
            "--hardware",
            "h100-sxm-80gb",
            "--workload",
            "random:32/4,n=8",
            "--repeats",
            "2",
            "--out",
            "run",
            "--engine-command",
            TELLTALE,
            "--",
            "--api-key",
            SECRETS[0],
            "--load-format-extra",
            &json,
        ],
    );
    assert!(dir.path().join("run/report.md").exists(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_silent(dir.path(), &output);
    assert_silent(dir.path(), &dyno(dir.path(), &["report", "run"]));
}

#[test]
fn a_measured_command_tells_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let words = ["bench", "--workload", "random:8/4,n=2", "--out", "o.json", "--", "sh", "-c"];
    let script = "API_KEY=sekret-word-2; echo \"$API_KEY $HF_TOKEN $*\"; exit 1";
    let output = dyno(dir.path(), &[&words[..], &[script, "sh", "--api-key", SECRETS[0]]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert_silent(dir.path(), &output);
}

/// Runs in `dir` with the files of the tests before it; the exit code is not what is looked at.
fn silent(dir: &Path, args: &[&str]) {
    let output = dyno(dir, args);
    assert_ne!(output.status.code(), Some(101), "{args:?}");
    assert_silent(dir, &output);
}

#[test]
fn a_trial_and_a_ramp_tell_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let script = "API_KEY=sekret-word-2; echo \"RuntimeError: $API_KEY $HF_TOKEN $MY_TOKEN $*\"; exit 1";
    let spec = serde_json::json!({
        "id": "x", "candidate": {"engine": "vllm", "env": {"API_SECRET": SECRETS[2]}}, "model": "m",
        "hardware": "h100-sxm-80gb", "fixed_args": ["--api-key", SECRETS[0], "--extra", format!("{{\"api_key\":\"{}\"}}", SECRETS[2])],
        "fixed_env": {"MY_TOKEN": SECRETS[2]}, "program": ["sh", "-c", script, "sh"],
        "workloads": [{"dataset": "random", "input_len": 8, "output_len": 4, "num_prompts": 2, "seed": 1}],
        "ready_timeout_s": 20, "run_timeout_s": 20, "dir": "launch",
    });
    // The specification itself is the user's file, kept elsewhere.
    let given = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(given.path(), spec.to_string()).unwrap();
    let file = given.path().to_str().unwrap();
    silent(dir.path(), &["trial", file, "--out", "result.json"]);
    assert!(dir.path().join("launch/engine.log").exists() && dir.path().join("result.json").exists());
    let ramp = [
        "ramp",
        "--workload",
        "random:8/4",
        "--out",
        "r.json",
        "--",
        "sh",
        "-c",
        script,
        "sh",
        "--api-key",
        SECRETS[0],
    ];
    silent(dir.path(), &ramp);
}

/// A scenario, an observation and a log that carry secrets, in a directory of the user's own.
fn carriers(given: &Path) -> [String; 3] {
    let file = |name: &str, text: &str| {
        std::fs::write(given.join(name), text).unwrap();
        given.join(name).to_str().unwrap().to_owned()
    };
    let [flag, word, json, env] = SECRETS;
    let launch = format!(
        "HF_TOKEN={word} vllm serve Qwen/Qwen3-8B --api-key {flag} --x '{{\"api_key\": \"{json}\"}}'"
    );
    let mut record = serde_json::json!({
        "engine": "vllm", "serve_command": launch, "model": "Qwen/Qwen3-8B", "hardware": "h100-sxm-80gb",
        "workload": {"dataset": "random", "input_len": 8, "output_len": 4, "num_prompts": 4},
    });
    let scenario = file("s.json", &record.to_string());
    record["result"] = serde_json::json!({"completed": 4, "duration": 1.0, "total_input_tokens": 32, "total_output_tokens": 16,
        "output_throughput": 16.0, "mean_ttft_ms": 20.0, "mean_tpot_ms": 8.0});
    let observation = file("o.json", &record.to_string());
    [
        scenario,
        observation,
        file(
            "l.log",
            &format!(
                "INFO non-default args: {{\"api_key\": [\"{flag}\"]}}\nERROR RuntimeError: HF_TOKEN={env} cannot open https://u:{word}@hub/x\n"
            ),
        ),
    ]
}

#[test]
fn every_other_command_tells_no_secret() {
    let (dir, given) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let [scenario, observation, log] = carriers(given.path());
    let [flag, word, ..] = SECRETS;
    let given = [
        "--model",
        "Qwen/Qwen3-8B",
        "--hardware",
        "h100-sxm-80gb",
        "--engine",
        "vllm",
        "--workload",
        "random:8/4,n=4",
    ];
    let keyed = ["--", "--api-key", flag];
    let container = format!("docker run -e HF_TOKEN={word} image vllm serve m --api-key {flag}");
    for args in [
        vec!["predict", "--scenarios", &scenario],
        vec!["predict", "--scenarios", &scenario, "--json"],
        vec!["explain", "--scenario", &scenario],
        vec!["fit", &observation, "-o", "p.toml"],
        vec!["compare", &observation, &observation],
        vec!["check", &scenario],
        vec!["diagnose", &log],
        vec!["diagnose", &log, "--json"],
        vec!["doctor", "--offline", "--engine-command", &container],
        vec!["list", "engines"],
        [&["predict"], &given[..], &keyed].concat(),
        [&["explain"], &given[..], &keyed].concat(),
        [&["capacity"], &given[..], &keyed].concat(),
        vec![
            "bench",
            "--base-url",
            "http://127.0.0.1:9",
            "--api-key",
            flag,
            "--workload",
            "random:8/4,n=2",
            "--out",
            "b.json",
        ],
    ] {
        silent(dir.path(), &args);
    }
    assert!(dir.path().join("p.toml").exists());
}
