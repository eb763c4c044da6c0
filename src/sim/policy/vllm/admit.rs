//! The second half of a step: waiting requests, in order, with the budget that is left.

use super::requests::Phase;
use super::{InFlight, VllmScheduler};
use crate::cost::StepShape;
use crate::sim::scheduler::{Blocked, Slot, Transition};

impl VllmScheduler {
    /// Admits what fits; says what the next one waits for.
    pub(super) fn admit_waiting(&mut self, record: &mut InFlight, shape: &mut StepShape) -> Option<Blocked> {
        let mut budget = self.limits.budget - shape.tokens();
        while let Some(&slot) = self.waiting.front() {
            if self.requests.running >= self.limits.max_seqs {
                return Some(Blocked::Seats);
            }
            if budget == 0 {
                return Some(Blocked::Budget);
            }
            let hit = self.prefix_hit(slot);
            self.requests[slot].cached = hit;
            let mut chunk = self.chunk_of(slot, u64::MAX);
            if !self.limits.chunked && chunk > budget {
                return Some(Blocked::Budget);
            }
            chunk = chunk.min(budget);
            let known = self.requests[slot].known();
            let asked = if self.limits.reserve_full_prompt {
                self.layout.whole(known, self.in_flight_tokens())
            } else {
                self.layout.held(hit, hit + chunk)
            };
            if asked > self.pool.free() || self.layout.held(hit, hit + chunk) > self.pool.free() {
                return Some(Blocked::KvBlocks);
            }
            self.waiting.pop_front();
            self.adopt_prefix(slot, hit);
            self.enter(slot, chunk, shape);
            self.note_chunk(slot, record, shape);
            if self.requests[slot].first_step == u64::MAX {
                self.prefilling.push(slot);
            }
            budget -= chunk;
        }
        None
    }

    /// Tokens of the request that are still in the cache from before its preemption.
    fn prefix_hit(&self, slot: Slot) -> u32 {
        let r = &self.requests[slot];
        let Some(number) = r.left_behind else { return 0 };
        let remains = self.pool.remains(slot, number);
        let b = self.layout.block_size;
        let at_most = (r.known() - 1) / b;
        // A prefix counts only if its last window is there in the sliding groups too, and those blocks are
        // the first to be reused.
        if self.layout.sliding_groups > 0 {
            return 0;
        }
        at_most.min((remains / u64::from(self.layout.full_groups.max(1))) as u32) * b
    }

    fn adopt_prefix(&mut self, slot: Slot, hit: u32) {
        let known = self.requests[slot].known();
        if self.limits.prefix_caching {
            self.prefix_queries += u64::from(known);
            self.prefix_hits += u64::from(hit);
        }
        if let Some(number) = self.requests[slot].left_behind.take() {
            if hit > 0 {
                let remains = self.pool.remains(slot, number);
                self.pool.adopt(slot, number);
                self.pool.give(
                    remains - u64::from(hit / self.layout.block_size) * u64::from(self.layout.full_groups),
                );
            } else {
                self.pool.disown(slot, number);
            }
        }
        // What was adopted is held: `allocate_chunk` takes only the difference.
        self.requests[slot].before = 0;
        self.requests[slot].cached = hit;
    }

    fn enter(&mut self, slot: Slot, chunk: u32, shape: &mut StepShape) {
        self.allocate_chunk(slot, chunk);
        self.requests.link(slot);
        let r = &mut self.requests[slot];
        r.phase = Phase::Prefill;
        let id = r.id;
        self.transitions.push(if r.resumed {
            Transition::Resumed { id }
        } else {
            Transition::Admitted { id }
        });
        shape.admitted += 1;
    }
}
