//! Model-guided search against the one-factor campaign on an engine whose coefficients are hidden from both.
//!
//! Each seed scales every coefficient of the cost model by its own factor between 0.7 and 1.4. The engine is
//! the simulator with those coefficients and 0.5 % noise a run; the searches see only what launches give.
//! Gains are the noise-free ones of what each search chose.
//!
//! `cargo run --release --example hidden_coefficients [-- SEEDS [--noise PERCENT]]`
//!
//! With `--served DIR` the engine is the embedded one, started by `dyno tune` itself as a server in real time: two whole
//! campaigns a seed, several minutes each. Their records stay under DIR, and a second call goes on where one ended.
//!
//! `cargo run --release --example hidden_coefficients -- 10 --served DIR [--jobs CAMPAIGNS_AT_A_TIME] [--requests N]`
//!
//! With `--screen` the model-guided search runs twice a seed, with the closed-form screen and without it, on several
//! loads and on a space of more than 10,000 candidates: what the screen saves, and whether the choice stays the same.
//! A word after it picks the loads whose name holds it.
//!
//! `cargo run --release --example hidden_coefficients -- 20 --screen`

mod screen;
mod served;

use llm_dyno::cost::{Catalogs, Coefficients, Setup};
use llm_dyno::error::Result;
use llm_dyno::launch::{Candidate, EngineKind};
use llm_dyno::scenario::Record;
use llm_dyno::search::{
    Answer, Ask, Evaluator, FailedLaunch, Ledger, Runs, Sample, Scope, Search, Space, Stage, Stop,
};
use llm_dyno::store::Plan;
use llm_dyno::tune::forecaster::SimForecaster;
use llm_dyno::tune::observed::{Observed, probes};
use llm_dyno::tune::{PlannedSpaces, Spaces, TuneRequest};
use llm_dyno::workload::WorkloadSpec;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

const NOISE: f64 = 0.005;
const VERSION: &str = "0.11.0";

/// The simulator with hidden coefficients in the place of an engine.
struct Hidden<'a> {
    plan: &'a Plan,
    catalogs: &'a Catalogs,
    /// Makes scenarios of candidates.
    scenarios: SimForecaster,
    coefficients: Coefficients,
    observed: Observed,
    rng: ChaCha8Rng,
    noise: f64,
    launches: usize,
}

impl Hidden<'_> {
    fn run(&self, candidate: &Candidate, workload: &WorkloadSpec) -> Option<Record> {
        let scenario = self.scenarios.scenario(candidate, workload);
        let setup = Setup::new(&scenario, self.catalogs).ok()?;
        if !setup.memory.refusals.is_empty() {
            return None;
        }
        let result = setup.simulate(&self.coefficients, false).metrics;
        Some(Record { result: Some(result), ..scenario })
    }

    /// Log objective without noise.
    fn truth(&self, candidate: &Candidate) -> Option<f64> {
        let observation = self.run(candidate, &self.plan.primary().spec)?;
        self.plan.objective.score(&observation, &self.plan.slo)
    }
}

impl Evaluator for Hidden<'_> {
    fn evaluate(&mut self, ask: &Ask) -> std::result::Result<Answer, Stop> {
        self.launches += 1;
        if ask.runs.scope == Scope::Probes {
            let seen =
                probes(self.plan.seed).iter().filter_map(|w| self.run(&ask.candidate, w)).collect::<Vec<_>>();
            for r in &seen {
                self.observed.add(r);
            }
            return Ok(Answer::default());
        }
        let Some(score) = self.truth(&ask.candidate) else {
            let text = "refused".to_owned();
            let failure =
                FailedLaunch { class: text.clone(), root_cause: text.clone(), hint: text, memory: false };
            return Ok(Answer { samples: Vec::new(), failure: Some(failure) });
        };
        if let Some(r) = self.run(&ask.candidate, &self.plan.primary().spec) {
            self.observed.add(&r);
        }
        let noise = Normal::new(0.0, self.noise).expect("a positive spread");
        let repeats = ask.runs.first_repeat..ask.runs.first_repeat + ask.runs.repeats;
        let samples = repeats.map(|repeat| Sample { repeat, score: score + noise.sample(&mut self.rng) });
        Ok(Answer { samples: samples.collect(), failure: None })
    }
    fn affordable(&self) -> bool {
        true
    }
}

fn plan(workload: &str) -> Result<Plan> {
    TuneRequest {
        model: Some("openai/gpt-oss-20b".into()),
        engines: vec!["emulated".into()],
        workloads: vec![workload.to_owned()],
        hardware: Some("a100-sxm-80gb".into()),
        ready_timeout: "1m".into(),
        run_timeout: "1m".into(),
        fixed_args: vec!["--emulate-version".into(), VERSION.into()],
        ..TuneRequest::default()
    }
    .plan(|| Err(String::new()))
}

/// Launches of the search (baselines and confirmation, which both ways need alike, not counted) and the true
/// gain of what was chosen.
struct Found {
    launches: usize,
    gain: f64,
    label: String,
}

