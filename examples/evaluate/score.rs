//! Predictions of left-out runs, one row a key.

use crate::data::{Run, by_launch, small_fit};
use llm_dyno::cost::fit::{fit_records, label};
use llm_dyno::cost::setup::scenario_of;
use llm_dyno::cost::{Catalogs, Predictor, Profile};
use llm_dyno::scenario::{Key, Record};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Keys that are scored.
pub(crate) const SCORED: [(Key, &str); 3] =
    [(Key::TotalTokenThroughput, "throughput"), (Key::MeanTtftMs, "TTFT"), (Key::MeanTpotMs, "TPOT")];

/// From what a run was predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Basis {
    Prior,
    SmallFit,
    /// A fit on another model of the same GPU.
    Transfer,
}

impl Basis {
    pub(crate) fn id(self) -> &'static str {
        match self {
            Basis::Prior => "prior",
            Basis::SmallFit => "small fit",
            Basis::Transfer => "transfer",
        }
    }
}

/// One predicted and measured figure.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) set: &'static str,
    pub(crate) seen: bool,
    pub(crate) blind: bool,
    pub(crate) group: String,
    pub(crate) devices: u32,
    pub(crate) kind: &'static str,
    pub(crate) basis: Basis,
    /// The group that a transfer was fitted on.
    pub(crate) from: String,
    pub(crate) label: String,
    pub(crate) key: &'static str,
    pub(crate) measured: f64,
    pub(crate) value: f64,
    pub(crate) p05: f64,
    pub(crate) p95: f64,
}

impl Row {
    pub(crate) fn error(&self) -> f64 {
        (self.value / self.measured - 1.0).abs() * 100.0
    }
    pub(crate) fn inside(&self) -> bool {
        (self.p05..=self.p95).contains(&self.measured)
    }
    pub(crate) fn width(&self) -> f64 {
        (self.p95 / self.p05).ln()
    }
}

type Job<'a> = Box<dyn Fn() -> Vec<Row> + Send + Sync + 'a>;

fn predicted(
    catalogs: &Catalogs,
    profile: Option<&Profile>,
    run: &Run,
    basis: Basis,
    from: &str,
) -> Vec<Row> {
    let p = match Predictor::new(catalogs, profile).predict(&scenario_of(&run.record), false) {
        Ok(p) => p,
        Err(e) => {
            eprintln!("{} {}: {e}", run.group, label(&run.record));
            return Vec::new();
        }
    };
    let Some(m) = &run.record.result else { return Vec::new() };
    let row = |(key, name): (Key, &'static str)| {
        let (measured, b) = (m.get(key).filter(|v| *v > 0.0)?, p.get(key)?);
        Some(Row {
            set: run.set,
            seen: run.seen,
            blind: run.blind,
            group: run.group.clone(),
            devices: run.devices,
            kind: run.kind,
            basis,
            from: from.to_owned(),
            label: label(&run.record),
            key: name,
            measured,
            value: b.value,
            p05: b.p05,
            p95: b.p95,
        })
    };
    SCORED.into_iter().filter_map(row).collect()
}

fn records(runs: &[&Run]) -> Vec<Record> {
    runs.iter().map(|r| r.record.clone()).collect()
}

fn fitted(runs: &[&Run], catalogs: &Catalogs, name: &str) -> Option<Profile> {
    match fit_records(&records(runs), catalogs) {
        Ok(p) => Some(p),
        Err(e) => {
            eprintln!("fit of {name}: {e}");
            None
        }
    }
}

/// Most runs that a transfer is fitted on.
const TRANSFERRED: usize = 6;

/// Scores `runs` on the bases asked for.
pub(crate) fn score(runs: &[Run], bases: &[Basis], catalogs: &Catalogs) -> Vec<Row> {
    let launches = by_launch(runs);
    let mut jobs: Vec<Job<'_>> = Vec::new();
    for (name, members) in &launches {
        if bases.contains(&Basis::Prior) {
            jobs.push(Box::new(move || {
                members.iter().flat_map(|r| predicted(catalogs, None, r, Basis::Prior, "")).collect()
            }));
        }
        let (fit, rest) = small_fit(members);
        if bases.contains(&Basis::SmallFit) && !rest.is_empty() && fit.len() > 1 {
            jobs.push(Box::new(move || {
                let Some(p) = fitted(&fit, catalogs, name) else { return Vec::new() };
                rest.iter().flat_map(|r| predicted(catalogs, Some(&p), r, Basis::SmallFit, "")).collect()
            }));
        }
        if bases.contains(&Basis::Transfer) {
            jobs.push(Box::new(|| transfers(name, &launches, catalogs)));
        }
    }
    all(jobs)
}

/// Fits one launch and predicts every other model on the same GPU with the same engine or another.
fn transfers(name: &str, launches: &BTreeMap<String, Vec<&Run>>, catalogs: &Catalogs) -> Vec<Row> {
    let members = &launches[name];
    let of = |r: &Run| {
        let mut parts = r.group.split('|').map(str::to_owned);
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    };
    let (model, gpu) = of(members[0]);
    let others: Vec<&Run> = launches
        .values()
        .filter(|l| of(l[0]).1 == gpu && of(l[0]).0 != model)
        .flat_map(|l| l.iter().take(TRANSFERRED).copied())
        .collect();
    if others.is_empty() || members.len() < 2 {
        return Vec::new();
    }
    let step = members.len().div_ceil(TRANSFERRED).max(1);
    let chosen: Vec<&Run> = members.iter().step_by(step).copied().collect();
    let Some(p) = fitted(&chosen, catalogs, name) else { return Vec::new() };
    others.iter().flat_map(|r| predicted(catalogs, Some(&p), r, Basis::Transfer, name)).collect()
}

/// Runs the jobs on all cores.
fn all(jobs: Vec<Job<'_>>) -> Vec<Row> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|s| {
        for _ in 0..cores {
            s.spawn(|| {
                loop {
                    let i = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(job) = jobs.get(i) else { break };
                    let rows = job();
                    done.lock().expect("no worker panicked").insert(i, rows);
                }
            });
        }
    });
    done.into_inner().expect("no worker panicked").into_values().flatten().collect()
}
