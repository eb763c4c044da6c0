//! `dyno tune --executor ray` on a real Ray cluster of three nodes, which `scripts/ray` starts on addresses of the loopback. Left
//! out of the ordinary tests, since Ray has to be installed; `cargo test --test ray -- --ignored` runs them.

#![expect(clippy::disallowed_methods, reason = "tests start the program as a user does")]
#![expect(clippy::print_stdout, reason = "the measured times are worth a line")]

mod common;
#[path = "common/start.rs"]
mod start;
#[path = "common/timed.rs"]
mod timed;

use common::{text, trials, until};
use llm_dyno::executor::{Executor, ExecutorConfig, ExecutorKind, JobState, Ray};
use start::tune;
use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use timed::{long_campaign, one_trial_was_lost_with, recommendation, seconds};

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
    fn of(nodes: &str) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let made = script(dir.path(), &["up", nodes]);
        assert_ne!(made.status.code(), Some(3), "Ray is missing and cannot be installed here");
        assert!(made.status.success(), "{}", text(&made));
        let address = String::from_utf8_lossy(&made.stdout).trim().to_owned();
        Cluster { dir, address }
    }

    fn kill(&self, node: &str) {
        assert!(script(self.dir.path(), &["kill", node]).status.success());
    }

    fn ray(&self) -> Ray {
        let address = Some(self.address.clone());
        Ray::new(&ExecutorConfig { address, ..ExecutorConfig::of(ExecutorKind::Ray) }).unwrap()
    }

    /// Ids of jobs that have not ended.
    fn alive(&self) -> Vec<String> {
        self.ray().alive("dyno-").unwrap()
    }

    fn runs_on(&self, node: Option<&String>) -> bool {
        let ray = self.ray();
        let on =
            |id: &String| matches!(ray.state(id), Ok(JobState::Running { node: n }) if n.as_ref() == node);
        ray.alive("dyno-").unwrap().iter().any(on)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        script(self.dir.path(), &["down"]);
    }
}

fn campaign(out: &Path, more: &[&str]) -> Child {
    tune(
        "--model openai/gpt-oss-20b --engine emulated --hardware a100-sxm-80gb --workload random:256/48,n=24 \
          --flags async-scheduling,max-num-seqs --repeats 5 --out",
    )
    .arg(out)
    .args(more)
    .args(["--", "--emulate-version", "0.11.0"])
    .spawn()
    .unwrap()
}

/// One cluster for all of it: starting one takes half a minute.
#[test]
#[ignore = "needs Ray"]
fn trials_on_a_ray_cluster() {
    let cluster = Cluster::of("3");
    what_cannot_work_is_said_before_anything_is_measured(&cluster);
    neither_a_stop_nor_kill_9_leaves_a_job(&cluster);
    three_nodes_take_less_than_half_of_the_time_of_one(&cluster);
}

/// The same campaign on these three nodes, once more with one of them lost in the middle, and on a cluster of one.
fn three_nodes_take_less_than_half_of_the_time_of_one(cluster: &Cluster) {
    let dir = tempfile::tempdir().unwrap();
    let run = |cluster: &Cluster, out: &str, meanwhile: &dyn Fn()| {
        let on = ["--executor", "ray", "--ray-address", &cluster.address];
        seconds(long_campaign(dir.path(), out, 20, &on), meanwhile)
    };
    let (one, three, two) = (dir.path().join("1"), dir.path().join("3"), dir.path().join("2"));
    let together = run(cluster, "3", &|| {});
    let third = Some("127.0.1.3".to_owned());
    let with_a_loss = run(cluster, "2", &|| {
        assert!(until(300, || trials(&two).len() >= 15), "{}", trials(&two).len());
        assert!(until(120, || cluster.runs_on(third.as_ref())), "the third node has a launch");
        cluster.kill("3");
    });
    assert_eq!(cluster.alive(), Vec::<String>::new());
    let alone = run(&Cluster::of("1"), "1", &|| {});
    let of = |out: &Path, key: &str| recommendation(out)[key].clone();
    for out in [&three, &two] {
        assert_eq!(of(out, "command"), of(&one, "command"));
        assert_eq!(of(out, "improvement")["significant"], of(&one, "improvement")["significant"]);
        assert!(trials(out).len() >= 12, "{}", trials(out).len());
    }
    one_trial_was_lost_with("127.0.1.3", &two);
    let nodes: BTreeSet<String> =
        trials(&two).iter().map(|t| t["result"]["placement"]["node"].as_str().unwrap().to_owned()).collect();
    assert_eq!(nodes.into_iter().collect::<Vec<_>>(), ["127.0.1.1", "127.0.1.2", "127.0.1.3"]);
    let (part, lossy) = (together / alone, with_a_loss / alone);
    println!(
        "one node {alone:.0} s for {} trials, three nodes {together:.0} s for {}: {part:.2}; one of them lost {with_a_loss:.0} s for {}: {lossy:.2}",
        trials(&one).len(),
        trials(&three).len(),
        trials(&two).len()
    );
    // A campaign with a loss has trials of its own number, and what a busy machine adds to the wait for the lost node is a matter
    // of luck: trial for trial, three nodes of which one goes away are still a good deal faster than one.
    let lossy_trials = lossy * trials(&one).len() as f64 / trials(&two).len() as f64;
    assert!(part < 0.45 && lossy_trials < 0.6, "{part} {lossy_trials}");
}

fn neither_a_stop_nor_kill_9_leaves_a_job(cluster: &Cluster) {
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
    let mut resumed = Command::new(assert_cmd::cargo::cargo_bin!("dyno"))
        .args(["tune", "--resume", out.to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assert!(until(60, || !left.iter().any(|job| cluster.alive().contains(job))), "{left:?}");
    // It goes on with launches of its own; those are stopped as well.
    let id = rustix::process::Pid::from_raw(resumed.id() as i32).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let mut said = String::new();
    resumed.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    resumed.wait().unwrap();
    assert!(said.contains(&format!("stopped what an earlier run left: job {}", left[0])), "{said}");
    assert_eq!(cluster.alive(), Vec::<String>::new());
}

fn what_cannot_work_is_said_before_anything_is_measured(cluster: &Cluster) {
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
    let looks = ["doctor", "--offline", "--executor", "ray"];
    let doctor = Command::new(assert_cmd::cargo::cargo_bin!("dyno")).args(looks).args(at).output().unwrap();
    assert!(text(&doctor).contains("room for 3 launches at once"), "{}", text(&doctor));
    let large = said("large", &[&at[..], &["--num-gpus", "2"]].concat());
    assert!(large.contains("no node of this Ray cluster has the 2 GPUs of a launch"), "{large}");
    let missing = said("missing", &[&at[..], &["--executor-program", "/nowhere/dyno"]].concat());
    assert!(missing.contains("did not begin on 127.0.1.") && missing.contains("/nowhere/dyno"), "{missing}");
    let secret = said("secret", &[&at[..], &["--engine-command", "x --api-key sk-1"]].concat());
    assert!(secret.contains("holds a secret"), "{secret}");
}
