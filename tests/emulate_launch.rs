//! `dyno emulate` as a process: what it refuses, with which words and exit code, and how it ends.

#![expect(clippy::disallowed_methods, reason = "tests start the program as a user does")]

use assert_cmd::Command;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

fn dyno(line: &str) -> Command {
    let mut c = Command::cargo_bin("dyno").unwrap();
    c.arg("emulate").args(line.split_whitespace()).timeout(Duration::from_secs(60));
    c.env_remove("VLLM_ATTENTION_BACKEND");
    c
}

/// (exit code, stdout, stderr)
fn outcome(mut c: Command) -> (Option<i32>, String, String) {
    let o = c.output().unwrap();
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (o.status.code(), text(&o.stdout), text(&o.stderr))
}

/// Every refusal of a launch: flags, where the words stand (o: log on stdout, e: stderr), a part of them.
const REFUSED: &[(&str, i32, char, &str)] = &[
    ("m --hardware a100-sxm-80gb", 2, 'e', "--model: "),
    ("openai/gpt-oss-20b --hardware a1000", 2, 'e', "unknown hardware `a1000`"),
    ("openai/gpt-oss-20b", 2, 'e', "which GPU to emulate"),
    ("--hardware a100-sxm-80gb", 2, 'e', "which model to serve"),
    (
        "openai/gpt-oss-20b --hardware a100-sxm-80gb --no-such-flag 3",
        2,
        'e',
        "error: unrecognized arguments: --no-such-flag 3",
    ),
    (
        "openai/gpt-oss-20b --hardware a100-sxm-80gb --kv-cache-dtype fp99",
        2,
        'e',
        "invalid choice: 'fp99' (choose from 'auto'",
    ),
    (
        "openai/gpt-oss-20b --hardware a100-sxm-80gb --max-num-seqs x",
        2,
        'e',
        "argument --max-num-seqs: invalid int value: 'x'",
    ),
    ("openai/gpt-oss-20b --hardware a100-sxm-80gb --fault explode", 2, 'e', "unknown fault `explode`"),
    ("openai/gpt-oss-20b --hardware a100-sxm-80gb --coefficients /no/such/file", 2, 'e', "/no/such/file"),
    ("openai/gpt-oss-20b --hardware a100-sxm-80gb --emulate-version banana", 2, 'e', "no release of vLLM"),
    ("openai/gpt-oss-20b --hardware a100-sxm-80gb --port 99999", 2, 'e', "--port: 99999 is no port"),
    (
        "openai/gpt-oss-20b --hardware a100-sxm-80gb --max-num-seqs 64 --max-num-batched-tokens 32",
        1,
        'o',
        "max_num_batched_tokens (32) must be greater than or equal to max_num_seqs (64).",
    ),
    (
        "openai/gpt-oss-20b --hardware a100-sxm-80gb --max-model-len 10000000",
        1,
        'o',
        "is greater than the derived max_model_len",
    ),
    (
        "openai/gpt-oss-20b --hardware a100-sxm-80gb --gpu-memory-utilization 1.5",
        1,
        'o',
        "GPU memory utilization must be less than 1.0. Got 1.5.",
    ),
    (
        "openai/gpt-oss-20b --hardware a100-sxm-80gb -tp 3",
        1,
        'o',
        "Total number of attention heads (64) must be divisible by tensor parallel size (3).",
    ),
    (
        "openai/gpt-oss-20b --hardware a100-sxm-80gb -tp 16",
        1,
        'o',
        "World size (16) is larger than the number of available GPUs (8)",
    ),
    (
        "openai/gpt-oss-20b --hardware a100-sxm-80gb -pp 2 --async-scheduling",
        1,
        'o',
        "pipeline_parallel_size > 1",
    ),
    (
        "meta-llama/Llama-3.1-8B --hardware a100-sxm-80gb --kv-cache-dtype fp8",
        1,
        'o',
        "FlashAttention does not support fp8 kv-cache on this device.",
    ),
    (
        "openai/gpt-oss-20b --hardware a100-sxm-80gb --kv-cache-dtype fp8 --emulate-version 0.19.0",
        1,
        'o',
        "No valid attention backend found",
    ),
    ("openai/gpt-oss-20b --hardware cpu", 1, 'o', "mxfp4 quantization is currently not supported in cpu."),
    (
        "meta-llama/Llama-3.1-70B --hardware a100-sxm-80gb",
        1,
        'o',
        "torch.OutOfMemoryError: CUDA out of memory.",
    ),
    (
        "meta-llama/Llama-3.1-8B --hardware a100-sxm-80gb --kv-cache-memory-bytes 1000",
        1,
        'o',
        "No available memory for the cache blocks.",
    ),
    ("meta-llama/Llama-3.1-8B --hardware a10-24gb", 1, 'o', "the estimated maximum model length is "),
    (
        "openai/gpt-oss-20b --hardware a100-sxm-80gb --max-num-partial-prefills 2",
        1,
        'o',
        "Concurrent Partial Prefill",
    ),
    ("openai/gpt-oss-20b --hardware a100-sxm-80gb --fault start-exit", 1, 'o', "NCCL error"),
    ("openai/gpt-oss-20b --hardware a100-sxm-80gb --fault start-oom", 1, 'o', "torch.OutOfMemoryError"),
];

#[test]
fn what_a_real_engine_refuses_is_refused_in_its_words() {
    for (flags, code, place, words) in REFUSED {
        let version = if flags.contains("--emulate-version") { "" } else { "--emulate-version 0.11.0" };
        let port = if flags.contains("--port") { "" } else { "--port 0" };
        let (got, out, err) = outcome(dyno(&format!("{flags} {version} {port}")));
        assert_eq!(got, Some(*code), "{flags}\n{out}\n{err}");
        let text = if *place == 'o' { &out } else { &err };
        assert!(text.contains(words), "{flags}: {words}\n{out}\n{err}");
        assert!(!err.contains("panicked"), "{err}");
        if *code == 1 {
            assert!(!err.is_empty(), "{flags}: the last words stand on stderr");
            assert!(out.lines().all(|l| l.starts_with("(emulated ")), "{out}");
        }
    }
}

