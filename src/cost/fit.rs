//! Fitting the coefficients to observations: maximum a posteriori with the physical prior.
//!
//! Each observation is simulated; ln(measured / simulated) of its result keys over their spread are the
//! residuals, large ones damped (Cauchy loss), and each coefficient's log shift over its prior spread is one
//! residual more. Parameters that the data do not move stay at the prior, as wide as it is.

pub use super::case::{Case, TimedRow, label};
use super::coefficients::Coefficients;
use super::discrepancy::{DesignPoint, Residual};
use super::habits::{self, Habits, Likely};
use super::kernels::Generation;
use super::levenberg::{FitState, LevenbergMarquardt, normal_equations};
pub use super::misfit::FITTED;
use super::misfit::Misfit;
use super::prior;
use super::profile::{GroupFit, GroupKey, Profile, Warm};
use super::releases;
use super::setup::{Catalogs, Setup};
use super::solve::{Matrix, inverse, whitening};
use super::steps::{StepCase, StepLog};
use crate::error::{Error, Result};
use crate::scenario::{Key, Record};
use argmin::core::{Executor, State};
use std::collections::{BTreeMap, BTreeSet};

/// Share of its prior spread that a coefficient must lose to count as identified.
const IDENTIFIED: f64 = 0.8;

/// Fits every group of the observations (same model, hardware and engine) and gives one profile.
///
/// Errors: no observation with a result, or one that cannot be made ready.
pub fn fit_records(records: &[Record], catalogs: &Catalogs) -> Result<Profile> {
    fit_with_steps(records, &[], catalogs)
}

/// As [`fit_records`], with per-step telemetry of launches beside the observations.
///
/// Errors: as there; steps alone make a group too.
pub fn fit_with_steps(records: &[Record], steps: &[StepLog], catalogs: &Catalogs) -> Result<Profile> {
    fit_over(records, steps, catalogs, super::pooling::public())
}

/// As [`fit_with_steps`], with other fits than the public ones behind the prior.
///
/// Errors: as there.
pub fn fit_over(
    records: &[Record],
    steps: &[StepLog],
    catalogs: &Catalogs,
    base: &Profile,
) -> Result<Profile> {
    let mut cases = Vec::new();
    for r in records {
        cases.extend(Case::new(r, catalogs)?);
    }
    let steps: Vec<StepCase> = steps.iter().map(|s| StepCase::new(s, catalogs)).collect::<Result<_>>()?;
    if cases.is_empty() && steps.iter().all(|s| s.kinds.is_empty()) {
        return Err(Error::usage("no observation with a result to fit")
            .hint("`dyno bench` and `dyno tune` write observations"));
    }
    let mut groups: BTreeMap<GroupKey, (Vec<Case>, Vec<StepCase>)> = BTreeMap::new();
    for case in cases {
        groups.entry(GroupKey::of(&case.setup)).or_default().0.push(case);
    }
    for log in steps {
        groups.entry(GroupKey::of(&log.setup)).or_default().1.push(log);
    }
    let groups =
        groups.into_iter().map(|(key, (c, s))| fit_group(key, &c, &s, base)).collect::<Result<_>>()?;
    Ok(Profile { schema: Profile::SCHEMA, provenance: Vec::new(), groups })
}

/// Iterations of a fit, and of one that only compares readings of the data.
const ITERATIONS: u64 = 12;
const QUICK_ITERATIONS: u64 = 4;

/// The readings of what the scenarios leave open, by how well each explains the results, and the cases in the likeliest.
fn with_habits(
    key: &GroupKey,
    cases: &[Case],
    steps: &[StepCase],
    base: &Profile,
) -> Result<(Vec<Likely>, Vec<Case>)> {
    let possible: BTreeSet<Habits> =
        cases.iter().map(|c| c.setup.possible_habits()).filter(|h| h.len() > 1).flatten().collect();
    let read = |h: Habits| -> Vec<Case> {
        let as_read = |c: &Case| {
            let fits = c.setup.possible_habits().contains(&h);
            Case { setup: if fits { c.setup.with_habits(h) } else { c.setup.clone() }, ..c.clone() }
        };
        cases.iter().map(as_read).collect()
    };
    if possible.is_empty() {
        let closed = cases.iter().find(|c| c.setup.concurrency.is_some());
        let told = closed.map(|c| Likely { habits: c.setup.habits, weight: 1.0 });
        return Ok((told.into_iter().collect(), cases.to_vec()));
    }
    let mut costs = Vec::new();
    for h in possible {
        costs.push((h, map_fit(key, &read(h), steps, base, QUICK_ITERATIONS)?.cost));
    }
    let likely = habits::posterior(cases[0].setup.config.engine, &costs);
    let chosen = read(likely[0].habits);
    Ok((likely, chosen))
}

