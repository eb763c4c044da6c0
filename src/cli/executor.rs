//! Options of `dyno tune` that say where trials run, and a look at that place before anything is measured.

use crate::error::{Error, Result};
use crate::executor::{self, Executor, ExecutorConfig, ExecutorKind, Order, Places};
use crate::launch::{Candidate, EngineKind};
use crate::store::{Plan, RunFile};
use crate::trial::{Observer, TrialSpec};
use crate::tune::{Cancel, RemoteLauncher};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Where {
    /// On this machine
    Local,
    /// As jobs of a Ray cluster, by its Jobs API
    Ray,
    /// As batch jobs of Slurm, by sbatch
    Slurm,
    /// On hosts that ssh reaches, one launch at a time on each
    Ssh,
    /// As Jobs of a Kubernetes cluster, by kubectl
    Kubernetes,
}

#[derive(Debug, Default, Args)]
pub(super) struct ExecutorArgs {
    /// Where trials run [default: local]
    #[arg(long, value_enum, value_name = "NAME")]
    executor: Option<Where>,
    /// dyno's program on the nodes [default: the path of this program where they have it, else dyno on their PATH]
    #[arg(long, value_name = "PATH")]
    executor_program: Option<String>,
    /// Address of Ray's dashboard [default: $RAY_API_SERVER_ADDRESS, else http://127.0.0.1:8265]
    #[arg(long, value_name = "URL")]
    ray_address: Option<String>,
    /// Hosts for --executor ssh (comma list), as ssh knows them
    #[arg(long, value_name = "HOSTS", value_delimiter = ',')]
    ssh_hosts: Vec<String>,
    /// More words for the ssh of `--executor ssh` and of `--engine-nodes`, such as '-p 2222 -i KEY'
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    ssh_options: Option<String>,
    /// More words for sbatch, such as '-p gpu -A lab -t 2:00:00'
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    slurm_options: Option<String>,
    /// Directory that Slurm's nodes share with this machine, for the jobs' outputs [default: ~/.dyno-jobs]
    #[arg(long, value_name = "DIR")]
    slurm_dir: Option<String>,
    /// Image of the trials' pods: it holds the engine and dyno
    #[arg(long, value_name = "IMAGE")]
    kubernetes_image: Option<String>,
    /// Namespace of the trials' Jobs [default: default]
    #[arg(long, value_name = "NAME")]
    kubernetes_namespace: Option<String>,
    /// kubectl's context [default: the current one]
    #[arg(long, value_name = "NAME")]
    kubernetes_context: Option<String>,
    /// Resource by which nodes count their GPUs [default: nvidia.com/gpu]
    #[arg(long, value_name = "NAME")]
    kubernetes_gpu_resource: Option<String>,
}

impl ExecutorArgs {
    /// The words of `--ssh-options`.
    pub(super) fn ssh_words(&self) -> Vec<String> {
        words_of(self.ssh_options.as_ref())
    }

    /// The executor that was asked for, else the one of an earlier plan; none for this machine.
    pub(super) fn config(&self, old: Option<&ExecutorConfig>) -> Option<ExecutorConfig> {
        let kind = match self.executor {
            Some(Where::Local) => return None,
            Some(Where::Ray) => ExecutorKind::Ray,
            Some(Where::Slurm) => ExecutorKind::Slurm,
            Some(Where::Ssh) => ExecutorKind::Ssh,
            Some(Where::Kubernetes) => ExecutorKind::Kubernetes,
            None => old?.kind,
        };
        let old = old.filter(|c| c.kind == kind);
        let said = |new: &Option<String>, recorded: fn(&ExecutorConfig) -> &Option<String>| {
            new.clone().or_else(|| old.and_then(|c| recorded(c).clone()))
        };
        let words = |new: Vec<String>, recorded: fn(&ExecutorConfig) -> &Vec<String>| {
            if new.is_empty() { old.map(|c| recorded(c).clone()).unwrap_or_default() } else { new }
        };
        let slurm = kind == ExecutorKind::Slurm;
        let options = if slurm { words_of(self.slurm_options.as_ref()) } else { self.ssh_words() };
        Some(ExecutorConfig {
            kind,
            program: said(&self.executor_program, |c| &c.program),
            address: said(&self.ray_address, |c| &c.address),
            hosts: words(self.ssh_hosts.clone(), |c| &c.hosts),
            options: words(options, |c| &c.options),
            dir: said(&self.slurm_dir, |c| &c.dir),
            namespace: said(&self.kubernetes_namespace, |c| &c.namespace),
            context: said(&self.kubernetes_context, |c| &c.context),
            image: said(&self.kubernetes_image, |c| &c.image),
            gpu_resource: said(&self.kubernetes_gpu_resource, |c| &c.gpu_resource),
        })
    }
}

fn words_of(text: Option<&String>) -> Vec<String> {
    text.map(|t| crate::launch::split(t).0).unwrap_or_default()
}

/// The plan's executor, once it has answered, with what it has room for.
///
/// Errors: it does not answer, has no node for such a launch, or would be told a secret.
pub(super) fn reached(plan: &Plan) -> Result<Option<(Box<dyn Executor>, Places)>> {
    let Some(config) = &plan.executor else { return Ok(None) };
    if *plan != plan.without_secrets() {
        return Err(Error::usage("a flag holds a secret, and jobs of a cluster are read by others")
            .hint("leave it out, and set it in the environment of the nodes"));
    }
    let executor = executor::executor(config)?;
    let places = executor.places(plan.num_gpus)?;
    Ok(Some((executor, places)))
}

/// The launcher of a campaign on its executor.
pub(super) fn launcher<'a>(
    run: &RunFile,
    executor: &'a dyn Executor,
    cancel: Cancel,
    observer: &'a dyn Observer,
) -> RemoteLauncher<'a> {
    let programs = run.plan.executor.as_ref().map(ExecutorConfig::programs).unwrap_or_default();
    RemoteLauncher { executor, programs, run_id: run.run_id.clone(), cancel, observer }
}

/// What the first trial of a plan is to its executor, as text; nothing for trials on this machine.
pub(super) fn first_job(plan: &Plan) -> Result<Option<String>> {
    let Some(config) = &plan.executor else { return Ok(None) };
    let engine = plan.engines.first().copied().unwrap_or(EngineKind::Vllm);
    let spec = json!({
        "id": "000", "candidate": Candidate::baseline(engine), "model": plan.model, "hardware": plan.hardware,
        "num_gpus": plan.num_gpus, "fixed_args": plan.fixed_args, "program": plan.engine_command,
        "workloads": [plan.primary().spec], "repeats": plan.settings.repeats,
        "ready_timeout_s": plan.ready_timeout_s, "run_timeout_s": plan.run_timeout_s, "dir": "",
    });
    let spec: TrialSpec = serde_json::from_value(spec)
        .map_err(|e| Error::failed("the first trial cannot be written").source(e))?;
    let dyno_version = env!("CARGO_PKG_VERSION").to_owned();
    let order = Order { job: "dyno-000".to_owned(), dyno_version, spec, files: BTreeMap::new() };
    let job = executor::job(&config.programs(), &order)?;
    Ok(Some(executor::executor(config)?.shown(&job)))
}
