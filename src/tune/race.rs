//! Racing: a run that already took much longer than the best candidate's cannot win any more, and is cut.
//!
//! The runs of one workload serve the same number of tokens, so for an objective of throughput the time of
//! the run decides: at `FACTOR` times the best time the throughput is below `1 / FACTOR` of the best,
//! whatever comes. Only launches that look for a better candidate are cut, never those that measure noise
//! or confirm, because a loser that is cut is not measured. One whose pace says so is cut after seconds (`trial::pace`).

use super::outcomes::runs_of;
use crate::launch::Candidate;
use crate::scenario::Key;
use crate::search::{Ask, Objective, Scope, Stage};
use crate::stats::mean;
use crate::store::{Plan, TrialLine};

/// Times the best candidate's run after which there is nothing left to learn. A flag is judged by percents,
/// an engine's defaults by tens of percents.
const FACTOR: f64 = 2.0;
/// Starting the load takes a moment that is not part of the run, in seconds.
const SLACK_S: f64 = 1.0;

/// When the run of the first workload is cut.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Limits {
    /// Seconds; empty where nothing may be cut.
    pub(super) give_up_s: Vec<f64>,
    /// Seconds of the best run, by which a pace is judged; empty where it says nothing.
    pub(super) best_s: Vec<f64>,
}

pub(super) fn limits(plan: &Plan, trials: &[TrialLine], ask: &Ask, fixed_args: &[String]) -> Limits {
    let by_time = matches!(
        plan.objective,
        Objective::Metric(Key::TotalTokenThroughput | Key::OutputThroughput | Key::RequestThroughput)
    );
    let looking = matches!(ask.stage, Stage::Search | Stage::Combine | Stage::Neighbours)
        || (ask.stage == Stage::Baseline && ask.launch == 0);
    if !by_time || !looking || ask.runs.scope != Scope::Primary {
        return Limits::default();
    }
    let best = trials.iter().filter_map(|t| run_time(plan, t)).reduce(f64::min);
    let even = !several_tokens_a_chunk(&ask.candidate, fixed_args);
    Limits {
        give_up_s: best.map(|s| FACTOR * s + SLACK_S).into_iter().collect(),
        best_s: best.filter(|_| even).into_iter().collect(),
    }
}

/// The client counts chunks while a run goes on: with speculation or an interval of the stream they are not tokens.
fn several_tokens_a_chunk(candidate: &Candidate, fixed_args: &[String]) -> bool {
    let says = |name: &str| name.contains("specul") || name.replace('_', "-").contains("stream-interval");
    candidate.flags.keys().any(|f| says(f)) || fixed_args.iter().any(|a| says(a))
}

/// Mean time of a trial's valid runs of the first workload.
fn run_time(plan: &Plan, trial: &TrialLine) -> Option<f64> {
    let time = |m: &crate::trial::Measured| m.observation.result.as_ref()?.get(Key::Duration);
    let times: Vec<f64> = runs_of(&trial.result, plan, 0).filter_map(time).collect();
    (!times.is_empty()).then(|| mean(&times))
}
