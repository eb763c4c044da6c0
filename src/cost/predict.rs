//! Predicting scenarios: a simulation with the believed coefficients, and honest intervals around it.
//!
//! An interval has four parts: the spread of the coefficients (draws from their posterior, each simulated),
//! the model's own error and its correction from nearby observations, the scatter from run to run (with what
//! repeated runs of this machine showed beyond the usual), and, close to saturation, the spread that comes from the
//! knee moving.

use super::calibration::{self, Calibration};
use super::coefficients::Coefficients;
use super::conditions::Conditions;
use super::discrepancy::{self, DesignPoint, Family};
use super::habits::{self, Likely};
use super::interval::{Interval, no_sooner_than, reconcile, within_the_run};
use super::law::{Law, Sides};
use super::notes::{NEGLIGIBLE, notes};
use super::pooling;
use super::prior::{self, Belief};
use super::profile::{GroupFit, GroupKey, Profile, Warm};
use super::releases;
use super::setup::{Catalogs, Setup};
use super::solve::cholesky;
use super::standing::Standing;
use crate::error::{Error, Result};
use crate::scenario::{Key, Metrics, Record};
use crate::sim::{Demand, SimResult};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use std::collections::BTreeMap;

/// What one scenario would give.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    pub values: BTreeMap<Key, Interval>,
    /// What limits it, and how near it is to the physical limit.
    pub binding: String,
    /// Where the coefficients come from; caveats.
    pub basis: String,
    /// What stands behind it.
    pub standing: Standing,
    /// What the width of its intervals rests on besides the laws.
    pub conditions: Conditions,
    /// What the model itself believes of the values, before its intervals are widened to hold.
    pub laws: BTreeMap<Key, Law>,
    /// Tokens of context that the KV room holds.
    pub kv_pool_tokens: u64,
    /// The same as the engine tells of it.
    pub kv_room: super::KvRoom,
    /// Devices that the launch takes.
    pub devices: u32,
    pub notes: Vec<String>,
    /// The simulation behind the values.
    pub simulated: SimResult,
}

impl Prediction {
    pub fn get(&self, key: Key) -> Option<Interval> {
        self.values.get(&key).copied()
    }

    /// The predicted values alone.
    pub fn metrics(&self) -> Metrics {
        let mut m = Metrics::default();
        for (k, v) in &self.values {
            m.set(*k, v.value);
        }
        m
    }
}

/// Predicts from a profile, or from the prior alone.
#[derive(Debug, Clone)]
pub struct Predictor<'a> {
    pub catalogs: &'a Catalogs,
    pub profile: Option<&'a Profile>,
    /// Draws of the coefficients behind an interval; 0 gives point values with model error and scatter.
    pub draws: u32,
    pub seed: u64,
    /// Fits of public runs behind the prior.
    pub base: &'a Profile,
    /// Factors of the intervals; without any they are as wide as the model believes.
    pub calibration: Option<&'a Calibration>,
}

