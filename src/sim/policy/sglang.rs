//! The SGLang scheduler.
//!
//! Prefill comes first and alone: if a prefill batch can be built it is the whole step, and decode rows stand
//! still; otherwise one decode step runs (with `enable_mixed_chunk` decode rows ride along). One request at a
//! time can be in the middle of its prompt. A candidate is admitted when its prompt and its clipped
//! `max_tokens` fit what is left after the expected future of the running requests, their remaining
//! `max_tokens` times the *new-token ratio*. The ratio decays with every decode step; when blocks run out all
//! the same, the request with the fewest output tokens is retracted and the ratio set by what was produced.

use super::batch::requests::Phase;
use super::batch::{Batch, InFlight, batch_methods};
use crate::engine::EngineConfig;
use crate::sim::kv::KvLayout;
use crate::sim::scheduler::{
    Blocked, DecodeStretch, Gauges, Refusal, Scheduler, SimRequest, Slot, Step, TokenEvent, Transition,
};
use crate::sim::step::StepShape;

/// Output tokens that are reserved for a candidate at most.
const CLIPPED_MAX_TOKENS: u32 = 4096;
/// Decode steps over which the ratio decays from its start to its floor.
const DECAY_STEPS: f64 = 600.0;
/// Floor of the ratio, as a share of its start.
const FLOOR: f64 = 0.14;
/// Decode steps that a retraction makes room for.
const RETRACT_STEPS: f64 = 20.0;

/// Expected share of `max_tokens` that running requests still produce.
#[derive(Debug, Clone, Copy)]
struct NewTokenRatio {
    now: f64,
    start: f64,
    floor: f64,
}

impl NewTokenRatio {
    fn new(conservativeness: f64) -> NewTokenRatio {
        let start = (0.7 * conservativeness).clamp(0.0, 1.0);
        NewTokenRatio { now: start, start, floor: start * FLOOR }
    }
    fn decay(&mut self) {
        self.now = (self.now - (self.start - self.floor) / DECAY_STEPS).max(self.floor);
    }
}

/// What is left to a prefill batch under construction, in tokens.
#[derive(Debug, Clone, Copy)]
struct PrefillBudget {
    /// Free KV minus the expected future of the running requests.
    total: f64,
    input: i64,
    chunk: i64,
    page: u32,
}

impl PrefillBudget {
    fn spend(&mut self, tokens: u32, future: u32) {
        let paged = tokens.next_multiple_of(self.page);
        self.total -= f64::from(paged) + f64::from(future);
        self.input -= i64::from(paged);
        self.chunk -= i64::from(paged);
    }
    /// `tokens`, or if they do not fit whole pages of what is left.
    fn cut(&self, tokens: u32, left: i64) -> u32 {
        if i64::from(tokens) <= left {
            return tokens;
        }
        let left = u32::try_from(left.max(0)).unwrap_or(u32::MAX);
        left / self.page * self.page
    }
}

/// See the module documentation.
#[derive(Debug, Clone)]
pub struct SglangScheduler {
    max_running: u32,
    max_prefill: u32,
    /// `chunked_prefill_size`; 0 = whole prompts.
    chunk: u32,
    mixed: bool,
    max_model_len: u32,
    ratio: NewTokenRatio,
    /// No candidate is looked at before a request leaves.
    full: bool,
    batch: Batch,
}

impl SglangScheduler {
    pub fn new(config: &EngineConfig, layout: &KvLayout, window: Option<u32>) -> SglangScheduler {
        let mut batch = Batch::new(layout, window, config.prefix_caching, 0);
        if config.version < (0, 5, 23) {
            batch.schedules_past_the_end();
        }
        batch.verify_proposals(config.speculative.as_ref());
        SglangScheduler {
            max_running: config.max_num_seqs.max(1),
            max_prefill: config.max_num_batched_tokens.max(1),
            chunk: if config.chunked_prefill { config.chunk_tokens } else { 0 },
            mixed: config.mixed_chunk,
            max_model_len: config.max_model_len,
            ratio: NewTokenRatio::new(config.conservativeness),
            full: false,
            batch,
        }
    }

    fn refusal(&self, r: &SimRequest) -> Option<Refusal> {
        let whole = r.input_tokens.saturating_add(r.max_tokens.max(r.output_tokens));
        if whole > self.max_model_len {
            return Some(Refusal::TooLong { tokens: whole, limit: self.max_model_len });
        }
        // As the only running request it must fit with its reservation and a page to spare.
        let reserved = r.input_tokens + r.max_tokens.max(r.output_tokens).min(CLIPPED_MAX_TOKENS);
        let page = self.batch.layout.block_size;
        let longest = (r.input_tokens + r.output_tokens).max(reserved) + page + 1 + self.batch.slack();
        let blocks = self.batch.layout.held(0, longest);
        let total = self.batch.layout.blocks;
        (blocks > total).then_some(Refusal::NeverFits { blocks, total })
    }

