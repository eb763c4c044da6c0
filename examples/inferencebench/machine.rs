//! The hidden machine of one landscape, its scenario, and what a launch on it gives.

use llm_dyno::cost::{Catalogs, Coefficients, Setup};
use llm_dyno::error::{Error, Result};
use llm_dyno::launch::{Candidate, EngineKind};
use llm_dyno::scenario::{AcceptanceInput, Record};
use llm_dyno::search::{Answer, Ask, Evaluator, FailedLaunch, Knob, Sample, Scope, Space, Stop};
use llm_dyno::store::Plan;
use llm_dyno::tune::forecaster::SimForecaster;
use llm_dyno::tune::observed::{Observed, probes};
use llm_dyno::tune::{PlannedSpaces, Spaces, TuneRequest};
use llm_dyno::workload::WorkloadSpec;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use std::cell::RefCell;
use std::collections::HashMap;

/// Release of the benchmark's container.
const VERSION: &str = "0.11.0";
/// Scenario, workload (as few requests as the kit takes while tuning) and objective.
const SCENARIOS: [(&str, &str, &str); 4] = [
    ("A", "inferencebench-a,n=6", "ttft"),
    ("B", "inferencebench-b,n=2", "tpot"),
    ("C", "inferencebench-c-burst,n=192", "request-throughput"),
    ("D", "inferencebench-d,n=12", "e2e"),
];
const FLAGS: [&str; 11] = [
    "max-num-seqs",
    "max-num-batched-tokens",
    "gpu-memory-utilization",
    "block-size",
    "enable-chunked-prefill",
    "enable-prefix-caching",
    "enforce-eager",
    "quantization",
    "kv-cache-dtype",
    "attention-backend",
    "speculative-config",
];
/// Log scale: of a launch, of a run.
const NOISE: (f64, f64) = (0.01, 0.004);

pub(crate) fn stopped(s: Stop) -> Error {
    match s {
        Stop::Error(e) => e,
        Stop::Interrupted => Error::failed("interrupted"),
    }
}

/// The defaults.
pub(crate) fn base() -> Candidate {
    Candidate::baseline(EngineKind::Emulated)
}

/// One scenario on one hidden machine.
pub(crate) struct Task {
    pub(crate) number: u64,
    pub(crate) name: &'static str,
    pub(crate) knobs: Vec<Knob>,
    plan: Plan,
    catalogs: Catalogs,
    scenarios: SimForecaster,
    coefficients: Coefficients,
    acceptance: f64,
    /// Log factors of FlashInfer's and Triton's attention on what is scored.
    backends: [f64; 2],
    known: RefCell<HashMap<String, Option<f64>>>,
    summit: RefCell<Option<(Candidate, f64)>>,
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "scenario {} on machine {}", self.name, self.number / 4)
    }
}

impl Task {
    pub(crate) fn new(number: u64) -> Result<Task> {
        let (name, workload, objective) = SCENARIOS[(number % 4) as usize];
        let plan = plan(workload, objective)?;
        let mut rng = ChaCha8Rng::seed_from_u64(0x1b00 + number / 4);
        let factors: Vec<f64> =
            Coefficients::default().to_vec().iter().map(|_| rng.random_range(0.7f64..1.4).ln()).collect();
        let scenarios =
            SimForecaster::new(&plan, EngineKind::Emulated, Some(VERSION.to_owned()), Observed::default())?;
        let mut task = Task {
            number,
            name,
            knobs: Vec::new(),
            catalogs: Catalogs::load(None)?,
            scenarios,
            coefficients: Coefficients::default().shifted(&factors),
            acceptance: rng.random_range(0.3..0.85),
            backends: [rng.random_range(-0.04..0.06), rng.random_range(-0.12..0.03)],
            plan,
            known: RefCell::default(),
            summit: RefCell::default(),
        };
        task.knobs = task.space()?.knobs().to_vec();
        Ok(task)
    }

