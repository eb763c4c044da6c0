//! The TensorRT-LLM scheduler (PyTorch backend): two stages an iteration.
//!
//! The **capacity** stage decides which requests may run at all. GUARANTEED_NO_EVICT (the default) reserves
//! the blocks of prompt and `max_tokens` for every request it starts and stops at the first that does not
//! fit, so that nothing is ever preempted. MAX_UTILIZATION starts whatever fits now and pauses the latest
//! started request when blocks run out.
//!
//! The **micro-batch** stage fills the iteration: generation first, then context within `max_num_tokens`, in
//! order. With `enable_balance` context waits for the other ranks of data-parallel attention. Without chunked
//! context a prompt that does not fit stops the walk (and one longer than `max_num_tokens` is refused); with it,
//! a chunk cut short is a multiple of the block size.

use super::balance::Balance;
use super::batch::{Batch, Chunking, InFlight, MixedSteps, batch_methods};
use crate::engine::EngineConfig;
use crate::sim::kv::KvLayout;
use crate::sim::scheduler::{
    Blocked, DecodeStretch, Gauges, Refusal, Scheduler, SimRequest, Slot, Step, TokenEvent, Transition,
};
use crate::sim::step::StepShape;

/// See the module documentation.
#[derive(Debug, Clone)]
pub struct TrtllmScheduler {
    budget: u32,
    max_batch: u32,
    chunked: bool,
    max_model_len: u32,
    reserve_output: bool,
    in_flight_tokens: u64,
    balance: Option<Balance>,
    batch: Batch,
}

impl TrtllmScheduler {
    pub fn new(config: &EngineConfig, layout: &KvLayout, window: Option<u32>) -> TrtllmScheduler {
        let budget = config.max_num_batched_tokens.max(1);
        let mut batch = Batch::new(layout, window, config.prefix_caching, 0);
        batch.verify_proposals(config.speculative.as_ref());
        TrtllmScheduler {
            budget,
            max_batch: config.max_num_seqs.clamp(1, budget),
            chunked: config.chunked_prefill,
            max_model_len: config.max_model_len,
            reserve_output: config.reserve_output,
            in_flight_tokens: u64::from(budget) * if config.overlap { 2 } else { 1 },
            balance: Balance::of(config),
            batch,
        }
    }

    fn refusal(&self, r: &SimRequest) -> Option<Refusal> {
        let whole = r.input_tokens.saturating_add(r.max_tokens.max(r.output_tokens));
        if whole > self.max_model_len {
            return Some(Refusal::TooLong { tokens: whole, limit: self.max_model_len });
        }
        if !self.chunked && r.input_tokens > self.budget {
            return Some(Refusal::TooLong { tokens: r.input_tokens, limit: self.budget });
        }
        let blocks = self.batch.layout.whole(whole.saturating_add(self.batch.slack()), self.in_flight_tokens);
        let total = self.batch.layout.blocks;
        (blocks > total).then_some(Refusal::NeverFits { blocks, total })
    }

    /// Blocks that a request comes to hold if it uses all of its `max_tokens`.
    fn to_completion(&self, slot: Slot) -> u64 {
        let r = &self.batch.requests[slot];
        self.batch.layout.whole(r.input + r.max_tokens + self.batch.slack(), self.in_flight_tokens)
    }

    /// Blocks that running requests hold or have reserved.
    fn reserved(&self) -> u64 {
        self.batch.requests.in_order().map(|slot| self.to_completion(slot)).sum()
    }
}

impl MixedSteps for TrtllmScheduler {
    fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    fn max_running(&self) -> u32 {
        self.max_batch
    }

    fn chunking(&self) -> Chunking {
        let unit = if self.chunked { self.batch.layout.block_size } else { u32::MAX };
        Chunking { budget: self.budget, cap: u32::MAX, unit }
    }

    /// How the next one's chunk is cut if what it finds in the cache decides on whether it fits. Reservations do not
    /// depend on that.
    fn by_hit(&self, closed: Option<Blocked>) -> Option<Chunking> {
        (closed == Some(Blocked::KvBlocks) && !self.reserve_output).then(|| self.chunking())
    }

    /// Starts context requests in order; says what the next one waits for.
    fn admit_waiting(&mut self, record: &mut InFlight, shape: &mut StepShape) -> Option<Blocked> {
        let waiting = self.batch.waiting.len();
        if self.balance.as_mut().is_some_and(|b| b.holds(waiting, shape.decode_rows)) {
            return (waiting > 0).then_some(Blocked::Balance);
        }
        self.batch.waiting.front()?;
        let chunking = self.chunking();
        let mut left = self.budget - shape.tokens();
        let total = self.batch.layout.blocks;
        let mut reserved = if self.reserve_output { self.reserved() } else { 0 };
        while let Some(&slot) = self.batch.waiting.front() {
            if self.batch.requests.running >= self.max_batch {
                return Some(Blocked::MaxNumSeqs);
            }
            let hit = self.batch.prefix_hit(slot);
            let rest = self.batch.requests[slot].num_tokens() - hit.tokens;
            let asked = self.to_completion(slot);
            if self.reserve_output && reserved + asked - hit.in_use > total {
                return Some(Blocked::KvBlocks);
            }
            let chunk = if self.chunked {
                chunking.chunk(rest, left)
            } else if rest <= left || shape.tokens() == 0 {
                // A resumed request can be longer than the budget: it runs alone then.
                rest
            } else {
                0
            };
            if chunk == 0 {
                return Some(Blocked::Budget);
            }
            let now = self.batch.layout.held(hit.tokens, hit.tokens + chunk);
            if now - hit.in_use > self.batch.pool.free() {
                return Some(Blocked::KvBlocks);
            }
            reserved += asked - hit.in_use;
            self.batch.waiting.pop_front();
            self.batch.admit(slot, hit, chunk, record, shape);
            left = left.saturating_sub(chunk);
        }
        None
    }
}

impl Scheduler for TrtllmScheduler {
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
        if let Some(b) = &mut self.balance {
            b.pass(steps);
        }
    }

    batch_methods!();
}
