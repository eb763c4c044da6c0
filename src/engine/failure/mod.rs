//! Failure classes: what went wrong in a log, where in the life of the engine, and what to do next.
//!
//! A log is read by its structure first: what stands before each message is taken off (`text`), starts and
//! restarts, readiness and answered requests are told apart (`life`), tracebacks are blocks whose code is not
//! asked. Then one line is chosen (`judge`): the first known cause; else a symptom that many causes share; else
//! an exception that no text covers, whose words and place tell what it is about (`concept`) or else nothing; and last what
//! other processes saw of the death. A log that never became ready says so (`waiting`). What helps stands in `advice` and, as values
//! that a search can act on, in `remedy`.

mod advice;
mod causes;
mod classes;
mod concept;
mod excerpt;
mod found;
mod judge;
mod life;
mod phase;
mod place;
mod release;
mod remedy;
mod speed;
mod text;
mod waiting;

pub use classes::Class;
pub use excerpt::Excerpt;
pub use phase::Phase;
pub use remedy::{Remedy, SAFE_VARIABLES};
pub use speed::{Slowdown, SpeedWarning, speed_warnings};
pub use waiting::Stage;

use crate::launch::EngineKind;
use found::Found;
use serde::Serialize;
use text::{Line, Speaker};

/// What a log says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    pub class: Class,
    /// The known cause within the class, such as `python-headers`; none where only the class is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
    /// First error line, without its prefix.
    pub root_cause: String,
    /// The engine that wrote the log, given or recognised.
    pub engine: Option<EngineKind>,
    pub phase: Phase,
    /// Where a start stopped that ended in silence.
    #[serde(skip)]
    pub stage: Option<Stage>,
    /// What the user, or the tuner, does next.
    pub next: String,
    /// The same as values, the most promising first.
    pub remedies: Vec<Remedy>,
    /// Line number of the root cause, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

impl Verdict {
    /// The phase as `dyno diagnose` tells it: finer where a start stopped in silence.
    pub fn phase_id(&self) -> &'static str {
        self.stage.map_or_else(|| self.phase.id(), Stage::id)
    }
}

/// Reads the failure out of a log. `None` when there is no sign of one in it.
pub fn diagnose(log: &str, engine: Option<EngineKind>) -> Option<Verdict> {
    failure(&Log::of(&Excerpt::whole(log), engine))
}

/// As [`diagnose`]; a log of a start that ends before readiness and without an error is a finding as well.
pub fn assess(log: &Excerpt, engine: Option<EngineKind>) -> Option<Verdict> {
    let log = Log::of(log, engine);
    failure(&log).or_else(|| silence(&log))
}

/// A log taken apart.
struct Log {
    lines: Vec<Line>,
    speaker: Speaker,
}

impl Log {
    fn of(excerpt: &Excerpt, engine: Option<EngineKind>) -> Log {
        let speaker = Speaker::of(engine, &excerpt.head);
        let speaker = if speaker.certain { speaker } else { Speaker::of(engine, &excerpt.tail).or(speaker) };
        Log { lines: excerpt.lines(), speaker }
    }
}

fn failure(log: &Log) -> Option<Verdict> {
    let starts = life::starts(&log.lines);
    let last = starts.last()?;
    let found = judge::judge(&log.lines, last, log.speaker);
    // A start that has only begun says nothing: why the one before it ended is what there is to know.
    let (start, found) = match found {
        Some(found) => (last, found),
        None if life::ready(&log.lines[last.clone()], log.speaker).is_some() => return None,
        None => {
            starts.iter().rev().skip(1).find_map(|s| Some((s, judge::judge(&log.lines, s, log.speaker)?)))?
        }
    };
    Some(verdict(log, start.start, found))
}

fn verdict(log: &Log, start: usize, found: Found) -> Verdict {
    let engine = log.speaker.engine;
    let told = judge::retold(&log.lines, &found, log.speaker).unwrap_or_else(|| found.clone());
    let after = advice::after(&log.lines, &told);
    let version = release::of(&log.lines);
    let mut remedies = remedy::remedies(&told, &after, engine);
    remedies.retain(|r| r.is_for(engine, version));
    Verdict {
        class: found.class,
        cause: found.cause.map(|c| c.id),
        next: release::annotated(advice::next(&told, &after, engine), engine, version),
        remedies,
        engine,
        phase: phase::of(&log.lines[start..], found.at - start, found.class, &found.text),
        stage: None,
        line: Some(log.lines[found.at].number),
        root_cause: found.text,
    }
}

fn silence(log: &Log) -> Option<Verdict> {
    let start = life::starts(&log.lines).pop()?;
    let found = waiting::waiting(&log.lines, &start, log.speaker)
        .or_else(|| waiting::stuck(&log.lines, &start, log.speaker))?;
    let line = &log.lines[found.at];
    Some(Verdict {
        class: found.class,
        cause: None,
        root_cause: line.text.clone(),
        engine: log.speaker.engine,
        phase: match found.stage {
            Stage::Run => Phase::Run,
            _ => phase::of(&log.lines[start.clone()], start.len(), Class::Unknown, "").min(Phase::Warmup),
        },
        stage: Some(found.stage),
        next: found.next,
        remedies: remedy::of_class(found.class, log.speaker.engine),
        line: Some(line.number),
    })
}

/// How far a start came, from the milestones in its log; at most the warm-up, since it never was ready.
pub fn reached(log: &str) -> Phase {
    let lines = text::lines(log, 1);
    phase::of(&lines, lines.len(), Class::Unknown, "").min(Phase::Warmup)
}

/// What to do about a class, with the engine's own words where the text of the cause holds some.
pub fn advice(class: Class, cause: &str, engine: Option<EngineKind>) -> String {
    let known = causes::first(cause, engine).filter(|c| c.class == class);
    advice::of(class, known, cause, &[], engine)
}

/// A verdict without any text in the log to stand on: from how the process ended.
pub fn from_exit(exit: &str, engine: Option<EngineKind>, ready: bool) -> Verdict {
    let class = match exit {
        e if e.starts_with("signal 9") || e == "exit code 137" => Class::KilledByKernel,
        e if e.starts_with("signal 15") || e.starts_with("signal 2 ") || e == "exit code 143" => {
            Class::Terminated
        }
        e if e.starts_with("signal 4") || e == "exit code 132" => Class::IllegalInstruction,
        // Segmentation fault, abort, bus error.
        e if ["signal 11", "signal 6 ", "signal 7 "].iter().any(|s| e.starts_with(s)) => Class::Crash,
        "exit code 139" | "exit code 134" | "exit code 135" => Class::Crash,
        "exit code 127" | "exit code 126" => Class::NotInstalled,
        "exit code 2" if !ready => Class::BadFlag,
        _ => Class::Unknown,
    };
    Verdict {
        class,
        cause: None,
        root_cause: format!("the engine ended ({exit}) without an error in its log"),
        engine,
        phase: if ready { Phase::Run } else { Phase::Start },
        stage: None,
        next: class.advice().to_owned(),
        remedies: remedy::of_class(class, engine),
        line: None,
    }
}

#[cfg(test)]
mod tests;
