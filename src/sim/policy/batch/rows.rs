//! Running rows: their chunks, their blocks, preemption.

use super::requests::{NONE, Phase};
use super::{Batch, InFlight, Turn};
use crate::sim::scheduler::{Slot, Transition};
use crate::sim::step::StepShape;
use std::cmp::Reverse;

/// Σ over positions `from + 1 ..= from + len` of the position clipped to `clip`.
fn context_sum(from: u32, len: u32, clip: u32) -> u64 {
    let (a, n, w) = (u64::from(from), u64::from(len), u64::from(clip));
    let below = w.saturating_sub(a).min(n);
    a * below + below * (below + 1) / 2 + (n - below) * w
}

/// How prompts are cut into chunks.
#[derive(Debug, Clone, Copy)]
pub(in crate::sim::policy) struct Chunking {
    /// Tokens of one step.
    pub(in crate::sim::policy) budget: u32,
    /// The longest chunk of one request.
    pub(in crate::sim::policy) cap: u32,
    /// A chunk cut short by the budget is a multiple of this; `u32::MAX` where prompts are not cut.
    pub(in crate::sim::policy) unit: u32,
}

impl Chunking {
    /// The next chunk of a prompt with `rest` tokens to compute, when `left` of the budget are left.
    pub(in crate::sim::policy) fn chunk(&self, rest: u32, left: u32) -> u32 {
        let wanted = rest.min(self.cap);
        if wanted <= left { wanted } else { left / self.unit * self.unit }
    }
}

impl Batch {
    /// Moves every running request on, in running order, preempting from the tail when blocks run out.
    /// True when a request was preempted.
    pub(in crate::sim::policy) fn run_running(
        &mut self,
        chunking: &Chunking,
        record: &mut InFlight,
        shape: &mut StepShape,
    ) -> bool {
        if self.verification.is_some() {
            let preempted = self.run_verified(chunking, record);
            self.note_decode(shape);
            self.note_chunks(record, shape);
            return preempted;
        }
        let mut left = chunking.budget - self.decode.rows;
        let mut wanted = self.decode.wanted(0);
        for &slot in &self.prefilling {
            let chunk = chunking.chunk(self.requests[slot].rest(), left);
            left -= chunk;
            wanted += self.blocks_for(slot, chunk);
        }
        let scarce = wanted > self.pool.free();
        let preempted = if scarce {
            self.run_in_order(chunking, record)
        } else {
            self.allocate_decode();
            self.allocate_chunks(chunking);
            false
        };
        self.note_decode(shape);
        self.note_chunks(record, shape);
        preempted
    }

    /// New blocks that a chunk needs, before any fall out of its window.
    pub(super) fn blocks_for(&self, slot: Slot, chunk: u32) -> u64 {
        let r = &self.requests[slot];
        let groups = u64::from(self.layout.full_groups + self.layout.sliding_groups);
        let b = self.layout.block_size;
        groups * u64::from((r.cached + chunk).div_ceil(b) - r.cached.div_ceil(b))
    }

    /// Blocks of one more token for every decode row. The caller has checked that there are enough.
    pub(in crate::sim::policy) fn allocate_decode(&mut self) {
        if self.verification.is_some() {
            self.verify_all();
            return;
        }
        let dropped = self.decode.dropped(0);
        self.pool.take(self.decode.wanted(0));
        self.pool.give(dropped);
        self.settle();
    }

    /// Tokens as of which a running row gives back blocks in the step under composition.
    pub(super) fn skip_target(&self, slot: Slot) -> u32 {
        let r = &self.requests[slot];
        if self.verification.is_some() && r.phase == Phase::Decode {
            // What is not rejected any more.
            return r.known() - 1;
        }
        match r.phase {
            // With a lag the step before counts as under way: what it started from is all that is settled.
            Phase::Decode if self.lag == 0 || r.first_step + 1 < self.step => {
                r.cached_at(self.step) - self.lag
            }
            Phase::Prefill if self.lag == 0 => r.cached,
            _ => r.before,
        }
    }

