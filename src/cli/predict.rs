//! `dyno predict`: what scenarios would give, without running them.

use super::completion::{Supplied, complete, missing, program};
use super::prediction;
use super::secrets::without_secrets;
use crate::cost::{Catalogs, Interval, Prediction, Predictor, Profile};
use crate::engine::{told, wrong_values};
use crate::error::{Error, Kind, Problem, Result};
use crate::launch::{EngineKind, GpuLayout};
use crate::scenario::{AcceptanceInput, Record, RequestRow, load, read_beside};
use crate::workload::WorkloadSpec;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Predict throughput and latency of scenarios without running them.
///
/// Scenarios come from a file, or one is put together from --model, --hardware, --engine and --workload, with
/// the engine's own flags after `--`. Without a profile the physical prior answers, with wide intervals.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  dyno predict --model openai/gpt-oss-20b --hardware h100-sxm-80gb --workload random:2000/200,n=300,concurrency=64\n  dyno predict --profile run/profile.toml --scenarios scenarios.json --json"
)]
pub(super) struct PredictArgs {
    /// Fitted profile (`dyno fit`, or `profile.toml` of a campaign)
    #[arg(long)]
    profile: Option<PathBuf>,
    /// File of scenarios, of observations or of another load tool's results (results are not looked at); what it lacks,
    /// --model, --hardware, --engine, --serve-command and --workload supply
    #[arg(long, required_unless_present = "model")]
    scenarios: Option<PathBuf>,
    #[command(flatten)]
    one: Launch,
    /// Print JSON only
    #[arg(long)]
    json: bool,
    /// Return every request's timing too
    #[arg(long)]
    per_request: bool,
    /// Simulated draws of the coefficients behind each interval
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(..=10_000))]
    draws: u32,
    /// Seed of lengths, arrivals and draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Directory with hardware/ and models/ that are laid over the embedded ones
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

/// One launch on the command line.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Launch {
    /// Hub name or directory of the model
    #[arg(long, help_heading = "Launch")]
    pub(super) model: Option<String>,
    /// Hardware id, such as a100-sxm-80gb (`dyno list hardware`)
    #[arg(long, help_heading = "Launch")]
    pub(super) hardware: Option<String>,
    /// vllm (the default), sglang, trtllm or emulated
    #[arg(long, help_heading = "Launch")]
    pub(super) engine: Option<EngineKind>,
    /// The whole serving command, in place of --engine and flags after `--`
    #[arg(long, conflicts_with = "flags", help_heading = "Launch")]
    pub(super) serve_command: Option<String>,
    /// Release of the engine [default: one that `dyno list engines` names]
    #[arg(long, help_heading = "Launch")]
    pub(super) engine_version: Option<String>,
    /// GPUs of the launch [default: as its flags ask for]
    #[arg(long, help_heading = "Launch")]
    pub(super) num_gpus: Option<u32>,
    /// GPUs of one node, where the launch is larger than one
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Launch")]
    pub(super) gpus_per_node: Option<u32>,
    /// Bandwidth between nodes for each GPU in one direction, GB/s (50 is a port of 400 Gbit/s)
    #[arg(long, value_name = "GBPS", requires = "gpus_per_node", help_heading = "Launch")]
    pub(super) node_link_gbps: Option<f64>,
    /// Workload such as sharegpt-lengths or random:2000/100,n=500,concurrency=64; without rate or concurrency all requests are
    /// sent at once; repeatable
    #[arg(long, help_heading = "Launch")]
    pub(super) workload: Vec<WorkloadSpec>,
    /// How many speculated tokens hold, where the launch speculates: a rate a token (0.7), or by position (0.8,0.6,0.4)
    #[arg(long, help_heading = "Launch")]
    pub(super) acceptance: Option<AcceptanceInput>,
    /// The engine's own flags
    #[arg(last = true)]
    pub(super) flags: Vec<String>,
}

