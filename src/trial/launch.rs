//! From a spec to a started process: everything that can be known wrong before is found before.

use super::container::Inside;
use super::engine_help::installed;
use super::failing::Failing;
use super::gpu_memory::FreeMemory;
use super::rank::Rank;
use super::secrets::{Secrets, api_key};
use super::types::ImageFacts;
use super::{Event, Failure, Observer, TrialSpec};
use crate::engine::{Adapter, Class, adapter};
use crate::error::Error;
use crate::launch::{Candidate, Container, EngineKind, LaunchFile, LaunchRequest, conflicts, fixed_value};
use crate::process::{Launch, Lease, Running, free_port, port_free};
use crate::telemetry::{EngineClient, LogTail};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The process of an engine that was started.
pub(super) struct Process {
    pub(super) running: Running,
    pub(super) lease: Lease,
    pub(super) port: u16,
    pub(super) argv: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) files: Vec<LaunchFile>,
    pub(super) started: Instant,
    /// Before the start; empty without a GPU.
    pub(super) free_before: FreeMemory,
    pub(super) tail: LogTail,
    /// From SIGTERM to SIGKILL.
    pub(super) grace: Duration,
    /// What the image is, where the engine runs in a container.
    pub(super) image: Option<ImageFacts>,
    /// Which of several processes it is, for failures.
    pub(super) place: Option<String>,
}

impl Process {
    /// Writes what the runtime knows of the container's end under the engine's own log, where it is judged with the rest.
    pub(super) fn note_container_end(&self) {
        if self.image.is_none() {
            return;
        }
        let Some(state) = self.lease.container_state().filter(|s| !s.running) else { return };
        if let Ok(mut log) = std::fs::OpenOptions::new().append(true).open(&self.running.log) {
            let word = if state.oom_killed { "OOMKilled" } else { "ended" };
            let _ = writeln!(log, "container: {word}, exit code {}", state.exit_code);
        }
    }
}

/// A serving command as the user wrote it, to be started for a measurement.
#[derive(Debug, Clone)]
pub struct Commanded {
    pub argv: Vec<String>,
    pub engine: EngineKind,
    pub api_key: Option<String>,
    /// Name to ask for; the server's first model when absent.
    pub model: Option<String>,
    /// Seconds allowed from start to ready.
    pub ready_timeout_s: f64,
    pub log: PathBuf,
    /// The command runs in this image.
    pub container: Option<Container>,
}

/// A server and the way to talk to it.
pub(super) struct Started {
    pub(super) adapter: &'static dyn Adapter,
    pub(super) client: Arc<EngineClient>,
    pub(super) base_url: String,
    pub(super) api_key: Option<String>,
    pub(super) failing: Failing,
    /// None for a server that was not started here.
    pub(super) process: Option<Process>,
    /// Further replicas, each with a port of its own, and the router before all of them where there is one.
    pub(super) beside: Vec<Process>,
    /// Addresses of further replicas that the client itself sends to in turn.
    pub(super) others: Vec<String>,
}

impl Started {
    /// Every process that was started for this server.
    pub(super) fn processes(&self) -> impl Iterator<Item = &Process> {
        self.process.iter().chain(&self.beside)
    }
}

/// What is to be started, whichever command asked for it.
pub(super) struct Start<'s> {
    pub(super) adapter: &'static dyn Adapter,
    pub(super) failing: Failing,
    pub(super) argv: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) files: Vec<LaunchFile>,
    pub(super) port: u16,
    pub(super) api_key: Option<String>,
    /// Where the lease lies and under which name; the name of the launch.
    pub(super) lease: (&'s Path, &'s str),
    pub(super) id: &'s str,
    pub(super) grace_s: f64,
    /// `argv` is run in this container.
    pub(super) inside: Option<Inside>,
    /// GPUs of this launch alone; empty: those that this process sees.
    pub(super) devices: &'s [u32],
}

