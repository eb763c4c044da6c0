//! What must not be overlooked beside the answer: what got worse, a missed SLO, flags that were left out, what did not hold, and
//! what failed the quality gate.

use super::super::doc::{Block, Text, code, strong, text};
use super::super::evidence::{extra_flags, flag_text};
use super::super::subject::Subject;
use super::super::words::{confidence, key_name, number, percent, range};
use crate::launch::Candidate;
use crate::quality::{Check, Outcome};
use crate::scenario::Key;

/// All that holds here, in this order.
pub(super) fn cautions(s: &Subject<'_>) -> Vec<Block> {
    let all = [costs(s), slo_met(s), dropped(s), unconfirmed(s), gated(s)];
    all.into_iter().flatten().map(Block::Para).collect()
}

/// What got worse beyond the noise.
fn costs(s: &Subject<'_>) -> Option<Text> {
    if !s.has_win() {
        return None;
    }
    let c = s.verdict.compared.as_ref()?;
    let mut worse = Vec::new();
    for (i, w) in c.workloads.iter().enumerate() {
        for m in &w.metrics {
            let bad = s.change_of(i, m).filter(|x| {
                let higher = Key::from_name(&m.key).is_some_and(Key::higher_is_better);
                if higher { x.high < 0.0 } else { x.low > 0.0 }
            });
            if let Some(x) = bad {
                worse.push(format!(
                    "{} on {} {} ({})",
                    key_name(&m.key),
                    w.name,
                    percent(x.value),
                    range(&x)
                ));
            }
        }
    }
    Some(if worse.is_empty() {
        text![match c.workloads.len() {
            0 | 1 => "No latency or throughput got worse beyond the noise.".to_owned(),
            n => format!("Nothing got worse beyond the noise on any of the {n} workloads."),
        }]
    } else {
        text![strong("It costs:"), format!(" worse beyond the noise are {}.", worse.join("; "))]
    })
}

/// Whether the SLO is met, and when nothing meets it, how far off the nearest is.
fn slo_met(s: &Subject<'_>) -> Option<Text> {
    let plan = &s.run.plan;
    let c = s.verdict.compared.as_ref()?;
    if plan.slo.0.is_empty() {
        return None;
    }
    let who = s.winner().unwrap_or(&c.baseline);
    let mut broken = Vec::new();
    for clause in &plan.slo.0 {
        let Some(value) = s.mean_of(who, clause.key) else { continue };
        if value <= clause.limit_ms {
            continue;
        }
        let best = s
            .measured()
            .iter()
            .filter_map(|m| s.mean_of(m.candidate, clause.key).map(|v| (v, m.candidate.label())))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        let nearest = best
            .map_or(String::new(), |(v, label)| format!("; the best seen was {} ms with {label}", number(v)));
        broken.push(format!(
            "{} is {} ms where the SLO allows {} ms{nearest}",
            key_name(clause.key.name()),
            number(value),
            number(clause.limit_ms)
        ));
    }
    Some(if broken.is_empty() {
        text!["The SLO ", code(plan.slo.to_string()), " is met on the first workload."]
    } else {
        text![
            strong("The SLO is not met:"),
            format!(" {}. ", broken.join("; ")),
            "Less load, a smaller model or more GPUs can meet it; no flag that was tried does at this load.",
        ]
    })
}

/// Flags that the search liked and the recommendation does not hold.
fn dropped(s: &Subject<'_>) -> Option<Text> {
    if !s.verdict.complete {
        return None;
    }
    let (winner, best) = (s.winner()?, s.best_tried()?);
    let base = s.baseline()?;
    if best.candidate == *winner || winner == base {
        return None;
    }
    let gone = extra_flags(&best.candidate, winner);
    let (mine, theirs) = (s.tried(winner).and_then(|t| t.effect)?, best.effect?);
    if gone.is_empty() || theirs.value <= mine.value {
        return None;
    }
    let names: Vec<String> = gone.iter().map(|(k, v)| flag_text(winner.engine, k, v)).collect();
    Some(text![
        strong("Left out:"),
        " ",
        code(names.join(" ")),
        format!(
            ". With it the search measured {} against {} without: {} points more, which is not told from noise (its \
             interval is {}). A flag that is not proven to bring at least {} is not recommended, since each one is a \
             risk at the next upgrade. If it is real, that much is lost.",
            percent(theirs.value),
            percent(mine.value),
            number(100.0 * (theirs.value - mine.value)),
            range(&theirs),
            percent(s.run.plan.settings.min_gain.exp_m1()).trim_start_matches('+'),
        ),
    ])
}

/// The search's best that did not hold.
fn unconfirmed(s: &Subject<'_>) -> Option<Text> {
    if s.has_win() || !s.verdict.complete {
        return None;
    }
    let i = s.verdict.compared.as_ref()?.improvement.as_ref()?;
    let challenger = s.challenger()?;
    Some(text![
        "The search's best, ",
        code(challenger.label()),
        format!(
            ", did not hold in the confirmation: {} ({} % interval {}) over {} pairs.",
            percent(i.interval.value),
            confidence(i.confidence),
            range(&i.interval),
            i.pairs.len()
        ),
    ])
}

/// Candidates whose answers are worse than allowed.
fn gated(s: &Subject<'_>) -> Option<Text> {
    let failed: Vec<(&Candidate, &Check)> = s
        .trials
        .iter()
        .filter_map(|t| Some((&t.result.spec.candidate, t.quality.as_ref()?)))
        .filter(|(_, c)| c.outcome == Outcome::Failed)
        .collect();
    if failed.is_empty() {
        return None;
    }
    let mut t = text![strong("Out for its answers:")];
    for (i, (candidate, check)) in failed.iter().enumerate() {
        t.push(if i == 0 { " " } else { "; " });
        t.push(code(candidate.label()));
        let change = check.log_likelihood.map(|l| l.map(f64::exp_m1));
        t.push(match change.filter(|c| c.high < -check.margin) {
            Some(c) => format!(
                ", under which a token of the defaults' answers loses {} % of its probability ({} to {}; at most {} % is allowed)",
                number(-100.0 * c.value),
                number(-100.0 * c.high),
                number(-100.0 * c.low),
                number(100.0 * check.margin)
            ),
            None if check.accuracy.as_ref().is_some_and(|a| a.outcome == Outcome::Failed) => lost_answers(check),
            None => format!(
                ", which promises the defaults' answers and differs in {} of {} prompts by more than rounding",
                check.differ, check.prompts
            ),
        });
    }
    t.push(". However fast it is, it is no candidate.");
    Some(t)
}

/// What a candidate loses on the user's questions.
fn lost_answers(check: &Check) -> String {
    check.accuracy.as_ref().map_or(String::new(), |a| {
        format!(
            ", which answers {} % of {} questions rightly, where the defaults answer {} % (at most {} points may be lost)",
            number(100.0 * a.candidate),
            a.questions,
            number(100.0 * a.baseline),
            number(100.0 * a.allowed)
        )
    })
}