impl Launch {
    /// The scenarios of a file, completed by the options, with what is to be said of them; without a file the one that
    /// the options describe.
    pub(super) fn scenarios(
        &self,
        path: Option<&Path>,
        data_dir: Option<&Path>,
    ) -> Result<(Vec<Record>, Vec<String>)> {
        let Some(path) = path else { return Ok((without_secrets(self.records()?), Vec::new())) };
        let mut loaded = load(path)?;
        for r in &mut loaded.records {
            r.acceptance = self.acceptance.clone().or(r.acceptance.take());
            r.gpus_per_node = self.gpus_per_node.or(r.gpus_per_node);
            r.node_link_gbps = self.node_link_gbps.or(r.node_link_gbps);
        }
        let supplied = Supplied {
            model: self.model.as_deref(),
            hardware: self.hardware.as_deref(),
            engine: self.engine,
            engine_version: self.engine_version.as_deref(),
            num_gpus: self.num_gpus,
            serve_command: self.serve_command.as_deref(),
            flags: &self.flags,
        };
        let notes = complete(&mut loaded, &supplied, data_dir)?;
        match self.workload.as_slice() {
            [] => {}
            [one] => {
                for r in &mut loaded.records {
                    (r.workload, r.requests) = (Some(one.clone()), None);
                }
            }
            _ => {
                return Err(Error::usage(
                    "several --workload beside a file: one stands for all of its scenarios",
                ));
            }
        }
        let problems = missing(&loaded, true);
        if problems.is_empty() {
            Ok((without_secrets(loaded.records), notes))
        } else {
            Err(Error::problems("the scenarios lack what a prediction needs", problems))
        }
    }

    /// One record a workload; without any workload, the lengths of ShareGPT sent at once.
    fn records(&self) -> Result<Vec<Record>> {
        let workloads = if self.workload.is_empty() {
            "sharegpt-lengths".parse().map(|w| vec![w]).unwrap_or_default()
        } else {
            self.workload.clone()
        };
        if self.hardware.is_none() {
            return Err(Error::usage("--hardware is missing")
                .hint("an id of `dyno list hardware`, such as h100-sxm-80gb"));
        }
        let model = self.model.clone().unwrap_or_default();
        let said = self.serve_command.as_deref().and_then(crate::scenario::engine_of);
        let engine = self.engine.or(said).unwrap_or(EngineKind::Vllm);
        let command = self.serve_command.clone().unwrap_or_else(|| {
            let words: Vec<String> =
                program(engine, &model).into_iter().chain(self.flags.iter().cloned()).collect();
            let mut launch = crate::launch::Launch::from_argv(&words);
            // GPUs without a word of how they share the work: tensor parallelism, as `dyno tune` launches it.
            if let Some(n) = self.num_gpus.filter(|n| *n > 1 && !GpuLayout::of(&launch).said) {
                let flag = match engine {
                    EngineKind::Sglang => "--tp-size",
                    EngineKind::Trtllm => "--tp_size",
                    EngineKind::Vllm | EngineKind::Emulated => "--tensor-parallel-size",
                };
                launch.argv.extend([flag.to_owned(), n.to_string()]);
            }
            launch.to_text()
        });
        let wrong = wrong_values(&crate::launch::Launch {
            engine: Some(engine),
            ..crate::launch::Launch::parse(&command)
        });
        if !wrong.is_empty() {
            let problem = |(flag, why): (String, String)| Problem::new(format!("--{flag}"), "", why);
            let problems = wrong.into_iter().map(problem).collect();
            return Err(Error::problems("the engine would refuse these flags", problems));
        }
        let mut records: Vec<Record> = workloads
            .into_iter()
            .map(|w| Record {
                engine: Some(engine),
                engine_version: self.engine_version.clone(),
                serve_command: Some(command.clone()),
                model: self.model.clone(),
                hardware: self.hardware.clone(),
                num_gpus: self.num_gpus,
                gpus_per_node: self.gpus_per_node,
                node_link_gbps: self.node_link_gbps,
                acceptance: self.acceptance.clone(),
                workload: Some(w),
                ..Record::default()
            })
            .collect();
        read_beside(&mut records, &[Path::new("")]);
        Ok(records)
    }
}

