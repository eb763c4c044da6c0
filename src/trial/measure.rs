//! One measured run, with the prefix cache kept out of its numbers and the engine watched.

use super::launch::Launched;
use super::ready::{Ready, alive};
use super::{Event, Failure, Measured, Observer, TrialSpec};
use crate::engine::Class;
use crate::load::{self, Cancel, LoadResult, Progress, RunOptions, Secret, Target};
use crate::scenario::{Key, Record, RequestRow};
use crate::telemetry::Sampler;
use crate::telemetry::sampler::{Deltas, Peaks};
use crate::workload::{PlannedRequest, WorkloadSpec, generate_run};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Largest share of prompt tokens from the prefix cache that a workload of unrelated prompts may show.
const CLEAN_HIT_RATIO: f64 = 0.01;
/// Tries at one run when something outside the engine spoils it.
const ATTEMPTS: u64 = 3;
const POLL: Duration = Duration::from_millis(100);
/// Longer than any prefill takes without a token of any request; far shorter than a run may take.
const STALL: Duration = Duration::from_secs(300);
/// Gauges are read this often; the engine's front end does the work, so not oftener.
const SAMPLE: Duration = Duration::from_secs(2);

/// Which run this is.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunId {
    pub(super) workload: usize,
    pub(super) repeat: u32,
}

/// Runs one workload once; a run that the prefix cache or a starved client spoilt is kept as invalid and made
/// again in the same launch, which costs seconds where another launch costs minutes.
pub(super) fn run(
    spec: &TrialSpec,
    l: &mut Launched,
    ready: &Ready,
    id: RunId,
    cancel: &Cancel,
    observer: &dyn Observer,
) -> Result<Vec<Measured>, Box<Failure>> {
    let mut made = Vec::new();
    for attempt in 0..ATTEMPTS {
        let (run, spoilt) = once(spec, l, ready, id, attempt, cancel, observer)?;
        made.push(run);
        if !spoilt {
            break;
        }
    }
    Ok(made)
}

fn once(
    spec: &TrialSpec,
    l: &mut Launched,
    ready: &Ready,
    id: RunId,
    attempt: u64,
    cancel: &Cancel,
    observer: &dyn Observer,
) -> Result<(Measured, bool), Box<Failure>> {
    let workload = &spec.workloads[id.workload];
    // Contents differ in every run of the trial, and are the same for every candidate at the same place.
    let content = (u64::from(spec.first_repeat + id.repeat) * 64 + id.workload as u64) * 4 + attempt;
    let requests = generate_run(workload, vocab(spec), content)
        .map_err(|e| l.failing.of(Class::BadValue, "run", &e.to_string(), "correct the workload"))?;
    observer.event(&Event::RunStarted { workload: id.workload, repeat: spec.first_repeat + id.repeat });
    l.client.reset_cache();
    let started_unix_s = crate::host::unix_now();
    let began = Instant::now();
    let (mut result, deltas, peaks) = watched(spec, l, ready, &requests, id, cancel, observer)?;
    answered(l, &result)?;
    result
        .add_components(workload, None)
        .map_err(|e| l.failing.of(Class::BadValue, "run", &e.to_string(), "correct the workload"))?;
    let wall_s = began.elapsed().as_secs_f64();
    let hit_ratio = deltas.hit_ratio().or_else(|| result.cached_share());
    let (invalid, doubts) = judged(spec, &mut result, hit_ratio, workload);
    let observation = observation(spec, ready, workload, &result, &deltas, &peaks);
    keep(spec, id, attempt, &observation, &result);
    let run = Measured {
        workload: workload.clone(),
        repeat: spec.first_repeat + id.repeat,
        observation,
        cache_hit_ratio: hit_ratio,
        invalid,
        doubts,
        started_unix_s,
        wall_s,
    };
    observer.event(&Event::RunFinished { run: &run });
    // Lost requests are the engine's doing: another try would only hide them.
    let spoilt = !run.invalid.is_empty() && result.errors.is_empty();
    Ok((run, spoilt))
}

