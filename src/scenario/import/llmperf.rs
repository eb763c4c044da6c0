//! llmperf's `*_summary.json` (Ray): means and quantiles in seconds, one flat table.
//!
//! Its `inter_token_latency_s` is the whole time of a request over its output tokens, the first included, so neither our TPOT
//! nor our ITL: it is left out.

use super::{E2EL, TTFT, missing_throughputs, set, text, totals_workload};
use crate::scenario::{Key, Metrics, Record};
use serde_json::{Map, Value};

pub(super) fn is(object: &Map<String, Value>) -> bool {
    ["results_ttft_s_mean", "results_num_completed_requests"].iter().all(|k| object.contains_key(*k))
}

pub(super) fn read(object: &Map<String, Value>) -> Record {
    let number = |key: &str| object.get(key).and_then(Value::as_f64);
    let mut m = Metrics::default();
    let completed = number("results_num_completed_requests");
    set(&mut m, Key::Completed, completed);
    set(&mut m, Key::Failed, number("results_number_errors"));
    set(&mut m, Key::RequestLossRate, number("results_error_rate"));
    let per_minute = number("results_num_completed_requests_per_min").filter(|r| *r > 0.0);
    set(&mut m, Key::Duration, completed.zip(per_minute).map(|(n, r)| n / r * 60.0));
    set(&mut m, Key::OutputThroughput, number("results_mean_output_throughput_token_per_s"));
    let total = |name: &str| Some((completed? * number(&format!("results_{name}_mean"))?).round());
    set(&mut m, Key::TotalInputTokens, total("number_input_tokens"));
    set(&mut m, Key::TotalOutputTokens, total("number_output_tokens"));
    for (name, keys) in [("ttft_s", TTFT), ("end_to_end_latency_s", E2EL)] {
        let fields = ["mean", "quantiles_p50", "stddev", "quantiles_p90", "quantiles_p95", "quantiles_p99"];
        for (key, field) in keys.into_iter().zip(fields) {
            set(&mut m, key, number(&format!("results_{name}_{field}")).map(|s| s * 1e3));
        }
    }
    missing_throughputs(&mut m);
    let mut workload = totals_workload(&m);
    workload.max_concurrency = number("num_concurrent_requests").filter(|n| *n >= 1.0).map(|n| n as u32);
    workload.num_prompts = number("results_num_requests_started").map(|n| n as u32);
    Record {
        model: text(object, "model"),
        workload: Some(workload),
        result: Some(m),
        source: Some("llmperf".into()),
        ..Record::default()
    }
}
