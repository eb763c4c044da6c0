//! Risks and limits: what the figures do not say, and what would change the answer.

use super::super::doc::{Block, Section, Text, code, text};
use super::super::subject::Subject;
use super::super::words::{count, load};
use crate::launch::EngineKind;
use crate::quality;
use crate::space::OutputChange;
use crate::trial::{Outcome, SpeedWarning};
use crate::workload::Dataset;

pub(in super::super) fn section(s: &Subject<'_>) -> Section {
    let plan = &s.run.plan;
    let mut items: Vec<Text> = Vec::new();
    if s.emulated() {
        items.push(text![
            "Every figure is of the embedded engine: a simulation of vLLM's scheduler on a physical model of the GPU, served in \
             real time. It shows what physics expects, not what this hardware does; run the same command on the hardware to \
             know."
        ]);
    }
    if plan.workloads.iter().any(|w| w.spec.dataset == Dataset::Sharegpt && w.spec.path.is_none()) {
        items.push(text![
            "The workload named sharegpt-lengths (or sharegpt, without a file) has the lengths of that data and random token ids. \
             Prefix caches and speculative decoding find nothing in it; ",
            code("--workload sharegpt:FILE"),
            " sends the real text."
        ]);
    }
    items.push(tried(s));
    let missing: Vec<&str> = [EngineKind::Vllm, EngineKind::Sglang, EngineKind::Trtllm]
        .into_iter()
        .filter(|e| !plan.engines.contains(e))
        .map(EngineKind::id)
        .collect();
    if !missing.is_empty() && !s.emulated() {
        items.push(text![format!("Not compared with: {}.", missing.join(", "))]);
    }
    for e in s.verdict.engines.iter().filter(|e| e.failure.is_some()) {
        let class = e.failure.as_ref().map_or("", |f| f.class.as_str());
        items.push(text![format!(
            "{} did not run with its defaults ({class}); the answer is without it.",
            e.engine
        )]);
    }
    items.extend(of_the_runs(s));
    for n in &s.verdict.notes {
        // What did not hold, or was not confirmed before a stop, is said on the first screen by the same figures; and no
        // budget ended what was interrupted.
        let said = n.contains("did not hold in the confirmation") || n.contains("was not confirmed");
        if !said && (s.verdict.complete || !n.starts_with("The budget ended")) {
            items.push(Text::marked(n));
        }
    }
    items.push(text![
        "What would change the answer: another version of the engine, other lengths or arrival rates, shared prefixes, another \
         GPU. Each is one more campaign; ",
        code("dyno compare"),
        " holds two of them beside one another."
    ]);
    Section { id: "limits", title: "Risks and limits", blocks: vec![Block::List(items)] }
}

/// Scatter of launches, width of the confirmation, and runs that are doubtful or were not used.
fn of_the_runs(s: &Subject<'_>) -> Vec<Text> {
    let mut items = Vec::new();
    if let Some((sigma, df)) = s.verdict.noise {
        items.push(text![format!(
            "Two launches of the same command scatter by {:.2} % here (standard deviation, {} degrees of freedom). Averages over \
             pairs tell smaller effects apart; single launches do not.",
            100.0 * sigma,
            load(df)
        )]);
    }
    if let Some(i) = s.verdict.compared.as_ref().and_then(|c| c.improvement.as_ref())
        && i.pairs.len() < 3
    {
        items.push(text![format!(
            "The confirmation has {} pairs, so its interval is wide; {} narrows it.",
            i.pairs.len(),
            "--repeats 3 or more"
        )]);
    }
    let doubtful = s.trials.iter().flat_map(Subject::runs).filter(|m| !m.doubts.is_empty()).count();
    if doubtful > 0 {
        items.push(text![format!(
            "In {} the client read late, since this machine was busy; the figures that decide are from the \
             kernel's time stamps and stand, the record says which do not.",
            count(doubtful, "run", "runs")
        )]);
    }
    let invalid = s.trials.iter().flat_map(Subject::runs).filter(|m| !m.invalid.is_empty()).count();
    if invalid > 0 {
        items.push(text![format!(
            "{} not used; the reasons stand under the raw results.",
            count(invalid, "run was", "runs were")
        )]);
    }
    items.extend(slow(s));
    items
}

/// What the engine warned of that costs speed, one line a kind, with the launches that it holds for.
fn slow(s: &Subject<'_>) -> Vec<Text> {
    let measured: Vec<_> = s
        .trials
        .iter()
        .filter_map(|t| match &t.result.outcome {
            Outcome::Measured { facts, .. } => Some(facts),
            Outcome::Failed { .. } => None,
        })
        .collect();
    let mut kinds: Vec<_> = measured.iter().flat_map(|f| &f.slow).collect();
    kinds.sort_by_key(|w| w.kind);
    kinds.dedup_by_key(|w| w.kind);
    let line = |w: &&SpeedWarning| {
        let launches = measured.iter().filter(|f| f.slow.iter().any(|o| o.kind == w.kind)).count();
        text![
            format!("The engine warned in {launches} of {} launches: ", measured.len()),
            code(&w.text),
            format!(
                ". It means: {}; how much that costs here was not measured. What helps: {}.",
                w.kind.cost(),
                w.kind.helps()
            ),
        ]
    };
    kinds.iter().map(line).collect()
}

fn tried(s: &Subject<'_>) -> Text {
    let plan = &s.run.plan;
    if s.verdict.compared.is_none() {
        return text!["Nothing was searched: no engine gave a figure with its defaults."];
    }
    let what = if plan.only_flags.is_empty() {
        "every flag that the search space holds for this model, version and GPU".to_owned()
    } else {
        format!("only the flags {} (--flags)", plan.only_flags.join(", "))
    };
    let mut out = format!(
        "Searched: {what}, {} candidates in all, of which {} were launched.",
        s.verdict.considered,
        s.verdict.tried.len() + usize::from(s.verdict.compared.is_some())
    );
    if let Some(r) = &s.verdict.ruled {
        if r.left > 0 {
            out.push_str(&format!(
                " {} were left by the forecast: their expected gain was not worth a launch.",
                r.left
            ));
        }
        if r.cut {
            out.push_str(" The space holds more; combinations of many flags were cut.");
        }
        if !r.untried.is_empty() {
            out.push_str(&format!(" No launch had {}.", r.untried.join(", ")));
        }
    }
    out.push_str(match plan.allow_output_change {
        OutputChange::None => {
            " Flags that may change what the model answers (speculative decoding, quantised caches, other weights) were not \
             tried (--allow-output-change)."
        }
        OutputChange::Lossless => {
            " Flags that may change what the model answers (quantised caches, other weights, speculative decoding with \
             approximate acceptance) were not tried (--allow-output-change approximate)."
        }
        OutputChange::Approximate => " Flags that may change what the model answers were tried.",
    });
    let open = s.trials.iter().filter_map(|t| t.quality.as_ref());
    if open.filter(|q| q.outcome == quality::Outcome::NotDecided).count() > 0 {
        out.push_str(" The quality gate could not decide on some of them: they stayed in.");
    }
    text![out]
}
