//! A whole trial, from launch to proof that nothing is left.

use super::measure::RunId;
use super::secrets::redacted;
use super::session::Session;
use super::start::start;
use super::{Event, Failure, LaunchFacts, Measured, Observer, Outcome, TrialResult, TrialSpec};
use crate::engine::failure::{self, Class};
use crate::host::unix_now;
use crate::load::Cancel;
use std::path::Path;
use std::time::Instant;

/// Runs one candidate on its workloads. Blocks; may be called from anywhere, also from inside an async
/// runtime's blocking thread.
///
/// When `cancel` is set the engine is stopped and the result is a failure of class `interrupted` that holds
/// the runs finished so far.
pub fn run_trial(spec: &TrialSpec, cancel: &Cancel, observer: &dyn Observer) -> TrialResult {
    // A thread of its own: the control client brings a runtime, and runtimes do not nest.
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| trial(spec, cancel, observer));
        match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn trial(spec: &TrialSpec, cancel: &Cancel, observer: &dyn Observer) -> TrialResult {
    let started_unix_s = unix_now();
    let began = Instant::now();
    let mut leftovers = Vec::new();
    let outcome = match start(spec, observer) {
        Err(failure) => Outcome::Failed { failure: *failure, facts: None, runs: Vec::new() },
        Ok(started) => {
            let mut session = Session::new(started, cancel, observer);
            let mut outcome = launched_trial(spec, &mut session);
            let log = session.log();
            let stopped = session.stop();
            note_slow(&mut outcome, log.as_deref());
            leftovers = stopped.leftovers;
            leftovers.extend(stopped.survivors.iter().map(|s| format!("{s}: could not be removed")));
            outcome
        }
    };
    let result = TrialResult {
        spec: redacted(spec),
        outcome,
        started_unix_s,
        wall_s: began.elapsed().as_secs_f64(),
        leftovers,
        first_failure: None,
        placement: None,
    };
    if let Ok(json) = serde_json::to_vec_pretty(&result.spec) {
        let _ = crate::host::write_private(&Path::new(&spec.dir).join("spec.json"), &json);
    }
    result
}

/// What the whole log warned of, from its start to its stop.
fn note_slow(outcome: &mut Outcome, log: Option<&Path>) {
    let (Outcome::Measured { facts, .. } | Outcome::Failed { facts: Some(facts), .. }) = outcome else {
        return;
    };
    let log = log.and_then(|path| std::fs::File::open(path).and_then(failure::Excerpt::read).ok());
    facts.slow = log.map(|l| failure::speed_warnings(&l)).unwrap_or_default();
}

fn launched_trial(spec: &TrialSpec, session: &mut Session<'_>) -> Outcome {
    if let Err(failure) = session.wait_ready(spec.ready_timeout_s) {
        return Outcome::Failed { failure: *failure, facts: None, runs: Vec::new() };
    }
    let facts = session.facts.clone();
    session.observer.event(&Event::Ready { facts: &facts });
    let mut runs: Vec<Measured> = Vec::new();
    // Repeats outside, workloads inside: a drift of the machine then touches all workloads alike.
    let repeated = spec.workloads.len().saturating_sub(spec.measured_once);
    for repeat in 0..spec.repeats {
        for workload in 0..repeated {
            match session.measure(spec, RunId { workload, repeat }) {
                Ok(made) => runs.extend(made),
                Err(failure) => return failed(*failure, facts, runs),
            }
        }
    }
    for workload in repeated..spec.workloads.len() {
        match session.measure(spec, RunId { workload, repeat: 0 }) {
            Ok(made) => runs.extend(made),
            Err(failure) if failure.class == Class::Interrupted || runs.is_empty() => {
                return failed(*failure, facts, runs);
            }
            Err(failure) => {
                let text = format!("a later run of this launch failed: {}", failure.root_cause);
                runs.last_mut().into_iter().for_each(|r| r.doubts.push(text.clone()));
                break;
            }
        }
    }
    session.answer_prompts(spec);
    Outcome::Measured { facts, runs }
}

fn failed(failure: Failure, facts: LaunchFacts, runs: Vec<Measured>) -> Outcome {
    Outcome::Failed { failure, facts: Some(facts), runs }
}
