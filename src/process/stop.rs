//! Stopping a tree: ask, wait, kill, prove.

use super::{Exit, Member, Running, Tree, port_free};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// What the stop found and did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StopReport {
    pub exit: Option<Exit>,
    /// Seconds until the last process was gone.
    pub wall_s: f64,
    /// Processes that had to be killed or outlived their parent; empty after a clean stop.
    pub leftovers: Vec<String>,
    /// What could not be cleared: processes that survive SIGKILL, a port still held.
    pub survivors: Vec<String>,
}

const POLL: Duration = Duration::from_millis(50);
/// Workers whose parent is gone get this long to notice.
const ORPHANS: Duration = Duration::from_millis(1500);
/// After SIGKILL only the kernel stands between a process and its end.
const KILL_WAIT: Duration = Duration::from_secs(20);
const PORT_WAIT: Duration = Duration::from_secs(10);

/// SIGTERM to the first process, `grace` for the whole tree to end, SIGKILL to what is left, then proof
/// that no process and no listener remains. Blocks.
///
/// Only the leader is asked: an engine's parent takes its workers down in order, and workers that are
/// signalled at the same time log errors that look like failures. When the leader is dead already its
/// orphans are killed at once.
pub fn stop(mut running: Running, grace: Duration, port: Option<u16>) -> StopReport {
    let began = Instant::now();
    let tree = running.tree().clone();
    let mut report = StopReport::default();
    if running.exit().is_none()
        && let Some(leader) = tree.members().first()
    {
        leader.signal(Signal::TERM);
        wait_until(grace, || running.exit().is_some());
        // The leader ends last in an orderly stop: a process that is still there will not go by itself.
        wait_until(ORPHANS.min(grace), || tree.members().is_empty());
    } else {
        wait_until(ORPHANS.min(grace), || tree.members().is_empty());
    }
    report.leftovers = kill_all(&tree, running.exit().is_none());
    wait_until(KILL_WAIT, || running.exit().is_some());
    report.survivors = tree.members().iter().map(Member::label).collect();
    report.survivors.extend(port.and_then(held));
    report.exit = running.exit();
    report.wall_s = began.elapsed().as_secs_f64();
    running.mark_finished();
    report
}

/// The port, when it does not come free.
pub fn held(port: u16) -> Option<String> {
    (!wait_until(PORT_WAIT, || port_free(port))).then(|| format!("port {port} is still held"))
}

/// Kills every member until none is left; returns a line for each.
fn kill_all(tree: &Tree, leader_hung: bool) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    wait_until(KILL_WAIT, || {
        let members = tree.members();
        for m in &members {
            let why = if m.pid == tree.leader && leader_hung { "did not end in time" } else { "left behind" };
            let line = format!("{} {why}, killed", m.label());
            if !lines.contains(&line) {
                lines.push(line);
            }
            m.signal(Signal::KILL);
        }
        members.is_empty()
    });
    lines
}

/// Polls until the condition holds; false when the time is over first.
pub(super) fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
}
