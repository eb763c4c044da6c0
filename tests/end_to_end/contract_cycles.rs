//! Launch and stop, over and over, with a failure of every kind injected in every phase of every engine:
//! each trial gets its own class and phase, and no process, port, lease or temporary file is left.

use crate::contract::Bench;
use llm_dyno::launch::EngineKind::{self, Sglang, Trtllm, Vllm};
use llm_dyno::trial::Outcome;
use serde_json::json;
use std::path::Path;
use std::sync::Mutex;

/// What the trial must say.
#[derive(Clone, Copy)]
enum Expect {
    /// Class and phase of the failure.
    Failed(&'static str, &'static str),
    /// Measured without any objection.
    Good,
    /// Measured, but marked as not to be used, for a reason that holds this text.
    Invalid(&'static str),
}
use Expect::{Failed, Good, Invalid};

struct Case {
    engine: EngineKind,
    /// Lines of the script.
    script: String,
    expect: Expect,
    /// Processes had to be killed after the stop.
    leftovers: bool,
}

/// A failure in a phase; the log is an excerpt of the corpus, or empty.
fn failure(engine: EngineKind, phase: &str, how: &str, excerpt: &str, expect: Expect) -> Case {
    let log = if excerpt.is_empty() { String::new() } else { corpus(excerpt) };
    let script = format!(
        "{}failures = [{{ phase = '{phase}', how = '{how}', log = '''\n{log}''' }}]\n",
        tree(engine, false)
    );
    Case { engine, script, expect, leftovers: false }
}

impl Case {
    fn with(mut self, lines: &str) -> Case {
        self.script = format!("{lines}\n{}", self.script);
        self
    }

    /// Another exit code or signal, or a number of requests that are served before.
    fn set(mut self, key: &str, value: i64) -> Case {
        self.script = self.script.replace(", log =", &format!(", {key} = {value}, log ="));
        self
    }

