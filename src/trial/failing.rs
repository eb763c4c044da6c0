//! From what was seen to a [`Failure`].

use super::secrets::Secrets;
use super::types::Failure;
use crate::engine::failure::{self, Class, Phase, Verdict};
use crate::launch::EngineKind;
use crate::process::Exit;
use std::path::{Path, PathBuf};

/// Builds failures of one launch: they share engine, log and secrets.
#[derive(Clone)]
pub(super) struct Failing {
    pub(super) engine: EngineKind,
    pub(super) log: PathBuf,
    pub(super) secrets: Secrets,
}

impl Failing {
    /// A failure known without the log.
    pub(super) fn of(&self, class: Class, phase: &str, cause: &str, hint: &str) -> Box<Failure> {
        let advice = failure::advice(class, cause, Some(self.engine));
        Box::new(Failure {
            class,
            phase: phase.to_owned(),
            root_cause: self.secrets.scrub(cause),
            hint: if hint.is_empty() { advice } else { hint.to_owned() },
            exit: None,
            log: self.log.exists().then(|| self.log.display().to_string()),
            remedies: Vec::new(),
        })
    }

    /// The engine ended by itself: the log says why, else its exit.
    pub(super) fn died(&self, exit: Exit, ready: bool) -> Box<Failure> {
        let text = self.text();
        let verdict = failure::diagnose(&text, Some(self.engine))
            .filter(|v| !ready || v.phase >= Phase::Run || v.class != Class::Unknown)
            .unwrap_or_else(|| {
                let phase = if ready { Phase::Run } else { failure::reached(&text) };
                // Flags are read before anything else: an engine that came further does not say by its exit code that it
                // knows one not.
                let began = phase > Phase::Start;
                Verdict { phase, ..failure::from_exit(&exit.to_string(), Some(self.engine), began) }
            });
        let mut failure = self.failure_of(&verdict, ready);
        failure.exit = Some(exit.to_string());
        failure
    }

    /// The engine's log says that it is dead although its first process still runs.
    pub(super) fn broken(&self, mark: &str, ready: bool) -> Box<Failure> {
        match failure::diagnose(&self.text(), Some(self.engine)) {
            Some(v) => self.failure_of(&v, ready),
            None => self.of(Class::EngineCoreDeath, if ready { "run" } else { "start" }, mark, ""),
        }
    }

    /// No end and no answer in time. An error in the log is a better cause than the silence.
    pub(super) fn hung(&self, class: Class, what: &str, last_line: &str) -> Box<Failure> {
        let ready = class == Class::HangInRun;
        let last = if last_line.is_empty() {
            "the log is empty".to_owned()
        } else {
            format!("last line of the log: {last_line}")
        };
        let cause = format!("{what}; {last}");
        let text = self.text();
        match failure::diagnose(&text, Some(self.engine)) {
            Some(v) if v.class != Class::Unknown && (!ready || v.phase >= Phase::Run) => {
                let mut failure = self.failure_of(&v, ready);
                failure.hint = format!("{} (it then hung: {what})", v.next);
                failure
            }
            _ => self.of(class, if ready { Phase::Run } else { failure::reached(&text) }.id(), &cause, ""),
        }
    }

    fn failure_of(&self, v: &Verdict, ready: bool) -> Box<Failure> {
        let phase = if ready && v.phase < Phase::Run { Phase::Run } else { v.phase };
        let mut failure = self.of(v.class, phase.id(), &v.root_cause, &v.next);
        failure.remedies.clone_from(&v.remedies);
        failure
    }

    fn text(&self) -> String {
        read_ends(&self.log)
    }
}

/// The log's text; of a very long one its two ends.
pub(super) fn read_ends(path: &Path) -> String {
    let log = std::fs::File::open(path).and_then(failure::Excerpt::read);
    log.map(|l| l.text()).unwrap_or_default()
}
