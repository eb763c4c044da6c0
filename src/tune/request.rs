//! From what was asked for to a validated plan, with every problem at once.

use super::problems::Problems;
use crate::data::nearest::did_you_mean;
use crate::error::{Error, Result};
use crate::executor::ExecutorConfig;
use crate::hardware;
use crate::launch::{Container, EngineKind, REPLICAS, VARIANT};
use crate::model;
use crate::search::{Objective, Settings, Slo};
use crate::space::{OutputChange, Space};
use crate::store::{NamedWorkload, Plan, plan::Strategy};
use crate::workload;
use std::path::Path;

/// Workloads when none is named: the practitioners' set, conversation lengths first.
const WORKLOADS: [&str; 4] = ["sharegpt-lengths", "short", "medium", "long"];

const NOTHING_TO_JUDGE: &str = "nothing that may be tried changes the answers, so no question would be put";

/// What the user said; nothing checked yet.
#[derive(Debug, Clone, PartialEq)]
pub struct TuneRequest {
    pub model: Option<String>,
    /// Engine names; each may be a comma list.
    pub engines: Vec<String>,
    pub workloads: Vec<String>,
    pub objective: Option<String>,
    pub slo: Vec<String>,
    /// A duration such as `2h`.
    pub budget: Option<String>,
    pub max_trials: Option<u32>,
    pub seed: u64,
    pub hardware: Option<String>,
    pub num_gpus: u32,
    /// Launches side by side.
    pub in_flight: u32,
    /// Where trials run; absent: here.
    pub executor: Option<ExecutorConfig>,
    /// none, lossless or approximate [default: lossless].
    pub allow_output_change: Option<String>,
    /// Other weights, each as `NAME=MODEL`.
    pub variants: Vec<String>,
    /// Numbers of replicas that are candidates.
    pub replicas: Vec<u32>,
    /// Nodes that one engine is laid over, the head first.
    pub nodes: Vec<String>,
    /// Words for the ssh that reaches them.
    pub ssh_options: Vec<String>,
    /// Words of the router's command before replicas.
    pub router: Option<Vec<String>>,
    pub draft_model: Option<String>,
    /// A share such as `1%` or `0.01` [default: 1%].
    pub max_quality_loss: Option<String>,
    /// File with questions whose answers are known.
    pub eval: Option<String>,
    /// latency, throughput or balanced: an objective and an SLO in one word.
    pub preset: Option<String>,
    pub data_dir: Option<String>,
    /// Files with flags of the user's own.
    pub space_files: Vec<String>,
    /// Serving commands to try first.
    pub tries: Vec<String>,
    /// Directories of earlier campaigns.
    pub prior: Vec<String>,
    pub max_model_len: Option<u32>,
    /// Program that starts the engine, as one would type it.
    pub engine_command: Option<String>,
    /// The image to launch from.
    pub container: Option<Container>,
    pub repeats: u32,
    pub strategy: Strategy,
    pub flags: Vec<String>,
    pub ready_timeout: String,
    pub run_timeout: String,
    /// Engine flags after `--`.
    pub fixed_args: Vec<String>,
}

/// What the command line takes where nothing is said.
impl Default for TuneRequest {
    fn default() -> TuneRequest {
        TuneRequest {
            model: None,
            engines: Vec::new(),
            workloads: Vec::new(),
            objective: None,
            slo: Vec::new(),
            budget: None,
            max_trials: None,
            seed: 0,
            hardware: None,
            num_gpus: 1,
            in_flight: 1,
            executor: None,
            allow_output_change: None,
            variants: Vec::new(),
            replicas: Vec::new(),
            nodes: Vec::new(),
            ssh_options: Vec::new(),
            router: None,
            draft_model: None,
            max_quality_loss: None,
            eval: None,
            preset: None,
            data_dir: None,
            space_files: Vec::new(),
            tries: Vec::new(),
            prior: Vec::new(),
            max_model_len: None,
            engine_command: None,
            container: None,
            repeats: 3,
            strategy: Strategy::Model,
            flags: Vec::new(),
            ready_timeout: "30m".into(),
            run_timeout: "30m".into(),
            fixed_args: Vec::new(),
        }
    }
}

/// Hardware that was found on this machine, or why none was.
pub type Detected = std::result::Result<String, String>;

