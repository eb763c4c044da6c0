//! The main job with the engine in a container, on a real podman: `scripts/podman` makes the image. Left out of the ordinary
//! tests, since podman has to be installed; `cargo test --test podman -- --ignored` runs them.

#![expect(clippy::disallowed_methods, reason = "tests start the program as a user does")]

mod common;

use common::{text, trials, until};
use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Where containers themselves live in one, these limits must be said; elsewhere they do no harm.
const OPTIONS: &str = "--runtime runc --ulimit nofile=1024:1024 --ulimit nproc=4096:4096";

/// The image, made once.
fn image() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/podman");
        let made = Command::new(script).arg(assert_cmd::cargo::cargo_bin!("dyno")).output().unwrap();
        assert_ne!(made.status.code(), Some(3), "podman is missing and cannot be installed here");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        String::from_utf8_lossy(&made.stdout).trim().to_owned()
    })
}

fn dyno(words: &str, options: &str) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("dyno"));
    let (ours, engine) = words.split_once(" -- ").unwrap();
    command
        .args(ours.split_whitespace())
        .args(["--engine-image", image(), "--container-runtime", "podman", "--container-options", options])
        .arg("--")
        .args(engine.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn campaign(out: &Path, engine: &str) -> String {
    format!(
        "tune --model openai/gpt-oss-20b --engine emulated --hardware a100-sxm-80gb --workload random:256/24,n=16 \
         --flags async-scheduling --search one-factor --repeats 2 --out {} -- --emulate-version 0.11.0 {engine}",
        out.display()
    )
}

/// Containers whose label names a launch of the process with this id.
fn containers(pid: u32) -> Vec<String> {
    let args = ["ps", "-a", "--filter", "label=dyno.launch", "--format", "{{.Names}}"];
    let output = Command::new("podman").args(args).output().unwrap();
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    names.lines().filter(|n| n.starts_with(&format!("dyno-{pid}-"))).map(str::to_owned).collect()
}

#[test]
#[ignore = "needs podman"]
fn the_main_job_in_containers_from_start_to_deployment() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let child = dyno(&campaign(&out, ""), OPTIONS).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("dyno emulate --model openai/gpt-oss-20b"), "{}", text(&output));
    let all = trials(&out);
    assert!(all.len() >= 5, "{}", all.len());
    for t in &all {
        assert_eq!(t["result"]["outcome"], "measured");
        let image_of = &t["result"]["facts"]["image"];
        assert!(image_of["id"].as_str().is_some_and(|id| id.len() >= 64), "{image_of}");
        assert_eq!(image_of["name"], image());
        assert_eq!(t["result"]["facts"]["argv"][0], "dyno");
        assert_eq!(t["result"]["leftovers"].as_array().map_or(0, Vec::len), 0, "{t}");
    }
    assert_eq!(containers(pid), Vec::<String>::new());
    for format in ["podman", "compose"] {
        let export = Command::new(assert_cmd::cargo::cargo_bin!("dyno"))
            .args(["export", out.to_str().unwrap(), "--format", format])
            .output()
            .unwrap();
        assert!(export.status.success() && text(&export).contains(image()), "{}", text(&export));
    }
}

#[test]
#[ignore = "needs podman"]
fn a_bench_behind_a_mapped_port() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("b.json");
    let words = format!(
        "bench --workload random:64/8,n=8 --container-network mapped --out {} -- dyno emulate --model Qwen/Qwen3-8B \
         --hardware h100-sxm-80gb",
        out.display()
    );
    let child = dyno(&words, OPTIONS).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let record: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(record["result"]["completed"], 8);
    assert_eq!(containers(pid), Vec::<String>::new());
}

#[test]
#[ignore = "needs podman"]
fn kill_9_leaves_no_container_and_the_campaign_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let mut child = dyno(&campaign(&out, ""), OPTIONS).spawn().unwrap();
    let pid = child.id();
    assert!(until(60, || !containers(pid).is_empty()), "a container starts");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(until(30, || containers(pid).is_empty()), "{:?}", containers(pid));
    let resumed = Command::new(assert_cmd::cargo::cargo_bin!("dyno"))
        .args(["tune", "--resume", out.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(resumed.status.success(), "{}", text(&resumed));
    assert!(trials(&out).iter().all(|t| !t["result"]["facts"]["image"].is_null()));
}

#[test]
#[ignore = "needs podman"]
fn an_orderly_stop_removes_the_container() {
    let dir = tempfile::tempdir().unwrap();
    let child = dyno(&campaign(&dir.path().join("out"), ""), OPTIONS).spawn().unwrap();
    let pid = child.id();
    assert!(until(60, || !containers(pid).is_empty()), "a container starts");
    let id = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    assert_eq!(containers(pid), Vec::<String>::new());
}

#[test]
#[ignore = "needs podman"]
fn what_cannot_work_is_said_in_its_own_words() {
    let dir = tempfile::tempdir().unwrap();
    // A port that somebody else has.
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("--port {}", held.local_addr().unwrap().port());
    let output = dyno(&campaign(&dir.path().join("port"), &port), OPTIONS).output().unwrap();
    assert!(!output.status.success() && text(&output).contains("port-in-use"), "{}", text(&output));
    // An image that is nowhere: before the campaign begins.
    let words = campaign(&dir.path().join("image"), "").replace(" -- ", " --seed 1 -- ");
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("dyno"));
    let (ours, engine) = words.split_once(" -- ").unwrap();
    command.args(ours.split_whitespace()).args(["--engine-image", "localhost/nowhere:1"]);
    command.args(["--container-runtime", "podman", "--"]).args(engine.split_whitespace());
    let output = command.output().unwrap();
    let said = text(&output);
    assert!(!output.status.success() && said.contains("is not here and cannot be pulled"), "{said}");
    assert!(!dir.path().join("image/run.json").exists());
}

#[test]
#[ignore = "needs podman"]
fn a_container_that_the_kernel_ends_for_want_of_memory_is_told_as_that() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let words = campaign(&out, "").replace("random:256/24,n=16", "random:4000/64,n=400");
    let child = dyno(&words, &format!("{OPTIONS} --memory 8m")).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    let failed = &trials(&out)[0]["result"]["failure"];
    assert_eq!(failed["class"], "killed-by-kernel", "{failed} {}", text(&output));
    assert!(failed["hint"].as_str().unwrap().contains("memory limit"), "{failed}");
    assert_eq!(containers(pid), Vec::<String>::new());
}