    /// Blocks, over the sliding groups, that the row gives back in the step under composition.
    pub(super) fn dropped_by(&self, slot: Slot) -> u64 {
        if self.layout.sliding_groups == 0 {
            return 0;
        }
        let from =
            if self.requests[slot].deep { self.deep_skip(slot) } else { self.requests[slot].skipped_to };
        let blocks = self.layout.skipped(self.skip_target(slot)) - self.layout.skipped(from);
        blocks * u64::from(self.layout.sliding_groups)
    }

    /// Tokens as of which a deep row gave back blocks in its latest step.
    fn deep_skip(&self, slot: Slot) -> u32 {
        self.requests[slot].cached_at(self.step) - 1 - self.lag
    }

    /// Rows whose prompt ended lately give back what it left before the window, and join the sums once they
    /// are even with them.
    fn settle(&mut self) {
        for slot in std::mem::take(&mut self.settling) {
            self.pool.give(self.dropped_by(slot));
            let target = self.skip_target(slot);
            let (step, lag, window) = (self.step, self.lag, self.layout.window);
            let r = &mut self.requests[slot];
            r.skipped_to = target;
            let cached = r.cached_at(step);
            if target + lag < cached {
                self.settling.push(slot);
            } else if target >= window {
                r.deep = true;
                self.decode.deepened(cached);
            } else {
                let at = step + u64::from(window + lag - cached);
                self.turns.push(Reverse((at, slot, r.epoch, Turn::Deep)));
            }
        }
    }

    fn allocate_chunks(&mut self, chunking: &Chunking) {
        let mut left = chunking.budget - self.decode.rows;
        for i in 0..self.prefilling.len() {
            let slot = self.prefilling[i];
            let chunk = chunking.chunk(self.requests[slot].rest(), left);
            left -= chunk;
            self.allocate_chunk(slot, chunk);
        }
    }

    /// Takes blocks for a chunk, gives back those out of the window, and moves the request on.
    pub(in crate::sim::policy) fn allocate_chunk(&mut self, slot: Slot, chunk: u32) {
        let (dropped, wanted) = (self.dropped_by(slot), self.blocks_for(slot, chunk));
        self.pool.give(dropped);
        self.pool.take(wanted);
        let target = self.skip_target(slot);
        let r = &mut self.requests[slot];
        r.skipped_to = target;
        r.before = r.cached;
        r.cached += chunk;
        self.publish_prefix(slot);
    }

    /// Prompt blocks become cacheable as soon as they are scheduled full.
    fn publish_prefix(&mut self, slot: Slot) {
        let r = &mut self.requests[slot];
        let full = (r.cached / self.layout.block_size).min(r.hashes.len() as u32);
        while r.computed < full {
            let hash = r.hashes[r.computed as usize];
            if self.pool.publish(hash) {
                r.named.push(hash);
            }
            r.computed += 1;
        }
    }

    /// Gives back the prompt blocks that have a name, tail first; returns how many blocks those were.
    pub(super) fn release_named(&mut self, slot: Slot) -> u64 {
        let named = std::mem::take(&mut self.requests[slot].named);
        for &hash in named.iter().rev() {
            self.pool.release(hash);
        }
        self.requests[slot].computed = 0;
        named.len() as u64 * u64::from(self.layout.full_groups)
    }

    /// Gives back all blocks of a request that leaves: first what is not cached (a last block that is not full,
    /// or that a row past its end was given), then the rest, then what has a name.
    pub(super) fn give_back(&mut self, slot: Slot, held: u64) {
        let r = &self.requests[slot];
        let unnamed = held - self.named_blocks(slot);
        let known = (r.input + r.output - 1).min(r.cached);
        let b = self.layout.block_size;
        let loose = u64::from(r.cached.div_ceil(b) - known / b);
        let groups = u64::from(self.layout.full_groups + self.layout.sliding_groups);
        let uncached = if self.prefix_caching { unnamed.min(groups * loose) } else { unnamed };
        if self.uncached_first {
            self.pool.give_first(uncached);
            self.pool.give(unnamed - uncached);
        } else {
            self.pool.give(unnamed);
        }
        self.release_named(slot);
    }

