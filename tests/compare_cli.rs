//! `dyno compare` as a command: verdicts, exit codes, and every form it writes.

#![expect(clippy::disallowed_methods, reason = "tests start the program as a user does")]

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn dyno() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("dyno"))
}

fn code(out: &Output) -> (Option<i32>, String, String) {
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

/// Observations of one workload; throughput and latency are `scale` times and 1 / `scale` times those of the first side.
fn observations(dir: &Path, name: &str, scale: f64, runs: usize) -> PathBuf {
    let noise = [1.0, 1.004, 0.996, 1.002, 0.998, 1.001];
    let list: Vec<Value> = (0..runs)
        .map(|i| {
            let x = noise[i % noise.len()];
            json!({
                "engine": "vllm", "engine_version": "0.11.0", "model": "m/<b>&", "hardware": "a100-sxm-80gb", "num_gpus": 1,
                "serve_command": format!("vllm serve m --name '{name}'"),
                "workload": {"dataset": "random", "input_len": 100, "output_len": 10, "num_prompts": 50,
                             "request_rate": "inf", "max_concurrency": 8, "seed": i},
                "result": {"completed": 50, "failed": 0, "total_token_throughput": 1000.0 * scale * x,
                           "mean_ttft_ms": 50.0 / scale * x, "p99_ttft_ms": 90.0 / scale * x,
                           "mean_tpot_ms": 10.0 / scale * x}
            })
        })
        .collect();
    let path = dir.join(format!("{name}.json"));
    std::fs::write(&path, serde_json::to_string(&list).unwrap()).unwrap();
    path
}

#[test]
fn verdicts_and_exit_codes() {
    let tmp = tempfile::tempdir().unwrap();
    let a = observations(tmp.path(), "a", 1.0, 5);
    let same = observations(tmp.path(), "same", 1.001, 5);
    let slow = observations(tmp.path(), "slow", 0.85, 5);
    let few = observations(tmp.path(), "few", 1.0, 2);
    let run =
        |b: &Path, more: &[&str]| code(&dyno().arg("compare").arg(&a).arg(b).args(more).output().unwrap());

    let (status, out, err) = run(&same, &[]);
    assert!(status == Some(0) && out.starts_with("PASS"), "{out}{err}");
    let (status, out, err) = run(&slow, &[]);
    assert!(status == Some(4) && out.starts_with("FAIL"), "{out}{err}");
    let (status, out, err) = run(&slow, &["--max-regression", "30%"]);
    assert!(status == Some(0) && out.starts_with("PASS"), "a larger allowance: {out}{err}");
    let (status, out, err) = run(&few, &[]);
    assert!(
        status == Some(0) && out.starts_with("INCONCLUSIVE") && out.contains("+1 run a side"),
        "{out}{err}"
    );
    let (status, _, _) = run(&few, &["--strict"]);
    assert_eq!(status, Some(5));
    assert!(out.lines().all(|l| l.chars().count() <= 140), "lines that fit:\n{out}");

    let (status, out, err) = run(&slow, &["--json"]);
    let value: Value = serde_json::from_str(&out).expect("nothing but JSON");
    assert!(status == Some(4) && value["verdict"] == "FAIL", "{err}");
    let first = &value["metrics"][0];
    assert_eq!(first["key"], "total_token_throughput");
    assert_eq!(first["verdict"], "FAIL");
    let change = first["change"]["value"].as_f64().unwrap();
    assert!((change + 0.15).abs() < 0.01, "{change}");
    assert!(first["change"]["low"].as_f64().unwrap() < change && first["runs_needed"] == 0);
    assert_eq!(first["paired"], true, "equal seeds are pairs");
}

#[test]
fn every_form_is_written_and_escaped() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (observations(tmp.path(), "a", 1.0, 5), observations(tmp.path(), "b", 0.8, 5));
    let at = |n: &str| tmp.path().join(n);
    let out = dyno()
        .arg("compare")
        .args([&a, &b])
        .args(["--junit".as_ref(), at("j.xml").as_os_str()])
        .args(["--markdown".as_ref(), at("c.md").as_os_str()])
        .args(["--html".as_ref(), at("c.html").as_os_str(), "--github-summary".as_ref()])
        .env("GITHUB_STEP_SUMMARY", at("summary.md"))
        .output()
        .unwrap();
    let (status, _, err) = code(&out);
    assert_eq!(status, Some(4), "{err}");
    let read = |n: &str| std::fs::read_to_string(at(n)).unwrap();
    let xml = read("j.xml");
    assert!(
        xml.contains("tests=\"4\" failures=\"4\"") && xml.matches("<failure message=").count() == 4,
        "{xml}"
    );
    assert!(
        read("c.md").contains("**FAIL**") && read("summary.md") == read("c.md").trim_end().to_owned() + "\n"
    );
    let html = read("c.html");
    assert!(html.contains("<svg") && html.contains("What else differs") && !html.contains("m/<b>"));
}

