//! Reading a record back, whatever became of it: torn, damaged, of an earlier or a later dyno.
//!
//! What a record of another dyno may look like, and what becomes of it:
//! - an earlier one lacks keys: they have the value that was meant when they did not exist;
//! - a later one of the same schema has keys that this one does not know: they are passed over, and a line of a kind that this
//!   one does not know, or whose keys it cannot read, is passed over and named;
//! - another schema is refused, with its number and the dyno that wrote it.

use super::line::{FILE, Line, TrialLine, intact};
use super::run::SCHEMA;
use super::verdict::Verdict;
use crate::error::{Error, Problem, Result};
use serde_json::Value;
use std::path::Path;

/// Everything in a journal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Contents {
    /// The campaign's own trials.
    pub trials: Vec<TrialLine>,
    /// Trials that were measured and are no part of its comparison.
    pub apart: Vec<TrialLine>,
    pub verdict: Option<Verdict>,
    /// Bytes of whole lines; what follows is a torn last line.
    pub(super) whole: u64,
    /// A last line that was cut by a crash was passed over.
    pub torn: bool,
    /// Lines that were passed over because they are damaged, or stand twice.
    pub passed_over: Vec<Problem>,
    /// The dyno that wrote the last header.
    writer: Option<String>,
}

impl Contents {
    /// The largest number of a trial; 0 without one.
    pub fn last_seq(&self) -> u32 {
        self.trials.iter().chain(&self.apart).map(|t| t.seq).max().unwrap_or(0)
    }

    fn keep(&mut self, trial: TrialLine) {
        if trial.apart.is_some() { self.apart.push(trial) } else { self.trials.push(trial) }
    }

    fn holds(&self, trial: &TrialLine) -> bool {
        self.trials.contains(trial) || self.apart.contains(trial)
    }

    /// What to say of a line that cannot be read.
    fn hint(&self) -> String {
        match self.writer.as_deref().filter(|w| *w != env!("CARGO_PKG_VERSION")) {
            Some(writer) => {
                format!(
                    "dyno {writer} wrote this record: read it with that one, or --resume measures the trial again"
                )
            }
            None => "its trial is measured again by --resume".to_owned(),
        }
    }
}

/// Reads a journal. A last line without its newline is a write that a crash cut short: it is passed over.
/// Any other unreadable line is named in `passed_over`.
///
/// Errors: the record is of another schema, or holds lines and none of them can be read.
pub fn read_journal(dir: &Path) -> Result<Contents> {
    let path = dir.join(FILE);
    let bytes = crate::host::read_bounded(&path, crate::host::WORKLOAD_LIMIT)
        .map_err(|e| Error::usage("the record cannot be read").at(path.display()).source(e))?;
    parse_journal(&path.display().to_string(), &bytes)
}

/// As [`read_journal`], of the bytes of a file; `file` is its name in messages.
pub fn parse_journal(file: &str, bytes: &[u8]) -> Result<Contents> {
    let mut contents = Contents::default();
    let mut problems = Vec::new();
    let (mut read, mut unreadable) = (0, 0);
    for (i, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
        if line.last() != Some(&b'\n') {
            contents.torn = true;
            break;
        }
        contents.whole += line.len() as u64;
        read += 1;
        let place = format!("line {}", i + 1);
        match parsed(line) {
            Ok(Line::Header { schema, dyno_version, .. }) if schema != SCHEMA => {
                let message = format!("is {schema}, of dyno {dyno_version}; this dyno reads {SCHEMA}");
                problems.push(Problem::new(file, "schema", message).hint("use the dyno that wrote it"));
            }
            Ok(Line::Header { dyno_version, .. }) => contents.writer = Some(dyno_version),
            Ok(Line::Trial(t)) if contents.holds(&t) => {
                contents.passed_over.push(Problem::new(file, place, "stands twice"));
            }
            Ok(Line::Trial(t)) => contents.keep(*t),
            Ok(Line::Verdict(v)) => contents.verdict = Some(*v),
            Err(why) => {
                unreadable += 1;
                contents.passed_over.push(Problem::new(file, place, why).hint(contents.hint()));
            }
        }
    }
    if unreadable > 0 && unreadable == read {
        problems.append(&mut contents.passed_over);
    }
    if problems.is_empty() {
        Ok(contents)
    } else {
        Err(Error::problems("the record cannot be read", problems))
    }
}

