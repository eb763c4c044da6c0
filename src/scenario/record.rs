//! A record of the interchange format: a scenario, and, when present, its result or failure.

use super::{AcceptanceInput, Metrics};
use crate::launch::{EngineKind, GpuLayout, Launch, LaunchFile};
use crate::workload::{Lengths, WorkloadSpec};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One exact request: arrival and lengths, and in an observation its timing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RequestRow {
    pub arrival_s: f64,
    pub input_tokens: u32,
    pub output_tokens: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e2e_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub itl_s: Option<Vec<f64>>,
    /// Actual minus intended send time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_late_s: Option<f64>,
    /// Why the request did not complete, by kind; absent when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Scenario, observation and failed launch share this one shape. A scenario has neither `result` nor
/// `failure`; an observation has one of them. Unknown keys are an error that names the key.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Record {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serve_command: Option<String>,
    /// Files beside the command that the engine reads when it starts, such as TensorRT-LLM's YAML of options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<LaunchFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_gpus: Option<u32>,
    /// GPUs of one node, where the launch is larger than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus_per_node: Option<u32>,
    /// Bandwidth between nodes for each GPU, in one direction, GB/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_link_gbps: Option<f64>,
    /// Copies of the command that share the load and the GPUs, each a server of its own; one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadSpec>,
    /// Whether requests have exactly the lengths asked for; not known when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lengths: Option<Lengths>,
    /// How many speculated tokens hold, where the launch speculates: a rate a token such as 0.7, or by position such as
    /// [0.8, 0.6, 0.4]; absent: assumed by method, with wide bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acceptance: Option<AcceptanceInput>,
    /// Facts read back from the engine (`num_gpu_blocks`, `block_size`, `num_kv_tokens`, …); they win over guesses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Vec<RequestRow>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Metrics>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Record {
    /// The launch that the record speaks of. What `engine`, `engine_version` and `num_gpus` say wins over the command.
    pub fn launch(&self) -> Launch {
        let mut launch = self.serve_command.as_deref().map(Launch::parse).unwrap_or_default();
        if !self.files.is_empty() {
            launch = launch.with_files(self.files.clone());
        }
        launch.engine = self.engine.or(launch.engine);
        let version = self.engine_version.as_deref().and_then(|v| v.parse().ok());
        launch.version = version.or(launch.version);
        launch.num_gpus = self.num_gpus.or(launch.num_gpus);
        launch.replicas = self.replicas;
        launch
    }

    /// Sets everything that a launch says: engine, command, files, model and GPUs.
    pub fn set_launch(&mut self, launch: &Launch) {
        self.engine = launch.engine;
        self.serve_command = Some(launch.to_text());
        self.files.clone_from(&launch.files);
        self.replicas = launch.replicas;
        self.model.clone_from(&launch.model);
        // A launch may leave GPUs that are at hand unused; the record counts those that it takes.
        let layout = GpuLayout::of(launch);
        self.num_gpus = launch.num_gpus.map(|n| if layout.said && layout.known { layout.gpus() } else { n });
        // The engine's own name of its release says more than the three numbers.
        self.engine_version = self.engine_version.take().or_else(|| launch.version.map(|v| v.to_string()));
    }
}
