//! No secret of a command line or of the environment is in any file that a command leaves, nor in what it prints.

#![expect(clippy::disallowed_methods, reason = "tests start the program as a user does")]

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
