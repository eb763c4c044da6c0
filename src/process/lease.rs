//! Leases: files that say which process trees a `dyno` has running, so that the next one can reap what a
//! killed one left.
//!
//! A lease file is only a claim: anybody may have written it. [`reap`] therefore kills nothing and removes
//! nothing that does not carry the lease's own mark (a process in its environment, a directory in a file of
//! ours), and reads only a regular file of this user.

use super::guard::Guard;
use super::private;
use super::stop::wait_until;
use super::{Contained, ContainerState, Member, Tree};
use crate::error::{Error, Result};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

const SUFFIX: &str = ".lease.json";

/// One launched tree, written to `DIR/<trial>.lease.json` while it lives.
#[derive(Debug, Serialize, Deserialize)]
pub struct Lease {
    #[serde(flatten)]
    pub tree: Tree,
    pub port: Option<u16>,
    /// Pid of the `dyno` that owns the tree, and its start time.
    pub owner: i32,
    pub owner_start_ticks: u64,
    /// Kernel boot id: after a reboot nothing of the tree can be alive.
    pub boot_id: String,
    /// Directory for the tree's temporary files; goes with the tree.
    #[serde(default)]
    temp_dir: Option<PathBuf>,
    /// The container in which the tree runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    container: Option<Contained>,
    #[serde(skip)]
    file: PathBuf,
    #[serde(skip)]
    guard: Option<Guard>,
}

impl Lease {
    /// Writes the lease of a tree that is about to start: from the first instant its processes carry the
    /// marker, so there is no moment at which a killed `dyno` leaves something unknown behind.
    pub fn reserve(dir: &Path, name: &str, marker: &str, port: Option<u16>) -> Result<Lease> {
        let owner = std::process::id() as i32;
        let lease = Lease {
            tree: Tree { leader: 0, start_ticks: 0, marker: marker.to_owned() },
            port,
            owner,
            owner_start_ticks: super::tree::stat_of(owner).map_or(0, |s| s.starttime),
            boot_id: boot_id(),
            temp_dir: None,
            container: None,
            file: absolute(&dir.join(format!("{name}{SUFFIX}"))),
            guard: Guard::start(),
        };
        lease.write()?;
        Ok(lease)
    }

    /// A private directory (mode 0700) for the tree's temporary files, removed with the lease: an engine that is
    /// killed leaves sockets and scratch files. Its path is short, since the path of a socket has room for 107 bytes.
    pub fn temp_dir(&mut self) -> Result<PathBuf> {
        // The lease names the directory before it exists, so that no moment of death leaves one that nobody knows.
        let dir = private::unused_name(&std::env::temp_dir());
        self.temp_dir = Some(dir.clone());
        self.write()?;
        private::make(&dir, &self.tree.marker).map_err(|e| {
            Error::failed("the directory for temporary files cannot be made").at(dir.display()).source(e)
        })?;
        Ok(dir)
    }

    /// Names the container that is about to run the tree.
    pub fn contain(&mut self, container: Contained) -> Result<()> {
        self.container = Some(container);
        self.write()
    }

    /// Adds the leader once it is known.
    pub fn adopt(&mut self, tree: &Tree) -> Result<()> {
        self.tree = tree.clone();
        self.write()
    }

    fn write(&self) -> Result<()> {
        if let Some(guard) = &self.guard {
            guard.say(&message(&self.file, self));
        }
        let json = serde_json::to_vec_pretty(self).unwrap_or_default();
        crate::host::write_private(&self.file, &json)
            .map_err(|e| Error::failed("the lease file cannot be written").at(self.file.display()).source(e))
    }

    /// The tree is gone: the lease ends.
    pub fn release(mut self) {
        self.remove_temp_dir();
        let _ = std::fs::remove_file(&self.file);
        if let Some(guard) = self.guard.take() {
            guard.dismiss();
        }
    }

    /// What the runtime says of the tree's container.
    pub fn container_state(&self) -> Option<ContainerState> {
        self.container.as_ref()?.state(&self.tree.marker).ok()?
    }

    /// Removes the container, if it is there and carries the lease's mark. True when it still ran.
    pub fn remove_container(&self) -> Result<bool> {
        self.container.as_ref().map_or(Ok(false), |c| c.remove(&self.tree.marker))
    }

