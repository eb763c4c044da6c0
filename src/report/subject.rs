//! What a report is about: the record, and the few things every part of the report asks of it.

use super::analysis::Analysis;
use crate::launch::{Candidate, EngineKind, Launch};
use crate::scenario::Record;
use crate::store::{RunFile, TrialLine, Verdict};
use crate::trial::{LaunchFacts, Measured, Outcome};

/// A campaign's record, as read from its directory.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub run: &'a RunFile,
    pub trials: &'a [TrialLine],
    pub verdict: &'a Verdict,
    /// What the fitted model says of the two commands, where it was worked out.
    pub analysis: Option<&'a Analysis>,
}

impl<'a> Subject<'a> {
    /// Any of the launches was of the embedded engine.
    pub fn emulated(&self) -> bool {
        self.run.plan.emulated()
    }

    /// `emulated` or `measured`.
    pub(super) fn manner(&self) -> &'static str {
        if self.emulated() { "emulated" } else { "measured" }
    }

    pub(super) fn baseline(&self) -> Option<&'a Candidate> {
        self.verdict.compared.as_ref().map(|c| &c.baseline)
    }

    pub(super) fn facts(line: &'a TrialLine) -> Option<&'a LaunchFacts> {
        match &line.result.outcome {
            Outcome::Measured { facts, .. } => Some(facts),
            Outcome::Failed { facts, .. } => facts.as_ref(),
        }
    }

    pub(super) fn runs(line: &'a TrialLine) -> &'a [Measured] {
        match &line.result.outcome {
            Outcome::Measured { runs, .. } | Outcome::Failed { runs, .. } => runs,
        }
    }

    /// The last valid observation of the candidate on the first workload: from the confirmation when it
    /// was there, else from the search.
    pub(super) fn observation(&self, candidate: &Candidate) -> Option<&'a Record> {
        let mine = self.trials.iter().rev().filter(|t| t.result.spec.candidate == *candidate);
        let valid = mine.flat_map(Self::runs).filter(|m| m.invalid.is_empty());
        let of_primary = |m: &&Measured| m.workload.same_kind(&self.run.plan.primary().spec);
        valid.filter(of_primary).map(|m| &m.observation).next()
    }

    /// The last valid observation of a candidate, as a scenario to forecast from.
    pub fn observed(&self, candidate: &Candidate) -> Option<&'a Record> {
        self.observation(candidate)
    }

    /// The command that serves a candidate, as it was launched but without the address it happened to get.
    pub fn command(&self, candidate: &Candidate) -> Option<String> {
        Some(self.launch(candidate)?.to_lines(self.run.plan.router.as_deref()))
    }

    /// The command of one launch, whether or not it gave a figure.
    pub(super) fn launched(line: &'a TrialLine) -> Option<String> {
        let engine = line.result.spec.candidate.engine;
        let observed = Self::runs(line).iter().map(|m| &m.observation).find(|o| o.serve_command.is_some());
        let facts = || Self::facts(line).map(|f| Launch { argv: f.argv.clone(), ..Launch::default() });
        Some(as_typed(observed.map(Record::launch).or_else(facts)?, engine).to_text())
    }

    /// That command as a value, with the files that it reads.
    pub fn launch(&self, candidate: &Candidate) -> Option<Launch> {
        let observation = self.observation(candidate)?;
        observation.serve_command.as_ref()?;
        Some(as_typed(observation.launch(), candidate.engine))
    }
}

/// The embedded engine is this program, wherever it lay when it ran.
fn as_typed(mut launch: Launch, engine: EngineKind) -> Launch {
    if engine == EngineKind::Emulated
        && let Some(at) = launch.argv.iter().position(|w| w == "emulate")
    {
        launch.argv.splice(..at, ["dyno".to_owned()]);
    }
    launch
}
