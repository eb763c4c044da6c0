//! `vllm bench serve --save-result`, with `--save-detailed` also request by request; read and written.

use super::{fill, missing_throughputs, printed, word, workload_of};
use crate::launch::{EngineKind, Launch};
use crate::scenario::{Key, Metrics, Record, RequestRow};
use crate::workload::{Dataset, RequestRate, WorkloadSpec};
use serde_json::{Map, Value, json};

/// `vllm bench serve --save-result` (with `--save-detailed` also request by request).
pub(super) fn read(object: &Map<String, Value>) -> Result<Record, String> {
    const SETTINGS: [&str; 22] = [
        printed::MARK,
        printed::STATED,
        "model",
        "serve_command",
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
        "random_input_len",
        "random_output_len",
        "dataset_name",
        "goodput",
    ];
    const LISTS: [&str; 8] =
        ["input_lens", "output_lens", "ttfts", "itls", "start_times", "errors", "latencies", "queue_times"];
    let figures: Map<String, Value> = object
        .iter()
        .filter(|(k, _)| !SETTINGS.contains(&k.as_str()) && !LISTS.contains(&k.as_str()))
        .map(|(k, v)| in_milliseconds(k, v).unwrap_or_else(|| (k.clone(), v.clone())))
        .collect();
    let mut result: Metrics = serde_json::from_value(Value::Object(figures)).map_err(|e| e.to_string())?;
    let requests = rows(object);
    fill(&mut result, requests.as_deref().unwrap_or_default());
    missing_throughputs(&mut result);
    let mut workload = match requests.as_deref() {
        Some(rows) => workload_of(rows),
        None => swept_lengths(object).unwrap_or_else(|| printed::workload(object, &result)),
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
        engine: engine(object).or_else(|| Launch::parse(object.get("serve_command")?.as_str()?).engine),
        model: word(object, "model_id").or_else(|| word(object, "model")),
        serve_command: word(object, "serve_command"),
        workload: Some(workload),
        requests,
        result: Some(result),
        source: Some("vllm bench serve".into()),
        ..Record::default()
    })
}

/// `median_ttft` of tools that write vLLM's figures in seconds, without the unit in their names.
fn in_milliseconds(key: &str, value: &Value) -> Option<(String, Value)> {
    let (stat, metric) = key.split_once('_')?;
    let known = matches!(stat, "mean" | "median" | "std")
        || stat.strip_prefix('p').is_some_and(|p| p.parse::<u8>().is_ok());
    let latency = known && ["ttft", "tpot", "itl", "e2el"].contains(&metric);
    latency.then(|| Some((format!("{key}_ms"), json!(value.as_f64()? * 1e3)))).flatten()
}

/// The client protocol names an engine only where it is that engine's own.
fn engine(object: &Map<String, Value>) -> Option<EngineKind> {
    match object.get("backend").and_then(Value::as_str)? {
        "vllm" | "vllm-chat" => Some(EngineKind::Vllm),
        "sglang" | "sglang-native" => Some(EngineKind::Sglang),
        "tensorrt-llm" => Some(EngineKind::Trtllm),
        _ => None,
    }
}

/// Lengths that a sweep of the benchmark's settings has written beside the results.
fn swept_lengths(object: &Map<String, Value>) -> Option<WorkloadSpec> {
    let whole = |key: &str| object.get(key).and_then(Value::as_f64).filter(|n| *n >= 1.0).map(|n| n as u32);
    Some(WorkloadSpec {
        input_len: Some(whole("random_input_len")?),
        output_len: Some(whole("random_output_len")?),
        ..WorkloadSpec::empty(Dataset::Random)
    })
}

/// The request lists of the detailed form.
pub(super) fn rows(object: &Map<String, Value>) -> Option<Vec<RequestRow>> {
    let list = |key: &str| object.get(key).and_then(Value::as_array);
    let numbers = |key: &str| -> Option<Vec<f64>> { list(key)?.iter().map(Value::as_f64).collect() };
    let (inputs, outputs) = (numbers("input_lens")?, numbers("output_lens")?);
    let (ttfts, starts) = (numbers("ttfts").unwrap_or_default(), numbers("start_times").unwrap_or_default());
    // Sent to last token, in the versions that write it; else the sum of first token and gaps.
    let whole = numbers("latencies").unwrap_or_default();
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
            e2e_s: ttft.and_then(|t| {
                let sum = || gaps.as_ref().map(|g| t + g.iter().sum::<f64>());
                whole.get(i).copied().filter(|l| *l > 0.0).or_else(sum)
            }),
            itl_s: gaps.filter(|g| !g.is_empty()),
            error: error.map(|e| e.lines().last().unwrap_or_default().chars().take(200).collect()),
            ..RequestRow::default()
        }
    });
    Some(rows.collect())
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
