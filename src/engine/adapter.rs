//! What a launch needs to know of an engine, as one trait; each engine is one file beside this one.

use super::metrics::MetricNames;
use crate::launch::{EngineKind, Launch, LaunchPlan, LaunchRequest, Version};
use serde_json::{Map, Value};

/// Paths of the server's endpoints; `None` where the engine has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoints {
    /// Answers 200 when the HTTP front is up. Not to be polled while a run is measured.
    pub health: &'static str,
    pub models: &'static str,
    pub version: Option<&'static str>,
    /// Prometheus text.
    pub metrics: Option<&'static str>,
    /// POST here empties the prefix cache.
    pub reset_cache: Option<&'static str>,
    /// Resolved configuration as JSON.
    pub server_info: Option<&'static str>,
}

/// Knowledge of one engine. Implementations are pure: no process, no socket, no file.
pub trait Adapter: Send + Sync {
    fn kind(&self) -> EngineKind;
    /// Ways to call the engine, best first; the first whose program is found is used. Empty for the
    /// embedded engine, which is this very program.
    fn programs(&self) -> &'static [&'static [&'static str]];
    /// What to do when none of the programs is there.
    fn install_hint(&self) -> &'static str;
    /// Arguments, environment and files of a launch.
    fn plan(&self, request: &LaunchRequest<'_>) -> LaunchPlan;
    /// The launch of a request: by the program that was found, else by the engine's usual name.
    fn launch(
        &self,
        request: &LaunchRequest<'_>,
        version: Option<Version>,
        program: Option<&[String]>,
    ) -> Launch {
        let usual = || match self.programs().first() {
            Some(words) => words.iter().map(|w| (*w).to_owned()).collect(),
            None => vec!["dyno".to_owned(), "emulate".to_owned()],
        };
        let program = program.map_or_else(usual, <[String]>::to_vec);
        let mut launch = self.plan(request).launch(self.kind(), version, &program, request.num_gpus);
        launch.model = Some(request.model.to_owned());
        launch
    }
    /// Arguments that print every flag, best first; the first that succeeds and names flags is believed.
    fn help_args(&self) -> &'static [&'static [&'static str]];
    fn endpoints(&self) -> Endpoints;
    fn metric_names(&self) -> MetricNames;
    /// Facts that only the log tells, by their key in `LaunchFacts::resolved`.
    fn log_facts(&self, log: &str) -> Map<String, Value>;
    /// Facts from the JSON of [`Endpoints::server_info`].
    fn info_facts(&self, _info: &Value) -> Map<String, Value> {
        Map::new()
    }
    /// Text in the log that means: dead, although a process still runs.
    fn fatal_marks(&self) -> &'static [&'static str];
    /// The flag that limits prompt plus output of a request.
    fn max_model_len_flag(&self) -> &'static str {
        "--max-model-len"
    }
    /// Seconds between SIGTERM and SIGKILL.
    fn stop_grace_s(&self) -> f64;
}
