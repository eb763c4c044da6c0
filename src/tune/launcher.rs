//! The launcher that starts real engines.

use super::cancel::Cancel;
use super::queue::{Queue, side_by_side};
use super::remedies::{Second, second};
use super::runner::Launcher;
use crate::engine::Class;
use crate::engine::failure::{Excerpt, Stage, assess};
use crate::error::{Error, Result};
use crate::trial::{Failure, Observer, Outcome, TrialResult, TrialSpec, run_trial};
use std::path::Path;
use std::time::{Duration, Instant};

/// Runs trials in this process.
pub struct TrialLauncher<'a> {
    pub cancel: Cancel,
    /// Told of the steps inside a trial.
    pub observer: &'a dyn Observer,
}

impl Launcher for TrialLauncher<'_> {
    fn launch(&mut self, spec: &TrialSpec) -> Result<TrialResult> {
        self.trial(spec)
    }

    fn launch_all(&mut self, in_flight: usize, queue: &mut dyn Queue) {
        let this = &*self;
        side_by_side(in_flight, queue, &|spec| this.trial(spec));
    }
}

impl TrialLauncher<'_> {
    fn trial(&self, spec: &TrialSpec) -> Result<TrialResult> {
        twice_where_due(spec, &self.cancel, &|s| Ok(run_trial(s, &self.cancel.load, self.observer)))
    }
}

/// A trial, by `run`; once more where a failure may lie outside of the candidate: one more launch tells.
///
/// Errors: those of `run`, and a machine that refused, which is no verdict on the candidate.
pub(super) fn twice_where_due(
    spec: &TrialSpec,
    cancel: &Cancel,
    run: &dyn Fn(&TrialSpec) -> Result<TrialResult>,
) -> Result<TrialResult> {
    let mut result = run(spec)?;
    if let Some((first, second)) = deserves(spec, &result).filter(|_| !cancel.requested()) {
        let mut again = spec.clone();
        match second {
            Second::After(s) => pause(s, cancel),
            Second::Longer => again.ready_timeout_s *= 2.0,
        }
        keep_log(spec);
        if !cancel.requested() {
            result = run(&again)?;
            result.first_failure = Some(first);
        }
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

fn pause(seconds: f64, cancel: &Cancel) {
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    while Instant::now() < until && !cancel.requested() {
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn deserves(spec: &TrialSpec, result: &TrialResult) -> Option<(Failure, Second)> {
    let Outcome::Failed { failure, .. } = &result.outcome else { return None };
    let outside = failure.phase != "client";
    Some((failure.clone(), second(failure, went_on(spec)).filter(|_| outside)?))
}

/// The log ends while weights are read or the model is compiled: slow, not hung.
fn went_on(spec: &TrialSpec) -> bool {
    let log = std::fs::File::open(Path::new(&spec.dir).join("engine.log")).and_then(Excerpt::read);
    let verdict = log.ok().and_then(|l| assess(&l, Some(spec.candidate.engine)));
    verdict.is_some_and(|v| {
        v.class == Class::NotReady && v.stage.is_some_and(|s| (Stage::Weights..=Stage::WarmUp).contains(&s))
    })
}

/// The first launch's log stays beside the second's.
fn keep_log(spec: &TrialSpec) {
    let dir = Path::new(&spec.dir);
    // Nothing depends on it: without it the record still holds the first failure.
    let _ = std::fs::rename(dir.join("engine.log"), dir.join("engine.first.log"));
}
