//! What is compared: two sides with their runs, brought together by workload.

use super::judge::{Judged, Outcome, Verdict, judge, judge_all};
use crate::scenario::{Key, Record};
use crate::stats::mean;
use crate::workload::WorkloadSpec;
use std::collections::BTreeMap;

/// One side: its name, and the runs that count.
#[derive(Debug, Clone, Default)]
pub struct Side {
    pub name: String,
    pub runs: Vec<Record>,
}

/// One metric of one workload.
#[derive(Debug, Clone)]
pub struct MetricRow {
    pub workload: String,
    pub key: Key,
    /// Geometric mean of the runs.
    pub a: f64,
    pub b: f64,
    /// Runs of either side.
    pub runs: (usize, usize),
    pub judged: Judged,
    pub outcome: Outcome,
}

#[derive(Debug, Clone)]
pub struct Compared {
    pub a: String,
    pub b: String,
    /// Share by which B may be worse.
    pub limit: f64,
    pub rows: Vec<MetricRow>,
    /// What else differs: name, A, B.
    pub differences: Vec<(String, String, String)>,
    pub notes: Vec<String>,
}

impl Compared {
    /// FAIL if any metric is, PASS if all are.
    pub fn verdict(&self) -> Verdict {
        let any = |v: Verdict| self.rows.iter().any(|r| r.outcome.verdict == v);
        if any(Verdict::Fail) {
            Verdict::Fail
        } else if any(Verdict::Inconclusive) || self.rows.is_empty() {
            Verdict::Inconclusive
        } else {
            Verdict::Pass
        }
    }
}

/// Compares B with A on the metrics that both have.
///
/// Errors (as text): no workload in common, with what each side has.
pub fn compare(a: &Side, b: &Side, metrics: &[Key], limit: f64) -> Result<Compared, String> {
    let (groups_a, groups_b) = (groups(&a.runs), groups(&b.runs));
    let mut rows = Vec::new();
    let mut notes = Vec::new();
    let mut judged = Vec::new();
    for (workload, runs_a) in &groups_a {
        let Some(runs_b) = groups_b.get(workload) else {
            notes.push(format!("only in A: {workload}"));
            continue;
        };
        let (runs_a, runs_b, paired) = paired(runs_a, runs_b);
        lost(workload, (&runs_a, &runs_b), &mut notes);
        for &key in metrics {
            let value = |r: &&Record| r.result.as_ref().and_then(|m| m.get(key)).filter(|v| *v > 0.0);
            let (va, vb): (Vec<f64>, Vec<f64>) =
                (runs_a.iter().filter_map(value).collect(), runs_b.iter().filter_map(value).collect());
            let whole = va.len() == runs_a.len() && vb.len() == runs_b.len();
            let Some(j) = judge(&va, &vb, paired && whole, key.higher_is_better(), limit) else { continue };
            judged.push(j);
            rows.push((workload.clone(), key, va, vb));
        }
    }
    notes.extend(groups_b.keys().filter(|k| !groups_a.contains_key(*k)).map(|k| format!("only in B: {k}")));
    if rows.is_empty() {
        let list = |g: &BTreeMap<String, Vec<&Record>>| g.keys().cloned().collect::<Vec<_>>().join("; ");
        return Err(format!(
            "no metric of one workload is on both sides: A has {}; B has {}",
            list(&groups_a),
            list(&groups_b)
        ));
    }
    let outcomes = judge_all(&judged);
    let level = |v: &[f64]| mean(&v.iter().map(|x| x.ln()).collect::<Vec<_>>()).exp();
    let rows = rows
        .into_iter()
        .zip(judged)
        .zip(outcomes)
        .map(|(((workload, key, va, vb), judged), outcome)| MetricRow {
            workload,
            key,
            a: level(&va),
            b: level(&vb),
            runs: (va.len(), vb.len()),
            judged,
            outcome,
        })
        .collect();
    let differences = differences(a, b);
    Ok(Compared { a: a.name.clone(), b: b.name.clone(), limit, rows, differences, notes })
}

/// Runs by what they served, the seed apart.
fn groups(runs: &[Record]) -> BTreeMap<String, Vec<&Record>> {
    let mut out: BTreeMap<String, Vec<&Record>> = BTreeMap::new();
    for r in runs.iter().filter(|r| r.result.is_some()) {
        let name = r.workload.as_ref().map_or_else(|| "unnamed workload".to_owned(), load_words);
        out.entry(name).or_default().push(r);
    }
    out
}

/// The load in words that differ where loads differ.
fn load_words(w: &WorkloadSpec) -> String {
    let mut out = crate::report::words::workload_words(w);
    if let Some(path) = &w.path {
        out.push_str(&format!(" ({path})"));
    }
    if let Some(p) = w.random_prefix_len.filter(|p| *p > 0) {
        out.push_str(&format!(", {p} prefix tokens"));
    }
    out
}

/// In the order of the seeds, where each run of A has exactly one of B with its seed.
fn paired<'a>(a: &[&'a Record], b: &[&'a Record]) -> (Vec<&'a Record>, Vec<&'a Record>, bool) {
    let seed = |r: &Record| r.workload.as_ref().and_then(|w| w.seed);
    let sorted = |v: &[&'a Record]| {
        let mut v = v.to_vec();
        v.sort_by_key(|r| seed(r));
        v
    };
    let (sa, sb) = (sorted(a), sorted(b));
    let unique = |v: &[&Record]| v.windows(2).all(|w| seed(w[0]) != seed(w[1]));
    let same =
        sa.len() == sb.len() && sa.iter().zip(&sb).all(|(x, y)| seed(x) == seed(y) && seed(x).is_some());
    let paired = same && unique(&sa) && unique(&sb);
    (sa, sb, paired)
}

/// Lost requests change what the other figures mean.
fn lost(workload: &str, (a, b): (&[&Record], &[&Record]), notes: &mut Vec<String>) {
    let count = |runs: &[&Record]| -> f64 {
        runs.iter().filter_map(|r| r.result.as_ref().and_then(|m| m.get(Key::Failed))).sum()
    };
    let (la, lb) = (count(a), count(b));
    if la + lb > 0.0 {
        notes.push(format!("requests that failed on {workload}: {la:.0} in A, {lb:.0} in B"));
    }
}

/// Engine, version, hardware, model and command, where they differ.
fn differences(a: &Side, b: &Side) -> Vec<(String, String, String)> {
    let facts = |s: &Side| -> Vec<(&'static str, String)> {
        let all = |f: &dyn Fn(&Record) -> Option<String>| {
            let mut found: Vec<String> = s.runs.iter().filter_map(f).collect();
            found.sort();
            found.dedup();
            found.join(", ")
        };
        vec![
            ("engine", all(&|r| r.engine.map(|e| e.to_string()))),
            ("version", all(&|r| r.engine_version.as_ref().map(ToString::to_string))),
            ("model", all(&|r| r.model.clone())),
            ("hardware", all(&|r| r.hardware.clone())),
            ("GPUs", all(&|r| r.num_gpus.map(|n| n.to_string()))),
            ("command", all(&|r| r.serve_command.as_ref().map(|_| r.launch().to_text()))),
        ]
    };
    let (fa, fb) = (facts(a), facts(b));
    fa.into_iter()
        .zip(fb)
        .filter(|((_, x), (_, y))| x != y)
        .map(|((name, x), (_, y))| {
            let or = |t: String| if t.is_empty() { "not said".to_owned() } else { t };
            (name.to_owned(), or(x), or(y))
        })
        .collect()
}
