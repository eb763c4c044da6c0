//! The simulator: runs an [`EngineLoop`] in simulated time and adds up what happens.
//!
//! All times are integer nanoseconds, so that equal inputs give equal bytes out.

use super::client::{Arrival, Client, Sends};
use super::engine_loop::{Emission, EngineLoop, World};
use super::pipeline::StepTiming;
use super::result::{RequestOutcome, SimResult};
use super::scheduler::{Blocked, Gauges, Refusal, Scheduler, SimRequest, TokenEvent, Transition};
use super::step::{StepCost, StepShape, StepTime};
use super::totals::RunTotals;
use crate::units::Nanos;
use std::ops::Deref;

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
    /// The most steps to simulate.
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
pub(super) fn run<I, S, T>(requests: I, scheduler: &mut S, time: &T, options: &SimOptions) -> RunTotals
where
    I: IntoIterator,
    I::Item: Into<Arrival>,
    S: Scheduler + ?Sized,
    T: StepTime + ?Sized,
{
    let client = Client::new(requests.into_iter(), options.max_concurrency);
    let mut world = Simulation::new(client, &*scheduler, options);
    let mut engine = EngineLoop::new(scheduler, time, options.overlap, options.frontend_from);
    loop {
        if world.totals.breakdown.steps >= options.max_steps {
            world.totals.truncated = true;
            break;
        }
        engine.intake(&mut world);
        if engine.pipeline.has_room()
            && (engine.fast_forward(&mut world, Nanos::MAX) || engine.launch(&mut world))
        {
            continue;
        }
        if !engine.complete(&mut world) && !engine.idle(&mut world) {
            break;
        }
    }
    world.finish(&engine)
}

/// A request in the system.
#[derive(Debug, Clone, Default)]
struct Request {
    /// Its place in the client's plan.
    number: usize,
    arrival: Nanos,
    queued: Nanos,
    scheduled: Option<Nanos>,
    first_token: Nanos,
    /// Time of its latest token, kept only while it does not get one a step.
    latest_token: Option<Nanos>,
    /// Preempted and not running again.
    preempted: bool,
    input_tokens: u32,
    output_tokens: u32,
    preemptions: u32,
    itl: Vec<Nanos>,
}

/// Around a simulated engine: the client, the requests in the system, and the statistics.
pub(super) struct Simulation<'a, C> {
    pub(super) client: C,
    pub(super) options: &'a SimOptions,
    /// By the id under which the scheduler knows them; places are used again.
    requests: Vec<Request>,
    vacant: Vec<usize>,
    num_in_system: u64,
    /// When the tokens of the latest step with decode rows left the server.
    pub(super) decoded: Nanos,
    /// Waits since the latest launch, for the client and for the front end: the device did not wait for the host then.
    waited: (Nanos, Nanos),
    prefill_alone: bool,
    /// Tokens need not follow those of the step before.
    uneven: bool,
    pub(super) totals: RunTotals,
}

impl<'a, C: Sends> Simulation<'a, C> {
    pub(super) fn new<S: Scheduler + ?Sized>(client: C, scheduler: &S, options: &'a SimOptions) -> Self {
        Simulation {
            client,
            options,
            requests: Vec::new(),
            vacant: Vec::new(),
            num_in_system: 0,
            decoded: Nanos::ZERO,
            waited: (Nanos::ZERO, Nanos::ZERO),
            prefill_alone: scheduler.prefill_alone(),
            uneven: scheduler.uneven(),
            totals: RunTotals::new(options.streaming),
        }
    }

    fn keeps_outcomes(&self) -> bool {
        self.options.per_request || self.options.itl
    }

    fn token(&mut self, e: &TokenEvent, before: Nanos, now: Nanos, alone: bool) {
        let index = e.id as usize;
        let request = &mut self.requests[index];
        if e.index == 1 {
            request.first_token = now;
        } else {
            let gap = now - request.latest_token.take().unwrap_or(before);
            self.totals.itl.add(gap.0, 1);
            if self.options.itl {
                request.itl.push(gap);
            }
        }
        request.latest_token = (request.preempted || alone || self.uneven).then_some(now);
        if e.finished {
            self.finished(index, now);
        }
    }

    fn finished(&mut self, index: usize, now: Nanos) {
        let request = std::mem::take(&mut self.requests[index]);
        self.num_in_system -= 1;
        let t = &mut self.totals;
        t.completed += 1;
        t.input_tokens += u64::from(request.input_tokens);
        t.output_tokens += u64::from(request.output_tokens);
        t.last_emission = t.last_emission.max(now);
        t.ttft.add((request.first_token - request.arrival).0, 1);
        t.e2el.add((now - request.arrival).0, 1);
        if request.output_tokens > 1 {
            let gaps = u64::from(request.output_tokens - 1);
            t.tpot.add(((now - request.first_token).0 + gaps / 2) / gaps, 1);
        }
        t.peaks.ended(now.0);
        self.client.ended(request.number, now);
        if self.keeps_outcomes() {
            self.totals.outcomes.push((request.number, request.outcome(Some(now))));
        }
        self.vacant.push(index);
    }

