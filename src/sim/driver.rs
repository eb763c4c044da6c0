//! The event loop: arrivals, front end, steps, emission.
//!
//! Host and device are two servers. The host composes and launches steps one after the other, at most
//! `depth` of them unfinished (1, or 2 under overlap); the device runs them in order. So the period of steps
//! is host + device without overlap and the longer of the two with it, and with it a request that becomes
//! ready joins one step later. Events are taken in the order (time, completion before arrival before
//! schedule, sequence), all in integer nanoseconds.

use super::ledger::Ledger;
use super::result::{Account, RequestOutcome, SimResult};
use super::scheduler::{PlainStretch, Scheduler, SimRequest, Step, TokenEvent, Transition};
use super::shared::Shared;
use super::tally::{Peaks, Tally};
use crate::sim::step::StepTime;
use crate::units::Nanos;
use crate::workload::RequestShape;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
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

/// How to run a simulation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimOptions {
    /// Requests that the client keeps in flight at most; the next is sent when one completes.
    pub max_concurrency: Option<u32>,
    /// Host work hides behind the device's.
    pub overlap: bool,
    /// Keep the outcome of every request.
    pub per_request: bool,
    /// Keep every gap of every request too (implies `per_request`, and costs time).
    pub itl: bool,
    /// Percentiles from a histogram of 0.1 % resolution: memory does not grow with the number of requests.
    pub streaming: bool,
    /// Jump through decode-only stretches; the result is the same to the nanosecond.
    pub fast_forward: bool,
    /// Stop after so many steps.
    pub max_steps: u64,
    /// The front end hands nothing on before this time: a burst of requests shares it until then.
    pub frontend_from: Nanos,
}

impl Default for SimOptions {
    fn default() -> SimOptions {
        SimOptions {
            max_concurrency: None,
            overlap: false,
            per_request: false,
            itl: false,
            streaming: false,
            fast_forward: true,
            max_steps: u64::MAX,
            frontend_from: Nanos::ZERO,
        }
    }
}

/// Runs `requests` (arrivals ascending) through `scheduler` with the step times of `time`.
pub fn simulate<I, S, T>(requests: I, scheduler: &mut S, time: &T, options: &SimOptions) -> SimResult
where
    I: IntoIterator,
    I::Item: Into<Arrival>,
    S: Scheduler + ?Sized,
    T: StepTime + ?Sized,
{
    run(requests, scheduler, time, options).result()
}

/// As [`simulate`], with the sums from which the result is made.
pub(super) fn run<I, S, T>(requests: I, scheduler: &mut S, time: &T, options: &SimOptions) -> Ledger
where
    I: IntoIterator,
    I::Item: Into<Arrival>,
    S: Scheduler + ?Sized,
    T: StepTime + ?Sized,
{
    Run::new(requests.into_iter(), scheduler, time, options).run()
}

/// A request in the house.
#[derive(Debug, Clone, Default)]
struct Live {
    number: usize,
    arrival: u64,
    queued: u64,
    scheduled: Option<u64>,
    first: u64,
    /// Time of its latest token, kept only while it does not get one a step.
    latest: Option<u64>,
    /// Preempted and not running again.
    out: bool,
    input: u32,
    output: u32,
    preemptions: u32,
    itl: Vec<Nanos>,
}

/// A step under way.
#[derive(Debug, Clone, Copy)]
struct Flying {
    step: Step,
    end: u64,
}

