//! The work of a guard, in its own process.

use super::lease::{Lease, remove_unfinished};
use super::stop::wait_until;
use std::io::BufRead;
use std::path::PathBuf;
use std::time::Duration;

/// An engine whose `dyno` died gets this long to end in its own order.
const GRACE: Duration = Duration::from_secs(2);

/// So long it looks for what its `dyno` was writing when it was killed.
const UNFINISHED: Duration = Duration::from_secs(8);

/// The guard's work: reads leases from `input` until it ends, then ends the tree of the last one.
pub fn guard(input: impl BufRead) {
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
    let owner = lease.owner;
    lease.at(file.clone()).end(true);
    wait_until(UNFINISHED, || !remove_unfinished(&file, owner));
}
