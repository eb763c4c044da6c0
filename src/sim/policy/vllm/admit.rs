//! The second half of a step: waiting requests, in order, with the budget that is left.

use super::requests::Phase;
use super::{InFlight, VllmScheduler};
use crate::cost::StepShape;
use crate::sim::scheduler::{Blocked, Slot, Transition};

/// What of a waiting request is in the cache.
#[derive(Debug, Clone, Copy)]
struct Hit {
    /// Prompt blocks found by hash.
    named: u32,
    /// Blocks after those that it left behind itself.
    own: u32,
    tokens: u32,
    /// Blocks of the pool among them that running requests use.
    in_use: u64,
}

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
            self.requests[slot].cached = hit.tokens;
            let mut chunk = self.chunk_of(slot, u64::MAX);
            if !self.limits.chunked && chunk > budget {
                return Some(Blocked::Budget);
            }
            chunk = chunk.min(budget);
            let known = self.requests[slot].known();
            let first_chunk = self.layout.held(hit.tokens, hit.tokens + chunk);
            let asked = if self.limits.reserve_full_prompt {
                self.layout.whole(known, self.in_flight_tokens()).max(first_chunk)
            } else {
                first_chunk
            };
            if asked - hit.in_use > self.pool.free() {
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

    /// How much of a waiting request is in the cache: prompt blocks by hash, and after a preemption what it
    /// left behind itself. The last known token is always computed again, so at most whole blocks before it
    /// count.
    fn prefix_hit(&self, slot: Slot) -> Hit {
        let r = &self.requests[slot];
        let at_most = (r.known() - 1) / self.layout.block_size;
        let usable = &r.hashes[..r.hashes.len().min(at_most as usize)];
        let (named, idle) = self.pool.lookup(usable);
        let unit = u64::from(self.layout.full_groups);
        let mut blocks = named;
        // With sliding groups the blocks of the last window are the first to be reused: no hit.
        if named as usize == r.hashes.len() && self.layout.sliding_groups == 0 && unit > 0 {
            let remains = r.left_behind.map_or(0, |number| self.pool.remains(slot, number));
            blocks = at_most.min(named + (remains / unit) as u32);
        }
        Hit {
            named,
            own: blocks - named,
            tokens: blocks * self.layout.block_size,
            in_use: u64::from(named) * unit - idle,
        }
    }

    fn adopt_prefix(&mut self, slot: Slot, hit: Hit) {
        if self.limits.prefix_caching {
            self.prefix_queries += u64::from(self.requests[slot].known());
            self.prefix_hits += u64::from(hit.tokens);
        }
        for i in 0..hit.named as usize {
            let hash = self.requests[slot].hashes[i];
            self.pool.hold(hash);
            self.requests[slot].named.push(hash);
        }
        if let Some(number) = self.requests[slot].left_behind.take() {
            self.pool.adopt(slot, number, u64::from(hit.own) * u64::from(self.layout.full_groups));
        }
        let r = &mut self.requests[slot];
        r.computed = hit.named;
        r.before = hit.tokens;
        r.cached = hit.tokens;
        // The sliding groups get the window before the hit anew.
        let window = self.layout.held(hit.tokens, hit.tokens)
            - u64::from(self.layout.full_groups) * u64::from(hit.tokens / self.layout.block_size);
        self.pool.take(window);
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
