//! Decode-only steps ahead that are certain, taken at once.

use super::{Batch, Chunking, InFlight};
use crate::sim::scheduler::{Blocked, DecodeStretch};
use crate::sim::step::StepShape;
use std::cmp::Reverse;

impl Batch {
    /// The next step at which a row ends or its share in the sums changes.
    fn next_change(&mut self) -> Option<u64> {
        while let Some(&Reverse((_, slot, epoch))) = self.lasts.peek() {
            if self.requests[slot].epoch == epoch {
                break;
            }
            self.lasts.pop();
        }
        let &Reverse((last, ..)) = self.lasts.peek()?;
        Some(self.row_changes.peek().map_or(last, |&Reverse((turn, ..))| last.min(turn)))
    }

    /// Steps ahead in which every row just decodes. `closed` says that nothing waiting can be admitted before
    /// a request leaves, and why; `by_hit` that what it finds in the cache has a part in that, with chunks so cut.
    pub(in crate::sim::policy) fn decode_stretch(
        &mut self,
        closed: Option<Blocked>,
        by_hit: Option<Chunking>,
    ) -> Option<DecodeStretch> {
        if self.decode.rows == 0
            || self.verification.is_some()
            || self.overrun > 0
            || !(closed.is_some() || self.waiting.is_empty())
            || !(self.prefilling.is_empty() && self.ending.is_empty() && self.second.is_empty())
            || !self.window_backlog.is_empty()
            || !self.in_flight.iter().all(InFlight::is_plain)
        {
            return None;
        }
        let next = self.next_change()?;
        let mut steps = 0;
        let mut wanted = 0;
        let room = self.room(next, by_hit);
        while self.step + steps < next {
            wanted += self.decode.wanted(steps);
            if wanted > room {
                break;
            }
            steps += 1;
        }
        let mut shape = StepShape::default();
        self.note_decode(&mut shape);
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        let window_growth = self.decode.growing;
        (steps > 0).then_some(DecodeStretch { steps, shape, window_growth, closed })
    }

    pub(in crate::sim::policy) fn advance(&mut self, steps: u32) {
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
        self.ticket += u64::from(steps);
        self.apply_row_changes();
        if let Some(step) = self.in_flight.back_mut() {
            step.number = self.step - 1;
            step.ticket = self.ticket - 1;
            step.plain = self.decode.rows;
        }
    }
}
