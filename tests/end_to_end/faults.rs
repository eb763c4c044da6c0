//! Faults by the dozen: the example `faults` in its short form (the long one's table is reports/faults.md), an engine that somebody
//! kills during a campaign, and what lies readable afterwards.

use llm_dyno::store::read_journal;
use llm_dyno::trial::Outcome;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn no_fault_costs_a_trial_or_is_blamed_on_a_candidate() {
    let program = assert_cmd::cargo::cargo_bin!("dyno").with_file_name("examples").join("faults");
    assert!(program.exists(), "`cargo build --example faults` makes {}", program.display());
    let faults = ["kills", "20", "disk", "15", "clock", "4", "http", "15", "process", "8"];
    let output = Command::new(program).args(faults).output().unwrap();
    let told = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    assert!(output.status.success(), "{told}");
}

fn tune(dir: &Path) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("dyno"));
    let words = "tune --model Qwen/Qwen3-8B --engine emulated --hardware h100-sxm-80gb --workload random:32/4,n=8 --repeats 2 \
                 --search one-factor --flags block-size --out run";
    command.args(words.split_whitespace()).current_dir(dir).env("HOME", dir).env("DYNO_TEST_FAULTS", dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// The engine that the campaign in this directory has running.
fn engine(dir: &Path) -> Option<procfs::process::Process> {
    let ours = |p: &procfs::process::Process| {
        let serves = p.cmdline().is_ok_and(|c| c.iter().any(|w| w == "emulate"));
        serves && p.environ().is_ok_and(|e| e.get(OsStr::new("DYNO_TEST_FAULTS")).is_some_and(|v| v == dir))
    };
    procfs::process::all_processes().unwrap().flatten().find(ours)
}

#[test]
fn an_engine_that_somebody_kills_is_launched_again_and_its_plan_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = tune(dir.path()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    let out = dir.path().join("run");
    let measured = || read_journal(&out).map_or(0, |c| c.trials.len());
    let mut killed = false;
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "the campaign does not end");
        if !killed
            && measured() >= 1
            && let Some(engine) = engine(dir.path())
        {
            let pid = rustix::process::Pid::from_raw(engine.pid).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            // Somebody tidies up as well.
            std::fs::remove_file(out.join("run.json")).unwrap();
            killed = true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    assert!(killed && output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let trials = read_journal(&out).unwrap().trials;
    assert!(trials.iter().all(|t| matches!(t.result.outcome, Outcome::Measured { .. })), "none was blamed");
    let again: Vec<_> = trials.iter().filter_map(|t| t.result.first_failure.as_ref()).collect();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].class.id(), "killed-by-kernel");
    assert!(out.join("run.json").exists(), "the plan is written again");
    // What may hold what slipped through is this user's alone.
    for file in ["run.json", "trials.jsonl", "report.md", "report.html", "recommendation.json", "lock"] {
        let mode = out.join(file).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file} has mode {mode:o}");
    }
    for launch in std::fs::read_dir(out.join("trials")).unwrap().flatten() {
        for file in std::fs::read_dir(launch.path()).unwrap().flatten() {
            let mode = file.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", file.path().display());
        }
    }
}
