//! Engines that fail in each phase in each way, and engines that somebody outside kills or stops, under `dyno trial`.

use super::tally::Tally;
use super::world::{World, beside, finish};
use llm_dyno::launch::EngineKind::{self, Sglang, Trtllm, Vllm};
use llm_dyno::trial::{Outcome, TrialResult};
use procfs::process::Process;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::time::Duration;

/// A way to fail: phase, how, exit code or signal, requests served before, and the classes that are right for it; `good` where the
/// trial is measured all the same.
type Way = (&'static str, &'static str, i32, u32, &'static [&'static str]);

const WAYS: [Way; 20] = [
    ("start", "exit", 1, 0, &["unknown"]),
    ("start", "signal", 9, 0, &["killed-by-kernel"]),
    ("start", "signal", 4, 0, &["illegal-instruction"]),
    ("load", "signal", 11, 0, &["crash"]),
    ("load", "exit", 2, 0, &["unknown"]),
    ("kv-cache", "signal", 6, 0, &["crash"]),
    ("start", "hang", 0, 0, &["hang-at-start", "not-ready"]),
    ("warmup", "hang", 0, 0, &["hang-at-start", "not-ready"]),
    ("run", "garbage", 0, 0, &["bad-response"]),
    ("run", "garbage", 0, 1, &["bad-response"]),
    ("run", "error500", 0, 0, &["bad-response"]),
    ("run", "error500", 0, 5, &["invalid"]),
    ("run", "cut", 0, 5, &["invalid"]),
    ("run", "truncate", 0, 5, &["invalid"]),
    ("run", "hang", 0, 1, &["hang-in-run"]),
    ("run", "hang", 0, 5, &["invalid"]),
    ("run", "signal", 9, 3, &["killed-by-kernel"]),
    ("run", "exit", 1, 3, &["unknown"]),
    ("stop", "hang", 0, 0, &["good"]),
    ("stop", "exit", 3, 0, &["good"]),
];

/// What somebody outside does, and what may then be said: never anything that the candidate could be blamed for.
const OUTSIDE: [(Signal, &[&str]); 4] = [
    (Signal::KILL, &["killed-by-kernel", "good", "invalid"]),
    (Signal::SEGV, &["crash", "good", "invalid"]),
    // SGLang answers SIGTERM by killing itself.
    (Signal::TERM, &["terminated", "killed-by-kernel", "unknown", "good", "invalid"]),
    (Signal::STOP, &["good", "stopped"]),
];

pub(crate) fn run(faults: u64, seed: u64, tally: &mut Tally) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed + 5);
    for n in 0..faults {
        let engine = *[Vllm, Sglang, Trtllm].choose(&mut rng).expect("some");
        // Ways in turn, so that each comes; every third fault is from outside.
        if n % 3 == 2 {
            let (signal, right) = OUTSIDE.choose(&mut rng).expect("some");
            outside(engine, *signal, right, &mut rng, tally);
        } else {
            inside(engine, &WAYS[(n * 2 / 3) as usize % WAYS.len()], &mut rng, tally);
        }
    }
}

fn installed(world: &World, engine: EngineKind, script: &str) {
    let (name, version) = match engine {
        Vllm => ("vllm", "0.33.0"),
        Sglang => ("python3", "0.5.10"),
        _ => ("trtllm-serve", "1.2.0"),
    };
    let link = world.path("bin").join(name);
    std::os::unix::fs::symlink(beside("contract_engine"), &link).expect("a link");
    let text = format!("flavour = '{}'\nversion = '{version}'\n{script}", engine.id());
    std::fs::write(link.with_extension("toml"), text).expect("a script");
}

fn spec(world: &World, engine: EngineKind, (ready, run): (f64, f64), output: u32) -> std::path::PathBuf {
    let spec = json!({
        "id": "fault", "candidate": {"engine": engine.id()}, "model": "contract/model", "hardware": "a100-sxm-80gb",
        "workloads": [{"dataset": "random", "input_len": 32, "output_len": output, "num_prompts": 8, "max_concurrency": 4,
                       "seed": 1}],
        "ready_timeout_s": ready, "run_timeout_s": run, "figures": ["completed"], "stop_grace_s": 2.0,
        "dir": world.path("out"),
    });
    let file = world.path("spec.json");
    std::fs::write(&file, spec.to_string()).expect("a specification");
    file
}

