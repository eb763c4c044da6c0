//! CSV tables of results: a row a run.
//!
//! A table whose columns are a tool's own keys (`vllm bench sweep`'s summary, InferenceX) is read as that tool's
//! objects. Any other table needs a clear mapping: [`column()`] says what a name means. A latency without a unit in its
//! name or in its cells is not guessed: [`without_unit`] takes one where the figures leave no other.

use super::columns::{Meaning, column, in_unit, with_unit};
use super::content::Content;
use super::parallel::{self, Shares, engine_named};
use super::{aiconfigurator, guidellm_csv, inferencex, paired, without_unit};
use crate::error::Problem;
use crate::launch::EngineKind;
use crate::scenario::Key;
use serde_json::{Map, Number, Value, json};

/// The rows of a CSV text as objects.
pub(super) fn read(file: &str, text: &str, delimiter: u8) -> Result<Content, Problem> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(
            if text.lines().find(|l| !l.starts_with('#')).is_some_and(|l| !l.contains(',') && l.contains(';'))
            {
                b';'
            } else {
                delimiter
            },
        )
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .flexible(true)
        .from_reader(text.as_bytes());
    let broken = |e: csv::Error| Problem::new(file, "", format!("not CSV: {e}"));
    let head: Vec<String> = reader.headers().map_err(broken)?.iter().map(str::to_owned).collect();
    if head.first().is_some_and(|h| h == "Metric") {
        return statistics(reader, &head).map_err(broken);
    }
    if guidellm_csv::is(&head) {
        let rows: Result<Vec<csv::StringRecord>, csv::Error> = reader.records().collect();
        return Ok(guidellm_csv::read(&head, &rows.map_err(broken)?));
    }
    let mut rows = Vec::new();
    for row in reader.records() {
        let row = row.map_err(broken)?;
        let line = row.position().map_or(0, |p| p.line() as usize);
        let cells = head.iter().zip(row.iter()).filter(|(h, c)| !h.is_empty() && !c.is_empty());
        rows.push((line, cells.map(|(h, c)| (h.clone(), cell(c))).collect::<Map<String, Value>>()));
    }
    if aiconfigurator::is(&head) {
        return aiconfigurator::read(file, &rows);
    }
    if inferencex::exported(&head) {
        let rows = rows.into_iter().map(|(n, m)| (n, Value::Object(inferencex::of_export(&m))));
        return Ok(Content::Many(rows.collect()));
    }
    let own = |m: &Map<String, Value>| super::tool(m).is_some();
    if rows.iter().any(|(_, m)| own(m)) {
        return Ok(Content::Many(rows.into_iter().map(|(n, m)| (n, Value::Object(m))).collect()));
    }
    mapped(file, &head, rows)
}

/// A number where it is one, Python's words for none as missing, else the text.
fn cell(text: &str) -> Value {
    match text {
        "nan" | "NaN" | "inf" | "Infinity" | "None" | "null" | "-" | "N/A" => Value::Null,
        "True" | "true" => json!(true),
        "False" | "false" => json!(false),
        t => t.parse::<f64>().ok().and_then(Number::from_f64).map_or_else(|| json!(t), |n| json!(n)),
    }
}

/// aiperf's and genai-perf's CSV: a metric a row, its statistics in columns, under the keys of their JSON.
fn statistics(mut reader: csv::Reader<&[u8]>, head: &[String]) -> Result<Content, csv::Error> {
    let mut object = Map::new();
    for row in reader.records() {
        let row = row?;
        let mut cells = row.iter();
        let Some(name) = cells.next().filter(|n| !n.is_empty() && *n != "Metric") else { continue };
        let (name, unit) =
            name.split_once(" (").map_or((name, None), |(n, u)| (n, Some(u.trim_end_matches(')'))));
        let mut block: Map<String, Value> = Map::new();
        for (column, c) in head.iter().skip(1).zip(cells).filter(|(_, c)| !c.is_empty()) {
            if column == "Unit" {
                block.insert("unit".into(), json!(c));
            } else {
                block.insert(
                    if column == "Value" { "avg".into() } else { column.to_lowercase() },
                    cell(&c.replace(',', "")),
                );
            }
        }
        if let Some(unit) = unit {
            block.insert("unit".into(), json!(unit));
        }
        object.insert(name.to_lowercase().replace(' ', "_"), Value::Object(block));
    }
    Ok(Content::One(Value::Object(object)))
}

