//! What a script of one's own prints at its end: a name with its statistics, then their figures, a line each.
//!
//! `TTFT  mean/p50/p99  : 605 / 291 / 1577 ms`, beside plain lines such as `wall time : 15.70 s`. A text counts where it has two
//! latencies so written and a throughput; what was read of it is told.

use super::columns::{Meaning, column, in_unit, with_unit};
use super::commands::{self, Told};
use super::content::Content;
use crate::scenario::Key;
use serde_json::{Map, Value, json};

/// Latencies with their statistics that a run must have.
const LATENCIES: usize = 2;

/// One run as far as it was printed.
#[derive(Default)]
struct Run {
    /// The number of its first line.
    line: usize,
    result: Map<String, Value>,
    workload: Map<String, Value>,
    /// Mean tokens of a request, in and out.
    means: [Option<f64>; 2],
    latencies: usize,
    read: Vec<String>,
    unknown: Vec<String>,
}

/// The runs of a text; None where it has none.
pub(super) fn read(text: &str) -> Option<Content> {
    let lines: Vec<&str> = text.lines().collect();
    let mut runs = vec![Run::default()];
    for (at, line) in lines.iter().enumerate() {
        let figures = line.rsplit_once(" : ").or_else(|| line.split_once(':'));
        let load = loads(line);
        let Some(last) = runs.last_mut() else { break };
        let printed = figures.map(|(name, value)| figures_of(name, value)).unwrap_or_default();
        // A name that comes again, or a head behind figures, begins another run.
        let again = printed.iter().any(|p| last.holds(p)) || !load.is_empty() && last.latencies > 0;
        if again {
            runs.push(Run::default());
        }
        if let Some(run) = runs.last_mut() {
            if run.line == 0 && !(load.is_empty() && printed.is_empty()) {
                run.line = at + 1;
            }
            run.workload.extend(load);
            run.take(figures.map(|f| f.0.trim()), printed);
        }
    }
    let whole = |run: &Run| {
        let rates = [Key::OutputThroughput, Key::RequestThroughput, Key::TotalTokenThroughput];
        run.latencies >= LATENCIES && rates.iter().any(|k| run.result.contains_key(k.name()))
    };
    let others = runs.iter().filter(|r| !whole(r) && r.latencies > 0).count();
    let first = runs.iter().find(|r| whole(r))?.line;
    let model = commands::above(&lines[..first - 1], &Told::default()).model;
    let records = runs.into_iter().filter(whole).map(|r| (r.line, r.record(model.as_deref(), others)));
    Some(Content::Many(records.collect()))
}

/// What one line gives.
#[derive(Debug, PartialEq)]
enum Printed {
    Result(Key, f64),
    /// A mean of tokens in a request: in (0) or out (1).
    Mean(usize, f64),
}

impl Run {
    fn holds(&self, printed: &Printed) -> bool {
        match printed {
            Printed::Result(key, _) => self.result.contains_key(key.name()),
            Printed::Mean(side, _) => self.means[*side].is_some(),
        }
    }

    fn take(&mut self, name: Option<&str>, printed: Vec<Printed>) {
        let Some(name) = name.filter(|n| !n.is_empty()) else { return };
        let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
        if printed.is_empty() {
            self.unknown.push(name);
            return;
        }
        let latency = |p: &Printed| matches!(p, Printed::Result(k, _) if k.name().ends_with("_ms"));
        self.latencies += usize::from(name.contains('/') && printed.iter().any(latency));
        self.read.push(name);
        for one in printed {
            match one {
                Printed::Result(key, value) => drop(self.result.insert(key.name().to_owned(), json!(value))),
                Printed::Mean(side, value) => self.means[side] = Some(value),
            }
        }
    }

    fn record(mut self, model: Option<&str>, others: usize) -> Value {
        let completed = self.result.get(Key::Completed.name()).and_then(Value::as_f64).filter(|n| *n > 0.0);
        let totals = [Key::TotalInputTokens, Key::TotalOutputTokens];
        for (side, (key, length)) in totals.into_iter().zip(["input_len", "output_len"]).enumerate() {
            let total = self.result.get(key.name()).and_then(Value::as_f64);
            let mean = total.zip(completed).map(|(t, n)| t / n).or(self.means[side]);
            // What was counted is the length, and what was asked for its limit.
            if let Some(mean) = mean.filter(|m| *m >= 1.0) {
                self.workload.insert(length.to_owned(), json!(mean.round() as u64));
                let note = "lengths are the means of the run; how they vary is not in the file";
                self.workload.insert("note".into(), json!(note));
            }
            if let (None, Some(mean), Some(n)) = (total, self.means[side], completed) {
                self.result.insert(key.name().to_owned(), json!((mean * n).round()));
            }
        }
        let known = ["input_len", "output_len"].iter().all(|k| self.workload.contains_key(*k));
        self.workload.insert("dataset".into(), json!(if known { "random" } else { "custom" }));
        let mut note = format!("read from a script's own print: {}", self.read.join(", "));
        if !self.unknown.is_empty() {
            note += &format!("; lines without a known meaning: {}", self.unknown.join(", "));
        }
        if others > 0 {
            note += &format!(
                "; {others} other runs of the text lack a throughput or a second latency and are left out"
            );
        }
        let mut record = Map::new();
        record.extend(model.map(|m| ("model".to_owned(), json!(m))));
        record.insert("workload".into(), Value::Object(self.workload));
        record.insert("result".into(), Value::Object(self.result));
        record.insert("source".into(), json!("a script's own print"));
        record.insert("note".into(), json!(note));
        Value::Object(record)
    }
}

