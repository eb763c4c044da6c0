//! One measuring session: a server that was started here, or one that runs already, from its readiness to the proof
//! that nothing of it is left. `dyno trial`, `tune`, `bench` and `ramp` all measure through it.

use super::failing::Failing;
use super::launch::{Commanded, Process, Started};
use super::secrets::Secrets;
use super::{Event, Failure, LaunchFacts, Observer};
use crate::engine::{Adapter, Class, adapter, config_facts};
use crate::error::{Error, Kind, Result};
use crate::launch::EngineKind;
use crate::load::{Cancel, Secret, Target};
use crate::process::{held, stop};
use crate::telemetry::{EngineClient, ServedModel};
use std::path::PathBuf;
use std::sync::Arc;

/// A server under load.
pub struct Session<'a> {
    pub(super) server: Started,
    pub(super) model: ServedModel,
    pub(super) facts: LaunchFacts,
    /// The engine shows metrics under the names of its adapter.
    pub(super) metrics: bool,
    pub(super) cancel: Cancel,
    pub(super) observer: &'a dyn Observer,
}

/// What a stop left to tell.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stopped {
    /// What had to be killed; empty after a clean stop.
    pub leftovers: Vec<String>,
    /// What could not be cleared.
    pub survivors: Vec<String>,
}

impl<'a> Session<'a> {
    pub(super) fn new(server: Started, cancel: &Cancel, observer: &'a dyn Observer) -> Session<'a> {
        Session {
            server,
            model: ServedModel::default(),
            facts: LaunchFacts::default(),
            metrics: false,
            cancel: cancel.clone(),
            observer,
        }
    }

    /// Starts a serving command and waits until it is ready: it lives, its port answers, and one request yields a token.
    pub fn launch(command: &Commanded, cancel: &Cancel, observer: &'a dyn Observer) -> Result<Session<'a>> {
        let started = Started::of_command(command, observer).map_err(|f| as_error(&f, &command.log))?;
        let mut session = Session::new(started, cancel, observer);
        match session.wait_ready(command.ready_timeout_s) {
            Ok(()) => {
                if let Some(name) = &command.model {
                    session.model.id.clone_from(name);
                }
                session.observer.event(&Event::Ready { facts: &session.facts });
                Ok(session)
            }
            Err(failure) => {
                session.stop();
                Err(as_error(&failure, &command.log))
            }
        }
    }

    /// A server that runs already. It is asked for its model unless the name is given.
    pub fn attach(
        base_url: &str,
        engine: EngineKind,
        api_key: Option<String>,
        model: Option<String>,
        cancel: &Cancel,
        observer: &'a dyn Observer,
    ) -> Result<Session<'a>> {
        let adapter = adapter(engine);
        let client = EngineClient::at(base_url, adapter.endpoints(), api_key.clone())?;
        let named = model.map(|id| ServedModel { id, root: None, max_model_len: None });
        let model = match named {
            Some(named) => client
                .models()
                .ok()
                .and_then(|all| all.into_iter().find(|m| m.id == named.id))
                .unwrap_or(named),
            None => client
                .models()
                .map_err(|e| e.hint("is the server running, and is this its address?"))?
                .into_iter()
                .next()
                .ok_or_else(|| Error::failed("the server serves no model").at(base_url))?,
        };
        let mut facts = LaunchFacts { version: client.version(), ..LaunchFacts::default() };
        let samples = client.scrape();
        if let Some(samples) = &samples {
            facts.resolved = config_facts(&adapter.metric_names(), samples);
        }
        let server = Started {
            adapter,
            base_url: base_url.to_owned(),
            failing: Failing {
                engine,
                log: PathBuf::new(),
                secrets: Secrets::of_argv(&[], api_key.as_deref()),
            },
            api_key,
            client: Arc::new(client),
            process: None,
            beside: Vec::new(),
            others: Vec::new(),
        };
        Ok(Session { server, model, facts, metrics: samples.is_some(), cancel: cancel.clone(), observer })
    }

    pub fn model(&self) -> &ServedModel {
        &self.model
    }

    pub fn facts(&self) -> &LaunchFacts {
        &self.facts
    }

    pub fn base_url(&self) -> &str {
        &self.server.base_url
    }

    /// Whether the engine's own counters can be read.
    pub fn has_metrics(&self) -> bool {
        self.metrics
    }

    pub fn adapter(&self) -> &'static dyn Adapter {
        self.server.adapter
    }

