//! The guard: a small process of our own that ends an engine when we cannot.
//!
//! `kill -9`, a closed terminal or a crash give `dyno` no moment to stop what it has started. Before each launch it
//! therefore starts a guard: the same program in a session of its own, with one end of a pipe. However `dyno` ends,
//! the kernel closes the other end, and the guard ends the tree that the last line in the pipe described. A guard
//! that is killed as well leaves the lease, and the next `dyno` reaps it.

use super::find_program;
use super::lease::Lease;
use super::stop::wait_until;
use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// Name of the hidden command under which the program acts as a guard.
pub const COMMAND: &str = "guard";
/// An engine whose `dyno` died gets this long to end in its own order.
const GRACE: Duration = Duration::from_secs(2);

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Says which program has the guard's command; without this call no guards are started, as in a library that is used
/// from another program.
pub fn enable(program: PathBuf) {
    let _ = PROGRAM.set(program);
}

/// A running guard.
#[derive(Debug)]
pub(super) struct Guard {
    handle: duct::Handle,
    pipe: std::io::PipeWriter,
}

impl Guard {
    /// None where guards are not enabled, or one cannot be started: the lease then has to do alone.
    pub(super) fn start() -> Option<Guard> {
        let program = PROGRAM.get()?;
        let (reader, pipe) = std::io::pipe().ok()?;
        // Without our environment: no mark of a launch, and no secret, is in a process that outlives us.
        let nothing: [(OsString, OsString); 0] = [];
        let expr = match find_program("setsid") {
            Some(setsid) => duct::cmd(setsid, [program.as_os_str(), COMMAND.as_ref()]),
            None => duct::cmd(program, [COMMAND]),
        };
        let handle = expr
            .full_env(nothing)
            .dir("/")
            .stdin_file(reader)
            .stdout_null()
            .stderr_null()
            .unchecked()
            .start()
            .ok()?;
        Some(Guard { handle, pipe })
    }

    /// What the guard shall end; the last word counts.
    pub(super) fn tell(&self, file: &Path, lease: &Lease) {
        self.say(&message(file, lease));
    }

    fn say(&self, line: &str) {
        // A guard that is gone guards nothing; the lease still stands.
        let _ = (&self.pipe).write_all(format!("{line}\n").as_bytes());
    }

    /// Nothing is left to guard.
    pub(super) fn dismiss(self) {
        self.say("null");
        drop(self.pipe);
        let _ = self.handle.wait();
    }
}

/// The line that describes a lease, with the place of its file.
pub(super) fn message(file: &Path, lease: &Lease) -> String {
    serde_json::to_string(&(file, lease)).unwrap_or_default()
}

/// The guard's work: reads leases from `input` until it ends, then ends the tree of the last one.
pub fn watch(input: impl BufRead) {
    let mut last = None;
    for line in input.lines().map_while(Result::ok) {
        // A line that was cut by the end of its writer changes nothing.
        if let Ok(told) = serde_json::from_str::<Option<(PathBuf, Lease)>>(&line) {
            last = told;
        }
    }
    let Some((file, lease)) = last else { return };
    let tree = &lease.tree;
    if let Some(leader) = tree.proven_members().into_iter().find(|m| m.pid == tree.leader) {
        leader.signal(rustix::process::Signal::TERM);
        wait_until(GRACE, || tree.members().is_empty());
    }
    lease.at(file).end(true);
}
