//! The quality gate on answers that lie on disk.
//!
//! `cargo run --example gate -- BASELINE.json CANDIDATE.json [MARGIN]` prints what it says, as JSON: `answers.json` of two trials,
//! the largest allowed loss (default 0.01).

#![expect(clippy::print_stdout, reason = "the verdict is what this program is for")]

use llm_dyno::quality::{Answers, check};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [baseline, candidate, rest @ ..] = &args[..] else {
        panic!("usage: gate BASELINE.json CANDIDATE.json [MARGIN]");
    };
    let read = |path: &str| -> Answers {
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
    };
    let margin = rest.first().map_or(0.01, |m| m.parse().unwrap_or_else(|e| panic!("margin {m}: {e}")));
    let said = check(&read(baseline), &read(candidate), margin, false);
    println!("{}", serde_json::to_string(&said).unwrap_or_else(|e| panic!("{e}")));
}
