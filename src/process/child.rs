//! Starting one child.

use super::{MARKER, Tree, find_program};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::ExitStatus;

/// What to start.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Added to the inherited environment.
    pub env: BTreeMap<String, String>,
    /// Working directory; inherited when absent.
    pub dir: Option<PathBuf>,
    /// Receives stdout and stderr, truncated at the start.
    pub log: PathBuf,
    /// Value of the environment marker, unique on this machine.
    pub marker: String,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

impl Exit {
    fn from_status(status: ExitStatus) -> Exit {
        match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, signal) => Exit::Signal(signal.unwrap_or(0)),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(c) => write!(f, "exit code {c}"),
            Exit::Signal(s) => write!(f, "signal {s}{}", signal_name(*s)),
        }
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        2 => " (SIGINT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        15 => " (SIGTERM)",
        _ => "",
    }
}

/// A started child; stop it with [`super::stop()`].
///
/// Dropping it kills the whole tree at once, so that no early return can leave an engine behind.
#[derive(Debug)]
pub struct Running {
    handle: duct::Handle,
    tree: Tree,
    pub log: PathBuf,
    finished: bool,
}

impl Running {
    /// Starts the child in its own session with its output in the log file.
    pub fn start(launch: &Launch) -> Result<Running> {
        let (name, rest) =
            launch.argv.split_first().ok_or_else(|| Error::failed("an empty command cannot be started"))?;
        let program = find_program(name)
            .ok_or_else(|| Error::failed(format!("program `{name}` was not found or is not executable")))?;
        let out = crate::host::private_file(&launch.log).map_err(|e| {
            Error::failed("the log file cannot be created").at(launch.log.display()).source(e)
        })?;
        let err = out
            .try_clone()
            .map_err(|e| Error::failed("the log file cannot be opened").at(launch.log.display()).source(e))?;
        let mut expr = session(program, rest)
            .stdin_null()
            .stdout_file(out)
            .stderr_file(err)
            .env(MARKER, &launch.marker)
            // Python's setproctitle overwrites the environment block otherwise, and the marker with it.
            .env("SPT_NOENV", "1")
            .unchecked();
        for (k, v) in &launch.env {
            expr = expr.env(k, v);
        }
        if let Some(dir) = &launch.dir {
            expr = expr.dir(dir);
        }
        let handle =
            expr.start().map_err(|e| Error::failed(format!("`{name}` could not be started")).source(e))?;
        let pid = handle.pids().first().copied().unwrap_or(0) as i32;
        let tree = Tree::of(pid, &launch.marker);
        Ok(Running { handle, tree, log: launch.log.clone(), finished: false })
    }

    pub fn pid(&self) -> i32 {
        self.tree.leader
    }

    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// How the first process ended, or `None` while it runs.
    pub fn exit(&self) -> Option<Exit> {
        match self.handle.try_wait() {
            Ok(Some(output)) => Some(Exit::from_status(output.status)),
            Ok(None) => None,
            // The child cannot be waited for, so it is not ours any more.
            Err(_) => Some(Exit::Code(-1)),
        }
    }

    pub(super) fn mark_finished(&mut self) {
        self.finished = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.finished {
            self.tree.signal(rustix::process::Signal::KILL);
            let _ = self.handle.kill();
        }
    }
}

/// A session of its own through `setsid(1)`, which replaces itself by the program and so keeps the pid; on
/// the rare system without it, at least a process group of its own.
pub(super) fn session(program: PathBuf, args: &[String]) -> duct::Expression {
    if let Some(setsid) = find_program("setsid") {
        let mut argv = vec![program.into_os_string()];
        argv.extend(args.iter().map(Into::into));
        return duct::cmd(setsid, argv);
    }
    duct::cmd(program, args).before_spawn(|command| {
        command.process_group(0);
        Ok(())
    })
}
