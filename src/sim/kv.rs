//! KV-cache blocks: how many a request holds, and the pool they come from.

use super::names::Names;
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

    /// Room for a number of tokens in blocks of `block_size`, all groups together.
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

/// Who could still use what a run of free blocks holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Nobody,
    /// A preempted request: its prefix, tail first.
    Request(Slot),
    /// Any request whose prompt has a block of this chained hash.
    Prefix(u64),
}

/// Free blocks that were given back together.
#[derive(Debug, Clone, Copy)]
struct Segment {
    owner: Owner,
    blocks: u64,
}

/// Where segment numbers start, so that there is room before it.
const FIRST_SEGMENT: u64 = 1 << 48;

/// The pool of blocks, in order of reuse (least recently freed first, a request's tail before its head).
///
/// Blocks that nobody can ask for again are only counted. Prompt blocks with a hash are kept by name, and
/// what a preempted request leaves behind is kept as one run, so that on its return it finds exactly the
/// prefix that nobody has overwritten.
#[derive(Debug, Clone)]
pub(super) struct BlockPool {
    segments: VecDeque<Segment>,
    /// Number of the front segment; segment numbers never change while it lives.
    base: u64,
    free: u64,
    cached: Names,
    /// Blocks that a named prompt block stands for: one in every full group.
    unit: u64,
}

impl BlockPool {
    pub(super) fn new(layout: &KvLayout) -> BlockPool {
        let blocks = layout.blocks;
        let mut segments = VecDeque::new();
        segments.push_back(Segment { owner: Owner::Nobody, blocks });
        let unit = u64::from(layout.full_groups);
        BlockPool { segments, base: FIRST_SEGMENT, free: blocks, cached: Names::default(), unit }
    }

    pub(super) fn free(&self) -> u64 {
        self.free
    }

    /// Takes blocks in order of reuse. The caller has checked that they are free.
    pub(super) fn take(&mut self, mut blocks: u64) {
        self.free -= blocks;
        while blocks > 0 {
            let Some(front) = self.segments.front_mut() else { return };
            let taken = front.blocks.min(blocks);
            front.blocks -= taken;
            blocks -= taken;
            if let (Owner::Prefix(hash), true) = (front.owner, taken > 0) {
                front.owner = Owner::Nobody;
                self.cached.remove(hash);
            }
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
            Some(last) if last.owner == Owner::Nobody => last.blocks += blocks,
            _ => self.segments.push_back(Segment { owner: Owner::Nobody, blocks }),
        }
    }

    /// Gives back blocks that hold nothing anybody could ask for, to be reused first.
    pub(super) fn give_first(&mut self, blocks: u64) {
        if blocks == 0 {
            return;
        }
        self.free += blocks;
        match self.segments.front_mut() {
            Some(front) if front.owner == Owner::Nobody => front.blocks += blocks,
            _ => {
                self.segments.push_front(Segment { owner: Owner::Nobody, blocks });
                self.base -= 1;
            }
        }
    }

    fn push(&mut self, owner: Owner, blocks: u64) -> u64 {
        self.free += blocks;
        self.segments.push_back(Segment { owner, blocks });
        self.base + self.segments.len() as u64 - 1
    }

    /// Gives back what a preempted request computed, to be found again by the number returned.
    pub(super) fn give_owned(&mut self, owner: Slot, blocks: u64) -> u64 {
        self.push(Owner::Request(owner), blocks)
    }

    fn position(&self, owner: Owner, number: u64) -> Option<usize> {
        let at = usize::try_from(number.checked_sub(self.base)?).ok()?;
        self.segments.get(at).filter(|s| s.owner == owner).map(|_| at)
    }

    /// How much of an owned segment nobody has taken yet.
    pub(super) fn remains(&self, owner: Slot, number: u64) -> u64 {
        self.position(Owner::Request(owner), number).map_or(0, |at| self.segments[at].blocks)
    }

    /// Takes the first `blocks` of the owner's prefix out of its segment; the rest is nobody's.
    pub(super) fn adopt(&mut self, owner: Slot, number: u64, blocks: u64) {
        if let Some(at) = self.position(Owner::Request(owner), number) {
            let rest = self.segments[at].blocks - blocks;
            self.free -= blocks;
            self.segments[at] = Segment { owner: Owner::Nobody, blocks: rest };
        }
    }

