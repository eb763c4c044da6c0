//! `dyno fit`: the cost model fitted to observations, written as a profile.

use super::completion::{Supplied, complete, missing};
use super::fit_steps::StepArgs;
use super::secrets::without_secrets;
use crate::cost::fit::fit_with_steps;
use crate::cost::{Catalogs, Profile};
use crate::error::{Error, Problem, Result};
use crate::launch::EngineKind;
use crate::scenario::{Key, Record, expand_sources, load, write_whole};
use crate::workload::{RequestRate, WorkloadSpec};
use comfy_table::Table;
use std::path::PathBuf;

/// Fit the cost model to observations and write a profile.
///
/// Observations of several models, devices or engines make one group each; a scenario of a group that was not
/// measured is predicted from the groups that share most with it. Result files of other load tools are read too; what
/// they lack, the options supply.
#[derive(Debug, clap::Args)]
pub(super) struct FitArgs {
    /// Files of observations or of results (vllm bench serve, sglang.bench_serving, guidellm, aiperf, inference-perf,
    /// llm-d, InferenceX, CSV), patterns such as 'runs/*.json', or directories of results
    #[arg(value_name = "FILE", required_unless_present_any = ["observations", "steps"])]
    files: Vec<PathBuf>,
    /// The same, as an option
    #[arg(long, num_args = 1..)]
    observations: Vec<PathBuf>,
    /// Keep only observations with this key and value (model, hardware, engine, engine_version, num_gpus,
    /// serve_command, dataset, input_len, output_len, max_concurrency); all that are given must hold
    #[arg(long = "where", value_name = "KEY=VALUE")]
    filters: Vec<String>,
    /// Model of the runs, where the files do not say it (or of the launch behind --steps)
    #[arg(long)]
    model: Option<String>,
    /// Hardware of the runs, where the files do not say it
    #[arg(long)]
    hardware: Option<String>,
    /// Engine of the runs, where the files do not say it, and of --steps: vllm, sglang or trtllm
    #[arg(long)]
    engine: Option<EngineKind>,
    /// Release of the engine
    #[arg(long)]
    engine_version: Option<String>,
    /// The command that the runs' server was started with, where the files do not say it
    #[arg(long)]
    serve_command: Option<String>,
    /// GPUs of the launch
    #[arg(long)]
    num_gpus: Option<u32>,
    /// What was sent, where the files do not say it, such as random:2000/200
    #[arg(long)]
    workload: Option<WorkloadSpec>,
    #[command(flatten)]
    steps: StepArgs,
    /// Profile to write (TOML)
    #[arg(short = 'o', long = "out")]
    out: PathBuf,
    /// Directory with hardware/, models/, search-spaces/ that add to or replace the embedded ones
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

impl FitArgs {
    fn supplied(&self) -> Supplied<'_> {
        Supplied {
            model: self.model.as_deref(),
            hardware: self.hardware.as_deref(),
            engine: self.engine,
            engine_version: self.engine_version.as_deref(),
            num_gpus: self.num_gpus,
            serve_command: self.serve_command.as_deref(),
            flags: &[],
        }
    }

    /// Every record of every file, completed; what is said of them goes to stderr.
    fn records(&self) -> Result<Vec<Record>> {
        let given: Vec<PathBuf> = self.files.iter().chain(&self.observations).cloned().collect();
        let (mut records, mut problems) = (Vec::new(), Vec::new());
        for path in expand_sources(&given)? {
            let mut loaded = match load(&path) {
                Ok(loaded) => loaded,
                Err(e) if !e.problems.is_empty() => {
                    problems.extend(e.problems);
                    continue;
                }
                Err(e) => return Err(e),
            };
            for note in complete(&mut loaded, &self.supplied(), self.data_dir.as_deref())? {
                super::out::note(format_args!("dyno: {}: {note}", loaded.file));
            }
            for r in loaded.records.iter_mut().filter(|r| r.requests.is_none()) {
                fill_workload(r, self.workload.as_ref());
            }
            loaded.records.retain(|r| r.failure.is_none());
            problems.extend(missing(&loaded, true));
            records.extend(loaded.records);
        }
        if problems.is_empty() {
            Ok(without_secrets(records))
        } else {
            Err(Error::problems("the files lack what a fit needs, or cannot be read", problems))
        }
    }
}

/// The requests of the given workload, with the load that the file itself tells.
fn fill_workload(r: &mut Record, given: Option<&WorkloadSpec>) {
    let Some(given) = given else { return };
    let own = r.workload.take();
    let mut w = given.clone();
    if let Some(own) = own {
        w.num_prompts = own.num_prompts.or(w.num_prompts);
        w.max_concurrency = own.max_concurrency.or(w.max_concurrency);
        if w.request_rate == RequestRate::Inf {
            w.request_rate = own.request_rate;
        }
        w.total_input_tokens = own.total_input_tokens;
        w.total_output_tokens = own.total_output_tokens;
    }
    r.workload = Some(w);
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
    let mut records = args.records()?;
    let read = records.len();
    records.retain(|r| r.result.is_some() && filters.iter().all(|(k, v)| field(r, k).as_deref() == Some(v)));
    if records.is_empty() && read > 0 {
        return Err(Error::usage(format!("none of the {read} records has a result and passes the filters"))
            .hint("--where takes exact values, such as --where hardware=a100-sxm-80gb"));
    }
    let logs = args.steps.read(&records, &args.supplied())?;
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
        t.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
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
