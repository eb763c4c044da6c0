//! `run.json`: what this directory is a record of.

use super::plan::Plan;
use crate::error::{Error, Problem, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Version of `run.json` and `trials.jsonl`.
pub const SCHEMA: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct RunFile {
    pub schema: u32,
    pub dyno_version: String,
    /// Marks this campaign's processes.
    pub run_id: String,
    pub created_unix_s: f64,
    pub plan: Plan,
    /// The command line that started the campaign.
    pub invocation: Vec<String>,
    /// Facts of the machine for the report: CPU, memory, operating system, driver.
    #[serde(default)]
    pub machine: Vec<(String, String)>,
}

impl RunFile {
    /// As it may be recorded and reported.
    pub fn without_secrets(&self) -> RunFile {
        RunFile {
            plan: self.plan.without_secrets(),
            invocation: crate::trial::without_secrets(&self.invocation),
            ..self.clone()
        }
    }
}

/// Writes `run.json` whole, for this user alone, without the secrets of the command line.
pub fn write_run(dir: &Path, run: &RunFile) -> Result<()> {
    let path = dir.join("run.json");
    let mut text = serde_json::to_string_pretty(&run.without_secrets())
        .map_err(|e| Error::failed("the plan cannot be written").source(e))?;
    text.push('\n');
    crate::host::write_private(&path, text.as_bytes())
        .map_err(|e| Error::failed("the plan cannot be written").at(path.display()).source(e))
}

pub fn read_run(dir: &Path) -> Result<RunFile> {
    let path = dir.join("run.json");
    let text = crate::host::read_text(&path, crate::host::SETTINGS_LIMIT).map_err(|e| {
        Error::usage("no campaign is recorded here")
            .at(path.display())
            .source(e)
            .hint("name the directory that --out named")
    })?;
    parse_run(&path.display().to_string(), &text)
}

/// As [`read_run`], of a text; `file` is its name in messages.
pub fn parse_run(file: &str, text: &str) -> Result<RunFile> {
    let schema = serde_json::from_str::<serde_json::Value>(text).ok().and_then(|v| v["schema"].as_u64());
    if schema.is_some_and(|s| s != u64::from(SCHEMA)) {
        let message = format!("is {}; this dyno reads {SCHEMA}", schema.unwrap_or_default());
        return Err(Error::problems(
            "the record is of another version",
            vec![Problem::new(file, "schema", message)],
        ));
    }
    let de = &mut serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(de).map_err(|e| {
        let problem = Problem::new(file, e.path().to_string(), e.inner().to_string());
        Error::problems("run.json cannot be read", vec![problem])
    })
}
