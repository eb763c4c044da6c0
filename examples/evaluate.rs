//! Prediction errors of the cost model on files of observations, left-out points only:
//! `cargo run --release --example evaluate -- DIR [published|silicon|requests|prior|others] [FILTER]`.
//!
//! DIR holds `published-runs.json`, `silicon-concurrency.json` and `requests-rtx4090-llama-3.1-8b.json`.
#![expect(clippy::print_stdout, reason = "prints its tables")]

use llm_dyno::cost::fit::{fit_records, label};
use llm_dyno::cost::setup::scenario_of;
use llm_dyno::cost::{Catalogs, Predictor, Profile};
use llm_dyno::scenario::{Key, Record, read_records};
use llm_dyno::stats::quantile_sorted;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const SHOWN: [(Key, &str); 5] = [
    (Key::TotalTokenThroughput, "tput"),
    (Key::MeanTtftMs, "ttft"),
    (Key::P99TtftMs, "p99ttft"),
    (Key::MeanTpotMs, "tpot"),
    (Key::MedianItlMs, "itl50"),
];

#[derive(Default)]
struct Tally {
    errors: BTreeMap<&'static str, Vec<f64>>,
    inside: u32,
    all: u32,
}

impl Tally {
    fn add(&mut self, catalogs: &Catalogs, profile: Option<&Profile>, r: &Record, verbose: bool) {
        let predictor = Predictor::new(catalogs, profile);
        let p = match predictor.predict(&scenario_of(r), false) {
            Ok(p) => p,
            Err(e) => return println!("    {}: {e}", label(r)),
        };
        let m = r.result.as_ref().expect("a result");
        let mut line = String::new();
        for (k, name) in SHOWN {
            let (Some(a), Some(b)) = (m.get(k), p.get(k)) else { continue };
            let e = (b.value / a - 1.0).abs() * 100.0;
            self.errors.entry(name).or_default().push(e);
            let inside = (b.p05..=b.p95).contains(&a);
            self.inside += u32::from(inside);
            self.all += 1;
            line += &format!(
                " {name} {a:.1} {:+.1}%{}",
                (b.value / a - 1.0) * 100.0,
                if inside { "" } else { "!" }
            );
        }
        if verbose {
            println!("    {}:{line}", label(r));
        }
    }
    fn show(&self, what: &str) {
        let parts: Vec<String> = self
            .errors
            .iter()
            .map(|(k, v)| {
                let mut v = v.clone();
                v.sort_by(f64::total_cmp);
                format!("{k} {:.1}% (n={})", quantile_sorted(&v, 0.5), v.len())
            })
            .collect();
        println!(
            "  {what}: {} | inside the 90% interval: {}/{} = {:.0}%",
            parts.join(", "),
            self.inside,
            self.all,
            100.0 * f64::from(self.inside) / f64::from(self.all.max(1))
        );
    }
    fn merge(&mut self, o: &Tally) {
        for (k, v) in &o.errors {
            self.errors.entry(k).or_default().extend(v);
        }
        self.inside += o.inside;
        self.all += o.all;
    }
}

fn group(r: &Record) -> String {
    format!(
        "{} {} {} x{}",
        r.model.as_deref().unwrap_or(""),
        r.hardware.as_deref().unwrap_or(""),
        r.engine.map_or("", |e| e.id()),
        r.num_gpus.unwrap_or(1)
    )
}

fn kind(r: &Record) -> String {
    let w = r.workload.as_ref().unwrap();
    format!("{}/{}", w.dataset.id(), w.input_len.unwrap_or(0))
}

fn coefficients(p: &Profile) {
    for g in &p.groups {
        let text: Vec<String> = g
            .names
            .iter()
            .zip(&g.log_shift)
            .enumerate()
            .filter(|(i, (_, s))| {
                g.covariance[*i][*i].sqrt() < 0.9 * llm_dyno::cost::Coefficients::LOG_SD[*i] || s.abs() > 0.1
            })
            .map(|(i, (n, s))| {
                format!("{n} {:.3}({s:+.2}±{:.2})", g.coefficients.to_vec()[i], g.covariance[i][i].sqrt())
            })
            .collect();
        println!("    [{:.0} -> {:.0}] {}", g.cost_before, g.cost_after, text.join(" "));
    }
}

fn load(dir: &str, file: &str) -> Vec<Record> {
    let mut seen = BTreeSet::new();
    let mut all = read_records(&Path::new(dir).join(file)).expect(file);
    all.retain(|r| {
        r.result.is_some()
            && seen.insert(
                serde_json::to_string(&(&r.model, &r.hardware, &r.num_gpus, &r.serve_command, &r.workload))
                    .unwrap(),
            )
    });
    all
}

