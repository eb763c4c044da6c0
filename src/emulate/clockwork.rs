//! The embedded engine's clockwork: when steps start and end, in time that is an argument.
//!
//! One serial front end (HTTP, tokenizing), one host (schedule, launch, update), one device, one way out
//! (detokenize, send). Every instant is computed from the one before it, never from the time at which
//! somebody woke up, so a late thread makes events late but never moves the schedule.
//!
//! Without overlap a step takes host + device. With overlapped scheduling the host composes the next step
//! while the device runs the current one (at most two in flight), so that the period becomes
//! max(host, device) and a new arrival joins one step later. The order of events is that of
//! [`sim::driver`](crate::sim::driver), which this is in real time: while a step may still be launched it is
//! launched before the oldest one's result is looked at, and a host that waits for a result admits nobody.

use super::noise::Noise;
use crate::sim::scheduler::{Gauges, Refusal, Scheduler, SimRequest, Step, TokenEvent, Transition};
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

/// A step on its way through host and device.
#[derive(Debug, Clone, Copy)]
struct Flight {
    step: Step,
    end: u64,
}

/// Tokens that wait for the detokenize-and-send delay to pass.
#[derive(Debug)]
struct Emission {
    /// The earliest time at which they can be known.
    done: u64,
    at: u64,
    events: Vec<TokenEvent>,
}

/// The engine's state machine over simulated nanoseconds.
pub struct Clockwork {
    scheduler: Box<dyn Scheduler>,
    times: Arc<dyn StepTime>,
    noise: Noise,
    depth: usize,
    now: u64,
    front_free: u64,
    host_free: u64,
    device_free: u64,
    last_emission: u64,
    lead_per_row: u64,
    /// The scheduler had nothing to run; asked again only after something changed.
    parked: bool,
    arrivals: VecDeque<(u64, SimRequest)>,
    flights: VecDeque<Flight>,
    outbox: VecDeque<Emission>,
    spare: Vec<Vec<TokenEvent>>,
}

/// What happens next; at equal times in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Emit,
    Arrive,
    Complete,
    Schedule,
}

impl Clockwork {
    pub fn new(scheduler: Box<dyn Scheduler>, times: Arc<dyn StepTime>, overlap: bool, noise: Noise) -> Self {
        Clockwork {
            scheduler,
            times,
            noise,
            depth: if overlap { 2 } else { 1 },
            now: 0,
            front_free: 0,
            host_free: 0,
            device_free: 0,
            last_emission: 0,
            lead_per_row: 0,
            parked: true,
            arrivals: VecDeque::new(),
            flights: VecDeque::new(),
            outbox: VecDeque::new(),
            spare: Vec::new(),
        }
    }

    /// A request reached the server at `arrival`; it joins the scheduler's queue when the front end is
    /// done with it.
    pub fn submit(&mut self, arrival: Nanos, request: SimRequest) {
        let start = self.front_free.max(arrival.0);
        self.front_free = start + self.times.frontend(request.input_tokens);
        self.arrivals.push_back((self.front_free, request));
    }

    /// Removes a request wherever it is.
    pub fn abort(&mut self, id: u64) -> bool {
        if let Some(at) = self.arrivals.iter().position(|(_, r)| r.id == id) {
            self.arrivals.remove(at);
            return true;
        }
        self.parked = false;
        self.scheduler.abort(id)
    }

    /// How much before its due time the writing of a step's tokens begins, nanoseconds a row: writing to many
    /// streams takes time, and the middle of it shall be on time. Never before the step is done.
    pub fn set_lead(&mut self, per_row: u64) {
        self.lead_per_row = per_row;
    }

    fn begin(&self, e: &Emission) -> u64 {
        e.at.saturating_sub(self.lead_per_row * e.events.len() as u64).max(e.done)
    }

    pub fn gauges(&self) -> Gauges {
        let mut gauges = self.scheduler.gauges();
        gauges.waiting += self.arrivals.len() as u32;
        gauges
    }

    pub fn reset_prefix_cache(&mut self) -> bool {
        self.scheduler.reset_prefix_cache()
    }

    /// When something happens next; `None` while there is nothing to do.
    pub fn next_event(&self) -> Option<Nanos> {
        self.next().map(|(at, _)| Nanos(at))
    }

