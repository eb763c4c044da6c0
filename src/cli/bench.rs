//! `dyno bench`: one measured run against a running or a launched engine.

mod measure;
mod saved;
mod show;

use super::interrupt::cancel_on_interrupt;
use super::out::note;
use super::server::{Lines, Route, ServerArgs, close, writable};
use crate::error::{Error, Problem, Result};
use crate::load::{Cancel, Goodput};
use crate::scenario::{Record, write_records, write_whole};
use crate::workload::{RequestRate, WorkloadSpec};
use clap::{Args, ValueEnum};
use measure::measure;
use saved::saved_result;
use show::{show, verdict};
use std::path::PathBuf;

/// Measure one workload on a running server (--base-url) or on one that this command starts (-- COMMAND).
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  dyno bench --base-url http://127.0.0.1:8000 --workload random:512/64,n=200,concurrency=16 --out run.json\n  dyno bench --workload sharegpt:cached,n=500,rate=4 --goodput ttft:500ms tpot:50ms -- vllm serve Qwen/Qwen3-8B"
)]
pub(super) struct BenchArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// sharegpt:FILE or sharegpt:cached (the real text), sharegpt-lengths (its lengths with random token ids), short, medium,
    /// long, very-long, random:IN/OUT, trace:FILE, custom:FILE or chat, each with
    /// `,n=500,seed=42,rate=inf,concurrency=256,...`; a weighted mixture of them:
    /// `mix:0.7*sharegpt+0.3*random:2000/100;prefix=512,n=200` (settings of one part after `;`)
    #[arg(long, help_heading = "Load")]
    workload: WorkloadSpec,
    /// Most requests in flight
    #[arg(long, help_heading = "Load")]
    max_concurrency: Option<u32>,
    /// Requests per second, or inf
    #[arg(long, help_heading = "Load")]
    request_rate: Option<RequestRate>,
    /// Gamma shape of the gaps between arrivals: 1 is Poisson, below 1 burstier
    #[arg(long, help_heading = "Load")]
    burstiness: Option<f64>,
    /// Number of requests, in place of the workload's own
    #[arg(long, help_heading = "Load")]
    num_prompts: Option<u32>,
    /// Seed of lengths, prompts and arrivals, in place of the workload's own
    #[arg(long, help_heading = "Load")]
    seed: Option<u64>,
    /// The route that is measured
    #[arg(long, value_enum, default_value_t = Route::Completions, help_heading = "Requests")]
    endpoint: Route,
    /// How tokens are counted
    #[arg(long, value_enum, default_value_t = Count::Usage, help_heading = "Requests")]
    counting: Count,
    /// Let answers end at their own end-of-sequence token instead of the planned length
    #[arg(long, help_heading = "Requests")]
    honor_eos: bool,
    /// JSON object added to every request
    #[arg(long, value_name = "JSON", help_heading = "Requests")]
    extra_body: Option<String>,
    /// Bounds of a good request, in milliseconds or with a unit: ttft:500 tpot:50ms e2el:10s
    #[arg(long, num_args = 1.., value_name = "NAME:TIME", help_heading = "Results")]
    goodput: Vec<String>,
    /// Requests sent before the clock starts, with prompts of their own
    #[arg(long, default_value_t = 1, help_heading = "Load")]
    warmups: u32,
    /// Measure the same requests once more, warm, and print what the prefix cache makes of them
    #[arg(long, help_heading = "Load")]
    cache_control: bool,
    /// First measure the client itself at this load, on a server whose times are known; takes some seconds
    #[arg(long, help_heading = "Client")]
    calibrate: bool,
    /// Leave the server's prefix cache as it is before the run
    #[arg(long, help_heading = "Load")]
    keep_cache: bool,
    /// Time from the send of a request to the end of its answer, in seconds or as 10m
    #[arg(long, default_value = "6h", value_parser = super::duration::seconds, help_heading = "Requests")]
    request_timeout: f64,
    /// Time allowed for the whole run, in seconds or as 10m
    #[arg(long, value_parser = super::duration::seconds, help_heading = "Requests")]
    run_timeout: Option<f64>,
    /// Client threads; chosen by the number in flight when absent
    #[arg(long, value_parser = threads, help_heading = "Client")]
    threads: Option<usize>,
    /// Run the client at the lowest real-time priority where the system permits: for a server that computes on this
    /// machine's CPU and keeps its cores busy while it waits. `dyno trial`, `dyno tune` and `dyno ramp` do so on
    /// the hardware `cpu`; the result says it under client.real_time
    #[arg(long, help_heading = "Client")]
    real_time: bool,
    /// Write the requests, one a line, in the form that custom:FILE reads
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    save_requests: Option<PathBuf>,
    /// Also write the result as `vllm bench serve --save-result --save-detailed` would
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    save_result: Option<PathBuf>,
    /// Label of the result, in --save-result
    #[arg(long, help_heading = "Results")]
    label: Option<String>,
    /// Name of the tokenizer, in --save-result; the model's when absent
    #[arg(long, help_heading = "Results")]
    tokenizer: Option<String>,
    /// Further keys of --save-result
    #[arg(long, num_args = 1.., value_name = "KEY=VALUE", value_parser = pair, help_heading = "Results")]
    metadata: Vec<(String, String)>,
    #[command(flatten, next_help_heading = "Results")]
    metrics: super::metrics::MetricsArgs,
    /// Print the observation as JSON instead of the block
    #[arg(long, help_heading = "Results")]
    json: bool,
    /// Write the observation with every request's timing here
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Count {
    /// Totals at the end of each answer
    Usage,
    /// Running totals in every chunk
    Continuous,
    /// Ids of every chunk
    Ids,
}

