//! `dyno ramp`: load upward step by step until the engine is saturated; breakpoints and zones.

use super::bench::note;
use super::interrupt::cancel_on_interrupt;
use super::server::{Server, ServerArgs, writable};
use crate::capacity::{Axis, Ladder, MeasuredRamp, RampPlan, Step, measure};
use crate::engine::redact;
use crate::error::{Error, Kind, Problem, Result};
use crate::load::{Cancel, Endpoint, Target};
use crate::scenario::{Key, write_whole};
use crate::workload::WorkloadSpec;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

/// Raise the load on a server step by step until it is saturated, and say where its zones lie.
#[derive(Debug, Args)]
pub(super) struct RampArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// The requests of every step, as for `dyno bench`; their number follows from --step-seconds
    #[arg(long, default_value = "random:256/100")]
    workload: WorkloadSpec,
    /// What is raised
    #[arg(long, value_enum, default_value_t = By::Concurrency)]
    by: By,
    /// Lightest load
    #[arg(long, default_value_t = 1.0)]
    from: f64,
    /// Heaviest load; the climb ends earlier once it brings nothing more
    #[arg(long, default_value_t = 1024.0)]
    to: f64,
    /// Each step of the climb is this times the one before
    #[arg(long, default_value_t = 2.0)]
    factor: f64,
    /// Most steps after the climb, put where a breakpoint is bracketed widest
    #[arg(long, default_value_t = 6)]
    refine: u32,
    /// About how long a step lasts
    #[arg(long, default_value_t = 20.0)]
    step_seconds: f64,
    /// Fewest requests of a step
    #[arg(long, default_value_t = 32)]
    least_requests: u32,
    #[arg(long, value_enum, default_value_t = super::bench::Route::Completions)]
    endpoint: super::bench::Route,
    #[command(flatten)]
    metrics: super::metrics::MetricsArgs,
    /// Print JSON instead of the table
    #[arg(long)]
    json: bool,
    /// Write the ramp as JSON here
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum By {
    /// Requests in flight, closed loop
    Concurrency,
    /// Requests a second, open loop
    Rate,
}

pub(super) fn run(args: RampArgs) -> Result<()> {
    check(&args)?;
    if let Some(out) = &args.out {
        writable(out)?;
    }
    let cancel = Cancel::new();
    cancel_on_interrupt(&cancel)?;
    args.metrics.start(note)?;
    let log = args.out.as_ref().map(|out| out.with_extension("server.log"));
    let server = Server::open(&args.server, log, &cancel)?;
    let measured = ramp(&args, &server, &cancel);
    let model = server.model.id.clone();
    server.close();
    let ramp = measured?;
    let whole = to_json(&args, &model, &ramp);
    let text = serde_json::to_string_pretty(&whole)
        .map_err(|e| Error::failed("the ramp cannot be written as JSON").source(e))?;
    if let Some(out) = &args.out {
        write_whole(out, &text)?;
    }
    let shown = if args.json { text } else { table(&ramp) };
    // A reader that has gone (a closed pipe) is no failure of the ramp.
    let _ = writeln!(std::io::stdout(), "{shown}");
    if cancel.is_cancelled() {
        return Err(Error::new(Kind::Interrupted, "the ramp was stopped; the steps until then are shown"));
    }
    Ok(())
}

fn check(args: &RampArgs) -> Result<()> {
    let mut problems = args.workload.problems("--workload");
    let mut need = |flag: &str, fine: bool, what: &str| {
        if !fine {
            problems.push(Problem::new(flag, "", what));
        }
    };
    need("--from", args.from > 0.0 && args.from.is_finite(), "must be above 0");
    need("--to", args.to >= args.from && args.to <= 1e6, "must be at least --from, and at most a million");
    need("--factor", args.factor > 1.0 && args.factor <= 100.0, "must be above 1, such as 2");
    need("--step-seconds", args.step_seconds > 0.0 && args.step_seconds < 1e6, "must be above 0");
    need("--least-requests", args.least_requests > 0, "must be at least 1");
    if problems.is_empty() { Ok(()) } else { Err(Error::problems("the ramp cannot be planned", problems)) }
}

