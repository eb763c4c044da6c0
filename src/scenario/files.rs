//! Reading and writing files of records: one object, an array, or `{"meta": …, "observations": [ … ]}`.

use super::import::content::Content;
use super::{Record, check, import};
use crate::error::{Error, Problem, Result};
use serde_json::Value;
use std::path::Path;

/// What a file held.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// Its name in messages.
    pub file: String,
    /// The tool that wrote it; None for our own format.
    pub tool: Option<&'static str>,
    pub records: Vec<Record>,
}

impl Loaded {
    /// The file's format in words.
    pub fn format(&self) -> &'static str {
        self.tool.unwrap_or("dyno")
    }
}

/// Reads a file of records (scenarios, observations, failed launches), or a result file of another load tool.
///
/// Errors list every problem of the file with its key path.
pub fn read_records(path: &Path) -> Result<Vec<Record>> {
    Ok(load(path)?.records)
}

/// As [`read_records`], with the tool that wrote the file.
pub fn load(path: &Path) -> Result<Loaded> {
    let file = path.display().to_string();
    let text = crate::host::read_bounded(path, crate::host::RECORDS_LIMIT).map_err(|e| {
        Error::problems("cannot read the records", vec![Problem::new(&file, "", e.to_string())])
            .hint("a JSON file of scenarios or observations, or a result file of a load tool")
    })?;
    let mut loaded = load_text(&file, &String::from_utf8_lossy(&text))?;
    super::read_beside(&mut loaded.records, &beside(path));
    Ok(loaded)
}

/// Where files lie that a record of this file names: beside it, or where the program was started.
fn beside(path: &Path) -> [&Path; 2] {
    [path.parent().unwrap_or(Path::new("")), Path::new("")]
}

/// As [`read_records`], of a text; `file` is its name in messages.
pub fn parse_records(file: &str, text: &str) -> Result<Vec<Record>> {
    Ok(load_text(file, text)?.records)
}

/// As [`load`], of a text.
pub fn load_text(file: &str, text: &str) -> Result<Loaded> {
    let content = import::text::read(file, text).map_err(|p| broken(file, vec![p]))?;
    if let Some(found) = import::foreign(file, &content) {
        let (tool, records) = found.map_err(|problems| broken(file, problems))?;
        return Ok(Loaded { file: file.to_owned(), tool: Some(tool), records });
    }
    let items = match &content {
        Content::One(value) => items(file, value)?,
        Content::Many(values) => values.iter().map(|(n, v)| (format!("line {n}"), v)).collect(),
    };
    let mut problems = Vec::new();
    let mut records = Vec::new();
    for (path, item) in &items {
        let found = check::record(file, path, item);
        if found.is_empty() {
            // The check and the types say the same; should they ever differ, the types decide.
            match serde_path_to_error::deserialize::<_, Record>(*item) {
                Ok(r) => records.push(r),
                Err(e) => {
                    problems.push(Problem::new(file, format!("{path}.{}", e.path()), e.inner().to_string()));
                }
            }
        }
        problems.extend(found);
    }
    if !problems.is_empty() {
        return Err(broken(file, problems));
    }
    let csv = records.iter().all(|r| r.source.as_deref() == Some("CSV"));
    Ok(Loaded { file: file.to_owned(), tool: (csv && !records.is_empty()).then_some("CSV"), records })
}

/// As [`read_records`]; besides, each record must have what a prediction needs: model, hardware, engine and
/// workload (or exact requests).
pub fn read_scenarios(path: &Path) -> Result<Vec<Record>> {
    let records = read_records(path)?;
    let file = path.display().to_string();
    let problems: Vec<Problem> = records
        .iter()
        .enumerate()
        .flat_map(|(i, r)| {
            check::scenario(&file, &if records.len() == 1 { String::new() } else { format!("[{i}]") }, r)
        })
        .collect();
    if problems.is_empty() { Ok(records) } else { Err(broken(&file, problems)) }
}

/// Writes one record as an object, several as an array; whole or not at all (temporary file, then rename).
pub fn write_records(path: &Path, records: &[Record]) -> Result<()> {
    let json = match records {
        [one] => serde_json::to_string_pretty(one),
        many => serde_json::to_string_pretty(many),
    }
    .map_err(|e| Error::failed("a record cannot be written as JSON").source(e))?;
    write_whole(path, &json)
}

/// Writes a text file whole or not at all; it ends in one line end.
pub fn write_whole(path: &Path, text: &str) -> Result<()> {
    written(path, text, crate::host::write_whole)
}

/// As [`write_whole`]; a new file can be read by this user alone.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    written(path, text, crate::host::write_private)
}