    fn remove_temp_dir(&self) {
        if let Some(dir) = &self.temp_dir {
            private::remove(dir, &self.tree.marker);
        }
    }

    fn owner_alive(&self) -> bool {
        super::tree::stat_of(self.owner)
            .is_some_and(|s| s.starttime == self.owner_start_ticks && !matches!(s.state, 'Z' | 'X'))
    }
}

/// Where the leases of launches lie that have no directory of their own: `dyno/leases` in the user's state directory,
/// readable by the user alone, so that the next `dyno`, wherever it is started, finds what a killed one left.
pub fn lease_dir() -> Result<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME")
        .filter(|v| !v.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".local/state")))
        .unwrap_or_else(std::env::temp_dir);
    let dir = state.join("dyno/leases");
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(|e| Error::failed("the directory for leases cannot be made").at(dir.display()).source(e))?;
    Ok(dir)
}

/// The line that describes a lease, with the place of its file.
fn message(file: &Path, lease: &Lease) -> String {
    serde_json::to_string(&(file, lease)).unwrap_or_default()
}

/// What [`reap`] did with one lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaped {
    pub lease: PathBuf,
    /// Processes that were killed, by name and pid.
    pub killed: Vec<String>,
    /// Processes that would not go.
    pub survivors: Vec<String>,
}

/// Ends what earlier, dead `dyno` processes left running under the leases in `dir` (and its direct
/// subdirectories). A lease whose owner lives is not touched. Blocks for at most some seconds a lease.
/// Returns the leases under which something was still alive.
pub fn reap(dir: &Path) -> Vec<Reaped> {
    let done = lease_files(dir).into_iter().filter_map(|file| reap_one(&file));
    done.filter(|r| !r.killed.is_empty() || !r.survivors.is_empty()).collect()
}

/// Kills at once every tree that this very process has under lease in `dir`: the user will not wait for a
/// grace period. Whoever waits for the tree sees it gone.
pub fn kill_leased(dir: &Path) {
    for lease in lease_files(dir).iter().filter_map(|file| read(file)) {
        if lease.owner == std::process::id() as i32 {
            lease.tree.proven_members().iter().for_each(|m| m.signal(Signal::KILL));
            let _ = lease.remove_container();
        }
    }
}

/// Longest lease that is read.
const LONGEST: u64 = 64 << 10;

/// A lease as it stands in a regular file of this user's; anything else is not ours to act on.
fn read(file: &Path) -> Option<Lease> {
    let meta = file.symlink_metadata().ok()?;
    let ours = meta.is_file() && meta.uid() == rustix::process::geteuid().as_raw();
    let bytes = ours.then(|| crate::host::read_bounded(file, LONGEST).ok())??;
    let lease: Lease = serde_json::from_slice(&bytes).ok()?;
    Some(Lease { file: absolute(file), ..lease })
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn reap_one(file: &Path) -> Option<Reaped> {
    let lease = read(file)?;
    let same_boot = lease.boot_id == boot_id();
    if same_boot && lease.owner_alive() {
        return None;
    }
    Some(lease.end(same_boot))
}

impl Lease {
    /// Kills what is left of the tree and carries its mark, then removes the directory and the lease.
    pub(super) fn end(&self, same_boot: bool) -> Reaped {
        let mut reaped = Reaped { lease: self.file.clone(), killed: Vec::new(), survivors: Vec::new() };
        if same_boot {
            let done = wait_until(Duration::from_secs(20), || {
                let members = self.tree.proven_members();
                for m in &members {
                    let label = m.label();
                    if !reaped.killed.contains(&label) {
                        reaped.killed.push(label);
                    }
                    m.signal(Signal::KILL);
                }
                members.is_empty()
            });
            if !done {
                reaped.survivors = self.tree.proven_members().iter().map(Member::label).collect();
            }
        }
        let name = || self.container.as_ref().map_or_else(String::new, |c| format!("container {}", c.name));
        match self.remove_container() {
            Ok(true) if reaped.killed.is_empty() => reaped.killed.push(name()),
            Ok(_) => {}
            Err(e) => reaped.survivors.push(format!("{}: {e}", name())),
        }
        if reaped.survivors.is_empty() {
            self.remove_temp_dir();
            let _ = std::fs::remove_file(&self.file);
        }
        reaped
    }

    /// This lease as a guard knows it, who gets it in another directory.
    pub(super) fn at(self, file: PathBuf) -> Lease {
        Lease { file, ..self }
    }
}

/// A file that is being written is whole after so long, or never.
const UNFINISHED: Duration = Duration::from_secs(5);

/// Removes what the dead `owner` was about to write beside `file` when it was killed: files of a random name that were to
/// become leases. One without a readable owner goes when nobody can be writing it any more. Returns whether any is left.
pub(super) fn remove_unfinished(file: &Path, owner: i32) -> bool {
    let entries = file.parent().and_then(|dir| std::fs::read_dir(dir).ok()).into_iter().flatten();
    let parts = entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| {
        p.file_name().is_some_and(|n| {
            let n = n.to_string_lossy();
            n.starts_with(".dyno-") && n.ends_with(".part")
        })
    });
    let mut left = false;
    for part in parts {
        let age = part.metadata().ok().and_then(|m| m.modified().ok()?.elapsed().ok());
        let dead = read(&part).map_or(age.is_some_and(|a| a > UNFINISHED), |lease| lease.owner == owner);
        left |= !dead || std::fs::remove_file(&part).is_err();
    }
    left
}

