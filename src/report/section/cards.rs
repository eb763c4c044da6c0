//! Five large figures of the first screen, each with what it was before.

use super::super::doc::{Card, Tone};
use super::super::subject::Subject;
use super::super::words::number;
use crate::scenario::Key;
use crate::stats::Interval;

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
        name: "A million tokens".to_owned(),
        value: format!("{} USD", number(cost(throughput.value))),
        note: format!("{was}at this load and {usd} USD a GPU and hour"),
        tone: Tone::Plain,
    })
}
