//! The event loop of one engine: front end, scheduler, host and device, emission of tokens.
//!
//! The simulator ([`driver`](super::driver)) runs it in simulated time, the embedded engine in real time; both
//! take the same turns, so that the one is the other. Events are taken in the order (time, completion before
//! arrival before schedule, sequence). A host that waits for a step's result looks at nothing else meanwhile.

use super::front_end::FrontEnd;
use super::pipeline::{InFlight, Pipeline, StepTiming};
use super::scheduler::{Blocked, Gauges, Refusal, Scheduler, SimRequest, TokenEvent, Transition};
use super::step::{StepCost, StepShape, StepTime};
use crate::units::Nanos;
use std::ops::{Deref, DerefMut};

/// Tokens of one completed step on their way out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Emission<'a> {
    pub(crate) shape: &'a StepShape,
    /// When the host had the step's result.
    pub(crate) done: Nanos,
    /// When the tokens have left the server.
    pub(crate) at: Nanos,
    pub(crate) events: &'a [TokenEvent],
    /// Tokens that simply follow those of the step before, one a request; they are not among the events.
    pub(crate) plain: u32,
}

/// What is around an engine: the client that sends requests, and whoever wants to know what becomes of them.
pub(crate) trait World {
    /// When the next request is sent, if that is known.
    fn next_send(&mut self) -> Option<Nanos>;
    /// Prompt length of that request.
    fn next_input_tokens(&self) -> u32;
    /// Sends that request.
    fn send(&mut self, at: Nanos) -> Option<SimRequest>;
    /// A refused request makes the client send another one at that moment.
    fn replaces_refused(&self) -> bool {
        false
    }
    /// Requests that are sent for other reasons can come before or after such a one, and take their turn in the front
    /// end by that.
    fn overtakes(&self) -> bool {
        false
    }
    /// A request left the front end for the scheduler's queue.
    fn queued(&mut self, _id: u64, _at: Nanos) {}
    /// As `queued`, but the scheduler can never run it.
    fn refused(&mut self, id: u64, at: Nanos, why: Refusal);
    /// Requests that wait in the scheduler's queue after one has joined it.
    fn waiting(&mut self, _requests: u32) {}
    fn transition(&mut self, what: Transition, at: Nanos);
    /// The factor by which the next step takes longer than the model says.
    fn slowdown(&mut self) -> f64 {
        1.0
    }
    /// A step was composed.
    fn scheduled(&mut self, _gauges: Gauges, _blocked: Option<Blocked>) {}
    /// A step's time on host and device is known.
    fn launched(&mut self, _shape: &StepShape, _cost: &StepCost, _timing: &StepTiming) {}
    /// The host had nothing to do: no request in the system for `idle`, then one in the front end for `frontend`.
    fn waited(&mut self, _idle: Nanos, _frontend: Nanos) {}
    /// Every token shall be among the events.
    fn wants_every_token(&self) -> bool;
    /// Whoever counts by second has closed no second since `time`.
    fn counts_stale(&self, _time: Nanos) -> bool {
        false
    }
    /// Nothing will happen before `time` any more.
    fn close_before(&mut self, _time: Nanos) {}
    fn emitted(&mut self, emission: &Emission);
}

/// One engine. `S` and `T` lead to its scheduler and to its step times.
pub(crate) struct EngineLoop<S, T> {
    pub(super) scheduler: S,
    pub(super) time: T,
    pub(super) front_end: FrontEnd,
    pub(super) pipeline: Pipeline,
    overlap: bool,
    /// Nothing can be launched before a step ends or a request comes; only of turns.
    pub(super) waits: bool,
    events: Vec<TokenEvent>,
}

