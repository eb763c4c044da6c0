//! Forecasts of launches: the closed-form screen and the simulator on a cost model that is fitted to this campaign's
//! own observations.

use super::fixed_args::fixed_args;
use super::observed::Observed;
use crate::cost::fit::fit_with_steps;
use crate::cost::{Catalogs, Predictor, Profile, Setup};
use crate::engine::{adapter, resolve_launch};
use crate::error::Result;
use crate::launch::{Candidate, EngineKind, Launch, LaunchRequest};
use crate::scenario::{Key, Record, RequestRow, files_named_by};
use crate::search::{Forecaster, Objective, Screening, Slo};
use crate::sim::Demand;
use crate::store::Plan;
use crate::workload::{Lengths, WorkloadSpec};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

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
    /// By resolved configuration: flags that change nothing of it cost no simulation.
    known: HashMap<String, Option<Scored>>,
    /// A launch of this campaign made ready, from which others take over the load, and the moments of its requests.
    first: Option<(Setup, Demand)>,
}

/// A simulated score, and the same without the SLO's penalty.
#[derive(Debug, Clone, Copy)]
struct Scored {
    score: f64,
    without_slo: f64,
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
            first: None,
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

    /// The launch of a candidate.
    fn launch(&self, candidate: &Candidate) -> Launch {
        let fixed = fixed_args(&self.plan, self.engine);
        let replicas = candidate.replicas();
        let request = LaunchRequest {
            candidate: &candidate.spelled_out(),
            model: candidate.variant().unwrap_or(&self.plan.model),
            served_model_name: None,
            hardware: &self.plan.hardware,
            num_gpus: self.plan.num_gpus / replicas,
            fixed_args: &fixed,
            fixed_env: &BTreeMap::new(),
            port: 8000,
            dir: "",
        };
        let version = self.version.as_deref().and_then(|v| v.parse().ok());
        let launch = adapter(self.engine).launch(&request, version, None);
        // What a file of options sets, it sets for the forecast too.
        let files = files_named_by(&launch, &[Path::new("")]);
        let mut launch = if files.is_empty() { launch } else { launch.with_files(files) };
        if replicas > 1 {
            (launch.replicas, launch.num_gpus) = (Some(replicas), Some(self.plan.num_gpus));
        }
        launch
    }

    /// The launch of a candidate on a workload, as a scenario.
    pub fn scenario(&self, candidate: &Candidate, workload: &WorkloadSpec) -> Record {
        let mut record = Record {
            engine_version: self.version.clone(),
            hardware: Some(self.plan.hardware.clone()),
            workload: Some(workload.clone()),
            // Our own client asks for exactly the planned number of tokens.
            lengths: Some(Lengths::Exact),
            ..Record::default()
        };
        record.set_launch(&self.launch(candidate));
        record
    }

    /// Seconds that one run of the first workload is expected to take; `None` where it cannot be forecast.
    pub fn run_seconds(&mut self, candidate: &Candidate) -> Option<f64> {
        let setup = self.setup(candidate)?;
        let predictor = Predictor { draws: 0, ..Predictor::new(&self.catalogs, self.profile.as_ref()) };
        predictor.predict_setup(&setup, false).ok()?.metrics().get(Key::Duration)
    }

    /// The candidate on the first workload, made ready.
    fn setup(&mut self, candidate: &Candidate) -> Option<Setup> {
        // Other weights are another model: nothing of the first launch is taken over.
        if let (Some((first, _)), None) = (&self.first, candidate.variant()) {
            let config = resolve_launch(&self.launch(candidate), None, &first.hardware, &first.model).ok()?;
            if let Some(setup) = first.with_config(config.fully_told()) {
                return Some(setup);
            }
        }
        let record = self.scenario(candidate, &self.plan.primary().spec);
        let mut setup = Setup::new(&record, &self.catalogs).ok()?;
        setup.config = setup.config.fully_told();
        if self.first.is_none() && candidate.variant().is_none() {
            self.first = Some((setup.clone(), Demand::of(&setup.requests)));
        }
        Some(setup)
    }

    fn simulated(&self, setup: &Setup) -> Option<Scored> {
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
        let score = |slo: &Slo| self.plan.objective.score(&observation, slo);
        let kept = score(&self.plan.slo)?;
        // Goodput counts the requests that miss the SLO; it is not punished for them.
        Some(Scored { score: kept, without_slo: if goodput { kept } else { score(&Slo::default())? } })
    }

