//! Defaults and flags of `trtllm-serve` (PyTorch backend).

use super::EngineConfig;
use crate::engine::AttentionBalance;
use crate::launch::Launch;

pub(super) fn apply(c: &mut EngineConfig, command: &Launch) {
    c.max_num_seqs = command.integer(&["max-batch-size"]).unwrap_or(2048).max(1);
    c.max_num_batched_tokens = command.integer(&["max-num-tokens"]).unwrap_or(8192).max(1);
    c.max_model_len = command.integer(&["max-seq-len"]).unwrap_or(c.max_model_len);
    c.chunked_prefill = command.switch(&["enable-chunked-prefill"]).unwrap_or(false);
    c.chunk_tokens = 0;
    c.block_size = command.integer(&["kv-cache-config.tokens-per-block"]).unwrap_or(32).max(1);
    let limit = command.integer(&["kv-cache-config.max-tokens"]);
    c.num_kv_blocks = limit.map(|tokens| u64::from(tokens / c.block_size));
    // A share of the memory that is free after weights, unlike the other engines' share of the total.
    c.gpu_memory_utilization = command.number(&MEMORY_FRACTION).unwrap_or(0.9);
    c.prefix_caching = command.switch(&["kv-cache-config.enable-block-reuse"]).unwrap_or(true);
    c.overlap = !command.switch(&["disable-overlap-scheduler"]).unwrap_or(false);
    c.graph_prefill = false;
    c.graph_padding = command.switch(&["cuda-graph-config.enable-padding"]).unwrap_or(false);
    c.max_graph_size = largest_graph(c.max_num_seqs, command);
    // MAX_UTILIZATION admits while a prompt fits and pauses requests when the cache is full.
    c.reserve_output =
        command.text(&["scheduler-config.capacity-scheduler-policy"]) != Some("MAX_UTILIZATION");
    c.attention_balance = match command.switch(&["attention-dp-config.enable-balance"]) {
        Some(true) => AttentionBalance::On {
            timeout_iters: command.integer(&["attention-dp-config.timeout-iters"]).unwrap_or(50),
            batching_wait_iters: command.integer(&["attention-dp-config.batching-wait-iters"]).unwrap_or(10),
        },
        Some(false) => AttentionBalance::Off,
        None => AttentionBalance::Untold,
    };
    c.shared_frontend = true;
}

const MEMORY_FRACTION: [&str; 3] = [
    "free-gpu-memory-fraction",
    "kv-cache-free-gpu-memory-fraction",
    "kv-cache-config.free-gpu-memory-fraction",
];

/// Largest captured batch: `cuda_graph_config.batch_sizes`, else its `max_batch_size`, else 128; never above
/// `max_batch_size`. `cuda_graph_config: null` turns the graphs off.
fn largest_graph(max_batch: u32, command: &Launch) -> u32 {
    if command.text(&["cuda-graph-config"]) == Some("null") {
        return 0;
    }
    let sizes = command.text(&["cuda-graph-config.batch-sizes"]);
    let listed =
        sizes.and_then(|t| serde_json::from_str::<Vec<u32>>(t).ok()).and_then(|v| v.into_iter().max());
    listed.or_else(|| command.integer(&["cuda-graph-config.max-batch-size"])).unwrap_or(128).min(max_batch)
}
