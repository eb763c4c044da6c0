//! Admission of a request and what it finds of itself in the prefix cache.

use super::requests::{LeftBehind, Phase};
use super::{Batch, Chunking, InFlight};
use crate::sim::scheduler::{Slot, Transition};
use crate::sim::step::StepShape;

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
        let at_most = (r.num_tokens() - 1) / self.layout.block_size;
        let usable = &r.hashes[..r.hashes.len().min(at_most as usize)];
        let (named, idle) = self.pool.lookup(usable);
        let unit = u64::from(self.layout.full_groups);
        let mut blocks = named;
        if named as usize == r.hashes.len()
            && unit > 0
            && let Some(left) = r.left_behind
        {
            blocks = self.found_again(slot, left, named).min(at_most);
        }
        Hit {
            named,
            own: blocks - named,
            tokens: blocks * self.layout.block_size,
            in_use: u64::from(named) * unit - idle,
        }
    }

    /// Blocks of the sequence, from the first, that a preempted request finds again, `named` of them by hash.
    ///
    /// Its blocks are reused tail first, those of the sliding groups before those of the full ones. A hit of a sliding group needs the
    /// blocks of the window before its end, or all from the first. What it gave up while it was computed is taken for gone.
    fn found_again(&self, slot: Slot, left: LeftBehind, named: u32) -> u32 {
        let remains = self.pool.remains(slot, left.number);
        if self.layout.sliding_groups == 0 {
            return named + (remains / u64::from(self.layout.full_groups)) as u32;
        }
        let lost = left.blocks - remains;
        let kept = u64::from(left.whole - left.skipped).saturating_sub(lost) as u32;
        let window = self.layout.window.saturating_sub(1).div_ceil(self.layout.block_size);
        if kept >= window || left.skipped == 0 { left.skipped + kept } else { 0 }
    }

    /// The segment of free blocks whose reuse could let the request at the front of the queue in, which found too
    /// few free blocks in the latest step.
    ///
    /// Decode rows reuse what it would find in the cache. A block lost from the tail of its hit makes it ask for one
    /// less of the free blocks, and there is one less; so it goes on waiting, unless its chunk gets shorter with
    /// that. A block lost from the middle takes the tail with it: it asks for several less.
    fn first_loss(&self, chunking: &Chunking) -> Option<u64> {
        let &slot = self.waiting.front()?;
        let hit = self.prefix_hit(slot);
        let r = &self.requests[slot];
        let named = r.hashes[..hit.named as usize].iter().filter_map(|&hash| self.pool.idle(hash));
        let idle = || named.clone().chain(r.left_behind.filter(|_| hit.own > 0).map(|left| left.number));
        let tail_first = idle().is_sorted_by(|head, tail| head > tail);
        let left = chunking.budget - self.decode.rows;
        let known = r.num_tokens();
        let same_chunk = chunking.unit == 1 || known <= left || known - hit.tokens > left;
        // With windows a block lost is all of the hit lost.
        let little = tail_first && same_chunk && (hit.own == 0 || self.layout.sliding_groups == 0);
        if little { None } else { idle().min() }
    }

    /// Free blocks that decode rows may take before step `next`.
    pub(super) fn room(&self, next: u64, by_hit: Option<Chunking>) -> u64 {
        let free = self.pool.free();
        let Some(number) = by_hit.and_then(|chunking| self.first_loss(&chunking)) else { return free };
        let blocks_a_row = next.saturating_sub(self.step) / u64::from(self.layout.block_size) + 1;
        let groups = u64::from(self.layout.full_groups + self.layout.sliding_groups);
        let most = u64::from(self.decode.rows) * blocks_a_row * groups;
        free.min(self.pool.ahead(number, most))
    }

    fn adopt_prefix(&mut self, slot: Slot, hit: Hit) {
        if self.prefix_caching {
            self.prefix_queries += u64::from(self.requests[slot].num_tokens());
            self.prefix_hits += u64::from(hit.tokens);
        }
        for i in 0..hit.named as usize {
            let hash = self.requests[slot].hashes[i];
            self.pool.hold(hash);
            self.requests[slot].named.push(hash);
        }
        if let Some(left) = self.requests[slot].left_behind.take() {
            self.pool.adopt(slot, left.number, u64::from(hit.own) * u64::from(self.layout.full_groups));
        }
        let r = &mut self.requests[slot];
        r.computed = hit.named;
        r.before = hit.tokens;
        r.num_computed_tokens = hit.tokens;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::kv::KvLayout;
    use crate::sim::scheduler::SimRequest;

    /// A waiting request of 80 tokens, whose first three blocks are idle in the cache and were freed in this order.
    fn waiting(freed: [u64; 3]) -> Batch {
        let mut batch = Batch::new(&KvLayout::dense(16, 20), None, true, 0);
        batch.pool.take(20);
        for hash in freed {
            batch.pool.publish(hash);
        }
        batch.pool.give(1);
        for hash in freed {
            batch.pool.release(hash);
        }
        batch.enqueue(SimRequest {
            input_tokens: 80,
            output_tokens: 1,
            max_tokens: 1,
            block_hashes: vec![1, 2, 3, 4],
            ..SimRequest::default()
        });
        batch
    }

    #[test]
    fn a_loss_lets_nobody_in_unless_it_shortens_the_chunk_or_takes_the_tail_along() {
        let chunking = |budget, unit| Chunking { budget, cap: u32::MAX, unit };
        let tail_first = waiting([3, 2, 1]);
        let lost =
            |batch: &Batch, c: Chunking| batch.first_loss(&c).map(|number| batch.pool.ahead(number, 9));
        assert_eq!(lost(&tail_first, chunking(40, 1)), None);
        // Of the 32 tokens after the hit each step takes 16 anyway; or all 80 fit.
        assert_eq!(lost(&tail_first, chunking(31, 16)), None);
        assert_eq!(lost(&tail_first, chunking(80, 16)), None);
        assert_eq!(lost(&tail_first, chunking(40, 16)), Some(1));
        assert_eq!(lost(&waiting([1, 3, 2]), chunking(40, 1)), Some(1));
        assert_eq!(lost(&waiting([2, 1, 3]), chunking(40, 1)), Some(1));
    }
}
