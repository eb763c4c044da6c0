//! `dyno bench`: one measured run against a running or a launched engine.

use super::interrupt::cancel_on_interrupt;
use super::live::show_progress;
use super::out::note;
use super::server::{Lines, Route, ServerArgs, close, writable};
use crate::error::{Error, Kind, Problem, Result};
use crate::load::{Cancel, Counting, Goodput, RunOptions, Target, block};
use crate::scenario::client_report::{ErrorFloor, rounded};
use crate::scenario::{Key, Record, to_vllm_json, write_records, write_whole};
use crate::trial::{RunPlan, Session, WatchedRun, as_error};
use crate::workload::{self, PlannedRequest, RequestRate, WorkloadSpec};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Measure one workload on a running server (--base-url) or on one that this command starts (-- COMMAND).
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// short, medium, long, very-long, sharegpt or sharegpt:FILE, random:IN/OUT, trace:FILE, custom:FILE or chat, each with
    /// `,n=500,seed=42,rate=inf,concurrency=256,...`; a weighted mixture of them:
    /// `mix:0.7*sharegpt+0.3*random:2000/100;prefix=512,n=200` (settings of one part after `;`)
    #[arg(long)]
    workload: WorkloadSpec,
    /// Most requests in flight
    #[arg(long)]
    max_concurrency: Option<u32>,
    /// Requests per second, or inf
    #[arg(long)]
    request_rate: Option<RequestRate>,
    /// Gamma shape of the gaps between arrivals: 1 is Poisson, below 1 burstier
    #[arg(long)]
    burstiness: Option<f64>,
    #[arg(long)]
    num_prompts: Option<u32>,
    #[arg(long)]
    seed: Option<u64>,
    #[arg(long, value_enum, default_value_t = Route::Completions)]
    endpoint: Route,
    /// How tokens are counted
    #[arg(long, value_enum, default_value_t = Count::Usage)]
    counting: Count,
    /// Let answers end at their own end-of-sequence token instead of the planned length
    #[arg(long)]
    honor_eos: bool,
    /// JSON object added to every request
    #[arg(long, value_name = "JSON")]
    extra_body: Option<String>,
    /// Bounds of a good request in milliseconds: ttft:500 tpot:50 e2el:10000
    #[arg(long, num_args = 1.., value_name = "NAME:MS")]
    goodput: Vec<String>,
    /// Requests sent before the clock starts, with prompts of their own
    #[arg(long, default_value_t = 1)]
    warmups: u32,
    /// Measure the same requests once more, warm, and print what the prefix cache makes of them
    #[arg(long)]
    cache_control: bool,
    /// First measure the client itself at this load, on a server whose times are known; takes some seconds
    #[arg(long)]
    calibrate: bool,
    /// Leave the server's prefix cache as it is before the run
    #[arg(long)]
    keep_cache: bool,
    /// Time from the send of a request to the end of its answer, in seconds or as 10m
    #[arg(long, default_value = "6h", value_parser = super::duration::seconds)]
    request_timeout: f64,
    /// Time allowed for the whole run, in seconds or as 10m
    #[arg(long, value_parser = super::duration::seconds)]
    run_timeout: Option<f64>,
    /// Client threads; chosen by the number in flight when absent
    #[arg(long, value_parser = threads)]
    threads: Option<usize>,
    /// Run the client at the lowest real-time priority where the system permits: for a server that computes on this
    /// machine's CPU and keeps its cores busy while it waits. `dyno trial`, `dyno tune` and `dyno ramp` do so on
    /// the hardware `cpu`; the result says it under client.real_time
    #[arg(long)]
    real_time: bool,
    /// Write the requests, one a line, in the form that custom:FILE reads
    #[arg(long, value_name = "FILE")]
    save_requests: Option<PathBuf>,
    /// Also write the result as `vllm bench serve --save-result --save-detailed` would
    #[arg(long, value_name = "FILE")]
    save_result: Option<PathBuf>,
    /// Label of the result, in --save-result
    #[arg(long)]
    label: Option<String>,
    /// Name of the tokenizer, in --save-result; the model's when absent
    #[arg(long)]
    tokenizer: Option<String>,
    /// Further keys of --save-result
    #[arg(long, num_args = 1.., value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    #[command(flatten)]
    metrics: super::metrics::MetricsArgs,
    /// Print the observation as JSON instead of the block
    #[arg(long)]
    json: bool,
    /// Write the observation with every request's timing here
    #[arg(long, value_name = "FILE")]
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

