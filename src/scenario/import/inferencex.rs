//! Rows of InferenceX (formerly InferenceMAX), `agg_*.json`: latencies in seconds, throughputs a GPU, and the launch as
//! far as tp, ep and DP attention say it.

use super::parallel::{self, Shares, engine_named};
use super::{set, word};
use crate::scenario::{Key, Metrics, Record};
use crate::workload::{Dataset, WorkloadSpec};
use serde_json::{Map, Value, json};

pub(super) fn is(object: &Map<String, Value>) -> bool {
    let has = |key: &str| object.contains_key(key);
    // Its dashboard's rows name the hardware by another key than its files.
    let named = has("hw") || has("device") && has("framework") && has("conc");
    named && has("tput_per_gpu") && (has("tp") || has("prefill_tp"))
}

/// A row of a fork that keeps the client's own figures, of the whole server and in milliseconds, under `metrics`.
pub(super) fn is_row_of_metrics(object: &Map<String, Value>) -> bool {
    let has = |key: &str| object.contains_key(key);
    has("hw")
        && has("framework")
        && has("conc")
        && object.get("metrics").is_some_and(|m| m.get("request_throughput").is_some())
}

/// As [`read`], with the figures as the client gave them.
pub(super) fn read_row_of_metrics(object: &Map<String, Value>) -> Result<Record, String> {
    let mut record = read(object)?;
    let mut m = Metrics::default();
    let figures = object.get("metrics").and_then(Value::as_object);
    for (name, value) in figures.into_iter().flatten() {
        let key = match name.as_str() {
            "successful_requests" => Some(Key::Completed),
            "output_token_throughput" => Some(Key::OutputThroughput),
            name => Key::from_name(name),
        };
        if let (Some(key), Some(value)) = (key, value.as_f64()) {
            m.set(key, value);
        }
    }
    let lasted = m.get(Key::Completed).zip(m.get(Key::RequestThroughput).filter(|r| *r > 0.0));
    set(&mut m, Key::Duration, lasted.map(|(n, rate)| n / rate));
    if let Some(workload) = &mut record.workload {
        workload.num_prompts = m.get(Key::Completed).map(|n| n as u32);
    }
    record.result = Some(m);
    Ok(record)
}

/// Columns of the table that InferenceX's pages export, and the keys of its rows.
const EXPORTED: [(&str, &str); 14] = [
    ("Model", "model"),
    ("ISL", "isl"),
    ("OSL", "osl"),
    ("Hardware", "hw"),
    ("Framework", "framework"),
    ("Precision", "precision"),
    ("TP", "tp"),
    ("Concurrency", "conc"),
    ("Throughput/GPU (tok/s)", "tput_per_gpu"),
    ("Output Throughput/GPU (tok/s)", "output_tput_per_gpu"),
    ("Disaggregated", "disagg"),
    ("Spec Decoding", "spec_decoding"),
    ("EP", "ep"),
    ("DP Attention", "dp_attention"),
];

/// Whether the head is that of an exported table.
pub(super) fn exported(head: &[String]) -> bool {
    ["Hardware Key", "Throughput/GPU (tok/s)", "Framework"].iter().all(|c| head.iter().any(|h| h == c))
}

/// A row of an exported table under the keys of InferenceX's own files.
///
/// Its columns say milliseconds, and exports of 2026 hold seconds: tokens a second and user are the inverse of the time per token,
/// which tells the unit; without them the column's own word holds.
pub(super) fn of_export(row: &Map<String, Value>) -> Map<String, Value> {
    let number = |key: &str| row.get(key).and_then(Value::as_f64);
    let each = number("Median TPOT (ms)").zip(number("Median Interactivity (tok/s/user)"));
    let seconds =
        if each.is_some_and(|(time, rate)| (0.5..2.0).contains(&(time * rate))) { 1.0 } else { 1e-3 };
    let known =
        EXPORTED.iter().filter_map(|(column, key)| Some(((*key).to_owned(), row.get(*column)?.clone())));
    let mut out: Map<String, Value> = known.collect();
    for (column, metric) in [("TTFT", "ttft"), ("TPOT", "tpot"), ("ITL", "itl"), ("E2E Latency", "e2el")] {
        for (word, stat) in [("Mean", "mean"), ("Median", "median"), ("P99", "p99"), ("Std", "std")] {
            let value = number(&format!("{word} {column} (ms)")).map(|v| v * seconds);
            out.extend(value.map(|v| (format!("{stat}_{metric}"), json!(v))));
        }
    }
    out
}

