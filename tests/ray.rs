//! `dyno tune --executor ray` on a real Ray cluster of three nodes, which `scripts/ray` starts on addresses of the loopback. Left
//! out of the ordinary tests, since Ray has to be installed; `cargo test --test ray -- --ignored --test-threads 1` runs them.

#![expect(clippy::disallowed_methods, reason = "tests start the program as a user does")]

use llm_dyno::executor::{Executor, ExecutorConfig, ExecutorKind, Ray};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A Ray cluster of this test alone; it ends with this value.
struct Cluster {
    dir: tempfile::TempDir,
    address: String,
}

fn script(dir: &Path, words: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/ray");
    Command::new(script).arg(words[0]).arg(dir).args(&words[1..]).output().unwrap()
}

impl Cluster {
    fn up() -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let made = script(dir.path(), &["up"]);
        assert_ne!(made.status.code(), Some(3), "Ray is missing and cannot be installed here");
        assert!(made.status.success(), "{}", text(&made));
        let address = String::from_utf8_lossy(&made.stdout).trim().to_owned();
        Cluster { dir, address }
    }

    fn kill(&self, node: &str) {
        assert!(script(self.dir.path(), &["kill", node]).status.success());
    }

    /// Ids of jobs that have not ended.
    fn alive(&self) -> Vec<String> {
        let config =
            ExecutorConfig { address: Some(self.address.clone()), ..ExecutorConfig::of(ExecutorKind::Ray) };
        Ray::new(&config).unwrap().alive("dyno-").unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        script(self.dir.path(), &["down"]);
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn campaign(out: &Path, more: &[&str]) -> Child {
    Command::new(assert_cmd::cargo::cargo_bin!("dyno"))
        .args("tune --model openai/gpt-oss-20b --engine emulated --hardware a100-sxm-80gb".split(' '))
        .args("--workload random:256/48,n=24 --flags async-scheduling,max-num-seqs --repeats 3".split(' '))
        .arg("--out")
        .arg(out)
        .args(more)
        .args(["--", "--emulate-version", "0.11.0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn record(out: &Path) -> Vec<Value> {
    let record = std::fs::read_to_string(out.join("trials.jsonl")).unwrap_or_default();
    record.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok()).collect()
}

fn trials(out: &Path) -> Vec<Value> {
    record(out).into_iter().filter(|v| v["kind"] == "trial").collect()
}

fn recommendation(out: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(out.join("recommendation.json")).unwrap()).unwrap()
}

fn until(seconds: u64, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    false
}

#[test]
#[ignore = "needs Ray"]
fn a_campaign_on_three_nodes_one_of_which_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().join("here");
    let output = campaign(&here, &[]).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let cluster = Cluster::up();
    let out = dir.path().join("ray");
    let child = campaign(&out, &["--executor", "ray", "--ray-address", &cluster.address]);
    assert!(until(120, || trials(&out).len() >= 4), "{}", trials(&out).len());
    // The next launches are under way by then.
    std::thread::sleep(Duration::from_secs(3));
    cluster.kill("3");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let all = trials(&out);
    assert!(all.len() >= 12, "{}", all.len());
    let nodes: std::collections::BTreeSet<&str> =
        all.iter().map(|t| t["result"]["placement"]["node"].as_str().unwrap()).collect();
    assert_eq!(nodes.into_iter().collect::<Vec<_>>(), ["127.0.1.1", "127.0.1.2", "127.0.1.3"]);
    assert!(all.iter().all(|t| t["result"]["outcome"] == "measured"), "no candidate is blamed for the node");
    let lost: Vec<&Value> = all.iter().filter(|t| !t["result"]["placement"]["lost"][0].is_null()).collect();
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert_eq!(lost[0]["result"]["placement"]["lost"][0]["node"], "127.0.1.3");
    let report = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert!(report.contains("was lost with its node and ran again"), "{report}");
    assert_eq!(
        recommendation(&out)["flags"].as_array().map(Vec::len),
        recommendation(&here)["flags"].as_array().map(Vec::len)
    );
    assert_eq!(recommendation(&out)["command"], recommendation(&here)["command"]);
    assert_eq!(cluster.alive(), Vec::<String>::new());
}

#[test]
#[ignore = "needs Ray"]
fn neither_a_stop_nor_kill_9_leaves_a_job() {
    let cluster = Cluster::up();
    let dir = tempfile::tempdir().unwrap();
    let more = ["--executor", "ray", "--ray-address", cluster.address.as_str()];
    // An orderly stop.
    let out = dir.path().join("stopped");
    let child = campaign(&out, &more);
    assert!(until(60, || !cluster.alive().is_empty()), "a job starts");
    let id = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    assert_eq!(cluster.alive(), Vec::<String>::new());
    // A tuner that is killed stops nothing; the next one does, before anything else.
    let out = dir.path().join("killed");
    let mut child = campaign(&out, &more);
    assert!(until(60, || !cluster.alive().is_empty()), "a job starts");
    child.kill().unwrap();
    child.wait().unwrap();
    let left = cluster.alive();
    assert!(!left.is_empty());
    let resumed = Command::new(assert_cmd::cargo::cargo_bin!("dyno"))
        .args(["tune", "--resume", out.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(resumed.status.success(), "{}", text(&resumed));
    for job in left {
        assert!(text(&resumed).contains(&format!("stopped what an earlier run left: job {job}")));
    }
    assert_eq!(cluster.alive(), Vec::<String>::new());
}

#[test]
#[ignore = "needs Ray"]
fn what_cannot_work_is_said_before_anything_is_measured() {
    let cluster = Cluster::up();
    let dir = tempfile::tempdir().unwrap();
    let said = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        let output = campaign(&out, &[&["--executor", "ray"], more].concat()).wait_with_output().unwrap();
        assert!(!output.status.success() && trials(&out).is_empty(), "{}", text(&output));
        text(&output)
    };
    let nowhere = said("nowhere", &["--ray-address", "http://127.0.0.1:9"]);
    assert!(nowhere.contains("connection refused") && nowhere.contains("--ray-address"), "{nowhere}");
    let at = ["--ray-address", cluster.address.as_str()];
    let large = said("large", &[&at[..], &["--num-gpus", "2"]].concat());
    assert!(large.contains("no node of this Ray cluster has the 2 GPUs of a launch"), "{large}");
    let missing = said("missing", &[&at[..], &["--executor-program", "/nowhere/dyno"]].concat());
    assert!(missing.contains("did not begin on 127.0.1.") && missing.contains("/nowhere/dyno"), "{missing}");
    let secret = said("secret", &[&at[..], &["--engine-command", "x --api-key sk-1"]].concat());
    assert!(secret.contains("holds a secret"), "{secret}");
}
