//! The search with the closed-form screen beside the search without it.

use super::{Draw, Hidden, NOISE, VERSION, begin, calibrate, forecaster, plan, stopped};
use llm_dyno::cost::Catalogs;
use llm_dyno::error::Result;
use llm_dyno::launch::{Candidate, EngineKind, FlagValue};
use llm_dyno::search::{Forecaster, Knob, Objective, Screening, Search, Space, SpaceOutcome};
use llm_dyno::store::Plan;
use llm_dyno::tune::forecaster::SimForecaster;
use llm_dyno::tune::observed::Observed;
use llm_dyno::tune::{PlannedSpaces, Spaces};
use std::time::{Duration, Instant};

/// The campaign's forecaster with the screen or without, and the time that its refits took.
struct Timed {
    inner: SimForecaster,
    screens: bool,
    fits: Duration,
}

impl Forecaster for Timed {
    fn score(&mut self, c: &Candidate) -> Option<f64> {
        self.inner.score(c)
    }
    fn score_without_slo(&mut self, c: &Candidate) -> Option<f64> {
        self.inner.score_without_slo(c)
    }
    fn screen(&mut self, c: &Candidate) -> Screening {
        if self.screens { self.inner.screen(c) } else { Screening::Uncovered }
    }
    fn learn(&mut self) -> bool {
        let begin = Instant::now();
        let changed = self.inner.learn();
        self.fits += begin.elapsed();
        changed
    }
}

/// A finer grid over the embedded engine's flags than its own space: 19,200 combinations.
struct Grid {
    knobs: Vec<Knob>,
}

impl Grid {
    fn new() -> Grid {
        let ints = |flag: &str, values: &[i64]| Knob {
            flag: flag.to_owned(),
            values: values.iter().map(|v| FlagValue::Int(*v)).collect(),
            modelled: true,
        };
        let set =
            |flag: &str| Knob { flag: flag.to_owned(), values: vec![FlagValue::Bool(true)], modelled: true };
        let memory = [0.85, 0.95].map(FlagValue::Float).to_vec();
        Grid {
            knobs: vec![
                ints("max-num-batched-tokens", &[512, 1024, 1536, 3072, 4096, 6144, 8192, 12288, 16384]),
                ints("max-num-seqs", &[32, 64, 96, 128, 192, 384, 512]),
                set("async-scheduling"),
                Knob { flag: "gpu-memory-utilization".into(), values: memory, modelled: true },
                ints("block-size", &[32]),
                set("enforce-eager"),
                ints("long-prefill-token-threshold", &[256, 512, 1024, 2048]),
                ints("max-cudagraph-capture-size", &[64, 128]),
            ],
        }
    }
}

impl Space for Grid {
    fn knobs(&self) -> &[Knob] {
        &self.knobs
    }
    fn admits(&self, c: &Candidate) -> bool {
        let int = |flag: &str, default: i64| match c.flags.get(flag) {
            Some(FlagValue::Int(v)) => *v,
            _ => default,
        };
        let eager =
            c.flags.contains_key("enforce-eager") && c.flags.contains_key("max-cudagraph-capture-size");
        int("max-num-batched-tokens", 2048) >= int("max-num-seqs", 256) && !eager
    }
}

struct Run {
    winner: Candidate,
    gain: f64,
    launches: usize,
    swept: SpaceOutcome,
    forecasting: Duration,
}

fn run(plan: &Plan, catalogs: &Catalogs, space: &dyn Space, seed: u64, screens: bool) -> Result<Run> {
    let observed = Observed::default();
    let (mut ev, base, mut ledger) = begin(plan, catalogs, Draw { seed, noise: NOISE }, &observed)?;
    calibrate(&mut ev, &base)?;
    ev.launches = 0;
    let mut f = Timed { inner: forecaster(plan, &observed)?, screens, fits: Duration::ZERO };
    let begin = Instant::now();
    let (winner, swept) =
        Search { evaluator: &mut ev, space, base: &base, ledger: &mut ledger, settings: &plan.settings }
            .guided(&mut f)
            .map_err(stopped)?;
    let forecasting = begin.elapsed().saturating_sub(f.fits);
    let truth = |ev: &Hidden<'_>, c: &Candidate| ev.truth(c).unwrap_or(f64::NEG_INFINITY);
    let gain = truth(&ev, &winner) - truth(&ev, &base);
    Ok(Run { gain, launches: ev.launches, winner, swept, forecasting })
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn compare(name: &str, plan: &Plan, space: &dyn Space, seeds: u64) -> Result<()> {
    let catalogs = Catalogs::load(None)?;
    let (mut same, mut as_good, mut launches) = (0, 0, (0, 0));
    let (mut share, mut bands) = (Vec::new(), Vec::new());
    let (mut with, mut without) = (Duration::ZERO, Duration::ZERO);
    let mut considered = 0;
    for seed in 0..seeds {
        let screened = run(plan, &catalogs, space, seed, true)?;
        let full = run(plan, &catalogs, space, seed, false)?;
        same += u64::from(screened.winner == full.winner);
        as_good += u64::from(screened.gain >= full.gain - NOISE);
        launches = (launches.0 + screened.launches, launches.1 + full.launches);
        considered = full.swept.considered;
        share.push(screened.swept.coverage.simulated as f64 / considered as f64);
        bands.push(screened.swept.coverage.band);
        (with, without) = (with + screened.forecasting, without + full.forecasting);
        if screened.winner != full.winner {
            println!(
                "    seed {seed}: `{}` {:+.2} %, without the screen `{}` {:+.2} %",
                screened.winner.label(),
                100.0 * screened.gain.exp_m1(),
                full.winner.label(),
                100.0 * full.gain.exp_m1()
            );
        }
    }
    let median = |mut v: Vec<f64>| {
        v.sort_by(f64::total_cmp);
        (100.0 * v[v.len() / 2], 100.0 * v[v.len() - 1])
    };
    let (share, bands) = (median(share), median(bands));
    println!(
        "| {name} | {considered} | {:.1} % (most {:.1} %) | {:.1} % (most {:.1} %) | {:.2} s | {:.2} s | {same} of \
         {seeds} | {as_good} of {seeds} | {} / {} |",
        share.0,
        share.1,
        bands.0,
        bands.1,
        with.as_secs_f64() / seeds as f64,
        without.as_secs_f64() / seeds as f64,
        launches.0,
        launches.1
    );
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
pub(super) fn main(seeds: u64, only: &str) -> Result<()> {
    println!(
        "| Load, objective | Candidates | Simulated | Band | Forecasting with the screen | without | Same choice | As \
         good | Launches |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    for (workload, objective) in [
        ("sharegpt,n=200", None),
        ("random:2000/100,n=200", None),
        ("random:512/128,n=300,concurrency=64", None),
        ("random:512/128,n=300,rate=8", Some("mean_ttft_ms")),
        ("sharegpt,n=200", Some("mean_tpot_ms")),
        ("random:512/128,n=300,rate=8", None),
    ] {
        let mut plan = plan(workload)?;
        if let Some(o) = objective {
            plan.objective = o.parse::<Objective>().map_err(llm_dyno::error::Error::usage)?;
        }
        let own = PlannedSpaces::new(&plan)?.space(EngineKind::Emulated, Some(VERSION))?;
        let spaces: [(&str, &dyn Space); 2] = [("own space", own.as_ref()), ("fine grid", &Grid::new())];
        for (kind, space) in spaces {
            let name = format!("{workload}, {}, {kind}", plan.objective);
            if name.contains(only) {
                compare(&name, &plan, space, seeds)?;
            }
        }
    }
    Ok(())
}
