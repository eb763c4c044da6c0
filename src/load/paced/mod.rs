//! The known-timing server: answers whose token times are known in advance, to check a client against.
//!
//! It is paced by deadlines: token k of a request is due at its arrival + TTFT + k x ITL, whatever happened
//! before. A request arrives when the kernel says so; what was really sent, and when, it records, so that a
//! client's error can be told from the server's (`/stats`; a POST to `/reset` begins anew). It can also be odd in the ways engines are: a role chunk
//! first, reasoning deltas, several tokens a chunk, several chunks a write, keep-alive comments, early stops,
//! streams that are cut, answers that are errors or garbage or never come.

mod answer;
mod pacer;
mod sent;
mod server;

pub use sent::{PacedStats, Times};
pub use server::PacedServer;

use std::time::Duration;

/// How the server answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    pub ttft: Duration,
    /// Time between tokens.
    pub itl: Duration,
    /// Tokens in one chunk; the chunks are then `itl` x this apart.
    pub tokens_per_chunk: u32,
    /// Events in one write; all but the last of a write wait for it.
    pub burst: u32,
    /// Chat: a chunk with only the role, at once.
    pub role_chunk: bool,
    /// Chat: number of leading tokens that are reasoning deltas.
    pub reasoning: u32,
    /// Name of the reasoning field: `reasoning_content` until vLLM 0.15 and in SGLang, `reasoning` since.
    pub reasoning_key: String,
    /// Every token's text is empty.
    pub empty_text: bool,
    /// A comment line before every chunk.
    pub keep_alive: bool,
    /// The finish reason comes in a chunk of its own, after the last token, as SGLang sends it.
    pub separate_finish: bool,
    /// Most tokens of an answer, whatever was asked for.
    pub early_stop: Option<u32>,
    /// Share of the streams that end half way, without finish reason, usage and `[DONE]`.
    pub truncate_share: f64,
    /// Share of the streams that hold an error object half way.
    pub in_band_error_share: f64,
    /// Share of the requests answered by an error status.
    pub error_share: f64,
    pub error_status: u16,
    /// Share of the requests answered by something that is not JSON.
    pub garbage_share: f64,
    /// Share of the requests that are never answered.
    pub hang_share: f64,
    /// No usage chunk even when asked for.
    pub no_usage: bool,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            ttft: Duration::from_millis(100),
            itl: Duration::from_millis(10),
            tokens_per_chunk: 1,
            burst: 1,
            role_chunk: true,
            reasoning: 0,
            reasoning_key: "reasoning_content".into(),
            empty_text: false,
            keep_alive: false,
            separate_finish: false,
            early_stop: None,
            truncate_share: 0.0,
            in_band_error_share: 0.0,
            error_share: 0.0,
            error_status: 500,
            garbage_share: 0.0,
            hang_share: 0.0,
            no_usage: false,
        }
    }
}

impl Pace {
    /// Whether the `index`-th request belongs to a share: evenly spread, so that any long run has the share.
    fn belongs(share: f64, index: u64) -> bool {
        ((index + 1) as f64 * share).floor() > (index as f64 * share).floor()
    }
}
