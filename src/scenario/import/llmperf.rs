//! llmperf's `*_summary.json` (Ray): means and quantiles in seconds, one flat table.
//!
//! Its `inter_token_latency_s` is the whole time of a request over its output tokens, the first included, so neither our TPOT
//! nor our ITL: it is left out. What the tool prints at the end (`ttft_s`, then `p50 = 3.1` and the like) is read as the same table.

use super::commands::{self, Told};
use super::content::Content;
use super::{E2EL, TTFT, missing_throughputs, set, totals_workload};
use crate::scenario::{Key, Metrics, Record, RequestRow};
use serde_json::{Map, Value, json};

pub(super) fn is(object: &Map<String, Value>) -> bool {
    ["results_ttft_s_mean", "results_num_completed_requests"].iter().all(|k| object.contains_key(*k))
}

pub(super) fn read(object: &Map<String, Value>) -> Record {
    let number = |key: &str| object.get(key).and_then(Value::as_f64);
    let mut m = Metrics::default();
    let completed = number("results_num_completed_requests");
    set(&mut m, Key::Completed, completed);
    set(&mut m, Key::Failed, number("results_number_errors"));
    set(&mut m, Key::RequestLossRate, number("results_error_rate"));
    let per_minute = number("results_num_completed_requests_per_min").filter(|r| *r > 0.0);
    set(&mut m, Key::Duration, completed.zip(per_minute).map(|(n, r)| n / r * 60.0));
    set(&mut m, Key::OutputThroughput, number("results_mean_output_throughput_token_per_s"));
    let total = |name: &str| Some((completed? * number(&format!("results_{name}_mean"))?).round());
    set(&mut m, Key::TotalInputTokens, total("number_input_tokens"));
    set(&mut m, Key::TotalOutputTokens, total("number_output_tokens"));
    for (name, keys) in [("ttft_s", TTFT), ("end_to_end_latency_s", E2EL)] {
        let fields = ["mean", "quantiles_p50", "stddev", "quantiles_p90", "quantiles_p95", "quantiles_p99"];
        for (key, field) in keys.into_iter().zip(fields) {
            set(&mut m, key, number(&format!("results_{name}_{field}")).map(|s| s * 1e3));
        }
    }
    missing_throughputs(&mut m);
    let mut workload = totals_workload(&m);
    workload.max_concurrency = number("num_concurrent_requests").filter(|n| *n >= 1.0).map(|n| n as u32);
    workload.num_prompts = number("results_num_requests_started").map(|n| n as u32);
    Record {
        model: object.get("model").and_then(Value::as_str).map(str::to_owned),
        workload: Some(workload),
        result: Some(m),
        source: Some("llmperf".into()),
        ..Record::default()
    }
}

/// Whether an object is one request of `*_individual_responses.json`.
pub(super) fn is_request(object: &Map<String, Value>) -> bool {
    ["ttft_s", "end_to_end_latency_s", "number_output_tokens"].iter().all(|k| object.contains_key(*k))
}

/// A run by its requests, whose times are not in the file: latencies alone.
pub(super) fn read_requests(list: &[&Map<String, Value>]) -> Record {
    let rows: Vec<RequestRow> = list.iter().map(|o| request(o)).collect();
    let done: Vec<&RequestRow> = rows.iter().filter(|r| r.error.is_none()).collect();
    let mut m = Metrics::default();
    m.set(Key::Completed, done.len() as f64);
    m.set(Key::Failed, (rows.len() - done.len()) as f64);
    m.set(Key::TotalInputTokens, done.iter().map(|r| f64::from(r.input_tokens)).sum());
    m.set(Key::TotalOutputTokens, done.iter().map(|r| f64::from(r.output_tokens)).sum());
    super::fill(&mut m, &rows);
    let mut workload = totals_workload(&m);
    workload.num_prompts = Some(rows.len() as u32);
    let note = "single requests without their times: how long the run took, and how many were in flight, is not in the file";
    Record {
        workload: Some(workload),
        result: Some(m),
        source: Some("llmperf".into()),
        note: Some(note.into()),
        ..Record::default()
    }
}

