//! The vLLM V1 scheduler.
//!
//! There is no prefill or decode phase: each step brings every running request's computed tokens up to its
//! known ones, in running order, within one token budget; then waiting requests are admitted in order with
//! what is left, unless a request was preempted in this step. Out of KV blocks, the latest admitted request
//! is preempted and recomputed later. Semantics by release come in through [`EngineConfig`]: the full-prompt
//! admission gate (since 0.19), asynchronous scheduling (default since 0.14).
//!
//! Its steps are held to 60 recordings of vLLM's own scheduler (`scripts/record-vllm-schedule`): full attention, shared prefixes,
//! preemption, asynchronous scheduling, sliding groups without and with a prefix cache. All steps are equal but those of one
//! recording: what sliding groups have given up while a request was computed is taken for gone when it is preempted, and vLLM
//! can still find it.
//!
//! Every running request gets at least one token a step: decode rows ask for one and never more than
//! `max_num_seqs` of them run within a budget at least as large; an unfinished prompt asks for no more than
//! the step before gave it unless it is the last in order. That is why decode rows can be kept as sums.

use super::batch::{Batch, Chunking, InFlight, MixedSteps, batch_methods};
use crate::engine::EngineConfig;
use crate::sim::kv::KvLayout;
use crate::sim::scheduler::{
    Blocked, DecodeStretch, Gauges, Refusal, Scheduler, SimRequest, Step, TokenEvent, Transition,
};
use crate::sim::step::StepShape;

/// See the module documentation.
#[derive(Debug, Clone)]
pub struct VllmScheduler {
    budget: u32,
    max_seqs: u32,
    /// Longest chunk of a prompt while several requests are running; 0 = no limit.
    long_prefill: u32,
    chunked: bool,
    max_model_len: u32,
    reserve_full_prompt: bool,
    /// Tokens that can be under computation at once: what a sliding group may hold beyond its window.
    in_flight_tokens: u64,
    batch: Batch,
}

impl VllmScheduler {
    pub fn new(config: &EngineConfig, layout: &KvLayout, window: Option<u32>) -> VllmScheduler {
        let budget = config.max_num_batched_tokens.max(1);
        // Not yet so in 0.20, so in 0.32.
        let recent = config.version >= (0, 28, 0);
        let lag = u32::from(recent && config.overlap);
        let mut batch = Batch::new(layout, window, config.prefix_caching, lag);
        batch.finds_windows();
        if recent {
            batch.reuses_uncached_first();
        }
        batch.verify_proposals(config.speculative.as_ref());
        VllmScheduler {
            budget,
            max_seqs: config.max_num_seqs.clamp(1, budget),
            long_prefill: config.chunk_tokens,
            chunked: config.chunked_prefill,
            max_model_len: config.max_model_len,
            reserve_full_prompt: config.reserve_full_prompt,
            in_flight_tokens: u64::from(budget) * if config.overlap { 2 } else { 1 },
            batch,
        }
    }

    fn refusal(&self, r: &SimRequest) -> Option<Refusal> {
        let total = r.input_tokens.saturating_add(r.max_tokens.max(r.output_tokens));
        if total > self.max_model_len {
            return Some(Refusal::TooLong { tokens: total, limit: self.max_model_len });
        }
        // The last output token is never computed.
        let longest = (r.input_tokens + r.output_tokens).saturating_sub(1);
        if !self.chunked && longest > self.budget {
            return Some(Refusal::TooLong { tokens: longest, limit: self.budget });
        }
        let blocks = self.batch.layout.whole(longest + self.batch.slack(), self.in_flight_tokens);
        let total = self.batch.layout.blocks;
        (blocks > total).then_some(Refusal::NeverFits { blocks, total })
    }
}

impl MixedSteps for VllmScheduler {
    fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    fn max_running(&self) -> u32 {
        self.max_seqs
    }

    fn chunking(&self) -> Chunking {
        let several = self.batch.requests.running as usize + self.batch.waiting.len() > 1;
        let cap = if self.long_prefill > 0 && several { self.long_prefill } else { u32::MAX };
        let unit = if self.chunked { 1 } else { u32::MAX };
        Chunking { budget: self.budget, cap, unit }
    }

    /// How the next one's chunk is cut if what it finds in the cache decides on whether it fits. The full-prompt gate
    /// asks for as many blocks whatever is in the cache.
    fn by_hit(&self, closed: Option<Blocked>) -> Option<Chunking> {
        let gated = self.reserve_full_prompt && self.chunked;
        (closed == Some(Blocked::KvBlocks) && !gated).then(|| self.chunking())
    }

    /// Admits what fits; says what the next one waits for.
    fn admit_waiting(&mut self, record: &mut InFlight, shape: &mut StepShape) -> Option<Blocked> {
        let chunking = self.chunking();
        let mut left = self.budget - shape.tokens();
        while let Some(&slot) = self.batch.waiting.front() {
            if self.batch.requests.running >= self.max_seqs {
                return Some(Blocked::MaxNumSeqs);
            }
            if left == 0 {
                return Some(Blocked::Budget);
            }
            let hit = self.batch.prefix_hit(slot);
            let known = self.batch.requests[slot].num_tokens();
            let wanted = (known - hit.tokens).min(chunking.cap);
            if !self.chunked && wanted > left {
                return Some(Blocked::Budget);
            }
            let chunk = wanted.min(left);
            let mut asked = self.batch.layout.held(hit.tokens, hit.tokens + chunk);
            if self.reserve_full_prompt {
                asked = asked.max(self.batch.layout.whole(known, self.in_flight_tokens));
            }
            if asked - hit.in_use > self.batch.pool.free() {
                return Some(Blocked::KvBlocks);
            }
            self.batch.waiting.pop_front();
            self.batch.admit(slot, hit, chunk, record, shape);
            left -= chunk;
        }
        None
    }
}

impl Scheduler for VllmScheduler {
    fn add(&mut self, request: SimRequest) -> Result<(), Refusal> {
        if let Some(refusal) = self.refusal(&request) {
            return Err(refusal);
        }
        self.batch.enqueue(request);
        Ok(())
    }

    fn schedule(&mut self) -> Option<Step> {
        self.compose()
    }

    fn decode_stretch(&mut self) -> Option<DecodeStretch> {
        self.certain_decode_stretch()
    }

    fn advance(&mut self, steps: u32) {
        self.batch.advance(steps);
    }

    batch_methods!();
}
