//! The prompt blocks in a cache by their chained hash, kept in pages of hashes that follow one another.
//!
//! Blocks that lie in one piece of content have consecutive hashes ([`super::block_hashes`]); so a prompt of some hundred
//! blocks touches a few pages in order, and not as many places of a table.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A prompt block in the cache.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cached {
    /// Running requests that use it.
    pub users: u32,
    /// Number of its segment while nobody uses it.
    pub segment: u64,
}

/// Block hashes are scattered already, and the numbers of requests follow each other: they need no costly hash in a
/// table.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::sim) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = self.0.rotate_left(29) ^ u64::from_le_bytes(word);
        }
    }
    fn write_u64(&mut self, hash: u64) {
        // Tests and other callers may number their blocks: the high bits must tell them apart too.
        self.0 = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// Bits of a hash within its page.
const BITS: u32 = 5;
/// Blocks of a page.
const PAGE: usize = 1 << BITS;

#[derive(Debug, Clone)]
struct Page {
    key: u64,
    /// Which of its blocks are in the cache, and which of those nobody uses.
    present: u32,
    idle: u32,
    blocks: [Cached; PAGE],
}

/// Cached blocks by hash.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    pages: Vec<Page>,
    /// Pages without a block, to be used again.
    vacant: Vec<usize>,
    by_key: HashMap<u64, usize, BuildHasherDefault<AsItIs>>,
    /// The page that was found last: the next block is mostly in it too.
    latest: Cell<usize>,
}

fn bit(hash: u64) -> u32 {
    1 << (hash as u32 & (PAGE as u32 - 1))
}

fn place(hash: u64) -> usize {
    (hash as usize) & (PAGE - 1)
}

impl Names {
    fn page(&self, key: u64) -> Option<usize> {
        let latest = self.latest.get();
        if self.pages.get(latest).is_some_and(|p| p.key == key && p.present != 0) {
            return Some(latest);
        }
        let found = self.by_key.get(&key).copied();
        if let Some(at) = found {
            self.latest.set(at);
        }
        found
    }

    pub(super) fn get(&self, hash: u64) -> Option<&Cached> {
        let page = &self.pages[self.page(hash >> BITS)?];
        (page.present & bit(hash) != 0).then(|| &page.blocks[place(hash)])
    }

    pub(super) fn contains(&self, hash: u64) -> bool {
        self.get(hash).is_some()
    }

    /// Puts a block in that one request uses; false when it is there already.
    pub(super) fn insert(&mut self, hash: u64) -> bool {
        let key = hash >> BITS;
        let at = match self.page(key) {
            Some(at) => at,
            None => self.open(key),
        };
        let page = &mut self.pages[at];
        let vacant = page.present & bit(hash) == 0;
        if vacant {
            page.present |= bit(hash);
            page.blocks[place(hash)] = Cached { users: 1, segment: 0 };
        }
        vacant
    }

    fn open(&mut self, key: u64) -> usize {
        // A page that is used again has no block present: what its places hold is not read.
        let at = if let Some(at) = self.vacant.pop() {
            self.pages[at].key = key;
            at
        } else {
            self.pages.push(Page { key, present: 0, idle: 0, blocks: [Cached::default(); PAGE] });
            self.pages.len() - 1
        };
        self.by_key.insert(key, at);
        self.latest.set(at);
        at
    }

    /// One more request uses a block; its segment when nobody did before.
    pub(super) fn hold(&mut self, hash: u64) -> Option<u64> {
        let at = self.page(hash >> BITS)?;
        let page = &mut self.pages[at];
        if page.present & bit(hash) == 0 {
            return None;
        }
        page.idle &= !bit(hash);
        let block = &mut page.blocks[place(hash)];
        block.users += 1;
        (block.users == 1).then_some(block.segment)
    }

