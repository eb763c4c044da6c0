//! What earlier campaigns say to this one (`--prior DIR`): their launches where they measured the same thing, and their winners.

use super::gate::gated;
use super::outcomes::{answer, version_of};
use crate::error::Result;
use crate::launch::{Candidate, EngineKind};
use crate::search::Ledger;
use crate::store::{Plan, TrialLine, read_journal, read_run};
use crate::workload::WorkloadSpec;
use std::path::Path;

/// The command that an earlier campaign recommended for an engine, where it was not the defaults.
pub(super) fn winner(dir: &str, engine: EngineKind) -> Option<Candidate> {
    let verdict = read_journal(Path::new(dir)).ok()?.verdict?;
    let compared = verdict.compared?;
    (compared.winner.engine == engine && compared.winner != compared.baseline).then_some(compared.winner)
}

/// Books an earlier campaign's launches in the search's ledger where they measured what this one does; returns a sentence
/// for the report.
///
/// Errors: the record cannot be read.
pub(super) fn learn(
    plan: &Plan,
    dir: &str,
    base: &Candidate,
    version: Option<&str>,
    ledger: &mut Ledger,
) -> Result<String> {
    let path = Path::new(dir);
    let earlier = read_run(path)?.plan;
    let trials = read_journal(path)?.trials;
    let differs = differences(plan, &earlier, &trials, base, version);
    if !differs.is_empty() {
        return Ok(format!(
            "Of the campaign in {dir} only the winner is taken up: it differs in {}.",
            differs.join(", ")
        ));
    }
    let mut theirs = Ledger::default();
    for t in trials.iter().filter(|t| t.result.spec.candidate.engine == base.engine) {
        let candidate = &t.result.spec.candidate;
        theirs.book(t.stage, candidate, &gated(answer(&t.result, &earlier), t.quality.as_ref(), candidate));
    }
    let taken = ledger.learn_from(&theirs, base);
    Ok(format!("The search starts from {taken} launches of the campaign in {dir}."))
}

/// In what an earlier campaign measured something else.
fn differences(
    plan: &Plan,
    earlier: &Plan,
    trials: &[TrialLine],
    base: &Candidate,
    version: Option<&str>,
) -> Vec<&'static str> {
    let shape = |p: &Plan| WorkloadSpec { seed: None, ..p.primary().spec.clone() };
    let checks = [
        ("the model", plan.model == earlier.model),
        ("the hardware", plan.hardware == earlier.hardware && plan.num_gpus == earlier.num_gpus),
        ("the workload", shape(plan) == shape(earlier)),
        ("the objective", plan.objective == earlier.objective && plan.slo == earlier.slo),
        (
            "the flags of every launch",
            plan.fixed_args == earlier.fixed_args && plan.max_model_len == earlier.max_model_len,
        ),
        ("the engine's release", version_of(trials, base).as_deref() == version),
    ];
    checks.into_iter().filter(|(_, same)| !same).map(|(what, _)| what).collect()
}
