//! The files that dyno itself writes, told by their keys and read by the types that write them.

use super::super::capacity::published;
use super::super::plan_file;
use crate::cost::Profile;
use crate::error::{Error, Problem};
use crate::report::{Analysis, Recommendation};
use crate::store::{Line, RunFile, read_journal};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;

/// What the file is, and every problem of it.
type Found = (String, Vec<Problem>);

/// A TOML file that is a profile, a published scenario or a plan.
pub(super) fn toml(file: &str, text: &str, value: &Value) -> Option<Found> {
    let has = |key: &str| value.get(key).is_some();
    Some(if has("group") && has("schema") {
        ("profile".into(), of(file, Profile::parse(file, text).err()))
    } else if has("scenario") || has("published") {
        ("scenario with its publication".into(), of(file, published::parse(file, text).err()))
    } else if plan_file::looks_like_one(value) {
        ("plan of `dyno tune`".into(), plan_file::check_text(file, text))
    } else {
        return None;
    })
}

/// A JSON file of a campaign's directory.
pub(super) fn json(file: &str, text: &str, value: &Value) -> Option<Found> {
    let has = |keys: &[&str]| keys.iter().all(|k| value.get(k).is_some());
    if has(&["run_id", "plan"]) {
        return Some(("plan of a campaign".into(), read::<RunFile>(file, "", text)));
    }
    if has(&["command", "improvement", "trials_run"]) {
        return Some(("recommendation".into(), read::<Recommendation>(file, "", text)));
    }
    if has(&["ramps", "steps"]) {
        return Some(("analysis of a campaign".into(), read::<Analysis>(file, "", text)));
    }
    journal(file, text)
}

/// `trials.jsonl`: a line each.
fn journal(file: &str, text: &str) -> Option<Found> {
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    let first: Value = serde_json::from_str(lines.first()?).ok()?;
    let kind = first.get("kind").and_then(Value::as_str)?;
    if !["header", "trial", "verdict"].contains(&kind) {
        return None;
    }
    let problems =
        lines.iter().enumerate().flat_map(|(i, l)| read::<Line>(file, &format!("line {}", i + 1), l));
    let mut problems: Vec<Problem> = problems.collect();
    // A line that is not as it was written is told by its checksum.
    let path = Path::new(file);
    if let Some(dir) = path.parent().filter(|_| path.file_name().is_some_and(|n| n == "trials.jsonl"))
        && let Ok(contents) = read_journal(dir)
        && problems.is_empty()
    {
        problems.extend(contents.passed_over);
    }
    Some((format!("record of a campaign, {} lines", lines.len()), problems))
}

fn read<T: DeserializeOwned>(file: &str, place: &str, text: &str) -> Vec<Problem> {
    let mut reader = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Ok(_) => Vec::new(),
        Err(e) => {
            let path = e.path().to_string();
            let key = [place, if path == "." { "" } else { path.as_str() }];
            let key: Vec<&str> = key.into_iter().filter(|k| !k.is_empty()).collect();
            vec![Problem::new(file, key.join(": "), e.inner().to_string())]
        }
    }
}

fn of(file: &str, e: Option<Error>) -> Vec<Problem> {
    let Some(e) = e else { return Vec::new() };
    if e.problems.is_empty() { vec![Problem::new(file, "", e.what)] } else { e.problems }
}
