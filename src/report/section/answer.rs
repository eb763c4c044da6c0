//! The first screen: the answer in one sentence, the command, what it gives, and what must not be overlooked.

use super::super::analysis::Side;
use super::super::doc::{Block, Card, Text, Tone, code, strong, text};
use super::super::evidence::extra_flags;
use super::super::subject::Subject;
use super::super::words::{confidence, count, key_name, key_words, number, percent, range};
use crate::launch::Candidate;
use crate::quality::{Check, Outcome};
use crate::scenario::Key;
use crate::stats::Interval;

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
        out.push(Block::Code { language: "sh", text: launch.to_text() });
        for file in launch.files {
            out.push(Block::Para(text!["with the file ", code(file.path), ":"]));
            out.push(Block::Code { language: "yaml", text: file.text });
        }
    }
    let cards = cards(s);
    if !cards.is_empty() {
        out.push(Block::Cards(cards));
    }
    out.extend(costs(s).map(Block::Para));
    out.extend(slo_met(s).map(Block::Para));
    out.extend(dropped(s).map(Block::Para));
    out.extend(unconfirmed(s).map(Block::Para));
    out.extend(gated(s).map(Block::Para));
    out
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
        format!("the defaults of {}", base.engine)
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

/// A value, what it was with the defaults, and its change.
struct Figure {
    value: f64,
    was: Option<(f64, Option<Interval>)>,
}

/// Five figures of the first workload: as confirmed, else the means of the defaults' runs.
pub(in super::super) fn cards(s: &Subject<'_>) -> Vec<Card> {
    let Some(base) = s.baseline() else { return Vec::new() };
    let gpus = f64::from(s.run.plan.num_gpus.max(1));
    let rows = s.verdict.compared.as_ref().and_then(|c| c.workloads.first());
    let win = s.has_win();
    let figure = |key: Key| match rows.and_then(|r| r.metric(key)) {
        Some(m) if win => Some(Figure { value: m.after, was: Some((m.before, s.change_of(0, m))) }),
        Some(m) => Some(Figure { value: m.before, was: None }),
        None => s.mean_of(base, key).map(|value| Figure { value, was: None }),
    };
    let tone = |change: Option<Interval>, more_is_better: bool| match change {
        Some(c) if c.low > 0.0 => {
            if more_is_better {
                Tone::Better
            } else {
                Tone::Worse
            }
        }
        Some(c) if c.high < 0.0 => {
            if more_is_better {
                Tone::Worse
            } else {
                Tone::Better
            }
        }
        _ => Tone::Plain,
    };
    let per_gpu = if gpus > 1.0 { "/GPU" } else { "" };
    let mut out = Vec::new();
    let mut add = |name: &str, key: Key, turn: &dyn Fn(f64) -> f64, unit: &str| {
        let Some(Figure { value, was }) = figure(key) else { return };
        let (note, tone) = match was {
            None => (String::new(), Tone::Plain),
            Some((before, change)) => {
                let told = change.is_some_and(|c| c.excludes(0.0));
                let same = if told { "" } else { ", not told apart" };
                (format!("was {}{same}", number(turn(before))), tone(change, key.higher_is_better()))
            }
        };
        out.push(Card {
            name: name.to_owned(),
            value: format!("{} {unit}", number(turn(value))),
            note,
            tone,
        });
    };
    add("Total throughput", Key::TotalTokenThroughput, &|v| v / gpus, &format!("tok/s{per_gpu}"));
    add("Output throughput", Key::OutputThroughput, &|v| v / gpus, &format!("tok/s{per_gpu}"));
    add("Speed one user sees", Key::MeanTpotMs, &|v| 1e3 / v, "tok/s");
    add("P99 time to first token", Key::P99TtftMs, &|v| v, "ms");
    out.extend(figure(Key::TotalTokenThroughput).and_then(|f| cost_card(s, &f)));
    out
}

/// What a million tokens cost at this load, where the price of a GPU is known.
fn cost_card(s: &Subject<'_>, throughput: &Figure) -> Option<Card> {
    let usd = s.analysis?.usd_per_gpu_hour?;
    let cost = |tokens: f64| usd * f64::from(s.run.plan.num_gpus.max(1)) / 3600.0 / tokens * 1e6;
    let was = throughput.was.map_or(String::new(), |w| format!("was {}, ", number(cost(w.0))));
    Some(Card {
        name: "Cost at this load".to_owned(),
        value: format!("{} USD/M tok", number(cost(throughput.value))),
        note: format!("{was}at {usd} USD a GPU and hour"),
        tone: Tone::Plain,
    })
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
    let names: Vec<String> =
        gone.iter().map(|(k, v)| super::super::evidence::flag_text(winner.engine, k, v)).collect();
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

pub(in super::super) fn title(s: &Subject<'_>) -> String {
    let plan = &s.run.plan;
    let emulated = if s.emulated() { " (emulated, not measured on this hardware)" } else { "" };
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
