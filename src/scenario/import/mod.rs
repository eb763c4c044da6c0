//! Result files of other load tools, read as observations, and `vllm bench serve`'s form written.
//!
//! A figure is taken over only where its definition is ours. Where a tool gives a request's mean gap between tokens
//! (guidellm and aiperf call it inter-token latency), it is our TPOT, not our ITL; throughputs are totals over the whole
//! duration, also where the tool's own mean is another; what a file does not say is filled from its single requests.

mod aiconfigurator;
mod aiperf;
mod aiperf_requests;
mod columns;
mod commands;
pub(super) mod content;
mod drawn;
mod evalscope;
mod fib;
mod genai_bench;
mod guidellm;
mod guidellm_console;
mod guidellm_csv;
mod inference_benchmarker;
mod inference_perf;
mod inferencex;
mod llmd;
mod llmperf;
mod not_llm;
mod paired;
mod parallel;
mod printed;
mod sglang;
mod stat_lines;
mod table;
pub(super) mod text;
mod transposed;
mod trtllm_bench;
mod vllm;
mod without_unit;

use vllm::rows;
pub use vllm::to_vllm_json;

use super::{Key, Metrics, Record, RequestRow};
use crate::error::Problem;
use crate::stats::{mean, quantile_sorted, std_dev};
use crate::workload::{Dataset, WorkloadSpec};
use serde_json::{Map, Value};

/// How an object of another tool is read.
type Reader = fn(&Map<String, Value>) -> Result<Vec<Record>, String>;

/// The tool that wrote this object as the result of a whole run; None when it is none that is known.
fn tool(object: &Map<String, Value>) -> Option<(&'static str, Reader)> {
    let has = |key: &str| object.contains_key(key);
    if has("result") || has("observations") || has("failure") {
        return None;
    }
    let list = |key: &str| object.get(key).is_some_and(Value::is_array);
    let named: (&'static str, Reader) = if inferencex::is(object) {
        ("InferenceX", |o| inferencex::read(o).map(|r| vec![r]))
    } else if inferencex::is_row_of_metrics(object) {
        ("InferenceX", |o| inferencex::read_row_of_metrics(o).map(|r| vec![r]))
    } else if genai_bench::is(object) {
        ("genai-bench", |o| Ok(vec![genai_bench::read(o)]))
    } else if sglang::is(object) {
        ("sglang.bench_serving", |o| sglang::read(o).map(|r| vec![r]))
    } else if has(printed::MARK)
        || has("completed") && has("duration") && (has("request_throughput") || has("mean_ttft_ms"))
    {
        ("vllm bench serve", |o| vllm::read(o).map(|r| vec![r]))
    } else if evalscope::is(object) {
        ("evalscope perf", |o| Ok(vec![evalscope::read(o)]))
    } else if list("benchmarks") {
        ("guidellm", guidellm::read)
    } else if stat(object, "request_latency", "avg").is_some()
        && ["request_throughput", "time_to_first_token", "num_output_token"]
            .iter()
            .any(|k| stat(object, k, "avg").is_some())
    {
        ("aiperf or genai-perf", |o| Ok(vec![aiperf::read(o)]))
    } else if sglang::is_offline(object) {
        ("sglang.bench_offline_throughput", |o| sglang::read_offline(o).map(|r| vec![r]))
    } else if trtllm_bench::is(object) {
        ("trtllm-bench", |o| trtllm_bench::read(o).map(|r| vec![r]))
    } else if inference_perf::is(object) {
        ("inference-perf", |o| Ok(vec![inference_perf::read(o)]))
    } else if llmd::is(object) {
        ("llm-d benchmark report", |o| llmd::read(o).map(|r| vec![r]))
    } else if llmperf::is(object) {
        ("llmperf", |o| Ok(vec![llmperf::read(o)]))
    } else if list("outputs") && list("inputs") && has("time") {
        ("fib", |o| fib::read(o).map(|r| vec![r]))
    } else if has("successful_requests") && has("total_generated_tokens") && has("duration") {
        ("fib", |o| Ok(vec![fib::read_summary(o)]))
    } else {
        return None;
    };
    Some(named)
}

