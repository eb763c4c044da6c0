//! Whole campaigns on a cluster of many nodes, on the virtual clock: trials that are lost, stragglers, one slow node.
//!
//! `cargo run --release --example landscapes -- fleet [NUMBER] [--blind]`
//!
//! A launch takes the time that it takes in `side-by-side`. It is placed on any free node, drawn; a lost one ends after a
//! drawn part of its time, and runs again on any node when the launches beside it have ended. A straggler takes three times as long, from its start to its end, and
//! measures what it would have measured anyway.

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use super::bench::Task;
use super::engine::{Engine, Half, NOISES, Noise, Physics, family_of, seed_of};
use super::landscape::Landscape;
use super::side_by_side::seconds;
use llm_dyno::launch::{Candidate, EngineKind};
use llm_dyno::search::{
    Answer, Ask, Believed, Evaluator, Ledger, NodeStanding, Nodes, Runs, Search, Settings, Stage, Stop,
    confirm,
};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;

/// What goes wrong on a cluster.
#[derive(Debug, Clone, Copy)]
struct Weather {
    nodes: usize,
    /// Chance that a trial is lost.
    lost: f64,
    /// Chance that a trial takes three times as long.
    straggles: f64,
    /// Log throughput that one of the nodes lacks.
    slow: f64,
    /// Added to the seed of the search: other draws in choosing launches, the same noise.
    draws: u64,
}

const STRAGGLER: f64 = 3.0;

/// Launches noise by a quiet machine's habit: see `NOISES` for the usual one.
const QUIET: Noise = Noise { launch: 0.003, run: 0.002, drift: 0.0 };

struct Fleet<'a> {
    noise: Noise,
    seed: u64,
    launches: usize,
    land: &'a Landscape,
    weather: Weather,
    slow: usize,
    rng: ChaCha8Rng,
    known: Nodes,
    base: Candidate,
    settings: &'a Settings,
    wall_s: f64,
    launch_s: f64,
    lost: usize,
    /// Launches whose result was not compared and that were made again elsewhere.
    again: usize,
}

impl Fleet<'_> {
    /// A free node that is not refused.
    fn place(&mut self, taken: &BTreeSet<usize>) -> usize {
        let refused: BTreeSet<String> = self.known.refused().map(|s| s.node.clone()).collect();
        let free: Vec<usize> = (0..self.weather.nodes)
            .filter(|n| !taken.contains(n) && !refused.contains(&n.to_string()))
            .collect();
        *free.choose(&mut self.rng).expect("more nodes than launches")
    }

    /// What the launch gives on an equal node. Its noise is its own, whatever went before: with nothing wrong and with all of it
    /// wrong the same launches measure the same.
    fn measured(&self, ask: &Ask) -> Result<Answer, Stop> {
        let words = format!("{:?} {} {}", ask.stage, ask.candidate.label(), ask.launch);
        let own =
            words.bytes().fold(self.seed, |h, b| h.wrapping_mul(1_099_511_628_211).wrapping_add(b.into()));
        Engine::new(self.land, self.noise, own, usize::MAX).evaluate(ask)
    }

    /// One launch on a node that is free: the node, how long it took, and what it gave where it was not lost.
    fn made(&mut self, ask: &Ask, taken: &mut BTreeSet<usize>) -> Result<(usize, f64, Option<Answer>), Stop> {
        let node = self.place(taken);
        taken.insert(node);
        self.launches += 1;
        let mut answer = self.measured(ask)?;
        if node == self.slow {
            answer.samples.iter_mut().for_each(|s| s.score -= self.weather.slow);
        }
        let mut s = seconds(self.land, ask, &answer);
        if self.rng.random::<f64>() < self.weather.straggles {
            s *= STRAGGLER;
        }
        if self.rng.random::<f64>() < self.weather.lost {
            // Nobody blames the candidate, and nothing is booked.
            self.lost += 1;
            return Ok((node, s * self.rng.random::<f64>(), None));
        }
        Ok((node, s, Some(answer)))
    }

    /// Launches at once, each on a node of its own; nothing for one whose node is refused.
    fn together(&mut self, asks: &[Ask]) -> Result<Vec<Option<Answer>>, Stop> {
        let mut made: Vec<Option<(String, Answer)>> = vec![None; asks.len()];
        // Lost launches run again once the others have ended.
        while made.iter().any(Option::is_none) {
            let (mut taken, mut longest) = (BTreeSet::new(), 0.0f64);
            for (ask, made) in asks.iter().zip(&mut made).filter(|(_, m)| m.is_none()) {
                let (node, took, answer) = self.made(ask, &mut taken)?;
                self.launch_s += took;
                longest = longest.max(took);
                *made = answer.map(|answer| (node.to_string(), answer));
            }
            self.wall_s += longest;
        }
        let made: Vec<(String, Answer)> = made.into_iter().flatten().collect();
        for (ask, (node, answer)) in asks.iter().zip(&made) {
            if ask.candidate == self.base {
                self.known.launched(node, &ask.candidate, answer);
            }
        }
        self.known.judge(self.settings);
        Ok(made.into_iter().map(|(node, answer)| self.known.corrected(&node, answer)).collect())
    }
}

