//! `dyno trial SPEC.json`: one candidate, launched, measured and stopped; prints a trial result.

mod job;

use super::interrupt::on_interrupt;
use crate::error::{Error, Kind, Problem, Result};
use crate::trial::{Event, Observer, Outcome, TrialSpec, run_trial};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Trial specification (JSON), or `-` for standard input
    spec: PathBuf,
    /// Write the result here instead of standard output
    #[arg(long)]
    out: Option<PathBuf>,
    /// SPEC is the order of a tuner on another machine, as `dyno tune --executor` gives it to a cluster; the report is printed
    /// as marked lines
    #[arg(long, hide = true, conflicts_with = "out")]
    job: bool,
    /// With --job: the order is one line of standard input, and the trial stops when that ends
    #[arg(long, hide = true, requires = "job")]
    connected: bool,
    /// Say nothing on standard error while it runs
    #[arg(long, short)]
    quiet: bool,
}

pub(super) fn run(args: Args) -> Result<()> {
    if args.job {
        return job::run(&args);
    }
    let spec = read_spec(&args.spec)?;
    for reaped in crate::process::reap(Path::new(&spec.dir)) {
        tell(args.quiet, &format!("ended what an earlier run left: {}", reaped.killed.join(", ")));
    }
    if let Some(out) = &args.out {
        // Before anything is measured: an unwritable place must not cost a trial.
        std::fs::write(out, "").map_err(|e| unwritable(out, e))?;
    }
    let cancel = on_interrupt();
    let result = run_trial(&spec, &cancel, &Lines { quiet: args.quiet });
    let json = serde_json::to_string_pretty(&result)
        .map_err(|e| Error::failed("the result cannot be written as JSON").source(e))?;
    match &args.out {
        Some(out) => std::fs::write(out, json + "\n").map_err(|e| unwritable(out, e))?,
        None => super::out::line(format_args!("{json}")),
    }
    match &result.outcome {
        Outcome::Measured { .. } => Ok(()),
        Outcome::Failed { failure, .. } => {
            let kind = if cancel.is_cancelled() { Kind::Interrupted } else { Kind::Failed };
            let what = format!(
                "trial {} failed ({}, {}): {}",
                spec.id, failure.class, failure.phase, failure.root_cause
            );
            let e = Error::new(kind, what).hint(failure.hint.clone());
            Err(match &failure.log {
                Some(log) => e.at(log),
                None => e,
            })
        }
    }
}

fn unwritable(path: &Path, e: std::io::Error) -> Error {
    Error::usage("the output file cannot be written").at(path.display()).source(e)
}

fn text_of(path: &Path) -> Result<String> {
    if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        crate::host::read_text(path, crate::host::SETTINGS_LIMIT)
    }
    .map_err(|e| Error::usage("the trial specification cannot be read").at(path.display()).source(e))
}

fn read_spec(path: &Path) -> Result<TrialSpec> {
    let name = path.display().to_string();
    let text = text_of(path)?;
    let mut json = serde_json::Deserializer::from_str(&text);
    let spec: TrialSpec = serde_path_to_error::deserialize(&mut json).map_err(|e| {
        let key = e.path().to_string();
        let key = if key == "." { String::new() } else { key };
        Error::problems(
            "the trial specification is not valid",
            vec![Problem::new(&name, key, e.inner().to_string())],
        )
    })?;
    let problems = problems(&spec, &name);
    if problems.is_empty() {
        Ok(spec)
    } else {
        Err(Error::problems("the trial specification is not valid", problems))
    }
}

fn problems(spec: &TrialSpec, file: &str) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut bad = |key: &str, message: &str| found.push(Problem::new(file, key, message));
    for (key, value) in [("ready_timeout_s", spec.ready_timeout_s), ("run_timeout_s", spec.run_timeout_s)] {
        if !(value > 0.0 && value.is_finite()) {
            bad(key, "must be a positive number of seconds");
        }
    }
    if spec.dir.is_empty() {
        bad("dir", "must name the directory for the log");
    }
    if spec.num_gpus == 0 {
        bad("num_gpus", "must be at least 1");
    }
    for (i, w) in spec.workloads.iter().enumerate() {
        found.extend(
            w.problems(&format!("workloads[{i}]"))
                .into_iter()
                .map(|p| Problem { file: file.to_owned(), ..p }),
        );
    }
    found
}

fn tell(quiet: bool, line: &str) {
    if !quiet {
        super::out::note(line);
    }
}

/// One line a step.
struct Lines {
    quiet: bool,
}

impl Observer for Lines {
    fn event(&self, event: &Event<'_>) {
        let line = match event {
            Event::Launching { argv } => format!("launch  {}", argv.join(" ")),
            Event::Ready { facts } => format!(
                "ready   after {:.1} s, version {}",
                facts.startup_s,
                facts.version.as_deref().unwrap_or("unknown")
            ),
            Event::RunStarted { workload, repeat } => format!("run     workload {workload}, repeat {repeat}"),
            Event::RunFinished { run } => {
                let note = if run.invalid.is_empty() {
                    String::new()
                } else {
                    format!(" INVALID: {}", run.invalid.join("; "))
                };
                format!("done    {:.1} s{note}", run.wall_s)
            }
            Event::Stopping => "stop".to_owned(),
            Event::Waiting { .. } | Event::Running { .. } => return,
        };
        tell(self.quiet, &line);
    }
}
