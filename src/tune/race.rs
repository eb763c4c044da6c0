//! Racing: a run that already took much longer than the best candidate's cannot win any more, and is cut.
//!
//! The runs of one workload serve the same number of tokens, so for an objective of throughput the time of
//! the run decides: at `FACTOR` times the best time the throughput is below `1 / FACTOR` of the best,
//! whatever comes. Only launches that look for a better candidate are cut, never those that measure noise
//! or confirm, because a loser that is cut is not measured.

use super::outcomes::runs_of;
use crate::scenario::Key;
use crate::search::{Ask, Objective, Scope, Stage};
use crate::stats::mean;
use crate::store::{Plan, TrialLine};

/// Times the best candidate's run after which there is nothing left to learn. A flag is judged by percents,
/// an engine's defaults by tens of percents.
const FACTOR: f64 = 2.0;
/// Starting the load takes a moment that is not part of the run, in seconds.
const SLACK_S: f64 = 1.0;

/// Seconds after which a run of the first workload is cut; empty where nothing may be cut.
pub(super) fn give_up_s(plan: &Plan, trials: &[TrialLine], ask: &Ask) -> Vec<f64> {
    let by_time = matches!(
        plan.objective,
        Objective::Metric(Key::TotalTokenThroughput | Key::OutputThroughput | Key::RequestThroughput)
    );
    let looking = matches!(ask.stage, Stage::Search | Stage::Combine | Stage::Neighbours)
        || (ask.stage == Stage::Baseline && ask.launch == 0);
    if !by_time || !looking || ask.runs.scope != Scope::Primary {
        return Vec::new();
    }
    let best = trials.iter().filter_map(|t| run_time(plan, t)).reduce(f64::min);
    best.map(|s| FACTOR * s + SLACK_S).into_iter().collect()
}

/// Mean time of a trial's valid runs of the first workload.
fn run_time(plan: &Plan, trial: &TrialLine) -> Option<f64> {
    let time = |m: &crate::trial::Measured| m.observation.result.as_ref()?.get(Key::Duration);
    let times: Vec<f64> = runs_of(&trial.result, plan, 0).filter_map(time).collect();
    (!times.is_empty()).then(|| mean(&times))
}
