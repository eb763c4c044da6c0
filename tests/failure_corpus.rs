//! Every excerpt under `tests/corpus/` is classified right, and no healthy log is taken for a failed one.

use llm_dyno::engine::failure::Phase;
use llm_dyno::engine::{Class, diagnose};
use llm_dyno::launch::EngineKind;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    failure: Vec<Failed>,
    healthy: Vec<Healthy>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Failed {
    file: String,
    engine: EngineKind,
    class: String,
    phase: String,
    /// Part of the root cause.
    cause: String,
    /// Part of the advice.
    next: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Healthy {
    file: String,
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn expected() -> Expected {
    let text = std::fs::read_to_string(corpus().join("expected.toml")).expect("tests/corpus/expected.toml");
    toml::from_str(&text).expect("expected.toml")
}

fn log(file: &str) -> String {
    std::fs::read_to_string(corpus().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// What is wrong with the verdict on one excerpt, for the engine as given or to be recognised.
fn faults(case: &Failed, engine: Option<EngineKind>) -> Vec<String> {
    let who = if engine.is_some() { "" } else { " (engine not told)" };
    let Some(v) = diagnose(&log(&case.file), engine) else {
        return vec![format!("{}{who}: no failure seen", case.file)];
    };
    let mut wrong = Vec::new();
    let mut hold = |ok: bool, what: &str, got: &str, want: &str| {
        if !ok {
            wrong.push(format!("{}{who}: {what} is `{got}`, not `{want}`", case.file));
        }
    };
    hold(v.class.id() == case.class, "class", v.class.id(), &case.class);
    hold(v.phase.id() == case.phase, "phase", v.phase.id(), &case.phase);
    hold(v.root_cause.contains(&case.cause), "root cause", &v.root_cause, &case.cause);
    hold(v.next.contains(&case.next), "advice", &v.next, &case.next);
    wrong
}

#[test]
fn every_excerpt_is_classified_with_root_cause_phase_and_next_step() {
    let cases = expected().failure;
    let wrong: Vec<String> = cases.iter().flat_map(|c| faults(c, Some(c.engine))).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// `dyno diagnose LOG` may not be told the engine; patterns of one engine must not catch the logs of another.
#[test]
fn the_verdict_does_not_need_to_be_told_the_engine() {
    let wrong: Vec<String> = expected().failure.iter().flat_map(|c| faults(c, None)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn healthy_logs_are_no_failures() {
    for case in expected().healthy {
        for engine in [None, Some(EngineKind::Vllm), Some(EngineKind::Sglang), Some(EngineKind::Trtllm)] {
            assert_eq!(diagnose(&log(&case.file), engine), None, "{} as {engine:?}", case.file);
        }
    }
}

/// Warnings of a healthy start above a failure must not become its cause.
#[test]
fn a_failure_below_a_healthy_start_keeps_its_class() {
    let all = expected();
    let mut wrong = Vec::new();
    for case in &all.failure {
        let dir = case.engine.id();
        let Some(start) = all.healthy.iter().find(|h| h.file.starts_with(&format!("healthy/{dir}-"))) else {
            panic!("no healthy log of {dir}");
        };
        let text = log(&start.file) + &log(&case.file);
        match diagnose(&text, Some(case.engine)) {
            Some(v) if v.class.id() == case.class => {}
            other => wrong.push(format!("{}: {other:?}", case.file)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_corpus_is_wide() {
    let all = expected();
    assert!(all.failure.len() >= 60, "{} excerpts", all.failure.len());
    let classes: BTreeSet<&str> = all.failure.iter().map(|c| c.class.as_str()).collect();
    assert!(classes.len() >= 15, "{classes:?}");
    let mut by_engine: BTreeMap<&str, usize> = BTreeMap::new();
    for c in &all.failure {
        *by_engine.entry(c.engine.id()).or_default() += 1;
        assert!(Class::ALL.iter().any(|k| k.id() == c.class), "{} is no class", c.class);
        assert!(PHASES.iter().any(|p| p.id() == c.phase), "{} is no phase", c.phase);
    }
    assert!(by_engine.len() == 3 && by_engine.values().all(|n| *n >= 15), "{by_engine:?}");
}

const PHASES: [Phase; 6] =
    [Phase::Start, Phase::Load, Phase::KvCache, Phase::Warmup, Phase::Run, Phase::Stop];

#[test]
fn every_file_of_the_corpus_is_expected() {
    let all = expected();
    let known: BTreeSet<String> = all
        .failure
        .iter()
        .map(|c| c.file.clone())
        .chain(all.healthy.iter().map(|h| h.file.clone()))
        .collect();
    for dir in ["vllm", "sglang", "trtllm", "captured", "healthy"] {
        for entry in std::fs::read_dir(corpus().join(dir)).expect("a directory") {
            let name = format!("{dir}/{}", entry.expect("an entry").file_name().to_string_lossy());
            assert!(known.contains(&name), "{name} is not in expected.toml");
        }
    }
}