    /// One request less uses a block; when it was the last one, the block lies in segment `next` from now on.
    pub(super) fn release(&mut self, hash: u64, next: u64) -> bool {
        let Some(at) = self.page(hash >> BITS) else { return false };
        let page = &mut self.pages[at];
        if page.present & bit(hash) == 0 {
            return false;
        }
        let block = &mut page.blocks[place(hash)];
        block.users -= 1;
        let last = block.users == 0;
        if last {
            block.segment = next;
            page.idle |= bit(hash);
        }
        last
    }

    pub(super) fn remove(&mut self, hash: u64) {
        let Some(at) = self.page(hash >> BITS) else { return };
        self.keep(at, !bit(hash));
    }

    /// Keeps of a page only these blocks.
    fn keep(&mut self, at: usize, blocks: u32) {
        let page = &mut self.pages[at];
        page.present &= blocks;
        page.idle &= blocks;
        if page.present == 0 && self.by_key.remove(&page.key).is_some() {
            self.vacant.push(at);
        }
    }

    /// Forgets the blocks that nobody uses.
    pub(super) fn retain_used(&mut self) {
        for at in 0..self.pages.len() {
            let used = !self.pages[at].idle;
            self.keep(at, used);
        }
    }

    /// How many of these blocks, from the first, are in the cache, and how many of those nobody uses.
    pub(super) fn lookup(&self, hashes: &[u64]) -> (u32, u32) {
        let (mut hit, mut idle) = (0, 0);
        let mut rest = hashes;
        while let Some(&first) = rest.first() {
            let Some(at) = self.page(first >> BITS) else { break };
            let page = &self.pages[at];
            let room = (PAGE - place(first)).min(rest.len());
            let same = |(i, hash): (usize, &u64)| *hash == first.wrapping_add(i as u64);
            let run = rest[..room].iter().enumerate().take_while(|r| same(*r)).count();
            // The blocks of the run from its first one on, as the lowest bits.
            let found = (page.present >> place(first)).trailing_ones().min(run as u32);
            let unused = u64::from(page.idle >> place(first)) & ((1_u64 << found) - 1);
            hit += found;
            idle += unused.count_ones();
            if (found as usize) < run {
                break;
            }
            rest = &rest[run..];
        }
        (hit, idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// As a table of single blocks would have it, whether hashes follow one another or not.
        #[test]
        fn pages_are_a_table(steps in prop::collection::vec((0_u8..4, 0_u64..150), 1..200), ask in prop::collection::vec(0_u64..150, 0..40)) {
            let (mut names, mut table) = (Names::default(), HashMap::<u64, (u32, u64)>::new());
            for (n, (what, hash)) in steps.into_iter().enumerate() {
                let segment = n as u64;
                match what {
                    0 => {
                        prop_assert_eq!(names.insert(hash), !table.contains_key(&hash));
                        table.entry(hash).or_insert((1, 0));
                    }
                    1 => {
                        let expected = table.get_mut(&hash).and_then(|b| { b.0 += 1; (b.0 == 1).then_some(b.1) });
                        prop_assert_eq!(names.hold(hash), expected);
                    }
                    2 => {
                        if let Some(b) = table.get_mut(&hash).filter(|b| b.0 > 0) {
                            b.0 -= 1;
                            let last = b.0 == 0;
                            if last { b.1 = segment; }
                            prop_assert_eq!(names.release(hash, segment), last);
                        }
                    }
                    _ => {
                        names.remove(hash);
                        table.remove(&hash);
                    }
                }
            }
            for hash in 0..150 {
                prop_assert_eq!(names.get(hash).map(|c| c.users), table.get(&hash).map(|b| b.0));
            }
            let ordered: Vec<u64> = (0..150).collect();
            for hashes in [&ask, &ordered, &ordered[20..].to_vec()] {
                let hit: Vec<&(u32, u64)> = hashes.iter().map_while(|h| table.get(h)).collect();
                let idle = hit.iter().filter(|b| b.0 == 0).count();
                prop_assert_eq!(names.lookup(hashes), (hit.len() as u32, idle as u32));
            }
            names.retain_used();
            table.retain(|_, b| b.0 > 0);
            for hash in 0..150 {
                prop_assert_eq!(names.contains(hash), table.contains_key(&hash));
            }
        }
    }
}
