//! guidellm's CSV: three head rows (group, name with status and unit, statistic), then a row a run.

use super::content::Content;
use super::{E2EL, TPOT, TTFT};
use crate::scenario::Key;
use serde_json::{Map, Value, json};

/// Head rows below the first.
const MORE_HEADS: usize = 2;

pub(super) fn is(head: &[String]) -> bool {
    ["Run Info", "Request Counts", "Time to First Token"].iter().all(|g| head.iter().any(|h| h == g))
}

/// The runs as records of our own format. Its inter-token latency is our TPOT; rates are totals over the whole duration.
pub(super) fn read(groups: &[String], rows: &[csv::StringRecord]) -> Content {
    let (heads, runs) = rows.split_at(rows.len().min(MORE_HEADS));
    let name = |row: usize, at: usize| heads.get(row).and_then(|r| r.get(at)).unwrap_or_default().trim();
    let columns: Vec<(String, String, String)> = groups
        .iter()
        .enumerate()
        .map(|(at, g)| (g.clone(), name(0, at).to_owned(), name(1, at).to_owned()))
        .collect();
    let of = |run: &csv::StringRecord| {
        let text = |group: &str, name: &str, stat: &str| {
            let at = columns.iter().position(|(g, n, s)| g == group && n == name && s == stat)?;
            run.get(at).map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned)
        };
        one(&text)
    };
    // The first run stands below all heads.
    let first = MORE_HEADS + 2;
    Content::Many(runs.iter().enumerate().map(|(n, run)| (first + n, Value::Object(of(run)))).collect())
}

type Cell<'a> = dyn Fn(&str, &str, &str) -> Option<String> + 'a;

fn one(cell: &Cell<'_>) -> Map<String, Value> {
    let number = |g: &str, n: &str, s: &str| cell(g, n, s)?.parse::<f64>().ok().filter(|v| v.is_finite());
    let mut result = Map::new();
    let mut set = |key: Key, value: Option<f64>| {
        result.extend(value.map(|v| (key.name().to_owned(), json!(v))));
    };
    let completed = number("Request Counts", "Successful", "");
    let duration = number("Timings", "Duration", "Sec").filter(|d| *d > 0.0);
    set(Key::Completed, completed);
    set(Key::Failed, number("Request Counts", "Errored", ""));
    set(Key::Duration, duration);
    let tokens = |side: &str| {
        Some(completed? * number("Token Metrics", &format!("Successful {side} Tokens"), "Mean")?)
    };
    let (input, output) = (tokens("Input"), tokens("Output"));
    set(Key::TotalInputTokens, input);
    set(Key::TotalOutputTokens, output);
    set(Key::RequestThroughput, completed.zip(duration).map(|(n, s)| n / s));
    set(Key::OutputThroughput, output.zip(duration).map(|(n, s)| n / s));
    let total = input.zip(output).map(|(i, o)| i + o);
    set(Key::TotalTokenThroughput, total.zip(duration).map(|(n, s)| n / s));
    for (group, name, factor, keys) in [
        ("Time to First Token", "Successful ms", 1.0, TTFT),
        ("Inter Token Latency", "Successful ms", 1.0, TPOT),
        ("Request Latency", "Successful Sec", 1e3, E2EL),
    ] {
        for (key, stat) in [(keys[0], "Mean"), (keys[1], "Median"), (keys[2], "Std Dev")] {
            set(key, number(group, name, stat).map(|v| v * factor));
        }
        // 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999.
        let list = cell(group, name, "Percentiles").and_then(|t| serde_json::from_str::<Vec<f64>>(&t).ok());
        for (key, at) in [(keys[3], 7), (keys[4], 8), (keys[5], 9)] {
            set(key, list.as_ref().filter(|l| l.len() == 11).map(|l| l[at] * factor));
        }
    }
    let workload =
        workload((input, output), completed, &cell("Benchmark", "Strategy", "").unwrap_or_default());
    let backend = cell("Run Info", "Backend", "").and_then(|t| serde_json::from_str::<Value>(&t).ok());
    let model = backend.and_then(|b| Some(b.get("model")?.as_str()?.to_owned()));
    let mut record = Map::new();
    record.extend(model.map(|m| ("model".to_owned(), json!(m))));
    record.insert("workload".into(), Value::Object(workload));
    record.insert("result".into(), Value::Object(result));
    record.insert("source".into(), json!("guidellm"));
    record
}

/// Mean lengths and the load: `synchronous`, `concurrent@4`, `constant@2.0`.
fn workload(
    (input, output): (Option<f64>, Option<f64>),
    completed: Option<f64>,
    strategy: &str,
) -> Map<String, Value> {
    let mut workload = Map::new();
    let mean =
        |t: Option<f64>| t.zip(completed).filter(|(_, n)| *n > 0.0).map(|(t, n)| (t / n).round() as u64);
    match (mean(input), mean(output)) {
        (Some(i), Some(o)) if i > 0 && o > 0 => {
            workload.insert("dataset".into(), json!("random"));
            workload.insert("input_len".into(), json!(i));
            workload.insert("output_len".into(), json!(o));
            workload.insert(
                "note".into(),
                json!("lengths are the means of the run; how they vary is not in the file"),
            );
        }
        _ => {
            workload.insert("dataset".into(), json!("custom"));
        }
    }
    let (kind, load) = strategy.split_once('@').unwrap_or((strategy, ""));
    match (kind, load.parse::<f64>().ok()) {
        ("synchronous", _) => drop(workload.insert("max_concurrency".into(), json!(1))),
        ("concurrent", Some(n)) => drop(workload.insert("max_concurrency".into(), json!(n as u64))),
        ("constant" | "poisson", Some(rate)) => drop(workload.insert("request_rate".into(), json!(rate))),
        _ => {}
    }
    workload
}
