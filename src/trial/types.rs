//! What goes into a trial and what comes out; plain data, written to `trials.jsonl` line by line.

use crate::engine::failure::{Class, Remedy, SpeedWarning};
use crate::launch::{Candidate, Container, LaunchFile};
use crate::scenario::Record;
use crate::workload::WorkloadSpec;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Everything needed to run one candidate, here or on another machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct TrialSpec {
    /// Directory name under `trials/`, such as `003-vllm-1a2b3c4d5e`.
    pub id: String,
    pub candidate: Candidate,
    pub model: String,
    /// Name under which the engine serves the model, when it differs.
    #[serde(default)]
    pub served_model_name: Option<String>,
    pub hardware: String,
    #[serde(default = "one")]
    pub num_gpus: u32,
    /// The GPUs of this launch, by the driver's numbers, where it shares the machine with others; empty: those that this process sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<u32>,
    /// Flags passed through unchanged after `--` on the command line.
    #[serde(default)]
    pub fixed_args: Vec<String>,
    #[serde(default)]
    pub fixed_env: BTreeMap<String, String>,
    /// The engine's program, when not found by its usual name (`--engine-command`), already split.
    #[serde(default)]
    pub program: Option<Vec<String>>,
    /// Nodes that one engine is laid over, the head first, which is this machine; each is reached by ssh. Empty: this machine alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// Words for the ssh that reaches them, such as a port and a key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_options: Vec<String>,
    /// Command of the router before the candidate's replicas, with `{urls}` and `{port}` in it; absent: the client sends to them in turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<Vec<String>>,
    /// The image that the engine runs in; absent for one that is installed here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    pub workloads: Vec<WorkloadSpec>,
    /// Measured runs of each workload in this one launch; each repeat has its own seed unless told otherwise.
    #[serde(default = "one")]
    pub repeats: u32,
    /// So many of the last workloads are measured once, after every repeat of the others, and their failure spoils
    /// nothing of what was measured before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub measured_once: usize,
    /// Index of the first repeat: seeds continue over launches.
    #[serde(default)]
    pub first_repeat: u32,
    /// Seconds allowed from start to ready.
    pub ready_timeout_s: f64,
    /// Seconds allowed for one measured run.
    pub run_timeout_s: f64,
    /// Racing: seconds after which a run of the workload at the same place is cut because it cannot win any
    /// more; where there is no number, none is cut.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub give_up_s: Vec<f64>,
    /// Racing by pace: seconds of the best run of the workload at the same place; one that takes several times as long by
    /// what it has done so far is cut. Empty where the pace of a run says nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub best_s: Vec<f64>,
    /// Result keys that decide. A run whose client was too late for one of them is invalid; for any other figure that is
    /// a doubt. None named: every figure decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<String>,
    /// Seconds between SIGTERM and SIGKILL; the engine's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_grace_s: Option<f64>,
    /// The quality gate's prompts are asked after the runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<AskQuality>,
    /// Directory with data files that add to or replace the embedded ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<String>,
    /// Where the launch's log and spec go.
    pub dir: String,
}

/// What the quality gate asks of a launch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct AskQuality {
    /// File with the answers of the baseline, whose text is scored; absent: the launch's own answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// File with questions whose answers are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval: Option<String>,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// What a container's runtime says of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct ImageFacts {
    /// As the user names it.
    pub name: String,
    /// The runtime's command that ran it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run: Vec<String>,
    /// Digest of its configuration: what it is, wherever it came from.
    pub id: String,
    /// `NAME@sha256:…` of the registry that it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// Facts read back from a running engine.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct LaunchFacts {
    pub version: Option<String>,
    /// The exact command of the engine, inside its container where there is one.
    pub argv: Vec<String>,
    /// Files that the engine read at its start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<LaunchFile>,
    pub env: BTreeMap<String, String>,
    /// The image that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageFacts>,
    /// Seconds from spawn to ready.
    pub startup_s: f64,
    /// `num_gpu_blocks`, `block_size`, `num_kv_tokens`, `max_num_seqs`, `async_scheduling`, …
    pub resolved: Map<String, Value>,
    /// Warnings of the engine's log that matter for speed, one a kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slow: Vec<SpeedWarning>,
}

/// One measured run of one workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Measured {
    pub workload: WorkloadSpec,
    pub repeat: u32,
    pub observation: Record,
    /// Share of prompt tokens that came from the prefix cache, from the engine's own counters.
    pub cache_hit_ratio: Option<f64>,
    /// Reasons for which this run must not be used (cache hits, lost requests…).
    #[serde(default)]
    pub invalid: Vec<String>,
    /// Where the client may have distorted the latencies; the run counts, and the report says so.
    #[serde(default)]
    pub doubts: Vec<String>,
    pub started_unix_s: f64,
    pub wall_s: f64,
}

/// A launch or run that failed, as a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Failure {
    /// Failure class, such as `out-of-memory`, `bad-flag`, `hang-at-start`; one that this version does not know
    /// reads as unknown.
    pub class: Class,
    /// start, load, run, stop.
    pub phase: String,
    /// First error line of the log.
    pub root_cause: String,
    /// What the user (or the tuner) does next.
    pub hint: String,
    pub exit: Option<String>,
    pub log: Option<String>,
    /// What helps, as values that the tuner acts on, the most promising first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remedies: Vec<Remedy>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase", tag = "outcome")]
pub enum Outcome {
    Measured {
        facts: LaunchFacts,
        runs: Vec<Measured>,
    },
    /// May hold the runs that were finished before the failure.
    Failed {
        failure: Failure,
        #[serde(default)]
        facts: Option<LaunchFacts>,
        #[serde(default)]
        runs: Vec<Measured>,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct TrialResult {
    pub spec: TrialSpec,
    #[serde(flatten)]
    pub outcome: Outcome,
    pub started_unix_s: f64,
    pub wall_s: f64,
    /// What was left behind after the stop and how it was removed; empty when clean.
    #[serde(default)]
    pub leftovers: Vec<String>,
    /// How a first launch failed for a cause that may lie outside of the candidate; this result is the second's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_failure: Option<Failure>,
    /// Where it ran, when an executor placed it; absent for a launch on the tuner's own machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
}

/// Where an executor placed a launch, and what became of it on the way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Placement {
    /// The executor, as `Ray at http://127.0.0.1:8265`.
    pub executor: String,
    /// Its own id of the job.
    pub job: String,
    /// The node, as the executor calls it.
    #[serde(default)]
    pub node: Option<String>,
    /// The node's own name of itself.
    #[serde(default)]
    pub host: String,
    /// What the node says of itself: processor, memory, GPUs, driver.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machine: Vec<(String, String)>,
    /// Attempts before this one that were lost with their node: they say nothing of the candidate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<LostAttempt>,
}

/// A launch that was taken away from its node before it could say anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct LostAttempt {
    #[serde(default)]
    pub node: Option<String>,
    /// In the executor's words.
    pub why: String,
}
