//! How many tokens a second the client can take, against a server that costs next to nothing.
//!
//!     cargo bench --bench client_rate
//!
//! The server writes one prepared answer to every request, one event a token, as fast as the sockets take it. Offered
//! is what the sockets take; nothing may be lost.

use llm_dyno::load::{RunOptions, Target, run};
use llm_dyno::scenario::Key;
use llm_dyno::workload::{generate, parse};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Instant;

const TOKENS: u32 = 8192;
const STREAMS: u32 = 64;
const REQUESTS: u32 = 512;

/// The answer of the completions route to a request for so many tokens, every event a chunk of the body.
fn prepared() -> Vec<u8> {
    let head = r#"{"id":"cmpl-0123456789abcdef0123456789abcdef","object":"text_completion","created":1700000000,"model":"null""#;
    let mut out =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let mut chunk = |event: &str| {
        let _ = write!(out, "{:x}\r\ndata: {event}\n\n\r\n", event.len() + 8);
    };
    let mut event = String::new();
    for k in 1..=TOKENS {
        event.clear();
        let finish = if k == TOKENS { "\"length\"" } else { "null" };
        let _ = write!(
            event,
            r#"{head},"choices":[{{"index":0,"text":" a","logprobs":null,"finish_reason":{finish}}}]}}"#
        );
        chunk(&event);
    }
    chunk(&format!(
        r#"{head},"choices":[],"usage":{{"prompt_tokens":1,"total_tokens":{},"completion_tokens":{TOKENS}}}}}"#,
        TOKENS + 1
    ));
    chunk("[DONE]");
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

/// Answers whatever ends like a request until the connection closes.
fn serve(mut stream: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let mut have = 0;
        let post = loop {
            let n = stream.read(&mut buffer[have..])?;
            if n == 0 {
                return Ok(());
            }
            have += n;
            let text = String::from_utf8_lossy(&buffer[..have]);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length =
                head.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                break head.starts_with("POST");
            }
        };
        stream.write_all(if post { answer } else { b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" })?;
    }
}

fn main() {
    let mut out = std::io::stdout();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let answer = Arc::new(prepared());
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || serve(stream, &answer));
        }
    });
    let spec = parse(&format!("random:4/{TOKENS},n={REQUESTS},concurrency={STREAMS}")).expect("a workload");
    let requests = generate(&spec, 512).expect("requests");
    for threads in [1, 1, 1, 2] {
        let options = RunOptions {
            max_concurrency: spec.max_concurrency,
            threads: Some(threads),
            ..RunOptions::default()
        };
        let began = Instant::now();
        let result = run(&Target::new(&url, "null"), &requests, &options).expect("a run");
        let wall = began.elapsed().as_secs_f64();
        let chunks: usize = result.rows.iter().map(|r| r.chunks.len()).sum();
        let get = |key| result.metrics.get(key).unwrap_or(f64::NAN);
        let offered = f64::from(TOKENS) * f64::from(REQUESTS);
        let _ = writeln!(
            out,
            "{threads} thread(s): {offered:.0} tokens offered, {chunks} parsed, {:.0} by usage, {:.0} lost requests; {:.0} tokens/s \
             (with set-up {:.0}), {:.3} CPU s a million tokens, would saturate at {:.0} tokens/s",
            get(Key::TotalOutputTokens),
            get(Key::Failed),
            get(Key::OutputThroughput),
            offered / wall,
            result.health.cpu_s_per_million_tokens.unwrap_or(f64::NAN),
            result.health.saturates_at_tokens_per_s.unwrap_or(f64::NAN),
        );
        assert_eq!((chunks as f64, get(Key::TotalOutputTokens)), (offered, offered), "tokens were lost");
    }
}
