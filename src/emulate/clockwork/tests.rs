//! The clockwork by itself, and against the simulator.

use super::*;
use crate::cost::{Coefficients, Physical};
use crate::engine::EngineConfig;
use crate::launch::EngineKind;
use crate::sim::StepCost;
use crate::sim::scheduler::Step;
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
        StepCost { host: self.host, device: self.base + self.per_token * u64::from(s.tokens()), launch: 0 }
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
                out.push(TokenEvent { id, index: *done, tokens: 1, finished: *done == r.output_tokens });
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
    SimRequest { id, input_tokens: input, output_tokens: output, max_tokens: output, ..Default::default() }
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

/// The clockwork against the simulator: same refusals, same first and last tokens to the nanosecond.
fn equals_the_simulator(
    load: &[(u64, u32, u32)],
    config: &EngineConfig,
    layout: &KvLayout,
    times: Arc<dyn StepTime>,
    lead: u64,
) {
    let arrivals: Vec<Arrival> = load
        .iter()
        .map(|(at, input, output)| Arrival {
            at: Nanos(*at),
            request: request(0, *input, *output),
            ..Arrival::default()
        })
        .collect();
    let options = SimOptions { overlap: config.overlap, per_request: true, ..SimOptions::default() };
    let mut scheduler = policy::build(config, layout, times.window());
    let expected = simulate(arrivals, scheduler.as_mut(), times.as_ref(), &options);

    let scheduler = policy::build(config, layout, times.window());
    let mut c = Clockwork::new(scheduler, times, config.overlap, Noise::off());
    c.set_lead(lead);
    let mut log = Log::default();
    for (id, (at, input, output)) in load.iter().enumerate() {
        c.advance(Nanos(at.saturating_sub(1)), usize::MAX, &mut log);
        c.submit(Nanos(*at), request(id as u64, *input, *output));
    }
    c.advance(Nanos::MAX, usize::MAX, &mut log);
    for (id, o) in expected.requests.iter().enumerate() {
        let mine = || log.tokens.iter().filter(|(_, e)| e.id == id as u64);
        assert_eq!(mine().count() as u32, if o.failed { 0 } else { o.output_tokens });
        if !o.failed {
            assert_eq!(Nanos(mine().map(|(t, _)| *t).min().unwrap()), o.first_token, "first of {id}");
            assert_eq!(Nanos(mine().map(|(t, _)| *t).max().unwrap()), o.finished, "last of {id}");
        }
    }
}

/// The step times of a launch as the cost model gives them.
fn real_times(hardware: &str, model: &str, config: &EngineConfig) -> Arc<dyn StepTime> {
    let hardware = crate::hardware::Catalog::load(None).unwrap().find(hardware).unwrap().clone();
    let model = crate::model::Catalog::load(None).unwrap().find(model).unwrap();
    Arc::new(Physical::new(&hardware, &model, config, &Coefficients::default()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_clockwork_is_the_simulator_to_the_nanosecond(
        mut load in proptest::collection::vec((0u64..40_000_000, 1u32..600, 1u32..40), 1..40),
        overlap: bool,
        blocks in 60u64..400,
        host in 1u64..3_000_000,
        lead in 0u64..20_000,
    ) {
        let config =
            EngineConfig { max_num_seqs: 8, max_num_batched_tokens: 256, overlap, ..EngineConfig::default() };
        let times = Linear { host, base: 1_000_003, per_token: 1009, front: 70_001, out: 50_021 };
        load.sort_unstable();
        equals_the_simulator(&load, &config, &KvLayout::dense(16, blocks), Arc::new(times), lead);
    }

    #[test]
    fn so_it_is_for_the_cost_models_of_every_engine_and_of_a_host_without_gpu(
        mut load in proptest::collection::vec((0u64..900_000_000, 1u32..600, 1u32..40), 1..60),
        engine in prop::sample::select(EngineKind::ALL.to_vec()),
        hardware in prop::sample::select(vec!["a100-sxm-80gb", "h100-sxm-80gb", "cpu"]),
        overlap: bool,
        one_process: bool,
        together: bool,
    ) {
        let config = EngineConfig {
            engine,
            max_num_seqs: 24,
            max_num_batched_tokens: 512,
            chunk_tokens: if engine == EngineKind::Sglang { 512 } else { 0 },
            overlap,
            shared_frontend: one_process,
            ..EngineConfig::default()
        };
        if together {
            // A burst, then another one while the first is in the front end.
            for (i, (at, ..)) in load.iter_mut().enumerate() {
                *at = if i % 3 == 0 { 2_000_000 } else { 0 };
            }
        }
        load.sort_unstable();
        let times = real_times(hardware, "openai/gpt-oss-20b", &config);
        equals_the_simulator(&load, &config, &KvLayout::dense(16, 300), times, 900);
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
