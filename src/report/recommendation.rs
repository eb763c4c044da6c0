//! `recommendation.json`: the conclusion for programs.

use super::subject::Subject;
use crate::launch::Candidate;
use crate::scenario::{Key, Metrics, Record};
use serde_json::{Value, json};

/// Version of `recommendation.json`.
const SCHEMA: u32 = 2;

/// The contract's object; `None` when there is nothing to recommend.
pub fn recommendation(s: &Subject<'_>) -> Option<Value> {
    let c = s.verdict.compared.as_ref()?;
    let launch = s.launch(&c.winner).unwrap_or_default();
    let improvement = match &c.improvement {
        Some(i) if c.winner != c.baseline => json!({
            "value": i.interval.value, "low": finite(i.interval.low), "high": finite(i.interval.high),
            "significant": i.significant, "confidence": i.confidence, "pairs": i.pairs.len(),
        }),
        // The recommendation is the baseline itself.
        _ => json!({"value": 0.0, "low": 0.0, "high": 0.0, "significant": false}),
    };
    let flags: Vec<Value> = s
        .verdict
        .flags
        .iter()
        .filter(|f| f.kept)
        .map(|f| {
            let effect = f.effect.map_or(
                Value::Null,
                |e| json!({"value": e.value, "low": finite(e.low), "high": finite(e.high)}),
            );
            json!({"flag": f.flag, "value": f.value, "effect": effect, "mechanism": f.mechanism})
        })
        .collect();
    Some(json!({
        "schema": SCHEMA,
        "dyno_version": s.run.dyno_version,
        "date": rfc3339(s.run.created_unix_s),
        "complete": s.verdict.complete,
        "engine": c.winner.engine,
        "command": launch.argv,
        "env": launch.env,
        "files": launch.files,
        "objective": s.run.plan.objective,
        "slo": s.run.plan.slo,
        "baseline": observation(s, &c.baseline, Side::Before),
        "recommended": observation(s, &c.winner, if c.winner == c.baseline { Side::Before } else { Side::After }),
        "improvement": improvement,
        "flags": flags,
        "workloads": workloads(s),
        "trials_run": s.trials.len(),
        "candidates_considered": s.verdict.considered,
        "wall_time_s": s.verdict.wall_s,
        "emulated": s.emulated(),
    }))
}

#[derive(Clone, Copy)]
enum Side {
    Before,
    After,
}

/// The last observation of a candidate on the first workload, with the means of the confirmation as its result: the very
/// figures of the report's table. What the table does not hold is of that last run.
fn observation(s: &Subject<'_>, candidate: &Candidate, side: Side) -> Option<Record> {
    let last = s.observation(candidate)?;
    let row = s.verdict.compared.as_ref().and_then(|c| c.workloads.first());
    let mut result: Metrics = last.result.clone().unwrap_or_default();
    let mut note = last.note.clone();
    if let Some(row) = row {
        for m in &row.metrics {
            if let Some(key) = Key::from_name(&m.key) {
                result.set(
                    key,
                    match side {
                        Side::Before => m.before,
                        Side::After => m.after,
                    },
                );
            }
        }
        note = Some(format!(
            "means over {} runs of the confirmation; other keys are of the last run",
            row.pairs
        ));
    }
    // Single requests stand in the record.
    Some(Record { requests: None, result: Some(result), note, ..last.clone() })
}

/// Every row of the before and after.
fn workloads(s: &Subject<'_>) -> Vec<Value> {
    let rows = s.verdict.compared.iter().flat_map(|c| &c.workloads).enumerate();
    rows.map(|(i, w)| {
        let metrics: Vec<Value> = w
            .metrics
            .iter()
            .map(|m| {
                let change = s.change_of(i, m).map(
                    |c| json!({"value": c.value, "low": finite(c.low), "high": finite(c.high)}),
                );
                json!({"key": m.key, "baseline": m.before, "recommended": m.after, "change": change})
            })
            .collect();
        json!({
            "name": w.name, "pairs": w.pairs, "confidence": s.confidence(), "keeps_slo": w.keeps_slo, "metrics": metrics,
        })
    })
    .collect()
}

fn rfc3339(unix_s: f64) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs_f64(unix_s.max(0.0));
    humantime::format_rfc3339_seconds(at).to_string()
}

/// JSON has no infinity: an unbounded side is null.
fn finite(x: f64) -> Value {
    if x.is_finite() { json!(x) } else { Value::Null }
}
