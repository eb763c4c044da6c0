//! From started to ready: the process lives, the port answers, a model is served, and one request really
//! generates a token. A front end that says `ready` proves none of that.

use super::gpu_memory::FreeMemory;
use super::launch::Launched;
use super::types::LaunchFacts;
use super::{Event, Failure, Observer, TrialSpec};
use crate::engine::metrics::config_facts;
use crate::engine::{Class, redact};
use crate::load::Cancel;
use crate::telemetry::Probe;
use serde_json::Value;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(150);
/// A probe may wait for kernels that are compiled at their first use.
const PROBE_LIMIT: Duration = Duration::from_secs(120);

/// A ready engine: the name of its model, and its facts.
pub(super) struct Ready {
    pub(super) model: String,
    pub(super) facts: LaunchFacts,
}

/// Waits until the engine is ready, or says why it will not be.
pub(super) fn wait(
    spec: &TrialSpec,
    l: &mut Launched,
    cancel: &Cancel,
    observer: &dyn Observer,
) -> Result<Ready, Box<Failure>> {
    let deadline = l.started + Duration::from_secs_f64(spec.ready_timeout_s.clamp(0.0, 1e7));
    let mut told = Instant::now();
    let model = loop {
        alive(l, cancel, false)?;
        if Instant::now() >= deadline {
            let what = format!("not ready after {:.0} s", spec.ready_timeout_s);
            return Err(l.failing.hung(Class::HangAtStart, &what, l.tail.last()));
        }
        if l.client.healthy()
            && let Some(model) = l.client.model()
        {
            break model;
        }
        if told.elapsed() > Duration::from_millis(500) {
            told = Instant::now();
            observer.event(&Event::Waiting {
                elapsed_s: l.started.elapsed().as_secs_f64(),
                last_line: l.tail.last(),
            });
        }
        std::thread::sleep(POLL);
    };
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
    // The name that the server itself lists: not every engine takes a served name.
    let name = model.id.clone();
    let fingerprint = probe(l, &name, left.min(PROBE_LIMIT), cancel)?;
    let startup_s = l.started.elapsed().as_secs_f64();
    let mut facts = facts(l, startup_s);
    if let Some(n) = model.max_model_len {
        facts.resolved.insert("max_model_len".into(), Value::from(n));
    }
    if let Some(f) = fingerprint {
        facts.resolved.insert("system_fingerprint".into(), Value::from(f));
    }
    Ok(Ready { model: name, facts })
}

fn probe(
    l: &mut Launched,
    model: &str,
    limit: Duration,
    cancel: &Cancel,
) -> Result<Option<String>, Box<Failure>> {
    match l.client.probe(model, limit) {
        Probe::Token { fingerprint } => Ok(fingerprint),
        Probe::Refused(what) => {
            settle(l, cancel)?;
            Err(l.failing.of(Class::BadResponse, "start", &format!("probe request: {what}"), ""))
        }
        Probe::Silent(what) => {
            settle(l, cancel)?;
            let what = format!("the probe request for one token was not answered: {what}");
            Err(l.failing.hung(Class::HangAtStart, &what, l.tail.last()))
        }
    }
}

/// An engine that dies while it answers needs a moment until its process is gone; then its death is the
/// failure, not the answer.
fn settle(l: &mut Launched, cancel: &Cancel) -> Result<(), Box<Failure>> {
    for _ in 0..10 {
        alive(l, cancel, false)?;
        std::thread::sleep(POLL);
    }
    alive(l, cancel, false)
}

/// Fails when the trial was cancelled, the first process ended, or the log says that the engine is dead.
pub(super) fn alive(l: &mut Launched, cancel: &Cancel, ready: bool) -> Result<(), Box<Failure>> {
    let phase = if ready { "run" } else { "start" };
    if cancel.is_cancelled() {
        return Err(l.failing.of(Class::Interrupted, phase, "interrupted", ""));
    }
    if let Some(exit) = l.running.exit() {
        return Err(l.failing.died(exit, ready));
    }
    let lines = l.tail.read();
    let marks = l.adapter.fatal_marks();
    let Some(fatal) = lines.iter().find(|line| marks.iter().any(|m| line.contains(m))) else { return Ok(()) };
    // Let it finish its last words, so that the exit is known as well when there is one.
    let until = Instant::now() + Duration::from_secs(8);
    while Instant::now() < until {
        if let Some(exit) = l.running.exit() {
            return Err(l.failing.died(exit, ready));
        }
        std::thread::sleep(POLL);
    }
    Err(l.failing.broken(fatal, ready))
}

/// Facts from the log, the metrics, the server's own account, later sources winning.
fn facts(l: &mut Launched, startup_s: f64) -> LaunchFacts {
    let log = std::fs::read(&l.running.log).unwrap_or_default();
    let mut resolved = l.adapter.log_facts(&String::from_utf8_lossy(&log));
    if let Some(samples) = l.client.scrape() {
        resolved.extend(config_facts(&l.adapter.metric_names(), &samples));
    }
    if let Some(info) = l.client.server_info() {
        resolved.extend(l.adapter.info_facts(&info));
    }
    let said = resolved.remove("engine_version").and_then(|v| v.as_str().map(str::to_owned));
    let resident: u64 = l.running.tree().resident_bytes().values().sum();
    if let Some(taken) = FreeMemory::now().taken_since(&l.free_before) {
        resolved.insert("gpu_memory_bytes".into(), Value::from(taken));
    }
    resolved.insert("host_memory_bytes".into(), Value::from(resident));
    LaunchFacts {
        version: l.client.version().or(said),
        argv: redact::argv(&l.argv),
        files: l.files.clone(),
        env: redact::env(&l.env),
        startup_s,
        resolved,
    }
}
