//! The measured run of a bench, and with --cache-control the same requests once more.

use super::super::live::show_progress;
use super::super::out::note;
use super::{BenchArgs, Count, Plan};
use crate::error::Result;
use crate::load::{Cancel, Counting, RunOptions, Target};
use crate::scenario::client_report::{ErrorFloor, rounded};
use crate::scenario::{Record, write_whole};
use crate::trial::{RunPlan, Session, WatchedRun, as_error};
use crate::workload::{self, PlannedRequest};
use std::time::Duration;

/// What a bench brings: the measured run, and with --cache-control the same requests once more.
pub(super) struct Measured {
    pub(super) run: WatchedRun,
    pub(super) record: Record,
    pub(super) repeated: Option<(WatchedRun, Record)>,
}

pub(super) fn measure(
    args: &BenchArgs,
    plan: &Plan,
    session: &mut Session<'_>,
    cancel: &Cancel,
) -> Result<Measured> {
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
        best_s: None,
        forgiven: Duration::ZERO,
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
        files: args.server.recorded_files(),
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