    fn next(&self) -> Option<(u64, Next)> {
        let emit = self.outbox.front().map(|e| (self.begin(e), Next::Emit));
        let arrive = self.arrivals.front().map(|(at, _)| ((*at).max(self.now), Next::Arrive));
        let host = if !self.parked && self.flights.len() < self.depth {
            Some((self.host_free.max(self.now), Next::Schedule))
        } else {
            self.flights.front().map(|f| (f.end.max(self.host_free), Next::Complete))
        };
        [emit, arrive, host].into_iter().flatten().min()
    }

    /// Lets happen what is due at or before `until`, at most `events` of it, so that a driver which is far
    /// behind can look around in between.
    pub fn advance(&mut self, until: Nanos, events: usize, sink: &mut dyn Sink) {
        for _ in 0..events {
            let Some((at, next)) = self.next() else { return };
            if at > until.0 {
                return;
            }
            match next {
                Next::Emit => self.emit(sink),
                Next::Complete => self.complete(sink),
                Next::Arrive => self.arrive(sink),
                Next::Schedule => self.schedule(sink),
            }
            // An emission belongs to the past of the loop: it does not move the engine's clock.
            if next != Next::Emit {
                self.now = self.now.max(at);
            }
        }
    }

    fn emit(&mut self, sink: &mut dyn Sink) {
        if let Some(mut e) = self.outbox.pop_front() {
            sink.tokens(Nanos(self.begin(&e)), Nanos(e.at), &e.events);
            e.events.clear();
            self.spare.push(e.events);
        }
    }

    fn complete(&mut self, sink: &mut dyn Sink) {
        let Some(flight) = self.flights.pop_front() else { return };
        self.host_free = self.host_free.max(flight.end);
        let done = self.host_free;
        let mut events = self.spare.pop().unwrap_or_default();
        self.scheduler.complete(flight.step.ticket, &mut events);
        self.parked = false;
        sink.step(Nanos(done), &flight.step.shape);
        if events.is_empty() {
            self.spare.push(events);
            return;
        }
        let at = done + self.times.emit(flight.step.shape.rows());
        self.last_emission = self.last_emission.max(at);
        self.outbox.push_back(Emission { done, at: self.last_emission, events });
    }

    fn arrive(&mut self, sink: &mut dyn Sink) {
        let Some((_, request)) = self.arrivals.pop_front() else { return };
        let id = request.id;
        match self.scheduler.add(request) {
            // A host that waits for a step's result looks at nothing else meanwhile.
            Ok(()) => self.parked &= !self.flights.is_empty(),
            Err(why) => sink.refused(id, why),
        }
    }

    fn schedule(&mut self, sink: &mut dyn Sink) {
        let start = self.host_free.max(self.now);
        let Some(step) = self.scheduler.schedule() else {
            self.parked = true;
            return;
        };
        for t in self.scheduler.transitions() {
            if let Transition::Admitted { id } = t {
                sink.admitted(Nanos(start), *id);
            }
        }
        let cost = self.times.step(&step.shape);
        let factor = self.noise.next_factor();
        let host = scale(cost.host, factor);
        let device = scale(cost.device, factor);
        let begin = (start + host).max(self.device_free);
        self.host_free = start + host + scale(cost.launch, factor);
        let end = (begin + device).max(self.host_free);
        self.device_free = end;
        self.flights.push_back(Flight { step, end });
    }
}

