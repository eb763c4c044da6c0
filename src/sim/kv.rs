//! KV-cache blocks: how many a request holds, and the pool they come from when prompts share nothing.

use super::scheduler::Slot;
use std::collections::VecDeque;

/// How a launch's KV room is cut up.
///
/// Layers with the same kind of attention form groups of equal layer count that draw blocks from one pool;
/// a request holds blocks in every group. A dense model has one full group; gpt-oss-20b has one full and
/// one sliding group; gemma-3-27b one full and six sliding ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvLayout {
    /// Tokens a block.
    pub block_size: u32,
    /// Usable blocks (vLLM keeps one block of those it reports for itself).
    pub blocks: u64,
    pub full_groups: u32,
    pub sliding_groups: u32,
    /// Window of the sliding groups in tokens; ignored without any.
    pub window: u32,
}

impl KvLayout {
    /// Every layer attends to the whole context.
    pub fn dense(block_size: u32, blocks: u64) -> KvLayout {
        KvLayout { block_size: block_size.max(1), blocks, full_groups: 1, sliding_groups: 0, window: 0 }
    }

    /// Room for so many tokens in blocks of `block_size`, all groups together.
    pub fn tokens(&self) -> u64 {
        self.blocks * u64::from(self.block_size) / u64::from((self.full_groups + self.sliding_groups).max(1))
    }

    /// Blocks of a sliding group that lie wholly before the window when `computed` tokens are in the cache.
    pub(super) fn skipped(&self, computed: u32) -> u64 {
        if self.sliding_groups == 0 {
            return 0;
        }
        u64::from((computed + 1).saturating_sub(self.window) / self.block_size)
    }

    /// Blocks held over all groups after a step that took the cache from `before` to `after` tokens:
    /// blocks out of the window are given back as of `before`.
    pub fn held(&self, before: u32, after: u32) -> u64 {
        let all = u64::from(after.div_ceil(self.block_size));
        u64::from(self.full_groups) * all
            + u64::from(self.sliding_groups) * all.saturating_sub(self.skipped(before))
    }

    /// The most blocks a sequence of `tokens` can come to hold when at most `in_flight` tokens of it are
    /// computed at once: what the full-prompt admission gate asks for.
    pub fn whole(&self, tokens: u32, in_flight: u64) -> u64 {
        let all = u64::from(tokens.div_ceil(self.block_size));
        let cap =
            (u64::from(self.window.saturating_sub(1)) + in_flight).div_ceil(u64::from(self.block_size)) + 1;
        u64::from(self.full_groups) * all + u64::from(self.sliding_groups) * all.min(cap)
    }
}

/// A run of free blocks that were given back together. With an owner they still hold that preempted
/// request's prefix, tail first.
#[derive(Debug, Clone, Copy)]
struct Segment {
    owner: Option<Slot>,
    blocks: u64,
}

/// The pool when prompts share nothing: counts instead of block numbers, but the same order of reuse, so
/// that a preempted request finds on its return exactly the prefix that nobody has overwritten.
#[derive(Debug, Clone)]
pub(super) struct CountingPool {
    segments: VecDeque<Segment>,
    /// Number of the front segment; segment numbers never change while it lives.
    base: u64,
    free: u64,
}

impl CountingPool {
    pub(super) fn new(blocks: u64) -> CountingPool {
        let mut segments = VecDeque::new();
        segments.push_back(Segment { owner: None, blocks });
        CountingPool { segments, base: 0, free: blocks }
    }

    pub(super) fn free(&self) -> u64 {
        self.free
    }

    /// Takes blocks in order of reuse. The caller has checked that so many are free.
    pub(super) fn take(&mut self, mut blocks: u64) {
        self.free -= blocks;
        while blocks > 0 {
            let Some(front) = self.segments.front_mut() else { return };
            let taken = front.blocks.min(blocks);
            front.blocks -= taken;
            blocks -= taken;
            if front.blocks == 0 {
                self.segments.pop_front();
                self.base += 1;
            }
        }
    }

    /// Gives back blocks that nobody will ask for again.
    pub(super) fn give(&mut self, blocks: u64) {
        if blocks == 0 {
            return;
        }
        self.free += blocks;
        match self.segments.back_mut() {
            Some(last) if last.owner.is_none() => last.blocks += blocks,
            _ => self.segments.push_back(Segment { owner: None, blocks }),
        }
    }

    /// Gives back the prefix of a preempted request, to be found again by the number returned.
    pub(super) fn give_owned(&mut self, owner: Slot, blocks: u64) -> u64 {
        self.free += blocks;
        self.segments.push_back(Segment { owner: Some(owner), blocks });
        self.base + self.segments.len() as u64 - 1
    }

    fn owned(&self, owner: Slot, number: u64) -> Option<usize> {
        let at = usize::try_from(number.checked_sub(self.base)?).ok()?;
        self.segments.get(at).filter(|s| s.owner == Some(owner)).map(|_| at)
    }

    /// How much of an owned segment nobody has taken yet.
    pub(super) fn remains(&self, owner: Slot, number: u64) -> u64 {
        self.owned(owner, number).map_or(0, |at| self.segments[at].blocks)
    }

    /// Takes what remains of an owned segment out of the free blocks.
    pub(super) fn adopt(&mut self, owner: Slot, number: u64) {
        if let Some(at) = self.owned(owner, number) {
            self.free -= self.segments[at].blocks;
            self.segments[at] = Segment { owner: None, blocks: 0 };
        }
    }

    /// The owner has gone: its blocks stay where they are in the order of reuse, without a name.
    pub(super) fn disown(&mut self, owner: Slot, number: u64) {
        if let Some(at) = self.owned(owner, number) {
            self.segments[at].owner = None;
        }
    }

    pub(super) fn disown_all(&mut self) {
        for s in &mut self.segments {
            s.owner = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_caps_what_a_request_holds() {
        let l = KvLayout { block_size: 16, blocks: 1000, full_groups: 1, sliding_groups: 1, window: 128 };
        assert_eq!(l.held(0, 100), 14);
        // 1,000 tokens: 63 blocks in the full group; of the sliding one 999 - 128 + 1 tokens lie before
        // the window, 54 whole blocks, which leaves 9.
        assert_eq!(l.held(999, 1000), 63 + 9);
        assert_eq!(l.whole(1000, 256), 63 + 25);
        assert_eq!(KvLayout::dense(16, 10).held(999, 1000), 63);
    }

    #[test]
    fn a_preempted_prefix_survives_until_its_blocks_are_reused() {
        let mut p = CountingPool::new(10);
        p.take(10);
        p.give(2);
        let n = p.give_owned(7, 5);
        p.give(3);
        p.take(4);
        assert_eq!((p.free(), p.remains(7, n)), (6, 3));
        p.adopt(7, n);
        assert_eq!((p.free(), p.remains(7, n)), (3, 0));
        p.take(3);
        assert_eq!(p.free(), 0);
    }
}
