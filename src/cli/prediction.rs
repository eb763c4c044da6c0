//! A prediction as a person reads it: what is asked, then its figures with their intervals.

use crate::cost::{Interval, Prediction};
use crate::error::Result;
use crate::scenario::{Key, Record};
use crate::workload::{Dataset, RequestRate, WorkloadSpec};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

/// Up to so many scenarios each get a table of their own; more are rows of one.
const APART: usize = 3;

const FIGURES: &[(Key, &str)] = &[
    (Key::RequestThroughput, "req/s"),
    (Key::TotalTokenThroughput, "total tok/s"),
    (Key::OutputThroughput, "output tok/s"),
    (Key::MeanTtftMs, "mean TTFT ms"),
    (Key::P99TtftMs, "P99 TTFT ms"),
    (Key::MeanTpotMs, "mean TPOT ms"),
    (Key::P99TpotMs, "P99 TPOT ms"),
    (Key::MeanE2elMs, "mean E2E ms"),
];

/// Columns of the table of many scenarios.
const SHOWN: &[usize] = &[0, 1, 3, 5];

/// All predictions as text.
pub(super) fn text(records: &[Record], outcomes: &[Result<Prediction>]) -> String {
    let all: Vec<(&Record, &Result<Prediction>)> = records.iter().zip(outcomes).collect();
    let body = if all.len() <= APART {
        all.iter().map(|(r, o)| apart(r, o)).collect::<Vec<_>>().join("\n\n")
    } else {
        together(&all)
    };
    format!("{body}\n(value, and the interval that holds it nine times in ten)")
}

/// What load the requests make: how many, and how they arrive. Without a rate or a limit all are sent at once, which is
/// said, since few servers are asked so.
pub(super) fn load_words(w: &WorkloadSpec) -> String {
    let n = w.num_prompts.map_or("the requests".to_owned(), |n| format!("{n} requests"));
    let limit = w.max_concurrency.map(|c| format!("at most {c} in flight"));
    match (w.request_rate, limit) {
        _ if w.dataset == Dataset::Trace => format!("{n}, at their recorded times"),
        (RequestRate::Inf, None) => format!("{n}, all sent at once"),
        (RequestRate::Inf, Some(limit)) => format!("{n}, {limit}"),
        (RequestRate::PerSecond(r), limit) => {
            let limit = limit.map_or(String::new(), |l| format!(", {l}"));
            format!("{n}, {r} a second{limit}")
        }
    }
}

/// The scenario in two lines.
fn head(r: &Record) -> String {
    let command = r.serve_command.as_deref().unwrap_or("(no command)");
    let hardware = r.hardware.as_deref().map_or(String::new(), |h| format!("  on {h}"));
    let load = r.workload.as_ref().map_or(String::new(), |w| format!("\n{}: {}", w.label(), load_words(w)));
    format!("{command}{hardware}{load}")
}

fn apart(r: &Record, o: &Result<Prediction>) -> String {
    let p = match o {
        Ok(p) => p,
        Err(e) => return format!("{}\n  cannot run: {}", head(r), e.what),
    };
    let mut t = table();
    for (key, name) in FIGURES {
        let Some(v) = p.get(*key) else { continue };
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        t.add_row([Cell::new(format!("  {name}")), right(number(v.value, v)), right(range(v))]);
    }
    t.add_row([Cell::new("  limited by"), Cell::new(""), Cell::new("")]);
    let figures = t.to_string();
    let figures = figures.trim_end().trim_end_matches("limited by").trim_end();
    format!("{}\n{figures}\n   limited by: {}", head(r), p.binding)
}

fn together(all: &[(&Record, &Result<Prediction>)]) -> String {
    let mut t = table();
    let names = SHOWN.iter().map(|i| FIGURES[*i].1);
    t.set_header(["scenario"].into_iter().chain(names).chain(["limited by"]));
    for (r, o) in all {
        let mut cells = vec![Cell::new(head(r))];
        match o {
            Ok(p) => {
                cells.extend(SHOWN.iter().map(|i| {
                    let figure = p.get(FIGURES[*i].0);
                    let text =
                        figure.map_or("-".to_owned(), |v| format!("{}\n{}", number(v.value, v), range(v)));
                    Cell::new(text).set_alignment(CellAlignment::Right)
                }));
                cells.push(Cell::new(&p.binding));
            }
            Err(e) => {
                cells.extend(SHOWN.iter().map(|_| Cell::new("-")));
                cells.push(Cell::new(&e.what));
            }
        }
        t.add_row(cells);
    }
    t.to_string()
}

fn table() -> Table {
    let mut t = Table::new();
    t.load_style(presets::NOTHING);
    t.set_content_arrangement(ContentArrangement::Dynamic);
    t
}

fn range(v: Interval) -> String {
    format!("[{}, {}]", number(v.p05, v), number(v.p95, v))
}

/// As many digits as the value has use for.
fn number(x: f64, v: Interval) -> String {
    let digits = match v.value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 1.0 => 1,
        _ => 3,
    };
    format!("{x:.digits$}")
}

/// What is to be said beside predictions: each thing once, with the scenario's number where it does not hold for all.
pub(super) fn notes(records: usize, said: Vec<(usize, String)>) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    for (_, text) in &said {
        if !order.contains(text) {
            order.push(text.clone());
        }
    }
    let line = |text: String| {
        let of: Vec<String> =
            said.iter().filter(|(_, t)| *t == text).map(|(i, _)| (i + 1).to_string()).collect();
        if of.len() == records {
            return text;
        }
        let scenarios = if of.len() == 1 { "scenario" } else { "scenarios" };
        format!("{scenarios} {}: {text}", of.join(", "))
    };
    order.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_said() {
        let words = |text: &str| load_words(&crate::workload::parse(text).unwrap());
        assert_eq!(words("random:4000/200"), "1000 requests, all sent at once");
        assert_eq!(
            words("random:4/2,n=5,rate=2.5,concurrency=8"),
            "5 requests, 2.5 a second, at most 8 in flight"
        );
        assert_eq!(words("random:4/2,n=5,concurrency=8"), "5 requests, at most 8 in flight");
    }

    #[test]
    fn what_holds_for_all_is_said_once() {
        let said = vec![(0, "a".to_owned()), (0, "b".to_owned()), (1, "a".to_owned())];
        assert_eq!(notes(2, said), ["a", "scenario 1: b"]);
    }
}
