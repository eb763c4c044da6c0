//! From started to ready: the process lives, the port answers, a model is served, and one request really
//! generates a token. A front end that says `ready` proves none of that.

use super::failing::Failing;
use super::gpu_memory::FreeMemory;
use super::launch::{Process, Started};
use super::session::Session;
use super::types::LaunchFacts;
use super::{Event, Failure};
use crate::engine::metrics::config_facts;
use crate::engine::{Adapter, Class, redact};
use crate::telemetry::Probe;
use serde_json::Value;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(150);
/// A probe may wait for kernels that are compiled at their first use.
const PROBE_LIMIT: Duration = Duration::from_secs(120);

impl Session<'_> {
    /// Waits until the engine is ready, or says why it will not be. Its model and facts are then known.
    pub(super) fn wait_ready(&mut self, limit_s: f64) -> Result<(), Box<Failure>> {
        let started = self.server.process.as_ref().map_or_else(Instant::now, |p| p.started);
        let deadline = started + Duration::from_secs_f64(limit_s.clamp(0.0, 1e7));
        let mut told = Instant::now();
        let model = loop {
            self.alive(false)?;
            if Instant::now() >= deadline {
                let what = format!("not ready after {limit_s:.0} s");
                return Err(self.server.failing.hung(Class::HangAtStart, &what, self.last_line()));
            }
            if self.server.client.healthy()
                && let Some(model) = self.server.client.model()
            {
                break model;
            }
            if told.elapsed() > Duration::from_millis(500) {
                told = Instant::now();
                self.observer.event(&Event::Waiting {
                    elapsed_s: started.elapsed().as_secs_f64(),
                    last_line: self.last_line(),
                });
            }
            std::thread::sleep(POLL);
        };
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
        // The name that the server itself lists: not every engine takes a served name.
        self.model = model;
        let fingerprint = self.probe(left.min(PROBE_LIMIT))?;
        self.facts = self.read_facts(started.elapsed().as_secs_f64());
        if let Some(n) = self.model.max_model_len {
            self.facts.resolved.insert("max_model_len".into(), Value::from(n));
        }
        if let Some(f) = fingerprint {
            self.facts.resolved.insert("system_fingerprint".into(), Value::from(f));
        }
        Ok(())
    }

    fn probe(&mut self, limit: Duration) -> Result<Option<String>, Box<Failure>> {
        match self.server.client.probe(&self.model.id, limit) {
            Probe::Token { fingerprint } => Ok(fingerprint),
            Probe::Refused(what) => {
                self.settle()?;
                Err(self.server.failing.of(
                    Class::BadResponse,
                    "start",
                    &format!("probe request: {what}"),
                    "",
                ))
            }
            Probe::Silent(what) => {
                self.settle()?;
                let what = format!("the probe request for one token was not answered: {what}");
                Err(self.server.failing.hung(Class::HangAtStart, &what, self.last_line()))
            }
        }
    }

    /// An engine that dies while it answers needs a moment until its process is gone; then its death is the
    /// failure, not the answer.
    fn settle(&mut self) -> Result<(), Box<Failure>> {
        for _ in 0..10 {
            self.alive(false)?;
            std::thread::sleep(POLL);
        }
        self.alive(false)
    }

    /// Fails when the first process ended, or the log says that the engine is dead.
    pub(super) fn living(&mut self, ready: bool) -> Result<(), Box<Failure>> {
        let Started { process, beside, failing, adapter, .. } = &mut self.server;
        for process in process.iter_mut().chain(beside) {
            let failing = Failing { log: process.running.log.clone(), ..failing.clone() };
            lives(process, &failing, *adapter, ready).map_err(|mut failure| {
                if let Some(place) = &process.place {
                    failure.root_cause = format!("{place}: {}", failure.root_cause);
                }
                failure
            })?;
        }
        Ok(())
    }

    /// Facts from the log, the metrics, the server's own account, later sources winning.
    fn read_facts(&mut self, startup_s: f64) -> LaunchFacts {
        let Started { process, client, adapter, .. } = &self.server;
        let Some(process) = process else { return LaunchFacts::default() };
        let log = super::failing::read_ends(&process.running.log);
        let mut resolved = adapter.log_facts(&log);
        let samples = client.scrape();
        self.metrics = samples.is_some();
        if let Some(samples) = samples {
            resolved.extend(config_facts(&adapter.metric_names(), &samples));
        }
        if let Some(info) = client.server_info() {
            resolved.extend(adapter.info_facts(&info));
        }
        let said = resolved.remove("engine_version").and_then(|v| v.as_str().map(str::to_owned));
        let trees = self.server.processes().map(|p| p.running.tree().resident_bytes());
        let resident: u64 = trees.map(|all| all.values().sum::<u64>()).sum();
        if let Some(taken) = FreeMemory::now().taken_since(&process.free_before) {
            resolved.insert("gpu_memory_bytes".into(), Value::from(taken));
        }
        resolved.insert("host_memory_bytes".into(), Value::from(resident));
        LaunchFacts {
            version: client.version().or(said),
            argv: redact::argv(&process.argv),
            files: process.files.clone(),
            env: redact::env(&process.env),
            image: process.image.clone(),
            startup_s,
            resolved,
            slow: Vec::new(),
        }
    }
}

/// Fails when the process ended, or its log says that the engine is dead.
fn lives(
    process: &mut Process,
    failing: &Failing,
    adapter: &dyn Adapter,
    ready: bool,
) -> Result<(), Box<Failure>> {
    if let Some(exit) = process.running.exit() {
        process.note_container_end();
        return Err(failing.died(exit, ready));
    }
    let lines = process.tail.read();
    let marks = adapter.fatal_marks();
    let Some(fatal) = lines.iter().find(|line| marks.iter().any(|m| line.contains(m))) else {
        return Ok(());
    };
    // Let it finish its last words, so that the exit is known as well when there is one.
    let until = Instant::now() + Duration::from_secs(8);
    while Instant::now() < until {
        if let Some(exit) = process.running.exit() {
            process.note_container_end();
            return Err(failing.died(exit, ready));
        }
        std::thread::sleep(POLL);
    }
    Err(failing.broken(fatal, ready))
}