    fn scored(&mut self, candidate: &Candidate) -> Option<Scored> {
        let setup = self.setup(candidate)?;
        let key = format!("{:?} {:?}", candidate.variant(), setup.config);
        if let Some(scored) = self.known.get(&key) {
            return *scored;
        }
        let scored = self.simulated(&setup);
        self.known.insert(key, scored);
        scored
    }

    /// The screen's log objective; `None` where it does not cover the load or the objective. Goodput counts single
    /// requests, of which it knows nothing.
    fn screened(&self, setup: &Setup) -> Option<f64> {
        let (first, demand) = self.first.as_ref()?;
        let own =
            (setup.config.max_model_len != first.config.max_model_len).then(|| Demand::of(&setup.requests));
        let predictor = Predictor { draws: 0, ..Predictor::new(&self.catalogs, self.profile.as_ref()) };
        let result = predictor.screen(setup, own.as_ref().unwrap_or(demand))?;
        let observation = Record { result: Some(result), ..Record::default() };
        let objective = self.plan.objective;
        (objective != Objective::Goodput).then(|| objective.score(&observation, &Slo::default()))?
    }
}

impl Forecaster for SimForecaster {
    fn score(&mut self, candidate: &Candidate) -> Option<f64> {
        self.scored(candidate).map(|s| s.score)
    }

    fn score_without_slo(&mut self, candidate: &Candidate) -> Option<f64> {
        self.scored(candidate).map(|s| s.without_slo)
    }

    fn screen(&mut self, candidate: &Candidate) -> Screening {
        match self.setup(candidate) {
            None => Screening::Refused,
            Some(setup) if setup.refused().is_some() => Screening::Refused,
            Some(setup) => self.screened(&setup).map_or(Screening::Uncovered, Screening::Value),
        }
    }

