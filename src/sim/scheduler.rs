//! The scheduler interface shared by the simulator (virtual time) and the embedded engine (real time).

use crate::sim::step::StepShape;

/// Index of a request inside one scheduler; slots are reused after the request has left.
pub type Slot = u32;

/// What a scheduler knows of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SimRequest {
    /// The caller's own number, handed back in events.
    pub id: u64,
    pub input_tokens: u32,
    /// Tokens after which the model stops (what really comes out).
    pub output_tokens: u32,
    /// The client's `max_tokens`, which some schedulers reserve for; equals `output_tokens` under `ignore_eos`.
    pub max_tokens: u32,
    /// Chained hashes of the prompt's full blocks; empty when the prompt shares nothing with any other.
    pub block_hashes: Vec<u64>,
    pub priority: i32,
}

/// One token-bearing outcome of a completed step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenEvent {
    pub id: u64,
    /// Number of the output token, or of the last of them, 1 for the first.
    pub index: u32,
    /// Tokens that came together; they leave the server as one.
    pub tokens: u32,
    pub finished: bool,
}

/// Gauges under their usual names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gauges {
    pub running: u32,
    pub waiting: u32,
    pub kv_blocks_used: u64,
    pub kv_blocks_total: u64,
    /// The most blocks that were in use at the end of a step's composition.
    pub kv_blocks_peak: u64,
    pub preemptions: u64,
    pub prefix_queries: u64,
    pub prefix_hits: u64,
}

/// Why a request can never run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Longer than `max_model_len`.
    TooLong { tokens: u32, limit: u32 },
    /// Longer than all KV blocks together.
    NeverFits { blocks: u64, total: u64 },
}

/// A step in flight: its composition and a ticket to complete it with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub ticket: u64,
    pub shape: StepShape,
}

/// What scheduling a step did to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// Left the waiting queue for the first time.
    Admitted { id: u64 },
    /// Runs again after a preemption.
    Resumed { id: u64 },
    /// Lost its KV blocks and went back to the waiting queue.
    Preempted { id: u64 },
}

/// What a waiting request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// As many requests run as may.
    MaxNumSeqs,
    /// The step's token budget is used up.
    Budget,
    /// Not enough free KV blocks.
    KvBlocks,
    /// Ranks of data-parallel attention that have no prompt yet.
    Balance,
}

/// Decode-only steps in which nothing happens but one more token a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeStretch {
    /// How many such steps are certain.
    pub steps: u32,
    /// Shape of the first of them; from step to step `decode_ctx` grows by `decode_rows` and
    /// `decode_ctx_window` by `window_growth`.
    pub shape: StepShape,
    pub window_growth: u32,
    /// Requests added meanwhile could not be admitted within the stretch, and why.
    pub closed: Option<Blocked>,
}

/// One engine's continuous-batching scheduler. The driver calls `schedule`, lets the step's time pass, and
/// calls `complete` in the order of the tickets. With overlapped scheduling the driver may call `schedule`
/// for the next step before `complete` of the previous one.
pub trait Scheduler: Send {
    /// Queues a request.
    fn add(&mut self, request: SimRequest) -> Result<(), Refusal>;
    /// Removes a request wherever it is; false if it is not known (any more).
    fn abort(&mut self, id: u64) -> bool;
    /// Composes the next step, or `None` when nothing can run.
    fn schedule(&mut self) -> Option<Step>;
    /// Ends the oldest step in flight; appends its tokens in batch order.
    fn complete(&mut self, ticket: u64, out: &mut Vec<TokenEvent>);
    /// What the latest `schedule` did to requests, in the order in which it did it.
    fn transitions(&self) -> &[Transition] {
        &[]
    }
    /// Why requests were left waiting by the latest `schedule`.
    fn blocked(&self) -> Option<Blocked> {
        None
    }
    /// Steps with prompt tokens carry no decode rows: tokens of decode rows then follow those of the latest
    /// step that had some.
    fn prefill_alone(&self) -> bool {
        false
    }
    /// A decode row may bring no token in a step, or several: tokens need not follow those of the step before.
    fn uneven(&self) -> bool {
        false
    }
    /// As [`complete`](Scheduler::complete), but appends only the tokens that do not simply follow the
    /// request's token of the step before: its first one, its last one, and those around a preemption.
    /// Returns how many tokens were left out; every one of them belongs to a request that also got a token
    /// in the step before (in the latest step with decode rows, where prefill runs alone).
    fn complete_notable(&mut self, ticket: u64, out: &mut Vec<TokenEvent>) -> u32 {
        self.complete(ticket, out);
        0
    }
    /// The stretch of steps ahead that are certain to be decode-only with the same rows, when no request
    /// is added meanwhile; `None` when the next step may be anything else.
    fn decode_stretch(&mut self) -> Option<DecodeStretch> {
        None
    }
    /// Schedules and completes `steps` steps of the stretch just offered; with a step in flight, completes
    /// that one and leaves the last one scheduled in flight. Tickets go on by one a step.
    fn advance(&mut self, _steps: u32) {}
    fn gauges(&self) -> Gauges;
    /// How many of these chained block hashes, from the first, are in the prefix cache.
    fn cached_blocks(&self, _hashes: &[u64]) -> u32 {
        0
    }
    /// Drops every cached prefix that no running request holds.
    fn reset_prefix_cache(&mut self) -> bool;
}
