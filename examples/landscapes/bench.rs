//! One search on one landscape, and what is true of its result.

use super::engine::{Engine, Noise, Physics};
use super::landscape::Landscape;
use llm_dyno::launch::{Candidate, EngineKind};
use llm_dyno::search::additive::NOISE_BEFORE;
use llm_dyno::search::{
    Ask, Believed, Estimates, Forecaster, Ledger, NoForecast, Runs, Search, Settings, SpaceOutcome, Stage,
    confirm, singles,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Guided,
    NoPhysics,
    OneFactor,
    Random,
    Grid,
}

pub(crate) const METHODS: [Method; 5] =
    [Method::Guided, Method::NoPhysics, Method::OneFactor, Method::Random, Method::Grid];

impl Method {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Method::Guided => "dyno",
            Method::NoPhysics => "dyno without physics",
            Method::OneFactor => "one factor",
            Method::Random => "random",
            Method::Grid => "grid",
        }
    }
}

/// A landscape with its best gain.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) land: Landscape,
    pub(crate) best: f64,
    pub(crate) seed: u64,
}

/// So many of so many.
pub(crate) type Share = (usize, usize);

#[derive(Debug, Default, Clone)]
pub(crate) struct Run {
    pub(crate) regret: f64,
    pub(crate) launches: usize,
    pub(crate) failures: usize,
    /// Intervals that hold the truth.
    pub(crate) covered: Share,
    /// Widths of the intervals, summed.
    pub(crate) width: f64,
    /// "Significant" flags without effect.
    pub(crate) significant: Share,
    /// Recommended flags without effect.
    pub(crate) useless: Share,
    /// Values held for proven to fail, and such that are only suspected, that start in truth.
    pub(crate) blamed: Share,
    pub(crate) suspected: Share,
    pub(crate) base: bool,
    pub(crate) label: String,
    /// Of methods that a campaign's confirmation follows.
    pub(crate) written: Option<Written>,
}

/// The command that a campaign writes: the winner where the confirmation bears it out, else the defaults.
#[derive(Debug, Default, Clone)]
pub(crate) struct Written {
    pub(crate) confirmed: bool,
    pub(crate) regret: f64,
    pub(crate) useless: Share,
}

pub(crate) fn search(task: &Task, noise: Noise, most: usize, method: Method) -> Run {
    let (land, seed) = (&task.land, task.seed);
    let mut ev = Engine::new(land, noise, seed, most);
    let base = Candidate::baseline(EngineKind::Emulated);
    let settings = Settings { seed, ..Settings::default() };
    let mut ledger = baselines(&mut ev, &base);
    let (mut physics, mut nothing) = (Physics(land), NoForecast);
    let forecaster: Option<&mut dyn Forecaster> = match method {
        Method::Guided => Some(&mut physics),
        Method::NoPhysics => Some(&mut nothing),
        _ => None,
    };
    let mut s =
        Search { evaluator: &mut ev, space: land, base: &base, ledger: &mut ledger, settings: &settings };
    let mut run = Run::default();
    let mut noise_known = None;
    let winner = match (forecaster, method) {
        (Some(forecaster), _) => {
            let (winner, outcome) = s.guided(forecaster).unwrap();
            trace(land, &winner, &outcome);
            let estimates = s.estimates(forecaster, &winner);
            run.judge(land, &winner, &estimates, &outcome);
            noise_known = Some(estimates.sigma);
            winner
        }
        (None, Method::OneFactor) => s.one_factor().unwrap(),
        (None, _) => enumerate(&mut s, land, seed, method),
    };
    run.base = winner == base;
    run.label = winner.label();
    run.regret = 1.0 - (land.gain(&land.set(&winner)).unwrap_or(0.0) - task.best).exp();
    (run.launches, run.failures) = (ev.launches, ev.failures);
    if let Some(sigma) = noise_known {
        let known = ledger.noise().launch.map_or(0.0, |n| n.1) + NOISE_BEFORE.1;
        run.written = Some(written(task, &mut ev, &winner, (sigma, known), &run));
    }
    run
}

