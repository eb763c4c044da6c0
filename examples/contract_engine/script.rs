//! The script: which engine is played, how fast it is, and what goes wrong.

use serde::Deserialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Flavour {
    Vllm,
    Sglang,
    Trtllm,
}

/// Part of the engine's life, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// Arguments are parsed, the configuration is built.
    Start,
    /// Weights are read.
    Load,
    /// The KV cache is laid out.
    KvCache,
    /// Graphs are captured, kernels tuned.
    Warmup,
    /// Requests are served.
    Run,
    /// SIGTERM has come.
    Stop,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Script {
    pub(crate) flavour: Flavour,
    pub(crate) version: String,
    /// Longest sequence that the model's configuration allows.
    #[serde(default = "model_len")]
    pub(crate) model_len: u32,
    /// KV cache in tokens.
    #[serde(default = "kv_tokens")]
    pub(crate) kv_tokens: u64,
    /// Requests served at the same time unless a flag says otherwise; the rest wait in order.
    #[serde(default = "slots")]
    pub(crate) slots: u32,
    /// Milliseconds from a free slot to the first token.
    #[serde(default = "ttft_ms")]
    pub(crate) ttft_ms: f64,
    /// Milliseconds between tokens.
    #[serde(default = "tpot_ms")]
    pub(crate) tpot_ms: f64,
    /// Added to the first token's time for every prompt token, in microseconds.
    #[serde(default)]
    pub(crate) prefill_us: f64,
    /// Milliseconds spent in each phase of the start.
    #[serde(default = "phase_ms")]
    pub(crate) phase_ms: u64,
    /// Flags that the table of the flavour lacks, as `name:kind` (see `flags.rs`).
    #[serde(default)]
    pub(crate) flags: Vec<String>,
    #[serde(default)]
    pub(crate) workers: Vec<Worker>,
    /// Milliseconds from SIGTERM to the end.
    #[serde(default = "stop_ms")]
    pub(crate) stop_ms: u64,
    /// SIGTERM before readiness is never answered, as vLLM's front end does while it waits for its core.
    #[serde(default)]
    pub(crate) deaf_while_starting: bool,
    /// SIGTERM is never answered.
    #[serde(default)]
    pub(crate) deaf: bool,
    /// More lines of log, each when its phase begins.
    #[serde(default)]
    pub(crate) log: Vec<Line>,
    #[serde(default)]
    pub(crate) effects: Vec<Effect>,
    #[serde(default)]
    pub(crate) failures: Vec<Failure>,
}

/// A process below the front end.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Worker {
    /// Title, such as `VLLM::EngineCore`.
    pub(crate) name: String,
    /// Ignores SIGTERM and outlives its parent.
    #[serde(default)]
    pub(crate) stubborn: bool,
    /// In a session of its own, as MPI's helpers are.
    #[serde(default)]
    pub(crate) own_session: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub(crate) phase: Phase,
    pub(crate) text: String,
}

/// What a flag does to the times; all factors default to 1.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Effect {
    /// `flag=value` or `flag`.
    pub(crate) when: String,
    #[serde(default = "one")]
    pub(crate) ttft: f64,
    #[serde(default = "one")]
    pub(crate) tpot: f64,
    #[serde(default = "one")]
    pub(crate) slots: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failure {
    pub(crate) phase: Phase,
    pub(crate) how: How,
    /// Only when this flag is set (`flag=value` or `flag`).
    #[serde(default)]
    pub(crate) when: Option<String>,
    /// Written to the log just before.
    #[serde(default)]
    pub(crate) log: String,
    /// Exit code or signal number.
    #[serde(default = "exit_code")]
    pub(crate) code: i32,
    /// In the phase `run`: generating requests that are served before it happens.
    #[serde(default)]
    pub(crate) after: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum How {
    /// Ends with `code`; workers end with it unless they are stubborn.
    Exit,
    /// Ends by the signal `code`.
    Signal,
    /// Goes on running without any further sign of life; connections stay open.
    Hang,
    /// The workers are gone, the front end stays without serving.
    Linger,
    /// The engine behind the front end dies: requests get 500, then the process ends with `code`.
    CoreDeath,
    /// 200 with a body that is no JSON.
    Garbage,
    /// Every generating request gets HTTP 500.
    Error500,
    /// Streams are cut in the middle.
    Cut,
    /// Streams end without the last chunk.
    Truncate,
    /// Each request is slower than the one before.
    SlowDeath,
}

fn model_len() -> u32 {
    8192
}
fn kv_tokens() -> u64 {
    65536
}
fn slots() -> u32 {
    64
}
fn ttft_ms() -> f64 {
    10.0
}
fn tpot_ms() -> f64 {
    2.0
}
fn phase_ms() -> u64 {
    5
}
fn stop_ms() -> u64 {
    10
}
fn exit_code() -> i32 {
    1
}
fn one() -> f64 {
    1.0
}

impl Script {
    /// `(major, minor, patch)`; suffixes such as `rc1` and `post2` do not count.
    pub(crate) fn version(&self) -> (u32, u32, u32) {
        parse_version(&self.version)
    }
}

pub(crate) fn parse_version(text: &str) -> (u32, u32, u32) {
    let mut parts = text.split('.').map(|p| {
        let digits: String = p.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    });
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}
