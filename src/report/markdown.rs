//! `report.md`: conclusion first, then how it was reached, then everything that was seen.

use super::block::block;
use super::conclusion::{conclusion, title};
use super::subject::Subject;
use super::words::{cell, duration, key_words, number, percent_interval};
use crate::search::Stage;
use crate::space::Candidate;
use crate::store::{TrialLine, Tried};
use crate::trial::Outcome;
use std::fmt::Write;

pub fn markdown(s: &Subject<'_>) -> String {
    let mut out = format!("# {}\n\n", title(s));
    for part in [
        conclusion(s),
        objective(s),
        set_up(s),
        engines(s),
        flags(s),
        other_steps(s),
        confirmation(s),
        ruled(s),
        failures(s),
        raw(s),
        reproduce(s),
    ] {
        if !part.is_empty() {
            out.push_str(part.trim_end());
            out.push_str("\n\n");
        }
    }
    format!("{}\n", out.trim_end())
}

fn objective(s: &Subject<'_>) -> String {
    let plan = &s.run.plan;
    let direction =
        if plan.objective.higher_is_better() { "as large as possible" } else { "as small as possible" };
    let mut out = format!(
        "## Objective\n\n{} {direction} on `{}`; the other workloads are checked, not tuned for.\n",
        key_words(plan.objective.key().name()),
        plan.primary().name
    );
    if !plan.slo.0.is_empty() {
        let _ = writeln!(out, "\nPromises to keep: `{}`.", plan.slo);
    }
    out
}

fn set_up(s: &Subject<'_>) -> String {
    let plan = &s.run.plan;
    let how = if s.emulated() {
        "emulated by the embedded engine: a model of it, not the hardware itself"
    } else if plan.hardware_detected {
        "as detected"
    } else {
        "as named on the command line"
    };
    let mut out = String::from("## Set-up\n\n");
    let mut row = |k: &str, v: String| {
        let _ = writeln!(out, "- {k}: {v}");
    };
    row("Model", plan.model.clone());
    row("Hardware", format!("{} x {} ({how})", plan.num_gpus, plan.hardware));
    let engines = s.verdict.engines.iter().map(|e| match &e.version {
        Some(v) => format!("{} {v}", e.engine),
        None => e.engine.to_string(),
    });
    row("Engines", engines.collect::<Vec<_>>().join(", "));
    if !plan.fixed_args.is_empty() {
        row("Flags of every launch", format!("`{}`", plan.fixed_args.join(" ")));
    }
    if let Some(len) = plan.max_model_len {
        row("Longest request", format!("{len} tokens"));
    }
    row("dyno", s.run.dyno_version.clone());
    for (k, v) in &s.run.machine {
        row(k, v.clone());
    }
    row("Trials", format!("{} launches, {} of trial time", s.trials.len(), duration(s.verdict.wall_s)));
    for w in &plan.workloads {
        let spec = serde_json::to_string(&w.spec).unwrap_or_default();
        row(&format!("Workload `{}`", w.name), format!("`{spec}`"));
    }
    out.push_str(
        "\nEach repeat has its own seed; runs are compared only with runs of the same seed, which served the same \
         requests. Every launch is a fresh process.\n",
    );
    out
}

fn engines(s: &Subject<'_>) -> String {
    let unit = s.run.plan.objective.unit();
    let mut out = format!(
        "## Step 1: engines with their defaults\n\n| Engine | Version | {} | Runs | |\n|---|---|--:|--:|---|\n",
        key_words(s.run.plan.objective.key().name()).replace(&format!(" ({unit})"), &format!(", {unit}"))
    );
    for e in &s.verdict.engines {
        let note = match (&e.failure, e.chosen) {
            (Some(f), _) => format!("failed: {}", cell(&f.class)),
            (None, true) => "chosen".to_owned(),
            (None, false) => String::new(),
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {note} |",
            e.engine,
            e.version.as_deref().unwrap_or("–"),
            e.value.map_or("–".to_owned(), number),
            e.runs
        );
    }
    out
}