/// The load that words of a line set: `conc=32 max_tokens=256`.
fn loads(line: &str) -> Map<String, Value> {
    let pair = |word: &str| {
        let (name, value) = word.split_once('=')?;
        let n = value.parse::<f64>().ok().filter(|n| *n > 0.0)?;
        match column(name)? {
            Meaning::Workload(key @ "request_rate") => Some((key.to_owned(), json!(n))),
            Meaning::Workload(key) => Some((key.to_owned(), json!(n as u64))),
            _ => None,
        }
    };
    line.split_whitespace().filter_map(pair).collect()
}

/// The figures of a line that are known by its name.
fn figures_of(name: &str, value: &str) -> Vec<Printed> {
    let parts: Vec<&str> = value.split('/').map(str::trim).collect();
    let (front, last) = name.trim().rsplit_once(char::is_whitespace).unwrap_or(("", name.trim()));
    let names: Vec<&str> = last.trim_matches(['(', ')', '[', ']']).split('/').collect();
    if names.len() < 2 || names.len() != parts.len() {
        return one(name, value).into_iter().collect();
    }
    // The unit stands behind the last figure.
    let unit = parts.last().and_then(|p| p.split_once(char::is_whitespace)).map_or("", |p| p.1);
    let each = names.iter().zip(&parts).filter_map(|(stat, part)| match *stat {
        "ok" | "success" | "successful" => one("successful requests", part),
        "err" | "errors" | "fail" | "failed" => one("failed requests", part),
        stat => {
            one(&format!("{front} {stat}"), &format!("{} {unit}", part.split(' ').next().unwrap_or_default()))
        }
    });
    each.collect()
}

/// One figure by its name, with the unit that stands behind it.
fn one(name: &str, value: &str) -> Option<Printed> {
    let (figure, unit) = with_unit(value).filter(|(v, _)| *v >= 0.0)?;
    if let Some(tokens) = tokens(name) {
        return unit.is_none().then_some(match tokens {
            (side, true) => Printed::Result([Key::TotalInputTokens, Key::TotalOutputTokens][side], figure),
            (side, false) => Printed::Mean(side, figure),
        });
    }
    // `wall time` has its unit behind the figure.
    let timed = || unit.and_then(|_| column(&format!("{name} s")));
    match column(name).or_else(timed)? {
        Meaning::Result(key, factor) => Some(Printed::Result(key, in_unit(key, figure, unit, factor))),
        Meaning::NoUnit(key) => Some(Printed::Result(key, figure * unit?)),
        _ => None,
    }
}

/// Tokens of prompts (0) or answers (1) by a name that says whether it is their total: `output tokens total`, `prompt tokens mean`.
fn tokens(name: &str) -> Option<(usize, bool)> {
    let name = name.to_lowercase();
    let mut words: Vec<&str> = name.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let at = words.iter().position(|w| ["total", "mean", "avg", "average"].contains(w))?;
    let total = words.remove(at) == "total";
    match words.as_slice() {
        ["prompt" | "input", "tokens"] => Some((0, total)),
        ["output" | "completion" | "generated", "tokens"] => Some((1, total)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::scenario::{Key, load_text};

    const RUN: &str = "== conc=4 ==\nrequests ok/err : 8/2\nwall time : 500 ms\nTTFT mean/p50/p99 : 0.6 / 0.3 / 1.5 s\n\
                       ITL mean/p99 : 30.6 / 34.4 ms\nprompt tokens mean: 67\noutput tokens total: 80\nsystem output tok/s : 160\n";

    #[test]
    fn names_with_their_statistics_are_read_and_told() {
        let r = load_text("x.log", RUN).unwrap().records.remove(0);
        let m = r.result.unwrap();
        assert_eq!(
            (m.get(Key::Completed), m.get(Key::Failed), m.get(Key::Duration)),
            (Some(8.0), Some(2.0), Some(0.5))
        );
        assert_eq!(
            (m.get(Key::P99TtftMs), m.get(Key::MeanItlMs), m.get(Key::MeanTpotMs)),
            (Some(1500.0), Some(30.6), None)
        );
        assert_eq!((m.get(Key::TotalInputTokens), m.get(Key::OutputThroughput)), (Some(536.0), Some(160.0)));
        let w = r.workload.unwrap();
        assert_eq!((w.input_len, w.output_len, w.max_concurrency), (Some(67), Some(10), Some(4)));
        assert!(r.note.unwrap().contains("TTFT mean/p50/p99, ITL mean/p99"));
    }

    #[test]
    fn a_run_that_comes_again_is_another_and_half_of_one_is_none() {
        let two = load_text("x.log", &format!("{RUN}{}", RUN.replace("conc=4", "conc=8"))).unwrap().records;
        let load = |i: usize| two[i].workload.as_ref().unwrap().max_concurrency;
        assert_eq!((two.len(), load(0), load(1)), (2, Some(4), Some(8)));
        for half in ["system output tok/s", "TTFT mean/p50/p99"] {
            let text: String =
                RUN.lines().filter(|l| !l.starts_with(half)).map(|l| format!("{l}\n")).collect();
            assert!(load_text("x.log", &text).unwrap_err().to_string().contains("is no JSON"), "{half}");
        }
    }
}