impl TuneRequest {
    /// Checks everything and returns the plan, or one error with all problems.
    pub fn plan(&self, detect: impl FnOnce() -> Detected) -> Result<Plan> {
        let mut p = Problems::default();
        let engines = self.engines(&mut p);
        let (objective, clauses) = self.objective(&mut p);
        let slo =
            Slo(clauses.iter().chain(&self.slo).flat_map(|s| p.take("--slo", s.parse::<Slo>()).0).collect());
        needs_slo(objective, &slo, &mut p);
        let workloads = self.workloads(&mut p);
        let model = self.model(&mut p);
        let (hardware, hardware_detected) = self.hardware(&engines, &mut p, detect);
        self.counts(&mut p);
        self.flag_names(&engines, &mut p);
        let tries = self.tries(&engines, &hardware, &mut p);
        self.priors(&mut p);
        let files = workloads.iter().flat_map(|w| workload::fingerprints(&w.spec));
        let inputs = files.chain(self.questions(&mut p)).collect();
        let plan = Plan {
            model,
            engines,
            workloads,
            objective,
            slo,
            hardware,
            hardware_detected,
            num_gpus: self.num_gpus,
            in_flight: self.in_flight,
            executor: self.executor.clone(),
            seed: self.seed,
            strategy: self.strategy,
            settings: Settings {
                repeats: self.repeats,
                max_pairs: self.repeats.max(2) + 2,
                ..Settings::default()
            },
            budget_s: self.budget.as_deref().map(|b| p.duration("--budget", b)),
            max_trials: self.max_trials,
            max_model_len: self.max_model_len,
            fixed_args: self.fixed_args.clone(),
            engine_command: self.engine_command.as_deref().map(|line| crate::launch::split(line).0),
            container: self.container.clone(),
            only_flags: self.flags.iter().flat_map(|f| split_list(f)).collect(),
            allow_output_change: self.output_change(&mut p),
            variants: self.variants(&mut p),
            replicas: self.copies(&mut p),
            nodes: self.nodes.clone(),
            ssh_options: self.ssh_options.clone(),
            router: self.router.clone(),
            draft_model: self.draft_model.clone(),
            max_quality_loss: self.quality_loss(&mut p),
            eval: self.eval.clone(),
            data_dir: self.data_dir.clone(),
            space_files: self.space_files.clone(),
            tries,
            prior: self.prior.clone(),
            ready_timeout_s: p.duration("--ready-timeout", &self.ready_timeout),
            run_timeout_s: p.duration("--run-timeout", &self.run_timeout),
            inputs,
        };
        judged(&plan, &mut p);
        if p.0.is_empty() { Ok(plan) } else { Err(Error::problems("this cannot be tuned as asked", p.0)) }
    }

    /// The objective as it was named, or what a preset stands for: mean end-to-end latency; total throughput; output throughput as long
    /// as TTFT and TPOT stay where a reader does not wait.
    fn objective(&self, p: &mut Problems) -> (Objective, Vec<String>) {
        let objective = match &self.objective {
            Some(text) => p.take("--objective", text.parse::<Objective>()),
            None => Objective::Metric(crate::scenario::Key::TotalTokenThroughput),
        };
        let Some(preset) = &self.preset else { return (objective, Vec::new()) };
        if self.objective.is_some() {
            p.add("--preset", "chooses the objective, and --objective does too", "give one of them");
        }
        match super::preset::meaning(preset) {
            Ok((text, clauses)) => (p.take("--preset", text.parse()), clauses.into_iter().collect()),
            Err(why) => {
                p.add("--preset", &why, "");
                (objective, Vec::new())
            }
        }
    }

    fn output_change(&self, p: &mut Problems) -> OutputChange {
        let said = self.allow_output_change.as_deref();
        said.map_or(OutputChange::Lossless, |t| p.take("--allow-output-change", t.parse()))
    }

