//! The campaign on a fake launcher: known effects, seeded noise, failures, interruption at any trial.

use super::*;
use crate::engine::Class;
use crate::error::{Error, Result};
use crate::launch::{Candidate, EngineKind, FlagValue};
use crate::scenario::{Key, Metrics, Record, RequestRow};
use crate::search::{Knob, Objective, Settings, Slo, Space, Stage};
use crate::store::plan::Strategy;
use crate::store::{Journal, NamedWorkload, Plan, read_journal};
use crate::trial::{Failure, ImageFacts, LaunchFacts, Measured, Outcome, TrialResult, TrialSpec};
use crate::workload::WorkloadSpec;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use std::path::Path;

struct Fake {
    /// Launches after which a stop is requested, in the middle of the next one.
    stop_after: usize,
    launches: Vec<String>,
    cancel: Cancel,
    broken: bool,
    version: &'static str,
    /// Identity of the image that the engine runs in.
    image: Option<&'static str>,
    /// Whether the client of this launch (its number, from 0) of a candidate is starved.
    starved: fn(usize, &Candidate) -> bool,
    /// Log throughput that launches side by side take from each other.
    disturbance: f64,
    /// How many were launched at once.
    together: Vec<usize>,
    /// Nodes that launches go to in turn; none: here.
    nodes: Vec<nodes::Node>,
    avoided: Vec<String>,
    /// Whether it can keep launches away from a node.
    keeps_away: bool,
}

impl Fake {
    fn new() -> Fake {
        Fake {
            stop_after: usize::MAX,
            launches: Vec::new(),
            cancel: Cancel::default(),
            broken: false,
            version: "0.11.0",
            image: None,
            starved: |_, _| false,
            disturbance: 0.0,
            together: Vec::new(),
            nodes: Vec::new(),
            avoided: Vec::new(),
            keeps_away: true,
        }
    }
}

fn failure(class: Class) -> Outcome {
    let failure = Failure {
        class,
        phase: "start".into(),
        root_cause: "CUDA out of memory".into(),
        hint: "use less".into(),
        exit: Some("exit code 1".into()),
        log: None,
        remedies: Vec::new(),
    };
    Outcome::Failed { failure, facts: None, runs: Vec::new() }
}

fn gain(c: &Candidate) -> f64 {
    let mut g = 0.0;
    if c.flags.get("async-scheduling") == Some(&FlagValue::Bool(true)) {
        g += 0.2;
    }
    if c.flags.get("max-num-seqs") == Some(&FlagValue::Int(512)) {
        g += 0.05;
    }
    g
}

impl Launcher for Fake {
    fn avoid(&mut self, nodes: &[String]) -> bool {
        if self.keeps_away {
            self.avoided = nodes.to_vec();
        }
        self.keeps_away
    }

    fn launch_all(&mut self, in_flight: usize, queue: &mut dyn Queue) {
        loop {
            let begun: Vec<_> = (0..in_flight).map_while(|place| queue.next(place)).collect();
            if begun.is_empty() {
                return;
            }
            self.together.push(begun.len());
            // The last begun ends first.
            for (n, spec) in begun.into_iter().rev() {
                queue.ended(n, self.launch(&spec));
            }
        }
    }

    fn launch(&mut self, spec: &TrialSpec) -> Result<TrialResult> {
        if self.launches.len() >= self.stop_after {
            self.cancel.raise();
            return Err(Error::failed("cut short"));
        }
        self.launches.push(spec.id.clone());
        let node = self.node();
        let vllm_only = spec.candidate.engine != EngineKind::Emulated;
        let outcome = if self.broken || vllm_only {
            failure(Class::OutOfMemory)
        } else if spec.candidate.flags.get("max-num-seqs") == Some(&FlagValue::Int(4096)) {
            failure(Class::NoKvRoom)
        } else {
            let runs = spec.workloads.iter().flat_map(|w| {
                (spec.first_repeat..spec.first_repeat + spec.repeats).map(|r| measured(spec, w, r))
            });
            let mut runs: Vec<Measured> = runs.collect();
            if self.together.last().is_some_and(|n| *n > 1) {
                for run in &mut runs {
                    let result = run.observation.result.as_mut().unwrap();
                    let alone = result.get(Key::TotalTokenThroughput).unwrap();
                    result.set(Key::TotalTokenThroughput, alone * (-self.disturbance).exp());
                }
            }
            if let Some(node) = &node {
                node.slow(&mut runs);
            }
            if (self.starved)(self.launches.len() - 1, &spec.candidate) {
                for run in &mut runs {
                    run.invalid.push("the client read late".into());
                    // What must not be used would decide everything.
                    run.observation.result.as_mut().unwrap().set(Key::TotalTokenThroughput, 1e9);
                }
            }
            let image = self.image.map(|id| ImageFacts {
                name: "engine:1".into(),
                run: Vec::new(),
                id: id.into(),
                digest: None,
            });
            let version = node.as_ref().map_or(self.version, |n| n.version);
            let facts = LaunchFacts { version: Some(version.into()), image, ..LaunchFacts::default() };
            Outcome::Measured { facts, runs }
        };
        Ok(TrialResult {
            spec: spec.clone(),
            outcome,
            started_unix_s: 0.0,
            wall_s: 2.0,
            leftovers: Vec::new(),
            first_failure: None,
            placement: node.map(|n| n.placement()),
        })
    }
}

