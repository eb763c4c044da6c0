//! A launch's load through the simulator.

use super::super::habits::Intake;
use super::super::{Coefficients, Physical, StepShape, StepTime};
use super::Setup;
use super::screened::Prepared;
use crate::engine::AttentionBalance;
use crate::hardware::Vendor;
use crate::launch::EngineKind;
use crate::scenario::Key;
use crate::sim::scheduler::SimRequest;
use crate::sim::{
    Arrival, FollowUp, SimOptions, SimResult, block_hashes, policy, simulate, simulate_replicas,
};
use crate::units::Nanos;
use crate::workload::{RequestShape, Shared};
use std::sync::Arc;

/// One prompt of so many tokens by itself; what local layers attend to is left out, as is fit for a bound.
fn alone(tokens: u32) -> StepShape {
    let n = u64::from(tokens.max(1));
    StepShape {
        prefill_rows: 1,
        prefill_tokens: tokens.max(1),
        prefill_ctx: n * (n + 1) / 2,
        prefill_kv: n,
        ..StepShape::default()
    }
}

impl Setup {
    /// A simulated run with these coefficients; `per_request` keeps every outcome.
    pub fn simulate(&self, c: &Coefficients, per_request: bool) -> SimResult {
        let Prepared { coefficients: c, config, mut options } = self.prepared(c);
        options.per_request = per_request;
        let time = Physical::new(&self.hardware, &self.model, &config, &c);
        let layout = self.layout(self.pool_blocks(&c));
        let scheduler = || policy::build(&config, &layout, time.window());
        let mut run = if config.data_parallel > 1 {
            simulate_replicas(&self.arrivals(), config.data_parallel, &scheduler, &time, &options)
        } else {
            simulate(self.arrivals(), scheduler().as_mut(), &time, &options)
        };
        if self.warm > 0.0 {
            self.count_cached(&mut run);
        }
        run
    }

    /// Milliseconds that a prompt of mean length and the shortest one take at the device's peaks. Of prompts that may lie in the
    /// prefix cache one token is left.
    pub(in super::super) fn least_first_token_ms(&self, c: &Coefficients) -> [f64; 2] {
        let cached = self.config.prefix_caching && (self.shared.is_some() || self.could_be_warm());
        let lengths = || self.requests.iter().map(|r| if cached { 1 } else { r.input_tokens });
        let sum: f64 = lengths().map(f64::from).sum();
        let mean = (sum / self.requests.len().max(1) as f64) as u32;
        let physical = self.physical(c);
        [mean, lengths().min().unwrap_or(1)].map(|tokens| physical.physical_limit(&alone(tokens)) / 1e6)
    }

    /// What a run of this launch is made of, for the simulator and for the screen.
    pub(super) fn prepared(&self, c: &Coefficients) -> Prepared {
        let mut c = *c;
        let mut options = SimOptions {
            max_concurrency: self.concurrency,
            overlap: self.config.overlap,
            ..SimOptions::default()
        };
        // Where requests share the front end, a burst needs no rule of its own.
        if self.burst && self.hardware.vendor != Vendor::Cpu {
            let tokens: f64 = self.requests.iter().map(|r| f64::from(r.input_tokens)).sum();
            let us = c.burst_request * self.requests.len() as f64 + c.burst_token * tokens;
            let frontends = self.config.frontends * self.config.data_parallel.max(1);
            options.frontend_from = Nanos((us * 1e3 / f64::from(frontends)) as u64);
            (c.frontend_request, c.frontend_token) = (0.0, 0.0);
        }
        c.emit_delay += self.polling_delay(&c);
        let mut config = self.config.clone();
        if let (Intake::WithCompletion, Some(n)) = (self.habits.intake, self.concurrency) {
            config.max_num_seqs = config.max_num_seqs.min(n.saturating_sub(1).max(1));
        }
        if self.habits.intake == Intake::Balanced {
            config.attention_balance = AttentionBalance::On { timeout_iters: 60, batching_wait_iters: 0 };
        }
        if config.engine == EngineKind::Trtllm && self.concurrency.is_some() {
            // Closed loops of the 8B model show no eager decode steps: batches are padded up to a graph.
            config.graph_padding = true;
        }
        // Each batch on its way through the stages has a budget of its own.
        config.max_num_batched_tokens *= config.pipeline_parallel.max(1);
        if config.engine == EngineKind::Trtllm {
            // So has each rank of data-parallel attention, and a batch of its own; the other engines' limits are of all ranks.
            let ranks = config.attention_parallel.max(1);
            config.max_num_batched_tokens = config.max_num_batched_tokens.saturating_mul(ranks);
            config.max_num_seqs = config.max_num_seqs.saturating_mul(ranks);
        }
        Prepared { coefficients: c, config, options }
    }

