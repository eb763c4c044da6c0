//! One measured run, with the prefix cache kept out of its numbers and the engine watched.

use super::session::Session;
use super::silence::stall;
use super::watch::RunPlan;
use super::{Event, Failure, LaunchFacts, Measured, TrialSpec};
use crate::engine::Class;
use crate::load::{self, LoadResult, RunOptions};
use crate::scenario::{Key, Record, RequestRow};
use crate::workload::{WorkloadSpec, generate_run};
use std::path::Path;
use std::time::{Duration, Instant};

/// Tries at one run when something outside the engine spoils it.
const ATTEMPTS: u64 = 3;
const POLL: Duration = Duration::from_millis(100);
/// A standstill up to this long is not held against the first try of a run, as a race would do that gives a candidate up.
const FORGIVEN: Duration = Duration::from_secs(60);
/// Gauges are read this often; the engine's front end does the work, so not more often.
const SAMPLE: Duration = Duration::from_secs(2);

/// Which run this is.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunId {
    pub(super) workload: usize,
    pub(super) repeat: u32,
}

impl Session<'_> {
    /// Runs one workload once; a run that the prefix cache or a starved client spoilt, or that stalled for the first time, is
    /// kept as invalid and made again in the same launch, which costs seconds where another launch costs minutes.
    pub(super) fn measure(&mut self, spec: &TrialSpec, id: RunId) -> Result<Vec<Measured>, Box<Failure>> {
        let mut made = Vec::new();
        for attempt in 0..ATTEMPTS {
            let (run, spoilt) = self.once(spec, id, attempt)?;
            made.push(run);
            if !spoilt {
                break;
            }
        }
        Ok(made)
    }

    fn once(&mut self, spec: &TrialSpec, id: RunId, attempt: u64) -> Result<(Measured, bool), Box<Failure>> {
        let workload = &spec.workloads[id.workload];
        let repeat = spec.first_repeat + id.repeat;
        let wrong = |s: &Session<'_>, e: &crate::error::Error| {
            s.server.failing.of(Class::BadValue, "run", &e.to_string(), "correct the workload")
        };
        // Contents differ in every run of the trial, and are the same for every candidate at the same place.
        let content = (u64::from(repeat) * 64 + id.workload as u64) * 4 + attempt;
        let names = [Some(spec.model.as_str()), self.model.root.as_deref()];
        let vocab = vocabulary(names, spec.data_dir.as_deref().map(Path::new));
        let requests = generate_run(workload, vocab, content).map_err(|e| wrong(self, &e))?;
        self.observer.event(&Event::RunStarted { workload: id.workload, repeat });
        self.reset_cache();
        let started_unix_s = crate::host::unix_now();
        let began = Instant::now();
        let seconds = |s: f64| Duration::from_secs_f64(s.clamp(0.1, 1e7));
        let plan = RunPlan {
            requests: &requests,
            target: self.target(),
            options: RunOptions {
                max_concurrency: workload.max_concurrency,
                run_timeout: Some(seconds(spec.run_timeout_s)),
                // The engine computes on the very cores that the client runs on.
                real_time: crate::hardware::computes_on_host(
                    &spec.hardware,
                    spec.data_dir.as_deref().map(Path::new),
                ),
                ..RunOptions::default()
            },
            give_up: spec.give_up_s.get(id.workload).copied().map(seconds),
            best_s: spec.best_s.get(id.workload).copied(),
            forgiven: if attempt == 0 { FORGIVEN } else { Duration::ZERO },
            pace: SAMPLE,
            keep_partial: false,
        };
        let mut watched = self.run(plan, &mut |_| {})?;
        self.answered(&watched.result)?;
        watched.result.add_components(workload, None).map_err(|e| wrong(self, &e))?;
        let wall_s = began.elapsed().as_secs_f64();
        let hit_ratio = watched.hit_ratio();
        let mut result = watched.result;
        tell_of_a_stall(&mut result, attempt);
        let (invalid, doubts) = judge_run(spec, &mut result, hit_ratio, workload);
        let observation = observation(spec, &self.facts, workload, &result);
        keep(spec, id, attempt, &observation, &result);
        let run = Measured {
            workload: workload.clone(),
            repeat,
            observation,
            cache_hit_ratio: hit_ratio,
            invalid,
            doubts,
            started_unix_s,
            wall_s,
        };
        self.observer.event(&Event::RunFinished { run: &run });
        // Lost requests are the engine's doing: another try would only hide them.
        let spoilt = !run.invalid.is_empty() && result.errors.is_empty();
        Ok((run, spoilt))
    }

    /// A run without one completed request is a failure of the engine.
    fn answered(&mut self, result: &LoadResult) -> Result<(), Box<Failure>> {
        if result.rows.iter().any(load::Row::completed) || result.rows.is_empty() {
            return Ok(());
        }
        // The engine may be dying: its process ends a little after its requests.
        for _ in 0..20 {
            self.living(true)?;
            std::thread::sleep(POLL);
        }
        let (kind, count) =
            result.errors.iter().max_by_key(|(_, c)| c.count).map_or((None, String::new()), |(k, c)| {
                (
                    Some(*k),
                    format!("no request completed: {} of {} {k}: {}", c.count, result.rows.len(), c.first),
                )
            });
        if kind == Some(load::ErrorKind::Timeout) {
            return Err(self.server.failing.hung(Class::HangInRun, &count, self.last_line()));
        }
        let too_long =
            crate::engine::diagnose(&count, None).is_some_and(|v| v.class == Class::RequestTooLong);
        let class = if too_long { Class::RequestTooLong } else { Class::BadResponse };
        Err(self.server.failing.of(class, "run", &count, ""))
    }
}

