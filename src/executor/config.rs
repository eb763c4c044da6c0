//! The executor as a plan records it.

use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ExecutorKind {
    Ray,
    Slurm,
    Ssh,
    Kubernetes,
}

impl fmt::Display for ExecutorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ExecutorKind::Ray => "ray",
            ExecutorKind::Slurm => "slurm",
            ExecutorKind::Ssh => "ssh",
            ExecutorKind::Kubernetes => "kubernetes",
        })
    }
}

/// Which scheduler runs the trials, and what it has to be told. Nothing secret stands here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct ExecutorConfig {
    pub kind: ExecutorKind,
    /// dyno's program on the nodes; absent: the file that runs here, where they have it, or `dyno` on their PATH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// Ray: the address of the dashboard, which serves the Jobs API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// ssh: hosts, one launch at a time on each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// More words for the executor's own command (`ssh`, `sbatch`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Slurm: a directory that the nodes share, for the jobs' outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// Kubernetes: namespace, context of kubectl, image with engine and dyno, resource by which nodes count GPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_resource: Option<String>,
}

impl ExecutorConfig {
    /// With nothing said: each executor's defaults.
    pub fn of(kind: ExecutorKind) -> ExecutorConfig {
        ExecutorConfig {
            kind,
            program: None,
            address: None,
            hosts: Vec::new(),
            options: Vec::new(),
            dir: None,
            namespace: None,
            context: None,
            image: None,
            gpu_resource: None,
        }
    }

    /// Programs to try as dyno on a node, in this order: a node that shares the tuner's files has its very program.
    pub fn programs(&self) -> Vec<String> {
        if let Some(program) = &self.program {
            return vec![program.clone()];
        }
        let own = std::env::current_exe().ok().map(|p| p.display().to_string());
        own.into_iter().chain(["dyno".to_owned()]).collect()
    }
}
