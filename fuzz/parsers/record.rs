//! Records: scenarios and observations in every tool's form, and the record of a campaign.
//!
//! - no panic; what was read is written so that it reads the same;
//! - of a record cut anywhere, every whole line before the cut is read as it was.

use llm_dyno::scenario::{Record, parse_records};
use llm_dyno::store::{Contents, Line, parse_journal, parse_run};

pub(crate) fn scenario(input: &[u8]) {
    let Ok(records) = parse_records("given.json", &String::from_utf8_lossy(input)) else { return };
    let text = serde_json::to_string(&records).expect("records are JSON");
    let again: Vec<Record> = serde_json::from_str(&text).expect("what was written can be read");
    let second = serde_json::to_string(&again).expect("records are JSON");
    assert_eq!(text, second, "a record changed on its way through a file");
}

pub(crate) fn record(input: &[u8]) {
    let _ = parse_run("run.json", &String::from_utf8_lossy(input));
    let Ok(all) = parse_journal("trials.jsonl", input) else { return };
    for t in all.trials.iter().chain(&all.apart) {
        let text = serde_json::to_string(&Line::Trial(Box::new(t.clone()))).expect("a line is JSON");
        let again: Line = serde_json::from_str(&text).expect("what was written can be read");
        let Line::Trial(again) = again else { panic!("a trial became another line") };
        assert_eq!(serde_json::to_string(&*again).ok(), serde_json::to_string(t).ok(), "a trial changed");
    }
    // A crash cuts the file somewhere: what stands before the last whole line is as it was.
    let cut = &input[..input.len() * 2 / 3];
    if let Ok(part) = parse_journal("trials.jsonl", cut) {
        assert!(begins(&all, &part), "a cut changed what stands before it");
    }
}

fn begins(all: &Contents, part: &Contents) -> bool {
    let json = |trials: &[llm_dyno::store::TrialLine]| -> Vec<String> {
        trials.iter().map(|t| serde_json::to_string(t).expect("a trial is JSON")).collect()
    };
    json(&all.trials).starts_with(&json(&part.trials)) && json(&all.apart).starts_with(&json(&part.apart))
}
