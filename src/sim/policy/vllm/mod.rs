//! The vLLM V1 scheduler.
//!
//! There is no prefill or decode phase: each step brings every running request's computed tokens up to its
//! known ones, in running order, within one token budget; then waiting requests are admitted in order with
//! what is left. Out of KV blocks, the latest admitted request is preempted and recomputed later. Semantics
//! by release come in through [`EngineConfig`]: the full-prompt admission gate (since 0.19), asynchronous
//! scheduling (default since 0.14).
//!
//! Every running request gets at least one token a step: decode rows ask for one and never more than
//! `max_num_seqs` of them run within a budget at least as large; an unfinished prompt asks for no more than
//! the step before gave it unless it is the last in order. That is why decode rows can be kept as sums.

mod admit;
mod decode;
mod finish;
mod requests;
mod running;

use crate::cost::StepShape;
use crate::engine::EngineConfig;
use crate::sim::kv::{BlockPool, KvLayout};
use crate::sim::scheduler::{
    Blocked, Gauges, PlainStretch, Refusal, Scheduler, SimRequest, Slot, Step, TokenEvent, Transition,
};
use decode::DecodeSums;
use requests::{Phase, Requests};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// How a decode row's share in the sums changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// Its clipped context stops growing.
    Clipped,
    /// Its cache is as long as the window.
    Deep,
}

/// A step that was scheduled and not completed.
#[derive(Debug, Clone, Default)]
struct InFlight {
    number: u64,
    /// Rows that get a token just as in the step before.
    plain: u32,
    /// Requests whose known tokens are all computed with this step: their next token comes out of it.
    first: Vec<Slot>,
    /// Requests whose last token comes out of it.
    last: Vec<Slot>,
    /// Rows preempted since.
    preempted: Vec<Slot>,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    budget: u32,
    max_seqs: u32,
    long_prefill: u32,
    chunked: bool,
    max_model_len: u32,
    reserve_full_prompt: bool,
    prefix_caching: bool,
    overlap: bool,
}

/// See the module documentation.
#[derive(Debug, Clone)]
pub struct VllmScheduler {
    limits: Limits,
    layout: KvLayout,
    clip: u32,
    requests: Requests,
    waiting: VecDeque<Slot>,
    /// Running requests with an unfinished prompt, in running order.
    prefilling: Vec<Slot>,
    decode: DecodeSums,
    /// Changes due before a step is composed: (step, slot, epoch, change).
    turns: BinaryHeap<Reverse<(u64, Slot, u32, Turn)>>,
    /// Last tokens: (step, slot, epoch).
    lasts: BinaryHeap<Reverse<(u64, Slot, u32)>>,
    /// Rows known to end by length with the latest step: not scheduled again.
    ending: Vec<Slot>,
    /// Rows past their end that the scheduler does not know of yet (stop token under async scheduling).
    wasting: u32,
    /// Number of the next step.
    step: u64,
    in_flight: VecDeque<InFlight>,
    spare: Vec<InFlight>,
    pool: BlockPool,
    transitions: Vec<Transition>,
    blocked: Option<Blocked>,
    peak_blocks: u64,
    preemptions: u64,
    prefix_queries: u64,
    prefix_hits: u64,
}

impl VllmScheduler {
    pub fn new(config: &EngineConfig, layout: &KvLayout, window: Option<u32>) -> VllmScheduler {
        let layout = KvLayout { block_size: layout.block_size.max(1), ..*layout };
        let clip = window.unwrap_or(u32::MAX);
        let budget = config.max_num_batched_tokens.max(1);
        VllmScheduler {
            limits: Limits {
                budget,
                max_seqs: config.max_num_seqs.clamp(1, budget),
                long_prefill: config.chunk_tokens,
                chunked: config.chunked_prefill,
                max_model_len: config.max_model_len,
                reserve_full_prompt: config.reserve_full_prompt,
                prefix_caching: config.prefix_caching,
                overlap: config.overlap,
            },
            layout,
            clip,
            requests: Requests::default(),
            waiting: VecDeque::new(),
            prefilling: Vec::new(),
            decode: DecodeSums::new(layout, clip),
            turns: BinaryHeap::new(),
            lasts: BinaryHeap::new(),
            ending: Vec::new(),
            wasting: 0,
            step: 0,
            in_flight: VecDeque::new(),
            spare: Vec::new(),
            pool: BlockPool::new(&layout),
            transitions: Vec::new(),
            blocked: None,
            peak_blocks: 0,
            preemptions: 0,
            prefix_queries: 0,
            prefix_hits: 0,
        }
    }

    fn refusal(&self, r: &SimRequest) -> Option<Refusal> {
        let total = r.input_tokens.saturating_add(r.max_tokens.max(r.output_tokens));
        if total > self.limits.max_model_len {
            return Some(Refusal::TooLong { tokens: total, limit: self.limits.max_model_len });
        }
        let longest = (r.input_tokens + r.output_tokens).saturating_sub(1);
        if !self.limits.chunked && longest > self.limits.budget {
            return Some(Refusal::TooLong { tokens: longest, limit: self.limits.budget });
        }
        let blocks = self.layout.whole(longest, self.in_flight_tokens());
        (blocks > self.layout.blocks).then_some(Refusal::NeverFits { blocks, total: self.layout.blocks })
    }

