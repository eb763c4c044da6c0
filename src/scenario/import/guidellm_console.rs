//! The tables that guidellm prints at a run's end, as the part of its `benchmarks.json` that they hold.
//!
//! Columns are named in two or three lines, in which a name is followed by as many bars as it has columns below it. A run has its row
//! in every table; a table that comes again begins another set of runs.

use super::commands;
use super::content::Content;
use serde_json::{Map, Value, json};

/// One table: the names of its columns, and its rows.
struct Table {
    names: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// Runs that belong together: the tables that told of them, and what was told.
type Set = (Vec<Vec<String>>, Vec<Map<String, Value>>);

/// The runs of a printed output; None where it holds no such table with figures.
pub(super) fn read(text: &str) -> Option<Content> {
    let lines: Vec<&str> = text.lines().collect();
    let mut sets: Vec<Set> = Vec::new();
    for table in tables(&lines) {
        let fresh = sets
            .last()
            .is_none_or(|(seen, runs)| seen.contains(&table.names) || runs.len() != table.rows.len());
        if fresh {
            sets.push((Vec::new(), vec![Map::new(); table.rows.len()]));
        }
        if let Some((seen, runs)) = sets.last_mut() {
            runs.iter_mut().zip(&table.rows).for_each(|(run, row)| take(run, &table.names, row));
            seen.push(table.names);
        }
    }
    let runs: Vec<Value> =
        sets.into_iter().flat_map(|s| s.1).filter(|r| r.contains_key("metrics")).map(Value::Object).collect();
    let model = model(&lines);
    (!runs.is_empty()).then(|| Content::One(json!({ "args": { "model": model }, "benchmarks": runs })))
}

fn tables(lines: &[&str]) -> Vec<Table> {
    let rule = |l: &str| l.contains("---|") && l.trim().chars().all(|c| "|-".contains(c));
    let mut out = Vec::new();
    for (at, _) in lines.iter().enumerate().filter(|(_, l)| rule(l)) {
        let is_row = |l: &&&str| l.contains('|') && !l.contains("==") && !rule(l);
        let heads: Vec<Vec<(String, usize)>> =
            lines[..at].iter().rev().take_while(is_row).map(|l| spans(l)).collect();
        let named = heads.iter().any(|h| h.first().is_some_and(|c| c.0 == "Benchmark"));
        if !named {
            continue;
        }
        let names = names(&heads);
        let rows =
            lines[at + 1..].iter().take_while(is_row).map(|l| cells(l)).filter(|r| r.len() == names.len());
        out.push(Table { rows: rows.collect(), names });
    }
    out.retain(|t| !t.rows.is_empty());
    out
}

fn inner(line: &str) -> &str {
    let line = line.trim();
    line.strip_prefix('|').unwrap_or(line)
}

fn cells(line: &str) -> Vec<String> {
    let line = inner(line);
    line.strip_suffix('|').unwrap_or(line).split('|').map(|c| c.trim().to_owned()).collect()
}

/// The names of one line of heads, each with the columns that it stands over: as many as bars follow.
fn spans(line: &str) -> Vec<(String, usize)> {
    let mut out: Vec<(String, usize)> = Vec::new();
    let mut rest = inner(line);
    while !rest.is_empty() {
        let end = rest.find('|').unwrap_or(rest.len());
        let name = rest[..end].trim().to_owned();
        let bars = rest[end..].chars().take_while(|c| *c == '|').count();
        out.push((name, bars.max(1)));
        rest = &rest[end + bars..];
    }
    out
}

/// Whole names, from the upper lines to the lowest; `heads` begins with the lowest.
fn names(heads: &[Vec<(String, usize)>]) -> Vec<String> {
    let wide = |h: &Vec<(String, usize)>| -> Vec<String> {
        h.iter().flat_map(|(name, n)| std::iter::repeat_n(name.clone(), *n)).collect()
    };
    let lines: Vec<Vec<String>> = heads.iter().rev().map(wide).collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let name = |i: usize| -> String {
        let parts: Vec<&str> =
            lines.iter().filter_map(|l| l.get(i)).map(String::as_str).filter(|p| !p.is_empty()).collect();
        parts.join(" ").to_lowercase()
    };
    (0..columns).map(name).collect()
}

/// Puts the figures of a row where `benchmarks.json` has them.
fn take(run: &mut Map<String, Value>, names: &[String], row: &[String]) {
    let mut put = |path: &[&str], value: Value| {
        let Some((last, path)) = path.split_last() else { return };
        let mut at = &mut *run;
        for key in path {
            let next = at.entry(*key).or_insert_with(|| json!({}));
            let Some(next) = next.as_object_mut() else { return };
            at = next;
        }
        at.entry(*last).or_insert(value);
    };
    for (name, cell) in names.iter().zip(row) {
        let number = cell.replace(',', "").parse::<f64>().ok().filter(|v| v.is_finite());
        match (name.as_str(), number) {
            ("benchmark strategy" | "metadata benchmark", _) => {
                let (kind, rate) = cell.split_once('@').map_or((cell.as_str(), None), |(k, r)| (k, Some(r)));
                put(&["args", "strategy", "type_"], json!(kind));
                if let Some(rate) = rate.and_then(|r| r.parse::<f64>().ok()) {
                    put(
                        &["args", "strategy", if kind == "concurrent" { "streams" } else { "rate" }],
                        json!(rate),
                    );
                }
            }
            ("output tokens inc tot", Some(v)) if v > 0.0 => put(&["cut"], json!(v)),
            // A loop of so many streams keeps as many in flight.
            ("requests concurrency mdn", Some(v)) => put(&["args", "strategy", "streams"], json!(v.round())),
            ("timings dur sec" | "metadata duration (s)", Some(v)) => put(&["duration"], json!(v)),
            (name, Some(v)) => {
                if let Some(path) = place(name) {
                    put(&[&["metrics"], path.as_slice()].concat(), json!(v));
                }
            }
            _ => {}
        }
    }
}

/// Where a figure stands below `metrics`. A request's latency is left out where the table's own unit is wrong (0.1 and 0.2 print
/// seconds under `ms`).
fn place(name: &str) -> Option<Vec<&'static str>> {
    let statistic = |name: &str| {
        Some(match name.rsplit(' ').next()? {
            "mean" => vec!["mean"],
            "mdn" | "median" => vec!["median"],
            "p95" => vec!["percentiles", "p95"],
            "p99" => vec!["percentiles", "p99"],
            _ => return None,
        })
    };
    let total = |key: &'static str| Some(vec!["request_totals", key]);
    let metric = match name {
        "requests made comp" => return total("successful"),
        "requests made err" => return total("errored"),
        "requests made inc" => return total("incomplete"),
        "prompt tok total comp" | "input tokens comp tot" => {
            return Some(vec!["prompt_token_count", "successful", "total_sum"]);
        }
        "output tok total comp" | "output tokens comp tot" => {
            return Some(vec!["output_token_count", "successful", "total_sum"]);
        }
        "request stats per second" => return Some(vec!["requests_per_second", "successful", "mean"]),
        "out tok/sec mean" => return Some(vec!["output_tokens_per_second", "successful", "mean"]),
        "tot tok/sec mean" => return Some(vec!["tokens_per_second", "successful", "mean"]),
        n if n.starts_with("requests per sec ") => "requests_per_second",
        n if n.starts_with("output tokens per sec ") => "output_tokens_per_second",
        n if n.starts_with("total tokens per sec ") => "tokens_per_second",
        n if n.starts_with("ttft (ms) ") || n.starts_with("ttft ms ") => "time_to_first_token_ms",
        n if n.starts_with("itl (ms) ") || n.starts_with("itl ms ") => "inter_token_latency_ms",
        n if n.starts_with("request latency sec ") => "request_latency",
        _ => return None,
    };
    Some([&[metric, "successful"], statistic(name)?.as_slice()].concat())
}

