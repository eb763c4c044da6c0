//! `dyno tune --replicas` behind vLLM's own router, which `scripts/router` installs. Left out of the ordinary tests, since the
//! package has to be installed; `cargo test --test router -- --ignored` runs them.

#![expect(clippy::disallowed_methods, reason = "tests start the program as a user does")]

mod common;
#[path = "common/start.rs"]
mod start;

use common::{text, trials, until};
use serde_json::Value;
use start::tune;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

/// The router's command.
fn router() -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/router");
    let made = Command::new(script).output().unwrap();
    assert_ne!(made.status.code(), Some(3), "the router is missing and cannot be installed here");
    assert!(made.status.success(), "{}", text(&made));
    let python = String::from_utf8_lossy(&made.stdout).trim().to_owned();
    format!(
        "{python} -m vllm_router.launch_router --worker-urls {{urls}} --host 127.0.0.1 --port {{port}} --policy round_robin"
    )
}

/// So many requests that the exchange between two GPUs costs more than a copy's half of the load.
fn campaign(out: &Path) -> Child {
    tune("--model Qwen/Qwen3-8B --engine emulated --hardware a100-sxm-80gb --num-gpus 2 --replicas 2 --repeats 2 \
          --workload random:512/64,n=200,concurrency=200 --flags async-scheduling")
        .args(["--router-command", &router(), "--out"])
        .arg(out)
        .args(["--", "--emulate-version", "0.11.0"])
        .spawn()
        .unwrap()
}

/// Trials of the record that ran copies.
fn copies(out: &Path) -> Vec<Value> {
    let all = trials(out).into_iter();
    all.filter(|t| t["result"]["spec"]["candidate"]["flags"]["replicas"] == 2).collect()
}

/// Running routers, also those that have already changed their title, as vLLM's does when it is loaded.
fn routers() -> Vec<i32> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words);
        if words.starts_with("vllm::router") || words.contains("-m\0vllm_router.launch_router\0") {
            out.push(pid);
        }
    }
    out
}

#[test]
#[ignore = "needs vLLM's router"]
fn replicas_behind_a_router() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let output = campaign(&out).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let said = text(&output);
    let launched = copies(&out);
    assert!(
        launched.len() >= 2 && launched.iter().all(|t| t["result"]["outcome"] == "measured"),
        "{launched:?}"
    );
    // Two processes of engines and the router's own, whose log names both.
    for trial in &launched {
        let at = Path::new(trial["result"]["spec"]["dir"].as_str().unwrap()).to_path_buf();
        let log = std::fs::read_to_string(at.join("router.log")).unwrap();
        assert!(log.contains("2 out of 2 unique hosts are healthy"), "{log}");
        assert!(at.join("engine.log").exists() && at.join("engine-1.log").exists());
    }
    let won: Value =
        serde_json::from_slice(&std::fs::read(out.join("recommendation.json")).unwrap()).unwrap();
    assert!(
        won["flags"].as_array().unwrap().iter().any(|f| f["flag"] == "replicas" && f["value"] == 2),
        "{won}"
    );
    assert_eq!(won["improvement"]["significant"], true, "{won}");
    assert!(
        said.contains("vllm_router.launch_router --worker-urls http://127.0.0.1:8001 http://127.0.0.1:8002"),
        "{said}"
    );
    assert_eq!(routers(), Vec::<i32>::new());
}

#[test]
#[ignore = "needs vLLM's router"]
fn a_router_that_dies_is_told_as_such_and_costs_no_campaign() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let child = campaign(&out);
    assert!(until(120, || !routers().is_empty()), "a router starts");
    std::thread::sleep(Duration::from_millis(500));
    let running = routers();
    assert!(!running.is_empty(), "the router still runs");
    for pid in running {
        let id = rustix::process::Pid::from_raw(pid).unwrap();
        let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    // The cause may lie outside, so that the copies are launched again, and the first failure is kept and told.
    let all = copies(&out);
    assert!(
        all.iter().all(|t| t["result"]["outcome"] == "measured"),
        "no candidate is blamed: {}",
        text(&output)
    );
    let failures: Vec<&str> =
        all.iter().filter_map(|t| t["result"]["first_failure"]["root_cause"].as_str()).collect();
    assert!(failures.len() == 1 && failures[0].starts_with("router: "), "{failures:?}");
    assert_eq!(routers(), Vec::<i32>::new());
}
