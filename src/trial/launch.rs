//! From a spec to a started process: everything that can be known wrong before is found before.

use super::engine_help::installed;
use super::failing::Failing;
use super::gpu_memory::{FreeMemory, wait_released};
use super::secrets::{Secrets, api_key};
use super::{Event, Failure, Observer, TrialSpec};
use crate::engine::{Adapter, Class, LaunchPlan, LaunchRequest, adapter};
use crate::error::Error;
use crate::launch::{LaunchFile, conflicts, fixed_value};
use crate::process::{Launch, Lease, Running, free_port, port_free, stop};
use crate::scenario::EngineKind;
use crate::telemetry::{EngineClient, LogTail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A launch that was started; [`Launched::stop`] ends it.
pub(super) struct Launched {
    pub(super) adapter: &'static dyn Adapter,
    pub(super) running: Running,
    pub(super) lease: Lease,
    pub(super) port: u16,
    pub(super) client: EngineClient,
    pub(super) api_key: Option<String>,
    pub(super) argv: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) files: Vec<LaunchFile>,
    pub(super) started: Instant,
    /// Before the start; empty without a GPU.
    pub(super) free_before: FreeMemory,
    pub(super) tail: LogTail,
    pub(super) failing: Failing,
    /// From SIGTERM to SIGKILL.
    grace: Duration,
}

/// What [`Launched::stop`] left to tell.
pub(super) struct Stopped {
    pub(super) leftovers: Vec<String>,
    pub(super) survivors: Vec<String>,
}

impl Launched {
    /// Starts the engine, or says why not.
    pub(super) fn start(spec: &TrialSpec, observer: &dyn Observer) -> Result<Launched, Box<Failure>> {
        let log = Path::new(&spec.dir).join("engine.log");
        let secrets = Secrets::of(spec);
        let engine = spec.candidate.engine;
        let failing = Failing { engine, log: log.clone(), secrets };
        let adapter = adapter(engine);
        std::fs::create_dir_all(&spec.dir)
            .map_err(|e| failing.of(Class::Unwritable, "start", &format!("{}: {e}", spec.dir), ""))?;
        let _ = std::fs::remove_file(&log);
        let program = judged(spec, adapter, &failing)?;
        let port = port(spec, &failing)?;
        let plan = adapter.plan(&request(spec, port));
        let argv: Vec<String> = program.into_iter().chain(plan.args.iter().cloned()).collect();
        observer.event(&Event::Launching { argv: &crate::engine::redact::argv(&argv) });
        spawn(spec, adapter, &failing, port, argv, &plan, log)
    }

    /// Stops the engine and proves that nothing of it is left.
    pub(super) fn stop(self) -> Stopped {
        let Launched { running, lease, port, failing, grace, free_before, .. } = self;
        let report = stop(running, grace, Some(port));
        failing.secrets.scrub_file(&failing.log);
        if report.survivors.is_empty() {
            lease.release();
        }
        let mut survivors = report.survivors;
        survivors.extend(wait_released(&free_before));
        Stopped { leftovers: report.leftovers, survivors }
    }
}

/// A port of the kernel's choice, or the one given after `--`, proved free before anything is started: some
/// engines find out only after the whole model is loaded, others share the port without a word.
fn port(spec: &TrialSpec, failing: &Failing) -> Result<u16, Box<Failure>> {
    let Some(text) = fixed_value(&spec.fixed_args, "port") else {
        return free_port().map_err(|e| failing.of(Class::PortInUse, "start", &e.to_string(), ""));
    };
    let port = text.parse().map_err(|_| {
        failing.of(Class::BadValue, "start", &format!("--port {text}: not a port number"), "")
    })?;
    if port_free(port) {
        return Ok(port);
    }
    Err(failing.of(Class::PortInUse, "start", &format!("port {port} is in use by another process"), ""))
}

fn request(spec: &TrialSpec, port: u16) -> LaunchRequest<'_> {
    LaunchRequest {
        candidate: &spec.candidate,
        model: &spec.model,
        served_model_name: spec.served_model_name.as_deref(),
        hardware: &spec.hardware,
        num_gpus: spec.num_gpus,
        fixed_args: &spec.fixed_args,
        fixed_env: &spec.fixed_env,
        port,
        dir: &spec.dir,
    }
}

