//! `dyno trial` as a program: every way in which an engine can fail becomes a result of the right class, and
//! nothing of the launch is left running.

use serde_json::{Value, json};
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A trial of the embedded engine in a directory of its own.
struct Trial {
    dir: tempfile::TempDir,
    spec: Value,
}

impl Trial {
    fn new(name: &str, args: &[&str]) -> Trial {
        let dir = tempfile::tempdir().unwrap();
        let spec = json!({
            "id": format!("{name}-{}", std::process::id()),
            "candidate": {"engine": "emulated"},
            "model": "Qwen/Qwen3-8B",
            "hardware": "a100-sxm-80gb",
            "fixed_args": args,
            "workloads": [{"dataset": "random", "input_len": 64, "output_len": 4, "num_prompts": 12, "seed": 1}],
            "ready_timeout_s": 60.0,
            "run_timeout_s": 60.0,
            // A count: a busy machine that makes the client late does not make these runs invalid.
            "figures": ["completed"],
            "dir": dir.path().join("trial"),
        });
        Trial { dir, spec }
    }

    fn set(mut self, key: &str, value: Value) -> Trial {
        self.spec[key] = value;
        self
    }

    fn command(&self) -> Command {
        let file = self.dir.path().join("spec.json");
        std::fs::write(&file, self.spec.to_string()).unwrap();
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("dyno"));
        command.arg("trial").arg(file).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end: exit code, result, and what it said.
    fn run(&self) -> (i32, Value, String) {
        let out = self.command().output().unwrap();
        let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
        let result = serde_json::from_slice(&out.stdout).unwrap_or(Value::Null);
        self.assert_nothing_left();
        (out.status.code().unwrap_or(-1), result, stderr)
    }

    /// The failure of a trial that must fail.
    fn failure(&self) -> Value {
        let (code, result, stderr) = self.run();
        assert_eq!(result["outcome"], "failed", "{result:#} {stderr}");
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains("hint: "), "{stderr}");
        result["failure"].clone()
    }

    /// Live processes that carry this trial's marker.
    fn processes(&self) -> Vec<i32> {
        let tail = format!("/{}", self.spec["id"].as_str().unwrap());
        procfs::process::all_processes()
            .unwrap()
            .filter_map(Result::ok)
            .filter(|p| p.stat().is_ok_and(|s| s.state != 'Z'))
            .filter(|p| {
                p.environ().is_ok_and(|e| {
                    e.get(std::ffi::OsStr::new("DYNO_TRIAL"))
                        .is_some_and(|v| v.to_string_lossy().ends_with(&tail))
                })
            })
            .map(|p| p.pid)
            .collect()
    }

    fn assert_nothing_left(&self) {
        assert_eq!(self.processes(), Vec::<i32>::new());
        assert!(!self.dir.path().join("trial/engine.lease.json").exists(), "the lease is still there");
    }

    /// Starts it and waits until the engine's log says this.
    fn start_until(&self, text: &str) -> Child {
        let child = self.command().spawn().unwrap();
        let log = self.dir.path().join("trial/engine.log");
        let deadline = Instant::now() + Duration::from_secs(60);
        while !std::fs::read_to_string(&log).unwrap_or_default().contains(text) {
            assert!(Instant::now() < deadline, "the engine never said `{text}`");
            std::thread::sleep(Duration::from_millis(50));
        }
        child
    }
}

fn text<'v>(v: &'v Value, key: &str) -> &'v str {
    v[key].as_str().unwrap_or_default()
}

#[test]
fn replicas_are_measured_as_one_system_and_none_is_left() {
    let two = json!({"engine": "emulated", "flags": {"replicas": 2}});
    let trial = Trial::new("replicas", &[]).set("candidate", two.clone()).set("num_gpus", json!(2));
    let (code, result, stderr) = trial.run();
    assert_eq!((code, text(&result, "outcome")), (0, "measured"), "{stderr}");
    let seen = &result["runs"][0]["observation"];
    assert_eq!((seen["replicas"].as_u64(), seen["num_gpus"].as_u64()), (Some(2), Some(2)), "{seen:#}");
    assert_eq!(seen["result"]["completed"], 12.0, "{seen:#}");
    // Each had one GPU, so that none is laid over two.
    assert!(!seen["serve_command"].as_str().unwrap().contains("tensor-parallel-size"));
    for log in ["engine.log", "engine-1.log"] {
        assert!(trial.dir.path().join("trial").join(log).exists(), "{log}");
    }
    // Two that cannot share the GPUs.
    let three = Trial::new("uneven", &[]).set("candidate", two.clone()).set("num_gpus", json!(3));
    assert!(text(&three.failure(), "root_cause").contains("2 replicas cannot share 3 GPUs"));
    // A router that ends takes the whole system with it.
    let router = json!(["sh", "-c", "echo no such backend; exit 3", "{urls}", "{port}"]);
    let routed = Trial::new("router", &[]).set("candidate", two.clone()).set("num_gpus", json!(2));
    let failure = routed.set("router", router).failure();
    assert!(text(&failure, "log").ends_with("router.log"), "{failure:#}");
    assert_eq!(text(&failure, "exit"), "exit code 3", "{failure:#}");
}

