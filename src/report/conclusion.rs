//! The head of the report: what to run, what it brings, what is certain and what is not.

use super::subject::Subject;
use super::words::{cell, key_words, number, percent, percent_interval};
use crate::store::{Compared, FlagEffect, Improvement, WorkloadRow};
use std::fmt::Write;

/// Title line; it says so when nothing was measured on the hardware it names.
pub(super) fn title(s: &Subject<'_>) -> String {
    let plan = &s.run.plan;
    let emulated = if s.emulated() { " (emulated, not measured on this hardware)" } else { "" };
    format!("Serving {} on {}{emulated}", plan.model, plan.hardware)
}

/// One sentence a reader can carry away.
pub(super) fn sentence(s: &Subject<'_>) -> String {
    let plan = &s.run.plan;
    let Some(c) = &s.verdict.compared else {
        return "No candidate could be launched and measured; see the failures below.".to_owned();
    };
    if !s.verdict.complete {
        return format!(
            "The campaign is not finished; what follows is what {} trials say so far.",
            s.trials.len()
        );
    }
    match &c.improvement {
        Some(i) if c.winner != c.baseline => format!(
            "`{}` gives **{}** {} against the defaults of {} on `{}` ({} % confidence over {} interleaved pairs of \
             fresh launches, {}).",
            c.winner.label(),
            percent_interval(&i.interval),
            better_words(s),
            c.baseline.engine,
            plan.primary().name,
            confidence(i),
            i.pairs.len(),
            s.manner(),
        ),
        _ => format!(
            "**Keep the defaults of {}.** Of {} candidates launched, none was confirmed to be better beyond the noise on \
             `{}`.",
            c.baseline.engine,
            s.verdict.tried.len(),
            plan.primary().name
        ),
    }
}

fn confidence(i: &Improvement) -> String {
    let text = format!("{:.1}", 100.0 * i.confidence);
    text.trim_end_matches(".0").to_owned()
}

/// `total throughput` or `less mean TTFT`.
fn better_words(s: &Subject<'_>) -> String {
    let o = s.run.plan.objective;
    let name = key_words(o.key().name());
    let name = name.split(" (").next().unwrap_or_default().to_owned();
    if o.higher_is_better() {
        format!("{}{}", name[..1].to_lowercase(), &name[1..])
    } else {
        format!("less {name}")
    }
}

pub(super) fn conclusion(s: &Subject<'_>) -> String {
    let mut out = format!("## Conclusion\n\n{}\n", sentence(s));
    let Some(c) = &s.verdict.compared else { return out };
    if let Some(command) = s.command(&c.winner) {
        let _ = write!(out, "\n```sh\n{command}\n```\n");
    }
    if !c.workloads.is_empty() {
        let _ = write!(out, "\n{}", before_after(c));
    }
    out.push_str(&certain_or_not(s, c));
    if !s.verdict.notes.is_empty() {
        out.push_str("\nNotes:\n\n");
        for n in &s.verdict.notes {
            let _ = writeln!(out, "- {n}");
        }
    }
    out
}

/// One table, a block of rows a workload.
pub(super) fn before_after(c: &Compared) -> String {
    let mut out = String::from(
        "| Workload | Metric | Defaults | Tuned | Change (95 % interval) | Beyond the noise |\n\
         |---|---|--:|--:|--:|---|\n",
    );
    for w in &c.workloads {
        for (i, m) in w.metrics.iter().enumerate() {
            let name = if i == 0 { format!("`{}`", cell(&w.name)) } else { String::new() };
            let change = m.change.as_ref().map_or("–".to_owned(), percent_interval);
            let verdict = match (m.significant, m.better) {
                (false, _) => "no",
                (true, true) => "yes, better",
                (true, false) => "yes, worse",
            };
            let _ = writeln!(
                out,
                "| {name} | {} | {} | {} | {change} | {verdict} |",
                key_words(&m.key),
                number(m.before),
                number(m.after)
            );
        }
        for n in &w.notes {
            let _ = writeln!(out, "| | {} | | | | |", cell(n));
        }
        if let Some(keeps) = w.keeps_slo {
            let _ = writeln!(out, "| | promises kept | | {} | | |", if keeps { "yes" } else { "**no**" });
        }
    }
    out
}

fn certain_or_not(s: &Subject<'_>, c: &Compared) -> String {
    let mut out = String::new();
    let worse: Vec<String> = c
        .workloads
        .iter()
        .flat_map(|w: &WorkloadRow| {
            w.metrics.iter().filter(|m| m.significant && !m.better).map(move |m| {
                format!("{} on `{}`", key_words(&m.key).split(" (").next().unwrap_or_default(), w.name)
            })
        })
        .collect();
    if c.winner != c.baseline && !worse.is_empty() {
        let _ = write!(out, "\n**It costs:** worse beyond the noise are {}.\n", worse.join("; "));
    }
    let (sure, unsure): (Vec<&FlagEffect>, Vec<&FlagEffect>) =
        s.verdict.flags.iter().filter(|f| f.effect.is_some()).partition(|f| f.significant);
    let list = |flags: &[&FlagEffect]| {
        let one = |f: &&FlagEffect| {
            let label = c.baseline.with(&f.flag, f.value.clone()).label();
            format!("`{label}` {}", f.effect.map_or(String::new(), |e| percent(e.value)))
        };
        flags.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    if !sure.is_empty() {
        let _ = write!(
            out,
            "\n**Significant on their own** (after correction for the number of candidates): {}.\n",
            list(&sure)
        );
    }
    if !unsure.is_empty() {
        let _ = write!(out, "\n**Not told from noise:** {}.\n", list(&unsure));
    }
    if let Some((sigma, df)) = s.verdict.noise {
        let _ = write!(
            out,
            "\nTwo runs of the same thing differ by a standard deviation of {:.2} % here ({df:.0} degrees of \
             freedom): an effect counts only beyond that.\n",
            100.0 * sigma
        );
    }
    out
}
