//! The interface on which the simulator runs: what is in one step, and what that step takes.
//!
//! The cost model implements [`StepTime`]; the simulator knows nothing else of it.

/// Sums that describe the composition of one step; everything a step-time model may look at.
///
/// `*_ctx` sums are in token·token (chunk × attended context) for prefill rows and in tokens for decode
/// rows. `*_window` variants have each row's context clipped to the model's sliding window; for a model
/// without local layers they equal the full ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepShape {
    /// Rows that compute more than their newest token (prompt chunks, also of resumed requests).
    pub prefill_rows: u32,
    pub prefill_tokens: u32,
    /// Σ over prefill rows of Σ over the chunk's tokens of the context each attends to.
    pub prefill_ctx: u64,
    pub prefill_ctx_window: u64,
    /// Σ over prefill rows of the context read once by the chunk (start + length): KV bytes touched.
    pub prefill_kv: u64,
    pub decode_rows: u32,
    /// Proposed tokens that decode rows verify beside their newest ones.
    pub speculative_tokens: u32,
    /// Σ over decode rows of the context attended to.
    pub decode_ctx: u64,
    pub decode_ctx_window: u64,
    /// Requests that finish or start with this step: host bookkeeping.
    pub admitted: u32,
    pub finished: u32,
}

impl StepShape {
    pub fn tokens(&self) -> u32 {
        self.prefill_tokens + self.decode_rows + self.speculative_tokens
    }
    pub fn rows(&self) -> u32 {
        self.prefill_rows + self.decode_rows
    }
}

/// Time of one step, split by who is busy: with overlapped scheduling the period is max(host, device),
/// without it their sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepCost {
    /// Device time, integer nanoseconds.
    pub device: u64,
    /// Host time before the device can begin and after it has ended: schedule, prepare, update; integer
    /// nanoseconds.
    pub host: u64,
    /// Host time of launching kernels one by one, while the device already runs them; integer nanoseconds.
    /// The step ends no earlier than its launch, and the host does nothing else meanwhile.
    pub launch: u64,
}

/// A model of step times. Implementations are pure and cheap (tens of nanoseconds a call): the simulator
/// calls it once a simulated step.
pub trait StepTime: Send + Sync {
    fn step(&self, shape: &StepShape) -> StepCost;
    /// The part of the step's host time that comes after the device has ended and before the next step is composed:
    /// what becomes ready in it still joins that step. Nanoseconds; only where nothing overlaps.
    fn update(&self, _shape: &StepShape) -> u64 {
        0
    }
    /// Serial front-end service time of one request (HTTP, tokenize, hand-over), nanoseconds: a queue of
    /// its own before the scheduler.
    fn frontend(&self, input_tokens: u32) -> u64;
    /// Requests share the front end instead of passing it one after the other.
    fn shares_frontend(&self) -> bool {
        false
    }
    /// Delay from the end of a step until its `rows` tokens have left the server, nanoseconds.
    fn emit(&self, rows: u32) -> u64;
    /// Time for which sending `rows` tokens keeps the front end from other work, nanoseconds.
    fn emit_busy(&self, _rows: u32) -> u64 {
        0
    }
    /// The window to which `*_ctx_window` sums are clipped; `None` when no layer is local.
    fn window(&self) -> Option<u32>;
}
