//! The table that `vllm bench serve` and `sglang.bench_serving` print (`Serving Benchmark Result`), as the object that
//! they would have saved.

use super::commands::{self, Told};
use super::totals_workload;
use crate::scenario::Metrics;
use crate::workload::{Dataset, WorkloadSpec};
use serde_json::{Map, Value, json};

/// Key of an object that was a printed table: it is known for one also where it lacks what the saved form always has.
pub(super) const MARK: &str = "printed_table";

/// Key of the lengths that the text above a table states.
pub(super) const STATED: &str = "stated_lengths";

/// Printed names (lower case, without the unit) and the keys of the saved form.
const NAMES: &[(&str, &str)] = &[
    ("successful requests", "completed"),
    ("failed requests", "failed"),
    ("benchmark duration (s)", "duration"),
    ("total input tokens", "total_input_tokens"),
    ("total generated tokens", "total_output_tokens"),
    ("total generated tokens (retokenized)", "total_output_tokens_retokenized"),
    ("request throughput (req/s)", "request_throughput"),
    ("input token throughput (tok/s)", "input_throughput"),
    ("output token throughput (tok/s)", "output_throughput"),
    ("peak output token throughput (tok/s)", "max_output_tokens_per_s"),
    ("peak concurrent requests", "max_concurrent_requests"),
    ("total token throughput (tok/s)", "total_token_throughput"),
    ("input throughput (tok/s)", "input_throughput"),
    ("output throughput (tok/s)", "output_throughput"),
    ("total throughput (tok/s)", "total_token_throughput"),
    ("request goodput (req/s)", "request_goodput"),
    ("concurrency", "concurrency"),
    ("accept length", "accept_length"),
    ("backend", "backend"),
    ("traffic request rate", "request_rate"),
    ("request rate configured (rps)", "request_rate"),
    ("max request concurrency", "max_concurrency"),
    ("maximum request concurrency", "max_concurrency"),
    ("max reqeuest concurrency", "max_concurrency"),
];

/// The first line of a table.
pub(super) const TITLE: &str = "Serving Benchmark Result";

/// Each block of a printed output, with the number of its first line; None when there is none. A block has at least one figure;
/// what the commands above it tell stands in it as `model` and `serve_command`.
pub(super) fn read(text: &str) -> Option<Vec<(usize, Value)>> {
    let mut out = Vec::new();
    let mut block: Option<(usize, Map<String, Value>)> = None;
    // vLLM prints rate and concurrency before the run, so above the table.
    let (mut above, mut told) = (Map::new(), Told::default());
    let mut lines: Vec<&str> = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        // A table that stands in a script's comments or is quoted.
        let line = line.trim_start_matches(['#', '>', '/', ' ', '\t']);
        if line.contains(TITLE) || line.contains("Benchmark") && squeezed(line).contains(TITLE) {
            out.extend(block.take());
            told = commands::above(&std::mem::take(&mut lines), &told);
            let mut map = std::mem::take(&mut above);
            map.insert(MARK.to_owned(), json!(true));
            map.extend(told.model.clone().map(|m| ("model".to_owned(), json!(m))));
            map.extend(told.server.clone().map(|c| ("serve_command".to_owned(), json!(c))));
            map.extend(told.backend.clone().map(|b| ("backend".to_owned(), json!(b))));
            if let Some(n) = told.concurrency {
                map.entry("max_concurrency").or_insert_with(|| json!(n));
            }
            map.extend(told.lengths.map(|l| (STATED.to_owned(), json!(l))));
            block = Some((number, map));
        } else if let Some((_, map)) = &mut block {
            if line.trim().len() > 20 && line.trim().chars().all(|c| c == '=') {
                out.extend(block.take());
            } else if let Some((key, value)) = entry(line) {
                map.insert(key, value);
            } else if !line.trim_start().starts_with('-') {
                // A table that was cut short ends where something else begins.
                lines.push(line);
            }
        } else {
            lines.push(line);
            let run = entry(line).filter(|(k, _)| k == "request_rate" || k == "max_concurrency");
            above.extend(run);
        }
    }
    out.extend(block);
    out.retain(|(_, m)| {
        m.iter().any(|(k, v)| v.is_number() && !["request_rate", "max_concurrency"].contains(&k.as_str()))
    });
    (!out.is_empty()).then(|| out.into_iter().map(|(n, m)| (n, Value::Object(m))).collect())
}

/// A line with one blank where a page's editor made several.
fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn entry(line: &str) -> Option<(String, Value)> {
    let (name, value) = line.rsplit_once(':')?;
    let (name, value) = (squeezed(name).to_lowercase(), value.trim());
    // A figure that was cut off is missing.
    if value == "None" || value.is_empty() {
        return None;
    }
    let plain = value.replace(',', "");
    let name = with_its_unit(name, &plain);
    let number = plain.parse::<f64>().ok().filter(|v| v.is_finite()).or_else(|| remarked(&plain));
    let known = NAMES.iter().find(|(n, _)| *n == name).map(|(_, key)| ((*key).to_owned(), 1.0));
    let (key, factor) = known.or_else(|| latency(&name))?;
    Some((key, number.map_or_else(|| json!(value), |v| json!(v * factor))))
}

