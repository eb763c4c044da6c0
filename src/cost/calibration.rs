//! How wide an interval must be to hold nine of ten runs: a spread that knows how far a prediction is from what was measured,
//! and conformal factors by standing, family of result keys and load.
//!
//! Normalised split-conformal prediction, learnt on public runs with whole groups (model, GPU, engine) left out. First the
//! spread: [`Spread`]'s coefficients by standing and family maximise the likelihood of `ln(measured / predicted)` under
//! a Student law of three degrees of freedom, each group weighted by the root of its number of runs: between a run's weight
//! (many runs of one group would outvote the others) and a group's (one pathological run would decide). Then the factors: the
//! score of a run is the least factor of its spread with which its interval holds the measured value, with the sign of the side on
//! which that lies, and the factors of a class are the 95 % quantiles of its scores to either side under the same weights: runs
//! miss to the slow side more often and farther. Classes are standing, family and load (Mondrian conformal
//! prediction): closed loops lie between the loads that a fit saw, bursts pass through batches that no run held for long.
//! Within a class the groups of the same engine weigh [`OWN_ENGINE`] times as much (weighted conformal prediction), since there
//! are too few groups for classes by engine.
//! What the intervals hold in each set, every group left out of spread and factor in turn, stands in
//! `reports/prediction-accuracy.md`.

use super::conditions::{CalibratedFamily, Conditions, Load};
use super::discrepancy::Family;
use super::law::Sides;
use super::seen::SeenKind;
use super::standing::Standing;
use crate::error::{Error, Problem, Result};
use crate::launch::EngineKind;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// One factor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Factor {
    pub standing: Standing,
    pub family: CalibratedFamily,
    /// The loads that it is for; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// The engine whose groups weigh most in it; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineKind>,
    /// Multiply the standard deviations of the logarithm below and above the middle.
    pub below: f64,
    pub above: f64,
    pub groups: usize,
    pub runs: usize,
}

/// How the spread of a family's predictions grows under a standing: the root of the sum of the squares of the spread that the
/// model believes, a floor, the distance to the nearest observation, what the fit leaves of its own runs and how far apart the
/// readings of the scenario lie, each times a coefficient.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    pub standing: Standing,
    pub family: CalibratedFamily,
    pub believed: f64,
    pub floor: f64,
    #[serde(default)]
    pub distance: f64,
    #[serde(default)]
    pub misfit: f64,
    #[serde(default)]
    pub readings: f64,
}

impl Spread {
    /// Standard deviation of the logarithm, before the conformal factor.
    pub fn sd(&self, raw: f64, distance: f64, misfit: f64, apart: f64) -> f64 {
        let parts = [
            self.believed * raw,
            self.floor,
            self.distance * distance,
            self.misfit * misfit,
            self.readings * apart,
        ];
        parts.iter().map(|p| p * p).sum::<f64>().sqrt()
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    #[serde(default)]
    pub spread: Vec<Spread>,
    #[serde(default)]
    pub factor: Vec<Factor>,
    /// Kinds of launches whose public runs the prior was held against: the factors have seen them, no coefficient has been
    /// fitted to them.
    #[serde(default)]
    pub seen: Vec<SeenKind>,
}

/// Least standard deviation that a score is taken over, so that one sure prediction does not make all intervals wide.
pub const LEAST_SD: f64 = 0.03;

/// Share of the runs that either side of an interval is to hold.
const HELD: f64 = 0.95;

/// How many times as much a group of the same engine weighs as another one.
pub const OWN_ENGINE: f64 = 3.0;

/// Least factor of a side: the predicted value stays well inside, whatever the bias of the class.
const LEAST_FACTOR: f64 = 0.5;

impl Calibration {
    /// Errors: text that is no calibration.
    pub fn parse(file: &str, text: &str) -> Result<Calibration> {
        toml::from_str(text).map_err(|e| {
            Error::problems("the calibration cannot be read", vec![Problem::new(file, "", e.to_string())])
        })
    }

    /// The spread of both sides under a standing, by its factors; a launch that was measured is held to what was learnt
    /// on its other loads, and where nothing was learnt the model is believed.
    pub fn sd(&self, conditions: &Conditions, family: Family, raw: Sides, apart: f64) -> Sides {
        let standing = learnt_as(conditions.standing);
        let family = CalibratedFamily::of(family);
        let spread = self.spread.iter().find(|s| s.standing == standing && s.family == family);
        let same = |f: &&Factor| {
            f.standing == standing
                && f.family == family
                && f.load.is_none_or(|l| l == conditions.load)
                && f.engine.is_none_or(|e| e == conditions.engine)
        };
        // The factors of one engine come before those of any.
        let found = self.factor.iter().filter(same).min_by_key(|f| f.engine.is_none());
        let (below, above) = found.map_or((1.0, 1.0), |f| (f.below, f.above));
        let (distance, misfit) = (conditions.distance, conditions.misfit(family));
        let of = |raw: f64| spread.map_or(raw.hypot(LEAST_SD), |s| s.sd(raw, distance, misfit, apart));
        Sides { below: below * of(raw.below), above: above * of(raw.above) }
    }
}

/// Whose factors a standing has.
pub fn learnt_as(standing: Standing) -> Standing {
    if standing == Standing::Measured { Standing::SameLaunch } else { standing }
}

/// The scores of one group's runs: the factors that hold each, negative where it lies below the middle.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// How much the group counts, beside the root of its number of runs.
    pub weight: f64,
    pub signed: Vec<f64>,
}