fn baselines(ev: &mut Engine<'_>, base: &Candidate) -> Ledger {
    let mut ledger = Ledger::default();
    for launch in 0..2 {
        let ask = Ask { stage: Stage::Baseline, candidate: base.clone(), launch, runs: Runs::primary(0, 3) };
        ledger.run(ev, &ask).unwrap();
    }
    ledger
}

/// What the campaign does with a winner: it is held against the defaults in launches of its own, beyond the search's budget.
fn written(task: &Task, ev: &mut Engine<'_>, winner: &Candidate, noise: (f64, f64), run: &Run) -> Written {
    let base = Candidate::baseline(EngineKind::Emulated);
    let settings = Settings { seed: task.seed, ..Settings::default() };
    let compared = if *winner == base {
        None
    } else {
        confirm(ev, &base, winner, Believed { gain: 0.0, noise: Some(noise) }, &settings).unwrap()
    };
    if compared.is_some_and(|c| c.significant && c.gain.value > 0.0) {
        Written { confirmed: true, regret: run.regret, useless: run.useless }
    } else {
        Written { confirmed: false, regret: 1.0 - (-task.best).exp(), useless: (0, 0) }
    }
}

impl Run {
    fn judge(&mut self, land: &Landscape, winner: &Candidate, e: &Estimates, outcome: &SpaceOutcome) {
        let gain = |c: &Candidate| land.gain(&land.set(c));
        let mut interval = |low: f64, high: f64, truth: f64| {
            self.covered.1 += 1;
            self.covered.0 += usize::from(low <= truth && truth <= high);
            self.width += high - low;
        };
        for c in &e.candidates {
            if let Some(truth) = gain(&c.candidate) {
                interval(c.gain.low, c.gain.high, truth);
            }
        }
        for f in e.flags.values() {
            let Some(truth) = gain(winner).zip(gain(&f.candidate)).map(|(a, b)| a - b) else { continue };
            interval(f.gain.low, f.gain.high, truth);
            self.useless.1 += 1;
            self.useless.0 += usize::from(truth < 0.001);
            if f.gain.low > 0.0 {
                self.significant.1 += 1;
                self.significant.0 += usize::from(truth <= 0.0);
            }
        }
        let start = |of: &[Candidate]| (of.iter().filter(|c| gain(c).is_some()).count(), of.len());
        (self.blamed, self.suspected) = (start(&outcome.blamed), start(&outcome.suspected));
    }
}

#[expect(clippy::print_stdout, reason = "a trace is asked for by a variable")]
fn trace(land: &Landscape, winner: &Candidate, outcome: &SpaceOutcome) {
    if std::env::var_os("LANDSCAPE_TRACE").is_none() {
        return;
    }
    let round = |m: f64| (m * 1e3).round() / 1e3;
    for f in &outcome.launches {
        println!(
            "   {:+.3} ({:+.3}..{:+.3}) -> {:?} truth {:?} | {}",
            f.predicted.value,
            f.predicted.low,
            f.predicted.high,
            f.measured.map(round),
            land.gain(&land.set(&f.candidate)).map(round),
            f.candidate.label()
        );
    }
    println!("   {:?} regret {:.3} -> {}", outcome.ending, outcome.regret, winner.label());
}

/// Random candidates, or a grid's, each once; the best measured is chosen.
fn enumerate(s: &mut Search<'_>, land: &Landscape, seed: u64, method: Method) -> Candidate {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x4d);
    let alone = singles(land, s.base).len();
    for n in 0..40.max(alone) {
        if !s.evaluator.affordable() {
            break;
        }
        let set = match method {
            Method::Random => land.knobs.iter().map(|k| rng.random_range(0..=k.values.len())).collect(),
            // Every so many-th candidate of the nested loops.
            _ => land.nth((n + 1) * (land.size() / 41).max(1)),
        };
        let c = land.candidate(&set);
        if land.allowed(&set) && !s.ledger.tried(&c) {
            let ask = Ask { stage: Stage::Search, candidate: c, launch: 0, runs: Runs::primary(0, 2) };
            s.ledger.run(s.evaluator, &ask).unwrap();
        }
    }
    s.ledger.best(s.base, s.settings).map_or_else(|| s.base.clone(), |(c, _)| c)
}
