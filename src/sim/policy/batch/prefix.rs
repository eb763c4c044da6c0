//! Admission of a request and what it finds of itself in the prefix cache.

use super::requests::Phase;
use super::{Batch, InFlight};
use crate::cost::StepShape;
use crate::sim::scheduler::{Slot, Transition};

/// What of a waiting request is in the cache.
#[derive(Debug, Clone, Copy)]
pub(in crate::sim::policy) struct Hit {
    /// Prompt blocks found by hash.
    named: u32,
    /// Blocks after those that it left behind itself.
    own: u32,
    pub(in crate::sim::policy) tokens: u32,
    /// Blocks of the pool among them that running requests use.
    pub(in crate::sim::policy) in_use: u64,
}

impl Batch {
    /// How much of a waiting request is in the cache: prompt blocks by hash, and after a preemption what it
    /// left behind itself. The last known token is always computed again, so at most whole blocks before it
    /// count.
    pub(in crate::sim::policy) fn prefix_hit(&self, slot: Slot) -> Hit {
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
        if self.prefix_caching {
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
        r.skipped_to = hit.tokens;
        // The sliding groups get the window before the hit anew.
        let window = self.layout.held(hit.tokens, hit.tokens)
            - u64::from(self.layout.full_groups) * u64::from(hit.tokens / self.layout.block_size);
        self.pool.take(window);
    }

    /// Takes a request that has left the waiting queue into the batch with its first chunk.
    pub(in crate::sim::policy) fn admit(
        &mut self,
        slot: Slot,
        hit: Hit,
        chunk: u32,
        record: &mut InFlight,
        shape: &mut StepShape,
    ) {
        self.adopt_prefix(slot, hit);
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
        self.note_chunk(slot, record, shape);
        if self.requests[slot].first_step == u64::MAX {
            self.prefilling.push(slot);
        }
    }
}