fn measured(spec: &TrialSpec, workload: &WorkloadSpec, repeat: u32) -> Measured {
    // Noise by trial and repeat, so that a resumed campaign sees the same numbers again.
    let number: u64 = spec.id[..3].parse().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(number * 100_000 + u64::from(repeat));
    let noise: f64 = Normal::new(0.0, 0.004).unwrap().sample(&mut rng);
    let speed = (gain(&spec.candidate) + noise).exp();
    let mut result = Metrics::default();
    result.set(Key::Completed, 10.0);
    result.set(Key::Duration, 10.0 / speed);
    result.set(Key::TotalTokenThroughput, 1000.0 * speed);
    result.set(Key::MeanTtftMs, 300.0 / speed);
    result.set(Key::P99TtftMs, 900.0 / speed);
    let mut ran = workload.clone();
    ran.seed = ran.seed.map(|s| s + u64::from(repeat));
    let rows = vec![RequestRow { input_tokens: 5, output_tokens: 3, ..RequestRow::default() }];
    let observation = Record {
        engine: Some(EngineKind::Emulated),
        serve_command: Some("dyno emulate".into()),
        workload: Some(ran.clone()),
        result: Some(result),
        requests: Some(rows),
        ..Record::default()
    };
    Measured {
        workload: ran,
        repeat,
        observation,
        cache_hit_ratio: Some(0.0),
        invalid: Vec::new(),
        doubts: Vec::new(),
        started_unix_s: 0.0,
        wall_s: 1.0,
    }
}

mod nodes;

struct FakeSpaces;
struct ThreeFlags(Vec<Knob>);

impl Space for ThreeFlags {
    fn knobs(&self) -> &[Knob] {
        &self.0
    }
    fn admits(&self, _: &Candidate) -> bool {
        true
    }
}

impl Spaces for FakeSpaces {
    fn space(&self, _: EngineKind, _: Option<&str>) -> Result<Box<dyn Space>> {
        let knob = |flag: &str, values: Vec<FlagValue>| Knob { flag: flag.into(), values, modelled: true };
        Ok(Box::new(ThreeFlags(vec![
            knob("async-scheduling", vec![FlagValue::Bool(true)]),
            knob("max-num-seqs", [512, 1024, 4096].map(FlagValue::Int).to_vec()),
            knob("block-size", vec![FlagValue::Int(32)]),
        ])))
    }
    fn mechanism(&self, _: EngineKind, flag: &str) -> String {
        format!("what {flag} does")
    }
}

pub(crate) fn plan() -> Plan {
    let workload =
        |name: &str, n| NamedWorkload { name: name.into(), spec: WorkloadSpec::random(8, 4, n, 1) };
    Plan {
        model: "openai/gpt-oss-20b".into(),
        engines: vec![EngineKind::Emulated],
        workloads: vec![workload("random:8/4,n=10", 10), workload("random:8/4,n=20", 20)],
        objective: Objective::Metric(Key::TotalTokenThroughput),
        slo: Slo::default(),
        hardware: "a100-sxm-80gb".into(),
        hardware_detected: false,
        num_gpus: 1,
        in_flight: 1,
        executor: None,
        seed: 1,
        strategy: Strategy::OneFactor,
        settings: Settings::default(),
        budget_s: None,
        max_trials: None,
        max_model_len: None,
        fixed_args: Vec::new(),
        engine_command: None,
        container: None,
        only_flags: Vec::new(),
        allow_output_change: crate::space::OutputChange::Lossless,
        variants: Vec::new(),
        replicas: Vec::new(),
        nodes: Vec::new(),
        ssh_options: Vec::new(),
        router: None,
        draft_model: None,
        max_quality_loss: 0.01,
        eval: None,
        data_dir: None,
        space_files: Vec::new(),
        tries: Vec::new(),
        prior: Vec::new(),
        ready_timeout_s: 10.0,
        run_timeout_s: 10.0,
        inputs: std::collections::BTreeMap::new(),
    }
}