    /// Names in `--flags` that no asked engine's table knows, and what is wrong with the user's own tables.
    fn flag_names(&self, engines: &[EngineKind], p: &mut Problems) {
        let named: Vec<String> = self.flags.iter().flat_map(|f| split_list(f)).collect();
        let dir = self.data_dir.as_deref().map(Path::new);
        let tables: Vec<Space> = match Space::load_with(dir, &self.space_files) {
            Ok(all) => all.into_iter().filter(|s| engines.contains(&s.engine)).collect(),
            Err(e) => return p.error("--space", &e),
        };
        // The choice of weights and the number of replicas are axes without a row.
        let known = |n: &str| n == VARIANT || n == REPLICAS || tables.iter().any(|t| t.flag(n).is_some());
        for name in named.iter().filter(|n| !known(n)) {
            let known = tables.iter().flat_map(|t| t.flags.iter().map(|f| f.name.as_str()));
            p.add("--flags", &format!("no engine here has a flag `{name}`"), &did_you_mean(name, known));
        }
    }

    fn engines(&self, p: &mut Problems) -> Vec<EngineKind> {
        let mut engines = Vec::new();
        for name in self.engines.iter().flat_map(|e| split_list(e)) {
            match name.parse::<EngineKind>() {
                Ok(e) if !engines.contains(&e) => engines.push(e),
                Ok(_) => {}
                Err(e) => p.add("--engine", &e, "or --engine emulated, which runs anywhere"),
            }
        }
        if self.engines.is_empty() {
            engines.push(EngineKind::Vllm);
        }
        if engines.len() > 1 && self.container.is_some() {
            p.add(
                "--engine-image",
                "names one image but several engines are asked for",
                "tune one engine at a time",
            );
        }
        if engines.len() > 1 && self.engine_command.is_some() {
            p.add(
                "--engine-command",
                "names one program but several engines are asked for",
                "tune one engine at a time",
            );
        }
        engines
    }

    fn workloads(&self, p: &mut Problems) -> Vec<NamedWorkload> {
        let named = |name: &str, p: &mut Problems| match workload::parse(name) {
            Ok(mut spec) => {
                spec.seed = Some(spec.seed.unwrap_or(0).wrapping_add(self.seed));
                Some(NamedWorkload { name: name.to_owned(), spec })
            }
            Err(e) => {
                p.0.extend(e.problems);
                None
            }
        };
        if self.workloads.is_empty() {
            return WORKLOADS.iter().filter_map(|w| named(w, p)).collect();
        }
        let mut all: Vec<NamedWorkload> = Vec::new();
        for text in &self.workloads {
            let Some(w) = named(text, p) else { continue };
            if all.iter().any(|o| o.spec == w.spec) {
                p.add("--workload", &format!("`{text}` stands twice"), "name each workload once");
            }
            all.push(w);
        }
        all
    }

    fn model(&self, p: &mut Problems) -> String {
        let Some(name) = &self.model else {
            p.add("--model", "is missing", "a hub name such as openai/gpt-oss-20b, or a local directory");
            return String::new();
        };
        let dir = self.data_dir.as_deref().map(Path::new);
        match model::Catalog::load(dir).and_then(|c| c.find(name)) {
            Ok(_) => {}
            Err(e) => p.error("--model", &e),
        }
        name.clone()
    }

    fn hardware(
        &self,
        engines: &[EngineKind],
        p: &mut Problems,
        detect: impl FnOnce() -> Detected,
    ) -> (String, bool) {
        let (id, detected) = match &self.hardware {
            Some(id) => (id.clone(), false),
            None if engines == [EngineKind::Emulated] => {
                let hint = "the hardware to emulate, such as a100-sxm-80gb; `dyno list hardware` shows all";
                p.add("--hardware", "is missing", hint);
                return (String::new(), false);
            }
            None if self.executor.is_some() => {
                let hint = "that of the nodes, such as a100-sxm-80gb; `dyno list hardware` shows all";
                p.add("--hardware", "is missing", hint);
                return (String::new(), false);
            }
            None => match detect() {
                Ok(id) => (id, true),
                Err(why) => {
                    let hint = "name it, such as --hardware a100-sxm-80gb; `dyno list hardware` shows all";
                    p.add("--hardware", &why, hint);
                    return (String::new(), false);
                }
            },
        };
        let dir = self.data_dir.as_deref().map(Path::new);
        if let Err(e) = hardware::Catalog::load(dir).and_then(|c| c.find(&id).map(|_| ())) {
            p.error("--hardware", &e);
        }
        (id, detected)
    }