impl<'a> Predictor<'a> {
    pub fn new(catalogs: &'a Catalogs, profile: Option<&'a Profile>) -> Predictor<'a> {
        Predictor {
            catalogs,
            profile,
            draws: 16,
            seed: 0,
            base: pooling::public(),
            calibration: Some(calibration::public()),
        }
    }

    /// Predicts one record as a scenario; a result it may carry is not looked at.
    ///
    /// Errors: a record that cannot be made ready, or a launch that memory arithmetic refuses.
    pub fn predict(&self, record: &Record, per_request: bool) -> Result<Prediction> {
        self.predict_setup(&Setup::new(record, self.catalogs)?, per_request)
    }

    /// As [`Predictor::predict`], of a record already made ready.
    pub fn predict_setup(&self, setup: &Setup, per_request: bool) -> Result<Prediction> {
        if let Some(why) = setup.refused() {
            return Err(Error::infeasible(format!("this launch would not start: {why}")));
        }
        let belief = prior::belief(setup, self.profile, self.base);
        let exact = self.profile.and_then(|p| p.exact(&GroupKey::of(setup)));
        let (setup, likely) = as_fitted(setup, exact);
        let setup = &setup;
        let simulated = setup.simulate(&belief.coefficients, per_request);
        let others: Vec<(f64, Metrics)> = likely[1..]
            .iter()
            .filter(|l| l.weight > NEGLIGIBLE)
            .map(|l| (l.weight, setup.with_habits(l.habits).simulate(&belief.coefficients, false).metrics))
            .collect();
        let at_bound = |s: Setup| s.simulate(&belief.coefficients, false).metrics;
        let bounds = setup.acceptance_bounds().map(|both| both.map(at_bound));
        let spread = self.spread(setup, &belief, &simulated.metrics);
        let point = DesignPoint::of(setup);
        let residuals = exact.map_or(&[][..], |g| &g.residuals);
        let standing = self.standing(setup);
        let conditions = Conditions::of(standing, setup, &point, residuals);
        let (mut values, mut laws) = (BTreeMap::new(), BTreeMap::new());
        for (&key, &value) in &simulated.metrics.known {
            let Some(family) = Family::of(key) else {
                values.insert(key, Interval { value, p05: value, p95: value });
                continue;
            };
            let (shift, own) = discrepancy::correction(key, &point, residuals);
            let noise = exact.and_then(|g| g.noise.get(key.name())).copied().unwrap_or(0.0);
            let drawn = spread.get(&key).copied().unwrap_or(Sides::even(0.0));
            let raw = drawn.map(|d| own.hypot(noise).hypot(d));
            let mut mixture = vec![(likely[0].weight, value.ln() + shift)];
            let of = |m: &Metrics| m.get(key).filter(|v| *v > 0.0);
            mixture.extend(others.iter().filter_map(|(w, m)| of(m).map(|v| (*w, v.ln() + shift))));
            let apart = apart(&mixture);
            // None for one reading, so that its value stays that of the simulation to the last digit.
            let moved = middle(&mixture) - mixture[0].1;
            let components = match &bounds {
                Some(both) => over_acceptance(&mixture, both.each_ref().map(of), value),
                None => mixture,
            };
            let law = Law { components, sd: raw, apart };
            let sd = self.calibrated(setup, &conditions, family, raw, apart);
            let (p05, p95) = law.with_sd(sd).interval();
            values.insert(key, Interval { value: value * (shift + moved).exp(), p05, p95 });
            laws.insert(key, law);
        }
        let cut = bounded(&mut values, setup, &belief.coefficients);
        let notes = notes(setup, &simulated, &conditions, &likely).into_iter().chain(cut);
        Ok(Prediction {
            binding: super::binding::describe(setup, &belief.coefficients, &simulated),
            basis: format!("{} (standing: {})", belief.from, standing.words()),
            standing,
            conditions,
            laws,
            kv_pool_tokens: setup.kv_pool_tokens(&belief.coefficients),
            kv_room: super::KvRoom::of(setup, &belief.coefficients),
            devices: setup.devices(),
            notes: notes.collect(),
            values,
            simulated,
        })
    }

    /// What a prediction of this launch rests on.
    pub fn standing(&self, setup: &Setup) -> Standing {
        let seen = self.calibration.map_or(&[][..], |c| c.seen.as_slice());
        Standing::of(setup, self.profile, self.base, seen)
    }

    /// The standard deviation that makes intervals under such conditions hold. The embedded engine is what the
    /// model says, and hosts' cores are not among the public runs.
    fn calibrated(
        &self,
        setup: &Setup,
        conditions: &Conditions,
        family: Family,
        raw: Sides,
        apart: f64,
    ) -> Sides {
        match self.calibration {
            Some(c) if pooling::public_speaks_for(setup) => c.sd(conditions, family, raw, apart),
            _ => raw,
        }
    }

    /// The closed-form screen in the simulator's place, corrected from nearby observations as a prediction is: values
    /// of the keys that it covers, without intervals; `None` when it does not cover the load. Whether memory refuses
    /// the launch is for the caller to see.
    pub fn screen(&self, setup: &Setup, demand: &Demand) -> Option<Metrics> {
        let belief = prior::belief(setup, self.profile, self.base);
        let mut m = setup.screen(&belief.coefficients, demand)?;
        let residuals =
            self.profile.and_then(|p| p.exact(&GroupKey::of(setup))).map_or(&[][..], |g| &g.residuals);
        if !residuals.is_empty() {
            let point = DesignPoint::of(setup);
            // The throughputs move together, as in a prediction, by what the total one shows.
            let total = discrepancy::correction(Key::TotalTokenThroughput, &point, residuals).0;
            for (key, value) in &mut m.known {
                *value *= match Family::of(*key) {
                    Some(Family::Throughput) if *key == Key::Duration => (-total).exp(),
                    Some(Family::Throughput) => total.exp(),
                    _ => discrepancy::correction(*key, &point, residuals).0.exp(),
                };
            }
        }
        Some(m)
    }

    /// What is believed of a launch's coefficients, and equally likely draws from it (none when `draws` is 0).
    pub fn coefficients(&self, setup: &Setup) -> (Coefficients, Vec<Coefficients>) {
        let belief = prior::belief(setup, self.profile, self.base);
        let draws = self.drawn(&belief);
        (belief.coefficients, draws)
    }

    fn drawn(&self, belief: &Belief) -> Vec<Coefficients> {
        let factor = cholesky(&belief.covariance);
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        (0..self.draws)
            .map(|_| {
                let z: Vec<f64> = factor.iter().map(|_| StandardNormal.sample(&mut rng)).collect();
                let shift: Vec<f64> =
                    factor.iter().map(|row| row.iter().zip(&z).map(|(a, b)| a * b).sum()).collect();
                belief.coefficients.shifted(&shift)
            })
            .collect()
    }

    /// Standard deviations of ln(value) over draws of the coefficients, by key.
    fn spread(&self, setup: &Setup, belief: &Belief, center: &Metrics) -> BTreeMap<Key, Sides> {
        let mut off: BTreeMap<Key, Vec<f64>> = BTreeMap::new();
        for c in self.drawn(belief) {
            let drawn = setup.simulate(&c, false).metrics;
            for (&k, &v) in &drawn.known {
                if let Some(c) = center.get(k).filter(|c| *c > 0.0 && v > 0.0) {
                    off.entry(k).or_default().push((v / c).ln());
                }
            }
        }
        off.into_iter().map(|(k, d)| (k, Sides::of(&d))).collect()
    }
}