#[test]
fn what_fits_elsewhere_is_not_refused() {
    // The same wishes on a GPU, release or backend that grants them: the start goes on to the injected fault.
    for (flags, backend) in [
        (
            "meta-llama/Llama-3.1-8B --hardware h100-sxm-80gb --kv-cache-dtype fp8 --emulate-version 0.11.0",
            None,
        ),
        (
            "meta-llama/Llama-3.1-8B --hardware a100-sxm-80gb --kv-cache-dtype fp8 --emulate-version 0.11.0",
            Some("FLASHINFER"),
        ),
        ("meta-llama/Llama-3.1-70B --hardware a100-sxm-80gb -tp 4 --emulate-version 0.11.0", None),
        ("meta-llama/Llama-3.1-8B --hardware a10-24gb --max-model-len 8192 --emulate-version 0.11.0", None),
        ("openai/gpt-oss-20b --hardware a100-sxm-80gb -pp 2 --emulate-version 0.19.0", None),
    ] {
        let mut c = dyno(&format!("{flags} --port 0 --fault start-exit"));
        c.envs(backend.map(|b| ("VLLM_ATTENTION_BACKEND", b)));
        let (code, out, err) = outcome(c);
        assert_eq!(code, Some(1));
        assert!(out.contains("NCCL error"), "{flags}\n{out}\n{err}");
    }
}

#[test]
fn all_problems_of_a_command_line_come_at_once() {
    let (code, _, err) = outcome(dyno("absent/model --hardware a1000 --fault explode --noise -1"));
    assert_eq!(code, Some(2));
    for part in [
        "--hardware: unknown hardware `a1000`",
        "--model: ",
        "--fault: unknown fault",
        "--noise: -1 is outside",
    ] {
        assert!(err.contains(part), "{part}\n{err}");
    }
}

#[test]
fn the_help_lists_the_flags_of_the_emulated_release() {
    let (code, old, _) = outcome(dyno("--emulate-version 0.11.0 --help"));
    assert_eq!(code, Some(0));
    assert!(old.contains("--async-scheduling, --no-async-scheduling") && !old.contains("--stream-interval"));
    let (_, new, _) = outcome(dyno("--emulate-version 0.19.0 --help"));
    assert!(new.contains("--stream-interval STREAM_INTERVAL"));
}

/// A running server; killed when dropped, so that a failed test leaves nothing.
struct Running {
    child: Child,
    lines: Vec<String>,
    port: u16,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(flags: &str) -> Running {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let line =
        format!("openai/gpt-oss-20b --hardware a100-sxm-80gb --emulate-version 0.11.0 --port {port} {flags}");
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("dyno"))
        .arg("emulate")
        .args(line.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = Vec::new();
    for l in BufReader::new(child.stdout.take().unwrap()).lines() {
        let l = l.unwrap();
        let ready = l.contains("Application startup complete.");
        lines.push(l);
        if ready {
            break;
        }
    }
    Running { child, lines, port }
}

impl Running {
    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// The exit code within the time given; `None` when it still runs.
    fn ends_within(&mut self, limit: Duration) -> Option<i32> {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

#[test]
fn the_log_holds_the_lines_that_tools_read_each_marked_as_emulated() {
    let r = start("--max-num-seqs 17 --api-key hush");
    let log = r.lines.join("\n");
    assert!(r.lines.iter().all(|l| l.starts_with("(emulated ")), "{log}");
    for part in [
        "non-default args: {",
        "'max_num_seqs': 17",
        "GPU KV cache size: ",
        "Maximum concurrency for 131,072 tokens per request: ",
        "Chunked prefill is enabled with max_num_batched_tokens=2048.",
        "Application startup complete.",
    ] {
        assert!(log.contains(part), "{part}\n{log}");
    }
    assert!(!log.contains("hush"), "secrets stay out of the log\n{log}");
}

#[test]
fn either_signal_stops_it_at_once_and_frees_the_port() {
    for name in ["TERM", "INT"] {
        let mut r = start("");
        assert!(TcpStream::connect(("127.0.0.1", r.port)).is_ok());
        r.signal(name);
        assert_eq!(r.ends_within(Duration::from_secs(10)), Some(0), "SIG{name}");
        assert!(TcpListener::bind(("127.0.0.1", r.port)).is_ok());
    }
    let mut r = start("--fault ignore-term");
    r.signal("TERM");
    assert_eq!(r.ends_within(Duration::from_millis(400)), None, "the fault is to ignore it");
}

#[test]
fn a_port_in_use_is_refused_with_the_systems_number() {
    let r = start("");
    let (code, _, err) =
        outcome(dyno(&format!("openai/gpt-oss-20b --hardware a100-sxm-80gb --port {}", r.port)));
    assert_eq!(code, Some(1));
    assert!(err.contains("[Errno 98] Address already in use"), "{err}");
}

#[test]
fn a_hang_at_start_never_listens_and_still_stops() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("dyno"))
        .args(["emulate", "openai/gpt-oss-20b", "--hardware", "a100-sxm-80gb", "--fault", "start-hang"])
        .args(["--port", &port.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("Loading model weights") {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0, "it ended instead of hanging");
    }
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    let mut r = Running { child, lines: Vec::new(), port };
    r.signal("TERM");
    assert_eq!(r.ends_within(Duration::from_secs(10)), Some(0));
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("startup complete"));
}
