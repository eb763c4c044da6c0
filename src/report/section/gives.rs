//! What the command gives: before and after, the objective's rows first, the rest folded.

use super::super::chart::{Forest, ForestRow, Shape, Tone as Mark, forest};
use super::super::doc::{Block, Cell, Row, Section, Table, Text, Tone, code, text};
use super::super::subject::Subject;
use super::super::words::{confidence, key_words, number, percent, range};
use crate::scenario::Key;
use crate::stats::Interval;
use crate::store::{MetricRow, WorkloadRow};

/// Drawn for every workload besides the objective; the table of all others is folded.
const FIRST: [Key; 5] =
    [Key::TotalTokenThroughput, Key::OutputThroughput, Key::P99TtftMs, Key::MeanTpotMs, Key::P99ItlMs];

pub(in super::super) fn section(s: &Subject<'_>) -> Option<Section> {
    let c = s.verdict.compared.as_ref()?;
    if c.workloads.is_empty() {
        return None;
    }
    let blocks = match s.challenger() {
        Some(_) => compared(s, &c.workloads),
        None => defaults_only(&c.workloads),
    };
    Some(Section { id: "gives", title: "What it gives", blocks })
}

/// Nothing stood against the defaults: one column of values.
fn defaults_only(rows: &[WorkloadRow]) -> Vec<Block> {
    let mut t =
        Table::new("The defaults, geometric means of their runs", &["Workload", "Metric", ">Defaults"]);
    for w in rows {
        for (i, m) in w.metrics.iter().enumerate() {
            let name = if i == 0 { text![code(&w.name)] } else { Text::default() };
            t.row(vec![name.into(), key_words(&m.key).into(), number(m.before).into()]);
        }
    }
    vec![Block::Table(t)]
}

fn compared(s: &Subject<'_>, rows: &[WorkloadRow]) -> Vec<Block> {
    let after = if s.has_win() { "Recommended" } else { "Candidate" };
    let mut blocks = Vec::new();
    if !s.has_win() {
        let label = s.challenger().map(crate::launch::Candidate::label).unwrap_or_default();
        blocks.push(Block::Para(text![
            "The candidate here is ",
            code(label),
            ", which did not hold; the defaults are recommended."
        ]));
    }
    blocks.push(Block::Figure { name: "before-after", svg: Box::new(picture(s, rows, after)) });
    let objective = |m: &MetricRow| m.key == s.run.plan.objective.key().name();
    let mut short = table(s, rows, after, &objective);
    notes(&mut short, rows);
    let rest = table(s, rows, after, &|m| !objective(m));
    blocks.push(Block::Table(short));
    if !rest.rows.is_empty() {
        blocks.push(Block::Fold { summary: text!["Every other metric"], blocks: vec![Block::Table(rest)] });
    }
    let level = confidence(s.confidence());
    blocks.push(Block::Para(text![format!(
        "Values are geometric means over the pairs, the change is their ratio, and every interval has the confirmation's \
         {level} % confidence{}. Each pair served the same requests in fresh launches.{}",
        if s.confidence() > 1.0 - s.run.plan.settings.alpha + 1e-9 {
            format!(
                " (5 % error shared between the {:.0} looks that it may take)",
                s.run.plan.settings.alpha / (1.0 - s.confidence())
            )
        } else {
            String::new()
        },
        scatter(rows)
    )]));
    blocks
}

/// Where launches before the confirmation had a say in the intervals.
fn scatter(rows: &[WorkloadRow]) -> &'static str {
    let more =
        |w: &WorkloadRow| w.metrics.iter().any(|m| m.freedom.is_some_and(|f| f > f64::from(w.pairs) - 0.5));
    if rows.iter().any(more) {
        " How launches of one command scattered before the confirmation counts in an interval beside the scatter of its pairs."
    } else {
        ""
    }
}

fn is_first(s: &Subject<'_>, m: &MetricRow) -> bool {
    m.key == s.run.plan.objective.key().name() || FIRST.iter().any(|k| k.name() == m.key)
}

/// The objective's row comes first within a workload.
fn ordered<'a>(s: &Subject<'_>, w: &'a WorkloadRow) -> Vec<&'a MetricRow> {
    let objective = s.run.plan.objective.key().name();
    let (mut first, rest): (Vec<_>, Vec<_>) = w.metrics.iter().partition(|m| m.key == objective);
    first.extend(rest);
    first
}

