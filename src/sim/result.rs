//! What a simulation gives back.

use super::scheduler::Blocked;
use crate::scenario::Metrics;
use crate::sim::step::StepShape;
use crate::units::Nanos;

/// Timing of one simulated request; times since the start of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestOutcome {
    /// When the client sent it.
    pub arrival: Nanos,
    /// When it left the front end for the scheduler's queue.
    pub queued: Nanos,
    /// When the scheduler first took it up.
    pub scheduled: Nanos,
    pub first_token: Nanos,
    pub finished: Nanos,
    pub input_tokens: u32,
    pub output_tokens: u32,
    pub preemptions: u32,
    /// Gaps between its tokens, when asked for.
    pub itl: Option<Vec<Nanos>>,
    /// Refused by the engine, or never finished; times from `scheduled` on are then zero.
    pub failed: bool,
}

impl RequestOutcome {
    pub fn ttft(&self) -> Nanos {
        self.first_token.saturating_sub(self.arrival)
    }
    pub fn e2e(&self) -> Nanos {
        self.finished.saturating_sub(self.arrival)
    }
    /// Waiting in the scheduler's queue before the first step.
    pub fn queue(&self) -> Nanos {
        self.scheduled.saturating_sub(self.queued)
    }
    /// `(E2E - TTFT) / (output tokens - 1)`; `None` for a single token.
    pub fn tpot_ns(&self) -> Option<f64> {
        let gaps = self.output_tokens.checked_sub(1).filter(|&n| n > 0)?;
        Some((self.finished.0 - self.first_token.0) as f64 / f64::from(gaps))
    }
}

/// Where the time of a run went; of data-parallel replicas the mean times and the sums of the counts. `device`, `host`, `frontend` and `idle` add up to the time until the last
/// step's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunBreakdown {
    /// The device computed.
    pub device: Nanos,
    /// The device waited for the host's scheduling, launch and update.
    pub host: Nanos,
    /// Nothing to run, and the next request was still in the front end.
    pub frontend: Nanos,
    /// No request is waiting or running.
    pub idle: Nanos,
    /// Steps whose host work was longer than their device work: what binds under overlap.
    pub host_bound_steps: u64,
    pub steps: u64,
    pub decode_only_steps: u64,
    /// Device time of steps that carried prompt tokens.
    pub prefill_device: Nanos,
    /// Σ over all steps of their shapes.
    pub prefill_tokens: u64,
    pub prefill_rows: u64,
    pub decode_rows: u64,
    pub decode_ctx: u64,
    pub speculative_tokens: u64,
    /// Steps begun while requests waited because `max_num_seqs` were running.
    pub max_num_seqs_steps: u64,
    /// Steps begun while requests waited for KV blocks.
    pub kv_full_steps: u64,
    /// Steps that used their whole token budget.
    pub budget_full_steps: u64,
    pub preemptions: u64,
    pub peak_running: u32,
    pub peak_waiting: u32,
    pub peak_kv_blocks: u64,
    pub kv_blocks_total: u64,
    /// Service time of the front end.
    pub frontend_busy: Nanos,
    pub prefix_queries: u64,
    pub prefix_hits: u64,
    /// End of the last step.
    pub end: Nanos,
}

impl RunBreakdown {
    pub(super) fn add_shape(&mut self, s: &StepShape) {
        self.steps += 1;
        self.decode_only_steps += u64::from(s.prefill_rows == 0);
        self.prefill_tokens += u64::from(s.prefill_tokens);
        self.prefill_rows += u64::from(s.prefill_rows);
        self.decode_rows += u64::from(s.decode_rows);
        self.decode_ctx += s.decode_ctx;
        self.speculative_tokens += u64::from(s.speculative_tokens);
    }

    /// Adds another replica's breakdown: times become those of all replicas together, up to the later end.
    pub(super) fn merge(&mut self, o: &RunBreakdown) {
        let end = self.end.max(o.end);
        self.idle += end.saturating_sub(self.end) + end.saturating_sub(o.end) + o.idle;
        self.end = end;
        self.device += o.device;
        self.host += o.host;
        self.frontend += o.frontend;
        self.prefill_device += o.prefill_device;
        self.frontend_busy += o.frontend_busy;
        self.host_bound_steps += o.host_bound_steps;
        self.steps += o.steps;
        self.decode_only_steps += o.decode_only_steps;
        self.prefill_tokens += o.prefill_tokens;
        self.prefill_rows += o.prefill_rows;
        self.decode_rows += o.decode_rows;
        self.decode_ctx += o.decode_ctx;
        self.speculative_tokens += o.speculative_tokens;
        self.max_num_seqs_steps += o.max_num_seqs_steps;
        self.kv_full_steps += o.kv_full_steps;
        self.budget_full_steps += o.budget_full_steps;
        self.preemptions += o.preemptions;
        self.peak_running += o.peak_running;
        self.peak_waiting += o.peak_waiting;
        self.peak_kv_blocks += o.peak_kv_blocks;
        self.kv_blocks_total += o.kv_blocks_total;
        self.prefix_queries += o.prefix_queries;
        self.prefix_hits += o.prefix_hits;
    }

    /// Times as the mean of `replicas` that were added together; counts stay sums.
    pub(super) fn average(&mut self, replicas: u64) {
        let each = [
            &mut self.device,
            &mut self.host,
            &mut self.frontend,
            &mut self.idle,
            &mut self.prefill_device,
            &mut self.frontend_busy,
        ];
        for time in each {
            time.0 /= replicas.max(1);
        }
    }

    pub(super) fn note_blocked(&mut self, blocked: Option<Blocked>) {
        match blocked {
            Some(Blocked::MaxNumSeqs) => self.max_num_seqs_steps += 1,
            Some(Blocked::Budget) => self.budget_full_steps += 1,
            Some(Blocked::KvBlocks) => self.kv_full_steps += 1,
            Some(Blocked::Balance) | None => {}
        }
    }

    /// Mean tokens a step.
    pub fn tokens_per_step(&self) -> f64 {
        (self.prefill_tokens + self.decode_rows) as f64 / self.steps.max(1) as f64
    }
}

/// The outcome of [`simulate`](super::simulate).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SimResult {
    /// The result keys (contract), over completed requests.
    pub metrics: Metrics,
    /// One a request in the order of the client's plan; empty unless asked for.
    pub requests: Vec<RequestOutcome>,
    pub breakdown: RunBreakdown,
    /// The run was cut short by [`SimOptions::max_steps`](super::SimOptions).
    pub truncated: bool,
}
