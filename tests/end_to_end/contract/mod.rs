//! Contract engines for tests: each in a directory of its own, found by `dyno` as the real engine is, and
//! everything that a trial could leave behind is looked for afterwards.

use llm_dyno::launch::EngineKind;
use llm_dyno::trial::{Failure, LaunchFacts, Measured, Outcome, TrialResult};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Marks every process that a bench starts, apart from dyno's own marker.
const MARK: &str = "CONTRACT_BENCH";

/// A directory with engines on its own `PATH`, its own caches and its own place for temporary files.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
    mark: String,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::tempdir().expect("a temporary directory");
        for name in ["bin", "tmp", "cache", "out"] {
            std::fs::create_dir(dir.path().join(name)).expect("a directory");
        }
        let mark = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Bench { dir, mark }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Installs a contract engine under the name that dyno looks for.
    pub(crate) fn install(&self, engine: EngineKind, script: &str) -> &Bench {
        let (name, version) = match engine {
            EngineKind::Vllm => ("vllm", "0.33.0"),
            EngineKind::Sglang => ("python3", "0.5.10"),
            EngineKind::Trtllm => ("trtllm-serve", "1.2.0"),
            EngineKind::Emulated => panic!("the embedded engine needs no contract"),
        };
        let link = self.path("bin").join(name);
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(contract_engine(), &link).expect("a link");
        let version =
            if script.contains("version =") { String::new() } else { format!("version = '{version}'\n") };
        let text = format!("flavour = '{}'\n{version}{script}", engine.id());
        std::fs::write(link.with_extension("toml"), text).expect("a script");
        self
    }

    /// `dyno` in this bench's world.
    pub(crate) fn dyno(&self) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("dyno"));
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        command
            .env("PATH", path)
            .env("TMPDIR", self.path("tmp"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("HOME", self.path("cache"))
            .env(MARK, &self.mark)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// A trial of this engine, to be changed before it is run.
    pub(crate) fn spec(&self, engine: EngineKind) -> Value {
        json!({
            "id": format!("{engine}-{}", self.mark),
            "candidate": {"engine": engine.id()},
            "model": "contract/model",
            "hardware": "a100-sxm-80gb",
            "workloads": [{"dataset": "random", "input_len": 32, "output_len": 5, "num_prompts": 8,
                           "max_concurrency": 4, "seed": 1}],
            "ready_timeout_s": 20.0,
            "run_timeout_s": 20.0,
            // A count: a busy machine that makes the client late does not make these runs invalid.
            "figures": ["completed"],
            "stop_grace_s": 3.0,
            "dir": self.path("out"),
        })
    }

    /// Runs `dyno trial`, and proves that nothing of it is left.
    pub(crate) fn trial(&self, spec: &Value) -> Trial {
        let file = self.path("spec.json");
        std::fs::write(&file, spec.to_string()).expect("a specification");
        let out = self.dyno().arg("trial").arg(&file).output().expect("dyno runs");
        let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
        let result = serde_json::from_slice(&out.stdout)
            .unwrap_or_else(|e| panic!("no result: {e}\n{stderr}\n{}", String::from_utf8_lossy(&out.stdout)));
        let trial = Trial { result, stderr, code: out.status.code(), log: self.path("out/engine.log") };
        self.assert_nothing_left(trial.ports());
        trial
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.dyno().args(args).output().expect("dyno runs")
    }

    /// No process, no listener, no lease, no temporary file.
    pub(crate) fn assert_nothing_left(&self, ports: Vec<u16>) {
        assert_eq!(self.processes(), Vec::<String>::new(), "processes");
        for port in ports {
            let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            assert!(
                TcpStream::connect_timeout(&at, Duration::from_millis(200)).is_err(),
                "port {port} answers"
            );
            assert!(TcpListener::bind(at).is_ok(), "port {port} is held");
        }
        assert_eq!(names(&self.path("tmp")), Vec::<String>::new(), "temporary files");
        let leases = find(&self.path("out"), &|n| n.contains(".lease") || n.contains(".part"));
        assert_eq!(leases, Vec::<PathBuf>::new(), "leases");
    }

    /// Live processes of this bench, by name and number.
    pub(crate) fn processes(&self) -> Vec<String> {
        let ours = |p: &procfs::process::Process| {
            p.environ().is_ok_and(|e| e.get(OsStr::new(MARK)).is_some_and(|v| v == self.mark.as_str()))
        };
        procfs::process::all_processes()
            .expect("/proc")
            .filter_map(Result::ok)
            .filter(|p| p.stat().is_ok_and(|s| !matches!(s.state, 'Z' | 'X')) && ours(p))
            .filter_map(|p| p.stat().ok().map(|s| format!("{} ({})", s.comm, s.pid)))
            .collect()
    }
}

/// What a trial said.
pub(crate) struct Trial {
    pub result: TrialResult,
    pub stderr: String,
    pub code: Option<i32>,
    log: PathBuf,
}

impl Trial {
    /// The failure of a trial that must fail.
    pub(crate) fn failure(&self) -> &Failure {
        match &self.result.outcome {
            Outcome::Failed { failure, .. } => failure,
            Outcome::Measured { .. } => panic!("it was measured\n{}", self.log()),
        }
    }

    /// Facts and runs of a trial that must be measured.
    pub(crate) fn measured(&self) -> (&LaunchFacts, &[Measured]) {
        match &self.result.outcome {
            Outcome::Measured { facts, runs } => (facts, runs),
            Outcome::Failed { failure, .. } => panic!("{failure:?}\n{}", self.log()),
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ports that the launch was given, from the line that announces it.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let words: Vec<&str> = self.stderr.split_whitespace().collect();
        words.windows(2).filter(|w| w[0] == "--port").filter_map(|w| w[1].parse().ok()).collect()
    }
}

/// The contract engine, which is built with the tests.
fn contract_engine() -> PathBuf {
    let file = assert_cmd::cargo::cargo_bin!("dyno").with_file_name("examples").join("contract_engine");
    assert!(
        file.exists(),
        "{} is not there: `cargo build --example contract_engine` makes it",
        file.display()
    );
    file
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a directory").filter_map(Result::ok);
    entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

/// Files below a directory whose name fits.
pub(crate) fn find(dir: &Path, fits: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(find(&path, fits));
        } else if fits(&entry.file_name().to_string_lossy()) {
            found.push(path);
        }
    }
    found
}
