//! The front end: HTTP, tokenizing and the hand-over to the scheduler, before a request can be scheduled.

use super::scheduler::SimRequest;
use super::shared::Shared;
use crate::units::Nanos;
use std::collections::VecDeque;

/// A server that takes requests one after the other, or works on all of them in rounds.
#[derive(Debug)]
pub(super) struct FrontEnd {
    /// Free from here on, where requests pass one after the other; also busy with sending tokens until then.
    free: Nanos,
    /// The requests inside, where they share the front end.
    shared: Option<Shared<SimRequest>>,
    /// Requests that leave or have left the front end, with the time at which they do.
    ready: VecDeque<(Nanos, SimRequest)>,
    /// Service time so far.
    pub(super) busy: Nanos,
}

impl FrontEnd {
    /// Hands nothing on before `from`; `shares`: requests share it instead of queueing for it.
    pub(super) fn new(shares: bool, from: Nanos) -> FrontEnd {
        FrontEnd {
            free: from,
            shared: shares.then(Shared::default),
            ready: VecDeque::new(),
            busy: Nanos::ZERO,
        }
    }

    /// A request comes in that takes `service` by itself.
    pub(super) fn accept(&mut self, at: Nanos, service: Nanos, request: SimRequest) {
        self.busy += service;
        if let Some(shared) = &mut self.shared {
            shared.push(at, service, request, &mut self.ready);
        } else {
            self.free = self.free.max(at) + service;
            self.ready.push_back((self.free, request));
        }
    }

    /// Works until `now`. Every request that came before must have been accepted.
    pub(super) fn advance(&mut self, now: Nanos) {
        if let Some(shared) = &mut self.shared {
            shared.advance(now, &mut self.ready);
        }
    }

    /// Tokens that are ready at `from` are sent, which keeps the front end busy for `busy`; when they are out.
    pub(super) fn send_tokens(&mut self, from: Nanos, busy: Nanos) -> Nanos {
        if busy == Nanos::ZERO {
            return from;
        }
        self.free = self.free.max(from) + busy;
        self.busy += busy;
        self.free
    }

    /// The request that leaves next, if it is known that none overtakes it.
    pub(super) fn first_ready(&self) -> Option<&(Nanos, SimRequest)> {
        self.ready.front()
    }

    /// When a request leaves next if none comes in before.
    pub(super) fn next_inside(&self) -> Option<Nanos> {
        self.shared.as_ref().and_then(Shared::next)
    }

    /// When a request sent at `sent` would leave if it were alone.
    pub(super) fn alone(&self, sent: Nanos, service: Nanos) -> Nanos {
        // Where requests share the front end, sending tokens does not hold them up.
        let from = if self.is_shared() { sent } else { sent.max(self.free) };
        from + service
    }

    /// Hands over the next request that has left by `now`.
    pub(super) fn pop_ready(&mut self, now: Nanos) -> Option<(Nanos, SimRequest)> {
        if self.ready.front()?.0 > now { None } else { self.ready.pop_front() }
    }

    pub(super) fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Requests that have not been handed over.
    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.shared.as_ref().map_or(0, Shared::len)
    }

    /// Takes a request out; false when it is not here.
    pub(super) fn abort(&mut self, id: u64) -> bool {
        let before = self.len();
        self.ready.retain(|(_, r)| r.id != id);
        if let Some(shared) = &mut self.shared {
            shared.retain(|r| r.id != id);
        }
        self.len() < before
    }
}
