//! The plan of a campaign: everything that decides what is measured, validated before anything runs and
//! kept in `run.json`, so that a resumed campaign is the same campaign.

use crate::error::{Error, Result};
use crate::executor::ExecutorConfig;
use crate::launch::{Container, EngineKind, quote, split};
use crate::search::{Objective, Settings, Slo};
use crate::space::{OutputChange, Space};
use crate::trial::{HIDDEN, without_secrets};
use crate::workload::{Dataset, WorkloadSpec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// A workload with the text it was asked for by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct NamedWorkload {
    pub name: String,
    pub spec: WorkloadSpec,
}

/// Other weights of the model that the user offers (`--variant NAME=MODEL`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Variant {
    pub name: String,
    /// Hub name, or a local directory.
    pub model: String,
}

/// How candidates are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// One flag at a time, the best together, neighbours.
    OneFactor,
    /// The whole space simulated on a calibrated cost model, launched in the order of expected gain.
    Model,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Plan {
    pub model: String,
    pub engines: Vec<EngineKind>,
    /// The first is what the search is about; the others are checked in the confirmation.
    pub workloads: Vec<NamedWorkload>,
    pub objective: Objective,
    #[serde(default)]
    pub slo: Slo,
    /// Hardware id, given or detected.
    pub hardware: String,
    /// True when the id was read from the machine and not said by the user.
    #[serde(default)]
    pub hardware_detected: bool,
    pub num_gpus: u32,
    /// Launches side by side, each on GPUs of its own.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub in_flight: u32,
    /// Where trials run; absent: on the tuner's own machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<ExecutorConfig>,
    pub seed: u64,
    pub strategy: Strategy,
    pub settings: Settings,
    /// Seconds of trials after which no optional launch begins.
    pub budget_s: Option<f64>,
    /// Launches after which no optional one begins.
    pub max_trials: Option<u32>,
    /// Longest request to serve, under the engine's own name for that flag.
    #[serde(default)]
    pub max_model_len: Option<u32>,
    /// Engine flags for every launch, passed on unchanged.
    #[serde(default)]
    pub fixed_args: Vec<String>,
    /// Program that starts the engine, when it is not found by its usual name.
    #[serde(default)]
    pub engine_command: Option<Vec<String>>,
    /// The image that every launch runs in; absent for an engine that is installed here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// Flags the search may turn; empty for all that the space holds.
    #[serde(default)]
    pub only_flags: Vec<String>,
    /// The most that a flag's value may do to what the model answers.
    #[serde(default)]
    pub allow_output_change: OutputChange,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
    /// Numbers of replicas that are candidates, each a divisor of the GPUs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<u32>,
    /// Nodes that one engine is laid over, the head first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// Words for the ssh that reaches them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_options: Vec<String>,
    /// Command of the router before replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<Vec<String>>,
    /// Draft model or EAGLE head for speculative decoding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft_model: Option<String>,
    /// Largest relative loss that a candidate may bring: of a token's probability, and of the share of right answers (0.01 =
    /// 1 %).
    #[serde(default = "one_percent")]
    pub max_quality_loss: f64,
    /// File with questions whose answers are known (`--eval`), which the quality gate puts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval: Option<String>,
    #[serde(default)]
    pub data_dir: Option<String>,
    /// Files with flags of the user's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub space_files: Vec<String>,
    /// Serving commands that are tried first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tries: Vec<String>,
    /// Directories of earlier campaigns from which the search starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prior: Vec<String>,
    pub ready_timeout_s: f64,
    pub run_timeout_s: f64,
    /// Checksums of the files that the workloads read: with other contents it is another campaign.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, String>,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_one(n: &u32) -> bool {
    *n == 1
}

fn one_percent() -> f64 {
    0.01
}

impl Plan {
    /// Whether a candidate may change the model's answers, so that the quality gate has something to watch.
    pub fn answers_may_change(&self) -> bool {
        let spec = &self.primary().spec;
        // Speculation is searched on text alone.
        let text =
            spec.dataset == Dataset::Custom || (spec.dataset == Dataset::Sharegpt && spec.path.is_some());
        match self.allow_output_change {
            _ if !self.variants.is_empty() => true,
            OutputChange::None => false,
            OutputChange::Lossless => text,
            OutputChange::Approximate => true,
        }
    }

    /// The variants as the command line says them.
    pub fn variant_texts(&self) -> Vec<String> {
        self.variants.iter().map(|v| format!("{}={}", v.name, v.model)).collect()
    }

    /// The search spaces of this campaign.
    ///
    /// Errors: every problem of every file.
    pub fn spaces(&self) -> Result<Vec<Space>> {
        Space::load_with(self.data_dir.as_deref().map(Path::new), &self.space_files)
    }

    /// The search space of one engine.
    ///
    /// Errors: those of [`Plan::spaces`], and an engine without one.
    pub fn space(&self, engine: EngineKind) -> Result<Space> {
        let all = self.spaces()?;
        all.into_iter()
            .find(|s| s.engine == engine)
            .ok_or_else(|| Error::usage(format!("there is no search space for engine `{engine}`")))
    }

    pub fn primary(&self) -> &NamedWorkload {
        &self.workloads[0]
    }

    pub fn emulated(&self) -> bool {
        self.engines.contains(&EngineKind::Emulated)
    }

    /// The plan as it may be recorded: without the secrets of flags and of the engine's command.
    pub fn without_secrets(&self) -> Plan {
        Plan {
            fixed_args: without_secrets(&self.fixed_args),
            engine_command: self.engine_command.as_deref().map(without_secrets),
            container: self
                .container
                .as_ref()
                .map(|c| Container { options: without_secrets(&c.options), ..c.clone() }),
            tries: self.tries.iter().map(|t| line_without_secrets(t)).collect(),
            ..self.clone()
        }
    }

    /// A secret stood in the flags or in the engine's command and was not recorded: a resumed campaign has to be given it again.
    pub fn lacks_secrets(&self) -> bool {
        let words = self.fixed_args.iter().chain(self.engine_command.iter().flatten());
        let options = self.container.iter().flat_map(|c| &c.options);
        words.chain(options).any(|w| w.contains(HIDDEN))
    }

    /// What differs between two plans in ways that change what is measured; budgets and time limits may be extended.
    pub fn differences(&self, other: &Plan) -> Vec<String> {
        let json = |p: &Plan| serde_json::to_value(p).unwrap_or_default();
        let (a, b) = (json(self), json(other));
        let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return Vec::new() };
        a.keys()
            .filter(|k| {
                !matches!(k.as_str(), "budget_s" | "max_trials" | "ready_timeout_s" | "run_timeout_s")
                    && a.get(*k) != b.get(*k)
            })
            .map(|k| {
                let text = |v: Option<&serde_json::Value>| v.map(ToString::to_string).unwrap_or_default();
                format!("{k}: {} in the record, {} asked for", text(a.get(k)), text(b.get(k)))
            })
            .collect()
    }
}

/// A command line, with the secrets of its flags hidden.
fn line_without_secrets(line: &str) -> String {
    let words = without_secrets(&split(line).0);
    words.iter().map(|w| quote(w)).collect::<Vec<_>>().join(" ")
}
