//! From what was found to the verdict that stands in the record.

use super::before_after::workload_rows;
use super::findings::Findings;
use super::outcomes::{all_runs, answer, mean_value, runs_of, version_of};
use super::spaces::Spaces;
use crate::launch::Candidate;
use crate::search::ledger::Entry;
use crate::search::{Comparison, Ending, Estimate, ForecastedLaunch, SpaceOutcome, Stage};
use crate::stats::{holm, mean, paired_bootstrap};
use crate::store::{
    Compared, EngineRow, FlagEffect, ForecastRow, Improvement, Plan, SpaceSummary, TrialLine, Tried, Verdict,
};

const BOOTSTRAP_DRAWS: usize = 4000;

pub(super) fn conclude(plan: &Plan, trials: &[TrialLine], found: &Findings, spaces: &dyn Spaces) -> Verdict {
    let baseline = found.baseline.as_ref();
    let tried = baseline.map(|b| tried_rows(plan, trials, found, b)).unwrap_or_default();
    let (compared, mut notes) = compared(plan, trials, found);
    notes.splice(0..0, found.notes.clone());
    let flags = match &compared {
        Some(c) => flag_rows(plan, found, &tried, (&c.baseline, &c.winner), spaces),
        None => Vec::new(),
    };
    let noise = found.ledger.noise();
    Verdict {
        complete: true,
        engines: engine_rows(plan, trials, baseline),
        noise: noise.launch,
        run_noise: noise.run,
        compared,
        flags,
        tried,
        ruled: found.ruled.clone(),
        considered: found.considered,
        notes,
        wall_s: trials.iter().map(|t| t.result.wall_s).sum(),
    }
}

/// What became of the space, for the record.
pub(super) fn ruled(plan: &Plan, swept: &SpaceOutcome, model: String) -> SpaceSummary {
    let turn = |g: f64| plan.objective.improvement(g);
    let forecast = |f: &ForecastedLaunch| ForecastRow {
        label: f.candidate.label(),
        predicted: f.predicted.map(turn),
        measured: f.measured.map(turn),
        standing: f.standing.map(str::to_owned),
    };
    SpaceSummary {
        considered: swept.considered as u32,
        cut: swept.cut,
        simulated: swept.coverage.simulated as u32,
        screened_out: swept.coverage.screened_out as u32,
        screen_band: swept.coverage.band.exp_m1(),
        launched: swept.launches.len() as u32,
        dropped: swept.dropped as u32,
        left: swept.left as u32,
        forecasts: swept.launches.iter().map(forecast).collect(),
        model,
        ending: ending(swept),
        regret: swept.regret.max(0.0).exp_m1(),
        untried: swept.untried.iter().map(|(flag, value)| format!("--{flag} {value}")).collect(),
        fails: swept.blamed.iter().map(Candidate::label).collect(),
        suspected: swept.suspected.iter().map(Candidate::label).collect(),
    }
}

/// Why the search stopped, in a sentence.
fn ending(swept: &SpaceOutcome) -> String {
    let left = 100.0 * swept.regret.max(0.0).exp_m1();
    match swept.ending {
        Ending::NothingToGain => format!(
            "The search stopped because no further launch was expected to bring what a flag must (expected to be left: \
             {left:.1} %)."
        ),
        Ending::Budget => format!(
            "The search stopped because the budget keeps what is left for the confirmation (expected to be left: \
             {left:.1} %)."
        ),
        Ending::MostLaunches => format!(
            "The search stopped after as many launches as it makes without a budget (expected to be left: {left:.1} %)."
        ),
    }
}

fn engine_rows(plan: &Plan, trials: &[TrialLine], chosen: Option<&Candidate>) -> Vec<EngineRow> {
    let row = |&engine: &crate::launch::EngineKind| {
        let base = Candidate::baseline(engine);
        let mine: Vec<&TrialLine> =
            trials.iter().filter(|t| t.stage == Stage::Baseline && t.result.spec.candidate == base).collect();
        let values: Vec<f64> = mine.iter().filter_map(|t| mean_value(&t.result, plan)).collect();
        EngineRow {
            engine,
            version: version_of(trials, &base),
            value: (!values.is_empty()).then(|| mean(&values)),
            runs: mine.iter().map(|t| runs_of(&t.result, plan, 0).count() as u32).sum(),
            chosen: chosen.is_some_and(|c| c.engine == engine),
            failure: mine.iter().find_map(|t| answer(&t.result, plan).failure),
        }
    };
    plan.engines.iter().map(row).collect()
}

/// Every candidate of the search, in the order of its first trial, with Holm's correction over all.
fn tried_rows(plan: &Plan, trials: &[TrialLine], found: &Findings, base: &Candidate) -> Vec<Tried> {
    let entries: Vec<&Entry> = found.ledger.entries().filter(|e| e.candidate.engine == base.engine).collect();
    let estimate = |c: &Candidate| found.estimates.candidates.iter().find(|e| e.candidate == *c);
    let effects: Vec<_> = entries
        .iter()
        .map(|e| estimate(&e.candidate).filter(|_| e.failure.is_none() && e.candidate != *base))
        .collect();
    let p: Vec<f64> = effects.iter().flatten().map(|e| e.p).collect();
    let mut significant = holm(&p, plan.settings.alpha).into_iter();
    let mut rows = Vec::new();
    for (entry, effect) in entries.iter().zip(&effects) {
        let significant = effect.is_some() && significant.next().unwrap_or(false);
        if entry.candidate == *base {
            continue;
        }
        let mine: Vec<&TrialLine> = trials
            .iter()
            .filter(|t| t.result.spec.candidate == entry.candidate && t.stage != Stage::Confirm)
            .collect();
        rows.push(Tried {
            label: entry.candidate.label(),
            candidate: entry.candidate.clone(),
            stage: mine.first().map_or(Stage::Search, |t| t.stage),
            trials: mine.iter().map(|t| t.seq).collect(),
            effect: effect.map(|e| e.gain.map(|g| plan.objective.improvement(g))),
            significant,
            failure: entry.failure.clone(),
            invalid: mine.iter().flat_map(|t| all_runs(&t.result)).flat_map(|m| m.invalid.clone()).collect(),
        });
    }
    rows
}

