//! Completion of a step: tokens out, finished requests gone.

use super::requests::{NONE, Phase, Req};
use super::{Batch, InFlight};
use crate::sim::scheduler::{Slot, TokenEvent};

impl Batch {
    pub(super) fn take_record(&mut self, ticket: u64) -> InFlight {
        let record = self.in_flight.pop_front();
        debug_assert!(record.as_ref().is_some_and(|r| r.ticket == ticket), "steps end in order");
        record.unwrap_or_default()
    }

    /// Every token of the step in batch order.
    pub(in crate::sim::policy) fn complete(&mut self, ticket: u64, out: &mut Vec<TokenEvent>) {
        let mut record = self.take_record(ticket);
        if self.verification.is_some() {
            self.complete_verified(&mut record, out);
            self.retire(record);
            return;
        }
        let mut slot = self.requests.head;
        while slot != NONE {
            let r = &self.requests[slot];
            let decoded = record.decodes && r.first_step < record.number;
            let started = r.first_step == record.number && record.first.contains(&slot);
            if (decoded || started) && r.token_of(record.number) <= r.output {
                out.push(self.token(slot, &record));
            }
            slot = r.next;
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
            out.push(TokenEvent { id: r.id, index: r.emitted, tokens: 1, finished: r.emitted == r.output });
        }
    }

    /// The tokens that are not plain; returns how many were.
    pub(in crate::sim::policy) fn complete_notable(&mut self, ticket: u64, out: &mut Vec<TokenEvent>) -> u32 {
        if self.verification.is_some() {
            self.complete(ticket, out);
            return 0;
        }
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
        for &slot in &record.second {
            out.push(self.token(slot, &record));
        }
        self.out_of_running(&record, out);
        let plain = record.plain;
        self.retire(record);
        plain
    }

    fn token(&self, slot: Slot, record: &InFlight) -> TokenEvent {
        let r = &self.requests[slot];
        let index = r.token_of(record.number);
        TokenEvent { id: r.id, index, tokens: 1, finished: index == r.output }
    }

    /// Removes the step's finished requests and keeps the record for reuse.
    fn retire(&mut self, mut record: InFlight) {
        for &slot in &record.last {
            self.ending.retain(|&s| s != slot);
            let row_wise = self.verification.is_some();
            if self.requests[slot].phase == Phase::Decode && !row_wise && !self.ends_by_length(slot) {
                self.overrun -= 1;
            }
            self.remove(slot);
        }
        record.first.clear();
        record.second.clear();
        record.last.clear();
        record.preempted.clear();
        self.spare.push(record);
    }

    /// Takes a request out, wherever it is, and gives its blocks back.
    fn remove(&mut self, slot: Slot) {
        self.eased = true;
        self.second.retain(|&s| s != slot);
        self.window_backlog.retain(|&s| s != slot);
        if self.requests[slot].phase == Phase::Waiting {
            self.waiting.retain(|&s| s != slot);
            if let Some(left) = self.requests[slot].left_behind.take() {
                self.pool.disown(slot, left.number);
            }
        } else {
            let held = self.held(slot);
            self.deactivate(slot);
            self.prefilling.retain(|&s| s != slot);
            self.requests.unlink(slot);
            self.give_back(slot, held);
        }
        self.requests.remove(slot);
    }

    pub(in crate::sim::policy) fn abort(&mut self, id: u64) -> bool {
        let Some(slot) = self.requests.find(id) else { return false };
        let by_length = self.ends_by_length(slot);
        let in_sums = self.verification.is_none();
        let r = &self.requests[slot];
        for step in &mut self.in_flight {
            if r.phase == Phase::Decode && step.last.contains(&slot) && !by_length {
                self.overrun -= 1;
            }
            if r.phase != Phase::Waiting && in_sums {
                step.forget_row(r, slot);
            }
            step.preempted.retain(|&s| s != slot);
            step.first.retain(|&s| s != slot);
            step.last.retain(|&s| s != slot);
        }
        self.ending.retain(|&s| s != slot);
        self.remove(slot);
        true
    }
}

impl InFlight {
    /// A decode row goes before the step has ended: its token, if one was coming, is no plain one any more.
    /// True when one was coming and it is not the last.
    pub(super) fn forget_row(&mut self, r: &Req, slot: Slot) -> bool {
        let coming = self.decodes && r.first_step < self.number && r.token_of(self.number) < r.output;
        if coming && self.second.contains(&slot) {
            self.second.retain(|&s| s != slot);
        } else if coming {
            self.plain -= 1;
        }
        coming
    }
}