/// A name with the unit that stands behind its figure (`Output throughput: 1076.76 tok/s`), where the name has none itself.
fn with_its_unit(name: String, value: &str) -> String {
    let behind = value.split_once(char::is_whitespace).filter(|(figure, _)| figure.parse::<f64>().is_ok());
    let unit = match behind.map_or("", |(_, rest)| rest.split_whitespace().next().unwrap_or_default()) {
        "tok/s" | "tokens/s" | "token/s" => "tok/s",
        "req/s" | "reqs/s" | "requests/s" => "req/s",
        unit @ ("ms" | "s") => unit,
        _ => return name,
    };
    if name.ends_with(')') { name } else { format!("{name} ({unit})") }
}

/// A figure with a remark behind it (`27.44   <=====`, `70.1 (-3 %)`). A second figure, as of another run beside it, is no remark.
fn remarked(value: &str) -> Option<f64> {
    let (first, rest) = value.split_once(char::is_whitespace)?;
    let rest = rest.trim();
    let remark = rest.starts_with(['(', '<', '#']) || !rest.contains(|c: char| c.is_ascii_digit());
    first.parse::<f64>().ok().filter(|v| v.is_finite() && remark)
}

/// `mean ttft (ms)`, `p99 itl (ms)`, `median e2e latency (ms)`; the key, and the factor to its unit.
fn latency(name: &str) -> Option<(String, f64)> {
    let own = |unit: &str| name.strip_suffix(unit);
    let (plain, factor) = own(" (ms)").map(|n| (n, 1.0)).or_else(|| own(" (s)").map(|n| (n, 1e3)))?;
    let words: Vec<&str> = plain.split_whitespace().collect();
    let (stat, metric) = words.split_first()?;
    let known = matches!(*stat, "mean" | "median" | "std") || stat.starts_with('p');
    let metric = match metric.join(" ").as_str() {
        "ttft" => "ttft",
        "tpot" => "tpot",
        "itl" => "itl",
        "e2el" | "e2e latency" => "e2el",
        _ => return None,
    };
    known.then(|| (format!("{stat}_{metric}_ms"), factor))
}

/// The workload of a table that says by its totals how long requests were, or where it was cut short the text above it.
pub(super) fn workload(object: &Map<String, Value>, m: &Metrics) -> WorkloadSpec {
    let own = totals_workload(m);
    let stated = object.get(STATED).and_then(|v| serde_json::from_value::<(u32, u32)>(v.clone()).ok());
    match stated {
        Some((input, output)) if own.input_len.is_none() => WorkloadSpec {
            input_len: Some(input),
            output_len: Some(output),
            note: Some("lengths are those that the text above the table states".into()),
            ..WorkloadSpec::empty(Dataset::Random)
        },
        _ => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_table_reads() {
        let text = "INFO start\nMaximum request concurrency: 32\n============ Serving Benchmark Result ============\nSuccessful requests:   1,000\n\
                    Benchmark duration (s):   12.5\nMean TTFT (ms):  70.1\n---------------Time---------------\n\
                    Median E2E Latency (ms): 9\nTraffic request rate: inf\n=====================================\nMean TTFT (ms): 1\n";
        let found = read(text).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].0, &found[0].1),
            (
                3,
                &json!({"max_concurrency": 32.0, "completed": 1000.0, "duration": 12.5, "mean_ttft_ms": 70.1, "median_e2el_ms": 9.0,
                        "request_rate": "inf", "printed_table": true})
            )
        );
        let commented: String = text.lines().map(|l| format!("# {l}\n")).collect();
        assert_eq!(read(&commented).unwrap()[0].1, found[0].1);
        assert!(read("nothing here").is_none());
        let marked = text.replace("70.1\n", "70.1     <=====\n");
        assert_eq!(read(&marked).unwrap()[0].1, found[0].1);
        let cut = format!(
            "{}\nP99 TPOT (ms):",
            text.split("=====================================").next().unwrap()
        );
        assert!(read(&cut).unwrap()[0].1.get("p99_tpot_ms").is_none());
        let behind = text
            .replace("Mean TTFT (ms):  70.1", "Mean TTFT: 0.0701 s")
            .replace("Traffic request rate: inf", "Output throughput: 1,076.5 tok/s");
        let behind = &read(&behind).unwrap()[0].1;
        let figure = |key: &str| behind[key].as_f64().unwrap();
        assert!(
            (figure("mean_ttft_ms") - 70.1).abs() < 1e-9
                && (figure("output_throughput") - 1076.5).abs() < 1e-9
        );
        let two = text.replace("70.1\n", "70.1  |  80.3\n");
        assert!(read(&two).unwrap()[0].1["mean_ttft_ms"].is_string());
    }
}
