//! `sglang.bench_serving --output-file`: one run a line, with its data set and the engine's name.

use super::{parallel, printed, rows, totals_workload, word};
use crate::launch::EngineKind;
use crate::scenario::{Key, Metrics, Record};
use crate::workload::{Dataset, RequestRate, WorkloadSpec};
use serde_json::{Map, Value};

/// Whether an object is a run of this tool: it alone counts tokens again and calls the latency of a request
/// `e2e_latency`.
pub(super) fn is(object: &Map<String, Value>) -> bool {
    let has = |key: &str| object.contains_key(key);
    (has("duration") && has("completed") || has(printed::MARK))
        && (has("total_output_tokens_retokenized") || has("mean_e2e_latency_ms") || has("dataset_name"))
        && !has("model_id")
}

const SETTINGS: &[&str] = &[
    printed::MARK,
    printed::STATED,
    "model",
    "serve_command",
    "tag",
    "backend",
    "dataset_name",
    "request_rate",
    "max_concurrency",
    "sharegpt_output_len",
    "random_input_len",
    "random_output_len",
    "random_range_ratio",
    "server_info",
    "input_lens",
    "output_lens",
    "ttfts",
    "itls",
    "generated_texts",
    "errors",
    "start_times",
];

pub(super) fn read(object: &Map<String, Value>) -> Result<Record, String> {
    let mut figures: Map<String, Value> = Map::new();
    for (key, value) in object.iter().filter(|(k, v)| !SETTINGS.contains(&k.as_str()) && !v.is_null()) {
        let name = match key.as_str() {
            "total_throughput" => "total_token_throughput".to_owned(),
            key => key.replace("_e2e_latency_ms", "_e2el_ms"),
        };
        figures.insert(name, value.clone());
    }
    let unseen = without_stream(&mut figures);
    let mut m: Metrics = serde_json::from_value(Value::Object(figures)).map_err(|e| e.to_string())?;
    let requests = rows(object);
    super::fill(&mut m, requests.as_deref().unwrap_or_default());
    super::throughputs(&mut m);
    let info = object.get("server_info").and_then(Value::as_object);
    let engine = engine(object.get("backend").and_then(Value::as_str).unwrap_or("sglang"));
    Ok(Record {
        engine,
        engine_version: info.and_then(|i| word(i, "version")),
        model: info.and_then(|i| word(i, "model_path")).or_else(|| word(object, "model")),
        serve_command: info.and_then(command).or_else(|| word(object, "serve_command")),
        workload: Some(workload(object, &m)),
        requests,
        result: Some(m),
        note: unseen
            .then(|| "without a stream: TTFT, ITL and TPOT were not seen and are left out".to_owned()),
        source: Some("sglang.bench_serving".into()),
        ..Record::default()
    })
}

/// Without a stream the tool writes 0 for what it did not see, and takes the time of the whole answer for that of its tokens.
fn without_stream(figures: &mut Map<String, Value>) -> bool {
    let is_zero = |key: &str| figures.get(key).and_then(Value::as_f64) == Some(0.0);
    let unseen = is_zero("mean_ttft_ms") && is_zero("median_ttft_ms");
    if unseen {
        figures.retain(|key, _| !["_ttft_ms", "_itl_ms", "_tpot_ms"].iter().any(|end| key.ends_with(end)));
    }
    unseen
}

/// Whether an object is a run of `sglang.bench_offline_throughput`: the engine without a server.
pub(super) fn is_offline(object: &Map<String, Value>) -> bool {
    ["successful_requests", "total_latency", "last_gen_throughput"].iter().all(|k| object.contains_key(*k))
}

