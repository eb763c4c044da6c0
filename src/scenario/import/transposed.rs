//! Free tables that lie on their side: a figure a row, a run (or a statistic) a column.

use super::columns::{Meaning, column};
use crate::launch::EngineKind;
use serde_json::json;

/// A table turned upright: the heads of its columns, and a row a run.
pub(super) type Upright = (Vec<String>, Vec<Vec<String>>);

/// Turns a table whose first column names figures; None where it names fewer than two results.
///
/// Columns of statistics (`Mean`, `P99`) belong to one run; each other column with figures is a run of its own. A column of units
/// is put behind the names.
pub(super) fn upright(head: &[String], rows: &[Vec<String>]) -> Option<Upright> {
    let unit = head.iter().position(|h| ["unit", "units"].contains(&h.to_lowercase().as_str()));
    let name = |row: &Vec<String>| {
        let own = row.first().cloned().unwrap_or_default();
        match unit.and_then(|u| row.get(u)).filter(|u| !u.is_empty()) {
            Some(unit) => format!("{own} ({unit})"),
            None => own,
        }
    };
    let rows: Vec<(String, &Vec<String>)> = rows.iter().map(|r| (name(r), r)).collect();
    let is_result = |n: &str| matches!(column(n), Some(Meaning::Result(..) | Meaning::NoUnit(_)));
    if rows.iter().filter(|(n, _)| is_result(n)).count() < 2 {
        return None;
    }
    let columns: Vec<usize> = (1..head.len()).filter(|i| Some(*i) != unit).collect();
    if !columns.is_empty() && columns.iter().all(|i| is_statistic(&head[*i])) {
        return Some(statistics(head, &rows, &columns));
    }
    let load = loads(head);
    let mut names: Vec<String> = vec!["engine".into(), load.0];
    names.extend(rows.iter().map(|(n, _)| n.clone()));
    let run = |i: &usize| -> Vec<String> {
        let mut out = vec![engine(&head[*i]), load.1[*i].clone()];
        out.extend(rows.iter().map(|(_, row)| row.get(*i).cloned().unwrap_or_default()));
        out
    };
    // A column of differences has signs or shares in it, and is no run.
    let figures = |run: &Vec<String>| {
        let known = rows.iter().zip(&run[2..]).filter(|((n, _), _)| is_result(n));
        known
            .filter(|(_, cell)| {
                cell.starts_with(|c: char| c.is_ascii_digit()) && !cell.ends_with(['%', 'x', '×'])
            })
            .count()
    };
    let runs: Vec<Vec<String>> = columns.iter().map(run).filter(|r| figures(r) >= 2).collect();
    (!runs.is_empty()).then_some((names, runs))
}

/// What the heads of the columns say of the load: `conc=8` in each, or numbers behind a first head that names it.
fn loads(head: &[String]) -> (String, Vec<String>) {
    let pair = |h: &String| {
        let (name, value) = h.split_once(['=', ':']).or_else(|| h.split_once(' '))?;
        matches!(column(name), Some(Meaning::Workload(_)))
            .then(|| (name.trim().to_owned(), value.trim().to_owned()))
    };
    let named = matches!(head.first().and_then(|h| column(h)), Some(Meaning::Workload(_)));
    let (mut name, mut values) =
        (head.first().filter(|_| named).cloned().unwrap_or_default(), vec![String::new()]);
    for h in head.iter().skip(1) {
        match pair(h) {
            Some((own, value)) => {
                name = own;
                values.push(value);
            }
            None if named => values.push(h.clone()),
            None => values.push(String::new()),
        }
    }
    (name, values)
}

/// One run whose figures stand under names of statistics.
fn statistics(head: &[String], rows: &[(String, &Vec<String>)], columns: &[usize]) -> Upright {
    let (mut names, mut cells) = (Vec::new(), Vec::new());
    for (name, row) in rows {
        for i in columns {
            let cell = row.get(*i).cloned().unwrap_or_default();
            let whole = if head[*i].eq_ignore_ascii_case("value") {
                name.clone()
            } else {
                format!("{name} {}", head[*i])
            };
            if !cell.is_empty() && !names.contains(&whole) {
                names.push(whole);
                cells.push(cell);
            }
        }
    }
    (names, vec![cells])
}

fn is_statistic(head: &str) -> bool {
    let name = head.to_lowercase();
    ["mean", "avg", "average", "median", "std", "min", "max", "value"].contains(&name.as_str())
        || name.strip_prefix('p').is_some_and(|p| p.parse::<f64>().is_ok())
}

/// The engine that a column's head names, in the form of a cell.
fn engine(head: &str) -> String {
    let lower = head.to_lowercase();
    let found = [EngineKind::Vllm, EngineKind::Sglang, EngineKind::Trtllm]
        .into_iter()
        .find(|e| lower.contains(e.id()));
    found.map(|e| json!(e)).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> (Vec<String>, Vec<Vec<String>>) {
        let mut lines = text.lines().map(|l| l.split(',').map(str::to_owned).collect::<Vec<_>>());
        (lines.next().unwrap(), lines.collect())
    }

    #[test]
    fn a_column_a_run_or_a_statistic() {
        let (head, rows) = table(
            "Metric,vLLM main,PR,Change\nSuccessful requests,100,100,0%\nMean TTFT (ms),70.1,60,-14%\nnote,a,b,c",
        );
        let (names, runs) = upright(&head, &rows).unwrap();
        assert_eq!(names, ["engine", "", "Successful requests", "Mean TTFT (ms)", "note"]);
        assert_eq!(runs, [["vllm", "", "100", "70.1", "a"], ["", "", "100", "60", "b"]]);
        for heads in ["Metric,conc=8,conc=16", "Concurrency,8,16"] {
            let (head, rows) = table(&format!("{heads}\nMean TTFT (ms),70.1,60\nreq/s,1,2"));
            let (names, runs) = upright(&head, &rows).unwrap();
            assert!(matches!(column(&names[1]), Some(Meaning::Workload("max_concurrency"))), "{names:?}");
            assert_eq!((runs[0][1].as_str(), runs[1][1].as_str()), ("8", "16"));
        }
        let (head, rows) = table("Metric,Mean,P99\nTTFT (ms),12,20\nTPOT (ms),3,4");
        let (names, runs) = upright(&head, &rows).unwrap();
        assert_eq!(names, ["TTFT (ms) Mean", "TTFT (ms) P99", "TPOT (ms) Mean", "TPOT (ms) P99"]);
        assert_eq!(runs, [["12", "20", "3", "4"]]);
        let (head, rows) = table("Metric,Value,Unit\nTTFT,12,ms\nTPOT,3,ms");
        assert_eq!(upright(&head, &rows).unwrap().0, ["TTFT (ms)", "TPOT (ms)"]);
        let (head, rows) = table("a,b\nTTFT (ms),3\nx,4");
        assert!(upright(&head, &rows).is_none());
    }
}
