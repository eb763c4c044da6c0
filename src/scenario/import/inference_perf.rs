//! inference-perf (kubernetes-sigs): `stage_N_lifecycle_metrics` and `summary_lifecycle_metrics` (JSON or YAML), and
//! `per_request_lifecycle_metrics.json`. All its times are seconds.
//!
//! Its `time_per_output_token` is the mean over a request's tokens after the first (our TPOT); `inter_token_latency`
//! pools the gaps of all requests (our ITL). Its throughputs are over the time from first send to last answer.

use super::{E2EL, ITL, TPOT, TTFT, set, throughputs, totals_workload, workload_of};
use crate::scenario::{Key, Metrics, Record, RequestRow};
use crate::workload::{RequestRate, WorkloadSpec};
use serde_json::{Map, Value};

pub(super) fn is(object: &Map<String, Value>) -> bool {
    object.contains_key("load_summary") && object.get("successes").is_some_and(Value::is_object)
}

pub(super) fn read(object: &Map<String, Value>) -> Record {
    let at = |path: &str| object.get("successes")?.pointer(path)?.as_f64();
    let load = |key: &str| object.get("load_summary")?.get(key)?.as_f64();
    let mut m = Metrics::default();
    let completed = at("/count");
    let failed = object.get("failures").and_then(|f| f.get("count")).and_then(Value::as_f64);
    set(&mut m, Key::Completed, completed);
    set(&mut m, Key::Failed, failed);
    set(&mut m, Key::RequestLossRate, failed.zip(completed).map(|(f, c)| f / (f + c).max(1.0)));
    let rate = at("/throughput/requests_per_sec");
    set(&mut m, Key::Duration, completed.zip(rate).filter(|(_, r)| *r > 0.0).map(|(c, r)| c / r));
    set(&mut m, Key::RequestThroughput, rate);
    set(&mut m, Key::OutputThroughput, at("/throughput/output_tokens_per_sec"));
    set(&mut m, Key::TotalTokenThroughput, at("/throughput/total_tokens_per_sec"));
    let total = |name: &str| Some((completed? * at(&format!("/{name}/mean"))?).round());
    set(&mut m, Key::TotalInputTokens, total("prompt_len").or_else(|| at("/prompt_tokens/total")));
    set(&mut m, Key::TotalOutputTokens, total("output_len"));
    for (name, keys) in [
        ("time_to_first_token", TTFT),
        ("time_per_output_token", TPOT),
        ("inter_token_latency", ITL),
        ("request_latency", E2EL),
    ] {
        for (key, field) in keys.into_iter().zip(["mean", "median", "std", "p90", "p95", "p99"]) {
            set(&mut m, key, at(&format!("/latency/{name}/{field}")).map(|s| s * 1e3));
        }
    }
    let mut workload = totals_workload(&m);
    for (field, name) in
        [(&mut workload.input_range, "prompt_len"), (&mut workload.output_range, "output_len")]
    {
        // Lengths that vary little are told well by their mean; the whole range would say more than is known.
        let (low, high) = (at(&format!("/{name}/p10")), at(&format!("/{name}/p90")));
        *field = low.zip(high).filter(|(l, h)| *l >= 1.0 && *h > l * 1.5).map(|(l, h)| (l as u32, h as u32));
    }
    workload.num_prompts = load("count").or(completed).map(|n| n as u32);
    workload.request_rate =
        load("requested_rate").filter(|r| *r > 0.0).map_or(RequestRate::Inf, RequestRate::PerSecond);
    workload.max_concurrency = load("concurrency").filter(|c| *c >= 1.0).map(|c| c as u32);
    let media = ["image", "video", "audio"]
        .iter()
        .filter(|k| at(&format!("/{k}/count/mean")).is_some_and(|n| n > 0.0))
        .copied()
        .collect::<Vec<_>>();
    let note = (!media.is_empty())
        .then(|| format!("the requests carry {}, whose work is not modelled", media.join(", ")));
    record(workload, None, m, note)
}

/// Whether a list's first value is a request of `per_request_lifecycle_metrics.json`.
pub(super) fn is_request(object: &Map<String, Value>) -> bool {
    object.contains_key("start_time") && object.contains_key("end_time") && object.contains_key("info")
}

/// One run from its requests.
pub(super) fn read_requests(list: &[&Map<String, Value>]) -> Record {
    let number = |o: &Map<String, Value>, key: &str| o.get(key).and_then(Value::as_f64).unwrap_or(0.0);
    let first = list.iter().map(|o| number(o, "start_time")).fold(f64::INFINITY, f64::min);
    let last = list.iter().map(|o| number(o, "end_time")).fold(0.0, f64::max);
    let mut rows: Vec<RequestRow> = list.iter().map(|o| request(o, first)).collect();
    rows.sort_by(|a, b| a.arrival_s.total_cmp(&b.arrival_s));
    let m = super::counted(&rows, last - first);
    let workload = workload_of(&rows);
    record(workload, Some(rows), m, None)
}

fn request(o: &Map<String, Value>, first: f64) -> RequestRow {
    let at = |key: &str| o.get(key).and_then(Value::as_f64);
    let info = o.get("info").cloned().unwrap_or_default();
    let tokens = |key: &str| info.get(key).and_then(Value::as_f64).unwrap_or(0.0) as u32;
    let times: Vec<f64> = info
        .get("output_token_times")
        .and_then(Value::as_array)
        .map(|l| l.iter().filter_map(Value::as_f64).collect())
        .unwrap_or_default();
    let start = at("start_time").unwrap_or(first);
    let failed = o.get("error").is_some_and(|e| !e.is_null());
    let gaps: Vec<f64> = times.windows(2).map(|w| w[1] - w[0]).collect();
    RequestRow {
        arrival_s: super::micros(start - first),
        input_tokens: tokens("input_tokens"),
        output_tokens: tokens("output_tokens"),
        ttft_s: times.first().map(|t| t - start).filter(|_| !failed),
        e2e_s: times.last().copied().or_else(|| at("end_time")).map(|t| t - start).filter(|_| !failed),
        itl_s: Some(gaps).filter(|g| !g.is_empty() && !failed),
        error: failed.then(|| {
            let kind = o.get("error").and_then(|e| e.get("error_type")).and_then(Value::as_str);
            kind.unwrap_or("failed").chars().take(200).collect()
        }),
        ..RequestRow::default()
    }
}

fn record(
    workload: WorkloadSpec,
    requests: Option<Vec<RequestRow>>,
    mut m: Metrics,
    note: Option<String>,
) -> Record {
    throughputs(&mut m);
    Record {
        workload: Some(WorkloadSpec {
            total_input_tokens: m.get(Key::TotalInputTokens),
            total_output_tokens: m.get(Key::TotalOutputTokens),
            ..workload
        }),
        requests,
        result: Some(m),
        source: Some("inference-perf".into()),
        note,
        ..Record::default()
    }
}
