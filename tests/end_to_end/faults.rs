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

/// A limit on memory for dyno and its engine, a log that is flooded while requests run, and words that a shell would have to quote:
/// none of it stops a campaign or its resume.
#[test]
fn a_campaign_under_a_memory_limit_with_a_flooded_log_goes_on_whatever_its_words() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("an engine's place");
    std::fs::create_dir(&place).unwrap();
    let engine = place.join("engine.sh");
    let dyno = assert_cmd::cargo::cargo_bin!("dyno");
    let flood = "(sleep 1; yes 'INFO 01-01 00:00:00 [x.py:1] a line of a flood, and of no failure' | head -c 20000000) &";
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --note ] && [ \"$2\" = \"it's 'one' word\" ] || {{ echo \"wrong words: $*\"; exit 9; }}\nshift 2\n{flood}\nexec {} emulate \"$@\"\n",
        dyno.display()
    );
    std::fs::write(&engine, script).unwrap();
    std::fs::set_permissions(&engine, std::fs::Permissions::from_mode(0o755)).unwrap();
    let engine = format!("\"{}\" --note \"it's 'one' word\"", engine.display());
    let limited = |args: &[&str]| {
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -v 3000000; exec \"$@\"", "sh"])
            .arg(dyno)
            .args(args)
            .current_dir(dir.path());
        let output = command.env("HOME", dir.path()).stdin(Stdio::null()).output().unwrap();
        let told = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
        // On a busy machine a run may be invalid; nothing else may go wrong.
        let fine = output.status.success() || output.status.code() == Some(3) && told.contains("starved");
        assert!(fine && !told.contains("panicked"), "{:?}: {told}", output.status);
        read_journal(&dir.path().join("run")).unwrap().trials.len()
    };
    let plan = "tune --model Qwen/Qwen3-8B --engine emulated --hardware h100-sxm-80gb --workload random:32/64,n=16 --repeats 2 --search one-factor \
                --flags block-size --max-trials 10 --slo ttft.p99=900000us --objective ttft.p99 --out run --engine-command";
    let mut args: Vec<&str> = plan.split_whitespace().collect();
    args.push(&engine);
    let mut all = limited(&args);
    for _ in 0..2 {
        // A machine so busy that the defaults gave no valid run ends the campaign before its search.
        if all < 3 {
            std::fs::remove_dir_all(dir.path().join("run")).unwrap();
            all = limited(&args);
        }
    }
    assert!(all >= 3, "{all} trials");
    // The second half of the record is lost: it is measured again, and nothing besides.
    let record = dir.path().join("run/trials.jsonl");
    let text = std::fs::read_to_string(&record).unwrap();
    let kept: Vec<&str> = text.lines().take(text.lines().count() / 2).collect();
    std::fs::write(&record, kept.join("\n") + "\n").unwrap();
    let left = read_journal(&dir.path().join("run")).unwrap().trials.len();
    assert!(left < all, "{left} of {all} trials are left");
    let again = limited(&["tune", "--resume", "run"]);
    // A run that the busy machine spoilt is made again, also where that is one launch more than was asked for.
    assert!(again > left && again <= 12, "{again} trials after {left} of {all}");
    assert_eq!(limited(&["tune", "--resume", "run"]), again, "a campaign at its end launches nothing more");
}