#[test]
fn a_replica_that_dies_is_the_candidates_failure_and_the_others_are_stopped() {
    let two = json!({"engine": "emulated", "flags": {"replicas": 2}});
    let long =
        json!([{"dataset": "random", "input_len": 64, "output_len": 2000, "num_prompts": 12, "seed": 1}]);
    let trial =
        Trial::new("dies", &[]).set("candidate", two).set("num_gpus", json!(2)).set("workloads", long);
    let child = trial.start_until("Application startup complete");
    std::thread::sleep(Duration::from_secs(2));
    let second = trial.processes().into_iter().max().unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(second).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let out = child.wait_with_output().unwrap();
    let result: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(result["outcome"], "failed", "{result:#}");
    assert!(text(&result["failure"], "log").ends_with("engine-1.log"), "{:#}", result["failure"]);
    trial.assert_nothing_left();
}

/// The words by which the nodes of a launch find each other.
const MEET: [&str; 9] = [
    "--nnodes",
    "{num_nodes}",
    "--node-rank",
    "{node_rank}",
    "--master-addr",
    "{head_address}",
    "--master-port",
    "{head_port}",
    "{headless}",
];

#[test]
fn an_engine_over_two_nodes_is_measured_and_a_rank_that_dies_is_told() {
    let over = |name: &str, more: &[&str]| {
        let args = [&MEET[..], more].concat();
        Trial::new(name, &args).set("nodes", json!(["127.0.0.1", "localhost"])).set("num_gpus", json!(2))
    };
    let trial = over("nodes", &[]);
    let (code, result, stderr) = trial.run();
    assert_eq!((code, text(&result, "outcome")), (0, "measured"), "{stderr} {result:#}");
    let log = |name: &str| std::fs::read_to_string(trial.dir.path().join("trial").join(name)).unwrap();
    assert!(log("engine.log").contains("2 nodes have met"), "{}", log("engine.log"));
    assert!(log("engine-1.log").contains("rank 1 has joined"), "{}", log("engine-1.log"));
    // One node's process is killed in the run.
    let long =
        json!([{"dataset": "random", "input_len": 64, "output_len": 2000, "num_prompts": 12, "seed": 1}]);
    let trial = over("rank", &[]).set("workloads", long);
    let child = trial.start_until("Application startup complete");
    std::thread::sleep(Duration::from_secs(2));
    let rank = trial.processes().into_iter().find(|pid| {
        let words = procfs::process::Process::new(*pid).and_then(|p| p.cmdline()).unwrap_or_default();
        words.iter().any(|w| w == "--headless")
    });
    let rank = rustix::process::Pid::from_raw(rank.unwrap()).unwrap();
    rustix::process::kill_process(rank, rustix::process::Signal::KILL).unwrap();
    let result: Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
    let failure = &result["failure"];
    let cause = text(failure, "root_cause");
    assert!(
        cause.starts_with("rank 1 on localhost: ") || cause.contains("remote process exited"),
        "{failure:#}"
    );
    trial.assert_nothing_left();
    // Nothing says where the number of a node goes.
    let blind = Trial::new("blind", &[]).set("nodes", json!(["127.0.0.1", "localhost"]));
    assert!(text(&blind.failure(), "hint").contains("{node_rank}"));
}