/// Runs or resumes a campaign in `dir`.
fn campaign(dir: &Path, plan: &Plan, fake: &mut Fake) -> Ended {
    let (journal, contents) = Journal::resume(dir, "run").unwrap();
    let cancel = fake.cancel.clone();
    let mut silent = Silent;
    let recorded = [contents.trials, contents.apart].concat();
    let runner = Runner::new(plan, dir, (journal, recorded), fake, &mut silent, cancel);
    Campaign { runner, spaces: &FakeSpaces }.run().unwrap().ended
}

fn finished(e: Ended) -> crate::store::Verdict {
    match e {
        Ended::Finished(v) => *v,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_planted_gains_are_found_confirmed_and_explained() {
    let dir = tempfile::tempdir().unwrap();
    let v = finished(campaign(dir.path(), &plan(), &mut Fake::new()));
    let c = v.compared.unwrap();
    assert_eq!(c.winner.label(), "--async-scheduling --max-num-seqs 512");
    let improvement = c.improvement.unwrap();
    assert!(improvement.significant);
    assert!((improvement.interval.value - 0.25_f64.exp_m1()).abs() < 0.02, "{improvement:?}");
    assert_eq!(c.workloads.len(), 2, "the other workload is checked too");
    let ttft = c.workloads[1].metric(Key::MeanTtftMs).unwrap();
    assert!(ttft.significant && ttft.better && ttft.after < ttft.before);
    let kept: Vec<_> = v.flags.iter().filter(|f| f.kept).map(|f| f.mechanism.as_str()).collect();
    assert_eq!(kept, ["what async-scheduling does", "what max-num-seqs does"]);
    let failed: Vec<_> =
        v.tried.iter().filter_map(|t| t.failure.as_ref()).map(|f| f.class.as_str()).collect();
    assert_eq!(failed, ["no-kv-room"]);
}

#[test]
fn an_interruption_at_any_trial_loses_that_trial_alone() {
    let whole_dir = tempfile::tempdir().unwrap();
    let mut whole = Fake::new();
    let expected = finished(campaign(whole_dir.path(), &plan(), &mut whole));
    for stop_after in 0..whole.launches.len() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Fake::new();
        first.stop_after = stop_after;
        assert!(matches!(campaign(dir.path(), &plan(), &mut first), Ended::Interrupted(_)));
        assert_eq!(read_journal(dir.path()).unwrap().trials.len(), stop_after);
        let mut second = Fake::new();
        let v = finished(campaign(dir.path(), &plan(), &mut second));
        let all: Vec<_> = first.launches.iter().chain(&second.launches).cloned().collect();
        assert_eq!(all, whole.launches, "stopped after {stop_after}: none repeated, none left out");
        assert_eq!(v, expected);
    }
}

fn side_by_side(in_flight: u32) -> Plan {
    Plan { in_flight, strategy: Strategy::Model, ..plan() }
}

#[test]
fn launches_side_by_side_come_to_the_same_verdict_and_an_interruption_loses_those_under_way_alone() {
    let whole_dir = tempfile::tempdir().unwrap();
    let mut whole = Fake::new();
    let plan = side_by_side(4);
    let expected = finished(campaign(whole_dir.path(), &plan, &mut whole));
    let c = expected.compared.as_ref().unwrap();
    assert_eq!(c.winner.label(), "--async-scheduling --max-num-seqs 512");
    assert!(whole.together.contains(&4), "{:?}", whole.together);
    assert!(expected.notes.iter().any(|n| n.contains("ran side by side")), "{:?}", expected.notes);
    let recorded = read_journal(whole_dir.path()).unwrap().trials.len();
    assert_eq!(recorded, whole.launches.len());
    for stop_after in (0..whole.launches.len()).step_by(5) {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Fake { stop_after, ..Fake::new() };
        assert!(matches!(campaign(dir.path(), &plan, &mut first), Ended::Interrupted(_)));
        assert_eq!(read_journal(dir.path()).unwrap().trials.len(), stop_after);
        let mut second = Fake::new();
        let v = finished(campaign(dir.path(), &plan, &mut second));
        assert_eq!(v.compared.unwrap().winner, c.winner, "stopped after {stop_after}");
    }
}

#[test]
fn neighbours_that_disturb_each_other_are_found_and_nothing_of_theirs_is_compared() {
    let dir = tempfile::tempdir().unwrap();
    let mut fake = Fake { disturbance: 0.2, ..Fake::new() };
    let v = finished(campaign(dir.path(), &side_by_side(4), &mut fake));
    let c = v.compared.unwrap();
    assert_eq!(c.winner.label(), "--async-scheduling --max-num-seqs 512");
    assert_eq!(fake.together.iter().filter(|n| **n > 1).count(), 1, "{:?}", fake.together);
    assert!(v.notes.iter().any(|n| n.contains("disturb each other here")), "{:?}", v.notes);
    let improvement = c.improvement.unwrap().interval.value;
    assert!((improvement - 0.25_f64.exp_m1()).abs() < 0.02, "{improvement}");
    // Resumed from its record alone, the campaign says the same.
    let mut idle = Fake::new();
    assert_eq!(
        finished(campaign(dir.path(), &side_by_side(4), &mut idle)).compared.unwrap().winner,
        c.winner
    );
    assert!(idle.launches.is_empty(), "{:?}", idle.launches);
}

#[test]
fn an_engine_that_was_upgraded_in_between_is_told_and_not_mixed() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Fake { stop_after: 4, ..Fake::new() };
    campaign(dir.path(), &plan(), &mut first);
    let mut second = Fake { version: "0.12.0", ..Fake::new() };
    let (journal, contents) = Journal::resume(dir.path(), "run").unwrap();
    let (cancel, mut silent, plan) = (second.cancel.clone(), Silent, plan());
    let runner = Runner::new(&plan, dir.path(), (journal, contents.trials), &mut second, &mut silent, cancel);
    let error = Campaign { runner, spaces: &FakeSpaces }.run().unwrap_err().to_string();
    assert!(error.contains("0.12.0 now") && error.contains("0.11.0"), "{error}");
    let contents = read_journal(dir.path()).unwrap();
    assert_eq!((contents.trials.len(), contents.apart.len()), (4, 1), "measured is recorded, and told apart");
    assert!(contents.apart[0].apart.as_ref().unwrap().contains("0.12.0"));
    // With the version of the record back, the campaign goes on, without that trial and without its number.
    let mut third = Fake::new();
    let v = finished(campaign(dir.path(), &plan, &mut third));
    assert!(v.notes[0].contains("Trial 5") && v.notes[0].contains("0.12.0"), "{:?}", v.notes);
    assert!(v.tried.iter().all(|t| !t.trials.contains(&5)) && third.launches[0].starts_with("006-"), "{v:?}");
    let mut numbers: Vec<u32> = read_journal(dir.path()).unwrap().trials.iter().map(|t| t.seq).collect();
    numbers.dedup();
    assert!(numbers.is_sorted() && !numbers.contains(&5), "{numbers:?}");
}

