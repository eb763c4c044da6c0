//! Tables that are drawn in a text: aiperf's and genai-perf's as they print them, and tables of Markdown, a row a run.

use super::content::Content;
use super::table;
use serde_json::{Value, json};

/// A table that a tool draws with lines of a box, as the CSV that it would have written.
pub(super) fn boxed(file: &str, text: &str) -> Option<Content> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for line in text.lines().map(str::trim).filter(|l| l.starts_with(['┃', '│'])) {
        let cells: Vec<String> =
            line.trim_matches(['┃', '│']).split(['┃', '│']).map(|c| c.trim().replace(',', "")).collect();
        let more = cells.iter().skip(1).all(String::is_empty);
        match rows.last_mut() {
            // A long name goes on in a line without figures.
            Some(last) if more => last[0] = format!("{} {}", last[0], cells[0]),
            _ => rows.push(cells),
        }
    }
    let at = rows.iter().position(|r| ["Metric", "Statistic"].contains(&r[0].as_str()) && r.len() > 2)?;
    "Metric".clone_into(&mut rows[at][0]);
    let csv: String = rows[at..].iter().map(|r| r.join(",") + "\n").collect();
    let found = table::read(file, &csv, b',').ok()?;
    of_a_tool(&found).then_some(found)
}

/// The first table of Markdown that has results. What the text above it names as the model holds for rows that name none.
pub(super) fn markdown(file: &str, text: &str, model: impl Fn(usize) -> Option<String>) -> Option<Content> {
    let lines: Vec<&str> = text.lines().collect();
    let is_row = |l: &&str| l.trim().starts_with('|');
    let cells = |l: &str| -> Vec<String> {
        let inner = l.trim().trim_matches('|');
        inner.split('|').map(|c| c.trim().trim_matches(['*', '`']).replace(',', "")).collect()
    };
    let ruled = |l: &&str| is_row(l) && l.contains('-') && l.trim().chars().all(|c| "|-: ".contains(c));
    (1..lines.len()).filter(|i| ruled(&lines[*i]) && is_row(&lines[i - 1])).find_map(|i| {
        let rows = lines[i + 1..].iter().take_while(|l| is_row(l));
        let head = std::iter::once(cells(lines[i - 1]));
        let csv: String = head.chain(rows.map(|l| cells(l))).map(|r| r.join(",") + "\n").collect();
        let Ok(Content::Many(mut found)) = table::read(file, &csv, b',') else { return None };
        let named = model(i - 1);
        for (line, row) in &mut found {
            // Rows are counted from the head, and the rule below it is none.
            *line += i;
            if let (Value::Object(row), Some(name)) = (row, &named) {
                row.entry("model").or_insert_with(|| json!(name));
            }
        }
        (!found.is_empty()).then_some(Content::Many(found))
    })
}

/// Values of a tool that stand in a text: a line each, or in a fence of several lines.
pub(super) fn values(text: &str) -> Option<Content> {
    let object = |t: &str| {
        let value = crate::data::python_json::parse(t).ok()?;
        value.as_object().is_some_and(|o| super::tool(o).is_some()).then_some(value)
    };
    let lines = text.lines().zip(1..).filter(|(l, _)| l.trim_start().starts_with('{'));
    let mut found: Vec<(usize, Value)> = lines.filter_map(|(l, n)| Some((n, object(l)?))).collect();
    if found.is_empty() {
        let mut line = 1;
        for part in text.split("```") {
            let body = part.split_once('\n').map_or("", |p| p.1);
            found.extend(object(body).map(|v| (line, v)));
            line += part.matches('\n').count();
        }
    }
    (!found.is_empty()).then_some(Content::Many(found))
}

fn of_a_tool(content: &Content) -> bool {
    matches!(content, Content::One(Value::Object(o)) if super::tool(o).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_lines_and_one_of_markdown() {
        let text = "  NVIDIA AIPerf | LLM Metrics\n┏━━━┳━━━┓\n┃ Metric ┃ avg ┃ p50 ┃\n┡━━━╇━━━┩\n│ Time to First Token (ms) │ 1,912.29 │ 81.5 │\n\
                    │ Output Token Throughput Per User │ 69.0 │ 45.0 │\n│ (tokens/sec/user) │ │ │\n│ Request Latency (ms) │ 2808 │ 2745 │\n└───┘\n";
        let Some(Content::One(o)) = boxed("x.txt", text) else { panic!("no table") };
        assert_eq!(o["time_to_first_token"]["avg"], 1912.29);
        assert_eq!(o["output_token_throughput_per_user"]["unit"], "tokens/sec/user");
        let text = "# r\n| a | b |\n|---|---|\n| 1 | 2 |\n\n| **concurrency** | TTFT (ms) |\n|:-:|--:|\n| 4 | 1,200.5 |\n| 8 | 7 |\nend";
        let Some(Content::Many(rows)) = markdown("x.md", text, |_| Some("o/m".into())) else {
            panic!("no table")
        };
        assert_eq!((rows.len(), rows[0].0, &rows[0].1["model"]), (2, 8, &json!("o/m")));
        assert_eq!(rows[0].1["result"]["mean_ttft_ms"], 1200.5);
        assert!(markdown("x.md", "| a |\n|---|\n| 1 |", |_| None).is_none());
    }

    #[test]
    fn objects_between_other_lines() {
        let one = r#"{"completed": 1, "duration": 2, "request_throughput": 0.5}"#;
        let Some(Content::Many(found)) = values(&format!("x: y\n{one}\n{{broken\n")) else { panic!("none") };
        assert_eq!((found.len(), found[0].0), (1, 2));
        let fence = format!("text\n```json\n{}\n```\n", one.replace(", ", ",\n"));
        assert!(matches!(values(&fence), Some(Content::Many(found)) if found.len() == 1));
        assert!(values("{\"a\": 1}").is_none());
    }
}
