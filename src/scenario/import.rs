//! Result files of other load tools, read as observations, and `vllm bench serve`'s form written.
//!
//! A figure is taken over only where its definition is ours. Where a tool gives a request's mean gap between tokens
//! (guidellm and aiperf call it inter-token latency), it is our TPOT, not our ITL; guidellm's own time per
//! output token includes the first token and is left out.

use super::{Key, Metrics, Record, RequestRow};
use crate::error::{Error, Problem, Result};
use crate::workload::{Dataset, RequestRate, WorkloadSpec};
use serde_json::{Map, Value, json};

/// The records of a file of another tool; None when it is none that is known.
pub(super) fn foreign(file: &str, value: &Value) -> Option<Result<Vec<Record>>> {
    let object = value.as_object()?;
    let has = |key: &str| object.contains_key(key);
    if has("result") || has("observations") || has("failure") {
        return None;
    }
    let records = if has("completed") && has("request_throughput") && has("duration") {
        vllm(object).map(|r| vec![r])
    } else if object.get("benchmarks").is_some_and(Value::is_array) {
        guidellm(object)
    } else if ["request_throughput", "request_latency"].iter().all(|k| stat(object, k, "avg").is_some()) {
        Ok(vec![aiperf(object)])
    } else {
        return None;
    };
    Some(records.map_err(|why| {
        Error::problems("the result file of another tool cannot be read", vec![Problem::new(file, "", why)])
    }))
}