#[test]
fn an_image_that_changed_under_its_name_is_told_and_not_mixed() {
    let dir = tempfile::tempdir().unwrap();
    campaign(dir.path(), &plan(), &mut Fake { stop_after: 4, image: Some("sha256:aa"), ..Fake::new() });
    let mut second = Fake { image: Some("sha256:bb"), ..Fake::new() };
    let (journal, contents) = Journal::resume(dir.path(), "run").unwrap();
    let (cancel, mut silent, plan) = (second.cancel.clone(), Silent, plan());
    let runner = Runner::new(&plan, dir.path(), (journal, contents.trials), &mut second, &mut silent, cancel);
    let error = Campaign { runner, spaces: &FakeSpaces }.run().unwrap_err().to_string();
    assert!(error.contains("image sha256:bb now") && error.contains("by its digest"), "{error}");
}

#[test]
fn what_failed_is_launched_again_when_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    campaign(dir.path(), &plan(), &mut Fake { broken: true, ..Fake::new() });
    let mut idle = Fake::new();
    assert!(matches!(campaign(dir.path(), &plan(), &mut idle), Ended::Infeasible(_)));
    assert!(idle.launches.is_empty(), "a failure of the candidate stands");
    let (journal, contents) = Journal::resume(dir.path(), "run").unwrap();
    let again = standing(contents.trials, &plan(), true);
    let (mut fake, mut silent, plan) = (Fake::new(), Silent, plan());
    let cancel = fake.cancel.clone();
    let runner = Runner::new(&plan, dir.path(), (journal, again.trials), &mut fake, &mut silent, cancel);
    let v = finished(Campaign { runner, spaces: &FakeSpaces }.run().unwrap().ended);
    assert_eq!(v.compared.unwrap().winner.label(), "--async-scheduling --max-num-seqs 512");
    // The next plain resume believes the later launches.
    let contents = read_journal(dir.path()).unwrap();
    assert_eq!(standing(contents.trials, &plan, false).again, 0);
}

