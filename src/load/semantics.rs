//! The client against the known-timing server: everything that load clients are known to get wrong.

use super::paced::{Pace, PacedServer};
use super::{Cancel, Counting, Endpoint, ErrorKind, LoadResult, RunOptions, Target, run};
use crate::scenario::Key;
use crate::units::Nanos;
use crate::workload::{generate, parse};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

fn quick() -> Pace {
    Pace { ttft: Duration::from_millis(60), itl: Duration::from_millis(2), ..Pace::default() }
}

struct Case {
    pace: Pace,
    workload: &'static str,
    endpoint: Endpoint,
    counting: Counting,
    options: RunOptions,
}

impl Case {
    fn completions(pace: Pace, workload: &'static str) -> Case {
        Case {
            pace,
            workload,
            endpoint: Endpoint::Completions,
            counting: Counting::Usage,
            options: RunOptions::default(),
        }
    }
    fn chat(pace: Pace, workload: &'static str) -> Case {
        Case { endpoint: Endpoint::Chat, ..Case::completions(pace, workload) }
    }
    fn run(self) -> LoadResult {
        let server = PacedServer::start(0, self.pace, 1).unwrap();
        load(&server.base_url(), self.workload, self.endpoint, self.counting, &self.options)
    }
}

fn load(
    url: &str,
    workload: &str,
    endpoint: Endpoint,
    counting: Counting,
    options: &RunOptions,
) -> LoadResult {
    let spec = parse(workload).unwrap();
    let target = Target { endpoint, counting, ..Target::new(url, "paced") };
    let options = RunOptions { max_concurrency: spec.max_concurrency, ..options.clone() };
    run(&target, &generate(&spec, 512).unwrap(), &options).unwrap()
}

fn get(r: &LoadResult, key: Key) -> f64 {
    r.metrics.get(key).unwrap()
}

/// The server never sends early and the clock starts at the send, so a measured time cannot be below the truth; above
/// it stands whatever a busy machine that runs tests adds. The exact figures are measured on a quiet one.
#[track_caller]
fn not_before(value: f64, truth: f64) {
    assert!(value >= truth - 0.1 && value < truth + 5000.0, "{value} for a true {truth}");
}

#[test]
fn a_plain_run_is_measured_as_it_was_paced() {
    let r = Case::completions(quick(), "random:16/32,n=24,concurrency=8").run();
    assert_eq!(get(&r, Key::Completed), 24.0);
    assert_eq!((get(&r, Key::TotalInputTokens), get(&r, Key::TotalOutputTokens)), (384.0, 768.0));
    assert_eq!(get(&r, Key::MaxConcurrentRequests), 8.0);
    assert!(r.rows.iter().all(|row| row.ttft() >= Some(Nanos::from_millis_f64(60.0))));
    assert!(r.rows.iter().all(|row| row.e2e() >= Some(Nanos::from_millis_f64(60.0 + 31.0 * 2.0))));
    not_before(get(&r, Key::MedianTtftMs), 60.0);
    assert!(r.rows.iter().all(|row| row.chunks.len() == 32 && row.completed()));
    assert!(r.errors.is_empty());
}

#[test]
fn role_chunk_and_reasoning_deltas_do_not_shift_the_first_token() {
    for key in ["reasoning", "reasoning_content"] {
        let pace = Pace { reasoning: 16, reasoning_key: key.into(), ..quick() };
        let r = Case::chat(pace, "random:16/32,n=8,concurrency=4").run();
        assert_eq!(get(&r, Key::TotalOutputTokens), 256.0);
        // The role chunk comes at once, the first word only after 16 reasoning tokens: neither is the first token.
        assert!(r.rows.iter().all(|row| row.ttft() >= Some(Nanos::from_millis_f64(60.0))));
        assert!(r.rows.iter().all(|row| row.chunks.len() == 32));
    }
}