fn ramp(args: &RampArgs, server: &Server, cancel: &Cancel) -> Result<MeasuredRamp> {
    let client = server.control(&args.server);
    if client.is_none() {
        note("the server shows no metrics: queueing is taken from the growth of the time to first token");
    }
    let axis = match args.by {
        By::Concurrency => Axis::Concurrency,
        By::Rate => Axis::Rate,
    };
    let mut target = Target::new(&server.base_url, &server.model.id);
    target.endpoint = Endpoint::from(args.endpoint);
    target.api_key = args.server.key();
    let plan = RampPlan {
        target,
        workload: args.workload.clone(),
        vocab: args.server.vocabulary(server),
        axis,
        ladder: Ladder {
            from: args.from,
            to: args.to,
            factor: args.factor,
            refine: args.refine,
            whole: axis == Axis::Concurrency,
        },
        step_s: args.step_seconds,
        least_requests: args.least_requests,
        engine: client.as_ref().map(|c| (c, args.server.adapter())),
        cancel: cancel.clone(),
    };
    let ramp = measure(&plan, |step| note(&line(step)))?;
    if ramp.steps.is_empty() {
        return Err(Error::new(Kind::Interrupted, "the ramp was stopped before its first step had ended"));
    }
    if ramp.steps.iter().all(|s| s.point.throughput <= 0.0) {
        return Err(Error::failed("no request completed at any load").at(&server.base_url));
    }
    Ok(ramp)
}

fn line(step: &Step) -> String {
    let p = &step.point;
    format!(
        "load {:>7.1}: {:>8.2} req/s, e2e {:.3} s, queue {:.3} s, lost {:.2} %",
        p.load,
        p.throughput,
        p.e2e_s,
        p.queue_s,
        p.loss * 100.0
    )
}

fn to_json(args: &RampArgs, model: &str, ramp: &MeasuredRamp) -> Value {
    let found = ramp.ramp();
    json!({
        "model": model,
        "engine": args.server.engine,
        "hardware": args.server.hardware,
        "serve_command": (!args.server.command.is_empty()).then(|| redact::argv(&args.server.command).join(" ")),
        "workload": args.workload,
        "by": match args.by { By::Concurrency => "concurrency", By::Rate => "rate" },
        "climb_ended": ramp.end,
        "breakpoints": found.breakpoints(),
        "zones": found.zones(),
        "steps": ramp.steps,
    })
}

fn table(ramp: &MeasuredRamp) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:>8} {:>9} {:>10} {:>10} {:>10} {:>9} {:>9} {:>9} {:>8} {:>6} {:>7}",
        "load",
        "req/s",
        "out tok/s",
        "TTFT ms",
        "p99",
        "TPOT ms",
        "E2E s",
        "queue s",
        "waiting",
        "KV",
        "lost %"
    );
    for step in &ramp.steps {
        let p = &step.point;
        let metric = |key| step.result.get(key).map_or("-".to_owned(), |v| format!("{v:.1}"));
        let seen = |v: Option<f64>, digits| v.map_or("-".to_owned(), |v| format!("{v:.digits$}"));
        let _ = writeln!(
            out,
            "{:>8.1} {:>9.2} {:>10} {:>10} {:>10} {:>9} {:>9.3} {:>9.3} {:>8} {:>6} {:>7.2}",
            p.load,
            p.throughput,
            metric(Key::OutputThroughput),
            metric(Key::MeanTtftMs),
            metric(Key::P99TtftMs),
            metric(Key::MeanTpotMs),
            p.e2e_s,
            p.queue_s,
            seen(step.engine.max_waiting, 0),
            seen(step.engine.max_kv_usage, 2),
            p.loss * 100.0
        );
    }
    let found = ramp.ramp();
    out.push_str("\nBreakpoints (90 % interval)\n");
    for b in found.breakpoints() {
        let at = b
            .at
            .map_or("not reached".to_owned(), |i| format!("{:.1} ({:.1} to {:.1})", i.value, i.p05, i.p95));
        let _ = writeln!(out, "  {:<19} {:<26} {}", b.name, at, b.criterion);
    }
    out.push_str("\nZones\n");
    for z in found.zones() {
        let to = z.to.map_or("the end of the ladder".to_owned(), |t| format!("{t:.1}"));
        let _ = writeln!(out, "  {:<18} {:.1} to {to}: {}", z.zone, z.from, z.criterion);
    }
    for step in ramp.steps.iter().filter(|s| !s.doubts.is_empty()) {
        let _ = writeln!(out, "doubtful at load {:.0}: {}", step.point.load, step.doubts.join("; "));
    }
    out.pop();
    out
}
