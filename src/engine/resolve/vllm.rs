//! Defaults and flags of `vllm serve` (V1 engine).

use super::{EngineConfig, device_memory};
use crate::hardware::{Hardware, Vendor};
use crate::launch::{Launch, Version};
use crate::model::{Model, Precision};

pub(super) fn apply(c: &mut EngineConfig, command: &Launch, hw: &Hardware, model: &Model) {
    let (tokens, seqs) = batch_defaults(c.version, hw, c.tensor_parallel * c.pipeline_parallel);
    let factor = if command.text(&["performance-mode"]) == Some("throughput") { 2 } else { 1 };
    c.max_model_len = command.integer(&["max-model-len"]).unwrap_or(model.max_position);
    c.chunked_prefill = command.switch(&["enable-chunked-prefill"]).unwrap_or(true) || c.version < (0, 14, 0);
    let given_tokens = command.integer(&["max-num-batched-tokens"]);
    let given_seqs = command.integer(&["max-num-seqs"]);
    let seqs = given_seqs.unwrap_or(seqs * factor).max(1);
    c.max_num_batched_tokens = given_tokens.unwrap_or_else(|| {
        let t = if c.chunked_prefill { tokens * factor } else { (tokens * factor).max(c.max_model_len) };
        t.min(seqs.saturating_mul(c.max_model_len))
    });
    c.max_num_seqs = if given_seqs.is_some() { seqs } else { seqs.min(c.max_num_batched_tokens) };
    c.chunk_tokens = command.integer(&["long-prefill-token-threshold"]).unwrap_or(0);
    let block_default = if hw.vendor == Vendor::Cpu && c.version >= (0, 19, 0) { 128 } else { 16 };
    c.block_size = command.integer(&["block-size"]).unwrap_or(block_default).max(1);
    c.num_kv_blocks = command.integer(&["num-gpu-blocks-override"]).map(u64::from);
    c.kv_cache_bytes = command.text(&["kv-cache-memory-bytes", "kv-cache-memory"]).and_then(byte_count);
    c.cpu_offload_bytes =
        command.number(&["cpu-offload-gb"]).filter(|n| *n > 0.0).map_or(0.0, |gib| gib * f64::from(1 << 30));
    // A checkpoint that names the type of its cache gets it unless a flag says otherwise.
    let auto = matches!(command.text(&["kv-cache-dtype"]), None | Some("auto"));
    if auto && c.version >= (0, 12, 0) && model.quantisation.kv_cache == Some(Precision::Fp8) {
        c.kv_elem_bytes = 1.0;
    }
    let utilization = if c.version >= (0, 20, 2) { 0.92 } else { 0.9 };
    c.gpu_memory_utilization = command.number(&["gpu-memory-utilization"]).unwrap_or(utilization);
    c.prefix_caching = command.switch(&["enable-prefix-caching"]).unwrap_or(true);
    // On by default since 0.14 where the executor allows it: not with pipeline parallelism, never on CPU.
    let auto = c.version >= (0, 14, 0);
    let possible = hw.vendor != Vendor::Cpu && (c.pipeline_parallel == 1 || c.version >= (0, 33, 0));
    c.overlap = command.switch(&["async-scheduling"]).unwrap_or(auto) && possible;
    c.reserve_full_prompt = c.version >= (0, 19, 0);
    c.graph_prefill = true;
    c.max_graph_size = graph_limit(c, command, hw, model);
}

/// A number of bytes as vLLM reads it: `1073741824`, `1G` (10^9), `1Gi` (2^30), `25.6k`.
fn byte_count(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "ki" | "kib" => 1024.0,
        "mi" | "mib" => 1024.0 * 1024.0,
        "gi" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "ti" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    digits.parse::<f64>().ok().filter(|n| *n > 0.0).map(|n| (n * unit) as u64)
}

/// (`max_num_batched_tokens`, `max_num_seqs`) of the API server without flags.
fn batch_defaults(version: Version, hw: &Hardware, world: u32) -> (u32, u32) {
    let gib = device_memory(hw).gib();
    let is_a100 = hw.id.contains("a100") || hw.name.to_ascii_lowercase().contains("a100");
    match hw.vendor {
        Vendor::Cpu => (2048 * world, 128 * world),
        _ if gib >= 160.0 && version >= (0, 28, 0) => (16384, 1024),
        _ if gib >= 70.0 && !is_a100 => (8192, 1024),
        _ => (2048, 256),
    }
}

/// Largest captured batch: min(2 × max_num_seqs, 512), more on compute capability 10.x and for gpt-oss.
fn graph_limit(c: &EngineConfig, command: &Launch, hw: &Hardware, model: &Model) -> u32 {
    let level_zero = matches!(command.text(&["O", "optimization-level"]), Some("0"));
    let eager = command.switch(&["enforce-eager"]).unwrap_or(false) || level_zero || hw.vendor == Vendor::Cpu;
    if eager {
        return 0;
    }
    let listed = command
        .text(&["cudagraph-capture-sizes", "cuda-graph-sizes"])
        .and_then(|t| t.split([',', ' ']).filter_map(|n| n.trim().parse::<u32>().ok()).max());
    if let Some(n) = command.integer(&["max-cudagraph-capture-size"]).or(listed) {
        return n;
    }
    let cap = if model.attention_sinks {
        if c.version >= (0, 12, 0) { 1024 } else { 992 }
    } else if c.version >= (0, 28, 0) && hw.sm.is_some_and(|s| (100..110).contains(&s)) {
        1024
    } else {
        512
    };
    (2 * c.max_num_seqs).min(cap).min(c.max_num_batched_tokens)
}
