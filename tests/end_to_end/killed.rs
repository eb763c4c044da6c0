//! `kill -9` of a campaign at seeded moments, again and again: every resume goes on where the record ends, no trial is lost or
//! made twice, nothing is left running, and the campaign comes to its verdict.

use llm_dyno::launch::Candidate;
use llm_dyno::store::read_journal;
use procfs::process::all_processes;
use rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const MARK: &str = "DYNO_TEST_KILLED";

/// A campaign of the embedded engine in `out`, to be begun: one flag, which brings about a tenth.
fn begin<'a>(workload: &'a str, out: &'a str) -> Vec<&'a str> {
    const LAUNCH: [&str; 13] = [
        "tune",
        "--model",
        "openai/gpt-oss-20b",
        "--engine",
        "emulated",
        "--hardware",
        "a100-sxm-80gb",
        "--repeats",
        "2",
        "--search",
        "one-factor",
        "--flags",
        "async-scheduling",
    ];
    const ENGINE: [&str; 3] = ["--", "--emulate-version", "0.11.0"];
    [&LAUNCH[..], &["--workload", workload, "--out", out], &ENGINE].concat()
}

fn dyno(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("dyno"));
    command
        .args(args)
        .env(MARK, dir)
        .env("HOME", dir)
        .env("TMPDIR", dir.join("tmp"))
        .env_remove("XDG_STATE_HOME");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn living(dir: &Path) -> usize {
    let ours = |p: &procfs::process::Process| {
        p.stat().is_ok_and(|s| !matches!(s.state, 'Z' | 'X'))
            && p.environ().is_ok_and(|e| e.get(OsStr::new(MARK)).is_some_and(|v| v == dir))
    };
    all_processes().unwrap().filter_map(Result::ok).filter(ours).count()
}