/// The result as `vllm bench serve` writes it, with what that tool knows from its command line.
fn saved_result(args: &BenchArgs, record: &Record) -> serde_json::Value {
    let mut saved = serde_json::Map::new();
    let now =
        humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + crate::host::since_epoch()).to_string();
    // 2026-11-25T18:02:00Z becomes 20261125-180200, that tool's form.
    let date: String = now.trim_end_matches('Z').replace(['-', ':'], "").replace('T', "-");
    let route = match args.endpoint {
        Route::Completions => "openai",
        Route::Chat => "openai-chat",
    };
    let text = |v: &Option<String>| v.as_ref().map_or(serde_json::Value::Null, |v| v.as_str().into());
    saved.insert("date".into(), date.into());
    saved.insert("endpoint_type".into(), route.into());
    saved.insert("backend".into(), route.into());
    saved.insert("label".into(), text(&args.label));
    saved.insert("model_id".into(), text(&record.model));
    saved.insert("tokenizer_id".into(), text(&args.tokenizer.clone().or_else(|| record.model.clone())));
    for (key, value) in &args.metadata {
        saved.insert(key.clone(), value.as_str().into());
    }
    if let serde_json::Value::Object(figures) = to_vllm_json(record) {
        for (key, value) in figures {
            saved.entry(key).or_insert(value);
        }
    }
    saved.into()
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
        let (name, value) = part.split_once(':').unwrap_or((part, ""));
        let bound = value.parse::<f64>().ok().filter(|v| *v > 0.0);
        let place = match name {
            "ttft" => &mut bounds.ttft_ms,
            "tpot" => &mut bounds.tpot_ms,
            "e2el" => &mut bounds.e2el_ms,
            _ => {
                problems.push(Problem::new("--goodput", part, "is none of ttft:MS, tpot:MS, e2el:MS"));
                continue;
            }
        };
        if bound.is_none() {
            problems.push(Problem::new("--goodput", part, "needs a positive number of milliseconds"));
        }
        *place = bound;
    }
    (!parts.is_empty()).then_some(bounds)
}

/// What a bench brings: the measured run, and with --cache-control the same requests once more.
struct Measured {
    run: WatchedRun,
    record: Record,
    repeated: Option<(WatchedRun, Record)>,
}

fn measure(args: &BenchArgs, plan: &Plan, session: &mut Session<'_>, cancel: &Cancel) -> Result<Measured> {
    let requests = workload::generate(&plan.workload, args.server.vocabulary(session))?;
    if let Some(path) = &args.save_requests {
        write_whole(path, &workload::to_jsonl(&requests))?;
    }
    let floor = args.calibrate.then(|| calibrate(args, plan, requests.len(), cancel)).transpose()?;
    if !args.keep_cache && session.has_metrics() {
        session.reset_cache();
    }
    let (mut run, mut record) = once(args, plan, session, &requests)?;
    if let Some(floor) = floor {
        run.result.metrics.client.error_floor = Some(floor);
        record.result = Some(run.result.metrics.clone());
    }
    let repeated = (args.cache_control && !run.result.cancelled && run.failure.is_none())
        .then(|| once(args, plan, session, &requests))
        .transpose()?;
    Ok(Measured { run, record, repeated })
}

/// The client's own error at the number in flight that this workload will have (all of them in an open loop, at most
/// a thousand).
fn calibrate(args: &BenchArgs, plan: &Plan, requests: usize, cancel: &Cancel) -> Result<ErrorFloor> {
    let in_flight = plan.workload.max_concurrency.unwrap_or(requests.min(1000) as u32);
    let options = RunOptions { cancel: cancel.clone(), ..options(args, plan) };
    let floor = crate::load::calibrate(in_flight, &options)?;
    note(floor.summary());
    Ok(floor)
}

