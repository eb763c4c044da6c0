//! The benchmark report of llm-d, version 0.2.1: one run of the recommended command on the first workload, with what served it.

use super::super::recommendation::rfc3339;
use super::super::subject::Subject;
use crate::launch::{Candidate, EngineKind, GpuLayout};
use crate::scenario::{Key, Metrics};
use crate::trial::Measured;
use crate::workload::{Dataset, RequestRate, WorkloadSpec};
use serde_json::{Map, Value, json};

/// Version of the form.
const VERSION: &str = "0.2.1";

/// The last valid run of the recommended command on the first workload, as YAML.
pub(super) fn report(s: &Subject<'_>) -> Result<String, String> {
    let winner = s.winner().ok_or("the campaign has nothing to recommend")?;
    let (seq, run) = last(s, winner).ok_or("the record holds no valid run of the recommended command")?;
    let m = run.observation.result.as_ref().ok_or("the run has no result")?;
    let emulated = if s.emulated() { " Emulated: not measured on this hardware." } else { "" };
    let root = json!({
        "version": VERSION,
        "run": {
            "uid": format!("{}-{seq}-{}", s.run.run_id, run.repeat),
            "eid": s.run.run_id,
            "time": {"start": rfc3339(run.started_unix_s), "duration": format!("PT{:.3}S", m.get(Key::Duration).unwrap_or(run.wall_s))},
            "description": format!("The command that dyno {} recommends, on its first workload.{emulated}", s.run.dyno_version),
        },
        "scenario": {"stack": [engine(s, winner)?], "load": load(&run.workload, m, &s.run.dyno_version)},
        "results": {"request_performance": {"aggregate": figures(m)}},
    });
    Ok(serde_saphyr::to_string(&root).unwrap_or_default())
}

fn last<'a>(s: &Subject<'a>, candidate: &Candidate) -> Option<(u32, &'a Measured)> {
    let mine = s.trials.iter().rev().filter(|t| t.result.spec.candidate == *candidate);
    let mut runs = mine.flat_map(|t| Subject::runs(t).iter().rev().map(|m| (t.seq, m)));
    let primary = &s.run.plan.primary().spec;
    runs.find(|(_, m)| m.invalid.is_empty() && m.workload.same_kind(primary))
}

/// What served: model, GPUs and how they share the work, and the engine's own arguments.
fn engine(s: &Subject<'_>, winner: &Candidate) -> Result<Value, String> {
    let launch = s.launch(winner).ok_or("the record holds no command of the recommended candidate")?;
    let plan = &s.run.plan;
    let known = s.verdict.engines.iter().find(|e| e.engine == winner.engine);
    let layout = GpuLayout::of(&launch);
    // Without leading dashes a reader could not tell the engine's arguments from the tool's.
    let args: Map<String, Value> = launch.flags.iter().map(|(k, v)| (format!("--{k}"), json!(v))).collect();
    let experts = launch.flags.iter().any(|(k, _)| k == "enable-expert-parallel");
    Ok(json!({
        "metadata": {"label": "engine", "cfg_id": winner.label()},
        "standardized": {
            "kind": "inference_engine",
            "tool": winner.engine.id(),
            "tool_version": known.and_then(|e| e.version.clone()).unwrap_or_else(|| "unknown".to_owned()),
            "role": "replica",
            "replicas": 1,
            "model": {"name": plan.model},
            "accelerator": {
                "model": plan.hardware,
                "count": plan.num_gpus,
                "parallelism": {
                    "tp": layout.tensor,
                    "pp": layout.pipeline,
                    "dp": layout.data,
                    "ep": if experts { layout.tensor * layout.data } else { 1 },
                },
            },
        },
        "native": {
            "args": args,
            "envars": launch.env,
            "config": if winner.engine == EngineKind::Emulated { "dyno emulate" } else { "" },
        },
    }))
}

fn load(w: &WorkloadSpec, m: &Metrics, version: &str) -> Value {
    let n = m.get(Key::Completed).unwrap_or(0.0).max(1.0);
    let length = |total: Key, asked: Option<u32>| {
        let fixed = w.dataset == Dataset::Random && w.input_range.is_none() && w.random_range_ratio.is_none();
        let mean = m.get(total).map_or(0.0, |t| t / n);
        match asked.filter(|_| fixed) {
            Some(tokens) => json!({"distribution": "fixed", "value": tokens}),
            None => json!({"distribution": "other", "value": mean}),
        }
    };
    let mut out = json!({
        "tool": "dyno",
        "tool_version": version,
        "source": if w.dataset == Dataset::Random { "random" } else { "sampled" },
        "input_seq_len": length(Key::TotalInputTokens, w.input_len),
        "output_seq_len": length(Key::TotalOutputTokens, w.output_len),
    });
    if let RequestRate::PerSecond(rate) = w.request_rate {
        out["rate_qps"] = json!(rate);
    }
    if let Some(most) = w.max_concurrency {
        out["concurrency"] = json!(most);
    }
    json!({"metadata": {}, "standardized": out, "native": {"config": w}})
}

/// The client's figures with their units.
fn figures(m: &Metrics) -> Value {
    let completed = m.get(Key::Completed).unwrap_or(0.0);
    let failed = m.get(Key::Failed).unwrap_or(0.0);
    let mean = |total: Key| m.get(total).map(|t| json!({"units": "count", "mean": t / completed.max(1.0)}));
    let rate = |key: Key, units: &str| m.get(key).map(|v| json!({"units": units, "mean": v}));
    let latency = |stem: &str, units: &str| {
        let of = |name: &str| Key::from_name(&format!("{name}_{stem}_ms")).and_then(|k| m.get(k));
        let mut out = json!({"units": units, "mean": of("mean")?});
        for (theirs, ours) in
            [("p50", "median"), ("stddev", "std"), ("p90", "p90"), ("p95", "p95"), ("p99", "p99")]
        {
            if let Some(v) = of(ours) {
                out[theirs] = json!(v);
            }
        }
        Some(out)
    };
    json!({
        "requests": {
            "total": (completed + failed) as u64,
            "failures": failed as u64,
            "input_length": mean(Key::TotalInputTokens),
            "output_length": mean(Key::TotalOutputTokens),
        },
        "latency": {
            "time_to_first_token": latency("ttft", "ms"),
            "time_per_output_token": latency("tpot", "ms/token"),
            "inter_token_latency": latency("itl", "ms/token"),
            "request_latency": latency("e2el", "ms"),
        },
        "throughput": {
            "request_rate": rate(Key::RequestThroughput, "queries/s"),
            "output_token_rate": rate(Key::OutputThroughput, "tokens/s"),
            "total_token_rate": rate(Key::TotalTokenThroughput, "tokens/s"),
        },
    })
}
