//! The guard: a small process of our own that ends an engine when we cannot.
//!
//! `kill -9`, a closed terminal or a crash give `dyno` no moment to stop what it has started. Before each launch it
//! therefore starts a guard: the same program in a session of its own, with one end of a pipe. However `dyno` ends,
//! the kernel closes the other end, and the guard ends the tree that the last line in the pipe described. A guard
//! that is killed as well leaves the lease, and the next `dyno` reaps it.

use super::contained::RUNTIME_ENV;
use super::find_program;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Name of the hidden command under which the program acts as a guard.
pub const COMMAND: &str = "guard";

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
        // Without our environment: no mark of a launch, and no secret, is in a process that outlives us. A container's
        // runtime must be found, and find its storage.
        let own = RUNTIME_ENV.iter().filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
        let own: Vec<(OsString, OsString)> = own.collect();
        let expr = match find_program("setsid") {
            Some(setsid) => duct::cmd(setsid, [program.as_os_str(), COMMAND.as_ref()]),
            None => duct::cmd(program, [COMMAND]),
        };
        let handle = expr
            .full_env(own)
            .dir("/")
            .stdin_file(reader)
            .stdout_null()
            .stderr_null()
            .unchecked()
            .start()
            .ok()?;
        Some(Guard { handle, pipe })
    }

    /// One line on what the guard shall end; the last one counts.
    pub(super) fn say(&self, line: &str) {
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
