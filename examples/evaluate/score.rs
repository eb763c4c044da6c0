//! Predictions of left-out runs, one row a key.

use crate::data::{Run, by_launch, small_fit};
use llm_dyno::cost::calibration::Calibration;
use llm_dyno::cost::conditions::Conditions;
use llm_dyno::cost::fit::{fit_over, label};
use llm_dyno::cost::habits::Likely;
use llm_dyno::cost::law::Law;
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
    /// Two or three runs of its own group.
    SmallFit,
    /// Physics and the public fits of other groups.
    Prior,
    /// As `Prior`, without any public fit of the same kind of model, GPU and engine.
    Unseen,
    /// A fit on another model of the same GPU.
    Transfer,
}

impl Basis {
    pub(crate) const ALL: [Basis; 4] = [Basis::SmallFit, Basis::Prior, Basis::Unseen, Basis::Transfer];

    pub(crate) fn id(self) -> &'static str {
        match self {
            Basis::SmallFit => "small fit",
            Basis::Prior => "prior",
            Basis::Unseen => "prior, kind left out",
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
    /// Of the third that was blind until it was opened.
    pub(crate) opened: bool,
    pub(crate) law: Law,
    pub(crate) conditions: Conditions,
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

/// What stands behind the predictions.
pub(crate) struct Scorer<'a> {
    pub(crate) catalogs: &'a Catalogs,
    /// Fits of public groups; those of the predicted group are left out.
    pub(crate) base: &'a Profile,
    pub(crate) calibration: &'a Calibration,
    /// Readings of what the scenarios leave open, by launch, as the small fits inferred them.
    pub(crate) inferred: Mutex<BTreeMap<String, Vec<Likely>>>,
}

impl Scorer<'_> {
    fn base_without(&self, run: &Run, kind_too: bool) -> Profile {
        let kept = |g: &&llm_dyno::cost::profile::GroupFit| {
            let same_kind = g.hardware == run.key.hardware
                && g.engine == run.key.engine
                && g.kind.is_some_and(|k| k.id() == run.kind);
            g.key() != run.key && !(kind_too && same_kind)
        };
        Profile { groups: self.base.groups.iter().filter(kept).cloned().collect(), ..self.base.clone() }
    }

