//! What recorded trials say: runs that may be used, the answer to the search, versions and failures.

use crate::engine::Class;
use crate::launch::Candidate;
use crate::search::{Answer, FailedLaunch, Sample};
use crate::store::{Plan, TrialLine};
use crate::trial::{Measured, Outcome, TrialResult};
use crate::workload::WorkloadSpec;

/// Runs that may be used, of one workload of the plan (its index).
pub fn runs_of<'r>(
    result: &'r TrialResult,
    plan: &'r Plan,
    workload: usize,
) -> impl Iterator<Item = &'r Measured> + 'r {
    let wanted = unseeded(&plan.workloads[workload].spec);
    all_runs(result).iter().filter(move |m| m.invalid.is_empty() && unseeded(&m.workload) == wanted)
}

/// All runs, also of a launch that failed later and also invalid ones.
pub fn all_runs(result: &TrialResult) -> &[Measured] {
    match &result.outcome {
        Outcome::Measured { runs, .. } | Outcome::Failed { runs, .. } => runs,
    }
}

/// A workload without what a run may have filled in: its own seed and the real token counts.
fn unseeded(spec: &WorkloadSpec) -> WorkloadSpec {
    WorkloadSpec { seed: None, total_input_tokens: None, total_output_tokens: None, ..spec.clone() }
}

/// What a trial says to the search: scores of the valid runs of the first workload.
pub fn answer(result: &TrialResult, plan: &Plan) -> Answer {
    let sample = |m: &Measured| {
        let score = plan.objective.score(&m.observation, &plan.slo)?;
        Some(Sample { repeat: m.repeat, score })
    };
    let failure = match &result.outcome {
        Outcome::Failed { failure, .. } => Some(FailedLaunch {
            class: failure.class.id().to_owned(),
            root_cause: failure.root_cause.clone(),
            hint: failure.hint.clone(),
            memory: failure.class.out_of_memory(),
        }),
        Outcome::Measured { .. } => None,
    };
    // What ran before a crash does not speak for a candidate that crashes.
    let usable = runs_of(result, plan, 0).filter(|_| failure.is_none());
    let samples = usable.filter_map(sample).collect();
    Answer { samples, failure }
}

/// Mean of the objective over the valid runs of the first workload.
pub fn mean_value(result: &TrialResult, plan: &Plan) -> Option<f64> {
    let values: Vec<f64> =
        runs_of(result, plan, 0).filter_map(|m| plan.objective.value(&m.observation, &plan.slo)).collect();
    (!values.is_empty()).then(|| crate::stats::mean(&values))
}

/// Why a launch that did not fail has no run that can be used, when that is so.
pub fn unusable(result: &TrialResult) -> Option<FailedLaunch> {
    let Outcome::Measured { runs, .. } = &result.outcome else { return None };
    let spoilt = runs.last().filter(|_| runs.iter().all(|m| !m.invalid.is_empty()))?;
    Some(FailedLaunch {
        class: Class::NoValidRun.id().to_owned(),
        root_cause: spoilt.invalid.join("; "),
        hint: "leave the machine to the engine and to dyno, then try again".into(),
        memory: false,
    })
}

/// Engine version that the first launch of the candidate reported.
pub(super) fn version_of(trials: &[TrialLine], candidate: &Candidate) -> Option<String> {
    trials.iter().filter(|t| t.result.spec.candidate == *candidate).find_map(|t| match &t.result.outcome {
        Outcome::Measured { facts, .. } => facts.version.clone(),
        Outcome::Failed { facts, .. } => facts.as_ref().and_then(|f| f.version.clone()),
    })
}

/// Every trial's failure by class, for the message when nothing is feasible.
pub fn failures_by_class(trials: &[TrialLine], plan: &Plan) -> Vec<(String, usize, String)> {
    let mut classes: Vec<(String, usize, String)> = Vec::new();
    for t in trials {
        let Some(f) = answer(&t.result, plan).failure.or_else(|| unusable(&t.result)) else { continue };
        match classes.iter_mut().find(|(c, ..)| *c == f.class) {
            Some((_, n, _)) => *n += 1,
            None => classes.push((f.class, 1, format!("{} ({})", f.root_cause, f.hint))),
        }
    }
    classes
}
