//! The way practitioners do it by hand, with the noise kept in view: one flag at a time, then the best
//! values together, then the neighbours of what was found.

use super::evaluator::{Ask, Runs, Stage, Stop};
use super::ledger::Ledger;
use super::space::{adjacent, singles};
use super::task::Search;
use crate::launch::Candidate;
use std::collections::BTreeMap;

impl Search<'_> {
    /// Searches one flag at a time and returns the incumbent: the base itself when nothing is better beyond the noise.
    pub fn one_factor(&mut self) -> Result<Candidate, Stop> {
        let found = singles(self.space, self.base);
        self.evaluator.expect(Stage::Search, found.len());
        self.launch_each(Stage::Search, &found)?;
        self.recheck(&found)?;
        let kept = self.best_by_flag(&found);
        let combined = self.combine(&kept)?;
        self.neighbours(combined)
    }

    /// Launches each of the candidates once; as many side by side as may be, where it is known that they do not disturb each
    /// other.
    fn launch_each(&mut self, stage: Stage, candidates: &[Candidate]) -> Result<(), Stop> {
        let places = if self.evaluator.neighbours_known() { self.evaluator.in_flight() } else { 1 };
        if places <= 1 {
            return candidates.iter().try_for_each(|c| self.launch_once(stage, c).map(drop));
        }
        let untried = candidates.iter().filter(|c| !self.ledger.tried(c));
        let runs = Runs::primary(0, 1);
        let asks: Vec<Ask> = untried.map(|c| Ask { stage, candidate: c.clone(), launch: 0, runs }).collect();
        self.launch_afforded(&asks)
    }

    /// Makes as many of the launches as the budget allows, and books what they gave.
    fn launch_afforded(&mut self, asks: &[Ask]) -> Result<(), Stop> {
        if asks.is_empty() || !self.evaluator.affordable() {
            return Ok(());
        }
        let left = self.evaluator.launches_left().unwrap_or(usize::MAX).max(1);
        let asks = &asks[..left.min(asks.len())];
        for (ask, answer) in asks.iter().zip(self.evaluator.evaluate_all(asks)?) {
            self.ledger.book(ask.stage, &ask.candidate, &answer);
        }
        if let Some((best, gain)) = self.ledger.best(self.base, self.settings) {
            self.evaluator.incumbent(&best, gain);
        }
        Ok(())
    }

    /// Launches one candidate once if it has not been tried and the budget allows; true when it has a score.
    fn launch_once(&mut self, stage: Stage, candidate: &Candidate) -> Result<bool, Stop> {
        if !self.ledger.tried(candidate) && self.evaluator.affordable() {
            let runs = Runs::primary(0, 1);
            self.ledger.run(self.evaluator, &Ask { stage, candidate: candidate.clone(), launch: 0, runs })?;
            if let Some((best, gain)) = self.ledger.best(self.base, self.settings) {
                self.evaluator.incumbent(&best, gain);
            }
        }
        Ok(self.ledger.scored(candidate))
    }

    /// Measures again, in fresh launches and with every seed of the baseline, the candidates whose gain may be
    /// worth having but is not yet told from noise.
    fn recheck(&mut self, candidates: &[Candidate]) -> Result<(), Stop> {
        for n in 0..self.settings.recheck_launches {
            let open: Vec<&Candidate> = candidates
                .iter()
                .filter(|c| {
                    self.ledger.effect(c, self.base, self.settings).is_some_and(|e| {
                        e.gain.value > self.settings.min_gain
                            && !e.is_gain()
                            && e.may_gain(self.settings.min_gain)
                    })
                })
                .collect();
            self.evaluator.expect(Stage::Recheck, open.len());
            let runs = Runs::primary(0, self.settings.repeats);
            let ask = |c: &Candidate| Ask { stage: Stage::Recheck, candidate: c.clone(), launch: n, runs };
            let asks: Vec<Ask> = open.into_iter().map(ask).collect();
            let places = if self.evaluator.neighbours_known() { self.evaluator.in_flight() } else { 1 };
            for together in asks.chunks(if places > 1 { asks.len() } else { 1 }.max(1)) {
                self.launch_afforded(together)?;
            }
        }
        Ok(())
    }

    /// Of each flag the value with the largest gain, where it is beyond the noise and worth it; best first.
    fn best_by_flag(&self, found: &[Candidate]) -> Vec<(Candidate, f64)> {
        let mut by_flag: BTreeMap<String, (Candidate, f64)> = BTreeMap::new();
        for c in found {
            let Some(e) = self.ledger.effect(c, self.base, self.settings) else { continue };
            if !e.is_gain() || e.gain.value < self.settings.min_gain {
                continue;
            }
            let flag = c.changed(self.base).join(" ");
            let better = by_flag.get(&flag).is_none_or(|(_, g)| e.gain.value > *g);
            if better {
                by_flag.insert(flag, (c.clone(), e.gain.value));
            }
        }
        let mut kept: Vec<_> = by_flag.into_values().collect();
        kept.sort_by(|a, b| b.1.total_cmp(&a.1));
        kept
    }

    /// All kept values together; when that is not admitted, fails, or is worse than the best single one, they
    /// are added one by one, best first, and each stays only if it helps.
    fn combine(&mut self, kept: &[(Candidate, f64)]) -> Result<Candidate, Stop> {
        let Some((first, _)) = kept.first() else { return Ok(self.base.clone()) };
        if kept.len() == 1 {
            return Ok(first.clone());
        }
        let all = self.base.together(kept.iter().map(|(c, _)| c));
        self.evaluator.expect(Stage::Combine, 1);
        let (base, settings) = (self.base, self.settings);
        let gain = |ledger: &Ledger, c: &Candidate| ledger.effect(c, base, settings).map(|e| e.gain.value);
        if self.space.admits(&all)
            && self.launch_once(Stage::Combine, &all)?
            && gain(self.ledger, &all) >= gain(self.ledger, first)
        {
            return Ok(all);
        }
        let mut best = first.clone();
        for (part, _) in &kept[1..] {
            let grown = best.together([part]);
            if !self.space.admits(&grown) {
                continue;
            }
            self.evaluator.expect(Stage::Combine, 1);
            if self.launch_once(Stage::Combine, &grown)?
                && gain(self.ledger, &grown) > gain(self.ledger, &best)
            {
                best = grown;
            }
        }
        Ok(best)
    }

    /// Tries what lies one flag away from the incumbent: each flag taken out (a flag that adds nothing in
    /// company does not belong in the command) and each ordered value moved one place. Moves on while it gets
    /// better.
    fn neighbours(&mut self, from: Candidate) -> Result<Candidate, Stop> {
        let mut best = from;
        loop {
            let flags = best.changed(self.base);
            let mut around = Vec::new();
            if flags.len() > 1 {
                around.extend(flags.iter().map(|f| best.without(f, self.base)));
            }
            for knob in self.space.knobs().iter().filter(|k| flags.contains(&k.flag)) {
                let values = adjacent(knob, &best.flags[&knob.flag]);
                around.extend(values.into_iter().map(|v| best.with(&knob.flag, v)));
            }
            around.retain(|c| self.space.admits(c));
            let fresh = around.iter().filter(|c| !self.ledger.tried(c)).count();
            self.evaluator.expect(Stage::Neighbours, fresh);
            self.launch_each(Stage::Neighbours, &around)?;
            match self.step_to(&best, &around) {
                Some(next) if self.evaluator.affordable() => best = next,
                Some(next) => return Ok(next),
                None => return Ok(best),
            }
        }
    }

    /// The neighbour to move to: a larger one only when better beyond the noise, a smaller one (flag taken
    /// out) when it is not worse by what a flag must be worth.
    fn step_to(&self, best: &Candidate, around: &[Candidate]) -> Option<Candidate> {
        let size = |c: &Candidate| c.changed(self.base).len();
        // What the flag missing in `c` must bring in company to stay: a quarter of what it brought alone, and
        // no less than what any flag must be worth.
        let owed = |c: &Candidate| {
            let missing = best.flags.iter().find(|(k, _)| !c.flags.contains_key(*k));
            let alone = missing.and_then(|(k, v)| {
                self.ledger.effect(&self.base.with(k, v.clone()), self.base, self.settings)
            });
            alone.map_or(0.0, |e| e.gain.value / 4.0).max(self.settings.min_gain)
        };
        let worth = |c: &Candidate| {
            let e = self.ledger.effect(c, best, self.settings)?;
            let simpler = size(c) < size(best) && e.gain.value > -owed(c);
            let better = e.is_gain() && e.gain.value > self.settings.min_gain;
            (simpler || better).then_some(e.gain.value)
        };
        let moves = around.iter().filter_map(|c| worth(c).map(|g| (c, g)));
        moves.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(c, _)| c.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{FakeEvaluator, FakeSpace};
    use super::super::settings::Settings;
    use super::*;
    use crate::launch::EngineKind;
    use crate::launch::FlagValue;

    fn value(c: &Candidate, flag: &str) -> i64 {
        match c.flags.get(flag) {
            Some(FlagValue::Int(i)) => *i,
            _ => 0,
        }
    }

    fn search(ev: &mut FakeEvaluator, space: &FakeSpace) -> (Candidate, Ledger) {
        let base = Candidate::baseline(EngineKind::Emulated);
        let settings = Settings::default();
        let mut ledger = Ledger::default();
        for launch in 0..2 {
            let runs = Runs::primary(0, settings.repeats);
            let ask = Ask { stage: Stage::Baseline, candidate: base.clone(), launch, runs };
            ledger.run(ev, &ask).unwrap();
        }
        let mut search =
            Search { evaluator: ev, space, base: &base, ledger: &mut ledger, settings: &settings };
        (search.one_factor().unwrap(), ledger)
    }

    #[test]
    fn real_gains_are_combined_and_dead_flags_left_out() {
        let space = FakeSpace::new(&[("async", 1), ("seqs", 3), ("dead", 2)]);
        let truth = |c: &Candidate| {
            let seqs = [0.0, 0.05, 0.12, 0.02][value(c, "seqs") as usize];
            Some(0.2 * value(c, "async") as f64 + seqs)
        };
        let right = (0..20).filter(|&seed| {
            let mut ev = FakeEvaluator::new(0.005, seed, truth);
            let (found, _) = search(&mut ev, &space);
            found.label() == "--async 1 --seqs 2"
        });
        assert!(right.count() >= 19);
    }

    #[test]
    fn launches_side_by_side_find_the_same() {
        let space = FakeSpace::new(&[("async", 1), ("seqs", 3), ("dead", 2)]);
        let truth = |c: &Candidate| Some(0.2 * value(c, "async") as f64 + 0.05 * value(c, "seqs") as f64);
        let mut ev = FakeEvaluator { places: 3, ..FakeEvaluator::new(0.002, 1, truth) };
        let (found, _) = search(&mut ev, &space);
        assert_eq!(found.label(), "--async 1 --seqs 3");
        assert_eq!(ev.together[..2], [3, 3], "six singles in two batches");
    }

    #[test]
    fn flags_that_only_work_alone_are_taken_out_again() {
        // Either flag hides the same host time: together they give no more than one.
        let space = FakeSpace::new(&[("a", 1), ("b", 1)]);
        let mut ev = FakeEvaluator::new(0.004, 3, |c| Some(0.15 * (value(c, "a").max(value(c, "b"))) as f64));
        let (found, _) = search(&mut ev, &space);
        assert_eq!(found.flags.len(), 1, "{}", found.label());
    }

    #[test]
    fn without_any_effect_the_defaults_stay_most_of_the_time() {
        let space = FakeSpace::new(&[("a", 2), ("b", 2), ("c", 2), ("d", 2)]);
        let kept = (0..40)
            .filter(|&seed| {
                let mut ev = FakeEvaluator::new(0.01, seed, |_| Some(0.0));
                search(&mut ev, &space).0.flags.is_empty()
            })
            .count();
        assert!(kept >= 30, "{kept} of 40");
    }

    #[test]
    fn failing_candidates_are_booked_and_passed_over() {
        let space = FakeSpace::new(&[("a", 2)]);
        let mut ev =
            FakeEvaluator::new(0.003, 1, |c| (value(c, "a") < 2).then(|| 0.1 * value(c, "a") as f64));
        let (found, ledger) = search(&mut ev, &space);
        assert_eq!(found.label(), "--a 1");
        let failed: Vec<_> = ledger.entries().filter(|e| e.failure.is_some()).collect();
        assert_eq!(failed.len(), 1);
    }

    #[test]
    fn the_budget_ends_the_search_with_what_is_known() {
        let space = FakeSpace::new(&[("a", 1), ("b", 9), ("c", 9)]);
        let mut ev = FakeEvaluator::new(0.003, 1, |c| Some(0.1 * value(c, "a") as f64));
        ev.most = 5;
        let (found, _) = search(&mut ev, &space);
        assert_eq!(found.label(), "--a 1");
        assert_eq!(ev.asked.len(), 5);
    }
}
