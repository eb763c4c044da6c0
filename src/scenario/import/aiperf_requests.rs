//! aiperf's `profile_export.jsonl`: one request a line, times in the unit that stands beside each value.

use super::workload_of;
use crate::scenario::{Key, Record, RequestRow};
use serde_json::{Map, Value};

pub(super) fn is(object: &Map<String, Value>) -> bool {
    let metadata = object.get("metadata");
    metadata.is_some_and(|m| m.get("request_start_ns").is_some())
        && (object.contains_key("metrics") || object.contains_key("error"))
}

/// One run from its requests; those of the warm-up are left out.
pub(super) fn read(list: &[&Map<String, Value>]) -> Record {
    let meta = |o: &Map<String, Value>, key: &str| o.get("metadata").and_then(|m| m.get(key)).cloned();
    let ns = |o: &Map<String, Value>, key: &str| meta(o, key).and_then(|v| v.as_f64()).unwrap_or(0.0);
    let warm = |o: &Map<String, Value>| meta(o, "benchmark_phase").is_some_and(|p| p == "warmup");
    let measured: Vec<&Map<String, Value>> = list.iter().copied().filter(|o| !warm(o)).collect();
    let first = measured.iter().map(|o| ns(o, "request_start_ns")).fold(f64::INFINITY, f64::min);
    let last = measured.iter().map(|o| ns(o, "request_end_ns")).fold(0.0, f64::max);
    let mut rows: Vec<RequestRow> =
        measured.iter().map(|o| request(o, (ns(o, "request_start_ns") - first) / 1e9)).collect();
    rows.sort_by(|a, b| a.arrival_s.total_cmp(&b.arrival_s));
    let m = super::counted(&rows, ((last - first) / 1e9).max(0.0));
    let mut workload = workload_of(&rows);
    workload.num_prompts = Some(rows.len() as u32);
    workload.total_input_tokens = m.get(Key::TotalInputTokens);
    workload.total_output_tokens = m.get(Key::TotalOutputTokens);
    let left_out = list.len() - measured.len();
    Record {
        workload: Some(workload),
        requests: Some(rows),
        result: Some(m),
        source: Some("aiperf".into()),
        note: (left_out > 0).then(|| format!("{left_out} requests of the warm-up are left out")),
        ..Record::default()
    }
}

fn request(o: &Map<String, Value>, arrival: f64) -> RequestRow {
    let metric = |name: &str| o.get("metrics")?.get(name);
    let factor = |name: &str| match metric(name).and_then(|m| m.get("unit")).and_then(Value::as_str) {
        Some("s" | "sec") => 1.0,
        Some("us") => 1e-6,
        Some("ns") => 1e-9,
        _ => 1e-3,
    };
    let seconds = |name: &str| Some(metric(name)?.get("value")?.as_f64()? * factor(name));
    let count = |names: &[&str]| {
        let value = |n: &&str| metric(n)?.get("value")?.as_f64();
        names.iter().find_map(value).unwrap_or(0.0) as u32
    };
    let gaps: Option<Vec<f64>> = metric("inter_chunk_latency")
        .and_then(|m| m.get("value")?.as_array())
        .map(|l| l.iter().filter_map(Value::as_f64).map(|v| v * factor("inter_chunk_latency")).collect());
    let error = o.get("error").filter(|e| !e.is_null());
    let cancelled = o.get("metadata").is_some_and(|m| m.get("was_cancelled") == Some(&Value::Bool(true)));
    let done = error.is_none() && !cancelled;
    let kind = error.and_then(|e| e.get("error_type")?.as_str()).unwrap_or("cancelled");
    RequestRow {
        arrival_s: super::micros(arrival),
        input_tokens: count(&["usage_prompt_tokens", "input_sequence_length"]),
        output_tokens: count(&["usage_completion_tokens", "output_sequence_length", "output_token_count"]),
        ttft_s: seconds("time_to_first_token").filter(|_| done),
        e2e_s: seconds("request_latency").filter(|_| done),
        itl_s: gaps.filter(|g| done && !g.is_empty()),
        error: (!done).then(|| kind.chars().take(200).collect()),
        ..RequestRow::default()
    }
}