/// A tree of processes, as orderly or as stubborn as drawn.
fn workers(rng: &mut ChaCha8Rng) -> String {
    let stubborn = rng.random_range(0..3) == 0;
    format!(
        "workers = [{{ name = 'core' }}, {{ name = 'worker', stubborn = {stubborn}, own_session = {stubborn} }}]\nphase_ms = {}\n",
        rng.random_range(1..30)
    )
}

fn inside(engine: EngineKind, way: &Way, rng: &mut ChaCha8Rng, tally: &mut Tally) {
    let (phase, how, code, after, right) = *way;
    let world = World::new();
    let script = format!(
        "{}failures = [{{ phase = '{phase}', how = '{how}', code = {code}, after = {after} }}]\n",
        workers(rng)
    );
    installed(&world, engine, &script);
    let hangs = how == "hang" && phase != "stop";
    let limits = (if hangs { 1.5 } else { 30.0 }, if hangs { 1.0 } else { 30.0 });
    // A busy machine needs a while for the start of an engine that hangs only in its run.
    let limits = if phase == "run" { (30.0, limits.1) } else { limits };
    let file = spec(&world, engine, limits, 5);
    let child = world.dyno().arg("trial").arg(file).spawn().expect("a start");
    let done = finish(child, Duration::from_secs(120));
    let held = done.sound().and_then(|()| told(&done.output.stdout, right));
    let held = held.map_err(|e| format!("{engine} {phase} {how}: {e}"));
    tally.book(&format!("engine: {how}"), done.peak_mb, held.and_then(|()| world.nothing_left()));
}

fn outside(engine: EngineKind, signal: Signal, right: &[&str], rng: &mut ChaCha8Rng, tally: &mut Tally) {
    let world = World::new();
    installed(&world, engine, &format!("{}ttft_ms = 50.0\ntpot_ms = 40.0\n", workers(rng)));
    let file = spec(&world, engine, (60.0, 60.0), 20);
    let child = world.dyno().arg("trial").arg(file).spawn().expect("a start");
    let moment = Duration::from_millis(rng.random_range(100..2500));
    let hit = std::thread::scope(|scope| {
        let hit = scope.spawn(|| {
            std::thread::sleep(moment);
            let engine = first(&world)?;
            kill_process(engine, signal).ok()?;
            if signal == Signal::STOP {
                std::thread::sleep(Duration::from_millis(1200));
                let _ = kill_process(engine, Signal::CONT);
            }
            Some(())
        });
        let done = finish(child, Duration::from_secs(120));
        (hit.join().expect("the hand from outside"), done)
    });
    let (_, done) = hit;
    let held = done.sound().and_then(|()| told(&done.output.stdout, right));
    let held = held.map_err(|e| format!("{engine} {} after {moment:?}: {e}", name(signal)));
    tally.book(
        &format!("engine: {} from outside", name(signal)),
        done.peak_mb,
        held.and_then(|()| world.nothing_left()),
    );
}

fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::KILL => "SIGKILL",
        Signal::SEGV => "SIGSEGV",
        Signal::TERM => "SIGTERM",
        _ => "SIGSTOP for 1.2 s",
    }
}

/// The engine's first process: the one that was given a port.
fn first(world: &World) -> Option<Pid> {
    let serves = |p: &Process| p.cmdline().is_ok_and(|c| c.iter().any(|w| w.starts_with("--port")));
    let mut found: Vec<i32> = world.processes().into_iter().filter(serves).map(|p| p.pid).collect();
    found.sort_unstable();
    found.first().and_then(|pid| Pid::from_raw(*pid))
}

/// Whether what the trial says is among what is right.
fn told(stdout: &[u8], right: &[&str]) -> Result<(), String> {
    let result: TrialResult = serde_json::from_slice(stdout)
        .map_err(|e| format!("the trial is lost: {e}: {}", String::from_utf8_lossy(stdout)))?;
    let said: Vec<String> = match &result.outcome {
        Outcome::Failed { failure, .. } => vec![failure.class.id().to_owned()],
        Outcome::Measured { runs, .. } if runs.last().is_some_and(|r| r.invalid.is_empty()) => {
            vec!["good".into()]
        }
        Outcome::Measured { runs, .. } => {
            let marks = runs.iter().flat_map(|r| &r.invalid);
            let stopped = marks.filter(|m| m.contains("stopped") || m.contains("waited")).count() > 0;
            vec![if stopped { "stopped" } else { "invalid" }.into()]
        }
    };
    if said.iter().all(|s| right.contains(&s.as_str())) {
        return Ok(());
    }
    Err(format!("blamed as {said:?}, not {right:?}: {:?}", result.outcome))
}
