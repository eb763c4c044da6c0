//! From what helps against a failure to the next launch, and which failures deserve a second one.

use crate::engine::failure::SAFE_VARIABLES;
use crate::engine::{Class, Remedy};
use crate::launch::{Candidate, FlagValue};
use crate::space::{OutputChange, Space};
use crate::trial::Failure;

/// Candidates that the failure's remedies make of this one, the most promising first: what the engine itself proposed,
/// then steps from values that the candidate sets or that are the `default`. A remedy without a value to start from makes
/// none.
///
/// A log is text from outside: what it proposes is tried only where the search space knows the flag and the answers may
/// change as much as that flag does (`allowed`), and of variables only those that are known to be safe.
pub(super) fn applied(
    base: &Candidate,
    failure: &Failure,
    default: &dyn Fn(&str) -> Option<FlagValue>,
    table: &Space,
    allowed: OutputChange,
) -> Vec<Candidate> {
    let known = |c: &Candidate| {
        let new = c.env.keys().filter(|k| !base.env.contains_key(*k));
        table.unknown_flags(c).is_empty()
            && table.output_change(c) <= allowed
            && new.into_iter().all(|k| SAFE_VARIABLES.contains(&k.as_str()))
    };
    let mut all: Vec<Candidate> = Vec::new();
    for made in failure.remedies.iter().filter_map(|r| with(base, r, default)) {
        if made != *base && known(&made) && !all.contains(&made) {
            all.push(made);
        }
    }
    all
}

fn with(base: &Candidate, remedy: &Remedy, default: &dyn Fn(&str) -> Option<FlagValue>) -> Option<Candidate> {
    let now = |flag: &str| base.flags.get(flag).cloned().or_else(|| default(flag));
    let set = |flag: &str, value: FlagValue| Some(base.with(flag, value));
    match remedy {
        Remedy::Shrink { flag, to: Some(n) } | Remedy::Raise { flag, to: Some(n) } => set(flag, number(*n)),
        Remedy::Shrink { flag, to: None } => set(flag, step(&now(flag)?, Step::Down)?),
        Remedy::Raise { flag, to: None } => set(flag, step(&now(flag)?, Step::Up)?),
        Remedy::Set { flag, value } => set(flag, read(value)),
        Remedy::Forbid { flag, .. } => base.flags.contains_key(flag).then(|| {
            let mut c = base.clone();
            c.flags.remove(flag);
            c
        }),
        Remedy::Environment { name, value } => {
            let mut c = base.clone();
            c.env.insert(name.clone(), value.clone());
            Some(c)
        }
        Remedy::RetryOnce | Remedy::Wait | Remedy::GiveUp => None,
    }
}

fn number(n: f64) -> FlagValue {
    if n.fract() == 0.0 { FlagValue::Int(n as i64) } else { FlagValue::Float(n) }
}

fn read(text: &str) -> FlagValue {
    if let Ok(n) = text.parse() {
        return FlagValue::Int(n);
    }
    if let Ok(x) = text.parse() {
        return FlagValue::Float(x);
    }
    match text.to_ascii_lowercase().as_str() {
        "true" => FlagValue::Bool(true),
        "false" => FlagValue::Bool(false),
        _ => FlagValue::Text(text.to_owned()),
    }
}

#[derive(Clone, Copy)]
enum Step {
    Up,
    Down,
}

/// Counts are halved or doubled, shares of memory moved by five hundredths.
fn step(value: &FlagValue, step: Step) -> Option<FlagValue> {
    match (value, step) {
        (FlagValue::Int(n), Step::Down) if *n > 1 => Some(FlagValue::Int(n / 2)),
        (FlagValue::Int(n), Step::Up) => n.checked_mul(2).map(FlagValue::Int),
        (FlagValue::Float(x), Step::Down) if *x > 0.1 => Some(FlagValue::Float(hundredths(x - 0.05))),
        (FlagValue::Float(x), Step::Up) if *x < 0.93 => Some(FlagValue::Float(hundredths(x + 0.05))),
        _ => None,
    }
}

/// So that a sum of decimal fractions is written as a person would write it.
fn hundredths(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

/// What a failed launch deserves before it counts against its candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Second {
    /// The same once more, after this many seconds.
    After(f64),
    /// The start went on to its last line: the same with twice the time to become ready.
    Longer,
}

/// Seconds until memory or a port that somebody holds is asked for again.
const HELD_S: f64 = 20.0;

