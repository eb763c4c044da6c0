//! What the world does to a measurement: a client that is held up, and servers whose answers have no end.

use llm_dyno::load::paced::{Pace, PacedServer};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

fn bench(url: &str, workload: &str, out: &Path) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("dyno"));
    command
        .args(["bench", "--base-url", url, "--workload", workload, "--out"])
        .arg(out)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), signal).unwrap();
}

/// A run of about four seconds whose client is stopped so often for so long; the result.
fn held_up(times: u32, stop: Duration, run: Duration) -> Value {
    let pace = Pace { ttft: Duration::from_millis(50), itl: Duration::from_millis(10), ..Pace::default() };
    let server = PacedServer::start(0, pace, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("o.json");
    let child = bench(&server.base_url(), "random:16/32,n=80,concurrency=8", &out).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    for _ in 0..times {
        signal(&child, Signal::STOP);
        std::thread::sleep(stop);
        signal(&child, Signal::CONT);
        std::thread::sleep(run);
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let record: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    record["result"].clone()
}

#[test]
fn a_client_that_was_held_up_marks_its_run() {
    let ms = Duration::from_millis;
    for (times, stop, run) in [(1, ms(1500), ms(1)), (8, ms(100), ms(100))] {
        let result = held_up(times, stop, run);
        let untrusted = result["untrusted"].to_string();
        assert!(untrusted.contains("output_throughput") && untrusted.contains("mean_ttft_ms"), "{untrusted}");
        assert!(result["invalid"].to_string().contains("held up"), "{}", result["invalid"]);
    }
}

/// A server that answers each request by this: path in, bytes out until the client has had enough.
fn served(
    answer: impl Fn(&str, &mut TcpStream) -> std::io::Result<()> + Send + Sync + Clone + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), answer.clone());
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0; 4096];
                while let Ok(n) = stream.read(&mut byte) {
                    head.extend_from_slice(&byte[..n]);
                    if n == 0 || head.windows(4).any(|w| w == b"\r\n\r\n") {
                        break;
                    }
                }
                let text = String::from_utf8_lossy(&head).into_owned();
                let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
                let _ = answer(&path, &mut stream);
            });
        }
    });
    url
}

type Answer = Box<dyn Fn(&str, &mut TcpStream) -> std::io::Result<()> + Send + Sync>;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

fn whole(stream: &mut TcpStream, body: &str) -> std::io::Result<()> {
    stream.write_all(OK)?;
    stream.write_all(body.as_bytes())
}

/// The same bytes for ever.
fn endless(stream: &mut TcpStream, begin: &str, piece: &[u8]) -> std::io::Result<()> {
    stream.write_all(OK)?;
    stream.write_all(begin.as_bytes())?;
    loop {
        stream.write_all(piece)?;
    }
}

/// Runs the command and gives its largest resident memory in megabytes, watched from outside.
fn watched(mut command: Command) -> (Output, u64) {
    let child = command.spawn().unwrap();
    let pid = child.id() as i32;
    let peak = std::thread::spawn(move || {
        let mut peak = 0;
        while let Some(kb) = procfs::process::Process::new(pid).ok().and_then(|p| p.status().ok()?.vmhwm) {
            peak = kb.max(peak);
            std::thread::sleep(Duration::from_millis(20));
        }
        peak / 1024
    });
    let output = child.wait_with_output().unwrap();
    (output, peak.join().unwrap())
}

fn watched_quietly(mut command: Command) -> (Output, u64) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    watched(command)
}

#[expect(clippy::too_many_lines, reason = "four servers, each in full")]
#[test]
fn answers_without_end_take_neither_memory_nor_time() {
    let models = r#"{"data":[{"id":"m"}]}"#;
    let filler = vec![b'x'; 1 << 16];
    let long = filler.clone();
    // The list of models, the metrics, one event, events, and the text of a refusal.
    let cases: [(&str, Answer); 4] = [
        (
            "cannot be asked for its models",
            Box::new(move |path, s| match path {
                "/v1/models" => endless(s, "{\"data\":[{\"id\":\"", &long),
                _ => whole(s, ""),
            }),
        ),
        (
            "longer than 16 MiB",
            Box::new({
                let filler = filler.clone();
                move |path, s| match path {
                    "/v1/models" => whole(s, models),
                    "/metrics" => endless(s, "# ", &filler),
                    "/v1/completions" => endless(s, "data: ", &filler),
                    _ => whole(s, ""),
                }
            }),
        ),
        (
            "more than twice the tokens",
            Box::new(move |path, s| match path {
                "/v1/models" => whole(s, models),
                "/v1/completions" => endless(
                    s,
                    "",
                    &b"data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":null}]}\n\n".repeat(100),
                ),
                _ => whole(s, ""),
            }),
        ),
        (
            "http-500",
            Box::new({
                let filler = filler.clone();
                move |path, s| match path {
                    "/v1/models" => whole(s, models),
                    "/v1/completions" => {
                        s.write_all(b"HTTP/1.1 500 No\r\nconnection: close\r\n\r\n")?;
                        loop {
                            s.write_all(&filler)?;
                        }
                    }
                    _ => whole(s, ""),
                }
            }),
        ),
    ];
    for (told, answer) in cases {
        let answer = std::sync::Arc::new(answer);
        let url = served(move |path, stream| answer(path, stream));
        let dir = tempfile::tempdir().unwrap();
        let mut command = bench(&url, "random:16/8,n=4,concurrency=2", &dir.path().join("o.json"));
        command.args(["--run-timeout", "20s", "--warmups", "0"]);
        let began = std::time::Instant::now();
        let (output, peak) = watched(command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(told), "{told}: {said}");
        assert!(peak < 400, "{told}: {peak} MB");
        assert!(began.elapsed() < Duration::from_secs(60), "{told}: {:?}", began.elapsed());
    }
}

