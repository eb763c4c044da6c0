//! The embedded engine: this very program as `dyno emulate`, with vLLM's flags, endpoints and metrics.

use super::adapter::{Adapter, Endpoints};
use super::metrics::MetricNames;
use super::vllm_like;
use crate::launch::{EngineKind, LaunchPlan, LaunchRequest, flag_args, sets_any};
use serde_json::{Map, Value};

#[derive(Debug)]
pub(super) struct Emulated;

impl Adapter for Emulated {
    fn kind(&self) -> EngineKind {
        EngineKind::Emulated
    }

    fn programs(&self) -> &'static [&'static [&'static str]] {
        &[]
    }

    fn install_hint(&self) -> &'static str {
        "the embedded engine is part of dyno"
    }

    fn plan(&self, r: &LaunchRequest<'_>) -> LaunchPlan {
        let mut plan = LaunchPlan::default();
        for (name, value) in
            [("--model", r.model), ("--hardware", r.hardware), ("--port", &r.port.to_string())]
        {
            plan.args.extend([name.to_owned(), value.to_owned()]);
        }
        if let Some(name) = r.served_model_name {
            plan.args.extend(["--served-model-name".to_owned(), name.to_owned()]);
        }
        if r.num_gpus > 1 && !sets_any(r, &["tensor-parallel-size", "tp"]) {
            plan.args.extend(["--tensor-parallel-size".to_owned(), r.num_gpus.to_string()]);
        }
        for (name, value) in &r.candidate.flags {
            plan.args.extend(flag_args(name, value));
        }
        plan.args.extend(r.fixed_args.iter().cloned());
        plan.env.extend(r.fixed_env.clone());
        plan.env.extend(r.candidate.env.clone());
        plan
    }

    fn help_args(&self) -> &'static [&'static [&'static str]] {
        // It comes with this very version of the tool, whose search space was made for it.
        &[]
    }

    fn endpoints(&self) -> Endpoints {
        vllm_like::ENDPOINTS
    }

    fn metric_names(&self) -> MetricNames {
        vllm_like::METRICS
    }

    fn log_facts(&self, log: &str) -> Map<String, Value> {
        vllm_like::log_facts(log)
    }

    fn fatal_marks(&self) -> &'static [&'static str] {
        &["EngineDeadError", "Engine core initialization failed"]
    }

    fn stop_grace_s(&self) -> f64 {
        5.0
    }
}
