//! Set-up and reproduction.

use super::super::doc::{Block, Section, Table, Text, code, text};
use super::super::subject::Subject;
use super::super::words::{date, duration, key_words, workload_words};
use crate::search::Stage;

pub(in super::super) fn section(s: &Subject<'_>) -> Section {
    let words: Vec<String> = s.run.invocation.iter().map(|w| crate::launch::quote(w)).collect();
    let command = words.join(" ");
    let blocks = vec![
        Block::Table(table(s)),
        Block::Para(text![
            "Each repeat has its own seed; runs are compared only with runs of the same seed, which served the same requests. \
             Every launch is a fresh process. To do it again:"
        ]),
        Block::Code { language: "sh", text: command },
        Block::Para(text![
            "The plan stands in ",
            code("run.json"),
            ", every launch in ",
            code("trials.jsonl"),
            ", logs and requests with their timing under ",
            code("trials/"),
            ". ",
            code("dyno report DIR"),
            " writes this page again from the record, ",
            code("dyno export DIR"),
            " writes the command as container, Kubernetes and systemd text."
        ]),
    ];
    Section { id: "setup", title: "Set-up and reproduction", blocks }
}

/// What was served where, how often and by what.
fn table(s: &Subject<'_>) -> Table {
    let plan = &s.run.plan;
    let mut t = Table::new("", &["What", "Value"]);
    let mut row = |k: &str, v: Text| t.row(vec![k.into(), v.into()]);
    let direction = if plan.objective.higher_is_better() { "as large" } else { "as small" };
    row(
        "Objective",
        text![
            format!("{} {direction} as possible on ", key_words(plan.objective.key().name())),
            code(&plan.primary().name),
            "; other workloads are checked, not tuned for"
        ],
    );
    if !plan.slo.0.is_empty() {
        row("SLO", text![code(plan.slo.to_string())]);
    }
    row("Model", text![code(&plan.model)]);
    let how = if s.emulated() {
        "emulated by the embedded engine: a model of it, not the hardware itself"
    } else if plan.hardware_detected {
        "as detected"
    } else {
        "as named on the command line"
    };
    row("Hardware", text![format!("{} x {} ({how})", plan.num_gpus, plan.hardware)]);
    let engines: Vec<String> = s
        .verdict
        .engines
        .iter()
        .map(|e| match &e.version {
            Some(v) => format!("{} {v}", e.engine),
            None => e.engine.to_string(),
        })
        .collect();
    row("Engines", text![engines.join(", ")]);
    if !plan.fixed_args.is_empty() {
        row("Flags of every launch", text![code(plan.fixed_args.join(" "))]);
    }
    if let Some(len) = plan.max_model_len {
        row("Longest request", text![format!("{len} tokens")]);
    }
    for w in &plan.workloads {
        row("Workload", text![code(&w.name), format!(": {}", workload_words(&w.spec))]);
    }
    row("dyno", text![format!("{}, {}", s.run.dyno_version, date(s.run.created_unix_s))]);
    for (k, v) in s.run.machine.iter().filter(|(k, _)| k != "Started") {
        row(k, text![v.clone()]);
    }
    let confirms = s.trials.iter().filter(|t| t.stage == Stage::Confirm).count();
    row(
        "Launches",
        text![format!(
            "{} ({confirms} of them for the confirmation), {} of trial time",
            s.trials.len(),
            duration(s.verdict.wall_s)
        )],
    );
    t
}