#[test]
fn engines_that_fail_are_passed_over_and_when_all_do_it_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let two = Plan { engines: vec![EngineKind::Vllm, EngineKind::Emulated], ..plan() };
    let v = finished(campaign(dir.path(), &two, &mut Fake::new()));
    assert!(v.engines[0].failure.is_some() && !v.engines[0].chosen && v.engines[1].chosen);

    let dir = tempfile::tempdir().unwrap();
    let mut fake = Fake { broken: true, ..Fake::new() };
    assert!(matches!(campaign(dir.path(), &plan(), &mut fake), Ended::Infeasible(_)));
    let trials = read_journal(dir.path()).unwrap().trials;
    assert!(trials.len() > 1, "flags that may mend it are tried");
    let classes = outcomes::failures_by_class(&trials, &plan());
    assert_eq!(classes[0].0, "out-of-memory");
}

#[test]
fn an_invalid_run_is_measured_again_and_never_used() {
    // Every third launch is spoilt: the same is found as without.
    let dir = tempfile::tempdir().unwrap();
    let mut fake = Fake { starved: |launch, _| launch % 3 == 2, ..Fake::new() };
    let v = finished(campaign(dir.path(), &plan(), &mut fake));
    let c = v.compared.unwrap();
    assert_eq!(c.winner.label(), "--async-scheduling --max-num-seqs 512");
    let improvement = c.improvement.unwrap();
    assert!((improvement.interval.value - 0.25_f64.exp_m1()).abs() < 0.02, "{improvement:?}");
    assert!(fake.launches.len() > read_journal(dir.path()).unwrap().trials.len() / 2);

    // A candidate that is never measured fails, with the reason, after a second try.
    let dir = tempfile::tempdir().unwrap();
    let never = |_: usize, c: &Candidate| c.flags.get("max-num-seqs") == Some(&FlagValue::Int(512));
    let mut fake = Fake { starved: never, ..Fake::new() };
    let v = finished(campaign(dir.path(), &plan(), &mut fake));
    assert_eq!(v.compared.unwrap().winner.label(), "--async-scheduling");
    let failed =
        v.tried.iter().filter_map(|t| t.failure.as_ref()).find(|f| f.class == "no-valid-run").unwrap();
    assert_eq!(failed.root_cause, "the client read late");
    let tries = read_journal(dir.path()).unwrap().trials;
    let tries = tries.iter().filter(|t| t.result.spec.candidate.label() == "--max-num-seqs 512").count();
    assert_eq!(tries, 2);

    // Not even the defaults: nothing is feasible, and it says why.
    let dir = tempfile::tempdir().unwrap();
    let mut fake = Fake { starved: |_, _| true, ..Fake::new() };
    assert!(matches!(campaign(dir.path(), &plan(), &mut fake), Ended::Infeasible(_)));
    let trials = read_journal(dir.path()).unwrap().trials;
    assert_eq!(outcomes::failures_by_class(&trials, &plan())[0].0, "no-valid-run");
}

#[test]
fn a_budget_of_trials_keeps_room_for_the_confirmation() {
    let dir = tempfile::tempdir().unwrap();
    let short = Plan { max_trials: Some(10), ..plan() };
    let v = finished(campaign(dir.path(), &short, &mut Fake::new()));
    let trials = read_journal(dir.path()).unwrap().trials;
    assert!(trials.len() <= 10);
    assert_eq!(trials.iter().filter(|t| t.stage == Stage::Confirm).count(), 6);
    assert!(v.notes.iter().any(|n| n.contains("budget")), "{:?}", v.notes);
    assert_eq!(v.compared.unwrap().winner.label(), "--async-scheduling");
}

#[test]
fn the_candidate_and_fixed_flags_reach_the_launch() {
    let p = Plan { fixed_args: vec!["--x".into()], max_model_len: Some(99), ..plan() };
    assert_eq!(fixed_args::fixed_args(&p, EngineKind::Vllm), ["--x", "--max-model-len", "99"]);
    assert_eq!(fixed_args::fixed_args(&p, EngineKind::Sglang), ["--x", "--context-length", "99"]);
}
