//! Files of well-known tools that hold no result of LLM serving: said by name, so that nobody searches for the fault in
//! the file.

use serde_json::{Map, Value};

/// What the file is; None when it is not known either.
pub(super) fn named(o: &Map<String, Value>) -> Option<&'static str> {
    let has = |key: &str| o.contains_key(key);
    let inside = |key: &str, inner: &str| o.get(key).is_some_and(|v| v.get(inner).is_some());
    let metrics = |names: &[&str]| names.iter().any(|n| inside("metrics", n));
    if metrics(&["http_req_duration", "vus_max", "iterations", "data_received", "http_reqs"]) {
        return Some("a summary of k6, a load tool for HTTP: it knows no tokens and no streams");
    }
    if has("lm_eval_version") || has("config_general") || (has("results") && has("n-shot")) {
        return Some("a result of lm-evaluation-harness: quality, not speed");
    }
    if has("latencies") && has("bytes_in") && has("status_codes") {
        return Some("a report of vegeta, a load tool for HTTP: it knows no tokens and no streams");
    }
    if has("latencyPercentiles") || has("rps") && has("statusCodeDistribution") {
        return Some("a report of oha, a load tool for HTTP: it knows no tokens and no streams");
    }
    if inside("aggregate", "counters") && inside("aggregate", "summaries") {
        return Some("a report of Artillery, a load tool for HTTP: it knows no tokens and no streams");
    }
    if has("num_none_requests") && has("response_times") {
        return Some("statistics of Locust, a load tool for HTTP: it knows no tokens and no streams");
    }
    if inside("Total", "sampleCount") {
        return Some("statistics of JMeter, a load tool for HTTP: it knows no tokens and no streams");
    }
    if has("jobs") && has("fio version") {
        return Some("a result of fio: storage, not serving");
    }
    if has("traceEvents") {
        return Some("a profiler's trace (Chrome trace format), not a result");
    }
    if has("nbformat") && has("cells") {
        return Some("a notebook, not a result");
    }
    if has("architectures") || has("model_type") && has("vocab_size") {
        return Some("a model's config.json: give its directory as --model");
    }
    if has("avg_latency") && has("latencies") {
        return Some(
            "a result of `vllm bench latency`: batches of one process, no server and no requests in flight",
        );
    }
    if has("elapsed_time") && has("tokens_per_second") && has("num_requests") {
        return Some("a result of `vllm bench throughput`: offline, no server, no latencies");
    }
    of_language_models(o)
}

/// Files about language models that are no result of a load.
fn of_language_models(o: &Map<String, Value>) -> Option<&'static str> {
    let has = |key: &str| o.contains_key(key);
    if o.get("error").is_some_and(|v| v.get("message").is_some()) {
        return Some("the error answer of a server, not a result");
    }
    if has("model_filename") && has("n_prompt") && has("avg_ts") {
        return Some("a result of llama-bench: llama.cpp, which is no engine of dyno's");
    }
    if has("prefill_throughput") && has("batch_size") && has("input_len") {
        return Some(
            "a result of `sglang.bench_one_batch`: one static batch, no server and no requests in flight",
        );
    }
    if has("run_name") && has("batch_size") && has("overall_throughput") {
        return Some(
            "a result of `sglang.bench_one_batch_server`: one batch sent at once, whose output rate is that of decoding alone",
        );
    }
    if has("eval_count") && has("eval_duration") {
        return Some("an answer of Ollama, which is no engine of dyno's");
    }
    if has("metrics") && has("dataset_name") && has("model_name") && has("score") {
        return Some("a result of evalscope's evaluation: quality, not speed");
    }
    if has("choices") && has("object") {
        return Some("an answer of a server, not a result");
    }
    None
}

/// The form of a file that is neither ours nor any tool's that is known: its first keys, where most of them cannot be a
/// record's.
pub(super) fn strange(o: &Map<String, Value>) -> Option<String> {
    let ours = o.keys().filter(|k| crate::scenario::check::might_be_ours(k)).count();
    if o.len() < 3 || 4 * ours > o.len() {
        return None;
    }
    let first: Vec<&str> = o.keys().take(6).map(String::as_str).collect();
    let more = if o.len() > first.len() { ", …" } else { "" };
    Some(format!(
        "is no scenario, no observation and no result of a load tool that dyno knows (its keys: {}{more})",
        first.join(", ")
    ))
}
