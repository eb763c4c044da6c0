//! A campaign on a virtual clock: everything but the launches is the program's own.

#![expect(clippy::print_stderr, reason = "says why it ended")]

use llm_dyno::cost::{Catalogs, Predictor};
use llm_dyno::error::{Error, Result};
use llm_dyno::host::since_epoch;
use llm_dyno::launch::{Candidate, EngineKind, FlagValue};
use llm_dyno::scenario::{Key, Record};
use llm_dyno::store::plan::Strategy;
use llm_dyno::store::{DirLock, Journal, Plan, RunFile, read_run, run::SCHEMA, write_run};
use llm_dyno::trial::{LaunchFacts, Measured, Outcome, TrialResult, TrialSpec};
use llm_dyno::tune::forecaster::SimForecaster;
use llm_dyno::tune::observed::Observed;
use llm_dyno::tune::{
    Campaign, Cancel, Ended, Launcher, PlannedSpaces, Runner, Silent, TuneRequest, standing,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Set where the search is to be guided by the cost model, which takes longer.
pub(crate) const GUIDED: &str = "FAULTS_GUIDED";
/// Scatter of a run.
const NOISE: f64 = 0.005;
/// Real time that a launch takes, so that a kill finds one in flight.
const LAUNCH: Duration = Duration::from_millis(12);
/// Engine version of the virtual engine; another one stands for an upgrade.
const VERSION: &str = "0.32.0";

/// Begins the campaign in `dir`, or goes on with it.
pub(crate) fn run(dir: &Path) -> ExitCode {
    match begin_or_resume(dir) {
        Ok(Ended::Finished(_)) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(3),
        Err(e) => {
            eprintln!("{e}");
            ExitCode::from(e.kind.exit_code())
        }
    }
}

fn begin_or_resume(dir: &Path) -> Result<Ended> {
    std::fs::create_dir_all(dir.join("trials"))
        .map_err(|e| Error::usage("the output directory cannot be written").source(e))?;
    let _lock = DirLock::acquire(dir)?;
    let run = if dir.join("run.json").exists() { read_run(dir)? } else { begun(dir)? };
    let (journal, contents) = Journal::resume(dir, &run.run_id)?;
    let mut standing = standing(contents.trials, &run.plan, false);
    standing.trials.extend(contents.apart);
    let spaces = PlannedSpaces::new(&run.plan)?;
    let mut launcher = Virtual {
        catalogs: Catalogs::load(None)?,
        scenarios: SimForecaster::new(
            &run.plan,
            EngineKind::Emulated,
            Some(VERSION.into()),
            Observed::default(),
        )?,
    };
    let (mut silent, cancel) = (Silent, Cancel::default());
    let recorded = (journal, standing.trials);
    let runner = Runner::new(&run.plan, dir, recorded, &mut launcher, &mut silent, cancel);
    Ok(Campaign { runner, spaces: &spaces }.run()?.ended)
}

fn begun(dir: &Path) -> Result<RunFile> {
    let run = RunFile {
        schema: SCHEMA,
        dyno_version: env!("CARGO_PKG_VERSION").to_owned(),
        run_id: "virtual".to_owned(),
        created_unix_s: since_epoch().as_secs_f64(),
        plan: plan()?,
        invocation: Vec::new(),
        machine: Vec::new(),
    };
    write_run(dir, &run)?;
    Ok(run)
}

fn plan() -> Result<Plan> {
    let text = |s: &str| Some(s.to_owned());
    let one_factor = std::env::var_os(GUIDED).is_none();
    TuneRequest {
        model: text("Qwen/Qwen3-8B"),
        engines: vec!["emulated".into()],
        workloads: vec!["random:500/32,n=40".into(), "random:64/8,n=8".into()],
        seed: 1,
        hardware: text("a100-sxm-80gb"),
        allow_output_change: text("none"),
        strategy: if one_factor { Strategy::OneFactor } else { Strategy::Model },
        flags: vec!["max-num-seqs,max-num-batched-tokens,block-size,stream-interval".into()],
        ready_timeout: "60s".into(),
        run_timeout: "60s".into(),
        ..TuneRequest::default()
    }
    .plan(|| Err("no hardware here".to_owned()))
}

/// Answers each launch with a prediction and seeded noise.
struct Virtual {
    catalogs: Catalogs,
    scenarios: SimForecaster,
}

impl Launcher for Virtual {
    fn launch(&mut self, spec: &TrialSpec) -> Result<TrialResult> {
        std::thread::sleep(LAUNCH);
        let mut runs = Vec::new();
        let once = spec.workloads.len() - spec.measured_once;
        for (at, workload) in spec.workloads.iter().enumerate() {
            let scenario = self.scenarios.scenario(&spec.candidate, workload);
            let predictor = Predictor { draws: 0, ..Predictor::new(&self.catalogs, None) };
            let metrics = predictor.predict(&scenario, false)?.metrics();
            for repeat in 0..if at < once { spec.repeats } else { 1 } {
                let repeat = spec.first_repeat + repeat;
                let factor = noise(&spec.id, at, repeat) * planted(&spec.candidate);
                let mut result = metrics.clone();
                for (key, value) in &metrics.known {
                    let turned = if key.higher_is_better() { *value / factor } else { *value * factor };
                    result.set(*key, turned);
                }
                result.set(Key::Completed, f64::from(workload.num_prompts.unwrap_or(0)));
                let observation = Record { result: Some(result), ..scenario.clone() };
                runs.push(Measured {
                    workload: workload.clone(),
                    repeat,
                    observation,
                    cache_hit_ratio: Some(0.0),
                    invalid: Vec::new(),
                    doubts: Vec::new(),
                    started_unix_s: since_epoch().as_secs_f64(),
                    wall_s: 1.0,
                });
            }
        }
        let facts = LaunchFacts { version: Some(VERSION.into()), ..LaunchFacts::default() };
        Ok(TrialResult {
            spec: spec.clone(),
            outcome: Outcome::Measured { facts, runs },
            started_unix_s: since_epoch().as_secs_f64(),
            wall_s: 10.0,
            leftovers: Vec::new(),
            first_failure: None,
            placement: None,
        })
    }
}

/// A gain that no cost model knows, so that there is something to find and to confirm.
fn planted(candidate: &Candidate) -> f64 {
    if candidate.flags.get("block-size") == Some(&FlagValue::Int(32)) { 0.92 } else { 1.0 }
}

/// By the trial's number, so that a resumed campaign measures what an undisturbed one does.
fn noise(id: &str, workload: usize, repeat: u32) -> f64 {
    let number: u64 = id.split('-').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut rng =
        ChaCha8Rng::seed_from_u64(number * 1_000_000 + workload as u64 * 10_000 + u64::from(repeat));
    Normal::new(0.0, NOISE).map_or(1.0, |n| f64::exp(n.sample(&mut rng)))
}
