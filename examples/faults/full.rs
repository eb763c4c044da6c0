//! A disk that is really full under a campaign, from the start or since somebody else filled it: a small file system of its own in
//! memory, which needs root.

#![expect(clippy::disallowed_methods, reason = "the file system is mounted by the system's own program")]
#![expect(clippy::print_stderr, reason = "says what was left out")]

use super::kills::{Undisturbed, campaign, so_far};
use super::tally::Tally;
use super::world::{World, finish};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A file system in memory, unmounted at the end.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path, kib: u64) -> Option<Small> {
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"])
            .arg(at)
            .output()
            .ok()?;
        done.status.success().then(|| Small(at.to_owned()))
    }

    fn grow(&self) {
        let done = Command::new("mount").args(["-o", "remount,size=64m"]).arg(&self.0).status();
        assert!(done.is_ok_and(|s| s.success()), "a larger file system");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

pub(crate) fn run(faults: u64, seed: u64, tally: &mut Tally) {
    if faults == 0 {
        return;
    }
    let whole = Undisturbed::new(false);
    let mut rng = ChaCha8Rng::seed_from_u64(seed + 7);
    for n in 0..faults {
        let world = World::new();
        let small = n % 2 == 0;
        // From no room for the plan to room for all but the verdict.
        let kib = if small { 4 * rng.random_range(0..whole.kib / 4) } else { 4096 };
        let Some(disk) = Small::mount(&world.path("out"), kib.max(4)) else {
            eprintln!("NOT RUN: no file system can be mounted here (that needs root)");
            return;
        };
        let child = campaign(&world, false).spawn().expect("a start");
        let other = world.path("out").join("somebody-elses");
        if !small {
            std::thread::sleep(whole.took.mul_f64(rng.random_range(0.0..1.0)));
            // Ends with the error that the disk is full.
            let _ = std::fs::write(&other, vec![0; 8 << 20]);
        }
        let done = finish(child, Duration::from_secs(60));
        let before = so_far(&world);
        let held = done.sound().and_then(|()| {
            if !whole.trials.starts_with(&before) {
                return Err(format!("trials lost or blamed: {before:?}"));
            }
            if small {
                disk.grow();
            } else {
                let _ = std::fs::remove_file(&other);
            }
            whole.reached_from(&world)
        });
        let kind = if small { "disk: full, a small one" } else { "disk: full, filled by others" };
        tally.book(kind, done.peak_mb, held.and_then(|()| world.nothing_left()));
    }
}
