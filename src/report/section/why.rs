//! Why it works: each flag with its effect, its interval and its mechanism, and where a step's time goes.

use super::super::analysis::{Side, Step};
use super::super::chart::{Budget, Forest, ForestRow, Shape, Svg, Tone as Mark, budget, forest};
use super::super::doc::{Block, Cell, Section, Table, Tone, code, text};
use super::super::evidence::{extra_flags, flag_text};
use super::super::subject::Subject;
use super::super::words::{confidence, count, key_name, number, percent, percent_interval, range};
use super::answer::step_words;
use crate::launch::{Candidate, EngineKind};
use crate::search::Objective;
use crate::stats::Interval;
use crate::store::FlagEffect;

pub(in super::super) fn section(s: &Subject<'_>) -> Option<Section> {
    let mut blocks = Vec::new();
    let flags: Vec<&FlagEffect> = s.verdict.flags.iter().collect();
    if !flags.is_empty() {
        blocks.push(Block::Table(mechanisms(s, &flags)));
        if flags.iter().any(|f| evidence(s, f).0.is_some()) {
            blocks.push(Block::Figure { name: "flag-effects", svg: Box::new(effects(s, &flags)) });
        }
        if flags.iter().any(|f| evidence(s, f).0.is_some()) {
            blocks.push(Block::Para(text![format!(
            "Effects are on the objective against the defaults, positive is better, with {} % intervals, as the search's \
             launches tell them{}. A flag's own effect may be smaller than the noise and still be part of a command that the \
             confirmation proves as a whole.{}",
            confidence(1.0 - s.run.plan.settings.alpha),
            if lone(s) { "; of the one recommended flag it is the confirmation's own figure" } else { "" },
            if flags.iter().any(|f| !told(s, f) && evidence(s, f).0.is_some_and(|e| e.excludes(0.0))) {
                " Where many flags are tried, some interval lies off zero by chance: such a flag is told from noise only where it \
                 holds against all of them (Holm's correction)."
            } else {
                ""
            }
        )]));
        }
    }
    if let Some(words) = step_words(s) {
        blocks.push(Block::Para(text![words]));
    }
    if let Some(svg) = s.analysis.and_then(|a| picture(&a.steps)) {
        blocks.push(Block::Figure { name: "step-time", svg: Box::new(svg) });
    }
    (!blocks.is_empty()).then_some(Section { id: "why", title: "Why", blocks })
}

/// The recommended command differs from the defaults by one flag: the confirmation is about that flag.
fn lone(s: &Subject<'_>) -> bool {
    match (s.winner(), s.baseline()) {
        (Some(w), Some(b)) => extra_flags(w, b).len() == 1 && w.env == b.env,
        _ => false,
    }
}

/// The search's effect holds what a missed SLO costs, which is no share of throughput. Where the SLO is missed, the
/// objective itself is said, and the effect is not.
fn broken(s: &Subject<'_>, f: &FlagEffect) -> Option<String> {
    let plan = &s.run.plan;
    if plan.slo.0.is_empty() || plan.objective == Objective::Goodput {
        return None;
    }
    let base = s.baseline()?;
    let with = base.with(&f.flag, f.value.clone());
    let over = |c: &Candidate| plan.slo.0.iter().any(|p| s.mean_of(c, p.key).is_some_and(|v| v > p.limit_ms));
    let key = plan.objective.key();
    let (before, after) = (s.mean_of(base, key)?, s.mean_of(&with, key)?);
    (over(&with) || over(base)).then(|| {
        let change = after / before - 1.0;
        format!(
            "{} {}, {}",
            percent(change),
            key_name(key.name()),
            if over(&with) { "but the SLO is missed" } else { "and the SLO is met" }
        )
    })
}

/// Whether a flag's effect is told from noise. Of many flags some interval lies off zero by chance, so the interval alone does
/// not say it.
fn told(s: &Subject<'_>, f: &FlagEffect) -> bool {
    f.significant || f.kept && lone(s) && s.has_win()
}

/// Effect, its level, and where it is from.
fn evidence(s: &Subject<'_>, f: &FlagEffect) -> (Option<Interval>, &'static str) {
    if !f.kept && broken(s, f).is_some() {
        return (None, "measured");
    }
    let confirmed = s.verdict.compared.as_ref().and_then(|c| c.improvement.as_ref());
    match confirmed {
        Some(i) if f.kept && lone(s) && s.has_win() => (Some(i.interval), "confirmed"),
        _ => match (f.effect, f.ablation, f.significant) {
            (None, ..) => (None, "not tried alone"),
            (e, true, true) => (e, "with the others set, beyond the noise"),
            (e, true, false) => (e, "with the others set, not told from noise"),
            (e, _, true) => (e, "beyond the noise"),
            (Some(e), _, false) if e.excludes(0.0) => (Some(e), "off zero alone, not among so many"),
            (e, _, false) => (e, "not told from noise"),
        },
    }
}

