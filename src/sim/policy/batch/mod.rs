//! What the schedulers have in common: the requests, the decode rows as sums, the steps in flight, KV blocks.
//!
//! A policy composes a step: it opens a record with [`Batch::begin`] (decode rows advance) or
//! [`Batch::begin_prefill`] (they stand still), admits and moves requests on, and closes it with
//! [`Batch::commit`]. Everything else (last tokens, completion, preemption, stretches without events)
//! is the same for all and lives here.

mod chunks;
pub(in crate::sim::policy) mod decode;
mod finish;
mod mixed;
mod preemption;
mod prefix;
pub(in crate::sim::policy) mod requests;
mod rows;
mod stretch;
mod verification;

use crate::sim::kv::{BlockPool, KvLayout};
use crate::sim::scheduler::{Blocked, Gauges, SimRequest, Slot, Step, Transition};
use crate::sim::step::StepShape;
pub(in crate::sim::policy) use chunks::Chunking;
use decode::DecodeSums;
pub(in crate::sim::policy) use mixed::MixedSteps;
use requests::{Phase, Requests};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
pub(in crate::sim::policy) use verification::Verification;

/// How a decode row's share in the sums changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum RowChange {
    /// Its clipped context stops growing.
    WindowFull,
    /// Its cache is longer than the window: it gives blocks back.
    BeyondWindow,
}

/// A step that was scheduled and not completed.
#[derive(Debug, Clone, Default)]
pub(in crate::sim::policy) struct InFlight {
    ticket: u64,
    /// Number of the decode step; of the one before for a step in which decode rows stand still.
    number: u64,
    decodes: bool,
    /// Rows that get a token just as in the step before.
    plain: u32,
    /// Requests whose known tokens are all computed with this step: their next token comes out of it.
    first: Vec<Slot>,
    /// Rows whose token before came out of a step without decode rows.
    second: Vec<Slot>,
    /// Requests whose last token comes out of it.
    last: Vec<Slot>,
    /// Rows preempted since.
    preempted: Vec<Slot>,
}

impl InFlight {
    fn is_plain(&self) -> bool {
        self.decodes
            && self.first.is_empty()
            && self.second.is_empty()
            && self.last.is_empty()
            && self.preempted.is_empty()
    }
}

/// See the module documentation.
#[derive(Debug, Clone)]
pub(in crate::sim::policy) struct Batch {
    pub(in crate::sim::policy) layout: KvLayout,
    clip: u32,
    prefix_caching: bool,
    /// Rows known to end by length are not scheduled again.
    ends_known: bool,
    /// Blocks without a prefix anybody could ask for are reused first.
    uncached_first: bool,
    /// Whether a request with sliding groups finds itself again after a preemption, where nobody has taken any of its blocks.
    finds_windows: bool,
    pub(in crate::sim::policy) requests: Requests,
    pub(in crate::sim::policy) waiting: VecDeque<Slot>,
    /// Running requests with an unfinished prompt, in running order.
    pub(in crate::sim::policy) prefilling: Vec<Slot>,
    pub(in crate::sim::policy) decode: DecodeSums,
    /// How many tokens the giving back of blocks before the window lags behind: those under way.
    lag: u32,
    /// Rows that decode and have not yet given back all that their prompt left before the window.
    window_backlog: Vec<Slot>,
    row_changes: BinaryHeap<Reverse<(u64, Slot, u32, RowChange)>>,
    /// Last tokens: (step, slot, epoch).
    lasts: BinaryHeap<Reverse<(u64, Slot, u32)>>,
    /// Rows known to end by length with the latest step.
    ending: Vec<Slot>,
    /// Rows whose first token came out of a step without decode rows.
    second: Vec<Slot>,
    /// Rows past their end that the scheduler does not know of yet.
    overrun: u32,
    /// Number of the next decode step; the first is 1.
    pub(in crate::sim::policy) step: u64,
    ticket: u64,
    in_flight: VecDeque<InFlight>,
    spare: Vec<InFlight>,
    pub(in crate::sim::policy) pool: BlockPool,
    pub(in crate::sim::policy) transitions: Vec<Transition>,
    pub(in crate::sim::policy) blocked: Option<Blocked>,
    /// A request has left since `blocked` was found.
    pub(in crate::sim::policy) eased: bool,
    peak_blocks: u64,
    pub(in crate::sim::policy) preemptions: u64,
    prefix_queries: u64,
    prefix_hits: u64,
    /// Under speculation decode rows are kept one by one.
    verification: Option<Box<Verification>>,
}