/// The profile of a file.
pub(super) fn read_profile(path: Option<&Path>) -> Result<Option<Profile>> {
    let Some(path) = path else { return Ok(None) };
    let text = crate::host::read_text(path, crate::host::SETTINGS_LIMIT)
        .map_err(|e| Error::usage("the profile cannot be read").at(path.display()).source(e))?;
    Profile::parse(&path.display().to_string(), &text).map(Some)
}

pub(super) fn run(args: PredictArgs) -> Result<()> {
    let dir = args.data_dir.as_deref();
    let (records, said) = args.one.scenarios(args.scenarios.as_deref(), dir)?;
    for note in said.iter().chain(&workload_notes(&records)) {
        super::out::note(format_args!("dyno: {note}"));
    }
    let catalogs = Catalogs::load(dir)?;
    let profile = read_profile(args.profile.as_deref())?;
    let predictor =
        Predictor { draws: args.draws, seed: args.seed, ..Predictor::new(&catalogs, profile.as_ref()) };
    let outcomes: Vec<Result<Prediction>> =
        records.iter().map(|r| predictor.predict(r, args.per_request || is_mixture(r))).collect();
    for (i, o) in outcomes.iter().enumerate() {
        match o {
            Err(e) if e.kind != Kind::Infeasible => return Err(Error::usage(format!("scenario {i}: {e}"))),
            _ => {}
        }
    }
    if args.json {
        let all: Vec<Value> =
            records.iter().zip(&outcomes).map(|(r, o)| to_json(r, o, args.per_request, &catalogs)).collect();
        super::out::line(serde_json::to_string_pretty(&all).unwrap_or_default());
    } else {
        super::out::line(prediction::text(&records, &outcomes));
    }
    let mut said = Vec::new();
    for (i, (r, o)) in records.iter().zip(&outcomes).enumerate() {
        let own = o.as_ref().map_or(&[][..], |p| p.notes.as_slice());
        said.extend(told(r, &catalogs.models).into_iter().filter(|n| !own.contains(n)).map(|n| (i, n)));
        let Ok(p) = o else { continue };
        if profile.is_none() || !p.basis.starts_with("a fit") {
            said.push((i, format!("rests on {}", p.basis)));
        }
        if !args.json {
            said.push((i, p.kv_room.to_string()));
        }
        said.extend(own.iter().map(|n| (i, n.clone())));
    }
    for note in prediction::notes(records.len(), said) {
        super::out::note(format_args!("dyno: {note}"));
    }
    if !outcomes.is_empty() && outcomes.iter().all(Result::is_err) {
        return Err(Error::infeasible("no scenario can run"));
    }
    Ok(())
}

/// What reading the files of the workloads left out, each thing once.
pub(super) fn workload_notes(records: &[Record]) -> Vec<String> {
    let all: std::collections::BTreeSet<String> =
        records.iter().filter_map(|r| r.workload.as_ref()).flat_map(crate::workload::notes).collect();
    all.into_iter().collect()
}

fn is_mixture(record: &Record) -> bool {
    record.requests.is_none() && record.workload.as_ref().is_some_and(|w| !w.parts().is_empty())
}

