//! Prompts in chunks: their size, their blocks, their part in a step.

use super::{Batch, InFlight};
use crate::sim::scheduler::Slot;
use crate::sim::step::StepShape;

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
    /// New blocks that a chunk needs, before any fall out of its window.
    pub(super) fn blocks_for(&self, slot: Slot, chunk: u32) -> u64 {
        let r = &self.requests[slot];
        let groups = u64::from(self.layout.full_groups + self.layout.sliding_groups);
        let b = self.layout.block_size;
        groups * u64::from((r.num_computed_tokens + chunk).div_ceil(b) - r.num_computed_tokens.div_ceil(b))
    }

    pub(super) fn allocate_chunks(&mut self, chunking: &Chunking) {
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
        r.before = r.num_computed_tokens;
        r.num_computed_tokens += chunk;
        self.publish_prefix(slot);
    }

    /// Prompt blocks become cacheable as soon as they are scheduled full.
    fn publish_prefix(&mut self, slot: Slot) {
        let r = &mut self.requests[slot];
        let full = (r.num_computed_tokens / self.layout.block_size).min(r.hashes.len() as u32);
        while r.computed < full {
            let hash = r.hashes[r.computed as usize];
            if self.pool.publish(hash) {
                r.named.push(hash);
            }
            r.computed += 1;
        }
    }

    /// Puts a chunk that was just allocated into the step.
    pub(super) fn note_chunk(&mut self, slot: Slot, record: &mut InFlight, shape: &mut StepShape) {
        let clip = self.clip;
        let r = &mut self.requests[slot];
        let chunk = r.num_computed_tokens - r.before;
        if chunk == 0 {
            return;
        }
        shape.prefill_rows += 1;
        shape.prefill_tokens += chunk;
        shape.prefill_ctx += context_sum(r.before, chunk, u32::MAX);
        shape.prefill_ctx_window += context_sum(r.before, chunk, clip);
        shape.prefill_kv += u64::from(r.num_computed_tokens);
        if r.num_computed_tokens == r.num_tokens() {
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
