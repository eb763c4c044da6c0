//! Whole campaigns with k launches in flight, on the virtual clock: quality of the verdict, wall time, GPU time.
//!
//! `cargo run --release --example landscapes -- side-by-side [NUMBER] [--blind]`
//!
//! A launch takes 1 to 3 minutes to start, by its candidate, and 40 s a run of the defaults, longer or shorter as its throughput
//! is. A launch that fails takes a third of its start. The search itself takes no time on this clock.

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use super::bench::Task;
use super::engine::{Engine, Half, NOISES, Physics, family_of, seed_of};
use super::landscape::Landscape;
use llm_dyno::launch::{Candidate, EngineKind};
use llm_dyno::search::{
    Answer, Ask, Believed, Evaluator, Ledger, Runs, Search, Settings, Stage, Stop, confirm,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What neighbours take from each other: log throughput of every launch that has one.
const DISTURBANCES: [f64; 2] = [0.0, 0.1];

/// A box with room for k launches.
struct Room<'a> {
    engine: Engine<'a>,
    land: &'a Landscape,
    places: usize,
    disturbance: f64,
    wall_s: f64,
    launch_s: f64,
    told: bool,
}

/// What a launch takes on the virtual clock.
pub(crate) fn seconds(land: &Landscape, ask: &Ask, answer: &Answer) -> f64 {
    let set = land.set(&ask.candidate);
    let number = set.iter().fold(17u64, |h, v| h.wrapping_mul(31).wrapping_add(*v as u64));
    let start = 60.0 * 3f64.powf(ChaCha8Rng::seed_from_u64(number).random::<f64>());
    match land.gain(&set) {
        Some(gain) if answer.failure.is_none() => start + f64::from(ask.runs.repeats) * 40.0 * (-gain).exp(),
        _ => start / 3.0,
    }
}

impl Evaluator for Room<'_> {
    fn evaluate(&mut self, ask: &Ask) -> Result<Answer, Stop> {
        Ok(self.evaluate_all(std::slice::from_ref(ask))?.remove(0))
    }
    fn in_flight(&self) -> usize {
        self.places
    }
    fn evaluate_all(&mut self, asks: &[Ask]) -> Result<Vec<Answer>, Stop> {
        if asks.len() > self.places.max(1) {
            // Pessimistic: a place that is free waits for the others.
            let rounds = asks.chunks(self.places.max(1)).map(|round| self.evaluate_all(round));
            return Ok(rounds.collect::<Result<Vec<_>, Stop>>()?.concat());
        }
        let mut longest: f64 = 0.0;
        let mut answers = Vec::new();
        for ask in asks {
            let mut answer = self.engine.evaluate(ask)?;
            let lost = if asks.len() > 1 { self.disturbance } else { 0.0 };
            answer.samples.iter_mut().for_each(|s| s.score -= lost);
            let seconds = seconds(self.land, ask, &answer);
            longest = longest.max(seconds);
            self.launch_s += seconds;
            answers.push(answer);
        }
        self.wall_s += longest;
        Ok(answers)
    }
    fn neighbours(&mut self, _asks: &[Ask], _by: Option<f64>, disturbed: bool) {
        if disturbed {
            (self.places, self.told) = (1, true);
        }
    }
    fn affordable(&self) -> bool {
        self.engine.affordable()
    }
}

/// What one campaign gave and took.
struct Ran {
    regret: f64,
    confirmed: bool,
    launches: usize,
    wall_s: f64,
    launch_s: f64,
    told: bool,
}

fn campaign(task: &Task, places: usize, disturbance: f64) -> Ran {
    let (land, seed) = (&task.land, task.seed);
    let engine = Engine::new(land, NOISES[0].1, seed, 10_000);
    let mut room = Room { engine, land, places, disturbance, wall_s: 0.0, launch_s: 0.0, told: false };
    let base = Candidate::baseline(EngineKind::Emulated);
    let settings = Settings { seed, ..Settings::default() };
    let mut ledger = Ledger::default();
    for launch in 0..2 {
        let ask = Ask { stage: Stage::Baseline, candidate: base.clone(), launch, runs: Runs::primary(0, 3) };
        ledger.run(&mut room, &ask).unwrap();
    }
    let mut search =
        Search { evaluator: &mut room, space: land, base: &base, ledger: &mut ledger, settings: &settings };
    let (winner, _) = search.guided(&mut Physics(land)).unwrap();
    let compared = confirm(&mut room, &base, &winner, Believed::default(), &settings).unwrap();
    Ran {
        regret: 1.0 - (land.gain(&land.set(&winner)).unwrap_or(0.0) - task.best).exp(),
        confirmed: compared.is_some_and(|c| c.significant && c.gain.value > 0.0),
        launches: room.engine.launches,
        wall_s: room.wall_s,
        launch_s: room.launch_s,
        told: room.told,
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
    println!(
        "| neighbours take | in flight | regret, median | mean | confirmed | launches | wall time | against 1 | GPU time | against 1 | \
         found to disturb |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    );
    for disturbance in DISTURBANCES {
        let mut alone: Option<(f64, f64)> = None;
        for places in [1, 2, 4, 8] {
            let runs: Vec<Ran> = tasks.iter().map(|t| campaign(t, places, disturbance)).collect();
            let n = runs.len().max(1) as f64;
            let mean = |of: fn(&Ran) -> f64| runs.iter().map(of).sum::<f64>() / n;
            let mut regrets: Vec<f64> = runs.iter().map(|r| r.regret).collect();
            regrets.sort_by(f64::total_cmp);
            let (wall, gpu) = (mean(|r| r.wall_s), mean(|r| r.launch_s));
            let (wall_1, gpu_1) = *alone.get_or_insert((wall, gpu));
            println!(
                "| {:.0} % | {places} | {:.1} % | {:.1} % | {} of {} | {:.1} | {:.0} min | {:.2} | {:.0} min | {:.2} | {} |",
                100.0 * (1.0 - (-disturbance).exp()),
                100.0 * llm_dyno::stats::quantile_sorted(&regrets, 0.5),
                100.0 * mean(|r| r.regret),
                runs.iter().filter(|r| r.confirmed).count(),
                runs.len(),
                mean(|r| r.launches as f64),
                wall / 60.0,
                wall / wall_1,
                gpu / 60.0,
                gpu / gpu_1,
                runs.iter().filter(|r| r.told).count(),
            );
        }
    }
}
