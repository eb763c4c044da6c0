//! TensorRT-LLM: `trtllm-serve MODEL …` with its options in a YAML file.

use super::adapter::{Adapter, Endpoints};
use super::metrics::{MetricNames, typed};
use crate::launch::{EngineKind, FlagValue, LaunchFile, LaunchPlan, LaunchRequest, sets_any};
use regex::Regex;
use serde_json::{Map, Value};
use std::sync::LazyLock;

#[derive(Debug)]
pub(super) struct Trtllm;

const METRICS: MetricNames = MetricNames {
    // It counts blocks found and missed, not tokens asked for; the hits come from the usage of the answers.
    cache_queries: "",
    cache_hits: "",
    prompt_tokens: "trtllm_prompt_tokens_total",
    generation_tokens: "trtllm_generation_tokens_total",
    preemptions: "trtllm_num_paused_requests",
    running: "trtllm_num_requests_running",
    waiting: "trtllm_num_requests_waiting",
    kv_usage: "trtllm_kv_cache_utilization",
    queue_time: "trtllm_request_queue_time_seconds",
    prefill_time: "",
    config_info: &[],
};

static LOG_FACTS: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    [
        ("block_size", r"Number of tokens per block: (\d+)"),
        // Printed for the small estimation run too: the last one counts.
        ("num_kv_tokens", r"for max tokens in paged KV cache \((\d+)\)"),
        ("max_model_len", r"\bmax_seq_len=(\d+), max_num_requests"),
        ("max_num_batched_tokens", r"\bmax_num_tokens=(\d+), max_batch_size"),
        ("max_num_seqs", r"\bmax_batch_size=(\d+)"),
        ("adjusted_max_seq_len", r"Adjusted max_seq_len to (\d+)"),
        ("engine_version", r"TensorRT[- ]LLM version: (\S+)"),
    ]
    .into_iter()
    .map(|(key, re)| (key, Regex::new(re).expect("constant")))
    .collect()
});

/// Options that exist only on the command line; everything else goes into the YAML, because which of the
/// two wins when both name a key changed between releases.
const CLI_ONLY: &[&str] =
    &["backend", "log_level", "tokenizer", "num_postprocess_workers", "trust_remote_code"];

impl Adapter for Trtllm {
    fn kind(&self) -> EngineKind {
        EngineKind::Trtllm
    }

    fn programs(&self) -> &'static [&'static [&'static str]] {
        &[&["trtllm-serve"]]
    }

