//! SGLang: `python3 -m sglang.launch_server --model-path MODEL …`.

use super::adapter::{Adapter, Endpoints};
use super::metrics::{MetricNames, typed};
use crate::launch::{EngineKind, FlagValue, LaunchPlan, LaunchRequest, flag_args, sets_any};
use regex::Regex;
use serde_json::{Map, Value};
use std::sync::LazyLock;

#[derive(Debug)]
pub(super) struct Sglang;

const METRICS: MetricNames = MetricNames {
    cache_queries: "sglang:prompt_tokens_total",
    cache_hits: "sglang:cached_tokens_total",
    prompt_tokens: "sglang:prompt_tokens_total",
    generation_tokens: "sglang:generation_tokens_total",
    preemptions: "sglang:num_retracted_requests_total",
    running: "sglang:num_running_reqs",
    waiting: "sglang:num_queue_reqs",
    kv_usage: "sglang:token_usage",
    queue_time: "sglang:queue_time_seconds",
    prefill_time: "",
    config_info: &["sglang:cache_config_info"],
};

static LOG_FACTS: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    [
        ("num_kv_tokens", r"max_total_num_tokens=(\d+)"),
        ("chunked_prefill_size", r"\bchunked_prefill_size=(-?\d+)"),
        ("max_prefill_tokens", r"\bmax_prefill_tokens=(\d+)"),
        ("max_num_seqs", r"\bmax_running_requests=(\d+)"),
        ("max_model_len", r"\bcontext_len=(\d+)"),
        ("weights_gib", r"Load weight end\..*mem usage=([\d.]+) GB"),
        ("load_s", r"Load weight end\. elapsed=([\d.]+) s"),
        ("attention_backend", r"Use (\w+) backend by default"),
        ("graph_capture_s", r"[Cc]apture .*graph end\..*(?:Time elapsed: |elapsed=)([\d.]+) s"),
        ("kv_cache_dtype", r"Using KV cache dtype: (\S+)"),
    ]
    .into_iter()
    .map(|(key, re)| (key, Regex::new(re).expect("constant")))
    .collect()
});

impl Adapter for Sglang {
    fn kind(&self) -> EngineKind {
        EngineKind::Sglang
    }

    fn programs(&self) -> &'static [&'static [&'static str]] {
        // The module form exists in every release, the console script only since 0.5.6.
        &[&["python3", "-m", "sglang.launch_server"]]
    }