/// The first run that stalled does not count. The one made in its place does, whatever it says: an engine that stalls again is
/// one that stalls.
fn tell_of_a_stall(result: &mut LoadResult, attempt: u64) {
    let Some(seconds) = stall(&result.rows) else { return };
    let what = format!("no request got anything for {seconds:.1} s while requests waited");
    if attempt == 0 {
        result.invalid.push(format!("{what}: the run was made again"));
    } else {
        result.distortion.doubts.push(format!("{what}, once more: it counts"));
    }
}

/// Token ids of prompts stay below this: the size of the vocabulary where the model is known under one of the names,
/// else one that every tokenizer has.
pub fn vocabulary<'n>(names: impl IntoIterator<Item = Option<&'n str>>, data_dir: Option<&Path>) -> u32 {
    const SMALLEST: u32 = 512;
    let Ok(catalog) = crate::model::Catalog::load(data_dir) else { return SMALLEST };
    let mut known = names.into_iter().flatten().filter_map(|name| catalog.find(name).ok());
    known.next().map_or(SMALLEST, |m| m.vocab)
}

/// Why the run must not be used, and what else is to be said of it; the result then says the same.
fn judge_run(
    spec: &TrialSpec,
    result: &mut LoadResult,
    hits: Option<f64>,
    workload: &WorkloadSpec,
) -> (Vec<String>, Vec<String>) {
    let mut invalid = reasons(result, hits, workload);
    let mut doubts = result.distortion.doubts.clone();
    let decides = |key: &Key| spec.figures.is_empty() || spec.figures.iter().any(|f| f == key.name());
    let late = if result.distortion.untrusted.iter().any(decides) { &mut invalid } else { &mut doubts };
    late.extend(result.distortion.reasons.iter().cloned());
    result.metrics.client.invalid.clone_from(&invalid);
    result.metrics.client.doubts.clone_from(&doubts);
    (invalid, doubts)
}

/// Why no figure of the run must be used.
fn reasons(result: &LoadResult, hits: Option<f64>, workload: &WorkloadSpec) -> Vec<String> {
    let mut invalid = result.invalid.clone();
    invalid.extend(super::watch::warm_cache(hits, workload));
    for (kind, errors) in &result.errors {
        invalid.push(format!(
            "{} of {} requests failed ({kind}: {})",
            errors.count,
            result.rows.len(),
            errors.first
        ));
    }
    invalid
}

