//! Per-step telemetry of `dyno fit`: which file, of which launch, and the residuals by kind of step.

use super::completion::Supplied;
use crate::cost::steps::{StepLog, StepResidual};
use crate::engine::steps;
use crate::error::{Error, Result};
use crate::launch::EngineKind;
use crate::scenario::Record;
use comfy_table::Table;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct StepArgs {
    /// What an engine told of its steps: a log of vLLM with --enable-logging-iteration-details (0.14 and later), any log
    /// of SGLang, or TensorRT-LLM's log with print_iter_log or saved JSON of /metrics with
    /// enable_iter_perf_stats. The launch is that of the first observation of this engine, or as
    /// --model, --hardware and --serve-command say
    #[arg(long, num_args = 1.., requires = "engine")]
    steps: Vec<PathBuf>,
}

impl StepArgs {
    /// The steps of every file, with the launch that they are of.
    pub(super) fn read(&self, observations: &[Record], of: &Supplied<'_>) -> Result<Vec<StepLog>> {
        let Some(engine) = of.engine else { return Ok(Vec::new()) };
        if self.steps.is_empty() {
            return Ok(Vec::new());
        }
        let launch = launch_of(engine, observations, of)?;
        let log = |path: &PathBuf| {
            let text = crate::host::read_bounded(path, crate::host::RECORDS_LIMIT).map_err(|e| {
                Error::usage("the step telemetry cannot be read").at(path.display()).source(e)
            })?;
            let rows = steps::read(engine, &String::from_utf8_lossy(&text));
            if rows.is_empty() {
                return Err(Error::usage(format!("nothing here tells of steps of {engine}"))
                    .at(path.display())
                    .hint(what_turns_it_on(engine)));
            }
            Ok(StepLog { launch: launch.clone(), rows })
        };
        self.steps.iter().map(log).collect()
    }

    pub(super) fn provenance(&self) -> Vec<String> {
        self.steps.iter().map(|p| format!("step telemetry in {}", p.display())).collect()
    }
}

/// The launch behind the steps: that of the first observation of the engine, completed by the options.
fn launch_of(engine: EngineKind, observations: &[Record], of: &Supplied<'_>) -> Result<Record> {
    let owned = |t: Option<&str>| t.map(str::to_owned);
    let like = observations.iter().find(|r| {
        r.engine == Some(engine)
            && of.model.is_none_or(|m| r.model.as_deref() == Some(m))
            && of.hardware.is_none_or(|h| r.hardware.as_deref() == Some(h))
    });
    let mut launch = like.cloned().unwrap_or(Record { engine: Some(engine), ..Record::default() });
    launch.model = owned(of.model).or(launch.model);
    launch.hardware = owned(of.hardware).or(launch.hardware);
    launch.serve_command = owned(of.serve_command).or(launch.serve_command);
    launch.engine_version = owned(of.engine_version).or(launch.engine_version);
    if launch.model.is_none() || launch.hardware.is_none() {
        return Err(Error::usage("it is not known of which launch the steps are")
            .hint("give --model and --hardware (and --serve-command), or observations of the launch"));
    }
    Ok(launch)
}

fn what_turns_it_on(engine: EngineKind) -> &'static str {
    match engine {
        EngineKind::Trtllm => "set print_iter_log or enable_iter_perf_stats in its YAML",
        EngineKind::Sglang => "SGLang writes its batch lines at log level info",
        _ => "launch vLLM 0.14 or later with --enable-logging-iteration-details",
    }
}

/// Kinds of steps, those with most time first; empty when there are none.
pub(super) fn table(kinds: &[StepResidual]) -> String {
    if kinds.is_empty() {
        return String::new();
    }
    let mut sorted: Vec<&StepResidual> = kinds.iter().collect();
    let spent = |k: &StepResidual| k.steps as f64 * k.measured_ms;
    sorted.sort_by(|a, b| spent(b).total_cmp(&spent(a)));
    let total: f64 = kinds.iter().map(spent).sum();
    let mut t = Table::new();
    t.load_style(comfy_table::presets::NOTHING);
    t.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
    t.set_header(["steps of a kind", "steps", "share of time", "measured", "fitted", "error"]);
    for k in sorted.into_iter().take(12) {
        t.add_row([
            k.kind.clone(),
            k.steps.to_string(),
            format!("{:.1} %", 100.0 * spent(k) / total),
            format!("{:.2} ms", k.measured_ms),
            format!("{:.2} ms", k.fitted_ms),
            format!("{:+.1} %", 100.0 * (k.fitted_ms / k.measured_ms - 1.0)),
        ]);
    }
    format!("{t}\n")
}
