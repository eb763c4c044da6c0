//! Questions to the record that more than one part of the report asks.

use super::subject::Subject;
use crate::launch::{Candidate, EngineKind, FlagValue};
use crate::quality;
use crate::scenario::{Key, Record};
use crate::search::Stage;
use crate::stats::{Interval, mean};
use crate::store::{MetricRow, Plan, TrialLine, Tried};

/// A candidate with the means of its valid runs of the first workload.
#[derive(Debug, Clone)]
pub(super) struct Measured<'a> {
    pub(super) candidate: &'a Candidate,
    pub(super) runs: usize,
    pub(super) total_throughput: Option<f64>,
    pub(super) mean_tpot_ms: Option<f64>,
}

impl<'a> Subject<'a> {
    /// The candidate that stood against the baseline in the confirmation: the winner, or what did not hold.
    pub(super) fn challenger(&self) -> Option<&'a Candidate> {
        let base = self.baseline()?;
        let confirmed = self.trials.iter().filter(|t| t.stage == Stage::Confirm);
        confirmed.map(|t| &t.result.spec.candidate).find(|c| *c != base)
    }

    pub(super) fn winner(&self) -> Option<&'a Candidate> {
        self.verdict.compared.as_ref().map(|c| &c.winner)
    }

    /// The recommended command differs from the defaults.
    pub(super) fn has_win(&self) -> bool {
        self.verdict.compared.as_ref().is_some_and(|c| c.winner != c.baseline)
    }

    /// Confidence of every interval of the before and after.
    pub(super) fn confidence(&self) -> f64 {
        let improvement = self.verdict.compared.as_ref().and_then(|c| c.improvement.as_ref());
        improvement.map_or(1.0 - self.run.plan.settings.alpha, |i| i.confidence)
    }

    /// Valid runs of the first workload in one trial, by the objective's value.
    pub(super) fn values(&self, t: &'a TrialLine) -> Vec<f64> {
        let plan = &self.run.plan;
        Subject::runs(t)
            .iter()
            .filter(|m| m.invalid.is_empty() && m.workload.same_kind(&plan.primary().spec))
            .filter_map(|m| plan.objective.value(&m.observation, &plan.slo))
            .collect()
    }

    /// Mean of one key over the valid runs of the first workload of a candidate.
    pub(super) fn mean_of(&self, candidate: &Candidate, key: Key) -> Option<f64> {
        let mine = self.trials.iter().filter(|t| t.result.spec.candidate == *candidate);
        let runs = mine.flat_map(Subject::runs);
        let valid =
            runs.filter(|m| m.invalid.is_empty() && m.workload.same_kind(&self.run.plan.primary().spec));
        let values: Vec<f64> =
            valid.filter_map(|m| m.observation.result.as_ref().and_then(|r| r.get(key))).collect();
        (!values.is_empty()).then(|| mean(&values))
    }

    /// Every candidate that gave a value and that may be served, in the order of its first launch: what failed the quality
    /// gate is fast with other answers.
    pub(super) fn measured(&self) -> Vec<Measured<'a>> {
        let mut seen: Vec<&Candidate> = Vec::new();
        let mut out = Vec::new();
        for t in self.trials {
            let candidate = &t.result.spec.candidate;
            let failed = t.quality.as_ref().is_some_and(|q| q.outcome == quality::Outcome::Failed);
            if failed || seen.contains(&candidate) {
                continue;
            }
            seen.push(candidate);
            let mine = self.trials.iter().filter(|o| o.result.spec.candidate == *candidate);
            let values: Vec<f64> = mine.flat_map(|o| self.values(o)).collect();
            if !values.is_empty() {
                out.push(Measured {
                    candidate,
                    runs: values.len(),
                    total_throughput: self.mean_of(candidate, Key::TotalTokenThroughput),
                    mean_tpot_ms: self.mean_of(candidate, Key::MeanTpotMs),
                });
            }
        }
        out
    }

    /// The change of the objective on the first workload, as the confirmation has it, turned as the table turns it: the
    /// change of the value itself.
    pub(super) fn objective_change(&self) -> Option<Interval> {
        let i = &self.verdict.compared.as_ref()?.improvement.as_ref()?.interval;
        Some(if self.run.plan.objective.higher_is_better() {
            *i
        } else {
            Interval { value: -i.value, low: -i.high, high: -i.low }
        })
    }

    /// The change to show for a row: one number has one interval, so the objective's is that of the confirmation.
    pub(super) fn change_of(&self, workload: usize, row: &MetricRow) -> Option<Interval> {
        if workload == 0 && row.key == self.run.plan.objective.key().name() {
            return self.objective_change().or(row.change);
        }
        row.change
    }

    /// The best candidate of the search by its effect there.
    pub(super) fn best_tried(&self) -> Option<&'a Tried> {
        let alive = self.verdict.tried.iter().filter(|t| t.failure.is_none());
        alive.filter(|t| t.effect.is_some()).max_by(|a, b| {
            let value = |t: &Tried| t.effect.map_or(f64::NEG_INFINITY, |e| e.value);
            value(a).total_cmp(&value(b))
        })
    }

    pub(super) fn tried(&self, candidate: &Candidate) -> Option<&'a Tried> {
        self.verdict.tried.iter().find(|t| t.candidate == *candidate)
    }
}

/// Valid runs of a candidate on the campaign's workloads: those of the confirmation where there are any, since they took
/// turns with the other side, else all.
pub fn measured_runs(plan: &Plan, trials: &[TrialLine], candidate: &Candidate) -> Vec<Record> {
    let mine: Vec<&TrialLine> = trials.iter().filter(|t| t.result.spec.candidate == *candidate).collect();
    let confirmed = mine.iter().any(|t| t.stage == Stage::Confirm);
    mine.into_iter()
        .filter(|t| !confirmed || t.stage == Stage::Confirm)
        .flat_map(Subject::runs)
        .filter(|m| m.invalid.is_empty() && plan.workloads.iter().any(|w| w.spec.same_kind(&m.workload)))
        .map(|m| Record { requests: None, ..m.observation.clone() })
        .collect()
}

/// Flags that `of` sets and `over` does not, or sets otherwise.
pub(super) fn extra_flags(of: &Candidate, over: &Candidate) -> Vec<(String, FlagValue)> {
    let differs = |(k, v): &(&String, &FlagValue)| over.flags.get(*k) != Some(v);
    of.flags.iter().filter(differs).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// `--flag value`, as a command has it.
pub(super) fn flag_text(engine: EngineKind, flag: &str, value: &FlagValue) -> String {
    Candidate::baseline(engine).with(flag, value.clone()).label()
}