    pub(crate) fn space(&self) -> Result<Box<dyn Space>> {
        PlannedSpaces::new(&self.plan)?.space(EngineKind::Emulated, Some(VERSION))
    }

    pub(crate) fn candidate(&self, set: &[usize]) -> Candidate {
        let on = set.iter().enumerate().filter(|(_, v)| **v > 0);
        on.fold(base(), |c, (k, v)| c.with(&self.knobs[k].flag, self.knobs[k].values[v - 1].clone()))
    }

    fn run(&self, candidate: &Candidate, workload: &WorkloadSpec) -> Option<Record> {
        let mut scenario = self.scenarios.scenario(candidate, workload);
        if candidate.flags.contains_key("speculative-config") {
            scenario.acceptance = Some(AcceptanceInput::Rate(self.acceptance));
        }
        let setup = Setup::new(&scenario, &self.catalogs).ok()?;
        if !setup.memory.refusals.is_empty() {
            return None;
        }
        let result = setup.simulate(&self.coefficients, false).metrics;
        Some(Record { result: Some(result), ..scenario })
    }

    /// Log objective without noise; `None` where it does not start.
    pub(crate) fn truth(&self, candidate: &Candidate) -> Option<f64> {
        let label = candidate.label();
        if let Some(known) = self.known.borrow().get(&label) {
            return *known;
        }
        let observed = self.run(candidate, &self.plan.primary().spec);
        let backend = match candidate.flags.get("attention-backend").map(ToString::to_string).as_deref() {
            Some("FLASHINFER") => self.backends[0],
            Some("TRITON_ATTN") => self.backends[1],
            _ => 0.0,
        };
        let score = observed.and_then(|o| self.plan.objective.score(&o, &self.plan.slo)).map(|s| s + backend);
        self.known.borrow_mut().insert(label, score);
        score
    }

    pub(crate) fn level(&self) -> f64 {
        self.truth(&base()).unwrap_or_default()
    }

    pub(crate) fn best(&self) -> f64 {
        self.summit().1
    }

    /// The best command and its log objective.
    pub(crate) fn summit(&self) -> (Candidate, f64) {
        if let Some(found) = self.summit.borrow().clone() {
            return found;
        }
        let found = self.climb();
        *self.summit.borrow_mut() = Some(found.clone());
        found
    }