/// A run of the engine itself: everything at once, no latencies of requests.
pub(super) fn read_offline(object: &Map<String, Value>) -> Result<Record, String> {
    let number = |key: &str| {
        object.get(key).and_then(Value::as_f64).ok_or_else(|| format!("{key}: missing, or not a number"))
    };
    let mut m = Metrics::default();
    m.set(Key::Completed, number("successful_requests")?);
    m.set(Key::Duration, number("total_latency")?);
    m.set(Key::TotalInputTokens, number("total_input_tokens")?);
    m.set(Key::TotalOutputTokens, number("total_output_tokens")?);
    super::throughputs(&mut m);
    let mut w = totals_workload(&m);
    w.num_prompts = m.get(Key::Completed).map(|n| n as u32);
    w.total_input_tokens = m.get(Key::TotalInputTokens);
    w.total_output_tokens = m.get(Key::TotalOutputTokens);
    Ok(Record {
        engine: Some(EngineKind::Sglang),
        workload: Some(w),
        result: Some(m),
        source: Some("sglang.bench_offline_throughput".into()),
        note: Some("the engine without its server: nothing of the front end is in these figures".into()),
        ..Record::default()
    })
}

fn engine(backend: &str) -> Option<EngineKind> {
    match backend {
        b if b.starts_with("sglang") => Some(EngineKind::Sglang),
        b if b.starts_with("vllm") => Some(EngineKind::Vllm),
        b if b.starts_with("trt") => Some(EngineKind::Trtllm),
        _ => None,
    }
}

/// What the server itself said of its launch, in newer releases.
fn command(info: &Map<String, Value>) -> Option<String> {
    const NAMES: [&str; 10] = [
        "tp_size",
        "dp_size",
        "pp_size",
        "ep_size",
        "mem_fraction_static",
        "chunked_prefill_size",
        "max_running_requests",
        "page_size",
        "cuda_graph_max_bs",
        "kv_cache_dtype",
    ];
    let mut words = vec![parallel::program(EngineKind::Sglang, &word(info, "model_path")?)];
    for name in NAMES {
        match info.get(name) {
            Some(Value::Number(n)) => words.push(format!("--{} {n}", name.replace('_', "-"))),
            Some(Value::String(t)) if t != "auto" => {
                words.push(format!("--{} {t}", name.replace('_', "-")));
            }
            _ => {}
        }
    }
    for name in
        ["enable_dp_attention", "disable_radix_cache", "disable_overlap_schedule", "disable_cuda_graph"]
    {
        if info.get(name) == Some(&Value::Bool(true)) {
            words.push(format!("--{}", name.replace('_', "-")));
        }
    }
    Some(words.join(" "))
}

fn workload(object: &Map<String, Value>, m: &Metrics) -> WorkloadSpec {
    let number = |key: &str| object.get(key).and_then(Value::as_f64);
    let whole = |key: &str| number(key).filter(|n| *n >= 1.0).map(|n| n as u32);
    let mut w = match object.get("dataset_name").and_then(Value::as_str) {
        Some("random" | "random-ids") => {
            random(whole("random_input_len"), whole("random_output_len"), number("random_range_ratio"))
        }
        Some("sharegpt") => WorkloadSpec {
            output_len: whole("sharegpt_output_len"),
            ..WorkloadSpec::empty(Dataset::Sharegpt)
        },
        _ => printed::workload(object, m),
    };
    w.num_prompts = m.get(Key::Completed).map(|n| (n + m.get(Key::Failed).unwrap_or(0.0)) as u32);
    w.request_rate =
        number("request_rate").filter(|r| *r > 0.0).map_or(RequestRate::Inf, RequestRate::PerSecond);
    w.max_concurrency = whole("max_concurrency");
    w.total_input_tokens = m.get(Key::TotalInputTokens);
    w.total_output_tokens = m.get(Key::TotalOutputTokens);
    w
}

/// This tool draws lengths evenly from `ratio x length` (at least 1) to `length`.
fn random(input: Option<u32>, output: Option<u32>, ratio: Option<f64>) -> WorkloadSpec {
    let ratio = ratio.unwrap_or(0.0).clamp(0.0, 1.0);
    let range = |n: u32| ((f64::from(n) * ratio).max(1.0) as u32, n);
    let spread = |n: Option<u32>| n.map(range).filter(|r| r.0 < r.1);
    let middle = |n: Option<u32>| n.map(range).map(|(low, high)| low.midpoint(high).max(1));
    WorkloadSpec {
        input_len: middle(input),
        output_len: middle(output),
        input_range: spread(input),
        output_range: spread(output),
        ..WorkloadSpec::empty(Dataset::Random)
    }
}
