//! Tables that are drawn in a text: aiperf's and genai-perf's as they print them, and tables of Markdown, a row a run.

use super::commands::{self, Told};
use super::content::Content;
use super::{aiperf, table, transposed, without_unit};
use crate::error::Problem;
use crate::launch::{Launch, python_tables};
use serde_json::{Map, Value, json};

/// Tables that a tool draws with lines of a box, each as the CSV that it would have written; the commands around one tell model and
/// load.
pub(super) fn boxed(file: &str, text: &str) -> Option<Content> {
    let lines: Vec<&str> = text.lines().collect();
    let is_row = |l: &&str| l.trim().starts_with(['┃', '│']);
    let heads: Vec<usize> = (0..lines.len()).filter(|i| is_row(&lines[*i]) && is_head(lines[*i])).collect();
    let mut found: Vec<(usize, Value)> = Vec::new();
    let (mut before, mut told) = (0, Told::default());
    for (n, start) in heads.iter().enumerate() {
        let limit = heads.get(n + 1).copied().unwrap_or(lines.len());
        let end = (*start..limit).rev().find(|i| is_row(&lines[*i])).unwrap_or(*start);
        let rows = lines[*start..=end].iter().copied().filter(is_row);
        told = commands::above(&lines[before..*start], &told);
        if let Some(object) = drawn(file, rows, &told, &lines[end + 1..limit]) {
            found.push((start + 1, object));
        }
        before = end + 1;
    }
    match found.len() {
        0 => None,
        1 => found.pop().map(|(_, one)| Content::One(one)),
        _ => Some(Content::Many(found)),
    }
}

fn split_row(line: &str) -> Vec<String> {
    let inner = line.trim().trim_matches(['┃', '│']);
    inner.split(['┃', '│']).map(|c| c.trim().replace(',', "")).collect()
}

/// `Metric`, `avg`, … at the top of a table.
fn is_head(line: &str) -> bool {
    let cells = split_row(line);
    ["Metric", "Statistic"].contains(&cells[0].as_str()) && cells.len() > 2
}

/// Lines that genai-perf of 2024 prints below its table, and the keys of their figures.
const BELOW: [(&str, &str); 2] = [
    ("Output token throughput (per sec):", "output_token_throughput"),
    ("Request throughput (per sec):", "request_throughput"),
];

/// One table as the object that the tool would have saved; `below` may tell of the run too.
fn drawn<'l>(
    file: &str,
    lines: impl Iterator<Item = &'l str>,
    above: &Told,
    below: &[&str],
) -> Option<Value> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for cells in lines.map(split_row) {
        let more = cells.iter().skip(1).all(String::is_empty);
        match rows.last_mut() {
            // A long name goes on in a line without figures.
            Some(last) if more => last[0] = format!("{} {}", last[0], cells[0]),
            _ => rows.push(cells),
        }
    }
    "Metric".clone_into(&mut rows.first_mut()?[0]);
    let csv: String = rows.iter().map(|r| r.join(",") + "\n").collect();
    let Ok(Content::One(Value::Object(mut object))) = table::read(file, &csv, b',') else { return None };
    super::tool(&object)?;
    let named = commands::below(below);
    let (model, concurrency) = (above.model.clone().or(named.model), above.concurrency.or(named.concurrency));
    let lasted = below.iter().find_map(|l| l.trim().strip_prefix("Benchmark Duration:"));
    if let Some(s) = lasted.and_then(|t| t.split_whitespace().next()?.parse::<f64>().ok()) {
        object.entry("benchmark_duration").or_insert_with(|| json!({ "unit": "sec", "avg": s }));
    }
    for (name, key) in BELOW {
        let figure = below.iter().find_map(|l| l.trim().strip_prefix(name)?.trim().parse::<f64>().ok());
        if let Some(figure) = figure {
            object.entry(key).or_insert_with(|| json!({ "avg": figure }));
        }
    }
    let lengths = above.lengths.or(named.lengths).unzip();
    let requests = above.requests.or(named.requests);
    let asked = json!({ "requests": requests, "input": lengths.0, "output": lengths.1 });
    object.insert(aiperf::ASKED.to_owned(), asked);
    let config = json!({ "endpoint": { "model_names": [model] }, "loadgen": { "concurrency": concurrency } });
    object.entry("input_config").or_insert(config);
    object.extend(above.server.clone().map(|c| ("serve_command".to_owned(), json!(c))));
    Some(Value::Object(object))
}

