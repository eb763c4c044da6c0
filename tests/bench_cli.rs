//! `dyno bench` and `dyno ramp` as a user calls them: exit codes, what is printed, what is written.

use assert_cmd::Command;
use llm_dyno::load::paced::{Pace, PacedServer};
use llm_dyno::scenario::Key;
use predicates::prelude::*;
use std::time::Duration;

fn dyno() -> Command {
    let mut command = Command::cargo_bin("dyno").expect("the binary is built");
    command.env_remove("OPENAI_API_KEY").timeout(Duration::from_secs(60));
    command
}

fn server(pace: Pace) -> PacedServer {
    PacedServer::start(0, pace, 1).expect("a free port")
}

fn quick() -> Pace {
    Pace { ttft: Duration::from_millis(5), itl: Duration::from_millis(1), ..Pace::default() }
}

#[test]
fn a_bench_prints_the_block_and_writes_an_observation() {
    let server = server(quick());
    let dir = tempfile::tempdir().unwrap();
    let (out, requests) = (dir.path().join("o.json"), dir.path().join("r.jsonl"));
    dyno()
        .args([
            "bench",
            "--base-url",
            &server.base_url(),
            "--workload",
            "random:32/8,n=12",
            "--max-concurrency",
            "4",
        ])
        .args(["--api-key", "sk-verysecretkey", "--seed", "3"])
        .arg("--out")
        .arg(&out)
        .arg("--save-requests")
        .arg(&requests)
        .assert()
        .success()
        .stdout(predicate::str::contains("============ Serving Benchmark Result ============"))
        .stdout(predicate::str::contains("Successful requests:                     12        "))
        .stdout(predicate::str::contains("Maximum request concurrency:             4         "));
    let text = std::fs::read_to_string(&out).unwrap();
    assert!(!text.contains("verysecret"));
    let records = llm_dyno::scenario::read_records(&out).unwrap();
    assert_eq!(records[0].requests.as_ref().unwrap().len(), 12);
    assert_eq!(records[0].workload.as_ref().unwrap().seed, Some(3));
    // The saved requests are a workload of their own.
    let custom = format!("custom:{}", requests.display());
    dyno()
        .args(["bench", "--base-url", &server.base_url(), "--workload", &custom, "--json"])
        .assert()
        .success()
        .stdout(predicate::str::contains("\"completed\": 12"));
}

#[test]
fn bad_input_is_refused_before_anything_is_sent() {
    let url = "http://127.0.0.1:9";
    for bad in [
        "nope",
        "random:0/4",
        "random:4",
        "short,n=0",
        "short,rate=-1",
        "trace:/no/such.csv",
        "short,burstiness=0",
    ] {
        dyno().args(["bench", "--base-url", url, "--model", "m", "--workload", bad]).assert().code(2);
    }
    let bench = ["bench", "--base-url", url, "--model", "m", "--workload", "short"];
    for more in [
        ["--out", "/no/such/dir/o.json"],
        ["--extra-body", "[1]"],
        ["--goodput", "speed:3"],
        ["--request-timeout", "-1"],
        ["--request-rate", "0"],
    ] {
        dyno().args(bench).args(more).assert().code(2);
    }
    // Neither a server nor a command, and both.
    dyno().args(["bench", "--workload", "short"]).assert().code(2);
    dyno().args(bench).args(["--", "true"]).assert().code(2);
    dyno().args(["ramp", "--base-url", url, "--model", "m", "--from", "0", "--factor", "1"]).assert().code(2);
}

#[test]
fn servers_that_are_not_there_or_no_good_are_failures() {
    // Port 9 (discard) is closed on any machine of today.
    let gone = ["bench", "--base-url", "http://127.0.0.1:9", "--workload", "random:4/4,n=2"];
    dyno().args(gone).assert().code(1).stderr(predicate::str::contains("is the server running"));
    let server = server(Pace { error_share: 1.0, error_status: 503, ..quick() });
    dyno()
        .args(["bench", "--base-url", &server.base_url(), "--workload", "random:4/4,n=2"])
        .assert()
        .code(1)
        .stderr(predicate::str::contains("no request completed"))
        .stderr(predicate::str::contains("http-503"));
    let ends = ["bench", "--workload", "random:4/4,n=2", "--", "sh", "-c", "echo dying; exit 3"];
    dyno().args(ends).assert().code(1).stderr(predicate::str::contains("ended before it was ready"));
}

#[test]
fn a_command_is_launched_measured_and_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("o.json");
    let program = assert_cmd::cargo::cargo_bin("dyno");
    dyno()
        .args(["bench", "--workload", "random:8/4,n=4", "--out"])
        .arg(&out)
        .arg("--")
        .arg(&program)
        .args(["paced", "--ttft-ms", "5", "--itl-ms", "1"])
        .assert()
        .success()
        .stdout(predicate::str::contains("Successful requests:                     4 "));
    let records = llm_dyno::scenario::read_records(&out).unwrap();
    assert!(records[0].serve_command.as_ref().unwrap().contains("paced"));
}

#[test]
fn a_ramp_shows_steps_breakpoints_and_zones() {
    let server = server(quick());
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("ramp.json");
    dyno()
        .args([
            "ramp",
            "--base-url",
            &server.base_url(),
            "--workload",
            "random:8/8",
            "--to",
            "4",
            "--refine",
            "0",
        ])
        .args(["--step-seconds", "0.2", "--least-requests", "8", "--out"])
        .arg(&out)
        .assert()
        .success()
        .stdout(predicate::str::contains("Breakpoints"))
        .stdout(predicate::str::contains("Zones"));
    let ramp: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    assert_eq!(ramp["steps"].as_array().unwrap().len(), 3);
    assert_eq!(ramp["climb_ended"], "bound");
}

