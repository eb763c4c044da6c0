//! The launcher that starts real engines.

use super::cancel::Cancel;
use super::runner::Launcher;
use crate::error::Result;
use crate::trial::{Observer, TrialResult, TrialSpec, run_trial};

/// Runs trials in this process.
pub struct TrialLauncher<'a> {
    pub cancel: Cancel,
    /// Told of the steps inside a trial.
    pub observer: &'a dyn Observer,
}

impl Launcher for TrialLauncher<'_> {
    fn launch(&mut self, spec: &TrialSpec) -> Result<TrialResult> {
        Ok(run_trial(spec, &self.cancel.load, self.observer))
    }
}