fn nothing_left(dir: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let temporary = || std::fs::read_dir(dir.join("tmp")).unwrap().count();
    while living(dir) > 0 || temporary() > 0 {
        assert!(Instant::now() < deadline, "{} processes, {} temporary files", living(dir), temporary());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Trials of the record as far as it stands: who was measured, in which order, in which stage.
fn trials(out: &Path) -> Vec<(u32, String, String)> {
    let Ok(contents) = read_journal(out) else { return Vec::new() };
    assert!(contents.passed_over.is_empty(), "{:?}", contents.passed_over);
    contents.trials.iter().map(|t| (t.seq, t.result.spec.id.clone(), t.stage.to_string())).collect()
}

/// Moments that are tried: 12, or as many as the variable says. `tests/end_to_end/faults.rs` has twenty more, on the virtual clock.
fn moments() -> u32 {
    std::env::var("DYNO_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(12)
}

/// The verdict of a record that holds no trial for the same purpose twice.
fn concluded(out: &Path) -> Candidate {
    let contents = read_journal(out).unwrap();
    let verdict = contents.verdict.expect("a verdict");
    assert!(verdict.complete && out.join("report.md").exists());
    // No trial stands for the same purpose twice: none was made again that the record held.
    let purposes = contents.trials.iter().map(|t| (t.stage, t.launch, t.result.spec.candidate.id()));
    let mut purposes: Vec<_> = purposes.map(|p| format!("{p:?}")).collect();
    let all = purposes.len();
    purposes.sort();
    purposes.dedup();
    assert_eq!(purposes.len(), all, "{purposes:?}");
    verdict.compared.expect("a comparison").winner
}

#[test]
fn a_campaign_survives_every_kill() {
    let world = tempfile::tempdir().unwrap();
    std::fs::create_dir(world.path().join("tmp")).unwrap();
    let quiet = world.path().join("undisturbed");
    let args = begin("random:256/24,n=16", quiet.to_str().unwrap());
    assert!(dyno(world.path(), &args).status().unwrap().success());
    let undisturbed = concluded(&quiet);
    assert!(undisturbed.flags.contains_key("async-scheduling"), "{undisturbed:?}");
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(16);
    let (mut kills, mut campaign) = (0, 0);
    let mut stages = BTreeSet::new();
    while kills < moments() {
        let out = world.path().join(format!("run-{campaign}"));
        campaign += 1;
        let name = out.to_str().unwrap().to_owned();
        let begin = begin("random:256/24,n=16", &name);
        let mut before = Vec::new();
        loop {
            let resume = ["tune", "--resume", &name];
            let args: &[&str] = if out.join("run.json").exists() { &resume } else { &begin };
            let mut child = dyno(world.path(), args).spawn().unwrap();
            let moment = Instant::now() + Duration::from_millis(rng.random_range(20..5000));
            while Instant::now() < moment && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(5));
            }
            let ended = child.try_wait().unwrap();
            let _ = child.kill();
            let output = child.wait_with_output().unwrap();
            nothing_left(world.path());
            let now = trials(&out);
            assert!(now.starts_with(&before), "a trial was lost: {before:?}, then {now:?}");
            let mut ids: Vec<_> = now.iter().map(|t| &t.0).collect();
            ids.dedup();
            assert_eq!(ids.len(), now.len(), "a trial stands twice: {now:?}");
            stages.extend(now.last().map(|t| t.2.clone()));
            before = now;
            if let Some(status) = ended {
                assert!(status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                break;
            }
            kills += 1;
        }
        assert_eq!(concluded(&out), undisturbed, "the verdict after {kills} kills");
    }
    assert!(stages.len() >= 2, "the kills fell into one stage: {stages:?}");
}

/// Connections that are open to the embedded engine of this directory, and its process; None between two launches.
fn served(dir: &Path) -> Option<(Pid, usize)> {
    let serves = |p: &procfs::process::Process| {
        p.cmdline().is_ok_and(|c| c.iter().any(|w| w == "emulate"))
            && p.environ().is_ok_and(|e| e.get(OsStr::new(MARK)).is_some_and(|v| v == dir))
    };
    let engine = all_processes().unwrap().filter_map(Result::ok).find(serves)?;
    let words = engine.cmdline().ok()?;
    let port: u16 = words.get(words.iter().position(|w| w == "--port")? + 1)?.parse().ok()?;
    let open = |c: &procfs::net::TcpNetEntry| {
        c.local_address.port() == port && c.state == procfs::net::TcpState::Established
    };
    Some((Pid::from_raw(engine.pid)?, procfs::net::tcp().ok()?.iter().filter(|c| open(c)).count()))
}

/// The engine stands still during the only run of the search that has the better flag, for many times that run's length and for
/// longer than the race of the candidates waits for one that is slow.
#[test]
fn one_stalled_run_decides_nothing() {
    let world = tempfile::tempdir().unwrap();
    std::fs::create_dir(world.path().join("tmp")).unwrap();
    let out = world.path().join("run");
    let mut child = dyno(world.path(), &begin("random:256/24,n=16", out.to_str().unwrap())).spawn().unwrap();
    let mut stalled = false;
    while child.try_wait().unwrap().is_none() {
        // All sixteen are sent at once; readiness and warm-ups open fewer.
        if !stalled
            && trials(&out).len() == 2
            && let Some((engine, 12..)) = served(world.path())
        {
            kill_process(engine, Signal::STOP).unwrap();
            std::thread::sleep(Duration::from_secs(14));
            kill_process(engine, Signal::CONT).unwrap();
            stalled = true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    assert!(stalled && output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let record = std::fs::read_to_string(out.join("trials.jsonl")).unwrap();
    assert!(record.contains("the run was made again"), "{record}");
    assert!(concluded(&out).flags.contains_key("async-scheduling"), "the verdict of an undisturbed campaign");
}

#[test]
fn a_workloads_file_that_changed_is_told() {
    let world = tempfile::tempdir().unwrap();
    std::fs::create_dir(world.path().join("tmp")).unwrap();
    let (out, file) = (world.path().join("run"), world.path().join("w.jsonl"));
    let request = |text: &str| format!("{{\"prompt\":\"{text}\",\"output_tokens\":4}}\n").repeat(4);
    std::fs::write(&file, request("one two")).unwrap();
    let workload = format!("custom:{}", file.display());
    let begin = begin(&workload, out.to_str().unwrap());
    let mut child = dyno(world.path(), &begin).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !out.join("trials.jsonl").exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::write(&file, request("one two three")).unwrap();
    let output = dyno(world.path(), &["tune", "--resume", out.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("inputs") && said.contains("another plan"), "{said}");
    nothing_left(world.path());
}
