//! Combinations of the values that physics knows from which candidates are grown.

use super::additive::{Draw, Point, Value};
use super::beliefs::{Beliefs, EncodedSpace};
use super::choose::FLAG_PRICE;
use crate::launch::{Candidate, FlagValue};
use std::collections::BTreeMap;

/// Combinations with the best forecasts by the effects on average, and by the effects in so many single worlds: where a part of
/// physics is wrong, only some worlds say so.
const ON_AVERAGE: usize = 30;
const IN_WORLDS: usize = 20;

/// What is added to a forecast: effects by value, and the error of the forecast's scale.
struct Correction {
    effects: BTreeMap<Value, f64>,
    scale: f64,
}

impl EncodedSpace<'_> {
    /// Combinations of modelled values with the largest corrected forecasts, the base among them.
    pub(super) fn starts(&mut self, step: &Beliefs) -> Vec<(Point, f64)> {
        if self.encoded.is_empty() {
            self.encoded = self.encode();
        }
        let draws = &step.posterior.draws;
        let mut all = self.best_by(&self.correction(step, draws), ON_AVERAGE);
        for draw in draws.iter().step_by((draws.len() / IN_WORLDS).max(1)) {
            all.extend(self.best_by(&self.correction(step, std::slice::from_ref(draw)), 1));
        }
        all.push(self.base.clone());
        let mut out: Vec<(Point, f64)> = Vec::new();
        for c in all {
            let Some(point) = self.point(&c) else { continue };
            let Some(f) = self.forecasts.gain(&c) else { continue };
            if !out.iter().any(|(p, _)| *p == point) {
                out.push((point, f));
            }
        }
        out
    }

    /// Means over some draws.
    fn correction(&self, step: &Beliefs, draws: &[Draw]) -> Correction {
        let n = draws.len().max(1) as f64;
        let alone = vec![0u8; self.knobs.len()];
        let of = |v: Value| draws.iter().map(|d| step.posterior.contribution(d, &alone, v)).sum::<f64>() / n;
        let knobs = self.knobs.iter().enumerate();
        let values = knobs.flat_map(|(k, knob)| (1..=knob.values.len() as u8).map(move |v| (k, v)));
        let scale = draws.iter().map(|d| d.scale).sum::<f64>() / n;
        Correction { effects: values.map(|v| (v, of(v))).collect(), scale }
    }

    fn best_by(&mut self, by: &Correction, number: usize) -> Vec<Candidate> {
        let (encoded, neutral) = (&self.encoded, &self.neutral);
        let corrected = |n: usize, forecast: f64| {
            let values = &encoded[n];
            // Values that change no forecast are turned apart from it; here they would only crowd out the others.
            let crowd = values.iter().filter(|(k, v)| neutral[*k].contains(v)).count() as f64;
            let own: f64 = values.iter().map(|v| by.effects.get(v).copied().unwrap_or(0.0)).sum();
            (1.0 + by.scale) * forecast + own - FLAG_PRICE * values.len() as f64 - 0.01 * crowd
        };
        self.forecasts.best(number, &corrected)
    }

    /// The values that differ from the base, by combination.
    fn encode(&self) -> Vec<Vec<Value>> {
        let value = |(flag, set): (&String, &FlagValue)| {
            let k = self.knobs.iter().position(|k| k.flag == *flag)?;
            Some((k, self.knobs[k].values.iter().position(|v| v == set)? as u8 + 1))
        };
        let of = |c: &Candidate| {
            let set = c.flags.iter().filter(|(f, v)| self.base.flags.get(*f) != Some(v));
            set.filter_map(value).collect()
        };
        self.forecasts.candidates().map(of).collect()
    }
}
