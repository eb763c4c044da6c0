//! The campaign for other tools: every run as a row, every candidate as parameters.

use super::super::subject::Subject;
use crate::launch::{EngineKind, FlagValue};
use crate::scenario::Key;
use serde_json::{Map, Value, json};

/// Every measured run as a row of CSV: launch, stage, candidate, workload, then the result keys.
pub(super) fn csv(s: &Subject<'_>) -> String {
    let mut w = csv::Writer::from_writer(Vec::new());
    let mut head =
        vec!["launch", "stage", "engine", "candidate", "workload", "seed", "repeat", "valid", "command"];
    head.extend(Key::ALL.iter().map(|k| k.name()));
    // Writing into memory does not fail.
    let _ = w.write_record(&head);
    for t in s.trials {
        for m in Subject::runs(t) {
            let name = s.run.plan.workloads.iter().find(|w| w.spec.same_kind(&m.workload));
            let mut row = vec![
                t.seq.to_string(),
                t.stage.to_string(),
                t.result.spec.candidate.engine.to_string(),
                t.result.spec.candidate.label(),
                name.map_or("probe".to_owned(), |w| w.name.clone()),
                m.workload.seed.map_or(String::new(), |x| x.to_string()),
                m.repeat.to_string(),
                m.invalid.is_empty().to_string(),
                Subject::launched(t).unwrap_or_default(),
            ];
            let value = |k: &Key| m.observation.result.as_ref().and_then(|r| r.get(*k));
            row.extend(Key::ALL.iter().map(|k| value(k).map_or(String::new(), |v| v.to_string())));
            let _ = w.write_record(&row);
        }
    }
    w.into_inner().ok().and_then(|b| String::from_utf8(b).ok()).unwrap_or_default()
}

/// The candidates of vLLM as `vllm bench sweep serve --serve-params` takes them.
pub(super) fn sweep(s: &Subject<'_>) -> Result<String, String> {
    let base = s.baseline().ok_or("the campaign has no baseline")?;
    if !matches!(base.engine, EngineKind::Vllm | EngineKind::Emulated) {
        return Err(format!("`vllm bench sweep` sweeps vLLM; the engine here is {}", base.engine));
    }
    let mut seen: Vec<&crate::launch::Candidate> = Vec::new();
    for t in s.trials {
        let c = &t.result.spec.candidate;
        if c.engine == base.engine && !seen.contains(&c) {
            seen.push(c);
        }
    }
    let all: Vec<Value> = seen
        .iter()
        .map(|c| {
            let mut one = Map::new();
            one.insert("_benchmark_name".into(), json!(c.label()));
            for (flag, value) in &c.flags {
                let value = match value {
                    FlagValue::Bool(b) => json!(b),
                    FlagValue::Int(i) => json!(i),
                    FlagValue::Float(x) => json!(x),
                    FlagValue::Text(t) => json!(t),
                };
                one.insert(flag.replace('-', "_"), value);
            }
            Value::Object(one)
        })
        .collect();
    Ok(serde_json::to_string_pretty(&all).unwrap_or_default() + "\n")
}
