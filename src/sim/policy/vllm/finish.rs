//! Completion of a step: tokens out, finished requests gone.

use super::requests::{NONE, Phase};
use super::{InFlight, VllmScheduler};
use crate::sim::scheduler::{Slot, TokenEvent};

impl VllmScheduler {
    fn take_record(&mut self, ticket: u64) -> InFlight {
        let record = self.in_flight.pop_front();
        debug_assert!(record.as_ref().is_some_and(|r| r.number == ticket), "steps end in order");
        record.unwrap_or_default()
    }

    /// Every token of the step in batch order.
    pub(super) fn complete_all(&mut self, ticket: u64, out: &mut Vec<TokenEvent>) {
        let record = self.take_record(ticket);
        let mut slot = self.requests.head;
        while slot != NONE {
            let r = &self.requests[slot];
            if r.first_step <= record.number && r.token_of(record.number) <= r.output {
                out.push(self.token(slot, &record));
            }
            slot = self.requests[slot].next;
        }
        self.out_of_running(&record, out);
        self.retire(record);
    }

    /// Tokens of requests that were preempted while the step was under way.
    fn out_of_running(&self, record: &InFlight, out: &mut Vec<TokenEvent>) {
        let waiting = |s: &&Slot| self.requests[**s].phase == Phase::Waiting;
        let last = record.last.iter().filter(|s| !record.first.contains(s));
        for &slot in record.preempted.iter().chain(record.first.iter().chain(last).filter(waiting)) {
            let r = &self.requests[slot];
            // `emitted` counts what was under way at the preemption: this token is the latest of them.
            out.push(TokenEvent { id: r.id, index: r.emitted, finished: r.emitted == r.output });
        }
    }

    /// The tokens that are not plain; returns how many were.
    pub(super) fn complete_some(&mut self, ticket: u64, out: &mut Vec<TokenEvent>) -> u32 {
        let record = self.take_record(ticket);
        for &slot in &record.first {
            if self.requests[slot].phase != Phase::Waiting {
                out.push(self.token(slot, &record));
            }
        }
        for &slot in &record.last {
            let r = &self.requests[slot];
            if r.phase != Phase::Waiting && r.first_step != record.number {
                out.push(self.token(slot, &record));
            }
        }
        self.out_of_running(&record, out);
        let plain = record.plain;
        self.retire(record);
        plain
    }

    fn token(&self, slot: Slot, record: &InFlight) -> TokenEvent {
        let r = &self.requests[slot];
        let index = r.token_of(record.number);
        TokenEvent { id: r.id, index, finished: index == r.output }
    }

    /// Removes the step's finished requests and keeps the record for reuse.
    fn retire(&mut self, mut record: InFlight) {
        for &slot in &record.last {
            self.ending.retain(|&s| s != slot);
            let r = &self.requests[slot];
            if r.output != r.max_tokens && r.phase == Phase::Decode {
                self.wasting -= 1;
            }
            self.remove(slot);
        }
        record.first.clear();
        record.last.clear();
        record.preempted.clear();
        self.spare.push(record);
    }

    /// Takes a request out, wherever it is, and gives its blocks back.
    fn remove(&mut self, slot: Slot) {
        if self.requests[slot].phase == Phase::Waiting {
            self.waiting.retain(|&s| s != slot);
            if let Some(number) = self.requests[slot].left_behind.take() {
                self.pool.disown(slot, number);
            }
        } else {
            let held = self.held(slot);
            self.deactivate(slot);
            self.prefilling.retain(|&s| s != slot);
            self.requests.unlink(slot);
            self.pool.give(held - self.named_blocks(slot));
            self.release_named(slot);
        }
        self.requests.remove(slot);
    }

    pub(super) fn abort_request(&mut self, id: u64) -> bool {
        let Some(slot) = self.requests.find(id) else { return false };
        let r = &self.requests[slot];
        let (first_step, output) = (r.first_step, r.output);
        for flying in &mut self.in_flight {
            let ends = flying.last.contains(&slot);
            if r.phase == Phase::Decode && ends && r.output != r.max_tokens {
                self.wasting -= 1;
            }
            if flying.preempted.contains(&slot) {
                flying.preempted.retain(|&s| s != slot);
            } else if r.phase != Phase::Waiting
                && first_step < flying.number
                && r.token_of(flying.number) < output
            {
                flying.plain -= 1;
            }
            flying.first.retain(|&s| s != slot);
            flying.last.retain(|&s| s != slot);
        }
        self.ending.retain(|&s| s != slot);
        self.remove(slot);
        true
    }
}