    /// The server as the load client is to see it.
    pub fn target(&self) -> Target {
        let mut target = Target::new(self.server.base_url.clone(), self.model.id.clone());
        target.others.clone_from(&self.server.others);
        target.api_key = self.server.api_key.clone().map(Secret::new);
        target
    }

    /// Empties the prefix cache where the engine has a way to.
    pub fn reset_cache(&self) -> bool {
        self.server.client.reset_cache()
    }

    /// The log of a server that was started here.
    pub fn log(&self) -> Option<PathBuf> {
        self.server.process.is_some().then(|| self.server.failing.log.clone())
    }

    /// Ends what was started here and proves that nothing of it is left; a server that ran before goes on.
    pub fn stop(self) -> Stopped {
        let Started { process, beside, failing, .. } = self.server;
        let Some(process) = process else { return Stopped::default() };
        self.observer.event(&Event::Stopping);
        let mut all = Stopped::default();
        for process in std::iter::once(process).chain(beside) {
            let stopped = stopped(process, &failing);
            all.leftovers.extend(stopped.leftovers);
            all.survivors.extend(stopped.survivors);
        }
        all
    }

    /// Fails when the session was cancelled, the first process ended, or the log says that the engine is dead.
    pub(super) fn alive(&mut self, ready: bool) -> Result<(), Box<Failure>> {
        if self.cancel.is_cancelled() {
            let phase = if ready { "run" } else { "start" };
            return Err(self.server.failing.of(Class::Interrupted, phase, "interrupted", ""));
        }
        self.living(ready)
    }

    /// The last line of the engine's log.
    pub(super) fn last_line(&self) -> &str {
        self.server.process.as_ref().map_or("", |p| p.tail.last())
    }
}

/// Ends one process, and proves that nothing of it is left.
fn stopped(process: Process, failing: &Failing) -> Stopped {
    // Processes of a container may belong to a daemon that we cannot see: its port is free once it is gone.
    let port = process.image.is_none().then_some(process.port);
    let log = process.running.log.clone();
    let mut report = stop(process.running, process.grace, port);
    failing.secrets.scrub_file(&log);
    if process.image.is_some() {
        match process.lease.remove_container() {
            Ok(ran) => report
                .leftovers
                .extend(ran.then(|| "the container had to be removed while it ran".to_owned())),
            Err(e) => report.survivors.push(e.to_string()),
        }
        report.survivors.extend(held(process.port));
    }
    if report.survivors.is_empty() {
        process.lease.release();
    }
    let mut survivors = report.survivors;
    survivors.extend(super::gpu_memory::wait_released(&process.free_before));
    Stopped { leftovers: report.leftovers, survivors }
}

/// A failure of a server that a command started, as the command's own.
pub fn as_error(failure: &Failure, log: &std::path::Path) -> Error {
    let interrupted = failure.class == Class::Interrupted;
    let kind = if interrupted { Kind::Interrupted } else { Kind::Failed };
    let what = if interrupted {
        "interrupted while the server started".to_owned()
    } else {
        let ended = failure.exit.is_some() && failure.phase != "run";
        let how = if ended { "ended before it was ready" } else { "failed" };
        format!("the server {how} ({}, {}): {}", failure.class, failure.phase, failure.root_cause)
    };
    let mut error = Error::new(kind, what).at(log.display());
    if let Some(exit) = &failure.exit {
        error = error.source(format!("it ended with {exit}"));
    }
    if failure.hint.is_empty() { error } else { error.hint(failure.hint.clone()) }
}