    pub(super) fn finish<S, T>(mut self, engine: &EngineLoop<S, T>) -> RunTotals
    where
        S: Deref<Target: Scheduler>,
    {
        let g = engine.scheduler.gauges();
        let t = &mut self.totals;
        t.breakdown.frontend_busy = engine.front_end.busy;
        t.breakdown.end = engine.pipeline.device;
        t.breakdown.peak_kv_blocks = g.kv_blocks_peak;
        t.breakdown.kv_blocks_total = g.kv_blocks_total;
        t.breakdown.preemptions = g.preemptions;
        t.breakdown.prefix_queries = g.prefix_queries;
        t.breakdown.prefix_hits = g.prefix_hits;
        t.peaks.close();
        // Whatever is still in the system never finished.
        t.failed += self.num_in_system;
        self.totals
    }
}

impl<C: Sends> World for Simulation<'_, C> {
    fn next_send(&mut self) -> Option<Nanos> {
        self.client.next_send()
    }

    fn next_input_tokens(&self) -> u32 {
        self.client.next_input_tokens()
    }

    fn send(&mut self, at: Nanos) -> Option<SimRequest> {
        let (number, mut sent) = self.client.send()?;
        let request = Request {
            number,
            arrival: at,
            input_tokens: sent.input_tokens,
            output_tokens: sent.output_tokens.max(1),
            ..Request::default()
        };
        self.num_in_system += 1;
        self.totals.peaks.sent(at.0);
        let index = if let Some(i) = self.vacant.pop() {
            self.requests[i] = request;
            i
        } else {
            self.requests.push(request);
            self.requests.len() - 1
        };
        sent.id = index as u64;
        Some(sent)
    }

    fn replaces_refused(&self) -> bool {
        self.client.is_bounded()
    }

    fn overtakes(&self) -> bool {
        self.client.has_sessions()
    }

    fn queued(&mut self, id: u64, at: Nanos) {
        self.requests[id as usize].queued = at;
    }

    fn refused(&mut self, id: u64, at: Nanos, _: Refusal) {
        let index = id as usize;
        self.totals.failed += 1;
        self.num_in_system -= 1;
        self.client.failed(self.requests[index].number, at);
        self.totals.peaks.ended(at.0);
        if self.keeps_outcomes() {
            let request = std::mem::take(&mut self.requests[index]);
            self.totals.outcomes.push((request.number, request.outcome(None)));
        }
        self.vacant.push(index);
    }

    fn waiting(&mut self, requests: u32) {
        let a = &mut self.totals.breakdown;
        a.peak_waiting = a.peak_waiting.max(requests);
    }

    fn transition(&mut self, what: Transition, at: Nanos) {
        match what {
            Transition::Admitted { id } => {
                self.requests[id as usize].scheduled.get_or_insert(at);
            }
            Transition::Resumed { id } => self.requests[id as usize].preempted = false,
            Transition::Preempted { id } => {
                let request = &mut self.requests[id as usize];
                request.preemptions += 1;
                request.preempted = true;
                // Until it runs again its tokens are timed one by one.
                request.latest_token.get_or_insert(self.decoded);
            }
        }
    }

    fn scheduled(&mut self, gauges: Gauges, blocked: Option<Blocked>) {
        let a = &mut self.totals.breakdown;
        a.peak_running = a.peak_running.max(gauges.running);
        a.note_blocked(blocked);
    }

    fn launched(&mut self, shape: &StepShape, cost: &StepCost, timing: &StepTiming) {
        let a = &mut self.totals.breakdown;
        let (idle, frontend) = std::mem::take(&mut self.waited);
        let device = timing.end - timing.start;
        a.idle += idle;
        a.frontend += frontend;
        a.host += timing.waited.saturating_sub(idle + frontend);
        a.device += device;
        a.host_bound_steps += u64::from(cost.host + cost.launch > cost.device);
        if shape.prefill_rows > 0 {
            a.prefill_device += device;
        }
        a.add_shape(shape);
    }

    fn waited(&mut self, idle: Nanos, frontend: Nanos) {
        self.waited.0 += idle;
        self.waited.1 += frontend;
    }

    fn wants_every_token(&self) -> bool {
        self.options.itl
    }

    fn counts_stale(&self, time: Nanos) -> bool {
        self.totals.peaks.stale(time.0)
    }

    fn close_before(&mut self, time: Nanos) {
        self.totals.peaks.close_before(time.min(self.client.horizon()).0);
    }

    fn emitted(&mut self, e: &Emission) {
        let before = self.decoded;
        let alone = self.prefill_alone && e.shape.decode_rows == 0;
        if !alone {
            self.decoded = e.at;
        }
        let events =
            if self.uneven { e.events.iter().map(|e| e.tokens).sum() } else { e.events.len() as u32 };
        self.totals.peaks.tokens(e.at.0, e.plain + events);
        self.totals.itl.add((e.at - before).0, e.plain);
        for event in e.events {
            self.token(event, before, e.at, alone);
        }
    }
}

impl Request {
    fn outcome(self, finished: Option<Nanos>) -> RequestOutcome {
        RequestOutcome {
            arrival: self.arrival,
            queued: self.queued,
            scheduled: self.scheduled.unwrap_or_default(),
            first_token: self.first_token,
            finished: finished.unwrap_or_default(),
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            preemptions: self.preemptions,
            itl: (!self.itl.is_empty()).then_some(self.itl),
            failed: finished.is_none(),
        }
    }
}

#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;