fn once(
    args: &BenchArgs,
    plan: &Plan,
    session: &mut Session<'_>,
    requests: &[PlannedRequest],
) -> Result<(WatchedRun, Record)> {
    let options = options(args, plan);
    let done = show_progress(&options.progress, &options.cancel);
    let watched = RunPlan {
        requests,
        target: target(args, plan, session),
        options,
        give_up: None,
        pace: Duration::from_secs(2),
        keep_partial: true,
    };
    let run = session.run(watched, &mut |_| {});
    drop(done);
    let mut run = run.map_err(|f| as_error(&f, std::path::Path::new(session.base_url())))?;
    run.result.add_components(&plan.workload, plan.goodput)?;
    if let Some(share) = run.hit_ratio() {
        run.result.metrics.client.cache_hit_ratio = rounded(share);
    }
    let (model, facts) = (session.model(), session.facts());
    let record = Record {
        engine: args.server.engine,
        engine_version: facts.version.clone(),
        serve_command: args.server.recorded_command(),
        model: Some(model.root.clone().unwrap_or_else(|| model.id.clone())),
        hardware: args.server.hardware.clone(),
        workload: Some(plan.workload.clone()),
        resolved: Some(facts.resolved.clone()).filter(|r| !r.is_empty()),
        requests: Some(run.result.request_rows()),
        result: Some(run.result.metrics.clone()),
        ..Record::default()
    };
    Ok((run, record))
}

fn target(args: &BenchArgs, plan: &Plan, session: &Session<'_>) -> Target {
    Target {
        endpoint: args.endpoint.into(),
        ignore_eos: !args.honor_eos,
        extra_body: plan.extra_body.clone(),
        counting: match args.counting {
            Count::Usage => Counting::Usage,
            Count::Continuous => Counting::Continuous,
            Count::Ids => Counting::TokenIds,
        },
        ..session.target()
    }
}

fn options(args: &BenchArgs, plan: &Plan) -> RunOptions {
    let seconds = |s: f64| Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX);
    RunOptions {
        max_concurrency: plan.workload.max_concurrency,
        request_timeout: seconds(args.request_timeout),
        run_timeout: args.run_timeout.map(seconds),
        warmups: args.warmups,
        threads: args.threads,
        real_time: args.real_time,
        goodput: plan.goodput,
        ..RunOptions::default()
    }
}

/// What the prefix cache did to the run, in words.
fn cache_remarks(plan: &Plan, m: &Measured) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(why) = m.run.warm_cache(&plan.workload) {
        lines.push(format!("NOT COLD: {why}; use another --seed, or restart the server"));
    }
    if let Some((warm, _)) = &m.repeated {
        for (name, key) in [
            ("mean TTFT", Key::MeanTtftMs),
            ("mean E2EL", Key::MeanE2elMs),
            ("total token throughput", Key::TotalTokenThroughput),
        ] {
            if let (Some(cold), Some(again)) = (m.run.result.metrics.get(key), warm.result.metrics.get(key)) {
                lines.push(format!("repeated: {name} {cold:.2} -> {again:.2}, factor {:.3}", again / cold));
            }
        }
        let hits =
            warm.hit_ratio().map_or("not told by the server".into(), |s| format!("{:.1} %", s * 100.0));
        lines.push(format!("repeated: prompt tokens from the prefix cache: {hits}"));
    }
    lines
}

fn show(args: &BenchArgs, plan: &Plan, measured: &Measured, records: &[Record]) -> Result<()> {
    let result = &measured.run.result;
    let text = if args.json {
        match records {
            [one] => serde_json::to_string_pretty(one),
            both => serde_json::to_string_pretty(both),
        }
        .map_err(|e| Error::failed("the observation cannot be written as JSON").source(e))?
    } else {
        block(&result.metrics, &plan.workload)
    };
    super::out::line(text);
    for line in result.remarks().into_iter().chain(cache_remarks(plan, measured)) {
        note(line);
    }
    Ok(())
}

/// An interrupted run and a run without a single completed request are failures, after their record is written.
fn verdict(run: &WatchedRun) -> Result<()> {
    let result = &run.result;
    let stopped = run.failure.as_ref().is_some_and(|f| f.class == crate::engine::Class::Interrupted);
    if stopped {
        return Err(Error::new(
            Kind::Interrupted,
            "the run was stopped; what was measured until then is written",
        ));
    }
    if let Some(failure) = &run.failure {
        let log = failure.log.clone().unwrap_or_else(|| "the server".to_owned());
        return Err(as_error(failure, std::path::Path::new(&log)));
    }
    if result.rows.iter().any(crate::load::Row::completed) {
        return Ok(());
    }
    let causes: Vec<String> =
        result.errors.iter().map(|(kind, c)| format!("{} x {kind}: {}", c.count, c.first)).collect();
    Err(Error::failed(format!("no request completed ({})", causes.join("; ")))
        .hint("is the model name right, and do the prompts fit the server's context length?"))
}
