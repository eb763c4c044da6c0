//! Whatever ends `dyno`, nothing that it started goes on: `kill -9`, a closed terminal, each signal that asks for an
//! end, and standard streams that take nothing any more.

use procfs::process::{Process, all_processes};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const MARK: &str = "DYNO_TEST_WORLD";

/// A directory in which one `dyno` runs; each process below it carries the directory's name.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("tmp")).unwrap();
        World { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn dyno(&self, args: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("dyno"));
        command
            .args(args)
            .env(MARK, self.dir.path())
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env_remove("XDG_STATE_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// A trial of the embedded engine that takes a minute.
    fn trial(&self) -> Command {
        let spec = json!({
            "id": "x", "candidate": {"engine": "emulated"}, "model": "Qwen/Qwen3-8B", "hardware": "a100-sxm-80gb",
            "workloads": [{"dataset": "random", "input_len": 64, "output_len": 4000, "num_prompts": 64, "seed": 1}],
            "ready_timeout_s": 60.0, "run_timeout_s": 60.0, "dir": self.path("out"),
        });
        std::fs::write(self.path("spec.json"), spec.to_string()).unwrap();
        self.dyno(&["trial", self.path("spec.json").to_str().unwrap()])
    }

    /// Live processes of this world, `dyno` itself among them.
    fn processes(&self) -> Vec<Process> {
        let ours = |p: &Process| {
            p.stat().is_ok_and(|s| !matches!(s.state, 'Z' | 'X'))
                && p.environ().is_ok_and(|e| e.get(OsStr::new(MARK)).is_some_and(|v| v == self.dir.path()))
        };
        all_processes().unwrap().filter_map(Result::ok).filter(ours).collect()
    }

    fn wait_for_engine(&self) {
        assert!(wait(60, || self.processes().len() >= 2), "no engine was started");
    }

    /// Nothing is left, after some seconds at the latest: no process, no lease, no temporary file.
    fn assert_nothing_left(&self) {
        let left = || self.processes().iter().map(|p| p.cmdline().unwrap_or_default()).collect::<Vec<_>>();
        assert!(wait(15, || left().is_empty()), "still running: {:?}", left());
        let files = || find(self.dir.path(), &|n| n.contains(".lease") || n.contains(".part"));
        assert!(wait(15, || files().is_empty()), "still there: {:?}", files());
        let temporary = || find(&self.path("tmp"), &|_| true);
        assert!(wait(15, || temporary().is_empty()), "still there: {:?}", temporary());
    }
}

fn find(dir: &Path, fits: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if fits(&entry.file_name().to_string_lossy()) {
            found.push(path.clone());
        }
        if path.is_dir() {
            found.extend(find(&path, fits));
        }
    }
    found
}

fn wait(seconds: u64, mut until: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !until() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), signal).unwrap();
}

fn ended(child: &mut Child) -> ExitStatus {
    let mut status = None;
    assert!(
        wait(30, || {
            status = child.try_wait().unwrap();
            status.is_some()
        }),
        "dyno did not end"
    );
    status.unwrap()
}

#[test]
fn kill_9_leaves_no_engine_and_no_file() {
    let world = World::new();
    let mut child = world.trial().spawn().unwrap();
    world.wait_for_engine();
    signal(&child, Signal::KILL);
    ended(&mut child);
    world.assert_nothing_left();
}

/// The embedded engine as a command after `--`.
const ENGINE: &str = "emulate --model Qwen/Qwen3-8B --hardware a100-sxm-80gb";

impl World {
    /// `bench` or `ramp` of a server that it starts itself.
    fn measuring(&self, command: &[&str]) -> Command {
        let dyno = assert_cmd::cargo::cargo_bin!("dyno");
        let mut words: Vec<&str> = command.to_vec();
        words.extend(["--", dyno.to_str().unwrap()]);
        words.extend(ENGINE.split(' '));
        self.dyno(&words)
    }
}

#[test]
fn a_server_that_bench_or_ramp_started_ends_with_them() {
    let out = |world: &World| world.path("o.json").to_str().unwrap().to_owned();
    for how in [Signal::KILL, Signal::HUP] {
        let world = World::new();
        let bench = ["bench", "--workload", "random:64/4000,n=64", "--out", &out(&world)];
        let mut child = world.measuring(&bench).spawn().unwrap();
        world.wait_for_engine();
        std::thread::sleep(Duration::from_millis(500));
        signal(&child, how);
        ended(&mut child);
        world.assert_nothing_left();
        let world = World::new();
        let ramp = ["ramp", "--workload", "random:64/4000", "--step-seconds", "30", "--out", &out(&world)];
        let mut child = world.measuring(&ramp).spawn().unwrap();
        world.wait_for_engine();
        signal(&child, how);
        ended(&mut child);
        world.assert_nothing_left();
    }
}

#[test]
fn a_server_is_ready_when_it_yields_a_token() {
    let world = World::new();
    let log = world.path("o.server.log");
    let out = world.path("o.json");
    let bench = ["bench", "--workload", "random:64/4,n=4", "--out", out.to_str().unwrap()];
    let output = world.measuring(&bench).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("the server is ready after"), "{said}");
    let record = std::fs::read_to_string(&out).unwrap();
    assert!(record.contains("num_gpu_blocks"), "facts of the launch are in the record");
    assert!(log.exists());
    // A server that answers but generates nothing, and one that ends: both are told, neither is measured.
    for (fault, class) in [("garbage", "bad-response"), ("start-exit", "exit code 1")] {
        let world = World::new();
        let mut command =
            world.measuring(&["bench", "--workload", "random:64/4,n=4", "--ready-timeout", "20s"]);
        let output = command.args(["--fault", fault]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{fault}: {said}");
        assert!(said.contains("the server ") && said.contains(class), "{said}");
        assert!(wait(15, || world.processes().is_empty()));
    }
}

#[test]
fn each_request_to_stop_is_an_orderly_end() {
    for asked in [Signal::HUP, Signal::QUIT, Signal::TERM, Signal::INT] {
        let world = World::new();
        let mut child = world.trial().spawn().unwrap();
        world.wait_for_engine();
        signal(&child, asked);
        assert_eq!(ended(&mut child).code(), Some(130), "{asked:?}");
        world.assert_nothing_left();
    }
}

#[test]
fn streams_that_take_nothing_end_no_run() {
    // `2>&1 | head -1`: the reader has gone. Standard error is written to all the time.
    let world = World::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = world.trial();
    let spec = std::fs::read_to_string(world.path("spec.json")).unwrap().replace("4000", "4");
    std::fs::write(world.path("spec.json"), spec).unwrap();
    let status = command
        .arg("--out")
        .arg(world.path("result.json"))
        .stdout(writer.try_clone().unwrap())
        .stderr(writer)
        .status();
    assert_eq!(status.unwrap().code(), Some(0));
    assert!(std::fs::read_to_string(world.path("result.json")).unwrap().contains("\"measured\""));
    // A full disk behind standard output: the result is lost, and the exit code says so.
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let status = world.dyno(&["list", "hardware"]).stdout(full()).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(1));
    world.assert_nothing_left();
}
