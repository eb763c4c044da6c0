//! Forecasts of every combination of the knobs that physics knows, by two fidelities: a closed-form screen over all of
//! them, the simulator where the screen leaves a chance.
//!
//! The screen's error is measured in this very search: candidates of one and two flags and a sample of the others are
//! simulated, and what the screen was short of there, times [`CAUTION`], is the band by which the others are given the
//! benefit of the doubt.

use super::space::Knob;
use crate::launch::Candidate;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What the closed-form screen says of a candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Screening {
    /// Log objective as in [`Forecaster::score_without_slo`].
    Value(f64),
    /// It would not start.
    Refused,
    /// The screen does not cover this load, objective or launch.
    Uncovered,
}

/// Something that forecasts a launch without one: a simulator on a fitted cost model.
pub trait Forecaster {
    /// Score (log objective, larger is better) that a launch would give; `None` when it cannot be forecast or
    /// would not start.
    fn score(&mut self, candidate: &Candidate) -> Option<f64>;
    /// The score if no service-level objective were broken: never below it.
    fn score_without_slo(&mut self, candidate: &Candidate) -> Option<f64> {
        self.score(candidate)
    }
    /// A rough value of `score_without_slo` at a small part of the cost.
    fn screen(&mut self, _candidate: &Candidate) -> Screening {
        Screening::Uncovered
    }
    /// What a forecast of this candidate rests on, in words; `None` when there is none.
    fn standing(&mut self, _candidate: &Candidate) -> Option<&'static str> {
        None
    }
    /// Takes up what was measured so far (a refit); true when forecasts have changed.
    fn learn(&mut self) -> bool;
}

/// Forecasts nothing: every value is to be learned by launches.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoForecast;

impl Forecaster for NoForecast {
    fn score(&mut self, _: &Candidate) -> Option<f64> {
        None
    }
    fn learn(&mut self) -> bool {
        false
    }
}

/// How far the forecasts of a space went.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Coverage {
    pub simulated: usize,
    /// Never simulated: refused by memory arithmetic, or the screen's optimistic bound was below the best simulated.
    pub screened_out: usize,
    /// What the screen may be short of the simulator, log scale.
    pub band: f64,
}

/// Candidates simulated to measure the screen's error, single flags apart.
const SAMPLE: usize = 64;

/// The band is this many times the worst excess seen, and at least this wide.
const CAUTION: f64 = 1.5;
const LEAST_BAND: f64 = 0.005;

struct Entry {
    candidate: Candidate,
    /// Log gains over the base: by the screen, corrected; by the simulator.
    screened: Option<f64>,
    simulated: Option<f64>,
    /// Was simulated, now or before a refit.
    ever: bool,
    /// The memory arithmetic or the simulator refuses it.
    out: bool,
}

/// A flag and the value that it is set to.
type Change = (String, String);

/// The combinations of the modelled knobs with their forecasts.
pub struct Forecasts<'a> {
    base: &'a Candidate,
    forecaster: &'a mut dyn Forecaster,
    entries: Vec<Entry>,
    at: HashMap<String, usize>,
    /// Simulated gains of candidates outside the pool.
    outside: BTreeMap<String, Option<f64>>,
    /// The base's score, and the same without its service-level objectives.
    level: Option<(f64, f64)>,
    singles: BTreeMap<Change, f64>,
    worst: f64,
}

impl std::fmt::Debug for Forecasts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Forecasts of {} candidates", self.entries.len())
    }
}

