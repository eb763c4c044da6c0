//! A launch of the defaults that lies far from the others: the first one on a machine may find cold caches and low clocks.
//!
//! Everything is held against the defaults, and the scatter of their launches says what a gain has to exceed: one cold launch of two
//! would hide every gain. Where the first two are far apart a third tells which of them it is.

use super::campaign::Campaign;
use super::findings::Findings;
use super::runner::Runner;
use crate::launch::Candidate;
use crate::search::{Ask, Evaluator, Runs, Stage, Stop};
use crate::stats::mean;
use crate::store::TrialLine;
use crate::trial::Outcome;

/// Two launches of one command are far apart from here on (log scale): six times what the difference of two scatters by on most
/// machines.
const APART: f64 = 0.1;

impl Campaign<'_> {
    /// Launches the defaults a third time where two launches are far apart, and sets the odd one of the three aside.
    pub(super) fn odd_launch(&mut self, found: &mut Findings, base: &Candidate) -> Result<(), Stop> {
        let levels = |found: &Findings| -> Vec<f64> {
            let launches = found.ledger.get(base).map_or(&[][..], |e| &e.launches);
            launches.iter().map(|l| mean(&l.iter().map(|s| s.score).collect::<Vec<_>>())).collect()
        };
        let two = levels(found);
        if two.len() != 2 || (two[0] - two[1]).abs() < APART || !self.runner.affordable() {
            return Ok(());
        }
        self.runner.expect(Stage::Baseline, 1);
        let runs = Runs::primary(0, self.runner.plan.settings.repeats);
        found.ledger.run(
            &mut self.runner,
            &Ask { stage: Stage::Baseline, candidate: base.clone(), launch: 2, runs },
        )?;
        let three = levels(found);
        if let Some((n, off)) = odd_one(&three) {
            found.ledger.forget(base, n);
            found.notes.extend(self.runner.set_odd_aside(base, n, off));
        }
        Ok(())
    }
}

/// The one of three that is far from the two others, which agree; and how far (log).
fn odd_one(levels: &[f64]) -> Option<(usize, f64)> {
    let [a, b, c] = levels else { return None };
    let far = [(0, a - (b + c) / 2.0, b - c), (1, b - (a + c) / 2.0, a - c), (2, c - (a + b) / 2.0, a - b)];
    let (n, off, spread) = far.into_iter().max_by(|x, y| x.1.abs().total_cmp(&y.1.abs()))?;
    (off.abs() > APART && 2.0 * spread.abs() < off.abs()).then_some((n, off))
}

/// Why a trial is no part of the comparison whose engine and answers are those of all others.
const ODD: &str = "far from other launches of the same command";

impl Runner<'_> {
    /// Trials whose answers count for the gate: how fast one was is no matter there.
    pub(super) fn answered(&self) -> Vec<&TrialLine> {
        let odd = self.apart.iter().filter(|t| t.apart.as_deref() == Some(ODD));
        self.trials.iter().chain(odd).collect()
    }

    /// Takes the n-th measured launch of the defaults out of the comparison; what the report says of it.
    fn set_odd_aside(&mut self, base: &Candidate, n: usize, off: f64) -> Option<String> {
        let of = |t: &TrialLine| {
            t.stage == Stage::Baseline
                && t.result.spec.candidate == *base
                && matches!(t.result.outcome, Outcome::Measured { .. })
        };
        let at = self.trials.iter().enumerate().filter(|(_, t)| of(t)).nth(n)?.0;
        let mut line = self.trials.remove(at);
        let text = format!(
            "Trial {} (the defaults) is not compared: it gave {:+.0} % against two further launches of the same command, as a first \
             launch may that finds a cold machine.",
            line.seq,
            100.0 * off.exp_m1()
        );
        self.note(&text);
        self.side_by_side.put_aside(line.result.wall_s);
        for run in super::outcomes::all_runs(&line.result) {
            self.observed.forget(&run.observation);
        }
        if let Some(other) = self.trials.iter().find(|t| of(t)) {
            let runs = Runs::primary(0, self.plan.settings.repeats);
            let ask = Ask { stage: Stage::Baseline, candidate: base.clone(), launch: other.launch, runs };
            self.observe(&ask, other);
        }
        line.apart = Some(ODD.to_owned());
        self.apart.push(line);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_that_two_others_agree_against_is_odd() {
        assert_eq!(odd_one(&[-0.36, 0.0, 0.02]).map(|o| o.0), Some(0));
        assert_eq!(odd_one(&[0.0, 0.3, 0.01]).map(|o| o.0), Some(1));
        // A machine that scatters so has no odd launch.
        assert_eq!(odd_one(&[0.0, 0.15, 0.3]), None);
        assert_eq!(odd_one(&[0.0, 0.05, 0.02]), None);
        assert_eq!(odd_one(&[0.0, 0.3]), None);
    }
}