impl<S, T> EngineLoop<S, T>
where
    S: DerefMut<Target: Scheduler>,
    T: Deref<Target: StepTime>,
{
    /// `frontend_from`: the front end hands nothing on before.
    pub(crate) fn new(scheduler: S, time: T, overlap: bool, frontend_from: Nanos) -> Self {
        let front_end = FrontEnd::new(time.shares_frontend(), frontend_from);
        let pipeline = Pipeline::new(overlap);
        EngineLoop { scheduler, time, front_end, pipeline, overlap, waits: true, events: Vec::new() }
    }

    /// When the next request leaves the front end, at the earliest.
    pub(super) fn next_ready<W: World>(&mut self, world: &mut W) -> Option<Nanos> {
        if let Some(&(at, _)) = self.front_end.first_ready() {
            return Some(at);
        }
        let next = world.next_send().map(|at| (at, world.next_input_tokens()));
        self.ready_given(next)
    }

    /// As [`EngineLoop::next_ready`], where the client next sends a prompt of this length at this time.
    fn ready_given(&self, next_send: Option<(Nanos, u32)>) -> Option<Nanos> {
        if let Some(&(at, _)) = self.front_end.first_ready() {
            return Some(at);
        }
        let inside = self.front_end.next_inside();
        let Some((sent, input_tokens)) = next_send else { return inside };
        let alone = self.front_end.alone(sent, Nanos(self.time.frontend(input_tokens)));
        Some(inside.map_or(alone, |at| at.min(alone)))
    }

    /// When the host does something next, given when the client sends a prompt and of what length.
    pub(crate) fn next_turn(&self, next_send: Option<(Nanos, u32)>) -> Option<Nanos> {
        let host = self.pipeline.host;
        if !self.waits {
            return Some(host);
        }
        let next = match self.pipeline.in_flight.front() {
            Some(oldest) => Some(oldest.end),
            None => self.ready_given(next_send),
        };
        next.map(|at| at.max(host))
    }

    /// Does what is due at [`EngineLoop::next_turn`]: launch a step, complete one, or let time pass. Every request
    /// sent by then must be known.
    pub(crate) fn turn<W: World>(&mut self, world: &mut W) {
        if !self.waits {
            self.intake(world);
            self.waits = !(self.pipeline.has_room() && self.launch(world));
        } else if self.complete(world) || self.idle(world) {
            self.waits = false;
        }
    }

    /// Removes a request wherever it is; false when it is not here.
    pub(crate) fn abort(&mut self, id: u64) -> bool {
        // What it held may let another request in.
        self.front_end.abort(id)
            || (self.scheduler.abort(id) && {
                self.waits = false;
                true
            })
    }

    pub(crate) fn reset_prefix_cache(&mut self) -> bool {
        self.scheduler.reset_prefix_cache()
    }

    /// The scheduler's gauges; requests in the front end count as waiting.
    pub(crate) fn gauges(&self) -> Gauges {
        let mut gauges = self.scheduler.gauges();
        gauges.waiting += self.front_end.len() as u32;
        gauges
    }

    /// Sends what is due into the front end.
    fn send_until<W: World>(&mut self, world: &mut W, now: Nanos) {
        while let Some(at) = world.next_send().filter(|&at| at <= now) {
            let Some(request) = world.send(at) else { return };
            let service = Nanos(self.time.frontend(request.input_tokens));
            self.front_end.accept(at, service, request);
        }
        self.front_end.advance(now);
    }

    /// Hands everything that has left the front end by now to the scheduler.
    pub(super) fn intake<W: World>(&mut self, world: &mut W) {
        // A refused request lets the client send its next one when it was refused. A front end that requests share
        // must not have worked beyond that moment, nor have taken a later turn of a session before it.
        let host = self.pipeline.host;
        while let Some(at) = self.next_replacement(world).filter(|&at| at < host) {
            self.take_in(world, at);
        }
        self.take_in(world, host);
    }

    /// When the next request leaves the front end, at the earliest, if its refusal could bring another one whose turn
    /// there depends on that moment.
    pub(super) fn next_replacement<W: World>(&mut self, world: &mut W) -> Option<Nanos> {
        let brings_another = world.replaces_refused() && (self.front_end.is_shared() || world.overtakes());
        brings_another.then(|| self.next_ready(world)).flatten()
    }

    fn take_in<W: World>(&mut self, world: &mut W, now: Nanos) {
        self.send_until(world, now);
        while let Some((at, request)) = self.front_end.pop_ready(now) {
            let id = request.id;
            world.queued(id, at);
            if let Err(why) = self.scheduler.add(request) {
                world.refused(id, at, why);
                // The client may send its next one at once.
                self.send_until(world, now);
            }
            world.waiting(self.scheduler.gauges().waiting);
        }
    }

    /// Composes and launches one step; false when nothing can run.
    pub(super) fn launch<W: World>(&mut self, world: &mut W) -> bool {
        let step = self.scheduler.schedule();
        for &what in self.scheduler.transitions() {
            world.transition(what, self.pipeline.host);
        }
        let Some(step) = step else { return false };
        world.scheduled(self.scheduler.gauges(), self.scheduler.blocked());
        let (end, update) = self.run_step(world, &step.shape);
        self.pipeline.in_flight.push_back(InFlight { step, end, update });
        true
    }

    /// Times one step; when it ends on the device, and the host's time after that.
    pub(super) fn run_step<W: World>(&mut self, world: &mut W, shape: &StepShape) -> (Nanos, Nanos) {
        let mut cost = self.time.step(shape);
        let mut update = if self.overlap { 0 } else { self.time.update(shape) };
        let slowdown = world.slowdown();
        if slowdown != 1.0 {
            let slowed = |ns: u64| (ns as f64 * slowdown).round() as u64;
            update = slowed(update);
            cost = StepCost {
                device: slowed(cost.device),
                host: slowed(cost.host).max(update),
                launch: slowed(cost.launch),
            };
        }
        let timing = self.pipeline.run(&cost, Nanos(update));
        world.launched(shape, &cost, &timing);
        (timing.end, Nanos(update))
    }

    /// Ends the oldest step in flight: its tokens go out. False when there is none.
    pub(super) fn complete<W: World>(&mut self, world: &mut W) -> bool {
        let Some(InFlight { step, end, update }) = self.pipeline.in_flight.pop_front() else { return false };
        self.pipeline.host = self.pipeline.host.max(end);
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let plain = if world.wants_every_token() {
            self.scheduler.complete(step.ticket, &mut events);
            0
        } else {
            self.scheduler.complete_notable(step.ticket, &mut events)
        };
        let rows = step.shape.rows();
        let done = self.pipeline.host;
        let at = (self.sent_by(world, rows) + Nanos(self.time.emit(rows))).max(self.pipeline.emitted);
        self.close_counts(world);
        self.pipeline.emitted = at;
        world.emitted(&Emission { shape: &step.shape, done, at, events: &events, plain });
        self.events = events;
        self.pipeline.host += update;
        true
    }

    /// When the front end has sent the tokens of `rows` rows that are ready at present.
    pub(super) fn sent_by<W: World>(&mut self, world: &mut W, rows: u32) -> Nanos {
        let busy = Nanos(self.time.emit_busy(rows));
        if busy > Nanos::ZERO {
            // Requests that came before are served before.
            self.intake(world);
        }
        self.front_end.send_tokens(self.pipeline.host, busy)
    }

    /// Closes the seconds before the present; tokens still to come are later.
    pub(super) fn close_counts<W: World>(&mut self, world: &mut W) {
        let time = self.pipeline.host.min(self.pipeline.emitted);
        if world.counts_stale(time) {
            // What leaves a shared front end may be refused, and what the client sends then goes into it at that moment.
            let host = self.pipeline.host;
            let to = self.next_replacement(world).map_or(host, |at| at.min(host));
            self.send_until(world, to);
            // A refusal is noted when its request leaves the front end.
            let leaves = self.next_ready(world).unwrap_or(Nanos::MAX);
            world.close_before(time.min(to).min(leaves));
        }
    }

    /// Lets the host wait for the next request; false when none is known.
    pub(super) fn idle<W: World>(&mut self, world: &mut W) -> bool {
        let Some(at) = self.next_ready(world) else { return false };
        let now = self.pipeline.host;
        // A request that is ready was sent before now.
        let ready = self.front_end.first_ready().is_some();
        let sent = if ready { now } else { world.next_send().unwrap_or(at) };
        let idle = sent.min(at).saturating_sub(now);
        world.waited(idle, at.saturating_sub(now).saturating_sub(idle));
        self.pipeline.host = now.max(at);
        true
    }
}
