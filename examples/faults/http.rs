//! A server that answers some of a bench's requests wrongly: none of the others may be lost, and each that fails is counted.

use super::tally::Tally;
use super::world::{World, finish};
use llm_dyno::scenario::{Key, read_records};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::io::{Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const REQUESTS: u32 = 12;
const TOKENS: u32 = 4;

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wrong {
    /// A status other than 200, with a body and headers of its own.
    Status(u16),
    /// Closed or reset after so many bytes.
    CutAt(usize),
    /// These bytes, seeded, in the middle of the stream.
    Garbage(u64),
    /// No byte of an answer, then the end.
    Silent,
    /// Bytes one after another, slowly.
    SlowBytes,
    /// A header that never ends.
    EndlessHeader,
    /// A chunk size that no memory has.
    HugeChunk,
    /// A JSON value nested a hundred thousand deep.
    Nested,
    /// Says that it is compressed.
    Gzip,
    /// Another address.
    Redirect,
    /// An error inside a stream that began well.
    InBand,
    /// No token at all.
    Empty,
    /// Counts that cannot be.
    Usage(i64),
    /// Ends with `[DONE]`, without a finish reason.
    NoReason,
    /// Tokens after `[DONE]`.
    AfterDone,
    /// A comment, a byte order mark, CR LF, two events in one write.
    Odd,
    /// Text that is no UTF-8.
    NoUtf8,
}

impl Wrong {
    /// Whether the request has to be counted as lost; None where either is right.
    fn fatal(self) -> Option<bool> {
        match self {
            // A count that no number of tokens can be makes the answer unreadable.
            Wrong::Usage(n) if u32::try_from(n).is_err() => None,
            Wrong::Usage(_) | Wrong::NoReason | Wrong::AfterDone | Wrong::Odd | Wrong::SlowBytes => {
                Some(false)
            }
            Wrong::CutAt(n) if n >= good().len() => Some(false),
            Wrong::Garbage(_) | Wrong::NoUtf8 | Wrong::Nested | Wrong::CutAt(_) => None,
            _ => Some(true),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Wrong::Status(_) => "http: a status (301 to 599, with Retry-After)",
            Wrong::CutAt(_) => "http: cut or reset at any byte",
            Wrong::Garbage(_) | Wrong::NoUtf8 | Wrong::Nested => "http: garbage, no UTF-8, nested JSON",
            Wrong::Silent | Wrong::SlowBytes | Wrong::EndlessHeader | Wrong::HugeChunk => {
                "http: silence, slow bytes, endless header, huge chunk"
            }
            Wrong::Gzip | Wrong::Redirect | Wrong::InBand | Wrong::Empty => {
                "http: gzip, redirect, error in band, no token"
            }
            Wrong::Usage(_) | Wrong::NoReason | Wrong::AfterDone | Wrong::Odd => {
                "http: impossible counts and odd ends"
            }
        }
    }

    fn drawn(rng: &mut ChaCha8Rng) -> Wrong {
        let all = [
            Wrong::Status(*[301, 400, 401, 404, 429, 500, 503, 599].choose(rng).expect("some")),
            Wrong::CutAt(rng.random_range(0..good().len())),
            Wrong::CutAt(rng.random_range(0..good().len())),
            Wrong::Garbage(rng.random()),
            Wrong::Garbage(rng.random()),
            Wrong::Silent,
            Wrong::SlowBytes,
            Wrong::EndlessHeader,
            Wrong::HugeChunk,
            Wrong::Nested,
            Wrong::Gzip,
            Wrong::Redirect,
            Wrong::InBand,
            Wrong::Empty,
            Wrong::Usage(*[-1, 0, 1_000_000, i64::MAX].choose(rng).expect("some")),
            Wrong::NoReason,
            Wrong::AfterDone,
            Wrong::Odd,
            Wrong::NoUtf8,
        ];
        *all.choose(rng).expect("some")
    }
}

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

fn token(reason: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"text\":\"a\",\"finish_reason\":{reason}}}]}}\n\n")
}

fn usage(n: i64) -> String {
    format!("data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":16,\"completion_tokens\":{n}}}}}\n\n")
}

const DONE: &str = "data: [DONE]\n\n";

fn stream(before_end: &str, reason: &str, count: i64, end: &str) -> String {
    let some = token("null").repeat(TOKENS as usize - 1);
    format!("{HEAD}{some}{before_end}{}{}{end}", token(reason), usage(count))
}

fn good() -> String {
    stream("", "\"length\"", i64::from(TOKENS), DONE)
}

/// The same byte until the client has had enough.
fn endless(s: &mut TcpStream, begin: &str) -> Result<()> {
    s.write_all(begin.as_bytes())?;
    let filler = vec![b'x'; 1 << 16];
    loop {
        s.write_all(&filler)?;
    }
}

