//! The first half of a step: running requests, in order, and preemption.

use super::requests::{NONE, Phase};
use super::{InFlight, Turn, VllmScheduler};
use crate::cost::StepShape;
use crate::sim::scheduler::{PlainStretch, Slot, Transition};
use std::cmp::Reverse;

/// Σ over positions `from + 1 ..= from + len` of the position clipped to `clip`.
fn context_sum(from: u32, len: u32, clip: u32) -> u64 {
    let (a, n, w) = (u64::from(from), u64::from(len), u64::from(clip));
    let below = w.saturating_sub(a).min(n);
    a * below + below * (below + 1) / 2 + (n - below) * w
}

impl VllmScheduler {
    /// True when a request was preempted.
    pub(super) fn run_running(&mut self, record: &mut InFlight, shape: &mut StepShape) -> bool {
        let mut budget = self.limits.budget - self.decode.rows;
        let mut wanted = self.decode.wanted(0);
        let mut chunks: u64 = 0;
        let mut chunk_blocks: u64 = 0;
        for i in 0..self.prefilling.len() {
            let slot = self.prefilling[i];
            let chunk = self.chunk_of(slot, u64::from(budget));
            chunks += u64::from(chunk);
            budget -= chunk;
            chunk_blocks += self.blocks_for(slot, chunk);
        }
        debug_assert!(chunks >= self.prefilling.len() as u64, "a running request is starved");
        wanted += chunk_blocks;
        let scarce = wanted > self.pool.free();
        let preempted = if scarce {
            self.run_in_order(record)
        } else {
            let dropped = self.decode.dropped(0);
            self.pool.take(self.decode.wanted(0));
            self.pool.give(dropped);
            false
        };
        shape.decode_rows = self.decode.rows;
        shape.decode_ctx = self.decode.ctx;
        shape.decode_ctx_window = self.decode.ctx_window;
        if scarce {
            self.note_chunks(record, shape);
        } else {
            self.run_chunks(record, shape);
        }
        preempted
    }

    /// Tokens of its prompt that the request computes next within `budget`.
    pub(super) fn chunk_of(&self, slot: Slot, budget: u64) -> u32 {
        let r = &self.requests[slot];
        let mut chunk = r.known() - r.cached;
        let several = self.requests.running as usize + self.waiting.len() > 1;
        if self.limits.long_prefill > 0 && several {
            chunk = chunk.min(self.limits.long_prefill);
        }
        chunk.min(u32::try_from(budget).unwrap_or(u32::MAX))
    }

    /// New blocks that a chunk needs, before any fall out of its window.
    fn blocks_for(&self, slot: Slot, chunk: u32) -> u64 {
        let r = &self.requests[slot];
        let groups = u64::from(self.layout.full_groups + self.layout.sliding_groups);
        let b = self.layout.block_size;
        groups * u64::from((r.cached + chunk).div_ceil(b) - r.cached.div_ceil(b))
    }

    fn run_chunks(&mut self, record: &mut InFlight, shape: &mut StepShape) {
        let mut budget = u64::from(self.limits.budget - self.decode.rows);
        for i in 0..self.prefilling.len() {
            let slot = self.prefilling[i];
            let chunk = self.chunk_of(slot, budget);
            budget -= u64::from(chunk);
            self.allocate_chunk(slot, chunk);
            self.note_chunk(slot, record, shape);
        }
        let requests = &self.requests;
        self.prefilling.retain(|&s| requests[s].first_step == u64::MAX);
    }