/// Token ids are drawn below this; the catalogue knows the model's vocabulary, else a size that every
/// tokenizer has.
fn vocab(spec: &TrialSpec) -> u32 {
    const SMALLEST: u32 = 2000;
    crate::model::Catalog::load(None)
        .and_then(|c| c.find(&spec.model))
        .map_or(SMALLEST, |m| m.vocab)
        .max(SMALLEST / 2)
}

/// The load on its own thread; here the engine is watched meanwhile.
fn watched(
    spec: &TrialSpec,
    l: &mut Launched,
    ready: &Ready,
    requests: &[PlannedRequest],
    id: RunId,
    cancel: &Cancel,
    observer: &dyn Observer,
) -> Result<(LoadResult, Deltas, Peaks), Box<Failure>> {
    let seconds = |s: f64| Duration::from_secs_f64(s.clamp(0.1, 1e7));
    let give_up = spec.give_up_s.get(id.workload).copied().map(seconds);
    let limits = Limits { run: seconds(spec.run_timeout_s), give_up };
    let workload = &spec.workloads[id.workload];
    let inner = Cancel::new();
    let progress = Arc::new(Progress::default());
    let options = RunOptions {
        max_concurrency: workload.max_concurrency,
        run_timeout: Some(limits.run),
        cancel: inner.clone(),
        progress: Arc::clone(&progress),
        // The engine computes on the very cores that the client runs on.
        real_time: crate::hardware::computes_on_host(&spec.hardware, None),
        ..RunOptions::default()
    };
    let mut target = Target::new(format!("http://127.0.0.1:{}", l.port), ready.model.clone());
    target.api_key = l.api_key.clone().map(Secret::new);
    let names = l.adapter.metric_names();
    // A second client, so that sampling does not borrow the launch.
    let sampling = crate::telemetry::EngineClient::new(l.port, l.adapter.endpoints(), l.api_key.clone())
        .map_err(|e| l.failing.of(Class::Unknown, "run", &e.to_string(), ""))?;
    let mut sampler = Sampler::start(&sampling, names);
    let outcome = std::thread::scope(|scope| {
        let work = scope.spawn(|| load::run(&target, requests, &options));
        let watch = watch(l, &work, &progress, limits, &mut sampler, cancel, observer);
        if watch.is_err() {
            inner.cancel();
        }
        let result = work.join();
        watch.map(|()| result)
    })?;
    let result = outcome
        .map_err(|_| l.failing.of(Class::Unknown, "run", "the load generator failed inside", ""))?
        .map_err(|e| l.failing.of(Class::Unknown, "run", &e.to_string(), e.hint.as_deref().unwrap_or("")))?;
    Ok((result, sampler.finish(), sampler.peaks))
}

/// How long a run may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Longer than this, something is wrong.
    run: Duration,
    /// Longer than this, the candidate has lost.
    give_up: Option<Duration>,
}

/// Until the load is done: is the engine alive, does it answer within the limit?
fn watch<T>(
    l: &mut Launched,
    work: &std::thread::ScopedJoinHandle<'_, T>,
    progress: &Progress,
    limits: Limits,
    sampler: &mut Sampler<'_>,
    cancel: &Cancel,
    observer: &dyn Observer,
) -> Result<(), Box<Failure>> {
    let began = Instant::now();
    let mut sampled = began;
    let mut moved = (began, 0);
    // The load cuts its own requests at the limit; what is still busy later than this is stuck.
    let hard = limits.run + Duration::from_secs(15);
    while !work.is_finished() {
        alive(l, cancel, true)?;
        if began.elapsed() > hard {
            let what = format!("the run did not end within {:.0} s", limits.run.as_secs_f64());
            return Err(l.failing.hung(Class::HangInRun, &what, l.tail.last()));
        }
        if limits.give_up.is_some_and(|g| began.elapsed() > g) {
            let (done, planned) =
                (progress.completed.load(Ordering::Relaxed), progress.planned.load(Ordering::Relaxed));
            let what = format!(
                "cut after {:.1} s with {done} of {planned} requests done",
                began.elapsed().as_secs_f64()
            );
            return Err(l.failing.of(Class::Outpaced, "run", &what, ""));
        }
        let now = progress.chunks.load(Ordering::Relaxed) + progress.failed.load(Ordering::Relaxed);
        if now != moved.1 {
            moved = (Instant::now(), now);
        }
        // Between two requests of a slow open loop nothing moves either.
        let waiting = progress.sent.load(Ordering::Relaxed)
            > progress.completed.load(Ordering::Relaxed) + progress.failed.load(Ordering::Relaxed);
        if waiting && moved.0.elapsed() > STALL {
            let what = format!("no token for {:.0} s while requests wait", STALL.as_secs_f64());
            return Err(l.failing.hung(Class::HangInRun, &what, l.tail.last()));
        }
        if sampled.elapsed() > SAMPLE {
            sampler.sample();
            sampled = Instant::now();
            observer.event(&Event::Running {
                completed: progress.completed.load(Ordering::Relaxed),
                failed: progress.failed.load(Ordering::Relaxed),
                planned: progress.planned.load(Ordering::Relaxed),
                elapsed_s: began.elapsed().as_secs_f64(),
            });
        }
        std::thread::sleep(POLL);
    }
    // An engine that died with the last request is told from one that finished.
    alive(l, cancel, true)
}