/// A line, or why it is none.
fn parsed(line: &[u8]) -> Result<Line, String> {
    if !intact(line) {
        return Err("its checksum is wrong".into());
    }
    serde_json::from_slice::<Line>(line).map_err(|e| {
        // A header of another schema may have any other keys.
        let value: Option<Value> = serde_json::from_slice(line).ok();
        let kind = value.as_ref().and_then(|v| v["kind"].as_str());
        match kind.filter(|k| !["header", "trial", "verdict"].contains(k)) {
            Some(kind) => format!("is of the kind `{}`, which this dyno does not know", kind.escape_debug()),
            None => e.to_string(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::journal::tests::line;
    use super::*;

    const HEADER: &str = "{\"kind\":\"header\",\"schema\":1,\"dyno_version\":\"9.0.0\",\"run_id\":\"r\"}\n";

    fn written(trial: &Value) -> String {
        format!("{HEADER}{trial}\n")
    }

    /// A key that no dyno knows yet, wherever it may stand.
    fn with_a_key(value: &mut Value, place: &str) {
        let at = if place.is_empty() { value } else { value.pointer_mut(place).unwrap() };
        at["of_a_later_dyno"] = serde_json::json!({"a": [1]});
    }

    #[test]
    fn keys_of_a_later_dyno_are_passed_over_and_those_of_an_earlier_one_that_lack_have_their_old_meaning() {
        let whole = serde_json::to_value(Line::Trial(Box::new(line(1)))).unwrap();
        for place in ["", "/result", "/result/spec", "/result/failure"] {
            let mut newer = whole.clone();
            with_a_key(&mut newer, place);
            let contents = parse_journal("f", written(&newer).as_bytes()).unwrap();
            assert_eq!(contents.trials, [line(1)], "a new key in `{place}`");
        }
        let mut older = whole;
        let spec = older["result"]["spec"].as_object_mut().unwrap();
        for key in ["repeats", "first_repeat", "fixed_args", "num_gpus"] {
            spec.remove(key);
        }
        let contents = parse_journal("f", written(&older).as_bytes()).unwrap();
        assert_eq!(contents.trials, [line(1)]);
    }

    #[test]
    fn what_only_a_later_dyno_can_read_is_named_with_it() {
        let text = format!(
            "{}{{\"kind\":\"pause\",\"why\":\"x\"}}\n",
            written(&serde_json::to_value(Line::Trial(Box::new(line(1)))).unwrap())
        );
        let contents = parse_journal("f", text.as_bytes()).unwrap();
        assert_eq!((contents.trials.len(), contents.passed_over.len()), (1, 1));
        let told = contents.passed_over[0].to_string();
        assert!(told.contains("kind `pause`") && told.contains("dyno 9.0.0"), "{told}");
        // Another schema is refused, by its number and its writer, whatever its other keys.
        let refused = HEADER.replace("\"schema\":1", "\"schema\":2");
        let e = parse_journal("f", refused.as_bytes()).unwrap_err().to_string();
        assert!(e.contains("is 2") && e.contains("9.0.0"), "{e}");
    }

    #[test]
    fn trials_that_stand_apart_are_no_trials_of_the_campaign() {
        let apart = TrialLine { apart: Some("vllm is 0.12 now".into()), ..line(7) };
        let text = [line(1), apart.clone()]
            .map(|t| serde_json::to_string(&Line::Trial(Box::new(t))).unwrap() + "\n");
        let contents = parse_journal("f", (HEADER.to_owned() + &text.concat()).as_bytes()).unwrap();
        assert_eq!((contents.trials.as_slice(), contents.apart.as_slice()), (&[line(1)][..], &[apart][..]));
        assert_eq!(contents.last_seq(), 7);
    }
}
