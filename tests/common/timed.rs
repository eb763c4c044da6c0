//! A campaign whose time is held against that of another.

use crate::common::text;
use crate::start::tune;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) fn recommendation(out: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(out.join("recommendation.json")).unwrap()).unwrap()
}

/// Launches that mostly wait: what three nodes save is then not lost in the tuner's own processor time.
pub(crate) fn long_campaign(dir: &Path, out: &str, more: &[&str]) -> Command {
    let space = dir.join("space.toml");
    let table = "engine = \"emulated\"\n[[flag]]\nname = \"gpu-memory-utilization\"\ntune = [{ values = [0.95, 0.85] }]\n";
    std::fs::write(&space, table).unwrap();
    let words = "--model Qwen/Qwen3-8B --engine emulated --hardware a100-sxm-80gb --search one-factor \
                 --workload random:128/400,n=8,concurrency=4 --repeats 3 --space";
    let mut command = tune(words);
    command.arg(space).arg("--out").arg(dir.join(out)).args(more).args(["--", "--emulate-version", "0.11.0"]);
    // Nobody reads it while both campaigns are timed.
    command.stdout(Stdio::null());
    command
}

/// Seconds of a campaign, which has to end well.
pub(crate) fn seconds(mut command: Command) -> f64 {
    let began = std::time::Instant::now();
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    began.elapsed().as_secs_f64()
}
