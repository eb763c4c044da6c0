//! What is asked of an engine's adapter, and its answer.

use super::{Candidate, EngineKind, Launch, LaunchFile, Version};
use std::collections::BTreeMap;

/// What is to be launched, independent of the engine.
#[derive(Debug, Clone, Copy)]
pub struct LaunchRequest<'a> {
    pub candidate: &'a Candidate,
    pub model: &'a str,
    pub served_model_name: Option<&'a str>,
    pub hardware: &'a str,
    pub num_gpus: u32,
    pub fixed_args: &'a [String],
    pub fixed_env: &'a BTreeMap<String, String>,
    pub port: u16,
    /// Where files that the engine reads (such as a YAML of options) will lie.
    pub dir: &'a str,
}

/// The launch in the engine's own words. The program itself is not part of `args`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LaunchPlan {
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// Files to write before the start.
    pub files: Vec<LaunchFile>,
}

impl LaunchPlan {
    /// The launch of this plan by a program.
    pub fn launch(
        self,
        engine: EngineKind,
        version: Option<Version>,
        program: &[String],
        num_gpus: u32,
    ) -> Launch {
        let argv = program.iter().cloned().chain(self.args).collect();
        let mut launch = Launch::new(self.env, argv, self.files);
        launch.engine = Some(engine);
        launch.version = version;
        launch.num_gpus = Some(num_gpus);
        launch
    }
}
