//! Several replicas behind a router: one client, engines side by side in one simulated time.
//!
//! The router sees a request when the client sends it, and knows what it has routed and what has ended. An engine
//! runs ahead only as far as nothing can be routed to it: to the next send, and where ends of requests bring new
//! ones (closed loops, sessions) to the next event of any engine.

use super::client::{Arrival, Client, Sends};
use super::driver::{SimOptions, Simulation};
use super::engine_loop::EngineLoop;
use super::result::SimResult;
use super::scheduler::{Scheduler, SimRequest};
use super::step::StepTime;
use super::totals::RunTotals;
use crate::units::Nanos;
use std::collections::{HashMap, VecDeque};

/// How the router chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// In turn.
    RoundRobin,
    /// The replica with the fewest requests routed to it that have not ended.
    LeastLoaded,
    /// The replica with the least work by blocks of prompts: those to compute beyond what its prefix cache holds,
    /// plus those of the requests that it has (the cost of NVIDIA Dynamo's router with weight 1).
    PrefixAware,
}

/// What the router has handed to one replica.
struct Feed {
    inbox: VecDeque<(Nanos, usize, SimRequest)>,
    /// (number, when it ended, whether well), not yet told to the client.
    ended: Vec<(usize, Nanos, bool)>,
    horizon: Nanos,
}

impl Sends for Feed {
    fn next_send(&mut self) -> Option<Nanos> {
        self.inbox.front().map(|&(at, ..)| at)
    }
    fn next_input_tokens(&self) -> u32 {
        self.inbox.front().map_or(0, |(.., r)| r.input_tokens)
    }
    fn send(&mut self) -> Option<(usize, SimRequest)> {
        self.inbox.pop_front().map(|(_, number, request)| (number, request))
    }
    fn ended(&mut self, number: usize, at: Nanos) {
        self.ended.push((number, at, true));
    }
    fn failed(&mut self, number: usize, at: Nanos) {
        self.ended.push((number, at, false));
    }
    fn is_bounded(&self) -> bool {
        false
    }
    fn horizon(&self) -> Nanos {
        self.horizon
    }
}

/// One replica with its statistics.
struct Replica<'a, T: ?Sized> {
    engine: EngineLoop<Box<dyn Scheduler>, &'a T>,
    world: Simulation<'a, Feed>,
    requests: u32,
    /// Prompt blocks of its requests.
    blocks: u64,
}

impl<T: StepTime + ?Sized> Replica<'_, T> {
    fn next_turn(&self) -> Option<Nanos> {
        let next = self.world.client.inbox.front();
        self.engine.next_turn(next.map(|(at, _, r)| (*at, r.input_tokens)))
    }

    /// Takes the next turn; steps in which nothing happens are passed up to `horizon`.
    fn turn(&mut self, horizon: Nanos) {
        self.world.client.horizon = horizon;
        let engine = &mut self.engine;
        if !engine.waits && engine.pipeline.has_room() {
            engine.intake(&mut self.world);
            if engine.fast_forward(&mut self.world, horizon) {
                return;
            }
        }
        engine.turn(&mut self.world);
    }
}

struct Router<'a, T: ?Sized> {
    routing: Routing,
    replicas: Vec<Replica<'a, T>>,
    next: usize,
    block_size: u32,
    /// Replica and prompt blocks of every request under way.
    routed: HashMap<usize, (usize, u64)>,
}