impl Started {
    /// Starts one engine; `name` is that of its log and its lease.
    pub(super) fn of_one(
        spec: &TrialSpec,
        name: &str,
        rank: Option<Rank<'_>>,
        observer: &dyn Observer,
    ) -> Result<Started, Box<Failure>> {
        let spec = &in_full(spec);
        let log = Path::new(&spec.dir).join(format!("{name}.log"));
        let engine = spec.candidate.engine;
        let failing = Failing { engine, log: log.clone(), secrets: Secrets::of(spec) };
        let adapter = adapter(engine);
        std::fs::create_dir_all(&spec.dir)
            .map_err(|e| failing.of(Class::Unwritable, "start", &format!("{}: {e}", spec.dir), ""))?;
        let _ = std::fs::remove_file(&log);
        let inside = spec.container.as_ref().map(|c| {
            let seen = [spec.model.as_str(), spec.dir.as_str()].into_iter().chain(spec.data_dir.as_deref());
            Inside::new(c, engine, seen).map(|inside| inside.on(&spec.devices))
        });
        let inside = inside.transpose().map_err(|e| not_installed(&failing, &e))?;
        let program = checked(spec, adapter, inside.as_ref(), &failing)?;
        let port = port(fixed_value(&spec.fixed_args, "port"), &failing)?;
        let candidate = spec.candidate.spelled_out();
        let mut plan = adapter.plan(&request(spec, &candidate, port));
        if let Some(c) = &spec.container {
            plan.args = c.addressed(plan.args);
        }
        let start = Start {
            adapter,
            failing,
            argv: match rank {
                None => program.into_iter().chain(plan.args).collect(),
                Some(rank) => rank.command(program.into_iter().chain(plan.args).collect(), &plan.env),
            },
            env: plan.env,
            files: plan.files,
            port,
            api_key: api_key(spec),
            lease: (Path::new(&spec.dir), name),
            id: &spec.id,
            grace_s: spec.stop_grace_s.unwrap_or(adapter.stop_grace_s()),
            inside,
            devices: &spec.devices,
        };
        start.spawn(observer)
    }

    /// Starts a serving command as it is, on a port of its own where it names none.
    pub(super) fn of_command(command: &Commanded, observer: &dyn Observer) -> Result<Started, Box<Failure>> {
        let adapter = adapter(command.engine);
        let secrets = Secrets::of_argv(&command.argv, command.api_key.as_deref());
        let failing = Failing { engine: command.engine, log: command.log.clone(), secrets };
        let given = fixed_value(&command.argv, "port");
        let port = port(given, &failing)?;
        let mut argv = command.argv.clone();
        if command.container.is_some() {
            for word in &mut argv {
                *word = path_in_full(word);
            }
        }
        let of_command = |c| Inside::new(c, command.engine, argv.iter().map(String::as_str));
        let inside = command.container.as_ref().map(of_command);
        let inside = inside.transpose().map_err(|e| not_installed(&failing, &e))?;
        if given.is_none() {
            argv.extend(["--port".to_owned(), port.to_string()]);
        }
        if let Some(c) = &command.container {
            argv = c.addressed(argv);
        }
        let unwritable = |e: Error| failing.of(Class::Unwritable, "start", &e.to_string(), "");
        let leases = crate::process::lease_dir().map_err(unwritable)?;
        let name = format!("{}-{port}", std::process::id());
        let start = Start {
            adapter,
            failing,
            argv,
            env: BTreeMap::new(),
            files: Vec::new(),
            port,
            api_key: command.api_key.clone(),
            lease: (&leases, &name),
            id: "command",
            grace_s: adapter.stop_grace_s(),
            inside,
            devices: &[],
        };
        start.spawn(observer)
    }
}

/// The spec with its paths in full where the engine runs in a container, whose own directory is another.
fn in_full(spec: &TrialSpec) -> TrialSpec {
    let mut full = spec.clone();
    if full.container.is_some() {
        full.dir = std::path::absolute(&full.dir).map_or(full.dir, |d| d.display().to_string());
        full.model = path_in_full(&full.model);
        full.data_dir = full.data_dir.as_deref().map(path_in_full);
    }
    full
}

/// A word that names a file or directory here with a path, in full; any other word as it is.
fn path_in_full(word: &str) -> String {
    let path = Path::new(word);
    let relative = word.contains('/') && path.is_relative() && path.exists();
    let full = if relative { std::path::absolute(path).ok() } else { None };
    full.map_or_else(|| word.to_owned(), |p| p.display().to_string())
}

