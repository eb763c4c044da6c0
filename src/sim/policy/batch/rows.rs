//! Running rows: what they need in a step, their blocks, their way into and out of the decode rows.

use super::requests::{NONE, Phase};
use super::{Batch, Chunking, InFlight, RowChange};
use crate::sim::scheduler::Slot;
use crate::sim::step::StepShape;
use std::cmp::Reverse;

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

    /// Blocks of one more token for every decode row. The caller has checked that there are enough.
    pub(in crate::sim::policy) fn allocate_decode(&mut self) {
        if self.verification.is_some() {
            self.verify_all();
            return;
        }
        let dropped = self.decode.dropped(0);
        self.pool.take(self.decode.wanted(0));
        self.pool.give(dropped);
        self.release_window_backlog();
    }

    /// Tokens as of which a running row gives back blocks in the step under composition.
    pub(super) fn skip_target(&self, slot: Slot) -> u32 {
        let r = &self.requests[slot];
        if self.verification.is_some() && r.phase == Phase::Decode {
            // What is not rejected any more.
            return r.num_tokens() - 1;
        }
        match r.phase {
            // With a lag the step before counts as under way: what it started from is all that is settled.
            Phase::Decode if self.lag == 0 || r.first_step + 1 < self.step => {
                r.cached_at(self.step) - self.lag
            }
            Phase::Prefill if self.lag == 0 => r.num_computed_tokens,
            _ => r.before,
        }
    }

    /// Blocks, over the sliding groups, that the row gives back in the step under composition.
    pub(super) fn dropped_by(&self, slot: Slot) -> u64 {
        if self.layout.sliding_groups == 0 {
            return 0;
        }
        let from = if self.requests[slot].beyond_window {
            self.latest_skip(slot)
        } else {
            self.requests[slot].skipped_to
        };
        let blocks = self.layout.skipped(self.skip_target(slot)) - self.layout.skipped(from);
        blocks * u64::from(self.layout.sliding_groups)
    }

    /// Tokens as of which a row beyond the window gave back blocks in its latest step.
    fn latest_skip(&self, slot: Slot) -> u32 {
        self.requests[slot].cached_at(self.step) - 1 - self.lag
    }

    /// Rows whose prompt ended lately give back what it left before the window, and join the sums once they
    /// are even with them.
    fn release_window_backlog(&mut self) {
        for slot in std::mem::take(&mut self.window_backlog) {
            self.pool.give(self.dropped_by(slot));
            let target = self.skip_target(slot);
            let (step, lag, window) = (self.step, self.lag, self.layout.window);
            let r = &mut self.requests[slot];
            r.skipped_to = target;
            let cached = r.cached_at(step);
            if target + lag < cached {
                self.window_backlog.push(slot);
            } else if target >= window {
                r.beyond_window = true;
                self.decode.beyond_window(cached);
            } else {
                let at = step + u64::from(window + lag - cached);
                self.row_changes.push(Reverse((at, slot, r.epoch, RowChange::BeyondWindow)));
            }
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
        let known = (r.input + r.output - 1).min(r.num_computed_tokens);
        let b = self.layout.block_size;
        let loose = u64::from(r.num_computed_tokens.div_ceil(b) - known / b);
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
        self.release_window_backlog();
        self.preemptions > before
    }

    /// Tokens in its cache.
    pub(super) fn cached(&self, slot: Slot) -> u32 {
        let r = &self.requests[slot];
        match r.phase {
            Phase::Decode if self.verification.is_some() => r.allocated,
            Phase::Decode => r.cached_at(self.step),
            Phase::Waiting | Phase::Prefill | Phase::Ending => r.num_computed_tokens,
        }
    }

    /// Blocks it holds.
    pub(super) fn held(&self, slot: Slot) -> u64 {
        self.layout.held(self.skipped_as_of(slot), self.cached(slot))
    }

    /// Computed tokens as of which blocks before the window have been given back.
    pub(super) fn skipped_as_of(&self, slot: Slot) -> u32 {
        let r = &self.requests[slot];
        if r.beyond_window { self.latest_skip(slot) } else { r.skipped_to }
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
            self.decode.leave(cached, self.requests[slot].beyond_window);
        }
        if self.requests[slot].beyond_window {
            self.requests[slot].skipped_to = self.latest_skip(slot);
        }
        self.window_backlog.retain(|&s| s != slot);
        let r = &mut self.requests[slot];
        r.beyond_window = false;
        r.before = cached - 1;
        r.num_computed_tokens = cached;
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
            (r.allocated, r.steps_in_flight) = (r.num_computed_tokens, 1);
            self.decode.rows += 1;
            return;
        }
        let (cached, epoch) = (r.num_computed_tokens, r.epoch);
        let last = step - 1 + u64::from(r.output - r.emitted - 1);
        self.decode.join(cached);
        if self.clip != u32::MAX && cached + 1 < self.clip {
            let at = step + u64::from(self.clip - cached - 1);
            self.row_changes.push(Reverse((at, slot, epoch, RowChange::WindowFull)));
        }
        if self.layout.sliding_groups > 0 {
            self.window_backlog.push(slot);
        }
        if last < step {
            self.last_token(slot, record);
        } else {
            self.lasts.push(Reverse((last, slot, epoch)));
        }
    }
}