/// Shares of cached prompts that are tried.
const WARM_SHARES: [f64; 2] = [0.5, 0.9];
/// How much a warm prefix cache must explain, in units of the cost, to be believed.
const WARM_GAIN: f64 = 12.0;

/// The fit, and the cases with the share of cached prompts that explains them best.
fn with_warm_caches(
    key: &GroupKey,
    cases: &[Case],
    steps: &[StepCase],
    base: &Profile,
) -> Result<(MapFit, Vec<Case>)> {
    // The shortest prompts are those that an earlier, longer run of the same seed would have left behind.
    let shortest = cases
        .iter()
        .filter(|c| cases.len() > 1 && c.setup.could_be_warm())
        .min_by(|a, b| mean_input(a).total_cmp(&mean_input(b)));
    let Some(like) = shortest.map(|c| Warm::of(&c.setup)) else {
        return Ok((map_fit(key, cases, steps, base, ITERATIONS)?, cases.to_vec()));
    };
    let at_share = |share: f64| {
        let mut tried = cases.to_vec();
        for c in tried.iter_mut().filter(|c| like.is_like(&Warm::of(&c.setup)) && c.setup.could_be_warm()) {
            c.setup.warm = share;
            // TTFT is bimodal then, and a median falls into the one mode or the other.
            c.medians = false;
        }
        tried
    };
    let mut chosen = at_share(0.0);
    let mut best = map_fit(key, &chosen, steps, base, ITERATIONS)?;
    for share in WARM_SHARES {
        let tried = at_share(share);
        let other = map_fit(key, &tried, steps, base, ITERATIONS)?;
        if other.cost + WARM_GAIN < best.cost {
            (best, chosen) = (other, tried);
        }
    }
    Ok((best, chosen))
}

fn fit_group(key: GroupKey, cases: &[Case], steps: &[StepCase], base: &Profile) -> Result<GroupFit> {
    let mut versions: Vec<String> = cases.iter().filter_map(|c| c.version.clone()).collect();
    versions.sort();
    versions.dedup();
    let mut cases = cases.to_vec();
    let newest = releases::newest(&versions);
    for case in &mut cases {
        releases::measured_against(&mut case.setup, newest);
    }
    let (likely, cases) = with_habits(&key, &cases, steps, base)?;
    let (best, chosen) = with_warm_caches(&key, &cases, steps, base)?;
    let setup = cases.first().map(|c| &c.setup).or(steps.first().map(|s| &s.setup));
    let mut warm: Vec<Warm> =
        chosen.iter().filter(|c| c.setup.warm > 0.0).map(|c| Warm::of(&c.setup)).collect();
    warm.dedup_by(|a, b| a.is_like(b));
    Ok(GroupFit {
        residuals: chosen.iter().map(|c| residual(c, &best.coefficients)).collect(),
        noise: super::noise::between_runs(&chosen),
        steps: steps.iter().flat_map(|s| s.compare(&best.coefficients)).collect(),
        model: key.model,
        hardware: key.hardware,
        engine: key.engine,
        engine_versions: versions,
        observations: cases.len(),
        kind: setup.map(Setup::model_kind),
        generation: setup.map(|s| Generation::of(&s.hardware)),
        habits: likely,
        cost_before: best.cost_before,
        cost_after: best.cost,
        unidentified: best.unidentified,
        coefficients: best.coefficients,
        names: Coefficients::NAMES.iter().map(|n| (*n).to_owned()).collect(),
        log_shift: best.log_shift,
        covariance: best.covariance,
        warm,
    })
}

fn mean_input(case: &Case) -> f64 {
    Warm::of(&case.setup).mean_input_tokens
}

/// Changes of the logarithms of (emit_delay, frontend_request) from which a fit on steps and runs starts again.
const PERTURBATIONS: [[f64; 2]; 6] =
    [[-0.2, 0.0], [-0.5, 0.0], [0.3, 0.0], [0.0, -0.3], [0.0, 0.3], [-0.4, -0.4]];

/// One search: cases, and where it starts.
type Search<'a> = dyn Fn(&[Case], Vec<f64>) -> Result<FitState> + 'a;

/// The lowest minimum from these starts; with telemetry of steps (`both`) from there on.
///
/// Step times are smooth in the coefficients, simulated runs are not: with the steps right first, the search does not end
/// where wrong steps and wrong queues make up for one another. And whether the next request of a closed
/// loop still reaches the coming step is a matter of yes or no: the way back and forth is tried shorter and
/// longer, each with a search of its own.
fn lowest(starts: Vec<Vec<f64>>, both: bool, cases: &[Case], minimum: &Search<'_>) -> Result<FitState> {
    let param = |s: &FitState| s.get_param().cloned().unwrap_or_default();
    let mut best: Option<FitState> = None;
    let mut keep = |other: FitState| match &best {
        Some(held) if held.get_best_cost() <= other.get_best_cost() => param(held),
        _ => param(best.insert(other)),
    };
    let mut from = Vec::new();
    for start in starts {
        let start = if both { param(&minimum(&[], start)?) } else { start };
        from = keep(minimum(cases, start)?);
    }
    for moved in PERTURBATIONS.iter().filter(|_| both) {
        let mut start = from.clone();
        for (name, shift) in ["emit_delay", "frontend_request"].iter().zip(moved) {
            if let Some(i) = Coefficients::NAMES.iter().position(|n| n == name) {
                start[i] += shift;
            }
        }
        keep(minimum(cases, start)?);
    }
    best.ok_or_else(|| Error::failed("a fit without a start"))
}

