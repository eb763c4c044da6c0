//! What vLLM and the embedded engine have in common: endpoints, metric names, lines of the log.

use super::adapter::Endpoints;
use super::metrics::{MetricNames, typed};
use regex::Regex;
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// `/server_info` is not asked: it collects the state of the whole Python environment, takes seconds and
/// fails where that has no pip (seen on 0.32.0); the metrics and the log tell the same.
pub(super) const ENDPOINTS: Endpoints = Endpoints {
    health: "/health",
    models: "/v1/models",
    version: Some("/version"),
    metrics: Some("/metrics"),
    reset_cache: Some("/reset_prefix_cache"),
    server_info: None,
};

pub(super) const METRICS: MetricNames = MetricNames {
    cache_queries: "vllm:prefix_cache_queries_total",
    cache_hits: "vllm:prefix_cache_hits_total",
    prompt_tokens: "vllm:prompt_tokens_total",
    generation_tokens: "vllm:generation_tokens_total",
    preemptions: "vllm:num_preemptions_total",
    running: "vllm:num_requests_running",
    waiting: "vllm:num_requests_waiting",
    kv_usage: "vllm:kv_cache_usage_perc",
    queue_time: "vllm:request_queue_time_seconds",
    prefill_time: "vllm:request_prefill_time_seconds",
    config_info: &["vllm:cache_config_info"],
};

/// Patterns for numbers in the log over releases 0.11 to 0.33. The text is searched anywhere in a line,
/// since prefixes changed with the releases.
static LOG_FACTS: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    [
        ("architecture", r"Resolved architecture: (\w+)"),
        ("max_model_len", r"Using max model len (\d+)"),
        ("max_num_batched_tokens", r"Chunked prefill is enabled with max_num_batched_tokens=(\d+)"),
        ("available_kv_gib", r"Available KV cache memory: ([\d.]+) GiB"),
        ("num_kv_tokens", r"KV cache size: ([\d,]+) tokens"),
        ("kv_cache_max_concurrency", r"Maximum concurrency for [\d,]+ tokens per request: ([\d.]+)x"),
        ("num_gpu_blocks", r"# GPU blocks: (\d+)"),
        ("weights_gib", r"Model loading took ([\d.]+) GiB"),
        ("load_s", r"Loading weights took ([\d.]+) seconds"),
        ("compile_s", r"torch\.compile (?:takes|took) ([\d.]+) s in total"),
        ("graph_capture_s", r"Graph capturing finished in ([\d.]+) secs"),
        ("graph_gib", r"Graph capturing finished in [\d.]+ secs, took ([\d.]+) GiB"),
        ("engine_init_s", r"init engine \(profile, create kv cache, warmup model\) took ([\d.]+) s"),
        ("attention_backend", r"Using (?:the )?(\w+) (?:attention )?backend\b"),
        ("async_scheduling", r"[Aa]synchronous scheduling is (enabled|disabled)"),
        ("engine_version", r"Initializing a V1 LLM engine \(v([^)]+)\)"),
    ]
    .into_iter()
    .map(|(key, re)| (key, Regex::new(re).expect("constant")))
    .collect()
});

/// Facts in the log; where a line comes several times the last counts.
pub(super) fn log_facts(log: &str) -> Map<String, Value> {
    let mut facts = Map::new();
    for line in log.lines() {
        for (key, re) in LOG_FACTS.iter() {
            let Some(found) = re.captures(line) else { continue };
            let value = match &found[1] {
                "enabled" => Some(Value::Bool(true)),
                "disabled" => Some(Value::Bool(false)),
                text if *key == "engine_version" => Some(Value::from(text)),
                text => typed(&text.replace(',', "")),
            };
            if let Some(value) = value {
                facts.insert((*key).to_owned(), value);
            }
        }
        if line.contains("Model Runner V2 requires Triton; using the V1") {
            facts.insert("model_runner".into(), Value::from("v1"));
        }
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_wordings_of_the_cache_size_are_read() {
        for line in [
            "(EngineCore_DP0 pid=7) INFO 10-04 12:00:00 [kv_cache_utils.py:1087] GPU KV cache size: 12,345 tokens",
            "(EngineCore pid=7) INFO GPU KV cache size: 12,345 tokens, Maximum concurrency for 512 tokens per request: 24.11x",
            "(EngineCore pid=7) INFO CPU KV cache size: 12,345 tokens, Maximum concurrency for 512 tokens per request: 24.11x",
            "(EngineCore pid=7) INFO GPU + host KV cache size: 12,345 tokens, Maximum concurrency for 9 tokens per request: 1x",
        ] {
            assert_eq!(log_facts(line)["num_kv_tokens"], 12345, "{line}");
        }
    }

    #[test]
    fn start_times_are_read_in_old_and_new_wording() {
        let old = "torch.compile takes 12.50 s in total\ninit engine (profile, create kv cache, warmup model) took 30.1 seconds";
        let new = "torch.compile took 12.50 s in total\ninit engine (profile, create kv cache, warmup model) took 30.1 s (compilation: 2 s)";
        for log in [old, new] {
            let f = log_facts(log);
            assert_eq!((f["compile_s"].as_f64(), f["engine_init_s"].as_f64()), (Some(12.5), Some(30.1)));
        }
    }
}
