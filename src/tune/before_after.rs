//! Before and after: what the confirmation's pairs say of every metric.

use super::outcomes::runs_of;
use crate::launch::Candidate;
use crate::scenario::Key;
use crate::search::Stage;
use crate::stats::{PooledNoise, log_ratios, mean, pooled_interval};
use crate::store::{MetricRow, Plan, TrialLine, WorkloadRow};
use crate::trial::Measured;
use std::collections::BTreeMap;

/// Keys of the before/after tables.
const SHOWN: [Key; 11] = [
    Key::RequestThroughput,
    Key::OutputThroughput,
    Key::TotalTokenThroughput,
    Key::MeanTtftMs,
    Key::MedianTtftMs,
    Key::P99TtftMs,
    Key::MeanTpotMs,
    Key::P99TpotMs,
    Key::MeanItlMs,
    Key::P99ItlMs,
    Key::MeanE2elMs,
];

/// Valid confirmation runs of a candidate on one workload, by repeat.
fn confirmed<'t>(
    plan: &'t Plan,
    trials: &'t [TrialLine],
    candidate: &Candidate,
    workload: usize,
) -> BTreeMap<u32, &'t Measured> {
    let mine = trials.iter().filter(|t| t.stage == Stage::Confirm && t.result.spec.candidate == *candidate);
    mine.flat_map(|t| runs_of(&t.result, plan, workload)).map(|m| (m.repeat, m)).collect()
}

/// What the confirmation says of every metric of every workload.
pub(super) fn workload_rows(
    plan: &Plan,
    trials: &[TrialLine],
    (base, winner): (&Candidate, &Candidate),
    alpha: f64,
) -> Vec<WorkloadRow> {
    let mut rows = Vec::new();
    for (i, workload) in plan.workloads.iter().enumerate() {
        let (before, after) = (confirmed(plan, trials, base, i), confirmed(plan, trials, winner, i));
        let pairs: Vec<(&Measured, &Measured)> =
            before.iter().filter_map(|(r, b)| after.get(r).map(|a| (*b, *a))).collect();
        if pairs.is_empty() {
            continue;
        }
        let scatter = |key: Key| launch_scatter(plan, trials, i, key);
        let violation = |m: &Measured| plan.slo.violation(&m.observation);
        rows.push(WorkloadRow {
            name: workload.name.clone(),
            pairs: pairs.len() as u32,
            metrics: SHOWN.iter().filter_map(|&k| metric_row(k, &pairs, scatter(k), alpha)).collect(),
            notes: lost_requests(&pairs),
            keeps_slo: (!plan.slo.0.is_empty()).then(|| pairs.iter().all(|(_, a)| violation(a) == 0.0)),
        });
    }
    rows
}

/// Standard deviation of one launch's logarithm of a metric, and the degrees of freedom behind it: how launches of the same command
/// scattered before the confirmation, by their means over the repeats that all of them have. `None` where no command was launched
/// twice.
fn launch_scatter(plan: &Plan, trials: &[TrialLine], workload: usize, key: Key) -> Option<(f64, f64)> {
    let mut launches: BTreeMap<String, Vec<BTreeMap<u32, f64>>> = BTreeMap::new();
    for t in trials.iter().filter(|t| t.stage != Stage::Confirm) {
        let runs = runs_of(&t.result, plan, workload).filter_map(|m| Some((m.repeat, value(m, key)?.ln())));
        let logs: BTreeMap<u32, f64> = runs.filter(|(_, log)| log.is_finite()).collect();
        if !logs.is_empty() {
            launches.entry(t.result.spec.candidate.id()).or_default().push(logs);
        }
    }
    let mut noise = PooledNoise::default();
    for same in launches.values() {
        let common: Vec<u32> =
            same[0].keys().copied().filter(|r| same.iter().all(|l| l.contains_key(r))).collect();
        let level = |l: &BTreeMap<u32, f64>| mean(&common.iter().map(|r| l[r]).collect::<Vec<_>>());
        if !common.is_empty() {
            noise.add_group(&same.iter().map(level).collect::<Vec<_>>());
        }
    }
    noise.sigma().map(|sigma| (sigma, noise.df()))
}

fn value(m: &Measured, key: Key) -> Option<f64> {
    m.observation.result.as_ref().and_then(|r| r.get(key))
}

fn metric_row(
    key: Key,
    pairs: &[(&Measured, &Measured)],
    scatter: Option<(f64, f64)>,
    alpha: f64,
) -> Option<MetricRow> {
    let both: Vec<(f64, f64)> = pairs.iter().filter_map(|(b, a)| value(b, key).zip(value(a, key))).collect();
    if both.is_empty() {
        return None;
    }
    let (before, after): (Vec<f64>, Vec<f64>) = both.into_iter().unzip();
    let logs = log_ratios(&before, &after);
    let change = (logs.len() > 1).then(|| pooled_interval(&logs, scatter, alpha));
    let significant = change.is_some_and(|c| c.excludes(0.0));
    let better = change.is_some_and(|c| (c.value > 0.0) == key.higher_is_better());
    // The change is a ratio of geometric means, so the levels beside it are geometric means too: after / before - 1 is
    // the change that is shown. A value of zero has no logarithm; then both are arithmetic means.
    let level = |v: &[f64]| {
        if logs.len() == v.len() {
            mean(&v.iter().map(|x| x.ln()).collect::<Vec<_>>()).exp()
        } else {
            mean(v)
        }
    };
    Some(MetricRow {
        key: key.name().to_owned(),
        before: level(&before),
        after: level(&after),
        change: change.map(|c| c.map(f64::exp_m1)),
        freedom: change.map(|_| logs.len() as f64 - 1.0 + scatter.map_or(0.0, |(_, df)| df)),
        significant,
        better: significant && better,
    })
}

fn lost_requests(pairs: &[(&Measured, &Measured)]) -> Vec<String> {
    let failed = |m: &Measured| m.observation.result.as_ref().and_then(|r| r.get(Key::Failed)).unwrap_or(0.0);
    let (before, after): (f64, f64) =
        pairs.iter().fold((0.0, 0.0), |(b, a), (x, y)| (b + failed(x), a + failed(y)));
    if before + after == 0.0 {
        return Vec::new();
    }
    vec![format!("requests that failed: {before:.0} before, {after:.0} after")]
}