#[test]
fn a_mixture_is_measured_as_a_whole_and_by_its_parts() {
    let server = server(quick());
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("o.json");
    dyno()
        .args(["bench", "--base-url", &server.base_url(), "--max-concurrency", "4"])
        .args(["--workload", "mix:0.75*random:16/2+0.25*random:32/8;prefix=16,n=20,seed=3", "--out"])
        .arg(&out)
        .assert()
        .success()
        .stdout(predicate::str::contains("Successful requests:                     20 "))
        .stderr(predicate::str::contains("part random:16/2: 15 requests"));
    let record = llm_dyno::scenario::read_records(&out).unwrap().remove(0);
    let parts = record.result.unwrap().client.components;
    let second = |key| parts[1].get(key).unwrap();
    assert_eq!(second(Key::Completed), 5.0);
    // The shared prefix of the second part comes on top of its own 32 tokens.
    assert_eq!(second(Key::TotalInputTokens), 5.0 * 48.0);
    assert_eq!(record.workload.unwrap().parts().len(), 2);
}

/// One scrape of a metrics address, header and body.
fn scrape(address: &str) -> std::io::Result<String> {
    use std::io::{Read as _, Write as _};
    let mut socket = std::net::TcpStream::connect(address)?;
    socket.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    socket.read_to_string(&mut text)?;
    Ok(text)
}

/// Checks the text format: every sample follows the HELP and TYPE of its family, values are numbers, buckets ascend and
/// end with the count. Returns the samples.
fn checked(body: &str) -> std::collections::BTreeMap<String, f64> {
    let mut samples = std::collections::BTreeMap::new();
    let (mut helped, mut family, mut kind, mut bucket) = (String::new(), String::new(), String::new(), 0.0);
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(!help.is_empty() && name.starts_with("dyno_"), "{line}");
            name.clone_into(&mut helped);
            bucket = 0.0;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            (family, kind) = rest.split_once(' ').map(|(n, k)| (n.to_owned(), k.to_owned())).expect("a type");
            assert_eq!(family, helped);
        } else {
            let (name, value) = line.rsplit_once(' ').expect("a sample");
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
            let bare = name.split('{').next().unwrap();
            match kind.as_str() {
                "histogram" => {
                    let part = bare.strip_prefix(&family).unwrap_or_else(|| panic!("{line} under {family}"));
                    assert!(["_bucket", "_sum", "_count"].contains(&part), "{line}");
                    if part == "_bucket" {
                        assert!(value >= bucket, "{line}: buckets are cumulative");
                        bucket = value;
                    } else if part == "_count" {
                        assert_eq!(value, bucket, "{line}: the last bucket holds all");
                    }
                }
                "counter" => assert!(bare == family && bare.ends_with("_total"), "{line}"),
                _ => assert_eq!((bare, kind.as_str()), (family.as_str(), "gauge"), "{line}"),
            }
            assert!(samples.insert(name.to_owned(), value).is_none(), "{line} twice");
        }
    }
    samples
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a run that is watched while it lasts")]
fn a_run_can_be_watched_by_prometheus() {
    use std::io::BufRead as _;
    let server =
        server(Pace { ttft: Duration::from_millis(50), itl: Duration::from_millis(20), ..Pace::default() });
    // 24 requests of 20 tokens, 4 at once: six waves of 430 ms.
    let mut run = std::process::Command::new(assert_cmd::cargo::cargo_bin("dyno"))
        .args(["bench", "--base-url", &server.base_url(), "--workload", "random:8/20,n=24"])
        .args(["--max-concurrency", "4", "--metrics-listen", "127.0.0.1:0"])
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(run.stderr.take().unwrap()).lines();
    let told = lines.by_ref().map_while(Result::ok).find(|l| l.contains("metrics of the runs")).unwrap();
    let address = told.split("http://").nth(1).unwrap().trim_end_matches("/metrics").to_owned();
    let (mut scrapes, mut most_flying, mut before) = (0, 0.0_f64, 0.0);
    let mut last = std::collections::BTreeMap::new();
    while let Ok(text) = scrape(&address) {
        let Some((head, body)) = text.split_once("\r\n\r\n").filter(|(_, b)| !b.is_empty()) else { break };
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
        last = checked(body);
        scrapes += 1;
        most_flying = most_flying.max(last["dyno_requests_in_flight"]);
        assert!(last["dyno_token_chunks_total"] >= before, "counters never fall");
        before = last["dyno_token_chunks_total"];
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(lines);
    assert!(run.wait().unwrap().success());
    assert!(scrapes >= 5, "{scrapes} scrapes");
    assert_eq!(most_flying, 4.0);
    // The last scrape came within the last wave.
    let of = |name: &str| last[name];
    assert!((12.0..=24.0).contains(&of("dyno_requests_completed_total")), "{last:?}");
    assert_eq!((of("dyno_requests_planned_total"), of("dyno_requests_lost_total")), (24.0, 0.0));
    assert_eq!(
        of("dyno_time_to_first_token_seconds_bucket{le=\"0.02\"}"),
        0.0,
        "none faster than the server"
    );
    let (done, gaps) =
        (of("dyno_e2e_request_latency_seconds_count"), of("dyno_inter_token_latency_seconds_count"));
    assert_eq!(gaps, 19.0 * done);
    assert!(of("dyno_client_lag_seconds_count") > 50.0, "{last:?}");
}