    fn leaves(mut self) -> Case {
        self.leftovers = true;
        self
    }
}

fn corpus(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/corpus/{file}.log"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The process tree, as orderly or as stubborn as engines are.
fn tree(engine: EngineKind, stubborn: bool) -> String {
    let (first, second) = match engine {
        Vllm => ("VLLM::EngineCore", "VLLM::Worker"),
        Sglang => ("sglang::scheduler", "sglang::detokenizer"),
        _ => ("mpi4py.futures", "orted"),
    };
    format!(
        "workers = [{{ name = '{first}' }}, {{ name = '{second}', stubborn = {stubborn}, own_session = {stubborn} }}]\n"
    )
}

/// Failures that every engine can have, in its own words where it has any.
fn common(engine: EngineKind) -> Vec<Case> {
    let f = |phase, how, log: &str, expect| failure(engine, phase, how, log, expect);
    let plain = |lines: &str, expect| Case {
        engine,
        script: format!("{lines}\n{}", tree(engine, false)),
        expect,
        leftovers: false,
    };
    vec![
        plain("", Good),
        // Start.
        f("start", "exit", "", Failed("unknown", "start")),
        f("start", "signal", "", Failed("killed-by-kernel", "start")).set("code", 9),
        f("start", "signal", "", Failed("illegal-instruction", "start")).set("code", 4),
        f("start", "hang", "", Failed("hang-at-start", "start")),
        // Load.
        f("load", "signal", "", Failed("crash", "load")).set("code", 11),
        f("load", "hang", "", Failed("hang-at-start", "load")).with("deaf_while_starting = true").leaves(),
        // KV cache, warm-up.
        f("kv-cache", "hang", "", Failed("hang-at-start", "kv-cache")),
        f("warmup", "hang", "", Failed("hang-at-start", "warmup")),
        // Run.
        f("run", "garbage", "", Failed("bad-response", "start")),
        f("run", "garbage", "", Failed("bad-response", "run")).set("after", 1),
        f("run", "error500", "", Failed("bad-response", "start")),
        f("run", "error500", "", Invalid("failed")).set("after", 5),
        f("run", "cut", "", Invalid("failed")).set("after", 5),
        f("run", "truncate", "", Invalid("failed")).set("after", 5),
        f("run", "hang", "", Failed("hang-in-run", "run")).set("after", 1),
        f("run", "slow-death", "", Invalid("failed")).set("after", 1).with("tpot_ms = 20.0"),
        f("run", "signal", "", Failed("killed-by-kernel", "run")).set("after", 3).set("code", 9),
        f("run", "exit", "", Failed("unknown", "run")).set("after", 3),
        // Stop.
        f("stop", "hang", "", Good).leaves(),
        f("stop", "exit", "", Good).set("code", 3),
        Case { script: tree(engine, true), leftovers: true, ..plain("", Good) },
        plain("deaf = true", Good).leaves(),
    ]
}

/// Failures in the words of one engine.
fn own(engine: EngineKind) -> Vec<Case> {
    let f = |phase, how, log: &str, expect| failure(engine, phase, how, log, expect);
    match engine {
        Vllm => vec![
            f("load", "exit", "vllm/oom-weights-0.11", Failed("out-of-memory", "load")),
            f("kv-cache", "exit", "vllm/no-kv-room", Failed("no-kv-room", "kv-cache")),
            f("kv-cache", "exit", "vllm/too-long-0.33", Failed("too-long", "kv-cache")),
            f("warmup", "exit", "vllm/oom-capture-0.33", Failed("out-of-memory", "warmup")),
            f("warmup", "linger", "vllm/nccl", Failed("communication", "warmup")),
            f("run", "core-death", "vllm/illegal-access-run", Failed("cuda-error", "run")).set("after", 3),
            f("run", "core-death", "vllm/core-killed-run", Failed("engine-core-death", "run"))
                .set("after", 3),
        ],
        Sglang => vec![
            f("load", "signal", "sglang/oom-weights", Failed("out-of-memory", "load")).set("code", 9),
            f("kv-cache", "signal", "sglang/no-kv-room", Failed("no-kv-room", "kv-cache")).set("code", 9),
            f("warmup", "signal", "sglang/oom-capture-0.5.4", Failed("out-of-memory", "warmup"))
                .set("code", 9),
            f("run", "signal", "sglang/watchdog-run", Failed("watchdog", "run"))
                .set("after", 3)
                .set("code", 9),
        ],
        _ => vec![
            f("load", "linger", "trtllm/mxfp4-sm80", Failed("unsupported-quantization", "load")),
            f("kv-cache", "exit", "trtllm/oom-executor-kv", Failed("out-of-memory", "kv-cache")),
            f("warmup", "linger", "trtllm/sinks-sm90", Failed("unsupported-sinks", "warmup")),
            f("start", "exit", "trtllm/yaml-unknown-key", Failed("bad-flag", "start")),
        ],
    }
}

/// What is wrong with the trial of a case; nothing when it is as expected.
fn fault(case: &Case) -> Option<String> {
    let bench = Bench::new();
    let times =
        if case.script.contains("tpot_ms") { "ttft_ms = 5.0\n" } else { "ttft_ms = 5.0\ntpot_ms = 1.0\n" };
    bench.install(case.engine, &format!("phase_ms = 3\n{times}{}", case.script));
    let mut spec = bench.spec(case.engine);
    let hangs = matches!(case.expect, Failed("hang-at-start", _));
    spec["ready_timeout_s"] = json!(if hangs { 0.8 } else { 20.0 });
    let runs_out = case.script.contains("slow-death") || case.script.contains("phase = 'run', how = 'hang'");
    spec["run_timeout_s"] = json!(if runs_out { 1.0 } else { 20.0 });
    spec["stop_grace_s"] = json!(if case.leftovers { 0.4 } else { 5.0 });
    let trial = bench.trial(&spec);
    let said = match (&trial.result.outcome, case.expect) {
        (Outcome::Failed { failure, .. }, Failed(class, phase)) => {
            let right = failure.class.id() == class && failure.phase == phase && trial.code == Some(1);
            (!right).then(|| format!("wanted {class}, {phase}: {failure:?}"))
        }
        (Outcome::Measured { runs, .. }, Good) => {
            let right = runs.len() == 1 && runs[0].invalid.is_empty() && trial.code == Some(0);
            (!right).then(|| format!("wanted a good run: {runs:?}"))
        }
        (Outcome::Measured { runs, .. }, Invalid(text)) => {
            let right = runs.iter().all(|r| r.invalid.iter().any(|i| i.contains(text)));
            (!right).then(|| format!("wanted a run marked for `{text}`: {runs:?}"))
        }
        (Outcome::Failed { failure, .. }, _) => Some(format!("wanted a measurement: {failure:?}")),
        (Outcome::Measured { runs, .. }, Failed(class, _)) => {
            Some(format!("wanted {class}: {:?}", runs.iter().map(|r| &r.invalid).collect::<Vec<_>>()))
        }
    };
    let stubborn = !trial.result.leftovers.is_empty();
    let said =
        said.or((stubborn != case.leftovers).then(|| format!("leftovers: {:?}", trial.result.leftovers)));
    said.map(|what| format!("{}: {}\n{}{what}\n", case.engine, case.script.trim(), trial.log()))
}

/// A trial is mostly waiting, so several run at once.
fn cycle(cases: &[Case]) {
    let queue = Mutex::new(cases.iter());
    let faults = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let Some(case) = queue.lock().expect("a queue").next() else { break };
                    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| fault(case)))
                        .unwrap_or_else(|_| Some(format!("{}: {} panicked", case.engine, case.script)));
                    faults.lock().expect("a list").extend(found);
                }
            });
        }
    });
    let faults = faults.into_inner().expect("a list");
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), cases.len(), faults.join("\n"));
}

#[test]
fn every_failure_in_every_phase_is_told_apart_and_nothing_is_left() {
    let cases: Vec<Case> =
        [Vllm, Sglang, Trtllm].into_iter().flat_map(|e| common(e).into_iter().chain(own(e))).collect();
    assert!(cases.len() >= 50, "{} cycles", cases.len());
    cycle(&cases);
}