pub(super) fn second(failure: &Failure, went_on: bool) -> Option<Second> {
    let killed = failure.exit.as_deref().is_some_and(|e| e.starts_with("signal 9 "));
    match failure.class {
        Class::Interrupted | Class::Outpaced | Class::NoValidRun => None,
        Class::HangAtStart | Class::NotReady => went_on.then_some(Second::Longer),
        Class::MemoryHeld | Class::PortInUse => Some(Second::After(HELD_S)),
        class if killed || class.transient() => Some(Second::After(0.0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::EngineKind;

    fn failure(class: Class, remedies: Vec<Remedy>) -> Failure {
        Failure {
            class,
            phase: "start".into(),
            root_cause: String::new(),
            hint: String::new(),
            exit: None,
            log: None,
            remedies,
        }
    }

    #[test]
    fn the_engines_own_number_is_tried_first_and_steps_need_a_value() {
        let base = Candidate::baseline(EngineKind::Vllm).with("max-num-seqs", FlagValue::Int(1024));
        let found = failure(
            Class::OutOfMemory,
            vec![
                Remedy::Shrink { flag: "max-num-seqs".into(), to: Some(614.0) },
                Remedy::Shrink { flag: "gpu-memory-utilization".into(), to: None },
                Remedy::Shrink { flag: "max-num-seqs".into(), to: None },
                Remedy::Set { flag: "max-model-len".into(), value: "36000".into() },
                Remedy::Environment { name: "VLLM_USE_DEEP_GEMM".into(), value: "0".into() },
                Remedy::Forbid { flag: "max-num-seqs".into(), value: None },
            ],
        );
        let table = Space::load(EngineKind::Vllm, None).unwrap();
        let tries = applied(&base, &found, &|_| None, &table, OutputChange::None);
        let labels: Vec<String> = tries.iter().map(Candidate::label).collect();
        assert_eq!(labels[0], "--max-num-seqs 614");
        assert_eq!(labels[1], "--max-num-seqs 512");
        assert!(labels[2].contains("--max-model-len 36000"), "{labels:?}");
        assert_eq!(tries[3].env["VLLM_USE_DEEP_GEMM"], "0");
        assert!(tries[4].flags.is_empty());
        assert_eq!(tries.len(), 5);
    }

    #[test]
    fn a_default_is_stepped_from_and_written_as_a_person_would() {
        let table = Space::load(EngineKind::Vllm, None).unwrap();
        let raise = Remedy::Raise { flag: "gpu-memory-utilization".into(), to: None };
        let found = failure(Class::NoKvRoom, vec![raise]);
        let default = |_: &str| Some(FlagValue::Float(0.92));
        let base = Candidate::baseline(EngineKind::Vllm);
        let tries = applied(&base, &found, &default, &table, OutputChange::None);
        assert_eq!(tries[0].label(), "--gpu-memory-utilization 0.97");
    }

    #[test]
    fn a_log_cannot_have_checks_turned_off_foreign_code_run_or_answers_changed() {
        let table = Space::load(EngineKind::Vllm, None).unwrap();
        let set = |flag: &str, value: &str| Remedy::Set { flag: flag.into(), value: value.into() };
        let found = failure(
            Class::NoKvRoom,
            vec![
                Remedy::Environment { name: "VLLM_ALLOW_LONG_MAX_MODEL_LEN".into(), value: "1".into() },
                set("trust-remote-code", "true"),
                set("host", "0.0.0.0"),
                set("quantization", "fp8"),
            ],
        );
        let base = Candidate::baseline(EngineKind::Vllm);
        assert_eq!(applied(&base, &found, &|_| None, &table, OutputChange::Lossless), []);
        assert_eq!(applied(&base, &found, &|_| None, &table, OutputChange::Approximate).len(), 1);
    }

    #[test]
    fn what_may_pass_is_launched_again_and_what_stays_is_not() {
        let of = |class| second(&failure(class, Vec::new()), false);
        assert_eq!(of(Class::PortInUse), Some(Second::After(HELD_S)));
        assert_eq!(of(Class::WorkerDeath), Some(Second::After(0.0)));
        assert_eq!(of(Class::OutOfMemory), None);
        assert_eq!(of(Class::MissingLibrary), None);
        assert_eq!(of(Class::Interrupted), None);
        assert_eq!(of(Class::HangAtStart), None);
        assert_eq!(second(&failure(Class::HangAtStart, Vec::new()), true), Some(Second::Longer));
    }
}