impl Batch {
    /// `lag`: see the field.
    pub(in crate::sim::policy) fn new(
        layout: &KvLayout,
        window: Option<u32>,
        prefix_caching: bool,
        lag: u32,
    ) -> Batch {
        let layout = KvLayout { block_size: layout.block_size.max(1), ..*layout };
        let clip = window.unwrap_or(u32::MAX);
        Batch {
            layout,
            clip,
            prefix_caching,
            ends_known: true,
            uncached_first: false,
            finds_windows: false,
            requests: Requests::default(),
            waiting: VecDeque::new(),
            prefilling: Vec::new(),
            decode: DecodeSums::new(layout, clip, lag),
            lag,
            window_backlog: Vec::new(),
            row_changes: BinaryHeap::new(),
            lasts: BinaryHeap::new(),
            ending: Vec::new(),
            second: Vec::new(),
            overrun: 0,
            step: 1,
            ticket: 0,
            in_flight: VecDeque::new(),
            spare: Vec::new(),
            pool: BlockPool::new(&layout),
            transitions: Vec::new(),
            blocked: None,
            eased: false,
            peak_blocks: 0,
            preemptions: 0,
            prefix_queries: 0,
            prefix_hits: 0,
            verification: None,
        }
    }

    /// The engine schedules a row once more even when it is known to end by length.
    pub(in crate::sim::policy) fn schedules_past_the_end(&mut self) {
        self.ends_known = false;
    }

    /// A request with sliding groups finds itself again after a preemption: a hit needs the blocks of the window before its end.
    pub(in crate::sim::policy) fn finds_windows(&mut self) {
        self.finds_windows = true;
    }

    /// Blocks that hold no full cached block go to the front of the free ones, not to the back.
    pub(in crate::sim::policy) fn reuses_uncached_first(&mut self) {
        self.uncached_first = true;
    }

    /// Puts a request at the end of the waiting queue.
    pub(in crate::sim::policy) fn enqueue(&mut self, mut request: SimRequest) {
        if !self.prefix_caching {
            request.block_hashes.clear();
        }
        request.block_hashes.truncate((request.input_tokens / self.layout.block_size) as usize);
        let slot = self.requests.insert(request);
        self.waiting.push_back(slot);
    }

