//! `dyno bench`: one measured run against a running or a launched engine.

use super::interrupt::cancel_on_interrupt;
use crate::engine::redact;
use crate::error::{Error, Kind, Problem, Result};
use crate::load::{
    Cancel, Counting, Endpoint, Goodput, LoadResult, Progress, RunOptions, Secret, ServedModel, Target, block,
};
use crate::process::{Launch, Running, free_port};
use crate::scenario::{EngineKind, Record, write_records, write_whole};
use crate::workload::{self, PlannedRequest, Prompt, RequestRate, WorkloadSpec};
use clap::{Args, ValueEnum};
use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Token ids of prompts stay below this when the model's vocabulary is not known: every tokenizer has them.
const SMALL_VOCABULARY: u32 = 512;

/// Measure one workload on a running server (--base-url) or on one that this command starts (-- COMMAND).
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// Address of a running OpenAI-compatible server, such as http://127.0.0.1:8000
    #[arg(long, required_unless_present = "command", conflicts_with = "command")]
    base_url: Option<String>,
    /// short, medium, long, very-long, sharegpt[:FILE], random:IN/OUT, trace:FILE, custom:FILE or chat, each with
    /// `,n=500,seed=42,rate=inf,concurrency=256,...`
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
    /// Served model name; the server's first model when absent
    #[arg(long)]
    model: Option<String>,
    #[arg(long, value_enum, default_value_t = Route::Completions)]
    endpoint: Route,
    /// Sent as a bearer token; never recorded
    #[arg(long, env = "OPENAI_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
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
    /// Token ids of the model; taken from its description when it is known
    #[arg(long)]
    vocab: Option<u32>,
    /// Seconds from the send of a request to the end of its answer
    #[arg(long, default_value_t = 21600.0)]
    request_timeout: f64,
    /// Seconds allowed for the whole run
    #[arg(long)]
    run_timeout: Option<f64>,
    /// Client threads; chosen by the number in flight when absent
    #[arg(long)]
    threads: Option<usize>,
    /// Seconds allowed for a launched server to be ready
    #[arg(long, default_value_t = 1800.0)]
    ready_timeout: f64,
    /// Recorded as the engine of the observation
    #[arg(long)]
    engine: Option<EngineKind>,
    /// Recorded as the hardware of the observation
    #[arg(long)]
    hardware: Option<String>,
    /// Write the requests, one a line, in the form that custom:FILE reads
    #[arg(long, value_name = "FILE")]
    save_requests: Option<PathBuf>,
    /// Print the observation as JSON instead of the block
    #[arg(long)]
    json: bool,
    /// Write the observation with every request's timing here
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Directory laid over the embedded data files
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The serving command to launch, after `--`
    #[arg(last = true)]
    command: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Route {
    Completions,
    Chat,
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
    key: Option<Secret>,
}