    /// Blocks of it that have a name.
    pub(super) fn named_blocks(&self, slot: Slot) -> u64 {
        self.requests[slot].named.len() as u64 * u64::from(self.layout.full_groups)
    }

    /// Puts a chunk that was just allocated into the step.
    pub(super) fn note_chunk(&mut self, slot: Slot, record: &mut InFlight, shape: &mut StepShape) {
        let clip = self.clip;
        let r = &mut self.requests[slot];
        let chunk = r.cached - r.before;
        if chunk == 0 {
            return;
        }
        shape.prefill_rows += 1;
        shape.prefill_tokens += chunk;
        shape.prefill_ctx += context_sum(r.before, chunk, u32::MAX);
        shape.prefill_ctx_window += context_sum(r.before, chunk, clip);
        shape.prefill_kv += u64::from(r.cached);
        if r.cached == r.known() {
            r.first_step = record.number;
            record.first.push(slot);
        }
    }

    /// The same for all unfinished prompts.
    pub(in crate::sim::policy) fn note_chunks(&mut self, record: &mut InFlight, shape: &mut StepShape) {
        for i in 0..self.prefilling.len() {
            self.note_chunk(self.prefilling[i], record, shape);
        }
        let requests = &self.requests;
        self.prefilling.retain(|&s| requests[s].first_step == u64::MAX);
    }

    /// Allocates row by row because blocks may run out; true when a request was preempted.
    fn run_in_order(&mut self, chunking: &Chunking, record: &mut InFlight) -> bool {
        let before = self.preemptions;
        let groups = u64::from(self.layout.full_groups + self.layout.sliding_groups);
        // Decode rows ask for one token each; what they leave goes to prompts.
        let mut left = chunking.budget - self.decode.rows;
        let mut slot = self.requests.head;
        while slot != NONE {
            let (chunk, wanted, dropped) = match self.requests[slot].phase {
                Phase::Decode => {
                    let fresh =
                        self.requests[slot].cached_at(self.step).is_multiple_of(self.layout.block_size);
                    (1, groups * u64::from(fresh), self.dropped_by(slot))
                }
                Phase::Prefill => {
                    let chunk = chunking.chunk(self.requests[slot].rest(), left);
                    (chunk, self.blocks_for(slot, chunk), self.dropped_by(slot))
                }
                Phase::Ending | Phase::Waiting => (0, 0, 0),
            };
            if chunk > 0 && !self.make_room(slot, wanted.saturating_sub(dropped), record) {
                break;
            }
            if self.requests[slot].phase == Phase::Prefill {
                self.allocate_chunk(slot, chunk);
            } else if chunk > 0 {
                self.pool.give(dropped);
                self.pool.take(wanted);
                let target = self.skip_target(slot);
                self.requests[slot].skipped_to = target;
            }
            if self.requests[slot].phase == Phase::Prefill {
                left -= chunk;
            }
            slot = self.requests[slot].next;
        }
        self.settle();
        self.preemptions > before
    }