    /// What the queue waits for while the batch is flagged full.
    fn obstacle(&self) -> Blocked {
        if self.batch.requests.running >= self.max_running { Blocked::MaxNumSeqs } else { Blocked::KvBlocks }
    }

    fn groups(&self) -> f64 {
        f64::from((self.batch.layout.full_groups + self.batch.layout.sliding_groups).max(1))
    }

    /// Output tokens of a running row that are out or under way.
    fn produced(&self, slot: Slot) -> u32 {
        let r = &self.batch.requests[slot];
        if r.phase == Phase::Prefill || self.batch.is_verifying() {
            r.emitted
        } else {
            r.token_of(self.batch.step - 1).min(r.output)
        }
    }

    /// Tokens that the running requests are expected to take up yet.
    fn future(&self) -> f64 {
        let expected = |slot: Slot| {
            let r = &self.batch.requests[slot];
            let rest = r.max_tokens.saturating_sub(self.produced(slot)).min(CLIPPED_MAX_TOKENS);
            // Under `ignore_eos` every token will come.
            f64::from(rest) * if r.output == r.max_tokens { 1.0 } else { self.ratio.now }
        };
        let decodes = |&slot: &Slot| self.batch.requests[slot].phase == Phase::Decode;
        self.batch.requests.in_order().filter(decodes).map(expected).sum()
    }

    fn budget(&self, decode_rows: u32) -> PrefillBudget {
        let page = self.batch.layout.block_size;
        let free = self.batch.pool.free() as f64 * f64::from(page) / self.groups();
        let chunk = if self.chunk > 0 { i64::from(self.chunk) } else { i64::from(u32::MAX) };
        PrefillBudget {
            total: free - self.future(),
            input: i64::from(self.max_prefill) - i64::from(decode_rows),
            chunk: chunk - i64::from(decode_rows),
            page,
        }
    }

    /// Goes on with the request in the middle of its prompt.
    fn continue_chunked(&mut self, b: &mut PrefillBudget, record: &mut InFlight, shape: &mut StepShape) {
        let Some(&slot) = self.batch.prefilling.first() else { return };
        let r = &self.batch.requests[slot];
        let (rest, max_tokens) = (r.rest(), r.max_tokens);
        // Every group needs its own pages.
        let pages = (self.batch.pool.free() as f64 / self.groups()) as i64;
        let room = pages * i64::from(b.page);
        let chunk = b.cut(rest, b.chunk.min(room));
        self.batch.allocate_chunk(slot, chunk);
        self.batch.note_chunks(record, shape);
        b.spend(chunk, if chunk == rest { max_tokens.min(CLIPPED_MAX_TOKENS) } else { 0 });
    }

    /// Admits candidates in order; says what the next one waits for.
    fn admit_waiting(
        &mut self,
        b: &mut PrefillBudget,
        record: &mut InFlight,
        shape: &mut StepShape,
    ) -> Option<Blocked> {
        while let Some(&slot) = self.batch.waiting.front() {
            if self.batch.requests.running >= self.max_running {
                self.full = true;
                return Some(Blocked::MaxNumSeqs);
            }
            if !self.batch.prefilling.is_empty() || b.input <= 0 || b.chunk <= 0 {
                return Some(Blocked::Budget);
            }
            let hit = self.batch.prefix_hit(slot);
            let r = &self.batch.requests[slot];
            let fresh = r.num_tokens() - hit.tokens;
            let future = r.max_tokens.saturating_sub(r.emitted).min(CLIPPED_MAX_TOKENS);
            let idle = f64::from(hit.tokens) - hit.in_use as f64 * f64::from(b.page);
            if f64::from(fresh) + f64::from(future) + f64::from(b.page) >= b.total - idle {
                self.full = self.batch.requests.running > 0;
                return Some(Blocked::KvBlocks);
            }
            let paged = i64::from(fresh.next_multiple_of(b.page));
            if paged >= b.input && shape.prefill_rows > 0 {
                return Some(Blocked::Budget);
            }
            let chunk = if paged <= b.chunk { fresh } else { b.cut(fresh, b.chunk) };
            if chunk == 0 {
                return Some(Blocked::Budget);
            }
            // The count of tokens does not see the window that a hit needs anew in the sliding groups.
            let held = self.batch.layout.held(hit.tokens, hit.tokens + chunk);
            if held - hit.in_use > self.batch.pool.free() {
                self.full = self.batch.requests.running > 0;
                return Some(Blocked::KvBlocks);
            }
            self.batch.waiting.pop_front();
            self.batch.admit(slot, hit, chunk, record, shape);
            b.total -= idle;
            b.spend(chunk, if chunk == fresh { future } else { 0 });
        }
        None
    }

