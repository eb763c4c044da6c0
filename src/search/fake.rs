//! An honest fake: effects that are known, noise by seed and by launch, failures, a budget.

use super::evaluator::{Answer, Ask, Evaluator, FailedLaunch, Sample, Stop};
use super::space::{Knob, Space};
use crate::launch::{Candidate, FlagValue};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

pub(crate) struct FakeSpace {
    pub(crate) knobs: Vec<Knob>,
    pub(crate) forbid: Vec<(String, String)>,
}

impl FakeSpace {
    /// Knobs by name with the values 1..=n.
    pub(crate) fn new(knobs: &[(&str, i64)]) -> FakeSpace {
        let knob = |(flag, n): &(&str, i64)| Knob {
            flag: (*flag).to_owned(),
            values: (1..=*n).map(FlagValue::Int).collect(),
            modelled: true,
        };
        FakeSpace { knobs: knobs.iter().map(knob).collect(), forbid: Vec::new() }
    }
}

impl Space for FakeSpace {
    fn knobs(&self) -> &[Knob] {
        &self.knobs
    }
    fn admits(&self, c: &Candidate) -> bool {
        !self.forbid.iter().any(|(a, b)| c.flags.contains_key(a) && c.flags.contains_key(b))
    }
}

/// True log gain of a candidate over the defaults; `None` when it fails to start.
pub(crate) type Truth = Box<dyn Fn(&Candidate) -> Option<f64>>;

pub(crate) struct FakeEvaluator {
    pub(crate) truth: Truth,
    /// Noise of a run on the log scale.
    pub(crate) sigma: f64,
    pub(crate) seed: u64,
    pub(crate) asked: Vec<Ask>,
    pub(crate) most: usize,
    /// Launches that may go side by side, and how many went each time.
    pub(crate) places: usize,
    pub(crate) together: Vec<usize>,
}

impl FakeEvaluator {
    pub(crate) fn new(sigma: f64, seed: u64, truth: impl Fn(&Candidate) -> Option<f64> + 'static) -> Self {
        let (asked, together) = (Vec::new(), Vec::new());
        FakeEvaluator { truth: Box::new(truth), sigma, seed, asked, most: usize::MAX, places: 1, together }
    }
}

impl Evaluator for FakeEvaluator {
    fn evaluate(&mut self, ask: &Ask) -> Result<Answer, Stop> {
        self.asked.push(ask.clone());
        let Some(gain) = (self.truth)(&ask.candidate) else {
            let failure = FailedLaunch {
                class: "out-of-memory".into(),
                root_cause: "no room".into(),
                hint: "less".into(),
                memory: false,
            };
            return Ok(Answer { samples: Vec::new(), failure: Some(failure) });
        };
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed.wrapping_mul(1000) + self.asked.len() as u64);
        let noise = Normal::new(0.0, self.sigma).unwrap();
        let repeats = ask.runs.first_repeat..ask.runs.first_repeat + ask.runs.repeats;
        // The seed of a repeat moves every candidate alike: other lengths, another level.
        let level = |r: u32| 7.0 + 0.1 * f64::from(r % 5);
        let sample = |repeat: u32, e: f64| Sample { repeat, score: level(repeat) + gain + e };
        let samples = repeats.map(|r| sample(r, noise.sample(&mut rng))).collect();
        Ok(Answer { samples, failure: None })
    }
    fn in_flight(&self) -> usize {
        self.places
    }
    fn neighbours_known(&self) -> bool {
        self.places > 1
    }
    fn evaluate_all(&mut self, asks: &[Ask]) -> Result<Vec<Answer>, Stop> {
        self.together.extend(asks.chunks(self.places.max(1)).map(<[Ask]>::len));
        asks.iter().map(|ask| self.evaluate(ask)).collect()
    }
    fn affordable(&self) -> bool {
        self.asked.len() < self.most
    }
    fn launches_left(&self) -> Option<usize> {
        (self.most < usize::MAX).then(|| self.most.saturating_sub(self.asked.len()))
    }
}