fn mapped(file: &str, head: &[String], rows: Vec<(usize, Map<String, Value>)>) -> Result<Content, Problem> {
    let (head, rows) = paired::apart(head, rows);
    let head = head.as_slice();
    let meanings: Vec<Option<Meaning>> = head.iter().map(|h| column(h)).collect();
    let results =
        meanings.iter().filter(|m| matches!(m, Some(Meaning::Result(..) | Meaning::NoUnit(_)))).count();
    let unit =
        without_unit::of(head, &meanings, &rows).map_err(|names| without_unit::refused(file, &names))?;
    if results == 0 {
        return Err(Problem::new(file, "line 1", format!("no column is a result of serving: {}", head.join(", "))).hint(
            "result keys such as mean_ttft_ms, p99_tpot_ms, output_tok_s, beside model, gpu, engine, tp, input_len, \
             output_len, concurrency; a trace of requests is a workload: --workload trace:FILE",
        ));
    }
    let dropped: Vec<&str> = head
        .iter()
        .zip(&meanings)
        .filter(|(h, m)| m.is_none() && !h.is_empty())
        .map(|(h, _)| h.as_str())
        .collect();
    let dropped =
        (!dropped.is_empty()).then(|| format!("columns without a known meaning: {}", dropped.join(", ")));
    let notes: Vec<String> = unit.iter().map(|u| u.told.clone()).chain(dropped).collect();
    let factor = unit.map(|u| u.factor);
    let record = |(line, row): (usize, Map<String, Value>)| {
        let by_name = head.iter().zip(&meanings).filter_map(|(h, m)| Some((m.as_ref()?, row.get(h)?)));
        (line, Value::Object(one(by_name, factor, &notes)))
    };
    Ok(Content::Many(rows.into_iter().map(record).collect()))
}

/// One row as a record of our own format; `factor` is that of latencies without a unit to milliseconds.
fn one<'a>(
    cells: impl Iterator<Item = (&'a Meaning, &'a Value)>,
    factor: Option<f64>,
    notes: &[String],
) -> Map<String, Value> {
    let (mut record, mut workload, mut result) = (Map::new(), Map::new(), Map::new());
    let mut shares = Shares::default();
    for (meaning, value) in cells.filter(|(_, v)| !v.is_null()) {
        let count = value.as_f64().filter(|n| *n >= 1.0).map(|n| n as u32);
        match meaning {
            Meaning::Record("engine") => {
                if let Some(e) = value.as_str().and_then(engine_named) {
                    record.insert("engine".into(), json!(e));
                }
            }
            Meaning::Record("num_gpus") => {
                record.extend(count.map(|n| ("num_gpus".to_owned(), json!(n))));
            }
            Meaning::Record(key) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                record.insert((*key).to_owned(), json!(text));
            }
            Meaning::Workload("request_rate") => {
                if value.as_f64().is_some_and(|r| r > 0.0) {
                    workload.insert("request_rate".into(), value.clone());
                }
            }
            // What was in flight on the mean is no limit.
            Meaning::Workload("max_concurrency") if value.as_f64().is_some_and(|n| n.fract() != 0.0) => {}
            Meaning::Workload(key) => {
                workload.extend(count.map(|n| ((*key).to_owned(), json!(n))));
            }
            Meaning::Result(key, factor) => {
                if let Some(v) = figure(value, *key, Some(*factor)) {
                    result.insert(key.name().to_owned(), json!(v));
                }
            }
            Meaning::Tensor => shares.tensor = count,
            Meaning::Pipeline => shares.pipeline = count,
            Meaning::Data => shares.data = count,
            Meaning::NoUnit(key) => {
                if let Some(v) = figure(value, *key, factor) {
                    result.insert(key.name().to_owned(), json!(v));
                }
            }
        }
    }
    commanded(&mut record, shares);
    let assumed = completed(&workload, &mut result);
    if !workload.is_empty() {
        let known = workload.contains_key("input_len") && workload.contains_key("output_len");
        workload.insert("dataset".into(), json!(if known { "random" } else { "custom" }));
        record.insert("workload".into(), Value::Object(workload));
    }
    record.insert("result".into(), Value::Object(result));
    record.insert("source".into(), json!("CSV"));
    let notes: Vec<&str> = notes.iter().map(String::as_str).chain(assumed).collect();
    if !notes.is_empty() {
        record.insert("note".into(), json!(notes.join("; ")));
    }
    record
}

/// The figure of a cell in its key's unit; None where neither the cell nor `factor` tells the unit.
fn figure(value: &Value, key: Key, factor: Option<f64>) -> Option<f64> {
    let (v, unit) = value.as_f64().map(|v| (v, None)).or_else(|| with_unit(value.as_str()?))?;
    Some(in_unit(key, v, unit, factor.or(unit)?))
}

/// Takes the requests of a row for completed ones where nothing says how many were or failed; what is to be told of it.
fn completed(workload: &Map<String, Value>, result: &mut Map<String, Value>) -> Option<&'static str> {
    let (done, failed) = (Key::Completed.name(), Key::Failed.name());
    let sent =
        workload.get("num_prompts").filter(|_| !result.contains_key(done) && !result.contains_key(failed))?;
    result.insert(done.to_owned(), sent.clone());
    Some("requests are taken as completed, since the table tells of none that failed")
}

/// A launch's command where engine, model and ranks of a row tell it.
fn commanded(record: &mut Map<String, Value>, shares: Shares) {
    let engine = record.get("engine").cloned().and_then(|e| serde_json::from_value::<EngineKind>(e).ok());
    let model = record.get("model").and_then(Value::as_str).map(str::to_owned);
    if let (None, Some(engine), Some(model)) = (record.get("serve_command"), engine, model)
        && shares != Shares::default()
    {
        record.insert("serve_command".into(), json!(parallel::command(engine, &model, shares)));
    }
}