/// A run without one completed request is a failure of the engine.
fn answered(l: &mut Launched, result: &LoadResult) -> Result<(), Box<Failure>> {
    if result.rows.iter().any(load::Row::completed) || result.rows.is_empty() {
        return Ok(());
    }
    // The engine may be dying: its process ends a little after its requests.
    let never = Cancel::new();
    for _ in 0..20 {
        alive(l, &never, true)?;
        std::thread::sleep(POLL);
    }
    let (kind, count) =
        result.errors.iter().max_by_key(|(_, c)| c.count).map_or((None, String::new()), |(k, c)| {
            (Some(*k), format!("no request completed: {} of {} {k}: {}", c.count, result.rows.len(), c.first))
        });
    if kind == Some(load::ErrorKind::Timeout) {
        return Err(l.failing.hung(Class::HangInRun, &count, l.tail.last()));
    }
    let too_long = crate::engine::diagnose(&count, None).is_some_and(|v| v.class == Class::RequestTooLong);
    let class = if too_long { Class::RequestTooLong } else { Class::BadResponse };
    Err(l.failing.of(class, "run", &count, ""))
}

/// Why the run must not be used, and what else is to be said of it; the result then says the same.
fn judged(
    spec: &TrialSpec,
    result: &mut LoadResult,
    hits: Option<f64>,
    workload: &WorkloadSpec,
) -> (Vec<String>, Vec<String>) {
    let mut invalid = reasons(result, hits, workload);
    let mut doubts = result.distortion.doubts.clone();
    let decides = |key: &Key| spec.figures.is_empty() || spec.figures.iter().any(|f| f == key.name());
    let late = if result.distortion.untrusted.iter().any(decides) { &mut invalid } else { &mut doubts };
    late.extend(result.distortion.reasons.iter().cloned());
    for (name, reasons) in [("invalid", &invalid), ("doubts", &doubts)] {
        result.metrics.extra.remove(name);
        if !reasons.is_empty() {
            result.metrics.extra.insert(name.into(), serde_json::json!(reasons));
        }
    }
    (invalid, doubts)
}

/// Why no figure of the run must be used.
fn reasons(result: &LoadResult, hits: Option<f64>, workload: &WorkloadSpec) -> Vec<String> {
    let mut invalid = result.invalid.clone();
    if let Some(ratio) = hits.filter(|r| *r > CLEAN_HIT_RATIO && !workload.shares_prompts()) {
        invalid.push(format!("{:.1} % of the prompt tokens came from the prefix cache", ratio * 100.0));
    }
    for (kind, errors) in &result.errors {
        invalid.push(format!(
            "{} of {} requests failed ({kind}: {})",
            errors.count,
            result.rows.len(),
            errors.first
        ));
    }
    invalid
}