#[test]
fn several_tokens_a_chunk_and_an_early_stop_are_counted_by_usage() {
    let pace = Pace { tokens_per_chunk: 4, early_stop: Some(16), ..quick() };
    let r = Case::completions(pace, "random:16/32,n=8,concurrency=4").run();
    assert_eq!(get(&r, Key::TotalOutputTokens), 128.0);
    assert_eq!(r.metrics.client.tokens_per_chunk, Some(4.0));
    // ITL is the gap between chunks, TPOT the time a token: three gaps against fifteen tokens of the same span.
    let ratio = get(&r, Key::MeanItlMs) / get(&r, Key::MeanTpotMs);
    assert!((ratio - 5.0).abs() < 1e-6, "{ratio}");
}

#[test]
fn counting_by_running_usage_and_by_ids_gives_the_tokens_of_each_chunk() {
    for counting in [Counting::Continuous, Counting::TokenIds] {
        let pace = Pace { tokens_per_chunk: 3, no_usage: counting == Counting::TokenIds, ..quick() };
        let r = Case { counting, ..Case::completions(pace, "random:16/10,n=2") }.run();
        assert_eq!(get(&r, Key::TotalOutputTokens), 20.0);
        assert!(r.rows.iter().all(|row| row.chunk_tokens == [3, 3, 3, 1]), "{:?}", r.rows[0].chunk_tokens);
        assert!(r.rows.iter().all(|row| row.counted));
    }
}

#[test]
fn several_chunks_in_one_read_and_keep_alives() {
    let pace = Pace { burst: 4, keep_alive: true, empty_text: true, separate_finish: true, ..quick() };
    for endpoint in [Endpoint::Completions, Endpoint::Chat] {
        let r = Case { endpoint, ..Case::completions(pace.clone(), "random:16/32,n=4") }.run();
        assert_eq!(get(&r, Key::TotalOutputTokens), 128.0);
        assert!(r.rows.iter().all(|row| row.chunks.len() == 32 && row.completed()));
        not_before(get(&r, Key::MedianTtftMs), 66.0);
    }
}

#[test]
fn cut_streams_are_lost_and_their_tokens_stand_apart() {
    let pace = Pace { truncate_share: 0.5, ..quick() };
    let r = Case::completions(pace, "random:16/32,n=40,concurrency=8").run();
    assert_eq!((get(&r, Key::Completed), get(&r, Key::Failed)), (20.0, 20.0));
    assert_eq!(get(&r, Key::RequestLossRate), 0.5);
    assert_eq!(r.errors[&ErrorKind::Truncated].count, 20);
    assert_eq!(get(&r, Key::TotalOutputTokens), 640.0);
    // Half of them end properly after 16 tokens; where the connection is broken off, the last may be lost with it.
    let lost: Vec<u32> = r.rows.iter().filter(|row| !row.completed()).map(|row| row.output_tokens).collect();
    assert!(lost.iter().filter(|&&n| n == 16).count() >= 10 && lost.iter().all(|&n| n <= 16), "{lost:?}");
    assert_eq!(r.metrics.client.lost_output_tokens, Some(f64::from(lost.iter().sum::<u32>())));
}

#[test]
fn refusals_errors_inside_streams_and_garbage_are_told_apart() {
    let kinds = |pace: Pace| {
        let r = Case::completions(pace, "random:16/8,n=8,concurrency=4").run();
        r.errors.into_iter().map(|(k, c)| (k, c.count)).collect::<Vec<_>>()
    };
    for status in [500, 503] {
        let pace = Pace { error_share: 0.25, error_status: status, ..quick() };
        assert_eq!(kinds(pace), [(ErrorKind::Http(status), 2)]);
    }
    assert_eq!(kinds(Pace { in_band_error_share: 0.5, ..quick() }), [(ErrorKind::InBand, 4)]);
    assert_eq!(kinds(Pace { garbage_share: 0.5, ..quick() }), [(ErrorKind::BadResponse, 4)]);
}

#[test]
fn a_server_that_counts_nothing_makes_the_run_invalid() {
    let r = Case::completions(Pace { no_usage: true, ..quick() }, "random:16/8,n=4").run();
    assert_eq!(get(&r, Key::Completed), 4.0);
    assert!(r.invalid.iter().any(|why| why.contains("without usage")), "{:?}", r.invalid);
}

