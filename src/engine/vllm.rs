//! vLLM: `vllm serve MODEL …`.

use super::adapter::{Adapter, Endpoints};
use super::metrics::MetricNames;
use super::vllm_like;
use crate::launch::{EngineKind, LaunchPlan, LaunchRequest, flag_args, sets_any};
use serde_json::{Map, Value};

#[derive(Debug)]
pub(super) struct Vllm;

impl Adapter for Vllm {
    fn kind(&self) -> EngineKind {
        EngineKind::Vllm
    }

    fn programs(&self) -> &'static [&'static [&'static str]] {
        &[&["vllm", "serve"], &["python3", "-m", "vllm.entrypoints.cli.main", "serve"]]
    }

    fn install_hint(&self) -> &'static str {
        "install it (`uv pip install vllm`) and put its `vllm` on PATH, or name the program with \
         --engine-command, or try the embedded engine with --engine emulated"
    }

    fn plan(&self, r: &LaunchRequest<'_>) -> LaunchPlan {
        let mut plan = LaunchPlan::default();
        plan.args.push(r.model.to_owned());
        for (name, value) in [("--host", "127.0.0.1".to_owned()), ("--port", r.port.to_string())] {
            plan.args.extend([name.to_owned(), value]);
        }
        if let Some(name) = r.served_model_name {
            plan.args.extend(["--served-model-name".to_owned(), name.to_owned()]);
        }
        let parallel =
            ["tensor-parallel-size", "tp", "pipeline-parallel-size", "pp", "data-parallel-size", "dp"];
        if r.num_gpus > 1 && !sets_any(r, &parallel) {
            plan.args.extend(["--tensor-parallel-size".to_owned(), r.num_gpus.to_string()]);
        }
        for (name, value) in &r.candidate.flags {
            plan.args.extend(flag_args(name, value));
        }
        plan.args.extend(r.fixed_args.iter().cloned());
        // Makes POST /reset_prefix_cache exist, so that one run cannot feed the next one's cache.
        plan.env.insert("VLLM_SERVER_DEV_MODE".into(), "1".into());
        plan.env.insert("VLLM_NO_USAGE_STATS".into(), "1".into());
        plan.env.insert("DO_NOT_TRACK".into(), "1".into());
        plan.env.extend(r.fixed_env.clone());
        plan.env.extend(r.candidate.env.clone());
        plan
    }

    fn help_args(&self) -> &'static [&'static [&'static str]] {
        &[&["--help=all"], &["--help"]]
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
        &[
            "EngineDeadError",
            "Engine core initialization failed",
            "engine core exited unexpectedly",
            "WorkerProc initialization failed",
        ]
    }

    fn stop_grace_s(&self) -> f64 {
        // From ready, 7 s were measured on a CPU; a SIGTERM during the start can hang for ever.
        25.0
    }
}
