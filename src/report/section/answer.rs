//! The first screen: the answer in one sentence, the command, what it gives, and what must not be overlooked.

use super::super::analysis::Side;
use super::super::doc::{Block, Text, code, strong, text};
use super::super::export::{Format, Place, export};
use super::super::subject::Subject;
use super::super::words::{confidence, count, key_name, key_words, number, percent, range};
use super::cards::cards;
use super::caution::cautions;
use crate::launch::{Candidate, EngineKind};

pub(in super::super) fn lead(s: &Subject<'_>) -> Vec<Block> {
    let mut out = Vec::new();
    let mut tags = Vec::new();
    if s.emulated() {
        tags.push("emulated: not measured on this hardware");
    }
    if !s.verdict.complete {
        tags.push("interrupted: not the campaign's conclusion");
    }
    if !tags.is_empty() {
        out.push(Block::Tag(tags.join(" · ")));
    }
    out.push(Block::Para(sentence(s)));
    if let Some(launch) = s.winner().and_then(|w| s.launch(w)) {
        out.push(Block::Code { language: "sh", text: launch.to_lines(s.run.plan.router.as_deref()) });
        for file in launch.files {
            out.push(Block::Para(text!["with the file ", code(file.path), ":"]));
            out.push(Block::Code { language: "yaml", text: file.text });
        }
        out.extend(elsewhere(s));
    }
    let cards = cards(s);
    if !cards.is_empty() {
        out.push(Block::Cards(cards));
    }
    out.extend(cautions(s));
    out
}

/// The same command for a container, folded: what is copied next after the bare one.
fn elsewhere(s: &Subject<'_>) -> Option<Block> {
    let place = Place::default();
    let docker = export(s, Format::Docker, &place).ok()?;
    let compose = export(s, Format::Compose, &place).ok()?;
    Some(Block::Fold {
        summary: text!["The same command for docker and compose"],
        blocks: vec![
            Block::Code { language: "sh", text: docker.trim_end().to_owned() },
            Block::Code { language: "yaml", text: compose.trim_end().to_owned() },
            Block::Para(text![
                "Kubernetes, KServe, Helm, systemd, podman and a vLLM recipe: ",
                code("dyno export DIR --format kubernetes"),
                " and so on."
            ]),
        ],
    })
}

/// One sentence a reader can carry away.
pub(in super::super) fn sentence(s: &Subject<'_>) -> Text {
    let plan = &s.run.plan;
    let Some(c) = &s.verdict.compared else {
        return if s.verdict.complete {
            text![
                strong("Nothing can be recommended."),
                " No candidate could be launched and measured; each failure with its cause and next step stands below.",
            ]
        } else {
            text![format!("The campaign was stopped after {}, before any figure was sure.", launches(s))]
        };
    };
    if !s.verdict.complete {
        let mut t = text![format!("The campaign was stopped after {}. ", launches(s))];
        match s.best_tried().and_then(|t| t.effect.map(|e| (t, e))) {
            Some((tried, e)) if e.value > 0.0 => {
                t.push("Best in the search so far is ");
                t.push(code(&tried.label));
                t.push(format!(" with {} {}, not confirmed yet.", percent(e.value), better_words(s)));
            }
            _ => t.push("Nothing better than the defaults was found up to there."),
        }
        t.push(" Until it is finished the defaults stand: ");
        t.push(code(resume(s)));
        t.push(" goes on.");
        return t;
    }
    match &c.improvement {
        Some(i) if c.winner != c.baseline => text![
            code(c.winner.label()),
            " gives ",
            strong(format!("{} {}", percent(i.interval.value), better_words(s))),
            format!(" against {} on ", base_words(&c.baseline)),
            code(&plan.primary().name),
            format!(
                " ({} % interval {}; {} interleaved pairs of fresh launches, {}).",
                confidence(i.confidence),
                range(&i.interval),
                i.pairs.len(),
                s.manner()
            ),
        ],
        _ => text![
            strong(format!("Keep {}.", base_words(&c.baseline))),
            format!(
                " {} launched; none was confirmed to be better beyond the noise on ",
                match s.verdict.tried.len() {
                    0 => "No other candidate was".to_owned(),
                    1 => "One other candidate was".to_owned(),
                    n => format!("{n} other candidates were"),
                }
            ),
            code(&plan.primary().name),
            ".",
        ],
    }
}

/// The baseline for a sentence. Where the engine does not start with its defaults, something else stands in for them.
fn base_words(base: &Candidate) -> String {
    if *base == Candidate::baseline(base.engine) {
        match base.engine {
            EngineKind::Emulated => "the defaults of the embedded engine".to_owned(),
            engine => format!("the defaults of {engine}"),
        }
    } else {
        format!("{} with {}, whose defaults do not start here", base.engine, base.label())
    }
}

fn launches(s: &Subject<'_>) -> String {
    count(s.trials.len(), "launch", "launches")
}

/// `total throughput` or `less mean TTFT`.
pub(in super::super) fn better_words(s: &Subject<'_>) -> String {
    let o = s.run.plan.objective;
    let name = key_name(o.key().name());
    if o.higher_is_better() { name } else { format!("less {name}") }
}

fn resume(s: &Subject<'_>) -> String {
    let at = s.run.invocation.iter().position(|w| w == "--out" || w == "--resume");
    let dir = at.and_then(|i| s.run.invocation.get(i + 1));
    format!("dyno tune --resume {}", dir.map_or("DIR", String::as_str))
}

pub(in super::super) fn title(s: &Subject<'_>) -> String {
    let plan = &s.run.plan;
    let emulated = if s.emulated() { " (emulated)" } else { "" };
    format!("Serving {} on {} x {}{emulated}", plan.model, plan.num_gpus, plan.hardware)
}

/// The step of the recommended command beside that of the defaults, in one sentence with this box's own figures.
pub(in super::super) fn step_words(s: &Subject<'_>) -> Option<String> {
    let steps = &s.analysis?.steps;
    let before = steps.iter().find(|x| x.side == Side::Defaults)?;
    let mut out = format!(
        "With the defaults a mean decode step of {} requests takes {} ms, of which {} ms are the host's work{}.",
        before.decode_rows,
        number(before.period_ms),
        number(before.host_ms),
        if before.overlap { ", hidden behind the device" } else { " while the GPU waits" }
    );
    if let Some(after) = steps.iter().find(|x| x.side == Side::Recommended) {
        out.push_str(&format!(
            " With the recommended command it takes {} ms{}.",
            number(after.period_ms),
            if after.overlap && !before.overlap {
                ", since the host's work now runs while the device computes"
            } else {
                ""
            }
        ));
    }
    Some(out)
}

/// The objective's name for a table.
pub(in super::super) fn objective_words(s: &Subject<'_>) -> String {
    key_words(s.run.plan.objective.key().name())
}
