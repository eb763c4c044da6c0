//! The quality gate in a campaign: which launches are asked the prompts, and what becomes of a candidate that fails.

use crate::engine::Class;
use crate::error::Result;
use crate::launch::Candidate;
use crate::quality::{self, Check};
use crate::search::{Answer, Ask, FailedLaunch, Scope, Stage};
use crate::space::{OutputChange, Space};
use crate::store::{Plan, TrialLine};
use crate::trial::{ANSWERS, AskQuality, Outcome, read_answers};
use std::path::{Path, PathBuf};

/// The tables by which a candidate's class of change is known.
pub(super) struct Gate {
    tables: Vec<Space>,
}

impl Gate {
    pub(super) fn new(plan: &Plan) -> Result<Gate> {
        Ok(Gate { tables: plan.spaces()? })
    }

    fn change(&self, c: &Candidate) -> OutputChange {
        let table = self.tables.iter().find(|t| t.engine == c.engine);
        table.map_or(OutputChange::None, |t| t.output_change(c))
    }

    /// What is to be asked of a launch: of the engine's first baseline its own answers, of every candidate that may answer
    /// otherwise, once, what it makes of the baseline's.
    pub(super) fn asks(
        &self,
        plan: &Plan,
        dir: &Path,
        trials: &[&TrialLine],
        ask: &Ask,
    ) -> Option<AskQuality> {
        if !plan.answers_may_change() || matches!(ask.runs.scope, Scope::Probes | Scope::PrimaryAndProbes) {
            return None;
        }
        let reference = reference(dir, trials, &ask.candidate);
        if ask.stage == Stage::Baseline {
            return reference.is_none().then(|| AskQuality { reference: None, eval: plan.eval.clone() });
        }
        let known = trials.iter().any(|t| t.quality.is_some() && t.result.spec.candidate == ask.candidate);
        if known || self.change(&ask.candidate) == OutputChange::None {
            return None;
        }
        Some(AskQuality { reference: Some(reference?.display().to_string()), eval: plan.eval.clone() })
    }

    /// What the answers of a launch say against the baseline's.
    pub(super) fn check(&self, plan: &Plan, line: &TrialLine) -> Option<Check> {
        let spec = &line.result.spec;
        let asked = spec.quality.as_ref()?.reference.as_ref()?;
        let Outcome::Measured { .. } = &line.result.outcome else { return None };
        let baseline = read_answers(Path::new(asked)).unwrap_or_default();
        let own = read_answers(&Path::new(&spec.dir).join(ANSWERS)).unwrap_or_default();
        let same = self.change(&spec.candidate) <= OutputChange::Lossless;
        Some(quality::check(&baseline, &own, plan.max_quality_loss, same))
    }
}

/// File with the answers of the engine's baseline.
fn reference(dir: &Path, trials: &[&TrialLine], c: &Candidate) -> Option<PathBuf> {
    let asked = |t: &&&TrialLine| {
        let spec = &t.result.spec;
        let own = spec.quality.as_ref().is_some_and(|q| q.reference.is_none());
        own && spec.candidate.engine == c.engine && matches!(t.result.outcome, Outcome::Measured { .. })
    };
    let line = trials.iter().find(asked)?;
    let file = dir.join("trials").join(&line.result.spec.id).join(ANSWERS);
    file.exists().then_some(file)
}

/// The answer to the search: a candidate that fails the gate gave no score, and says why.
pub(super) fn gated(answer: Answer, check: Option<&Check>, candidate: &Candidate) -> Answer {
    match check.filter(|c| c.outcome == quality::Outcome::Failed && answer.failure.is_none()) {
        None => answer,
        Some(c) => Answer {
            samples: Vec::new(),
            failure: Some(FailedLaunch {
                class: Class::QualityLoss.id().to_owned(),
                root_cause: format!("{} ({})", c.words, candidate.label()),
                hint: "allow a larger --max-quality-loss, or leave it out".to_owned(),
                memory: false,
            }),
        },
    }
}