/// The launch in its likeliest reading, with what a fit found in its prefix cache; and all readings, likeliest first.
fn as_fitted(setup: &Setup, exact: Option<&GroupFit>) -> (Setup, Vec<Likely>) {
    let mut setup = releases::as_seen_by(setup, exact);
    if let Some(w) = exact.and_then(|g| g.warm.iter().find(|w| w.is_like(&Warm::of(&setup)))) {
        setup.warm = if setup.could_be_warm() { w.share } else { 0.0 };
    }
    let fitted = exact.map_or(&[][..], |g| g.habits.as_slice());
    let likely = habits::readings(setup.config.engine, &setup.possible_habits(), fitted);
    (setup.with_habits(likely[0].habits), likely)
}

/// What the values say of one another and of the hardware; a sentence where a bound was cut off.
fn bounded(values: &mut BTreeMap<Key, Interval>, setup: &Setup, c: &Coefficients) -> Option<String> {
    reconcile(values);
    let [mean_ms, shortest_ms] = setup.least_first_token_ms(c);
    no_sooner_than(values, mean_ms, shortest_ms);
    within_the_run(values)
}

/// The mean of a mixture's logarithm: where readings disagree, runs lie between them (a lock that is partly lost), and the likelier
/// one alone is far off when it is wrong.
fn middle(mixture: &[(f64, f64)]) -> f64 {
    let all: f64 = mixture.iter().map(|m| m.0).sum();
    mixture.iter().map(|(weight, mean)| weight * mean).sum::<f64>() / all.max(f64::MIN_POSITIVE)
}

