//! Which requests, of what lengths, arriving when: each workload is a pure function of its seed.
//!
//! [`parse()`] reads the command-line form, [`shapes`] gives arrivals and lengths (all that the simulator and
//! the cost model need), [`generate()`] adds the prompts. Lengths, arrivals and prompt contents come from three
//! independent streams of one seed, so that the lengths do not depend on the vocabulary, and the first k
//! requests of a random workload do not depend on how many follow.

mod arrivals;
mod bounds;
mod chat;
mod custom;
mod draft;
mod files;
mod generate;
mod lengths;
mod mix;
mod parse;
pub mod presets;
mod prompts;
mod sharegpt;
mod sharing;
pub mod spec;
mod trace;

pub use custom::to_jsonl;
pub use generate::{generate, generate_run, part_of_each, shapes};
pub use parse::parse;
pub use sharing::{Shared, Span, sharing};
pub use spec::{Arrivals, Component, Dataset, Lengths, RequestRate, WorkloadSpec};

use crate::units::Nanos;

/// What reading a workload's file leaves out, in words; nothing where it has no file or all of it is used.
pub fn notes(spec: &WorkloadSpec) -> Vec<String> {
    let own = match (spec.dataset, spec.path.as_deref()) {
        (Dataset::Sharegpt, Some(path)) => sharegpt::notes(spec, path),
        _ => None,
    };
    own.into_iter().chain(spec.parts().iter().flat_map(|c| notes(&c.workload))).collect()
}

/// The files that a workload reads, each with a checksum of its contents; one that cannot be read has none, and is told
/// where it is used.
pub fn fingerprints(spec: &WorkloadSpec) -> Vec<(String, String)> {
    let own = spec.path.iter().filter_map(|p| Some((p.clone(), crate::host::fingerprint(p.as_ref()).ok()?)));
    own.chain(spec.parts().iter().flat_map(|c| fingerprints(&c.workload))).collect()
}

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

/// A request that waits for another one: the next turn of a chat session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follows {
    /// `id` of the request that must have ended before.
    pub id: u64,
    /// Time between that end and the intended send.
    pub think: Nanos,
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
    /// Set on the later turns of a chat session; `arrival` then says only the earliest time.
    pub follows: Option<Follows>,
}

/// Arrival and lengths only: what the simulator and the cost model need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestShape {
    pub arrival: Nanos,
    pub input_tokens: u32,
    pub output_tokens: u32,
}
