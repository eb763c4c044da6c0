//! The life of an engine as its log tells it: starts and restarts, readiness, answered requests.
//!
//! A failure counts only where it was not outlived: what stands before the readiness of the last start was mended
//! by it, and an error between two answered requests was one request's.

use super::causes::{self, Rank};
use super::text::{Line, Part, Speaker};
use crate::launch::EngineKind;
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// Written once a start, by the first process, before anything can go wrong.
const BANNERS: &[&str] = &[
    "vLLM API server version",
    "server_args=ServerArgs(",
    "Using LLM with PyTorch backend",
    "start MpiSession with",
];

/// The server listens and answers.
const READY: &[&str] = &[
    "Application startup complete",
    "The server is fired up and ready to roll",
    "Started GRPCInferenceService",
    "Started HTTPService",
];

/// Ends of a life that nobody complains of.
const STOPPED: &[&str] = &["Application shutdown complete", "Gracefully exiting"];

/// Ranges of lines, one a start, in order; one where no second start can be told.
pub(super) fn starts(lines: &[Line]) -> Vec<Range<usize>> {
    let mut cuts = vec![0];
    let mut ended = false;
    for (i, line) in lines.iter().enumerate() {
        if has(line, BANNERS) && ended {
            // What a spawned interpreter printed before the banner belongs to the new start as well.
            cuts.push(i);
            ended = false;
        }
        ended |= has(line, READY) || has(line, STOPPED) || line.is_exception() || closes(line);
    }
    let ends = cuts.iter().skip(1).copied().chain([lines.len()]);
    cuts.iter().copied().zip(ends).map(|(from, to)| from..to).collect()
}

fn closes(line: &Line) -> bool {
    line.speaks() && causes::first(&line.text, None).is_some_and(|c| c.rank == Rank::Closer)
}

fn has(line: &Line, words: &[&str]) -> bool {
    line.part == Part::Text && words.iter().any(|w| line.text.contains(w))
}

/// Where the start of this range became ready: its last such line, or else its first answered request.
pub(super) fn ready(lines: &[Line], speaker: Speaker) -> Option<usize> {
    // SGLang's web server starts before its schedulers have warmed up.
    let words = if speaker.engine == Some(EngineKind::Sglang) { &READY[1..] } else { READY };
    let said = lines.iter().rposition(|l| has(l, words));
    said.or_else(|| lines.iter().position(serves))
}

/// The engine answered a request, or generates.
pub(super) fn serves(line: &Line) -> bool {
    static SERVES: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r#"(?x)"POST\ \S+\ HTTP/[\d.]+"\ 200
            | Avg\ generation\ throughput:\ (?:[1-9]|0\.[1-9])
            | Decode\ batch.*gen\ throughput
            | iter\ =\ \d+,.*(?:num_generation_tokens|num_ctx_requests)"#,
        )
        .expect("constant")
    });
    line.part == Part::Text && SERVES.is_match(&line.text)
}

/// The server is stopped in good order.
pub(super) fn stops(line: &Line) -> bool {
    const WORDS: &[&str] = &[
        "Shutting down",
        "Waiting for application shutdown",
        "Gracefully exiting",
        "Received SIGTERM",
        "Received SIGINT",
    ];
    has(line, WORDS)
}

/// A request was refused for its own faults.
pub(super) fn refuses(line: &Line) -> bool {
    static REFUSES: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#""(?:POST|GET) \S+ HTTP/[\d.]+" 4\d\d"#).expect("constant"));
    line.part == Part::Text && REFUSES.is_match(&line.text)
}

/// A request failed for the server's.
pub(super) fn fails(line: &Line) -> bool {
    static FAILS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#""(?:POST|GET) \S+ HTTP/[\d.]+" 5\d\d"#).expect("constant"));
    line.part == Part::Text && FAILS.is_match(&line.text)
}