/// The factors below and above from scores by group; `None` without any.
pub fn learn(groups: &[Scores]) -> Option<(f64, f64)> {
    let side = |sign: f64| {
        let of = |g: &Scores| {
            let each = g.weight / (g.signed.len() as f64).sqrt();
            g.signed.iter().map(move |s| (sign * s, each)).collect::<Vec<_>>()
        };
        let mut scores: Vec<(f64, f64)> = groups.iter().flat_map(of).collect();
        scores.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all: f64 = scores.iter().map(|s| s.1).sum();
        let mut held = 0.0;
        let reached = |&(_, weight): &(f64, f64)| {
            held += weight / all;
            held >= HELD
        };
        let at = scores.iter().position(reached).map(|i| scores[i].0).or(scores.last().map(|s| s.0));
        at.map(|f| f.max(LEAST_FACTOR))
    };
    Some((side(-1.0)?, side(1.0)?))
}

static PUBLIC: LazyLock<Calibration> = LazyLock::new(|| {
    Calibration::parse("profiles/calibration.toml", include_str!("../../profiles/calibration.toml"))
        .unwrap_or_default()
});

/// The factors that this dyno carries.
pub fn public() -> &'static Calibration {
    &PUBLIC
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_group_does_not_decide() {
        // Scores of which nineteen in twenty lie below 1 on either side.
        let grid = || (0..200).map(|i| (f64::from(i) + 0.5 - 100.0) / 90.0).collect::<Vec<f64>>();
        let mut groups: Vec<Scores> = (0..40).map(|_| Scores { weight: 1.0, signed: grid() }).collect();
        let (below, above) = learn(&groups).unwrap();
        assert!((below - 1.0).abs() < 0.05 && (above - 1.0).abs() < 0.05, "{below} {above}");
        groups[0].signed = vec![50.0; 400];
        let (below, above) = learn(&groups).unwrap();
        assert!(above < 1.2 && (below - 1.0).abs() < 0.05, "twice the runs of another group do not decide");
        assert_eq!(learn(&[]), None);
    }

    #[test]
    fn runs_that_miss_to_one_side_move_that_side_alone_and_those_of_the_own_engine_most() {
        let slow = || (0..40).map(|i| 1.0 + f64::from(i) / 20.0).collect::<Vec<f64>>();
        let even = || (0..40).map(|i| (f64::from(i) - 19.5) / 40.0).collect::<Vec<f64>>();
        let of = |weight| [Scores { weight: 1.0, signed: even() }, Scores { weight, signed: slow() }];
        let (below, above) = learn(&of(1.0)).unwrap();
        assert!(above > 2.5 && below < 0.6, "{below} {above}");
        assert!(learn(&of(0.05)).unwrap().1 < learn(&of(OWN_ENGINE)).unwrap().1);
    }

    fn conditions(standing: Standing, load: Load, distance: f64, misfit: f64) -> Conditions {
        Conditions { standing, load, engine: EngineKind::Vllm, distance, misfit: [misfit; 3] }
    }

    #[test]
    fn closed_loops_and_open_loads_have_factors_of_their_own_and_one_without_a_load_is_for_both() {
        let one = |load, family, engine, above| Factor {
            standing: Standing::SameLaunch,
            family,
            load,
            engine,
            below: 1.0,
            above,
            groups: 1,
            runs: 1,
        };
        let (closed, open) = (Load::of(Some(4)), Load::of(None));
        let factor = vec![
            one(Some(closed), CalibratedFamily::Tpot, None, 1.2),
            one(Some(closed), CalibratedFamily::Tpot, Some(EngineKind::Sglang), 7.0),
            one(Some(closed), CalibratedFamily::Tpot, Some(EngineKind::Vllm), 1.5),
            one(Some(open), CalibratedFamily::Tpot, None, 3.0),
            one(None, CalibratedFamily::Ttft, None, 2.0),
        ];
        let c = Calibration { factor, ..Calibration::default() };
        let sides = |standing, family, load| {
            c.sd(&conditions(standing, load, 0.0, 0.0), family, Sides::even(0.4), 0.0)
        };
        let of = |standing, family, load| sides(standing, family, load).above / 0.4;
        let near = |a: f64, b: f64| (a / b - 1.0).abs() < 0.01;
        assert!(near(of(Standing::SameLaunch, Family::Tpot, closed), 1.5), "its own engine's");
        assert!(near(of(Standing::Measured, Family::Itl, open), 3.0), "as other loads of the launch");
        assert!(near(of(Standing::SameLaunch, Family::TtftTail, open), 2.0));
        assert!(near(of(Standing::PriorSeen, Family::Tpot, open), 1.0), "nothing was learnt");
        assert!(
            near(sides(Standing::SameLaunch, Family::Tpot, open).below / 0.4, 1.0),
            "each side for itself"
        );
    }

    #[test]
    fn intervals_widen_with_the_distance_and_with_what_a_fit_leaves_of_its_own_runs() {
        let c = public();
        let sd = |distance, misfit| {
            let at = conditions(Standing::SameLaunch, Load::Open, distance, misfit);
            c.sd(&at, Family::Throughput, Sides::even(0.05), 0.0).above
        };
        assert!(sd(2.0, 0.02) > 1.2 * sd(0.2, 0.02));
        assert!(sd(0.2, 0.4) > 2.0 * sd(0.2, 0.02));
    }

    #[test]
    fn the_shipped_files_can_be_read() {
        let file = "profiles/calibration.toml";
        Calibration::parse(file, include_str!("../../profiles/calibration.toml")).unwrap();
        let file = "profiles/public.toml";
        super::super::Profile::parse(file, include_str!("../../profiles/public.toml")).unwrap();
    }
}
