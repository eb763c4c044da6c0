//! Failure classes: what went wrong in a log, where in the life of the engine, and what to do next.
//!
//! The root cause is the first error up the log that says something specific. Engines end with a secondary
//! message from the parent process (`Engine core initialization failed. See root cause above`) or with a
//! traceback of the front end, so the last error is the least useful one. An exception that no pattern knows
//! gives the class `unknown` with its text, never a guess; levels below error, quoted source code and
//! anything after a closing message are not asked.

mod classes;
mod patterns;
mod phase;
mod text;

pub use classes::{Class, Next};
pub use phase::Phase;

use crate::scenario::EngineKind;
use patterns::Rank;
use serde::Serialize;
use text::Line;

/// What a log says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    pub class: Class,
    /// First error line, without its prefix.
    pub root_cause: String,
    /// The engine that wrote the log, given or recognised.
    pub engine: Option<EngineKind>,
    pub phase: Phase,
    /// What the user, or the tuner, does next.
    pub next: String,
    /// Line number of the root cause, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

/// Reads the verdict out of a log. `None` when there is no sign of a failure in it.
pub fn diagnose(log: &str, engine: Option<EngineKind>) -> Option<Verdict> {
    let engine = engine.or_else(|| text::recognise(log));
    let lines = text::lines(log);
    let mut signs = Signs::default();
    for (i, line) in lines.iter().enumerate().filter(|(_, l)| l.speaks()) {
        match patterns::first(&line.text, engine) {
            Some((class, Rank::Cause)) => return Some(verdict(&lines, i, class, engine)),
            Some((class, Rank::Opener)) => _ = signs.opener.get_or_insert((i, class)),
            Some((class, Rank::Closer)) => _ = signs.closer.get_or_insert((i, class)),
            // What follows a closing message is the front end falling over its dead engine.
            None if signs.closer.is_none() && line.is_exception() => {
                signs.exception.get_or_insert((i, Class::Unknown));
            }
            None if line.is_error() => _ = signs.error.get_or_insert((i, Class::Unknown)),
            None => {}
        }
    }
    let (at, class) = signs.exception.or(signs.closer).or(signs.opener).or(signs.error)?;
    Some(verdict(&lines, at, class, engine))
}

/// What was seen in a log that names no known cause; each is the first of its kind.
#[derive(Debug, Default)]
struct Signs {
    /// An exception that no pattern knows: the honest excerpt, and no class.
    exception: Option<(usize, Class)>,
    closer: Option<(usize, Class)>,
    opener: Option<(usize, Class)>,
    error: Option<(usize, Class)>,
}

fn verdict(lines: &[Line], at: usize, class: Class, engine: Option<EngineKind>) -> Verdict {
    let root_cause = with_key(lines, at);
    Verdict {
        class,
        next: Next::of(class, &root_cause),
        root_cause,
        engine,
        phase: phase::of(lines, at, class),
        line: Some(at + 1),
    }
}

/// A validation error stands on two lines: the key, and below it what is wrong with it.
fn with_key(lines: &[Line], at: usize) -> String {
    let text = &lines[at].text;
    let detail = ["Extra inputs are not permitted", "Input should be", "Field required"];
    let is_key = |t: &str| !t.is_empty() && t.chars().all(|c| c.is_alphanumeric() || "_.-".contains(c));
    match at.checked_sub(1).map(|before| &lines[before].text) {
        Some(key) if detail.iter().any(|d| text.starts_with(d)) && is_key(key) => format!("{key}: {text}"),
        _ => text.clone(),
    }
}

/// How far a start came, from the milestones in its log; at most the warm-up, since it never was ready.
pub fn reached(log: &str) -> Phase {
    let lines = text::lines(log);
    phase::of(&lines, lines.len(), Class::Unknown).min(Phase::Warmup)
}

/// A verdict without any text in the log to stand on: from how the process ended.
pub fn from_exit(exit: &str, engine: Option<EngineKind>, ready: bool) -> Verdict {
    let class = match exit {
        e if e.starts_with("signal 9") || e == "exit code 137" => Class::KilledByKernel,
        e if e.starts_with("signal 15") || e.starts_with("signal 2 ") || e == "exit code 143" => {
            Class::Terminated
        }
        e if e.starts_with("signal 4") || e == "exit code 132" => Class::IllegalInstruction,
        e if e.starts_with("signal 11") || e == "exit code 139" => Class::Crash,
        "exit code 127" | "exit code 126" => Class::NotInstalled,
        "exit code 2" if !ready => Class::BadFlag,
        _ => Class::Unknown,
    };
    Verdict {
        class,
        root_cause: format!("the engine ended ({exit}) without an error in its log"),
        engine,
        phase: if ready { Phase::Run } else { Phase::Start },
        next: Next::of(class, ""),
        line: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_specific_error_wins_over_the_last() {
        let log = "\
(EngineCore pid=7) INFO 11-22 01:18:04 [x.py:1] Starting to load model
(EngineCore pid=7) ERROR 11-22 01:18:05 [core.py:1] Traceback (most recent call last):
(EngineCore pid=7) ERROR 11-22 01:18:05 [core.py:1] ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.
(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}
";
        let v = diagnose(log, None).unwrap();
        assert_eq!(v.class, Class::NoKvRoom);
        assert_eq!(v.engine, Some(EngineKind::Vllm));
        assert!(v.root_cause.starts_with("ValueError: No available memory"), "{}", v.root_cause);
        assert_eq!(v.line, Some(3));
    }

    #[test]
    fn unknown_text_stays_unknown_with_its_excerpt() {
        let v = diagnose("INFO all well\nTraceback (most recent call last):\n  File \"x\"\nZorkError: the frobnicator is full\n", None)
            .unwrap();
        assert_eq!(v.class, Class::Unknown);
        assert_eq!(v.root_cause, "ZorkError: the frobnicator is full");
        assert_eq!(diagnose("INFO all well\n", None), None);
    }
}
