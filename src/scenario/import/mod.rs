//! Result files of other load tools, read as observations, and `vllm bench serve`'s form written.
//!
//! A figure is taken over only where its definition is ours. Where a tool gives a request's mean gap between tokens
//! (guidellm and aiperf call it inter-token latency), it is our TPOT, not our ITL; throughputs are totals over the whole
//! duration, also where the tool's own mean is another; what a file does not say is filled from its single requests.

mod aiperf;
mod fib;
mod guidellm;
mod vllm;

pub use vllm::to_vllm_json;

use super::{Key, Metrics, Record, RequestRow};
use crate::error::{Error, Problem, Result};
use crate::stats::{mean, quantile_sorted, std_dev};
use crate::workload::{Dataset, WorkloadSpec};
use serde_json::{Map, Value};

/// The records of a file of another tool; None when it is none that is known.
pub(super) fn foreign(file: &str, value: &Value) -> Option<Result<Vec<Record>>> {
    let object = value.as_object()?;
    let has = |key: &str| object.contains_key(key);
    if has("result") || has("observations") || has("failure") {
        return None;
    }
    let list = |key: &str| object.get(key).is_some_and(Value::is_array);
    let records = if has("completed") && has("request_throughput") && has("duration") {
        vllm::read(object).map(|r| vec![r])
    } else if list("benchmarks") {
        guidellm::read(object)
    } else if ["request_throughput", "request_latency"].iter().all(|k| stat(object, k, "avg").is_some()) {
        Ok(vec![aiperf::read(object)])
    } else if list("outputs") && list("inputs") && has("time") {
        fib::read(object).map(|r| vec![r])
    } else if has("successful_requests") && has("total_generated_tokens") && has("duration") {
        Ok(vec![fib::read_summary(object)])
    } else {
        return None;
    };
    Some(records.map_err(|why| {
        Error::problems("the result file of another tool cannot be read", vec![Problem::new(file, "", why)])
    }))
}

/// A workload of these requests: lengths when all have the same, else only what else is known.
fn workload_of(rows: &[RequestRow]) -> WorkloadSpec {
    let lengths = |r: &RequestRow| (r.input_tokens, r.output_tokens);
    let same = rows.first().map(lengths).filter(|first| rows.iter().all(|r| lengths(r) == *first));
    match same {
        Some((input, output)) if input > 0 && output > 0 => WorkloadSpec {
            input_len: Some(input),
            output_len: Some(output),
            ..WorkloadSpec::empty(Dataset::Random)
        },
        _ => WorkloadSpec::empty(Dataset::Custom),
    }
}

fn text(object: &Map<String, Value>, key: &str) -> Option<String> {
    object.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn stat(object: &Map<String, Value>, metric: &str, name: &str) -> Option<f64> {
    object.get(metric)?.get(name)?.as_f64()
}

/// Keys for mean, median, standard deviation, p90, p95, p99.
const TTFT: [Key; 6] =
    [Key::MeanTtftMs, Key::MedianTtftMs, Key::StdTtftMs, Key::P90TtftMs, Key::P95TtftMs, Key::P99TtftMs];
const TPOT: [Key; 6] =
    [Key::MeanTpotMs, Key::MedianTpotMs, Key::StdTpotMs, Key::P90TpotMs, Key::P95TpotMs, Key::P99TpotMs];
const E2EL: [Key; 6] =
    [Key::MeanE2elMs, Key::MedianE2elMs, Key::StdE2elMs, Key::P90E2elMs, Key::P95E2elMs, Key::P99E2elMs];

fn set(m: &mut Metrics, key: Key, value: Option<f64>) {
    if let Some(v) = value {
        m.set(key, v);
    }
}

const ITL: [Key; 6] =
    [Key::MeanItlMs, Key::MedianItlMs, Key::StdItlMs, Key::P90ItlMs, Key::P95ItlMs, Key::P99ItlMs];

/// Latencies that the file does not give, over its completed requests.
fn fill(m: &mut Metrics, rows: &[RequestRow]) {
    let done: Vec<&RequestRow> = rows.iter().filter(|r| r.error.is_none()).collect();
    let tpot = |r: &&RequestRow| -> Option<f64> {
        let after_first = r.output_tokens.checked_sub(1).filter(|n| *n > 0)?;
        Some((r.e2e_s? - r.ttft_s?) / f64::from(after_first))
    };
    let tables: [([Key; 6], Vec<f64>); 4] = [
        (TTFT, done.iter().filter_map(|r| r.ttft_s).collect()),
        (TPOT, done.iter().filter_map(tpot).collect()),
        (ITL, done.iter().filter_map(|r| r.itl_s.as_ref()).flatten().copied().collect()),
        (E2EL, done.iter().filter_map(|r| r.e2e_s).collect()),
    ];
    for (keys, mut values) in tables {
        if values.is_empty() {
            continue;
        }
        values.sort_by(f64::total_cmp);
        let q = |share| quantile_sorted(&values, share);
        let figures = [mean(&values), q(0.5), std_dev(&values), q(0.9), q(0.95), q(0.99)];
        for (key, value) in keys.into_iter().zip(figures) {
            if m.get(key).is_none() {
                m.set(key, value * 1e3);
            }
        }
    }
}

/// Throughputs over the whole duration, from what was counted.
fn throughputs(m: &mut Metrics) {
    let Some(duration) = m.get(Key::Duration).filter(|d| *d > 0.0) else { return };
    let (input, output) = (m.get(Key::TotalInputTokens), m.get(Key::TotalOutputTokens));
    set(m, Key::RequestThroughput, m.get(Key::Completed).map(|n| n / duration));
    set(m, Key::OutputThroughput, output.map(|n| n / duration));
    set(m, Key::TotalTokenThroughput, input.zip(output).map(|(i, o)| (i + o) / duration));
}

#[cfg(test)]
mod tests;