#[test]
fn a_good_trial_is_measured_and_leaves_nothing() {
    let (code, result, stderr) = Trial::new("good", &["--max-num-seqs", "8"]).set("repeats", json!(2)).run();
    assert_eq!((code, text(&result, "outcome")), (0, "measured"), "{stderr}");
    assert_eq!(result["runs"].as_array().unwrap().len(), 2);
    assert_eq!(result["leftovers"], json!([]));
    let run = &result["runs"][0];
    assert_eq!(run["observation"]["result"]["completed"], 12);
    assert_eq!(run["observation"]["engine"], "emulated");
    assert_eq!(run["cache_hit_ratio"], 0.0);
    assert!(result["facts"]["resolved"]["num_gpu_blocks"].as_u64().unwrap() > 1000);
}

#[test]
fn failures_at_the_start_have_their_class() {
    for (fault, class, phase) in [
        ("start-oom", "out-of-memory", None),
        ("start-exit", "", Some("start")),
        ("start-hang", "hang-at-start", Some("start")),
    ] {
        let trial = Trial::new(fault, &["--fault", fault]).set("ready_timeout_s", json!(3.0));
        let failure = trial.failure();
        if !class.is_empty() {
            assert_eq!(text(&failure, "class"), class, "{failure:#}");
        }
        if let Some(phase) = phase {
            assert_eq!(text(&failure, "phase"), phase, "{failure:#}");
        }
        assert!(!text(&failure, "root_cause").is_empty());
        assert!(Path::new(text(&failure, "log")).exists(), "{failure:#}");
    }
}

#[test]
fn failures_in_a_run_have_their_class() {
    for (fault, class) in [
        ("die-after=5", "engine-core-death"),
        ("oom-after=5", "out-of-memory"),
        ("stall-after=3", "hang-in-run"),
        ("http-500-share=1", "bad-response"),
    ] {
        let trial = Trial::new(fault, &["--fault", fault]).set("run_timeout_s", json!(4.0));
        let (_, result, _) = trial.run();
        // The probe request is the first to arrive: it meets a server that fails from the beginning.
        let failure = &result["failure"];
        assert_eq!(text(failure, "class"), class, "{fault}: {failure:#}");
    }
}

#[test]
fn a_server_that_answers_garbage_is_found_by_the_probe() {
    let failure = Trial::new("garbage", &["--fault", "garbage"]).failure();
    assert_eq!(text(&failure, "class"), "bad-response", "{failure:#}");
    assert!(text(&failure, "root_cause").contains("probe"), "{failure:#}");
}

#[test]
fn lost_requests_make_a_run_invalid() {
    let (code, result, _) = Trial::new("lossy", &["--fault", "http-500-share=0.25"]).run();
    assert_eq!(code, 0);
    let run = &result["runs"][0];
    assert!(run["invalid"].to_string().contains("http-500"), "{:#}", run["invalid"]);
    assert!(run["observation"]["result"]["request_loss_rate"].as_f64().unwrap() > 0.1);
}

#[test]
fn an_engine_that_ignores_the_stop_is_killed_and_told_of() {
    let (_, result, _) = Trial::new("deaf", &["--fault", "ignore-term"]).run();
    assert_eq!(text(&result, "outcome"), "measured");
    assert!(result["leftovers"][0].as_str().unwrap().contains("did not end in time, killed"), "{result:#}");
}

#[test]
fn refusals_of_the_engine_are_classified() {
    for (args, class) in [
        (vec!["--gpu-memory-utilization", "0.18"], "no-kv-room"),
        (vec!["--max-model-len", "10000000"], "too-long"),
        (vec!["--max-num-seqs", "64", "--max-num-batched-tokens", "32"], "bad-combination"),
        (vec!["--no-such-flag"], "bad-flag"),
        (vec!["--max-num-seqs", "many"], "bad-value"),
    ] {
        let failure = Trial::new("refusal", &args).failure();
        assert_eq!(text(&failure, "class"), class, "{args:?}: {failure:#}");
    }
}

#[test]
fn a_port_in_use_is_found_before_the_launch() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port().to_string();
    let failure = Trial::new("port", &["--port", &port]).failure();
    assert_eq!(text(&failure, "class"), "port-in-use");
    assert!(text(&failure, "root_cause").contains(&port));
}

#[test]
fn an_engine_that_is_not_there_says_what_to_install() {
    let trial = Trial::new("missing", &[])
        .set("candidate", json!({"engine": "vllm"}))
        .set("program", json!(["/no/such/vllm"]));
    let failure = trial.failure();
    assert_eq!(text(&failure, "class"), "not-installed");
    assert!(text(&failure, "hint").contains("--engine emulated"), "{failure:#}");
}

