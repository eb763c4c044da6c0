//! Preemption: a running request gives its blocks up and is computed again later.

use super::requests::{LeftBehind, Phase};
use super::{Batch, InFlight};
use crate::sim::scheduler::{Slot, Transition};

impl Batch {
    /// Preempts from the tail until the blocks are free; false when `slot` itself had to go.
    pub(super) fn make_room(&mut self, slot: Slot, blocks: u64, record: &mut InFlight) -> bool {
        while blocks > self.pool.free() {
            let victim = self.requests.tail;
            self.preempt(victim, record);
            if victim == slot {
                return false;
            }
        }
        true
    }

    /// Takes a running request out and puts it at the front of the waiting queue, to be computed again.
    pub(in crate::sim::policy) fn preempt(&mut self, slot: Slot, record: &mut InFlight) {
        self.evict(slot, record);
        self.waiting.push_front(slot);
    }

    /// Takes a running request out; the caller puts it back into the waiting queue.
    pub(in crate::sim::policy) fn evict(&mut self, slot: Slot, record: &mut InFlight) {
        let phase = self.requests[slot].phase;
        let by_length = self.ends_by_length(slot);
        let r = &self.requests[slot];
        let mut emitted = r.emitted;
        let row_wise = self.verification.is_some();
        if phase != Phase::Prefill && !row_wise {
            emitted = r.token_of(self.step - 1).min(r.output);
            for step in &mut self.in_flight {
                if step.forget_row(r, slot) {
                    step.preempted.push(slot);
                }
            }
            // It was counted into the step under composition at its start.
            if phase == Phase::Decode {
                record.forget_row(r, slot);
                let over = if record.decodes { r.token_of(self.step) } else { r.token_of(self.step - 1) };
                self.overrun -= u32::from(!by_length && over >= r.output);
            }
            record.last.retain(|&s| s != slot);
        }
        self.second.retain(|&s| s != slot);
        self.window_backlog.retain(|&s| s != slot);
        self.ending.retain(|&s| s != slot);
        let held = self.held(slot);
        let skipped = self.layout.skipped(self.skipped_as_of(slot));
        // A block is cached once all its tokens are known: the one that a step under way computes on is not yet.
        let decoding = phase != Phase::Prefill && self.requests[slot].first_step + 1 < self.step;
        let cached = self.cached(slot);
        let hashed = if row_wise {
            cached.min(self.requests[slot].num_tokens() - 1)
        } else {
            cached - u32::from(decoding && !self.in_flight.is_empty())
        };
        self.deactivate(slot);
        self.prefilling.retain(|&s| s != slot);
        self.requests.unlink(slot);
        let left = self.leave_behind(slot, (held, skipped), hashed);
        self.release_named(slot);
        let r = &mut self.requests[slot];
        r.left_behind = left;
        r.emitted = emitted;
        r.steps_in_flight = 0;
        r.before = 0;
        r.num_computed_tokens = 0;
        r.skipped_to = 0;
        r.first_step = u64::MAX;
        r.phase = Phase::Waiting;
        r.resumed = true;
        let id = r.id;
        self.preemptions += 1;
        self.transitions.push(Transition::Preempted { id });
    }

    /// Gives a request's blocks back so that it finds what nobody has taken meanwhile.
    fn leave_behind(&mut self, slot: Slot, (held, skipped): (u64, u64), hashed: u32) -> Option<LeftBehind> {
        // Tail first: what is not cached, its own cached blocks, named ones.
        let named = self.named_blocks(slot);
        let (full, sliding) = (self.layout.full_groups, self.layout.sliding_groups);
        let whole = hashed / self.layout.block_size;
        let skipped = skipped.min(u64::from(whole));
        let every = named == self.requests[slot].hashes.len() as u64 * u64::from(full);
        let own = if !self.prefix_caching {
            0
        } else if sliding == 0 && every {
            (u64::from(whole) * u64::from(full)).saturating_sub(named)
        } else if sliding > 0 && self.finds_windows && self.requests[slot].hashes.is_empty() {
            let window = u64::from(whole) - skipped;
            u64::from(whole) * u64::from(full) + window * u64::from(sliding)
        } else {
            0
        };
        if self.uncached_first {
            self.pool.give_first(held - named - own);
        } else {
            self.pool.give(held - named - own);
        }
        let number = (own > 0).then(|| self.pool.give_owned(slot, own))?;
        Some(LeftBehind { number, blocks: own, whole, skipped: skipped as u32 })
    }
}