    /// A step with prompt tokens, if one can be built.
    fn prefill(&mut self) -> Option<Step> {
        if self.batch.prefilling.is_empty() && (self.full || self.batch.waiting.is_empty()) {
            return None;
        }
        let wanted = self.batch.decode_wanted();
        let mixed = self.mixed && self.batch.decode.rows > 0 && wanted <= self.batch.pool.free();
        let mut shape = StepShape::default();
        let mut record = if mixed { self.batch.begin() } else { self.batch.begin_prefill() };
        if mixed {
            self.batch.allocate_decode();
            self.batch.note_decode(&mut shape);
            self.ratio.decay();
        }
        let mut budget = self.budget(shape.decode_rows);
        self.continue_chunked(&mut budget, &mut record, &mut shape);
        self.batch.blocked = self.admit_waiting(&mut budget, &mut record, &mut shape);
        if shape.tokens() > 0 {
            return Some(self.batch.commit(record, shape));
        }
        self.batch.cancel(record);
        None
    }

    fn decode(&mut self) -> Option<Step> {
        if self.batch.decode.rows == 0 {
            return None;
        }
        if self.batch.decode_wanted() > self.batch.pool.free() {
            self.retract();
        } else {
            self.ratio.decay();
        }
        if self.batch.decode.rows == 0 {
            return None;
        }
        let record = self.batch.begin();
        let mut shape = StepShape::default();
        self.batch.allocate_decode();
        self.batch.note_decode(&mut shape);
        Some(self.batch.commit(record, shape))
    }

    /// Sends the requests with the fewest output tokens (of equal ones the longest prompt) back to the queue
    /// until the next decode step fits.
    fn retract(&mut self) {
        while self.batch.decode_wanted() > self.batch.pool.free() {
            let key = |slot: &Slot| {
                let r = &self.batch.requests[*slot];
                (self.produced(*slot), std::cmp::Reverse(r.input))
            };
            let decodes = |slot: &Slot| self.batch.requests[*slot].phase == Phase::Decode;
            let Some(victim) = self.batch.requests.in_order().filter(decodes).min_by_key(key) else { break };
            self.batch.evict(victim, &mut InFlight::default());
            self.batch.waiting.push_back(victim);
        }
        self.full = false;
        let (mut produced, mut asked, mut rows) = (0.0, 0.0, 0.0);
        for slot in self.batch.requests.in_order() {
            produced += f64::from(self.produced(slot));
            asked += f64::from(self.batch.requests[slot].max_tokens);
            rows += 1.0;
        }
        self.ratio.now = ((produced + RETRACT_STEPS * rows) / (asked + 1.0)).min(1.0);
    }
}

impl Scheduler for SglangScheduler {
    fn add(&mut self, request: SimRequest) -> Result<(), Refusal> {
        if let Some(refusal) = self.refusal(&request) {
            return Err(refusal);
        }
        self.batch.enqueue(request);
        Ok(())
    }

    fn schedule(&mut self) -> Option<Step> {
        self.batch.transitions.clear();
        self.batch.drop_ended();
        if self.batch.eased {
            self.full = false;
            self.batch.eased = false;
        }
        if self.batch.requests.running == 0 {
            self.ratio.now = self.ratio.start;
            self.full = false;
        }
        let queue_stands = self.full && !self.batch.waiting.is_empty();
        self.batch.blocked = queue_stands.then(|| self.obstacle());
        if let Some(step) = self.prefill().or_else(|| self.decode()) {
            return Some(step);
        }
        // Nothing but an unfinished prompt that finds no room, or what was just retracted.
        if self.batch.nothing_in_flight() && !self.batch.waiting.is_empty() {
            if let Some(&slot) = self.batch.prefilling.first() {
                self.batch.evict(slot, &mut InFlight::default());
                self.batch.waiting.push_back(slot);
            }
            self.full = false;
            return self.prefill();
        }
        None
    }

    fn prefill_alone(&self) -> bool {
        true
    }

    fn decode_stretch(&mut self) -> Option<DecodeStretch> {
        let closed = self.full && !self.batch.eased;
        self.batch.decode_stretch(closed.then(|| self.obstacle()), None)
    }

    fn advance(&mut self, steps: u32) {
        self.batch.advance(steps);
        for _ in 0..steps {
            self.ratio.decay();
        }
    }

    batch_methods!();
}
