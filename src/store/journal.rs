//! `trials.jsonl`: one JSON object a line, appended and flushed to the disk before the next trial begins.
//!
//! The last member of a line, `sum`, is a checksum of the bytes before it (the first 16 hexadecimal digits of their
//! SHA-256). A line that fails it, or that is no JSON, is named and passed over; the lines around it count. Lines
//! without a checksum were written by earlier versions and are read as they are.

use super::line::{self, Line, sealed};
use super::read::{Contents, read_journal};
use super::run::SCHEMA;
use crate::error::{Error, Result};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// An open journal; appends only.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    /// Number of the next trial: no number is given twice, also not to a trial that is made again.
    next_seq: u32,
}

impl Journal {
    pub const NAME: &str = line::FILE;

    /// Begins a new journal.
    pub fn create(dir: &Path, run_id: &str) -> Result<Journal> {
        let path = dir.join(Journal::NAME);
        let mut new = File::options();
        let file = new.append(true).create_new(true).mode(0o600).open(&path).map_err(|e| cannot(&path, e))?;
        let mut journal = Journal { file, path, next_seq: 1 };
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
        let mut journal = Journal { file, path, next_seq: contents.last_seq() + 1 };
        if contents.whole == 0 {
            let dyno_version = env!("CARGO_PKG_VERSION").to_owned();
            journal.append(&Line::Header { schema: SCHEMA, dyno_version, run_id: run_id.to_owned() })?;
        }
        Ok((journal, contents))
    }

    /// Number for the next trial.
    pub fn next_seq(&self) -> u32 {
        self.next_seq
    }

    /// Appends one line and waits until the disk has it. What a failed write left is taken back, and an error of
    /// the moment is tried again.
    ///
    /// Errors: the disk takes nothing, or the file is no longer where it was: a record that nobody can find is none.
    pub fn append(&mut self, line: &Line) -> Result<()> {
        let bytes = sealed(line).map_err(|e| Error::failed("a record cannot be written").source(e))?;
        self.still_there()?;
        let mut outcome = Ok(());
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(PAUSE);
            }
            outcome = self.write(&bytes);
            if outcome.is_ok() {
                break;
            }
        }
        outcome.map_err(|e| cannot(&self.path, e))?;
        if let Line::Trial(t) = line {
            self.next_seq = self.next_seq.max(t.seq + 1);
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let before = self.file.seek(SeekFrom::End(0))?;
        let written = self.file.write_all(bytes).and_then(|()| {
            // What is there must be this line and nothing else: a call that was broken off half way may have left a piece.
            let there = self.file.metadata()?.len();
            if there != before + bytes.len() as u64 {
                return Err(std::io::Error::other("the file does not hold what was written to it"));
            }
            self.file.sync_data()
        });
        if written.is_err() {
            // Also a full disk takes this; where it does not, the torn line is cut off by the next resume.
            let _ = self.file.set_len(before);
        }
        written
    }

    /// The file under the record's name is the one that is open.
    fn still_there(&self) -> Result<()> {
        let identity = |m: std::fs::Metadata| (m.dev(), m.ino());
        let open = self.file.metadata().map(identity).ok();
        if open.is_some() && open == self.path.metadata().map(identity).ok() {
            return Ok(());
        }
        Err(Error::failed("the record was removed or replaced while the campaign ran")
            .at(self.path.display())
            .hint("what was measured until then is lost with it; begin anew with another --out"))
    }
}

/// Tries at one write.
const ATTEMPTS: u32 = 3;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

fn cannot(path: &Path, e: std::io::Error) -> Error {
    Error::failed("the record cannot be written").at(path.display()).source(e).hint("is the disk full?")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::line::{SEAL, TrialLine};
    use super::*;
    use crate::launch::Candidate;
    use crate::launch::EngineKind;
    use crate::search::Stage;
    use crate::trial::TrialResult;
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
            devices: Vec::new(),
            fixed_args: Vec::new(),
            fixed_env: BTreeMap::new(),
            program: None,
            nodes: Vec::new(),
            ssh_options: Vec::new(),
            router: None,
            container: None,
            workloads: vec![WorkloadSpec::random(1, 1, 1, 1)],
            repeats: 1,
            measured_once: 0,
            first_repeat: 0,
            ready_timeout_s: 1.0,
            run_timeout_s: 1.0,
            stop_grace_s: None,
            quality: None,
            data_dir: None,
            give_up_s: Vec::new(),
            best_s: Vec::new(),
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
            remedies: Vec::new(),
        };
        let outcome = Outcome::Failed { failure, facts: None, runs: Vec::new() };
        let result = TrialResult {
            spec,
            outcome,
            started_unix_s: 1.5,
            wall_s: 0.25,
            leftovers: Vec::new(),
            first_failure: None,
            placement: None,
        };
        TrialLine { seq, stage: Stage::Search, launch: 0, quality: None, apart: None, result }
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
        let text = String::from_utf8(bytes).unwrap();
        // No JSON any more, and JSON that says something else: both are found, and the rest is kept.
        for (from, to) in [("\"seq\":0", "\"seq\":x"), ("\"wall_s\":0.25", "\"wall_s\":9.25")] {
            std::fs::write(dir.path().join(Journal::NAME), text.replacen(from, to, 1)).unwrap();
            let (_, c) = Journal::resume(dir.path(), "r").unwrap();
            assert_eq!(c.trials, [line(1)]);
            assert_eq!((c.passed_over.len(), c.passed_over[0].key.as_str()), (1, "line 2"));
        }
        std::fs::write(dir.path().join(Journal::NAME), "garbage\n").unwrap();
        assert!(read_journal(dir.path()).unwrap_err().to_string().contains("line 1"));
    }

    #[test]
    fn lines_of_earlier_versions_and_lines_that_stand_twice() {
        let (dir, bytes) = written(2);
        let text = String::from_utf8(bytes).unwrap();
        let plain: String =
            text.lines().map(|l| format!("{}}}\n", &l[..l.rfind(SEAL).expect("a checksum")])).collect();
        let last = plain.lines().last().unwrap();
        std::fs::write(dir.path().join(Journal::NAME), format!("{plain}{last}\n")).unwrap();
        let c = read_journal(dir.path()).unwrap();
        assert_eq!(c.trials, [line(0), line(1)]);
        assert_eq!(c.passed_over[0].message, "stands twice");
    }

    #[test]
    fn a_record_that_was_removed_takes_nothing_more() {
        let dir = tempfile::tempdir().unwrap();
        let mut j = Journal::create(dir.path(), "r").unwrap();
        std::fs::remove_file(dir.path().join(Journal::NAME)).unwrap();
        let e = j.append(&Line::Trial(Box::new(line(0)))).unwrap_err().to_string();
        assert!(e.contains("removed or replaced"), "{e}");
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
