//! Bad input and failing engines, whole commands: an error that says what, where and what to do, the exit code
//! of the contract, no panic, and no process left behind.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs `dyno` in a directory; a command that does not end by itself fails the test.
fn dyno(dir: &Path, args: &[&str]) -> Outcome {
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("dyno"))
        .args(args)
        .current_dir(dir)
        .env("PATH", "/usr/bin:/bin")
        .env("HF_HOME", dir.join("no-hub"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(120);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            child.kill().unwrap();
            panic!("dyno {args:?} hangs: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let out = child.wait_with_output().unwrap();
    let text = |b: Vec<u8>| String::from_utf8_lossy(&b).into_owned();
    let o = Outcome { code: out.status.code(), stdout: text(out.stdout), stderr: text(out.stderr) };
    assert!(!o.stderr.contains("panicked"), "dyno {args:?}: {}", o.stderr);
    o
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// A word that stands in no other process's arguments.
fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("77{}{:04}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Processes that carry this word in their arguments.
fn running_with(word: &str) -> Vec<String> {
    let of = |p: std::fs::DirEntry| std::fs::read(p.path().join("cmdline")).ok();
    let all = std::fs::read_dir("/proc").unwrap().flatten().filter_map(of);
    all.map(|c| String::from_utf8_lossy(&c).replace('\0', " ")).filter(|c| c.contains(word)).collect()
}

#[test]
fn bad_input_is_refused_with_the_reason_and_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    std::fs::create_dir(dir.path().join("empty-model")).unwrap();
    std::fs::create_dir(dir.path().join("broken-model")).unwrap();
    write("broken-model/config.json", "{\"hidden_size\": ");
    write("a-file", "");
    write("broken.json", "{\"workload\": ");
    write("broken.toml", "host_step = = 3");
    write("wrong-key.json", "[{\"modell\": \"x\"}, {\"workload\": {\"dataset\": \"random\", \"sede\": 1}}]");
    let tune = "tune --engine emulated --model openai/gpt-oss-20b --hardware a100-sxm-80gb --out out";
    let without = |flag: &str, other: &str| {
        let mut w: Vec<String> = words(tune).iter().map(|w| (*w).to_owned()).collect();
        let at = w.iter().position(|x| x == flag).unwrap();
        other.clone_into(&mut w[at + 1]);
        w.join(" ")
    };
    for (line, parts) in [
        (without("--model", "openai/gpt-oss-21b"), &["--model", "unknown model `openai/gpt-oss-21b`"][..]),
        (without("--model", "./empty-model"), &["--model", "config.json"]),
        (without("--model", "./broken-model"), &["broken-model/config.json"]),
        (without("--hardware", "a1000"), &["--hardware", "unknown hardware `a1000`", "a100-sxm-80gb"]),
        (without("--engine", "vlm"), &["--engine", "unknown engine `vlm`", "--engine emulated"]),
        (without("--out", "a-file/out"), &["a-file/out"]),
        (format!("{tune} --objective speed"), &["speed"]),
        (format!("{tune} --slo ttft.p99"), &["ttft.p99"]),
        (format!("{tune} --workload random:x"), &["random:x"]),
        (format!("{tune} --budget soon"), &["soon"]),
        ("tune --resume nothing-here".to_owned(), &["nothing-here"]),
        ("tune --no-such-option".to_owned(), &["--no-such-option"]),
        ("bench --base-url http://127.0.0.1:1 --workload shortt".to_owned(), &["shortt"]),
        (
            "bench --base-url http://127.0.0.1:1 --workload short --out a-file/o.json".to_owned(),
            &["a-file/o.json"],
        ),
        ("trial broken.json".to_owned(), &["broken.json"]),
        ("trial absent.json".to_owned(), &["absent.json"]),
        ("check broken.json".to_owned(), &["broken.json", "not JSON"]),
        ("check broken.toml".to_owned(), &["broken.toml"]),
        ("check wrong-key.json".to_owned(), &["modell", "sede"]),
        ("report nothing-here".to_owned(), &["nothing-here"]),
        ("diagnose nothing-here".to_owned(), &["nothing-here"]),
        ("emulate --model ./empty-model --hardware a100-sxm-80gb".to_owned(), &["--model", "config.json"]),
        (
            "emulate --model Qwen/Qwen3-8B --hardware a100-sxm-80gb --coefficients broken.toml".to_owned(),
            &["broken.toml"],
        ),
        ("no-such-command".to_owned(), &["no-such-command"]),
    ] {
        let o = dyno(dir.path(), &words(&line));
        assert_eq!(o.code, Some(2), "{line}\n{}{}", o.stdout, o.stderr);
        for part in parts {
            assert!(o.stderr.contains(part), "{line}: {part}\n{}", o.stderr);
        }
    }
    assert!(!dir.path().join("out").exists(), "nothing is written before the arguments are good");
}

#[test]
fn an_engine_that_is_not_installed_says_what_to_install_and_what_runs_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let o = dyno(
        dir.path(),
        &words("tune --engine vllm --model openai/gpt-oss-20b --hardware a100-sxm-80gb --out out"),
    );
    assert_eq!(o.code, Some(3), "{}", o.stderr);
    for part in ["not installed", "uv pip install vllm", "--engine emulated"] {
        assert!(o.stderr.contains(part), "{part}\n{}", o.stderr);
    }
}

/// A campaign on an engine with this fault ends with the exit code for "nothing feasible", names the cause and
/// leaves no process.
fn campaign_fails(fault: &str, cause: &str) {
    let dir = tempfile::tempdir().unwrap();
    let mark = unique();
    // Short where the time runs out on purpose, long where a busy machine must not make it run out.
    let time_for = |hangs: bool| if hangs { "3s" } else { "60s" };
    let (ready, run) = (time_for(fault == "start-hang"), time_for(fault.starts_with("stall")));
    let line = format!(
        "tune --engine emulated --model Qwen/Qwen3-8B --hardware a100-sxm-80gb --workload random:32/4,n=6 --repeats 2 \
         --flags max-num-seqs --ready-timeout {ready} --run-timeout {run} --out out -- --fault {fault} --seed {mark}"
    );
    let o = dyno(dir.path(), &words(&line));
    assert_eq!(o.code, Some(3), "{fault}\n{}{}", o.stdout, o.stderr);
    assert!(o.stderr.contains(cause), "{fault}: {cause}\n{}", o.stderr);
    assert_eq!(running_with(&mark), Vec::<String>::new(), "{fault}: left running");
    let record = std::fs::read_to_string(dir.path().join("out/trials.jsonl")).unwrap();
    assert!(record.contains(cause), "the record holds the failure\n{record}");
    assert!(dir.path().join("out/report.md").exists(), "a report tells of the failure");
}

#[test]
fn an_engine_that_dies_at_start_is_named() {
    campaign_fails("start-exit", "NCCL error");
}

#[test]
fn an_engine_that_hangs_at_start_is_stopped_and_named() {
    campaign_fails("start-hang", "hang-at-start");
}

#[test]
fn an_engine_that_dies_in_a_run_is_named() {
    campaign_fails("die-after=4", "engine-core-death");
}

#[test]
fn an_engine_that_hangs_in_a_run_is_stopped_and_named() {
    campaign_fails("stall-after=4", "hang-in-run");
}

#[test]
fn an_engine_that_answers_garbage_is_named() {
    campaign_fails("garbage", "bad-response");
}

#[test]
fn a_port_in_use_ends_a_launched_server_with_its_cause() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let program = assert_cmd::cargo::cargo_bin!("dyno").display().to_string();
    let line = format!(
        "bench --workload random:8/2,n=2 --out o.json -- {program} emulate --model Qwen/Qwen3-8B --hardware \
         a100-sxm-80gb --port {port}"
    );
    let o = dyno(dir.path(), &words(&line));
    assert_eq!(o.code, Some(1), "{}{}", o.stdout, o.stderr);
    let log = std::fs::read_dir(dir.path())
        .unwrap()
        .flatten()
        .filter_map(|f| std::fs::read_to_string(f.path()).ok());
    let everything = o.stderr + &log.collect::<String>();
    assert!(everything.contains("ddress already in use") || everything.contains("in use"), "{everything}");
}
