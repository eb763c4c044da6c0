//! Which requests, of what lengths, arriving when: each workload is a pure function of its seed.

pub mod spec;

pub use spec::{Dataset, RequestRate, WorkloadSpec};

use crate::units::Nanos;

/// What is sent as the prompt of one request.
#[derive(Debug, Clone, PartialEq)]
pub enum Prompt {
    /// Token ids: needs no tokenizer and has an exact length.
    TokenIds(Vec<u32>),
    /// Text for `/v1/completions` or the one user message of `/v1/chat/completions`.
    Text(String),
    /// A whole conversation: (role, content).
    Chat(Vec<(String, String)>),
}

/// One request of a generated workload.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedRequest {
    pub id: u64,
    /// Intended send time since the start of the run.
    pub arrival: Nanos,
    pub prompt: Prompt,
    /// Prompt length in tokens as far as it is known before sending.
    pub input_tokens: u32,
    /// `max_tokens` of the request.
    pub output_tokens: u32,
}

/// Arrival and lengths only: what the simulator and the cost model need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestShape {
    pub arrival: Nanos,
    pub input_tokens: u32,
    pub output_tokens: u32,
}