    fn standing(&mut self, candidate: &Candidate) -> Option<&'static str> {
        let setup = self.setup(candidate)?;
        let predictor = Predictor::new(&self.catalogs, self.profile.as_ref());
        Some(predictor.standing(&setup).words())
    }

    fn learn(&mut self) -> bool {
        if self.observed.len() == self.fitted_on {
            return false;
        }
        self.fitted_on = self.observed.len();
        // What cannot be fitted (an unknown engine's policy, say) leaves the prior in force.
        let (records, steps) = self.observed.all();
        let Ok(mut profile) = fit_with_steps(&records, &steps, &self.catalogs) else {
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
    use super::super::{PlannedSpaces, Spaces};
    use super::*;
    use crate::cost::Coefficients;
    use crate::launch::FlagValue;
    use crate::search::cross_product;
    use crate::search::forecasts::Forecasts;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn forecaster() -> SimForecaster {
        let mut plan = super::super::tests::plan();
        plan.workloads[0].spec = WorkloadSpec::random(500, 100, 40, 1);
        SimForecaster::new(&plan, EngineKind::Emulated, Some("0.11.0".into()), Observed::default()).unwrap()
    }

    #[test]
    fn overlap_is_forecast_to_help_and_equal_configurations_score_alike() {
        let mut f = forecaster();
        let base = Candidate::baseline(EngineKind::Emulated);
        let defaults = f.score(&base).unwrap();
        let overlapped = f.score(&base.with("async-scheduling", FlagValue::Bool(true))).unwrap();
        assert!(overlapped > defaults + 0.01, "{defaults} {overlapped}");
        assert_eq!(f.score(&base), Some(defaults));
        assert!(!f.learn(), "nothing was observed");
    }

    #[test]
    fn tensorrt_llm_candidates_that_differ_in_a_key_of_the_file_are_forecast_apart() {
        let mut plan = super::super::tests::plan();
        plan.workloads[0].spec = WorkloadSpec::random(500, 100, 40, 1);
        plan.hardware = "h100-sxm-80gb".into();
        let mut f =
            SimForecaster::new(&plan, EngineKind::Trtllm, Some("1.2.0".into()), Observed::default()).unwrap();
        let base = Candidate::baseline(EngineKind::Trtllm);
        let narrow = base.with("max_batch_size", FlagValue::Int(4));
        let config = |f: &mut SimForecaster, c: &Candidate| f.setup(c).unwrap().config;
        assert_eq!(config(&mut f, &narrow).max_num_seqs, 4);
        assert_ne!(config(&mut f, &base).max_num_seqs, 4);
    }

    #[test]
    fn what_a_file_of_options_sets_it_sets_for_the_forecast() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("serve.yml");
        std::fs::write(&file, "max-num-seqs: 4\nkv-cache-dtype: fp8\n").unwrap();
        let mut plan = super::super::tests::plan();
        plan.workloads[0].spec = WorkloadSpec::random(500, 100, 40, 1);
        plan.hardware = "h100-sxm-80gb".into();
        plan.fixed_args = vec!["--config".into(), file.display().to_string()];
        let forecaster = |plan: &Plan| {
            SimForecaster::new(plan, EngineKind::Vllm, Some("0.19.0".into()), Observed::default()).unwrap()
        };
        let base = Candidate::baseline(EngineKind::Vllm);
        let with = forecaster(&plan).score(&base).unwrap();
        assert_eq!(forecaster(&plan).setup(&base).unwrap().config.max_num_seqs, 4);
        plan.fixed_args.clear();
        let without = forecaster(&plan).score(&base).unwrap();
        assert!(without > with + 0.3, "four at once against all: {with} {without}");
    }

    struct Unscreened(SimForecaster);
    impl Forecaster for Unscreened {
        fn score(&mut self, c: &Candidate) -> Option<f64> {
            self.0.score(c)
        }
        fn learn(&mut self) -> bool {
            false
        }
    }

    /// The candidate with the best forecast.
    fn first_choice(f: &mut dyn Forecaster, plan: &Plan) -> Candidate {
        let space = PlannedSpaces::new(plan).unwrap().space(EngineKind::Emulated, Some("0.11.0")).unwrap();
        let base = Candidate::baseline(EngineKind::Emulated);
        let (pool, _) = cross_product(space.as_ref(), &base, 20_000);
        Forecasts::new(&base, f, pool).best(1, &|_, gain| gain).pop().unwrap()
    }

    #[test]
    fn the_screen_does_not_change_the_choice_on_hidden_engines() {
        for (seed, workload, objective) in [
            (1, "random:300/80,n=60", "total"),
            (2, "random:1500/40,n=60", "output"),
            (3, "random:200/60,n=80,concurrency=32", "total"),
            (4, "random:300/60,n=60,rate=20", "ttft"),
            (5, "random:300/80,n=60", "tpot"),
            (6, "random:300/80,n=60", "ttft.p99"),
        ] {
            let mut plan = super::super::tests::plan();
            plan.workloads[0].spec = workload.parse().unwrap();
            plan.objective = objective.parse().unwrap();
            let make = || {
                let version = Some("0.11.0".into());
                SimForecaster::new(&plan, EngineKind::Emulated, version, Observed::default()).unwrap()
            };
            let scenario =
                make().scenario(&Candidate::baseline(EngineKind::Emulated), &plan.workloads[0].spec);
            let catalogs = Catalogs::load(None).unwrap();
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let shifts: Vec<f64> =
                Coefficients::default().to_vec().iter().map(|_| rng.random_range(-0.35..0.35)).collect();
            let hidden = Coefficients::default().shifted(&shifts);
            let result = Setup::new(&scenario, &catalogs).unwrap().simulate(&hidden, false).metrics;
            let profile =
                fit_with_steps(&[Record { result: Some(result), ..scenario }], &[], &catalogs).unwrap();
            let (mut screened, mut full) = (make(), Unscreened(make()));
            screened.profile = Some(profile.clone());
            full.0.profile = Some(profile);
            let (a, b) = (first_choice(&mut screened, &plan), first_choice(&mut full, &plan));
            assert_eq!(a.label(), b.label(), "{workload} {objective}");
        }
    }

    #[test]
    fn percentiles_and_goodput_are_not_screened_and_slos_are_left_to_the_simulator() {
        let base = Candidate::baseline(EngineKind::Emulated);
        let mut f = forecaster();
        let Screening::Value(rough) = f.screen(&base) else { panic!("a batch sent at once is covered") };
        assert!((rough - f.score_without_slo(&base).unwrap()).abs() < 0.15);
        f.plan.slo = "ttft.p99=1ms".parse().unwrap();
        f.known.clear();
        assert!(f.score(&base).unwrap() < f.score_without_slo(&base).unwrap() - 1.0);
        assert_eq!(f.screen(&base), Screening::Value(rough));
        for uncovered in ["goodput", "ttft.p99", "itl"] {
            f.plan.objective = uncovered.parse().unwrap();
            assert_eq!(f.screen(&base), Screening::Uncovered, "{uncovered}");
        }
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