/// Checked arguments.
struct Plan {
    workload: WorkloadSpec,
    goodput: Option<Goodput>,
    extra_body: serde_json::Map<String, serde_json::Value>,
}

/// More threads than this only wait for each other.
fn threads(text: &str) -> std::result::Result<usize, String> {
    let range = 1..=1024;
    text.parse().ok().filter(|n| range.contains(n)).ok_or_else(|| "must be a number from 1 to 1024".into())
}

pub(super) fn run(args: BenchArgs) -> Result<()> {
    let plan = plan(&args)?;
    for path in args.out.iter().chain(&args.save_requests).chain(&args.save_result) {
        writable(path)?;
    }
    let cancel = Cancel::new();
    cancel_on_interrupt(&cancel)?;
    args.metrics.start(|text| note(text))?;
    let log = args.out.as_ref().map(|out| out.with_extension("server.log"));
    let mut session = args.server.open(log, &cancel, &Lines)?;
    let measured = measure(&args, &plan, &mut session, &cancel);
    close(session, args.out.is_some() || measured.as_ref().map_or(true, |m| m.run.failure.is_some()));
    let measured = measured?;
    let records: Vec<Record> = std::iter::once(&measured.record)
        .chain(measured.repeated.as_ref().map(|(_, record)| record))
        .cloned()
        .collect();
    if let Some(out) = &args.out {
        write_records(out, &records)?;
    }
    if let Some(path) = &args.save_result {
        write_whole(path, &saved_result(&args, &measured.record).to_string())?;
    }
    show(&args, &plan, &measured, &records)?;
    verdict(&measured.run)
}

/// `KEY=VALUE`.
fn pair(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("is not KEY=VALUE".into()),
    }
}

fn plan(args: &BenchArgs) -> Result<Plan> {
    let mut workload = args.workload.clone();
    workload.max_concurrency = args.max_concurrency.or(workload.max_concurrency);
    workload.request_rate = args.request_rate.unwrap_or(workload.request_rate);
    workload.burstiness = args.burstiness.or(workload.burstiness);
    workload.num_prompts = args.num_prompts.or(workload.num_prompts);
    workload.seed = args.seed.or(workload.seed);
    let mut problems = workload.problems("--workload");
    let mut extra_body = serde_json::Map::new();
    if let Some(text) = &args.extra_body {
        match serde_json::from_str(text) {
            Ok(map) => extra_body = map,
            Err(e) => problems.push(Problem::new("--extra-body", "", format!("is not a JSON object: {e}"))),
        }
    }
    let goodput = goodput(&args.goodput, &mut problems);
    if problems.is_empty() {
        Ok(Plan { workload, goodput, extra_body })
    } else {
        Err(Error::problems("the run cannot be planned", problems))
    }
}

/// `ttft:500 tpot:50`, as `vllm bench serve` takes it.
fn goodput(parts: &[String], problems: &mut Vec<Problem>) -> Option<Goodput> {
    let mut bounds = Goodput::default();
    for part in parts {
        let (name, value) = part.split_once([':', '=']).unwrap_or((part, ""));
        // A bare number is of milliseconds, as `vllm bench serve` has it.
        let unit = || super::duration::seconds(value).ok().map(|s| s * 1e3);
        let bound = value.parse::<f64>().ok().or_else(unit).filter(|v| *v > 0.0);
        let place = match name {
            "ttft" => &mut bounds.ttft_ms,
            "tpot" => &mut bounds.tpot_ms,
            "e2el" => &mut bounds.e2el_ms,
            _ => {
                problems.push(Problem::new("--goodput", part, "is none of ttft:TIME, tpot:TIME, e2el:TIME"));
                continue;
            }
        };
        if bound.is_none() {
            problems.push(Problem::new(
                "--goodput",
                part,
                "needs a time above 0, such as 500 (milliseconds) or 2s",
            ));
        }
        *place = bound;
    }
    (!parts.is_empty()).then_some(bounds)
}
