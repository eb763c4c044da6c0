//! How wide an interval must be to hold nine of ten runs: a spread that knows how far a prediction is from what was measured,
//! and conformal factors by standing, family of result keys and load.
//!
//! Normalised split-conformal prediction, learnt on public runs with whole groups (model, GPU, engine) left out. First the
//! spread: [`Spread`]'s coefficients by standing and family maximise the likelihood of `ln(measured / predicted)` under
//! a Student law of three degrees of freedom, each group weighted by the root of its number of runs: between a run's weight
//! (many runs of one group would outvote the others) and a group's (one pathological run would decide). Then the factor: the
//! score of a run is the least factor of its spread with which its interval holds the measured value, and the factor of a class
//! is the 90 % quantile of the scores under the same weights. Classes are standing, family and load (Mondrian conformal
//! prediction): closed loops lie between the loads that a fit saw, bursts pass through batches that no run held for long.
//! What the intervals hold in each set, every group left out of spread and factor in turn, stands in
//! `reports/prediction-accuracy.md`.

use super::conditions::{CalibratedFamily, Conditions, Load};
use super::discrepancy::Family;
use super::seen::SeenKind;
use super::standing::Standing;
use crate::error::{Error, Problem, Result};
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
    /// Multiplies the standard deviation of the logarithm.
    pub factor: f64,
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

/// Share of the runs that an interval is to hold.
const HELD: f64 = 0.9;

impl Calibration {
    /// Errors: text that is no calibration.
    pub fn parse(file: &str, text: &str) -> Result<Calibration> {
        toml::from_str(text).map_err(|e| {
            Error::problems("the calibration cannot be read", vec![Problem::new(file, "", e.to_string())])
        })
    }

    /// The spread under a standing before its factor, and that factor; a launch that was measured is held to what was learnt
    /// on its other loads, and where nothing was learnt the model is believed.
    pub fn sd(&self, conditions: &Conditions, family: Family, raw: f64, apart: f64) -> f64 {
        let standing = learnt_as(conditions.standing);
        let family = CalibratedFamily::of(family);
        let spread = self.spread.iter().find(|s| s.standing == standing && s.family == family);
        let same = |f: &&Factor| {
            f.standing == standing && f.family == family && f.load.is_none_or(|l| l == conditions.load)
        };
        let factor = self.factor.iter().find(same).map_or(1.0, |f| f.factor);
        let (distance, misfit) = (conditions.distance, conditions.misfit(family));
        factor * spread.map_or(raw.hypot(LEAST_SD), |s| s.sd(raw, distance, misfit, apart))
    }
}

/// Whose factors a standing has.
pub fn learnt_as(standing: Standing) -> Standing {
    if standing == Standing::Measured { Standing::SameLaunch } else { standing }
}

/// The factor from scores by group (the factors that hold each run); `None` without any.
pub fn learn(groups: &[Vec<f64>]) -> Option<f64> {
    let groups: Vec<&Vec<f64>> = groups.iter().filter(|g| !g.is_empty()).collect();
    if groups.is_empty() {
        return None;
    }
    let weight = |g: &[f64]| (g.len() as f64).sqrt();
    let all: f64 = groups.iter().map(|g| weight(g)).sum();
    let mut scores: Vec<(f64, f64)> =
        groups.iter().flat_map(|g| g.iter().map(|s| (*s, weight(g) / g.len() as f64 / all))).collect();
    scores.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut held, mut at) = (0.0, 0.0);
    for (score, weight) in scores {
        at = score;
        held += weight;
        if held >= HELD {
            break;
        }
    }
    Some(at)
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
        // Scores at even quantiles, of which nine in ten are below 1.
        let grid = || -> Vec<f64> { (0..100).map(|i| (f64::from(i) + 0.5) / 90.0).collect() };
        let groups: Vec<Vec<f64>> = (0..40).map(|_| grid()).collect();
        assert!((learn(&groups).unwrap() - 1.0).abs() < 0.05);
        let mut one_bad = groups;
        one_bad[0] = vec![50.0; 400];
        assert!(learn(&one_bad).unwrap() < 1.2, "four times the runs of another group do not decide");
        assert_eq!(learn(&[]), None);
    }

    fn conditions(standing: Standing, load: Load, distance: f64, misfit: f64) -> Conditions {
        Conditions { standing, load, distance, misfit: [misfit; 3] }
    }

    #[test]
    fn closed_loops_and_open_loads_have_factors_of_their_own_and_one_without_a_load_is_for_both() {
        let one = |load, family, factor| Factor {
            standing: Standing::SameLaunch,
            family,
            load,
            factor,
            groups: 1,
            runs: 1,
        };
        let (closed, open) = (Load::of(Some(4)), Load::of(None));
        let factor = vec![
            one(Some(closed), CalibratedFamily::Tpot, 1.5),
            one(Some(open), CalibratedFamily::Tpot, 3.0),
            one(None, CalibratedFamily::Ttft, 2.0),
        ];
        let c = Calibration { factor, ..Calibration::default() };
        let of = |standing, family, load| c.sd(&conditions(standing, load, 0.0, 0.0), family, 0.4, 0.0) / 0.4;
        let near = |a: f64, b: f64| (a / b - 1.0).abs() < 0.01;
        assert!(near(of(Standing::SameLaunch, Family::Tpot, closed), 1.5));
        assert!(near(of(Standing::Measured, Family::Itl, open), 3.0), "as other loads of the launch");
        assert!(near(of(Standing::SameLaunch, Family::TtftTail, open), 2.0));
        assert!(near(of(Standing::PriorSeen, Family::Tpot, open), 1.0), "nothing was learnt");
    }

    #[test]
    fn intervals_widen_with_the_distance_and_with_what_a_fit_leaves_of_its_own_runs() {
        let c = public();
        let sd = |distance, misfit| {
            let at = conditions(Standing::SameLaunch, Load::Open, distance, misfit);
            c.sd(&at, Family::Throughput, 0.05, 0.0)
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