    /// Preempts from the tail until so many blocks are free; false when `slot` itself had to go.
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
            for flying in &mut self.in_flight {
                if flying.forget_row(r, slot) {
                    flying.preempted.push(slot);
                }
            }
            // It was counted into the step under composition at its start.
            if phase == Phase::Decode {
                record.forget_row(r, slot);
                let over = if record.decodes { r.token_of(self.step) } else { r.token_of(self.step - 1) };
                self.wasting -= u32::from(!by_length && over >= r.output);
            }
            record.last.retain(|&s| s != slot);
        }
        self.second.retain(|&s| s != slot);
        self.settling.retain(|&s| s != slot);
        self.ending.retain(|&s| s != slot);
        let held = self.held(slot);
        // A block is cached once all its tokens are known: the one that a step under way computes on is not yet.
        let decoding = phase != Phase::Prefill && self.requests[slot].first_step + 1 < self.step;
        let cached = self.cached(slot);
        let hashed = if row_wise {
            cached.min(self.requests[slot].known() - 1)
        } else {
            cached - u32::from(decoding && !self.in_flight.is_empty())
        };
        self.deactivate(slot);
        self.prefilling.retain(|&s| s != slot);
        self.requests.unlink(slot);
        // Tail first: what is not cached, its own cached blocks, named ones.
        let named = self.named_blocks(slot);
        let unit = u64::from(self.layout.full_groups);
        let dense = self.layout.sliding_groups == 0 && self.prefix_caching;
        let every = named == self.requests[slot].hashes.len() as u64 * unit;
        let whole = u64::from(hashed / self.layout.block_size) * unit;
        let own = if dense && every { whole.saturating_sub(named) } else { 0 };
        if self.uncached_first {
            self.pool.give_first(held - named - own);
        } else {
            self.pool.give(held - named - own);
        }
        let left = (own > 0).then(|| self.pool.give_owned(slot, own));
        self.release_named(slot);
        let r = &mut self.requests[slot];
        r.left_behind = left;
        r.emitted = emitted;
        r.coming = 0;
        r.before = 0;
        r.cached = 0;
        r.skipped_to = 0;
        r.first_step = u64::MAX;
        r.phase = Phase::Waiting;
        r.resumed = true;
        let id = r.id;
        self.preemptions += 1;
        self.transitions.push(Transition::Preempted { id });
    }

    /// Tokens in its cache.
    fn cached(&self, slot: Slot) -> u32 {
        let r = &self.requests[slot];
        match r.phase {
            Phase::Decode if self.verification.is_some() => r.allocated,
            Phase::Decode => r.cached_at(self.step),
            Phase::Waiting | Phase::Prefill | Phase::Ending => r.cached,
        }
    }

    /// Blocks it holds.
    pub(super) fn held(&self, slot: Slot) -> u64 {
        let r = &self.requests[slot];
        let skipped = if r.deep { self.deep_skip(slot) } else { r.skipped_to };
        self.layout.held(skipped, self.cached(slot))
    }

    /// Takes a row out of the decode sums; it goes on holding its blocks.
    pub(super) fn deactivate(&mut self, slot: Slot) {
        if self.requests[slot].phase != Phase::Decode {
            return;
        }
        let cached = self.cached(slot);
        if self.verification.is_some() {
            self.decode.rows -= 1;
        } else {
            self.decode.leave(cached, self.requests[slot].deep);
        }
        if self.requests[slot].deep {
            self.requests[slot].skipped_to = self.deep_skip(slot);
        }
        self.settling.retain(|&s| s != slot);
        let r = &mut self.requests[slot];
        r.deep = false;
        r.before = cached - 1;
        r.cached = cached;
        r.phase = Phase::Ending;
        r.epoch += 1;
    }

    /// A request whose known tokens are all computed decodes from the next step on.
    pub(super) fn start_decode(&mut self, slot: Slot, record: &mut InFlight) {
        let step = self.step;
        let row_wise = self.verification.is_some();
        let r = &mut self.requests[slot];
        r.phase = Phase::Decode;
        r.epoch += 1;
        if row_wise {
            (r.allocated, r.coming) = (r.cached, 1);
            self.decode.rows += 1;
            return;
        }
        let (cached, epoch) = (r.cached, r.epoch);
        let last = step - 1 + u64::from(r.output - r.emitted - 1);
        self.decode.join(cached);
        if self.clip != u32::MAX && cached + 1 < self.clip {
            let at = step + u64::from(self.clip - cached - 1);
            self.turns.push(Reverse((at, slot, epoch, Turn::Clipped)));
        }
        if self.layout.sliding_groups > 0 {
            self.settling.push(slot);
        }
        if last < step {
            self.last_token(slot, record);
        } else {
            self.lasts.push(Reverse((last, slot, epoch)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::context_sum;

    #[test]
    fn the_context_sum_equals_its_definition() {
        for (from, len, clip) in [(0, 1, 9), (0, 20, 9), (5, 10, 9), (12, 4, 9), (3, 7, u32::MAX)] {
            let by_hand: u64 = (from + 1..=from + len).map(|p| u64::from(p.min(clip))).sum();
            assert_eq!(context_sum(from, len, clip), by_hand);
        }
    }
}
