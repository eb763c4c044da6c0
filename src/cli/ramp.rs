//! `dyno ramp`: load upward step by step until the engine is saturated; breakpoints and zones.

mod expect;
mod text;

use super::interrupt::cancel_on_interrupt;
use super::out::note;
use super::server::{Lines, ServerArgs, close, writable};
use crate::capacity::{Axis, Forecast, Ladder, MeasuredRamp, RampPlan, Step, measure, picture, sample};
use crate::error::{Error, Kind, Problem, Result};
use crate::load::{Cancel, Endpoint, Target};
use crate::scenario::write_whole;
use crate::search::Slo;
use crate::trial::Session;
use crate::workload::WorkloadSpec;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Raise the load on a server step by step until it is saturated, and say where its zones lie.
///
/// Where the hardware and the model are known, the ramp is simulated before the first step (and saved with its
/// time in --out). The forecast then says where to measure; each step corrects it, and the next one is put where
/// it tells most about the breakpoints. Without a forecast the load is doubled until it brings nothing more, and the
/// brackets of the breakpoints are bisected. With --hardware cpu the client runs at real-time priority where permitted.
#[derive(Debug, Args)]
pub(super) struct RampArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten, next_help_heading = "Forecast")]
    expect: expect::ExpectArgs,
    /// The requests of every step, as for `dyno bench`; their number follows from --step-seconds
    #[arg(long, default_value = "random:256/100", help_heading = "Load")]
    workload: WorkloadSpec,
    /// What is raised
    #[arg(long, value_enum, default_value_t = By::Concurrency, help_heading = "Load")]
    by: By,
    /// Promises whose breaking is a breakpoint, such as ttft.p99=500ms,tpot.p99=50ms
    #[arg(long, help_heading = "Results")]
    slo: Option<Slo>,
    /// Lightest load
    #[arg(long, default_value_t = 1.0, help_heading = "Load")]
    from: f64,
    /// Heaviest load; the climb ends earlier once it brings nothing more
    #[arg(long, default_value_t = 1024.0, help_heading = "Load")]
    to: f64,
    /// Each step of the climb is this times the one before, where no forecast says better
    #[arg(long, default_value_t = 2.0, help_heading = "Load")]
    factor: f64,
    /// Most steps after the climb, put where they tell most about the breakpoints
    #[arg(long, default_value_t = 8, help_heading = "Steps")]
    refine: u32,
    /// Two loads within this ratio are near enough: nothing is measured between them
    #[arg(long, default_value_t = 1.2, help_heading = "Steps")]
    resolution: f64,
    /// About how long a step lasts
    #[arg(long, default_value_t = 20.0, help_heading = "Steps")]
    step_seconds: f64,
    /// Fewest requests of a step
    #[arg(long, default_value_t = 32, help_heading = "Steps")]
    least_requests: u32,
    /// The route that is measured
    #[arg(long, value_enum, default_value_t = super::server::Route::Completions, help_heading = "Load")]
    endpoint: super::server::Route,
    #[command(flatten, next_help_heading = "Results")]
    metrics: super::metrics::MetricsArgs,
    /// Print JSON instead of the table
    #[arg(long, help_heading = "Results")]
    json: bool,
    /// Write the ramp as JSON here: the forecast before the first step, then every step as it ends
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    out: Option<PathBuf>,
    /// Draw throughput over load, forecast beside measurement, as SVG here
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    svg: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum By {
    /// Requests in flight, closed loop
    Concurrency,
    /// Requests a second, open loop
    Rate,
}

impl From<By> for Axis {
    fn from(by: By) -> Axis {
        match by {
            By::Concurrency => Axis::Concurrency,
            By::Rate => Axis::Rate,
        }
    }
}

pub(super) fn run(args: RampArgs) -> Result<()> {
    check(&args)?;
    for file in [&args.out, &args.svg].into_iter().flatten() {
        writable(file)?;
    }
    let cancel = Cancel::new();
    cancel_on_interrupt(&cancel)?;
    args.metrics.start(|text| note(text))?;
    let log = args.out.as_ref().map(|out| out.with_extension("server.log"));
    let mut session = args.server.open(log, &cancel, &Lines)?;
    let measured = ramp(&args, &mut session);
    let record = Recorder { args: &args, model: session.model().id.clone() };
    close(session, args.out.is_some() || measured.is_err());
    let (ramp, forecast) = measured?;
    let whole = record.to_json(&ramp, forecast.as_ref());
    record.write(&whole)?;
    let picture = picture::Picture::new(&ramp, forecast.as_ref());
    if let Some(svg) = &args.svg {
        write_whole(svg, &picture.svg())?;
    }
    super::out::line(if args.json {
        pretty(&whole)?
    } else {
        text::report(&ramp, forecast.as_ref(), &ladder(&args), &picture)
    });
    if matches!(ramp.end, crate::capacity::ClimbEnd::Interrupted) {
        return Err(Error::new(Kind::Interrupted, "the ramp was stopped; the steps until then are shown"));
    }
    Ok(())
}