struct Run<'a, I: Iterator, S: ?Sized, T: ?Sized> {
    source: Peekable<I>,
    next: Option<Arrival>,
    scheduler: &'a mut S,
    time: &'a T,
    options: &'a SimOptions,
    depth: usize,
    /// Host free from here on; also the present.
    host: u64,
    device: u64,
    frontend: u64,
    /// Waits since the latest launch, for the client and for the front end: the device did not wait for the host then.
    waited: (u64, u64),
    /// Emission of the latest completed step.
    emitted: u64,
    /// Emission of the latest completed step that decode rows took part in.
    decoded: u64,
    prefill_alone: bool,
    /// Seats of a client with bounded concurrency, by the time at which they came free.
    seats: Option<BinaryHeap<Reverse<u64>>>,
    /// The front end, where its requests share it instead of queueing for it.
    shared: Option<Shared<(usize, SimRequest)>>,
    /// Requests out of the front end: (time, (live index, request)).
    ready: VecDeque<(u64, (usize, SimRequest))>,
    flying: VecDeque<Flying>,
    live: Vec<Live>,
    vacant: Vec<usize>,
    in_house: u64,
    sent: usize,
    events: Vec<TokenEvent>,
    account: Account,
    ttft: Tally,
    tpot: Tally,
    itl: Tally,
    e2el: Tally,
    peaks: Peaks,
    outcomes: Vec<(usize, RequestOutcome)>,
    completed: u64,
    failed: u64,
    input_tokens: u64,
    output_tokens: u64,
    last_emission: u64,
}

