//! The embedded engine's clockwork: the simulator's event loop in time that is an argument.
//!
//! [`EngineLoop`] is the engine: front end, scheduler, host and device, emission. Every instant is computed from
//! the one before it, never from the time at which somebody woke up, so a late thread makes events late but never
//! moves the schedule. Requests are given to it when they come, tokens wait until they are due on the wire.

use super::noise::Noise;
use crate::sim::engine_loop::{Emission, EngineLoop, World};
use crate::sim::scheduler::{Gauges, Refusal, Scheduler, SimRequest, TokenEvent, Transition};
use crate::sim::step::{StepShape, StepTime};
use crate::units::Nanos;
use std::collections::VecDeque;
use std::sync::Arc;

/// What the clockwork reports, in the order of simulated time.
pub trait Sink {
    /// The tokens of one step are due on the wire at `at`; writing them began to be due at `begin`.
    fn tokens(&mut self, begin: Nanos, at: Nanos, events: &[TokenEvent]);
    /// A request that can never run.
    fn refused(&mut self, id: u64, why: Refusal);
    /// A request left the waiting queue for the first time.
    fn admitted(&mut self, at: Nanos, id: u64);
    /// A step was completed at `at`.
    fn step(&mut self, at: Nanos, shape: &StepShape);
}

/// Tokens that are not due on the wire yet.
#[derive(Debug)]
struct Outgoing {
    /// The earliest time at which they can be known.
    done: Nanos,
    at: Nanos,
    events: Vec<TokenEvent>,
}

/// What is between the engine and its clients.
struct Wires {
    /// Requests that came and have not been taken into the front end, with the time at which they came.
    inbox: VecDeque<(Nanos, SimRequest)>,
    outbox: VecDeque<Outgoing>,
    spare: Vec<Vec<TokenEvent>>,
    noise: Noise,
}

/// The engine's state machine over simulated nanoseconds.
pub struct Clockwork {
    engine: EngineLoop<Box<dyn Scheduler>, Arc<dyn StepTime>>,
    wires: Wires,
    lead_per_row: u64,
}

impl Clockwork {
    pub fn new(scheduler: Box<dyn Scheduler>, times: Arc<dyn StepTime>, overlap: bool, noise: Noise) -> Self {
        Clockwork {
            engine: EngineLoop::new(scheduler, times, overlap, Nanos::ZERO),
            wires: Wires { inbox: VecDeque::new(), outbox: VecDeque::new(), spare: Vec::new(), noise },
            lead_per_row: 0,
        }
    }

    /// A request reached the server at `arrival`; it joins the scheduler's queue when the front end is
    /// done with it.
    pub fn submit(&mut self, arrival: Nanos, request: SimRequest) {
        let latest = self.wires.inbox.back().map_or(arrival, |(at, _)| arrival.max(*at));
        self.wires.inbox.push_back((latest, request));
    }

    /// Removes a request wherever it is.
    pub fn abort(&mut self, id: u64) -> bool {
        let before = self.wires.inbox.len();
        self.wires.inbox.retain(|(_, r)| r.id != id);
        self.wires.inbox.len() < before || self.engine.abort(id)
    }

    /// How much before its due time the writing of a step's tokens begins, nanoseconds a row: writing to many
    /// streams takes time, and the middle of it shall be on time. Never before the step is done.
    pub fn set_lead(&mut self, per_row: u64) {
        self.lead_per_row = per_row;
    }

    fn begin(&self, e: &Outgoing) -> Nanos {
        e.at.saturating_sub(Nanos(self.lead_per_row * e.events.len() as u64)).max(e.done)
    }

    pub fn gauges(&self) -> Gauges {
        let mut gauges = self.engine.gauges();
        gauges.waiting += self.wires.inbox.len() as u32;
        gauges
    }

    pub fn reset_prefix_cache(&mut self) -> bool {
        self.engine.reset_prefix_cache()
    }

    /// When something happens next; `None` while there is nothing to do.
    pub fn next_event(&self) -> Option<Nanos> {
        [self.next_emission(), self.next_turn()].into_iter().flatten().min()
    }

    fn next_emission(&self) -> Option<Nanos> {
        self.wires.outbox.front().map(|e| self.begin(e))
    }

    fn next_turn(&self) -> Option<Nanos> {
        self.engine.next_turn(self.wires.inbox.front().map(|(at, r)| (*at, r.input_tokens)))
    }

    /// Processes the events that are due at or before `until`, at most `events` of them, so that a driver that is
    /// far behind can look around in between.
    pub fn advance(&mut self, until: Nanos, events: usize, sink: &mut dyn Sink) {
        for _ in 0..events {
            let (emission, turn) = (self.next_emission(), self.next_turn());
            // At equal times tokens go out first.
            if emission.is_some_and(|at| at <= until && turn.is_none_or(|turn| at <= turn)) {
                self.emit(sink);
            } else if turn.is_some_and(|at| at <= until) {
                self.engine.turn(&mut Reporting { wires: &mut self.wires, sink });
            } else {
                return;
            }
        }
    }

    fn emit(&mut self, sink: &mut dyn Sink) {
        if let Some(mut e) = self.wires.outbox.pop_front() {
            sink.tokens(self.begin(&e), e.at, &e.events);
            e.events.clear();
            self.wires.spare.push(e.events);
        }
    }
}

/// The wires, and who hears of what happens.
struct Reporting<'a> {
    wires: &'a mut Wires,
    sink: &'a mut dyn Sink,
}

impl World for Reporting<'_> {
    fn next_send(&mut self) -> Option<Nanos> {
        self.wires.inbox.front().map(|(at, _)| *at)
    }

    fn next_input_tokens(&self) -> u32 {
        self.wires.inbox.front().map_or(0, |(_, r)| r.input_tokens)
    }

    fn send(&mut self, _: Nanos) -> Option<SimRequest> {
        self.wires.inbox.pop_front().map(|(_, r)| r)
    }

    fn refused(&mut self, id: u64, _: Nanos, why: Refusal) {
        self.sink.refused(id, why);
    }

    fn transition(&mut self, what: Transition, at: Nanos) {
        if let Transition::Admitted { id } = what {
            self.sink.admitted(at, id);
        }
    }

    fn slowdown(&mut self) -> f64 {
        self.wires.noise.next_factor()
    }

    fn wants_every_token(&self) -> bool {
        true
    }

    fn emitted(&mut self, e: &Emission) {
        self.sink.step(e.done, e.shape);
        if e.events.is_empty() {
            return;
        }
        let mut events = self.wires.spare.pop().unwrap_or_default();
        events.extend_from_slice(e.events);
        self.wires.outbox.push_back(Outgoing { done: e.done, at: e.at, events });
    }
}

#[cfg(test)]
pub(crate) mod tests;