impl<T: StepTime + ?Sized> Router<'_, T> {
    fn choose(&mut self, request: &SimRequest) -> usize {
        let all = self.replicas.iter().enumerate();
        let chosen = match self.routing {
            Routing::RoundRobin => {
                self.next += 1;
                Some((self.next - 1) % self.replicas.len())
            }
            Routing::LeastLoaded => all.min_by_key(|(_, r)| r.requests).map(|(k, _)| k),
            Routing::PrefixAware => {
                let blocks = self.blocks(request);
                let cost = |r: &Replica<T>| {
                    let cached = u64::from(r.engine.scheduler.cached_blocks(&request.block_hashes));
                    blocks.saturating_sub(cached) + r.blocks
                };
                all.min_by_key(|(_, r)| (cost(r), r.requests)).map(|(k, _)| k)
            }
        };
        chosen.unwrap_or(0)
    }

    fn blocks(&self, request: &SimRequest) -> u64 {
        u64::from(request.input_tokens.div_ceil(self.block_size))
    }

    fn route(&mut self, at: Nanos, number: usize, request: SimRequest) {
        let k = self.choose(&request);
        let blocks = self.blocks(&request);
        let replica = &mut self.replicas[k];
        replica.requests += 1;
        replica.blocks += blocks;
        replica.world.client.inbox.push_back((at, number, request));
        self.routed.insert(number, (k, blocks));
    }

    /// Tells the client what has ended on a replica.
    fn collect<C: Sends>(&mut self, k: usize, client: &mut C) {
        for (number, at, well) in std::mem::take(&mut self.replicas[k].world.client.ended) {
            if let Some((k, blocks)) = self.routed.remove(&number) {
                self.replicas[k].requests -= 1;
                self.replicas[k].blocks -= blocks;
            }
            if well {
                client.ended(number, at);
            } else {
                client.failed(number, at);
            }
        }
    }

    /// The replica whose turn is next, when, and when that of another one is.
    fn next_turn(&self) -> Option<(usize, Nanos, Nanos)> {
        let mut first: Option<(usize, Nanos)> = None;
        let mut second = Nanos::MAX;
        for (k, at) in self.replicas.iter().enumerate().filter_map(|(k, r)| Some((k, r.next_turn()?))) {
            match first {
                Some((_, best)) if at >= best => second = second.min(at),
                _ => {
                    second = first.map_or(second, |(_, best)| best);
                    first = Some((k, at));
                }
            }
        }
        first.map(|(k, at)| (k, at, second))
    }

    fn run<I>(&mut self, client: &mut Client<I>)
    where
        I: Iterator,
        I::Item: Into<Arrival>,
    {
        loop {
            let send = client.next_send();
            let turn = self.next_turn();
            // A turn at the time of a send takes that request in.
            match (send, turn) {
                (Some(at), turn) if turn.is_none_or(|(_, turn, _)| at <= turn) => {
                    let Some((number, request)) = client.send() else { return };
                    self.route(at, number, request);
                }
                (send, Some((k, at, others))) => {
                    let mut horizon = send.unwrap_or(Nanos::MAX);
                    if client.reacts() {
                        horizon = horizon.min(others.max(at + Nanos(1)));
                    }
                    self.replicas[k].turn(horizon);
                    self.collect(k, client);
                }
                _ => return,
            }
        }
    }
}

/// Equal engines behind one router.
#[derive(Debug, Clone, Copy)]
pub struct Fleet {
    pub replicas: u32,
    pub routing: Routing,
    /// Block size of the KV cache in tokens, by which a prefix-aware router counts what an engine holds.
    pub block_size: u32,
}