    /// Takes blocks for a chunk, gives back those out of the window, and moves the request on.
    pub(super) fn allocate_chunk(&mut self, slot: Slot, chunk: u32) {
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

    /// Blocks of it that have a name.
    pub(super) fn named_blocks(&self, slot: Slot) -> u64 {
        self.requests[slot].named.len() as u64 * u64::from(self.layout.full_groups)
    }

    /// Puts a chunk that was just allocated into the step.
    pub(super) fn note_chunk(&mut self, slot: Slot, record: &mut InFlight, shape: &mut StepShape) {
        let step = self.step;
        let clip = self.clip;
        let r = &mut self.requests[slot];
        let chunk = r.cached - r.before;
        shape.prefill_rows += 1;
        shape.prefill_tokens += chunk;
        shape.prefill_ctx += context_sum(r.before, chunk, u32::MAX);
        shape.prefill_ctx_window += context_sum(r.before, chunk, clip);
        shape.prefill_kv += u64::from(r.cached);
        if r.cached == r.known() {
            r.first_step = step;
            record.first.push(slot);
        }
    }

    /// The same for all unfinished prompts that `run_in_order` has moved on.
    fn note_chunks(&mut self, record: &mut InFlight, shape: &mut StepShape) {
        for i in 0..self.prefilling.len() {
            self.note_chunk(self.prefilling[i], record, shape);
        }
        let requests = &self.requests;
        self.prefilling.retain(|&s| requests[s].first_step == u64::MAX);
    }

    /// Allocates row by row because blocks may run out; true when a request was preempted.
    fn run_in_order(&mut self, record: &mut InFlight) -> bool {
        let before = self.preemptions;
        let groups = u64::from(self.layout.full_groups + self.layout.sliding_groups);
        let mut budget = u64::from(self.limits.budget);
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
                    let chunk = self.chunk_of(slot, budget);
                    let r = &self.requests[slot];
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
            budget -= u64::from(chunk);
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

    fn preempt(&mut self, slot: Slot, record: &mut InFlight) {
        let (phase, first_step) = (self.requests[slot].phase, self.requests[slot].first_step);
        let mut emitted = self.requests[slot].emitted;
        if phase != Phase::Prefill {
            let latest = self.step - 1;
            let output = self.requests[slot].output;
            emitted = self.requests[slot].token_of(latest).min(output);
            for flying in &mut self.in_flight {
                if first_step < flying.number && self.requests[slot].token_of(flying.number) < output {
                    flying.plain -= 1;
                    flying.preempted.push(slot);
                }
            }
            // It was counted into the step under composition at its start.
            if phase == Phase::Decode && self.requests[slot].token_of(self.step) < output {
                record.plain -= 1;
            }
            record.last.retain(|&s| s != slot);
            let r = &self.requests[slot];
            if phase == Phase::Decode && r.output != r.max_tokens && r.token_of(self.step) >= output {
                self.wasting -= 1;
            }
        }
        self.ending.retain(|&s| s != slot);
        let held = self.held(slot);
        let (_, cached) = self.extent(slot);
        self.deactivate(slot);
        self.prefilling.retain(|&s| s != slot);
        self.requests.unlink(slot);
        // Tail first: what is neither whole nor ever asked for again, its own whole blocks, named ones.
        let named = self.named_blocks(slot);
        let dense = self.layout.sliding_groups == 0 && self.limits.prefix_caching;
        let every = named == self.requests[slot].hashes.len() as u64 * u64::from(self.layout.full_groups);
        let whole = u64::from(cached / self.layout.block_size) * u64::from(self.layout.full_groups);
        let own = if dense && every { whole.saturating_sub(named) } else { 0 };
        self.pool.give(held - named - own);
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
        self.waiting.push_front(slot);
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

    /// Steps ahead in which every row just decodes.
    pub(super) fn stretch(&mut self) -> Option<PlainStretch> {
        let closed = self.requests.running >= self.limits.max_seqs;
        let quiet =
            self.in_flight.iter().all(|f| f.first.is_empty() && f.last.is_empty() && f.preempted.is_empty());
        if !quiet
            || self.decode.rows == 0
            || self.wasting > 0
            || !self.prefilling.is_empty()
            || !self.ending.is_empty()
            || !(closed || self.waiting.is_empty())
        {
            return None;
        }
        let next = self.next_change()?;
        let mut steps = 0;
        let mut wanted = 0;
        while self.step + steps < next {
            wanted += self.decode.wanted(steps);
            if wanted > self.pool.free() {
                break;
            }
            steps += 1;
        }
        let shape = StepShape {
            decode_rows: self.decode.rows,
            decode_ctx: self.decode.ctx,
            decode_ctx_window: self.decode.ctx_window,
            ..StepShape::default()
        };
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        let window_growth = self.decode.growing;
        (steps > 0).then_some(PlainStretch { steps, shape, window_growth, admission_closed: closed })
    }

    /// The next step at which a row ends or its share in the sums changes.
    fn next_change(&mut self) -> Option<u64> {
        while let Some(&Reverse((_, slot, epoch))) = self.lasts.peek() {
            if self.requests[slot].epoch == epoch {
                break;
            }
            self.lasts.pop();
        }
        let &Reverse((last, ..)) = self.lasts.peek()?;
        Some(self.turns.peek().map_or(last, |&Reverse((turn, ..))| last.min(turn)))
    }

    pub(super) fn advance_plain(&mut self, steps: u32) {
        let (mut wanted, mut dropped) = (0, 0);
        let used = self.layout.blocks - self.pool.free();
        for i in 0..u64::from(steps) {
            wanted += self.decode.wanted(i);
            dropped += self.decode.dropped(i);
            self.peak_blocks = self.peak_blocks.max(used + wanted - dropped);
        }
        self.pool.take(wanted);
        self.pool.give(dropped);
        self.decode.advance(u64::from(steps));
        self.step += u64::from(steps);
        self.turn();
        if let Some(flying) = self.in_flight.back_mut() {
            flying.number = self.step - 1;
            flying.plain = self.decode.rows;
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
