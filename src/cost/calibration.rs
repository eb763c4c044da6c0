//! How wide an interval must be to hold nine of ten runs: conformal factors by standing and family of result keys.
//!
//! For every group of public runs that was left out, `|ln(measured / predicted)|` over the predicted standard deviation is
//! a score. The factor of a standing is the 90 % quantile of the scores over that of the normal law, each group weighted by
//! the root of its number of runs: between a run's weight (many runs of one group would outvote the others) and a group's
//! (one pathological run would decide). Closed loops and open loads have factors of their own (Mondrian conformal
//! prediction): between the two loads of a closed loop that a fit saw lies the third, while the steps of a burst pass through
//! batches that no run of the fit held for long, and one factor for both made the first wide and the second untrue.
//! What the intervals hold in each set, every group left out in turn, stands in `reports/prediction-accuracy.md`.

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

/// How requests come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Load {
    /// A fixed number is in flight.
    Closed,
    /// A burst, or arrivals at a rate.
    Open,
}

impl Load {
    pub fn of(concurrency: Option<u32>) -> Load {
        if concurrency.is_some() { Load::Closed } else { Load::Open }
    }
}

/// Families that public runs report often enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CalibratedFamily {
    Throughput,
    Ttft,
    Tpot,
}

impl CalibratedFamily {
    pub const ALL: [CalibratedFamily; 3] =
        [CalibratedFamily::Throughput, CalibratedFamily::Ttft, CalibratedFamily::Tpot];

    fn of(family: Family) -> CalibratedFamily {
        match family {
            Family::Throughput | Family::E2el => CalibratedFamily::Throughput,
            Family::Ttft | Family::TtftTail => CalibratedFamily::Ttft,
            Family::Tpot | Family::TpotTail | Family::Itl | Family::ItlTail => CalibratedFamily::Tpot,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
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

    /// The factor for a standing; 1 where nothing was learnt. A launch that was measured is held to the factor of its other loads.
    pub fn factor(&self, standing: Standing, family: Family, load: Load) -> f64 {
        let standing = if standing == Standing::Measured { Standing::SameLaunch } else { standing };
        let family = CalibratedFamily::of(family);
        let same =
            |f: &&Factor| f.standing == standing && f.family == family && f.load.is_none_or(|l| l == load);
        self.factor.iter().find(same).map_or(1.0, |f| f.factor)
    }
}

/// The factor from scores by group; `None` without any.
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
    Some(at / Z90)
}

/// 95th percentile of the standard normal distribution.
pub const Z90: f64 = 1.6449;

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
    fn normal_scores_need_no_factor_and_a_bad_group_does_not_decide() {
        let grid = |scale: f64| -> Vec<f64> {
            // Absolute values of a normal law at even quantiles.
            (0..100).map(|i| scale * 1.6449 * (f64::from(i) + 0.5) / 90.0).collect()
        };
        let alike: Vec<Vec<f64>> = (0..40).map(|_| grid(1.0)).collect();
        assert!((learn(&alike).unwrap() - 1.0).abs() < 0.05);
        let mut one_bad = alike;
        one_bad[0] = vec![50.0; 400];
        assert!(learn(&one_bad).unwrap() < 1.2, "four times the runs of another group do not decide");
        assert_eq!(learn(&[]), None);
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
        let factors = vec![
            one(Some(closed), CalibratedFamily::Tpot, 1.5),
            one(Some(open), CalibratedFamily::Tpot, 3.0),
            one(None, CalibratedFamily::Ttft, 2.0),
        ];
        let c = Calibration { factor: factors, seen: Vec::new() };
        assert_eq!(c.factor(Standing::SameLaunch, Family::Tpot, closed), 1.5);
        assert_eq!(c.factor(Standing::Measured, Family::Itl, open), 3.0, "as other loads of the launch");
        assert_eq!(c.factor(Standing::SameLaunch, Family::TtftTail, open), 2.0);
        assert_eq!(c.factor(Standing::PriorSeen, Family::Tpot, open), 1.0, "nothing was learnt");
    }

    #[test]
    fn the_shipped_files_can_be_read() {
        let file = "profiles/calibration.toml";
        Calibration::parse(file, include_str!("../../profiles/calibration.toml")).unwrap();
        let file = "profiles/public.toml";
        super::super::Profile::parse(file, include_str!("../../profiles/public.toml")).unwrap();
    }
}