/// A port of the kernel's choice, or the one given after `--`, proved free before anything is started: some
/// engines find out only after the whole model is loaded, others share the port without a word.
pub(super) fn port(given: Option<&str>, failing: &Failing) -> Result<u16, Box<Failure>> {
    let Some(text) = given else {
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

fn request<'a>(spec: &'a TrialSpec, candidate: &'a Candidate, port: u16) -> LaunchRequest<'a> {
    LaunchRequest {
        candidate,
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

fn not_installed(failing: &Failing, e: &Error) -> Box<Failure> {
    failing.of(Class::NotInstalled, "start", &e.to_string(), e.hint.as_deref().unwrap_or_default())
}

/// The program, once flags and version were found to fit.
fn checked(
    spec: &TrialSpec,
    adapter: &dyn Adapter,
    inside: Option<&Inside>,
    failing: &Failing,
) -> Result<Vec<String>, Box<Failure>> {
    let candidate = spec.candidate.spelled_out();
    let twice = conflicts(&candidate, &spec.fixed_args);
    if !twice.is_empty() {
        let cause = format!("given both by the candidate and after `--`: --{}", twice.join(", --"));
        return Err(failing.of(Class::FlagConflict, "start", &cause, ""));
    }
    let not_there =
        |e: Error| failing.of(Class::NotInstalled, "start", &e.what, e.hint.as_deref().unwrap_or_default());
    let mut engine = match inside {
        Some(inside) => inside.installed(spec.program.as_deref(), adapter),
        None => installed(adapter, spec.program.as_deref()).map_err(not_there)?,
    };
    if !candidate.flags.is_empty() {
        engine.ask(adapter);
        let objections = engine.help.as_ref().map_or_else(Vec::new, |h| h.objections(&candidate));
        if !objections.is_empty() {
            return Err(failing.of(Class::FlagNotInVersion, "start", &objections.join("; "), ""));
        }
    }
    Ok(inside.map_or(engine.program, |i| i.program(spec.program.as_deref(), adapter)))
}

impl Start<'_> {
    pub(super) fn spawn(self, observer: &dyn Observer) -> Result<Started, Box<Failure>> {
        let Start { adapter, failing, argv, env, files, port, api_key, lease, id, grace_s, inside, devices } =
            self;
        observer.event(&Event::Launching { argv: &crate::engine::redact::argv(&argv) });
        let unwritable = |what: String| failing.of(Class::Unwritable, "start", &what, "");
        for LaunchFile { path, text } in &files {
            std::fs::write(path, text).map_err(|e| unwritable(format!("{path}: {e}")))?;
        }
        let client = EngineClient::new(port, adapter.endpoints(), api_key.clone())
            .map_err(|e| failing.of(Class::Unknown, "start", &e.to_string(), ""))?;
        // With the pid, unique on this machine.
        let marker = format!("{}-{}/{id}", std::process::id(), crate::host::since_epoch().as_nanos());
        let mut lease =
            Lease::reserve(lease.0, lease.1, &marker, Some(port)).map_err(|e| unwritable(e.to_string()))?;
        let surrounded = surrounded(inside.as_ref(), &argv, &env, devices, (&mut lease, port));
        let (run, with_temp) = match surrounded {
            Ok(words) => words,
            Err(e) => {
                lease.release();
                return Err(unwritable(e.to_string()));
            }
        };
        let log = failing.log.clone();
        // A runtime may write where it is started: runc leaves a file named `oom`.
        let beside = log.parent().filter(|d| d.is_dir()).map(Path::to_owned);
        let dir = inside.is_some().then_some(beside).flatten();
        let launch = Launch { argv: run.clone(), env: with_temp, dir, log: log.clone(), marker };
        let emulated = failing.engine == EngineKind::Emulated;
        let free_before =
            if emulated { FreeMemory::default() } else { FreeMemory::now().of_devices(devices) };
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
        let grace = Duration::from_secs_f64(grace_s.clamp(0.0, 600.0));
        let tail = LogTail::new(log);
        let image = inside.map(|i| i.facts(&run));
        let place = None;
        let process = Process {
            running,
            lease,
            port,
            argv,
            env,
            files,
            started,
            free_before,
            tail,
            grace,
            image,
            place,
        };
        let base_url = format!("http://127.0.0.1:{port}");
        let (process, client) = (Some(process), Arc::new(client));
        let (beside, others) = (Vec::new(), Vec::new());
        Ok(Started { adapter, client, base_url, api_key, failing, process, beside, others })
    }
}

/// The words and the environment by which the process is started: the container's where there is one.
fn surrounded(
    inside: Option<&Inside>,
    argv: &[String],
    env: &BTreeMap<String, String>,
    devices: &[u32],
    (lease, port): (&mut Lease, u16),
) -> crate::error::Result<(Vec<String>, BTreeMap<String, String>)> {
    if let Some(inside) = inside {
        return Ok((inside.started_by(argv, env, lease, port)?, env.clone()));
    }
    let mut with_temp = env.clone();
    with_temp.extend(visible(devices));
    if let Ok(dir) = lease.temp_dir() {
        keep_temporary_files_in(&mut with_temp, &dir);
    }
    Ok((argv.to_vec(), with_temp))
}

/// The variables by which a process sees these GPUs alone, counted as the driver counts them.
fn visible(devices: &[u32]) -> impl Iterator<Item = (String, String)> {
    let list = devices.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let order = ("CUDA_DEVICE_ORDER", "PCI_BUS_ID".to_owned());
    let all = [("CUDA_VISIBLE_DEVICES", list.clone()), ("HIP_VISIBLE_DEVICES", list), order];
    let none = devices.is_empty();
    all.into_iter().filter(move |_| !none).map(|(name, value)| (name.to_owned(), value))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_becomes_a_full_path() {
        assert_eq!(
            path_in_full("src/lib.rs"),
            std::path::absolute("src/lib.rs").unwrap().display().to_string()
        );
        for word in ["openai/gpt-oss-20b", "--flag", "src", "/etc"] {
            assert_eq!(path_in_full(word), word);
        }
    }
}
