//! Everything measured so far in one search, and what it says: noise and effects.

use super::evaluator::{Answer, Ask, Evaluator, FailedLaunch, Sample, Stop};
use super::settings::Settings;
use crate::space::Candidate;
use crate::stats::{Interval, PooledNoise, mean};
use std::collections::BTreeMap;

/// All launches of one candidate.
#[derive(Debug, Clone)]
pub struct Entry {
    pub candidate: Candidate,
    pub launches: Vec<Vec<Sample>>,
    pub failure: Option<FailedLaunch>,
}

/// Effect of a candidate against a reference: log gain with its interval and p value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effect {
    /// Difference of scores (log ratio; positive is better).
    pub gain: Interval,
    pub p: f64,
    /// Measured runs of the candidate behind it.
    pub runs: usize,
}

impl Effect {
    /// Better than the reference beyond the noise.
    pub fn is_gain(&self) -> bool {
        self.gain.low > 0.0
    }
    /// Better than the reference with a good chance (about seven in eight): above zero by half of the interval's
    /// half-width.
    pub fn likely_gain(&self) -> bool {
        self.gain.value > 0.5 * (self.gain.value - self.gain.low)
    }
    /// Could still be better by `worth` as far as the noise allows.
    pub fn may_gain(&self, worth: f64) -> bool {
        self.gain.high > worth
    }
}

#[derive(Debug, Clone, Default)]
pub struct Ledger {
    entries: BTreeMap<String, Entry>,
    order: Vec<String>,
}

impl Ledger {
    /// Has the evaluator run `ask` and books the answer.
    pub fn run(&mut self, ev: &mut dyn Evaluator, ask: &Ask) -> Result<Answer, Stop> {
        let answer = ev.evaluate(ask)?;
        self.book(&ask.candidate, &answer);
        Ok(answer)
    }

    pub fn book(&mut self, candidate: &Candidate, answer: &Answer) {
        let id = candidate.id();
        let entry = self.entries.entry(id.clone()).or_insert_with(|| {
            self.order.push(id);
            Entry { candidate: candidate.clone(), launches: Vec::new(), failure: None }
        });
        if !answer.samples.is_empty() {
            entry.launches.push(answer.samples.clone());
        }
        if let Some(f) = &answer.failure {
            entry.failure = Some(f.clone());
        }
    }

    pub fn get(&self, candidate: &Candidate) -> Option<&Entry> {
        self.entries.get(&candidate.id())
    }

    /// True when the candidate was launched, whether it gave a score or failed.
    pub fn tried(&self, candidate: &Candidate) -> bool {
        self.get(candidate).is_some()
    }

    /// True when the candidate was launched and has at least one score.
    pub fn scored(&self, candidate: &Candidate) -> bool {
        self.get(candidate).is_some_and(|e| !e.launches.is_empty())
    }

    /// Entries in the order of their first launch.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.order.iter().filter_map(|id| self.entries.get(id))
    }

    /// Noise of one run, pooled over every (candidate, seed) that was measured in more than one launch:
    /// so it holds what differs between launches too.
    pub fn noise(&self, settings: &Settings) -> PooledNoise {
        let mut noise = PooledNoise::with_floor(settings.noise_floor);
        for e in self.entries.values() {
            for scores in by_repeat(e).values() {
                noise.add_group(scores);
            }
        }
        noise
    }

    /// Effect of `candidate` against `reference` over the repeats that both have, so that equal requests
    /// are compared; `None` without a common repeat, and for a candidate that failed in any of its launches.
    pub fn effect(
        &self,
        candidate: &Candidate,
        reference: &Candidate,
        settings: &Settings,
    ) -> Option<Effect> {
        let entry = self.get(candidate)?;
        if entry.failure.is_some() && candidate != reference {
            return None;
        }
        let (c, r) = (by_repeat(entry), by_repeat(self.get(reference)?));
        let common: Vec<u32> = c.keys().filter(|k| r.contains_key(k)).copied().collect();
        if common.is_empty() {
            return None;
        }
        let gain = mean(&common.iter().map(|k| mean(&c[k]) - mean(&r[k])).collect::<Vec<_>>());
        let count = |m: &BTreeMap<u32, Vec<f64>>| common.iter().map(|k| m[k].len()).sum::<usize>();
        let noise = self.noise(settings);
        Some(Effect {
            gain: noise.difference(gain, count(&c), count(&r), settings.alpha),
            p: noise.p_value(gain, count(&c), count(&r)),
            runs: count(&c),
        })
    }

    /// The candidate with the largest estimated gain over `reference`, itself included.
    pub fn best(&self, reference: &Candidate, settings: &Settings) -> Option<(Candidate, f64)> {
        let gains = self.entries().filter_map(|e| {
            self.effect(&e.candidate, reference, settings).map(|x| (e.candidate.clone(), x.gain.value))
        });
        gains.max_by(|a, b| a.1.total_cmp(&b.1))
    }
}

/// Scores by the index of the repeat, over all launches.
fn by_repeat(e: &Entry) -> BTreeMap<u32, Vec<f64>> {
    let mut map: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for s in e.launches.iter().flatten() {
        map.entry(s.repeat).or_default().push(s.score);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::EngineKind;
    use crate::space::FlagValue;

    fn answer(scores: &[(u32, f64)]) -> Answer {
        let samples = scores.iter().map(|&(repeat, score)| Sample { repeat, score }).collect();
        Answer { samples, failure: None }
    }

    #[test]
    fn effects_compare_equal_seeds_only() {
        let base = Candidate::baseline(EngineKind::Emulated);
        let flag = base.with("f", FlagValue::Bool(true));
        let mut l = Ledger::default();
        // Repeat 1 is another draw of lengths, far from repeat 0; the flag was measured on repeat 0 alone.
        l.book(&base, &answer(&[(0, 1.00), (1, 5.0)]));
        l.book(&base, &answer(&[(0, 1.02), (1, 5.02)]));
        l.book(&flag, &answer(&[(0, 1.31)]));
        let s = Settings::default();
        let e = l.effect(&flag, &base, &s).unwrap();
        assert!((e.gain.value - 0.30).abs() < 1e-12);
        assert_eq!(l.noise(&s).df(), 2.0);
        assert!(e.is_gain() && e.runs == 1);
        assert_eq!(l.best(&base, &s).unwrap().0, flag);
        assert!(l.effect(&flag.with("g", FlagValue::Int(1)), &base, &s).is_none());
    }
}
