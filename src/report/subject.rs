//! What a report is about: the record, and the few things every part of the report asks of it.

use crate::engine::command::split_shell;
use crate::scenario::{EngineKind, Record};
use crate::space::Candidate;
use crate::store::{RunFile, TrialLine, Verdict};
use crate::trial::{LaunchFacts, Measured, Outcome};

/// A campaign's record, as read from its directory.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub run: &'a RunFile,
    pub trials: &'a [TrialLine],
    pub verdict: &'a Verdict,
}

impl<'a> Subject<'a> {
    /// Any of the launches was of the embedded engine.
    pub fn emulated(&self) -> bool {
        self.run.plan.emulated()
    }

    /// The conclusion in one sentence.
    pub fn sentence(&self) -> String {
        super::conclusion::sentence(self)
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

    /// The command that serves a candidate, as it was launched but without the address it happened to get.
    pub fn command(&self, candidate: &Candidate) -> Option<String> {
        let launched = self.observation(candidate)?.serve_command.clone()?;
        if candidate.engine != EngineKind::Emulated.id() {
            return Some(launched);
        }
        // The embedded engine is this program, wherever it lay when it ran.
        match launched.split_once(" emulate ") {
            Some((_, rest)) => Some(format!("dyno emulate {rest}")),
            None => Some(launched),
        }
    }

    /// Environment and argv of that command.
    pub(super) fn argv(&self, candidate: &Candidate) -> (Vec<(String, String)>, Vec<String>) {
        let words = split_shell(&self.command(candidate).unwrap_or_default());
        let is_setting = |w: &String| {
            w.split_once('=').is_some_and(|(k, _)| {
                !k.is_empty() && k.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
            })
        };
        let n = words.iter().take_while(|w| is_setting(w)).count();
        let env = words[..n].iter().filter_map(|w| w.split_once('='));
        (env.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(), words[n..].to_vec())
    }
}