/// The logarithms of the hidden factors, and the generator that goes on with the noise.
fn hidden_factors(seed: u64) -> (Vec<f64>, ChaCha8Rng) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let factors =
        Coefficients::default().to_vec().iter().map(|_| rng.random_range(0.7f64..1.4).ln()).collect();
    (factors, rng)
}

fn stopped(s: Stop) -> llm_dyno::error::Error {
    match s {
        Stop::Error(e) => e,
        Stop::Interrupted => llm_dyno::error::Error::failed("interrupted"),
    }
}

/// Which engine is hidden, and the spread of its runs.
#[derive(Clone, Copy)]
struct Draw {
    seed: u64,
    noise: f64,
}

/// What a search begins with: a hidden engine whose defaults were launched twice.
fn begin<'a>(
    plan: &'a Plan,
    catalogs: &'a Catalogs,
    draw: Draw,
    observed: &Observed,
) -> Result<(Hidden<'a>, Candidate, Ledger)> {
    let (factors, rng) = hidden_factors(draw.seed);
    let mut ev = Hidden {
        plan,
        catalogs,
        scenarios: forecaster(plan, &Observed::default())?,
        coefficients: Coefficients::default().shifted(&factors),
        observed: observed.clone(),
        rng,
        noise: draw.noise,
        launches: 0,
    };
    let base = Candidate::baseline(EngineKind::Emulated);
    let mut ledger = Ledger::default();
    for launch in 0..2 {
        let ask = Ask { stage: Stage::Baseline, candidate: base.clone(), launch, runs: Runs::primary(0, 3) };
        ledger.run(&mut ev, &ask).map_err(stopped)?;
    }
    ev.launches = 0;
    Ok((ev, base, ledger))
}

fn forecaster(plan: &Plan, observed: &Observed) -> Result<SimForecaster> {
    SimForecaster::new(plan, EngineKind::Emulated, Some(VERSION.to_owned()), observed.clone())
}

fn calibrate(ev: &mut Hidden<'_>, base: &Candidate) -> Result<()> {
    let ask = Ask { stage: Stage::Calibrate, candidate: base.clone(), launch: 0, runs: Runs::probes() };
    ev.evaluate(&ask).map(|_| ()).map_err(stopped)
}

fn search(plan: &Plan, catalogs: &Catalogs, space: &dyn Space, draw: Draw, model: bool) -> Result<Found> {
    let observed = Observed::default();
    let (mut ev, base, mut ledger) = begin(plan, catalogs, draw, &observed)?;
    if model {
        calibrate(&mut ev, &base)?;
    }
    let mut s =
        Search { evaluator: &mut ev, space, base: &base, ledger: &mut ledger, settings: &plan.settings };
    let winner = if model {
        let mut f = forecaster(plan, &observed)?;
        s.guided(&mut f).map_err(stopped)?.0
    } else {
        s.one_factor().map_err(stopped)?
    };
    let level = ev.truth(&base).unwrap_or_default();
    let gain = ev.truth(&winner).unwrap_or(f64::NEG_INFINITY) - level;
    Ok(Found { launches: ev.launches, gain, label: winner.label() })
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let seeds: u64 = args.first().and_then(|a| a.parse().ok()).unwrap_or(10);
    let after = |flag: &str| Some(args.get(args.iter().position(|a| a == flag)? + 1)?.as_str());
    if args.iter().any(|a| a == "--served") {
        let number = |flag: &str| after(flag).and_then(|n| n.parse::<u32>().ok());
        let served = served::Served {
            dir: std::path::Path::new(after("--served").unwrap_or("hidden-served")),
            requests: number("--requests").unwrap_or(60),
            jobs: number("--jobs").unwrap_or(2) as usize,
        };
        return served::main(seeds, served);
    }
    if let Some(at) = args.iter().position(|a| a == "--screen") {
        return screen::main(seeds, args.get(at + 1).map_or("", String::as_str));
    }
    let plan = plan("sharegpt,n=200")?;
    let catalogs = Catalogs::load(None)?;
    let space = PlannedSpaces::new(&plan)?.space(EngineKind::Emulated, Some(VERSION))?;
    let noise = after("--noise").and_then(|n| n.parse::<f64>().ok());
    let noise = noise.map_or(NOISE, |percent| percent / 100.0);
    println!("| Seed | One factor: launches | true gain | Model-guided: launches | true gain | its choice |");
    println!("|--:|--:|--:|--:|--:|---|");
    let (mut as_good, mut half) = (0, 0);
    for seed in 0..seeds {
        let draw = Draw { seed, noise };
        let a = search(&plan, &catalogs, space.as_ref(), draw, false)?;
        let b = search(&plan, &catalogs, space.as_ref(), draw, true)?;
        // Below the noise of one run nobody could tell them apart.
        as_good += u64::from(b.gain >= a.gain - NOISE);
        half += u64::from(2 * b.launches <= a.launches);
        println!(
            "| {seed} | {} | {:+.2} % | {} | {:+.2} % | `{}` |",
            a.launches,
            100.0 * a.gain.exp_m1(),
            b.launches,
            100.0 * b.gain.exp_m1(),
            b.label
        );
    }
    println!(
        "\nModel-guided at least as good: {as_good} of {seeds}; with at most half of the launches: {half} of {seeds}."
    );
    Ok(())
}