fn to_json(record: &Record, outcome: &Result<Prediction>, per_request: bool, catalogs: &Catalogs) -> Value {
    let mut record = record.clone();
    record.result = None;
    let p = match outcome {
        Ok(p) => p,
        Err(e) => {
            record.failure = Some(e.what.clone());
            let mut value = serde_json::to_value(&record).unwrap_or_default();
            value["gpus"] = json!(gpus(&record, catalogs));
            value["notes"] = json!(told(&record, &catalogs.models));
            return value;
        }
    };
    let parts =
        record.workload.as_ref().filter(|_| is_mixture(&record)).map(|w| parts(w, &p.simulated.requests));
    if per_request && !p.simulated.requests.is_empty() {
        record.requests = Some(p.simulated.requests.iter().map(row).collect());
    }
    let mut value = serde_json::to_value(&record).unwrap_or_default();
    let predicted: Map<String, Value> =
        p.values.iter().map(|(k, v)| (k.name().to_owned(), json!(rounded(*v)))).collect();
    if let Some(o) = value.as_object_mut() {
        o.insert("predicted".into(), Value::Object(predicted));
        if let Some(parts) = parts {
            o.insert("predicted_components".into(), parts);
        }
        o.insert("binding".into(), json!(p.binding));
        o.insert("standing".into(), json!(p.standing.id()));
        o.insert("kv_pool_tokens".into(), json!(p.kv_pool_tokens));
        let concurrency = (p.kv_room.max_concurrency * 100.0).round() / 100.0;
        o.insert("max_concurrency_at_max_model_len".into(), json!(concurrency));
        o.insert("gpus".into(), json!(p.devices));
        o.insert("basis".into(), json!(p.basis));
        let said: Vec<String> =
            told(&record, &catalogs.models).into_iter().filter(|n| !p.notes.contains(n)).collect();
        o.insert("gpus".into(), json!(gpus(&record, catalogs)));
        o.insert("notes".into(), json!(p.notes.iter().chain(&said).collect::<Vec<_>>()));
    }
    value
}

/// GPUs that the record's launch takes.
fn gpus(record: &Record, catalogs: &Catalogs) -> Option<u32> {
    let hardware = catalogs.hardware.find(record.hardware.as_deref()?).ok()?;
    let model = catalogs.models.find(record.model.as_deref()?).ok()?;
    crate::engine::resolve(record, hardware, &model).ok().map(|c| c.gpus())
}

/// What each part of a mixture would see: means and 99th percentiles of the central simulation.
fn parts(workload: &WorkloadSpec, requests: &[crate::sim::RequestOutcome]) -> Value {
    let Ok(part_of) = crate::workload::part_of_each(workload) else { return Value::Null };
    let figures = |(i, part): (usize, &crate::workload::Component)| {
        let mine = requests.iter().zip(&part_of).filter(|(r, p)| **p == i && !r.failed).map(|(r, _)| r);
        let mine: Vec<&crate::sim::RequestOutcome> = mine.collect();
        let mut all =
            json!({"workload": part.workload.label(), "weight": part.weight, "completed": mine.len()});
        let mut put = |name: &str, mut values: Vec<f64>| {
            if !values.is_empty() {
                values.sort_by(f64::total_cmp);
                let r = |x: f64| format!("{x:.6e}").parse::<f64>().unwrap_or(x);
                all[format!("mean_{name}_ms")] = json!(r(crate::stats::mean(&values)));
                all[format!("p99_{name}_ms")] = json!(r(crate::stats::quantile_sorted(&values, 0.99)));
            }
        };
        put("ttft", mine.iter().map(|r| r.ttft().millis()).collect());
        let tpot = |r: &&crate::sim::RequestOutcome| {
            let after_first = r.output_tokens.checked_sub(1).filter(|n| *n > 0)?;
            Some((r.e2e().millis() - r.ttft().millis()) / f64::from(after_first))
        };
        put("tpot", mine.iter().filter_map(tpot).collect());
        put("e2el", mine.iter().map(|r| r.e2e().millis()).collect());
        all
    };
    workload.parts().iter().enumerate().map(figures).collect()
}

fn row(r: &crate::sim::RequestOutcome) -> RequestRow {
    RequestRow {
        arrival_s: r.arrival.secs(),
        input_tokens: r.input_tokens,
        output_tokens: r.output_tokens,
        ttft_s: (!r.failed).then(|| r.ttft().secs()),
        e2e_s: (!r.failed).then(|| r.e2e().secs()),
        queue_s: (!r.failed).then(|| r.queue().secs()),
        error: r.failed.then(|| "refused or never finished".to_owned()),
        ..RequestRow::default()
    }
}

/// Seven significant digits: more would be noise in a file.
fn rounded(v: Interval) -> Interval {
    let r = |x: f64| format!("{x:.6e}").parse().unwrap_or(x);
    Interval { value: r(v.value), p05: r(v.p05), p95: r(v.p95) }
}
