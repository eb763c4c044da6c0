//! Failure classes: what went wrong in a log, where in the life of the engine, and what to do next.
//!
//! The root cause is the first error up the log that says something specific. Engines end with a secondary
//! message from the parent process (`Engine core initialization failed. See root cause above`) or with a
//! traceback of the front end, so the last error is the least useful one. Text that no pattern knows gives
//! the class `unknown` with its first error line, never a guess.

mod classes;
mod patterns;
mod phase;
mod text;

pub use classes::{Class, Next};
pub use phase::Phase;

use crate::scenario::EngineKind;
use patterns::{PATTERNS, Pattern, Rank};
use serde::Serialize;

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
    let mut generic: Option<(usize, &Pattern)> = None;
    for (i, line) in lines.iter().enumerate().filter(|(_, l)| !text::is_quoted_source(l)) {
        let Some(p) = PATTERNS.iter().find(|p| p.matches(line, engine)) else { continue };
        match p.rank {
            Rank::Cause => return Some(verdict(&lines, i, Some(p), engine)),
            Rank::Consequence => generic = generic.or(Some((i, p))),
        }
    }
    let first_error = lines.iter().position(|l| text::is_error(l));
    match (generic, first_error) {
        // An exception of unknown text above the consequence is the better excerpt, and the honest class.
        (Some((g, p)), Some(e)) if e < g && text::is_exception(&lines, e) => {
            let cause = text::exception_line(&lines, e, g);
            let mut v = verdict(&lines, cause, Some(p), engine);
            v.next = Next::of(p.class, &lines[cause]);
            Some(v)
        }
        (Some((g, p)), _) => Some(verdict(&lines, g, Some(p), engine)),
        (None, Some(e)) => {
            let at = text::exception_line(&lines, e, lines.len());
            Some(verdict(&lines, at, None, engine))
        }
        (None, None) => None,
    }
}

fn verdict(lines: &[String], at: usize, p: Option<&Pattern>, engine: Option<EngineKind>) -> Verdict {
    let class = p.map_or(Class::Unknown, |p| p.class);
    let root_cause = text::clean(&lines[at]);
    Verdict {
        class,
        next: Next::of(class, &root_cause),
        root_cause,
        engine,
        phase: phase::of(lines, at, class),
        line: Some(at + 1),
    }
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