    /// Tokens that can be under computation at once: what a sliding group may hold beyond its window.
    fn in_flight_tokens(&self) -> u64 {
        u64::from(self.limits.budget) * if self.limits.overlap { 2 } else { 1 }
    }

    /// Finds whose last token the next step brings; returns the record of that step.
    fn begin(&mut self) -> InFlight {
        for slot in std::mem::take(&mut self.ending) {
            self.deactivate(slot);
        }
        let mut record = self.spare.pop().unwrap_or_default();
        record.number = self.step;
        let wasted = self.wasting;
        while let Some(&Reverse((step, slot, epoch))) = self.lasts.peek() {
            if step > self.step {
                break;
            }
            self.lasts.pop();
            if self.requests[slot].epoch == epoch {
                self.last_token(slot, &mut record);
            }
        }
        record.plain = self.decode.rows - wasted - record.last.len() as u32;
        record
    }

    /// Applies the changes that are due with the sums as of the next step.
    fn turn(&mut self) {
        while let Some(&Reverse((step, slot, epoch, turn))) = self.turns.peek() {
            if step > self.step {
                break;
            }
            self.turns.pop();
            let r = &self.requests[slot];
            if r.epoch != epoch {
                continue;
            }
            match turn {
                Turn::Clipped => self.decode.clipped(),
                Turn::Deep => self.decode.deepened(r.cached_at(self.step)),
            }
        }
    }

    /// The step under composition brings the request's last token.
    fn last_token(&mut self, slot: Slot, record: &mut InFlight) {
        record.last.push(slot);
        let r = &self.requests[slot];
        if r.output == r.max_tokens {
            self.ending.push(slot);
        } else if r.phase == Phase::Decode {
            self.wasting += 1;
        }
    }

    /// Ends the composition: requests whose prompts are done decode from the next step on.
    fn commit(&mut self, mut record: InFlight, shape: &mut StepShape) {
        self.decode.advance(1);
        self.step += 1;
        for i in 0..record.first.len() {
            self.start_decode(record.first[i], &mut record);
        }
        self.turn();
        shape.finished = record.last.len() as u32;
        self.in_flight.push_back(record);
    }
}

impl Scheduler for VllmScheduler {
    fn add(&mut self, mut request: SimRequest) -> Result<(), Refusal> {
        if let Some(refusal) = self.refusal(&request) {
            return Err(refusal);
        }
        if !self.limits.prefix_caching {
            request.block_hashes.clear();
        }
        request.block_hashes.truncate((request.input_tokens / self.layout.block_size) as usize);
        let slot = self.requests.insert(request);
        self.waiting.push_back(slot);
        Ok(())
    }

    fn abort(&mut self, id: u64) -> bool {
        self.abort_request(id)
    }

    fn schedule(&mut self) -> Option<Step> {
        self.transitions.clear();
        loop {
            let mut record = self.begin();
            let mut shape = StepShape::default();
            let preempted = self.run_running(&mut record, &mut shape);
            if preempted {
                self.blocked = Some(Blocked::KvBlocks);
            } else {
                self.blocked = self.admit_waiting(&mut record, &mut shape);
            }
            if shape.tokens() > 0 {
                let ticket = self.step;
                self.peak_blocks = self.peak_blocks.max(self.layout.blocks - self.pool.free());
                self.commit(record, &mut shape);
                return Some(Step { ticket, shape });
            }
            self.spare.push(record);
            // The only row that was left preempted itself: it may come back once its token has come out.
            if !preempted || !self.in_flight.is_empty() {
                return None;
            }
        }
    }

    fn complete(&mut self, ticket: u64, out: &mut Vec<TokenEvent>) {
        self.complete_all(ticket, out);
    }

    fn transitions(&self) -> &[Transition] {
        &self.transitions
    }

    fn blocked(&self) -> Option<Blocked> {
        self.blocked
    }

    fn complete_notable(&mut self, ticket: u64, out: &mut Vec<TokenEvent>) -> u32 {
        self.complete_some(ticket, out)
    }

    fn plain_stretch(&mut self) -> Option<PlainStretch> {
        self.stretch()
    }

    fn advance(&mut self, steps: u32) {
        self.advance_plain(steps);
    }

    fn gauges(&self) -> Gauges {
        Gauges {
            running: self.requests.running,
            waiting: self.waiting.len() as u32,
            kv_blocks_used: self.layout.blocks - self.pool.free(),
            kv_blocks_total: self.layout.blocks,
            kv_blocks_peak: self.peak_blocks,
            preemptions: self.preemptions,
            prefix_queries: self.prefix_queries,
            prefix_hits: self.prefix_hits,
        }
    }

    fn reset_prefix_cache(&mut self) -> bool {
        self.pool.forget();
        self.requests.running == 0
    }
}
