//! `kill -9` of a campaign at seeded moments, until it has come to its verdict all the same.

use super::campaign::GUIDED;
use super::tally::Tally;
use super::world::{World, beside, finish};
use llm_dyno::store::{Contents, Verdict, read_journal};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(120);

/// A campaign that nobody disturbed.
pub(crate) struct Undisturbed {
    guided: bool,
    pub trials: Vec<String>,
    pub verdict: Verdict,
    pub took: Duration,
    /// What its directory holds.
    pub kib: u64,
}

pub(crate) fn campaign(world: &World, guided: bool) -> Command {
    let mut command = world.command(&beside("faults"));
    command.arg("campaign").arg(world.path("out"));
    if guided {
        command.env(GUIDED, "1");
    }
    command
}

impl Undisturbed {
    pub(crate) fn new(guided: bool) -> Undisturbed {
        let world = World::new();
        let began = Instant::now();
        let done = finish(campaign(&world, guided).spawn().expect("a start"), LIMIT);
        assert_eq!(done.code(), Some(0), "{}", done.said());
        let contents = read_journal(&world.path("out")).expect("a record");
        let verdict = contents.verdict.clone().expect("a verdict");
        let files = std::fs::read_dir(world.path("out")).expect("its directory").flatten();
        let kib = files.filter_map(|f| f.metadata().ok()).map(|m| m.len().div_ceil(4096) * 4).sum();
        Undisturbed { guided, trials: names(&contents), verdict, took: began.elapsed(), kib }
    }

    /// Goes on without further faults to the end: the same trials and the same verdict must come out.
    pub(crate) fn reached_from(&self, world: &World) -> Result<(), String> {
        let done = finish(campaign(world, self.guided).spawn().expect("a start"), LIMIT);
        done.sound()?;
        if done.code() != Some(0) {
            return Err(format!("does not go on: {}", done.said()));
        }
        self.reached(&world.path("out"))
    }

    pub(crate) fn reached(&self, out: &Path) -> Result<(), String> {
        let contents = read_journal(out).map_err(|e| format!("the record is lost: {e}"))?;
        if names(&contents) != self.trials {
            return Err(format!("trials lost or doubled: {:?} for {:?}", names(&contents), self.trials));
        }
        match contents.verdict {
            Some(v) if v == self.verdict => Ok(()),
            other => Err(format!("another verdict: {other:?}")),
        }
    }
}

/// Number, stage and id of each trial.
pub(crate) fn names(contents: &Contents) -> Vec<String> {
    contents.trials.iter().map(|t| format!("{} {} {}", t.seq, t.stage, t.result.spec.id)).collect()
}

/// The trials so far; a record that was not begun has none.
pub(crate) fn so_far(world: &World) -> Vec<String> {
    read_journal(&world.path("out")).map(|c| names(&c)).unwrap_or_default()
}

pub(crate) fn run(kills: u64, seed: u64, tally: &mut Tally) {
    if kills == 0 {
        return;
    }
    let plain = Undisturbed::new(false);
    let mut guided: Option<Undisturbed> = None;
    let mut rng = ChaCha8Rng::seed_from_u64(seed + 1);
    let mut left = kills;
    let mut campaigns = 0;
    while left > 0 {
        // A guided search takes ten times as long: every eighth campaign is one.
        let whole =
            if campaigns % 8 == 7 { guided.get_or_insert_with(|| Undisturbed::new(true)) } else { &plain };
        campaigns += 1;
        let world = World::new();
        loop {
            let before = so_far(&world);
            let mut child = campaign(&world, whole.guided).spawn().expect("a start");
            let micros = rng.random_range(0..whole.took.as_micros() as u64);
            let until = Instant::now() + Duration::from_micros(micros);
            let mut ended = false;
            while Instant::now() < until && !ended {
                std::thread::sleep(Duration::from_millis(1));
                ended = child.try_wait().expect("a state").is_some();
            }
            let _ = child.kill();
            let done = finish(child, LIMIT);
            if ended {
                let sound = done.sound().and_then(|()| whole.reached(&world.path("out")));
                assert!(sound.is_ok(), "after its kills: {sound:?}");
                break;
            }
            left = left.saturating_sub(1);
            let now = so_far(&world);
            let stage = now.last().map_or("before the first trial", |t| t.split(' ').nth(1).unwrap_or(""));
            let kind = format!("kill -9, virtual clock, last recorded: {stage}");
            let kept = if now.starts_with(&before) {
                Ok(())
            } else {
                Err(format!("trials lost: {before:?}, {now:?}"))
            };
            tally.book(&kind, done.peak_mb, kept.and_then(|()| world.nothing_left()));
        }
    }
}
