//! Forecasts of launches: the simulator on a cost model that is fitted to this campaign's own observations.

use super::runner::fixed_args;
use crate::cost::fit::fit_with_steps;
use crate::cost::steps::StepLog;
use crate::cost::{Catalogs, Predictor, Profile, Setup};
use crate::engine::LaunchRequest;
use crate::engine::adapter::adapter;
use crate::error::Result;
use crate::scenario::{EngineKind, Record, RequestRow};
use crate::search::{Forecaster, Objective};
use crate::space::Candidate;
use crate::store::Plan;
use crate::workload::WorkloadSpec;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::rc::Rc;

/// Valid observations of the campaign so far, one a candidate and workload, and the steps that the calibration
/// launch told of; shared with the runner, which fills it.
#[derive(Debug, Clone, Default)]
pub struct Observed(Rc<RefCell<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    records: Vec<Record>,
    steps: Vec<StepLog>,
}

impl Observed {
    /// Adds an observation unless the same command on the same workload is there: repeats would only make the
    /// fit slower, since its error is the model's, not the scatter's.
    pub fn add(&self, r: &Record) {
        let all = &mut self.0.borrow_mut().records;
        if !all.iter().any(|o| o.serve_command == r.serve_command && o.workload == r.workload) {
            all.push(r.clone());
        }
    }

    /// Adds what a launch told of its steps; nothing when it told of none.
    pub fn add_steps(&self, log: StepLog) {
        if !log.rows.is_empty() {
            self.0.borrow_mut().steps.push(log);
        }
    }

    fn len(&self) -> usize {
        let seen = self.0.borrow();
        seen.records.len() + seen.steps.len()
    }
}

/// Short runs on the baseline that make the cost model's parameters identifiable: a single stream (the
/// period of a step), long prompts (prefill), many short requests (the front end).
pub fn probes(seed: u64) -> Vec<WorkloadSpec> {
    let probe = |input, output, n, concurrency| WorkloadSpec {
        max_concurrency: concurrency,
        ..WorkloadSpec::random(input, output, n, seed)
    };
    vec![
        probe(256, 64, 2, Some(1)),
        probe(3000, 8, 4, Some(1)),
        probe(512, 64, 32, Some(32)),
        probe(32, 2, 64, None),
    ]
}

/// Forecasts scores of candidates of one engine.
#[derive(Debug)]
pub struct SimForecaster {
    plan: Plan,
    engine: EngineKind,
    version: Option<String>,
    catalogs: Catalogs,
    observed: Observed,
    profile: Option<Profile>,
    /// Number of observations behind the profile.
    fitted_on: usize,
    /// Scores by resolved configuration: flags that change nothing of it cost no simulation.
    known: HashMap<String, Option<f64>>,
}

impl SimForecaster {
    pub fn new(
        plan: &Plan,
        engine: EngineKind,
        version: Option<String>,
        observed: Observed,
    ) -> Result<SimForecaster> {
        let catalogs = Catalogs::load(plan.data_dir.as_deref().map(Path::new))?;
        let plan = plan.clone();
        let mut f = SimForecaster {
            plan,
            engine,
            version,
            catalogs,
            observed,
            profile: None,
            fitted_on: 0,
            known: HashMap::new(),
        };
        f.learn();
        Ok(f)
    }

    pub fn profile(&self) -> Option<&Profile> {
        self.profile.as_ref()
    }

    /// Where the forecasts come from, for the report.
    pub fn describe(&self) -> String {
        match self.profile.as_ref().and_then(|p| p.groups.first()) {
            Some(g) => {
                let open = if g.unidentified.is_empty() {
                    String::new()
                } else {
                    format!("; not identified by them: {}", g.unidentified.join(", "))
                };
                let steps: usize = g.steps.iter().map(|s| s.steps).sum();
                let steps = if steps > 0 { format!(" and {steps} engine steps") } else { String::new() };
                format!("Cost model: a fit on {} observations{steps} of this campaign{open}.", g.observations)
            }
            None => "Cost model: the physical prior; nothing of this campaign could be fitted.".to_owned(),
        }
    }