pub(super) fn run(args: BenchArgs) -> Result<()> {
    let plan = plan(&args)?;
    for path in args.out.iter().chain(&args.save_requests) {
        writable(path)?;
    }
    let cancel = Cancel::new();
    cancel_on_interrupt(&cancel)?;
    let server = Server::open(&args, &plan, &cancel)?;
    let measured = measure(&args, &plan, &server, &cancel);
    let log = server.log();
    server.close();
    let (result, record) = measured.map_err(|e| match &log {
        Some(log) if e.place.is_none() => e.at(log.display()),
        _ => e,
    })?;
    if let Some(out) = &args.out {
        write_records(out, std::slice::from_ref(&record))?;
    }
    show(&args, &plan, &result, &record)?;
    verdict(&result)
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
    for (flag, seconds) in
        [("--request-timeout", Some(args.request_timeout)), ("--run-timeout", args.run_timeout)]
    {
        if seconds.is_some_and(|s| Duration::try_from_secs_f64(s).is_err() || s <= 0.0) {
            problems.push(Problem::new(flag, "", "must be a positive number of seconds"));
        }
    }
    if problems.is_empty() {
        Ok(Plan { workload, goodput, extra_body, key: args.api_key.clone().map(Secret::new) })
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

/// Fails before anything is measured when the file could not be written afterwards.
fn writable(path: &Path) -> Result<()> {
    std::fs::OpenOptions::new().append(true).create(true).open(path).map(drop).map_err(|e| {
        Error::usage("the output file cannot be written")
            .at(path.display())
            .source(e)
            .hint("is its directory there?")
    })
}

/// The server under load, started here or not.
struct Server {
    base_url: String,
    model: ServedModel,
    launched: Option<Running>,
    port: Option<u16>,
}

impl Server {
    fn open(args: &BenchArgs, plan: &Plan, cancel: &Cancel) -> Result<Server> {
        let Some(base_url) = args.base_url.clone() else { return Server::launch(args, plan, cancel) };
        let model = match &args.model {
            Some(name) => ServedModel { id: name.clone(), root: None, max_model_len: None },
            None => first(
                crate::load::served_models(&base_url, plan.key.as_ref(), Duration::from_secs(30))?,
                &base_url,
            )?,
        };
        Ok(Server { base_url, model, launched: None, port: None })
    }

    fn launch(args: &BenchArgs, plan: &Plan, cancel: &Cancel) -> Result<Server> {
        let mut argv = args.command.clone();
        let port = if let Some(port) = port_of(&argv) {
            port
        } else {
            let port = free_port()?;
            argv.extend(["--port".to_owned(), port.to_string()]);
            port
        };
        if !crate::process::port_free(port) {
            return Err(Error::failed(format!("port {port} is in use"))
                .hint("stop what listens there, or give the command another --port"));
        }
        let log = args.out.as_ref().map_or_else(
            || std::env::temp_dir().join(format!("dyno-bench-{}.log", std::process::id())),
            |out| out.with_extension("server.log"),
        );
        let marker = format!("bench/{}", std::process::id());
        let running = Running::start(&Launch {
            argv,
            env: std::collections::BTreeMap::new(),
            dir: None,
            log: log.clone(),
            nice: 0,
            marker,
        })?;
        let base_url = format!("http://127.0.0.1:{port}");
        let limit = Duration::try_from_secs_f64(args.ready_timeout).unwrap_or(Duration::from_secs(1800));
        let alive = || running.exit().map(|e| e.to_string());
        let ready = crate::load::wait_ready(&base_url, plan.key.as_ref(), limit, cancel, alive)
            .and_then(|models| first(models, &base_url))
            .map_err(|e| {
                e.at(log.display()).hint(format!("`dyno diagnose {}` reads the log", log.display()))
            });
        let mut server = Server {
            base_url,
            model: ServedModel { id: String::new(), root: None, max_model_len: None },
            launched: Some(running),
            port: Some(port),
        };
        match ready {
            Ok(model) => {
                server.model = args.model.clone().map_or(model.clone(), |id| ServedModel { id, ..model });
                Ok(server)
            }
            Err(e) => {
                server.close();
                Err(e)
            }
        }
    }

    fn log(&self) -> Option<PathBuf> {
        self.launched.as_ref().map(|r| r.log.clone())
    }

    fn close(self) {
        if let Some(running) = self.launched {
            let report = crate::process::stop(running, Duration::from_secs(20), self.port);
            for left in report.survivors {
                note(&format!("warning: still running after the stop: {left}"));
            }
        }
    }
}

fn first(models: Vec<ServedModel>, base_url: &str) -> Result<ServedModel> {
    models.into_iter().next().ok_or_else(|| Error::failed("the server serves no model").at(base_url))
}

/// The value of `--port` in a serving command.
fn port_of(argv: &[String]) -> Option<u16> {
    argv.iter().enumerate().find_map(|(i, a)| match a.strip_prefix("--port") {
        Some("") => argv.get(i + 1)?.parse().ok(),
        Some(rest) => rest.strip_prefix('=')?.parse().ok(),
        None => None,
    })
}

fn measure(args: &BenchArgs, plan: &Plan, server: &Server, cancel: &Cancel) -> Result<(LoadResult, Record)> {
    let requests = workload::generate(&plan.workload, vocabulary(args, server))?;
    if let Some(path) = &args.save_requests {
        save_requests(path, &requests)?;
    }
    let target = Target {
        base_url: server.base_url.clone(),
        model: server.model.id.clone(),
        endpoint: match args.endpoint {
            Route::Completions => Endpoint::Completions,
            Route::Chat => Endpoint::Chat,
        },
        api_key: plan.key.clone(),
        ignore_eos: !args.honor_eos,
        extra_body: plan.extra_body.clone(),
        counting: match args.counting {
            Count::Usage => Counting::Usage,
            Count::Continuous => Counting::Continuous,
            Count::Ids => Counting::TokenIds,
        },
    };
    let seconds = |s: f64| Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX);
    let options = RunOptions {
        max_concurrency: plan.workload.max_concurrency,
        request_timeout: seconds(args.request_timeout),
        run_timeout: args.run_timeout.map(seconds),
        warmups: args.warmups,
        threads: args.threads,
        goodput: plan.goodput,
        cancel: cancel.clone(),
        ..RunOptions::default()
    };
    let done = show_progress(&options.progress, &options.cancel);
    let result = crate::load::run(&target, &requests, &options);
    drop(done);
    let result = result?;
    let engine_version = crate::load::server_version(&server.base_url, Duration::from_secs(2));
    let record = Record {
        engine: args.engine,
        engine_version,
        serve_command: (!args.command.is_empty()).then(|| redact::argv(&args.command).join(" ")),
        model: Some(server.model.root.clone().unwrap_or_else(|| server.model.id.clone())),
        hardware: args.hardware.clone(),
        workload: Some(plan.workload.clone()),
        requests: Some(result.request_rows()),
        result: Some(result.metrics.clone()),
        ..Record::default()
    };
    Ok((result, record))
}

/// The size of the model's vocabulary, as given, as known by its name, or one that every model has.
fn vocabulary(args: &BenchArgs, server: &Server) -> u32 {
    let known = || {
        let catalog = crate::model::Catalog::load(args.data_dir.as_deref()).ok()?;
        let names = [server.model.root.as_ref(), Some(&server.model.id)];
        names.into_iter().flatten().find_map(|name| catalog.find(name).ok()).map(|m| m.vocab)
    };
    args.vocab.or_else(known).unwrap_or(SMALL_VOCABULARY)
}

/// One request a line, in the form that `custom:FILE` reads.
fn save_requests(path: &Path, requests: &[PlannedRequest]) -> Result<()> {
    let mut text = String::new();
    for r in requests {
        let mut line = serde_json::json!({"arrival_s": r.arrival.secs(), "input_tokens": r.input_tokens,
                                          "output_tokens": r.output_tokens});
        match &r.prompt {
            Prompt::TokenIds(ids) => line["prompt"] = serde_json::json!(ids),
            Prompt::Text(t) => line["prompt"] = serde_json::json!(t),
            Prompt::Chat(turns) => {
                let messages =
                    turns.iter().map(|(role, content)| serde_json::json!({"role": role, "content": content}));
                line["messages"] = messages.collect();
            }
        }
        text.push_str(&line.to_string());
        text.push('\n');
    }
    text.pop();
    write_whole(path, &text)
}

/// A live line on a terminal; ends when the returned guard is dropped.
fn show_progress(progress: &Arc<Progress>, cancel: &Cancel) -> Option<Ticker> {
    std::io::stderr().is_terminal().then(|| {
        let (progress, cancel) = (progress.clone(), cancel.clone());
        let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let flag = over.clone();
        let thread = std::thread::spawn(move || {
            let bar = indicatif::ProgressBar::new(0);
            bar.set_style(
                indicatif::ProgressStyle::with_template("[{elapsed_precise}] {wide_bar} {pos}/{len} {msg}")
                    .unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()),
            );
            while !flag.load(Ordering::SeqCst) {
                let get = |c: &std::sync::atomic::AtomicU64| c.load(Ordering::Relaxed);
                let (done, failed) = (get(&progress.completed), get(&progress.failed));
                bar.set_length(get(&progress.planned));
                bar.set_position(done + failed);
                let stopping = if cancel.is_cancelled() { ", stopping" } else { "" };
                let flying = get(&progress.sent).saturating_sub(done + failed);
                bar.set_message(format!("{flying} in flight, {failed} lost{stopping}"));
                std::thread::sleep(Duration::from_millis(200));
            }
            bar.finish_and_clear();
        });
        Ticker { over, thread: Some(thread) }
    })
}