fn observation(
    spec: &TrialSpec,
    ready: &Ready,
    workload: &WorkloadSpec,
    result: &LoadResult,
    deltas: &Deltas,
    peaks: &Peaks,
) -> Record {
    let mut metrics = result.metrics.clone();
    let mut extra = |key: &str, value: Option<f64>| {
        if let Some(v) = value.and_then(serde_json::Number::from_f64) {
            metrics.extra.insert(key.to_owned(), Value::Number(v));
        }
    };
    extra("engine_preemptions", deltas.preemptions);
    extra("engine_peak_running", peaks.running);
    extra("engine_peak_waiting", peaks.waiting);
    extra("engine_peak_kv_usage", peaks.kv_usage);
    let launch = recorded_launch(spec, &ready.facts);
    // Gaps between tokens are in the run's own file; here they would make the record many times larger.
    let rows = result.request_rows().into_iter().map(|r| RequestRow { itl_s: None, ..r }).collect();
    Record {
        engine: Some(spec.candidate.engine),
        engine_version: ready.facts.version.clone(),
        serve_command: Some(launch.to_text()),
        files: launch.files,
        model: Some(spec.model.clone()),
        hardware: Some(spec.hardware.clone()),
        num_gpus: Some(spec.num_gpus),
        workload: Some(workload.clone()),
        resolved: Some(ready.facts.resolved.clone()),
        requests: Some(rows),
        result: Some(metrics),
        ..Record::default()
    }
}

/// The launch without the address it happened to get, so that equal launches have equal commands, and without secrets.
fn recorded_launch(spec: &TrialSpec, facts: &super::LaunchFacts) -> crate::launch::Launch {
    let mut env = crate::engine::redact::env(&spec.fixed_env);
    env.extend(crate::engine::redact::env(&spec.candidate.env));
    crate::launch::Launch::new(env, facts.argv.clone(), facts.files.clone()).without_address()
}

/// The whole observation, with every token gap, beside the log; a disk that is full does not lose the run.
fn keep(spec: &TrialSpec, id: RunId, attempt: u64, observation: &Record, result: &LoadResult) {
    let full = Record { requests: Some(result.request_rows()), ..observation.clone() };
    let again = if attempt == 0 { String::new() } else { format!("-again{attempt}") };
    let name = format!("run-{}-{}{again}.json", id.workload, spec.first_repeat + id.repeat);
    if let Ok(json) = serde_json::to_vec(&full) {
        let _ = std::fs::write(Path::new(&spec.dir).join(name), json);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_client_spoils_a_run_only_for_figures_that_decide() {
        let text = r#"{"id":"001","candidate":{"engine":"emulated"},"model":"m","hardware":"cpu","workloads":[],
                       "ready_timeout_s":1,"run_timeout_s":1,"dir":"d","figures":["output_throughput"]}"#;
        let mut spec: TrialSpec = serde_json::from_str(text).unwrap();
        let late = |untrusted: Vec<Key>| LoadResult {
            metrics: crate::scenario::Metrics::default(),
            rows: Vec::new(),
            errors: std::collections::BTreeMap::new(),
            health: load::ClientHealth::default(),
            invalid: Vec::new(),
            distortion: load::Distortion {
                reasons: vec!["late".into()],
                untrusted,
                doubts: vec!["busy".into()],
            },
            cancelled: false,
        };
        let of = |spec: &TrialSpec, untrusted: Vec<Key>| {
            let mut result = late(untrusted);
            let verdict = judged(spec, &mut result, None, &WorkloadSpec::random(8, 2, 1, 0));
            let said = |key: &str| result.metrics.extra.get(key).map_or(0, |v| v.as_array().unwrap().len());
            assert_eq!((verdict.0.len(), verdict.1.len()), (said("invalid"), said("doubts")));
            verdict.0
        };
        assert_eq!(of(&spec, vec![Key::P99ItlMs]), Vec::<String>::new());
        assert_eq!(of(&spec, vec![Key::P99ItlMs, Key::OutputThroughput]), ["late"]);
        // Starved, but the kernel's stamps kept every figure.
        assert_eq!(of(&spec, Vec::new()), Vec::<String>::new());
        spec.figures.clear();
        assert_eq!(of(&spec, vec![Key::P99ItlMs]), ["late"]);
    }
}