    fn install_hint(&self) -> &'static str {
        "install it (`uv pip install sglang`) in the environment whose python3 is first on PATH, or name the \
         program with --engine-command, or try the embedded engine with --engine emulated"
    }

    fn plan(&self, r: &LaunchRequest<'_>) -> LaunchPlan {
        let mut plan = LaunchPlan::default();
        let mut put = |name: &str, value: String| plan.args.extend([format!("--{name}"), value]);
        put("model-path", r.model.to_owned());
        put("host", "127.0.0.1".to_owned());
        put("port", r.port.to_string());
        if let Some(name) = r.served_model_name {
            put("served-model-name", name.to_owned());
        }
        let parallel = ["tp-size", "tp", "tensor-parallel-size", "pp-size", "dp-size", "data-parallel-size"];
        if r.num_gpus > 1 && !sets_any(r, &parallel) {
            put("tp-size", r.num_gpus.to_string());
        }
        // /metrics exists only with this.
        if !sets_any(r, &["enable-metrics"]) {
            plan.args.push("--enable-metrics".to_owned());
        }
        for (name, value) in &r.candidate.flags {
            // Switches have no negative form: off is leaving them out.
            if *value != FlagValue::Bool(false) {
                plan.args.extend(flag_args(name, value));
            }
        }
        plan.args.extend(r.fixed_args.iter().cloned());
        plan.env.extend(r.fixed_env.clone());
        plan.env.extend(r.candidate.env.clone());
        plan
    }

    fn help_args(&self) -> &'static [&'static [&'static str]] {
        &[&["--help"]]
    }

    fn endpoints(&self) -> Endpoints {
        Endpoints {
            // Generates a token at each call: never polled while a run is measured.
            health: "/health",
            models: "/v1/models",
            version: None,
            metrics: Some("/metrics"),
            reset_cache: Some("/flush_cache"),
            server_info: Some("/get_server_info"),
        }
    }

    fn metric_names(&self) -> MetricNames {
        METRICS
    }

    fn log_facts(&self, log: &str) -> Map<String, Value> {
        let mut facts = Map::new();
        for line in log.lines() {
            for (key, re) in LOG_FACTS.iter() {
                if let Some(value) = re.captures(line).and_then(|c| typed(&c[1])) {
                    facts.insert((*key).to_owned(), value);
                }
            }
        }
        facts
    }

    fn info_facts(&self, info: &Value) -> Map<String, Value> {
        // Resolved values: the engine rewrites page size, backend and limits silently.
        const KEPT: &[(&str, &str)] = &[
            ("version", "engine_version"),
            ("max_total_num_tokens", "num_kv_tokens"),
            ("page_size", "block_size"),
            ("max_running_requests", "max_num_seqs"),
            ("chunked_prefill_size", "chunked_prefill_size"),
            ("max_prefill_tokens", "max_prefill_tokens"),
            ("context_length", "max_model_len"),
            ("attention_backend", "attention_backend"),
            ("prefill_attention_backend", "prefill_attention_backend"),
            ("decode_attention_backend", "decode_attention_backend"),
            ("moe_runner_backend", "moe_runner_backend"),
            ("kv_cache_dtype", "cache_dtype"),
            ("mem_fraction_static", "mem_fraction_static"),
            ("disable_overlap_schedule", "disable_overlap_schedule"),
            ("disable_radix_cache", "disable_radix_cache"),
            ("cuda_graph_max_bs", "cuda_graph_max_bs"),
            ("schedule_policy", "schedule_policy"),
        ];
        KEPT.iter()
            .filter_map(|(from, to)| {
                info.get(from).filter(|v| !v.is_null()).map(|v| ((*to).to_owned(), v.clone()))
            })
            .collect()
    }

    fn fatal_marks(&self) -> &'static [&'static str] {
        &[
            "Received sigquit from a child process",
            "Initialization failed. warmup error",
            "Initialization failed. Please see the error messages above",
            "scheduler is dead",
            "scheduler died during initialization",
        ]
    }

    fn max_model_len_flag(&self) -> &'static str {
        "--context-length"
    }

    fn stop_grace_s(&self) -> f64 {
        // Its SIGTERM watchdog polls every 5 s and then drains.
        20.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::Candidate;
    use std::collections::BTreeMap;

    #[test]
    fn off_switches_are_left_out_and_metrics_are_turned_on() {
        let candidate = Candidate::baseline(EngineKind::Sglang)
            .with("disable-overlap-schedule", FlagValue::Bool(false))
            .with("chunked-prefill-size", FlagValue::Int(4096));
        let request = LaunchRequest {
            candidate: &candidate,
            model: "m",
            served_model_name: None,
            hardware: "a100-sxm-80gb",
            num_gpus: 2,
            fixed_args: &[],
            fixed_env: &BTreeMap::new(),
            port: 30000,
            dir: "/tmp",
        };
        assert_eq!(
            Sglang.plan(&request).args.join(" "),
            "--model-path m --host 127.0.0.1 --port 30000 --tp-size 2 --enable-metrics --chunked-prefill-size 4096"
        );
    }

    #[test]
    fn the_one_useful_line_is_read() {
        let log = "[2025-11-02 10:00:00] max_total_num_tokens=1221234, chunked_prefill_size=8192, max_prefill_tokens=16384, max_running_requests=4096, context_len=131072, available_gpu_mem=7.11 GB";
        let f = Sglang.log_facts(log);
        assert_eq!(f["num_kv_tokens"], 1_221_234);
        assert_eq!(f["max_num_seqs"], 4096);
    }
}
