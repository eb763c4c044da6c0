//! Flags that a release of an engine has: `(name, kind, since, removed in)`.
//!
//! Kinds: `int`, `float`, `text`, `ints` (one or more), `bool` (`--x` and `--no-x`), `switch` (`--x` alone),
//! `a|b|c` (a choice). Sources: the releases' own parsers.

use crate::script::{Flavour, Script, parse_version};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Int,
    Float,
    Text,
    Ints,
    Bool,
    Switch,
    Choice(Vec<String>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Flag {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

type Row = (&'static str, &'static str, &'static str, &'static str);

const VLLM: &[Row] = &[
    ("host", "text", "", ""),
    ("port", "int", "", ""),
    ("served-model-name", "text", "", ""),
    ("api-key", "text", "", ""),
    ("api-server-count", "int", "", ""),
    ("disable-log-stats", "switch", "", ""),
    ("disable-log-requests", "switch", "", "0.12"),
    ("tensor-parallel-size", "int", "", ""),
    ("pipeline-parallel-size", "int", "", ""),
    ("data-parallel-size", "int", "", ""),
    ("gpu-memory-utilization", "float", "", ""),
    ("kv-cache-memory-bytes", "int", "", ""),
    ("max-model-len", "int", "", ""),
    ("max-num-seqs", "int", "", ""),
    ("max-num-batched-tokens", "int", "", ""),
    ("enable-chunked-prefill", "bool", "", ""),
    ("long-prefill-token-threshold", "int", "", ""),
    ("max-num-partial-prefills", "int", "", "0.27"),
    ("scheduling-policy", "fcfs|priority", "", ""),
    ("scheduler-reserve-full-isl", "bool", "0.19.1", ""),
    ("watermark", "float", "0.24", ""),
    ("prefill-schedule-interval", "int", "0.24", ""),
    ("async-scheduling", "bool", "", ""),
    ("stream-interval", "int", "0.11.2", ""),
    ("cuda-graph-sizes", "ints", "", "0.13"),
    ("cudagraph-capture-sizes", "ints", "0.11.2", ""),
    ("max-cudagraph-capture-size", "int", "0.11.2", ""),
    ("compilation-config", "text", "", ""),
    ("optimization-level", "int", "0.12", ""),
    ("enforce-eager", "bool", "", ""),
    ("performance-mode", "balanced|interactivity|throughput", "0.17.1", ""),
    ("kv-cache-dtype", "auto|bfloat16|fp8|fp8_e4m3|fp8_e5m2|fp8_inc", "", ""),
    ("calculate-kv-scales", "bool", "", "0.28"),
    ("block-size", "int", "", ""),
    ("enable-prefix-caching", "bool", "", ""),
    ("prefix-caching-hash-algo", "sha256|sha256_cbor|xxhash|xxhash_cbor", "", ""),
    ("attention-backend", "text", "0.13", ""),
    (
        "moe-backend",
        "auto|triton|deep_gemm|cutlass|flashinfer_trtllm|flashinfer_cutlass|marlin",
        "0.17.1",
        "",
    ),
    ("enable-flashinfer-autotune", "bool", "0.16", ""),
    ("enable-expert-parallel", "bool", "", ""),
    ("disable-cascade-attn", "bool", "", ""),
    ("swap-space", "float", "", "0.18"),
    ("dtype", "auto|half|float16|bfloat16|float|float32", "", ""),
    ("quantization", "text", "", ""),
    ("speculative-config", "text", "", ""),
    ("load-format", "text", "", ""),
    ("trust-remote-code", "bool", "", ""),
    ("seed", "int", "", ""),
];

const SGLANG: &[Row] = &[
    ("model-path", "text", "", ""),
    ("host", "text", "", ""),
    ("port", "int", "", ""),
    ("served-model-name", "text", "", ""),
    ("tp-size", "int", "", ""),
    ("dp-size", "int", "", ""),
    ("pp-size", "int", "", ""),
    ("mem-fraction-static", "float", "", ""),
    ("max-running-requests", "int", "", ""),
    ("max-total-tokens", "int", "", ""),
    ("max-queued-requests", "int", "", ""),
    ("chunked-prefill-size", "int", "", ""),
    ("max-prefill-tokens", "int", "", ""),
    ("prefill-max-requests", "int", "0.5.7", ""),
    ("schedule-policy", "lpm|random|fcfs|dfs-weight|lof|priority", "", ""),
    ("schedule-conservativeness", "float", "", ""),
    ("retraction-policy", "text", "0.5.16", ""),
    ("enable-mixed-chunk", "switch", "", ""),
    ("prefill-decode-interval", "int", "0.5.19", ""),
    ("disable-overlap-schedule", "switch", "", ""),
    ("num-continuous-decode-steps", "int", "", ""),
    ("stream-interval", "int", "", ""),
    ("stream-output", "switch", "", "0.5.10"),
    ("incremental-streaming-output", "switch", "0.5.10", ""),
    ("cuda-graph-max-bs", "int", "", "0.5.20"),
    ("cuda-graph-bs", "ints", "", "0.5.20"),
    ("cuda-graph-max-bs-decode", "int", "0.5.14", ""),
    ("cuda-graph-max-bs-prefill", "int", "0.5.14", ""),
    ("cuda-graph-bs-decode", "ints", "0.5.14", ""),
    ("cuda-graph-bs-prefill", "ints", "0.5.14", ""),
    ("disable-cuda-graph", "switch", "", ""),
    ("enable-piecewise-cuda-graph", "switch", "", "0.5.10"),
    ("disable-piecewise-cuda-graph", "switch", "0.5.10", "0.5.14"),
    ("enable-torch-compile", "switch", "", ""),
    (
        "attention-backend",
        "triton|torch_native|flex_attention|fa3|fa4|flashinfer|flashmla|trtllm_mla|trtllm_mha|aiter",
        "",
        "",
    ),
    (
        "moe-runner-backend",
        "auto|deep_gemm|triton|triton_kernel|flashinfer_trtllm|flashinfer_cutlass|flashinfer_mxfp4|cutlass",
        "",
        "",
    ),
    ("kv-cache-dtype", "auto|fp8_e5m2|fp8_e4m3|bf16|bfloat16", "", ""),
    ("page-size", "int", "", ""),
    ("disable-radix-cache", "switch", "", ""),
    ("enable-metrics", "switch", "", ""),
    ("enable-cache-report", "switch", "", ""),
    ("context-length", "int", "", ""),
    ("watchdog-timeout", "float", "", ""),
    ("skip-server-warmup", "switch", "", ""),
    ("dtype", "auto|half|float16|bfloat16|float|float32", "", ""),
    ("quantization", "text", "", ""),
    ("load-format", "text", "", ""),
    ("trust-remote-code", "switch", "", ""),
    ("random-seed", "int", "", ""),
];

/// Options of the command line; those of the YAML are in [`YAML`].
const TRTLLM: &[Row] = &[
    ("host", "text", "", ""),
    ("port", "int", "", ""),
    ("backend", "pytorch|tensorrt|trt|_autodeploy", "", ""),
    ("log_level", "text", "", ""),
    ("tokenizer", "text", "", ""),
    ("max_batch_size", "int", "", ""),
    ("max_num_tokens", "int", "", ""),
    ("max_seq_len", "int", "", ""),
    ("tp_size", "int", "", ""),
    ("pp_size", "int", "", ""),
    ("ep_size", "int", "", ""),
    ("kv_cache_free_gpu_memory_fraction", "float", "", ""),
    ("num_postprocess_workers", "int", "", ""),
    ("trust_remote_code", "switch", "", ""),
    ("extra_llm_api_options", "text", "", ""),
    ("config", "text", "1.2.0", ""),
];

/// Keys that the YAML of TensorRT-LLM may hold at its top level; any other is refused.
pub(crate) const YAML: &[&str] = &[
    "max_batch_size",
    "max_num_tokens",
    "max_seq_len",
    "kv_cache_config",
    "enable_chunked_prefill",
    "scheduler_config",
    "disable_overlap_scheduler",
    "cuda_graph_config",
    "moe_config",
    "attn_backend",
    "enable_attention_dp",
    "attention_dp_config",
    "stream_interval",
    "num_postprocess_workers",
    "batch_wait_timeout_ms",
    "batch_wait_timeout_iters",
    "batch_wait_max_tokens_ratio",
    "torch_compile_config",
    "enable_autotuner",
    "sampler_type",
    "allreduce_strategy",
    "speculative_config",
    "load_format",
    "enable_iter_perf_stats",
    "return_perf_metrics",
    "perf_metrics_max_requests",
    "print_iter_log",
    "dtype",
];

fn kind(text: &str) -> Kind {
    match text {
        "int" => Kind::Int,
        "float" => Kind::Float,
        "text" => Kind::Text,
        "ints" => Kind::Ints,
        "bool" => Kind::Bool,
        "switch" => Kind::Switch,
        choices => Kind::Choice(choices.split('|').map(str::to_owned).collect()),
    }
}

/// The flags that this release has.
pub(crate) fn of(script: &Script) -> Vec<Flag> {
    let rows = match script.flavour {
        Flavour::Vllm => VLLM,
        Flavour::Sglang => SGLANG,
        Flavour::Trtllm => TRTLLM,
    };
    let version = script.version();
    let there = |since: &str, removed: &str| {
        version >= parse_version(since) && (removed.is_empty() || version < parse_version(removed))
    };
    let known = rows.iter().filter(|r| there(r.2, r.3)).map(|r| (r.0, r.1));
    let more = script.flags.iter().filter_map(|f| f.split_once(':'));
    known.chain(more).map(|(name, k)| Flag { name: name.to_owned(), kind: kind(k) }).collect()
}
