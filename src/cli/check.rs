//! `dyno check FILE…`: every problem of data files and of files of scenarios and observations.

mod own;

use super::completion::{Supplied, complete, missing};
use super::out;
use crate::data::{self, python_json};
use crate::error::{Error, Problem, Result};
use crate::launch::EngineKind;
use crate::scenario::Record;
use crate::{hardware, model, scenario, space};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Hardware, model or search-space TOML; a profile; a plan of `dyno tune`; scenario or observation JSON; a result file
    /// of another load tool; a file of a campaign's directory; a model's config.json; a pattern; or a directory with hardware/, models/ or search-spaces/, or of results
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// What a result file lacks for `dyno fit` and `dyno predict`, checked with it
    #[command(flatten)]
    supplied: Options,
    /// Directory with hardware/ or models/ that names in the files may refer to
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The same completion as `dyno fit` takes.
#[derive(Debug, clap::Args)]
struct Options {
    /// Hub name or directory of the model
    #[arg(long)]
    model: Option<String>,
    /// Hardware id (`dyno list hardware`)
    #[arg(long)]
    hardware: Option<String>,
    /// vllm, sglang, trtllm or emulated
    #[arg(long)]
    engine: Option<EngineKind>,
    /// The whole serving command
    #[arg(long)]
    serve_command: Option<String>,
}

impl Options {
    fn given(&self) -> Supplied<'_> {
        Supplied {
            model: self.model.as_deref(),
            hardware: self.hardware.as_deref(),
            engine: self.engine,
            serve_command: self.serve_command.as_deref(),
            ..Supplied::default()
        }
    }
}

/// What was found in one file.
struct Finding {
    file: String,
    what: String,
    problems: Vec<Problem>,
    /// What is no fault of the file and yet to be known: what it lacks for a fit, what was left out.
    notes: Vec<String>,
}

pub(super) fn run(args: Args) -> Result<()> {
    let names = Names::load(args.data_dir.as_deref())?;
    let mut findings = Vec::new();
    for path in &args.files {
        for file in expand(path)? {
            findings.push(check_file(&file, &names, &args));
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
        return scenario::expand_sources(&[path.to_owned()]);
    }
    let folders = ["hardware", "models", "search-spaces"].map(|f| path.join(f));
    let inside = folders.iter().any(|f| f.is_dir());
    let named =
        ["hardware", "models", "search-spaces"].iter().any(|n| path.file_name().is_some_and(|f| f == *n));
    let has_toml = std::fs::read_dir(path)
        .is_ok_and(|d| d.flatten().any(|e| e.path().extension().is_some_and(|e| e == "toml")));
    if !inside && !named && !has_toml {
        return scenario::expand_sources(&[path.to_owned()]);
    }
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

fn check_file(path: &Path, names: &Names, args: &Args) -> Finding {
    let file = path.display().to_string();
    let (what, problems, notes) = match crate::host::read_bounded(path, crate::host::RECORDS_LIMIT) {
        Err(e) => (
            "unreadable".to_owned(),
            vec![Problem::new(&file, "", format!("cannot be read: {e}"))],
            Vec::new(),
        ),
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            if path.extension().is_some_and(|e| e == "toml") {
                let (what, problems) = check_toml(&file, &text);
                (what, problems, Vec::new())
            } else {
                check_records(&file, &text, names, args)
            }
        }
    };
    Finding { file, what, problems, notes }
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
    } else if let Some(found) = own::toml(file, text, &value) {
        found
    } else {
        let p = Problem::new(file, "", "is no file that dyno knows").hint(
            "hardware has `vendor`, a model has `layers`, a search space has [[flag]] records, a plan has `model` and the \
             other options of `dyno tune`",
        );
        ("TOML".into(), vec![p])
    }
}

fn check_records(file: &str, text: &str, names: &Names, args: &Args) -> (String, Vec<Problem>, Vec<String>) {
    let value: Value = python_json::parse(text).unwrap_or(Value::Null);
    if ["architectures", "model_type", "num_hidden_layers"].iter().any(|k| value.get(k).is_some()) {
        return ("model config.json".into(), model::check_config(file, text), Vec::new());
    }
    if let Some((what, problems)) = own::json(file, text, &value) {
        return (what, problems, Vec::new());
    }
    let mut loaded = match scenario::load_text(file, text) {
        Ok(loaded) => loaded,
        Err(e) => return ("records".into(), e.problems, Vec::new()),
    };
    let mut notes = match complete(&mut loaded, &args.supplied.given(), args.data_dir.as_deref()) {
        Ok(notes) => notes,
        Err(e) => return ("records".into(), e.problems, Vec::new()),
    };
    let n = loaded.records.len();
    let records = if n == 1 { "record" } else { "records" };
    let of = loaded.tool.map_or(String::new(), |t| format!(" of {t}"));
    let paths = record_paths(&value, n);
    // A name in another tool's file may be a served one; it is a problem only in our own format.
    let unknown = |(r, path): (&Record, &String)| names.unknown(file, path, r);
    let unknown: Vec<Problem> = loaded.records.iter().zip(&paths).flat_map(unknown).collect();
    let mut problems = Vec::new();
    if loaded.tool.is_some() {
        notes.extend(unknown.iter().map(|p| format!("{}: {}", p.key, p.message)));
    } else {
        problems = unknown;
    }
    notes.extend(missing(&loaded, true).iter().map(|p| {
        format!(
            "for `dyno fit`: {} {}{}",
            p.key,
            p.message,
            p.hint.as_ref().map_or(String::new(), |h| format!(": {h}"))
        )
    }));
    let mut seen = std::collections::BTreeSet::new();
    notes.retain(|n| seen.insert(n.clone()));
    (format!("{n} {records}{of}"), problems, notes)
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
                json!({"file": f.file, "kind": f.what, "ok": problems.is_empty(), "problems": problems, "notes": f.notes})
            })
            .collect();
        out::line(format_args!("{:#}", Value::Array(all)));
        return;
    }
    for f in findings.iter().filter(|f| f.problems.is_empty()) {
        out::line(format_args!("{}: {}, good", f.file, f.what));
        for note in &f.notes {
            out::line(format_args!("  {note}"));
        }
    }
}
