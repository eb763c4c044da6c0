//! Which trials of a record still speak for their candidates when a campaign goes on.

use crate::engine::Class;
use crate::store::{Plan, TrialLine};
use crate::trial::{Failure, Outcome};

/// Recorded trials that answer, and how many failed launches are made again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Standing {
    pub trials: Vec<TrialLine>,
    pub again: usize,
}

/// Leaves out failures that say nothing (any more) of a candidate: the machine's own, those of a time limit that is longer
/// now, with `retry_failed` all, and those that a later launch for the same purpose has answered.
pub fn standing(trials: Vec<TrialLine>, plan: &Plan, retry_failed: bool) -> Standing {
    let answered = |at: usize| {
        let line = &trials[at];
        let same = |t: &TrialLine| {
            t.stage == line.stage
                && t.launch == line.launch
                && t.result.spec.candidate == line.result.spec.candidate
        };
        trials[at + 1..].iter().any(same)
    };
    let failed = |line: &TrialLine| match &line.result.outcome {
        Outcome::Failed { failure, .. } => Some(retry_failed || passed(failure, line, plan)),
        Outcome::Measured { .. } => None,
    };
    let mut again = 0;
    let keep: Vec<bool> = (0..trials.len())
        .map(|at| match failed(&trials[at]) {
            Some(_) if answered(at) => false,
            Some(true) => {
                again += 1;
                false
            }
            _ => true,
        })
        .collect();
    let trials = trials.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(t, _)| t).collect();
    Standing { trials, again }
}

/// The cause lay outside of the candidate and may be mended by now.
fn passed(failure: &Failure, line: &TrialLine, plan: &Plan) -> bool {
    match failure.class {
        Class::HangAtStart | Class::NotReady => plan.ready_timeout_s > line.result.spec.ready_timeout_s,
        Class::HangInRun => plan.run_timeout_s > line.result.spec.run_timeout_s,
        class => matches!(
            class,
            Class::TooManyFiles
                | Class::DiskFull
                | Class::SharedMemory
                | Class::Unwritable
                | Class::PortInUse
                | Class::MemoryHeld
                | Class::MemoryProfiling
                | Class::KilledByKernel
                | Class::Terminated
                | Class::Interrupted
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::journal::tests::line;
    use crate::tune::tests::plan;

    fn failed(seq: u32, class: Class, ready_timeout_s: f64) -> TrialLine {
        let mut line = line(seq);
        // Another purpose each, so that none answers for another.
        line.launch = seq;
        line.result.spec.ready_timeout_s = ready_timeout_s;
        if let Outcome::Failed { failure, .. } = &mut line.result.outcome {
            failure.class = class;
        }
        line
    }

    fn kept(trials: &[TrialLine], retry_failed: bool) -> Vec<u32> {
        let standing = standing(trials.to_vec(), &plan(), retry_failed);
        assert_eq!(standing.trials.len() + standing.again, trials.len());
        standing.trials.iter().map(|t| t.seq).collect()
    }

    #[test]
    fn a_limit_that_was_lifted_is_no_verdict() {
        let trials = [
            failed(0, Class::OutOfMemory, 10.0),
            failed(1, Class::TooManyFiles, 10.0),
            failed(2, Class::DiskFull, 10.0),
            // The plan allows ten seconds now.
            failed(3, Class::HangAtStart, 0.5),
            failed(4, Class::HangAtStart, 10.0),
        ];
        assert_eq!(kept(&trials, false), [0, 4]);
        assert_eq!(kept(&trials, true), Vec::<u32>::new());
    }

    #[test]
    fn the_last_launch_for_a_purpose_answers() {
        let first = failed(0, Class::OutOfMemory, 10.0);
        let second = TrialLine { seq: 1, ..first.clone() };
        let standing = standing(vec![first, second], &plan(), false);
        assert_eq!((standing.trials.len(), standing.trials[0].seq, standing.again), (1, 1, 0));
    }
}