fn judged(change: Option<&Interval>, key: &str) -> (&'static str, Tone, Mark) {
    let higher = Key::from_name(key).is_some_and(Key::higher_is_better);
    match change {
        Some(c) if c.excludes(0.0) => {
            if (c.value > 0.0) == higher {
                ("better", Tone::Better, Mark::Good)
            } else {
                ("worse", Tone::Worse, Mark::Bad)
            }
        }
        Some(_) => ("not told apart", Tone::Muted, Mark::Flat),
        None => ("one pair", Tone::Muted, Mark::Flat),
    }
}

fn table(
    s: &Subject<'_>,
    rows: &[WorkloadRow],
    after: &'static str,
    which: &dyn Fn(&MetricRow) -> bool,
) -> Table {
    let mut t =
        Table::new("", &["Workload", "Metric", ">Defaults", after, ">Change", ">Interval (%)", "Verdict"]);
    t.numeric[3] = true;
    for (i, w) in rows.iter().enumerate() {
        let mut named = false;
        for m in ordered(s, w).into_iter().filter(|m| which(m)) {
            let change = s.change_of(i, m);
            let (verdict, tone, _) = judged(change.as_ref(), &m.key);
            let name = if named { Text::default() } else { text![code(&w.name)] };
            named = true;
            t.rows.push(Row {
                cells: vec![
                    name.into(),
                    key_words(&m.key).into(),
                    number(m.before).into(),
                    number(m.after).into(),
                    Cell::toned(change.map_or("–".to_owned(), |c| percent(c.value)), tone),
                    change.map_or("–".to_owned(), |c| range(&c)).into(),
                    Cell::toned(verdict, tone),
                ],
                engine: None,
            });
        }
    }
    t
}

/// What is to be said of a workload as a whole, below the rows of the objective.
fn notes(t: &mut Table, rows: &[WorkloadRow]) {
    for w in rows {
        let slo =
            w.keeps_slo.map(|k| if k { "SLO met in every run" } else { "SLO missed in a run" }.to_owned());
        for words in w.notes.iter().cloned().chain(slo) {
            let mut cells: Vec<Cell> = vec![text![code(&w.name)].into(), Cell::toned(words, Tone::Muted)];
            cells.resize(t.head.len(), Cell::from(""));
            t.row(cells);
        }
    }
}

fn picture(s: &Subject<'_>, rows: &[WorkloadRow], after: &str) -> super::super::chart::Svg {
    let mut out = Vec::new();
    let (mut better, mut worse) = (0, 0);
    for (i, w) in rows.iter().enumerate() {
        let mut group = Some(w.name.clone());
        for m in ordered(s, w).into_iter().filter(|m| is_first(s, m)) {
            let Some(change) = s.change_of(i, m) else { continue };
            let (verdict, _, tone) = judged(Some(&change), &m.key);
            better += u32::from(tone == Mark::Good);
            worse += u32::from(tone == Mark::Bad);
            let shape = match tone {
                Mark::Good => Shape::Circle,
                Mark::Bad => Shape::Square,
                _ => Shape::Diamond,
            };
            out.push(ForestRow {
                group: group.take(),
                label: key_words(&m.key),
                at: [change.value, change.low, change.high],
                tone,
                shape,
                second: None,
                words: format!("{} → {}", number(m.before), number(m.after)),
                tip: format!(
                    "{}, {}: {} → {}, {} ({}), {verdict}",
                    w.name,
                    key_words(&m.key),
                    number(m.before),
                    number(m.after),
                    percent(change.value),
                    range(&change)
                ),
                engine: None,
            });
        }
    }
    forest(&Forest {
        title: format!("Change from the defaults to the {} command", after.to_lowercase()),
        description: format!(
            "{} figures of {} workloads with their {} % intervals: {better} better, {worse} worse, {} not told apart.",
            out.len(),
            rows.len(),
            confidence(s.confidence()),
            out.len() as u32 - better - worse
        ),
        rows: out,
        ends: ("← less", "more →"),
        legend: vec![
            (Shape::Circle, Mark::Good, "better"),
            (Shape::Square, Mark::Bad, "worse"),
            (Shape::Diamond, Mark::Flat, "not told apart"),
        ],
    })
}
