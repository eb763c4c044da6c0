//! Effects with their intervals at the end of a search, by all of its launches together.

use super::additive::{Point, Value, values_of};
use super::beliefs::{Beliefs, EncodedSpace, usable_knobs};
use super::forecasts::{Forecaster, Forecasts};
use super::space::Knob;
use super::task::Search;
use crate::launch::Candidate;
use crate::stats::Interval;
use std::collections::{BTreeMap, BTreeSet};

/// Joint draws that intervals are read from.
const DRAWS: usize = 1000;

/// Effect of one launched candidate, or of one flag in the company of the others, by everything that was launched.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    pub candidate: Candidate,
    /// Log gain over the base, or over the candidate without the flag.
    pub gain: Interval,
    /// Two-sided p value of "no effect".
    pub p: f64,
}

/// What the launches say at the end of a search.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Estimates {
    pub candidates: Vec<Estimate>,
    /// By flag of the winner: taken out of it.
    pub flags: BTreeMap<String, Estimate>,
    /// Each value that was launched, alone.
    pub values: BTreeMap<(String, String), Estimate>,
    /// Noise of a launch, log scale.
    pub sigma: f64,
    /// Drift of the machine, log scale a launch.
    pub drift: f64,
}

impl Search<'_> {
    /// Effects with their intervals at `1 - alpha`: of every launched candidate and of every flag of `winner`.
    pub fn estimates(&mut self, forecaster: &mut dyn Forecaster, winner: &Candidate) -> Estimates {
        let base = self.base.clone();
        let knobs = usable_knobs(self.space, self.base);
        let forecasts = Forecasts::new(&base, forecaster, singles_of(&knobs, &base));
        let mut g =
            EncodedSpace { knobs, forecasts, base: base.clone(), neutral: Vec::new(), encoded: Vec::new() };
        g.find_neutral();
        let step = Beliefs::read(&mut g, self.ledger, &[], self.settings.seed, DRAWS);
        let df = self.ledger.launch_df();
        let estimate = |candidate: Candidate, gains: Vec<f64>| Estimate {
            candidate,
            gain: interval(&gains, self.settings.alpha, df),
            p: p_value(&gains, df),
        };
        let worlds = step.worlds();
        let mut out = Estimates { sigma: step.posterior.sigma(), ..Estimates::default() };
        let draws = &step.posterior.draws;
        out.drift = draws.iter().map(|d| d.drift).sum::<f64>() / draws.len().max(1) as f64;
        let gains = |g: &mut EncodedSpace<'_>, p: &Point| -> Option<Vec<f64>> {
            let f = g.forecast_of(p)?;
            let at = step.posterior.peculiar_index(p);
            Some(draws.iter().map(|d| worlds.posterior.gain_at(d, p, f, at)).collect())
        };
        let entries: Vec<Candidate> = self
            .ledger
            .entries()
            .filter(|e| e.candidate.engine == base.engine && e.candidate != base && e.failure.is_none())
            .map(|e| e.candidate.clone())
            .collect();
        let mut values: BTreeSet<Value> = BTreeSet::new();
        for c in entries {
            let Some(p) = g.point(&c) else { continue };
            values.extend(values_of(&p));
            if let Some(gains) = gains(&mut g, &p) {
                out.candidates.push(estimate(c, gains));
            }
        }
        for (k, v) in values {
            let mut p: Point = vec![0; g.knobs.len()];
            p[k] = v;
            if let Some(gains) = gains(&mut g, &p) {
                out.values.insert(g.named(k, v), estimate(g.candidate(&p), gains));
            }
        }
        let Some(point) = g.point(winner) else { return out };
        let Some(with) = gains(&mut g, &point) else { return out };
        for (k, v) in values_of(&point) {
            let mut less = point.clone();
            less[k] = 0;
            if let Some(without) = gains(&mut g, &less) {
                let brings = with.iter().zip(&without).map(|(a, b)| a - b).collect();
                out.flags.insert(g.named(k, v).0, estimate(g.candidate(&less), brings));
            }
        }
        out
    }
}

fn singles_of(knobs: &[Knob], base: &Candidate) -> Vec<Candidate> {
    let known = knobs.iter().filter(|k| k.modelled);
    let each = known.flat_map(|k| k.values.iter().map(|v| base.with(&k.flag, v.clone())));
    std::iter::once(base.clone()).chain(each).collect()
}

/// Quantiles of the draws, and never narrower than Student's interval with as many degrees of freedom as launches give.
fn interval(gains: &[f64], alpha: f64, df: f64) -> Interval {
    let mut sorted = gains.to_vec();
    sorted.sort_by(f64::total_cmp);
    let quantile = |q: f64| crate::stats::quantile_sorted(&sorted, q);
    let value = crate::stats::mean(gains);
    let half = crate::stats::std_dev(gains) * crate::stats::t_critical(df, alpha);
    Interval {
        value,
        low: quantile(alpha / 2.0).min(value - half),
        high: quantile(1.0 - alpha / 2.0).max(value + half),
    }
}

fn p_value(gains: &[f64], df: f64) -> f64 {
    let (m, sd) = (crate::stats::mean(gains), crate::stats::std_dev(gains));
    let above = gains.iter().filter(|g| **g > 0.0).count() as f64 / gains.len().max(1) as f64;
    let draws = (2.0 * above.min(1.0 - above)).max(1.0 / gains.len().max(1) as f64);
    if sd > 0.0 { crate::stats::t_p_value(m / sd, df).max(draws * 0.5) } else { 1.0 }
}