impl<'a, I, S, T> Run<'a, I, S, T>
where
    I: Iterator,
    I::Item: Into<Arrival>,
    S: Scheduler + ?Sized,
    T: StepTime + ?Sized,
{
    fn new(source: I, scheduler: &'a mut S, time: &'a T, options: &'a SimOptions) -> Self {
        let tally = || Tally::new(options.streaming);
        let prefill_alone = scheduler.prefill_alone();
        Run {
            source: source.peekable(),
            next: None,
            scheduler,
            time,
            options,
            depth: if options.overlap { 2 } else { 1 },
            host: 0,
            device: 0,
            frontend: options.frontend_from.0,
            waited: (0, 0),
            emitted: 0,
            decoded: 0,
            prefill_alone,
            seats: options.max_concurrency.map(|n| (0..n.max(1)).map(|_| Reverse(0)).collect()),
            shared: time.shares_frontend().then(Shared::default),
            ready: VecDeque::new(),
            flying: VecDeque::new(),
            live: Vec::new(),
            vacant: Vec::new(),
            in_house: 0,
            sent: 0,
            events: Vec::new(),
            account: Account::default(),
            ttft: tally(),
            tpot: tally(),
            itl: tally(),
            e2el: tally(),
            peaks: Peaks::default(),
            outcomes: Vec::new(),
            completed: 0,
            failed: 0,
            input_tokens: 0,
            output_tokens: 0,
            last_emission: 0,
        }
    }

    fn run(mut self) -> Ledger {
        let mut truncated = false;
        loop {
            if self.account.steps >= self.options.max_steps {
                truncated = true;
                break;
            }
            self.intake();
            if self.flying.len() < self.depth && (self.jump() || self.launch()) {
                continue;
            }
            if let Some(flying) = self.flying.pop_front() {
                self.host = self.host.max(flying.end);
                self.complete(flying.step);
                self.host += self.update(&flying.step.shape);
                continue;
            }
            let Some(at) = self.next_ready() else { break };
            self.idle_until(at);
        }
        self.finish(truncated)
    }

    /// When the client sends its next request, if that is known.
    fn next_send(&mut self) -> Option<u64> {
        if self.next.is_none() {
            self.next = self.source.next().map(Into::into);
        }
        let at = self.next.as_ref()?.at.0;
        match &self.seats {
            None => Some(at),
            Some(seats) => seats.peek().map(|&Reverse(free)| at.max(free)),
        }
    }

    /// When the next request leaves the front end, at the earliest.
    fn next_ready(&mut self) -> Option<u64> {
        if let Some(&(at, ..)) = self.ready.front() {
            return Some(at);
        }
        let inside = self.shared.as_ref().and_then(Shared::next);
        let Some(sent) = self.next_send() else { return inside };
        let input = self.next.as_ref()?.request.input_tokens;
        let alone = sent.max(self.frontend) + self.time.frontend(input);
        Some(inside.map_or(alone, |at| at.min(alone)))
    }

    /// Sends what is due into the front end.
    fn send_until(&mut self, now: u64) {
        while let Some(at) = self.next_send().filter(|&at| at <= now) {
            let Some(Arrival { mut request, .. }) = self.next.take() else { return };
            if let Some(seats) = &mut self.seats {
                seats.pop();
            }
            let service = self.time.frontend(request.input_tokens);
            if self.shared.is_none() {
                self.frontend = self.frontend.max(at) + service;
            }
            self.account.frontend_busy += Nanos(service);
            let live = Live {
                number: self.sent,
                arrival: at,
                queued: self.frontend,
                input: request.input_tokens,
                output: request.output_tokens.max(1),
                ..Live::default()
            };
            self.sent += 1;
            self.in_house += 1;
            self.peaks.sent(at);
            let index = if let Some(i) = self.vacant.pop() {
                self.live[i] = live;
                i
            } else {
                self.live.push(live);
                self.live.len() - 1
            };
            request.id = index as u64;
            match &mut self.shared {
                Some(shared) => shared.push(at, service, (index, request), &mut self.ready),
                None => self.ready.push_back((self.frontend, (index, request))),
            }
        }
        if let Some(shared) = &mut self.shared {
            shared.advance(now, &mut self.ready);
        }
    }

    /// Hands everything that has left the front end by now to the scheduler.
    fn intake(&mut self) {
        // A lost request lets the client send its next one when it was lost: a front end that requests share must
        // not have worked beyond that moment.
        while let Some(at) = self.leaves_shared().filter(|&at| at < self.host) {
            self.take_in(at);
        }
        self.take_in(self.host);
    }

    /// When the next request leaves a shared front end, at the earliest, if a loss could then bring another one.
    fn leaves_shared(&mut self) -> Option<u64> {
        (self.shared.is_some() && self.seats.is_some()).then(|| self.next_ready()).flatten()
    }

    fn take_in(&mut self, now: u64) {
        self.send_until(now);
        while self.ready.front().is_some_and(|&(at, ..)| at <= now) {
            let Some((at, (index, request))) = self.ready.pop_front() else { return };
            self.live[index].queued = at;
            if self.scheduler.add(request).is_err() {
                self.lose(index, at);
                // The client may send its next one at once.
                self.send_until(now);
            }
            let waiting = self.scheduler.gauges().waiting;
            self.account.peak_waiting = self.account.peak_waiting.max(waiting);
        }
    }

    fn lose(&mut self, index: usize, at: u64) {
        self.failed += 1;
        self.in_house -= 1;
        if let Some(seats) = &mut self.seats {
            seats.push(Reverse(at));
        }
        self.peaks.ended(at);
        if self.keeps_outcomes() {
            let live = std::mem::take(&mut self.live[index]);
            self.outcomes.push((live.number, outcome(live, None)));
        }
        self.vacant.push(index);
    }

    fn keeps_outcomes(&self) -> bool {
        self.options.per_request || self.options.itl
    }

    /// Composes and launches one step; false when nothing can run.
    fn launch(&mut self) -> bool {
        let step = self.scheduler.schedule();
        self.note_transitions();
        let Some(step) = step else { return false };
        self.note_gauges();
        let (start, end) = self.run_step(&step.shape);
        debug_assert!(start <= end);
        self.flying.push_back(Flying { step, end });
        true
    }

    /// Times one step and books it; (start, end) on the device.
    fn run_step(&mut self, shape: &crate::sim::step::StepShape) -> (u64, u64) {
        let cost = self.time.step(shape);
        self.host += cost.host - self.update(shape);
        let start = self.host.max(self.device);
        self.host += cost.launch;
        let end = (start + cost.device).max(self.host);
        let a = &mut self.account;
        let (idle, frontend) = std::mem::take(&mut self.waited);
        a.idle += Nanos(idle);
        a.frontend += Nanos(frontend);
        a.host += Nanos((start - self.device).saturating_sub(idle + frontend));
        a.device += Nanos(end - start);
        a.host_bound_steps += u64::from(cost.host + cost.launch > cost.device);
        if shape.prefill_rows > 0 {
            a.prefill_device += Nanos(end - start);
        }
        a.add_shape(shape);
        self.device = end;
        (start, end)
    }

    /// Host time after a step, in which requests may still come to the next.
    fn update(&self, shape: &crate::sim::step::StepShape) -> u64 {
        if self.options.overlap { 0 } else { self.time.update(shape) }
    }

    fn note_transitions(&mut self) {
        for &t in self.scheduler.transitions() {
            match t {
                Transition::Admitted { id } => {
                    self.live[id as usize].scheduled.get_or_insert(self.host);
                }
                Transition::Resumed { id } => self.live[id as usize].out = false,
                Transition::Preempted { id } => {
                    let live = &mut self.live[id as usize];
                    live.preemptions += 1;
                    live.out = true;
                    // Until it runs again its tokens are timed one by one.
                    live.latest.get_or_insert(self.decoded);
                }
            }
        }
    }

    fn note_gauges(&mut self) {
        let g = self.scheduler.gauges();
        let a = &mut self.account;
        a.peak_running = a.peak_running.max(g.running);
        a.note_blocked(self.scheduler.blocked());
    }

    /// Ends the oldest step: its tokens go out.
    fn complete(&mut self, step: Step) {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let plain = if self.options.itl {
            self.scheduler.complete(step.ticket, &mut events);
            0
        } else {
            self.scheduler.complete_notable(step.ticket, &mut events)
        };
        let before = self.decoded;
        let rows = step.shape.rows();
        let now = (self.sent_by(self.host, rows) + self.time.emit(rows)).max(self.emitted);
        let alone = self.prefill_alone && step.shape.decode_rows == 0;
        self.close_peaks(self.host.min(self.emitted));
        self.emitted = now;
        if !alone {
            self.decoded = now;
        }
        let tokens = plain + events.len() as u32;
        self.peaks.tokens(now, tokens);
        self.itl.add(now - before, plain);
        for e in &events {
            self.token(e, before, now, alone);
        }
        self.events = events;
    }

    /// When the front end has sent a step's tokens that were ready at `from`; sending keeps it busy.
    fn sent_by(&mut self, from: u64, rows: u32) -> u64 {
        let busy = self.time.emit_busy(rows);
        if busy == 0 {
            return from;
        }
        self.frontend = self.frontend.max(from) + busy;
        self.account.frontend_busy += Nanos(busy);
        self.frontend
    }

    /// Closes the seconds before `time`; tokens still to come are later.
    fn close_peaks(&mut self, time: u64) {
        if self.peaks.stale(time) {
            // What leaves a shared front end may be lost, and what the client sends then goes into it at that moment.
            let to = self.leaves_shared().map_or(self.host, |at| at.min(self.host));
            self.send_until(to);
            // A loss is noted when its request leaves the front end.
            let leaves = self.next_ready().unwrap_or(u64::MAX);
            self.peaks.close_before(time.min(to).min(leaves));
        }
    }

    fn token(&mut self, e: &TokenEvent, before: u64, now: u64, alone: bool) {
        let index = e.id as usize;
        let live = &mut self.live[index];
        if e.index == 1 {
            live.first = now;
        } else {
            let gap = now - live.latest.take().unwrap_or(before);
            self.itl.add(gap, 1);
            if self.options.itl {
                live.itl.push(Nanos(gap));
            }
        }
        live.latest = (live.out || alone).then_some(now);
        if e.finished {
            self.done(index, now);
        }
    }

    fn done(&mut self, index: usize, now: u64) {
        let live = std::mem::take(&mut self.live[index]);
        self.completed += 1;
        self.in_house -= 1;
        self.input_tokens += u64::from(live.input);
        self.output_tokens += u64::from(live.output);
        self.last_emission = self.last_emission.max(now);
        self.ttft.add(live.first - live.arrival, 1);
        self.e2el.add(now - live.arrival, 1);
        if live.output > 1 {
            let gaps = u64::from(live.output - 1);
            self.tpot.add((now - live.first + gaps / 2) / gaps, 1);
        }
        self.peaks.ended(now);
        if let Some(seats) = &mut self.seats {
            seats.push(Reverse(now));
        }
        if self.keeps_outcomes() {
            self.outcomes.push((live.number, outcome(live, Some(now))));
        }
        self.vacant.push(index);
    }

    /// Passes through a decode-only stretch without touching any request; false when there is none.
    fn jump(&mut self) -> bool {
        if !self.options.fast_forward || self.options.itl || self.flying.len() + 1 != self.depth {
            return false;
        }
        let Some(stretch) = self.scheduler.plain_stretch() else { return false };
        let queue_stands = stretch.closed.is_some() && self.scheduler.gauges().waiting > 0;
        // What leaves the front end meanwhile changes nothing where the queue stands, unless its loss brings another
        // request into a front end that all share.
        let entering = if queue_stands && self.leaves_shared().is_none() { None } else { self.next_ready() };
        // Where sending and receiving share the front end, their order counts.
        let sending = if self.time.emit_busy(1) > 0 { self.next_send() } else { None };
        let until = entering.unwrap_or(u64::MAX).min(sending.unwrap_or(u64::MAX));
        let steps = self.pass(&stretch, until, queue_stands);
        if steps > 0 {
            self.scheduler.advance(steps);
        }
        steps > 0
    }

    /// Times the steps of a stretch until a request is ready; returns how many passed.
    fn pass(&mut self, stretch: &PlainStretch, until: u64, queue_stands: bool) -> u32 {
        let mut shape = stretch.shape;
        let rows = shape.decode_rows;
        let emit = self.time.emit(rows);
        let mut steps = 0;
        let room = self.options.max_steps.saturating_sub(self.account.steps);
        while steps < stretch.steps && self.host < until && u64::from(steps) < room {
            let (_, end) = self.run_step(&shape);
            // Under overlap the step launched before is the one that ends now.
            let (ended, emit) = match self.flying.front_mut() {
                Some(flying) => {
                    let ended = (flying.end, self.time.emit(flying.step.shape.rows()));
                    flying.step = Step { ticket: flying.step.ticket + 1, shape };
                    flying.end = end;
                    ended
                }
                None => (end, emit),
            };
            self.host = self.host.max(ended);
            let before = self.decoded;
            self.close_peaks(self.host.min(self.emitted));
            self.emitted = (self.sent_by(self.host, rows) + emit).max(self.emitted);
            self.decoded = self.emitted;
            self.peaks.tokens(self.emitted, rows);
            self.itl.add(self.emitted - before, rows);
            self.account.note_blocked(stretch.closed.filter(|_| queue_stands));
            self.host += self.update(&shape);
            shape.decode_ctx += u64::from(rows);
            shape.decode_ctx_window += u64::from(stretch.window_growth);
            steps += 1;
        }
        steps
    }

    /// Nothing runs until `at`: the wait is booked by the step that follows, if one does.
    fn idle_until(&mut self, at: u64) {
        let now = self.host;
        let sent = match self.ready.front() {
            Some(&(_, (index, _))) => self.live[index].arrival,
            None => self.next_send().unwrap_or(at),
        };
        let idle = sent.min(at).saturating_sub(now);
        self.waited.0 += idle;
        self.waited.1 += at.saturating_sub(now) - idle;
        self.host = self.host.max(at);
    }

    fn finish(mut self, truncated: bool) -> Ledger {
        let mut account = self.account;
        account.end = Nanos(self.device);
        let g = self.scheduler.gauges();
        account.peak_kv_blocks = g.kv_blocks_peak;
        account.kv_blocks_total = g.kv_blocks_total;
        account.preemptions = g.preemptions;
        account.prefix_queries = g.prefix_queries;
        account.prefix_hits = g.prefix_hits;
        self.peaks.close();
        Ledger {
            account,
            ttft: self.ttft,
            tpot: self.tpot,
            itl: self.itl,
            e2el: self.e2el,
            peak_tokens: self.peaks.tokens,
            peak_requests: self.peaks.requests,
            outcomes: self.outcomes,
            completed: self.completed,
            // Whatever is still in the house never finished.
            failed: self.failed + self.in_house,
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            last_emission: self.last_emission,
            truncated,
        }
    }
}

fn outcome(live: Live, finished: Option<u64>) -> RequestOutcome {
    RequestOutcome {
        arrival: Nanos(live.arrival),
        queued: Nanos(live.queued),
        scheduled: Nanos(live.scheduled.unwrap_or(0)),
        first_token: Nanos(live.first),
        finished: Nanos(finished.unwrap_or(0)),
        input_tokens: live.input,
        output_tokens: live.output,
        preemptions: live.preemptions,
        itl: (!live.itl.is_empty()).then_some(live.itl),
        failed: finished.is_none(),
    }
}

#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;