/// 110 MB of log before the engine is ready, and a secret in its last line.
#[test]
fn a_flood_of_log_takes_no_memory_and_hides_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let engine = dir.path().join("engine");
    let dyno = assert_cmd::cargo::cargo_bin!("dyno").display();
    let script = format!(
        "#!/bin/sh\nyes 'INFO 11-26 13:00:00 [core.py:58] nothing of note happens in this line of the log' | head -c 110000000\n\
         echo; echo \"the token is $HF_TOKEN\"\nexec {dyno} emulate --model Qwen/Qwen3-8B --hardware a100-sxm-80gb \"$@\"\n"
    );
    std::fs::write(&engine, script).unwrap();
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("dyno"));
    command.args(["bench", "--workload", "random:64/4,n=4", "--out", "o.json", "--", "sh"]).arg(&engine);
    command.current_dir(dir.path()).env("HF_TOKEN", "hf_atokenofnobody0123456789");
    let (output, peak) = watched_quietly(command);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(peak < 200, "{peak} MB");
    let log = std::fs::read_to_string(dir.path().join("o.server.log")).unwrap();
    assert!(log.len() > 110_000_000, "{} bytes", log.len());
    assert!(
        log.contains("the token is <redacted>") && log.contains("startup complete"),
        "{}",
        &log[log.len() - 4000..]
    );
}

#[test]
fn impossible_figures_are_marked() {
    let text = r#"{"choices":[{"text":"a","finish_reason":null}]}"#;
    let usage = |n: u32| format!(r#"{{"choices":[],"usage":{{"prompt_tokens":9,"completion_tokens":{n}}}}}"#);
    let answer = |events: &[&str]| events.iter().map(|e| format!("data: {e}\n\n")).collect::<String>();
    let cases = [
        (answer(&[text, &usage(500), "[DONE]"]), "more tokens than were asked for"),
        (answer(&[text, &usage(1), "[DONE]", text, text]), "after `[DONE]`"),
        (answer(&[text, &usage(1), "[DONE]"]), "gave no finish reason"),
    ];
    for (body, told) in cases {
        let url = served(move |path, stream| match path {
            "/v1/models" => whole(stream, r#"{"data":[{"id":"m"}]}"#),
            "/v1/completions" => whole(stream, &body),
            _ => whole(stream, ""),
        });
        let dir = tempfile::tempdir().unwrap();
        let output =
            bench(&url, "random:16/8,n=4,concurrency=2", &dir.path().join("o.json")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.contains(told), "{told}: {said}");
    }
}

/// What a server in trouble answers to every other request; the rest is answered whole.
#[test]
fn a_wrong_answer_is_counted_and_costs_neither_time_nor_another_request() {
    let whole_answer = "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":\"length\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":16,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n";
    let elsewhere = Arc::new(AtomicU32::new(0));
    let seen = elsewhere.clone();
    let other = served(move |_, stream| {
        seen.fetch_add(1, Ordering::Relaxed);
        whole(stream, whole_answer)
    });
    let refusal = |status: &str, head: &str| {
        format!("HTTP/1.1 {status}\r\n{head}content-length: 2\r\nconnection: close\r\n\r\n{{}}")
    };
    let wrong = [
        refusal("429 Too Many Requests", "retry-after: 86400\r\n"),
        refusal("503 Service Unavailable", "retry-after: Fri, 31 Dec 2099 23:59:59 GMT\r\n"),
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n\u{1f}\u{8b}xxxx".to_owned(),
        refusal("307 Temporary Redirect", &format!("location: {other}/v1/completions\r\n")),
        // One byte of a header now and then, without end.
        "slow".to_owned(),
    ];
    for answer in wrong {
        let (asked, told) = (Arc::new(AtomicU32::new(0)), answer.clone());
        let url = served(move |path, stream| match path {
            "/v1/models" => whole(stream, r#"{"data":[{"id":"m"}]}"#),
            "/v1/completions" if asked.fetch_add(1, Ordering::Relaxed) % 2 == 1 => {
                if answer != "slow" {
                    return stream.write_all(answer.as_bytes());
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\nx-")?;
                loop {
                    stream.write_all(b"a")?;
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
            "/v1/completions" => whole(stream, whole_answer),
            _ => whole(stream, ""),
        });
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("o.json");
        let mut command = bench(&url, "random:16/1,n=8,concurrency=4", &out);
        let began = Instant::now();
        let output = command.args(["--request-timeout", "2"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(0 | 3)), "{told}: {said}");
        assert!(began.elapsed() < Duration::from_secs(30), "{told}: {:?}", began.elapsed());
        let record: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
        let result = &record["result"];
        let done = result["completed"].as_u64().unwrap();
        let lost = result["failed"].as_u64().unwrap();
        assert!(done >= 4 && lost >= 1 && done + lost == 8, "{told}: {done} complete, {lost} lost");
    }
    assert_eq!(elsewhere.load(Ordering::Relaxed), 0, "a redirect was followed to another server");
}