/// The first table of Markdown that has results, and those with the same head behind it. What the text above a table tells of model
/// and load holds for rows that tell none.
///
/// Errors: no table can be read, and the latencies of one have no unit.
pub(super) fn markdown(
    file: &str,
    text: &str,
    told: impl Fn(usize) -> Told,
) -> Result<Option<Content>, Problem> {
    let lines: Vec<&str> = text.lines().collect();
    let ruled = |l: &&str| is_row(l) && l.contains('-') && l.trim().chars().all(|c| "|-: ".contains(c));
    let (mut all, mut first): (Vec<(usize, Value)>, Option<&str>) = (Vec::new(), None);
    let mut refused: Option<Problem> = None;
    for i in (1..lines.len()).filter(|i| ruled(&lines[*i]) && is_row(&lines[i - 1])) {
        if first.is_some_and(|head| cells(head) != cells(lines[i - 1])) {
            continue;
        }
        let rows = lines[i + 1..].iter().take_while(|l| is_row(l)).map(|l| cells(l)).collect();
        let mut found = match rows_of(file, &cells(lines[i - 1]), rows) {
            Ok(found) => found,
            Err(why) => {
                let why = why.filter(without_unit::is_refused);
                refused = refused.or(why.map(|p| Problem { key: format!("line {i}"), ..p }));
                continue;
            }
        };
        first = first.or(Some(lines[i - 1]));
        let told = told(i - 1);
        // Where rows differ by the load, each says its own.
        let one =
            found.len() == 1 || found.iter().all(|(_, r)| r.pointer("/workload/max_concurrency").is_none());
        for (line, row) in &mut found {
            // Rows are counted from the head, and the rule below it is none.
            *line += i;
            if let Value::Object(row) = row {
                fill(row, &told, one);
            }
        }
        all.append(&mut found);
    }
    match refused {
        Some(why) if all.is_empty() => Err(why),
        _ => Ok((!all.is_empty()).then_some(Content::Many(all))),
    }
}

fn is_row(line: &&str) -> bool {
    line.trim().starts_with('|')
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_matches('|').replace("**", "");
    inner.split('|').map(|c| c.trim().trim_matches(['*', '`']).replace(',', "")).collect()
}

/// The runs of one table, a row each; a table on its side is turned. The error is why there are none, where something says it.
fn rows_of(
    file: &str,
    head: &[String],
    rows: Vec<Vec<String>>,
) -> Result<Vec<(usize, Value)>, Option<Problem>> {
    let read = |head: &[String], rows: &[Vec<String>]| {
        let csv: String =
            std::iter::once(head).chain(rows.iter().map(Vec::as_slice)).map(|r| r.join(",") + "\n").collect();
        table::read(file, &csv, b',')
    };
    let found = match transposed::upright(head, &rows) {
        Some((head, rows)) => read(&head, &rows),
        None => read(head, &rows),
    };
    match found {
        Ok(Content::Many(rows)) if !rows.is_empty() => Ok(rows),
        found => Err(found.err()),
    }
}

/// What was told above the table, where a row does not say it; a load only where the table is one run.
fn fill(row: &mut Map<String, Value>, told: &Told, one: bool) {
    if let Some(name) = &told.model {
        row.entry("model").or_insert_with(|| json!(name));
    }
    if let Some(command) = told.server.as_ref().filter(|_| !row.contains_key("engine")) {
        row.entry("serve_command").or_insert_with(|| json!(command));
        let engine = Launch::parse(command).engine;
        row.extend(engine.map(|e| ("engine".to_owned(), json!(e))));
    }
    if let Some(n) = told.concurrency.filter(|_| one) {
        let workload = row.entry("workload").or_insert_with(|| json!({ "dataset": "custom" }));
        if let Some(workload) = workload.as_object_mut() {
            workload.entry("max_concurrency").or_insert_with(|| json!(n));
        }
    }
}

/// Values of a tool that stand in a text: a line each, or in a fence of several lines.
pub(super) fn values(text: &str) -> Option<Content> {
    let object = |t: &str| {
        let value = crate::data::python_json::parse(t).ok()?;
        value.as_object().is_some_and(|o| super::tool(o).is_some()).then_some(value)
    };
    let lines = text.lines().zip(1..).filter(|(l, _)| l.trim_start().starts_with('{'));
    let mut found: Vec<(usize, Value)> = lines.filter_map(|(l, n)| Some((n, object(l)?))).collect();
    if found.is_empty() {
        let mut line = 1;
        for part in text.split("```") {
            let body = part.split_once('\n').map_or("", |p| p.1);
            found.extend(object(body).map(|v| (line, v)));
            line += part.matches('\n').count();
        }
    }
    (!found.is_empty()).then_some(Content::Many(found))
}