/// One row a flag: each value that was tried alone, and each flag of the winner.
fn flag_rows(
    plan: &Plan,
    found: &Findings,
    tried: &[Tried],
    (base, winner): (&Candidate, &Candidate),
    spaces: &dyn Spaces,
) -> Vec<FlagEffect> {
    let mechanism = |flag: &str| spaces.mechanism(base.engine, flag);
    let extra = |c: &Candidate| -> Vec<(String, crate::launch::FlagValue)> {
        c.changed_from(base).map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    let turn = |e: &Estimate| e.gain.map(|g| plan.objective.improvement(g));
    // What a value that is not in the command does alone, by all the launches that had it.
    let mut rows: Vec<(FlagEffect, f64)> = Vec::new();
    for (flag, value) in tried.iter().flat_map(|t| extra(&t.candidate)) {
        let kept = winner.flags.get(&flag) == Some(&value);
        if rows.iter().any(|(r, _)| r.flag == flag && r.value == value) {
            continue;
        }
        let estimate = if kept {
            found.estimates.flags.get(&flag)
        } else {
            found.estimates.values.get(&(flag.clone(), value.to_string()))
        };
        let row = FlagEffect {
            mechanism: mechanism(&flag),
            flag,
            value,
            effect: estimate.map(turn),
            ablation: kept,
            significant: false,
            kept,
        };
        rows.push((row, estimate.map_or(1.0, |e| e.p)));
    }
    for (flag, value) in extra(winner) {
        if !rows.iter().any(|(r, _)| r.flag == flag && r.value == value) {
            let estimate = found.estimates.flags.get(&flag);
            let row = FlagEffect {
                mechanism: mechanism(&flag),
                effect: estimate.map(turn),
                flag,
                value,
                ablation: true,
                significant: false,
                kept: true,
            };
            rows.push((row, estimate.map_or(1.0, |e| e.p)));
        }
    }
    let p: Vec<f64> = rows.iter().map(|(_, p)| *p).collect();
    let significant = holm(&p, plan.settings.alpha);
    let excludes = |r: &FlagEffect| r.effect.is_some_and(|e| e.excludes(0.0));
    rows.into_iter()
        .zip(significant)
        .map(|((r, _), s)| FlagEffect { significant: s && excludes(&r), ..r })
        .collect()
}

/// What is recommended, and how it compares; also notes on why, where the search's winner is not it.
fn compared(plan: &Plan, trials: &[TrialLine], found: &Findings) -> (Option<Compared>, Vec<String>) {
    let mut notes = Vec::new();
    let Some(baseline) = found.baseline.clone() else { return (None, notes) };
    let searched = found.winner.clone().unwrap_or_else(|| baseline.clone());
    let improvement = found.comparison.as_ref().map(|c| improvement(plan, c));
    let confirmed = found.comparison.as_ref().is_some_and(|c| c.significant && c.gain.value > 0.0);
    let winner = if confirmed { searched.clone() } else { baseline.clone() };
    if searched != baseline && !confirmed {
        notes.push(match &found.comparison {
            Some(c) => format!(
                "The search's best candidate (`{}`) did not hold in the confirmation ({} pairs, {:+.1} %, interval \
                 {:+.1} to {:+.1} %): the defaults are recommended.",
                searched.label(),
                c.pairs.len(),
                100.0 * plan.objective.improvement(c.gain.value),
                100.0 * plan.objective.improvement(c.gain.low),
                100.0 * plan.objective.improvement(c.gain.high),
            ),
            None => format!("`{}` was best in the search but was not confirmed.", searched.label()),
        });
    }
    if let Some((at, first, second)) = found.comparison.as_ref().and_then(|c| c.again) {
        let turn = |g: f64| 100.0 * plan.objective.improvement(g);
        notes.push(format!(
            "Pair {} of the confirmation lay far from the others ({:+.1} %) and was measured again ({:+.1} %): the second \
             counts.",
            at + 1,
            turn(first),
            turn(second)
        ));
    }
    // One level for the whole page: the rows of the table have the confirmation's own confidence, so that the objective's
    // row and the sentence above it give the same interval.
    let alpha = found.comparison.as_ref().map_or(plan.settings.alpha, |c| 1.0 - c.confidence);
    let workloads = workload_rows(plan, trials, (&baseline, &searched), alpha);
    (Some(Compared { baseline, winner, improvement, workloads }), notes)
}

fn improvement(plan: &Plan, c: &Comparison) -> Improvement {
    let turn = |g: f64| plan.objective.improvement(g);
    let before: Vec<f64> = c.pairs.iter().map(|_| 1.0).collect();
    let after: Vec<f64> = c.pairs.iter().map(|g| g.exp()).collect();
    let bootstrap = paired_bootstrap(&before, &after, 1.0 - c.confidence, BOOTSTRAP_DRAWS, plan.seed);
    Improvement {
        interval: c.gain.map(turn),
        significant: c.significant,
        confidence: c.confidence,
        pairs: c.pairs.iter().copied().map(turn).collect(),
        bootstrap: bootstrap.map(|i| i.map(|r| turn(r.ln()))),
    }
}
