//! guidellm's `benchmarks.json`: one benchmark a load.
//!
//! Its own time per output token includes the first token and is left out; its request latency lasts to the end of the
//! stream, some tenths of a millisecond longer than to the last token.

use super::{E2EL, TPOT, TTFT, fill, set, throughputs, totals_workload, workload_of};
use crate::scenario::{Key, Metrics, Record, RequestRow};
use crate::workload::{Arrivals, RequestRate};
use serde_json::{Map, Value};

pub(super) fn read(object: &Map<String, Value>) -> Result<Vec<Record>, String> {
    let list = object.get("benchmarks").and_then(Value::as_array).ok_or("`benchmarks` is not a list")?;
    list.iter()
        .enumerate()
        .map(|(i, b)| {
            b.get("metrics")
                .and_then(Value::as_object)
                .map(|metrics| one(object, b, metrics))
                .ok_or_else(|| format!("benchmarks[{i}] has no metrics: not a guidellm file"))
        })
        .collect()
}

fn one(file: &Map<String, Value>, benchmark: &Value, metrics: &Map<String, Value>) -> Record {
    let rows = rows(benchmark);
    let m = figures(benchmark, metrics, &rows);
    let mut workload = if rows.is_empty() { totals_workload(&m) } else { workload_of(&rows) };
    workload.num_prompts = m.get(Key::Completed).map(|n| (n + m.get(Key::Failed).unwrap_or(0.0)) as u32);
    workload.total_input_tokens = m.get(Key::TotalInputTokens);
    workload.total_output_tokens = m.get(Key::TotalOutputTokens);
    // `config.strategy` since 0.4, `args.strategy` before.
    let strategy = ["/config/strategy", "/args/strategy"].iter().find_map(|p| benchmark.pointer(p));
    let number = |key: &str| strategy?.get(key)?.as_f64().filter(|v| *v > 0.0);
    match strategy.and_then(|s| s.get("type_")).and_then(Value::as_str) {
        Some("synchronous") => workload.max_concurrency = Some(1),
        Some("concurrent") => {
            workload.max_concurrency =
                number("streams").or_else(|| number("max_concurrency")).map(|n| n as u32);
        }
        Some(kind @ ("constant" | "poisson" | "async")) => {
            workload.request_rate = number("rate").map_or(RequestRate::Inf, RequestRate::PerSecond);
            workload.arrivals = (kind != "poisson").then_some(Arrivals::Constant);
        }
        _ => {}
    }
    let model = |v: &Value, path: &str| v.pointer(path).and_then(Value::as_str).map(str::to_owned);
    Record {
        model: model(benchmark, "/config/backend/model")
            .or_else(|| file.get("config").and_then(|c| model(c, "/spec/backend/model")))
            .or_else(|| file.get("args").and_then(|a| model(a, "/model"))),
        workload: Some(workload),
        requests: (!rows.is_empty()).then_some(rows),
        result: Some(m),
        source: Some("guidellm".into()),
        ..Record::default()
    }
}

fn figures(benchmark: &Value, metrics: &Map<String, Value>, rows: &[RequestRow]) -> Metrics {
    let good =
        |name: &str, field: &str| metrics.get(name)?.pointer(&format!("/successful/{field}"))?.as_f64();
    let mut m = Metrics::default();
    // Inside of the metrics since 0.3, beside them before.
    let totals = |field: &str| {
        metrics.get("request_totals").or_else(|| benchmark.get("request_totals"))?.get(field)?.as_f64()
    };
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
    // The gaps' statistics weigh a request by its tokens; ours count each request once.
    let by_request = rows.iter().any(|r| r.e2e_s.is_some());
    for (name, keys, factor) in tables.into_iter().filter(|t| !(by_request && t.1 == TPOT)) {
        for (key, field) in keys.into_iter().zip(fields) {
            set(&mut m, key, good(name, field).map(|v| v * factor));
        }
    }
    let total = |name: &str| good(name, "total_sum").or_else(|| Some(good(name, "mean")? * completed?));
    set(&mut m, Key::TotalInputTokens, total("prompt_token_count").map(f64::round));
    set(&mut m, Key::TotalOutputTokens, total("output_token_count").map(f64::round));
    // Tokens of requests that the end of the time cut off stand in none of the totals, but in the tool's own rate.
    let cut = totals("incomplete")
        .or_else(|| benchmark.get("cut").and_then(Value::as_f64))
        .is_some_and(|n| n > 0.0);
    let own = m.get(Key::OutputThroughput).filter(|_| cut && rows.is_empty());
    throughputs(&mut m);
    set(&mut m, Key::OutputThroughput, own);
    fill(&mut m, rows);
    m
}

/// Every request of the benchmark, in order of its start.
fn rows(benchmark: &Value) -> Vec<RequestRow> {
    let mut starts_and_rows: Vec<(f64, RequestRow)> = Vec::new();
    for kind in ["successful", "errored", "incomplete"] {
        let list = benchmark.pointer(&format!("/requests/{kind}")).and_then(Value::as_array);
        for r in list.into_iter().flatten() {
            let number = |key: &str| r.get(key).and_then(Value::as_f64);
            let Some(start) = number("request_start_time") else { continue };
            let (ttft, gap) = (number("time_to_first_token_ms"), number("inter_token_latency_ms"));
            let output_tokens = number("output_tokens").unwrap_or(0.0) as u32;
            let decode = gap.map(|g| g * f64::from(output_tokens.saturating_sub(1)));
            let done = kind == "successful";
            let row = RequestRow {
                input_tokens: number("prompt_tokens").unwrap_or(0.0) as u32,
                output_tokens,
                ttft_s: ttft.map(|t| t / 1e3),
                e2e_s: ttft.zip(decode).map(|(t, d)| (t + d) / 1e3).filter(|_| done),
                error: (!done).then(|| kind.to_owned()),
                ..RequestRow::default()
            };
            starts_and_rows.push((start, row));
        }
    }
    starts_and_rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let first = starts_and_rows.first().map_or(0.0, |r| r.0);
    starts_and_rows
        .into_iter()
        .map(|(start, row)| RequestRow { arrival_s: ((start - first) * 1e6).round() / 1e6, ..row })
        .collect()
}