fn wrongly(wrong: Wrong, s: &mut TcpStream) -> Result<()> {
    let n = i64::from(TOKENS);
    let say = |s: &mut TcpStream, text: &str| s.write_all(text.as_bytes());
    match wrong {
        Wrong::Status(code) => say(
            s,
            &format!(
                "HTTP/1.1 {code} No\r\nretry-after: 1\r\ncontent-length: 16\r\nconnection: close\r\n\r\n{{\"error\":\"none\"}}"
            ),
        ),
        Wrong::CutAt(at) => s.write_all(&good().as_bytes()[..at]),
        Wrong::Garbage(seed) => {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let bytes: Vec<u8> = (0..rng.random_range(1..3000)).map(|_| rng.random()).collect();
            say(s, HEAD)?;
            say(s, &token("null"))?;
            s.write_all(&bytes)?;
            say(s, &format!("\n\n{}{}{DONE}", token("\"length\""), usage(n)))
        }
        Wrong::Silent => {
            std::thread::sleep(Duration::from_millis(1500));
            Ok(())
        }
        Wrong::SlowBytes => {
            s.set_nodelay(true)?;
            good().as_bytes().chunks(9).try_for_each(|piece| {
                std::thread::sleep(Duration::from_millis(2));
                s.write_all(piece)
            })
        }
        Wrong::EndlessHeader => endless(s, "HTTP/1.1 200 OK\r\nx: "),
        Wrong::HugeChunk => {
            endless(s, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n")
        }
        Wrong::Nested => {
            say(s, &stream(&format!("data: {}\n\n", "[".repeat(100_000)), "\"length\"", n, DONE))
        }
        Wrong::Gzip => {
            say(s, "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n\u{1f}\u{8b}xxxx")
        }
        Wrong::Redirect => {
            say(s, "HTTP/1.1 307 Away\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n")
        }
        Wrong::InBand => {
            say(s, &format!("{HEAD}{}data: {{\"error\":{{\"message\":\"died\"}}}}\n\n", token("null")))
        }
        Wrong::Empty => say(s, &format!("{HEAD}{DONE}")),
        Wrong::Usage(count) => say(s, &stream("", "\"length\"", count, DONE)),
        Wrong::NoReason => say(s, &stream("", "null", n, DONE)),
        Wrong::AfterDone => say(s, &stream("", "\"length\"", n, &format!("{DONE}{}", token("null")))),
        Wrong::Odd => {
            say(s, &stream(": a comment\r\n\r\n", "\"length\"", n, DONE).replace("\n\n", "\r\n\r\n"))
        }
        Wrong::NoUtf8 => {
            say(s, HEAD)?;
            s.write_all(b"data: {\"choices\":[{\"text\":\"\xff\xfe\",\"finish_reason\":null}]}\n\n")?;
            say(s, &format!("{}{}{DONE}", token("\"length\""), usage(2)))
        }
    }
}

/// A server of which every third answer is wrong; how many were.
fn server(wrong: Wrong) -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (asked, spoilt) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let count = Arc::clone(&spoilt);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (asked, spoilt) = (Arc::clone(&asked), Arc::clone(&spoilt));
            std::thread::spawn(move || {
                // A client that has gone ends the answer.
                let _ = answered(stream, wrong, &asked, &spoilt);
            });
        }
    });
    (url, count)
}

fn answered(mut stream: TcpStream, wrong: Wrong, asked: &AtomicU32, spoilt: &AtomicU32) -> Result<()> {
    let path = request(&mut stream)?;
    match path.as_str() {
        "/v1/models" => stream.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"data\":[{\"id\":\"m\"}]}",
        ),
        "/v1/completions" if asked.fetch_add(1, Ordering::SeqCst) % 3 == 1 => {
            spoilt.fetch_add(1, Ordering::SeqCst);
            wrongly(wrong, &mut stream)
        }
        "/v1/completions" => stream.write_all(good().as_bytes()),
        _ => stream.write_all(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
    }
}

/// Reads one request, body and all, and gives its path.
fn request(stream: &mut TcpStream) -> Result<String> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let n = stream.read(&mut piece)?;
        bytes.extend_from_slice(&piece[..n]);
        let text = String::from_utf8_lossy(&bytes);
        let length = |head: &str| {
            let line = head
                .lines()
                .find_map(|l| l.to_lowercase().strip_prefix("content-length:").map(str::to_owned));
            line.and_then(|l| l.trim().parse::<usize>().ok()).unwrap_or(0)
        };
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && (body.len() >= length(head) || n == 0)
        {
            return Ok(head.split(' ').nth(1).unwrap_or_default().to_owned());
        }
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

pub(crate) fn run(faults: u64, seed: u64, tally: &mut Tally) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed + 4);
    for _ in 0..faults {
        let wrong = Wrong::drawn(&mut rng);
        let world = World::new();
        let (url, spoilt) = server(wrong);
        let out = world.path("o.json");
        let mut command = world.dyno();
        let workload = format!("random:16/{TOKENS},n={REQUESTS},concurrency=4");
        command.args([
            "bench",
            "--base-url",
            &url,
            "--workload",
            &workload,
            "--warmups",
            "0",
            "--run-timeout",
            "20s",
            "--out",
        ]);
        let done = finish(command.arg(&out).spawn().expect("a start"), Duration::from_secs(60));
        let spoilt = spoilt.load(Ordering::SeqCst);
        let held = done.sound().and_then(|()| counted(wrong, spoilt, &out, &done.said()));
        tally.book(wrong.name(), done.peak_mb, held.and_then(|()| world.nothing_left()));
    }
}

/// Every request is accounted for, and only those that were answered wrongly may be lost.
fn counted(wrong: Wrong, spoilt: u32, out: &std::path::Path, said: &str) -> std::result::Result<(), String> {
    let records = read_records(out).map_err(|e| format!("{wrong:?}: the run is lost: {e}; {said}"))?;
    let result = records.first().and_then(|r| r.result.as_ref()).ok_or("no result")?;
    let number = |key| result.get(key).unwrap_or(0.0) as u32;
    let (completed, failed) = (number(Key::Completed), number(Key::Failed));
    let expected = match wrong.fatal() {
        Some(true) => failed == spoilt,
        Some(false) => failed == 0,
        None => failed <= spoilt,
    };
    if completed + failed == REQUESTS && expected {
        return Ok(());
    }
    Err(format!(
        "{wrong:?}: {completed} completed and {failed} failed of {REQUESTS}, {spoilt} answered wrongly; {said}"
    ))
}