    /// Mean wait for the scheduler's next look for requests, us: half of the decode steps between two looks. In a closed
    /// loop the time between a request's last token and the first step of the next is all that counts, so it stands with
    /// the delay of emission.
    fn polling_delay(&self, c: &Coefficients) -> f64 {
        let between = f64::from(self.config.recv_interval.max(1)) - 1.0;
        if between <= 0.0 {
            return 0.0;
        }
        let n = self.requests.len().max(1) as u64;
        let tokens = |r: &RequestShape| u64::from(r.input_tokens) + u64::from(r.output_tokens) / 2;
        let context = self.requests.iter().map(tokens).sum::<u64>() / n;
        let rows = self.concurrency.unwrap_or(1).clamp(1, self.config.max_num_seqs.max(1));
        let shape = StepShape {
            decode_rows: rows,
            decode_ctx: u64::from(rows) * context,
            decode_ctx_window: u64::from(rows) * context,
            ..StepShape::default()
        };
        let cost = self.physical(c).step(&shape);
        let (device, host) = (cost.device.max(cost.launch), cost.host + cost.launch);
        let step = if self.config.overlap { device.max(host) } else { device + cost.host };
        between / 2.0 * step as f64 / 1e3
    }

    /// How many requests find their prompt in the cache.
    fn warm_requests(&self) -> usize {
        (self.warm * self.requests.len() as f64).round() as usize
    }

    /// Prompt tokens from the cache count as served.
    fn count_cached(&self, run: &mut SimResult) {
        let input: f64 = self.requests.iter().map(|r| f64::from(r.input_tokens)).sum();
        let m = &mut run.metrics;
        if let (Some(output), Some(seconds)) = (m.get(Key::TotalOutputTokens), m.get(Key::Duration)) {
            m.set(Key::TotalInputTokens, input);
            m.set(Key::TotalTokenThroughput, (input + output) / seconds);
        }
    }

    /// The requests as the client plans them; a session is one arrival with its later turns.
    fn arrivals(&self) -> Vec<Arrival> {
        let closed = self.concurrency.is_some();
        let mut arrivals: Vec<Arrival> = Vec::with_capacity(self.requests.len());
        for (i, r) in self.requests.iter().enumerate() {
            let shared = self.shared.as_ref().and_then(|all| all.get(i));
            let request = self.sim_request(i, r, shared);
            let turn = shared.and_then(|s| s.follows);
            if let (Some(f), Some(session)) = (turn, arrivals.last_mut()) {
                session.follow_ups.push(FollowUp { think: f.think, request });
            } else {
                let at = if closed { Nanos::ZERO } else { r.arrival };
                arrivals.push(Arrival { at, request, follow_ups: Vec::new() });
            }
        }
        arrivals
    }

    fn sim_request(&self, i: usize, r: &RequestShape, shared: Option<&Shared>) -> SimRequest {
        let warm = i < self.warm_requests();
        let spans = shared.filter(|_| self.config.prefix_caching && !warm).map(|s| s.spans.as_slice());
        SimRequest {
            // The last token of a cached prompt is computed again.
            input_tokens: if warm { 1 } else { r.input_tokens },
            output_tokens: r.output_tokens,
            max_tokens: self.max_tokens.unwrap_or(r.output_tokens).max(r.output_tokens),
            block_hashes: block_hashes(spans.unwrap_or_default(), r.input_tokens, self.config.block_size),
            ..SimRequest::default()
        }
    }

    /// Whether the answer depends on what prompts share, or on sessions: the closed-form screen knows neither.
    pub(in super::super) fn shares(&self) -> bool {
        let sessions = |all: &Arc<Vec<Shared>>| all.iter().any(|s| s.follows.is_some());
        self.shared.as_ref().is_some_and(|all| self.config.prefix_caching || sessions(all))
    }
}
