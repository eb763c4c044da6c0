//! `dyno tune --executor slurm` on a real Slurm cluster of three nodes, which `scripts/slurm` starts on this machine. Left out of the
//! ordinary tests, since Slurm has to be installed; `cargo test --test slurm -- --ignored --test-threads 1` runs them.

#![expect(clippy::disallowed_methods, reason = "tests start the program as a user does")]
#![expect(clippy::print_stdout, reason = "the measured times are worth a line")]

mod common;
#[path = "common/start.rs"]
mod start;
#[path = "common/timed.rs"]
mod timed;

use common::{text, trials, until};
use start::tune;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::Duration;
use timed::{long_campaign, one_trial_was_lost_with, recommendation, seconds};

/// A Slurm cluster of this test alone; it ends with this value.
struct Cluster {
    dir: tempfile::TempDir,
    conf: String,
}

fn script(dir: &Path, words: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/slurm");
    Command::new(script).arg(words[0]).arg(dir).args(&words[1..]).output().unwrap()
}

impl Cluster {
    fn up() -> Cluster {
        Cluster::of("3")
    }

    fn of(nodes: &str) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let made = script(dir.path(), &["up", nodes]);
        assert_ne!(made.status.code(), Some(3), "Slurm is missing or cannot be run here: {}", text(&made));
        assert!(made.status.success(), "{}", text(&made));
        let conf = String::from_utf8_lossy(&made.stdout).trim().to_owned();
        Cluster { dir, conf }
    }

    fn ask(&self, program: &str, args: &[&str]) -> String {
        let out = Command::new(program).args(args).env("SLURM_CONF", &self.conf).output().unwrap();
        text(&out)
    }

    /// Jobs that have not ended, as `ID NODE`.
    fn alive(&self) -> Vec<String> {
        let said = self.ask("squeue", &["-h", "-t", "PENDING,RUNNING,SUSPENDED", "-o", "%i %N"]);
        said.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect()
    }

    fn campaign(&self, out: &Path, more: &[&str]) -> Child {
        let at = self.dir.path().join("jobs");
        let cluster = ["--executor", "slurm", "--slurm-dir", at.to_str().unwrap()];
        campaign(out, &[&cluster[..], more].concat()).env("SLURM_CONF", &self.conf).spawn().unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        script(self.dir.path(), &["down"]);
    }
}

fn campaign(out: &Path, more: &[&str]) -> Command {
    let words = "--model openai/gpt-oss-20b --engine emulated --hardware a100-sxm-80gb --workload random:1024/128,n=32 \
                 --flags async-scheduling,max-num-seqs,max-num-batched-tokens,block-size --repeats 3 --out";
    let mut command = tune(words);
    command.arg(out).args(more).args(["--", "--emulate-version", "0.11.0"]);
    command
}

/// The flags of the recommended command, by name, and whether it is better for sure: several values of one flag may be equally good.
fn verdict(out: &Path) -> (Vec<String>, bool) {
    let said = recommendation(out);
    let flags = said["flags"].as_array().unwrap().iter().map(|f| f["flag"].as_str().unwrap().to_owned());
    (flags.collect(), said["improvement"]["significant"].as_bool().unwrap())
}