/// Runs `requests` (arrivals ascending) through a fleet of engines. [`SimOptions::max_concurrency`] is the client's own,
/// over all replicas.
pub fn simulate_routed<T>(
    requests: &[Arrival],
    fleet: Fleet,
    scheduler: &dyn Fn() -> Box<dyn Scheduler>,
    time: &T,
    options: &SimOptions,
) -> SimResult
where
    T: StepTime + ?Sized,
{
    let replicas = fleet.replicas.max(1);
    let one = |_| {
        let scheduler = scheduler();
        let feed = Feed { inbox: VecDeque::new(), ended: Vec::new(), horizon: Nanos::MAX };
        let world = Simulation::new(feed, scheduler.as_ref(), options);
        let engine = EngineLoop::new(scheduler, time, options.overlap, options.frontend_from);
        Replica { engine, world, requests: 0, blocks: 0 }
    };
    let mut router = Router {
        routing: fleet.routing,
        replicas: (0..replicas).map(one).collect(),
        next: 0,
        block_size: fleet.block_size.max(1),
        routed: HashMap::new(),
    };
    let mut client = Client::new(requests.iter().cloned(), options.max_concurrency);
    router.run(&mut client);
    let ends = router.replicas.into_iter().map(|r| r.world.finish(&r.engine));
    let all = ends.reduce(|mut sum: RunTotals, one| {
        sum.merge(one);
        sum
    });
    let Some(mut all) = all else { return SimResult::default() };
    all.breakdown.average(u64::from(replicas));
    all.result()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineConfig;
    use crate::scenario::Key;
    use crate::sim::client::FollowUp;
    use crate::sim::{KvLayout, StepCost, StepShape, policy, simulate};

    struct Affine;

    impl StepTime for Affine {
        fn step(&self, s: &StepShape) -> StepCost {
            StepCost { device: 4_000_003 + 20_011 * u64::from(s.tokens()), host: 300_007, launch: 0 }
        }
        fn frontend(&self, _: u32) -> u64 {
            200_003
        }
        fn emit(&self, _: u32) -> u64 {
            50_021
        }
        fn window(&self) -> Option<u32> {
            None
        }
    }

    fn request(i: u64, prefix: u64) -> SimRequest {
        let output_tokens = 10 + (i * 53 % 60) as u32;
        SimRequest {
            input_tokens: 320 + (i * 37 % 100) as u32,
            output_tokens,
            max_tokens: output_tokens,
            block_hashes: (0..20).map(|b| (prefix + 1) * 1000 + b).collect(),
            ..SimRequest::default()
        }
    }

    /// 200 requests, each beginning with one of twelve prefixes, `gap` apart; every fifth has a second turn.
    fn load(gap: u64) -> Vec<Arrival> {
        (0..200)
            .map(|i| {
                let turn = || FollowUp { think: Nanos(20_000_000), request: request(i + 7, i * 7 % 12) };
                Arrival {
                    at: Nanos(i * gap),
                    request: request(i, i * 7 % 12),
                    follow_ups: (i % 5 == 0).then(turn).into_iter().collect(),
                }
            })
            .collect()
    }

    fn config() -> EngineConfig {
        EngineConfig { max_num_seqs: 8, max_num_batched_tokens: 512, ..EngineConfig::default() }
    }

    fn routed(load: &[Arrival], replicas: u32, routing: Routing, options: &SimOptions) -> SimResult {
        let layout = KvLayout::dense(16, 260);
        let scheduler = || policy::build(&config(), &layout, None);
        simulate_routed(load, Fleet { replicas, routing, block_size: 16 }, &scheduler, &Affine, options)
    }

    #[test]
    fn one_replica_is_the_simulator_and_fast_forward_changes_nothing() {
        for max_concurrency in [None, Some(6)] {
            let options = SimOptions { max_concurrency, per_request: true, ..SimOptions::default() };
            let stepping = SimOptions { fast_forward: false, ..options.clone() };
            let layout = KvLayout::dense(16, 260);
            let mut scheduler = policy::build(&config(), &layout, None);
            let alone = simulate(load(30_000_000), scheduler.as_mut(), &Affine, &options);
            let one = routed(&load(30_000_000), 1, Routing::PrefixAware, &options);
            assert_eq!(one.requests, alone.requests);
            assert_eq!(one.metrics, alone.metrics);
            for routing in [Routing::RoundRobin, Routing::LeastLoaded, Routing::PrefixAware] {
                let jumped = routed(&load(9_000_000), 3, routing, &options);
                assert_eq!(jumped, routed(&load(9_000_000), 3, routing, &stepping), "{routing:?}");
                assert_eq!(jumped.metrics.get(Key::Completed), Some(240.0));
            }
        }
    }

    #[test]
    fn a_prefix_aware_router_finds_more_in_the_caches_and_least_loaded_keeps_the_replicas_level() {
        let run = |routing| routed(&load(9_000_000), 3, routing, &SimOptions::default());
        let (turns, level, aware) =
            (run(Routing::RoundRobin), run(Routing::LeastLoaded), run(Routing::PrefixAware));
        let hits = |r: &SimResult| r.breakdown.prefix_hits as f64 / r.breakdown.prefix_queries as f64;
        assert!(hits(&aware) > hits(&turns) + 0.1, "{} and {}", hits(&aware), hits(&turns));
        let ttft = |r: &SimResult| r.metrics.get(Key::MeanTtftMs).unwrap();
        assert!(ttft(&level) <= ttft(&turns), "{} and {}", ttft(&level), ttft(&turns));
        assert!(ttft(&aware) < ttft(&turns), "{} and {}", ttft(&aware), ttft(&turns));
    }
}
