//! Latencies of a free table that have no unit, neither in their names nor in their cells.
//!
//! A time between tokens tells its own unit: no engine writes a token in less than 0.3 ms to one reader, and nobody publishes one that
//! takes more than 3 s. The other latencies of the same table are then in that unit too. Between the two nothing is guessed.

use super::columns::{Meaning, with_unit};
use crate::error::Problem;
use crate::scenario::Key;
use serde_json::{Map, Value};

/// Times between tokens below this are seconds.
const SECONDS_BELOW: f64 = 0.3;
/// Times between tokens above this are milliseconds.
const MILLISECONDS_ABOVE: f64 = 3.0;
/// A latency that is this much shorter than a time between tokens of its row is in another unit.
const OTHER_UNIT: f64 = 0.1;

/// The unit that the figures themselves tell.
#[derive(Debug, PartialEq)]
pub(super) struct Unit {
    /// To milliseconds.
    pub(super) factor: f64,
    /// What is to be told of it.
    pub(super) told: String,
}

type Rows = [(usize, Map<String, Value>)];

/// The unit of a table's latencies that have none; None where all have one, an error of the names where the figures do not tell.
pub(super) fn of(
    head: &[String],
    meanings: &[Option<Meaning>],
    rows: &Rows,
) -> Result<Option<Unit>, Vec<String>> {
    let said = |h: &String| {
        let mut cells = rows.iter().filter_map(|(_, row)| row.get(h)).filter(|c| !c.is_null());
        cells.all(|c| c.as_str().and_then(with_unit).is_some_and(|(_, unit)| unit.is_some()))
    };
    let silent: Vec<(&String, Key)> = head
        .iter()
        .zip(meanings)
        .filter_map(|(h, m)| match m {
            Some(Meaning::NoUnit(key)) if !said(h) => Some((h, *key)),
            _ => None,
        })
        .collect();
    if silent.is_empty() {
        return Ok(None);
    }
    let names = || silent.iter().map(|(h, _)| (*h).clone()).collect::<Vec<String>>();
    told_by_tokens(&silent, rows).map(Some).ok_or_else(names)
}

/// The unit by the times between tokens among these columns.
fn told_by_tokens(silent: &[(&String, Key)], rows: &Rows) -> Option<Unit> {
    let between = |key: Key| key.name().contains("_tpot_") || key.name().contains("_itl_");
    let figures = |row: &Map<String, Value>, tokens: bool| -> Vec<f64> {
        let own = silent.iter().filter(|(_, key)| between(*key) == tokens);
        own.filter_map(|(h, _)| figure(row.get(*h)?)).filter(|v| *v > 0.0).collect()
    };
    let tokens: Vec<f64> = rows.iter().flat_map(|(_, row)| figures(row, true)).collect();
    let (least, most) = (shortest(&tokens)?, tokens.iter().copied().fold(0.0, f64::max));
    let (factor, name) = match () {
        () if most < SECONDS_BELOW => (1e3, "seconds"),
        () if least > MILLISECONDS_ABOVE => (1.0, "milliseconds"),
        () => return None,
    };
    let other = |row: &Map<String, Value>| {
        let pair = shortest(&figures(row, true)).zip(shortest(&figures(row, false)));
        pair.is_some_and(|(token, whole)| whole < OTHER_UNIT * token)
    };
    if rows.iter().any(|(_, row)| other(row)) {
        return None;
    }
    let all: Vec<&str> = silent.iter().map(|(h, _)| h.as_str()).collect();
    let of: Vec<&str> = silent.iter().filter(|(_, k)| between(*k)).map(|(h, _)| h.as_str()).collect();
    let range =
        if (most - least).abs() < f64::EPSILON { format!("{least}") } else { format!("{least} to {most}") };
    let told = format!(
        "no unit stands at {}: {range} of {} can only be {name}, so all of these are read as {name}",
        all.join(", "),
        of.join(", ")
    );
    Some(Unit { factor, told })
}

fn shortest(figures: &[f64]) -> Option<f64> {
    figures.iter().copied().reduce(f64::min)
}

/// The figure of a cell that has no unit.
fn figure(cell: &Value) -> Option<f64> {
    cell.as_f64().or_else(|| with_unit(cell.as_str()?).filter(|(_, unit)| unit.is_none()).map(|p| p.0))
}

/// The start of the message of a table that is refused.
const REFUSED: &str = "no unit is known of ";

/// A table that is refused since its latencies have no unit.
pub(super) fn refused(file: &str, names: &[String]) -> Problem {
    Problem::new(file, "line 1", format!("{REFUSED}{}", names.join(", ")))
        .hint("write the unit into the name, such as ttft_ms or ttft_s")
}

/// Whether a problem is that of [`refused`].
pub(super) fn is_refused(problem: &Problem) -> bool {
    problem.message.starts_with(REFUSED)
}

#[cfg(test)]
mod tests {
    use crate::scenario::{Key, Record, load_text};

    fn table(rows: &str) -> Result<Vec<Record>, String> {
        let text = format!("# a\n\n| concurrency | TTFT p50 | ITL p95 |\n|--|--|--|\n{rows}");
        load_text("x.md", &text).map(|l| l.records).map_err(|e| e.to_string())
    }

    #[test]
    fn times_between_tokens_tell_their_unit() {
        let seconds = table("| 2 | 1.2758 | 0.01405 |\n| **4** | **1.5** | **0.0155** |\n").unwrap();
        let m = seconds[1].result.as_ref().unwrap();
        assert_eq!((m.get(Key::MedianTtftMs), m.get(Key::P95ItlMs)), (Some(1500.0), Some(15.5)));
        let told = seconds[0].note.as_deref().unwrap();
        assert!(told.contains("0.01405 to 0.0155 of ITL p95 can only be seconds"), "{told}");
        let milliseconds = table("| 2 | 80 | 12.5 |\n").unwrap();
        assert_eq!(milliseconds[0].result.as_ref().unwrap().get(Key::MedianTtftMs), Some(80.0));
    }

    #[test]
    fn where_the_figures_do_not_tell_the_table_is_refused_with_the_reason() {
        // Neither, both at once, and a first token in another unit than the rest.
        for rows in ["| 2 | 1.2 | 0.9 |\n", "| 2 | 1.2 | 0.01 |\n| 2 | 1.2 | 12 |\n", "| 2 | 1.2 | 14 |\n"] {
            let why = table(rows).unwrap_err();
            assert!(why.contains("line 3: no unit is known of TTFT p50, ITL p95"), "{why}");
            assert!(why.contains("write the unit into the name"), "{why}");
        }
    }
}
