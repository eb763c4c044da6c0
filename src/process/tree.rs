//! The processes that belong to a launch, found through `/proc`.

use super::MARKER;
use procfs::process::{Process, Stat};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsStr;

/// How the processes of one launch are recognised.
///
/// A process belongs when its environment carries the marker, or when it is in the leader's session. The
/// second holds only while the leader's pid has not been given to another process: the kernel does not
/// reuse a number that a session still has, so either the leader is there with its start time, or nobody
/// has the number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// Pid, process group and session of the first process.
    pub leader: i32,
    /// Start time of the leader in clock ticks since boot (`/proc/PID/stat`, field 22); 0 when it was gone
    /// before it could be read.
    pub start_ticks: u64,
    pub marker: String,
}

/// A process, and by what it belongs to the tree.
struct Found {
    member: Member,
    in_session: bool,
    marked: bool,
}

/// One live process of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub pid: i32,
    pub ppid: i32,
    pub name: String,
    start_ticks: u64,
}

impl Tree {
    /// The tree of a child that was just started.
    pub fn of(leader: i32, marker: &str) -> Tree {
        let start_ticks = stat_of(leader).map_or(0, |s| s.starttime);
        Tree { leader, start_ticks, marker: marker.to_owned() }
    }

    /// Live processes of the tree, leader first. Zombies do not count: they hold nothing but their number.
    pub fn members(&self) -> Vec<Member> {
        self.found().into_iter().map(|f| f.member).collect()
    }

    /// The members, where a process of the tree that carries the marker proves that it is ours: a number in a file
    /// proves nothing. Processes of the session without the marker count beside one that has it.
    pub fn proven_members(&self) -> Vec<Member> {
        let found = self.found();
        let session_proven = found.iter().any(|f| f.in_session && f.marked);
        found.into_iter().filter(|f| f.marked || (f.in_session && session_proven)).map(|f| f.member).collect()
    }

    fn found(&self) -> Vec<Found> {
        let session_is_ours = stat_of(self.leader).is_none_or(|s| s.starttime == self.start_ticks);
        let me = std::process::id() as i32;
        let Ok(all) = procfs::process::all_processes() else { return Vec::new() };
        let mut found: Vec<Found> = all
            .filter_map(Result::ok)
            .filter(|p| p.pid != me)
            .filter_map(|p| {
                let stat = p.stat().ok()?;
                let in_session = session_is_ours && self.leader > 1 && stat.session == self.leader;
                let marked = self.marks(&p);
                (is_live(&stat) && (in_session || marked)).then(|| Found {
                    in_session,
                    marked,
                    member: Member {
                        pid: stat.pid,
                        ppid: stat.ppid,
                        name: stat.comm.clone(),
                        start_ticks: stat.starttime,
                    },
                })
            })
            .collect();
        found.sort_by_key(|f| (f.member.pid != self.leader, f.member.pid));
        found
    }

    fn marks(&self, process: &Process) -> bool {
        // An empty mark would fit a process that somebody else gave an empty variable.
        !self.marker.is_empty()
            && process
                .environ()
                .is_ok_and(|e| e.get(OsStr::new(MARKER)).is_some_and(|v| v == self.marker.as_str()))
    }

    /// Whether the leader or a process that it started is stopped by a signal or a tracer. Cheap enough to be asked
    /// while a run is measured: only the leader's descendants are looked at.
    pub fn is_stopped(&self) -> bool {
        let mut left = vec![self.leader];
        let mut seen = 0;
        while let Some(pid) = left.pop() {
            seen += 1;
            if stat_of(pid).is_some_and(|s| matches!(s.state, 'T' | 't')) {
                return true;
            }
            let children = Process::new(pid).ok().and_then(|p| p.task_main_thread().ok()?.children().ok());
            left.extend(children.into_iter().flatten().map(|c| c as i32));
            if seen > 1000 {
                break;
            }
        }
        false
    }

    /// Sends a signal to every member; one that is gone meanwhile is not an error.
    pub fn signal(&self, signal: Signal) {
        for m in self.members() {
            m.signal(signal);
        }
    }

    /// Resident memory of the whole tree in bytes, by process name.
    pub fn resident_bytes(&self) -> BTreeMap<String, u64> {
        let page = procfs::page_size();
        let mut by_name = BTreeMap::new();
        for m in self.members() {
            if let Some(stat) = stat_of(m.pid) {
                *by_name.entry(m.name).or_insert(0) += stat.rss * page;
            }
        }
        by_name
    }
}

impl Member {
    /// Signals this very process: its start time is looked at again first, so that a reused number is
    /// left alone.
    pub fn signal(&self, signal: Signal) {
        let same = stat_of(self.pid).is_some_and(|s| s.starttime == self.start_ticks);
        if let (true, Some(pid)) = (same, Pid::from_raw(self.pid)) {
            let _ = kill_process(pid, signal);
        }
    }

    /// `name (pid N)`, for reports.
    pub fn label(&self) -> String {
        format!("{} (pid {})", self.name, self.pid)
    }
}

pub(super) fn stat_of(pid: i32) -> Option<Stat> {
    Process::new(pid).ok()?.stat().ok()
}

fn is_live(stat: &Stat) -> bool {
    !matches!(stat.state, 'Z' | 'X' | 'x')
}
