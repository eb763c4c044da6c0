//! The launcher that starts real engines.

use super::cancel::Cancel;
use super::runner::Launcher;
use crate::engine::Class;
use crate::error::{Error, Result};
use crate::trial::{Observer, Outcome, TrialResult, TrialSpec, run_trial};

/// Runs trials in this process.
pub struct TrialLauncher<'a> {
    pub cancel: Cancel,
    /// Told of the steps inside a trial.
    pub observer: &'a dyn Observer,
}

impl Launcher for TrialLauncher<'_> {
    fn launch(&mut self, spec: &TrialSpec) -> Result<TrialResult> {
        let mut result = run_trial(spec, &self.cancel.load, self.observer);
        if killed(&result) && !self.cancel.requested() {
            // An operator, or the kernel short of memory: one more launch tells whether it is the candidate.
            result = run_trial(spec, &self.cancel.load, self.observer);
        }
        match &result.outcome {
            // The machine refused, not the candidate: booked on it, this would become a verdict.
            Outcome::Failed { failure, .. }
                if failure.class == Class::Unwritable || failure.phase == "client" =>
            {
                Err(Error::failed(format!("the trial could not be made: {}", failure.root_cause))
                    .at(&spec.dir)
                    .hint("mend it (space on the disk, limits, permissions) and go on with --resume"))
            }
            _ => Ok(result),
        }
    }
}

/// Its first process was killed by a signal that no process sends itself.
fn killed(result: &TrialResult) -> bool {
    match &result.outcome {
        Outcome::Failed { failure, .. } => {
            failure.exit.as_deref().is_some_and(|e| e.starts_with("signal 9 "))
        }
        Outcome::Measured { .. } => false,
    }
}