fn observation(
    spec: &TrialSpec,
    facts: &LaunchFacts,
    workload: &WorkloadSpec,
    result: &LoadResult,
) -> Record {
    let launch = recorded_launch(spec, facts);
    // Gaps between tokens are in the run's own file; here they would make the record many times larger.
    let rows = result.request_rows().into_iter().map(|r| RequestRow { itl_s: None, ..r }).collect();
    Record {
        engine: Some(spec.candidate.engine),
        engine_version: facts.version.clone(),
        serve_command: Some(launch.to_text()),
        files: launch.files,
        model: Some(spec.model.clone()),
        hardware: Some(spec.hardware.clone()),
        num_gpus: Some(spec.num_gpus),
        replicas: Some(spec.candidate.replicas()).filter(|n| *n > 1),
        workload: Some(workload.clone()),
        resolved: Some(facts.resolved.clone()),
        requests: Some(rows),
        result: Some(result.metrics.clone()),
        ..Record::default()
    }
}

/// The launch without the address it happened to get, so that equal launches have equal commands, and without secrets.
fn recorded_launch(spec: &TrialSpec, facts: &LaunchFacts) -> crate::launch::Launch {
    let mut env = crate::engine::redact::env(&spec.fixed_env);
    env.extend(crate::engine::redact::env(&spec.candidate.env));
    crate::launch::Launch::new(env, facts.argv.clone(), facts.files.clone()).without_address()
}

/// The whole observation, with every token gap, beside the log; a disk that is full does not lose the run.
fn keep(spec: &TrialSpec, id: RunId, attempt: u64, observation: &Record, result: &LoadResult) {
    let full = Record { requests: Some(result.request_rows()), ..observation.clone() };
    let again = if attempt == 0 { String::new() } else { format!("-again{attempt}") };
    let name = format!("run-{}-{}{again}.json", id.workload, spec.first_repeat + id.repeat);
    if let Ok(json) = serde_json::to_vec(&full) {
        let _ = crate::host::write_private(&Path::new(&spec.dir).join(name), &json);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_client_spoils_a_run_only_for_figures_that_decide() {
        let text = r#"{"id":"001","candidate":{"engine":"emulated"},"model":"m","hardware":"cpu","workloads":[],
                       "ready_timeout_s":1,"run_timeout_s":1,"dir":"d","figures":["output_throughput"]}"#;
        let mut spec: TrialSpec = serde_json::from_str(text).unwrap();
        let late = |untrusted: Vec<Key>| LoadResult {
            metrics: crate::scenario::Metrics::default(),
            rows: Vec::new(),
            errors: std::collections::BTreeMap::new(),
            health: load::ClientHealth::default(),
            invalid: Vec::new(),
            distortion: load::Distortion {
                reasons: vec!["late".into()],
                untrusted,
                doubts: vec!["busy".into()],
            },
            cancelled: false,
        };
        let of = |spec: &TrialSpec, untrusted: Vec<Key>| {
            let mut result = late(untrusted);
            let verdict = judge_run(spec, &mut result, None, &WorkloadSpec::random(8, 2, 1, 0));
            let said = &result.metrics.client;
            assert_eq!(verdict, (said.invalid.clone(), said.doubts.clone()));
            verdict.0
        };
        assert_eq!(of(&spec, vec![Key::P99ItlMs]), Vec::<String>::new());
        assert_eq!(of(&spec, vec![Key::P99ItlMs, Key::OutputThroughput]), ["late"]);
        // Starved, but the kernel's stamps kept every figure.
        assert_eq!(of(&spec, Vec::new()), Vec::<String>::new());
        spec.figures.clear();
        assert_eq!(of(&spec, vec![Key::P99ItlMs]), ["late"]);
    }
}