fn scale(ns: u64, factor: f64) -> u64 {
    if factor == 1.0 { ns } else { (ns as f64 * factor).round() as u64 }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::engine::EngineConfig;
    use crate::sim::StepCost;
    use crate::sim::{Arrival, KvLayout, SimOptions, policy, simulate};
    use proptest::prelude::*;

    /// A linear cost for tests: host and device fixed, device also per token.
    pub(crate) struct Linear {
        pub(crate) host: u64,
        pub(crate) base: u64,
        pub(crate) per_token: u64,
        pub(crate) front: u64,
        pub(crate) out: u64,
    }

    impl StepTime for Linear {
        fn step(&self, s: &StepShape) -> StepCost {
            StepCost {
                host: self.host,
                device: self.base + self.per_token * u64::from(s.tokens()),
                launch: 0,
            }
        }
        fn frontend(&self, _: u32) -> u64 {
            self.front
        }
        fn emit(&self, _: u32) -> u64 {
            self.out
        }
        fn window(&self) -> Option<u32> {
            None
        }
    }

    /// The smallest honest scheduler: everything runs at once, a prompt takes one step.
    #[derive(Default)]
    pub(crate) struct Everyone {
        running: Vec<(SimRequest, u32, u32)>,
        flying: VecDeque<(u64, Vec<u64>)>,
        ticket: u64,
    }

    impl Scheduler for Everyone {
        fn add(&mut self, r: SimRequest) -> Result<(), Refusal> {
            if r.input_tokens > 1_000_000 {
                return Err(Refusal::TooLong { tokens: r.input_tokens, limit: 1_000_000 });
            }
            self.running.push((r, 0, 0));
            Ok(())
        }
        fn abort(&mut self, id: u64) -> bool {
            let before = self.running.len();
            self.running.retain(|(r, ..)| r.id != id);
            before != self.running.len()
        }
        fn schedule(&mut self) -> Option<Step> {
            let mut shape = StepShape::default();
            let mut ids = Vec::new();
            for (r, scheduled, _) in self.running.iter_mut().filter(|(r, s, _)| *s < r.output_tokens) {
                if *scheduled == 0 {
                    shape.prefill_rows += 1;
                    shape.prefill_tokens += r.input_tokens;
                } else {
                    shape.decode_rows += 1;
                }
                *scheduled += 1;
                ids.push(r.id);
            }
            if ids.is_empty() {
                return None;
            }
            self.ticket += 1;
            self.flying.push_back((self.ticket, ids));
            Some(Step { ticket: self.ticket, shape })
        }
        fn complete(&mut self, ticket: u64, out: &mut Vec<TokenEvent>) {
            let (expected, ids) = self.flying.pop_front().expect("a step in flight");
            assert_eq!(expected, ticket, "steps complete in the order of their tickets");
            for id in ids {
                if let Some((r, _, done)) = self.running.iter_mut().find(|(r, ..)| r.id == id) {
                    *done += 1;
                    out.push(TokenEvent { id, index: *done, finished: *done == r.output_tokens });
                }
            }
            self.running.retain(|(r, _, done)| *done < r.output_tokens);
        }
        fn gauges(&self) -> Gauges {
            Gauges { running: self.running.len() as u32, ..Gauges::default() }
        }
        fn reset_prefix_cache(&mut self) -> bool {
            true
        }
    }

    #[derive(Default)]
    struct Log {
        tokens: Vec<(u64, TokenEvent)>,
        refused: Vec<u64>,
    }

    impl Sink for Log {
        fn tokens(&mut self, begin: Nanos, at: Nanos, events: &[TokenEvent]) {
            assert!(begin <= at);
            self.tokens.extend(events.iter().map(|e| (at.0, *e)));
        }
        fn refused(&mut self, id: u64, _: Refusal) {
            self.refused.push(id);
        }
        fn admitted(&mut self, _: Nanos, _: u64) {}
        fn step(&mut self, _: Nanos, _: &StepShape) {}
    }

    fn request(id: u64, input: u32, output: u32) -> SimRequest {
        SimRequest {
            id,
            input_tokens: input,
            output_tokens: output,
            max_tokens: output,
            ..Default::default()
        }
    }

    fn clockwork(host: u64, base: u64, overlap: bool) -> Clockwork {
        let times = Linear { host, base, per_token: 0, front: 10, out: 5 };
        Clockwork::new(Box::<Everyone>::default(), Arc::new(times), overlap, Noise::off())
    }

    #[test]
    fn without_overlap_a_step_takes_host_plus_device() {
        let mut c = clockwork(100, 1000, false);
        let mut log = Log::default();
        c.submit(Nanos(0), request(1, 8, 3));
        c.advance(Nanos(1_000_000), usize::MAX, &mut log);
        let at: Vec<u64> = log.tokens.iter().map(|(t, _)| *t).collect();
        // Front end 10, then 1100 a step, each token 5 later on the wire.
        assert_eq!(at, [1115, 2215, 3315]);
        assert!(log.tokens[2].1.finished);
        assert_eq!(c.next_event(), None);
    }

    #[test]
    fn with_overlap_the_period_is_the_longer_of_host_and_device() {
        for (host, device, period) in [(100, 1000, 1000), (1500, 1000, 1500)] {
            let mut c = clockwork(host, device, true);
            let mut log = Log::default();
            c.submit(Nanos(0), request(1, 8, 6));
            c.advance(Nanos(1_000_000), usize::MAX, &mut log);
            let at: Vec<u64> = log.tokens.iter().map(|(t, _)| *t).collect();
            // The second step is launched before the first one's result is looked at.
            assert_eq!(at[0], 10 + host + device.max(host) + 5);
            // After the last one nothing is launched any more.
            assert!(at[..5].windows(2).all(|w| w[1] - w[0] == period), "{at:?}");
        }
    }

    #[test]
    fn a_late_wake_up_moves_no_event() {
        let run = |stops: &[u64]| {
            let mut c = clockwork(100, 1000, true);
            let mut log = Log::default();
            c.submit(Nanos(0), request(1, 8, 5));
            c.submit(Nanos(400), request(2, 8, 5));
            for s in stops {
                c.advance(Nanos(*s), usize::MAX, &mut log);
            }
            log.tokens
        };
        let every = (0..20_000).step_by(7).collect::<Vec<u64>>();
        assert_eq!(run(&every), run(&[3_333, 20_000]));
        assert_eq!(run(&every), run(&[20_000]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_clockwork_is_the_simulator_to_the_nanosecond(
            load in proptest::collection::vec((0u64..40_000_000, 1u32..600, 1u32..40), 1..40),
            overlap: bool,
            blocks in 60u64..400,
            host in 1u64..3_000_000,
            lead in 0u64..20_000,
        ) {
            let config = EngineConfig { max_num_seqs: 8, max_num_batched_tokens: 256, ..EngineConfig::default() };
            let layout = KvLayout::dense(16, blocks);
            let times = Linear { host, base: 1_000_003, per_token: 1009, front: 70_001, out: 50_021 };
            let mut load = load;
            load.sort_unstable();
            let arrivals: Vec<Arrival> = load
                .iter()
                .map(|(at, input, output)| Arrival { at: Nanos(*at), request: request(0, *input, *output) })
                .collect();
            let options = SimOptions { overlap, per_request: true, ..SimOptions::default() };
            let mut scheduler = policy::build(&config, &layout, None);
            let expected = simulate(arrivals, scheduler.as_mut(), &times, &options);

            let scheduler = policy::build(&config, &layout, None);
            let mut c = Clockwork::new(scheduler, Arc::new(times), overlap, Noise::off());
            c.set_lead(lead);
            let mut log = Log::default();
            for (id, (at, input, output)) in load.iter().enumerate() {
                c.advance(Nanos(at.saturating_sub(1)), usize::MAX, &mut log);
                c.submit(Nanos(*at), request(id as u64, *input, *output));
            }
            c.advance(Nanos::MAX, usize::MAX, &mut log);
            for (id, o) in expected.requests.iter().enumerate() {
                let mine = || log.tokens.iter().filter(|(_, e)| e.id == id as u64);
                prop_assert_eq!(mine().count() as u32, if o.failed { 0 } else { o.output_tokens });
                if !o.failed {
                    prop_assert_eq!(Nanos(mine().map(|(t, _)| *t).min().unwrap()), o.first_token);
                    prop_assert_eq!(Nanos(mine().map(|(t, _)| *t).max().unwrap()), o.finished);
                }
            }
        }
    }

    #[test]
    fn aborted_and_refused_requests_produce_nothing() {
        let mut c = clockwork(100, 1000, false);
        let mut log = Log::default();
        c.submit(Nanos(0), request(1, 8, 3));
        c.submit(Nanos(0), request(2, 2_000_000, 3));
        assert!(c.abort(1), "still in the front end");
        assert!(!c.abort(1));
        c.advance(Nanos(1_000_000), usize::MAX, &mut log);
        assert!(log.tokens.is_empty());
        assert_eq!(log.refused, [2]);
    }
}
