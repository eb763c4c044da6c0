//! Containers under lease: their processes may belong to a daemon, so they are ended through the runtime as well.

use super::find_program;
use super::tool::tool;
use crate::error::{Error, Result};
use crate::launch::{CONTAINER_LABEL, ContainerRuntime};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Variables by which a runtime finds its storage and its daemon. A guard gets these and no others.
pub(super) const RUNTIME_ENV: [&str; 8] = [
    "PATH",
    "HOME",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "CONTAINER_HOST",
    "CONTAINERD_ADDRESS",
];
/// Longest that a runtime may take to look at a container or to remove it.
const LIMIT: Duration = Duration::from_secs(60);

/// A container that dyno started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contained {
    pub runtime: ContainerRuntime,
    pub name: String,
}

/// What a runtime says of a container's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerState {
    pub running: bool,
    /// The kernel ended it, or a process in it, for want of memory.
    pub oom_killed: bool,
    pub exit_code: i32,
}

impl Contained {
    /// The state of the container, if it is there and carries this mark.
    ///
    /// Errors: the runtime does not say, so that nothing is known.
    pub fn state(&self, mark: &str) -> Result<Option<ContainerState>> {
        let format = format!(
            "{{{{index .Config.Labels \"{CONTAINER_LABEL}\"}}}} {{{{.State.Running}}}} {{{{.State.OOMKilled}}}} {{{{.State.ExitCode}}}}"
        );
        let text = match ask(self.runtime, &["container", "inspect", "--format", &format, &self.name], LIMIT)
        {
            Ok(text) => text,
            // All three runtimes say so of a container that is not there.
            Err(e) if e.what.to_lowercase().contains("no such container") => return Ok(None),
            Err(e) => return Err(e),
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let [label, running, oom, code] = words[..] else { return Ok(None) };
        Ok((label == mark).then(|| ContainerState {
            running: running == "true",
            oom_killed: oom == "true",
            exit_code: code.parse().unwrap_or(-1),
        }))
    }

    /// Removes the container if it is there and carries this mark. True when it still ran.
    pub(super) fn remove(&self, mark: &str) -> Result<bool> {
        let Some(state) = self.state(mark)? else { return Ok(false) };
        let now: &[&str] = if self.runtime == ContainerRuntime::Podman { &["--time", "0"] } else { &[] };
        ask(self.runtime, &[&["rm", "-f"], now, &[self.name.as_str()]].concat(), LIMIT)?;
        Ok(state.running)
    }
}

/// Output of a runtime's command that ends well within the limit.
///
/// Errors: the runtime is not installed, does not answer in time, or says no, with its own words.
pub fn ask(runtime: ContainerRuntime, args: &[&str], limit: Duration) -> Result<String> {
    if find_program(runtime.program()).is_none() {
        return Err(Error::failed(format!("the container runtime `{runtime}` is not installed"))
            .hint("install it, or name another with --container-runtime"));
    }
    let output = tool(runtime.program(), args, "", limit)
        .map_err(|e| if e.hint.is_none() { e.hint("is the runtime's daemon alive?") } else { e })?;
    if output.code == 0 {
        return Ok(output.stdout);
    }
    let shown = format!("{runtime} {}", args.first().copied().unwrap_or_default());
    Err(Error::failed(format!("`{shown}` says: {}", output.reason())))
}
