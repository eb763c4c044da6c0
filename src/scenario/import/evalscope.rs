//! The summary that `evalscope perf` prints: names and figures a line, percentiles in blocks, times in seconds; releases of 2025
//! draw both as tables.

use super::{set, throughputs, totals_workload};
use crate::scenario::{Key, Metrics, Record};
use serde_json::{Map, Value, json};

/// The first line of a summary.
const TITLE: &str = "Benchmarking summary";

/// The summary of a text as an object of its names.
pub(super) fn find(text: &str) -> Option<Value> {
    let (_, summary) = text.split_once(TITLE)?;
    let (mut out, mut block) = (Map::new(), String::new());
    let mut columns: Vec<String> = Vec::new();
    for line in summary.lines() {
        if let Some(cells) = drawn(line) {
            row(&cells, &mut columns, &mut out);
            continue;
        }
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

/// The cells of a row of a drawn table, lower case.
fn drawn(line: &str) -> Option<Vec<String>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(|c| c.trim().to_lowercase()).collect())
}

/// Takes a row: a name with its figure, the names of columns, or the figures of one percentile.
fn row(cells: &[String], columns: &mut Vec<String>, out: &mut Map<String, Value>) {
    // `average latency (s)`: the unit is always seconds.
    let plain = |name: &str| name.split(" (").next().unwrap_or_default().to_owned();
    match cells {
        [first, rest @ ..] if first.starts_with("percentile") => {
            *columns = rest.iter().map(|c| plain(c)).collect();
        }
        [first, rest @ ..] if first.ends_with('%') && rest.len() == columns.len() => {
            for (column, value) in columns.iter().zip(rest) {
                let block = match column.as_str() {
                    "ttft" => "time to first token",
                    "tpot" => "time per output token",
                    "itl" => "inter-token latency",
                    "latency" => "request latency",
                    _ => continue,
                };
                if let Ok(n) = value.parse::<f64>() {
                    out.insert(format!("percentile of {block} p{}", first.trim_end_matches('%')), json!(n));
                }
            }
        }
        [name, value] => {
            if let Ok(n) = value.parse::<f64>() {
                out.insert(plain(name), json!(n));
            }
        }
        _ => {}
    }
}

pub(super) fn is(object: &Map<String, Value>) -> bool {
    let has = |names: [&str; 2]| names.iter().all(|n| object.contains_key(*n));
    has(["time taken for tests", "succeed requests"]) || has(["Time taken for tests (s)", "Succeed requests"])
}

/// A summary of either form: of the text, or `benchmark_summary.json`, whose names have units and capitals.
pub(super) fn read(object: &Map<String, Value>) -> Record {
    let plain = |name: &String| name.split(" (").next().unwrap_or_default().to_lowercase();
    let object: Map<String, Value> = object.iter().map(|(k, v)| (plain(k), v.clone())).collect();
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
        (Key::MeanTpotMs, "average time per output token"),
        (Key::MeanE2elMs, "average latency"),
        (Key::MedianTpotMs, "percentile of time per output token p50"),
        (Key::P99TpotMs, "percentile of time per output token p99"),
        (Key::MedianItlMs, "percentile of inter-token latency p50"),
        (Key::P90ItlMs, "percentile of inter-token latency p90"),
        (Key::P95ItlMs, "percentile of inter-token latency p95"),
        (Key::P99ItlMs, "percentile of inter-token latency p99"),
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
    // Old releases print the time of the whole run over all its tokens, which is one over the throughput and no request's.
    let beside = number("number of concurrency").is_some_and(|n| n > 1.0);
    let product = m.get(Key::OutputThroughput).zip(m.get(Key::MeanTpotMs)).map(|(x, ms)| x * ms / 1e3);
    let of_all = beside && product.is_some_and(|p| (p - 1.0).abs() < 0.02);
    if of_all {
        m.known.remove(&Key::MeanTpotMs);
    }
    let mut workload = totals_workload(&m);
    workload.num_prompts = number("total requests").map(|n| n as u32);
    workload.max_concurrency = number("number of concurrency").filter(|n| *n >= 1.0).map(|n| n as u32);
    workload.total_input_tokens = m.get(Key::TotalInputTokens);
    workload.total_output_tokens = m.get(Key::TotalOutputTokens);
    Record {
        workload: Some(workload),
        result: Some(m),
        note: of_all.then(|| "the time per output token is that of the whole run and is left out".to_owned()),
        source: Some("evalscope perf".into()),
        ..Record::default()
    }
}