fn lease_files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.filter_map(|e| e.ok().map(|e| e.path())) {
        if path.is_dir() {
            let inner = std::fs::read_dir(&path).into_iter().flatten();
            files.extend(inner.filter_map(|e| e.ok().map(|e| e.path())));
        } else {
            files.push(path);
        }
    }
    files.retain(|f| f.to_string_lossy().ends_with(SUFFIX));
    files.sort();
    files
}

fn boot_id() -> String {
    procfs::sys::kernel::random::boot_id().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Launch, Running, stop};
    use std::collections::BTreeMap;

    fn launch(dir: &Path, script: &str, marker: &str) -> Launch {
        Launch {
            argv: vec!["sh".into(), "-c".into(), script.into()],
            env: BTreeMap::new(),
            dir: None,
            log: dir.join("log"),
            marker: marker.into(),
        }
    }

    fn unique(name: &str) -> String {
        format!("test-{}/{name}", std::process::id())
    }

    /// A child that ignores SIGTERM, with a grandchild in another session.
    const STUBBORN: &str = "trap '' TERM; setsid sleep 300 & echo started; while :; do sleep 1; done";

    fn started(dir: &Path) {
        let log = dir.join("log");
        assert!(wait_until(Duration::from_secs(20), || {
            std::fs::read_to_string(&log).unwrap_or_default().contains("started")
        }));
    }

    #[test]
    fn what_a_killed_owner_was_writing_goes_and_what_others_write_stays() {
        let dir = tempfile::tempdir().unwrap();
        let lease = Lease::reserve(dir.path(), "x", &unique("part"), None).unwrap();
        let mine = dir.path().join(".dyno-one.part");
        let of_others = dir.path().join(".dyno-two.part");
        std::fs::copy(&lease.file, &mine).unwrap();
        let other = Lease {
            owner: lease.owner + 1,
            ..serde_json::from_slice(&std::fs::read(&mine).unwrap()).unwrap()
        };
        std::fs::write(&of_others, serde_json::to_vec(&other).unwrap()).unwrap();
        std::fs::write(dir.path().join(".dyno-three.part"), "").unwrap();
        assert!(remove_unfinished(&lease.file, lease.owner));
        let there = |name: &str| dir.path().join(name).exists();
        assert!(!mine.exists() && of_others.exists() && there(".dyno-three.part"));
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(60);
        std::fs::File::options()
            .write(true)
            .open(dir.path().join(".dyno-three.part"))
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        remove_unfinished(&lease.file, lease.owner);
        assert!(of_others.exists() && !there(".dyno-three.part") && lease.file.exists());
        lease.release();
    }

    #[test]
    fn a_stubborn_tree_is_killed_whole() {
        let dir = tempfile::tempdir().unwrap();
        let running = Running::start(&launch(dir.path(), STUBBORN, &unique("stubborn"))).unwrap();
        started(dir.path());
        let tree = running.tree().clone();
        assert!(wait_until(Duration::from_secs(10), || tree.members().len() >= 2), "{:?}", tree.members());
        let report = stop(running, Duration::from_millis(300), None);
        assert!(report.leftovers.len() >= 2, "{report:?}");
        assert!(report.survivors.is_empty(), "{report:?}");
        assert!(tree.members().is_empty());
    }

    #[test]
    fn an_obedient_child_leaves_nothing_to_report() {
        let dir = tempfile::tempdir().unwrap();
        let running =
            Running::start(&launch(dir.path(), "echo started; exec sleep 300", &unique("good"))).unwrap();
        started(dir.path());
        let report = stop(running, Duration::from_secs(20), None);
        assert_eq!(report.leftovers, Vec::<String>::new());
        assert_eq!(report.exit, Some(crate::process::Exit::Signal(15)));
    }

    #[test]
    fn the_next_start_reaps_what_a_killed_owner_left() {
        let dir = tempfile::tempdir().unwrap();
        let marker = unique("orphan");
        let mut lease = Lease::reserve(dir.path(), "t", &marker, None).unwrap();
        let mut running = Running::start(&launch(dir.path(), STUBBORN, &marker)).unwrap();
        started(dir.path());
        assert_eq!(reap(dir.path()), Vec::new(), "the owner lives");
        // As if the owner had been killed before it could add the leader: only the marker is known.
        lease.owner = i32::MAX;
        lease.write().unwrap();
        let tree = running.tree().clone();
        running.mark_finished();
        let reaped = reap(dir.path());
        assert_eq!(reaped.len(), 1);
        assert!(reaped[0].killed.len() >= 2 && reaped[0].survivors.is_empty(), "{reaped:?}");
        assert!(tree.members().is_empty());
        assert!(lease_files(dir.path()).is_empty());
        assert!(running.exit().is_some());
    }

    #[test]
    fn a_forged_lease_kills_nobody_and_removes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        std::fs::create_dir(&home).unwrap();
        std::fs::write(home.join("thesis"), "").unwrap();
        let mut victim =
            Running::start(&launch(dir.path(), "echo started; exec sleep 300", &unique("victim"))).unwrap();
        started(dir.path());
        let tree = victim.tree().clone();
        for marker in ["", "x", "forged/mark"] {
            let forged = serde_json::json!({
                "leader": tree.leader, "start_ticks": tree.start_ticks, "marker": marker, "port": null,
                "owner": i32::MAX, "owner_start_ticks": 1, "boot_id": boot_id(), "temp_dir": home,
            });
            std::fs::write(dir.path().join(format!("x{SUFFIX}")), forged.to_string()).unwrap();
            assert_eq!(reap(dir.path()), Vec::new());
            assert!(victim.exit().is_none() && home.join("thesis").exists(), "{marker}");
        }
        tree.signal(Signal::KILL);
        victim.mark_finished();
    }

    #[test]
    fn a_guard_ends_what_the_last_lease_in_its_pipe_described() {
        let dir = tempfile::tempdir().unwrap();
        let marker = unique("guarded");
        let mut lease = Lease::reserve(dir.path(), "t", &marker, None).unwrap();
        let temp = lease.temp_dir().unwrap();
        let mut running = Running::start(&launch(dir.path(), STUBBORN, &marker)).unwrap();
        started(dir.path());
        lease.adopt(running.tree()).unwrap();
        let told = message(&lease.file, &lease);
        // A guard that was dismissed does nothing, nor does one whose last line was cut.
        crate::process::guard_until_end(format!("{told}\nnull\n").as_bytes());
        assert!(running.exit().is_none() && temp.exists());
        crate::process::guard_until_end(format!("{told}\n{}", &told[..told.len() / 2]).as_bytes());
        assert!(running.exit().is_some() && running.tree().members().is_empty());
        assert!(!temp.exists() && lease_files(dir.path()).is_empty());
        running.mark_finished();
    }

    #[test]
    fn a_missing_program_is_an_error_not_a_panic() {
        let dir = tempfile::tempdir().unwrap();
        let mut l = launch(dir.path(), "", "m");
        l.argv = vec!["no-such-engine-program".into()];
        assert!(Running::start(&l).unwrap_err().to_string().contains("no-such-engine-program"));
    }
}