struct Ticker {
    over: Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn show(args: &BenchArgs, plan: &Plan, result: &LoadResult, record: &Record) -> Result<()> {
    let text = if args.json {
        serde_json::to_string_pretty(record)
            .map_err(|e| Error::failed("the observation cannot be written as JSON").source(e))?
    } else {
        block(&result.metrics, &plan.workload)
    };
    // A reader that has gone (a closed pipe) is no failure of the run.
    let _ = writeln!(std::io::stdout(), "{text}");
    for line in result.remarks() {
        note(&line);
    }
    Ok(())
}

/// An interrupted run and a run without a single completed request are failures, after their record is written.
fn verdict(result: &LoadResult) -> Result<()> {
    if result.cancelled {
        return Err(Error::new(
            Kind::Interrupted,
            "the run was stopped; what was measured until then is written",
        ));
    }
    if result.rows.iter().any(crate::load::Row::completed) {
        return Ok(());
    }
    let causes: Vec<String> =
        result.errors.iter().map(|(kind, c)| format!("{} x {kind}: {}", c.count, c.first)).collect();
    Err(Error::failed(format!("no request completed ({})", causes.join("; ")))
        .hint("is the model name right, and do the prompts fit the server's context length?"))
}

#[expect(clippy::print_stderr, reason = "remarks beside the command's output")]
pub(super) fn note(line: &str) {
    eprintln!("{line}");
}