/// Flags one at a time.
fn flags(s: &Subject<'_>) -> String {
    if s.verdict.flags.is_empty() {
        return String::new();
    }
    let Some(base) = s.baseline() else { return String::new() };
    let mut out = String::from(
        "## Step 2: flags, one at a time\n\nEffect on the objective against the defaults (of a flag that was not tried \
         alone: against the recommended command without it), positive is better, with its 95 % interval.\n\n| Flag | Effect | Beyond the noise | In the command | How it works |\n|---|--:|---|---|---|\n",
    );
    for f in &s.verdict.flags {
        let label = Candidate::baseline(base.engine).with(&f.flag, f.value.clone());
        let failed = s
            .verdict
            .tried
            .iter()
            .find(|t| t.failure.is_some() && t.candidate == base.with(&f.flag, f.value.clone()));
        let effect = match (&f.effect, failed) {
            (Some(e), _) if f.ablation => format!("{}, with the others set", percent_interval(e)),
            (Some(e), _) => percent_interval(e),
            (None, Some(t)) => format!("failed: {}", t.failure.as_ref().map_or("", |x| x.class.as_str())),
            (None, None) => "not tried alone".to_owned(),
        };
        let _ = writeln!(
            out,
            "| `{}` | {effect} | {} | {} | {} |",
            cell(&label.label()),
            if f.significant { "yes" } else { "no" },
            if f.kept { "**yes**" } else { "" },
            cell(&f.mechanism)
        );
    }
    out
}

/// Combinations and neighbours.
fn other_steps(s: &Subject<'_>) -> String {
    let Some(base) = s.baseline() else { return String::new() };
    let several = |t: &&Tried| t.candidate.changed_from(base).count() > 1;
    let rows: Vec<&Tried> = s.verdict.tried.iter().filter(several).collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "## Step 3: flags together\n\n| Candidate | Step | Effect against the defaults | Trials |\n|---|---|--:|---|\n",
    );
    for t in rows {
        let effect = match (&t.effect, &t.failure) {
            (_, Some(f)) => format!("failed: {}", cell(&f.class)),
            (Some(e), None) => percent_interval(e),
            (None, None) => "–".to_owned(),
        };
        let trials: Vec<String> = t.trials.iter().map(u32::to_string).collect();
        let _ = writeln!(out, "| `{}` | {} | {effect} | {} |", cell(&t.label), t.stage, trials.join(", "));
    }
    out
}

fn confirmation(s: &Subject<'_>) -> String {
    let Some(i) = s.verdict.compared.as_ref().and_then(|c| c.improvement.as_ref()) else {
        return String::new();
    };
    let mut out = format!(
        "## Step 4: confirmation\n\nThe search's best candidate and the defaults in turns (A B B A …), fresh launches, seeds \
         that the search did not see. Improvement: {}",
        percent_interval(&i.interval)
    );
    let _ = write!(
        out,
        " by the t interval of the paired log ratios at {:.1} % confidence (5 % error shared between the looks that \
         the confirmation may take)",
        100.0 * i.confidence
    );
    if let Some(b) = &i.bootstrap {
        let _ = write!(out, "; a paired bootstrap gives {}", percent_interval(b));
    }
    let _ = write!(
        out,
        ". {}\n\n| Pair | Improvement |\n|--:|--:|\n",
        if i.significant { "Significant." } else { "Not significant." }
    );
    for (n, p) in i.pairs.iter().enumerate() {
        let _ = writeln!(out, "| {} | {} |", n + 1, super::words::percent(*p));
    }
    out
}

/// What the model-guided search did with the space.
fn ruled(s: &Subject<'_>) -> String {
    let Some(r) = &s.verdict.ruled else { return String::new() };
    let mut out = format!(
        "## Candidates: considered, simulated, launched, dropped\n\n{} considered{}, {} simulated, {}{} launched, {} dropped \
         (their optimistic bound lay below the incumbent's pessimistic one), {} left (the expected gain was not worth a \
         launch). {}\n",
        r.considered,
        if r.cut { " (the space holds more; combinations of many flags were cut)" } else { "" },
        r.simulated,
        screened(r),
        r.launched,
        r.dropped,
        r.left,
        r.model
    );
    if !r.forecasts.is_empty() {
        out.push_str("\n| Launched | Predicted effect (90 %) | Measured |\n|---|--:|--:|\n");
        for f in &r.forecasts {
            let measured = f.measured.map_or("failed".to_owned(), super::words::percent);
            let _ =
                writeln!(out, "| `{}` | {} | {measured} |", cell(&f.label), percent_interval(&f.predicted));
        }
    }
    out
}

