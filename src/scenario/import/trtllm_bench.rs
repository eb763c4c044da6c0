//! `trtllm-bench throughput`, its `--report_json` and what it prints: the engine without a server, all requests at once or a number
//! in flight.

use super::content::Content;
use super::{E2EL, TPOT, TTFT, set, word};
use crate::launch::EngineKind;
use crate::scenario::{Key, Metrics, Record};
use crate::workload::{Dataset, RequestRate, WorkloadSpec};
use serde_json::{Map, Value, json};

/// Whether an object is such a report.
pub(super) fn is(object: &Map<String, Value>) -> bool {
    let inside = |key: &str, inner: &str| object.get(key).is_some_and(|v| v.get(inner).is_some());
    inside("performance", "total_latency_ms") && inside("request_info", "num_requests")
}

/// The block of figures at the end of what it prints.
const OVERVIEW: &str = "PERFORMANCE OVERVIEW";

/// Printed names (lower case), and section and key of the report.
const PRINTED: [(&str, &str, &str); 24] = [
    ("model", "engine", "model"),
    ("model path", "engine", "model"),
    ("tensorrt-llm version", "engine", "version"),
    ("tensorrt llm version", "engine", "version"),
    ("quantization", "engine", "quantization"),
    ("tp size", "world_info", "tp_size"),
    ("pp size", "world_info", "pp_size"),
    ("ep size", "world_info", "ep_size"),
    ("max runtime batch size", "world_info", "max_batch_size"),
    ("max runtime tokens", "world_info", "max_num_tokens"),
    ("kv memory percentage", "world_info", "kv_cache_percentage"),
    ("number of requests", "request_info", "num_requests"),
    ("average input length (tokens)", "request_info", "avg_input_length"),
    ("average output length (tokens)", "request_info", "avg_output_length"),
    ("total latency (ms)", "performance", "total_latency_ms"),
    ("request throughput (req/sec)", "performance", "request_throughput_req_s"),
    ("token throughput (tokens/sec)", "performance", "system_output_throughput_tok_s"),
    ("total output throughput (tokens/sec)", "performance", "system_output_throughput_tok_s"),
    ("total token throughput (tokens/sec)", "performance", "system_total_throughput_tok_s"),
    ("average request latency (ms)", "performance", "avg_request_latency_ms"),
    ("average time-to-first-token [ttft] (ms)", "streaming_metrics", "avg_ttft_ms"),
    ("average time-per-output-token [tpot] (ms)", "streaming_metrics", "avg_tpot_ms"),
    ("average time-to-first-token (ms)", "streaming_metrics", "avg_ttft_ms"),
    ("average time-per-output-token (ms)", "streaming_metrics", "avg_tpot_ms"),
];

/// What a text holds of its printed ends, each as the report that it would have written.
pub(super) fn printed(text: &str) -> Option<Content> {
    let runs: Vec<(usize, Value)> =
        parts(text).into_iter().filter_map(|(n, part)| Some((n, report(&part)?))).collect();
    match runs.len() {
        0 => None,
        1 => runs.into_iter().next().map(|(_, report)| Content::One(report)),
        _ => Some(Content::Many(runs)),
    }
}

