//! The summary that `evalscope perf` prints: names and figures a line, percentiles in blocks, times in seconds.

use super::{set, throughputs, totals_workload};
use crate::scenario::{Key, Metrics, Record};
use serde_json::{Map, Value, json};

/// The first line of a summary.
const TITLE: &str = "Benchmarking summary";

/// The summary of a text as an object of its names.
pub(super) fn find(text: &str) -> Option<Value> {
    let (_, summary) = text.split_once(TITLE)?;
    let (mut out, mut block) = (Map::new(), String::new());
    for line in summary.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let name = name.trim().to_lowercase();
        match value.split_whitespace().next() {
            None => block = name,
            Some(v) => {
                let percentile = name.strip_prefix('p').is_some_and(|p| p.parse::<u8>().is_ok());
                let key = if percentile { format!("{block} {name}") } else { name };
                if let Ok(n) = v.parse::<f64>() {
                    out.insert(key, json!(n));
                }
            }
        }
    }
    is(&out).then_some(Value::Object(out))
}

pub(super) fn is(object: &Map<String, Value>) -> bool {
    object.contains_key("time taken for tests") && object.contains_key("succeed requests")
}

pub(super) fn read(object: &Map<String, Value>) -> Record {
    let number = |name: &str| object.get(name).and_then(Value::as_f64);
    let mut m = Metrics::default();
    let completed = number("succeed requests");
    set(&mut m, Key::Completed, completed);
    set(&mut m, Key::Failed, number("failed requests"));
    set(&mut m, Key::Duration, number("time taken for tests"));
    for (key, each) in [
        (Key::TotalInputTokens, "average input tokens per request"),
        (Key::TotalOutputTokens, "average output tokens per request"),
    ] {
        set(&mut m, key, completed.zip(number(each)).map(|(n, each)| (n * each).round()));
    }
    throughputs(&mut m);
    for (key, name) in [
        (Key::MeanTtftMs, "average time to first token"),
        (Key::MeanE2elMs, "average latency"),
        (Key::MedianTtftMs, "percentile of time to first token p50"),
        (Key::P90TtftMs, "percentile of time to first token p90"),
        (Key::P95TtftMs, "percentile of time to first token p95"),
        (Key::P99TtftMs, "percentile of time to first token p99"),
        (Key::MedianE2elMs, "percentile of request latency p50"),
        (Key::P90E2elMs, "percentile of request latency p90"),
        (Key::P95E2elMs, "percentile of request latency p95"),
        (Key::P99E2elMs, "percentile of request latency p99"),
    ] {
        set(&mut m, key, number(name).map(|s| s * 1e3));
    }
    let mut workload = totals_workload(&m);
    workload.num_prompts = number("total requests").map(|n| n as u32);
    workload.max_concurrency = number("number of concurrency").filter(|n| *n >= 1.0).map(|n| n as u32);
    workload.total_input_tokens = m.get(Key::TotalInputTokens);
    workload.total_output_tokens = m.get(Key::TotalOutputTokens);
    Record {
        workload: Some(workload),
        result: Some(m),
        source: Some("evalscope perf".into()),
        ..Record::default()
    }
}