/// `vllm bench serve --save-result` (with `--save-detailed` also request by request).
fn vllm(object: &Map<String, Value>) -> Result<Record, String> {
    const SETTINGS: [&str; 14] = [
        "date",
        "endpoint_type",
        "backend",
        "label",
        "model_id",
        "tokenizer_id",
        "num_prompts",
        "request_rate",
        "burstiness",
        "max_concurrency",
        "ramp_up_strategy",
        "ramp_up_start_rps",
        "ramp_up_end_rps",
        "generated_texts",
    ];
    const LISTS: [&str; 6] = ["input_lens", "output_lens", "ttfts", "itls", "start_times", "errors"];
    let figures: Map<String, Value> = object
        .iter()
        .filter(|(k, _)| !SETTINGS.contains(&k.as_str()) && !LISTS.contains(&k.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let result: Metrics = serde_json::from_value(Value::Object(figures)).map_err(|e| e.to_string())?;
    let requests = rows(object);
    let mut workload = match same_lengths(requests.as_deref().unwrap_or_default()) {
        Some((input, output)) => WorkloadSpec {
            input_len: Some(input),
            output_len: Some(output),
            ..WorkloadSpec::empty(Dataset::Random)
        },
        None => WorkloadSpec::empty(Dataset::Custom),
    };
    let number = |key: &str| object.get(key).and_then(Value::as_f64);
    workload.num_prompts = number("num_prompts").map(|n| n as u32);
    workload.request_rate =
        number("request_rate").filter(|r| *r > 0.0).map_or(RequestRate::Inf, RequestRate::PerSecond);
    workload.burstiness = number("burstiness").filter(|b| *b != 1.0 && *b > 0.0);
    workload.max_concurrency = number("max_concurrency").map(|n| n as u32);
    workload.total_input_tokens = result.get(Key::TotalInputTokens);
    workload.total_output_tokens = result.get(Key::TotalOutputTokens);
    Ok(Record {
        model: text(object, "model_id"),
        workload: Some(workload),
        requests,
        result: Some(result),
        source: Some("vllm bench serve".into()),
        ..Record::default()
    })
}

/// The request lists of the detailed form.
fn rows(object: &Map<String, Value>) -> Option<Vec<RequestRow>> {
    let list = |key: &str| object.get(key).and_then(Value::as_array);
    let numbers = |key: &str| -> Option<Vec<f64>> { list(key)?.iter().map(Value::as_f64).collect() };
    let (inputs, outputs) = (numbers("input_lens")?, numbers("output_lens")?);
    let (ttfts, starts) = (numbers("ttfts").unwrap_or_default(), numbers("start_times").unwrap_or_default());
    let first = starts.iter().copied().fold(f64::INFINITY, f64::min);
    let rows = inputs.iter().zip(&outputs).enumerate().map(|(i, (&input, &output))| {
        let gaps: Option<Vec<f64>> =
            list("itls").and_then(|l| l.get(i)?.as_array()?.iter().map(Value::as_f64).collect());
        let error = list("errors").and_then(|l| l.get(i)?.as_str()).filter(|e| !e.is_empty());
        let ttft = ttfts.get(i).copied().filter(|_| error.is_none());
        RequestRow {
            arrival_s: starts.get(i).map_or(0.0, |s| s - first),
            input_tokens: input as u32,
            output_tokens: output as u32,
            ttft_s: ttft,
            e2e_s: ttft.zip(gaps.as_ref()).map(|(t, g)| t + g.iter().sum::<f64>()),
            itl_s: gaps.filter(|g| !g.is_empty()),
            error: error.map(|e| e.lines().last().unwrap_or_default().chars().take(200).collect()),
            ..RequestRow::default()
        }
    });
    Some(rows.collect())
}

/// Input and output length when all requests have the same.
fn same_lengths(rows: &[RequestRow]) -> Option<(u32, u32)> {
    let first = rows.first()?;
    let lengths = (first.input_tokens, first.output_tokens);
    rows.iter().all(|r| (r.input_tokens, r.output_tokens) == lengths).then_some(lengths)
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

/// `profile_export_aiperf.json` and genai-perf's `profile_export_genai_perf.json`: a block of statistics a metric.
fn aiperf(object: &Map<String, Value>) -> Record {
    let mut m = Metrics::default();
    set(&mut m, Key::RequestThroughput, stat(object, "request_throughput", "avg"));
    set(&mut m, Key::OutputThroughput, stat(object, "output_token_throughput", "avg"));
    set(&mut m, Key::TotalTokenThroughput, stat(object, "total_token_throughput", "avg"));
    let completed = stat(object, "request_count", "avg");
    set(&mut m, Key::Completed, completed);
    let duration = stat(object, "benchmark_duration", "avg");
    let throughput = m.get(Key::RequestThroughput);
    set(&mut m, Key::Duration, duration.or_else(|| Some(completed? / throughput?)));
    for (name, keys) in
        [("time_to_first_token", TTFT), ("inter_token_latency", TPOT), ("request_latency", E2EL)]
    {
        // aiperf writes the unit; genai-perf's times are milliseconds as well.
        let unit = object.get(name).and_then(|s| s.get("unit")).and_then(Value::as_str).unwrap_or("ms");
        let factor = match unit {
            "sec" | "s" => 1e3,
            "us" => 1e-3,
            "ns" => 1e-6,
            _ => 1.0,
        };
        for (key, field) in keys.into_iter().zip(["avg", "p50", "std", "p90", "p95", "p99"]) {
            set(&mut m, key, stat(object, name, field).map(|v| v * factor));
        }
    }
    let mut workload = WorkloadSpec::empty(Dataset::Custom);
    workload.num_prompts = completed.map(|n| n as u32);
    workload.total_input_tokens =
        completed.zip(stat(object, "input_sequence_length", "avg")).map(|(n, l)| (n * l).round());
    workload.total_output_tokens =
        completed.zip(stat(object, "output_sequence_length", "avg")).map(|(n, l)| (n * l).round());
    set(&mut m, Key::TotalInputTokens, workload.total_input_tokens);
    set(&mut m, Key::TotalOutputTokens, workload.total_output_tokens);
    let models =
        object.get("input_config").and_then(|c| c.pointer("/endpoint/model_names/0")).and_then(Value::as_str);
    Record {
        model: models.map(str::to_owned),
        workload: Some(workload),
        result: Some(m),
        source: Some("aiperf".into()),
        ..Record::default()
    }
}

/// guidellm's `benchmarks.json`: one benchmark a load.
fn guidellm(object: &Map<String, Value>) -> Result<Vec<Record>, String> {
    let list = object.get("benchmarks").and_then(Value::as_array).ok_or("`benchmarks` is not a list")?;
    list.iter()
        .enumerate()
        .map(|(i, b)| {
            b.get("metrics")
                .and_then(Value::as_object)
                .map(|metrics| guidellm_one(b, metrics))
                .ok_or_else(|| format!("benchmarks[{i}] has no metrics: not a guidellm file"))
        })
        .collect()
}

fn guidellm_one(benchmark: &Value, metrics: &Map<String, Value>) -> Record {
    let good =
        |name: &str, field: &str| metrics.get(name)?.pointer(&format!("/successful/{field}"))?.as_f64();
    let mut m = Metrics::default();
    let totals = |field: &str| metrics.get("request_totals")?.get(field)?.as_f64();
    let completed = totals("successful").or_else(|| good("request_latency", "count"));
    let failed = totals("errored").zip(totals("incomplete")).map(|(e, i)| e + i);
    set(&mut m, Key::Completed, completed);
    set(&mut m, Key::Failed, failed);
    set(&mut m, Key::RequestLossRate, failed.zip(completed).map(|(f, c)| f / (f + c).max(1.0)));
    let at = |key: &str| benchmark.get(key).and_then(Value::as_f64);
    set(&mut m, Key::Duration, at("duration").or_else(|| Some(at("end_time")? - at("start_time")?)));
    set(&mut m, Key::RequestThroughput, good("requests_per_second", "mean"));
    set(&mut m, Key::OutputThroughput, good("output_tokens_per_second", "mean"));
    set(&mut m, Key::TotalTokenThroughput, good("tokens_per_second", "mean"));
    let tables = [
        ("time_to_first_token_ms", TTFT, 1.0),
        ("inter_token_latency_ms", TPOT, 1.0),
        ("request_latency", E2EL, 1e3),
    ];
    let fields = ["mean", "median", "std_dev", "percentiles/p90", "percentiles/p95", "percentiles/p99"];
    for (name, keys, factor) in tables {
        for (key, field) in keys.into_iter().zip(fields) {
            set(&mut m, key, good(name, field).map(|v| v * factor));
        }
    }
    let total = |name: &str| good(name, "total_sum").or_else(|| Some(good(name, "mean")? * completed?));
    set(&mut m, Key::TotalInputTokens, total("prompt_token_count").map(f64::round));
    set(&mut m, Key::TotalOutputTokens, total("output_token_count").map(f64::round));
    let mut workload = WorkloadSpec::empty(Dataset::Custom);
    workload.num_prompts = completed.map(|n| n as u32);
    workload.total_input_tokens = m.get(Key::TotalInputTokens);
    workload.total_output_tokens = m.get(Key::TotalOutputTokens);
    Record { workload: Some(workload), result: Some(m), source: Some("guidellm".into()), ..Record::default() }
}

/// An observation as `vllm bench serve --save-result --save-detailed` writes it, for tools that read that.
pub fn to_vllm_json(record: &Record) -> Value {
    let mut out = Map::new();
    let workload = record.workload.as_ref();
    out.insert("backend".into(), json!("openai"));
    out.insert("endpoint_type".into(), json!("openai"));
    out.insert("model_id".into(), json!(record.model));
    out.insert("num_prompts".into(), json!(workload.and_then(|w| w.num_prompts)));
    let rate = workload.map_or(RequestRate::Inf, |w| w.request_rate);
    out.insert("request_rate".into(), json!(rate));
    out.insert("burstiness".into(), json!(workload.and_then(|w| w.burstiness).unwrap_or(1.0)));
    out.insert("max_concurrency".into(), json!(workload.and_then(|w| w.max_concurrency)));
    if let Some(Value::Object(figures)) = record.result.as_ref().and_then(|m| serde_json::to_value(m).ok()) {
        out.extend(figures.into_iter().filter(|(k, _)| Key::from_name(k).is_some()));
    }
    let rows = record.requests.as_deref().unwrap_or_default();
    let list = |f: fn(&RequestRow) -> Value| Value::Array(rows.iter().map(f).collect());
    out.insert("input_lens".into(), list(|r| json!(r.input_tokens)));
    out.insert("output_lens".into(), list(|r| json!(r.output_tokens)));
    out.insert("ttfts".into(), list(|r| json!(r.ttft_s.unwrap_or(0.0))));
    out.insert("itls".into(), list(|r| json!(r.itl_s.as_deref().unwrap_or_default())));
    out.insert("start_times".into(), list(|r| json!(r.arrival_s + r.send_late_s.unwrap_or(0.0))));
    out.insert("errors".into(), list(|r| json!(r.error.as_deref().unwrap_or_default())));
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::parse_records;

    fn one(text: &str) -> Record {
        let mut records = parse_records("f.json", text).unwrap();
        assert_eq!(records.len(), 1);
        records.remove(0)
    }

    #[test]
    fn that_tools_results_read_and_write() {
        let text = r#"{"date":"x","backend":"vllm","model_id":"m","tokenizer_id":"m","num_prompts":2,
            "request_rate":"inf","burstiness":1.0,"max_concurrency":null,"duration":2.0,"completed":2,"failed":0,
            "total_input_tokens":20,"total_output_tokens":6,"request_throughput":1.0,"output_throughput":3.0,
            "mean_ttft_ms":110.0,"input_lens":[10,10],"output_lens":[3,3],"ttfts":[0.1,0.12],
            "itls":[[0.01,0.02],[0.01,0.01]],"start_times":[5.0,5.5],"generated_texts":["a","b"],"errors":["",""]}"#;
        let record = one(text);
        let w = record.workload.clone().unwrap();
        assert_eq!((w.dataset, w.input_len, w.output_len), (Dataset::Random, Some(10), Some(3)));
        let rows = record.requests.clone().unwrap();
        assert_eq!((rows[1].arrival_s, rows[1].ttft_s), (0.5, Some(0.12)));
        assert!((rows[0].e2e_s.unwrap() - 0.13).abs() < 1e-12);
        assert_eq!(record.result.as_ref().unwrap().get(Key::MeanTtftMs), Some(110.0));
        let again = one(&to_vllm_json(&record).to_string());
        assert_eq!(again.result, record.result);
        assert_eq!(again.requests, record.requests);
        assert!(parse_records("f", r#"{"completed":"x","request_throughput":1,"duration":1}"#).is_err());
    }

    #[test]
    fn aiperf_and_guidellm_results_read() {
        let record = one(
            r#"{"request_throughput":{"unit":"requests/sec","avg":4.0},"request_count":{"unit":"requests","avg":40},
                "request_latency":{"unit":"ms","avg":900.0,"p99":1200.0,"std":5.0},
                "time_to_first_token":{"unit":"ms","avg":100.0,"p50":99.0},
                "inter_token_latency":{"unit":"ms","avg":10.0},"output_sequence_length":{"unit":"tokens","avg":64.0}}"#,
        );
        let m = record.result.unwrap();
        assert_eq!((m.get(Key::MeanTpotMs), m.get(Key::MeanItlMs)), (Some(10.0), None));
        assert_eq!((m.get(Key::Duration), m.get(Key::TotalOutputTokens)), (Some(10.0), Some(2560.0)));
        assert_eq!((m.get(Key::P99E2elMs), m.get(Key::MedianTtftMs)), (Some(1200.0), Some(99.0)));
        let record = one(r#"{"benchmarks":[{"duration":30.0,"metrics":{
                "request_totals":{"successful":90,"errored":10,"incomplete":0,"total":100},
                "requests_per_second":{"successful":{"mean":3.0}},
                "request_latency":{"successful":{"mean":1.5,"percentiles":{"p99":2.5}}},
                "time_per_output_token_ms":{"successful":{"mean":99.0}},
                "inter_token_latency_ms":{"successful":{"mean":12.0}},
                "output_token_count":{"successful":{"mean":10.0}}}}]}"#);
        let m = record.result.unwrap();
        assert_eq!((m.get(Key::MeanTpotMs), m.get(Key::P99E2elMs)), (Some(12.0), Some(2500.0)));
        assert_eq!((m.get(Key::RequestLossRate), m.get(Key::TotalOutputTokens)), (Some(0.1), Some(900.0)));
        assert!(parse_records("f", r#"{"benchmarks":[{}]}"#).is_err());
    }
}