/// Tables that a program of Python sets to a name (`ROW = {…}`), as far as they are a tool's; the second part names the others
/// whose keys speak of results.
pub(super) fn python(text: &str) -> (Option<Content>, Option<String>) {
    let mut tables: Vec<(usize, Value)> = Vec::new();
    let mut others: Vec<String> = Vec::new();
    for (name, table) in python_tables(text) {
        let Value::Object(map) = &table else { continue };
        let line = text
            .lines()
            .position(|l| l.split('=').next().is_some_and(|n| n.trim() == name))
            .map_or(0, |at| at + 1);
        let speaks = |key: &String| ["ttft", "tpot", "tput", "throughput"].iter().any(|w| key.contains(w));
        if super::tool(map).is_some() {
            tables.push((line, table));
        } else if map.keys().any(speaks) {
            let keys: Vec<&str> = map.keys().map(String::as_str).take(12).collect();
            others.push(format!("its table `{name}` is of no load tool that is known: {}", keys.join(", ")));
        }
    }
    tables.sort_by_key(|(line, _)| *line);
    ((!tables.is_empty()).then_some(Content::Many(tables)), others.into_iter().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_model() -> Told {
        Told { model: Some("o/m".into()), ..Told::default() }
    }

    #[test]
    fn a_table_of_lines_and_one_of_markdown() {
        let text = "  NVIDIA AIPerf | LLM Metrics\n┏━━━┳━━━┓\n┃ Metric ┃ avg ┃ p50 ┃\n┡━━━╇━━━┩\n│ Time to First Token (ms) │ 1,912.29 │ 81.5 │\n\
                    │ Output Token Throughput Per User │ 69.0 │ 45.0 │\n│ (tokens/sec/user) │ │ │\n│ Request Latency (ms) │ 2808 │ 2745 │\n└───┘\n";
        let Some(Content::One(o)) = boxed("x.txt", text) else { panic!("no table") };
        assert_eq!(o["time_to_first_token"]["avg"], 1912.29);
        assert_eq!(o["output_token_throughput_per_user"]["unit"], "tokens/sec/user");
        let two = format!(
            "$ aiperf profile -m o/a --concurrency 2\n{text}\n$ aiperf profile -m o/b --concurrency 4\n{}",
            text.replace("2808", "99")
        );
        let Some(Content::Many(both)) = boxed("x.txt", &two) else { panic!("no tables") };
        assert_eq!(
            (&both[0].1["request_latency"]["avg"], &both[1].1["request_latency"]["avg"]),
            (&json!(2808.0), &json!(99.0))
        );
        assert_eq!(both[1].1["input_config"]["loadgen"]["concurrency"], 4);
        let text = "# r\n| a | b |\n|---|---|\n| 1 | 2 |\n\n| **concurrency** | TTFT (ms) |\n|:-:|--:|\n| 4 | 1,200.5 |\n| 8 | 7 |\nend";
        let Ok(Some(Content::Many(rows))) = markdown("x.md", text, |_| of_model()) else {
            panic!("no table")
        };
        assert_eq!((rows.len(), rows[0].0, &rows[0].1["model"]), (2, 8, &json!("o/m")));
        assert_eq!(rows[0].1["result"]["mean_ttft_ms"], 1200.5);
        let aside = "Model: o/n\n\n| Metric | Base | PR |\n|---|---|---|\n| Mean TTFT | 70.1 ms | 0.06 s |\n| **Output throughput (tok/s)** | 10 | 12 |\n";
        let Ok(Some(Content::Many(rows))) = markdown("x.md", aside, |_| of_model()) else {
            panic!("no table")
        };
        assert_eq!((rows.len(), &rows[1].1["result"]["mean_ttft_ms"]), (2, &json!(60.0)));
        let counted = "| N Req | TTFT (ms) |\n|--|--|\n| 8 | 2 |\n";
        let Ok(Some(Content::Many(rows))) = markdown("x.md", counted, |_| Told::default()) else {
            panic!("no table")
        };
        let row = &rows[0].1;
        assert_eq!((&row["result"]["completed"], &row["workload"]["num_prompts"]), (&json!(8), &json!(8)));
        assert!(row["note"].as_str().unwrap().contains("taken as completed"), "{row}");
        let twice = "| TTFT (ms) | RPS |\n|--|--|\n| 1 | 2 |\n\n| TTFT (ms) | RPS |\n|--|--|\n| 3 | 4 |\n\n| TPOT (ms) |\n|--|\n| 3 |\n";
        assert!(
            matches!(markdown("x.md", twice, |_| Told::default()), Ok(Some(Content::Many(r))) if r.len() == 2)
        );
        assert!(matches!(markdown("x.md", "| a |\n|---|\n| 1 |", |_| Told::default()), Ok(None)));
    }

    #[test]
    fn objects_between_other_lines() {
        let one = r#"{"completed": 1, "duration": 2, "request_throughput": 0.5}"#;
        let Some(Content::Many(found)) = values(&format!("x: y\n{one}\n{{broken\n")) else { panic!("none") };
        assert_eq!((found.len(), found[0].0), (1, 2));
        let fence = format!("text\n```json\n{}\n```\n", one.replace(", ", ",\n"));
        assert!(matches!(values(&fence), Some(Content::Many(found)) if found.len() == 1));
        assert!(values("{\"a\": 1}").is_none());
        let row = "# a row\nROW = {\n  'hw': \"h100\", 'tp': 8, 'tput_per_gpu': 2.5, 'nightly': True,\n}\n";
        assert!(matches!(python(row).0, Some(Content::Many(found)) if found[0].0 == 2));
        let other = python(&row.replace("'hw'", "'rack'"));
        assert!(
            other.0.is_none()
                && other.1.unwrap().contains("`ROW` is of no load tool that is known: rack, tp")
        );
    }
}