impl<'a> Forecasts<'a> {
    /// `pool` holds combinations of the modelled knobs, fewer flags before more.
    pub fn new(
        base: &'a Candidate,
        forecaster: &'a mut dyn Forecaster,
        pool: Vec<Candidate>,
    ) -> Forecasts<'a> {
        let at = pool.iter().enumerate().map(|(i, c)| (c.id(), i)).collect();
        let entry = |candidate| Entry { candidate, screened: None, simulated: None, ever: false, out: false };
        let mut f = Forecasts {
            base,
            forecaster,
            entries: pool.into_iter().map(entry).collect(),
            at,
            outside: BTreeMap::new(),
            level: None,
            singles: BTreeMap::new(),
            worst: 0.0,
        };
        f.forecast_all();
        f
    }

    /// Whether physics forecasts this engine and load at all.
    pub fn known(&self) -> bool {
        self.level.is_some()
    }

    /// Log gain that is forecast of one value alone.
    pub fn single(&self, knob: &Knob, value: &crate::launch::FlagValue) -> Option<f64> {
        self.singles.get(&(knob.flag.clone(), value.to_string())).copied().filter(|_| knob.modelled)
    }

    /// What a forecast of this candidate rests on, in words.
    pub fn standing(&mut self, c: &Candidate) -> Option<&'static str> {
        self.level.and_then(|_| self.forecaster.standing(c))
    }

    /// Refits the model on what was measured; forecasts anew when that changed it.
    pub fn learn(&mut self) {
        if self.forecaster.learn() {
            self.forecast_all();
        }
    }

    fn forecast_all(&mut self) {
        self.outside.clear();
        self.singles.clear();
        self.worst = 0.0;
        self.level = self.forecaster.score(self.base).zip(self.forecaster.score_without_slo(self.base));
        for e in &mut self.entries {
            (e.screened, e.simulated) = (None, None);
        }
        if self.level.is_none() {
            return;
        }
        self.screen_all();
        self.simulate_few_flags();
        let open: Vec<usize> = (0..self.entries.len()).filter(|&i| self.open(i)).collect();
        let sample = SAMPLE.min(open.len());
        for k in 0..sample {
            self.simulate_and_widen(open[k * open.len() / sample]);
        }
    }

    /// Simulates the candidates of one and two flags and those that the screen does not cover, and corrects the screen of
    /// the others.
    fn simulate_few_flags(&mut self) {
        let mut missed: BTreeMap<Vec<Change>, f64> = BTreeMap::new();
        for i in 0..self.entries.len() {
            let changes = changes(&self.entries[i].candidate, self.base);
            if let Some(s) = &mut self.entries[i].screened {
                *s += parts(&changes).iter().filter_map(|p| missed.get(p)).sum::<f64>();
                if changes.len() > 2 {
                    continue;
                }
            }
            let excess = self.simulate(i);
            if let [single] = &changes[..] {
                self.singles.extend(self.entries[i].simulated.map(|g| (single.clone(), g)));
            }
            if changes.len() <= 2 {
                missed.extend(excess.map(|x| (changes, x)));
            }
        }
    }

    fn screen_all(&mut self) {
        let Screening::Value(base) = self.forecaster.screen(self.base) else { return };
        for e in &mut self.entries {
            match self.forecaster.screen(&e.candidate) {
                Screening::Value(v) => e.screened = Some(v - base),
                // The memory arithmetic refuses it, while the base is forecast: it would fail.
                Screening::Refused => e.out |= e.candidate != *self.base,
                Screening::Uncovered => {}
            }
        }
    }

    /// Still without a simulation, and worth one if its bound is high enough.
    fn open(&self, i: usize) -> bool {
        let e = &self.entries[i];
        self.level.is_some() && e.simulated.is_none() && !e.out
    }

    /// Simulates an entry; returns by how much its gain exceeds the screened one.
    fn simulate(&mut self, i: usize) -> Option<f64> {
        let (level, without_slo) = self.level?;
        let e = &mut self.entries[i];
        if e.out || e.simulated.is_some() {
            return None;
        }
        let Some(score) = self.forecaster.score(&e.candidate) else {
            e.out = e.candidate != *self.base;
            return None;
        };
        (e.simulated, e.ever) = (Some(score - level), true);
        let free = self.forecaster.score_without_slo(&e.candidate)?;
        e.screened.map(|s| free - without_slo - s)
    }

    fn simulate_and_widen(&mut self, i: usize) {
        if let Some(excess) = self.simulate(i) {
            self.worst = self.worst.max(excess);
        }
    }

    fn band(&self) -> f64 {
        (CAUTION * self.worst).max(LEAST_BAND)
    }

    /// The simulated gain, else the most that the screen leaves possible: with no service-level objective broken.
    fn optimistic(&self, e: &Entry) -> f64 {
        let slack = self.level.map_or(0.0, |(score, free)| free - score);
        e.simulated.or(e.screened.map(|s| s + self.band() + slack)).unwrap_or(0.0)
    }

    /// Simulated log gain of a combination of modelled knobs; 0 where nothing can be forecast, `None` where the memory
    /// arithmetic or the simulator refuses it.
    pub fn gain(&mut self, c: &Candidate) -> Option<f64> {
        let Some((level, _)) = self.level else { return Some(0.0) };
        if c == self.base {
            return Some(0.0);
        }
        let id = c.id();
        if let Some(&i) = self.at.get(&id) {
            self.simulate_and_widen(i);
            return self.entries[i].simulated;
        }
        let (forecaster, outside) = (&mut *self.forecaster, &mut self.outside);
        *outside.entry(id).or_insert_with(|| forecaster.score(c).map(|s| s - level))
    }

    /// The combinations, in the order by which [`Forecasts::best`] numbers them.
    pub fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.entries.iter().map(|e| &e.candidate)
    }

    /// Combinations with the largest forecast after `correction` (of the combination's number and forecast), simulating as far
    /// as it takes to know which those are.
    pub fn best(&mut self, number: usize, correction: &dyn Fn(usize, f64) -> f64) -> Vec<Candidate> {
        loop {
            let of = |i: usize| correction(i, self.optimistic(&self.entries[i]));
            let mut all: Vec<(usize, f64)> =
                (0..self.entries.len()).filter(|&i| !self.entries[i].out).map(|i| (i, of(i))).collect();
            let number = number.min(all.len());
            if number == 0 {
                return Vec::new();
            }
            if number < all.len() {
                all.select_nth_unstable_by(number - 1, |a, b| b.1.total_cmp(&a.1));
                all.truncate(number);
            }
            all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            let open: Vec<usize> = all.iter().map(|(i, _)| *i).filter(|&i| self.open(i)).collect();
            if open.is_empty() {
                return all.into_iter().map(|(i, _)| self.entries[i].candidate.clone()).collect();
            }
            for i in open {
                self.simulate_and_widen(i);
            }
        }
    }

    /// Numbers of combinations: refused, and all.
    pub fn counts(&self) -> (usize, usize) {
        (self.entries.iter().filter(|e| e.out).count(), self.entries.len())
    }

    pub fn coverage(&self) -> Coverage {
        let simulated = self.entries.iter().filter(|e| e.ever).count();
        let screened_out = if self.level.is_some() { self.entries.len() - simulated } else { 0 };
        Coverage { simulated, screened_out, band: self.band() }
    }
}

/// The single changes and the pairs of them.
fn parts(changes: &[Change]) -> Vec<Vec<Change>> {
    let singles = changes.iter().map(|c| vec![c.clone()]);
    let pairs = changes
        .iter()
        .enumerate()
        .flat_map(|(i, a)| changes[..i].iter().map(move |b| vec![b.clone(), a.clone()]));
    singles.chain(pairs).collect()
}

/// In what `c` differs from `base`.
fn changes(c: &Candidate, base: &Candidate) -> Vec<Change> {
    let differs = c.flags.iter().filter(|(f, v)| base.flags.get(*f) != Some(v));
    differs.map(|(f, v)| (f.clone(), v.to_string())).collect()
}

/// The part of a candidate that physics knows: its other flags as in the base.
pub fn modelled_part(c: &Candidate, base: &Candidate, knobs: &[Knob]) -> Candidate {
    let known: BTreeSet<&str> = knobs.iter().filter(|k| k.modelled).map(|k| k.flag.as_str()).collect();
    let mut part = base.clone();
    part.flags.extend(
        c.flags.iter().filter(|(f, _)| known.contains(f.as_str())).map(|(f, v)| (f.clone(), v.clone())),
    );
    part
}

#[cfg(test)]
mod tests;
