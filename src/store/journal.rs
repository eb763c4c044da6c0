//! `trials.jsonl`: one JSON object a line, appended and flushed to the disk before the next trial begins.

use super::run::SCHEMA;
use super::verdict::Verdict;
use crate::error::{Error, Problem, Result};
use crate::search::{Ask, Stage};
use crate::trial::TrialResult;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// One finished launch, measured or failed, and what it was for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrialLine {
    pub seq: u32,
    pub stage: Stage,
    /// Number among the launches of this candidate in this stage.
    pub launch: u32,
    pub result: TrialResult,
}

impl TrialLine {
    /// Whether this line answers `ask`.
    pub fn answers(&self, ask: &Ask) -> bool {
        self.stage == ask.stage && self.launch == ask.launch && self.result.spec.candidate == ask.candidate
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Line {
    /// First line of the file.
    Header {
        schema: u32,
        dyno_version: String,
        run_id: String,
    },
    Trial(Box<TrialLine>),
    /// What the campaign concluded; the last one counts.
    Verdict(Box<Verdict>),
}

/// Everything in a journal.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    pub trials: Vec<TrialLine>,
    pub verdict: Option<Verdict>,
    /// Bytes of whole lines; what follows is a torn last line.
    whole: u64,
    /// A last line that was cut by a crash was passed over.
    pub torn: bool,
}

/// An open journal; appends only.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    pub const NAME: &str = "trials.jsonl";

    /// Begins a new journal.
    pub fn create(dir: &Path, run_id: &str) -> Result<Journal> {
        let path = dir.join(Journal::NAME);
        let file = File::options().append(true).create_new(true).open(&path).map_err(|e| cannot(&path, e))?;
        let mut journal = Journal { file, path };
        let dyno_version = env!("CARGO_PKG_VERSION").to_owned();
        journal.append(&Line::Header { schema: SCHEMA, dyno_version, run_id: run_id.to_owned() })?;
        // The directory entry must survive a power cut as well as the contents.
        File::open(dir).and_then(|d| d.sync_all()).map_err(|e| cannot(&journal.path, e))?;
        Ok(journal)
    }

    /// Opens an existing journal for appending; a torn last line is cut off.
    pub fn resume(dir: &Path, run_id: &str) -> Result<(Journal, Contents)> {
        let path = dir.join(Journal::NAME);
        if !path.exists() {
            return Ok((Journal::create(dir, run_id)?, Contents::default()));
        }
        let contents = read_journal(dir)?;
        let mut file = File::options().read(true).write(true).open(&path).map_err(|e| cannot(&path, e))?;
        let cut = |f: &mut File| -> std::io::Result<()> {
            f.set_len(contents.whole)?;
            f.seek(SeekFrom::End(0))?;
            f.sync_all()
        };
        cut(&mut file).map_err(|e| cannot(&path, e))?;
        let mut journal = Journal { file, path };
        if contents.whole == 0 {
            let dyno_version = env!("CARGO_PKG_VERSION").to_owned();
            journal.append(&Line::Header { schema: SCHEMA, dyno_version, run_id: run_id.to_owned() })?;
        }
        Ok((journal, contents))
    }

    /// Appends one line and waits until the disk has it.
    pub fn append(&mut self, line: &Line) -> Result<()> {
        let mut bytes =
            serde_json::to_vec(line).map_err(|e| Error::failed("a record cannot be written").source(e))?;
        bytes.push(b'\n');
        self.file.write_all(&bytes).and_then(|()| self.file.sync_data()).map_err(|e| cannot(&self.path, e))
    }
}

fn cannot(path: &Path, e: std::io::Error) -> Error {
    Error::failed("the record cannot be written").at(path.display()).source(e).hint("is the disk full?")
}

