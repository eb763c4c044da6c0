//! What is loaded, and how.

use super::Cancel;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A value that never reaches a log, a record or an error message.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Secret {
        Secret(value.into())
    }
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Which route of the server is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Endpoint {
    /// `/v1/completions`
    #[default]
    Completions,
    /// `/v1/chat/completions`
    Chat,
}

impl Endpoint {
    pub fn path(self) -> &'static str {
        match self {
            Endpoint::Completions => "/v1/completions",
            Endpoint::Chat => "/v1/chat/completions",
        }
    }
}

/// How the server is asked to count tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Counting {
    /// Totals in the last chunk (`stream_options.include_usage`): the cheapest for the server.
    #[default]
    Usage,
    /// Running totals in every chunk (`continuous_usage_stats`), so that each chunk's tokens are known.
    Continuous,
    /// Ids of every chunk (`return_token_ids`); the first chunk then also carries the prompt's ids.
    TokenIds,
}

/// The server under load.
#[derive(Debug, Clone)]
pub struct Target {
    /// Scheme, host and port, such as `http://127.0.0.1:8000`.
    pub base_url: String,
    /// Addresses of further servers of the same kind: requests go to all of them in turn, in the order of the plan.
    pub others: Vec<String>,
    /// The name under which the server serves the model.
    pub model: String,
    pub endpoint: Endpoint,
    pub api_key: Option<Secret>,
    /// Adds `ignore_eos: true`, so that the planned output length is the real one.
    pub ignore_eos: bool,
    /// Added to every request body; wins over what the client would set.
    pub extra_body: Map<String, Value>,
    pub counting: Counting,
}

impl Target {
    /// Completions with forced output lengths, without a key.
    pub fn new(base_url: impl Into<String>, model: impl Into<String>) -> Target {
        Target {
            base_url: base_url.into(),
            others: Vec::new(),
            model: model.into(),
            endpoint: Endpoint::Completions,
            api_key: None,
            ignore_eos: true,
            extra_body: Map::new(),
            counting: Counting::Usage,
        }
    }
}

/// Counters of a run in progress, for a display.
#[derive(Debug, Default)]
pub struct Progress {
    pub planned: AtomicU64,
    pub sent: AtomicU64,
    pub completed: AtomicU64,
    pub failed: AtomicU64,
    /// Requests whose first token has come.
    pub begun: AtomicU64,
    /// Token-carrying chunks so far.
    pub chunks: AtomicU64,
}

impl Progress {
    pub(super) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// How the requests are sent.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Most requests in flight; None sends each at its intended time.
    pub max_concurrency: Option<u32>,
    /// From send to the end of the stream.
    pub request_timeout: Duration,
    pub connect_timeout: Duration,
    /// Requests still running after this are cut and counted as timeouts.
    pub run_timeout: Option<Duration>,
    /// Open the connections before the clock starts.
    pub preconnect: bool,
    /// Requests sent one after the other before the clock starts, with prompts of their own.
    pub warmups: u32,
    /// Client threads; None chooses by the number in flight and the cores.
    pub threads: Option<usize>,
    /// Client threads run at the lowest real-time priority where the system permits: for an engine that computes
    /// on this machine's CPU.
    pub real_time: bool,
    /// Service level for `request_goodput`: a request counts when it meets every bound, in milliseconds.
    pub goodput: Option<Goodput>,
    pub cancel: Cancel,
    pub progress: Arc<Progress>,
    /// Counted in the figures for those who watch live; false where the client measures itself.
    pub live: bool,
}

/// Bounds of a good request, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Goodput {
    pub ttft_ms: Option<f64>,
    pub tpot_ms: Option<f64>,
    pub e2el_ms: Option<f64>,
}

impl Default for RunOptions {
    fn default() -> RunOptions {
        RunOptions {
            max_concurrency: None,
            request_timeout: Duration::from_secs(6 * 3600),
            connect_timeout: Duration::from_secs(10),
            run_timeout: None,
            preconnect: true,
            warmups: 0,
            threads: None,
            real_time: false,
            goodput: None,
            cancel: Cancel::new(),
            progress: Arc::default(),
            live: true,
        }
    }
}