fn pretty(value: &Value) -> Result<String> {
    serde_json::to_string_pretty(value)
        .map_err(|e| Error::failed("the ramp cannot be written as JSON").source(e))
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
    need("--resolution", args.resolution > 1.0 && args.resolution <= 100.0, "must be above 1, such as 1.2");
    need("--step-seconds", args.step_seconds > 0.0 && args.step_seconds < 1e6, "must be above 0");
    need("--least-requests", args.least_requests > 0, "must be at least 1");
    for clause in args.slo.iter().flat_map(|s| &s.0) {
        need("--slo", sample::judges(clause.key), "of a ramp: ttft, tpot or e2e; mean, p50, p90, p95 or p99");
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::problems("the ramp cannot be planned", problems)) }
}

fn ladder(args: &RampArgs) -> Ladder {
    Ladder {
        from: args.from,
        to: args.to,
        factor: args.factor,
        refine: args.refine,
        whole: matches!(args.by, By::Concurrency),
        resolution: args.resolution,
    }
}

fn ramp(args: &RampArgs, session: &mut Session<'_>) -> Result<(MeasuredRamp, Option<Forecast>)> {
    if !session.has_metrics() {
        note("the server shows no metrics: queueing is taken from the growth of the time to first token");
    }
    let slo: Vec<_> = args.slo.iter().flat_map(|s| &s.0).map(|c| (c.key, c.limit_ms)).collect();
    let forecast = expect::forecast(args, session, &slo)?;
    let record = Recorder { args, model: session.model().id.clone() };
    if let Some(f) = &forecast {
        note(text::foretold(f));
        // On disk before anything is measured.
        record.write(&record.to_json_of(&[], None, Some(f)))?;
    }
    let plan = RampPlan {
        target: Target { endpoint: Endpoint::from(args.endpoint), ..session.target() },
        workload: args.workload.clone(),
        vocab: args.server.vocabulary(session),
        axis: args.by.into(),
        ladder: ladder(args),
        step_s: args.step_seconds,
        least_requests: args.least_requests,
        slo,
        forecast: forecast.as_ref(),
        real_time: args
            .server
            .hardware
            .as_deref()
            .is_some_and(|h| crate::hardware::computes_on_host(h, args.server.data_dir.as_deref())),
    };
    let mut so_far: Vec<Step> = Vec::new();
    let ramp = measure(&plan, session, |step| {
        note(text::line(step));
        // A repeated step carries its first try.
        so_far.retain(|s| s.order != step.order);
        so_far.push(step.clone());
        record.write(&record.to_json_of(&so_far, None, forecast.as_ref()))
    })?;
    if ramp.steps.is_empty() {
        return Err(Error::new(Kind::Interrupted, "the ramp was stopped before its first step had ended"));
    }
    if ramp.steps.iter().all(|s| s.point.throughput <= 0.0) {
        return Err(Error::failed("no request completed at any load").at(session.base_url()));
    }
    Ok((ramp, forecast))
}

/// Writes the record of the ramp.
struct Recorder<'a> {
    args: &'a RampArgs,
    model: String,
}

impl Recorder<'_> {
    fn write(&self, value: &Value) -> Result<()> {
        match &self.args.out {
            Some(out) => write_whole(out, &pretty(value)?),
            None => Ok(()),
        }
    }

    fn to_json(&self, ramp: &MeasuredRamp, forecast: Option<&Forecast>) -> Value {
        self.to_json_of(&ramp.steps, Some(ramp), forecast)
    }

    fn to_json_of(&self, steps: &[Step], ramp: Option<&MeasuredRamp>, forecast: Option<&Forecast>) -> Value {
        let args = self.args;
        let found = ramp.map(MeasuredRamp::ramp);
        json!({
            "model": self.model,
            "engine": args.server.engine,
            "hardware": args.server.hardware,
            "serve_command": args.server.recorded_command(),
            "workload": args.workload,
            "by": Axis::from(args.by),
            "climb_ended": ramp.map(|r| r.end),
            "breakpoints": found.as_ref().map(crate::capacity::Ramp::breakpoints),
            "zones": found.as_ref().map(crate::capacity::Ramp::zones),
            "saved": ramp.map(|r| r.saved(&ladder(args), forecast)),
            "forecast": forecast,
            "steps": steps,
        })
    }
}