    fn climb(&self) -> (Candidate, f64) {
        let Ok(space) = self.space() else { return (base(), self.level()) };
        let score = |set: &[usize]| {
            let c = self.candidate(set);
            let score = space.admits(&c).then(|| self.truth(&c)).flatten();
            score.unwrap_or(f64::NEG_INFINITY)
        };
        // Every combination of what is not a size.
        let free = |k: &Knob| {
            !["max-num-seqs", "max-num-batched-tokens", "gpu-memory-utilization", "block-size"]
                .contains(&k.flag.as_str())
        };
        let mut sets = vec![vec![0; self.knobs.len()]];
        for (k, knob) in self.knobs.iter().enumerate().filter(|(_, k)| free(k)) {
            let wider = |set: &Vec<usize>| {
                (0..=knob.values.len())
                    .map(|v| {
                        let mut s = set.clone();
                        s[k] = v;
                        s
                    })
                    .collect::<Vec<_>>()
            };
            sets = sets.iter().flat_map(wider).collect();
        }
        let mut ranked: Vec<(f64, Vec<usize>)> = sets.into_iter().map(|s| (score(&s), s)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        ranked.truncate(6);
        for (level, set) in &mut ranked {
            while let Some((better, next)) = self.step(set, &score).filter(|(s, _)| *s > *level + 1e-9) {
                (*level, *set) = (better, next);
            }
        }
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (level, set) = ranked.swap_remove(0);
        (self.candidate(&set), level)
    }

    /// The best neighbour by one knob.
    fn step(&self, set: &[usize], score: &dyn Fn(&[usize]) -> f64) -> Option<(f64, Vec<usize>)> {
        let all = self.knobs.iter().enumerate().flat_map(|(k, knob)| {
            (0..=knob.values.len()).filter(move |v| *v != set[k]).map(move |v| {
                let mut s = set.to_vec();
                s[k] = v;
                s
            })
        });
        all.map(|s| (score(&s), s)).max_by(|a, b| a.0.total_cmp(&b.0))
    }
}

fn plan(workload: &str, objective: &str) -> Result<Plan> {
    let space = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/inferencebench/space.toml");
    TuneRequest {
        model: Some("mistralai/Mistral-7B-Instruct-v0.3".into()),
        engines: vec!["emulated".into()],
        workloads: vec![workload.to_owned()],
        objective: Some(objective.to_owned()),
        hardware: Some("h100-sxm-80gb".into()),
        allow_output_change: Some("approximate".into()),
        space_files: vec![space.into()],
        repeats: 2,
        flags: FLAGS.iter().map(|f| (*f).to_owned()).collect(),
        ready_timeout: "1m".into(),
        run_timeout: "1m".into(),
        fixed_args: vec!["--emulate-version".into(), VERSION.into()],
        ..TuneRequest::default()
    }
    .plan(|| Err(String::new()))
}

/// The forecasts that a campaign would have: the model's own coefficients, fitted to what its launches gave.
pub(crate) fn forecaster(task: &Task, observed: &Observed) -> Result<SimForecaster> {
    SimForecaster::new(&task.plan, EngineKind::Emulated, Some(VERSION.to_owned()), observed.clone())
}

/// Launches on the hidden machine.
pub(crate) struct Engine<'t> {
    task: &'t Task,
    observed: Observed,
    rng: ChaCha8Rng,
    launches: usize,
    most: usize,
}

impl std::fmt::Debug for Engine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} after {} launches", self.task, self.launches)
    }
}

impl<'t> Engine<'t> {
    /// A machine on which nothing was launched; what the baseline's launch tells of single steps is known to the forecasts.
    pub(crate) fn new(task: &'t Task, most: usize) -> Engine<'t> {
        let rng = ChaCha8Rng::seed_from_u64(task.number ^ 0xe461);
        let engine = Engine { task, observed: Observed::default(), rng, launches: 0, most };
        for r in probes(0).iter().filter_map(|w| task.run(&base(), w)) {
            engine.observed.add(&r);
        }
        engine
    }

    pub(crate) fn observed(&self) -> &Observed {
        &self.observed
    }
}

impl Evaluator for Engine<'_> {
    fn evaluate(&mut self, ask: &Ask) -> std::result::Result<Answer, Stop> {
        if ask.runs.scope == Scope::Probes {
            return Ok(Answer::default());
        }
        self.launches += 1;
        let Some(score) = self.task.truth(&ask.candidate) else {
            let class = "out-of-memory".to_owned();
            let failure =
                FailedLaunch { class, root_cause: "refused".into(), hint: String::new(), memory: true };
            return Ok(Answer { samples: Vec::new(), failure: Some(failure) });
        };
        if let Some(r) = self.task.run(&ask.candidate, &self.task.plan.primary().spec) {
            self.observed.add(&r);
        }
        let mut normal = |sd: f64| Normal::new(0.0, sd).map_or(0.0, |n| n.sample(&mut self.rng));
        let level = score + normal(NOISE.0);
        let repeats = ask.runs.first_repeat..ask.runs.first_repeat + ask.runs.repeats;
        let samples = repeats.map(|repeat| Sample { repeat, score: level + normal(NOISE.1) }).collect();
        Ok(Answer { samples, failure: None })
    }

    fn affordable(&self) -> bool {
        self.launches < self.most
    }

    fn launches_left(&self) -> Option<usize> {
        (self.most < 1000).then(|| self.most.saturating_sub(self.launches))
    }
}
