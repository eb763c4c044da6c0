//! FIB (CentML's flexible inference benchmark): the file of `fib benchmark --output-file`, and the summary of
//! `fib analyse --export-json`.
//!
//! Neither says when a request was sent, at which rate, or how many were in flight, so that no single requests and no
//! arrivals can be taken over.

use super::{fill, set, throughputs, totals_workload, word, workload_of};
use crate::scenario::{Key, Metrics, Record, RequestRow};
use crate::workload::WorkloadSpec;
use serde_json::{Map, Value};

const NOTE: &str = "the file does not say the request rate or the number in flight";

/// Requests one by one: latency, first token and gaps in seconds.
pub(super) fn read(object: &Map<String, Value>) -> Result<Record, String> {
    let list = |key: &str| object.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let (outputs, inputs) = (list("outputs"), list("inputs"));
    let duration = object.get("time").and_then(Value::as_f64).ok_or("`time` is not a number of seconds")?;
    if outputs.len() != inputs.len() {
        return Err(format!("{} outputs stand beside {} inputs", outputs.len(), inputs.len()));
    }
    let rows: Vec<RequestRow> = outputs.iter().zip(inputs).map(|(o, i)| row(o, i)).collect();
    let done: Vec<RequestRow> = rows.iter().filter(|r| r.error.is_none()).cloned().collect();
    let failed = rows.len() - done.len();
    let mut m = Metrics::default();
    m.set(Key::Completed, done.len() as f64);
    m.set(Key::Failed, failed as f64);
    m.set(Key::RequestLossRate, failed as f64 / (rows.len() as f64).max(1.0));
    m.set(Key::Duration, duration);
    m.set(Key::TotalInputTokens, done.iter().map(|r| f64::from(r.input_tokens)).sum());
    m.set(Key::TotalOutputTokens, done.iter().map(|r| f64::from(r.output_tokens)).sum());
    throughputs(&mut m);
    fill(&mut m, &done);
    Ok(record(workload_of(&done), rows.len(), m))
}

fn row(output: &Value, input: &Value) -> RequestRow {
    let number = |key: &str| output.get(key).and_then(Value::as_f64);
    let planned = |i: usize| input.get(i).and_then(Value::as_f64);
    let gaps: Vec<f64> =
        output.get("itl").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_f64).collect();
    let success = output.get("success") == Some(&Value::Bool(true));
    let why = output.get("error").and_then(Value::as_str).and_then(|e| e.trim().lines().last());
    // Without usage the tool tokenizes the text; here the chunks are counted.
    let tokens = number("output_len").unwrap_or(gaps.len() as f64 + 1.0);
    let streamed = success && number("ttft").is_some_and(|t| t > 0.0);
    RequestRow {
        input_tokens: number("prompt_len").filter(|n| *n > 0.0).or_else(|| planned(1)).unwrap_or(0.0) as u32,
        output_tokens: if success { tokens as u32 } else { 0 },
        ttft_s: number("ttft").filter(|_| streamed),
        e2e_s: number("latency").filter(|_| success),
        itl_s: (streamed && !gaps.is_empty()).then_some(gaps),
        error: (!success).then(|| why.unwrap_or("failed").chars().take(200).collect()),
        ..RequestRow::default()
    }
}

/// The summary: the same figures under names without a unit, latencies in milliseconds.
pub(super) fn read_summary(object: &Map<String, Value>) -> Record {
    let number = |key: &str| object.get(key).and_then(Value::as_f64);
    let mut m = Metrics::default();
    for (key, name) in [
        (Key::Completed, "successful_requests"),
        (Key::Duration, "duration"),
        (Key::TotalInputTokens, "total_input_tokens"),
        (Key::TotalOutputTokens, "total_generated_tokens"),
    ] {
        set(&mut m, key, number(name));
    }
    for kind in ["ttft", "tpot", "itl"] {
        for of in ["mean", "median", "p99"] {
            // A run that did not stream has zeros there.
            let value = number(&format!("{of}_{kind}")).filter(|v| *v > 0.0);
            if let Some(key) = Key::from_name(&format!("{of}_{kind}_ms")) {
                set(&mut m, key, value);
            }
        }
    }
    throughputs(&mut m);
    let n = m.get(Key::Completed).unwrap_or(0.0) as usize;
    Record { model: word(object, "model"), ..record(totals_workload(&m), n, m) }
}

fn record(workload: WorkloadSpec, n: usize, m: Metrics) -> Record {
    let workload = WorkloadSpec {
        num_prompts: Some(n as u32).filter(|n| *n > 0),
        total_input_tokens: m.get(Key::TotalInputTokens),
        total_output_tokens: m.get(Key::TotalOutputTokens),
        note: Some(workload.note.as_ref().map_or(NOTE.into(), |n| format!("{NOTE}; {n}"))),
        ..workload
    };
    Record { workload: Some(workload), result: Some(m), source: Some("fib".into()), ..Record::default() }
}