fn request(o: &Map<String, Value>) -> RequestRow {
    let number = |key: &str| o.get(key).and_then(Value::as_f64).filter(|n| n.is_finite() && *n >= 0.0);
    let failed = o.get("error_code").is_some_and(|e| !e.is_null());
    RequestRow {
        input_tokens: number("number_input_tokens").unwrap_or(0.0) as u32,
        output_tokens: number("number_output_tokens").unwrap_or(0.0) as u32,
        ttft_s: number("ttft_s").filter(|_| !failed),
        e2e_s: number("end_to_end_latency_s").filter(|_| !failed),
        error: failed.then(|| o["error_code"].to_string()),
        ..RequestRow::default()
    }
}

/// The table of a printed output; None where there is none.
pub(super) fn printed(text: &str) -> Option<Content> {
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.iter().position(|l| l.trim().trim_end_matches(':') == "ttft_s")?;
    let mut object = Map::new();
    let mut section = "";
    for line in lines.iter().map(|l| l.trim()) {
        if let Some((name, value)) = line.split_once('=').or_else(|| line.split_once(':')) {
            let Ok(value) = value.trim().parse::<f64>() else { continue };
            if let Some(key) = key(section, name.trim()) {
                object.insert(key, json!(value));
            }
        } else if !line.is_empty() && line.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            section = line;
        }
    }
    let told = commands::above(&lines[..first], &Told::default());
    object.extend(told.model.map(|m| ("model".to_owned(), json!(m))));
    object.extend(told.concurrency.map(|n| ("num_concurrent_requests".to_owned(), json!(n))));
    is(&object).then(|| Content::One(Value::Object(object)))
}

/// The key of the saved table: `p50` below `ttft_s`, or a line of its own.
fn key(section: &str, name: &str) -> Option<String> {
    let alone = match name {
        "Overall Output Throughput" => "mean_output_throughput_token_per_s",
        "Number Of Completed Requests" => "num_completed_requests",
        "Completed Requests Per Minute" => "num_completed_requests_per_min",
        "Number Of Errored Requests" => "number_errors",
        _ => "",
    };
    if !alone.is_empty() {
        return Some(format!("results_{alone}"));
    }
    let quantile = name.strip_prefix('p').is_some_and(|n| n.parse::<u8>().is_ok());
    let known =
        ["ttft_s", "end_to_end_latency_s", "number_input_tokens", "number_output_tokens"].contains(&section);
    match name {
        _ if !known => None,
        "mean" | "min" | "max" | "stddev" => Some(format!("results_{section}_{name}")),
        _ => quantile.then(|| format!("results_{section}_quantiles_{name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_the_saved_table() {
        let text = "export N=22\npython3 token_benchmark_ray.py --model \"o/m\" \\\n--num-concurrent-requests ${N}\ninter_token_latency_s\np50 = 0.1\n\
                    ttft_s\n    p50 = 3.1\n    mean = 3.0\nend_to_end_latency_s\n    mean = 56.1\nnumber_output_tokens\n    mean = 500\n\
                    Number Of Errored Requests: 0\nOverall Output Throughput: 166.5\nNumber Of Completed Requests: 44\nCompleted Requests Per Minute: 20\n";
        let Some(Content::One(Value::Object(o))) = printed(text) else { panic!("no table") };
        let r = read(&o);
        let m = r.result.unwrap();
        assert_eq!(
            (m.get(Key::MeanTtftMs), m.get(Key::MedianTtftMs), m.get(Key::MeanTpotMs)),
            (Some(3000.0), Some(3100.0), None)
        );
        assert_eq!(
            (m.get(Key::Completed), m.get(Key::Duration), m.get(Key::OutputThroughput)),
            (Some(44.0), Some(132.0), Some(166.5))
        );
        assert_eq!((r.model.as_deref(), r.workload.unwrap().max_concurrency), (Some("o/m"), Some(22)));
        assert!(printed("ttft_s\np50 = 1").is_none());
    }
}
