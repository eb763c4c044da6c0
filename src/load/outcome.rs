//! What became of each request, and of the run.

use super::{ClientHealth, Distortion};
use crate::scenario::{Metrics, RequestRow};
use crate::units::Nanos;
use std::collections::BTreeMap;
use std::fmt;

/// Why a request did not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// No connection could be opened.
    Connect,
    /// The connection was reset or closed before the answer began or inside it.
    Reset,
    /// The request, or the whole run, took longer than allowed.
    Timeout,
    /// Another status than 200.
    Http(u16),
    /// An error object inside a stream that began well.
    InBand,
    /// The stream ended without a finish reason.
    Truncated,
    /// Not what an OpenAI-compatible server answers.
    BadResponse,
    /// A stream that ended well without a single token.
    NoTokens,
    /// The run was stopped.
    Cancelled,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::Connect => f.write_str("connect"),
            ErrorKind::Reset => f.write_str("reset"),
            ErrorKind::Timeout => f.write_str("timeout"),
            ErrorKind::Http(status) => write!(f, "http-{status}"),
            ErrorKind::InBand => f.write_str("in-band-error"),
            ErrorKind::Truncated => f.write_str("truncated"),
            ErrorKind::BadResponse => f.write_str("bad-response"),
            ErrorKind::NoTokens => f.write_str("no-tokens"),
            ErrorKind::Cancelled => f.write_str("cancelled"),
        }
    }
}

/// What was odd about an answer that is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// It ended with `[DONE]`, its tokens and their count, but without a finish reason.
    NoFinishReason,
    /// Tokens came after `[DONE]`; they are not counted.
    AfterDone,
}

/// One request as it was measured. Times count from the start of the run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row {
    pub id: u64,
    /// When it was due: its arrival in an open loop, the freeing of its slot in a closed one.
    pub intended: Nanos,
    /// When its first byte was handed to an open connection.
    pub sent: Nanos,
    /// Time before that for a connection: nothing but a check where an open one was at hand.
    pub connect: Nanos,
    /// How long the kernel took to accept it whole.
    pub write: Nanos,
    /// When the response headers had arrived.
    pub headers: Option<Nanos>,
    /// Arrival of each token-carrying chunk, ascending.
    pub chunks: Vec<Nanos>,
    /// Tokens of each chunk where the server said so; else empty.
    pub chunk_tokens: Vec<u32>,
    /// End of the stream, or the moment of the error.
    pub ended: Nanos,
    /// From `usage`, else as planned.
    pub input_tokens: u32,
    /// From `usage` or token ids; of an incomplete stream without either, a lower bound.
    pub output_tokens: u32,
    /// False when neither usage nor token ids were given: `output_tokens` is then a count of chunks.
    pub counted: bool,
    pub cached_tokens: Option<u32>,
    pub oddity: Option<Oddity>,
    /// None when the request completed.
    pub error: Option<(ErrorKind, String)>,
}

impl Row {
    pub fn completed(&self) -> bool {
        self.error.is_none()
    }
    /// Actual send to first token.
    pub fn ttft(&self) -> Option<Nanos> {
        self.chunks.first().map(|&t| t.saturating_sub(self.sent))
    }
    /// Actual send to last token.
    pub fn e2e(&self) -> Option<Nanos> {
        self.chunks.last().map(|&t| t.saturating_sub(self.sent))
    }
    /// (E2E - TTFT) / (output tokens - 1); None for a single token.
    pub fn tpot(&self) -> Option<f64> {
        let (first, last) = (self.chunks.first()?, self.chunks.last()?);
        (self.output_tokens > 1)
            .then(|| last.saturating_sub(*first).secs() / f64::from(self.output_tokens - 1))
    }
    /// Actual minus intended send time.
    pub fn lateness(&self) -> Nanos {
        self.sent.saturating_sub(self.intended)
    }
    /// The row in the interchange format.
    pub fn to_request_row(&self) -> RequestRow {
        let done = self.completed();
        let gaps = || self.chunks.windows(2).map(|w| round_us(w[1].saturating_sub(w[0]))).collect();
        RequestRow {
            arrival_s: round_us(self.intended),
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            ttft_s: self.ttft().map(round_us),
            e2e_s: if done { self.e2e().map(round_us) } else { None },
            itl_s: (self.chunks.len() > 1).then(gaps),
            send_late_s: Some(round_us(self.lateness())),
            error: self.error.as_ref().map(|(kind, _)| kind.to_string()),
            ..RequestRow::default()
        }
    }
}

/// Seconds rounded to a microsecond: finer is noise and makes files large.
fn round_us(t: Nanos) -> f64 {
    (t.0 as f64 / 1e3).round() / 1e6
}

/// Failures of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ErrorCount {
    pub count: u64,
    /// The first of them in words.
    pub first: String,
}

/// A measured run.
#[derive(Debug, Clone)]
pub struct LoadResult {
    pub metrics: Metrics,
    /// In order of intended send.
    pub rows: Vec<Row>,
    pub errors: BTreeMap<ErrorKind, ErrorCount>,
    pub health: ClientHealth,
    /// Why none of the numbers must be used; empty when they may.
    pub invalid: Vec<String>,
    /// What the client's own lateness did to single figures.
    pub distortion: Distortion,
    /// True when the run was stopped before its end.
    pub cancelled: bool,
}

impl LoadResult {
    /// Rows in the interchange format.
    pub fn request_rows(&self) -> Vec<RequestRow> {
        self.rows.iter().map(Row::to_request_row).collect()
    }
    /// Share of prompt tokens that the server took from its cache, where it said so.
    pub fn cached_share(&self) -> Option<f64> {
        let said: Vec<&Row> = self.rows.iter().filter(|r| r.cached_tokens.is_some()).collect();
        let cached: f64 = said.iter().filter_map(|r| r.cached_tokens).map(f64::from).sum();
        let prompt: f64 = said.iter().map(|r| f64::from(r.input_tokens)).sum();
        (prompt > 0.0).then(|| cached / prompt)
    }
}
