//! genai-bench (sgl-project): one run of one load, `aggregated_metrics` with statistics by request.

use super::{E2EL, TPOT, TTFT, set, totals_workload};
use crate::scenario::{Key, Metrics, Record};
use serde_json::{Map, Value};

pub(super) fn is(object: &Map<String, Value>) -> bool {
    object
        .get("aggregated_metrics")
        .is_some_and(|m| m.get("stats").is_some() && m.get("run_duration").is_some())
}

/// Its TPOT is ours: (whole time - time to the first token) / (tokens - 1). Latencies are in seconds unless `_time_unit` says `ms`.
pub(super) fn read(object: &Map<String, Value>) -> Record {
    let all = &object["aggregated_metrics"];
    let number = |key: &str| all.get(key).and_then(Value::as_f64);
    let factor = if object.get("_time_unit").or_else(|| all.get("_time_unit")).is_some_and(|u| u == "ms") {
        1.0
    } else {
        1e3
    };
    let stat = |metric: &str, name: &str| all["stats"].get(metric)?.get(name)?.as_f64();
    let mut m = Metrics::default();
    let completed = number("num_completed_requests");
    set(&mut m, Key::Completed, completed);
    set(&mut m, Key::Failed, number("num_error_requests"));
    set(&mut m, Key::Duration, number("run_duration"));
    set(&mut m, Key::RequestThroughput, number("requests_per_second"));
    set(&mut m, Key::OutputThroughput, number("mean_output_throughput_tokens_per_s"));
    set(&mut m, Key::TotalTokenThroughput, number("mean_total_tokens_throughput_tokens_per_s"));
    for (key, metric) in
        [(Key::TotalInputTokens, "num_input_tokens"), (Key::TotalOutputTokens, "num_output_tokens")]
    {
        set(&mut m, key, stat(metric, "sum").or_else(|| Some(completed? * stat(metric, "mean")?)));
    }
    for (metric, keys) in [("ttft", TTFT), ("tpot", TPOT), ("e2e_latency", E2EL)] {
        for (key, name) in keys.into_iter().zip(["mean", "p50", "stddev", "p90", "p95", "p99"]) {
            set(&mut m, key, stat(metric, name).map(|v| v * factor));
        }
    }
    let mut workload = totals_workload(&m);
    workload.max_concurrency = number("num_concurrency").filter(|n| *n >= 1.0).map(|n| n as u32);
    workload.num_prompts = number("num_requests").map(|n| n as u32);
    Record {
        workload: Some(workload),
        result: Some(m),
        source: Some("genai-bench".into()),
        ..Record::default()
    }
}