/// The text of each run with the number of its first line: behind the figures of one the next begins with its command or header.
fn parts(text: &str) -> Vec<(usize, String)> {
    const BEGINS: [&str; 4] = ["trtllm-bench", "BACKEND", "REQUEST DETAILS", "WORLD + RUNTIME"];
    let mut out = vec![(1, String::new())];
    let mut done = false;
    for (line, n) in text.lines().zip(1..) {
        if done && BEGINS.iter().any(|b| line.contains(b)) {
            out.push((n, String::new()));
            done = false;
        }
        done |= line.contains(OVERVIEW);
        if let Some((_, part)) = out.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    out
}

fn report(text: &str) -> Option<Value> {
    if !text.contains(OVERVIEW) {
        return None;
    }
    let mut sections: Map<String, Value> = Map::new();
    for (name, value) in text.lines().filter_map(|l| l.split_once(':')) {
        let (name, value) = (name.trim().to_lowercase(), value.trim());
        percentile(&mut sections, &name, value);
        let Some((_, section, key)) = PRINTED.iter().find(|(n, ..)| *n == name) else { continue };
        let percent = value.strip_suffix('%').and_then(|v| v.trim().parse::<f64>().ok());
        let number = percent.map(|p| p / 100.0).or_else(|| value.parse().ok());
        let section = sections.entry(*section).or_insert_with(|| json!({}));
        if let Some(section) = section.as_object_mut() {
            section.insert((*key).to_owned(), number.map_or_else(|| json!(value), |n| json!(n)));
        }
    }
    if let Some(world) = sections.get_mut("world_info").and_then(Value::as_object_mut) {
        let size = |key: &str| world.get(key).and_then(Value::as_f64).unwrap_or(1.0);
        let ranks = size("tp_size") * size("pp_size");
        world.insert("world_size".into(), json!(ranks));
    }
    counted(&mut sections);
    timed(&mut sections);
    is(&sections).then_some(Value::Object(sections))
}

/// `[TTFT] P50    : 52269.7072`.
fn percentile(sections: &mut Map<String, Value>, name: &str, value: &str) {
    let Some((metric, which)) = name.split_once(']') else { return };
    let (section, table) = match metric {
        "[ttft" => ("streaming_metrics", "ttft_percentiles"),
        "[tpot" => ("streaming_metrics", "tpot_percentiles"),
        "[latency" => ("performance", "request_latency_percentiles_ms"),
        _ => return,
    };
    let section = sections.entry(section).or_insert_with(|| json!({}));
    if let (Ok(n), Some(section)) = (value.parse::<f64>(), section.as_object_mut()) {
        section.entry(table).or_insert_with(|| json!({}))[which.trim()] = json!(n);
    }
}

/// Requests and lengths by the rates, where the part that states them was cut off.
fn counted(sections: &mut Map<String, Value>) {
    let of = |key: &str| sections.get("performance")?.get(key)?.as_f64().filter(|n| *n > 0.0);
    let (Some(ms), Some(requests), Some(output), Some(total)) = (
        of("total_latency_ms"),
        of("request_throughput_req_s"),
        of("system_output_throughput_tok_s"),
        of("system_total_throughput_tok_s"),
    ) else {
        return;
    };
    let known = sections.entry("request_info").or_insert_with(|| json!({}));
    for (key, value) in [
        ("num_requests", (requests * ms / 1e3).round()),
        ("avg_input_length", ((total - output) / requests).round()),
        ("avg_output_length", (output / requests).round()),
    ] {
        if known.get(key).is_none() {
            known[key] = json!(value);
        }
    }
}

/// The time of a run whose last lines were cut off, by its requests and their rate.
fn timed(sections: &mut Map<String, Value>) {
    let number = |section: &str, key: &str| sections.get(section)?.get(key)?.as_f64().filter(|n| *n > 0.0);
    let (Some(n), Some(rate)) =
        (number("request_info", "num_requests"), number("performance", "request_throughput_req_s"))
    else {
        return;
    };
    if let Some(performance) = sections.get_mut("performance").and_then(Value::as_object_mut) {
        performance.entry("total_latency_ms").or_insert_with(|| json!(n / rate * 1e3));
    }
}

pub(super) fn read(object: &Map<String, Value>) -> Result<Record, String> {
    let part = |key: &str| object.get(key).and_then(Value::as_object);
    let number = |section: &str, key: &str| part(section)?.get(key)?.as_f64().filter(|n| n.is_finite());
    let need = |section: &str, key: &str| {
        number(section, key).ok_or_else(|| format!("{section}.{key}: missing, or not a number"))
    };
    let n = need("request_info", "num_requests")?;
    let (input, output) =
        (need("request_info", "avg_input_length")?, need("request_info", "avg_output_length")?);
    let mut m = Metrics::default();
    m.set(Key::Completed, n);
    m.set(Key::Duration, need("performance", "total_latency_ms")? / 1e3);
    m.set(Key::TotalInputTokens, n * input);
    m.set(Key::TotalOutputTokens, n * output);
    super::throughputs(&mut m);
    set(&mut m, Key::MeanE2elMs, number("performance", "avg_request_latency_ms"));
    percentiles(object, &mut m);
    // Its means over requests; the token latency is a request's mean, our TPOT.
    set(&mut m, Key::MeanTtftMs, number("streaming_metrics", "avg_ttft_ms"));
    set(&mut m, Key::MeanTpotMs, number("streaming_metrics", "avg_tpot_ms"));
    let engine = part("engine");
    let of = |key: &str| engine.and_then(|e| word(e, key)).filter(|t| !t.is_empty());
    let size = |key: &str| number("world_info", key).filter(|n| *n >= 1.0).map(|n| n as u32);
    let model = of("model");
    let command = model.as_deref().map(|model| {
        let mut words = format!("trtllm-serve {model}");
        for (key, flag) in [
            ("tp_size", "tp_size"),
            ("pp_size", "pp_size"),
            ("ep_size", "ep_size"),
            ("max_batch_size", "max_batch_size"),
            ("max_num_tokens", "max_num_tokens"),
        ] {
            words.extend(size(key).map(|n| format!(" --{flag} {n}")));
        }
        let share = number("world_info", "kv_cache_percentage").filter(|s| *s > 0.0 && *s <= 1.0);
        words.extend(share.map(|s| format!(" --kv_cache_free_gpu_memory_fraction {s}")));
        words
    });
    let quantised = of("quantization").map(|q| q.to_lowercase());
    Ok(Record {
        engine: Some(EngineKind::Trtllm),
        engine_version: of("version"),
        model,
        serve_command: command,
        num_gpus: size("world_size"),
        hardware: part("machine").and_then(|m| word(m, "name")).filter(|n| n != "None"),
        precision: quantised.filter(|q| ["fp8", "nvfp4", "int4", "int8"].contains(&q.as_str())),
        workload: Some(WorkloadSpec {
            input_len: Some(input.round() as u32),
            output_len: Some(output.round() as u32),
            num_prompts: Some(n as u32),
            request_rate: RequestRate::Inf,
            max_concurrency: number("world_info", "max_concurrency").filter(|c| *c >= 1.0).map(|c| c as u32),
            ..WorkloadSpec::empty(Dataset::Random)
        }),
        result: Some(m),
        source: Some("trtllm-bench".into()),
        note: Some("the engine without its server: nothing of the front end is in these figures".into()),
        ..Record::default()
    })
}

/// Percentiles of the latencies, where the report has them.
fn percentiles(object: &Map<String, Value>, m: &mut Metrics) {
    for (section, table, keys) in [
        ("performance", "request_latency_percentiles_ms", E2EL),
        ("streaming_metrics", "ttft_percentiles", TTFT),
        ("streaming_metrics", "tpot_percentiles", TPOT),
    ] {
        let of = |name: &str| object.get(section)?.get(table)?.get(name)?.as_f64();
        for (key, name) in [(keys[1], "p50"), (keys[3], "p90"), (keys[4], "p95"), (keys[5], "p99")] {
            set(m, key, of(name));
        }
    }
}