impl Evaluator for Fleet<'_> {
    fn evaluate(&mut self, ask: &Ask) -> Result<Answer, Stop> {
        Ok(self.evaluate_all(std::slice::from_ref(ask))?.remove(0))
    }
    fn in_flight(&self) -> usize {
        self.weather.nodes - self.known.refused().count()
    }
    fn evaluate_all(&mut self, asks: &[Ask]) -> Result<Vec<Answer>, Stop> {
        let mut answers = Vec::new();
        // Pessimistic: a node that is free waits for the others.
        for round in asks.chunks(self.in_flight().max(1)) {
            answers.extend(self.together(round)?);
        }
        while let Some(at) = answers.iter().position(Option::is_none) {
            self.again += 1;
            answers[at] = self.together(std::slice::from_ref(&asks[at]))?.remove(0);
        }
        Ok(answers.into_iter().flatten().collect())
    }
    fn neighbours_known(&self) -> bool {
        true
    }
    fn affordable(&self) -> bool {
        true
    }
}

/// What one campaign gave and took.
struct Ran {
    winner: Candidate,
    gain: f64,
    best: f64,
    confirmed: bool,
    /// The slow node is told from the others, and how.
    slow: NodeStanding,
    /// Other nodes that are.
    blamed: usize,
    launches: usize,
    lost: usize,
    again: usize,
    wall_s: f64,
    launch_s: f64,
}

fn campaign(task: &Task, noise: Noise, weather: Weather) -> Ran {
    let (land, seed) = (&task.land, task.seed);
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xf1ee7);
    let settings = Settings { seed: seed + weather.draws, ..Settings::default() };
    let mut fleet = Fleet {
        noise,
        seed,
        launches: 0,
        land,
        weather,
        slow: rng.random_range(0..weather.nodes),
        rng,
        known: Nodes::default(),
        base: Candidate::baseline(EngineKind::Emulated),
        settings: &settings,
        wall_s: 0.0,
        launch_s: 0.0,
        lost: 0,
        again: 0,
    };
    let base = fleet.base.clone();
    let mut ledger = Ledger::default();
    // The defaults on every node, twice at least.
    let number = weather.nodes.max(2) as u32;
    let asks: Vec<Ask> = (0..number)
        .map(|launch| Ask {
            stage: Stage::Baseline,
            candidate: base.clone(),
            launch,
            runs: Runs::primary(0, 3),
        })
        .collect();
    for together in asks.chunks(weather.nodes) {
        for answer in fleet.together(together).unwrap().into_iter().flatten() {
            ledger.book(Stage::Baseline, &base, &answer);
        }
    }
    let mut search =
        Search { evaluator: &mut fleet, space: land, base: &base, ledger: &mut ledger, settings: &settings };
    let (winner, _) = search.guided(&mut Physics(land)).unwrap();
    let compared = confirm(&mut fleet, &base, &winner, Believed::default(), &settings).unwrap();
    let slow = fleet.slow.to_string();
    let blamed = |s: &&llm_dyno::search::NodeSpeed| s.standing != NodeStanding::Equal && s.node != slow;
    Ran {
        gain: land.gain(&land.set(&winner)).unwrap_or(0.0),
        winner,
        best: task.best,
        confirmed: compared.is_some_and(|c| c.significant && c.gain.value > 0.0),
        slow: fleet.known.standing(&slow),
        blamed: fleet.known.speeds().iter().filter(blamed).count(),
        launches: fleet.launches,
        lost: fleet.lost,
        again: fleet.again,
        wall_s: fleet.wall_s,
        launch_s: fleet.launch_s,
    }
}