    fn predicted(
        &self,
        profile: Option<&Profile>,
        base: &Profile,
        run: &Run,
        basis: Basis,
        from: &str,
    ) -> Vec<Row> {
        let calibration = Some(self.calibration);
        let predictor = Predictor { base, calibration, ..Predictor::new(self.catalogs, profile) };
        let p = match predictor.predict(&scenario_of(&run.record), false) {
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
                opened: run.opened,
                group: run.group.clone(),
                devices: run.devices,
                kind: run.kind,
                basis,
                from: from.to_owned(),
                label: label(&run.record),
                key: name,
                law: p.laws.get(&key)?.clone(),
                conditions: p.conditions,
                measured,
                value: b.value,
                p05: b.p05,
                p95: b.p95,
            })
        };
        SCORED.into_iter().filter_map(row).collect()
    }

    fn fitted(&self, runs: &[&Run], base: &Profile, name: &str) -> Option<Profile> {
        fit_over(&records(runs), &[], self.catalogs, base).map_err(|e| eprintln!("fit of {name}: {e}")).ok()
    }

    /// Scores `runs` on the bases asked for.
    pub(crate) fn score(&self, runs: &[Run], bases: &[Basis]) -> Vec<Row> {
        let launches = by_launch(runs);
        let mut jobs: Vec<Job<'_>> = Vec::new();
        for (name, members) in &launches {
            for (basis, kind_too) in [(Basis::Prior, false), (Basis::Unseen, true)] {
                if bases.contains(&basis) {
                    jobs.push(Box::new(move || {
                        let base = self.base_without(members[0], kind_too);
                        members.iter().flat_map(|r| self.predicted(None, &base, r, basis, "")).collect()
                    }));
                }
            }
            let (fit, rest) = small_fit(members);
            if bases.contains(&Basis::SmallFit) && !rest.is_empty() && fit.len() > 1 {
                jobs.push(Box::new(move || {
                    let base = self.base_without(fit[0], false);
                    let Some(p) = self.fitted(&fit, &base, name) else { return Vec::new() };
                    for g in p.groups.iter().filter(|g| !g.habits.is_empty()) {
                        self.inferred
                            .lock()
                            .expect("no worker panicked")
                            .insert(name.clone(), g.habits.clone());
                    }
                    rest.iter()
                        .flat_map(|r| self.predicted(Some(&p), &base, r, Basis::SmallFit, ""))
                        .collect()
                }));
            }
            if bases.contains(&Basis::Transfer) {
                jobs.push(Box::new(|| self.transfers(name, &launches)));
            }
        }
        all(jobs)
    }

    /// Fits one launch and predicts every other model on the same GPU with the same engine or another.
    fn transfers(&self, name: &str, launches: &BTreeMap<String, Vec<&Run>>) -> Vec<Row> {
        let members = &launches[name];
        // Pairs grow with the square of the launches: those of the large set from outside are left out.
        if members[0].apart {
            return Vec::new();
        }
        let others: Vec<&Run> = launches
            .values()
            .filter(|l| {
                !l[0].apart
                    && l[0].key.hardware == members[0].key.hardware
                    && l[0].key.model != members[0].key.model
            })
            .flat_map(|l| spread(l, TRANSFERRED))
            .collect();
        if others.is_empty() || members.len() < 2 {
            return Vec::new();
        }
        let base = self.base_without(members[0], false);
        let Some(p) = self.fitted(&spread(members, FITTED), &base, name) else { return Vec::new() };
        let predict =
            |r: &&Run| self.predicted(Some(&p), &self.base_without(r, false), r, Basis::Transfer, name);
        others.iter().flat_map(predict).collect()
    }

    /// One fit a group on runs of all its launches, over physics alone: what other groups may learn from.
    pub(crate) fn public_fits(&self, runs: &[Run]) -> Profile {
        let mut groups: BTreeMap<String, Vec<&Run>> = BTreeMap::new();
        for l in by_launch(runs).values() {
            groups.entry(l[0].group.clone()).or_default().extend(spread(l, FITTED));
        }
        let physics = Profile::default();
        let done = Mutex::new(BTreeMap::new());
        let jobs: Vec<Job<'_>> = groups
            .iter()
            .filter(|(_, members)| members.len() > 1)
            .map(|(name, members)| {
                let (done, physics) = (&done, &physics);
                Box::new(move || {
                    if let Some(p) = self.fitted(members, physics, name) {
                        done.lock().expect("no worker panicked").insert(name.clone(), p);
                    }
                    Vec::new()
                }) as Job<'_>
            })
            .collect();
        all(jobs);
        let fits = done.into_inner().expect("no worker panicked");
        let mut groups: Vec<_> = fits.into_values().flat_map(|p| p.groups).collect();
        for g in &mut groups {
            g.residuals.clear();
            g.noise.clear();
            round(g);
        }
        let provenance = vec!["reports/data; `cargo run --release --example evaluate -- --learn`".to_owned()];
        Profile { schema: Profile::SCHEMA, provenance, groups }
    }
}

/// Five digits are more than a fit knows.
fn round(g: &mut llm_dyno::cost::profile::GroupFit) {
    let short = |v: &mut f64| *v = format!("{v:.4e}").parse().unwrap_or(*v);
    g.covariance.iter_mut().flatten().for_each(short);
    g.log_shift.iter_mut().for_each(short);
    g.cost_before = g.cost_before.round();
    g.cost_after = g.cost_after.round();
}

fn records(runs: &[&Run]) -> Vec<Record> {
    runs.iter().map(|r| r.record.clone()).collect()
}

/// Most runs of a launch that are predicted in a transfer, and that a public fit is made on.
const TRANSFERRED: usize = 4;
const FITTED: usize = 6;

/// At most `most` of them, evenly chosen.
pub(crate) fn spread<'a>(runs: &[&'a Run], most: usize) -> Vec<&'a Run> {
    let step = runs.len().div_ceil(most).max(1);
    runs.iter().step_by(step).copied().collect()
}

/// Runs the jobs on all cores.
fn all(jobs: Vec<Job<'_>>) -> Vec<Row> {
    in_parallel(&jobs, |job| job()).into_iter().flatten().collect()
}

/// What `work` makes of each item, in their order, on all cores.
pub(crate) fn in_parallel<I: Sync, O: Send>(items: &[I], work: impl Fn(&I) -> O + Sync) -> Vec<O> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|s| {
        for _ in 0..cores {
            s.spawn(|| {
                loop {
                    let i = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(item) = items.get(i) else { break };
                    let made = work(item);
                    done.lock().expect("no worker panicked").insert(i, made);
                }
            });
        }
    });
    done.into_inner().expect("no worker panicked").into_values().collect()
}