    /// The owner has gone: its blocks stay where they are in the order of reuse, without a name.
    pub(super) fn disown(&mut self, owner: Slot, number: u64) {
        self.adopt(owner, number, 0);
    }

    /// A prompt block was computed by a running request. False when another one has put the same into the
    /// cache before: then this block stays without a name.
    pub(super) fn publish(&mut self, hash: u64) -> bool {
        self.cached.insert(hash)
    }

    /// How many of these blocks, from the first, are in the cache, and how many of those are free.
    pub(super) fn lookup(&self, hashes: &[u64]) -> (u32, u64) {
        let (hit, idle) = self.cached.lookup(hashes);
        (hit, u64::from(idle) * self.unit)
    }

    /// As the first figure of [`BlockPool::lookup`], by halving: a prefix is reused from its tail, so the blocks before
    /// a cached one are cached too, but for a prompt whose middle another one has kept.
    pub(super) fn cached_blocks(&self, hashes: &[u64]) -> u32 {
        hashes.partition_point(|hash| self.cached.contains(*hash)) as u32
    }

    /// The number of a cached block's segment while nobody uses it.
    pub(super) fn idle(&self, hash: u64) -> Option<u64> {
        self.cached.get(hash).filter(|c| c.users == 0).map(|c| c.segment)
    }

    /// Blocks that are reused before this segment, counted no further than `enough`.
    pub(super) fn ahead(&self, number: u64, enough: u64) -> u64 {
        let at = usize::try_from(number.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let mut ahead = 0;
        for segment in self.segments.iter().take(at) {
            ahead += segment.blocks;
            if ahead >= enough {
                break;
            }
        }
        ahead
    }

    /// A request uses this cached block.
    pub(super) fn hold(&mut self, hash: u64) {
        if let Some(number) = self.cached.hold(hash)
            && let Some(at) = self.position(Owner::Prefix(hash), number)
        {
            self.free -= self.segments[at].blocks;
            self.segments[at] = Segment { owner: Owner::Nobody, blocks: 0 };
        }
    }

    /// A request has done with this cached block; it stays in the cache until its room is needed.
    pub(super) fn release(&mut self, hash: u64) {
        let next = self.base + self.segments.len() as u64;
        if self.cached.release(hash, next) {
            self.push(Owner::Prefix(hash), self.unit);
        }
    }

    /// Forgets every prefix that no running request uses.
    pub(super) fn forget(&mut self) {
        for s in &mut self.segments {
            s.owner = Owner::Nobody;
        }
        self.cached.retain_used();
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
        let mut p = BlockPool::new(&KvLayout::dense(16, 10));
        p.take(10);
        p.give(2);
        let n = p.give_owned(7, 5);
        p.give(3);
        p.take(4);
        assert_eq!((p.free(), p.remains(7, n)), (6, 3));
        p.adopt(7, n, 3);
        assert_eq!((p.free(), p.remains(7, n)), (3, 0));
        p.take(3);
        assert_eq!(p.free(), 0);
    }

    #[test]
    fn the_tail_of_a_cached_prompt_is_evicted_before_its_head() {
        let mut p = BlockPool::new(&KvLayout::dense(16, 6));
        p.take(4);
        for h in 1..=4 {
            assert!(p.publish(h));
        }
        assert!(!p.publish(2));
        p.hold(1);
        for h in (1..=4).rev() {
            p.release(h);
        }
        // Block 1 is still in use; 2 is the least recently freed but one.
        assert_eq!((p.free(), p.lookup(&[1, 2, 3, 4])), (5, (4, 3)));
        p.take(3);
        assert_eq!(p.lookup(&[1, 2, 3, 4]), (3, 2));
        p.hold(2);
        p.release(1);
        assert_eq!((p.free(), p.lookup(&[1, 2, 3])), (2, (3, 2)));
        p.forget();
        assert_eq!((p.free(), p.lookup(&[1])), (2, (0, 0)));
        p.take(2);
        assert_eq!(p.free(), 0);
    }
}