    pub(in crate::sim::policy) fn nothing_in_flight(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Opens a step in which every decode row advances: finds whose last token it brings.
    pub(in crate::sim::policy) fn begin(&mut self) -> InFlight {
        self.drop_ended();
        let mut record = self.spare.pop().unwrap_or_default();
        record.number = self.step;
        record.decodes = true;
        let overrun = self.overrun;
        while let Some(&Reverse((step, slot, epoch))) = self.lasts.peek() {
            if step > self.step {
                break;
            }
            self.lasts.pop();
            if self.requests[slot].epoch == epoch {
                self.last_token(slot, &mut record);
            }
        }
        for slot in std::mem::take(&mut self.second) {
            let r = &self.requests[slot];
            if r.phase == Phase::Decode && r.token_of(self.step) < r.output {
                record.second.push(slot);
            }
        }
        if self.verification.is_some() {
            record.plain = 0;
            return record;
        }
        record.plain = self.decode.rows - overrun - (record.last.len() + record.second.len()) as u32;
        record
    }

    /// Opens a step in which decode rows stand still.
    pub(in crate::sim::policy) fn begin_prefill(&mut self) -> InFlight {
        self.drop_ended();
        let mut record = self.spare.pop().unwrap_or_default();
        record.number = self.step - 1;
        record.decodes = false;
        record.plain = 0;
        record
    }

    /// Takes rows that are known to have ended out of the decode rows.
    pub(in crate::sim::policy) fn drop_ended(&mut self) {
        for slot in std::mem::take(&mut self.ending) {
            self.deactivate(slot);
        }
    }

    /// Nothing came into the step after all.
    pub(in crate::sim::policy) fn cancel(&mut self, record: InFlight) {
        self.spare.push(record);
    }

    /// Applies the changes that are due with the sums as of the next step.
    fn apply_row_changes(&mut self) {
        while let Some(&Reverse((step, slot, epoch, turn))) = self.row_changes.peek() {
            if step > self.step {
                break;
            }
            self.row_changes.pop();
            let r = &self.requests[slot];
            if r.epoch != epoch {
                continue;
            }
            match turn {
                RowChange::WindowFull => self.decode.window_full(),
                RowChange::BeyondWindow => {
                    self.decode.beyond_window(r.cached_at(self.step));
                    self.requests[slot].beyond_window = true;
                }
            }
        }
    }

    /// The step under composition brings the request's last token.
    fn last_token(&mut self, slot: Slot, record: &mut InFlight) {
        record.last.push(slot);
        if self.ends_by_length(slot) {
            self.ending.push(slot);
        } else {
            self.overrun += 1;
        }
    }

    fn ends_by_length(&self, slot: Slot) -> bool {
        let r = &self.requests[slot];
        self.ends_known && r.output == r.max_tokens
    }

    /// Puts the decode rows into the shape.
    pub(in crate::sim::policy) fn note_decode(&self, shape: &mut StepShape) {
        if let Some(v) = &self.verification {
            v.note(shape);
            return;
        }
        shape.decode_rows = self.decode.rows;
        shape.decode_ctx = self.decode.ctx;
        shape.decode_ctx_window = self.decode.ctx_window;
    }

    /// Closes the step: requests whose prompts are done decode from the next step on.
    pub(in crate::sim::policy) fn commit(&mut self, mut record: InFlight, mut shape: StepShape) -> Step {
        self.peak_blocks = self.peak_blocks.max(self.layout.blocks - self.pool.free());
        let ticket = self.ticket;
        self.ticket += 1;
        record.ticket = ticket;
        if record.decodes {
            self.decode.advance(1);
            self.step += 1;
        }
        for i in 0..record.first.len() {
            self.start_decode(record.first[i], &mut record);
        }
        if let Some(v) = &mut self.verification {
            v.commit();
        } else if !record.decodes {
            self.second.extend_from_slice(&record.first);
        }
        self.apply_row_changes();
        shape.finished = record.last.len() as u32;
        self.in_flight.push_back(record);
        Step { ticket, shape }
    }

    pub(in crate::sim::policy) fn gauges(&self) -> Gauges {
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

    pub(in crate::sim::policy) fn forget_prefixes(&mut self) -> bool {
        self.pool.forget();
        self.requests.running == 0
    }
}

/// The parts of [`Scheduler`](crate::sim::scheduler::Scheduler) that every policy takes from its batch.
macro_rules! batch_methods {
    () => {
        fn abort(&mut self, id: u64) -> bool {
            self.batch.abort(id)
        }
        fn complete(&mut self, ticket: u64, out: &mut Vec<TokenEvent>) {
            self.batch.complete(ticket, out);
        }
        fn complete_notable(&mut self, ticket: u64, out: &mut Vec<TokenEvent>) -> u32 {
            self.batch.complete_notable(ticket, out)
        }
        fn transitions(&self) -> &[Transition] {
            &self.batch.transitions
        }
        fn blocked(&self) -> Option<Blocked> {
            self.batch.blocked
        }
        fn uneven(&self) -> bool {
            self.batch.is_verifying()
        }
        fn gauges(&self) -> Gauges {
            self.batch.gauges()
        }
        fn cached_blocks(&self, hashes: &[u64]) -> u32 {
            self.batch.pool.cached_blocks(hashes)
        }
        fn reset_prefix_cache(&mut self) -> bool {
            self.batch.forget_prefixes()
        }
    };
}
pub(in crate::sim::policy) use batch_methods;