#[expect(clippy::too_many_lines, reason = "one record, field by field")]
pub(super) fn read(object: &Map<String, Value>) -> Result<Record, String> {
    let number = |key: &str| match object.get(key)? {
        Value::String(s) => s.parse().ok(),
        other => other.as_f64(),
    };
    let said = |key: &str| match object.get(key) {
        Some(Value::Bool(b)) => *b,
        Some(Value::String(s)) => s.eq_ignore_ascii_case("true"),
        _ => false,
    };
    if said("disagg") || object.contains_key("prefill_tp") {
        return Err("the row is of a disaggregated launch (prefill and decode on GPUs of their own), \
                    which is not modelled"
            .into());
    }
    let whole = |key: &str| number(key).filter(|n| *n >= 1.0).map(|n| n as u32);
    let framework = word(object, "framework").unwrap_or_default();
    let engine = engine_named(&framework);
    let shares = Shares {
        tensor: whole("tp"),
        expert: whole("ep"),
        attention: said("dp_attention"),
        ..Shares::default()
    };
    let gpus = whole("tp").unwrap_or(1);
    let model = word(object, "model");
    let mut m = Metrics::default();
    let each = f64::from(gpus);
    set(&mut m, Key::TotalTokenThroughput, number("tput_per_gpu").map(|t| t * each));
    set(&mut m, Key::OutputThroughput, number("output_tput_per_gpu").map(|t| t * each));
    for metric in ["ttft", "tpot", "itl", "e2el"] {
        for stat in ["mean", "median", "std", "p90", "p95", "p99"] {
            if let Some(key) = Key::from_name(&format!("{stat}_{metric}_ms")) {
                set(&mut m, key, number(&format!("{stat}_{metric}")).map(|s| s * 1e3));
            }
        }
    }
    let mut notes = vec!["the row says how the GPUs share the work, not the whole command".to_owned()];
    let drafts = word(object, "spec_decoding").or_else(|| word(object, "mtp"));
    if let Some(drafts) = drafts.filter(|s| !matches!(s.as_str(), "none" | "off" | "false" | "")) {
        notes.push(format!("speculative decoding ({drafts}), which the row's command does not say"));
    }
    // Their client draws lengths evenly from 0.8 of the stated one up to it (`--random-range-ratio 0.8`).
    let range = |key: &str| whole(key).map(|n| ((f64::from(n) * 0.8) as u32, n)).filter(|r| r.0 > 0);
    Ok(Record {
        engine,
        engine_version: word(object, "image").and_then(|i| version(&i)),
        serve_command: engine.zip(model.as_deref()).map(|(e, m)| parallel::command(e, m, shares)),
        hardware: word(object, "hw")
            .or_else(|| word(object, "device"))
            .map(|h| h.split(['-', '_']).next().unwrap_or(&h).to_owned()),
        num_gpus: Some(gpus),
        precision: word(object, "precision"),
        workload: Some(WorkloadSpec {
            input_len: whole("isl"),
            output_len: whole("osl"),
            input_range: range("isl"),
            output_range: range("osl"),
            max_concurrency: whole("conc"),
            // Their sweeps send ten requests for each one in flight.
            num_prompts: whole("conc").map(|c| c.saturating_mul(10)),
            ..WorkloadSpec::empty(Dataset::Random)
        }),
        model,
        result: Some(m),
        source: Some("InferenceX".into()),
        note: Some(notes.join("; ")),
        ..Record::default()
    })
}

/// The release in an image's tag: `lmsysorg/sglang:v0.5.9-cu130` is 0.5.9.
fn version(image: &str) -> Option<String> {
    let tag = image.rsplit_once(':')?.1.trim_start_matches('v');
    let end = tag.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).unwrap_or(tag.len());
    let release = &tag[..end];
    (release.starts_with(|c: char| c.is_ascii_digit()) && release.contains('.')).then(|| release.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exported_row_tells_its_unit_by_the_speed_that_a_user_sees() {
        let row = |time: f64, rate: f64| {
            let Value::Object(row) = json!({
                "Model": "m", "ISL": 1024, "OSL": 1024, "Hardware": "h200", "Hardware Key": "h200_vllm", "Framework": "vllm", "TP": 8,
                "Concurrency": 4, "Throughput/GPU (tok/s)": 260.0, "Output Throughput/GPU (tok/s)": 130.0, "Median TPOT (ms)": time,
                "Median Interactivity (tok/s/user)": rate
            }) else {
                panic!("no object")
            };
            read(&of_export(&row)).unwrap().result.unwrap()
        };
        for (time, rate) in [(0.004, 250.0), (4.0, 250.0)] {
            let m = row(time, rate);
            assert_eq!(m.get(Key::MedianTpotMs), Some(4.0), "{time}");
            assert_eq!(m.get(Key::OutputThroughput), Some(1040.0));
        }
    }

    #[test]
    fn a_row_with_the_clients_own_figures_is_of_the_whole_server() {
        let Value::Object(row) = json!({
            "hw": "b200", "framework": "sglang", "model": "o/m", "tp": 8, "ep": 8, "conc": 128, "isl": 1024, "osl": 1024,
            "metrics": { "successful_requests": 1280, "request_throughput": 10.0, "output_token_throughput": 4800.0, "median_ttft_ms": 500.0 }
        }) else {
            panic!("no object")
        };
        assert!(is_row_of_metrics(&row) && !is(&row));
        let r = read_row_of_metrics(&row).unwrap();
        let m = r.result.unwrap();
        assert_eq!((m.get(Key::OutputThroughput), m.get(Key::Duration)), (Some(4800.0), Some(128.0)));
        assert_eq!((m.get(Key::MedianTtftMs), r.num_gpus), (Some(500.0), Some(8)));
    }
}