    fn counts(&self, p: &mut Problems) {
        if self.num_gpus == 0 {
            p.add("--num-gpus", "must be at least 1", "");
        }
        if !(1..=64).contains(&self.in_flight) {
            p.add("--parallel", "must be between 1 and 64", "");
        }
        if self.in_flight > 1 && crate::launch::fixed_value(&self.fixed_args, "port").is_some() {
            p.add(
                "--parallel",
                "and a fixed --port: launches side by side need a port each",
                "leave out --port",
            );
        }
        if !(2..=20).contains(&self.repeats) {
            p.add("--repeats", "must be between 2 and 20", "noise cannot be told from one run");
        }
        // Each engine's defaults once, the best one's again, and the confirmation.
        let engines = u32::try_from(self.engines.len()).unwrap_or(u32::MAX).max(1);
        let least = engines.saturating_add(1 + 2 * self.repeats.max(2));
        if self.max_trials.is_some_and(|m| m < least) {
            let message = format!("is less than the {least} launches of baseline and confirmation");
            p.add("--max-trials", &message, "raise it or lower --repeats");
        }
        if self.max_model_len == Some(0) {
            p.add("--max-model-len", "must be positive", "");
        }
    }
}

fn needs_slo(objective: Objective, slo: &Slo, p: &mut Problems) {
    if objective == Objective::Goodput && slo.0.is_empty() {
        p.add("--objective", "goodput needs an SLO", "add --slo ttft.p99=500ms,tpot.p99=50ms");
    }
}

/// Questions are of use only where answers may change.
fn judged(plan: &Plan, p: &mut Problems) {
    if plan.eval.is_some() && !plan.answers_may_change() {
        p.add(
            "--eval",
            NOTHING_TO_JUDGE,
            "add --allow-output-change approximate, --variant NAME=MODEL, or a --workload of text",
        );
    }
}

/// Splits a comma list.
fn split_list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn request() -> TuneRequest {
        TuneRequest {
            model: Some("openai/gpt-oss-20b".into()),
            engines: vec!["emulated".into()],
            workloads: vec!["random:8/4,n=4".into()],
            hardware: Some("a100-sxm-80gb".into()),
            strategy: Strategy::OneFactor,
            ..TuneRequest::default()
        }
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let bad = TuneRequest {
            model: Some("no/such-model".into()),
            engines: vec!["vllm,tgi".into()],
            workloads: vec!["random:8".into()],
            objective: Some("speed".into()),
            slo: vec!["ttft".into()],
            budget: Some("soon".into()),
            max_trials: Some(3),
            hardware: Some("a1000".into()),
            num_gpus: 0,
            repeats: 1,
            ..request()
        };
        let e = bad.plan(|| Err("none".into())).unwrap_err();
        let text = e.to_string();
        for option in [
            "--engine",
            "--workload",
            "--objective",
            "--slo",
            "--budget",
            "--max-trials",
            "--num-gpus",
            "--repeats",
            "no/such-model",
            "a1000",
        ] {
            assert!(text.contains(option), "{option} missing in:\n{text}");
        }
        assert_eq!(e.kind.exit_code(), 2);
    }

    #[test]
    fn hardware_is_detected_and_said_to_be_so_or_asked_for() {
        let r = TuneRequest { engines: vec!["vllm".into()], hardware: None, ..request() };
        let plan = r.plan(|| Ok("l4-24gb".into())).unwrap();
        assert!(plan.hardware_detected && plan.hardware == "l4-24gb");
        let e = r.plan(|| Err("no NVIDIA driver library here".into())).unwrap_err().to_string();
        assert!(e.contains("no NVIDIA driver library here") && e.contains("--hardware"), "{e}");
        let r = TuneRequest { hardware: None, ..request() };
        assert!(r.plan(|| Ok("l4-24gb".into())).is_err(), "what to emulate is never guessed");
    }

    #[test]
    fn a_plan_round_trips_and_names_what_differs() {
        let plan = request().plan(|| Err(String::new())).unwrap();
        let text = serde_json::to_string(&plan).unwrap();
        let back: Plan = serde_json::from_str(&text).unwrap();
        assert_eq!(plan, back);
        let other =
            TuneRequest { seed: 7, max_trials: Some(40), ..request() }.plan(|| Err(String::new())).unwrap();
        let differences = plan.differences(&other);
        assert!(differences.iter().any(|d| d.starts_with("seed")), "{differences:?}");
        assert!(!differences.iter().any(|d| d.starts_with("max_trials")));
    }
}
