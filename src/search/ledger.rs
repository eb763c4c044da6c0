//! Everything launched so far in one search, in order, and what it says by itself: noise and effects.
//!
//! Runs that share a launch share what differs between launches (clocks, placement, compiled kernels), so two launches of
//! three runs each are two measurements, not six. The noise of a run and the noise of a launch are told apart, and every
//! interval here counts launches.

use super::evaluator::{Answer, Ask, Evaluator, FailedLaunch, Sample, Stage, Stop};
use super::settings::Settings;
use crate::launch::Candidate;
use crate::stats::{Interval, PooledNoise, mean};
use std::collections::BTreeMap;

/// One launch, whether it gave a score or failed.
#[derive(Debug, Clone)]
pub struct Launch {
    pub candidate: Candidate,
    pub stage: Stage,
    /// How many launches came before.
    pub at: usize,
    pub samples: Vec<Sample>,
    pub failure: Option<FailedLaunch>,
}

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
    /// Launches of the candidate behind it.
    pub launches: usize,
}

impl Effect {
    /// Better than the reference beyond the noise.
    pub fn is_gain(&self) -> bool {
        self.gain.low > 0.0
    }
    /// Could still be better by `worth` as far as the noise allows.
    pub fn may_gain(&self, worth: f64) -> bool {
        self.gain.high > worth
    }
}

/// Noise on the log scale, each with its degrees of freedom.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Noise {
    /// Between runs of one launch.
    pub run: Option<(f64, f64)>,
    /// Between means of launches of one candidate.
    pub launch: Option<(f64, f64)>,
}

/// A launch of an earlier campaign: it teaches the search, and counts as no launch of this one.
#[derive(Debug, Clone)]
pub struct Earlier {
    pub candidate: Candidate,
    /// Log gain over that campaign's baseline; `None` when the launch failed.
    pub gain: Option<f64>,
    pub failure: Option<FailedLaunch>,
}

#[derive(Debug, Clone, Default)]
pub struct Ledger {
    launches: Vec<Launch>,
    earlier: Vec<Earlier>,
    entries: BTreeMap<String, Entry>,
    order: Vec<String>,
}

impl Ledger {
    /// Has the evaluator run `ask` and books the answer.
    pub fn run(&mut self, ev: &mut dyn Evaluator, ask: &Ask) -> Result<Answer, Stop> {
        let answer = ev.evaluate(ask)?;
        self.book(ask.stage, &ask.candidate, &answer);
        Ok(answer)
    }