#[test]
fn a_program_that_is_no_engine_is_a_failed_launch() {
    let trial = Trial::new("true", &[])
        .set("candidate", json!({"engine": "vllm"}))
        .set("program", json!(["sh", "-c", "echo 'Segmentation fault (core dumped)' >&2; exit 139"]));
    let failure = trial.failure();
    assert_eq!((text(&failure, "class"), text(&failure, "exit")), ("crash", "exit code 139"), "{failure:#}");
}

#[test]
fn a_flag_that_is_given_twice_is_refused() {
    let trial = Trial::new("twice", &["--max-num-seqs", "4"])
        .set("candidate", json!({"engine": "emulated", "flags": {"max-num-seqs": 8}}));
    assert_eq!(text(&trial.failure(), "class"), "flag-conflict");
}

#[test]
fn secrets_reach_no_record() {
    let key = "sk-abcdefghijklmnopqrstuvwxyz";
    let trial = Trial::new("secret", &["--fault", "start-exit", "--api-key", key])
        .set("fixed_env", json!({"HF_TOKEN": "hf_abcdefghijklmnopqrstuvwxyz"}));
    let (_, result, stderr) = trial.run();
    let mut kept = format!("{result} {stderr}");
    for name in ["spec.json", "engine.log"] {
        let file = trial.dir.path().join("trial").join(name);
        std::fs::File::open(file).unwrap().read_to_string(&mut kept).unwrap();
    }
    assert!(!kept.contains(key) && !kept.contains("hf_abc"), "{kept}");
    assert!(kept.contains("<redacted>"));
}

#[test]
fn an_interrupt_stops_the_engine_and_exits_with_130() {
    let trial = Trial::new("interrupt", &["--fault", "stall-after=2"]);
    let child = trial.start_until("Application startup complete");
    signal(child.id() as i32, rustix::process::Signal::INT);
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(130), "{}", String::from_utf8_lossy(&out.stderr));
    trial.assert_nothing_left();
}

#[test]
fn what_a_killed_dyno_and_its_guard_left_is_ended_by_the_next_start() {
    let trial = Trial::new("killed", &["--fault", "stall-after=2"]);
    let mut child = trial.start_until("Application startup complete");
    // Without its guard the engine lives on, and only the lease tells of it.
    let guard = |p: &procfs::process::Process| {
        p.stat().is_ok_and(|s| s.ppid == child.id() as i32)
            && p.cmdline().is_ok_and(|c| c.last().is_some_and(|w| w == "guard"))
    };
    let guards: Vec<_> =
        procfs::process::all_processes().unwrap().filter_map(Result::ok).filter(guard).collect();
    assert_eq!(guards.len(), 1);
    signal(guards[0].pid, rustix::process::Signal::KILL);
    signal(child.id() as i32, rustix::process::Signal::KILL);
    child.wait().unwrap();
    assert_eq!(trial.processes().len(), 1, "the engine outlives a killed dyno");
    let again = trial.set("fixed_args", json!([]));
    let (code, _, stderr) = again.run();
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("ended what an earlier run left"), "{stderr}");
}

#[test]
fn a_bad_specification_names_every_problem() {
    let trial = Trial::new("bad", &[]).set("candidate", json!({"engine": "vlllm"}));
    let out = trial.command().output().unwrap();
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr.contains("candidate.engine"), "{stderr}");
    let trial = Trial::new("bad", &[]).set("ready_timeout_s", json!(-1.0)).set("num_gpus", json!(0));
    let out = trial.command().output().unwrap();
    let stderr = String::from_utf8_lossy(&out.stderr);
    for key in ["ready_timeout_s", "num_gpus"] {
        assert!(stderr.contains(key), "{key}: {stderr}");
    }
    let torn = trial.dir.path().join("torn.json");
    std::fs::write(&torn, "{\"id\": 3").unwrap();
    let out = Command::new(assert_cmd::cargo::cargo_bin!("dyno")).arg("trial").arg(&torn).output().unwrap();
    assert_eq!(out.status.code(), Some(2));
}

#[test]
fn a_directory_that_cannot_be_written_is_a_failure() {
    let trial = Trial::new("unwritable", &[]).set("dir", json!("/proc/no/such/dir"));
    let (code, result, _) = trial.run();
    assert_eq!((code, text(&result["failure"], "class")), (1, "unwritable"), "{result:#}");
}

fn signal(pid: i32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}
