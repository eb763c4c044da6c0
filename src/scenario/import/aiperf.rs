//! aiperf's `profile_export_aiperf.json` and genai-perf's `profile_export_genai_perf.json`: a block of statistics a
//! metric.
//!
//! Both call a request's mean gap `inter_token_latency` (our TPOT); aiperf's `inter_chunk_latency` pools the gaps of
//! all requests (our ITL). Token counts are the server's where the file has them.

use super::{E2EL, ITL, TPOT, TTFT, missing_throughputs, set, stat, totals_workload, word};
use crate::launch::Launch;
use crate::scenario::{Key, Metrics, Record};
use crate::workload::{Dataset, RequestRate, WorkloadSpec};
use serde_json::{Map, Value};

pub(super) fn read(object: &Map<String, Value>) -> Record {
    let mut m = Metrics::default();
    let average = |name: &str| stat(object, name, "avg");
    let failed = average("error_request_count");
    let counted = average("request_count");
    let assumed =
        if failed.is_none() { asked(object, "requests").filter(|_| counted.is_none()) } else { None };
    let completed = counted.or(assumed);
    set(&mut m, Key::Completed, completed);
    set(&mut m, Key::Failed, failed);
    let rate = average("request_error_rate").map(|percent| percent / 100.0);
    let share = failed.zip(completed).map(|(f, c)| f / (f + c).max(1.0));
    set(&mut m, Key::RequestLossRate, share.or(rate));
    set(&mut m, Key::RequestThroughput, average("request_throughput"));
    set(&mut m, Key::OutputThroughput, average("output_token_throughput"));
    set(&mut m, Key::TotalTokenThroughput, average("total_token_throughput"));
    let throughput = m.get(Key::RequestThroughput);
    set(&mut m, Key::Duration, average("benchmark_duration").or_else(|| Some(completed? / throughput?)));
    for (name, keys) in [
        ("time_to_first_token", TTFT),
        ("inter_token_latency", TPOT),
        ("inter_chunk_latency", ITL),
        ("request_latency", E2EL),
    ] {
        let factor = milliseconds(object, name);
        for (key, field) in keys.into_iter().zip(["avg", "p50", "std", "p90", "p95", "p99"]) {
            set(&mut m, key, stat(object, name, field).map(|v| v * factor));
        }
    }
    let mean_of = |name: &str| Some((completed? * average(name)?).round());
    let input = average("total_usage_prompt_tokens").or_else(|| average("total_isl"));
    let output = average("total_usage_completion_tokens").or_else(|| average("total_osl"));
    set(&mut m, Key::TotalInputTokens, input.or_else(|| mean_of("input_sequence_length")));
    let output = output.or_else(|| mean_of("output_sequence_length"));
    set(&mut m, Key::TotalOutputTokens, output.or_else(|| mean_of("output_token_count")));
    missing_throughputs(&mut m);
    let config = object.get("input_config").cloned().unwrap_or_default();
    let name = |path: &str| config.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let server = word(object, "serve_command");
    Record {
        engine: server.as_deref().and_then(|c| Launch::parse(c).engine),
        serve_command: server,
        model: name("/models/items/0/name").or_else(|| name("/endpoint/model_names/0")),
        workload: Some(workload(object, &config, &m)),
        result: Some(m),
        source: Some("aiperf".into()),
        note: assumed.map(|_| {
            "the table does not count the requests; as many as its command asks for are taken as completed".into()
        }),
        ..Record::default()
    }
}

/// What the command of a drawn table asks for; a saved file has no such key.
fn asked(object: &Map<String, Value>, name: &str) -> Option<f64> {
    object.get(ASKED)?.get(name)?.as_f64()
}

/// Key of what the command of a drawn table asks for.
pub(super) const ASKED: &str = "asked";

/// A workload of mean lengths where nothing counts the tokens: those of the table, else those that its command asks for.
fn mean_lengths(object: &Map<String, Value>) -> Option<WorkloadSpec> {
    let average = |name: &str| stat(object, name, "avg").map(f64::round).filter(|n| *n >= 1.0);
    let (input, output) = (
        average("input_sequence_length"),
        average("output_sequence_length").or_else(|| average("output_token_count")),
    );
    let note = match (input, output) {
        (Some(_), Some(_)) => "lengths are the means of the run; how they vary is not in the file",
        (None, None) => "lengths are those that the command asks for; the table has none",
        (None, Some(_)) => "the length of a prompt is that which the command asks for; the table has none",
        (Some(_), None) => "the length of an answer is that which the command asks for; the table has none",
    };
    Some(WorkloadSpec {
        input_len: Some(input.or_else(|| asked(object, "input"))? as u32),
        output_len: Some(output.or_else(|| asked(object, "output"))? as u32),
        note: Some(note.into()),
        ..WorkloadSpec::empty(Dataset::Random)
    })
}

/// aiperf writes the unit; genai-perf's times are milliseconds as well.
fn milliseconds(object: &Map<String, Value>, name: &str) -> f64 {
    match object.get(name).and_then(|s| s.get("unit")).and_then(Value::as_str).unwrap_or("ms") {
        "sec" | "s" => 1e3,
        "us" => 1e-3,
        "ns" => 1e-6,
        _ => 1.0,
    }
}

fn workload(object: &Map<String, Value>, config: &Value, m: &Metrics) -> WorkloadSpec {
    // Equal lengths of all requests show as statistics without spread.
    let length = |name: &str| {
        let (low, high) = (stat(object, name, "min")?, stat(object, name, "max")?);
        (low == high && low >= 1.0).then_some(low as u32)
    };
    let counted =
        |server: &'static str, client| length(if object.contains_key(server) { server } else { client });
    let input = counted("usage_prompt_tokens", "input_sequence_length");
    let output = counted("usage_completion_tokens", "output_sequence_length");
    let mut w = totals_workload(m);
    if w.input_len.is_none() {
        w = mean_lengths(object).unwrap_or(w);
    }
    if input.and(output).is_some() {
        w = WorkloadSpec { input_len: input, output_len: output, ..WorkloadSpec::empty(Dataset::Random) };
    }
    w.num_prompts = m.get(Key::Completed).map(|n| (n + m.get(Key::Failed).unwrap_or(0.0)) as u32);
    w.total_input_tokens = m.get(Key::TotalInputTokens);
    w.total_output_tokens = m.get(Key::TotalOutputTokens);
    let phases = config.get("phases").and_then(Value::as_array);
    let measured = phases.and_then(|p| p.iter().rfind(|p| p.get("name") == Some(&"profiling".into())));
    let load = |key: &str| measured.or(config.get("loadgen"))?.get(key)?.as_f64();
    w.max_concurrency = load("concurrency").map(|c| c as u32);
    let rate = load("rate").or_else(|| load("request_rate"));
    w.request_rate = rate.filter(|r| *r > 0.0).map_or(RequestRate::Inf, RequestRate::PerSecond);
    w
}
