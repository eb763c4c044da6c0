//! The client: when it sends its next request.

use super::scheduler::SimRequest;
use crate::units::Nanos;
use crate::workload::RequestShape;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::iter::Peekable;

/// A request as the client plans it. The simulator numbers requests itself: `request.id` is not read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Arrival {
    pub at: Nanos,
    pub request: SimRequest,
    /// The later turns of a session that begins with this request.
    pub follow_ups: Vec<FollowUp>,
}

/// A later turn of a session: it is sent when the turn before has ended and the user has thought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowUp {
    pub think: Nanos,
    pub request: SimRequest,
}

impl From<RequestShape> for Arrival {
    /// A request that shares nothing and ends by length.
    fn from(s: RequestShape) -> Arrival {
        Arrival {
            at: s.arrival,
            request: SimRequest {
                input_tokens: s.input_tokens,
                output_tokens: s.output_tokens,
                max_tokens: s.output_tokens,
                ..SimRequest::default()
            },
            follow_ups: Vec::new(),
        }
    }
}

impl From<&RequestShape> for Arrival {
    fn from(s: &RequestShape) -> Arrival {
        Arrival::from(*s)
    }
}

/// Whoever sends requests to one engine and hears how they end.
pub(super) trait Sends {
    /// When the next request is sent, if that is known.
    fn next_send(&mut self) -> Option<Nanos>;
    /// Prompt length of that request.
    fn next_input_tokens(&self) -> u32;
    /// Sends that request: it, and its number in the order of the plan.
    fn send(&mut self) -> Option<(usize, SimRequest)>;
    /// Request `number` ended at that time.
    fn ended(&mut self, number: usize, at: Nanos);
    /// Request `number` failed at that time.
    fn failed(&mut self, number: usize, at: Nanos);
    /// The end of one request lets another be sent.
    fn is_bounded(&self) -> bool;
    /// Later turns of sessions are to come.
    fn has_sessions(&self) -> bool {
        false
    }
    /// Nothing that is not known yet is sent before.
    fn horizon(&self) -> Nanos {
        Nanos::MAX
    }
}

/// A later turn that waits for its time.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Nanos,
    number: usize,
}

/// Sends requests at their times, or, with bounded concurrency, as soon as one in flight ends. A session takes one
/// slot from its first request to the end of its last one, and stops at the first that fails.
pub(super) struct Client<I: Iterator> {
    source: Peekable<I>,
    next: Option<Arrival>,
    /// Free slots of a client with bounded concurrency, by the time at which each came free.
    slots: Option<BinaryHeap<Reverse<Nanos>>>,
    /// Requests planned so far: the number of the next one.
    planned: usize,
    /// The later turns of sessions under way, the next one last, by the number of that next one.
    sessions: HashMap<usize, Vec<FollowUp>>,
    /// Later turns whose turn before has ended.
    due: BinaryHeap<Reverse<Due>>,
}

impl<I> Client<I>
where
    I: Iterator,
    I::Item: Into<Arrival>,
{
    pub(super) fn new(source: I, max_concurrency: Option<u32>) -> Client<I> {
        let slots = max_concurrency.map(|n| (0..n.max(1)).map(|_| Reverse(Nanos::ZERO)).collect());
        Client {
            source: source.peekable(),
            next: None,
            slots,
            planned: 0,
            sessions: HashMap::new(),
            due: BinaryHeap::new(),
        }
    }

    /// When the client sends the next request that follows no other one.
    fn next_opening(&mut self) -> Option<Nanos> {
        if self.next.is_none() {
            self.next = self.source.next().map(Into::into);
        }
        let at = self.next.as_ref()?.at;
        match &self.slots {
            None => Some(at),
            Some(slots) => slots.peek().map(|&Reverse(free)| at.max(free)),
        }
    }

    /// Whether the end of a request can bring another one.
    pub(super) fn reacts(&self) -> bool {
        self.slots.is_some() || !self.sessions.is_empty()
    }

    /// Whether a later turn is sent before the next opening.
    fn follows_first(&self) -> bool {
        let Some(Reverse(due)) = self.due.peek() else { return false };
        let free = match &self.slots {
            None => Some(Nanos::ZERO),
            Some(slots) => slots.peek().map(|&Reverse(free)| free),
        };
        let opens = self.next.as_ref().zip(free).map(|(next, free)| next.at.max(free));
        opens.is_none_or(|at| due.at <= at)
    }

    fn send_follow_up(&mut self) -> Option<(usize, SimRequest)> {
        let Reverse(Due { number, .. }) = self.due.pop()?;
        let mut turns = self.sessions.remove(&number)?;
        let turn = turns.pop()?;
        if !turns.is_empty() {
            self.sessions.insert(number + 1, turns);
        }
        Some((number, turn.request))
    }

    fn free(&mut self, at: Nanos) {
        if let Some(slots) = &mut self.slots {
            slots.push(Reverse(at));
        }
    }
}

impl<I> Sends for Client<I>
where
    I: Iterator,
    I::Item: Into<Arrival>,
{
    fn next_send(&mut self) -> Option<Nanos> {
        let opens = self.next_opening();
        match self.due.peek() {
            Some(Reverse(due)) => Some(opens.map_or(due.at, |at| at.min(due.at))),
            None => opens,
        }
    }

    fn next_input_tokens(&self) -> u32 {
        if self.follows_first() {
            let turn = self.due.peek().and_then(|Reverse(due)| self.sessions.get(&due.number)?.last());
            return turn.map_or(0, |t| t.request.input_tokens);
        }
        self.next.as_ref().map_or(0, |a| a.request.input_tokens)
    }

    fn send(&mut self) -> Option<(usize, SimRequest)> {
        if self.follows_first() {
            return self.send_follow_up();
        }
        let Arrival { request, mut follow_ups, .. } = self.next.take()?;
        if let Some(slots) = &mut self.slots {
            slots.pop();
        }
        let number = self.planned;
        self.planned += 1 + follow_ups.len();
        if !follow_ups.is_empty() {
            follow_ups.reverse();
            self.sessions.insert(number + 1, follow_ups);
        }
        Some((number, request))
    }

    fn ended(&mut self, number: usize, at: Nanos) {
        let next = if self.sessions.is_empty() { None } else { self.sessions.get(&(number + 1)) };
        if let Some(turn) = next.and_then(|turns| turns.last()) {
            self.due.push(Reverse(Due { at: at + turn.think, number: number + 1 }));
        } else {
            self.free(at);
        }
    }

    fn failed(&mut self, number: usize, at: Nanos) {
        // Its session ends with it.
        self.sessions.remove(&(number + 1));
        self.free(at);
    }

    fn is_bounded(&self) -> bool {
        self.slots.is_some()
    }

    fn has_sessions(&self) -> bool {
        !self.sessions.is_empty()
    }
}