/// What the closed-form screen spared the simulator; records of before it hold none.
fn screened(r: &crate::store::Ruled) -> String {
    if r.screened_out == 0 {
        return String::new();
    }
    format!(
        "{} screened out (refused by memory arithmetic, or {:.1} % above their closed-form forecast still below the \
         best simulated), ",
        r.screened_out,
        100.0 * r.screen_band
    )
}

fn failures(s: &Subject<'_>) -> String {
    let mut out = String::new();
    for t in s.trials {
        let Outcome::Failed { failure: f, .. } = &t.result.outcome else { continue };
        let _ = writeln!(
            out,
            "- trial {} `{}`: **{}** ({}): {}{}",
            t.seq,
            cell(&t.result.spec.candidate.label()),
            cell(&f.class),
            cell(&f.phase),
            cell(&f.root_cause),
            if f.hint.is_empty() { String::new() } else { format!(". Next: {}", cell(&f.hint)) }
        );
    }
    for t in s.trials {
        for reason in Subject::runs(t).iter().flat_map(|m| &m.invalid) {
            let _ = writeln!(out, "- trial {}: a run was not used: {}", t.seq, cell(reason));
        }
    }
    let doubtful = s.trials.iter().flat_map(Subject::runs).filter(|m| !m.doubts.is_empty());
    if let Some(worst) = doubtful.clone().flat_map(|m| &m.doubts).max() {
        let _ =
            writeln!(out, "- {} runs have latencies in doubt, such as: {}", doubtful.count(), cell(worst));
    }
    if out.is_empty() { out } else { format!("## Failed candidates and unused runs\n\n{out}") }
}

fn raw(s: &Subject<'_>) -> String {
    let mut out = String::from("## Raw results\n");
    for t in s.trials {
        out.push_str(&raw_trial(s, t));
    }
    out
}

fn raw_trial(s: &Subject<'_>, t: &TrialLine) -> String {
    let mut out = String::new();
    let label = html_text(&t.result.spec.candidate.label());
    let state = if matches!(t.result.outcome, Outcome::Failed { .. }) { ", failed" } else { "" };
    let _ = write!(
        out,
        "\n<details>\n<summary>Trial {}, {}: <code>{label}</code>{state} ({})</summary>\n",
        t.seq,
        t.stage,
        duration(t.result.wall_s)
    );
    if let Some(f) = Subject::facts(t) {
        let _ = write!(out, "\nReady after {:.1} s.", f.startup_s);
        for key in ["num_kv_tokens", "num_gpu_blocks", "max_num_seqs", "max_num_batched_tokens"] {
            if let Some(v) = f.resolved.get(key) {
                let _ = write!(out, " {key} = {v}.");
            }
        }
        out.push('\n');
    }
    for m in Subject::runs(t) {
        let name = s.run.plan.workloads.iter().find(|w| w.spec.same_kind(&m.workload));
        let seed = m.workload.seed.map_or(String::new(), |x| format!(", seed {x}"));
        let _ = write!(out, "\n`{}`{seed}, repeat {}", name.map_or("workload", |w| &w.name), m.repeat);
        if let Some(hits) = m.cache_hit_ratio {
            let _ = write!(out, ", prefix cache hits {:.2} %", 100.0 * hits);
        }
        if !m.invalid.is_empty() {
            let _ = write!(out, ", **not used**: {}", m.invalid.join("; "));
        }
        let _ =
            write!(out, "\n\n```text\n{}```\n", m.observation.result.as_ref().map(block).unwrap_or_default());
    }
    out.push_str("\n</details>\n");
    out
}

fn html_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn reproduce(s: &Subject<'_>) -> String {
    let quoted: Vec<String> = s.run.invocation.iter().map(|w| crate::launch::quote(w)).collect();
    let mut out = format!("## How to reproduce\n\n```sh\n{}\n```\n", quoted.join(" "));
    let confirms = s.trials.iter().filter(|t| t.stage == Stage::Confirm).count();
    let _ = write!(
        out,
        "\nThe plan stands in `run.json`, every trial in `trials.jsonl` ({} launches, {confirms} of them for the \
         confirmation), logs and requests with their timing under `trials/`. `dyno report DIR` writes this page again \
         from the record.\n",
        s.trials.len()
    );
    out
}