/// The program, once flags and version were found to fit.
fn judged(spec: &TrialSpec, adapter: &dyn Adapter, failing: &Failing) -> Result<Vec<String>, Box<Failure>> {
    let twice = conflicts(&spec.candidate, &spec.fixed_args);
    if !twice.is_empty() {
        let cause = format!("given both by the candidate and after `--`: --{}", twice.join(", --"));
        return Err(failing.of(Class::FlagConflict, "start", &cause, ""));
    }
    let not_there =
        |e: Error| failing.of(Class::NotInstalled, "start", &e.what, e.hint.as_deref().unwrap_or_default());
    let mut engine = installed(adapter, spec.program.as_deref()).map_err(not_there)?;
    if !spec.candidate.flags.is_empty() {
        engine.ask(adapter);
        let objections = engine.help.as_ref().map_or_else(Vec::new, |h| h.objections(&spec.candidate));
        if !objections.is_empty() {
            return Err(failing.of(Class::FlagNotInVersion, "start", &objections.join("; "), ""));
        }
    }
    Ok(engine.program)
}

fn spawn(
    spec: &TrialSpec,
    adapter: &'static dyn Adapter,
    failing: &Failing,
    port: u16,
    argv: Vec<String>,
    plan: &LaunchPlan,
    log: PathBuf,
) -> Result<Launched, Box<Failure>> {
    let unwritable = |what: String| failing.of(Class::Unwritable, "start", &what, "");
    for LaunchFile { path, text } in &plan.files {
        std::fs::write(path, text).map_err(|e| unwritable(format!("{path}: {e}")))?;
    }
    let key = api_key(spec);
    let client = EngineClient::new(port, adapter.endpoints(), key.clone())
        .map_err(|e| failing.of(Class::Unknown, "start", &e.to_string(), ""))?;
    // With the pid, unique on this machine.
    let marker = format!("{}-{}/{}", std::process::id(), crate::host::since_epoch().as_nanos(), spec.id);
    let mut lease = Lease::reserve(Path::new(&spec.dir), "engine", &marker, Some(port))
        .map_err(|e| unwritable(e.to_string()))?;
    let mut env = plan.env.clone();
    if let Ok(dir) = lease.temp_dir() {
        keep_temporary_files_in(&mut env, &dir);
    }
    let launch = Launch { argv: argv.clone(), env, dir: None, log: log.clone(), marker };
    let emulated = failing.engine == EngineKind::Emulated;
    let free_before = if emulated { FreeMemory::default() } else { FreeMemory::now() };
    let started = Instant::now();
    let running = match Running::start(&launch) {
        Ok(r) => r,
        Err(e) => {
            lease.release();
            return Err(failing.of(Class::NotInstalled, "start", &e.to_string(), adapter.install_hint()));
        }
    };
    // If only the second write fails, the marker in the first one is enough to find the tree.
    let _ = lease.adopt(running.tree());
    Ok(Launched {
        adapter,
        running,
        lease,
        port,
        client,
        api_key: key,
        argv,
        env: plan.env.clone(),
        files: plan.files.clone(),
        started,
        free_before,
        tail: LogTail::new(log),
        failing: failing.clone(),
        grace: Duration::from_secs_f64(spec.stop_grace_s.unwrap_or(adapter.stop_grace_s()).clamp(0.0, 600.0)),
    })
}

/// Sends the engine's temporary files where they can be removed with it. PyTorch keeps compiled code beside
/// them unless told otherwise; that has to outlive the launch.
fn keep_temporary_files_in(env: &mut BTreeMap<String, String>, dir: &Path) {
    const COMPILED: &str = "TORCHINDUCTOR_CACHE_DIR";
    if env.contains_key("TMPDIR") {
        return;
    }
    if std::env::var_os(COMPILED).is_none() && !env.contains_key(COMPILED) {
        let user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned());
        let shared = std::env::temp_dir().join(format!("torchinductor_{user}"));
        env.insert(COMPILED.to_owned(), shared.display().to_string());
    }
    env.insert("TMPDIR".to_owned(), dir.display().to_string());
}
