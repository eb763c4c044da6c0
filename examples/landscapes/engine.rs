//! Engines on a virtual clock: what a launch on a landscape gives, and what physics forecasts of it.

use super::landscape::{Family, Landscape};
use llm_dyno::launch::Candidate;
use llm_dyno::search::{Answer, Ask, Evaluator, FailedLaunch, Forecaster, Sample, Stop};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

/// How a landscape is measured, log scale.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Noise {
    pub(crate) launch: f64,
    pub(crate) run: f64,
    /// A launch, up or down.
    pub(crate) drift: f64,
}

/// Conditions by name.
pub(crate) const NOISES: [(&str, Noise); 3] = [
    ("1 %", Noise { launch: 0.01, run: 0.004, drift: 0.0 }),
    ("1 %, drift", Noise { launch: 0.01, run: 0.004, drift: 0.005 }),
    ("3 %, drift", Noise { launch: 0.03, run: 0.01, drift: 0.005 }),
];

/// Families take turns over the numbers of the landscapes.
pub(crate) fn family_of(number: u64) -> Family {
    [Family::Scheduler, Family::Table, Family::Backends, Family::Pairs][(number % 4) as usize]
}

/// Which landscapes: those that the search was developed on, and others that were opened once, after its rules stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    Development,
    Blind,
    /// Opened after the blind ones had been seen.
    Third,
}

impl Half {
    pub(crate) fn of(args: &[String]) -> Half {
        let has = |what: &str| args.iter().any(|a| a == what);
        match (has("--blind"), has("--third")) {
            (_, true) => Half::Third,
            (true, _) => Half::Blind,
            _ => Half::Development,
        }
    }
}

/// Seed of a landscape: those below a million are those that the search was developed on.
pub(crate) fn seed_of(number: u64, half: Half) -> u64 {
    number
        + match half {
            Half::Development => 0,
            Half::Blind => 1_000_000,
            Half::Third => 2_000_000,
        }
}

/// An engine on a virtual clock.
pub(crate) struct Engine<'a> {
    land: &'a Landscape,
    noise: Noise,
    rng: ChaCha8Rng,
    pub(crate) launches: usize,
    most: usize,
    pub(crate) failures: usize,
}

impl<'a> Engine<'a> {
    pub(crate) fn new(land: &'a Landscape, noise: Noise, seed: u64, most: usize) -> Engine<'a> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xe4617e);
        let up = if rng.random::<bool>() { 1.0 } else { -1.0 };
        Engine {
            land,
            noise: Noise { drift: noise.drift * up, ..noise },
            rng,
            launches: 0,
            most,
            failures: 0,
        }
    }
}

impl Evaluator for Engine<'_> {
    fn evaluate(&mut self, ask: &Ask) -> Result<Answer, Stop> {
        let at = self.launches as f64;
        self.launches += 1;
        let set = self.land.set(&ask.candidate);
        if let Some((class, root_cause)) = self.land.failure(&set) {
            self.failures += 1;
            let memory = class == "out-of-memory";
            let failure = FailedLaunch { class: class.to_owned(), root_cause, hint: String::new(), memory };
            return Ok(Answer { samples: Vec::new(), failure: Some(failure) });
        }
        let mut normal = |sd: f64| Normal::new(0.0, sd).unwrap().sample(&mut self.rng);
        let level =
            7.0 + self.land.gain(&set).unwrap_or(0.0) + self.noise.drift * at + normal(self.noise.launch);
        let repeats = ask.runs.first_repeat..ask.runs.first_repeat + ask.runs.repeats;
        let samples = repeats
            .map(|repeat| Sample {
                repeat,
                score: level + 0.05 * f64::from(repeat % 3) + normal(self.noise.run),
            })
            .collect();
        Ok(Answer { samples, failure: None })
    }
    fn affordable(&self) -> bool {
        self.launches < self.most
    }
    fn launches_left(&self) -> Option<usize> {
        (self.most < 1000).then(|| self.most.saturating_sub(self.launches))
    }
}

/// The forecasts of a landscape.
pub(crate) struct Physics<'a>(pub(crate) &'a Landscape);

impl Forecaster for Physics<'_> {
    fn score(&mut self, c: &Candidate) -> Option<f64> {
        Some(self.0.forecast(&self.0.set(c)))
    }
    fn learn(&mut self) -> bool {
        false
    }
}