#[test]
fn requests_that_hang_time_out_and_a_run_can_be_stopped() {
    let options = RunOptions { request_timeout: Duration::from_secs(2), ..RunOptions::default() };
    let pace = Pace { hang_share: 0.5, ..quick() };
    let r = Case { options, ..Case::completions(pace.clone(), "random:16/8,n=4") }.run();
    assert_eq!(r.errors[&ErrorKind::Timeout].count, 2);
    assert_eq!(get(&r, Key::Completed), 2.0);
    // A whole run's time: what was never sent is lost too.
    let options = RunOptions { run_timeout: Some(Duration::from_millis(400)), ..RunOptions::default() };
    let r = Case {
        options,
        ..Case::completions(Pace { hang_share: 1.0, ..quick() }, "random:16/8,n=4,concurrency=1")
    }
    .run();
    assert_eq!(r.errors[&ErrorKind::Timeout].count, 4);
    let cancel = Cancel::new();
    let options = RunOptions { cancel: cancel.clone(), ..RunOptions::default() };
    let progress = Arc::clone(&options.progress);
    let stopper = std::thread::spawn(move || {
        // However long a busy machine takes to send them.
        while progress.sent.load(Ordering::Relaxed) < 4 {
            std::thread::sleep(Duration::from_millis(20));
        }
        cancel.cancel();
    });
    let began = Instant::now();
    let r =
        Case { options, ..Case::completions(Pace { hang_share: 1.0, ..quick() }, "random:16/8,n=4") }.run();
    stopper.join().unwrap();
    assert!(r.cancelled && began.elapsed() < Duration::from_secs(5));
    assert_eq!(r.errors[&ErrorKind::Cancelled].count, 4);
}

/// A server that reads `read` bytes of each request, writes `answer` and closes at once.
fn rude(read: usize, answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for socket in listener.incoming().take(8) {
            let Ok(mut socket) = socket else { return };
            let mut buffer = vec![0; read];
            let _ = socket.read(&mut buffer);
            let _ = socket.write_all(answer);
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    url
}

#[test]
fn resets_refused_connections_and_strange_servers() {
    let options = RunOptions { preconnect: false, ..RunOptions::default() };
    let kind = |url: &str| {
        let r = load(url, "random:600/8,n=1", Endpoint::Completions, Counting::Usage, &options);
        assert_eq!(get(&r, Key::Completed), 0.0);
        *r.errors.keys().next().unwrap()
    };
    // Closing with unread bytes resets the connection.
    assert_eq!(kind(&rude(10, b"")), ErrorKind::Reset);
    let half = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2d\r\ndata: {\"choices\":[{\"text\":\"a\"}],\"usage\":null}\r\n";
    assert!(matches!(kind(&rude(65536, half)), ErrorKind::Truncated | ErrorKind::Reset));
    assert_eq!(kind(&rude(65536, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")), ErrorKind::BadResponse);
    let port = { TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port() };
    assert_eq!(kind(&format!("http://127.0.0.1:{port}")), ErrorKind::Connect);
}

#[test]
fn an_open_loop_keeps_its_schedule_and_a_chat_waits_for_its_answers() {
    let r = Case::completions(quick(), "random:16/4,n=40,rate=200,arrivals=constant").run();
    let last = r.rows.last().unwrap();
    assert!((last.intended.millis() - 195.0).abs() < 0.01);
    not_before(last.sent.millis(), 195.0);
    let r = Case::completions(quick(), "chat,n=2,turns=3,context=16-32,output=4,think=0.01").run();
    assert_eq!(get(&r, Key::Completed), 6.0);
    for session in [[0, 1, 2], [3, 4, 5]] {
        let rows: Vec<_> =
            session.iter().map(|id| r.rows.iter().find(|row| row.id == *id).unwrap()).collect();
        assert!(
            rows.windows(2).all(|w| w[1].sent >= w[0].ended),
            "a turn began before the one before had ended"
        );
    }
}
