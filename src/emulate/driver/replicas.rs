//! Data-parallel replicas as `sim` deals them out, against this engine's, which sends each request to the
//! least loaded rank.

use super::super::clockwork::tests::Linear;
use super::super::clockwork::{Clockwork, Sink};
use super::super::noise::Noise;
use super::least_loaded;
use crate::engine::EngineConfig;
use crate::scenario::Key;
use crate::sim::scheduler::{Refusal, SimRequest, TokenEvent};
use crate::sim::{Arrival, KvLayout, SimOptions, StepShape, policy, simulate_replicas};
use crate::units::Nanos;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Notes when each request got its first and its last token.
#[derive(Default)]
struct Watch {
    first: BTreeMap<u64, u64>,
    last: BTreeMap<u64, u64>,
}

impl Sink for Watch {
    fn tokens(&mut self, _: Nanos, at: Nanos, events: &[TokenEvent]) {
        for e in events {
            self.first.entry(e.id).or_insert(at.0);
            if e.finished {
                self.last.insert(e.id, at.0);
            }
        }
    }
    fn refused(&mut self, id: u64, why: Refusal) {
        panic!("request {id} was refused: {why:?}");
    }
    fn admitted(&mut self, _: Nanos, _: u64) {}
    fn step(&mut self, _: Nanos, _: &StepShape) {}
}

fn config() -> EngineConfig {
    EngineConfig { max_num_seqs: 6, max_num_batched_tokens: 512, ..EngineConfig::default() }
}

fn layout() -> KvLayout {
    KvLayout { block_size: 16, blocks: 4000, full_groups: 1, sliding_groups: 0, window: 0 }
}

fn times() -> Linear {
    Linear { host: 1_000_000, base: 8_000_000, per_token: 20_000, front: 1_500_000, out: 700_000 }
}

/// 300 requests of mixed lengths, `gap` apart.
fn requests(gap: u64) -> Vec<Arrival> {
    (0..300_u64)
        .map(|i| Arrival {
            at: Nanos(i * gap),
            request: SimRequest {
                id: i,
                input_tokens: 50 + (i * 37 % 400) as u32,
                output_tokens: 10 + (i * 53 % 90) as u32,
                max_tokens: 10 + (i * 53 % 90) as u32,
                ..SimRequest::default()
            },
            ..Arrival::default()
        })
        .collect()
}

/// (mean TTFT, mean E2E, end) in seconds of the embedded engine's ranks in simulated time.
fn emulated(load: &[Arrival], ranks: usize, in_flight: Option<usize>) -> (f64, f64, f64) {
    let mut ranks: Vec<Clockwork> = (0..ranks)
        .map(|_| {
            let scheduler = policy::build(&config(), &layout(), None);
            Clockwork::new(scheduler, Arc::new(times()), false, Noise::off())
        })
        .collect();
    let mut watch = Watch::default();
    let mut sent: BTreeMap<u64, u64> = BTreeMap::new();
    let mut open = load.iter();
    let mut next = open.next();
    let mut now = 0;
    loop {
        while let Some(a) = next {
            let free = in_flight.is_none_or(|n| sent.len() - watch.last.len() < n);
            if !free || (in_flight.is_none() && a.at.0 > now) {
                break;
            }
            let rank = least_loaded(&ranks);
            ranks[rank].submit(Nanos(now), a.request.clone());
            sent.insert(a.request.id, now);
            next = open.next();
        }
        let event = (0..ranks.len()).filter_map(|i| ranks[i].next_event().map(|at| (at.0, i))).min();
        let arrival = next.filter(|_| in_flight.is_none()).map(|a| a.at.0);
        match (event, arrival) {
            (Some((at, rank)), later) if later.is_none_or(|l| at <= l) => {
                ranks[rank].advance(Nanos(at), 1, &mut watch);
                now = now.max(at);
            }
            (_, Some(at)) => now = now.max(at),
            (None, None) => break,
            (Some(_), None) => unreachable!("an event without a later arrival is taken above"),
        }
    }
    assert_eq!(watch.last.len(), load.len());
    let mean = |to: &BTreeMap<u64, u64>| {
        to.iter().map(|(id, at)| (at - sent[id]) as f64).sum::<f64>() / to.len() as f64 / 1e9
    };
    (mean(&watch.first), mean(&watch.last), *watch.last.values().max().unwrap() as f64 / 1e9)
}

fn simulated(load: &[Arrival], ranks: u32, in_flight: Option<u32>) -> (f64, f64, f64) {
    let options = SimOptions { max_concurrency: in_flight, per_request: true, ..SimOptions::default() };
    let scheduler = || policy::build(&config(), &layout(), None);
    let run = simulate_replicas(load, ranks, &scheduler, &times(), &options);
    let get = |k| run.metrics.get(k).unwrap();
    assert_eq!(run.requests.len(), load.len());
    // Replicas keep the numbers that the requests were sent in.
    let as_sent = run.requests.iter().zip(load).all(|(r, a)| r.input_tokens == a.request.input_tokens);
    assert!(as_sent, "requests are out of order");
    (get(Key::MeanTtftMs) / 1e3, get(Key::MeanE2elMs) / 1e3, get(Key::Duration))
}

#[test]
fn dealing_out_in_turn_is_as_good_as_the_least_loaded_rank() {
    let near = |a: f64, b: f64, share: f64| (a / b - 1.0).abs() < share;
    for ranks in [2_u32, 4] {
        // Overloaded: a queue stands before each rank. Loaded to about two thirds. A closed loop.
        for (gap, in_flight) in [(0, None), (130_000_000 / u64::from(ranks), None), (0, Some(6 * ranks))] {
            let load = requests(gap);
            let e = emulated(&load, ranks as usize, in_flight.map(|n| n as usize));
            let s = simulated(&load, ranks, in_flight);
            let what = format!("{ranks} ranks, gap {gap}, in flight {in_flight:?}: {e:?} against {s:?}");
            assert!(near(s.2, e.2, 0.06) && near(s.1, e.1, 0.08) && near(s.0, e.0, 0.15), "{what}");
        }
    }
}

#[test]
fn more_replicas_than_requests_in_flight_stand_idle() {
    let load = requests(0);
    assert_eq!(simulated(&load, 3, Some(2)).1.to_bits(), simulated(&load, 8, Some(2)).1.to_bits());
}
