//! `dyno check FILE…`: every problem of data files and of files of scenarios and observations.

use super::out;
use crate::data;
use crate::error::{Error, Problem, Result};
use crate::scenario::Record;
use crate::{hardware, model, scenario, space};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Hardware, model or search-space TOML; scenario or observation JSON; a model's config.json; or a
    /// directory with hardware/, models/ or search-spaces/
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Directory with hardware/ or models/ that names in the files may refer to
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was found in one file.
struct Finding {
    file: String,
    what: String,
    problems: Vec<Problem>,
}

pub(super) fn run(args: Args) -> Result<()> {
    let names = Names::load(args.data_dir.as_deref())?;
    let mut findings = Vec::new();
    for path in &args.files {
        for file in expand(path)? {
            findings.push(check_file(&file, &names));
        }
    }
    report(&findings, args.json);
    let problems: Vec<Problem> = findings.into_iter().flat_map(|f| f.problems).collect();
    match problems.len() {
        0 => Ok(()),
        1 => Err(Error::problems("1 problem", problems)),
        n => Err(Error::problems(format!("{n} problems"), problems)),
    }
}

/// The files that an argument means: itself, or a data directory's files.
fn expand(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let folders = ["hardware", "models", "search-spaces"].map(|f| path.join(f));
    let inside = folders.iter().any(|f| f.is_dir());
    let dirs = if inside { folders.to_vec() } else { vec![path.to_owned()] };
    let mut out = Vec::new();
    for dir in dirs.iter().filter(|d| d.is_dir()) {
        let entries = std::fs::read_dir(dir)
            .map_err(|e| Error::usage("the directory cannot be read").at(dir.display()).source(e))?;
        let files = entries.flatten().map(|e| e.path());
        out.extend(files.filter(|p| p.extension().is_some_and(|e| e == "toml" || e == "json")));
    }
    out.sort();
    if out.is_empty() {
        return Err(Error::usage("the directory holds no TOML or JSON file").at(path.display()));
    }
    Ok(out)
}

fn check_file(path: &Path, names: &Names) -> Finding {
    let file = path.display().to_string();
    let (what, problems) = match std::fs::read_to_string(path) {
        Err(e) => ("unreadable".to_owned(), vec![Problem::new(&file, "", format!("cannot be read: {e}"))]),
        Ok(text) if path.extension().is_some_and(|e| e == "toml") => check_toml(&file, &text),
        Ok(text) => check_json(&file, &text, names),
    };
    Finding { file, what, problems }
}

/// The kind of a TOML file is told by the keys that only this kind has.
fn check_toml(file: &str, text: &str) -> (String, Vec<Problem>) {
    let value = match data::toml_value(file, text) {
        Ok(v) => v,
        Err(p) => return ("TOML".into(), vec![p]),
    };
    let has = |keys: &[&str]| keys.iter().any(|k| value.get(k).is_some());
    if has(&["flag", "oldest", "newest"]) {
        ("search space".into(), space::check_text(file, text))
    } else if has(&["vendor", "bandwidth_gbps", "memory_gb", "bf16_tflops"]) {
        ("hardware".into(), hardware::check_text(file, text))
    } else if has(&["layers", "hidden", "q_heads", "vocab"]) {
        ("model".into(), model::check_text(file, text))
    } else {
        let p = Problem::new(file, "", "is no hardware, model or search-space file")
            .hint("hardware has `vendor`, a model has `layers`, a search space has [[flag]] records");
        ("TOML".into(), vec![p])
    }
}

fn check_json(file: &str, text: &str, names: &Names) -> (String, Vec<Problem>) {
    let value: Value = serde_json::from_str(text).unwrap_or(Value::Null);
    if ["architectures", "model_type", "num_hidden_layers"].iter().any(|k| value.get(k).is_some()) {
        return ("model config.json".into(), model::check_config(file, text));
    }
    match scenario::parse_records(file, text) {
        Ok(records) => {
            let paths = record_paths(&value, records.len());
            let problems = records.iter().zip(&paths).flat_map(|(r, path)| names.unknown(file, path, r));
            (format!("{} records", records.len()), problems.collect())
        }
        Err(e) => ("records".into(), e.problems),
    }
}

/// Key paths of the records in a file, in order.
fn record_paths(value: &Value, n: usize) -> Vec<String> {
    match value {
        Value::Array(_) => (0..n).map(|i| format!("[{i}].")).collect(),
        Value::Object(o) if o.contains_key("observations") => {
            (0..n).map(|i| format!("observations[{i}].")).collect()
        }
        _ => vec![String::new(); n],
    }
}

/// The names that a record may refer to.
struct Names {
    hardware: hardware::Catalog,
    models: model::Catalog,
}

impl Names {
    fn load(dir: Option<&Path>) -> Result<Names> {
        Ok(Names { hardware: hardware::Catalog::load(dir)?, models: model::Catalog::load(dir)? })
    }

    /// Names in a record that stand for nothing known.
    fn unknown(&self, file: &str, path: &str, record: &Record) -> Vec<Problem> {
        let problem = |key: &str, e: Error| {
            let mut p = Problem::new(file, format!("{path}{key}"), e.what);
            p.hint = e.hint;
            p
        };
        let hardware = record.hardware.as_deref().and_then(|h| self.hardware.find(h).err());
        let model = record.model.as_deref().and_then(|m| self.models.find(m).err());
        let precision =
            record.precision.as_deref().and_then(|p| p.parse::<model::Precision>().err()).map(Error::usage);
        [("hardware", hardware), ("model", model), ("precision", precision)]
            .into_iter()
            .filter_map(|(key, e)| Some(problem(key, e?)))
            .collect()
    }
}

fn report(findings: &[Finding], as_json: bool) {
    if as_json {
        let problem = |p: &Problem| json!({"key": p.key, "message": p.message, "hint": p.hint});
        let all: Vec<Value> = findings
            .iter()
            .map(|f| {
                let problems: Vec<Value> = f.problems.iter().map(problem).collect();
                json!({"file": f.file, "kind": f.what, "ok": problems.is_empty(), "problems": problems})
            })
            .collect();
        out::line(format_args!("{:#}", Value::Array(all)));
        return;
    }
    for f in findings.iter().filter(|f| f.problems.is_empty()) {
        out::line(format_args!("{}: {}, good", f.file, f.what));
    }
}
