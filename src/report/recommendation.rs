//! `recommendation.json`: the conclusion for programs.

use super::subject::Subject;
use crate::scenario::Record;
use crate::space::Candidate;
use serde_json::{Value, json};

/// The contract's object; `None` when there is nothing to recommend.
pub fn recommendation(s: &Subject<'_>) -> Option<Value> {
    let c = s.verdict.compared.as_ref()?;
    let launch = s.launch(&c.winner).unwrap_or_default();
    let improvement = match &c.improvement {
        Some(i) if c.winner != c.baseline => json!({
            "value": i.interval.value, "low": finite(i.interval.low), "high": finite(i.interval.high),
            "significant": i.significant,
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
    let observation = |candidate: &Candidate| s.observation(candidate).map(without_requests);
    Some(json!({
        "engine": c.winner.engine,
        "command": launch.argv,
        "env": launch.env,
        "files": launch.files,
        "objective": s.run.plan.objective,
        "baseline": observation(&c.baseline),
        "recommended": observation(&c.winner),
        "improvement": improvement,
        "flags": flags,
        "trials_run": s.trials.len(),
        "candidates_considered": s.verdict.considered,
        "wall_time_s": s.verdict.wall_s,
        "emulated": s.emulated(),
    }))
}

/// JSON has no infinity: an unbounded side is null.
fn finite(x: f64) -> Value {
    if x.is_finite() { json!(x) } else { Value::Null }
}

/// The observation without its single requests, which stand in the record.
fn without_requests(r: &Record) -> Record {
    Record { requests: None, ..r.clone() }
}