/// The same campaign on three nodes, once more with one of them lost in the middle, and on a cluster of one.
#[test]
#[ignore = "needs Slurm"]
fn three_nodes_take_less_than_half_of_the_time_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let run = |cluster: &Cluster, out: &str, meanwhile: &dyn Fn()| {
        let jobs = cluster.dir.path().join("jobs");
        let on = ["--executor", "slurm", "--slurm-dir", jobs.to_str().unwrap()];
        let mut command = long_campaign(dir.path(), out, 36, &on);
        command.env("SLURM_CONF", &cluster.conf);
        seconds(command, meanwhile)
    };
    let (one, three, two) = (dir.path().join("1"), dir.path().join("3"), dir.path().join("2"));
    let cluster = Cluster::of("3");
    let together = run(&cluster, "3", &|| {});
    let with_a_loss = run(&cluster, "2", &|| {
        assert!(until(300, || trials(&two).len() >= 24), "{}", trials(&two).len());
        // Soon after the next launch there has begun, so that it is under way.
        let on_3 =
            || cluster.alive().into_iter().filter(|job| job.ends_with(" node3")).collect::<BTreeSet<_>>();
        let before = on_3();
        assert!(until(120, || on_3().difference(&before).next().is_some()), "{:?}", cluster.alive());
        std::thread::sleep(Duration::from_secs(1));
        assert!(script(cluster.dir.path(), &["kill", "3"]).status.success());
    });
    assert_eq!(cluster.alive(), Vec::<String>::new());
    drop(cluster);
    let alone = run(&Cluster::of("1"), "1", &|| {});
    for out in [&three, &two] {
        assert_eq!(verdict(out), verdict(&one));
        assert!(trials(out).len() >= 12, "{}", trials(out).len());
    }
    one_trial_was_lost_with("node3", &two);
    let all = trials(&two);
    let nodes: BTreeSet<&str> =
        all.iter().map(|t| t["result"]["placement"]["node"].as_str().unwrap()).collect();
    assert_eq!(nodes.into_iter().collect::<Vec<_>>(), ["node1", "node2", "node3"]);
    let report = std::fs::read_to_string(two.join("report.md")).unwrap();
    assert!(report.contains("The defaults ran on 3 nodes"), "{report}");
    let (part, lossy) = (together / alone, with_a_loss / alone);
    println!(
        "one node {alone:.0} s for {} trials, three nodes {together:.0} s for {}: {part:.2}; one of them lost {with_a_loss:.0} s for {}: {lossy:.2}",
        trials(&one).len(),
        trials(&three).len(),
        all.len()
    );
    // A campaign with a loss has trials of its own number, and what a busy machine adds to the wait for the lost node is a matter
    // of luck: trial for trial, three nodes of which one goes away are still a good deal faster than one.
    let lossy_trials = lossy * trials(&one).len() as f64 / trials(&two).len() as f64;
    assert!(part < 0.45 && lossy_trials < 0.6, "{part} {lossy_trials}");
}

#[test]
#[ignore = "needs Slurm"]
fn neither_a_stop_nor_kill_9_leaves_a_job() {
    let cluster = Cluster::up();
    let dir = tempfile::tempdir().unwrap();
    // An orderly stop.
    let out = dir.path().join("stopped");
    let child = cluster.campaign(&out, &[]);
    assert!(until(60, || !cluster.alive().is_empty()), "a job starts");
    let id = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    assert_eq!(cluster.alive(), Vec::<String>::new());
    // A tuner that is killed stops nothing; the next one does, before anything else.
    let out = dir.path().join("killed");
    let mut child = cluster.campaign(&out, &[]);
    assert!(until(60, || !cluster.alive().is_empty()), "a job starts");
    child.kill().unwrap();
    child.wait().unwrap();
    let left = cluster.alive();
    assert!(!left.is_empty());
    let resumed = Command::new(assert_cmd::cargo::cargo_bin!("dyno"))
        .args(["tune", "--resume", out.to_str().unwrap()])
        .env("SLURM_CONF", &cluster.conf)
        .output()
        .unwrap();
    assert!(resumed.status.success(), "{}", text(&resumed));
    for job in left {
        let id = job.split(' ').next().unwrap();
        assert!(text(&resumed).contains(&format!("stopped what an earlier run left: job {id}")), "{id}");
    }
    assert_eq!(cluster.alive(), Vec::<String>::new());
}

#[test]
#[ignore = "needs Slurm"]
fn what_cannot_work_is_said_before_anything_is_measured() {
    let cluster = Cluster::up();
    let dir = tempfile::tempdir().unwrap();
    let said = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        let output = cluster.campaign(&out, more).wait_with_output().unwrap();
        assert!(!output.status.success() && trials(&out).is_empty(), "{}", text(&output));
        text(&output)
    };
    let doctor = || {
        let looks = ["doctor", "--offline", "--executor", "slurm"];
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("dyno"));
        text(&command.args(looks).env("SLURM_CONF", &cluster.conf).output().unwrap())
    };
    assert!(doctor().contains("Slurm: room for 3 launches at once"), "{}", doctor());
    let large = said("large", &["--num-gpus", "2"]);
    assert!(large.contains("no node of Slurm has the 2 GPUs of a launch"), "{large}");
    let nowhere = said("nowhere", &["--slurm-options", "-p nowhere"]);
    assert!(nowhere.contains("nowhere") && nowhere.contains("--slurm-options"), "{nowhere}");
    let missing = said("missing", &["--executor-program", "/nowhere/dyno"]);
    assert!(missing.contains("did not begin on node") && missing.contains("/nowhere/dyno"), "{missing}");
    // Nobody listens any more.
    assert!(script(cluster.dir.path(), &["down"]).status.success());
    let silent = said("silent", &[]);
    assert!(doctor().contains("BAD  Slurm does not list its nodes"), "{}", doctor());
    assert!(silent.contains("Slurm does not list its nodes"), "{silent}");
}
