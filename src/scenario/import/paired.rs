//! Columns of a free table that hold two figures a cell: `TTFT p50/p95` with `0.23 / 0.48 s`, `n / conc` with `8 / 8`.

use super::columns::{Meaning, column};
use serde_json::{Map, Value, json};

type Rows = Vec<(usize, Map<String, Value>)>;

/// The table with a column for each figure. A column stays as it is where a cell has another number of figures than its name.
pub(super) fn apart(head: &[String], mut rows: Rows) -> (Vec<String>, Rows) {
    let mut out = Vec::new();
    for name in head {
        let names = names(name).filter(|n| n.iter().all(|own| !head.contains(own)));
        let split = names.and_then(|names| {
            let cells = rows.iter().map(|(_, row)| row.get(name).map(|c| figures(c, names.len())));
            // A cell that is missing is no figure too few.
            let cells: Option<Vec<_>> = cells.map(|cell| cell.map_or(Some(Vec::new()), |c| c)).collect();
            Some((names, cells?))
        });
        let Some((names, cells)) = split else {
            out.push(name.clone());
            continue;
        };
        for ((_, row), figures) in rows.iter_mut().zip(cells) {
            row.remove(name);
            row.extend(names.iter().cloned().zip(figures));
        }
        out.extend(names);
    }
    (out, rows)
}

/// The names of the figures in a column of several; None where its name is that of one.
fn names(name: &str) -> Option<Vec<String>> {
    let words: Vec<&str> = name.split(' ').collect();
    let statistics = |w: &&str| w.contains('/') && w.split('/').all(is_statistic);
    if let Some(at) = words.iter().position(statistics) {
        let whole = |stat: &str| {
            words
                .iter()
                .enumerate()
                .map(|(i, w)| if i == at { stat } else { w })
                .collect::<Vec<_>>()
                .join(" ")
        };
        return Some(words[at].split('/').map(whole).collect());
    }
    // Loads side by side; `n` alone could be anything, and beside a concurrency it counts the requests.
    let parts: Vec<&str> = name.split(" / ").map(str::trim).collect();
    let load = |part: &&str| matches!(column(part), Some(Meaning::Workload(_)));
    if parts.len() < 2 || !parts.iter().any(load) || !parts.iter().all(|p| load(p) || *p == "n") {
        return None;
    }
    Some(parts.iter().map(|p| if *p == "n" { "num_requests" } else { p }.to_owned()).collect())
}

fn is_statistic(word: &str) -> bool {
    let percentile = |w: &str| w.strip_prefix(['p', 'P']).is_some_and(|n| n.parse::<u8>().is_ok());
    ["mean", "avg", "average", "median", "std", "min", "max"].contains(&word.to_lowercase().as_str())
        || percentile(word)
}

/// So many figures of a cell; the unit behind the last is that of all which have none.
fn figures(cell: &Value, count: usize) -> Option<Vec<Value>> {
    let parts: Vec<&str> = cell.as_str()?.split('/').map(str::trim).collect();
    let end = |part: &str| part.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(part.len());
    let unit = parts.last().map(|last| last[end(last)..].trim().to_owned())?;
    let whole = |part: &&str| {
        let number = part[..end(part)].parse::<f64>().ok()?;
        let own = part[end(part)..].trim();
        let unit = if own.is_empty() { unit.as_str() } else { own };
        Some(if unit.is_empty() { json!(number) } else { json!(format!("{number} {unit}")) })
    };
    (parts.len() == count).then(|| parts.iter().map(whole).collect())?
}

#[cfg(test)]
mod tests {
    use crate::scenario::{Key, Record, load_text};

    fn table(text: &str) -> Result<Vec<Record>, String> {
        load_text("x.md", text).map(|l| l.records).map_err(|e| e.to_string())
    }

    #[test]
    fn two_figures_of_a_cell_are_two_columns() {
        let text = "| n / conc | TTFT p50/p95 | E2E p50/p99 (ms) |\n|--|--|--|\n| 16 / 8 | 0.4 / 0.48 s | 12 / 14 |\n| 9 / 9 | 230 ms / **1.6** s | |\n";
        let all = table(text).unwrap();
        let (m, w) = (all[0].result.as_ref().unwrap(), all[0].workload.as_ref().unwrap());
        assert_eq!((m.get(Key::MedianTtftMs), m.get(Key::P95TtftMs)), (Some(400.0), Some(480.0)));
        assert_eq!((m.get(Key::MedianE2elMs), m.get(Key::P99E2elMs)), (Some(12.0), Some(14.0)));
        assert_eq!((w.num_prompts, w.max_concurrency), (Some(16), Some(8)));
        let second = all[1].result.as_ref().unwrap();
        assert_eq!((second.get(Key::MedianTtftMs), second.get(Key::P95TtftMs)), (Some(230.0), Some(1600.0)));
    }

    #[test]
    fn figures_without_a_unit_and_cells_of_another_form_are_refused() {
        let silent = table("| conc | TTFT p50/p95 |\n|--|--|\n| 8 | 0.4 / 0.48 |\n").unwrap_err();
        assert!(silent.contains("no unit is known of TTFT p50, TTFT p95"), "{silent}");
        assert!(table("| conc | TTFT p50/p95 (ms) |\n|--|--|\n| 8 | 12 |\n").is_err());
    }
}