fn mechanisms(s: &Subject<'_>, flags: &[&FlagEffect]) -> Table {
    let mut t = Table::new("", &["Flag", ">Effect", "Evidence", "In the command", "How it works"]);
    let engine = s.baseline().map_or(EngineKind::Vllm, |b| b.engine);
    let mut explained: Vec<&str> = Vec::new();
    // What is recommended comes first.
    let mut sorted: Vec<&&FlagEffect> = flags.iter().collect();
    sorted.sort_by_key(|f| !f.kept);
    for f in sorted {
        let (effect, words) = evidence(s, f);
        let failed = s.verdict.tried.iter().find(|t| {
            t.failure.is_some()
                && s.baseline().is_some_and(|b| t.candidate == b.with(&f.flag, f.value.clone()))
        });
        let words = match failed.and_then(|t| t.failure.as_ref()) {
            Some(x) => format!("failed: {}", x.class),
            None => broken(s, f).filter(|_| !f.kept).unwrap_or_else(|| words.to_owned()),
        };
        // The same sentence once for all values of a flag.
        let again = explained.contains(&f.flag.as_str());
        explained.push(&f.flag);
        let tone = match effect.filter(|_| told(s, f)) {
            Some(e) if e.low > 0.0 => Tone::Better,
            Some(e) if e.high < 0.0 => Tone::Worse,
            _ => Tone::Plain,
        };
        t.row(vec![
            text![code(flag_text(engine, &f.flag, &f.value))].into(),
            Cell::toned(effect.as_ref().map_or("–".to_owned(), percent_interval), tone),
            words.into(),
            (if f.kept { "yes" } else { "no" }).into(),
            if again { "as above".into() } else { f.mechanism.clone().into() },
        ]);
    }
    t
}

fn effects(s: &Subject<'_>, flags: &[&FlagEffect]) -> Svg {
    let engine = s.baseline().map_or(EngineKind::Vllm, |b| b.engine);
    let mut rows: Vec<ForestRow> = Vec::new();
    for f in flags {
        let (Some(e), words) = evidence(s, f) else { continue };
        let tone = match (e.excludes(0.0) && told(s, f), e.value > 0.0) {
            (false, _) => Mark::Flat,
            (true, true) => Mark::Good,
            (true, false) => Mark::Bad,
        };
        let label = flag_text(engine, &f.flag, &f.value);
        rows.push(ForestRow {
            group: None,
            tip: format!("{label}: {} ({}), {words}", percent(e.value), range(&e)),
            label,
            at: [e.value, e.low, e.high],
            tone,
            shape: if f.kept { Shape::Diamond } else { Shape::Circle },
            second: None,
            words: format!("{}{}", percent(e.value), if f.kept { ", kept" } else { "" }),
            engine: None,
        });
    }
    rows.sort_by(|a, b| b.at[0].total_cmp(&a.at[0]));
    let best =
        rows.first().map_or(String::new(), |r| format!(" The largest is that of {}, {}.", r.label, r.words));
    forest(&Forest {
        title: "Effect of each flag on its own".to_owned(),
        description: format!("{} with intervals.{best}", count(rows.len(), "flag value", "flag values")),
        rows,
        ends: ("← worse", "better →"),
        legend: vec![
            (Shape::Diamond, Mark::Good, "in the command"),
            (Shape::Circle, Mark::Good, "better alone"),
            (Shape::Circle, Mark::Flat, "not told from noise"),
            (Shape::Circle, Mark::Bad, "worse"),
        ],
    })
}

fn picture(steps: &[Step]) -> Option<Svg> {
    let bars: Vec<Budget> = steps
        .iter()
        .map(|s| {
            let mut parts = merged(&s.parts);
            let beside = if s.overlap {
                Some(("host, at the same time".to_owned(), s.host_ms))
            } else {
                parts.push(("host, the device waits".to_owned(), s.host_ms));
                None
            };
            Budget {
                beside,
                name: match s.side {
                    Side::Defaults => "defaults".to_owned(),
                    Side::Recommended => "recommended".to_owned(),
                },
                parts,
                period_ms: s.period_ms,
            }
        })
        .collect();
    let words: Vec<String> = bars.iter().map(|b| format!("{} {} ms", b.name, number(b.period_ms))).collect();
    (!bars.is_empty()).then(|| {
        budget(
            "Where the time of a decode step goes".to_owned(),
            format!(
                "From one mean decode step to the next: {}. By the cost model fitted in this campaign.",
                words.join(", ")
            ),
            &bars,
        )
    })
}

/// The five largest parts, the others as one.
fn merged(parts: &[(String, f64)]) -> Vec<(String, f64)> {
    let mut sorted: Vec<(String, f64)> = parts.to_vec();
    sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
    let small: f64 = sorted.iter().skip(5).map(|p| p.1).sum();
    sorted.truncate(5);
    if small > 0.0 {
        sorted.push(("everything else".to_owned(), small));
    }
    sorted
}
