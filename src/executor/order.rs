//! What goes out in a job and what comes back.

use super::channel;
use super::contract::Job;
use crate::error::{Error, Result};
use crate::launch::quote;
use crate::trial::{TrialResult, TrialSpec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A trial for another machine: the specification, and what it reads that only the tuner has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Name of the job.
    pub job: String,
    /// Release of the tuner: another one may mean other things by the same words.
    pub dyno_version: String,
    pub spec: TrialSpec,
    /// Files by the names that the specification has for them, with their text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

/// The first line of a report: who runs the trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub job: String,
    pub dyno_version: String,
    pub host: String,
    /// Facts of the node, by name.
    #[serde(default)]
    pub machine: Vec<(String, String)>,
}

/// A file of the launch, such as the engine's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileText {
    pub name: String,
    pub text: String,
}

/// What a job's output says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    pub hello: Option<Hello>,
    /// Why dyno there did not take the order.
    pub refused: Option<String>,
    pub files: Vec<FileText>,
    pub result: Option<Box<TrialResult>>,
}

impl Report {
    /// What the output of the job with this name holds of its report.
    pub fn read(job: &str, output: &str) -> Report {
        let mut report = Report::default();
        for (kind, json) in channel::read(output) {
            match kind {
                "hello" => {
                    let hello = serde_json::from_str::<Hello>(json).ok();
                    report.hello = hello.filter(|h| h.job == job).or(report.hello);
                }
                "refused" => report.refused = serde_json::from_str(json).ok(),
                "file" => report.files.extend(serde_json::from_str::<FileText>(json).ok()),
                "result" => report.result = serde_json::from_str(json).ok().or(report.result),
                _ => {}
            }
        }
        report
    }
}

/// The job of an order; `programs` are tried as dyno on the node, in their order.
///
/// Errors: an order that is no JSON.
pub fn job(programs: &[String], order: &Order) -> Result<Job> {
    let json = serde_json::to_string(order)
        .map_err(|e| Error::failed("the trial cannot be written for another machine").source(e))?;
    let command = format!("{}exec \"$dyno\" trial --job -", found(programs));
    Ok(Job { name: order.job.clone(), command, order: json, gpus: order.spec.num_gpus })
}

/// The lines of a shell that set `$dyno` to the first of the programs that the node has, or end there.
pub(super) fn found(programs: &[String]) -> String {
    let names: Vec<String> = programs.iter().map(|p| quote(p)).collect();
    let said = programs.join(", ").replace(['"', '$', '`', '\\'], "_");
    format!(
        "for dyno in {}; do\n  command -v \"$dyno\" >/dev/null 2>&1 && break\n  dyno=\ndone\n\
         if [ -z \"$dyno\" ]; then\n  echo \"dyno-job: no dyno on $(hostname): tried {said}\"\n  exit 127\nfi\n",
        names.join(" ")
    )
}
