//! The client: when it sends its next request.

use super::scheduler::SimRequest;
use crate::units::Nanos;
use crate::workload::RequestShape;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::iter::Peekable;

/// A request as the client plans it. The simulator numbers requests itself: `request.id` is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    pub at: Nanos,
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
        }
    }
}

impl From<&RequestShape> for Arrival {
    fn from(s: &RequestShape) -> Arrival {
        Arrival::from(*s)
    }
}

/// Sends requests at their times, or, with bounded concurrency, as soon as one in flight ends.
pub(super) struct Client<I: Iterator> {
    source: Peekable<I>,
    next: Option<Arrival>,
    /// Free slots of a client with bounded concurrency, by the time at which each came free.
    slots: Option<BinaryHeap<Reverse<Nanos>>>,
}

impl<I> Client<I>
where
    I: Iterator,
    I::Item: Into<Arrival>,
{
    pub(super) fn new(source: I, max_concurrency: Option<u32>) -> Client<I> {
        let slots = max_concurrency.map(|n| (0..n.max(1)).map(|_| Reverse(Nanos::ZERO)).collect());
        Client { source: source.peekable(), next: None, slots }
    }

    /// When the client sends its next request, if that is known.
    pub(super) fn next_send(&mut self) -> Option<Nanos> {
        if self.next.is_none() {
            self.next = self.source.next().map(Into::into);
        }
        let at = self.next.as_ref()?.at;
        match &self.slots {
            None => Some(at),
            Some(slots) => slots.peek().map(|&Reverse(free)| at.max(free)),
        }
    }

    /// Prompt length of the request that [`Client::next_send`] found.
    pub(super) fn next_input_tokens(&self) -> u32 {
        self.next.as_ref().map_or(0, |a| a.request.input_tokens)
    }

    /// Sends that request; it takes a slot.
    pub(super) fn send(&mut self) -> Option<SimRequest> {
        let Arrival { request, .. } = self.next.take()?;
        if let Some(slots) = &mut self.slots {
            slots.pop();
        }
        Some(request)
    }

    /// A request ended, well or not.
    pub(super) fn ended(&mut self, at: Nanos) {
        if let Some(slots) = &mut self.slots {
            slots.push(Reverse(at));
        }
    }

    /// The end of one request lets the client send another.
    pub(super) fn is_bounded(&self) -> bool {
        self.slots.is_some()
    }
}
