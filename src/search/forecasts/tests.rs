//! The screen saves simulations; what it costs in the choice is rare and small.

use super::super::fake::FakeSpace;
use super::*;
use crate::launch::{EngineKind, FlagValue};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Gains of random flags, pairs and triples; a screen that misses a share of them, is blind to one flag, and scatters.
#[derive(Debug)]
struct Model {
    effects: Vec<f64>,
    interactions: f64,
    /// Share by which the screen is off, and the scatter that no correction explains.
    off: f64,
    scatter: f64,
    /// Log score lost by every candidate without the last flag: a missed SLO clause.
    broken: f64,
    screens: bool,
    simulated: usize,
}

const FLAGS: [(&str, i64); 5] = [("a", 3), ("b", 4), ("c", 3), ("d", 4), ("e", 2)];

impl Model {
    fn new(seed: u64, off: f64, scatter: f64, broken: f64, screens: bool) -> Model {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let effects = (0..16).map(|_| rng.random_range(-0.1..0.1)).collect();
        Model {
            effects,
            interactions: rng.random_range(-0.3..0.3),
            off,
            scatter,
            broken,
            screens,
            simulated: 0,
        }
    }

    fn levels(c: &Candidate) -> Vec<usize> {
        let of = |(f, _): &(&str, i64)| match c.flags.get(*f) {
            Some(FlagValue::Int(v)) => *v as usize,
            _ => 0,
        };
        FLAGS.iter().map(of).collect()
    }

    /// Effects of the flags but `skip`, and those of pairs and triples among them.
    fn gain(&self, c: &Candidate, skip: Option<usize>) -> f64 {
        let levels = Model::levels(c);
        let set = levels.iter().enumerate().filter(|(f, v)| **v > 0 && Some(*f) != skip);
        let each: Vec<f64> = set.map(|(f, v)| self.effects[(f * 4 + v) % 16]).collect();
        let sum: f64 = each.iter().sum();
        let squares: f64 = each.iter().map(|e| e * e).sum();
        let triple = if each.len() > 2 { each.iter().fold(1.0, |p, e| p * e) } else { 0.0 };
        sum + self.interactions * (sum * sum - squares + triple)
    }
}

impl Forecaster for Model {
    fn score(&mut self, c: &Candidate) -> Option<f64> {
        self.simulated += 1;
        let kept = self.score_without_slo(c)?;
        Some(kept - if Model::levels(c)[4] == 2 { 0.0 } else { self.broken })
    }
    fn score_without_slo(&mut self, c: &Candidate) -> Option<f64> {
        Some(3.0 + self.gain(c, None))
    }
    fn screen(&mut self, c: &Candidate) -> Screening {
        if !self.screens {
            return Screening::Uncovered;
        }
        if Model::levels(c)[0] == 3 && Model::levels(c)[1] == 4 {
            return Screening::Refused;
        }
        let id = c.id();
        let mut rng = ChaCha8Rng::seed_from_u64(
            id.bytes().fold(0, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b))),
        );
        Screening::Value(
            1.0 + (1.0 + self.off) * self.gain(c, Some(2)) + rng.random_range(-1.0..=1.0) * self.scatter,
        )
    }
    fn learn(&mut self) -> bool {
        false
    }
}

fn choice(model: &mut Model) -> (Candidate, f64, Coverage) {
    let space = FakeSpace::new(&FLAGS);
    let base = Candidate::baseline(EngineKind::Emulated);
    let (pool, _) = super::super::space::cross_product(&space, &base, 5000);
    // What the screen knows to be refused the simulator would not refuse here: leave it out of both.
    let refused = |c: &Candidate| Model::levels(c)[0] == 3 && Model::levels(c)[1] == 4;
    let pool: Vec<Candidate> = pool.into_iter().filter(|c| model.screens || !refused(c)).collect();
    let considered = pool.len();
    let mut forecasts = Forecasts::new(&base, model, pool);
    let c = forecasts.best(1, &|_, gain| gain).pop().unwrap();
    let coverage = forecasts.coverage();
    assert_eq!(considered, coverage.simulated + coverage.screened_out);
    let gain = forecasts.gain(&c).unwrap();
    (c, gain, coverage)
}

/// How much the choice by the screen is behind the choice by simulating everything, for each of many drawn models.
///
/// The band is an estimate from a sample, so that the best can be lost: 2 of 8,000 drawn models lost 0.3 and 0.5 % by it.
/// What holds is that it is rare and small.
fn losses(draw: impl Fn(&mut ChaCha8Rng, bool) -> Model) -> Vec<f64> {
    let loss = |case: u64| {
        let of = |screens| choice(&mut draw(&mut ChaCha8Rng::seed_from_u64(case), screens));
        let (screened, full) = (of(true), of(false));
        assert_eq!(full.2.screened_out, 0);
        full.1 - screened.1
    };
    (0..100).map(loss).collect()
}

fn rare_and_small(losses: &[f64]) {
    let more = losses.iter().filter(|l| **l > 0.002).count();
    let worst = losses.iter().copied().fold(0.0, f64::max);
    assert!(more <= 1 && worst < 0.01, "{more} of {} models lost their best, at most {worst}", losses.len());
}

#[test]
fn the_screen_rarely_loses_the_best_and_little_by_it() {
    rare_and_small(&losses(|rng, screens| {
        let (off, scatter) = (rng.random_range(-0.5..0.5), rng.random_range(0.0..0.01));
        Model::new(rng.random(), off, scatter, 0.0, screens)
    }));
}

#[test]
fn nor_the_only_ones_that_meet_the_slo() {
    rare_and_small(&losses(|rng, screens| {
        let broken = rng.random_range(0.05..3.0);
        Model::new(rng.random(), 0.1, 0.002, broken, screens)
    }));
}

#[test]
fn a_good_screen_saves_most_simulations_and_a_wild_one_none_that_matter() {
    let mut good = Model::new(3, 0.2, 0.0, 0.0, true);
    let (c, _, covered) = choice(&mut good);
    assert!(covered.screened_out > 2 * covered.simulated, "{covered:?}");
    assert!(covered.band < 0.02, "{covered:?}");
    assert!(good.simulated < 600, "{}", good.simulated);
    let mut wild = Model::new(3, 0.2, 0.3, 0.0, true);
    let (same, _, wide) = choice(&mut wild);
    assert_eq!(c, same);
    assert!(wide.band > 0.3 && wide.simulated > 2 * covered.simulated, "{wide:?}");
}