    fn install_hint(&self) -> &'static str {
        "install TensorRT-LLM (NVIDIA's container or wheel index) so that `trtllm-serve` is on PATH, or name \
         the program with --engine-command, or try the embedded engine with --engine emulated"
    }

    fn plan(&self, r: &LaunchRequest<'_>) -> LaunchPlan {
        let mut plan = LaunchPlan::default();
        plan.args.push(r.model.to_owned());
        for (name, value) in [("--host", "127.0.0.1".to_owned()), ("--port", r.port.to_string())] {
            plan.args.extend([name.to_owned(), value]);
        }
        if !sets_any(r, &["backend"]) {
            plan.args.extend(["--backend".to_owned(), "pytorch".to_owned()]);
        }
        if r.num_gpus > 1 && !sets_any(r, &["tp-size", "tensor-parallel-size", "pp-size"]) {
            plan.args.extend(["--tp_size".to_owned(), r.num_gpus.to_string()]);
        }
        let mut yaml = Map::new();
        for (name, value) in &r.candidate.flags {
            let key = name.replace('-', "_");
            if CLI_ONLY.contains(&key.as_str()) {
                plan.args.push(format!("--{key}"));
                if *value != FlagValue::Bool(true) {
                    plan.args.push(value.to_string());
                }
            } else {
                insert(&mut yaml, &key, json(value));
            }
        }
        if !yaml.is_empty() {
            let file = format!("{}/llm_api_options.yaml", r.dir.trim_end_matches('/'));
            // The older spelling of `--config`: every release takes it.
            plan.args.extend(["--extra_llm_api_options".to_owned(), file.clone()]);
            // JSON is YAML.
            let text = serde_json::to_string_pretty(&Value::Object(yaml)).unwrap_or_default();
            plan.files.push(LaunchFile { path: file, text: text + "\n" });
        }
        plan.args.extend(r.fixed_args.iter().cloned());
        plan.env.extend(r.fixed_env.clone());
        plan.env.extend(r.candidate.env.clone());
        plan
    }

    fn help_args(&self) -> &'static [&'static [&'static str]] {
        // The YAML's keys are judged by the engine itself, which refuses unknown ones.
        &[]
    }

    fn endpoints(&self) -> Endpoints {
        Endpoints {
            health: "/health",
            models: "/v1/models",
            version: Some("/version"),
            metrics: Some("/prometheus/metrics"),
            reset_cache: None,
            server_info: None,
        }
    }

    fn metric_names(&self) -> MetricNames {
        METRICS
    }

    fn log_facts(&self, log: &str) -> Map<String, Value> {
        let mut facts = Map::new();
        for line in log.lines() {
            for (key, re) in LOG_FACTS.iter() {
                if let Some(found) = re.captures(line) {
                    let value = if *key == "engine_version" {
                        Some(Value::from(&found[1]))
                    } else {
                        typed(&found[1])
                    };
                    if let Some(value) = value {
                        facts.insert((*key).to_owned(), value);
                    }
                }
            }
        }
        facts
    }

    fn fatal_marks(&self) -> &'static [&'static str] {
        // The parent may stay alive after its workers failed.
        &[
            "Executor worker initialization error",
            "Executor worker died during initialization",
            "Executor worker returned error",
            "Executor creation failed due to insufficient GPU memory",
        ]
    }

    fn max_model_len_flag(&self) -> &'static str {
        "--max_seq_len"
    }

    fn stop_grace_s(&self) -> f64 {
        20.0
    }
}

/// Sets a dotted key in a nested object.
fn insert(map: &mut Map<String, Value>, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            map.insert(key.to_owned(), value);
        }
        Some((head, rest)) => {
            let inner = map.entry(head.to_owned()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

fn json(value: &FlagValue) -> Value {
    match value {
        FlagValue::Bool(b) => Value::from(*b),
        FlagValue::Int(i) => Value::from(*i),
        FlagValue::Float(x) => Value::from(*x),
        // Text that is itself JSON (lists, objects, null) keeps its meaning.
        FlagValue::Text(t) => serde_json::from_str(t).unwrap_or_else(|_| Value::from(t.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::Candidate;
    use std::collections::BTreeMap;

    #[test]
    fn every_tuned_key_goes_into_the_file_and_nowhere_else() {
        let candidate = Candidate::baseline(EngineKind::Trtllm)
            .with("max_batch_size", FlagValue::Int(256))
            .with("kv_cache_config.free_gpu_memory_fraction", FlagValue::Float(0.85))
            .with("kv_cache_config.enable_block_reuse", FlagValue::Bool(false))
            .with("cuda_graph_config", FlagValue::Text("null".into()));
        let request = LaunchRequest {
            candidate: &candidate,
            model: "m",
            served_model_name: None,
            hardware: "h100-sxm-80gb",
            num_gpus: 1,
            fixed_args: &[],
            fixed_env: &BTreeMap::new(),
            port: 8000,
            dir: "/d",
        };
        let plan = Trtllm.plan(&request);
        assert_eq!(
            plan.args.join(" "),
            "m --host 127.0.0.1 --port 8000 --backend pytorch --extra_llm_api_options /d/llm_api_options.yaml"
        );
        let yaml: Value = serde_json::from_str(&plan.files[0].text).unwrap();
        assert_eq!(yaml["kv_cache_config"]["enable_block_reuse"], false);
        assert_eq!(yaml["max_batch_size"], 256);
        assert!(yaml["cuda_graph_config"].is_null());
    }
}