    pub fn book(&mut self, stage: Stage, candidate: &Candidate, answer: &Answer) {
        self.launches.push(Launch {
            candidate: candidate.clone(),
            stage,
            at: self.launches.len(),
            samples: answer.samples.clone(),
            failure: answer.failure.clone(),
        });
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

    /// Takes back the n-th launch of a candidate that gave a score: it is no part of the comparison.
    pub fn forget(&mut self, candidate: &Candidate, n: usize) {
        let of = |l: &Launch| l.candidate == *candidate && !l.samples.is_empty();
        if let Some((at, _)) = self.launches.iter().enumerate().filter(|(_, l)| of(l)).nth(n) {
            self.launches.remove(at);
        }
        if let Some(e) = self.entries.get_mut(&candidate.id()).filter(|e| n < e.launches.len()) {
            e.launches.remove(n);
        }
    }

    pub fn get(&self, candidate: &Candidate) -> Option<&Entry> {
        self.entries.get(&candidate.id())
    }

    /// Every launch in order.
    pub fn launches(&self) -> &[Launch] {
        &self.launches
    }

    /// Takes up what another campaign launched beside its own launches of `base`; returns how many launches those are.
    pub fn learn_from(&mut self, other: &Ledger, base: &Candidate) -> usize {
        let told = other.launches.iter().filter(|l| l.candidate != *base).filter_map(|l| {
            let gain = other.gain_of(l, base);
            let says = gain.is_some() || l.failure.is_some();
            says.then(|| Earlier { candidate: l.candidate.clone(), gain, failure: l.failure.clone() })
        });
        let before = self.earlier.len();
        self.earlier.extend(told);
        self.earlier.len() - before
    }

    /// Launches of earlier campaigns.
    pub fn earlier(&self) -> &[Earlier] {
        &self.earlier
    }

    /// Launches of a candidate in a stage.
    pub fn count(&self, stage: Stage, candidate: &Candidate) -> u32 {
        self.launches.iter().filter(|l| l.stage == stage && l.candidate == *candidate).count() as u32
    }

    /// Launches since the last one of the candidate.
    pub fn launches_since(&self, candidate: &Candidate) -> usize {
        self.launches.iter().rev().take_while(|l| l.candidate != *candidate).count()
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

    /// Mean log gain of a launch over the reference, on the repeats that both have; the reference's level of a repeat is
    /// its mean over all of its launches.
    pub fn gain_of(&self, launch: &Launch, reference: &Candidate) -> Option<f64> {
        let level = by_repeat(self.get(reference)?);
        let over = |s: &Sample| level.get(&s.repeat).map(|l| s.score - mean(l));
        let gains: Vec<f64> = launch.samples.iter().filter_map(over).collect();
        (!gains.is_empty()).then(|| mean(&gains))
    }

    /// [`Ledger::gain_of`] of the latest launch.
    pub fn last_gain(&self, reference: &Candidate) -> Option<f64> {
        let last = self.launches.last().filter(|l| l.failure.is_none())?;
        self.gain_of(last, reference)
    }

    /// Degrees of freedom behind the noise of a launch, with those of what is believed before any.
    pub fn launch_df(&self) -> f64 {
        self.noise().launch.map_or(0.0, |n| n.1) + super::additive::NOISE_BEFORE.1
    }

    /// Noise of runs and of launches, by what was repeated.
    pub fn noise(&self) -> Noise {
        let (mut run, mut launch) = (PooledNoise::default(), PooledNoise::default());
        for e in self.entries.values() {
            // Each launch's mean over the repeats that all launches of the candidate have.
            let repeats = by_repeat(e);
            let common: Vec<u32> =
                repeats.iter().filter(|(_, s)| s.len() == e.launches.len()).map(|(r, _)| *r).collect();
            if e.launches.len() < 2 || common.is_empty() {
                continue;
            }
            let score = |l: &[Sample], r: u32| l.iter().find(|s| s.repeat == r).map_or(0.0, |s| s.score);
            let means: Vec<f64> = e
                .launches
                .iter()
                .map(|l| mean(&common.iter().map(|r| score(l, *r)).collect::<Vec<_>>()))
                .collect();
            launch.add_group(&means);
            // What is left of a run without its launch's and its repeat's level.
            let levels: Vec<f64> = common
                .iter()
                .map(|r| {
                    mean(&e.launches.iter().zip(&means).map(|(l, m)| score(l, *r) - m).collect::<Vec<_>>())
                })
                .collect();
            let rest = e.launches.iter().zip(&means).flat_map(|(l, m)| {
                common.iter().zip(&levels).map(move |(r, level)| score(l, *r) - m - level)
            });
            let squares: f64 = rest.map(|x| x * x).sum();
            run.add_squares(squares, ((e.launches.len() - 1) * (common.len() - 1)) as f64);
        }
        Noise { run: run.sigma().map(|s| (s, run.df())), launch: launch.sigma().map(|s| (s, launch.df())) }
    }

    /// Effect of `candidate` against `reference` by their own launches alone; `None` without a common repeat, and for a
    /// candidate that failed in any of its launches.
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
        let mine: Vec<f64> = self
            .launches
            .iter()
            .filter(|l| l.candidate == *candidate)
            .filter_map(|l| self.gain_of(l, reference))
            .collect();
        let theirs = self.get(reference)?.launches.len();
        if mine.is_empty() {
            return None;
        }
        // What is usual counts as a few launches more: two alone would say next to nothing of the noise.
        let (before, df) = super::additive::NOISE_BEFORE;
        let mut noise = PooledNoise::with_floor(settings.noise_floor);
        noise.add_squares(df * before * before, df);
        if let Some((s, df)) = self.noise().launch {
            noise.add_squares(df * s * s, df);
        }
        let gain = mean(&mine);
        Some(Effect {
            gain: noise.difference(gain, mine.len(), theirs, settings.alpha),
            p: noise.p_value(gain, mine.len(), theirs),
            launches: mine.len(),
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
    use crate::launch::FlagValue;

    fn answer(scores: &[(u32, f64)]) -> Answer {
        let samples = scores.iter().map(|&(repeat, score)| Sample { repeat, score }).collect();
        Answer { samples, failure: None }
    }

    #[test]
    fn effects_compare_equal_seeds_only_and_count_launches() {
        let base = Candidate::baseline(EngineKind::Emulated);
        let flag = base.with("f", FlagValue::Bool(true));
        let mut l = Ledger::default();
        // Repeat 1 is another draw of lengths, far from repeat 0; the flag was measured on repeat 0 alone.
        l.book(Stage::Baseline, &base, &answer(&[(0, 1.00), (1, 5.0)]));
        l.book(Stage::Baseline, &base, &answer(&[(0, 1.02), (1, 5.02)]));
        l.book(Stage::Search, &flag, &answer(&[(0, 1.31)]));
        let s = Settings::default();
        let e = l.effect(&flag, &base, &s).unwrap();
        assert!((e.gain.value - 0.30).abs() < 1e-12);
        let noise = l.noise();
        assert_eq!(noise.launch.map(|n| n.1), Some(1.0), "two launches, one degree of freedom");
        // Both launches differ by the same in both repeats: all of it lies between launches.
        assert!(noise.run.unwrap().0 < 1e-9 && (noise.launch.unwrap().0 - 0.02 / 2f64.sqrt()).abs() < 1e-9);
        assert!(e.is_gain() && e.launches == 1);
        assert_eq!(l.best(&base, &s).unwrap().0, flag);
        assert!(l.effect(&flag.with("g", FlagValue::Int(1)), &base, &s).is_none());
    }
}
