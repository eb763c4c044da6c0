//! A campaign whose time is held against that of another.

use crate::common::{text, trials};
use crate::start::tune;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) fn recommendation(out: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(out.join("recommendation.json")).unwrap()).unwrap()
}

/// Launches that mostly wait: what three nodes save is then not lost in the tuner's own processor time. Many of them go together,
/// so that a node's loss, which its scheduler tells after half a minute, holds nobody up.
///
/// A campaign makes a launch for each of the values, and some fifteen more.
pub(crate) fn long_campaign(dir: &Path, out: &str, values: usize, more: &[&str]) -> Command {
    let space = dir.join("space.toml");
    let values: Vec<String> = (90 - values..90).map(|percent| format!("0.{percent}")).collect();
    let table = format!(
        "engine = \"emulated\"\n[[flag]]\nname = \"gpu-memory-utilization\"\ntune = [{{ values = [{}] }}]\n",
        values.join(", ")
    );
    std::fs::write(&space, table).unwrap();
    let words = "--model Qwen/Qwen3-8B --engine emulated --hardware a100-sxm-80gb --search one-factor \
                 --workload random:128/300,n=8,concurrency=4 --repeats 2 --space";
    let mut command = tune(words);
    command.arg(space).arg("--out").arg(dir.join(out)).args(more).args(["--", "--emulate-version", "0.11.0"]);
    // Nobody reads it while both campaigns are timed.
    command.stdout(Stdio::null());
    command
}

/// Seconds of a campaign, which has to end well; `meanwhile` is called while it runs.
pub(crate) fn seconds(mut command: Command, meanwhile: impl FnOnce()) -> f64 {
    let began = std::time::Instant::now();
    let child = command.spawn().unwrap();
    meanwhile();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    began.elapsed().as_secs_f64()
}

/// The trials of a campaign of which one node was lost: all measured, one of them again, and the report tells of it.
pub(crate) fn one_trial_was_lost_with(node: &str, out: &Path) {
    let all = trials(out);
    assert!(all.iter().all(|t| t["result"]["outcome"] == "measured"), "no candidate is blamed for the node");
    let placed = |t: &Value| t["result"]["placement"].clone();
    let lost: Vec<Value> = all.iter().map(placed).filter(|p| !p["lost"][0].is_null()).collect();
    assert!(lost.len() == 1 && lost[0]["lost"][0]["node"] == node, "{lost:?}");
    let report = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert!(report.contains("was lost with its node and ran again"), "{report}");
}