/// The tool that wrote a file and its records, or every problem of the file.
type Found = Result<(&'static str, Vec<Record>), Vec<Problem>>;

/// The tool and the records of a file of another tool; None when it is none that is known.
pub(super) fn foreign(file: &str, content: &content::Content) -> Option<Found> {
    match content {
        content::Content::One(Value::Array(list)) => {
            let places: Vec<(String, &Value)> =
                list.iter().enumerate().map(|(i, v)| (format!("[{i}]"), v)).collect();
            many(file, &places)
        }
        content::Content::One(value) => many(file, &[(String::new(), value)]),
        content::Content::Many(values) => {
            let places: Vec<(String, &Value)> =
                values.iter().map(|(n, v)| (format!("line {n}"), v)).collect();
            many(file, &places)
        }
    }
}

fn many(file: &str, values: &[(String, &Value)]) -> Option<Found> {
    let first = values.first()?.1.as_object()?;
    let objects: Vec<&Map<String, Value>> = values.iter().filter_map(|(_, v)| v.as_object()).collect();
    if aiperf_requests::is(first) {
        return Some(Ok(("aiperf", vec![aiperf_requests::read(&objects)])));
    }
    if llmperf::is_request(first) && values.len() > 1 {
        return Some(Ok(("llmperf", vec![llmperf::read_requests(&objects)])));
    }
    if inference_perf::is_request(first) {
        return Some(Ok(("inference-perf", vec![inference_perf::read_requests(&objects)])));
    }
    let Some((name, _)) = values.iter().find_map(|(_, v)| tool(v.as_object()?)) else {
        let what = match not_llm::named(first) {
            Some(name) => format!("is {name}"),
            None => not_llm::strange(first)?,
        };
        let hint = "result files of LLM load tools are read: vllm bench serve, sglang.bench_serving, guidellm, aiperf, \
                    inference-perf, llm-d, llmperf, trtllm-bench, InferenceX, CSV";
        return Some(Err(vec![Problem::new(file, "", what).hint(hint)]));
    };
    let (mut records, mut problems) = (Vec::new(), Vec::new());
    for (place, value) in values {
        let found =
            value.as_object().and_then(tool).map(|(_, read)| value.as_object().map_or(Ok(Vec::new()), read));
        match found {
            Some(Ok(found)) => records.extend(found),
            Some(Err(why)) => problems.push(Problem::new(file, place.as_str(), why)),
            None => problems.push(Problem::new(
                file,
                place.as_str(),
                format!("is no run of {name}, as others here are"),
            )),
        }
    }
    records.iter_mut().for_each(nothing_measured);
    Some(if problems.is_empty() { Ok((name, records)) } else { Err(problems) })
}

/// A run of which every request failed has no latency and no rate: the zeros that load tools write then are no measurement.
fn nothing_measured(record: &mut Record) {
    let Some(result) = &mut record.result else { return };
    if result.get(Key::Completed) != Some(0.0) {
        return;
    }
    let mut kept = Metrics::default();
    for key in [Key::Completed, Key::Failed, Key::Duration] {
        set(&mut kept, key, result.get(key));
    }
    *result = kept;
    let failed = "no request completed: nothing was measured".to_owned();
    record.note = Some(record.note.take().map_or_else(|| failed.clone(), |n| format!("{n}; {failed}")));
}

/// A time to the microsecond: what lies below is the rounding of a clock of 64-bit seconds.
fn micros(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

/// The figures of a run that is known by its requests.
fn counted(rows: &[RequestRow], duration: f64) -> Metrics {
    let done: Vec<&RequestRow> = rows.iter().filter(|r| r.error.is_none()).collect();
    let failed = rows.len() - done.len();
    let mut m = Metrics::default();
    m.set(Key::Completed, done.len() as f64);
    m.set(Key::Failed, failed as f64);
    m.set(Key::RequestLossRate, failed as f64 / (rows.len() as f64).max(1.0));
    m.set(Key::Duration, duration);
    m.set(Key::TotalInputTokens, done.iter().map(|r| f64::from(r.input_tokens)).sum());
    m.set(Key::TotalOutputTokens, done.iter().map(|r| f64::from(r.output_tokens)).sum());
    throughputs(&mut m);
    fill(&mut m, rows);
    m
}

/// A workload of which only the totals are known: every request has the mean lengths.
fn totals_workload(m: &Metrics) -> WorkloadSpec {
    let mean_of = |key: Key| {
        let n = m.get(Key::Completed).filter(|n| *n > 0.0)?;
        Some((m.get(key)? / n).round()).filter(|v| *v >= 1.0).map(|v| v as u32)
    };
    match (mean_of(Key::TotalInputTokens), mean_of(Key::TotalOutputTokens)) {
        (Some(input), Some(output)) => WorkloadSpec {
            input_len: Some(input),
            output_len: Some(output),
            note: Some("lengths are the means of the run; how they vary is not in the file".into()),
            ..WorkloadSpec::empty(Dataset::Random)
        },
        _ => WorkloadSpec::empty(Dataset::Custom),
    }
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

fn word(object: &Map<String, Value>, key: &str) -> Option<String> {
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

/// Throughputs that the file does not give: a printed table or an older release lacks some of them.
fn missing_throughputs(m: &mut Metrics) {
    let mut own = m.clone();
    throughputs(&mut own);
    for key in [Key::RequestThroughput, Key::OutputThroughput, Key::TotalTokenThroughput] {
        if m.get(key).is_none() {
            set(m, key, own.get(key));
        }
    }
}

#[cfg(test)]
mod tests;