#[test]
fn a_campaign_stands_for_its_recommended_command() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/campaigns/clear-win");
    let defaults = format!("{}@defaults", dir.display());
    let out = dyno().args(["compare", &defaults, &dir.display().to_string(), "--json"]).output().unwrap();
    let (status, out, err) = code(&out);
    assert_eq!(status, Some(0), "{err}");
    let value: Value = serde_json::from_str(&out).unwrap();
    // Two pairs decide nothing, however large the gain looks.
    assert_eq!(value["verdict"], "INCONCLUSIVE");
    // One of the workloads' changes as the campaign itself has it on record.
    let change = value["metrics"][0]["change"]["value"].as_f64().unwrap();
    let record = std::fs::read_to_string(dir.join("trials.jsonl")).unwrap();
    let verdict: Value = serde_json::from_str(record.lines().last().unwrap()).unwrap();
    let key = value["metrics"][0]["key"].clone();
    let rows = verdict["compared"]["workloads"].as_array().unwrap().iter();
    let rows = rows.flat_map(|w| w["metrics"].as_array().unwrap()).filter(|m| m["key"] == key);
    let told: Vec<f64> = rows.map(|m| m["change"]["value"].as_f64().unwrap()).collect();
    assert!(told.iter().any(|t| (change - t).abs() < 1e-3), "{change} is none of {told:?}");
    assert!(value["differences"].to_string().contains("--async-scheduling"), "{value:#}");
}

#[test]
fn what_cannot_be_compared_is_said() {
    let tmp = tempfile::tempdir().unwrap();
    let a = observations(tmp.path(), "a", 1.0, 3);
    let other = tmp.path().join("other.json");
    std::fs::write(
        &other,
        std::fs::read_to_string(&a).unwrap().replace("\"input_len\":100", "\"input_len\":200"),
    )
    .unwrap();
    let (status, _, err) = code(&dyno().arg("compare").args([&a, &other]).output().unwrap());
    assert!(status == Some(2) && err.contains("100 prompt") && err.contains("200 prompt"), "{err}");
    let (status, _, err) = code(
        &dyno().arg("compare").arg(&a).arg("nowhere.json").args(["--metric", "speed"]).output().unwrap(),
    );
    assert!(status == Some(2) && err.contains("speed"), "{err}");
    let (status, _, err) = code(&dyno().arg("compare").args(["no-a.json", "no-b.json"]).output().unwrap());
    assert!(
        status == Some(2) && err.contains("no-a.json") && err.contains("no-b.json"),
        "both are named: {err}"
    );
    let interrupted = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/campaigns/everything-failed");
    let (status, _, err) = code(&dyno().arg("compare").arg(&a).arg(&interrupted).output().unwrap());
    assert!(status == Some(2) && err.contains("no conclusion"), "{err}");
}
