//! What the tests with real components share: a campaign's record, and waiting.

use serde_json::Value;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

pub(crate) fn trials(out: &Path) -> Vec<Value> {
    let record = std::fs::read_to_string(out.join("trials.jsonl")).unwrap_or_default();
    let lines = record.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
    lines.filter(|v| v["kind"] == "trial").collect()
}

pub(crate) fn until(seconds: u64, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}
