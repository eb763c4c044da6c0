//! Prediction errors on files of observations: `cargo run --release --example evaluate -- DIR [MODE] [FILTER]`.
#![expect(clippy::print_stdout, reason = "prints its tables")]
use llm_dyno::cost::fit::{Case, fit};
use llm_dyno::cost::setup::{Catalogs, Setup, with_known_totals};
use llm_dyno::cost::{Coefficients, summary};
use llm_dyno::scenario::{Key, Record, read_records};
use std::collections::BTreeMap;
use std::path::Path;

fn label(r: &Record) -> String {
    let w = r.workload.as_ref();
    format!(
        "{} | {} in{} out{} c{}",
        r.serve_command.as_deref().unwrap_or(""),
        w.map_or("", |w| w.dataset.id()),
        w.and_then(|w| w.input_len).unwrap_or(0),
        w.and_then(|w| w.output_len).unwrap_or(0),
        w.and_then(|w| w.max_concurrency).unwrap_or(0),
    )
}

fn show(r: &Record, s: &Setup, c: &Coefficients, errs: &mut Vec<[f64; 3]>) {
    let run = s.run(c);
    let got = summary::metrics(&run);
    let m = r.result.as_ref().unwrap();
    let pair = |k: Key| (m.get(k).unwrap_or(f64::NAN), got.get(k).unwrap_or(f64::NAN));
    let e = |k: Key| { let (a, b) = pair(k); (b / a).ln().abs() };
    errs.push([e(Key::TotalTokenThroughput), e(Key::MeanTtftMs), e(Key::MeanTpotMs)]);
    println!("  {} [blocks {} preempt {}]", label(r), s.config.num_kv_blocks.unwrap_or(0), run.preemptions);
    print!("    ");
    for k in [Key::TotalTokenThroughput, Key::MeanTtftMs, Key::MedianTtftMs, Key::P99TtftMs, Key::MeanTpotMs, Key::MedianTpotMs, Key::P99TpotMs, Key::MedianItlMs, Key::P99ItlMs] {
        let (a, b) = pair(k);
        if a.is_finite() { print!(" {} {a:.1} ({:.2})", k.name().replace("_ms", "").replace("total_token_throughput","tput"), b / a); }
    }
    println!();
}

fn med(v: &mut Vec<f64>) -> f64 { v.retain(|x| x.is_finite()); v.sort_by(f64::total_cmp); if v.is_empty() { f64::NAN } else { v[v.len()/2] } }

fn main() {
    let a: Vec<String> = std::env::args().collect();
    let mode = a.get(2).cloned().unwrap_or_default();
    let filter = a.get(3).cloned().unwrap_or_default();
    let catalogs = Catalogs {
        hardware: llm_dyno::hardware::Catalog::load(None).unwrap(),
        models: llm_dyno::model::Catalog::load(None).unwrap(),
    };
    let mut groups: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for f in ["published-runs.json", "silicon-concurrency.json", "requests-rtx4090-llama-3.1-8b.json"] {
        for r in read_records(&Path::new(&a[1]).join(f)).unwrap() {
            if r.result.is_none() { continue }
            let fine = if f.starts_with("pub") { "" } else { &format!("tp{}", r.num_gpus.unwrap_or(1)) };
            let tp = if f.starts_with("pub") && mode != "coarse" { format!("n{}", r.num_gpus.unwrap_or(1)) } else { fine.to_owned() };
            groups.entry(format!("{} {} {} {} {}", &f[..4], r.model.as_deref().unwrap_or(""), r.hardware.as_deref().unwrap_or(""), r.engine.unwrap(), tp)).or_default().push(r);
        }
    }
    for (g, mut rs) in groups {
        if !g.contains(&filter) { continue }
        let mut seen = std::collections::BTreeSet::new();
        rs.retain(|r| seen.insert(label(r) + &r.num_gpus.unwrap_or(1).to_string()));
        let cases: Vec<(Record, Setup)> = rs.into_iter().map(|r| { let s = Setup::new(&with_known_totals(&r), &catalogs).unwrap(); (r, s) }).collect();
        let mut errs = vec![];
        println!("== {g} ({})", cases.len());
        let prior = Coefficients::default();
        let mut c = prior;
        if mode == "fitall" {
            let t = std::time::Instant::now();
            let all: Vec<Case> = cases.iter().map(|(r, s)| Case { setup: s.clone(), measured: r.result.clone().unwrap(), weight: 1.0 }).collect();
            let f = fit(&all, &prior, Coefficients::LOG_SD, 12);
            c = prior.shifted(&f.shift);
            println!("  cost {:.1} -> {:.1} in {} evaluations, {:.1} s", f.prior_cost, f.cost, f.evaluations, t.elapsed().as_secs_f64());
            let post: Vec<String> = Coefficients::NAMES.iter().zip(c.to_vec()).zip(&f.shift).enumerate().map(|(i, ((n, v), s))| format!("{n}={v:.3}({s:+.2}±{:.2})", f.covariance[i][i].sqrt())).collect();
            println!("  {}", post.join(" "));
        }
        for (r, s) in &cases { show(r, s, &c, &mut errs); }
        let m = |i: usize| { let mut v: Vec<f64> = errs.iter().map(|e| e[i]).collect(); 100.0 * med(&mut v) };
        println!("  MEDIAN |ln err| %: tput {:.1} ttft {:.1} tpot {:.1}", m(0), m(1), m(2));
    }
}
