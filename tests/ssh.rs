//! `dyno tune --executor ssh` over real ssh servers on addresses of the loopback, which `scripts/sshd` starts. Left out of the
//! ordinary tests, since the server has to be installed; `cargo test --test ssh -- --ignored` runs them.

#![expect(clippy::disallowed_methods, reason = "tests start the program as a user does")]

mod common;
#[path = "common/start.rs"]
mod start;

use common::{text, trials, until};
use serde_json::Value;
use start::tune;
use std::path::Path;
use std::process::{Child, Command, Output};

/// Two hosts of this test alone; they end with this value.
struct Hosts {
    dir: tempfile::TempDir,
    options: String,
}

fn script(dir: &Path, words: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/sshd");
    Command::new(script).arg(words[0]).arg(dir).args(&words[1..]).output().unwrap()
}

impl Hosts {
    fn up() -> Hosts {
        let dir = tempfile::tempdir().unwrap();
        let made = script(dir.path(), &["up"]);
        assert_ne!(made.status.code(), Some(3), "the ssh server is missing and cannot be installed here");
        assert!(made.status.success(), "{}", text(&made));
        let options = String::from_utf8_lossy(&made.stdout).trim().to_owned();
        Hosts { dir, options }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        script(self.dir.path(), &["down"]);
    }
}

fn campaign(hosts: &Hosts, named: &str, out: &Path) -> Child {
    tune(
        "--model openai/gpt-oss-20b --engine emulated --hardware a100-sxm-80gb --workload random:256/48,n=24 \
          --flags async-scheduling --repeats 2 --executor ssh",
    )
    .args(["--ssh-hosts", named, "--ssh-options", &hosts.options, "--out"])
    .arg(out)
    .args(["--", "--emulate-version", "0.11.0"])
    .spawn()
    .unwrap()
}

/// Engines of the campaign recorded in `out`.
fn running(out: &Path) -> Vec<String> {
    let record: Value = serde_json::from_slice(&std::fs::read(out.join("run.json")).unwrap()).unwrap();
    let place = format!(
        "dyno-jobs-{}/dyno-{}-",
        rustix::process::geteuid().as_raw(),
        record["run_id"].as_str().unwrap()
    );
    let holds = |pid: &str| {
        // An engine writes its log in the directory of its trial.
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut targets = open.filter_map(|e| std::fs::read_link(e.path()).ok());
        targets.any(|t| t.to_string_lossy().contains(&place))
    };
    let all =
        std::fs::read_dir("/proc").unwrap().flatten().map(|e| e.file_name().to_string_lossy().into_owned());
    all.filter(|name| name.parse::<u32>().is_ok() && holds(name)).collect()
}

#[test]
#[ignore = "needs an ssh server"]
fn trials_over_ssh() {
    let hosts = Hosts::up();
    a_killed_tuner_leaves_nothing_on_the_hosts(&hosts);
    hosts_that_cannot_be_reached_are_named(&hosts);
    one_engine_over_two_hosts(&hosts);
    a_campaign_one_of_whose_hosts_is_lost(&hosts);
}

/// Each launch is one engine of two ranks, the second of which runs where ssh starts it.
fn one_engine_over_two_hosts(hosts: &Hosts) {
    let dir = tempfile::tempdir().unwrap();
    let start = |name: &str| {
        tune(
            "--model openai/gpt-oss-20b --engine emulated --hardware a100-sxm-80gb --num-gpus 2 --workload random:256/48,n=24 \
             --flags async-scheduling --repeats 2 --engine-nodes 127.0.0.1,127.0.0.2",
        )
        .args(["--ssh-options", &hosts.options, "--out"])
        .arg(dir.path().join(name))
        .args(["--", "--emulate-version", "0.11.0", "--tensor-parallel-size", "2", "--nnodes", "{num_nodes}"])
        .args(["--node-rank", "{node_rank}", "--master-addr", "{head_address}", "--master-port", "{head_port}", "{headless}"])
        .spawn()
        .unwrap()
    };
    let output = start("over").wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let all = trials(&dir.path().join("over"));
    assert!(all.len() >= 4 && all.iter().all(|t| t["result"]["outcome"] == "measured"), "{}", text(&output));
    for trial in &all {
        let at = Path::new(trial["result"]["spec"]["dir"].as_str().unwrap()).to_path_buf();
        let log = |name: &str| std::fs::read_to_string(at.join(name)).unwrap();
        assert!(log("engine.log").contains("2 nodes have met"), "{}", log("engine.log"));
        assert!(log("engine-1.log").contains("rank 1 has joined"), "{}", log("engine-1.log"));
    }
    assert_eq!(ranks(), Vec::<String>::new());
    // The second host goes away, with all that ran on it, while an engine answers.
    let out = dir.path().join("lost");
    let child = start("lost");
    assert!(until(120, || !trials(&out).is_empty() && !ranks().is_empty()), "a second launch runs");
    assert!(script(hosts.dir.path(), &["kill", "2"]).status.success());
    let output = child.wait_with_output().unwrap();
    let said = text(&output);
    assert!(said.contains("rank 1 on 127.0.0.2"), "{said}");
    assert_eq!(ranks(), Vec::<String>::new());
    assert!(script(hosts.dir.path(), &["again", "2"]).status.success());
}

/// Processes of further ranks.
fn ranks() -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let words = all.filter_map(|e| std::fs::read(e.path().join("cmdline")).ok());
    let headless = |w: &Vec<u8>| {
        let words: Vec<&[u8]> = w.split(|b| *b == 0).collect();
        words.contains(&&b"emulate"[..]) && words.contains(&&b"--headless"[..])
    };
    words.filter(headless).map(|w| String::from_utf8_lossy(&w).into_owned()).collect()
}

fn a_killed_tuner_leaves_nothing_on_the_hosts(hosts: &Hosts) {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("killed");
    let mut child = campaign(hosts, "127.0.0.1,127.0.0.2", &out);
    assert!(until(60, || out.join("run.json").exists() && !running(&out).is_empty()), "a launch starts");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(until(60, || running(&out).is_empty()), "{:?}", running(&out));
}

fn hosts_that_cannot_be_reached_are_named(hosts: &Hosts) {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("nowhere");
    let output = campaign(hosts, "127.0.0.8,127.0.0.9", &out).wait_with_output().unwrap();
    let said = text(&output);
    assert!(!output.status.success() && said.contains("no host can run trials"), "{said}");
    assert!(said.contains("127.0.0.9 is left out (ssh: connect to host 127.0.0.9"), "{said}");
    assert!(!out.join("run.json").exists());
}

fn a_campaign_one_of_whose_hosts_is_lost(hosts: &Hosts) {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let child = campaign(hosts, "127.0.0.1,127.0.0.2", &out);
    assert!(until(120, || trials(&out).len() >= 3), "{}", trials(&out).len());
    assert!(until(60, || running(&out).len() >= 2), "both hosts have a launch");
    assert!(script(hosts.dir.path(), &["kill", "2"]).status.success());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let all = trials(&out);
    assert!(all.iter().all(|t| t["result"]["outcome"] == "measured"), "no candidate is blamed for the host");
    let lost = |t: &&Value| t["result"]["placement"]["lost"][0]["node"] == "127.0.0.2";
    assert!(all.iter().any(|t| lost(&t)), "{}", text(&output));
    assert!(running(&out).is_empty(), "{:?}", running(&out));
    let report = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert!(report.contains("was lost with its node and ran again"), "{report}");
}
