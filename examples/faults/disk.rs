//! Faults of the disk and steps of the wall clock under a campaign.

#![expect(clippy::disallowed_methods, reason = "the compiler of the shim is started here")]

use super::kills::{Undisturbed, campaign, so_far};
use super::tally::Tally;
use super::world::{World, finish};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Disk,
    Clock,
}

/// Calls, and the errors that they can give.
const DISK: [(&str, &[i32]); 6] = [
    // EIO, ENOSPC, EDQUOT, EROFS, EINTR.
    ("write", &[5, 28, 122, 30, 4]),
    ("short", &[0]),
    ("fsync", &[5, 28]),
    ("truncate", &[5]),
    // EACCES, EMFILE, ENOENT, EIO.
    ("open", &[13, 24, 2, 5]),
    ("read", &[5, 4]),
];
/// Seconds by which the clock steps.
const STEPS: [i64; 8] = [-3_000_000_000, -31_536_000, -3600, -2, 2, 3600, 31_536_000, 3_000_000_000];

pub(crate) fn run(kind: Kind, faults: u64, seed: u64, tally: &mut Tally) {
    if faults == 0 {
        return;
    }
    let place = tempfile::tempdir().expect("a temporary directory");
    let shim = built(place.path());
    let whole = Undisturbed::new(false);
    let mut rng = ChaCha8Rng::seed_from_u64(seed + 2 + u64::from(kind == Kind::Clock));
    for _ in 0..faults {
        let world = World::new();
        let mut command = campaign(&world, false);
        command.env("LD_PRELOAD", &shim).env("FAULT_DIR", world.path("out"));
        // A second fault at another moment hits what goes on after the first.
        let (name, times) = match kind {
            Kind::Disk => {
                let (op, errors) = DISK.choose(&mut rng).expect("some");
                let errno = errors.choose(&mut rng).expect("some");
                // Once, a few times, or from then on.
                let times = *[1, 2, 4, 1_000_000].choose(&mut rng).expect("some");
                command.env("FAULT_OP", op).env("FAULT_ERRNO", errno.to_string());
                command.env("FAULT_TORN", rng.random_range(0..2).to_string());
                command.env("FAULT_AT", rng.random_range(1..40).to_string());
                (format!("disk: {op}"), times)
            }
            Kind::Clock => {
                let step = STEPS.choose(&mut rng).expect("some");
                command.env("FAULT_OP", "clock").env("FAULT_STEP", step.to_string());
                command.env("FAULT_AT", rng.random_range(1..120).to_string());
                let times = *[1, 10, 1_000_000].choose(&mut rng).expect("some");
                ("clock: a step".to_owned(), times)
            }
        };
        command.env("FAULT_TIMES", times.to_string());
        let done = finish(command.spawn().expect("a start"), Duration::from_secs(60));
        let before = so_far(&world);
        let held = done.sound().and_then(|()| {
            if !whole.trials.starts_with(&before) {
                return Err(format!("trials lost or blamed: {before:?}"));
            }
            if done.code() == Some(0) {
                whole.reached(&world.path("out"))
            } else if kind == Kind::Clock {
                Err(format!("a step of the clock ended it: {}", done.said()))
            } else {
                whole.reached_from(&world)
            }
        });
        tally.book(&name, done.peak_mb, held.and_then(|()| world.nothing_left()));
    }
}

/// The shim as a library.
fn built(dir: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/faults/shim.c");
    let library = dir.join("shim.so");
    let status =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
    assert!(status.is_ok_and(|s| s.success()), "the shim needs a C compiler (cc)");
    library
}
