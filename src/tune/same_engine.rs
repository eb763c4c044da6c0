//! Whether a launch ran the engine that the trials before it ran: the same release, and the same image where it has one.

use super::runner::Runner;
use crate::error::Error;
use crate::store::TrialLine;
use crate::trial::{LaunchFacts, Outcome};

impl Runner<'_> {
    /// Why the launch is not comparable with the trials of the record: its engine is of another version, or its image another.
    pub(super) fn other_engine(&self, line: &TrialLine) -> Option<String> {
        self.other(line, "", version).or_else(|| self.other(line, "image ", image))
    }

    fn other(&self, line: &TrialLine, what: &str, of: fn(&TrialLine) -> Option<&str>) -> Option<String> {
        let now = of(line)?;
        let engine = line.result.spec.candidate.engine;
        let earlier = self.trials.iter().chain(&self.recorded);
        let mut earlier = earlier.filter(|t| t.result.spec.candidate.engine == engine).filter_map(of);
        let before = earlier.find(|before| *before != now)?;
        Some(format!(
            "{engine} is {what}{now} now, and the record's trials are of {what}{before}: they are not comparable"
        ))
    }

    pub(super) fn stopped_by(&self, why: &str) -> Error {
        Error::failed(why).at(self.dir.display()).hint(
            "the trial stays in the record, told apart; begin anew with another --out, or install the version of the record \
             (for an image: name it by its digest) and go on with --resume",
        )
    }
}

fn facts(line: &TrialLine) -> Option<&LaunchFacts> {
    match &line.result.outcome {
        Outcome::Measured { facts, .. } => Some(facts),
        Outcome::Failed { facts, .. } => facts.as_ref(),
    }
}

/// The version that the engine of a launch reported.
fn version(line: &TrialLine) -> Option<&str> {
    facts(line)?.version.as_deref()
}

/// The identity of the image that a launch ran.
fn image(line: &TrialLine) -> Option<&str> {
    facts(line)?.image.as_ref().map(|i| i.id.as_str())
}
