//! A directory of its own for each try, and what is left of it afterwards.

#![expect(clippy::disallowed_methods, reason = "a program beside dyno, which starts dyno itself")]

use procfs::process::{Process, all_processes};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const MARK: &str = "DYNO_FAULTS_WORLD";
/// Above this much resident memory something grows without bound.
const MOST_MB: u64 = 400;

pub(crate) struct World {
    dir: tempfile::TempDir,
}

/// A command that has ended.
pub(crate) struct Done {
    pub output: Output,
    pub peak_mb: u64,
}

impl Done {
    pub(crate) fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// No panic, no abort, no memory without bound, an end by an exit code that is documented.
    pub(crate) fn sound(&self) -> Result<(), String> {
        let said = self.said();
        if said.contains("panicked at") || !self.code().is_some_and(|c| [0, 1, 2, 3, 4, 5, 130].contains(&c))
        {
            return Err(format!("ended with {}: {said}", self.output.status));
        }
        if self.peak_mb > MOST_MB {
            return Err(format!("took {} MB", self.peak_mb));
        }
        Ok(())
    }
}

impl World {
    pub(crate) fn new() -> World {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for name in ["tmp", "bin", "out"] {
            std::fs::create_dir(dir.path().join(name)).expect("a directory");
        }
        World { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A program in this world, its streams to be read.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env(MARK, self.dir.path())
            .env("HOME", self.dir.path())
            .env("TMPDIR", self.path("tmp"))
            .env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()))
            .env_remove("XDG_STATE_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn dyno(&self) -> Command {
        self.command(&beside("../dyno"))
    }

    /// Live processes of this world.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let ours = |p: &Process| {
            p.stat().is_ok_and(|s| !matches!(s.state, 'Z' | 'X'))
                && p.environ().is_ok_and(|e| e.get(OsStr::new(MARK)).is_some_and(|v| v == self.dir.path()))
        };
        all_processes().expect("/proc").filter_map(Result::ok).filter(ours).collect()
    }

    /// No process, no temporary file, no lease, some seconds after the end at the latest.
    pub(crate) fn nothing_left(&self) -> Result<(), String> {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let processes = self.processes().len();
            let temporary = std::fs::read_dir(self.path("tmp")).map_or(0, Iterator::count);
            let leases = leases(&self.path("out"));
            if processes + temporary + leases == 0 {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!(
                    "left: {processes} processes, {temporary} temporary files, {leases} leases"
                ));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn leases(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let is = |e: &std::fs::DirEntry| e.file_name().to_string_lossy().contains(".lease");
    entries.map(|e| if e.path().is_dir() { leases(&e.path()) } else { usize::from(is(&e)) }).sum()
}

/// A program that was built beside this one.
pub(crate) fn beside(name: &str) -> PathBuf {
    let me = std::env::current_exe().expect("a path");
    let file = me.parent().expect("a directory").join(name);
    assert!(file.exists(), "{} is not there: build it first", file.display());
    file
}

/// Waits for the end and for the largest resident memory; a command that does not end in `limit` is killed.
pub(crate) fn finish(child: Child, limit: Duration) -> Done {
    let pid = child.id() as i32;
    let watch = std::thread::spawn(move || {
        let (began, mut peak) = (Instant::now(), 0);
        while let Some(kb) = Process::new(pid).ok().and_then(|p| p.status().ok()?.vmhwm) {
            peak = kb.max(peak);
            if began.elapsed() > limit {
                let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        peak / 1024
    });
    let output = child.wait_with_output().expect("an end");
    Done { output, peak_mb: watch.join().expect("the watch") }
}