fn main() {
    let a: Vec<String> = std::env::args().collect();
    let (dir, mode, filter) =
        (&a[1], a.get(2).cloned().unwrap_or_default(), a.get(3).cloned().unwrap_or_default());
    let catalogs = Catalogs::load(None).expect("catalogs");
    let mut total = Tally::default();
    if mode.is_empty() || mode == "published" {
        println!("published-runs: fit on ShareGPT, 2K and 128 of the baseline; the rest predicted");
        let mut groups: BTreeMap<String, Vec<Record>> = BTreeMap::new();
        for r in load(dir, "published-runs.json") {
            groups.entry(group(&r)).or_default().push(r);
        }
        for (g, rs) in groups {
            let kinds: BTreeSet<String> = rs
                .iter()
                .filter(|r| r.workload.as_ref().unwrap().max_concurrency.is_none())
                .map(kind)
                .collect();
            if kinds.len() < 5 || !g.contains(&filter) {
                continue;
            }
            let mut trained = BTreeSet::new();
            let (train, test): (Vec<Record>, Vec<Record>) = rs.into_iter().partition(|r| {
                let k = kind(r);
                let free = r.workload.as_ref().unwrap().max_concurrency.is_none();
                free && ["sharegpt/0", "random/2000", "random/128"].contains(&k.as_str()) && trained.insert(k)
            });
            println!("  == {g}");
            let profile = fit_records(&train, &catalogs).unwrap();
            coefficients(&profile);
            for r in &profile.groups[0].residuals {
                println!(
                    "    fit {}: {}",
                    r.label,
                    r.log_ratio
                        .iter()
                        .filter(|(k, _)| [
                            "total_token_throughput",
                            "mean_ttft_ms",
                            "mean_tpot_ms",
                            "median_itl_ms"
                        ]
                        .contains(&k.as_str()))
                        .map(|(k, v)| format!("{k} {:+.1}%", ((-v).exp() - 1.0) * 100.0))
                        .collect::<Vec<_>>()
                        .join(" ")
                );
            }
            let mut t = Tally::default();
            for r in &test {
                t.add(&catalogs, Some(&profile), r, true);
            }
            t.show("median error");
            total.merge(&t);
        }
        total.show("published, all groups");
    }
    if mode.is_empty() || mode == "silicon" {
        println!(
            "silicon: fit on the lowest and highest concurrency of one length pair; every other point predicted"
        );
        let mut groups: BTreeMap<String, Vec<Record>> = BTreeMap::new();
        for r in load(dir, "silicon-concurrency.json") {
            groups.entry(group(&r)).or_default().push(r);
        }
        let mut all = Tally::default();
        for (g, rs) in groups {
            if !g.contains(&filter) {
                continue;
            }
            let pair = |r: &Record| {
                let w = r.workload.as_ref().unwrap();
                (w.input_len.unwrap(), w.output_len.unwrap())
            };
            let c = |r: &Record| r.workload.as_ref().unwrap().max_concurrency.unwrap();
            let pairs: BTreeSet<_> = rs.iter().map(pair).collect();
            let chosen = *pairs
                .iter()
                .max_by_key(|p| rs.iter().filter(|r| pair(r) == **p).map(c).collect::<BTreeSet<_>>().len())
                .unwrap();
            let low = rs.iter().filter(|r| pair(r) == chosen).map(c).min().unwrap();
            let high = rs.iter().filter(|r| pair(r) == chosen).map(c).max().unwrap();
            let (train, test): (Vec<Record>, Vec<Record>) =
                rs.into_iter().partition(|r| pair(r) == chosen && (c(r) == low || c(r) == high));
            println!("  == {g}: fit on {chosen:?} c{low} and c{high}");
            let profile = fit_records(&train, &catalogs).unwrap();
            coefficients(&profile);
            let mut t = Tally::default();
            for r in &test {
                t.add(&catalogs, Some(&profile), r, !filter.is_empty());
            }
            t.show("median error");
            all.merge(&t);
        }
        all.show("silicon, all groups");
        total.merge(&all);
    }
    if mode.is_empty() || mode == "requests" {
        for r in load(dir, "requests-rtx4090-llama-3.1-8b.json") {
            let half = r.result.as_ref().unwrap().get(Key::Duration).unwrap() / 2.0;
            let mut seen = r.clone();
            seen.result = None;
            for row in seen.requests.as_mut().unwrap() {
                if row.arrival_s + row.e2e_s.unwrap_or(f64::MAX) > half {
                    row.e2e_s = None;
                }
                if row.arrival_s + row.ttft_s.unwrap_or(f64::MAX) > half || row.e2e_s.is_none() {
                    row.ttft_s = None;
                }
            }
            println!("requests: fit on what was finished in the first half of the timeline");
            let profile = fit_records(&[seen], &catalogs).unwrap();
            coefficients(&profile);
            let mut t = Tally::default();
            t.add(&catalogs, Some(&profile), &r, true);
            let p = Predictor::new(&catalogs, Some(&profile)).predict(&scenario_of(&r), false).unwrap();
            let rows = r.requests.as_ref().unwrap();
            let mut e2e: Vec<f64> = rows.iter().map(|q| q.e2e_s.unwrap() * 1e3).collect();
            e2e.sort_by(f64::total_cmp);
            for (k, v) in [
                (Key::MeanE2elMs, e2e.iter().sum::<f64>() / e2e.len() as f64),
                (Key::P99E2elMs, quantile_sorted(&e2e, 0.99)),
                (Key::P99TpotMs, r.result.as_ref().unwrap().get(Key::P99TpotMs).unwrap()),
            ] {
                println!("    {} {:.1} {:+.1}%", k.name(), v, (p.get(k).unwrap().value / v - 1.0) * 100.0);
            }
            total.merge(&t);
        }
    }
    if mode == "prior" || mode == "others" {
        for f in ["published-runs.json", "silicon-concurrency.json", "requests-rtx4090-llama-3.1-8b.json"] {
            let all = load(dir, f);
            let names: BTreeSet<String> = all.iter().map(group).collect();
            for g in names {
                if !g.contains(&filter) {
                    continue;
                }
                let others: Vec<Record> = if mode == "others" {
                    all.iter().filter(|r| group(r) != g).cloned().collect()
                } else {
                    Vec::new()
                };
                let profile =
                    if others.is_empty() { None } else { Some(fit_records(&others, &catalogs).unwrap()) };
                println!("  == {g}");
                let mut t = Tally::default();
                for r in all.iter().filter(|r| group(r) == g) {
                    t.add(&catalogs, profile.as_ref(), r, !filter.is_empty());
                }
                t.show("prior");
                total.merge(&t);
            }
        }
    }
    total.show("everything");
}