    /// The launch of a candidate on a workload, as a scenario.
    pub fn scenario(&self, candidate: &Candidate, workload: &WorkloadSpec) -> Record {
        let fixed = fixed_args(&self.plan, self.engine.id());
        let request = LaunchRequest {
            candidate,
            model: &self.plan.model,
            served_model_name: None,
            hardware: &self.plan.hardware,
            num_gpus: self.plan.num_gpus,
            fixed_args: &fixed,
            fixed_env: &BTreeMap::new(),
            port: 8000,
            dir: "",
        };
        let adapter = adapter(self.engine);
        let launch = adapter.plan(&request);
        let program = adapter.programs().first().map_or("dyno emulate".to_owned(), |p| p.join(" "));
        Record {
            engine: Some(self.engine),
            engine_version: self.version.clone(),
            serve_command: Some(format!("{program} {}", launch.args.join(" "))),
            model: Some(self.plan.model.clone()),
            hardware: Some(self.plan.hardware.clone()),
            num_gpus: Some(self.plan.num_gpus),
            workload: Some(workload.clone()),
            ..Record::default()
        }
    }

    fn simulated(&self, setup: &Setup) -> Option<f64> {
        let goodput = self.plan.objective == Objective::Goodput;
        let predictor = Predictor { draws: 0, ..Predictor::new(&self.catalogs, self.profile.as_ref()) };
        let p = predictor.predict_setup(setup, goodput).ok()?;
        let rows = p.simulated.requests.iter().map(|r| RequestRow {
            arrival_s: r.arrival.secs(),
            input_tokens: r.input_tokens,
            output_tokens: r.output_tokens,
            ttft_s: (!r.failed).then(|| r.ttft().secs()),
            e2e_s: (!r.failed).then(|| r.e2e().secs()),
            ..RequestRow::default()
        });
        let observation = Record {
            requests: goodput.then(|| rows.collect()),
            result: Some(p.metrics()),
            ..Record::default()
        };
        self.plan.objective.score(&observation, &self.plan.slo)
    }
}

impl Forecaster for SimForecaster {
    fn score(&mut self, candidate: &Candidate) -> Option<f64> {
        let workload = &self.plan.primary().spec;
        let setup = Setup::new(&self.scenario(candidate, workload), &self.catalogs).ok()?;
        let key = format!("{:?}", setup.config);
        if let Some(score) = self.known.get(&key) {
            return *score;
        }
        let score = self.simulated(&setup);
        self.known.insert(key, score);
        score
    }

    fn learn(&mut self) -> bool {
        if self.observed.len() == self.fitted_on {
            return false;
        }
        self.fitted_on = self.observed.len();
        // What cannot be fitted (an unknown engine's policy, say) leaves the prior in force.
        let seen = self.observed.0.borrow();
        let Ok(mut profile) = fit_with_steps(&seen.records, &seen.steps, &self.catalogs) else {
            return false;
        };
        profile.provenance = vec![format!("dyno tune of {} on {}", self.plan.model, self.plan.hardware)];
        self.profile = Some(profile);
        self.known.clear();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::FlagValue;

    fn forecaster() -> SimForecaster {
        let mut plan = super::super::tests::plan();
        plan.workloads[0].spec = WorkloadSpec::random(500, 100, 40, 1);
        SimForecaster::new(&plan, EngineKind::Emulated, Some("0.11.0".into()), Observed::default()).unwrap()
    }

    #[test]
    fn overlap_is_forecast_to_help_and_equal_configurations_score_alike() {
        let mut f = forecaster();
        let base = Candidate::baseline("emulated");
        let defaults = f.score(&base).unwrap();
        let overlapped = f.score(&base.with("async-scheduling", FlagValue::Bool(true))).unwrap();
        assert!(overlapped > defaults + 0.01, "{defaults} {overlapped}");
        assert_eq!(f.score(&base), Some(defaults));
        assert!(!f.learn(), "nothing was observed");
    }

    #[test]
    fn observations_of_the_same_thing_count_once() {
        let o = Observed::default();
        let r = Record { serve_command: Some("x".into()), ..Record::default() };
        o.add(&r);
        o.add(&r);
        assert_eq!(o.len(), 1);
    }
}
