//! `dyno fit`: the cost model fitted to observations, written as a profile.

use super::fit_steps::StepArgs;
use crate::cost::fit::fit_with_steps;
use crate::cost::{Catalogs, Profile};
use crate::error::{Error, Problem, Result};
use crate::scenario::{Key, Record, read_records, write_whole};
use comfy_table::Table;
use std::path::PathBuf;

/// Fit the cost model to observations and write a profile.
///
/// Observations of several models, devices or engines make one group each; a scenario of a group that was not
/// measured is predicted from the groups that share most with it.
#[derive(Debug, clap::Args)]
pub(super) struct FitArgs {
    /// JSON files of observations
    #[arg(long, required_unless_present = "steps", num_args = 1..)]
    observations: Vec<PathBuf>,
    /// Keep only observations with this key and value (model, hardware, engine, engine_version, num_gpus,
    /// serve_command, dataset, input_len, output_len, max_concurrency); all that are given must hold
    #[arg(long = "where", value_name = "KEY=VALUE")]
    filters: Vec<String>,
    #[command(flatten)]
    steps: StepArgs,
    /// Profile to write (TOML)
    #[arg(short = 'o', long = "out")]
    out: PathBuf,
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

const KEYS: &[&str] = &[
    "model",
    "hardware",
    "engine",
    "engine_version",
    "num_gpus",
    "serve_command",
    "dataset",
    "input_len",
    "output_len",
    "max_concurrency",
];

pub(super) fn run(args: FitArgs) -> Result<()> {
    let filters = filters(&args.filters)?;
    let mut records = Vec::new();
    for path in &args.observations {
        records.extend(read_records(path)?);
    }
    let read = records.len();
    records.retain(|r| r.result.is_some() && filters.iter().all(|(k, v)| field(r, k).as_deref() == Some(v)));
    if records.is_empty() && !args.observations.is_empty() {
        return Err(Error::usage(format!("none of the {read} records has a result and passes the filters"))
            .hint("--where takes exact values, such as --where hardware=a100-sxm-80gb"));
    }
    let logs = args.steps.read(&records)?;
    let mut profile = fit_with_steps(&records, &logs, &Catalogs::load(args.data_dir.as_deref())?)?;
    profile.provenance = records.iter().filter_map(|r| r.source.clone()).collect();
    profile.provenance.extend(args.steps.provenance());
    profile.provenance.dedup();
    write_whole(&args.out, &profile.to_toml()?)?;
    super::out::line(residuals(&profile));
    Ok(())
}

fn filters(given: &[String]) -> Result<Vec<(String, String)>> {
    let mut out = Vec::new();
    let mut problems = Vec::new();
    for f in given {
        match f.split_once('=') {
            Some((k, v)) if KEYS.contains(&k) => out.push((k.to_owned(), v.to_owned())),
            Some((k, _)) => {
                problems.push(
                    Problem::new("--where", k, "unknown key").hint(format!("known: {}", KEYS.join(", "))),
                );
            }
            None => problems.push(Problem::new("--where", f, "not of the form KEY=VALUE")),
        }
    }
    if problems.is_empty() { Ok(out) } else { Err(Error::problems("the filters have problems", problems)) }
}

fn field(r: &Record, key: &str) -> Option<String> {
    let w = r.workload.as_ref();
    match key {
        "model" => r.model.clone(),
        "hardware" => r.hardware.clone(),
        "engine" => r.engine.map(|e| e.id().to_owned()),
        "engine_version" => r.engine_version.clone(),
        "num_gpus" => r.num_gpus.map(|n| n.to_string()),
        "serve_command" => r.serve_command.clone(),
        "dataset" => w.map(|w| w.dataset.id().to_owned()),
        "input_len" => w?.input_len.map(|n| n.to_string()),
        "output_len" => w?.output_len.map(|n| n.to_string()),
        "max_concurrency" => w?.max_concurrency.map(|n| n.to_string()),
        _ => None,
    }
}

/// The error of each observation after the fit, and what the data did not identify.
fn residuals(profile: &Profile) -> String {
    let mut text = String::new();
    for g in &profile.groups {
        let mut t = Table::new();
        t.load_style(comfy_table::presets::NOTHING);
        t.set_header(["observation", "throughput", "TTFT", "TPOT", "ITL"]);
        for r in &g.residuals {
            let part = |k: Key| {
                let error = r.log_ratio.get(k.name()).map(|v| 100.0 * ((-v).exp() - 1.0));
                error.map_or("-".to_owned(), |e| format!("{e:+.1} %"))
            };
            t.add_row([
                r.label.clone(),
                part(Key::TotalTokenThroughput),
                part(Key::MeanTtftMs),
                part(Key::MeanTpotMs),
                part(Key::MeanItlMs),
            ]);
        }
        let steps = super::fit_steps::table(&g.steps);
        text += &format!(
            "{} on {} with {}: {} observations, misfit {:.0} -> {:.0}\n{t}\n{steps}  not identified by these data (left at the prior): {}\n\n",
            g.model,
            g.hardware,
            g.engine,
            g.observations,
            g.cost_before,
            g.cost_after,
            g.unidentified.join(", ")
        );
    }
    text + "(simulated against measured, after the fit)"
}