/// The model by guidellm's own words, else by its command.
fn model(lines: &[&str]) -> Option<String> {
    let connected = lines.iter().find_map(|l| l.split_once("connected to ")?.1.split_once(" for model "));
    let name = connected.map(|(_, name)| name.trim().trim_end_matches('.').to_owned());
    let settled = || {
        let rest = lines.iter().find_map(|l| l.split_once("backend_model='"))?.1;
        rest.split_once('\'').map(|(name, _)| name.to_owned())
    };
    name.or_else(settled).or_else(|| commands::above(lines, &commands::Told::default()).model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_tables() {
        let old = "Backend openai_http connected to http://x for model o/m.\n\
            Metadata |||| Requests Made |||\n Benchmark| Start| End| Duration (s)| Comp| Inc| Err\n---------|---|---|---|---|---|---\n\
            constant@0.69| 1| 2| 46.5| 30| 0| 1\n====\n\
            Metadata | Request Stats || Out Tok/sec| TTFT (ms) |||\n Benchmark| Per Second| Concurrency| mean| mean| median| p99\n---|---|---|---|---|---|---\n\
            constant@0.69| 0.65| 2.93| 165.1| 71.9| 73.5| 80.0\n====\n";
        let Some(Content::One(v)) = read(old) else { panic!("no table") };
        let b = &v["benchmarks"][0];
        assert_eq!((&v["args"]["model"], &b["args"]["strategy"]["rate"]), (&json!("o/m"), &json!(0.69)));
        assert_eq!(b["duration"], 46.5);
        assert_eq!(b["metrics"]["time_to_first_token_ms"]["successful"]["percentiles"]["p99"], 80.0);
        assert_eq!(
            b["metrics"]["request_totals"],
            json!({"successful": 30.0, "incomplete": 0.0, "errored": 1.0})
        );
        let new = "|===|\n| Benchmark | Request Latency || TTFT ||\n| Strategy | Sec || ms ||\n| | Mdn | p95 | Mdn | p95 |\n|---|---|---|---|---|\n\
            | constant | 0.4 | 0.5 | 23.2 | 30.9 |\n| constant | 0.5 | 0.6 | 24.2 | 31.9 |\n|===|\n\
            | Benchmark | Requests || Output Tokens |\n| Strategy | Per Sec || Per Sec |\n| | Mdn | Mean | Mean |\n|---|---|---|---|\n\
            | constant | 1.0 | 1.1 | 50 |\n| constant | 2.0 | 2.1 | 99 |\n|===|\n";
        let Some(Content::One(v)) = read(new) else { panic!("no table") };
        assert_eq!(v["benchmarks"].as_array().unwrap().len(), 2);
        let m = &v["benchmarks"][1]["metrics"];
        assert_eq!(m["requests_per_second"]["successful"]["mean"], 2.1);
        assert_eq!(m["request_latency"]["successful"], json!({"median": 0.5, "percentiles": {"p95": 0.6}}));
        assert_eq!(m["output_tokens_per_second"]["successful"]["mean"], 99.0);
        assert!(read("| a | b |\n|---|---|\n| 1 | 2 |").is_none());
    }
}