/// Reads a journal. A last line without its newline is a write that a crash cut short: it is passed over.
/// Any other unreadable line is an error that names it.
pub fn read_journal(dir: &Path) -> Result<Contents> {
    let path = dir.join(Journal::NAME);
    let bytes = std::fs::read(&path)
        .map_err(|e| Error::usage("the record cannot be read").at(path.display()).source(e))?;
    let mut contents = Contents::default();
    let mut problems = Vec::new();
    let file = path.display().to_string();
    for (i, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
        if line.last() != Some(&b'\n') {
            contents.torn = true;
            break;
        }
        contents.whole += line.len() as u64;
        match serde_json::from_slice::<Line>(line) {
            Ok(Line::Header { schema, .. }) if schema != SCHEMA => {
                problems.push(Problem::new(
                    &file,
                    "schema",
                    format!("is {schema}; this dyno reads {SCHEMA}"),
                ));
            }
            Ok(Line::Header { .. }) => {}
            Ok(Line::Trial(t)) => contents.trials.push(*t),
            Ok(Line::Verdict(v)) => contents.verdict = Some(*v),
            Err(e) => problems.push(Problem::new(&file, format!("line {}", i + 1), e.to_string())),
        }
    }
    if problems.is_empty() { Ok(contents) } else { Err(Error::problems("the record is damaged", problems)) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::launch::EngineKind;
    use crate::space::Candidate;
    use crate::trial::{Failure, Outcome, TrialSpec};
    use crate::workload::WorkloadSpec;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    pub(crate) fn line(seq: u32) -> TrialLine {
        let spec = TrialSpec {
            id: format!("{seq:03}-x"),
            candidate: Candidate::baseline(EngineKind::Emulated),
            model: "m".into(),
            served_model_name: None,
            hardware: "cpu".into(),
            num_gpus: 1,
            fixed_args: Vec::new(),
            fixed_env: BTreeMap::new(),
            program: None,
            workloads: vec![WorkloadSpec::random(1, 1, 1, 1)],
            repeats: 1,
            measured_once: 0,
            first_repeat: 0,
            ready_timeout_s: 1.0,
            run_timeout_s: 1.0,
            stop_grace_s: None,
            data_dir: None,
            give_up_s: Vec::new(),
            figures: Vec::new(),
            dir: "trials".into(),
        };
        let failure = Failure {
            class: "port-in-use".parse().unwrap(),
            phase: "start".into(),
            root_cause: "taken\n\"really\"".into(),
            hint: String::new(),
            exit: None,
            log: None,
        };
        let outcome = Outcome::Failed { failure, facts: None, runs: Vec::new() };
        let result = TrialResult { spec, outcome, started_unix_s: 1.5, wall_s: 0.25, leftovers: Vec::new() };
        TrialLine { seq, stage: Stage::Search, launch: 0, result }
    }

    fn written(n: u32) -> (tempfile::TempDir, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let mut j = Journal::create(dir.path(), "r").unwrap();
        (0..n).for_each(|i| j.append(&Line::Trial(Box::new(line(i)))).unwrap());
        let bytes = std::fs::read(dir.path().join(Journal::NAME)).unwrap();
        (dir, bytes)
    }

    #[test]
    fn what_is_appended_is_read_back() {
        let (dir, _) = written(3);
        let c = read_journal(dir.path()).unwrap();
        assert_eq!(c.trials, (0..3).map(line).collect::<Vec<_>>());
        assert!(!c.torn && c.verdict.is_none());
        assert!(Journal::create(dir.path(), "r").is_err(), "an existing record is never overwritten");
    }

    #[test]
    fn a_damaged_line_in_the_middle_is_named() {
        let (dir, bytes) = written(2);
        let text = String::from_utf8(bytes).unwrap().replacen("\"seq\":0", "\"seq\":x", 1);
        std::fs::write(dir.path().join(Journal::NAME), text).unwrap();
        let e = read_journal(dir.path()).unwrap_err().to_string();
        assert!(e.contains("line 2"), "{e}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Cut anywhere, the whole lines before the cut are kept, and the journal goes on from there.
        #[test]
        fn a_cut_at_any_byte_loses_at_most_the_last_line(share in 0.0f64..1.0) {
            let (dir, bytes) = written(3);
            let cut = (bytes.len() as f64 * share) as usize;
            std::fs::write(dir.path().join(Journal::NAME), &bytes[..cut]).unwrap();
            let whole_lines = bytes[..cut].split(|b| *b == b'\n').count() - 1;
            let (mut j, c) = Journal::resume(dir.path(), "r").unwrap();
            prop_assert_eq!(c.trials.len(), whole_lines.saturating_sub(1));
            j.append(&Line::Trial(Box::new(line(9)))).unwrap();
            let again = read_journal(dir.path()).unwrap();
            prop_assert_eq!(again.trials.len(), c.trials.len() + 1);
            prop_assert!(!again.torn);
        }
    }
}
