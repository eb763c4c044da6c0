//! The requests of one scheduler: slots, the running order, and where each request stands.

use crate::sim::names::AsItIs;
use crate::sim::scheduler::{SimRequest, Slot};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::ops::{Index, IndexMut};

/// End of the running list.
pub(in crate::sim::policy) const NONE: Slot = Slot::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim::policy) enum Phase {
    Waiting,
    Prefill,
    Decode,
    /// Running, with all its tokens scheduled.
    Ending,
}

/// What a preempted request left among the free blocks.
#[derive(Debug, Clone, Copy)]
pub(in crate::sim::policy) struct LeftBehind {
    /// The segment of the pool.
    pub(in crate::sim::policy) number: u64,
    /// Blocks in it at first, over all groups.
    pub(in crate::sim::policy) blocks: u64,
    /// Whole blocks of the sequence that were computed, and how many of them a sliding group had given up before.
    pub(in crate::sim::policy) whole: u32,
    pub(in crate::sim::policy) skipped: u32,
}

#[derive(Debug, Clone)]
pub(in crate::sim::policy) struct Req {
    pub(in crate::sim::policy) id: u64,
    pub(in crate::sim::policy) input: u32,
    pub(in crate::sim::policy) output: u32,
    pub(in crate::sim::policy) max_tokens: u32,
    pub(in crate::sim::policy) phase: Phase,
    /// Output tokens known or under way, as of the latest admission.
    pub(in crate::sim::policy) emitted: u32,
    /// Tokens in the cache before and after the latest step; while decoding, those of the step before that.
    pub(in crate::sim::policy) before: u32,
    pub(in crate::sim::policy) num_computed_tokens: u32,
    /// Computed tokens as of which blocks before the window have been given back; once the row lies beyond the window, that goes on
    /// by itself.
    pub(in crate::sim::policy) skipped_to: u32,
    /// Its share in what decode rows give back is counted in the sums.
    pub(in crate::sim::policy) beyond_window: bool,
    /// Step that computes the last known token and so brings output token `emitted + 1`.
    pub(in crate::sim::policy) first_step: u64,
    /// Changes whenever the request leaves the decode rows, so that row_changes noted before are void.
    pub(in crate::sim::policy) epoch: u32,
    /// Its blocks among the free ones, after a preemption.
    pub(in crate::sim::policy) left_behind: Option<LeftBehind>,
    pub(in crate::sim::policy) resumed: bool,
    /// Under speculation: tokens for which a decode row holds KV slots, and steps under way that bring it tokens.
    pub(in crate::sim::policy) allocated: u32,
    pub(in crate::sim::policy) steps_in_flight: u32,
    /// Chained hashes of the prompt's full blocks.
    pub(in crate::sim::policy) hashes: Vec<u64>,
    /// How many of those blocks are computed, from the first.
    pub(in crate::sim::policy) computed: u32,
    /// Hashes of the cached blocks it uses, in order.
    pub(in crate::sim::policy) named: Vec<u64>,
    prev: Slot,
    pub(in crate::sim::policy) next: Slot,
}

impl Req {
    /// Tokens known: prompt and output so far.
    pub(in crate::sim::policy) fn num_tokens(&self) -> u32 {
        self.input + self.emitted
    }

    /// Known tokens still to be computed, while its prompt is unfinished.
    pub(in crate::sim::policy) fn rest(&self) -> u32 {
        self.num_tokens() - self.num_computed_tokens
    }

    /// Tokens in the cache when `step` is scheduled, for a decode row.
    pub(in crate::sim::policy) fn cached_at(&self, step: u64) -> u32 {
        self.num_tokens() + (step - self.first_step - 1) as u32
    }

    /// Number of the output token that `step` brings, from 1.
    pub(in crate::sim::policy) fn token_of(&self, step: u64) -> u32 {
        self.emitted + 1 + (step - self.first_step) as u32
    }
}

/// All requests the scheduler knows; slots are reused.
#[derive(Debug, Clone)]
pub(in crate::sim::policy) struct Requests {
    all: Vec<Req>,
    vacant: Vec<Slot>,
    by_id: HashMap<u64, Slot, BuildHasherDefault<AsItIs>>,
    pub(in crate::sim::policy) head: Slot,
    pub(in crate::sim::policy) tail: Slot,
    pub(in crate::sim::policy) running: u32,
}

impl Default for Requests {
    fn default() -> Requests {
        Requests {
            all: Vec::new(),
            vacant: Vec::new(),
            by_id: HashMap::default(),
            head: NONE,
            tail: NONE,
            running: 0,
        }
    }
}

impl Index<Slot> for Requests {
    type Output = Req;
    fn index(&self, slot: Slot) -> &Req {
        &self.all[slot as usize]
    }
}
impl IndexMut<Slot> for Requests {
    fn index_mut(&mut self, slot: Slot) -> &mut Req {
        &mut self.all[slot as usize]
    }
}

impl Requests {
    pub(in crate::sim::policy) fn insert(&mut self, r: SimRequest) -> Slot {
        let mut req = Req {
            id: r.id,
            input: r.input_tokens.max(1),
            output: r.output_tokens.max(1),
            max_tokens: r.max_tokens.max(r.output_tokens).max(1),
            phase: Phase::Waiting,
            emitted: 0,
            before: 0,
            num_computed_tokens: 0,
            skipped_to: 0,
            beyond_window: false,
            first_step: u64::MAX,
            epoch: 0,
            left_behind: None,
            resumed: false,
            allocated: 0,
            steps_in_flight: 0,
            hashes: r.block_hashes,
            computed: 0,
            named: Vec::new(),
            prev: NONE,
            next: NONE,
        };
        let slot = if let Some(slot) = self.vacant.pop() {
            req.epoch = self[slot].epoch + 1;
            self[slot] = req;
            slot
        } else {
            self.all.push(req);
            self.all.len() as Slot - 1
        };
        self.by_id.insert(r.id, slot);
        slot
    }

    pub(in crate::sim::policy) fn find(&self, id: u64) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    pub(in crate::sim::policy) fn remove(&mut self, slot: Slot) {
        let r = &mut self.all[slot as usize];
        r.epoch += 1;
        self.by_id.remove(&r.id);
        self.vacant.push(slot);
    }

    /// Running requests in running order.
    pub(in crate::sim::policy) fn in_order(&self) -> impl Iterator<Item = Slot> + '_ {
        let mut next = self.head;
        std::iter::from_fn(move || {
            let slot = next;
            (slot != NONE).then(|| {
                next = self[slot].next;
                slot
            })
        })
    }

    /// Appends to the running order.
    pub(in crate::sim::policy) fn link(&mut self, slot: Slot) {
        let tail = self.tail;
        self[slot].prev = tail;
        self[slot].next = NONE;
        if tail == NONE {
            self.head = slot;
        } else {
            self[tail].next = slot;
        }
        self.tail = slot;
        self.running += 1;
    }

    /// Takes out of the running order.
    pub(in crate::sim::policy) fn unlink(&mut self, slot: Slot) {
        let (prev, next) = (self[slot].prev, self[slot].next);
        if prev == NONE {
            self.head = next;
        } else {
            self[prev].next = next;
        }
        if next == NONE {
            self.tail = prev;
        } else {
            self[next].prev = prev;
        }
        self.running -= 1;
    }
}
