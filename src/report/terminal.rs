//! The opening and the closing words of a campaign, as plain text for a terminal.

use super::section::answer::{sentence, title};
use super::section::cards::cards;
use super::subject::Subject;
use super::words::{duration, key_name, workload_words};
use crate::launch::EngineKind;
use crate::store::Plan;
use crate::store::plan::Strategy;
use std::fmt::Write;

/// What will be done, before the first launch takes its minutes.
pub fn opening(plan: &Plan, dir: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut line = |name: &str, text: String| out.push(format!("{name:<10} {text}"));
    line("tune", format!("{} on {} x {}", plan.model, plan.num_gpus, plan.hardware));
    let engines: Vec<&str> = plan
        .engines
        .iter()
        .map(|e| match e {
            EngineKind::Emulated => "emulated (the embedded engine: simulated, not measured)",
            other => other.id(),
        })
        .collect();
    line("engines", engines.join(", "));
    let goal = if plan.objective.higher_is_better() { "most" } else { "least" };
    line("objective", format!("{goal} {} on {}", key_name(plan.objective.key().name()), plan.primary().name));
    if !plan.slo.0.is_empty() {
        line("SLO", plan.slo.to_string());
    }
    for (i, w) in plan.workloads.iter().enumerate() {
        line(if i == 0 { "workloads" } else { "" }, format!("{}: {}", w.name, workload_words(&w.spec)));
    }
    let flags = match plan.only_flags.as_slice() {
        [] => "every flag that can matter here".to_owned(),
        some => format!("only {}", some.join(", ")),
    };
    let how = match plan.strategy {
        Strategy::Model => "forecast the whole space, launch the best",
        Strategy::OneFactor => "one flag at a time",
    };
    line("search", format!("{flags}; {how}; the winner is confirmed in turns with the defaults"));
    let budget = match (plan.budget_s, plan.max_trials) {
        (None, None) => "none: the search ends by itself".to_owned(),
        (Some(s), None) => duration(s),
        (None, Some(n)) => format!("{n} launches"),
        (Some(s), Some(n)) => format!("{} or {n} launches", duration(s)),
    };
    line("budget", budget);
    line("record", format!("{dir} (safe at any time: `dyno tune --resume {dir}` goes on)"));
    out
}

/// The answer, before and after, the command alone on its line, and what to do next. `dir` is the campaign's directory.
pub fn closing(s: &Subject<'_>, dir: &str) -> String {
    let mut out = format!("\n{}\n\n{}\n", title(s), wrapped(&sentence(s).plain(), 100));
    let cards = cards(s);
    if !cards.is_empty() {
        out.push('\n');
        let name = cards.iter().map(|c| c.name.chars().count()).max().unwrap_or(0);
        let value = cards.iter().map(|c| c.value.chars().count()).max().unwrap_or(0);
        for c in &cards {
            let line = format!("  {:<name$}  {:>value$}  {}", c.name, c.value, c.note);
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
    if let Some(command) = s.winner().and_then(|w| s.command(w)) {
        // Alone on its line and not broken: it is there to be copied.
        let _ = write!(out, "\n{command}\n");
    }
    let _ = write!(
        out,
        "\nReport   {dir}/report.html  {dir}/report.md\nNext     dyno export {dir} --format docker\n"
    );
    out
}

/// Lines of at most `width` characters, broken between words.
fn wrapped(text: &str, width: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(l) if l.chars().count() + 1 + word.chars().count() <= width => {
                l.push(' ');
                l.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}