/// How far apart the means of a mixture's components lie.
fn apart(mixture: &[(f64, f64)]) -> f64 {
    let means = || mixture.iter().map(|m| m.1);
    means().fold(f64::NEG_INFINITY, f64::max) - means().fold(f64::INFINITY, f64::min)
}

/// Each reading at the lower bound, the middle and the upper bound of the acceptance, with the weights that three such
/// points of a law have (Pearson and Tukey: its 5, 50 and 95 % points).
fn over_acceptance(mixture: &[(f64, f64)], bounds: [Option<f64>; 2], value: f64) -> Vec<(f64, f64)> {
    let at = |bound: Option<f64>| bound.map_or(0.0, |b| (b / value).ln());
    let points = [(0.185, at(bounds[0])), (0.63, 0.0), (0.185, at(bounds[1]))];
    mixture.iter().flat_map(|(w, mean)| points.map(|(p, d)| (w * p, mean + d))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::conditions::Load;

    fn setup(workload: &str) -> Setup {
        let record = serde_json::from_str(&format!(
            r#"{{"engine":"vllm","engine_version":"0.18.0","model":"Qwen/Qwen3-8B","hardware":"h100-sxm-80gb",
                "serve_command":"vllm serve Qwen/Qwen3-8B","workload":{workload}}}"#
        ))
        .unwrap();
        Setup::new(&record, &Catalogs::load(None).unwrap()).unwrap()
    }

    const FAR: &str = "no measured load of this launch is like this one";

    #[test]
    fn a_load_far_from_all_that_was_measured_is_said_to_be() {
        let measured = setup(
            r#"{"dataset":"random","input_len":128,"output_len":16,"num_prompts":200,"max_concurrency":2}"#,
        );
        let residuals = [discrepancy::Residual {
            label: String::new(),
            point: DesignPoint::of(&measured),
            log_ratio: BTreeMap::new(),
        }];
        let said = |workload: &str| {
            let s = setup(workload);
            let c = Conditions::of(Standing::SameLaunch, &s, &DesignPoint::of(&s), &residuals);
            let run = s.simulate(&prior::coefficients(&s), false);
            let likely = habits::readings(s.config.engine, &s.possible_habits(), &[]);
            assert_eq!(c.load, Load::Closed);
            notes(&s, &run, &c, &likely).iter().any(|n| n.starts_with(FAR))
        };
        assert!(!said(
            r#"{"dataset":"random","input_len":128,"output_len":16,"num_prompts":200,"max_concurrency":4}"#
        ));
        assert!(said(
            r#"{"dataset":"random","input_len":8000,"output_len":800,"num_prompts":64,"max_concurrency":64}"#
        ));
    }

    #[test]
    fn above_capacity_the_lower_bound_of_ttft_is_no_less_than_the_prompt_takes() {
        let s = setup(
            r#"{"dataset":"random","input_len":8000,"output_len":10,"num_prompts":100,"request_rate":50}"#,
        );
        let catalogs = Catalogs::load(None).unwrap();
        let p = Predictor { draws: 4, ..Predictor::new(&catalogs, None) }.predict_setup(&s, false).unwrap();
        let ttft = p.get(Key::MeanTtftMs).unwrap();
        // 8,000 tokens through 7.6 billion parameters at 989 TFLOP/s, and half of their squares in attention.
        assert!(ttft.p05 > 120.0 && ttft.value > 1000.0, "{ttft:?}");
    }
}
