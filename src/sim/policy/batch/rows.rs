//! Running rows: their chunks, their blocks, preemption.

use super::requests::{NONE, Phase};
use super::{Batch, InFlight, Turn};
use crate::cost::StepShape;
use crate::sim::scheduler::{Slot, Transition};
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
    /// A chunk cut short by the budget is a multiple of this.
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
            let dropped = self.decode.dropped(0);
            self.pool.take(self.decode.wanted(0));
            self.pool.give(dropped);
            self.allocate_chunks(chunking);
            false
        };
        self.note_decode(shape);
        self.note_chunks(record, shape);
        preempted
    }

    /// New blocks that a chunk needs, before any fall out of its window.
    fn blocks_for(&self, slot: Slot, chunk: u32) -> u64 {
        let r = &self.requests[slot];
        let groups = u64::from(self.layout.full_groups + self.layout.sliding_groups);
        let b = self.layout.block_size;
        groups * u64::from((r.cached + chunk).div_ceil(b) - r.cached.div_ceil(b))
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
        let r = &self.requests[slot];
        let (before, cached) = (r.before, r.cached);
        let held = self.layout.held(before, cached);
        let dropped = u64::from(self.layout.sliding_groups)
            * (self.layout.skipped(cached) - self.layout.skipped(before));
        self.pool.give(dropped);
        let now = self.layout.held(cached, cached + chunk);
        self.pool.take(now + dropped - held);
        let r = &mut self.requests[slot];
        r.before = cached;
        r.cached = cached + chunk;
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
                    let cached = self.requests[slot].cached_at(self.step);
                    let fresh = cached.is_multiple_of(self.layout.block_size);
                    let drop = self.layout.skipped(cached) - self.layout.skipped(cached - 1);
                    (1, groups * u64::from(fresh), u64::from(self.layout.sliding_groups) * drop)
                }
                Phase::Prefill => {
                    let r = &self.requests[slot];
                    let chunk = chunking.chunk(r.rest(), left);
                    let drop = self.layout.skipped(r.cached) - self.layout.skipped(r.before);
                    (chunk, self.blocks_for(slot, chunk), u64::from(self.layout.sliding_groups) * drop)
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
            }
            if self.requests[slot].phase == Phase::Prefill {
                left -= chunk;
            }
            slot = self.requests[slot].next;
        }
        self.preemptions > before
    }

    /// Preempts from the tail until so many blocks are free; false when `slot` itself had to go.
    fn make_room(&mut self, slot: Slot, blocks: u64, record: &mut InFlight) -> bool {
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
        if phase != Phase::Prefill {
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
        self.ending.retain(|&s| s != slot);
        let held = self.held(slot);
        // A block is cached once all its tokens are known: the one that a step under way computes on is not yet.
        let decoding = phase != Phase::Prefill && self.requests[slot].first_step + 1 < self.step;
        let (_, cached) = self.extent(slot);
        let hashed = cached - u32::from(decoding && !self.in_flight.is_empty());
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
        r.before = 0;
        r.cached = 0;
        r.first_step = u64::MAX;
        r.phase = Phase::Waiting;
        r.resumed = true;
        let id = r.id;
        self.preemptions += 1;
        self.transitions.push(Transition::Preempted { id });
    }

    /// Tokens in the cache before and after the latest step.
    pub(super) fn extent(&self, slot: Slot) -> (u32, u32) {
        let r = &self.requests[slot];
        if r.phase == Phase::Decode {
            let now = r.cached_at(self.step);
            (now - 1, now)
        } else {
            (r.before, r.cached)
        }
    }

    /// Blocks it holds.
    pub(super) fn held(&self, slot: Slot) -> u64 {
        let (before, cached) = self.extent(slot);
        self.layout.held(before, cached)
    }

    /// Takes a row out of the decode sums; it goes on holding its blocks.
    pub(super) fn deactivate(&mut self, slot: Slot) {
        if self.requests[slot].phase != Phase::Decode {
            return;
        }
        let (before, cached) = self.extent(slot);
        self.decode.leave(cached);
        let r = &mut self.requests[slot];
        r.before = before;
        r.cached = cached;
        r.phase = Phase::Ending;
        r.epoch += 1;
    }

    /// A request whose known tokens are all computed decodes from the next step on.
    pub(super) fn start_decode(&mut self, slot: Slot, record: &mut InFlight) {
        let step = self.step;
        let r = &mut self.requests[slot];
        r.phase = Phase::Decode;
        r.epoch += 1;
        let (cached, before, epoch) = (r.cached, r.before, r.epoch);
        let last = step - 1 + u64::from(r.output - r.emitted - 1);
        // Blocks before the window as of the next step are dropped then; all but that step's own are given
        // back here, where nothing asks for blocks any more.
        let dropped = self.layout.skipped(cached - 1) - self.layout.skipped(before);
        self.pool.give(u64::from(self.layout.sliding_groups) * dropped);
        self.decode.join(cached);
        if self.clip != u32::MAX && cached + 1 < self.clip {
            let at = step + u64::from(self.clip - cached - 1);
            self.turns.push(Reverse((at, slot, epoch, Turn::Clipped)));
        }
        if self.layout.sliding_groups > 0 && cached < self.layout.window {
            let at = step + u64::from(self.layout.window - cached);
            self.turns.push(Reverse((at, slot, epoch, Turn::Deep)));
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
