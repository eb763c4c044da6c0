//! The table that Hugging Face's inference-benchmarker draws at its end, a row a strategy.
//!
//! Its inter-token latency is a request's time behind the first token over its tokens but one, so our TPOT
//! (`TextGenerationAggregatedResponse::inter_token_latency`); its throughput is of generated tokens, over the whole duration.

use super::commands::{self, Told};
use super::content::Content;
use crate::scenario::Key;
use serde_json::{Map, Value, json};

/// The name of a row that warms the server up.
const WARM_UP: &str = "warmup";

/// The runs of a text with such a table; None where there is none.
pub(super) fn read(text: &str) -> Option<Content> {
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|l| is_head(l))?;
    let head = cells(lines[at]);
    let model = commands::above(&lines[..at], &Told::default()).model;
    let table = lines[at + 1..].iter().take_while(|l| l.trim().starts_with(['│', '|', '├', '└', '+']));
    let rows = table.enumerate().map(|(n, l)| (at + 2 + n, cells(l)));
    let rows = rows.filter(|(_, row)| row.len() == head.len() && row[0] != WARM_UP);
    let runs: Vec<(usize, Value)> = rows
        .filter_map(|(line, row)| Some((line, Value::Object(one(&head, &row, model.as_deref())?))))
        .collect();
    (!runs.is_empty()).then_some(Content::Many(runs))
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_matches(['│', '|']);
    inner.split(['│', '|']).map(|c| c.trim().to_owned()).collect()
}

fn is_head(line: &str) -> bool {
    let cells = cells(line);
    ["Benchmark", "QPS", "E2E Latency (avg)", "TTFT (avg)", "Throughput", "Successful Requests"]
        .iter()
        .all(|name| cells.iter().any(|c| c == name))
}

/// A figure with its unit, and the unit's factor to milliseconds where it is a time.
fn figure(cell: &str) -> Option<(f64, Option<f64>)> {
    let (number, unit) = cell.split_once(' ').unwrap_or((cell, ""));
    let factor = match unit {
        "ms" => Some(1.0),
        "sec" | "s" => Some(1e3),
        _ => None,
    };
    Some((number.parse::<f64>().ok().filter(|v| v.is_finite())?, factor))
}

fn one(head: &[String], row: &[String], model: Option<&str>) -> Option<Map<String, Value>> {
    let cell = |name: &str| head.iter().position(|h| h == name).map(|i| row[i].as_str());
    let number = |name: &str| Some(figure(cell(name)?)?.0);
    let time = |name: &str| cell(name).and_then(figure).and_then(|(v, factor)| Some(v * factor?));
    let (done, all) = cell("Successful Requests")?.split_once('/')?;
    let (done, all): (f64, f64) = (done.trim().parse().ok()?, all.trim().parse().ok()?);
    let total = |name: &str| number(name).map(|each| (done * each).round());
    let (input, output) = (total("Prompt tokens per req (avg)"), total("Decoded tokens per req (avg)"));
    let throughput = number("Throughput").filter(|t| *t > 0.0);
    let mut result = Map::new();
    for (key, value) in [
        (Key::Completed, Some(done)),
        (Key::Failed, Some(all - done)),
        (Key::Duration, output.zip(throughput).map(|(tokens, rate)| tokens / rate)),
        (Key::TotalInputTokens, input),
        (Key::TotalOutputTokens, output),
        (Key::RequestThroughput, number("QPS")),
        (Key::OutputThroughput, throughput),
        (Key::MeanTtftMs, time("TTFT (avg)")),
        (Key::MeanTpotMs, time("ITL (avg)")),
        (Key::MeanE2elMs, time("E2E Latency (avg)")),
    ] {
        result.extend(value.map(|v| (key.name().to_owned(), json!(v))));
    }
    let mut record = Map::new();
    record.extend(model.map(|m| ("model".to_owned(), json!(m))));
    let lengths = number("Prompt tokens per req (avg)").zip(number("Decoded tokens per req (avg)"));
    record.insert("workload".into(), Value::Object(workload(&row[0], lengths)));
    record.insert("result".into(), Value::Object(result));
    record.insert("source".into(), json!("inference-benchmarker"));
    record.insert(
        "note".into(),
        json!("no more requests are in flight than --max-vus allows, which the table does not tell; the warm-up is left out"),
    );
    Some(record)
}

/// Mean lengths, and the rate that was offered: `constant@10.00req/s`. The strategy `throughput` offers none.
fn workload(strategy: &str, lengths: Option<(f64, f64)>) -> Map<String, Value> {
    let mut out = Map::new();
    match lengths.map(|(i, o)| (i.round() as u64, o.round() as u64)).filter(|(i, o)| *i > 0 && *o > 0) {
        Some((input, output)) => {
            out.insert("dataset".into(), json!("random"));
            out.insert("input_len".into(), json!(input));
            out.insert("output_len".into(), json!(output));
            let note = "lengths are the means of the run; how they vary is not in the file";
            out.insert("note".into(), json!(note));
        }
        None => drop(out.insert("dataset".into(), json!("custom"))),
    }
    let rate = strategy.strip_prefix("constant@").and_then(|r| r.strip_suffix("req/s"));
    let rate = rate.and_then(|r| r.parse::<f64>().ok()).filter(|r| *r > 0.0);
    out.extend(rate.map(|r| ("request_rate".to_owned(), json!(r))));
    out
}

#[cfg(test)]
mod tests {
    use crate::scenario::{Key, load_text};
    use crate::workload::RequestRate;

    #[test]
    fn a_row_a_run_without_the_warm_up() {
        let text = "inference-benchmarker --model-name o/m\n\
            │ Benchmark │ QPS │ E2E Latency (avg) │ TTFT (avg) │ ITL (avg) │ Throughput │ Error Rate │ Successful Requests │ Prompt tokens per req (avg) │ Decoded tokens per req (avg) │\n\
            ├───┼───┤\n\
            │ warmup │ 1 req/s │ 1 sec │ 1 ms │ 1 ms │ 1 tokens/sec │ 0.00% │ 1/1 │ 1.00 │ 1.00 │\n\
            │ throughput │ 9.5 req/s │ 1.5 sec │ 30.5 ms │ 7.5 ms │ 950.00 tokens/sec │ 5.00% │ 95/100 │ 200.00 │ 100.00 │\n\
            │ constant@2.00req/s │ 2 req/s │ 1 sec │ 20 ms │ 7 ms │ 200 tokens/sec │ 0.00% │ 20/20 │ 200.00 │ 100.00 │\n";
        let all = load_text("x.txt", text).unwrap().records;
        let rate = |i: usize| all[i].workload.as_ref().unwrap().request_rate;
        assert_eq!((all.len(), rate(0), rate(1)), (2, RequestRate::Inf, RequestRate::PerSecond(2.0)));
        let m = all[0].result.as_ref().unwrap();
        assert_eq!((m.get(Key::Completed), m.get(Key::Failed)), (Some(95.0), Some(5.0)));
        assert_eq!((m.get(Key::MeanE2elMs), m.get(Key::MeanTpotMs)), (Some(1500.0), Some(7.5)));
        assert_eq!((m.get(Key::Duration), m.get(Key::OutputThroughput)), (Some(10.0), Some(950.0)));
    }
}