/// A maximum a posteriori fit and its Laplace covariance.
struct MapFit {
    cost_before: f64,
    cost: f64,
    coefficients: Coefficients,
    log_shift: Vec<f64>,
    covariance: Matrix,
    unidentified: Vec<String>,
}

/// Where a fit starts: at the prior. Where one process hosts requests, steps and streams, either its host
/// time or its front end may bind, and the misfit has a valley for each: it starts on both sides too.
fn starts(setup: &Setup) -> Vec<Vec<f64>> {
    let start = |moved: &[(&str, f64)]| {
        let at = |n: &&str| moved.iter().find(|m| m.0 == *n).map_or(0.0, |m| m.1);
        Coefficients::NAMES.iter().map(at).collect()
    };
    let mut out = vec![start(&[])];
    if setup.config.shared_frontend {
        out.push(start(&[("emit_token", 0.2), ("host_row", -0.2)]));
        out.push(start(&[("emit_token", -0.2), ("host_row", 0.2)]));
    }
    out
}

fn map_fit(
    key: &GroupKey,
    cases: &[Case],
    steps: &[StepCase],
    base: &Profile,
    iterations: u64,
) -> Result<MapFit> {
    let launch = cases.first().map(|c| &c.setup).or(steps.first().map(|s| &s.setup));
    let launch = launch.ok_or_else(|| Error::usage("no observation of this group to fit"))?;
    let prior = prior::coefficients(launch);
    let believed = prior::belief(launch, None, base);
    let mean = believed.shift.as_slice();
    let whitening = whitening(&believed.covariance);
    let misfit = Misfit { cases, steps, prior, mean, whitening: &whitening };
    let cost_before = misfit.residuals(mean).iter().map(|v| v * v).sum();
    let minimum = |cases: &[Case], start: Vec<f64>| -> Result<FitState> {
        let misfit = Misfit { cases, steps, prior, mean, whitening: &whitening };
        let found = Executor::new(misfit, LevenbergMarquardt::default())
            .configure(|s: FitState| s.param(start).max_iters(iterations))
            .run()
            .map_err(|e| {
                Error::failed(format!("the fit of {} on {} failed: {e}", key.model, key.hardware))
            })?;
        Ok(found.state().clone())
    };
    // Readings are compared from one start only.
    let starts = if iterations < ITERATIONS { vec![vec![0.0; mean.len()]] } else { starts(launch) };
    let from: Vec<Vec<f64>> =
        starts.into_iter().map(|s| s.iter().zip(mean).map(|(a, b)| a + b).collect()).collect();
    let state = lowest(from, !cases.is_empty() && !steps.is_empty(), cases, &minimum)?;
    let log_shift = state.get_param().cloned().unwrap_or_default();
    let jacobian = state.get_jacobian().cloned().unwrap_or_default();
    let (precision, _) = normal_equations(&jacobian, &vec![0.0; jacobian.len()]);
    let covariance = inverse(&precision);
    let one_release = cases.iter().all(|c| c.setup.config.months_older == 0.0);
    let unidentified = Coefficients::NAMES
        .iter()
        .enumerate()
        .filter(|(_, n)| !(one_release && **n == "month_older"))
        .filter(|(i, _)| covariance[*i][*i] > IDENTIFIED.powi(2) * believed.covariance[*i][*i])
        .map(|(_, n)| (*n).to_owned())
        .collect();
    Ok(MapFit {
        cost_before,
        cost: state.get_best_cost(),
        coefficients: prior.shifted(&log_shift),
        log_shift,
        covariance,
        unidentified,
    })
}

/// What the fitted model leaves of one observation.
fn residual(case: &Case, c: &Coefficients) -> Residual {
    let got = case.setup.simulate(c, false).metrics;
    let log_ratio = Key::ALL
        .iter()
        .filter(|k| super::discrepancy::Family::of(**k).is_some())
        .filter_map(|k| {
            let (a, b) = (case.measured.get(*k)?, got.get(*k)?);
            (a > 0.0 && b > 0.0).then(|| (k.name().to_owned(), (a / b).ln()))
        })
        .collect();
    Residual { label: case.label.clone(), point: DesignPoint::of(&case.setup), log_ratio }
}