pub(crate) fn main(args: &[String]) {
    let number: u64 = args.iter().find_map(|a| a.parse().ok()).unwrap_or(20);
    let half = Half::of(args);
    let task = |n: u64| {
        let land = Landscape::new(family_of(n), seed_of(n, half));
        Task { best: land.best().1, land, seed: seed_of(n, half) }
    };
    let tasks: Vec<Task> = (0..number).map(task).collect();
    let calm = Weather { nodes: 1, lost: 0.0, straggles: 0.0, slow: 0.0, draws: 0 };
    let many = Weather { nodes: 64, ..calm };
    let rough = Weather { lost: 0.02, straggles: 0.05, slow: -(0.93_f64.ln()), ..many };
    let cases = [
        ("one node", calm),
        ("64 nodes, nothing wrong", many),
        ("the same, other draws of the search", Weather { draws: 7919, ..many }),
        ("64 nodes, all of it wrong", rough),
    ];
    println!(
        "| noise of a launch | cluster | regret, median | mean | confirmed | same command as with nothing wrong | within 1 % of its gain | slow node corrected | refused | not seen | others blamed | \
         launches | lost, made again | set aside, made again | wall time | GPU time |\n\
         |--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    );
    for (name, noise) in [("1 %", NOISES[0].1), ("0.3 %", QUIET)] {
        let mut quiet: Vec<Ran> = Vec::new();
        for (cluster, weather) in cases {
            let runs: Vec<Ran> = tasks.iter().map(|t| campaign(t, noise, weather)).collect();
            print(name, cluster, weather, &runs, &quiet);
            if weather.slow == 0.0 && weather.draws == 0 {
                quiet = runs;
            }
        }
    }
}

fn print(noise: &str, cluster: &str, weather: Weather, runs: &[Ran], calm: &[Ran]) {
    let n = runs.len().max(1) as f64;
    let mean = |of: fn(&Ran) -> f64| runs.iter().map(of).sum::<f64>() / n;
    let mut regrets: Vec<f64> = runs.iter().map(|r| 1.0 - (r.gain - r.best).exp()).collect();
    regrets.sort_by(f64::total_cmp);
    let stands = |s: NodeStanding| {
        let count = runs.iter().filter(|r| r.slow == s).count();
        if weather.slow > 0.0 { count.to_string() } else { "-".to_owned() }
    };
    let same = |(a, b): (&Ran, &Ran)| a.winner == b.winner && a.confirmed == b.confirmed;
    let near = |(a, b): (&Ran, &Ran)| (a.gain - b.gain).abs() < 0.01 && a.confirmed == b.confirmed;
    let against = |holds: &dyn Fn((&Ran, &Ran)) -> bool| {
        let count = runs.iter().zip(calm).filter(|pair| holds(*pair)).count();
        if weather.slow > 0.0 || weather.draws > 0 { format!("{count}") } else { "-".to_owned() }
    };
    println!(
        "| {noise} | {cluster} | {:.1} % | {:.1} % | {} of {} | {} | {} | {} | {} | {} | {} | {:.1} | {} | {} | {:.0} min | {:.0} min |",
        100.0 * llm_dyno::stats::quantile_sorted(&regrets, 0.5),
        100.0 * llm_dyno::stats::mean(&regrets),
        runs.iter().filter(|r| r.confirmed).count(),
        runs.len(),
        against(&same),
        against(&near),
        stands(NodeStanding::Corrected),
        stands(NodeStanding::Refused),
        stands(NodeStanding::Equal),
        runs.iter().map(|r| r.blamed).sum::<usize>(),
        mean(|r| r.launches as f64),
        runs.iter().map(|r| r.lost).sum::<usize>(),
        runs.iter().map(|r| r.again).sum::<usize>(),
        mean(|r| r.wall_s) / 60.0,
        mean(|r| r.launch_s) / 60.0,
    );
}