fn written(path: &Path, text: &str, write: fn(&Path, &[u8]) -> std::io::Result<()>) -> Result<()> {
    let fail = |e: std::io::Error| {
        Error::failed("cannot write the file")
            .at(path.display())
            .source(e)
            .hint("is the directory there and writable?")
    };
    let whole = if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") };
    write(path, whole.as_bytes()).map_err(fail)
}

fn broken(file: &str, problems: Vec<Problem>) -> Error {
    let n = problems.len();
    let noun = if n == 1 { "problem" } else { "problems" };
    Error::problems(format!("{file} has {n} {noun}"), problems)
}

/// The records of a file with their places in it.
fn items<'a>(file: &str, value: &'a Value) -> Result<Vec<(String, &'a Value)>> {
    let listed = |name: &str, list: &'a [Value]| {
        list.iter().enumerate().map(|(i, v)| (format!("{name}[{i}]"), v)).collect::<Vec<_>>()
    };
    match value {
        Value::Array(list) => Ok(listed("", list)),
        Value::Object(map) if map.contains_key("observations") || map.contains_key("meta") => {
            let mut problems: Vec<Problem> = map
                .keys()
                .filter(|k| !["meta", "observations"].contains(&k.as_str()))
                .map(|k| {
                    Problem::new(file, k, "unknown key").hint("beside `observations` only `meta` may stand")
                })
                .collect();
            match map.get("observations") {
                Some(Value::Array(list)) if problems.is_empty() => return Ok(listed("observations", list)),
                Some(Value::Array(_)) => {}
                Some(_) => problems.push(Problem::new(file, "observations", "must be a list")),
                None => problems.push(Problem::new(file, "observations", "missing")),
            }
            Err(broken(file, problems))
        }
        Value::Object(_) => Ok(vec![(String::new(), value)]),
        _ => Err(broken(
            file,
            vec![
                Problem::new(file, "", "holds no record")
                    .hint("one object, an array of objects, or {\"meta\": …, \"observations\": […]}"),
            ],
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        parse_records("f.json", text).unwrap_err().problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_three_forms_hold_the_same_records() {
        let one = r#"{"engine":"vllm","model":"m","hardware":"cpu","precision":null,"workload":{"dataset":"random","input_len":8,"output_len":2}}"#;
        let a = parse_records("f", one).unwrap();
        assert_eq!(a, parse_records("f", &format!("[{one}]")).unwrap());
        assert_eq!(
            a,
            parse_records("f", &format!(r#"{{"meta":{{"x":1}},"observations":[{one}]}}"#)).unwrap()
        );
        assert_eq!(a[0].workload.as_ref().unwrap().input_len, Some(8));
    }

    #[test]
    fn every_problem_is_named_with_its_path() {
        let text = r#"{"observations":[
            {"engine":"vlm","hardware":"cpu"},
            {"engine":"vllm","gpu":"x","workload":{"dataset":"random"}},
            {"workload":{"dataset":"random","input_len":8,"request_rate":-1},"result":{"duration":"long","own":"kept"},"failure":"x"},
            {"workload":{"dataset":"trace"},"requests":[{"arrival_s":-1,"input_tokens":1,"output_tokens":1}]}]}"#;
        let found = problems(text);
        for expected in [
            "observations[0].engine: \"vlm\" is not one of",
            "observations[1].gpu: unknown key",
            "observations[2].workload.output_len: missing",
            "observations[2].workload.request_rate: -1 is no rate",
            "observations[2].result.duration: \"long\" is not a number",
            "observations[2].failure: stands beside",
            "observations[3].requests[0].arrival_s: -1 is negative",
        ] {
            assert!(found.iter().any(|p| p.contains(expected)), "no `{expected}` in {found:#?}");
        }
    }

    #[test]
    fn broken_json_says_where() {
        assert!(problems("{\"engine\": \n nope}")[0].contains("line 2"));
        assert!(problems("3")[0].contains("holds no record"));
        assert!(problems(r#"{"meta":1}"#)[0].contains("observations: missing"));
    }

    #[test]
    fn a_written_record_reads_back_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("o.json");
        let r = parse_records("f", r#"{"serve_command":"vllm serve m","hardware":"cpu","failure":"died"}"#)
            .unwrap();
        write_records(&path, &r).unwrap();
        assert_eq!(read_records(&path).unwrap(), r);
        assert!(read_scenarios(&path).unwrap_err().problems.len() >= 2);
        assert!(write_records(&dir.path().join("no/such/dir.json"), &r).is_err());
    }
}
